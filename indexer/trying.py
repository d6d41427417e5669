"""Which files were being indexed when the process died, so that none can kill it for ever."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

__all__ = ["MOST_DEATHS", "TRYING", "Trying"]

TRYING = "trying.json"

MOST_DEATHS = 3
"""So many times a file is tried again after the process died while it was being indexed."""


class Trying:
    """A note beside the library of what is being indexed; only for who holds the write lock.

    It is read once, when it is made. What ended in order, well or not, is taken off the note, so
    what is found on it was there when the process died: killed, or out of memory. Where the note
    cannot be written, it is done without.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._deaths = _read(file)  # by the content's SHA-256; what is in flight counts in advance
        self._in_flight: set[str] = set()

    def deaths(self, sha256: str) -> int:
        """How often in a row the process died while this content was being indexed."""
        return self._deaths.get(sha256, 0)

    def begin(self, sha256: str) -> None:
        """It is about to be indexed."""
        if sha256 in self._in_flight:  # a copy of it is
            return
        self._deaths[sha256] = self.deaths(sha256) + 1
        self._in_flight.add(sha256)
        self._write()

    def end(self, sha256: str) -> None:
        """It is indexed, or found not to be of use."""
        self._in_flight.discard(sha256)
        if self._deaths.pop(sha256, 0):
            self._write()

    def close(self) -> None:
        """What is still in flight was given up in order: it has caused nothing."""
        for sha256 in self._in_flight:
            self._deaths[sha256] -= 1
        self._in_flight.clear()
        self._deaths = {sha256: count for sha256, count in self._deaths.items() if count}
        self._write()

    def _write(self) -> None:
        # Neither forced to disk nor missed: a power cut is not the file's fault.
        with contextlib.suppress(OSError):
            if not self._deaths:
                self._file.unlink(missing_ok=True)
                return
            part = self._file.with_name(self._file.name + ".part")
            part.write_text(json.dumps(self._deaths), "utf-8")
            part.replace(self._file)


def _read(file: Path) -> dict[str, int]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(key): value for key, value in found.items() if type(value) is int and value > 0}
