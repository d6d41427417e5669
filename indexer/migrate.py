"""Changing the encoder: another one's space is built beside the searched one, then they switch.

Building takes about as long as indexing did and may be cut off at any time: each video is committed
by itself and is not done again. The write lock is held for these commits alone, so that indexing
may go on meanwhile, which a commit then waits for. A video that is indexed anew in the meantime is
done again. Nothing of the searched space changes until the switch, which is one transaction.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from indexer.commit import picture_files, store_files, sweep
from indexer.prototypes import PrototypeBank
from indexer.reencode import Reencoded, reencode_video
from indexer.scan import check_unchanged
from indexer.video import Recipe, encode_texts
from vidsift.errors import LibraryChangedError, MediaError, MediaToolError, SpaceError
from vidsift.library import Library
from vidsift.models.attention import SoftmaxPool
from vidsift.models.encoder import Encoder, full_name, open_encoder
from vidsift.store.spaces import (
    Space,
    SpaceVideo,
    begin_space,
    clips_of,
    damaged_parts,
    lacking_cues,
    lacking_videos,
    put_cues,
    put_video,
    videos_of_space,
)
from vidsift.types import VideoRecord

__all__ = ["MigrateProgress", "MigrateReport", "build_space", "damaged_videos"]

_NEWER = "was indexed while the space was built; run the command once more"
_CUES = 1_000  # that are committed at a time


@dataclass(frozen=True)
class MigrateProgress:
    """How far a run is: seconds of video dealt with, of all that are due, and the latest file."""

    done_seconds: float
    total_seconds: float
    done_videos: int
    total_videos: int
    path: Path


@dataclass
class MigrateReport:
    """What became of every video; `unchanged` counts those that the space held before."""

    encoder: str
    built: list[Path] = field(default_factory=list)
    unchanged: int = 0
    failed: list[tuple[Path, str]] = field(default_factory=list)
    cues: int = 0
    seconds: float = 0.0
    video_seconds: float = 0.0


def build_space(
    library: Library,
    encoder_name: str,
    *,
    on_progress: Callable[[MigrateProgress], None] | None = None,
) -> MigrateReport:
    """Build the space of another encoder, as far as it is not there yet.

    Every video that can be searched is decoded once more; its clips stay as they are. A video whose
    file is gone, has changed, or was sampled with other settings is named in the report.

    Raises:
        SpaceError: the library holds nothing yet, or is searched with this very encoder.
        EncoderError: the encoder cannot be used here.
        StorageError, LibraryError: as they say.
    """
    began = time.monotonic()
    if library.catalog.stamp() is None:
        raise SpaceError(
            f"{library.root}: nothing is indexed yet; run"
            f" `vidsift index FOLDER --encoder {encoder_name}`"
        )
    settings = library.settings
    name = full_name(encoder_name)
    encoder = open_encoder(name, device=settings.device, batch_size=settings.batch_size)
    try:
        with _writing(library):
            space = begin_space(library.catalog, encoder.stamp)
            sweep(library)
        report = MigrateReport(name)
        with threadpool_limits(1, user_api="blas"):  # as `index_videos` does, and why
            run = _Run(library, space, encoder, report, on_progress)
            run.encode_cues()
            run.build()
    finally:
        encoder.close()
    report.seconds = time.monotonic() - began
    return report


def damaged_videos(library: Library, space: Space) -> list[tuple[VideoRecord, str]]:
    """The videos that the space holds and that are not whole in it, with what is wrong."""
    changed = set(damaged_parts(library.catalog, space.id))
    found = []
    for video_id, file in videos_of_space(library.catalog, space.id).items():
        video = library.catalog.video(video_id)
        if video is None:
            continue
        wrong = library.damage(replace(video, feature_file=file))
        if not wrong and video_id in changed:
            wrong = "its vectors are not what was stored"
        if wrong:
            found.append((video, wrong))
    return found


def _writing(library: Library) -> AbstractContextManager[None]:
    return library.writing(math.inf, command="vidsift migrate")


class _CancelledError(Exception):
    """The run is ending; what this thread was computing is no longer wanted."""


@dataclass(frozen=True)
class _Made:
    clips_sha256: str
    pictures: Mapping[str, bytes]
    value: Reencoded


class _Run:
    def __init__(
        self,
        library: Library,
        space: Space,
        encoder: Encoder,
        report: MigrateReport,
        on_progress: Callable[[MigrateProgress], None] | None,
    ) -> None:
        self._library = library
        self._catalog = library.catalog
        self._space = space
        self._report = report
        self._on_progress = on_progress
        settings = library.settings
        pooler = SoftmaxPool(settings.temperature)
        bank = PrototypeBank.for_encoder(encoder, pooler, settings.vectors_per_clip)
        self._recipe = Recipe(settings, encoder, bank)
        self._lock = threading.Lock()
        self._parts: dict[Path, float] = {}  # seconds done of each video in flight
        self._done_seconds = 0.0
        self._done_videos = 0
        self._total_seconds = 0.0
        self._total_videos = 0
        self._stopping = threading.Event()
        # Why a video could not be used, by its id and when it was indexed.
        self._tried: dict[tuple[int, float], str] = {}

    def encode_cues(self) -> None:
        """Of all videos, those too whose files are away: what is said is in the catalog."""
        lacking = lacking_cues(self._catalog, self._space.id)
        size = self._library.settings.batch_size
        for first in range(0, len(lacking), _CUES):
            part = lacking[first : first + _CUES]
            texts = [text for _, text in part]
            vectors = encode_texts(texts, self._recipe.encoder, size)
            with _writing(self._library):
                put_cues(self._catalog, self._space.id, [cue_id for cue_id, _ in part], vectors)
            self._report.cues += len(part)

    def build(self) -> None:
        damaged = [video for video, _ in damaged_videos(self._library, self._space)]
        held = len(videos_of_space(self._catalog, self._space.id))
        self._report.unchanged = held - len(damaged)
        due = [*lacking_videos(self._catalog, self._space.id), *damaged]
        # Again for what was indexed meanwhile.
        while due:
            self._build(due)
            lacking = lacking_videos(self._catalog, self._space.id)
            due = [video for video in lacking if (video.id, video.indexed_at) not in self._tried]
        self.encode_cues()
        lacking = lacking_videos(self._catalog, self._space.id)
        self._report.failed = [
            (video.path, self._tried.get((video.id, video.indexed_at), _NEWER)) for video in lacking
        ]

    def _build(self, due: Sequence[VideoRecord]) -> None:
        self._total_seconds += sum(video.duration_seconds for video in due)
        self._total_videos += len(due)
        for video, made in self._values(due):
            if made is not None:
                self._commit(video, made)
            with self._lock:
                self._parts.pop(video.path, None)
                self._done_seconds += video.duration_seconds
                self._done_videos += 1
            self._tell(video)

    def _values(self, due: Sequence[VideoRecord]) -> Iterator[tuple[VideoRecord, _Made | None]]:
        """What each video is in the space, None where that cannot be; a few at the same time."""
        workers = self._library.settings.workers
        waiting: dict[Future[_Made], VideoRecord] = {}
        pool = ThreadPoolExecutor(workers, thread_name_prefix="migrate")
        left = iter(due)
        try:
            while True:
                while len(waiting) < workers and (video := next(left, None)) is not None:
                    waiting[pool.submit(self._make, video)] = video
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    video = waiting.pop(future)
                    try:
                        yield video, future.result()
                    except MediaToolError:
                        raise
                    except MediaError as error:
                        self._tried[video.id, video.indexed_at] = error.reason
                        yield video, None
        finally:
            self._stopping.set()
            pool.shutdown(cancel_futures=True)
            self._stopping.clear()

    def _make(self, video: VideoRecord) -> _Made:
        def progress(done: float, _total: float) -> None:
            if self._stopping.is_set():
                raise _CancelledError
            with self._lock:
                self._parts[video.path] = done
            self._tell(video)

        check_unchanged(video)
        # First of all: what is read of clips that come later does not fit it, and is refused.
        clips_sha256 = clips_of(self._catalog, video.id)
        clips = self._catalog.clips_of_video(video.id)
        thumbnails = [self._thumbnail(video, clip.ordinal) for clip in clips]
        summaries = self._catalog.summaries(video.id)
        generic = next((each for each in summaries if not each.query), None)
        if not clips or generic is None:
            raise MediaError(video.path, "its entry is not whole; run `vidsift repair`")
        value = reencode_video(
            video,
            clips,
            self._catalog.shots_of_video(video.id),
            [cue.cue for cue in self._catalog.cues_of_video(video.id)],
            generic.budget_seconds,
            self._recipe,
            progress,
        )
        pictures = picture_files(thumbnails, [clip.clip.span for clip in clips], value.summary)
        return _Made(clips_sha256, pictures, value)

    def _thumbnail(self, video: VideoRecord, ordinal: int) -> bytes:
        try:
            return self._library.thumbnail(video, ordinal).read_bytes()
        except OSError as error:
            raise MediaError(
                video.path,
                f"its thumbnail {error.filename} cannot be read: {error.strerror};"
                " run `vidsift repair`",
            ) from error

    def _commit(self, video: VideoRecord, made: _Made) -> None:
        library, value = self._library, made.value
        key = f"{video.fingerprint.sha256[:16]}-{uuid.uuid4().hex[:8]}"
        with _writing(library):
            feature_sha256, pictures_sha256 = store_files(
                library, key, value.features, made.pictures
            )
            try:
                put_video(
                    library.catalog,
                    self._space.id,
                    SpaceVideo(
                        video.id,
                        made.clips_sha256,
                        f"{key}.npy",
                        feature_sha256,
                        pictures_sha256,
                        value.summary,
                        value.vectors,
                    ),
                )
            except LibraryChangedError:  # it is due once more
                sweep(library)
                return
        self._report.built.append(video.path)
        self._report.video_seconds += video.duration_seconds

    def _tell(self, video: VideoRecord) -> None:
        if self._on_progress is None:
            return
        with self._lock:
            progress = MigrateProgress(
                self._done_seconds + sum(self._parts.values()),
                self._total_seconds,
                self._done_videos,
                self._total_videos,
                video.path,
            )
        self._on_progress(progress)
