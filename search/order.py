"""One thing after another: the best chain of moments in a video, by exact dynamic programming.

A chain has one frame for each step, `t_1 < t_2 < ...`, such that each step's frame begins when the
step before it has ended, and at most `within` seconds later:

    0 <= start(t_s) - end(t_(s-1)) <= within_s

Of all chains the one is best whose steps' curves have the greatest soft minimum (`search.combine`)
at those frames: a chain is as good as its weakest step allows, just as a moment of several terms.
Because `-exp(-z/T)` is added up over the steps and grows with the soft minimum, it is found by

    B_s(j) = g_s(j) + max { B_(s-1)(i) : 0 <= start(j) - end(i) <= within_s },   g = -p exp(-z / T)

The window of i moves only forward with j, so the maximum over it is read from a sparse table of
maxima (Bender and Farach-Colton, "The LCA problem revisited", 2000): O(s n log n) time and
O(s n + n log n) memory, all of it in NumPy. Around each frame of the best chain its moment then
reaches as far as the step's curve stands up, and no further than the neighbouring step's.

Axes: s steps, n frames of a video.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from search.combine import TEMPERATURE, Background, soft_minimum
from vidsift.types import Moment, RankedClip, Span

__all__ = ["Chain", "StepCurves", "best_chain", "find_chains", "step_curves"]

_LEVEL = 0.6  # of the way from a step's background to its peak, as for single moments
_LOWEST = -50.0  # deviations below the background: beyond it is as bad, and exp stays finite


@dataclass(frozen=True, slots=True)
class StepCurves:
    """One video's curve under each step, over all its frames in order of time.

    Frame j stands for `[starts[j], ends[j])` and lies in the clip `clip_ids[j]`.
    """

    video_id: int
    clip_ids: Int64[np.ndarray, "n"]
    starts: Float64[np.ndarray, "n"]
    ends: Float64[np.ndarray, "n"]
    values: Float32[np.ndarray, "s n"]


@dataclass(frozen=True, slots=True)
class Chain:
    """One moment for each step, in order of time and apart; `score` is in units of cosine."""

    moments: tuple[Moment, ...]
    score: float


def step_curves(ranked: Sequence[Sequence[RankedClip]]) -> list[StepCurves]:
    """The curves of each video from its clips as each step ranks them.

    Every step ranks the same clips, in any order: all clips of each video that may answer.
    """
    by_step = [{clip.record.id: clip for clip in clips} for clips in ranked]
    by_video: dict[int, list[RankedClip]] = {}
    for clip in sorted(ranked[0], key=lambda each: each.record.ordinal):
        by_video.setdefault(clip.record.video_id, []).append(clip)
    return [_curves_of(video_id, clips, by_step) for video_id, clips in by_video.items()]


def _curves_of(
    video_id: int, clips: Sequence[RankedClip], by_step: Sequence[dict[int, RankedClip]]
) -> StepCurves:
    records = [clip.record for clip in clips]
    starts = [np.r_[each.clip.span.start, each.pts_seconds[1:]] for each in records]
    ends = [np.r_[each.pts_seconds[1:], each.clip.span.end] for each in records]
    curves = [
        np.concatenate([clips_of_step[each.id].similarities for each in records])
        for clips_of_step in by_step
    ]
    return StepCurves(
        video_id=video_id,
        clip_ids=np.repeat([each.id for each in records], [len(each) for each in starts]),
        starts=np.concatenate(starts),
        ends=np.concatenate(ends),
        values=np.stack(curves),
    )


def find_chains(
    curves: StepCurves,
    background: Background,
    within: Sequence[float | None],
    most: int = 1,
) -> list[Chain]:
    """Up to `most` chains of moments, best first; none where the video is too short for any.

    Args:
        curves: of one video.
        background: of each step's values (s,), over the library or the candidates.
        within: for each step the longest time in seconds since the step before has ended; None:
            any. The first is not used.
        most: chains wanted. No step's moment shares a frame with that step's in a better chain.
    """
    values = _smooth(curves.values)
    z = (values - background.mean[:, None]) / background.deviation[:, None]  # (s, n)
    shares = np.full(len(z), 1 / len(z), np.float32)
    gains = -np.exp(-np.maximum(z, _LOWEST).astype(np.float64) / TEMPERATURE)  # (s, n)
    mean, deviation = float(background.mean.mean()), float(background.deviation.mean())
    rows = np.arange(len(z))
    chains: list[Chain] = []
    while len(chains) < most:
        frames = best_chain(gains, curves.starts, curves.ends, within)
        if frames is None:
            break
        at_frames = z[rows, frames]
        spans = _grow(z, frames)
        moments = tuple(
            Moment(
                video_id=curves.video_id,
                clip_id=int(curves.clip_ids[frame]),
                span=Span(float(curves.starts[low]), float(curves.ends[high])),
                peak_seconds=float(curves.starts[frame]),
                score=float(values[step, frame]),
            )
            for step, (frame, (low, high)) in enumerate(zip(frames, spans, strict=True))
        )
        score = float(soft_minimum(at_frames[:, None], shares)[0])
        chains.append(Chain(moments, mean + deviation * score))
        for step, (low, high) in enumerate(spans):
            gains[step, low : high + 1] = -np.inf
    return chains


def best_chain(
    gains: Float64[np.ndarray, "s n"],
    starts: Float64[np.ndarray, "n"],
    ends: Float64[np.ndarray, "n"],
    within: Sequence[float | None],
) -> list[int] | None:
    """The frames, one a step, of the chain with the greatest sum of gains; None if there is none.

    Frames must be in order of time and apart; a gain of -inf forbids a frame to a step. Of chains
    that are equally good one is taken.
    """
    n = gains.shape[1]
    best = gains[0].copy()  # B_s(j)
    came_from: list[np.ndarray] = []
    # Frames that have ended when frame j begins: [0, ended[j]).
    ended = np.searchsorted(ends, starts, side="right")
    for step in range(1, len(gains)):
        limit = within[step]
        # Where the best frame for the step before stands; -1 where there is none.
        if limit is None:
            before = np.where(ended > 0, _argmax_so_far(best)[ended - 1], -1)
        else:
            first = np.searchsorted(ends, starts - limit, side="left")
            before = _argmax_of_windows(best, first, ended)
        came_from.append(before)
        best = gains[step] + np.where(before >= 0, best[before], -np.inf)
    last = int(np.argmax(best)) if n else -1
    if n == 0 or best[last] == -np.inf:
        return None
    frames = [last]
    for before in reversed(came_from):
        frames.append(int(before[frames[-1]]))
    return frames[::-1]


def _argmax_so_far(values: Float64[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
    """Where the greatest value up to each place, itself included, stands."""
    greatest = np.maximum.accumulate(values)
    is_record = np.r_[True, values[1:] > greatest[:-1]]
    return np.maximum.accumulate(np.where(is_record, np.arange(len(values)), 0))


def _argmax_of_windows(
    values: Float64[np.ndarray, "n"], first: Int64[np.ndarray, "n"], end: Int64[np.ndarray, "n"]
) -> Int64[np.ndarray, "n"]:
    """Where the greatest value of each window `[first, end)` stands; -1 for an empty window."""
    lengths = end - first
    found = np.full(len(values), -1, np.int64)
    # Windows of 2^k to 2^(k+1) - 1 values are covered by two of 2^k that overlap.
    rows = np.frexp(lengths)[1] - 1
    # Row k of the table: where the greatest of the 2^k values from each place on stands.
    places, width = np.arange(len(values)), 1
    for row in range(int(rows.max(initial=-1)) + 1):
        fits = np.flatnonzero(rows == row)
        left, right = places[first[fits]], places[end[fits] - width]
        found[fits] = np.where(values[left] >= values[right], left, right)
        left, right = places[:-width], places[width:]
        places = np.where(values[left] >= values[right], left, right)
        width *= 2
    return found


def _grow(z: Float[np.ndarray, "s n"], frames: Sequence[int]) -> list[tuple[int, int]]:
    """First and last frame of the moment around each frame of a chain."""
    heights = np.maximum([z[step, frame] for step, frame in enumerate(frames)], 1e-6)
    relative = z / heights[:, None]  # 0 at a step's background, 1 at its moment's best frame
    n = z.shape[1]
    # A frame between two steps belongs to the earlier one until it speaks more for the later.
    cuts = [0]
    for step in range(len(frames) - 1):
        between = np.arange(frames[step] + 1, frames[step + 1])
        turned = np.flatnonzero(relative[step + 1, between] > relative[step, between])
        cuts.append(int(between[turned[0]]) if len(turned) else frames[step + 1])
    cuts.append(n)
    spans = []
    for step, frame in enumerate(frames):
        below = np.flatnonzero(relative[step] < _LEVEL)
        after = int(np.searchsorted(below, frame))
        low = int(below[after - 1]) + 1 if after else 0
        high = int(below[after]) - 1 if after < len(below) else n - 1
        spans.append((max(min(low, frame), cuts[step]), min(max(high, frame), cuts[step + 1] - 1)))
    return spans


def _smooth(curves: Float32[np.ndarray, "s n"]) -> Float32[np.ndarray, "s n"]:
    # The median of three, as for single moments: one odd frame is no moment.
    before = np.concatenate([curves[:, :1], curves[:, :-1]], axis=1)
    after = np.concatenate([curves[:, 1:], curves[:, -1:]], axis=1)
    low, high = np.minimum(before, after), np.maximum(before, after)
    return np.asarray(np.clip(curves, low, high), dtype=np.float32)
