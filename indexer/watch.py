"""Watch folders: index what comes into them, and put standing questions to it.

What a change is about is looked up on disk when it is told (`indexer.folders`): a path that has
gone, or a file that must become whole first (`indexer.arrivals`). The folders are walked when
watching begins, when one comes back, and every ten minutes, since systems drop events when there
are too many.

The library's write lock is held only while there is something to write.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from indexer.alerts import Delivery
from indexer.arrivals import Arrivals, open_for_writing
from indexer.folders import WatchedFolders
from indexer.pipeline import IndexReport, index_videos
from indexer.scan import VIDEO_SUFFIXES, find_files, lies_under, real_path
from indexer.standing import ask_standing_questions
from vidsift.errors import LibraryBusyError, VidsiftError
from vidsift.library import Library
from vidsift.media.subtitles import SIDECAR_SUFFIXES
from vidsift.store.records import Generation
from vidsift.store.standing import Alert
from vidsift.types import VideoRecord

__all__ = ["Listener", "watch"]

_TICK = 0.5  # seconds; nothing is looked at more often
_WALK_SECONDS = 600.0
_MOST_PATIENCE = 5  # intervals that a whole file waits for others of its burst
_BATCH = 32  # files a run, so that questions are not kept waiting until all of many are indexed


@runtime_checkable
class Index(Protocol):
    """What `index_videos` does, whether or not somebody is shown how far it is."""

    def __call__(
        self, library: Library, paths: Sequence[Path], *, skip: Collection[Path]
    ) -> IndexReport: ...


@dataclass(frozen=True)
class Listener:
    """Who is told, and of what: a line of text, what an indexing run did, a new alert."""

    say: Callable[[str], None]
    indexed: Callable[[IndexReport], None]
    alerted: Callable[[Alert], None]


def watch(
    library: Library,
    folders: Sequence[Path | str],
    listener: Listener,
    *,
    once: bool = False,
    poll: bool = False,
    interval: float = 3.0,
    index: Index = index_videos,
) -> bool:
    """Index what is in some folders and what comes into them, asking standing questions of it.

    Returns only with `once`: when nothing is waited for any more. Ends at a KeyboardInterrupt, as
    `index_videos` does: what is finished is kept, and what was not asked or handed over yet will be
    by the next run.

    Args:
        library: where to index.
        folders: with all that is below them, but for hidden files and folders.
        listener: is told what happens, in this thread.
        once: end when all is indexed that is there.
        poll: look at the folders every `interval` seconds instead of being told of changes.
        interval: seconds for which a file must stand still before it is taken for whole.
        index: indexes; in place of `index_videos`, it may show how far it is.

    Returns:
        Whether all files could be used and all alerts handed over.

    Raises:
        VidsiftError: a folder does not exist or is none, or cannot be watched.
        ConfigError: see `indexer.alerts.Delivery`.
        EncoderError, LibraryError: as `index_videos`; but a library that another process is
            writing to is waited for.
    """
    delivery = Delivery(library.settings, listener.say)
    watched = WatchedFolders(folders, poll=poll, interval=interval)
    watching = _Watch(library, watched, listener, delivery, interval, index)
    try:
        if not once:
            watched.start()
        return watching.run(once)
    finally:
        watched.close()


class _Watch:
    def __init__(
        self,
        library: Library,
        folders: WatchedFolders,
        listener: Listener,
        delivery: Delivery,
        interval: float,
        index: Index,
    ) -> None:
        self._library = library
        self._folders = folders
        self._listener = listener
        self._delivery = delivery
        self._interval = interval
        self._index_files = index
        self._arrivals = Arrivals(interval, listener.say)
        self._new = folders.here  # folders of which all is to be indexed
        self._gone: set[Path] = set()
        self._whole: dict[Path, float] = {}  # and since when
        self._asked: Generation | None = None
        self._undelivered = True  # as far as is known
        self._next_walk = time.monotonic() + _WALK_SECONDS
        self._is_busy = False
        self._all_well = True

    def run(self, once: bool) -> bool:
        while True:
            # First of all: what was indexed when this was not running, or died, may go any moment.
            self._ask_and_deliver()
            if self._new and self._index_all(self._new):
                self._new = []
                continue
            if once and self._is_done():
                return self._all_well and not self._undelivered
            for path in self._folders.changes(timeout=_TICK):
                self._note(path)
            self._look_after_folders()
            self._mark_gone()
            self._index_whole()

    def _is_done(self) -> bool:
        waiting = self._new or self._arrivals or self._whole or self._gone
        return not waiting and (not self._undelivered or self._delivery.has_tried())

    # What has changed on disk.

    def _note(self, path: Path) -> None:
        """Something has happened to what is, or was, at this path."""
        if not self._folders.holds(path) or path.is_relative_to(self._library.root):
            return
        if path.is_dir():
            for file in find_files([path], leave_out=self._library.root)[0]:
                self._arrivals.note(file)
        elif not path.exists():
            self._gone.add(path)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            self._arrivals.note(real_path(path))
        elif path.suffix.lower() in SIDECAR_SUFFIXES:
            for video in _files_beside(path):
                self._arrivals.note(video)

    def _look_after_folders(self) -> None:
        gone, new = self._folders.look()
        self._all_well &= not gone
        for path in gone:
            self._listener.say(f"{path}: has gone; waiting for it to come back")
        for path in new:
            self._listener.say(f"{path}: is back")
        self._new = [path for path in (*self._new, *new) if path not in gone]
        if time.monotonic() >= self._next_walk:
            self._next_walk = time.monotonic() + _WALK_SECONDS
            self._walk()

    def _walk(self) -> None:
        """Find what has changed without our being told."""
        here = self._folders.here
        with suppress(VidsiftError):  # a folder went this very moment: said at the next look
            files, _ = find_files(here, leave_out=self._library.root)
            known = {video.path: video for video in self._library.catalog.videos()}
            for path in files:
                if path not in known or _has_changed(path, known[path]):
                    self._arrivals.note(path)
            self._gone |= {path for path in known if lies_under(path, here)} - set(files)

    # What is done about it.

    def _index_all(self, folders: Sequence[Path]) -> bool:
        """Bring the library up to what is in folders; False: try again.

        What must be indexed is left to `_index_whole`, or waited for where it is being written.
        """
        try:
            files, _ = find_files(folders, leave_out=self._library.root)
        except VidsiftError:  # a folder went this very moment: said at the next look
            return False
        known = {video.path: video for video in self._library.catalog.videos()}
        if not files and not any(lies_under(path, folders) for path in known):
            return True
        due = {path for path in files if path not in known or _has_changed(path, known[path])}
        if not self._index(folders, due):
            return False
        written = open_for_writing(due)
        for path in due:
            if path in written or self._is_fresh(path):
                self._arrivals.note(path)
            else:
                self._whole[path] = -math.inf
        if len(due) > _BATCH:
            self._listener.say(f"{len(due)} files to index")
        return True

    def _is_fresh(self, path: Path) -> bool:
        with suppress(OSError):
            # Of a file from the future nothing can be told by its time.
            return abs(time.time() - path.stat().st_mtime) < self._interval
        return True

    def _mark_gone(self) -> None:
        if not self._gone:
            return
        away = self._folders.away
        videos = [
            video
            for video in self._library.catalog.videos()
            if video.status != "missing"
            and not self._gone.isdisjoint([video.path, *video.path.parents])
            and not lies_under(video.path, away)
            and not os.path.lexists(video.path)
        ]
        if not videos or self._writing(lambda: self._mark_missing(videos)):
            self._gone.clear()

    def _mark_missing(self, videos: Sequence[VideoRecord]) -> IndexReport:
        with self._library.writing():
            self._library.catalog.mark_missing([video.id for video in videos])
        return IndexReport(missing=[video.path for video in videos])

    def _index_whole(self) -> None:
        now = time.monotonic()
        for path in self._arrivals.whole():
            self._whole.setdefault(path, now)
        self._whole = {path: since for path, since in self._whole.items() if path.exists()}
        if not self._whole:
            return
        longest = now - min(self._whole.values())
        if self._arrivals.settling and longest < _MOST_PATIENCE * self._interval:
            return  # others of the same burst are about to be whole
        batch = sorted(self._whole)[:_BATCH]
        if self._index(batch):
            for path in batch:
                del self._whole[path]

    def _index(self, paths: Sequence[Path], skip: Collection[Path] = ()) -> bool:
        try:
            return self._writing(lambda: self._index_files(self._library, paths, skip=skip))
        except VidsiftError:
            if all(os.path.lexists(path) for path in paths):
                raise
            return False  # one of them went this very moment

    def _writing(self, work: Callable[[], IndexReport]) -> bool:
        """Do what needs the write lock, unless another process has it: False."""
        try:
            report = work()
        except LibraryBusyError as error:
            self._say_busy(error)
            return False
        self._is_busy = False
        self._all_well &= not report.failed
        self._listener.indexed(report)
        return True

    def _say_busy(self, error: LibraryBusyError) -> None:
        if not self._is_busy:
            self._listener.say(str(error))
        self._is_busy = True

    def _ask_and_deliver(self) -> None:
        try:
            self._ask()
            if self._undelivered:
                self._undelivered = self._delivery.run(self._library)
        except LibraryBusyError as error:
            self._say_busy(error)

    def _ask(self) -> None:
        """Ask what has not been asked, if anything was indexed since, by whomever."""
        now = self._library.catalog.generation()
        if now == self._asked:
            return

        def alerted(alert: Alert) -> None:
            self._undelivered = True
            self._listener.alerted(alert)

        ask_standing_questions(
            self._library,
            waiting_for=self._delivery.channels,
            on_alert=alerted,
            say=self._listener.say,
        )
        self._asked = now


def _files_beside(sidecar: Path) -> list[Path]:
    """The videos that a file of subtitles may belong to."""
    try:
        entries = list(sidecar.parent.iterdir())
    except OSError:
        return []
    return [
        real_path(entry)
        for entry in entries
        if entry.suffix.lower() in VIDEO_SUFFIXES and sidecar.name.startswith(entry.stem + ".")
    ]


def _has_changed(path: Path, known: VideoRecord) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    print_ = known.fingerprint
    return known.status == "missing" or (status.st_size, status.st_mtime_ns) != (
        print_.size_bytes,
        print_.mtime_ns,
    )
