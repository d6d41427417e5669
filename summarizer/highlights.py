"""Highlights: what is unusual in a video, against the rest of it, the library, or a baseline.

Frames are judged by `summarizer.unusual`, and joined to moments as those of a search are
(`search.moments`): a moment reaches around its peak as far as the curve stays above 0.6 of the way
up from what is usual, and its edges move onto cuts near them. How rare it is, is told by the clips
of what is normal, each judged by the others: the share that is as unusual, the moment counted among
them, is a conformal p-value (Vovk et al. 2005; Bates et al. 2023),

    rate = (1 + normal clips that are as unusual) / (1 + normal clips).

Where a video is compared with itself, the clips of the moment are no part of what is normal. Of
`lof` it is only a count: normal frames are among those that tell how dense their neighbours lie,
so that they score lower than others of their kind.

Axes: n frames, d dimensions.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from jaxtyping import Float64

from search.moments import find_moments
from summarizer.unusual import Footage, Method, judge
from vidsift.errors import DamagedLibraryError, SummaryError
from vidsift.library import Library
from vidsift.types import ClipRecord, Moment, RankedClip, Span, VideoRecord

__all__ = ["Against", "Highlight", "Highlights", "find_highlights"]

_log = logging.getLogger(__name__)

Against = Literal["video", "library"]

_APART_SECONDS = 10.0  # frames that are nearer do not vouch for each other
_APART_SHARE = 1 / 6  # of a short video
_MOST_FRAMES = 8_000  # that stand for what is normal
_LEAST_CLIPS = 4  # by which a rate can be told
_FLAT = 2e-3  # scores that differ by less are alike but for rounding
_REMEDY = {
    "video": "name a longer baseline, or compare with the library (--against library)",
    "library": "index more videos",
}


@dataclass(frozen=True, slots=True)
class Highlight:
    """A moment that is unusual, and what tells so.

    `score` is the mean distance (1 - cosine) to the nearest normal frames (`knn`) or the local
    outlier factor (`lof`) where it is greatest, at `peak_seconds`. Of `num_normal` normal clips
    `as_unusual` score as high. The normal frame that is nearest to the peak lies at
    `nearest_seconds` of `nearest_video`, at `distance`.
    """

    span: Span
    peak_seconds: float
    score: float
    as_unusual: int
    num_normal: int
    nearest_video: VideoRecord
    nearest_seconds: float
    distance: float

    @property
    def rate(self) -> float:
        """How rare what is so unusual is where all is normal; never below 1 / (num_normal + 1)."""
        return (1 + self.as_unusual) / (1 + self.num_normal)


@dataclass(frozen=True, slots=True)
class Highlights:
    """What is unusual in a video, most unusual first.

    `compared_with` says in words what is normal, `num_clips` how many clips of it there are.
    `note` says why nothing was found; empty where something was.
    """

    video: VideoRecord
    compared_with: str
    num_clips: int
    method: Method
    found: tuple[Highlight, ...]
    note: str = ""


def find_highlights(
    library: Library,
    video: VideoRecord,
    k: int = 10,
    *,
    against: Against = "video",
    baseline: Span | None = None,
    method: Method = "knn",
    on_progress: Callable[[float], None] | None = None,
) -> Highlights:
    """The `k` most unusual moments of a video.

    Args:
        library: holds it.
        video: any that was indexed.
        k: how many are wanted.
        against: what is normal: the rest of the video, or the library's other videos.
        baseline: this stretch of the video is what is normal instead, and is not judged itself.
        method: see `summarizer.unusual`.
        on_progress: called with the share of the work that is done.

    Raises:
        SummaryError: there is nothing to compare with, or too little, or the video is not indexed.
        DamagedLibraryError: its features cannot be read.
    """
    if k < 1:
        raise SummaryError(f"-k {k}: ask for at least one highlight")
    if video.status == "failed":
        raise SummaryError(f"{video.path}: was not indexed ({video.reason}); nothing to compare")

    def read() -> tuple[VideoRecord, _Compared, dict[int, VideoRecord]]:
        now = library.catalog.video(video.id) or video
        videos = {each.id: each for each in library.catalog.videos()}
        return now, _read(library, now, against, baseline), videos

    # All that is read is of one state of the library; the comparison, which may take long, is not
    # waited for by others who read.
    video, (shown, normal, frames, rows, compared_with), videos = library.in_one_state(read)
    if len(normal) < _LEAST_CLIPS:
        raise SummaryError(
            f"{video.path.name}: {compared_with} holds too few clips to tell what is unusual"
            f" ({len(normal)} of {_LEAST_CLIPS}); {_REMEDY[against]}"
        )
    apart = math.inf
    if against == "video":
        apart = min(_APART_SECONDS, _APART_SHARE * video.duration_seconds)
    try:
        judged = judge(frames, rows, apart, method, on_progress)
    except ValueError as error:
        raise SummaryError(
            f"{video.path.name}: {compared_with} is too short to tell what is unusual;"
            f" {_REMEDY[against]}"
        ) from error
    usual = float(np.median(judged.usual))
    highest = _by_clip(judged.usual, normal)
    if float(judged.scores.max()) - usual < _FLAT:
        note = f"nothing stands out: all of it is like {compared_with}"
        return Highlights(video, compared_with, len(normal), method, (), note)
    place_of = {record.id: place for place, record in enumerate(normal)}
    found = []
    for moment in islice(_moments(shown, judged.scores, usual), k):
        peak = int(np.argmin(np.abs(frames.seconds - moment.peak_seconds)))
        within = [
            place_of[record.id]
            for record in shown
            if record.id in place_of and record.clip.span.overlap(moment.span) > 0
        ]
        others = np.delete(highest, within)
        nearest = int(judged.nearest[peak])
        found.append(
            Highlight(
                moment.span,
                moment.peak_seconds,
                moment.score,
                int(np.count_nonzero(others >= moment.score)),
                len(others),
                videos[int(rows.videos[nearest])],
                float(rows.seconds[nearest]),
                float(judged.distances[peak]),
            )
        )
    return Highlights(video, compared_with, len(normal), method, tuple(found))


_Compared = tuple[Sequence[ClipRecord], list[ClipRecord], Footage, Footage, str]


def _read(
    library: Library, video: VideoRecord, against: Against, baseline: Span | None
) -> _Compared:
    """The clips that are judged and those that are normal, the frames of both, and in words what
    is compared with."""
    own = library.catalog.clips_of_video(video.id)
    shown, normal, compared_with = _compared(library, video, own, against, baseline)
    normal, rows = _footage(library, normal, video)
    frames = rows if len(normal) == len(shown) else _footage(library, shown, video)[1]
    return shown, normal, frames, rows, compared_with


def _compared(
    library: Library,
    video: VideoRecord,
    own: Sequence[ClipRecord],
    against: Against,
    baseline: Span | None,
) -> tuple[Sequence[ClipRecord], list[ClipRecord], str]:
    """The clips to be judged, some of those that are normal, and what these are in words."""
    if baseline is None and against == "video":
        return own, _some(own), "the rest of the video"
    if baseline is None:
        others = [each.id for each in library.catalog.videos("searchable") if each.id != video.id]
        if not others:
            raise SummaryError(
                f"{video.path.name}: is the only video of the library; compare it with itself"
            )
        table = library.catalog.clip_frames(of_videos=others)
        step = max(1, math.ceil(int(table[:, 3].sum()) / _MOST_FRAMES))
        records = library.catalog.clips(table[::step, 0])
        ordered = sorted(records.values(), key=lambda record: (record.video_id, record.ordinal))
        return own, ordered, "the library's other videos"
    if against == "library":
        raise SummaryError("a baseline is a part of the video; leave --against library out")
    if baseline.start >= video.duration_seconds:
        raise SummaryError(
            f"the baseline begins at {baseline.start:g} s, but {video.path.name} lasts only"
            f" {video.duration_seconds:.1f} s"
        )
    normal = [each for each in own if _middle(each.clip.span, baseline)]
    shown = [each for each in own if not _middle(each.clip.span, baseline)]
    if not shown:
        raise SummaryError(
            f"{video.path.name}: lies in the baseline as a whole; there is nothing left to judge"
        )
    return shown, _some(normal), "the baseline"


def _middle(span: Span, within: Span) -> bool:
    return within.start <= (span.start + span.end) / 2 < within.end


def _some(records: Sequence[ClipRecord]) -> list[ClipRecord]:
    """As many clips as a comparison takes, evenly from all."""
    frames = sum(record.clip.num_frames for record in records)
    return list(records[:: max(1, math.ceil(frames / _MOST_FRAMES))])


def _footage(
    library: Library, records: Sequence[ClipRecord], video: VideoRecord
) -> tuple[list[ClipRecord], Footage]:
    """The frames of clips, and the clips; those of another video that is damaged are left out."""
    dimension = (library.catalog.stamp() or library.encoder.stamp).dimension
    frames, kept = [np.empty((0, dimension), np.float32)], []
    damaged: set[str] = set()
    for record in records:
        if record.feature_file in damaged:
            continue
        first, count = record.clip.first_frame, record.clip.num_frames
        try:
            frames.append(library.features.read(record.feature_file, first, count, dimension))
        except DamagedLibraryError as error:
            if record.video_id == video.id:
                raise
            _log.warning("%s is not compared with: %s", record.video, error)
            damaged.add(record.feature_file)
            continue
        kept.append(record)
    videos = [record.video_id for record in kept for _ in range(record.clip.num_frames)]
    times = [np.empty(0), *(record.pts_seconds for record in kept)]
    return kept, Footage(
        np.concatenate(frames), np.array(videos, dtype=np.int64), np.concatenate(times)
    )


def _by_clip(
    scores: Float64[np.ndarray, "n"], records: Sequence[ClipRecord]
) -> Float64[np.ndarray, "c"]:
    """The greatest score of each clip's frames."""
    lengths = np.array([record.clip.num_frames for record in records])
    return np.asarray(np.maximum.reduceat(scores, np.cumsum(lengths) - lengths))


def _moments(
    records: Sequence[ClipRecord], scores: Float64[np.ndarray, "n"], usual: float
) -> Iterator[Moment]:
    """Where the curve of scores stands up, best first."""
    lengths = [record.clip.num_frames for record in records]
    curves = np.split(scores.astype(np.float32), np.cumsum(lengths)[:-1])
    ranked = [
        RankedClip(record, float(curve.max()), curve, np.zeros_like(curve))
        for record, curve in zip(records, curves, strict=True)
    ]
    for moment in find_moments(ranked, usual):
        if moment.score - usual < _FLAT:
            return
        yield moment
