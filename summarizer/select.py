"""Selection: a film cut into pieces, and which of them fit the budget best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Int

from summarizer.greedy import Worth, greedy_under_budget
from vidsift.types import Clip, SaliencyTerm, Segment, Span

__all__ = ["cut_pieces", "knapsack", "owners", "piece_seconds", "select"]

_LOOK_SECONDS = 2.0  # long enough to take in what a piece shows
_FEW_PLACES = 6  # that a short summary shows, in shorter pieces
_MANY_PLACES = 30  # from which on a summary shows longer pieces instead of more, up to 4 s
_LONGEST_PIECE = 4.0
_MOST_PIECES = 2000


def piece_seconds(budget_seconds: float, least_seconds: float) -> float:
    """How long pieces are, at least: 2 s, less below 12 s of budget, up to 4 s above 60 s."""
    length = min(budget_seconds / _FEW_PLACES, _LOOK_SECONDS)
    length = max(length, min(budget_seconds / _MANY_PLACES, _LONGEST_PIECE), least_seconds)
    return min(length, budget_seconds)


def cut_pieces(clips: Sequence[Clip], length: float, least_seconds: float = 0.0) -> list[Span]:
    """Each shot cut evenly into pieces of at least `length` seconds and at least one frame.

    A shot that is shorter is one piece; such as are below `least_seconds` and follow each other are
    put together until they reach it. At most about 2,000 in all, in order and without gaps where
    the clips have none.
    """
    total = sum(clip.span.duration for clip in clips)
    length = max(length, total / _MOST_PIECES)
    pieces: list[Span] = []
    short: list[Span] = []  # shots that are put together
    for span, frames in _shots(clips):
        if span.duration < least_seconds - 1e-6:
            short.append(span)
            if short[-1].end - short[0].start >= least_seconds - 1e-6:
                pieces.append(short[0].hull(short[-1]))
                short = []
            continue
        pieces += short
        short = []
        count = min(max(1, math.floor(span.duration / length + 1e-6)), frames)
        edges = np.linspace(span.start, span.end, count + 1).tolist()
        pieces += [Span(a, b) for a, b in pairwise(edges)]
    return pieces + short


def _shots(clips: Sequence[Clip]) -> list[tuple[Span, int]]:
    """The shots that clips were cut from, and how many frames each has."""
    shots: list[tuple[Span, int]] = []
    for place, clip in enumerate(clips):
        if place and clips[place - 1].shot == clip.shot:
            before, frames = shots.pop()
            shots.append((before.hull(clip.span), frames + clip.num_frames))
        else:
            shots.append((clip.span, clip.num_frames))
    return shots


def owners(pieces: Sequence[Span], pts_seconds: Float64[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """The piece that each frame lies in, or the one before it where it lies in none."""
    starts = np.array([piece.start for piece in pieces])
    return np.maximum(np.searchsorted(starts, pts_seconds, side="right") - 1, 0)


def select(
    worth: Worth,
    pieces: Sequence[Span],
    budget_seconds: float,
    least_seconds: float,
    selection: Literal["knapsack", "greedy"],
) -> list[Segment]:
    """The pieces that a summary of the budget shows, each with its saliency and the terms of it:
    what it is worth in this summary, a second.

    A piece shorter than `least_seconds` (of a shot that is) is taken only where the others do not
    fill the budget. One that is longer than the budget is shown in part. At least one is chosen.
    """
    durations = np.array([piece.duration for piece in pieces])
    seconds = np.minimum(durations, budget_seconds)
    glimpse = seconds < min(least_seconds, budget_seconds) - 1e-6
    if durations[~glimpse].sum() >= budget_seconds - 1e-6:
        seconds[glimpse] = np.inf  # too dear for any budget
    chosen = _SELECTIONS[selection](worth, seconds, budget_seconds)
    if not chosen:  # nothing is worth anything
        chosen = [int(np.argmax(np.isfinite(seconds)))]
    segments = []
    for piece, values in zip(chosen, worth.divided(chosen), strict=True):
        terms = tuple(
            SaliencyTerm(term.name, value, term.weight / float(durations[piece]))
            for term, value in zip(worth.terms, values, strict=True)
        )
        saliency = sum(term.weight * term.value for term in terms)
        segments.append(Segment(_shown(pieces[piece], budget_seconds), saliency, terms))
    return sorted(segments, key=lambda segment: segment.span)


def _shown(piece: Span, budget_seconds: float) -> Span:
    # Of a piece that is longer than the whole summary, the middle.
    spare = max(0.0, piece.duration - budget_seconds) / 2
    return Span(piece.start + spare, piece.end - spare) if spare else piece


def _by_knapsack(
    worth: Worth, seconds: Float64[np.ndarray, "m"], budget_seconds: float
) -> list[int]:
    """The exact best of what pieces add up to.

    A knapsack needs values that add up, which those of pieces that are alike do not. So what greedy
    takes is worth its share of that set, and what it leaves what it would still add to it. Of
    equals the first has all of their share: with one of them there, the others add nothing.
    """
    taken = greedy_under_budget(worth, seconds, budget_seconds)
    if not taken:
        return []
    values = worth.gains(worth.kernel[taken].max(axis=0))
    weights = [term.weight for term in worth.terms]
    values[taken] = np.array(worth.divided(taken, ties="first")) @ weights
    return knapsack(values, seconds, budget_seconds)


_SELECTIONS: dict[str, Callable[[Worth, Float64[np.ndarray, "m"], float], list[int]]] = {
    "knapsack": _by_knapsack,
    "greedy": greedy_under_budget,
}


def knapsack(
    values: Float[np.ndarray, "m"], seconds: Float[np.ndarray, "m"], budget_seconds: float
) -> list[int]:
    """The subset of greatest value whose seconds fit the budget: exact 0/1 dynamic programming.

    Exact at a resolution of 0.05 s (a 20th of the budget below 1 s, a 5,000th above 250 s);
    seconds are rounded up, so that the choice never exceeds the budget. O(5000 m) time and bytes.
    """
    # A whole number of steps, so that a piece as long as the budget fits.
    capacity = min(5000, max(20, math.ceil(budget_seconds / 0.05)))
    step = budget_seconds / capacity
    weights = np.ceil(np.minimum(seconds, 2 * budget_seconds) / step - 1e-4).astype(int)
    best = np.zeros(capacity + 1)
    taken = np.zeros((len(weights), capacity + 1), dtype=bool)
    for item, (weight, value) in enumerate(zip(weights, values, strict=True)):
        if weight > capacity or value <= 0:
            continue
        with_item = np.full(capacity + 1, -np.inf)
        with_item[weight:] = best[: capacity + 1 - weight] + value
        taken[item] = with_item > best
        best = np.maximum(best, with_item)
    chosen = []
    room = capacity
    for item in range(len(weights) - 1, -1, -1):
        if taken[item, room]:
            chosen.append(item)
            room -= int(weights[item])
    return chosen[::-1]
