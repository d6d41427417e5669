"""The part of the Video view that makes summaries of a video and shows one of them."""

from __future__ import annotations

import mimetypes
from pathlib import Path

import streamlit as st

from search.query import parse_query
from summarizer import Skim, summarize
from summarizer.storyboard import storyboard
from summarizer.summary import budget_for
from ui import elements, preview, session
from vidsift.library import Library
from vidsift.types import Summary, VideoRecord

__all__ = ["chosen", "make", "show"]


def make(library: Library, video: VideoRecord, there: bool) -> None:
    """A form: a question if there is one, a length, and a button that makes the summary."""
    with st.form(f"summary-form-{video.id}"):
        question = st.text_input(
            "What the summary is to be about",
            key=f"summary-question-{video.id}",
            placeholder="nothing special: the whole video",
            max_chars=None,
            disabled=not there,
        )
        seconds = _length(library, video, there)
        asked = st.form_submit_button(
            "Make summary",
            type="primary",
            icon=":material/content_cut:",
            width="stretch",
            disabled=not there,
        )
    if not asked:
        return
    with elements.errors_shown():
        query = parse_query(question) if question.strip() else ""
        if query:
            library = session.current().library_with_encoder()
        summary = summarize(library, video, query, seconds=seconds)
        _render(library, video, summary)
        st.session_state[_key(video)] = _name(summary)


def _length(library: Library, video: VideoRecord, there: bool) -> float | None:
    """The seconds asked for; None is the default, which was made when the video was indexed."""
    default = budget_for(
        video, seconds=None, ratio=None, default_ratio=library.settings.summary_ratio
    )
    longest = video.duration_seconds
    shortest = min(longest, float(1 / video.frame_rate))
    if longest - shortest < 0.2:
        return None  # a video of a frame or two has one length of summary
    seconds = st.slider(
        "Length",
        shortest,
        longest,
        default,
        step=0.1 if longest < 600 else 1.0,
        format="%.1f s",
        key=f"summary-length-{video.id}",
        disabled=not there,
    )
    return None if abs(seconds - default) < 1e-6 else min(max(seconds, shortest), longest)


def _render(library: Library, video: VideoRecord, summary: Summary) -> dict[str, Path]:
    bar = st.progress(0.0, text="Rendering ...")

    def tell(share: float) -> None:
        bar.progress(min(1.0, share), text=f"Rendering ... {share:.0%}")

    try:
        return preview.summary_files(library, video, summary, tell)
    finally:
        bar.empty()


def chosen(library: Library, video: VideoRecord) -> Summary | None:
    """The summary that is shown: the one made or picked last, else the generic one."""
    known = {_name(summary): summary for summary in library.catalog.summaries(video.id)}
    if not known:
        return None
    name = st.session_state.get(_key(video))
    return known[name] if name in known else next(iter(known.values()))


def show(library: Library, video: VideoRecord, summary: Summary, there: bool) -> None:
    """Pick a summary, watch it, look at its storyboard, take its files away."""
    elements.heading("Summary", f"about {summary.query}" if summary.query else "")
    _pick(library, video, summary)
    files = preview.known_files(library, video, summary)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        if files is not None:
            elements.play(files["mp4"], name="Summary")
        elif there and st.button(
            "Play the summary", icon=":material/play_arrow:", key="summary-play", width="stretch"
        ):
            _render(library, video, summary)
            st.rerun()
        elements.line(
            f"{elements.time_words(summary.duration_seconds)} of"
            f" {elements.time_words(video.duration_seconds)},"
            f" {len(summary.segments)} segments"
        )
        if files is not None:
            _downloads(files)
    with right:
        st.image(storyboard(library, Skim.of(video, summary)))
        with st.expander("Segments"):
            st.dataframe(
                [
                    {
                        "Start (s)": round(segment.span.start, 2),
                        "End (s)": round(segment.span.end, 2),
                        "Length (s)": round(segment.span.duration, 2),
                        "Saliency": round(segment.saliency, 4),
                    }
                    for segment in summary.segments
                ],
                hide_index=True,
            )


def _pick(library: Library, video: VideoRecord, summary: Summary) -> None:
    names = [_name(known) for known in library.catalog.summaries(video.id)]
    if len(names) < 2:
        return
    st.session_state[_key(video)] = _name(summary)
    # The timeline above shows the choice too: a change runs the page again from its top.
    st.pills(
        "Summaries of this video",
        names,
        key=_key(video),
        required=True,
        label_visibility="collapsed",
        format_func=_label,
    )


def _downloads(files: dict[str, Path]) -> None:
    kinds = (("Video", files["mp4"]), ("Storyboard", files["png"]), ("JSON", files["json"]))
    for column, (label, path) in zip(st.columns(3), kinds, strict=True):
        column.download_button(
            label,
            path.read_bytes,  # called, and so read, only when it is asked for
            file_name=path.name,
            mime=mimetypes.guess_type(path.name)[0],
            icon=":material/download:",
            on_click="ignore",
            width="stretch",
        )


def _key(video: VideoRecord) -> str:
    return f"summary-of-{video.id}"


def _name(summary: Summary) -> tuple[str, float]:
    return summary.query, round(summary.budget_seconds, 3)


def _label(name: tuple[str, float]) -> str:
    query, seconds = name
    about = f'"{query[:40]}"' if query else "The whole video"
    return elements.plain(f"{about}, {elements.time_words(seconds)}")
