"""Moments: the spans in which the attention curve of a video stands up, best first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from vidsift.types import ClipRecord, Moment, RankedClip, Span

__all__ = ["find_moments", "frame_spans", "in_turn", "same_moment", "suppress"]

_Ranked = TypeVar("_Ranked")

_LEVEL = 0.6  # of the way from the question's background to the peak
_SNAP_SECONDS = 1.0  # an edge that lies so near to a cut between shots moves there
_SNAP_LEVEL = 0.4  # as _LEVEL, of the frames that a moment may gain by that
_TOGETHER = 100  # ranks of clips, in steps of which candidates are taken
_SAME_MOMENT = 0.5  # overlap, as a share of the shorter, from which two moments are the same
_LEAST_SECONDS = 1.0  # a moment is long enough to be seen, where its clips are


def find_moments(ranked: Sequence[RankedClip], background: float | None = None) -> Iterator[Moment]:
    """One moment for each peak of each video's curve of frame similarities, best first.

    The candidates of a video that touch in time form one curve, median-filtered over three frames;
    a clip touches those of its own hundred of ranks and of better ones, so that further candidates
    change nothing about the moments that there are. Around the best frame of each clip the moment
    reaches as far as the curve stays above a level: 0.6 of the way from the question's background
    to that frame. A frame counts for the time from its presentation to the next sampled frame's.

    An edge within a second of a cut between shots moves onto it, if what the moment gains by that
    stands 0.4 of that way above the background; a sliver of another shot is left away. The score is
    that of the moment's best clip. Of moments that overlap the best stays (`suppress`).

    Takes clips best first; of equals the one indexed first is taken first. Moments are found as
    they are asked for.

    Args:
        ranked: clips under one question.
        background: how similar the library's frames are to the question on average
            (`Candidates.background`); None: the median over the frames of the 100 best clips.
    """
    ranked = sorted(ranked, key=lambda clip: (-clip.score, clip.record.id))
    if not ranked:
        return
    if background is None:
        best = ranked[:_TOGETHER]
        usual = float(np.median(np.concatenate([clip.similarities for clip in best])))
    else:
        usual = background

    yield from suppress(_cut(ranked, usual))


def _cut(ranked: Sequence[RankedClip], usual: float) -> Iterator[Moment]:
    """The moment around each clip."""
    place: dict[tuple[int, int], RankedClip] = {}
    for start in range(0, len(ranked), _TOGETHER):
        block = ranked[start : start + _TOGETHER]
        place |= {(clip.record.video_id, clip.record.ordinal): clip for clip in block}
        curves: dict[int, _Curve] = {}  # by clip
        for clip in block:
            if clip.record.id not in curves:
                run = _run_of(clip, place)
                curves |= dict.fromkeys((other.record.id for other in run), _Curve(run))
            yield curves[clip.record.id].moment(clip, usual)


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

        shots = np.repeat([clip.record.clip.shot for clip in run], lengths)
        self._cuts = np.flatnonzero(np.diff(shots)) + 1  # frames at which another shot begins

    def moment(self, clip: RankedClip, background: float) -> Moment:
        peak = self._offsets[clip.record.id] + int(np.argmax(clip.similarities))
        height = float(self._values[peak]) - background
        below = np.flatnonzero(self._values < background + _LEVEL * height)
        # The filter may put the peak itself below the level; it is in the moment all the same.
        before, after = below[below < peak], below[below > peak]
        low = int(before[-1]) + 1 if len(before) else 0
        end = int(after[0]) if len(after) else len(self._values)
        agrees = self._values >= background + _SNAP_LEVEL * height
        low = self._snapped(low, self._cuts[self._cuts <= peak], agrees, outwards=-1)
        end = self._snapped(end, self._cuts[self._cuts > peak], agrees, outwards=1)
        return Moment(
            video_id=clip.record.video_id,
            clip_id=clip.record.id,
            span=_at_least(Span(self._time(low), self._time(end)), self._whole),
            peak_seconds=self._time(peak),
            score=clip.score,
        )

    @property
    def _whole(self) -> Span:
        return Span(float(self._starts[0]), float(self._ends[-1]))

    def _time(self, edge: int) -> float:
        """When the frame at `edge` begins; the run's end behind the last."""
        return float(self._starts[edge] if edge < len(self._starts) else self._ends[-1])

    def _snapped(
        self, edge: int, cuts: Int64[np.ndarray, "x"], agrees: Bool[np.ndarray, "n"], outwards: int
    ) -> int:
        """The nearest of these cuts that the edge may move to, else the edge as it is."""
        frames: list[int] = cuts.tolist()
        for cut in sorted(frames, key=lambda cut: abs(self._time(cut) - self._time(edge))):
            if abs(self._time(cut) - self._time(edge)) > _SNAP_SECONDS:
                break
            gains = (cut - edge) * outwards > 0
            if not gains or agrees[min(cut, edge) : max(cut, edge)].all():
                return cut
        return edge


def _at_least(span: Span, within: Span) -> Span:
    lacking = _LEAST_SECONDS - span.duration
    if lacking <= 0:
        return span
    start = max(within.start, min(span.start - lacking / 2, within.end - _LEAST_SECONDS))
    return Span(start, max(span.end, min(within.end, start + _LEAST_SECONDS)))


def _smooth(curve: Float32[np.ndarray, "n"]) -> Float32[np.ndarray, "n"]:
    # The median of three, not the mean: it takes out single odd frames and leaves edges alone.
    smooth = curve.copy()
    before, after = curve[:-2], curve[2:]
    np.clip(curve[1:-1], np.minimum(before, after), np.maximum(before, after), out=smooth[1:-1])
    return smooth


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
        if not any(same_moment(moment.span, rival.span) for rival in rivals):
            rivals.append(moment)
            yield moment


def same_moment(a: Span, b: Span) -> bool:
    """Whether two spans of one video share half of the shorter."""
    return a.overlap(b) >= _SAME_MOMENT * min(a.duration, b.duration)


def in_turn(
    ranked: Iterable[_Ranked], most_per_video: int, video_of: Callable[[_Ranked], int]
) -> Iterator[_Ranked]:
    """At most `most_per_video` of one video before the other videos have had their turn.

    What a video has beyond its share comes after all that is within a share, in order of rank too.
    Takes no more than is asked for, and what comes first does not depend on how much that is: pages
    are slices of the result.
    """
    taken: dict[int, int] = defaultdict(int)
    later: list[_Ranked] = []
    for each in ranked:
        video = video_of(each)
        taken[video] += 1
        if taken[video] <= most_per_video:
            yield each
        else:
            later.append(each)
    yield from later
