"""Files that are either there whole or not there at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from vidsift.errors import StorageError

__all__ = ["PART", "write_atomically"]

# What a writer that was killed leaves behind ends so.
PART = ".part"


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write beside `path`, force it to disk, then rename: a reader sees the old file or the new.

    One writer a path at a time. The folder is made if need be.

    Raises:
        StorageError: the disk is full or may not be written; nothing is left of the attempt.
    """
    part = path.with_name(path.name + PART)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
        # The rename itself must outlive a power cut: what is committed next names the file.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        _discard(part)
        raise StorageError(
            f"{path}: cannot be written: {error.strerror}; free some space or mend the "
            "permissions, and run again"
        ) from error
    except BaseException:
        _discard(part)
        raise


def _discard(part: Path) -> None:
    # What kept the file from being written may keep it from being deleted; that came first.
    with suppress(OSError):
        part.unlink()
