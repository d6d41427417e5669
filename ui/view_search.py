"""Search: a question, and the moments that answer it."""

from __future__ import annotations

import streamlit as st

from ui import across_panel, coverage, elements, question_form, session
from ui.question_form import Asked
from ui.result_card import card, video_card
from vidsift.library import Library
from vidsift.types import Answer

_FIRST = 12  # moments that are shown at first, and how many more a click adds
_MOST = 96
_NAMED = 12  # of the videos that were left out


def show() -> None:
    """The view. The question is part of the address, so that a search can be shared."""
    library = session.current().library()
    if not library.catalog.videos("searchable"):
        elements.welcome()
        return
    elements.heading("Search", "Say in words what is to be seen, or show a picture of it.")
    asked = question_form.question()
    if asked is None:
        return
    slot = question_form.said_so_far(asked)
    wanted = st.session_state.get("search-wanted", _FIRST)
    found = _videos(library, asked, wanted) if asked.whole_videos else _moments(asked, wanted)
    question_form.show_picture(asked, slot)
    if found and asked.text and not any(asked.examples.values()):
        _offer_summary(asked)
    if wanted <= found < _MOST:
        st.button(
            "Show more", icon=":material/expand_more:", on_click=_show_more, args=(wanted + _FIRST,)
        )


def _offer_summary(asked: Asked) -> None:
    if st.button("Make one summary of what answers this", icon=":material/content_cut:"):
        across_panel.ask_across(asked.text)


def _show_more(wanted: int) -> None:
    st.session_state["search-wanted"] = wanted


def _moments(asked: Asked, wanted: int) -> int:
    with st.spinner("Searching ...", show_time=True):
        answer = asked.answer(wanted)
    _say(answer, wanted)
    judged = asked.can_be_judged
    with st.container(key="results"):
        for rank, result in enumerate(answer.results):
            card(asked, answer, result, rank, judged=judged)
    return len(answer.results)


def _videos(library: Library, asked: Asked, wanted: int) -> int:
    with st.spinner("Searching ...", show_time=True):
        videos = asked.videos(wanted)
    if not videos:
        elements.line("No video that the question admits has anything to show.", "text")
    with st.container(key="results"):
        for rank, video in enumerate(videos):
            video_card(library, video, rank)
    return len(videos)


def _say(answer: Answer, wanted: int) -> None:
    count = len(answer.results)
    if answer.left_out:
        _say_left_out(answer)
    if not count:
        elements.line("No video that the question admits has anything to show.", "text")
        return
    if not answer.matched:
        st.info(
            "Nothing here matches. The nearest moments are shown below.",
            icon=":material/search_off:",
        )
    shown = f"The {count} best moments" if count >= wanted else f"{count} moments, best first"
    if count == 1:
        shown = "1 moment"
    looked = "every clip was compared" if answer.exact else "only the likeliest clips were compared"
    elements.line(f"{shown}; {looked}")


def _say_left_out(answer: Answer) -> None:
    """An answer that lacks what is damaged must not look complete."""
    coverage.require_told(each.video_id for each in answer.left_out)
    count = len(answer.left_out)
    what = "1 video is damaged and was" if count == 1 else f"{count:,} videos are damaged and were"
    with st.expander(
        f"{what} not searched: run a repair", icon=":material/healing:", key="left-out"
    ):
        for each in answer.left_out[:_NAMED]:
            elements.reason(each.video.name, elements.without_command(each.reason), each.video)
        if count > _NAMED:
            elements.line(f"and {count - _NAMED:,} more", "small")
        if st.button("Check and repair", key="left-out-repair", icon=":material/healing:"):
            elements.open_library("Check and repair")


if __name__ == "__main__":
    show()
