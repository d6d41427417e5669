"""Files and folders that are either there whole or not there at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from vidsift.errors import StorageError

__all__ = [
    "PART",
    "make_folder",
    "put_in_place",
    "remove_file",
    "write_atomically",
    "write_folder_atomically",
]

# What a writer that was killed leaves behind ends so.
PART = ".part"
# What some file systems (of networks, in user space) say to the wish to force a folder to disk.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write beside `path`, force it to disk, then rename: a reader sees the old file or the new.

    One writer a path at a time. The folder is made if need be.

    Raises:
        StorageError: the disk is full or may not be written; nothing is left of the attempt.
    """
    part = _part(path)
    try:
        make_folder(path.parent)
        _write(part, chunks)
        part.replace(path)
        # The rename itself must outlive a power cut: what is committed next names the file.
        _sync_folder(path.parent)
    except OSError as error:
        _discard(part)
        raise _storage_error(path, error) from error
    except BaseException:
        _discard(part)
        raise


def write_folder_atomically(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a new folder of files beside `folder`, force all to disk, then rename it.

    Raises:
        StorageError: the disk is full or may not be written; nothing is left of the attempt.
    """
    part = _part(folder)
    try:
        make_folder(folder.parent)
        part.mkdir()
        for name, content in files.items():
            _write(part / name, [content])
        _sync_folder(part)
        part.rename(folder)
        _sync_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise _storage_error(folder, error) from error
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they outlive a power cut.

    Raises:
        OSError: it cannot be made.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def put_in_place(part: Path, path: Path) -> None:
    """Force a finished file, which another program may have written, to disk and rename it.

    Raises:
        OSError: it cannot be.
    """
    descriptor = os.open(part, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.replace(path)
    _sync_folder(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        StorageError: it may not be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be removed: {error.strerror or error}; mend the permissions, and run"
            " again"
        ) from error


def _part(path: Path) -> Path:
    return path.with_name(path.name + PART)


def _write(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    with path.open("wb") as stream:
        for chunk in chunks:
            stream.write(chunk)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)


def _discard(part: Path) -> None:
    # What kept the file from being written may keep it from being deleted; that came first.
    with suppress(OSError):
        part.unlink()


def _storage_error(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path}: cannot be written: {error.strerror or error}; free some space or mend the "
        "permissions, and run again"
    )
