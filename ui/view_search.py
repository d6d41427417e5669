"""Search: a question in words, and the moments that answer it."""

from __future__ import annotations

import streamlit as st

from ui import elements, preview, session
from vidsift.library import Library
from vidsift.times import clock
from vidsift.types import SearchResult

_FIRST = 12  # moments that are shown at first, and how many more a click adds
_MOST = 96
_COLUMNS = 4


def show() -> None:
    """The view. The question is part of the address, so that a search can be shared."""
    workspace = session.current()
    library = workspace.library()
    if not library.catalog.videos("searchable"):
        elements.welcome()
        return
    elements.heading("Search", "Say in words what is to be seen.")
    text = _question()
    if text is None:
        return
    wanted = st.session_state.setdefault("search-wanted", _FIRST)
    with st.spinner("Searching ...", show_time=True):
        results = workspace.search(text, wanted)
    moments = "1 moment" if len(results) == 1 else f"{len(results)} moments"
    elements.line(f"{moments}, best first")
    for start in range(0, len(results), _COLUMNS):
        row = results[start : start + _COLUMNS]
        for column, (rank, result) in zip(
            st.columns(_COLUMNS), enumerate(row, start), strict=False
        ):
            with column:
                _card(library, result, rank)
    if len(results) == wanted < _MOST and st.button("Show more", icon=":material/expand_more:"):
        st.session_state["search-wanted"] = wanted + _FIRST
        st.rerun()


def _question() -> str | None:
    """The question of the address, else the last one of this session; None before the first."""
    if "q" in st.query_params:
        st.session_state["search-last"] = st.query_params["q"]
    elif last := st.session_state.get("search-last"):
        st.query_params["q"] = last
    text: str | None = st.session_state.get("search-last")
    st.session_state["search-box"] = text or ""
    with st.form("search-form", border=False):
        box, button = st.columns([6, 1], vertical_alignment="bottom")
        box.text_input(
            "Question",
            key="search-box",
            placeholder="for example: a red car, somebody pouring coffee",
            icon=":material/search:",
            label_visibility="collapsed",
        )
        button.form_submit_button("Search", type="primary", width="stretch", on_click=_asked)
    return text


def _asked() -> None:
    text = st.session_state["search-box"]
    st.session_state["search-last"] = text
    st.session_state["search-wanted"] = _FIRST
    st.query_params["q"] = text


def _card(library: Library, result: SearchResult, rank: int) -> None:
    moment = result.moment
    span = f"{clock(moment.span.start)} - {clock(moment.span.end)}"
    with st.container(border=True):
        clicked = elements.tile(result.thumbnail, f":material/play_arrow: {span}", f"m{rank}")
        left, right = st.columns([3, 2], vertical_alignment="center")
        with left:
            elements.caption(result.video.name, f"score {moment.score:.3f}", tooltip=result.video)
        if right.button("Open", key=f"open-{rank}", width="stretch"):
            elements.open_video(moment.video_id, moment.span.start)
    if clicked:
        _play_moment(library, result)


@st.dialog("Moment", width="medium")
def _play_moment(library: Library, result: SearchResult) -> None:
    moment = result.moment
    elements.line(result.video.name, "name", tooltip=result.video)
    with elements.errors_shown():
        with st.spinner("Cutting the moment ..."):
            clip = preview.moment_clip(library, library.video(moment.video_id), moment)
        elements.play(clip, autoplay=True)
    elements.line(
        f"{clock(moment.span.start)} - {clock(moment.span.end)}, best at"
        f" {clock(moment.peak_seconds)}, score {moment.score:.3f}"
    )
    if st.button("Open the video here", key="moment-open", icon=":material/movie:"):
        elements.open_video(moment.video_id, moment.span.start)


if __name__ == "__main__":
    show()
