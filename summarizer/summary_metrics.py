"""Measures of a summary against people's: the protocol of TVSum and SumMe.

From scores at sampled frames (`picks`) to a summary and its figures, as published since Zhang,
Chao, Sha and Grauman, "Video Summarization with Long Short-term Memory" (ECCV 2016), and evaluated
with by PGL-SUM, CA-SUM and others:

1. every frame has the score of the last sampled one (0 before the first);
2. a shot's value is the mean of its frames; `change_points` hold the first and last frame of each,
   both inclusive;
3. the exact 0/1 knapsack takes the shots of greatest value that fit into 15 % of the frames,
   `int(0.15 * n_frames)`;
4. F1 of the frames so taken with each annotator's; the mean over them (TVSum) or the best (SumMe);
5. Kendall's tau-b and Spearman's rho of the frames' scores with each annotator's, the mean over
   them (Otani, Nakashima, Rahtu and Heikkila, "Rethinking the Evaluation of Video Summaries", CVPR
   2019).

Nothing here knows files. Axes: n frames of the video, p picks, m shots, u annotators, k systems,
r runs of frames.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

__all__ = [
    "BUDGET",
    "Reduction",
    "f1_scores",
    "frame_scores",
    "knapsack_frames",
    "machine_summary",
    "rank_correlations",
    "runs_of",
    "shot_values",
]

BUDGET = 0.15  # of the frames
Reduction = Literal["mean", "max"]
_BLOCK_BYTES = 4 * 2**20  # of comparisons at once


def frame_scores(
    scores: Float[np.ndarray, "p"], picks: Int64[np.ndarray, "p"], num_frames: int
) -> Float32[np.ndarray, "{num_frames}"]:
    """The score of every frame: that of the last pick up to it; 0 before the first pick."""
    every = np.zeros(num_frames, np.float32)
    first = min(int(picks[0]), num_frames)
    lengths = np.diff(np.minimum(picks, num_frames), append=num_frames)
    every[first:] = np.repeat(scores.astype(np.float32), lengths)
    return every


def shot_values(
    every: Float32[np.ndarray, "n"], change_points: Int64[np.ndarray, "m 2"]
) -> Float64[np.ndarray, "m"]:
    """The mean score of each shot's frames, first to last inclusive."""
    return np.array([every[first : last + 1].mean() for first, last in change_points], np.float64)


def knapsack_frames(
    values: Float64[np.ndarray, "m"], lengths: Int64[np.ndarray, "m"], capacity: int
) -> list[int]:
    """The shots of greatest total value whose lengths fit; exact, in whole frames.

    Of equally good choices the one without later shots, as the published programs have it; a shot
    of value 0 is never taken.
    """
    best = np.zeros(capacity + 1)
    taken = np.zeros((len(lengths), capacity + 1), dtype=bool)
    for shot, (length, value) in enumerate(zip(lengths, values, strict=True)):
        if length > capacity:
            continue
        with_shot = best[: capacity + 1 - length] + value
        taken[shot, length:] = with_shot > best[length:]
        best[length:] = np.maximum(best[length:], with_shot)
    chosen = []
    room = capacity
    for shot in range(len(lengths) - 1, -1, -1):
        if taken[shot, room]:
            chosen.append(shot)
            room -= int(lengths[shot])
    return chosen[::-1]


def machine_summary(
    every: Float32[np.ndarray, "n"],
    change_points: Int64[np.ndarray, "m 2"],
    lengths: Int64[np.ndarray, "m"],
) -> Bool[np.ndarray, "n"]:
    """Which frames the summary of these scores shows: steps 2 and 3 of the protocol."""
    chosen = knapsack_frames(shot_values(every, change_points), lengths, int(BUDGET * len(every)))
    summary = np.zeros(len(every), dtype=bool)
    for first, last in change_points[chosen]:
        summary[first : last + 1] = True
    return summary


def f1_scores(
    summary: Bool[np.ndarray, "n"], theirs: Bool[np.ndarray, "u n"]
) -> Float64[np.ndarray, "u"]:
    """F1 with each annotator's summary, in [0, 1]; 0 where they share nothing."""
    shared = theirs @ summary.astype(np.int64)  # (u,)
    shown = summary.sum() + theirs.sum(axis=1)
    return np.asarray(2 * shared / np.maximum(shown, 1), dtype=np.float64)


def runs_of(
    *stepwise: Float[np.ndarray, "... n"],
) -> tuple[Int64[np.ndarray, "r"], Float64[np.ndarray, "r"]]:
    """Runs of frames in which nothing changes: the first frame of each, and how many they are."""
    rows = np.concatenate([np.atleast_2d(values) for values in stepwise])
    change = (rows[:, 1:] != rows[:, :-1]).any(axis=0)
    starts = np.concatenate([[0], np.flatnonzero(change) + 1]).astype(np.int64)
    return starts, np.diff(starts, append=rows.shape[1]).astype(np.float64)


def rank_correlations(
    ours: Float[np.ndarray, "k r"],
    theirs: Float[np.ndarray, "u r"],
    frames: Float64[np.ndarray, "r"],
) -> tuple[Float64[np.ndarray, "k u"], Float64[np.ndarray, "k u"]]:
    """Kendall's tau-b and Spearman's rho of each of `ours` with each of `theirs`.

    Column i stands for `frames[i]` frames that are all alike. The figures are those of
    `scipy.stats.kendalltau` and `spearmanr` on every frame by itself, but all pairs of rows are
    compared at once and frames that are alike only once: 100 random systems against 20 annotators
    would take minutes a video. NaN where a row is the same everywhere: it ranks nothing.
    """
    agreed = np.zeros((len(ours), len(theirs)))  # pairs in the same order, less those in reverse
    count = ours.shape[1]
    block = max(1, _BLOCK_BYTES // (8 * count * (len(ours) + len(theirs))))
    for start in range(0, count, block):
        rows = slice(start, start + block)
        # Later runs stand for both orders of a pair; those of the block meet in both by themselves.
        pairs = frames[rows, None] * frames[None, start:]
        pairs[:, block:] *= 2
        mine, other = (
            np.sign(scores[:, rows, None] - scores[:, None, start:]).reshape(len(scores), -1)
            for scores in (ours, theirs)
        )
        agreed += (mine * pairs.reshape(-1)) @ other.T
    ranks, told = _ranks(ours, frames)
    their_ranks, told_by_them = _ranks(theirs, frames)
    with np.errstate(invalid="ignore"):
        tau = agreed / np.sqrt(np.outer(told, told_by_them))
    return tau, (ranks * frames) @ their_ranks.T


def _ranks(
    scores: Float[np.ndarray, "k r"], frames: Float64[np.ndarray, "r"]
) -> tuple[Float64[np.ndarray, "k r"], Float64[np.ndarray, "k"]]:
    """Ranks of the frames by each row, and how many ordered pairs of frames it tells apart.

    Frames of equal value share their rank; ranks are centred and of length 1 over all frames.
    """
    ranks = np.empty(scores.shape)
    told = np.empty(len(scores))
    for i, row in enumerate(scores):
        _, level = np.unique(row, return_inverse=True)
        size = np.bincount(level, weights=frames)
        told[i] = frames.sum() ** 2 - (size**2).sum()
        middle = np.cumsum(size) - (size - 1) / 2  # mean rank of a level, from 1
        centred = middle[level] - np.average(middle[level], weights=frames)
        with np.errstate(invalid="ignore"):
            ranks[i] = centred / np.sqrt(frames @ centred**2) if told[i] else np.nan
    return ranks, told
