"""Rendering a skim from a view: what is there stays to be seen until the new one is done.

A wish is kept with the session, and carried out at the end of the view's script, when all else is
drawn. Whatever is clicked meanwhile runs the script anew, which comes back to the wish; so does a
person who has left the view. Only Stop, an error or the finished film ends it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from summarizer import Skim
from ui import elements, preview
from vidsift.errors import VidsiftError
from vidsift.library import Library

__all__ = ["finish", "last_played", "wish"]

_SURE_FROM = 0.05  # of the work, from which on the time that is left is told


def wish(place: str, skim: Skim, then: Mapping[str, Any] | None = None) -> None:
    """Have the view render this skim; when it is done, `then` is written to the session's state."""
    st.session_state[f"wish-{place}"] = (skim, dict(then or {}))


def last_played(place: str) -> Skim | None:
    """The skim that was rendered last in this place."""
    played: Skim | None = st.session_state.get(f"played-{place}")
    return played


def finish(library: Library, place: str, slot: DeltaGenerator) -> None:
    """Carry out what was wished for in this place; progress and errors are shown in `slot`.

    Call it last in a view: it runs the page again when the film is there.
    """
    wished = st.session_state.get(f"wish-{place}")
    if wished is None:
        return
    skim, then = wished
    with slot.container(), elements.errors_shown():
        try:
            _render(library, place, skim)
        except VidsiftError:
            _forget(place)
            raise
        _forget(place)
        st.session_state[f"played-{place}"] = skim
        st.session_state.update(then)
        st.rerun()


def _render(library: Library, place: str, skim: Skim) -> None:
    if "mp4" in preview.known_skim(library, skim):
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, text="Rendering the summary ...", width="stretch")
        st.button(
            "Stop",
            icon=":material/stop:",
            key=f"stop-{place}",
            on_click=_forget,
            args=(place,),
        )
    since = time.monotonic()

    def tell(share: float) -> None:
        text = f"Rendering the summary ... {share:.0%}"
        if share >= _SURE_FROM:
            left_seconds = (time.monotonic() - since) * (1 - share) / share
            text += f", about {elements.time_words(left_seconds)} left"
        bar.progress(min(1.0, share), text=text)

    preview.skim_files(library, skim, ["mp4"], progress=tell)


def _forget(place: str) -> None:
    st.session_state.pop(f"wish-{place}", None)
