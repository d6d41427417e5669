"""Indexing one video: a function from a file to a value, which any process could compute."""

from __future__ import annotations

import io
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from indexer.clips import ClipDraft, cut_clips
from indexer.prototypes import PrototypeBank
from indexer.shots import mark_shots
from summarizer.summary import choose_segments
from vidsift.config import Settings
from vidsift.errors import MediaError
from vidsift.media.frames import Decoding, decode
from vidsift.media.limits import MediaLimits
from vidsift.media.probe import probe
from vidsift.media.subtitles import Sidecars, Subtitles, read_subtitles
from vidsift.models.encoder import Encoder
from vidsift.types import Clip, Fingerprint, FrameFeatures, IndexedVideo, Shot, VideoProbe

__all__ = ["Recipe", "encode_cues", "encode_texts", "index_video", "run_ahead"]

_Item = TypeVar("_Item")

_DRAFTS_AHEAD = 6  # clips that may wait for the encoder
_THUMBNAIL = (320, 320)


@dataclass(frozen=True)
class Recipe:
    """What indexing one video needs besides the file."""

    settings: Settings
    encoder: Encoder
    bank: PrototypeBank
    sidecars: Sidecars = field(default_factory=Sidecars)


def index_video(
    path: Path,
    fingerprint: Fingerprint,
    recipe: Recipe,
    on_progress: Callable[[float, float], None] | None = None,
) -> IndexedVideo:
    """Decode, cut, encode and pool one video, read its subtitles, choose its generic summary.

    Decoding and encoding overlap; memory holds a few clips of pictures however long the video is,
    and the features (d * 2 bytes a sampled frame). `on_progress(seconds done, seconds in all)`.

    Raises:
        MediaError: the file cannot be used; its reason says why.
    """
    settings = recipe.settings
    limits = MediaLimits.of(settings)
    video = probe(path, limits=limits)
    with decode(
        video,
        sample_rate=settings.sample_rate,
        short_side=recipe.encoder.picture_size,
        limits=limits,
    ) as frames:
        drafts = cut_clips(
            mark_shots(
                frames,
                frame_rate=video.frame_rate,
                threshold=settings.shot_threshold,
                min_shot_seconds=settings.min_shot_seconds,
            ),
            min_seconds=settings.min_clip_seconds,
            max_seconds=settings.max_clip_seconds,
            max_frames=settings.max_frames_per_clip,
        )
        made = _assemble(
            video, fingerprint, recipe, run_ahead(drafts, _DRAFTS_AHEAD), frames, on_progress
        )
    _check_same(path, fingerprint)
    return made


def _check_same(path: Path, fingerprint: Fingerprint) -> None:
    # What was decoded must be what was hashed; somebody may have gone on writing it.
    try:
        status = path.stat()
    except OSError as error:
        raise MediaError(path, f"went away while it was indexed: {error.strerror}") from error
    if (status.st_size, status.st_mtime_ns) != (fingerprint.size_bytes, fingerprint.mtime_ns):
        raise MediaError(path, "changed while it was indexed; run `vidsift index` on it again")


def _assemble(
    video: VideoProbe,
    fingerprint: Fingerprint,
    recipe: Recipe,
    drafts: Iterator[ClipDraft],
    frames: Decoding,
    on_progress: Callable[[float, float], None] | None,
) -> IndexedVideo:
    clips: list[Clip] = []
    features: list[np.ndarray] = []
    pts: list[np.ndarray] = []
    vectors = []
    thumbnails = []
    shots: list[Shot] = []
    count = 0
    for batch in _batches(drafts, recipe.settings.batch_size):
        encoded = recipe.encoder.encode_frames(np.concatenate([draft.images for draft in batch]))
        first = 0
        for draft in batch:
            n = len(draft.images)
            own = encoded[first : first + n]
            first += n
            clips.append(Clip(draft.span, draft.shot, count, n))
            count += n
            if draft.shot == len(shots):
                shots.append(Shot(draft.span))
            else:
                shots[-1] = Shot(shots[-1].span.hull(draft.span))
            features.append(own.astype(np.float16))
            pts.append(draft.pts_seconds)
            vectors.append(recipe.bank.vectors(own))
            thumbnails.append(_thumbnail(draft.images[n // 2]))
        if on_progress is not None:
            on_progress(clips[-1].span.end, video.duration_seconds)
    duration = clips[-1].span.end
    subtitles = read_subtitles(
        video, duration, recipe.sidecars, limits=MediaLimits.of(recipe.settings)
    )
    found = FrameFeatures(np.concatenate(features), np.concatenate(pts))
    budget = min(
        duration, max(recipe.settings.summary_ratio * duration, float(1 / video.frame_rate))
    )
    return IndexedVideo(
        probe=video,
        fingerprint=fingerprint,
        duration_seconds=duration,
        shots=tuple(shots),
        clips=tuple(clips),
        features=found,
        vectors=tuple(vectors),
        thumbnails=tuple(thumbnails),
        summary=choose_segments(
            found,
            clips,
            shots,
            budget,
            cues=subtitles.cues,
            selection=recipe.settings.summary_selection,
            least_seconds=recipe.settings.min_segment_seconds,
        ),
        note=frames.note,
        cues=subtitles.cues,
        cue_vectors=encode_cues(subtitles, recipe.encoder, recipe.settings.batch_size),
        subtitles=subtitles.stamp,
        subtitles_note=subtitles.note,
    )


def encode_cues(
    subtitles: Subtitles, encoder: Encoder, batch_size: int
) -> Float32[np.ndarray, "m d"] | None:
    """The unit-length vectors of the cues' texts in their order; None where there are none."""
    texts = [cue.text for cue in subtitles.cues]
    return encode_texts(texts, encoder, batch_size) if texts else None


def encode_texts(
    texts: Sequence[str], encoder: Encoder, batch_size: int
) -> Float32[np.ndarray, "m d"]:
    """The unit-length vectors of at least one text, in their order, a batch at a time."""
    return np.concatenate(
        [
            encoder.encode_texts(texts[first : first + batch_size])
            for first in range(0, len(texts), batch_size)
        ]
    )


def _batches(drafts: Iterator[ClipDraft], size: int) -> Iterator[list[ClipDraft]]:
    batch: list[ClipDraft] = []
    waiting = 0
    for draft in drafts:
        batch.append(draft)
        waiting += len(draft.images)
        if waiting >= size:
            yield batch
            batch, waiting = [], 0
    if batch:
        yield batch


def _thumbnail(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    picture = Image.fromarray(image)
    picture.thumbnail(_THUMBNAIL)
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=80)
    return encoded.getvalue()


class _Stop(Exception):  # noqa: N818 - a signal to the thread, no error
    pass


# Threads that are used again: OpenCV, which looks for cuts, keeps 900 bytes of each that ever was.
# Daemons, as those of an executor are not: an impatient second Ctrl-C may leave one without its
# caller, and the program must end all the same.
_work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
_idle = threading.Semaphore(0)


def _forget_threads() -> None:
    """In a process that was forked there are none."""
    global _work, _idle
    _work, _idle = queue.SimpleQueue(), threading.Semaphore(0)


os.register_at_fork(after_in_child=_forget_threads)


def _in_thread(work: Callable[[], None]) -> None:
    if not _idle.acquire(blocking=False):
        threading.Thread(target=_serve, name="decode", daemon=True).start()
    _work.put(work)


def _serve() -> None:
    while True:
        _work.get()()
        _idle.release()


def run_ahead(items: Iterator[_Item], most: int) -> Iterator[_Item]:
    """Run `items` in another thread, at most so many ahead of the caller.

    An error of the thread is raised here; when the caller leaves early, it is done with them.
    """
    waiting: queue.Queue[_Item | BaseException | None] = queue.Queue(most)
    left, done = threading.Event(), threading.Event()

    def put(item: _Item | BaseException | None) -> None:
        while True:
            if left.is_set():
                raise _Stop
            try:
                waiting.put(item, timeout=0.2)
            except queue.Full:
                continue
            return

    def run() -> None:
        try:
            for item in items:
                put(item)
            put(None)
        except _Stop:
            return
        except BaseException as error:
            with suppress(_Stop):
                put(error)
        finally:
            done.set()

    _in_thread(run)
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        left.set()
        if not sys.is_finalizing():  # or the program ends, and its daemons have been stopped
            done.wait()
