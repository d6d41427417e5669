"""Every value that passes between rooms: frozen, checks itself, explains itself.

Times are float seconds on the video's own presentation clock, shifted so that its first frame is
at 0; spans are half-open `[start, end)`; frame rates are fractions; features have unit length.

Axes in shapes: n frames, h rows, w columns, d dimensions, c clips, q queries, k vectors of a clip.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

__all__ = [
    "Answer",
    "Clip",
    "ClipRecord",
    "ClipVectors",
    "Cue",
    "CueRecord",
    "EncoderStamp",
    "Fingerprint",
    "FrameBatch",
    "FrameFeatures",
    "IndexedVideo",
    "LeftOut",
    "Moment",
    "RankedClip",
    "SaliencyTerm",
    "SearchResult",
    "Segment",
    "Shot",
    "Span",
    "SubtitleTrack",
    "Summary",
    "TextQuery",
    "VideoProbe",
    "VideoRecord",
    "VideoStatus",
]

VideoStatus = Literal["searchable", "failed", "missing"]


@dataclass(frozen=True, order=True, slots=True)
class Span:
    """A half-open stretch of time `[start, end)` in seconds."""

    start: float
    end: float

    def __post_init__(self) -> None:
        if not (0.0 <= self.start < self.end < float("inf")):
            raise ValueError(f"a span needs 0 <= start < end, got [{self.start}, {self.end})")

    @property
    def duration(self) -> float:
        return self.end - self.start

    def overlap(self, other: Span) -> float:
        """Seconds that both spans cover."""
        return max(0.0, min(self.end, other.end) - max(self.start, other.start))

    def tiou(self, other: Span) -> float:
        """Temporal intersection over union, in [0, 1]; symmetric."""
        shared = self.overlap(other)
        return shared / (self.duration + other.duration - shared)

    def nearest(self, spans: Sequence[Span]) -> int:
        """The place of that one of `spans` which shares most time with this one."""
        overlaps = [self.overlap(span) for span in spans]
        return overlaps.index(max(overlaps))

    def hull(self, other: Span) -> Span:
        """The shortest span that holds both."""
        return Span(min(self.start, other.start), max(self.end, other.end))


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells one version of a file from another.

    `size_bytes` and `mtime_ns` are the cheap test, `sha256` (hex of the whole content) settles it.
    """

    size_bytes: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SubtitleTrack:
    """A track of subtitles inside a video: its language as the file tells it, and its codec."""

    language: str
    codec: str


@dataclass(frozen=True, slots=True)
class VideoProbe:
    """What ffmpeg says of a file before any frame is decoded.

    `width` and `height` are as displayed: rotation and pixel aspect ratio applied.
    `duration_seconds` is the header's and may be wrong or 0 when the header does not know.
    `start_seconds` is the container's start time and `delay_seconds` how long after it the first
    frame comes (sound may start earlier); all other times in vidsift count from the first frame.
    `colour_matrix` is ffmpeg's name of it; empty where the file does not tell.
    """

    path: Path
    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    rotation: int
    frame_rate: Fraction
    duration_seconds: float
    start_seconds: float
    has_audio: bool
    is_hdr: bool
    delay_seconds: float = 0.0
    subtitle_tracks: tuple[SubtitleTrack, ...] = ()
    colour_matrix: str = ""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"{self.path}: a video needs pixels, got {self.width}x{self.height}")
        if self.frame_rate <= 0:
            raise ValueError(f"{self.path}: frame rate must be positive, got {self.frame_rate}")
        if self.rotation not in (0, 90, 180, 270):
            raise ValueError(f"{self.path}: rotation must be a right angle, got {self.rotation}")


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """RGB pictures with the presentation time of each, in increasing order."""

    images: UInt8[np.ndarray, "n h w 3"]
    pts_seconds: Float64[np.ndarray, "n"]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[3] != 3 or self.images.dtype != np.uint8:
            raise ValueError(f"images must be (n, h, w, 3) uint8, got {self!r}")
        if self.pts_seconds.shape != self.images.shape[:1]:
            raise ValueError(f"one time a picture is needed, got {self!r}")
        if np.any(np.diff(self.pts_seconds) <= 0):
            raise ValueError(f"presentation times must increase, got {self.pts_seconds}")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"FrameBatch(images={self.images.shape}, pts_seconds={self.pts_seconds.shape})"


@dataclass(frozen=True, slots=True)
class FrameFeatures:
    """Unit-length features of sampled frames with the presentation time of each."""

    features: Float[np.ndarray, "n d"]
    pts_seconds: Float64[np.ndarray, "n"]

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.pts_seconds.shape != self.features.shape[:1]:
            raise ValueError(f"features must be (n, d) with n times, got {self!r}")
        if np.any(np.diff(self.pts_seconds) <= 0):
            raise ValueError(f"presentation times must increase, got {self.pts_seconds}")

    def __len__(self) -> int:
        return len(self.features)

    def __repr__(self) -> str:
        return f"FrameFeatures(features={self.features.shape} {self.features.dtype})"


@dataclass(frozen=True, slots=True)
class Shot:
    """What lies between two cuts."""

    span: Span


@dataclass(frozen=True, slots=True)
class Clip:
    """An indexable piece of one shot and the sampled frames that lie in it.

    The frames are rows `[first_frame, first_frame + num_frames)` of the video's FrameFeatures.
    """

    span: Span
    shot: int
    first_frame: int
    num_frames: int

    def __post_init__(self) -> None:
        if self.num_frames < 1 or self.first_frame < 0 or self.shot < 0:
            raise ValueError(f"a clip needs a shot and at least one frame, got {self!r}")

    @property
    def frames(self) -> slice:
        return slice(self.first_frame, self.first_frame + self.num_frames)


@dataclass(frozen=True, slots=True)
class ClipVectors:
    """The k distinct unit-length vectors under which one clip is found, k >= 1."""

    vectors: Float32[np.ndarray, "k d"]

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or not len(self.vectors) >= 1:
            raise ValueError(f"a clip needs (k, d) vectors, got shape {self.vectors.shape}")


@dataclass(frozen=True, slots=True)
class Cue:
    """A line of subtitles and when it is spoken or shown. `track` tells one set from another."""

    span: Span
    text: str
    track: str = ""


@dataclass(frozen=True, slots=True)
class EncoderStamp:
    """What a library remembers of the encoder that made it; two stamps mix only if equal."""

    name: str
    weights_sha256: str
    dimension: int
    preprocessing: str


@dataclass(frozen=True, slots=True)
class SaliencyTerm:
    """One reason among those that make up a saliency, to which it adds `weight * value`.

    `name` is one of `representativeness`, `diversity`, `relevance`, `learned`, `speech`.
    """

    name: str
    value: float
    weight: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A span chosen for a summary and why: its saliency (per second, higher is better).

    `terms` add up to the saliency; empty where the reasons are not known.
    """

    span: Span
    saliency: float
    terms: tuple[SaliencyTerm, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """The segments of one video that stand for it, or for its answer to a question, in time order.

    `query` is the empty string for a generic summary. `matched` is False where nothing in the video
    reaches the chosen false-alarm rate, so that the segments are only the nearest there are; None
    where there is no question, or nothing to tell by.
    """

    query: str
    segments: tuple[Segment, ...]
    budget_seconds: float
    matched: bool | None = None

    def __post_init__(self) -> None:
        spans = [segment.span for segment in self.segments]
        if any(a.end > b.start + 1e-6 for a, b in itertools.pairwise(spans)):
            raise ValueError(f"segments must be in order and apart, got {spans}")

    @property
    def duration_seconds(self) -> float:
        return sum(segment.span.duration for segment in self.segments)


@dataclass(frozen=True)
class IndexedVideo:
    """All that indexing one video yields: a value, so that any process may compute it.

    `vectors` and `thumbnails` (JPEG bytes) run parallel to `clips`; `cue_vectors` (unit length, in
    the space of the frames) to `cues`, which come track by track, each in order of time. `note`
    says what was odd about a file that could still be used, such as an end that is missing, and
    `subtitles_note` the same of its subtitles; empty when nothing was. `subtitles` tells what they
    were read from (see vidsift.media.subtitles); empty where they were not.
    """

    probe: VideoProbe
    fingerprint: Fingerprint
    duration_seconds: float
    shots: tuple[Shot, ...]
    clips: tuple[Clip, ...]
    features: FrameFeatures
    vectors: tuple[ClipVectors, ...]
    thumbnails: tuple[bytes, ...] = field(repr=False)
    summary: Summary
    note: str = ""
    cues: tuple[Cue, ...] = ()
    cue_vectors: Float32[np.ndarray, "m d"] | None = None
    subtitles: str = ""
    subtitles_note: str = ""

    def __post_init__(self) -> None:
        if len(self.cues) != (0 if self.cue_vectors is None else len(self.cue_vectors)):
            raise ValueError(f"{len(self.cues)} cues need one vector each")
        if not len(self.clips) == len(self.vectors) == len(self.thumbnails):
            raise ValueError(
                f"{len(self.clips)} clips, {len(self.vectors)} vectors, "
                f"{len(self.thumbnails)} thumbnails: one of each a clip is needed"
            )


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """One video as the catalog knows it. `reason` says why it is failed or missing."""

    id: int
    path: Path
    status: VideoStatus
    reason: str
    note: str
    fingerprint: Fingerprint
    duration_seconds: float
    width: int
    height: int
    frame_rate: Fraction
    codec: str
    has_audio: bool
    num_frames: int
    num_clips: int
    feature_file: str
    indexed_at: float


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """One clip as the catalog knows it, with what a search needs of the video that it lies in."""

    id: int
    video_id: int
    video: Path
    ordinal: int
    clip: Clip
    pts_seconds: Float64[np.ndarray, "n"]
    feature_file: str


@dataclass(frozen=True, slots=True)
class CueRecord:
    """One cue as the catalog knows it.

    `ordinal` is its place among the video's cues: track by track, each in order of time.
    """

    id: int
    video_id: int
    ordinal: int
    cue: Cue


@dataclass(frozen=True, slots=True)
class TextQuery:
    """A question and its unit-length vector in the space of the frames."""

    text: str
    vector: Float32[np.ndarray, "d"]


@dataclass(frozen=True, slots=True)
class RankedClip:
    """A clip under one question: its score, and over its frames similarities and weights."""

    record: ClipRecord
    score: float
    similarities: Float32[np.ndarray, "n"]
    weights: Float32[np.ndarray, "n"]


@dataclass(frozen=True, slots=True)
class Moment:
    """A span of one video that answers a question; `peak_seconds` is where it answers best."""

    video_id: int
    clip_id: int
    span: Span
    peak_seconds: float
    score: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One line of the answer: a moment, the video that it lies in, and its clip's thumbnail.

    `false_alarm_rate` is how often a question that has no answer in this library would find one as
    good, in [0, 1]; None where the library is too small to tell. `found_by` says which rankings
    hold it: `"picture"`, `"words"` or both. `cue` is the line of subtitles that counted. `parts`
    has one moment for each step of a question about order. `duplicates` are the near-duplicate
    moments of other files that are folded into this one.
    """

    moment: Moment
    video: Path
    thumbnail: Path
    false_alarm_rate: float | None = None
    found_by: tuple[str, ...] = ("picture",)
    cue: Cue | None = None
    parts: tuple[Moment, ...] = ()
    duplicates: tuple[Moment, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A video that is not searched, though it is said to be searchable, and why: it is damaged."""

    video_id: int
    video: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question: moments, best first, and whether they are one.

    `matched` is False where no result reaches the chosen false-alarm rate: the results are then
    only the nearest there are. `exact` tells that every clip was scored, not candidates alone.
    `left_out` are the videos that may not answer because they are damaged.
    """

    query: str
    results: tuple[SearchResult, ...]
    matched: bool
    exact: bool
    left_out: tuple[LeftOut, ...] = ()
