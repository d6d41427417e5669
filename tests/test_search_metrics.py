"""Measures of retrieval against cases computed by hand, and their algebra."""

from __future__ import annotations

import itertools
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.metrics import (
    Judged,
    bootstrap_interval,
    chance_scores,
    judge,
    retrieval_interval,
    retrieval_scores,
)


def test_scores_of_four_queries_by_hand() -> None:
    # Ten videos; the first right answers stand at 1, 2, 6 and nowhere (so last: 10).
    judged = [
        judge(["a", "b", "c"], {"a", "c"}, 10),  # AP = (1/1 + 2/3) / 2
        judge(["a", "b"], {"b"}, 10),  # AP = 1/2
        judge(list("uvwxyz"), {"z"}, 10),  # AP = 1/6
        judge(["a"], {"q"}, 10),  # AP = 0
    ]
    scores = retrieval_scores(judged)
    assert scores["R@1"] == 25.0
    assert scores["R@5"] == 50.0
    assert scores["R@10"] == 75.0  # what is not found is no hit, though it stands at 10
    assert scores["MedR"] == 4.0  # between 2 and 6
    assert scores["MnR"] == 4.75
    assert scores["MRR"] == 44.17  # (1 + 1/2 + 1/6 + 1/10) / 4
    assert scores["mAP"] == 37.5  # (5/6 + 1/2 + 1/6) / 4


@given(st.integers(1, 8), st.data())
@settings(deadline=None, max_examples=40)
def test_chance_is_the_mean_over_all_orders(total: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(1, min(total, 3)))
    if total > 6:
        total = 6
        right = min(right, total)
    orders = list(itertools.permutations(range(total)))
    exact = [judge(order, set(range(right)), total) for order in orders]
    expected = retrieval_scores(exact)
    chance = chance_scores([Judged((1,), right, total)])
    for name in ("R@1", "R@5", "R@10", "MRR", "mAP", "MnR"):
        assert chance[name] == pytest.approx(expected[name], abs=0.011), name
    assert expected["MedR"] - 0.5 <= chance["MedR"] <= expected["MedR"] + 0.5


def test_chance_of_a_large_library() -> None:
    chance = chance_scores([Judged((), 1, 100_000)] * 3)
    assert chance["R@10"] == 0.01
    assert chance["MedR"] == 50_000
    assert chance["MnR"] == 50_000.5


def test_chance_weighs_queries_by_their_number_of_answers() -> None:
    chance = chance_scores([Judged((1,), 1, 4), Judged((1,), 2, 4)])
    assert chance["R@1"] == 37.5  # (1/4 + 2/4) / 2


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.randoms())
def test_perfect_is_100_and_order_does_not_matter(places: list[int], random: Random) -> None:
    judged = [Judged((place,), 1, 50) for place in places]
    shuffled = list(judged)
    random.shuffle(shuffled)
    assert retrieval_scores(judged) == retrieval_scores(shuffled)
    perfect = retrieval_scores([Judged((1, 2), 2, 50) for _ in places])
    assert perfect == {
        **dict.fromkeys(("R@1", "R@5", "R@10", "MRR", "mAP"), 100.0),
        "MedR": 1.0,
        "MnR": 1.0,
    }


@given(st.lists(st.integers(1, 20), min_size=2, max_size=20))
def test_the_interval_holds_the_mean(places: list[int]) -> None:
    judged = [Judged((place,), 1, 20) for place in places]
    scores = retrieval_scores(judged)
    for name, (low, high) in retrieval_interval(judged).items():
        assert 0 <= low <= scores[name] <= high <= 100


def test_the_interval_of_a_coin_is_that_of_theory() -> None:
    values = np.tile([[0.0], [1.0]], (200, 1))
    low, high = bootstrap_interval(values, seed=1)[:, 0]
    width = 1.96 * np.sqrt(0.25 / 400)
    assert low == pytest.approx(0.5 - width, abs=0.01)
    assert high == pytest.approx(0.5 + width, abs=0.01)
    np.testing.assert_array_equal(bootstrap_interval(values, seed=1)[:, 0], [low, high])


@pytest.mark.parametrize(
    ("places", "num_right", "num_all"),
    [((2, 1), 2, 5), ((0,), 1, 5), ((6,), 1, 5), ((1, 2), 1, 5), ((), 0, 5), ((), 6, 5)],
)
def test_impossible_places_are_refused(
    places: tuple[int, ...], num_right: int, num_all: int
) -> None:
    with pytest.raises(ValueError):
        Judged(places, num_right, num_all)


def test_no_query_has_no_score() -> None:
    for score in (retrieval_scores, chance_scores, retrieval_interval):
        with pytest.raises(ValueError, match="no query"):
            score([])
