"""The TVSum and SumMe protocol, step by step, against answers that are computed by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from summarizer.summary_metrics import (
    f1_scores,
    frame_scores,
    knapsack_frames,
    machine_summary,
    rank_correlations,
    runs_of,
    shot_values,
)


def test_a_frame_has_the_score_of_the_last_pick_up_to_it():
    scores, picks = np.array([0.5, 0.2, 0.9]), np.array([1, 3, 6])
    every = frame_scores(scores, picks, 8)
    #        before the first pick, two, three, and the rest of the video
    assert every.tolist() == pytest.approx([0, 0.5, 0.5, 0.2, 0.2, 0.2, 0.9, 0.9])
    assert every.dtype == np.float32


def test_a_pick_at_the_end_of_the_video_has_no_frame():
    # Some files list n_frames itself as the last pick; the published programs drop its score.
    every = frame_scores(np.array([0.5, 0.2, 0.9]), np.array([0, 2, 4]), 4)
    assert every.tolist() == pytest.approx([0.5, 0.5, 0.2, 0.2])


def test_the_last_frame_of_a_shot_counts():
    every = np.array([0, 0, 1, 1, 0, 0, 0, 1], np.float32)
    change_points = np.array([[0, 2], [3, 7]])
    # (0 + 0 + 1) / 3 and (1 + 0 + 0 + 0 + 1) / 5; with the ends left out: 0 and 1 / 4.
    assert shot_values(every, change_points).tolist() == pytest.approx([1 / 3, 2 / 5])


def test_the_knapsack_is_exact_where_greed_is_not():
    # Room for 4: greed by value a frame takes the shot of 3 (1.0 a frame) and has no room for
    # more, value 3; the two of 2 frames are worth 2 * 1.9.
    values, lengths = np.array([3.0, 1.9, 1.9]), np.array([3, 2, 2])
    assert knapsack_frames(values, lengths, 4) == [1, 2]
    # Greed by value alone errs likewise where all fit but one.
    assert knapsack_frames(np.array([0.6, 0.5, 0.4]), np.array([4, 2, 2]), 4) == [1, 2]


def test_of_equal_choices_the_earlier_shots_are_taken():
    assert knapsack_frames(np.array([0.5, 0.5, 0.5]), np.array([2, 2, 2]), 4) == [0, 1]
    assert knapsack_frames(np.array([0.0, 0.0]), np.array([1, 1]), 4) == []
    assert knapsack_frames(np.array([1.0]), np.array([5]), 4) == []
    assert knapsack_frames(np.array([1.0]), np.array([1]), 0) == []


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), min_size=1, max_size=8),
    st.integers(0, 25),
)
def test_no_other_choice_of_shots_is_worth_more(shots, capacity):
    values = np.array([value for value, _ in shots], float)
    lengths = np.array([length for _, length in shots])
    chosen = knapsack_frames(values, lengths, capacity)
    assert lengths[chosen].sum() <= capacity
    best = max(
        sum(values[i] for i in subset)
        for size in range(len(shots) + 1)
        for subset in itertools.combinations(range(len(shots)), size)
        if sum(lengths[i] for i in subset) <= capacity
    )
    assert values[chosen].sum() == best


def test_the_summary_is_15_percent_rounded_down():
    # 20 frames leave room for int(0.15 * 20) = 3; the shots last 4, 3 and 13.
    every = np.repeat(np.array([0.9, 0.5, 0.1], np.float32), [4, 3, 13])
    change_points = np.array([[0, 3], [4, 6], [7, 19]])
    summary = machine_summary(every, change_points, np.array([4, 3, 13]))
    # The best shot is a frame too long. Were ends exclusive, it would last 3 and be taken.
    assert np.flatnonzero(summary).tolist() == [4, 5, 6]
    # 26 frames: int(3.9) = 3, not 4.
    every = np.concatenate([every, np.zeros(6, np.float32)])
    change_points[2, 1] = 25
    summary = machine_summary(every, change_points, np.array([4, 3, 19]))
    assert np.flatnonzero(summary).tolist() == [4, 5, 6]
    # 27: int(4.05) = 4.
    every, change_points[2, 1] = np.append(every, np.float32(0)), 26
    summary = machine_summary(every, change_points, np.array([4, 3, 20]))
    assert np.flatnonzero(summary).tolist() == [0, 1, 2, 3]


def test_f1_by_hand():
    summary = np.array([0, 1, 1, 0, 0], bool)
    theirs = np.array([[0, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 0, 0, 0, 1], [0, 0, 0, 0, 0]], bool)
    # The second: precision 1/2, recall 1/3, F1 = 2 * 1/6 / (5/6) = 0.4.
    assert f1_scores(summary, theirs).tolist() == pytest.approx([1, 0.4, 0, 0])
    assert f1_scores(np.zeros(5, bool), theirs).tolist() == [0, 0, 0, 0]


def test_kendall_and_spearman_by_hand():
    # Of the 6 pairs of 1 3 2 4 against 1 2 3 4 one is the other way round: (5 - 1) / 6.
    # Squared rank differences 0 1 1 0: 1 - 6 * 2 / (4 * 15) = 0.8.
    tau, rho = rank_correlations(
        np.array([[1.0, 3, 2, 4]]), np.array([[1.0, 2, 3, 4], [4, 3, 2, 1]]), np.ones(4)
    )
    assert tau.tolist() == [pytest.approx([4 / 6, -4 / 6])]
    assert rho.tolist() == [pytest.approx([0.8, -0.8])]


def test_what_is_the_same_everywhere_ranks_nothing():
    tau, rho = rank_correlations(np.ones((1, 3)), np.array([[1.0, 2, 3]]), np.ones(3))
    assert np.isnan(tau).all()
    assert np.isnan(rho).all()


@pytest.mark.parametrize("seed", range(3))
def test_correlations_are_scipys_on_every_frame(seed, monkeypatch):
    # Blocks of a few rows, as a long video has them.
    monkeypatch.setattr("summarizer.summary_metrics._BLOCK_BYTES", 4000)
    rng = np.random.default_rng(seed)
    picks = np.unique(np.append(0, rng.integers(0, 400, 30)))
    ours = np.array([frame_scores(rng.integers(0, 9, len(picks)) / 9, picks, 400)
                     for _ in range(3)])  # fmt: skip
    theirs = np.repeat(rng.integers(1, 6, (4, 40)), 10, axis=1).astype(float)
    starts, frames = runs_of(ours, theirs)
    assert len(starts) < 80
    assert frames.sum() == 400
    tau, rho = rank_correlations(ours[:, starts], theirs[:, starts], frames)
    for (k, mine), (u, other) in itertools.product(enumerate(ours), enumerate(theirs)):
        # The published programs rank first, and downwards; that changes neither.
        ranks = stats.rankdata(-mine), stats.rankdata(-other)
        assert tau[k, u] == pytest.approx(stats.kendalltau(*ranks)[0], abs=1e-12)
        assert rho[k, u] == pytest.approx(stats.spearmanr(*ranks)[0], abs=1e-12)
