"""Chains of moments: against brute force on small cases, and on films whose order is known."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.combine import Background
from search.order import StepCurves, best_chain, find_chains, step_curves
from vidsift.types import Clip, ClipRecord, RankedClip, Span

NONE = Background(np.zeros(3, np.float32), np.full(3, 0.1, np.float32))


def background(steps: int) -> Background:
    return Background(NONE.mean[:steps], NONE.deviation[:steps])


def curves(*values: list[float], seconds: float = 1.0) -> StepCurves:
    n = len(values[0])
    starts = np.arange(n) * seconds
    return StepCurves(
        7, np.arange(n) // 4, starts, starts + seconds, np.array(values, dtype=np.float32)
    )


@st.composite
def cases(draw):
    """Gains of s steps over n frames of uneven length with gaps between, and limits."""
    n, s = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    # Quarters are exact in binary: so that a limit can be met exactly.
    durations = [draw(st.integers(1, 8)) / 4 for _ in range(n)]
    gaps = [draw(st.sampled_from([0.0, 0.0, 0.5, 3.0])) for _ in range(n)]
    ends = np.cumsum(np.add(durations, gaps))
    gain = st.one_of(st.integers(-9, 9).map(float), st.just(-np.inf))
    gains = np.array([[draw(gain) for _ in range(n)] for _ in range(s)])
    within = [draw(st.one_of(st.none(), st.integers(0, 16).map(lambda q: q / 4))) for _ in range(s)]
    return gains, ends - durations, ends, within


def is_chain(frames, starts, ends, within) -> bool:
    return all(
        starts[b] >= ends[a] and (limit is None or starts[b] - limit <= ends[a])
        for a, b, limit in zip(frames, frames[1:], within[1:], strict=False)
    )


@given(cases())
def test_the_best_chain_is_the_best_of_all_chains(case):
    gains, starts, ends, within = case
    s, n = gains.shape
    totals = [
        sum(gains[step, frame] for step, frame in enumerate(frames))
        for frames in itertools.product(range(n), repeat=s)
        if is_chain(frames, starts, ends, within)
    ]
    best = max(totals, default=-np.inf)
    found = best_chain(gains, starts, ends, within)
    if best == -np.inf:
        assert found is None
        return
    assert found is not None
    assert is_chain(found, starts, ends, within)
    assert sum(gains[step, frame] for step, frame in enumerate(found)) == best


def test_moments_come_in_the_order_of_the_steps():
    # Each colour is there twice; only the first red comes before a blue.
    red = [0.0, 0.3, 0.3, 0.0, 0.0, 0.0, 0.0, 0.4, 0.4, 0.0]
    blue = [0.4, 0.0, 0.0, 0.0, 0.3, 0.3, 0.0, 0.0, 0.0, 0.0]
    (chain,) = find_chains(curves(red, blue), background(2), [None, None])
    assert [moment.span for moment in chain.moments] == [Span(1.0, 3.0), Span(4.0, 6.0)]
    assert [moment.clip_id for moment in chain.moments] == [0, 1]
    assert [moment.score for moment in chain.moments] == pytest.approx([0.3, 0.3])
    assert chain.score == pytest.approx(0.3, abs=1e-5)
    assert {moment.video_id for moment in chain.moments} == {7}


def test_the_limit_counts_from_the_end_of_one_to_the_start_of_the_next():
    red = [0.5, 0.5, 0.0, 0.0, 0.2, 0.2, 0.0, 0.0, 0.0, 0.0]
    blue = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.0]
    far, near = (
        find_chains(curves(red, blue), background(2), [None, limit])[0].moments[0].span.start
        for limit in (5.0, 4.0)
    )
    assert (far, near) == (0.0, 4.0)


def test_a_chain_is_no_better_than_its_weakest_step_allows():
    both = find_chains(
        curves([0.2, 0.2, 0, 0, 0, 0], [0, 0, 0, 0.2, 0.2, 0]), background(2), [None] * 2
    )
    one = find_chains(
        curves([0.4, 0.4, 0, 0, 0, 0], [0, 0, 0, 0.0, 0.0, 0]), background(2), [None] * 2
    )
    assert both[0].score > one[0].score


def test_moments_that_touch_are_cut_where_the_later_step_takes_over():
    red = [0.4, 0.4, 0.4, 0.3, 0.2, 0.2, 0.2, 0.2]
    blue = [0.2, 0.2, 0.2, 0.2, 0.3, 0.4, 0.4, 0.4]
    (chain,) = find_chains(curves(red, blue), background(2), [None, 0.0])
    assert [moment.span for moment in chain.moments] == [Span(0.0, 4.0), Span(4.0, 8.0)]


def test_further_chains_have_moments_of_their_own():
    red = [0.4, 0.4, 0.0, 0.0, 0.0, 0.0, 0.3, 0.3, 0.0, 0.0, 0.0, 0.0]
    blue = [0.0, 0.0, 0.4, 0.4, 0.0, 0.0, 0.0, 0.0, 0.3, 0.3, 0.0, 0.0]
    first, second = find_chains(curves(red, blue), background(2), [None, 1.0], most=2)
    assert [moment.span.start for moment in first.moments] == [0.0, 2.0]
    assert [moment.span.start for moment in second.moments] == [6.0, 8.0]
    assert first.score > second.score


@pytest.mark.parametrize("n", [1, 2])
def test_a_video_too_short_for_the_steps_has_no_chain(n: int):
    assert find_chains(curves(*[[0.5] * n] * 3), background(3), [None] * 3, most=2) == []


def test_curves_are_put_together_from_ranked_clips():
    def clip(video: int, ordinal: int, values: list[float]) -> RankedClip:
        start = 2.0 * ordinal
        pts = start + np.array([0.1, 0.5, 1.0, 1.5])
        record = ClipRecord(
            10 * video + ordinal,
            video,
            Path(f"{video}.mp4"),
            ordinal,
            Clip(Span(start, start + 2.0), 0, 4 * ordinal, 4),
            pts,
            "f.npy",
        )
        return RankedClip(record, max(values), np.array(values, np.float32), np.full(4, 0.25, "f4"))

    first = [clip(2, 0, [0.5] * 4), clip(1, 1, [0.1, 0.2, 0.3, 0.4]), clip(1, 0, [0.0] * 4)]
    second = [clip(1, 0, [0.9] * 4), clip(1, 1, [0.8] * 4), clip(2, 0, [0.7] * 4)]
    of_two, of_one = step_curves([first, second])
    assert (of_one.video_id, of_two.video_id) == (1, 2)
    np.testing.assert_array_equal(of_one.clip_ids, [10] * 4 + [11] * 4)
    np.testing.assert_array_equal(of_one.starts, [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5])
    np.testing.assert_array_equal(of_one.ends, [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0])
    np.testing.assert_allclose(
        of_one.values, [[0, 0, 0, 0, 0.1, 0.2, 0.3, 0.4], [0.9] * 4 + [0.8] * 4]
    )
