"""Work that takes long, in a thread of its own: it belongs to the server, not to a view.

A view starts it, shows how far it is and may be left meanwhile; other sessions go on. Of each kind
one runs at a time in one library.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ui import elements, session
from vidsift.errors import LibraryBusyError, VidsiftError

__all__ = ["Drawn", "Job", "Running", "Tell", "follow", "newest", "panel", "start"]

_REFRESH_SECONDS = 0.5
_SURE_FROM = 0.05  # of the work, from which on the time that is left is told
_LEAST_SECONDS = 0.5  # that are told
_Result = TypeVar("_Result")

Tell = Callable[..., None]
"""`tell(share, now="")`: how much is done, 0 to 1, and what is being looked at."""


@runtime_checkable
class Running(Protocol):
    """Work in a thread of its own."""

    @property
    def running(self) -> bool: ...

    def wait(self, timeout: float | None = None) -> None: ...


Drawn = tuple[Running, Callable[[], None]]
"""What is at work, and what draws how far it is."""


class _StoppedError(Exception):
    """A person has stopped it."""


class Job(Generic[_Result]):
    """One piece of work; any session may look at how far it is."""

    def __init__(self, doing: str, work: Callable[[Tell], _Result]) -> None:
        """Begin; `doing` says for people what it does, as `Checking the library`."""
        self.doing = doing
        self.share = 0.0
        self.now = ""
        self.result: _Result | None = None
        self.error = ""
        self.seconds = 0.0
        self.ended_at = 0.0  # seconds of the epoch
        self._began = time.monotonic()
        self._stopping = threading.Event()
        self._work = work
        self._thread = threading.Thread(target=self._run, name="page-job", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the share that is done, None while there is too little to go by."""
        if self.share < _SURE_FROM:
            return None
        return (time.monotonic() - self._began) * (1 - self.share) / self.share

    def stop(self) -> None:
        """Ask it to end the next time that it tells how far it is."""
        self._stopping.set()

    def wait(self, timeout: float | None = None) -> None:
        """Return when it has ended, or after `timeout` seconds."""
        self._thread.join(timeout)

    def _run(self) -> None:
        self.error = "ended unexpectedly; the terminal of `vidsift ui` says why"
        try:
            self.result = self._work(self._tell)
            self.error = ""
        except _StoppedError:
            self.error = "stopped"
        except VidsiftError as error:
            self.error = str(error)
        finally:
            self.seconds = time.monotonic() - self._began
            self.ended_at = time.time()

    def _tell(self, share: float, now: object = "") -> None:
        if self._stopping.is_set():
            raise _StoppedError
        self.share, self.now = min(1.0, max(0.0, share)), str(now)


class _Jobs:
    """The newest job of each kind in one library."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.newest: dict[str, Job[Any]] = {}


@st.cache_resource(show_spinner=False)
def _jobs(root: str) -> _Jobs:
    """Of the library in this folder; by a name that begins with _ none would be told apart."""
    return _Jobs()


def _here() -> _Jobs:
    return _jobs(str(session.current().root))


def start(kind: str, doing: str, work: Callable[[Tell], _Result]) -> Job[_Result]:
    """Begin a job of this kind.

    Raises:
        LibraryBusyError: one of this kind is at work.
    """
    jobs = _here()
    with jobs.lock:
        before = jobs.newest.get(kind)
        if before is not None and before.running:
            raise LibraryBusyError(f"{before.doing} is under way already; wait for it to end")
        jobs.newest[kind] = job = Job(doing, work)
        return job


def newest(kind: str) -> Job[Any] | None:
    """The job of this kind that was begun last in this library."""
    return _here().newest.get(kind)


def panel(slot: DeltaGenerator, job: Job[Any], key: str, *, stop: str = "") -> Callable[[], None]:
    """A place that shows how far a job is, drawn anew at every call of what is returned.

    `stop` is the label of the button that stops it, if it can be stopped.
    """
    with slot.container(border=True):
        bar = st.progress(0.0, text=f"{elements.plain(job.doing)} ...")
        name = st.empty()
        if stop and st.button(stop, icon=":material/stop:", key=f"stop-{key}"):
            job.stop()

    def draw() -> None:
        text = f"{job.doing} ... {job.share:.0%}"
        if (left := job.seconds_left) is not None and left >= _LEAST_SECONDS:
            text += f", about {elements.time_words(left)} left"
        bar.progress(job.share, text=elements.plain(text))
        if job.now:
            with name.container():
                elements.line(job.now)

    return draw


def follow(shown: Sequence[Drawn]) -> None:
    """Draw jobs until one of them ends, and run the page again; call it last in a view.

    A loop and not a timer in the browser, which is lost when views are switched while it fires;
    leaving the view ends this script at its next output.
    """
    while all(job.running for job, _ in shown):
        for _, draw in shown:
            draw()
        shown[0][0].wait(_REFRESH_SECONDS)
    st.rerun()
