"""What all sessions of the page share: one open library, its search, and one run of indexing.

Streamlit runs each session's script in a thread of its own, so everything here may be called from
several threads. A page may be left and come back to while a run goes on: the run belongs to the
server process.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from indexer import IndexProgress, IndexReport, index_videos
from search import SearchEngine
from ui.asked import remember_question
from vidsift.config import default_library
from vidsift.errors import LibraryBusyError, VidsiftError
from vidsift.library import Library
from vidsift.models.encoder import ReleasableEncoder
from vidsift.models.memory import trim
from vidsift.paths import expanded
from vidsift.types import Answer

if TYPE_CHECKING:
    from search.videos import RankedVideo

__all__ = ["IndexJob", "Workspace", "current", "workspace"]


# Questions that are answered at the same time: more would only wait for one another, each with all
# that it holds in memory.
_AT_ONCE = max(2, min(8, os.cpu_count() or 1))


class _StoppedError(Exception):
    """A person has stopped the run; what was finished is kept."""


class Workspace:
    """One library folder as this server process sees it; the library is opened when first used.

    The models of its encoder are let go when nobody has used them for `idle_minutes`, and after a
    run of indexing; the next question loads them again.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.job: IndexJob | None = None
        self._library: Library | None = None
        self._opening = threading.Lock()
        self._loading = threading.Lock()
        self._starting = threading.Lock()
        self._asking = threading.BoundedSemaphore(_AT_ONCE)
        self._idle: threading.Thread | None = None
        self._closing = threading.Event()

    def library(self, *, create: bool = False) -> Library:
        """The library, opened once.

        Raises:
            LibraryNotFoundError: there is none in the folder and `create` is false.
            ConfigError, SchemaError, StorageError: as they say.
        """
        with self._opening:
            if self._library is None:
                self._library = Library.open(self.root, create=create)
            return self._library

    def library_with_encoder(self) -> Library:
        """The library with its encoder loaded, which takes seconds the first time.

        Raises:
            EncoderError, EncoderMismatchError: the encoder cannot be used, and why.
        """
        library = self.library()
        # From Python 3.12 on a cached property may be computed by two threads at once.
        with self._loading:
            _ = library.encoder
            if self._idle is None:
                self._idle = threading.Thread(
                    target=self._release_when_idle, args=(library,), name="idle", daemon=True
                )
                self._idle.start()
        return library

    def ask(self, text: str, k: int, **options: Any) -> Answer:
        """The answer to a question, which is remembered; see SearchEngine.ask."""
        library = self.library_with_encoder()
        with self._asking:
            answer = SearchEngine(library).ask(text, k, **options)
        remember_question(library, text, options)
        return answer

    def rank_videos(self, text: str, k: int) -> list[RankedVideo]:
        """The `k` best videos as a whole; see SearchEngine.rank_videos."""
        with self._asking:
            return SearchEngine(self.library_with_encoder()).rank_videos(text, k)

    def release(self, idle_seconds: float = 0.0) -> bool:
        """Give back the memory of models that nobody used for so long; whether there were any."""
        library = self._library
        encoder = None if library is None else library.__dict__.get("encoder")
        if library is None or not isinstance(encoder, ReleasableEncoder):
            return False
        if not encoder.release(idle_seconds):
            return False
        library.features.close()
        trim()
        return True

    def close(self) -> None:
        """Close the library; it is opened again when it is used."""
        self._closing.set()
        with self._loading:
            idle, self._idle = self._idle, None
        if idle is not None:
            idle.join()
        self._closing.clear()
        with self._opening:
            if self._library is not None:
                self._library.close()
                self._library = None

    def _release_when_idle(self, library: Library) -> None:
        idle_seconds = library.settings.idle_minutes * 60
        while not self._closing.wait(idle_seconds / 4):
            self.release(idle_seconds)

    def start_indexing(self, paths: Sequence[str], *, retry: bool = False) -> IndexJob:
        """Index files and folders in the background; the library is made if there is none.

        With `retry` also those are tried again that could not be used before.

        Raises:
            LibraryBusyError: a run that this page started goes on.
        """
        with self._starting:
            if self.job is not None and self.job.running:
                raise LibraryBusyError(
                    f"{self.root}: this page is indexing already; wait for it to end, or stop it"
                )
            self.library(create=True)
            self.job = IndexJob(self, paths, retry=retry)
            return self.job


class IndexJob:
    """One run of indexing in a thread of its own; any session may look at how far it is."""

    def __init__(self, workspace: Workspace, paths: Sequence[str], *, retry: bool = False) -> None:
        self.paths = tuple(paths)
        self._retry = retry
        self.progress: IndexProgress | None = None
        self.report: IndexReport | None = None
        self.error = ""
        self._workspace = workspace
        self._stopping = threading.Event()
        self._encoding_since = 0.0
        self._thread = threading.Thread(target=self._run, name="index-job", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the bytes that are done, None while there is nothing to go by."""
        progress = self.progress
        if progress is None or progress.done_bytes <= 0:
            return None
        spent = time.monotonic() - self._encoding_since
        return spent * (progress.total_bytes - progress.done_bytes) / progress.done_bytes

    def stop(self) -> None:
        """Ask the run to end; videos that are finished stay in the library."""
        self._stopping.set()

    def wait(self, timeout: float | None = None) -> None:
        """Return when the run has ended, or after `timeout` seconds."""
        self._thread.join(timeout)

    def _run(self) -> None:
        self.error = "indexing ended unexpectedly; the terminal of `vidsift ui` says why"
        try:
            library = self._workspace.library_with_encoder()
            self._encoding_since = time.monotonic()
            self.report = index_videos(
                library, self.paths, retry=self._retry, on_progress=self._on_progress
            )
            self.error = ""
        except _StoppedError:
            self.error = "stopped; what was finished is kept, index the folder again to go on"
        except VidsiftError as error:
            self.error = str(error)
        finally:
            self._workspace.release()

    def _on_progress(self, progress: IndexProgress) -> None:
        if self._stopping.is_set():
            raise _StoppedError
        self.progress = progress


@st.cache_resource(show_spinner=False)
def workspace(root: str) -> Workspace:
    """The one workspace that this server process has for a library folder."""
    return Workspace(Path(root))


def current() -> Workspace:
    """The workspace of the library that `vidsift ui` was started with."""
    return workspace(str(expanded(default_library()).absolute()))
