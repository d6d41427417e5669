"""A skim on the page: its player, its segments to switch off and on, its files to take away."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from summarizer import Skim, SkimPart
from summarizer.skim_reasons import skim_reasons
from summarizer.storyboard import skim_thumbnails
from ui import elements, preview, rendering
from ui.skim_downloads import downloads
from vidsift.library import Library
from vidsift.times import clock

__all__ = ["as_wanted", "is_off", "kept", "show"]

_SEGMENTS_A_PAGE = 12

Play = Callable[[SkimPart], None]


def is_off(skim: Skim, place: str) -> list[bool]:
    """Of each segment of the skim whether it is switched off in this place."""
    off = _off(skim, place)
    return [number in off for number in range(len(skim.parts))]


def as_wanted(skim: Skim, place: str) -> Skim:
    """The skim with people blurred in all that is made of it, if the box of this place says so."""
    is_blurred = bool(st.session_state.get(_blur_box(place)))
    return skim if is_blurred == skim.blur_people else replace(skim, blur_people=is_blurred)


def kept(skim: Skim, place: str) -> Skim:
    """As wanted, without what is switched off; its budget is what is left. It may be empty."""
    skim, off = as_wanted(skim, place), _off(skim, place)
    if not off:
        return skim
    left = replace(
        skim, parts=tuple(part for number, part in enumerate(skim.parts) if number not in off)
    )
    return replace(left, budget_seconds=left.duration_seconds)


def show(library: Library, skim: Skim, place: str, play: Play) -> None:
    """Watch a skim, choose among its segments, download it.

    Args:
        library: holds its videos.
        skim: as it was made, with all its segments.
        place: names the part of the page that it is shown in; see ui.rendering.
        play: called when a segment's picture is clicked.
    """
    left = kept(skim, place)
    watching, choosing = st.columns([2, 3], gap="medium")
    with watching:
        _player(library, skim, left, place)
        _length(skim, left)
        st.toggle(elements.BLUR_LABEL, key=_blur_box(place), help=elements.BLUR_HELP)
        if left.parts:
            downloads(library, left, place)
    with choosing, elements.errors_shown():
        _segments(library, skim, place, play)


def _player(library: Library, skim: Skim, left: Skim, place: str) -> None:
    film = preview.known_skim(library, left).get("mp4") if left.parts else None
    if film is not None:
        elements.play(film, name="Summary")
        return
    before = rendering.last_played(place)
    # While segments are switched, what was rendered of the same summary stays to be watched; but
    # never people that are to be blurred.
    may_stay = before is not None and before.blur_people >= left.blur_people
    if before is not None and may_stay and set(before.parts) <= set(skim.parts):
        film = preview.known_skim(library, before).get("mp4")
        if film is not None:
            elements.play(film, name="Summary before the last changes")
    if not left.parts:
        st.info("Every segment is switched off; leave one on.", icon=":material/info:")
        return
    gone = next((part.video for part in left.parts if not part.video.path.exists()), None)
    if gone is not None:
        elements.line(f"{gone.path.name} is gone: nothing can be rendered of it.", "text")
        return
    label = "Play the summary" if film is None else "Render the changed summary"
    if st.button(
        label,
        key=f"render-{place}",
        icon=":material/play_arrow:",
        type="secondary" if film is None else "primary",
        width="stretch",
    ):
        rendering.wish(place, left)


def _length(skim: Skim, left: Skim) -> None:
    count, all_of_them = len(left.parts), len(skim.parts)
    segments = f"{all_of_them} segment{'' if all_of_them == 1 else 's'}"
    seconds = elements.time_words(left.duration_seconds)
    if count < all_of_them:
        elements.line(
            f"{seconds} of {elements.time_words(skim.duration_seconds)} left,"
            f" {count} of {segments} on",
            "sure",
        )
        return
    total = sum(video.duration_seconds for video in skim.videos)
    of = f"{len(skim.videos)} videos, " if len(skim.videos) > 1 else ""
    elements.line(f"{seconds} of {of}{elements.time_words(total)}, {segments}")


def _segments(library: Library, skim: Skim, place: str, play: Play) -> None:
    shown = range(len(skim.parts))
    pages = -(-len(skim.parts) // _SEGMENTS_A_PAGE)
    if pages > 1:
        page = st.pagination(pages, key=f"segments-{place}-{_digest(skim)}")
        shown = shown[(page - 1) * _SEGMENTS_A_PAGE : page * _SEGMENTS_A_PAGE]
    reasons, pictures = skim_reasons(library, skim), skim_thumbnails(library, skim)
    off, several = _off(skim, place), len(skim.videos) > 1
    with st.container(key=f"grid-{place}"):
        for number in shown:
            part = skim.parts[number]
            name, span = f"{place}-{_digest(skim)}-{number}", part.segment.span
            with st.container(border=True, key=f"card-{name}"):
                kind = "weak" if number in off else "clip"
                label = f":material/play_arrow: {clock(span.start)} - {clock(span.end)}"
                if elements.tile(pictures[number], label, name, kind=kind):
                    play(part)
                # What a person chose outlives the box, which is gone when the view is left.
                st.session_state[f"on-{name}"] = number not in off
                st.checkbox(
                    elements.time_words(span.duration),
                    key=f"on-{name}",
                    on_change=_switch,
                    args=(skim, place, number),
                )
                if several:
                    elements.line(part.video.path.name, "note", tooltip=part.video.path)
                if reasons[number]:
                    elements.line(reasons[number], "small")
    if off:
        st.button(
            "Switch all on", key=f"all-on-{place}", icon=":material/undo:", type="tertiary",
            on_click=_switch_all_on, args=(place,),
        )  # fmt: skip


def _blur_box(place: str) -> str:
    return f"blur-{place}"


def _off(skim: Skim, place: str) -> frozenset[int]:
    """The numbers of the segments that are off; another skim begins with all on."""
    of, off = st.session_state.get(f"off-{place}", ("", frozenset()))
    return off if of == _digest(skim) else frozenset()


def _switch(skim: Skim, place: str, number: int) -> None:
    st.session_state[f"off-{place}"] = (_digest(skim), _off(skim, place) ^ {number})


def _switch_all_on(place: str) -> None:
    st.session_state.pop(f"off-{place}", None)


def _digest(skim: Skim) -> str:
    spans = [(part.video.id, part.segment.span) for part in skim.parts]
    return hashlib.sha256(repr((skim.query, spans)).encode()).hexdigest()[:12]
