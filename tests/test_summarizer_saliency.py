"""Saliency by hand, and the properties of attention on both levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.saliency import (
    attention_over_time,
    film_worth,
    frame_saliency,
    pool_pieces,
    shown_seconds,
)
from vidsift.types import FrameFeatures, Span


def random_film(seed: int, n: int, m: int) -> tuple[np.ndarray, np.ndarray, list[Span]]:
    random = np.random.default_rng(seed)
    frames = random.normal(size=(n, 5)).astype(np.float32)
    frames /= np.linalg.norm(frames, axis=1, keepdims=True)
    owner = np.sort(random.integers(m, size=n))
    return frames, owner, [Span(float(i), i + 1.0) for i in range(m)]


@given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 6), st.booleans())
def test_attention_within_each_piece_sums_to_one(seed, n, m, asked):
    frames, owner, _ = random_film(seed, n, m)
    relevance = np.random.default_rng(seed).normal(size=n) if asked else None
    pooled, attention = pool_pieces(frames, owner, m, relevance)
    sums = np.bincount(owner, attention, m)
    held = np.isin(np.arange(m), owner)
    assert sums[held] == pytest.approx(1)
    assert np.linalg.norm(pooled[held], axis=1) == pytest.approx(1, abs=1e-3)
    assert not pooled[~held].any()


@given(st.integers(0, 1000), st.integers(2, 30))
def test_attention_over_time_follows_a_permutation_of_the_frames(seed, n):
    random = np.random.default_rng(seed)
    relevance, seconds, order = random.normal(size=n), random.random(n) + 0.1, random.permutation(n)
    weights = attention_over_time(relevance, seconds)
    assert weights.sum() == pytest.approx(1)
    assert attention_over_time(relevance[order], seconds[order]) == pytest.approx(weights[order])
    assert attention_over_time(3 * relevance + 7, seconds) == pytest.approx(weights)


def test_frames_of_equal_relevance_weigh_what_they_are_shown():
    seconds = np.array([1.0, 2.0, 3.0, 2.0])
    assert attention_over_time(np.zeros(4), seconds) == pytest.approx(seconds / 8)


def test_frames_are_shown_until_the_next_one():
    assert shown_seconds(np.array([0.0, 0.5, 2.0]), 3.0) == pytest.approx([0.5, 1.5, 1.0])


def test_a_piece_is_what_most_of_its_frames_show():
    # Three frames of one thing and an odd one: attention leaves the odd one nearly out.
    frames = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], np.float32)
    pooled, attention = pool_pieces(frames, np.zeros(4, dtype=int), 1)
    assert attention[2] < 0.01
    assert pooled[0, 0] > 0.999


def test_terms_by_hand():
    # Four seconds: red, red, red, green. Red stands for three quarters of the film and is one of
    # its two kinds of thing.
    frames = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    pieces = [Span(float(i), i + 1.0) for i in range(4)]
    worth = film_worth(frames, np.ones(4), np.arange(4), pieces, spoken=[Span(3.25, 3.75)])
    names = [term.name for term in worth.terms]
    assert dict(zip(names, worth.divided([0])[0], strict=True)) == pytest.approx(
        {"representativeness": 0.75, "diversity": 0.5, "speech": 0.0}
    )
    assert dict(zip(names, worth.divided([3])[0], strict=True)) == pytest.approx(
        {"representativeness": 0.25, "diversity": 0.5, "speech": 1.0}
    )
    # Two that are alike stand for their kind together, or the first alone.
    red, again, green = worth.divided([1, 0, 3])
    assert red[:2] == again[:2] == pytest.approx((0.375, 0.25))
    assert green[:2] == pytest.approx((0.25, 0.5))
    red, again, green = worth.divided([1, 0, 3], ties="first")
    assert red[:2] == pytest.approx((0.75, 0.5))
    assert again[:2] == pytest.approx((0, 0))
    assert green[:2] == pytest.approx((0.25, 0.5))


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0.1, 4)), min_size=1, max_size=6))
def test_speech_is_shared_out_by_the_seconds_of_it(lines):
    spans = [Span(start, start + long) for start, long in lines]
    frames = np.ones((10, 1), np.float32)
    pieces = [Span(float(i), i + 1.0) for i in range(10)]
    worth = film_worth(frames, np.ones(10), np.arange(10), pieces, spoken=spans)
    times = np.arange(0.0005, 10, 0.001)
    said = np.any([(times > span.start) & (times < span.end) for span in spans], axis=0)
    seconds = np.bincount(times.astype(int), said, 10) / 1000
    (speech,) = (term for term in worth.terms if term.name == "speech")
    assert speech.share == pytest.approx(seconds / seconds.sum(), abs=0.02)


def test_a_glimpse_stands_for_less_than_a_look():
    frames = np.array([[1, 0], [1, 0]], np.float32)
    pieces = [Span(0.0, 0.5), Span(0.5, 2.5)]
    worth = film_worth(frames, np.array([0.5, 2.0]), np.arange(2), pieces, look_seconds=2.0)
    short, long = (worth.divided([i])[0][0] for i in (0, 1))
    assert (short, long) == pytest.approx((0.25, 1.0))


def test_with_a_question_attention_to_it_comes_first():
    frames = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    pieces = [Span(float(i), i + 1.0) for i in range(4)]
    relevance = np.array([0.0, 0.0, 0.0, 1.0])
    worth = film_worth(frames, np.ones(4), np.arange(4), pieces, relevance=relevance)
    gains = worth.gains(worth.nothing_yet())
    assert gains.argmax() == 3
    relevant = next(term for term in worth.terms if term.name == "relevance")
    assert relevant.share.sum() == pytest.approx(1)
    assert relevant.share[3] > 0.9


def test_a_learned_saliency_is_one_more_term():
    frames = np.array([[1, 0], [1, 0]], np.float32)
    pieces = [Span(0.0, 1.0), Span(1.0, 2.0)]
    worth = film_worth(frames, np.ones(2), np.arange(2), pieces, learned=np.array([0.2, 0.6]))
    learned = next(term for term in worth.terms if term.name == "learned")
    assert learned.share == pytest.approx([0.25, 0.75])
    assert worth.gains(worth.nothing_yet()).argmax() == 1


def test_the_curve_is_the_piece_times_the_attention_in_it():
    frames = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    pieces = [Span(0.0, 2.0), Span(2.0, 4.0)]
    owner = np.array([0, 0, 1, 1])
    worth = film_worth(frames, np.ones(4), owner, pieces)
    features = FrameFeatures(frames, np.arange(4.0))
    curve = frame_saliency(features, owner, worth, pieces)
    # Each half stands for half of the film and is one of two kinds: (0.5 + 0.5) / 2 in 2 seconds.
    assert curve == pytest.approx(0.25)
