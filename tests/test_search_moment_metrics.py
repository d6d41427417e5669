"""Measures of moments and highlights against cases computed by hand, and their algebra."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.moment_metrics import (
    THRESHOLDS,
    average_precisions,
    best_tiou,
    highlight_precision,
    hits_highlight,
    tiou_matrix,
)
from vidsift.types import Span


def _windows(*windows: tuple[float, float]) -> np.ndarray:
    return np.array(windows, dtype=np.float64).reshape(-1, 2)


def _descending(number: int) -> np.ndarray:
    return -np.arange(number, dtype=np.float64)


def test_average_precision_by_hand() -> None:
    truth = _windows((0, 10), (20, 30))
    predicted = _windows((50, 60), (0, 9), (0, 10), (20, 30))
    # By rank: false, true (tIoU 0.9), false (its window is taken), true.
    # Precision 0, 1/2, 1/3, 2/4; interpolated at both true ones 1/2.
    aps = average_precisions(predicted, _descending(4), truth)
    np.testing.assert_allclose(aps[:9], 0.5)  # up to 0.9
    # At 0.95 the second is false and the third true: 0, 0, 1/3, 2/4 -> envelope 1/2 at both.
    assert aps[9] == pytest.approx(0.5)


def test_precision_after_a_hit_is_not_lowered_by_what_follows() -> None:
    # true, false, true: precision 1, 1/2, 2/3; the envelope is 1, 2/3, 2/3.
    aps = average_precisions(
        _windows((0, 10), (50, 60), (20, 30)), _descending(3), _windows((0, 10), (20, 30))
    )
    np.testing.assert_allclose(aps, (1 + 2 / 3) / 2)


def test_a_taken_window_passes_the_prediction_on_to_the_next_best() -> None:
    truth = _windows((0, 10), (1, 11))
    aps = average_precisions(_windows((0, 10), (0, 10)), _descending(2), truth, (0.5, 0.95))
    assert aps[0] == 1.0  # the second finds (1, 11), with tIoU 9/11
    assert aps[1] == 0.5


def test_scores_and_not_the_order_of_the_list_rank_windows() -> None:
    predicted = _windows((50, 60), (0, 10))
    truth = _windows((0, 10))
    assert average_precisions(predicted, np.array([0.1, 0.9]), truth)[0] == 1.0
    assert average_precisions(predicted, np.array([0.9, 0.1]), truth)[0] == 0.5
    assert best_tiou(predicted, truth) == 0.0  # but R@1 takes the first of the list


def test_windows_without_length_fit_nothing() -> None:
    predicted = _windows((5, 5), (8, 2), (30, 20))
    tious = tiou_matrix(predicted, _windows((0, 10), (20, 30)))
    np.testing.assert_array_equal(tious, 0.0)
    assert average_precisions(_windows(), _descending(0), _windows((0, 1))).sum() == 0
    assert best_tiou(_windows(), _windows((0, 1))) == 0.0


_span = st.tuples(st.integers(0, 50), st.integers(1, 30)).map(
    lambda pair: (float(pair[0]), float(pair[0] + pair[1]))
)


@given(_span, _span)
def test_tiou_is_that_of_spans(a: tuple[float, float], b: tuple[float, float]) -> None:
    expected = Span(*a).tiou(Span(*b))
    assert tiou_matrix(_windows(a), _windows(b))[0, 0] == pytest.approx(expected)


@given(st.lists(_span, min_size=1, max_size=8, unique=True), st.integers(0, 10**6))
def test_the_truth_as_prediction_is_perfect_in_any_order(
    spans: list[tuple[float, float]], seed: int
) -> None:
    truth = _windows(*spans)
    random = np.random.default_rng(seed)
    order = random.permutation(len(truth))
    aps = average_precisions(truth[order], random.uniform(size=len(truth)), truth)
    # Windows that lie close can take each other's place below tIoU 1; above all are their own.
    exact = average_precisions(truth[order], random.uniform(size=len(truth)), truth, (1.0,))
    assert exact[0] == pytest.approx(1.0)
    assert (aps > 0).all()
    assert best_tiou(truth[order], truth) == 1.0


@given(
    st.lists(_span, min_size=1, max_size=6),
    st.lists(_span, min_size=1, max_size=4),
    st.permutations(range(6)),
)
def test_order_of_the_list_does_not_matter_where_scores_differ(
    predicted: list[tuple[float, float]], true: list[tuple[float, float]], order: list[int]
) -> None:
    scores = _descending(len(predicted))
    keep = [place for place in order if place < len(predicted)]
    windows, truth = _windows(*predicted), _windows(*true)
    aps = average_precisions(windows, scores, truth)
    np.testing.assert_array_equal(aps, average_precisions(windows[keep], scores[keep], truth))
    assert ((aps >= 0) & (aps <= 1)).all()
    assert len(aps) == len(THRESHOLDS)


def test_highlight_precision_by_hand() -> None:
    highlight = np.array([True, False, True, False])
    # Order 0, 1, 2, 3: precision at the two highlights 1 and 2/3.
    assert highlight_precision(highlight, np.array([4.0, 3, 2, 1])) == pytest.approx(5 / 6)
    # Order 1, 0, 2, 3: 1/2 and 2/3; interpolation lifts the first to 2/3.
    assert highlight_precision(highlight, np.array([3.0, 4, 2, 1])) == pytest.approx(2 / 3)
    # All equal: one step of recall, at precision 2/4.
    assert highlight_precision(highlight, np.zeros(4)) == 0.5
    # Too few predictions count as 0, which here are the lowest; too many are dropped.
    assert highlight_precision(highlight, np.array([4.0, 3])) == pytest.approx((1 + 2 / 4) / 2)
    assert highlight_precision(highlight, np.array([4.0, 3, 2, 1, 9])) == pytest.approx(5 / 6)


def test_without_highlights_0_of_highlights_alone_1() -> None:
    assert highlight_precision(np.zeros(3, dtype=bool), np.array([1.0, 2, 3])) == 0.0
    assert highlight_precision(np.ones(3, dtype=bool), np.array([1.0, 2, 3])) == 1.0


def test_the_most_salient_clip_hits_for_any_annotator() -> None:
    highlight = np.array([[False, False, False], [False, True, False]])
    assert hits_highlight(highlight, np.array([0.1, 0.2]))
    assert not hits_highlight(highlight, np.array([0.2, 0.2]))  # of equal ones the first
    assert not hits_highlight(highlight, np.array([0.1, 0.2, 0.3]))  # beyond the video's clips


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(0, 10**6))
def test_saliency_is_a_matter_of_order_alone(highlight: list[bool], seed: int) -> None:
    marks = np.array(highlight)
    saliency = np.random.default_rng(seed).uniform(size=len(marks))
    precision = highlight_precision(marks, saliency)
    assert highlight_precision(marks, np.exp(3 * saliency)) == precision
    assert highlight_precision(marks, marks + saliency) == float(marks.any())
