"""Watched folders: what changes in them, and whether they are there.

The system tells of changes (watchdog: inotify, FSEvents, kqueue, ReadDirectoryChangesW), or the
folders are looked at again and again, for network shares that do not tell.
"""

from __future__ import annotations

import errno
import os
import queue
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.observers.polling import PollingObserver

from indexer.scan import lies_under, real_path
from vidsift.errors import VidsiftError

__all__ = ["WatchedFolders"]

_CHANGES = frozenset(["created", "modified", "moved", "deleted", "closed"])


class _Handler(FileSystemEventHandler):
    """Puts the paths of changes into a queue; called in the observer's thread."""

    def __init__(self, changes: queue.SimpleQueue[Path]) -> None:
        self._changes = changes

    def on_any_event(self, event: FileSystemEvent) -> None:
        # A folder counts as modified with each entry, which is told of by itself.
        if event.event_type not in _CHANGES or (
            event.is_directory and event.event_type == "modified"
        ):
            return
        for path in (event.src_path, event.dest_path):
            if path:
                self._changes.put(Path(os.fsdecode(path)))


@dataclass
class _Folder:
    """A folder; `identity` is its device and inode, None while it is away."""

    path: Path
    identity: tuple[int, int] | None
    handle: ObservedWatch | None = None


class WatchedFolders:
    """Folders with all that is below them."""

    def __init__(self, named: Sequence[Path | str], *, poll: bool, interval: float) -> None:
        """`poll`: look every `interval` seconds instead of being told.

        Raises:
            VidsiftError: one of them does not exist or is no folder.
        """
        paths = set()
        for name in named:
            path = real_path(name)
            if not path.is_dir():
                what = "is not a folder" if path.exists() else "no such folder"
                raise VidsiftError(f"{path}: {what}; name folders to watch")
            paths.add(path)
        outer = [path for path in paths if not lies_under(path, list(paths - {path}))]
        self._folders = [_Folder(path, _identity(path)) for path in sorted(outer)]
        self._changes: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self._observer: BaseObserver = PollingObserver(timeout=interval) if poll else Observer()

    def start(self) -> None:
        """Begin to be told of changes.

        Raises:
            VidsiftError: the system watches no more folders.
        """
        self._observer.start()
        for folder in self._folders:
            self._observe(folder)

    def close(self) -> None:
        """End it; safe where it has not begun."""
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join()

    @property
    def here(self) -> list[Path]:
        """The folders that are there."""
        return [folder.path for folder in self._folders if folder.identity is not None]

    @property
    def away(self) -> list[Path]:
        """The folders that have gone."""
        return [folder.path for folder in self._folders if folder.identity is None]

    def changes(self, timeout: float) -> set[Path]:
        """Paths at which something has changed; waits for the first of them."""
        changed = set()
        with suppress(queue.Empty):
            changed.add(self._changes.get(timeout=timeout))
            while True:
                changed.add(self._changes.get_nowait())
        return changed

    def holds(self, path: Path) -> bool:
        """Whether the path lies in one of the folders, and neither it nor its folder is hidden."""
        for folder in self._folders:
            if path.is_relative_to(folder.path):
                parts = path.relative_to(folder.path).parts
                return not any(part.startswith(".") for part in parts)
        return False

    def look(self) -> tuple[list[Path], list[Path]]:
        """The folders that have gone since the last look, and those that are new in their place.

        A folder is away, too, while an empty one stands in its place, as where a disk was mounted.

        Raises:
            VidsiftError: the system watches no more folders.
        """
        gone, new = [], []
        for folder in self._folders:
            now = _identity(folder.path)
            if now == folder.identity:
                continue
            self._forget(folder)
            if now is None or _is_empty(folder.path):
                if folder.identity is not None:
                    gone.append(folder.path)
                folder.identity = None
            else:
                folder.identity = now
                self._observe(folder)
                new.append(folder.path)
        return gone, new

    def _observe(self, folder: _Folder) -> None:
        try:
            folder.handle = self._observer.schedule(
                _Handler(self._changes), str(folder.path), recursive=True
            )
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EMFILE):
                raise VidsiftError(
                    f"{folder.path}: the system watches no more folders ({error.strerror}); raise"
                    " fs.inotify.max_user_watches and max_user_instances, or use --poll"
                ) from error
            folder.identity = None  # it went this very moment

    def _forget(self, folder: _Folder) -> None:
        if folder.handle is not None:
            with suppress(KeyError, OSError):  # its thread has ended with the folder
                self._observer.unschedule(folder.handle)
            folder.handle = None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
        return (status.st_dev, status.st_ino) if path.is_dir() else None
    except OSError:
        return None


def _is_empty(path: Path) -> bool:
    try:
        return next(path.iterdir(), None) is None
    except OSError:
        return True
