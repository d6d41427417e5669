"""Saliency and selection against brute force and by hand."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.edges import fill_budget
from summarizer.select import knapsack
from summarizer.summary import choose_segments
from vidsift.types import Clip, FrameFeatures, Segment, Shot, Span

items = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 100)), min_size=1, max_size=9)


@given(items, st.integers(1, 120))
def test_knapsack_is_as_good_as_trying_everything(pieces, budget):
    # Seconds in tenths: the resolution holds them exactly.
    seconds = np.array([s / 10 for s, _ in pieces])
    values = np.array([float(v) for _, v in pieces])
    chosen = knapsack(values, seconds, max(budget / 10, 1.0))
    assert seconds[chosen].sum() <= max(budget / 10, 1.0) + 1e-9
    best = max(
        values[list(subset)].sum()
        for n in range(len(pieces) + 1)
        for subset in combinations(range(len(pieces)), n)
        if seconds[list(subset)].sum() <= max(budget / 10, 1.0) + 1e-9
    )
    assert values[chosen].sum() == pytest.approx(best)


@given(st.lists(st.floats(0.5, 4.0), min_size=1, max_size=20), st.floats(0.01, 1.0), st.data())
def test_the_budget_is_filled_exactly(lengths, share, data):
    edges = np.concatenate([[0.0], np.cumsum(lengths)])
    shots = [Span(float(a), float(b)) for a, b in pairwise(edges)]
    budget = share * float(edges[-1])
    picked = data.draw(st.sets(st.sampled_from(range(len(shots))), min_size=1))
    chosen, room = [], budget
    for i in sorted(picked):
        length = min(shots[i].duration, room)
        if length > 1e-3:
            chosen.append(Segment(Span(shots[i].start, shots[i].start + length), float(i)))
            room -= length
    if not chosen:
        return
    filled = fill_budget(chosen, shots, budget, float(edges[-1]))
    assert sum(s.span.duration for s in filled) == pytest.approx(budget)
    for before, after in pairwise(filled):
        assert before.span.end <= after.span.start + 1e-9
    assert filled[0].span.start >= 0
    assert filled[-1].span.end <= edges[-1] + 1e-9


def test_what_is_left_of_the_budget_stays_in_the_shot():
    shots = [Span(0.0, 4.0), Span(4.0, 8.0), Span(8.0, 12.0)]
    (only,) = fill_budget([Segment(Span(5.0, 6.0), 1.0)], shots, 3.0, 12.0)
    assert only.span == Span(5.0, 8.0)


def film(colours: str, seconds: float = 2.0):
    """Shots of one feature each ('r', 'g', 'b'), four frames a shot."""
    basis = dict(zip("rgb", np.eye(3, dtype=np.float32), strict=True))
    features = np.concatenate([np.tile(basis[c], (4, 1)) for c in colours])
    pts = np.arange(len(features)) * seconds / 4
    spans = [Span(i * seconds, (i + 1) * seconds) for i in range(len(colours))]
    clips = [Clip(span, i, 4 * i, 4) for i, span in enumerate(spans)]
    return FrameFeatures(features, pts), clips, [Shot(span) for span in spans]


def test_a_generic_summary_shows_each_kind_of_shot_once():
    features, clips, shots = film("rrrrgrrrbrrr")
    summary = choose_segments(features, clips, shots, 6.0)
    seen = {clips[int(s.span.start / 2)].shot for s in summary.segments}
    kinds = {"rrrrgrrrbrrr"[shot] for shot in seen}
    assert kinds == {"r", "g", "b"}
    assert summary.duration_seconds == pytest.approx(6.0)


def test_a_summary_about_a_question_shows_the_answer():
    features, clips, shots = film("rrrgrrrrgrrr")
    summary = choose_segments(
        features, clips, shots, 4.0, query="green", relevance=features.features[:, 1].astype(np.float64)
    )
    green = sum(
        s.span.overlap(span)
        for s in summary.segments
        for span in (Span(6.0, 8.0), Span(16.0, 18.0))
    )
    assert green == pytest.approx(4.0)


def test_a_short_budget_is_one_look_not_several_glimpses():
    features, clips, shots = film("rgb")
    assert len(choose_segments(features, clips, shots, 0.5).segments) == 1


@given(st.floats(0.01, 1.0), st.text("rgb", min_size=1, max_size=12))
def test_any_budget_is_met(share, colours):
    features, clips, shots = film(colours)
    budget = share * clips[-1].span.end
    summary = choose_segments(features, clips, shots, budget)
    assert summary.duration_seconds == pytest.approx(budget, abs=1e-6)
