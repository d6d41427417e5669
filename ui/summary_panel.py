"""The part of the Video view that makes summaries of a video and shows one of them."""

from __future__ import annotations

import streamlit as st

from search.query import parse_query
from summarizer import Skim, SkimPart, summarize
from summarizer.summary import budget_for
from ui import elements, rendering, session, skim_panel
from vidsift.library import Library
from vidsift.types import Summary, VideoRecord

__all__ = ["chosen", "make", "place_of", "show"]

Name = tuple[str, float]


def place_of(video: VideoRecord) -> str:
    """What the place of this video's summary is called; another if it is indexed anew."""
    return f"summary-{video.id}-{video.feature_file.removesuffix('.npy')[-12:]}"


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
    with elements.errors_shown(), st.spinner("Choosing segments ..."):
        query = parse_query(question) if question.strip() else ""
        _made(library, video, query, seconds)


def _made(library: Library, video: VideoRecord, query: str, seconds: float | None) -> None:
    """Make a summary and have it rendered; the one before stays until that is done."""
    if query:
        library = session.current().library_with_encoder()
    summary = summarize(library, video, query, seconds=seconds)
    # A library that may only be read does not remember it.
    st.session_state.setdefault(_kept(video), {})[_name(summary)] = summary
    then = {_next(video): _name(summary)}
    place = place_of(video)
    rendering.wish(place, skim_panel.as_wanted(Skim.of(video, summary), place), then)


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


def chosen(library: Library, video: VideoRecord) -> Summary | None:
    """The summary that is shown: the one made or picked last, else the generic one."""
    known = _known(library, video)
    if not known:
        return None
    if (made := st.session_state.pop(_next(video), None)) is not None:
        st.session_state[_key(video)] = made
    name = st.session_state.get(_key(video))
    return known[name] if name in known else next(iter(known.values()))


def show(library: Library, video: VideoRecord, summary: Summary) -> None:
    """Pick a summary, watch it, switch its segments, take its files away."""
    _pick(library, video, summary)
    if summary.query:
        elements.line(f"about {summary.query}", "text")
    if summary.matched is False:
        _not_matched(library, video, summary)

    def play(part: SkimPart) -> None:
        st.query_params["t"] = f"{part.segment.span.start:.2f}"
        st.session_state["video-autoplay"] = True
        st.rerun()

    skim_panel.show(library, Skim.of(video, summary), place_of(video), play)


def _not_matched(library: Library, video: VideoRecord, summary: Summary) -> None:
    st.info(
        f"Nothing in this video matches “{elements.plain(summary.query)}”: these are only the"
        " moments that come nearest.",
        icon=":material/search_off:",
    )
    if st.button("Summary of the whole video", key=f"generic-{video.id}"):
        with elements.errors_shown():
            _made(library, video, "", min(summary.budget_seconds, video.duration_seconds))


def _known(library: Library, video: VideoRecord) -> dict[Name, Summary]:
    """The summaries of this video by name, in the order in which they were made."""
    known = {_name(summary): summary for summary in library.catalog.summaries(video.id)}
    made: dict[Name, Summary] = st.session_state.get(_kept(video), {})
    return known | made


def _pick(library: Library, video: VideoRecord, summary: Summary) -> None:
    names = list(_known(library, video))
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


def _key(video: VideoRecord) -> str:
    return f"summary-of-{video.id}"


def _next(video: VideoRecord) -> str:
    return f"summary-next-{video.id}"


def _kept(video: VideoRecord) -> str:
    return f"summaries-made-{place_of(video)}"


def _name(summary: Summary) -> Name:
    return summary.query, round(summary.budget_seconds, 3)


def _label(name: Name) -> str:
    query, seconds = name
    about = f'"{query[:40]}"' if query else "The whole video"
    return elements.plain(f"{about}, {elements.time_words(seconds)}")
