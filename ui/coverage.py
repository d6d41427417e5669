"""How many of the library's videos can be searched, at the head of every view, and why not all.

The count is that of `vidsift status`: rows, files and what the checksums said. It is taken once for
all sessions, when the catalog has changed or a few seconds have passed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import streamlit as st

from ui import elements, session
from vidsift.errors import VidsiftError
from vidsift.library import Library
from vidsift.store.records import Generation
from vidsift.types import VideoRecord

__all__ = ["STATES", "Coverage", "coverage", "look_again", "reasons", "require_told", "show"]

STATES = {"damaged": "damaged", "failed": "not usable", "missing": "file is gone"}
"""What a video is that cannot be searched, in words; what needs a person's eye first."""

_WHAT_TO_DO = {
    "damaged": "What is stored of it is not what was written. Check and repair mends it from the"
    " video's file.",
    "failed": "It could not be read as a video. Replace the file, or try it again.",
    "missing": "Put the file back, or index the folder that it lies in now.",
}
_FRESH_SECONDS = 5.0
_QUICK_SECONDS = 0.1
_REST = 20  # times as long as a look took, where it is not quick, before the next one
_SHOWN = 8  # videos of each state

_TOLD = "coverage-told"
_FOUND = "coverage-found"
"""Keys of the session's state: ids of videos that the head of the view names, or has to name."""

NotSearchable = tuple[VideoRecord, str, str]
"""A video, its state (a key of STATES) and the reason."""


@dataclass(frozen=True)
class Coverage:
    """How many videos there are, and those that cannot be searched."""

    total: int
    rest: tuple[NotSearchable, ...]

    @property
    def searchable(self) -> int:
        return self.total - len(self.rest)

    def of(self, state: str) -> list[NotSearchable]:
        """Those that cannot be searched for this state."""
        return [each for each in self.rest if each[1] == state]


class _Look:
    """The last look at a library, for all sessions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._coverage = Coverage(0, ())
        self._state: Generation | None = None
        self._earliest = 0.0  # of the clock, the next look
        self._latest = 0.0

    def at(self, library: Library) -> Coverage:
        state = library.catalog.generation()
        with self._lock:
            began = time.monotonic()
            if began < self._earliest or (state == self._state and began < self._latest):
                return self._coverage
            total = len(library.catalog.videos())
            self._coverage = Coverage(total, tuple(library.not_searchable()))
            self._state = state
            now = time.monotonic()
            rest = _REST * (now - began) if now - began > _QUICK_SECONDS else 0.0
            self._earliest, self._latest = now + rest, now + max(rest, _FRESH_SECONDS)
            return self._coverage

    def again(self) -> None:
        with self._lock:
            self._state, self._earliest, self._latest = None, 0.0, 0.0


@st.cache_resource(show_spinner=False)
def _look(root: str) -> _Look:
    """Of the library in this folder; by a name that begins with _ none would be told apart."""
    return _Look()


def coverage(library: Library) -> Coverage:
    """What can be searched, a few seconds old at most while a look at the library is quick."""
    return _look(str(library.root)).at(library)


def look_again() -> None:
    """Something has just been changed: the next one who asks is told of it."""
    _look(str(session.current().root)).again()


def show() -> None:
    """The line at the head of every view; a click on it shows the reasons."""
    try:
        found = coverage(session.current().library())
    except VidsiftError:  # which the view says
        return
    st.session_state[_TOLD] = frozenset(video.id for video, _, _ in found.rest)
    if not found.total:
        return
    text = f"{found.searchable:,} of {found.total:,} videos searchable"
    with st.container(key="coverage"):
        if not found.rest:
            elements.line(text)
            return
        with st.popover(text, icon=":material/warning:", key="coverage-why"):
            reasons(found)
            with st.container(horizontal=True):
                if st.button("Open the library", key="coverage-open", icon=":material/list:"):
                    elements.open_library()
                if found.of("damaged") and st.button(
                    "Check and repair", key="coverage-check", icon=":material/healing:"
                ):
                    elements.open_library("Check and repair")


def require_told(video_ids: Iterable[int]) -> None:
    """Run the page again where what it has just found out is not yet said at its head."""
    before = st.session_state.get(_FOUND, frozenset())
    found = frozenset(video_ids)
    if not found <= before | st.session_state.get(_TOLD, frozenset()):
        st.session_state[_FOUND] = before | found  # once for each, whatever comes of it
        look_again()
        st.rerun()


def reasons(found: Coverage) -> None:
    """Each video that cannot be searched with its reason, by state, and what to do about it."""
    for state, words in STATES.items():
        of_state = found.of(state)
        if not of_state:
            continue
        with st.container(gap="xsmall", key=f"not-{state}"):
            elements.line(f"{len(of_state):,} {words}", "name")
            elements.line(_WHAT_TO_DO[state], "small")
            _listed(of_state)


def _listed(of_state: Sequence[NotSearchable]) -> None:
    for video, _, reason in of_state[:_SHOWN]:
        elements.reason(video.path.name, elements.without_command(reason), tooltip=video.path)
    if (more := len(of_state) - _SHOWN) > 0:
        elements.line(f"and {more:,} more, all of them in the library", "small")
