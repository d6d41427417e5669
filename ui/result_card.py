"""One result of a search: its picture, how sure it is, and what can be done with it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from ui import elements, preview, session
from ui.question_form import Asked, judge, look_for_like
from ui.sureness import sure_in_short, sure_in_words
from ui.why_dialog import show_why
from vidsift.library import Library
from vidsift.store.inside import read_inside
from vidsift.times import clock, whole_clock
from vidsift.types import Answer, Moment, SearchResult

if TYPE_CHECKING:
    from search.videos import RankedVideo

__all__ = ["card", "video_card"]


def card(asked: Asked, answer: Answer, result: SearchResult, rank: int, *, judged: bool) -> None:
    """A moment that was found; a click on its picture plays it.

    `judged` tells whether the question takes "more like this one". Where something matches, the
    pictures of what does not are dimmed.
    """
    library = session.current().library()
    moment = result.moment
    place = f"{moment.video_id}@{moment.peak_seconds:.2f}"
    limit = library.settings.false_alarm_rate
    is_weak = result.false_alarm_rate is not None and result.false_alarm_rate > limit
    kind = "weak" if is_weak and answer.matched and result.cue is None else "clip"
    with st.container(border=True, key=f"card-{rank}"):
        label = f":material/play_arrow: {_span(moment)}"
        clicked = elements.tile(result.thumbnail, label, f"m{rank}", kind=kind)
        elements.line(result.video.name, "name", tooltip=result.video)
        _line_of_sureness(result, limit)
        if result.cue is not None:
            said = f"“{result.cue.text}”"
            elements.line(said, "note", f"said at {clock(result.cue.span.start)}: {said}")
        if result.parts:
            steps = ", then ".join(clock(part.span.start) for part in result.parts)
            elements.line(f"at {steps}", "note", steps)
        with st.container(horizontal=True, gap="small", key=f"do-{rank}"):
            if judged:
                _judgement(asked, place, rank)
            like = elements.icon_button(
                "Find moments like this one", ":material/image_search:", f"like-{rank}"
            )
            why = elements.icon_button("Why this result", ":material/help_center:", f"why-{rank}")
            if elements.icon_button("Open the video here", ":material/movie:", f"open-{rank}"):
                elements.open_video(moment.video_id, moment.span.start)
            if result.duplicates:
                _alike(library, result, rank)
    if like:
        look_for_like(place)
        st.rerun()
    if clicked:
        _play_moment(library, result)
    elif why:
        show_why(library, asked, result)


def video_card(library: Library, video: RankedVideo, rank: int) -> None:
    """A video as a whole, at the clip that speaks for it most."""
    best = video.clips[0].record
    with st.container(border=True, key=f"card-{rank}"):
        picture = library.thumbnail(best, best.ordinal)
        label = f":material/movie: {clock(best.clip.span.start)}"
        if elements.tile(picture, label, f"v{rank}"):
            elements.open_video(video.video_id, best.clip.span.start)
        elements.line(video.path.name, "name", tooltip=video.path)
        elements.line(f"score {video.score:.3f}")


def _line_of_sureness(result: SearchResult, limit: float) -> None:
    if result.found_by == ("words",):
        elements.line("found in what is said")
        return
    rate, score = result.false_alarm_rate, f"score {result.moment.score:.3f}"
    kind = "sure" if rate is not None and rate <= limit else "note"
    tooltip = f"{sure_in_words(rate, limit)} ({score})"
    elements.line(sure_in_short(rate, limit) or score, kind, tooltip)


def _judgement(asked: Asked, place: str, rank: int) -> None:
    for good, chosen, icon, says in (
        (True, asked.yes, ":material/thumb_up:", "More like this one"),
        (False, asked.no, ":material/thumb_down:", "Less like this one"),
    ):
        is_chosen = place in chosen
        label = f"Take back: {says.lower()}" if is_chosen else says
        key = f"{'yes' if good else 'no'}-{rank}"
        if elements.icon_button(label, icon, key, is_chosen=is_chosen):
            judge(place, good)
            st.rerun()


def _alike(library: Library, result: SearchResult, rank: int) -> None:
    """The moments of other files that look the same, each a click away."""
    count = len(result.duplicates)
    with st.popover(
        f"+{count} alike",
        type="tertiary",
        help="Moments that look the same",
        key=f"alike-{rank}",
    ):
        for number, moment in enumerate(result.duplicates):
            video = library.catalog.video(moment.video_id)
            if video is None:  # deleted since
                continue
            label = f"{elements.plain(video.path.name)} {_span(moment)}"
            if st.button(label, key=f"alike-{rank}-{number}", help=elements.plain(video.path)):
                elements.open_video(moment.video_id, moment.span.start)


@st.dialog("Moment", width="medium")
def _play_moment(library: Library, result: SearchResult) -> None:
    moment = result.moment
    elements.line(result.video.name, "name", tooltip=result.video)
    player = st.container()
    is_blurred = st.toggle(elements.BLUR_LABEL, key="moment-blur", help=elements.BLUR_HELP)
    with player, elements.errors_shown():
        with st.spinner("Cutting the moment ...", show_time=is_blurred):
            video = library.video(moment.video_id)
            clip = preview.moment_clip(library, video, moment, blur_people=is_blurred)
        elements.play(clip, autoplay=True, name=f"{result.video.name}, {_span(moment)}")
        _take(library, clip, result, is_blurred=is_blurred)
    elements.line(
        f"{_span(moment)}, best at {clock(moment.peak_seconds)}, score {moment.score:.3f}"
    )
    for number, part in enumerate(result.parts, 1):
        elements.line(f"part {number}: {_span(part)}, score {part.score:.3f}")
    if st.button("Open the video here", key="moment-open", icon=":material/movie:"):
        elements.open_video(moment.video_id, moment.span.start)


def _take(library: Library, clip: Path, result: SearchResult, *, is_blurred: bool) -> None:
    at = whole_clock(result.moment.span.start).replace(":", ".")
    blurred = "-blurred" if is_blurred else ""
    st.download_button(
        "Download this clip",
        partial(read_inside, library.root, clip),
        file_name=f"{result.video.stem}-{at}{blurred}.mp4",
        mime="video/mp4",
        key="moment-take",
        icon=":material/download:",
        on_click="ignore",
    )


def _span(moment: Moment) -> str:
    return f"{clock(moment.span.start)} - {clock(moment.span.end)}"
