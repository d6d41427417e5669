"""The greedy selection against everything there is to choose, on small cases."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import e

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.greedy import Term, Worth, greedy, greedy_under_budget

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 8)


def any_worth(seed: int, m: int) -> Worth:
    """Any kernel, also one that no vectors have, and any terms: the bounds hold for all."""
    random = np.random.default_rng(seed)
    kernel = random.random((m, m), dtype=np.float32) ** random.integers(1, 7)
    shares = random.random((3, m)) * (random.random((3, m)) < random.uniform(0.2, 1.0))
    weights = random.random(3)
    names = ("representativeness", "diversity", "relevance")
    return Worth(
        np.asarray(kernel, np.float32),
        tuple(
            Term(name, float(weight), share, covers=name != "relevance")
            for name, weight, share in zip(names, weights, shares, strict=True)
        ),
    )


def best_of_all(worth: Worth, seconds: np.ndarray, budget: float) -> float:
    return max(
        worth.of(list(subset))
        for n in range(len(worth) + 1)
        for subset in combinations(range(len(worth)), n)
        if seconds[list(subset)].sum() <= budget + 1e-9
    )


@given(seeds, sizes, st.integers(1, 8))
def test_of_equal_lengths_at_least_1_minus_1_over_e_of_the_best(seed, m, count):
    worth = any_worth(seed, m)
    seconds = np.full(len(worth), 2.0)
    taken = greedy(worth, seconds, 2.0 * count, per_second=True)
    assert len(taken) <= count
    best = best_of_all(worth, seconds, 2.0 * count)
    assert worth.of(taken) >= (1 - 1 / e) * best - 1e-5


@given(seeds, sizes, st.floats(0.5, 12.0))
def test_of_any_lengths_at_least_half_of_that(seed, m, budget):
    worth = any_worth(seed, m)
    seconds = np.random.default_rng(seed).uniform(0.2, 6.0, len(worth))
    taken = greedy_under_budget(worth, seconds, budget)
    assert seconds[taken].sum() <= budget + 1e-6
    best = best_of_all(worth, seconds, budget)
    assert worth.of(taken) >= (1 - 1 / e) / 2 * best - 1e-5


def test_a_crumb_does_not_keep_out_what_matters():
    # By gain a second the crumb comes first (2 against 1), and then nothing else fits.
    own = Term("relevance", 1.0, np.array([0.02, 1.0]), covers=False)
    worth = Worth(np.eye(2, dtype=np.float32), (own,))
    seconds = np.array([0.01, 1.0])
    assert greedy(worth, seconds, 1.0, per_second=True) == [0]
    assert greedy_under_budget(worth, seconds, 1.0) == [1]


@given(seeds, sizes, st.floats(0.5, 12.0), st.booleans())
def test_lazy_is_the_same_as_looking_at_all(seed, m, budget, per_second):
    worth = any_worth(seed, m)
    seconds = np.random.default_rng(seed).uniform(0.2, 6.0, len(worth))
    taken, covered, left = [], worth.nothing_yet(), budget
    while True:
        gains = worth.gains(covered) / (seconds if per_second else 1.0)
        gains[taken] = -1
        gains[seconds > left + 1e-9] = -1
        if gains.max() <= 0:
            break
        taken.append(int(gains.argmax()))
        covered = worth.with_piece(covered, taken[-1])
        left -= seconds[taken[-1]]
    lazily = greedy(worth, seconds, budget, per_second=per_second)
    assert worth.of(lazily) == pytest.approx(worth.of(taken), rel=1e-4, abs=1e-6)


@given(seeds, sizes, st.randoms())
def test_gains_are_never_negative_and_only_fall(seed, m, random):
    worth = any_worth(seed, m)
    order = list(range(m))
    random.shuffle(order)
    covered = worth.nothing_yet()
    before = worth.gains(covered)
    total = 0.0
    for piece in order:
        total += worth.gain(covered, piece)
        covered = worth.with_piece(covered, piece)
        after = worth.gains(covered)
        assert np.all(after >= 0)
        assert np.all(after <= before + 1e-6)
        before = after
    assert total == pytest.approx(worth.of(order), rel=1e-4)


@given(seeds, sizes, st.randoms(), st.sampled_from(["even", "first"]))
def test_what_pieces_are_worth_adds_up_to_what_the_set_is(seed, m, random, ties):
    worth = any_worth(seed, m)
    worth.kernel[random.randrange(m)] = worth.kernel[random.randrange(m)]  # footage shown twice
    pieces = random.sample(range(m), random.randint(1, m))
    values = worth.divided(pieces, ties=ties)
    assert len(values) == len(pieces)
    assert all(value >= 0 for own in values for value in own)
    weights = [term.weight for term in worth.terms]
    assert np.sum(np.array(values) * weights) == pytest.approx(worth.of(pieces), rel=1e-4)


@given(seeds, st.integers(2, 8), st.integers(1, 8))
def test_pieces_that_show_the_same_share_evenly(seed, m, copies):
    # Each of them with its own rounding, as cosines of equal vectors have it.
    worth = any_worth(seed, m)
    rounding = np.random.default_rng(seed).uniform(-3e-7, 3e-7, (copies, m))
    kernel = np.concatenate([worth.kernel, worth.kernel[:1] + rounding]).astype(np.float32)
    kernel = np.concatenate([kernel, np.zeros((m + copies, copies), np.float32)], axis=1)
    own = [replace(term, share=np.pad(term.share, (0, copies))) for term in worth.terms]
    again = Worth(kernel, tuple(own))
    first, *rest = again.divided([0, *range(m, m + copies)])
    alone = again.divided([0])[0]
    for term, value, whole in zip(own, first, alone, strict=True):
        assert value == pytest.approx(whole / (1 + copies) if term.covers else whole, abs=1e-5)
    assert all(each[:2] == pytest.approx(first[:2], abs=1e-5) for each in rest)


@given(seeds, st.integers(2, 8), st.randoms())
def test_what_would_be_missed_is_what_the_set_loses(seed, m, random):
    worth = any_worth(seed, m)
    pieces = random.sample(range(m), random.randint(2, m))
    losses = [worth.of(pieces) - worth.of([p for p in pieces if p != own]) for own in pieces]
    assert worth.losses(pieces) == pytest.approx(losses, abs=1e-4)


def test_what_later_pieces_stand_for_better_gives_way():
    # The first piece is like all others, so that greedy begins with it. Once the second and third
    # are there, it only stands for the little that the fourth shows better.
    kernel = np.eye(4, dtype=np.float32)
    kernel[0] = 0.9
    share = np.array([0.0, 0.48, 0.48, 0.04])
    worth = Worth(kernel, (Term("representativeness", 1.0, share, covers=True),))
    assert sorted(greedy(worth, np.ones(4), 3.0, per_second=True)) == [0, 1, 2]
    assert sorted(greedy_under_budget(worth, np.ones(4), 3.0)) == [1, 2, 3]


def test_what_is_like_what_is_shown_adds_nothing():
    # Two pieces of one kind and one of another, by hand: the first stands for two of three.
    kernel = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], np.float32)
    worth = Worth(kernel, (Term("representativeness", 1.0, np.full(3, 1 / 3), covers=True),))
    covered = worth.with_piece(worth.nothing_yet(), 0)
    assert worth.gains(worth.nothing_yet()) == pytest.approx([2 / 3, 2 / 3, 1 / 3])
    assert worth.gains(covered) == pytest.approx([0, 0, 1 / 3])
    assert greedy(worth, np.ones(3), 3.0, per_second=True) == [0, 2]
