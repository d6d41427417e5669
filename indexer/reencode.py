"""The clips of an indexed video seen by another encoder: a function from a file to a value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Float64, UInt8

from indexer.video import Recipe, run_ahead
from summarizer.summary import choose_segments
from vidsift.errors import MediaError
from vidsift.media.frames import DecodedFrame, decode
from vidsift.media.limits import MediaLimits
from vidsift.media.probe import probe
from vidsift.types import ClipRecord, ClipVectors, Cue, FrameFeatures, Shot, Summary, VideoRecord

__all__ = ["Reencoded", "reencode_video"]

_SAME_TIME = 2e-6  # seconds; times are microseconds, divided
_BATCHES_AHEAD = 3  # that may wait for the encoder


@dataclass(frozen=True)
class Reencoded:
    """What another encoder makes of a video: features of its frames, vectors of its clips.

    `features` has the rows that the video's clips name; `summary` is the generic one.
    """

    features: Float16[np.ndarray, "n d"]
    vectors: tuple[ClipVectors, ...]
    summary: Summary


def reencode_video(
    video: VideoRecord,
    clips: Sequence[ClipRecord],
    shots: Sequence[Shot],
    cues: Sequence[Cue],
    budget_seconds: float,
    recipe: Recipe,
    on_progress: Callable[[float, float], None] | None = None,
) -> Reencoded:
    """Decode the frames that the clips were sampled from once more, encode and pool them.

    Args:
        video: whose file has the content that was indexed.
        clips: all of the video's, in order of time.
        shots: all of the video's.
        cues: what is said in it.
        budget_seconds: of its generic summary.
        recipe: the other encoder, its prototypes, and the settings.
        on_progress: is told the seconds that are done, and how many there are.

    Raises:
        MediaError: the file cannot be used, or has no frames at the times of the clips: it was
            sampled with other settings.
    """
    times = np.concatenate([clip.pts_seconds for clip in clips])
    settings = recipe.settings
    limits = MediaLimits.of(settings)
    encoded = []
    done = 0
    with decode(
        probe(video.path, limits=limits),
        sample_rate=settings.sample_rate,
        short_side=recipe.encoder.picture_size,
        limits=limits,
    ) as frames:
        batches = _batches(_samples_at(times, frames), settings.batch_size)
        for images in run_ahead(batches, _BATCHES_AHEAD):
            encoded.append(recipe.encoder.encode_frames(images))
            done += len(images)
            if on_progress is not None:
                on_progress(float(times[done - 1]), video.duration_seconds)
    if done < len(times):
        raise MediaError(
            video.path,
            f"has no frame at {times[done]:.3f} s, where its clips have one: it was cut with"
            " another sample_rate, or its end is gone; index it again",
        )
    rows = np.concatenate(encoded)
    places = [clip.clip for clip in clips]
    # As indexing does it: vectors from the full precision, the summary from what is stored.
    stored = rows.astype(np.float16)
    return Reencoded(
        stored,
        tuple(recipe.bank.vectors(rows[place.frames]) for place in places),
        choose_segments(
            FrameFeatures(stored, times),
            places,
            shots,
            budget_seconds,
            cues=cues,
            selection=settings.summary_selection,
            least_seconds=settings.min_segment_seconds,
        ),
    )


def _samples_at(
    times: Float64[np.ndarray, "n"], frames: Iterable[DecodedFrame]
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The samples at these increasing times; ends at the first that is not there."""
    place = 0
    for frame in frames:
        if place == len(times) or frame.pts_seconds > times[place] + _SAME_TIME:
            return
        if frame.sample is not None and frame.pts_seconds >= times[place] - _SAME_TIME:
            yield frame.sample
            place += 1


def _batches(
    images: Iterator[UInt8[np.ndarray, "h w 3"]], size: int
) -> Iterator[UInt8[np.ndarray, "n h w 3"]]:
    batch = []
    for image in images:
        batch.append(image)
        if len(batch) == size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)
