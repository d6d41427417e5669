"""What the Video view tells of a video besides its summary: chapters, in words, what is unusual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import streamlit as st

from summarizer import Skim
from summarizer.highlights import Highlight, Highlights, find_highlights
from summarizer.text import written_summary
from ui import computed, elements, session, skim_panel
from ui.highlights import rarity
from ui.summary_panel import place_of
from vidsift.library import Library
from vidsift.times import clock, whole_clock
from vidsift.types import Summary, VideoRecord

__all__ = ["chapter_list", "in_words", "unusual"]

_MOST_HIGHLIGHTS = 8
_AGAINST: dict[str, Literal["video", "library"]] = {
    "The rest of this video": "video",
    "The other videos": "library",
}

Go = Callable[[float], None]


def chapter_list(library: Library, video: VideoRecord, go: Go) -> None:
    """The chapters; a click on one plays from where it begins."""
    with st.spinner("Dividing the video ..."):
        found = computed.chapters(library, video)
    for number, chapter in enumerate(found):
        with _place(chapter.span.start, f"chapter-{video.id}-{number}", go):
            elements.line(chapter.title, "name", tooltip=chapter.title)
            length = elements.time_words(chapter.span.duration)
            how = {
                "speech": ", said in it",
                "picture": f", seen in it ({chapter.confidence:.0%} sure)",
                "none": "",
            }[chapter.source]
            elements.line(f"{length}{how}")


def in_words(library: Library, video: VideoRecord, summary: Summary | None, go: Go) -> None:
    """The summary as it stands, written down: what is said in it, else what is seen."""
    skim = None
    if summary is not None:
        skim = skim_panel.kept(Skim.of(video, summary), place_of(video))
    if skim is None or not skim.parts:
        elements.line("There is no summary to write down.", "text")
        return
    with st.spinner("Writing it down ..."):
        written = written_summary(session.current().library_with_encoder(), skim)
    if written.matched is False:
        elements.line(
            "Nothing matches the question for sure; these are the nearest places.", "text"
        )
    if not written.lines:
        elements.line(
            "Nothing is said in it, and what is seen is not sure enough to be named.", "text"
        )
    for number, line in enumerate(written.lines):
        with _place(line.span.start, f"written-{video.id}-{number}", go):
            elements.line(line.words, "said")


def _place(seconds: float, key: str, go: Go) -> st.delta_generator.DeltaGenerator:
    """A row that begins with a button which plays from there; the rest of it is to be filled."""
    button, rest = st.columns([1, 5], vertical_alignment="center")
    button.button(
        whole_clock(seconds),
        key=key,
        icon=":material/play_arrow:",
        width="stretch",
        on_click=go,
        args=(seconds,),
    )
    return rest


def unusual(library: Library, video: VideoRecord, go: Go) -> None:
    """What is unusual in the video, looked for when a person asks."""
    normal = st.segmented_control(
        "Compared with",
        list(_AGAINST),
        default=next(iter(_AGAINST)),
        required=True,
        key=f"unusual-against-{video.id}",
    )
    against = _AGAINST[normal or next(iter(_AGAINST))]
    generation = library.catalog.generation().generation
    key = f"unusual-{place_of(video)}-{against}-{generation}"
    if key not in st.session_state:
        elements.line("Moments that are unlike all else are looked for; this takes a moment.")
        if not st.button("Look for unusual moments", key=f"look-{key}", type="primary"):
            return
        bar = st.progress(0.0, text="Comparing ...")
        try:
            found = find_highlights(
                library, video, _MOST_HIGHLIGHTS, against=against,
                on_progress=lambda share: _tell(bar, share),
            )  # fmt: skip
        finally:
            bar.empty()
        st.session_state[key] = found
        st.rerun()
    _shown(library, st.session_state[key], key, go)


def _tell(bar: st.delta_generator.DeltaGenerator, share: float) -> None:
    bar.progress(min(1.0, share), text=f"Comparing ... {share:.0%}")


def _shown(library: Library, found: Highlights, key: str, go: Go) -> None:
    if found.note:
        elements.line(f"{found.note[0].upper()}{found.note[1:]}.", "text")
        return
    elements.line(f"Compared with {found.compared_with} ({found.num_clips} clips)")
    clips = library.catalog.clips_of_video(found.video.id)
    with st.container(key=f"grid-{key}"):
        for number, each in enumerate(found.found):
            with st.container(border=True, key=f"card-{key}-{number}"):
                at = each.span.nearest([clip.clip.span for clip in clips])
                picture = library.thumbnail(found.video, clips[at].ordinal)
                label = f":material/play_arrow: {clock(each.span.start)} - {clock(each.span.end)}"
                if elements.tile(picture, label, f"{key}-{number}"):
                    go(each.span.start)
                    st.rerun()
                elements.line(rarity(each), "small")
                elements.line(_nearest(found, each), "small")


def _nearest(found: Highlights, each: Highlight) -> str:
    near = f"most like {clock(each.nearest_seconds)}"
    if each.nearest_video.id != found.video.id:
        near += f" of {each.nearest_video.path.name}"
    return near
