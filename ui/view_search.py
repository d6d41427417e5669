"""Search: a question, and the moments that answer it."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from ui import elements, question_form, session
from ui.result_card import card, video_card
from vidsift.types import Answer

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
    elements.heading("Search", "Say in words what is to be seen, or show a picture of it.")
    asked = question_form.question()
    if asked is None:
        return
    wanted = st.session_state.setdefault("search-wanted", _FIRST)
    if asked.whole_videos:
        with st.spinner("Searching ...", show_time=True):
            videos = workspace.rank_videos(asked.text, wanted)
        _in_rows(len(videos), lambda rank: video_card(library, videos[rank], rank))
        more = len(videos) == wanted
    else:
        with st.spinner("Searching ...", show_time=True):
            answer = workspace.ask(asked.text, wanted, **asked.options)
        _say(answer)
        results = answer.results
        _in_rows(len(results), lambda rank: card(library, asked, results[rank], rank))
        more = len(results) == wanted
    if more and wanted < _MOST and st.button("Show more", icon=":material/expand_more:"):
        st.session_state["search-wanted"] = wanted + _FIRST
        st.rerun()


def _say(answer: Answer) -> None:
    count = len(answer.results)
    if not count:
        elements.line("No video that the question admits has anything to show.", "text")
        return
    if not answer.matched:
        st.info(
            "Nothing here matches. The nearest moments are shown below.",
            icon=":material/search_off:",
        )
    looked = "every clip was compared" if answer.exact else "the likeliest clips were compared"
    moments = "1 moment" if count == 1 else f"{count} moments"
    elements.line(f"{moments}, best first; {looked}")


def _in_rows(count: int, draw: Callable[[int], None]) -> None:
    for start in range(0, count, _COLUMNS):
        ranks = range(start, min(start + _COLUMNS, count))
        for column, rank in zip(st.columns(_COLUMNS), ranks, strict=False):
            with column:
                draw(rank)


if __name__ == "__main__":
    show()
