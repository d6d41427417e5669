"""Moments: the spans in which the attention curve of a video stands up, best first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float32, Float64

from vidsift.types import ClipRecord, Moment, RankedClip, Span

__all__ = ["find_moments", "frame_spans", "group_by_video", "suppress"]

_LEVEL = 0.35  # of the way from the question's background to the peak
_SAME_MOMENT = 0.5  # overlap, as a share of the shorter, from which two moments are the same
_LEAST_SECONDS = 1.0  # a moment is long enough to be seen, where its clips are


def find_moments(ranked: Sequence[RankedClip]) -> Iterator[Moment]:
    """One moment for each peak of each video's curve of frame similarities, best first.

    The candidates of a video that touch in time form one curve, median-filtered over three frames.
    Around the best frame of each clip the moment reaches as far as the curve stays above a level:
    a third of the way from the question's background (the median over all candidates' frames) to
    that frame. A frame counts for the time from its presentation to the next sampled frame's. The
    score is that of the moment's best clip. Of moments that overlap the best stays (`suppress`).

    Takes clips best first. Moments are found as they are asked for.
    """
    if not ranked:
        return
    background = float(np.median(np.concatenate([clip.similarities for clip in ranked])))
    place = {(clip.record.video_id, clip.record.ordinal): clip for clip in ranked}
    curves: dict[int, _Curve] = {}  # by clip

    def moment_of(clip: RankedClip) -> Moment:
        if clip.record.id not in curves:
            run = _run_of(clip, place)
            curve = _Curve(run)
            curves.update((other.record.id, curve) for other in run)
        return curves[clip.record.id].moment(clip, background)

    yield from suppress(moment_of(clip) for clip in ranked)


def _run_of(clip: RankedClip, place: dict[tuple[int, int], RankedClip]) -> list[RankedClip]:
    """The clips of one video that touch this one in time, directly or through others."""
    video, first = clip.record.video_id, clip.record.ordinal
    last = first
    while (video, first - 1) in place:
        first -= 1
    while (video, last + 1) in place:
        last += 1
    return [place[video, ordinal] for ordinal in range(first, last + 1)]


class _Curve:
    """Similarities over the frames of clips that touch, and the time each frame stands for."""

    def __init__(self, run: list[RankedClip]) -> None:
        self._values = _smooth(np.concatenate([clip.similarities for clip in run]))
        self._starts, self._ends = frame_spans([clip.record for clip in run])
        lengths = [len(clip.similarities) for clip in run]
        offsets = np.cumsum([0, *lengths]).tolist()
        self._offsets = {clip.record.id: offset for clip, offset in zip(run, offsets, strict=False)}

    def moment(self, clip: RankedClip, background: float) -> Moment:
        peak = self._offsets[clip.record.id] + int(np.argmax(clip.similarities))
        level = background + _LEVEL * (float(self._values[peak]) - background)
        below = np.flatnonzero(self._values < level)
        after = int(np.searchsorted(below, peak))
        low = int(below[after - 1]) + 1 if after > 0 else 0
        at_peak = after < len(below) and int(below[after]) == peak
        after += at_peak  # the filter may put the peak itself below the level
        high = int(below[after]) - 1 if after < len(below) else len(self._values) - 1
        low, high = min(low, peak), max(high, peak)
        span = Span(float(self._starts[low]), float(self._ends[high]))
        return Moment(
            video_id=clip.record.video_id,
            clip_id=clip.record.id,
            span=_at_least(span, Span(float(self._starts[0]), float(self._ends[-1]))),
            peak_seconds=float(self._starts[peak]),
            score=clip.score,
        )


def _at_least(span: Span, within: Span) -> Span:
    lacking = _LEAST_SECONDS - span.duration
    if lacking <= 0:
        return span
    start = max(within.start, min(span.start - lacking / 2, within.end - _LEAST_SECONDS))
    return Span(start, max(span.end, min(within.end, start + _LEAST_SECONDS)))


def _smooth(curve: Float32[np.ndarray, "n"]) -> Float32[np.ndarray, "n"]:
    # The median of three, not the mean: it takes out single odd frames and leaves edges alone.
    before, after = np.r_[curve[:1], curve[:-1]], np.r_[curve[1:], curve[-1:]]
    low, high = np.minimum(before, after), np.maximum(before, after)
    return np.asarray(np.clip(curve, low, high), dtype=np.float32)


def frame_spans(
    records: Sequence[ClipRecord],
) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """From when to when each frame of clips of one video, in order, stands for the video."""
    starts, ends = [], []
    for record in records:
        own = record.pts_seconds.copy()
        own[0] = record.clip.span.start
        starts.append(own)
        ends.append(np.append(own[1:], record.clip.span.end))
    return np.concatenate(starts), np.concatenate(ends)


def suppress(moments: Iterable[Moment]) -> Iterator[Moment]:
    """Temporal non-maximum suppression: of moments of one video that overlap, the first stays.

    Takes moments best first and passes on, one by one, those that stay. Two moments are the same
    if they share half of the shorter (a part of a moment is no other moment).
    """
    kept: dict[int, list[Moment]] = defaultdict(list)
    for moment in moments:
        rivals = kept[moment.video_id]
        if not any(_same(moment.span, rival.span) for rival in rivals):
            rivals.append(moment)
            yield moment


def _same(a: Span, b: Span) -> bool:
    return a.overlap(b) >= _SAME_MOMENT * min(a.duration, b.duration)


def group_by_video(moments: Iterable[Moment], most_per_video: int, k: int) -> list[Moment]:
    """The best `k`, with at most `most_per_video` of one video while other videos have moments.

    Takes moments best first and no more than it needs. What a video has beyond its share fills
    the places that are left. Best first.
    """
    taken: dict[int, int] = defaultdict(int)
    first: list[Moment] = []
    later: list[Moment] = []
    for moment in moments:
        taken[moment.video_id] += 1
        (first if taken[moment.video_id] <= most_per_video else later).append(moment)
        if len(first) == k:
            break
    return sorted((first + later)[:k], key=lambda moment: -moment.score)
