"""Files that have just come into a watched folder: which of them are whole?

A file is whole when its size and time of writing have stood still for some seconds, nobody holds it
open for writing (where the system can tell: Linux), and ffmpeg can read its headers. What does not
become whole is tried a few times, ever less often, and then given up until it changes again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from vidsift.errors import MediaError, MediaToolError
from vidsift.media.probe import probe

__all__ = ["Arrivals", "open_for_writing"]

_PROBES = 5  # the last of which comes 31 intervals after the first


@dataclass
class _Arrival:
    """A file as it was when it was last looked at; times are of a monotonic clock."""

    state: tuple[int, int]  # size, time of writing
    still_since: float
    next_look: float
    probes: int = 0


class Arrivals:
    """Files that are waited for."""

    def __init__(self, interval: float, say: Callable[[str], None]) -> None:
        """`interval`: seconds that a file must stand still; `say` is told what is waited for."""
        self._interval = interval
        self._say = say
        self._waiting: dict[Path, _Arrival] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def settling(self) -> bool:
        """Whether a file may be whole soon; others have been found not to be, and must wait."""
        return any(arrival.probes == 0 for arrival in self._waiting.values())

    def note(self, path: Path) -> None:
        """A file has come, or something about it has changed."""
        state = _state(path)
        if state is None:
            return
        now = time.monotonic()
        before = self._waiting.get(path)
        probes = before.probes if before is not None and before.state == state else 0
        self._waiting[path] = _Arrival(state, now, now + self._interval, probes)

    def whole(self) -> list[Path]:
        """The files that are whole by now, or given up, which are then no longer waited for.

        What is given up is for `index_videos` to refuse, with the reason, and to remember.

        Raises:
            MediaToolError: there is no ffmpeg that could tell.
        """
        due = [path for path, arrival in self._waiting.items() if self._is_due(path, arrival)]
        due = [path for path in due if path in self._waiting]
        written = open_for_writing(due)
        whole = []
        for path in due:
            arrival = self._waiting[path]
            if path in written:
                arrival.next_look = time.monotonic() + self._interval
            elif self._is_whole(path, arrival):
                whole.append(path)
        for path in self._gone():
            del self._waiting[path]
        for path in whole:
            self._waiting.pop(path, None)
        return whole

    def _is_due(self, path: Path, arrival: _Arrival) -> bool:
        state = _state(path)
        now = time.monotonic()
        if state is not None and state != arrival.state:
            arrival.state, arrival.still_since, arrival.probes = state, now, 0
            arrival.next_look = now + self._interval
        return state is not None and now >= arrival.next_look

    def _is_whole(self, path: Path, arrival: _Arrival) -> bool:
        try:
            probe(path)
        except MediaToolError:
            raise
        except MediaError as error:
            arrival.probes += 1
            if arrival.probes == 1:
                self._say(f"{path}: not whole yet, waiting for it: {error.reason}")
            arrival.next_look = time.monotonic() + self._interval * 2**arrival.probes
            return arrival.probes == _PROBES
        return True

    def _gone(self) -> list[Path]:
        return [path for path in self._waiting if not path.exists()]


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def open_for_writing(paths: Collection[Path]) -> set[Path]:
    """Those of some files (real paths) that a process holds open for writing.

    Only on Linux, and only processes that this user may look into; elsewhere none.
    """
    sought = {os.fspath(path) for path in paths}
    return {Path(path) for path in _written_files(sought)} if sought else set()


def _written_files(sought: set[str]) -> Iterator[str]:
    for process in _listed(Path("/proc")):
        if not process.name.isdecimal():
            continue
        for descriptor in _listed(process / "fd"):
            try:
                path = os.fspath(descriptor.readlink())
                if path in sought and _writes(process / "fdinfo" / descriptor.name):
                    yield path
            except OSError:  # it was closed, or belongs to somebody else
                continue


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _writes(fdinfo: Path) -> bool:
    lines = fdinfo.read_text(encoding="ascii").splitlines()
    flags = next((int(line.split()[1], 8) for line in lines if line.startswith("flags:")), 0)
    return flags & os.O_ACCMODE != os.O_RDONLY
