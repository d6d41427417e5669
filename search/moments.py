"""Moments: the spans in which the attention curve of a video stands up, best first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float32

from vidsift.types import ClipRecord, Moment, RankedClip, Span

__all__ = ["find_moments", "group_by_video", "suppress"]

_LEVEL = 0.35  # of the way from the question's background to the peak
_SMOOTH = 3  # sampled frames of the median filter over the curve
_SAME_MOMENT = 0.3  # tIoU from which two moments of one video are the same


def find_moments(ranked: Sequence[RankedClip]) -> list[Moment]:
    """One moment for each peak of each video's curve of frame similarities, best first.

    The candidates of a video that touch in time form one curve, median-filtered over three frames.
    Around the best frame of each clip the moment reaches as far as the curve stays above a level:
    a third of the way from the question's background (the median over all candidates' frames) to
    that frame. A frame counts for the time from its presentation to the next sampled frame's. The
    score is that of the moment's best clip. Overlapping moments are folded by `suppress`.
    """
    if not ranked:
        return []
    background = float(np.median(np.concatenate([clip.similarities for clip in ranked])))
    found = []
    for run in _runs(ranked):
        curve = _smooth(np.concatenate([clip.similarities for clip in run]))
        starts, ends = _frame_spans([clip.record for clip in run])
        first = 0
        for clip in run:
            peak = first + int(np.argmax(clip.similarities))
            first += len(clip.similarities)
            level = background + _LEVEL * (float(curve[peak]) - background)
            low = high = peak
            while low > 0 and curve[low - 1] >= level:
                low -= 1
            while high + 1 < len(curve) and curve[high + 1] >= level:
                high += 1
            found.append(
                Moment(
                    video_id=clip.record.video_id,
                    clip_id=clip.record.id,
                    span=Span(float(starts[low]), float(ends[high])),
                    peak_seconds=float(starts[peak]),
                    score=clip.score,
                )
            )
    return suppress(found)


def _smooth(curve: Float32[np.ndarray, "n"]) -> Float32[np.ndarray, "n"]:
    # The median, not the mean: it takes out single odd frames and leaves edges where they are.
    padded = np.pad(curve, _SMOOTH // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _SMOOTH)
    return np.asarray(np.median(windows, axis=1), dtype=np.float32)


def _runs(ranked: Sequence[RankedClip]) -> Iterable[list[RankedClip]]:
    """The clips in groups that lie in one video and touch in time, in time order."""
    ordered = sorted(ranked, key=lambda clip: (clip.record.video_id, clip.record.ordinal))
    run: list[RankedClip] = []
    for clip in ordered:
        if run and (
            run[-1].record.video_id != clip.record.video_id
            or run[-1].record.ordinal + 1 != clip.record.ordinal
        ):
            yield run
            run = []
        run.append(clip)
    yield run


def _frame_spans(records: Sequence[ClipRecord]) -> tuple[np.ndarray, np.ndarray]:
    """From when to when each frame of clips that touch stands for the video."""
    starts, ends = [], []
    for record in records:
        own = record.pts_seconds.copy()
        own[0] = record.clip.span.start
        starts.append(own)
        ends.append(np.append(own[1:], record.clip.span.end))
    return np.concatenate(starts), np.concatenate(ends)


def suppress(moments: Iterable[Moment], tiou: float = _SAME_MOMENT) -> list[Moment]:
    """Temporal non-maximum suppression: of moments of one video that overlap, the best stays.

    Best first; ties keep the order given.
    """
    kept: list[Moment] = []
    by_video: dict[int, list[Moment]] = defaultdict(list)
    for moment in sorted(moments, key=lambda moment: -moment.score):
        rivals = by_video[moment.video_id]
        if all(moment.span.tiou(rival.span) < tiou for rival in rivals):
            rivals.append(moment)
            kept.append(moment)
    return kept


def group_by_video(moments: Sequence[Moment], most_per_video: int, k: int) -> list[Moment]:
    """The best `k`, with at most `most_per_video` of one video while other videos have moments.

    What a video has beyond its share fills the places that are left at the end.
    """
    taken: dict[int, int] = defaultdict(int)
    first: list[Moment] = []
    later: list[Moment] = []
    for moment in moments:
        taken[moment.video_id] += 1
        (first if taken[moment.video_id] <= most_per_video else later).append(moment)
    return (first + later)[:k]
