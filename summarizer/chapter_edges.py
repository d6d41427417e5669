"""Where the chapters of a video begin: change points of what is seen and said.

Kernel temporal segmentation (Potapov, Douze, Harchaoui and Schmid, ECCV 2014): of all divisions of
the film into m chapters the one with the least scatter about the chapters' means,

    J_m = min sum_chapters sum_{i in chapter} seconds_i |x_i - mean|^2,

found exactly by dynamic programming. Here x_i is the mean frame of an atom, a piece of at most a
clip, beside the mean vector of what is said in it, so that the kernel is the sum of two cosines.

How many chapters is decided by the film itself and not by a penalty that must be tuned: the same
atoms in random order have no chapters, so what a division explains of them is chance. The m is
taken at which J_m is farthest below its mean over such orders (the gap statistic of Tibshirani,
Walther and Hastie 2001, with the permutation as reference). A film that is alike throughout, or
changes all the time, stays whole: the distance must be beyond two standard deviations of chance.

Axes: a atoms, d dimensions, e edges (the two ends of the film among them).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from vidsift.types import Cue, Shot

__all__ = ["LEAST_SECONDS", "candidate_edges", "divide", "least_scatter"]

LEAST_SECONDS = 10.0  # of a chapter; players that show chapters refuse shorter ones
_MOST_CHAPTERS = 50
_MOST_EDGES = 400  # that compete; of more, those with the greatest change about them
_ORDERS = 8  # random orders of the atoms
_BEYOND_CHANCE = 2.0  # standard deviations
_PAUSE_SECONDS = 1.0
_NEAR_SECONDS = 3.0
_EDGE_SECONDS = 0.25  # by which a cut may fall into a line without breaking it
_SENTENCE_END = re.compile(r"[.!?…。！？؟][\"'”’»)\]]*$")  # noqa: RUF001


def candidate_edges(shots: Sequence[Shot], cues: Sequence[Cue]) -> list[float]:
    """Seconds at which a chapter may begin: cuts, and where a speaker begins anew.

    A speaker begins anew after a pause of 1 s or the end of a sentence. Where a cut lies within
    3 s of that it is the cut that counts, unless it falls into the middle of a line. `cues` are
    of one track, in order of time.
    """
    cuts = np.array([shot.span.start for shot in shots[1:]])
    anew = np.array(
        [
            after.span.start
            for before, after in pairwise(cues)
            if after.span.start - before.span.end >= _PAUSE_SECONDS
            or _SENTENCE_END.search(before.text.rstrip())
        ]
    )
    in_a_line = np.zeros(len(cuts), dtype=bool)
    if cues:
        begun = np.searchsorted([cue.span.start + _EDGE_SECONDS for cue in cues], cuts)
        ends = np.maximum.accumulate([0.0, *(cue.span.end - _EDGE_SECONDS for cue in cues)])
        in_a_line = cuts < ends[begun]
    clean = cuts[~in_a_line]
    anew = anew[~_near(anew, clean)]
    better = np.sort(np.concatenate([clean, anew]))
    rest = cuts[in_a_line]
    found = np.concatenate([better, rest[~_near(rest, better)]])
    return [float(edge) for edge in np.unique(found)]


def _near(
    seconds: Float64[np.ndarray, "s"], others: Float64[np.ndarray, "o"]
) -> Bool[np.ndarray, "s"]:
    """Which are less than 3 s from one of the others, which are in order."""
    if not len(others):
        return np.zeros(len(seconds), dtype=bool)
    after = np.searchsorted(others, seconds)
    distances = [np.abs(others[(after - k).clip(0, len(others) - 1)] - seconds) for k in (0, 1)]
    return np.asarray(np.minimum(*distances) < _NEAR_SECONDS)


def divide(
    vectors: Float[np.ndarray, "a d"],
    seconds: Float64[np.ndarray, "a"],
    may_begin: Bool[np.ndarray, "a"],
    least_seconds: float = LEAST_SECONDS,
) -> list[int]:
    """The atoms with which chapters begin, the first atom among them.

    `seconds` is how long each atom lasts, `may_begin` at which atoms a chapter may begin (the first
    always may). At most 50 chapters, none shorter than `least_seconds` unless there is only one.
    The same input gives the same division. O(e^2) for each chapter, e at most 400, and
    O(a d) besides.
    """
    least = max(least_seconds, float(seconds.sum()) / 200)
    film = _Film(vectors, seconds)
    edges = film.edges(may_begin, least)
    costs = film.costs(edges, least)
    reached = least_scatter(costs)
    scatter = reached[:, -1]  # J_m
    if len(scatter) == 1:
        return [0]
    random = np.random.default_rng(0)
    by_chance = np.empty((_ORDERS, len(scatter)))
    for row in by_chance:
        order = random.permutation(len(seconds))
        mixed = _Film(vectors[order], seconds[order])
        anywhere = np.append(True, random.permutation(may_begin[1:]))
        costs_there = mixed.costs(mixed.edges(anywhere, least), least)
        found = least_scatter(costs_there, len(scatter))[:, -1]
        # Where random edges leave no room for so many chapters, what the fewer explain stands.
        row[:] = np.pad(found, (0, len(scatter) - len(found)), mode="edge")
    gap = by_chance.mean(0) - scatter
    best = int(np.argmax(gap))
    if gap[best] <= _BEYOND_CHANCE * by_chance[:, best].std(ddof=1) + 1e-9 * scatter[0]:
        return [0]
    begins = []
    place = len(edges) - 1
    for before in reached[:best][::-1]:
        place = int(np.argmin(before + costs[:, place]))
        begins.append(int(edges[place]))
    return [0, *begins[::-1]]


class _Film:
    """Sums over the atoms before each edge, from which any chapter's scatter follows."""

    def __init__(
        self, vectors: Float[np.ndarray, "a d"], seconds: Float64[np.ndarray, "a"]
    ) -> None:
        centred = vectors.astype(np.float64) - np.average(vectors, axis=0, weights=seconds)
        zero = np.zeros((1, vectors.shape[1]))
        self._sums = np.concatenate([zero, np.cumsum(centred * seconds[:, None], axis=0)])
        squares = seconds * np.einsum("ad,ad->a", centred, centred)
        self._squares = np.concatenate([[0.0], np.cumsum(squares)])
        self._times = np.concatenate([[0.0], np.cumsum(seconds)])

    def edges(self, may_begin: Bool[np.ndarray, "a"], reach: float) -> Int[np.ndarray, "e"]:
        """The atoms (and the end) at which a chapter may begin or end; the ends always may."""
        inner = np.flatnonzero(may_begin[1:]) + 1
        if len(inner) > _MOST_EDGES - 2:
            # How far the means of `reach` seconds before and after are apart.
            times = self._times
            low = np.searchsorted(times, times[inner] - reach).clip(max=inner - 1)
            high = np.searchsorted(times, times[inner] + reach).clip(inner + 1, len(times) - 1)
            before = (self._sums[inner] - self._sums[low]).T / (times[inner] - times[low])
            after = (self._sums[high] - self._sums[inner]).T / (times[high] - times[inner])
            change = np.square(after - before).sum(0)
            inner = np.sort(inner[np.argsort(-change, kind="stable")[: _MOST_EDGES - 2]])
        return np.concatenate([[0], inner, [len(may_begin)]])

    def costs(self, edges: Int[np.ndarray, "e"], least: float) -> Float64[np.ndarray, "e e"]:
        """The scatter of a chapter from one edge to another; infinite where it is too short."""
        sums, squares, times = self._sums[edges], self._squares[edges], self._times[edges]
        lasts = times - times[:, None]
        norms = np.einsum("ed,ed->e", sums, sums)
        apart = norms + norms[:, None] - 2 * sums @ sums.T  # |sum over the chapter|^2
        long_enough = (lasts >= least - 1e-6) & (lasts > 0)
        scatter = squares - squares[:, None] - apart / np.where(long_enough, lasts, 1.0)
        scatter = np.where(long_enough, np.maximum(scatter, 0.0), np.inf)
        # The whole film is a chapter however short it is.
        scatter[0, -1] = max(0.0, squares[-1] - norms[-1] / times[-1])
        return scatter


def least_scatter(
    costs: Float64[np.ndarray, "e e"], most: int = _MOST_CHAPTERS
) -> Float64[np.ndarray, "m e"]:
    """The least scatter of m chapters that reach from the first edge to each edge.

    For m = 1, 2, ... as far as there is room up to the last edge; `costs` is the scatter of one
    chapter from edge to edge.
    """
    reached = [costs[0]]
    while len(reached) < most:
        further = (reached[-1][:, None] + costs).min(0)  # (e from, e to)
        if not np.isfinite(further[-1]):
            break
        reached.append(further)
    return np.stack(reached)
