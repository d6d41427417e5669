"""Verifying a library: all that it says of itself is held against what is there. It only reads.

What is found is a gap: something that is not as it was stored, or not as it must be. A file that
could not be indexed and is known as such, with its reason, is none.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from indexer.scan import fingerprint
from search.trust import null_problem
from vidsift.errors import DamagedLibraryError, LibraryNotFoundError, MediaError
from vidsift.library import Library
from vidsift.store import reconcile
from vidsift.store.files import PART
from vidsift.store.locks import holder_of
from vidsift.store.reconcile import VideoEntry
from vidsift.store.seals import folder_sha256
from vidsift.store.vectors import index_problem, stored_origin
from vidsift.types import VideoStatus

__all__ = ["Gap", "Verification", "verify", "verify_at"]

MEND = "run `vidsift repair`"
_INDEX_AGAIN = "run `vidsift index` on the video's folder"
_LENGTH = 0.01  # by which a feature of half precision may differ from the length 1
_CLOCK_SECONDS = 1.0  # by which the clock of files may be behind that of processes
# Kinds of gaps in which a video answers no question, or would answer it wrongly or without its
# pictures: such a video is counted as `status` counts it.
NOT_SEARCHED = frozenset({"database", "rows", "features", "pictures", "not told"})


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that is not as it must be.

    `kind` is one of: `database` (the file as such), `words` (the full text index), `rows`,
    `features`, `pictures` (of a video), `not told` (a video that is neither searchable nor named
    with a reason), `no checksum` (not yet taken), `source` (the video file), `index`, `null`,
    `space` (of another encoder), `leftover` (files that nothing names). `video_id` and `video` are
    None where it is of no one video.
    """

    kind: str
    what: str
    cause: str
    remedy: str
    video_id: int | None = None
    video: Path | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found: of how many videos how many can be searched, and every gap."""

    videos: int
    searchable: int
    gaps: tuple[Gap, ...]


def verify_at(
    folder: Path | None, *, on_progress: Callable[[float], None] | None = None, **flags: Any
) -> Verification:
    """`verify` the library in a folder, also where its catalog cannot even be opened.

    Raises:
        LibraryNotFoundError, SchemaError, ConfigError, LibraryError: as `Library.open`.
    """
    try:
        with Library.open(folder, **flags) as library:
            return verify(library, on_progress=on_progress)
    except DamagedLibraryError as error:
        return Verification(0, 0, (Gap("database", "the catalog", str(error), MEND),))


def verify(library: Library, *, on_progress: Callable[[float], None] | None = None) -> Verification:
    """Hold a library against itself and against the video files: every gap, with cause and remedy.

    What somebody else is indexing at the same time is no gap. `on_progress` is told the share done.

    Raises:
        LibraryError: the catalog cannot be reached; where it is damaged that is a gap.
    """
    return _Verifying(library, on_progress or (lambda share: None)).all()


class _Verifying:
    def __init__(self, library: Library, on_progress: Callable[[float], None]) -> None:
        self._library = library
        self._catalog = library.catalog
        self._on_progress = on_progress
        self._gaps: list[Gap] = []

    def all(self) -> Verification:
        began = time.time()
        entries: list[VideoEntry] = []
        with self._readable():
            entries = reconcile.entries(self._catalog)
        with self._readable():
            for problem in reconcile.database_problems(self._catalog):
                self._add("database", "catalog.sqlite3", problem)
        with self._readable():
            self._origin(entries)
        with self._readable():
            if problem := reconcile.words_problem(self._catalog):
                self._add("words", "catalog.sqlite3", problem)
        self._videos(entries)
        with self._readable():
            self._spaces(entries)
        with self._readable():
            self._caches()
        with self._readable():
            self._leftovers(began)
        broken = {gap.video_id for gap in self._gaps if gap.kind in NOT_SEARCHED}
        unreadable = any(gap.kind == "database" and not entries for gap in self._gaps)
        searchable = sum(
            entry.status == "searchable" and entry.id not in broken for entry in entries
        )
        self._on_progress(1.0)
        return Verification(len(entries), 0 if unreadable else searchable, tuple(self._gaps))

    def _add(
        self, kind: str, what: object, cause: str, remedy: str = MEND,
        entry: VideoEntry | None = None,
    ) -> None:  # fmt: skip
        self._gaps.append(
            Gap(
                kind,
                str(what),
                cause,
                remedy,
                None if entry is None else entry.id,
                None if entry is None else Path(entry.path),
            )
        )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (DamagedLibraryError, LibraryNotFoundError) as error:
            if not any(gap.cause == str(error) for gap in self._gaps):
                self._add("database", "catalog.sqlite3", str(error))

    def _origin(self, entries: list[VideoEntry]) -> None:
        """Whether the catalog still says by which encoder it was made, and says it rightly."""
        stamp = self._catalog.stamp()
        told = stored_origin(self._library.root / "index")
        if told is not None and told[0] == replace(self._catalog.generation(), left_out=()):
            # Of another state it may be of before a switch of encoders.
            if told[1] != stamp:
                cause = "it names another encoder than the one that made the index of this library"
                self._add("database", "catalog.sqlite3", cause)
        elif stamp is None:
            for entry in entries:
                if entry.num_clips:
                    cause = "nothing says any more which encoder made its features"
                    self._add("rows", entry.path, cause, entry=entry)

    def _videos(self, entries: list[VideoEntry]) -> None:
        by_id = {entry.id: entry for entry in entries}
        stamp = None
        rows: Iterator[dict[int, str]] = iter(())
        with self._readable():
            stamp = self._catalog.stamp()
            dimension = stamp.dimension if stamp else None
            rows = reconcile.row_problems(self._catalog, by_id, dimension)
        done = 0
        total = sum(entry.size_bytes + 1 for entry in entries)
        while True:
            problems: dict[int, str] | None = None
            with self._readable():
                problems = next(rows, None)
            if problems is None:
                return
            for video_id, problem in problems.items():
                entry = by_id[video_id]
                self._video(entry, problem)
                done += entry.size_bytes + 1
                self._on_progress(done / max(total, 1))

    def _video(self, entry: VideoEntry, problem: str) -> None:
        if problem:
            if self._is_new(entry):
                return
            self._add("rows", entry.path, problem, entry=entry)
        if entry.status not in get_args(VideoStatus):
            cause = f"it is {entry.status!r}, which says neither that it is searched nor why not"
            self._add("not told", entry.path, cause, entry=entry)
        self._source(entry)
        if entry.status == "failed" or not entry.feature_file:
            if entry.status == "searchable":
                self._add("features", entry.path, "there is no file of features", entry=entry)
            return
        if not entry.checked:
            self._add("no checksum", entry.path, "not yet taken", entry=entry)
        name = entry.feature_file
        cause = self._of_features(name, entry.feature_sha256, entry.num_frames)
        if cause and not self._is_new(entry):
            self._add("features", name, cause, entry=entry)
        cause = self._of_pictures(name, entry.pictures_sha256, entry.num_clips)
        if cause and not self._is_new(entry):
            self._add("pictures", f"pictures/{Path(name).stem}", cause, entry=entry)

    def _is_new(self, entry: VideoEntry) -> bool:
        """Whether the video is another one by now, which somebody else has just committed."""
        now = {each.id: each for each in reconcile.entries(self._catalog)}
        return now.get(entry.id) != entry

    def _source(self, entry: VideoEntry) -> None:
        path = Path(entry.path)
        try:
            status = path.stat()
        except (OSError, ValueError) as error:
            if entry.status != "searchable":
                return
            why = error.strerror if isinstance(error, OSError) else str(error)
            self._add("source", path, f"the file is gone: {why}", _INDEX_AGAIN, entry)
            return
        if entry.status == "missing":
            self._add("source", path, "the file is there again", _INDEX_AGAIN, entry)
        elif entry.sha256 and _has_changed(path, status, entry):
            cause = "the file has changed since it was looked at"
            self._add("source", path, cause, _INDEX_AGAIN, entry)

    def _of_features(self, name: str, sha256: str, num_frames: int) -> str:
        features = self._library.features
        try:
            if features.sha256(name) != sha256:
                return "its checksum is another than when it was written"
            held = features.open(name)
        except DamagedLibraryError as error:
            return str(error)
        if num_frames >= 0 and len(held) != num_frames:
            return f"it holds {len(held)} frames, not {num_frames}"
        lengths = np.linalg.norm(held.astype(np.float32), axis=1)
        if not (np.abs(lengths - 1) < _LENGTH).all():
            return "a feature in it has not the length 1"
        return ""

    def _of_pictures(self, name: str, sha256: str, num_clips: int) -> str:
        folder = self._library.root / "pictures" / Path(name).stem
        wanted = {f"{ordinal:05d}.jpg" for ordinal in range(num_clips)} | {"storyboard.jpg"}
        try:
            held = {each.name for each in folder.iterdir()}
            if held != wanted:
                lacking = len(wanted - held)
                return f"{lacking} of {len(wanted)} are lacking, {len(held - wanted)} are too many"
            if sha256 and folder_sha256(folder) != sha256:
                return "their checksum is another than when they were written"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        except ValueError as error:  # a damaged row may name a file as none can be called
            return f"cannot be read: {error}"
        return ""

    def _spaces(self, entries: list[VideoEntry]) -> None:
        by_id = {entry.id: entry for entry in entries}
        for each in reconcile.space_entries(self._catalog):
            entry = by_id.get(each.video_id)
            cause = self._of_features(each.feature_file, each.feature_sha256, -1)
            clips = -1 if entry is None else entry.num_clips
            cause = cause or self._of_pictures(each.feature_file, each.pictures_sha256, clips)
            if cause:
                cause = f"of the space of {each.encoder}: {cause}"
                self._add("space", each.feature_file, cause, entry=entry)

    def _caches(self) -> None:
        stamp = self._catalog.stamp()
        if stamp is None:
            return
        if cause := index_problem(self._library.root / "index", self._catalog, stamp):
            self._add("index", "index/vectors.faiss", cause)
        if cause := null_problem(self._library):
            self._add("null", "index/null.npz", cause)

    def _leftovers(self, began: float) -> None:
        """Files that no row names, but for those that somebody may be writing.

        Nor are those gaps that the last run has replaced: they wait for the next one, for somebody
        may still read them. They were there when it swept, and it left them: they were named then.
        """
        root = self._library.root
        writer = _writing_since(root)
        before = began if writer is None else min(began, writer - _CLOCK_SECONDS)
        newest = next(iter(self._catalog.runs()), None)
        swept = newest.started_at if newest is not None and newest.finished_at is not None else 0.0
        found = leftovers(root, self._catalog.named_files())
        for path in found:
            try:
                written = path.lstat().st_mtime
            except OSError:  # gone by now
                continue
            if swept <= written < before:
                cause = "nothing in the catalog names it; left by a run that was ended"
                self._add("leftover", path.relative_to(root), cause)


def leftovers(root: Path, named: Collection[str]) -> list[Path]:
    """What lies in a library's folders and is of no video, given the feature files of all."""
    keys = {Path(name).stem for name in named}
    return [
        *(path for path in _entries(root / "features") if path.name not in named),
        *(path for path in _entries(root / "pictures") if path.name not in keys),
        *(path for path in _entries(root / "index") if path.name.endswith(PART)),
    ]


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _has_changed(path: Path, status: os.stat_result, entry: VideoEntry) -> bool:
    """Whether a file is another one than was indexed; where only its time is, its content tells."""
    if (status.st_size, status.st_mtime_ns) == (entry.size_bytes, entry.mtime_ns):
        return False
    if status.st_size != entry.size_bytes:
        return True
    try:
        return fingerprint(path).sha256 != entry.sha256
    except MediaError:
        return True


def _writing_since(root: Path) -> float | None:
    """Since when another process may be writing, as seconds of the epoch; None: none is."""
    holder = holder_of(root)
    if holder is None:
        return None
    if holder.host == socket.gethostname():
        try:
            os.kill(holder.pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:  # of another user, and alive
            pass
    return holder.since
