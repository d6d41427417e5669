"""Indexing a set of files: scan, index a few videos at a time, commit each as it is done."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from threadpoolctl import threadpool_limits

from indexer.commit import commit_video, sweep
from indexer.forget import finish_forgetting
from indexer.kept_out import KeptOut
from indexer.prototypes import PrototypeBank
from indexer.scan import find_files, fingerprint, lies_under, no_videos, real_path
from indexer.trying import MOST_DEATHS, TRYING, Trying
from indexer.video import Recipe, encode_cues, index_video
from search.trust import prepare
from vidsift.errors import MediaError, MediaToolError
from vidsift.library import Library
from vidsift.media.limits import MediaLimits
from vidsift.media.probe import probe
from vidsift.media.subtitles import Sidecars, read_subtitles
from vidsift.models.attention import SoftmaxPool
from vidsift.types import Fingerprint, IndexedVideo, VideoRecord

__all__ = ["IndexProgress", "IndexReport", "index_videos"]


@dataclass(frozen=True)
class IndexProgress:
    """How far a run is: bytes of video files dealt with, of all that there are, and the latest."""

    done_bytes: float
    total_bytes: int
    done_files: int
    total_files: int
    path: Path


@dataclass
class IndexReport:
    """What became of every file of a run.

    `subtitles` are the videos, otherwise unchanged, whose subtitles were read anew; `kept_out`
    those that were forgotten on purpose.
    """

    indexed: list[Path] = field(default_factory=list)
    unchanged: list[Path] = field(default_factory=list)
    renamed: list[tuple[Path, Path]] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)
    notes: list[tuple[Path, str]] = field(default_factory=list)
    subtitles: list[Path] = field(default_factory=list)
    kept_out: list[Path] = field(default_factory=list)
    seconds: float = 0.0
    video_seconds: float = 0.0


def index_videos(
    library: Library,
    paths: Iterable[Path | str],
    *,
    skip: Collection[Path] = (),
    retry: bool = False,
    on_progress: Callable[[IndexProgress], None] | None = None,
) -> IndexReport:
    """Index files and folders into the library, incrementally.

    What is unchanged (size and modification time, else content) is skipped; a renamed file keeps
    its vectors; videos that were below one of `paths` and are gone are marked missing. A file that
    cannot be used is named in the report with its reason and, while it stays as it is, not tried
    again unless `retry`. Real paths in `skip`, as of files that are still being written, are passed
    over. Of a video that is unchanged but for the subtitles beside it only these are read again.
    Every video is committed when it is done, so an interruption (KeyboardInterrupt) loses only
    those in flight.

    Raises:
        VidsiftError: a path does not exist, or a folder holds no video and never did.
        LibraryBusyError, StorageError, EncoderError, EncoderMismatchError: as they say.
    """
    began = time.monotonic()
    roots = [real_path(path) for path in paths]
    with library.writing():
        # Only now: while another writer was waited for, its videos came.
        files, unreadable = find_files(roots, leave_out=library.root)
        known = {video.path: video for video in library.catalog.videos()}
        if not files and not unreadable and not any(lies_under(path, roots) for path in known):
            raise no_videos(roots)
        files = [path for path in files if path not in skip]
        report = IndexReport(failed=unreadable)
        run = library.catalog.start_run()
        try:
            if finish_forgetting(library).videos:  # of a run that was cut off
                known = {video.path: video for video in library.catalog.videos()}
            sweep(library)
            # Several videos and the encoder fill the cores already; BLAS threads on top of them
            # would only wait for one another.
            with threadpool_limits(1, user_api="blas"):
                _Run(library, report, retry, on_progress).index(files, known, roots)
        finally:
            report.seconds = time.monotonic() - began
            library.catalog.finish_run(
                run,
                {
                    "indexed": [str(path) for path in report.indexed],
                    "unchanged": len(report.unchanged),
                    "renamed": [[str(a), str(b)] for a, b in report.renamed],
                    "missing": [str(path) for path in report.missing],
                    "failed": [[str(path), reason] for path, reason in report.failed],
                    "subtitles": [str(path) for path in report.subtitles],
                    "seconds": round(report.seconds, 3),
                    "video_seconds": round(report.video_seconds, 3),
                },
            )
            if library.catalog.stamp() is not None:
                library.index(write=True)
                if report.indexed:  # else the encoder may not even be loaded
                    prepare(library)
    return report


class _CancelledError(Exception):
    """The run is ending; what this thread was computing is no longer wanted."""


class _Run:
    def __init__(
        self,
        library: Library,
        report: IndexReport,
        retry: bool,
        on_progress: Callable[[IndexProgress], None] | None,
    ) -> None:
        self._library = library
        self._catalog = library.catalog
        self._report = report
        self._retry = retry
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._parts: dict[Path, float] = {}  # share done of each file in flight
        self._done_bytes = 0.0
        self._done_files = 0
        self._total_bytes = 0
        self._total_files = 0
        self._sizes: dict[Path, int] = {}
        self._stopping = threading.Event()
        self._sidecars = Sidecars()
        self._kept_out = KeptOut.of(library.root)
        self._trying = Trying(library.root / TRYING)
        self._kept: list[tuple[int, Path]] = []  # videos that need not be indexed anew

    def index(self, files: list[Path], known: dict[Path, VideoRecord], roots: list[Path]) -> None:
        gone = [
            video
            for path, video in known.items()
            if lies_under(path, roots) and video.status != "missing" and not os.path.lexists(path)
        ]
        self._catalog.mark_missing([video.id for video in gone])
        work = [path for path in files if self._is_due(path, known.get(path))]
        self._sizes = {path: _size(path) for path in work}
        self._total_bytes, self._total_files = sum(self._sizes.values()), len(work)
        for path, value in self._values(work, known):
            if isinstance(value, IndexedVideo):
                commit_video(self._library, value)
                self._report.indexed.append(path)
                self._report.video_seconds += value.duration_seconds
                notes = filter(None, (value.note, value.subtitles_note))
                self._report.notes += [(path, note) for note in notes]
            with self._lock:
                self._parts.pop(path, None)
                self._done_bytes += self._sizes[path]
                self._done_files += 1
            self._tell(path)
        self._renew_subtitles()
        moved = {old for old, _ in self._report.renamed}
        self._report.missing += [video.path for video in gone if video.path not in moved]

    def _is_due(self, path: Path, before: VideoRecord | None) -> bool:
        if before is None:
            if is_kept_out := self._kept_out.is_untouched(path):
                self._report.kept_out.append(path)
            return not is_kept_out
        try:
            status = path.stat()
        except OSError:
            return True
        print_ = before.fingerprint
        same = (status.st_size, status.st_mtime_ns) == (print_.size_bytes, print_.mtime_ns)
        if same and before.status == "searchable" and self._is_whole(before):
            self._report.unchanged.append(path)
            self._kept.append((before.id, path))
            return False
        if same and before.status == "failed" and print_.sha256 and not self._retry:
            self._report.failed.append((path, _as_before(before.reason)))
            return False
        return True

    def _is_whole(self, video: VideoRecord) -> bool:
        """Whether the video's files are all there; one that lost some is indexed anew."""
        return not self._library.damage(video)

    def _values(
        self, work: list[Path], known: dict[Path, VideoRecord]
    ) -> Iterator[tuple[Path, IndexedVideo | None]]:
        """The value of each file that needs one, else None, a few computed at the same time."""
        waiting: dict[Future[IndexedVideo], tuple[Path, Fingerprint]] = {}
        workers = self._library.settings.workers
        pool = ThreadPoolExecutor(workers, thread_name_prefix="index")
        try:
            for path in work:
                try:
                    print_ = fingerprint(path)
                except MediaError as error:
                    self._fail(path, None, error)
                    yield path, None
                    continue
                if self._kept_out.holds(print_.sha256):
                    self._leave_out(path, known.get(path))
                    yield path, None
                    continue
                before = known.get(path)
                if self._is_known(path, print_, before) or self._has_killed(path, print_):
                    yield path, None
                    continue
                # Who may have killed the process is alone the next time, and takes nobody with it.
                suspect = self._trying.deaths(print_.sha256) > 0
                while waiting and suspect:
                    yield from self._finished(waiting)
                self._trying.begin(print_.sha256)
                waiting[pool.submit(self._index_one, path, print_)] = (path, print_)
                if suspect or len(waiting) >= workers:
                    yield from self._finished(waiting)
            while waiting:
                yield from self._finished(waiting)
        finally:
            self._stopping.set()
            pool.shutdown(cancel_futures=True)
            self._trying.close()

    def _finished(
        self, waiting: dict[Future[IndexedVideo], tuple[Path, Fingerprint]]
    ) -> Iterator[tuple[Path, IndexedVideo | None]]:
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            path, print_ = waiting.pop(future)
            try:
                yield path, future.result()
            except MediaToolError:
                raise
            except MediaError as error:
                self._fail(path, print_, error)
                yield path, None
            # Only now: storing it may be what the process died of.
            self._trying.end(print_.sha256)

    def _index_one(self, path: Path, print_: Fingerprint) -> IndexedVideo:
        def progress(done: float, total: float) -> None:
            if self._stopping.is_set():
                raise _CancelledError
            with self._lock:
                self._parts[path] = min(1.0, done / total) if total > 0 else 0.0
            self._tell(path)

        return index_video(path, print_, self._recipe(), progress)

    def _recipe(self) -> Recipe:
        # Made by the first video that needs it: a run in which nothing is new loads no model.
        with self._lock:
            if not hasattr(self, "_made"):
                library = self._library
                encoder = library.encoder
                if self._catalog.stamp() is None:
                    self._catalog.set_stamp(encoder.stamp)
                # Not the library's pooler: what the index holds must not depend on how it is asked.
                pooler = SoftmaxPool(library.settings.temperature)
                bank = PrototypeBank.for_encoder(encoder, pooler, library.settings.vectors_per_clip)
                self._made = Recipe(library.settings, encoder, bank, self._sidecars)
            return self._made

    def _is_known(self, path: Path, print_: Fingerprint, before: VideoRecord | None) -> bool:
        """Whether the catalog holds this content already, here or where the file was before.

        Or whether it is known that it cannot be used: the same is not tried for ever.
        """
        if before is not None and before.status != "failed":
            if before.fingerprint.sha256 == print_.sha256 and self._is_whole(before):
                self._catalog.restore_video(before.id, print_)
                self._report.unchanged.append(path)
                self._kept.append((before.id, path))
                return True
            return False
        for other in self._catalog.videos_by_sha256(print_.sha256):
            if other.status == "failed" and other.path.suffix == path.suffix and not self._retry:
                # By another time of writing, or name; but a suffix may tell the format.
                self._catalog.mark_failed(path, print_, other.reason)
                self._report.failed.append((path, _as_before(other.reason)))
                return True
            # One that was left out of a switch of encoders has nothing to be searched by.
            if other.status == "missing" and other.path != path and self._is_whole(other):
                self._catalog.move_video(other.id, path, print_)
                self._report.renamed.append((other.path, path))
                self._kept.append((other.id, path))
                return True
        return False

    def _has_killed(self, path: Path, print_: Fingerprint) -> bool:
        """Whether the process died too often while it was indexing this."""
        deaths = self._trying.deaths(print_.sha256)
        if deaths < MOST_DEATHS or self._retry:
            return False
        reason = f"the process died {deaths} times while it was being indexed"
        self._fail(path, print_, MediaError(path, reason))
        self._trying.end(print_.sha256)
        return True

    def _renew_subtitles(self) -> None:
        """Read the subtitles again of videos that were kept, where those beside them changed."""
        stamps = self._catalog.subtitle_stamps()
        settings = self._library.settings
        limits = MediaLimits.of(settings)
        for video_id, path in self._kept:
            video = self._catalog.video(video_id)
            if video is None or stamps.get(video_id) == self._sidecars.stamp(path):
                continue
            try:
                subtitles = read_subtitles(
                    probe(path, limits=limits),
                    video.duration_seconds,
                    self._sidecars,
                    limits=limits,
                )
            except MediaToolError:
                raise
            except MediaError as error:  # the file was there a moment ago
                self._report.notes.append((path, f"its subtitles cannot be read: {error.reason}"))
                continue
            vectors = None
            if subtitles.cues:
                vectors = encode_cues(subtitles, self._library.encoder, settings.batch_size)
            self._catalog.renew_cues(
                video_id, subtitles.cues, vectors, subtitles=subtitles.stamp, note=subtitles.note
            )
            self._report.subtitles.append(path)
            if subtitles.note:
                self._report.notes.append((path, subtitles.note))

    def _leave_out(self, path: Path, before: VideoRecord | None) -> None:
        self._report.kept_out.append(path)
        if before is not None:
            self._catalog.mark_missing([before.id], "a video that is kept out lies in its place")

    def _fail(self, path: Path, print_: Fingerprint | None, error: MediaError) -> None:
        self._catalog.mark_failed(path, print_, error.reason)
        self._report.failed.append((path, error.reason))

    def _tell(self, path: Path) -> None:
        if self._on_progress is None:
            return
        with self._lock:
            parts = sum(share * self._sizes[p] for p, share in self._parts.items())
            progress = IndexProgress(
                self._done_bytes + parts,
                self._total_bytes,
                self._done_files,
                self._total_files,
                path,
            )
        self._on_progress(progress)


def _as_before(reason: str) -> str:
    return f"{reason} (as before; --retry tries again)"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
