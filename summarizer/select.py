"""Selection: which pieces fit the budget best, and how the budget is then filled to the frame."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from vidsift.types import Segment, Span

__all__ = ["fill_budget", "knapsack"]

_NOTHING = 1e-6  # seconds


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
    weights = np.ceil(np.asarray(seconds) / step - 1e-4).astype(int)
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


def fill_budget(
    chosen: Sequence[Segment], shots: Sequence[Span], budget_seconds: float, end_seconds: float
) -> tuple[Segment, ...]:
    """Lengthen the chosen segments until they last `budget_seconds` together, in time order.

    The rest of the budget goes first to the most salient segment, within its own shot; only when
    every shot that holds a segment is used up are cuts crossed. Segments of one shot that touch
    become one. Needs `budget_seconds <= end_seconds`.
    """
    ordered = sorted(chosen, key=lambda segment: segment.span)
    spans = [segment.span for segment in ordered]
    homes = [span.nearest(shots) for span in spans]
    rest = budget_seconds - sum(span.duration for span in spans)
    for within_shot in (True, False):
        for i in sorted(range(len(spans)), key=lambda i: -ordered[i].saliency):
            low = spans[i - 1].end if i > 0 else 0.0
            high = spans[i + 1].start if i + 1 < len(spans) else end_seconds
            if within_shot:
                low, high = max(low, shots[homes[i]].start), min(high, shots[homes[i]].end)
            later = min(rest, max(0.0, high - spans[i].end))
            earlier = min(rest - later, max(0.0, spans[i].start - low))
            if later + earlier > _NOTHING:
                spans[i] = Span(spans[i].start - earlier, spans[i].end + later)
                rest -= later + earlier
    joined: list[tuple[Segment, int]] = []
    for span, home, segment in zip(spans, homes, ordered, strict=True):
        if joined and joined[-1][1] == home and span.start - joined[-1][0].span.end < _NOTHING:
            before = joined.pop()[0]
            weight = before.span.duration, span.duration
            saliency = (before.saliency * weight[0] + segment.saliency * weight[1]) / sum(weight)
            joined.append((Segment(before.span.hull(span), saliency), home))
        else:
            joined.append((Segment(span, segment.saliency), home))
    return tuple(segment for segment, _ in joined)
