"""Several terms of one moment: what their combination must do, on values whose order is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.combine import Background, combine_clips, combine_values, soft_minimum, step_terms
from search.question import Step, Term
from search.rerank import ScoredClips
from vidsift.types import Clip, ClipRecord, Span

USUAL = Background(np.array([0.1, 0.3, 0.2], np.float32), np.array([0.1, 0.05, 0.1], np.float32))


def of(background: Background, terms: int) -> Background:
    return Background(background.mean[:terms], background.deviation[:terms])


def values(*clips: tuple[float, ...]) -> np.ndarray:
    """Given clip by clip, in standard deviations above each term's background: (m, c)."""
    z = np.array(clips, np.float32).T
    usual = of(USUAL, len(z))
    return usual.mean[:, None] + usual.deviation[:, None] * z


def combined(step: Step, *clips: tuple[float, ...]) -> np.ndarray:
    given_values = values(*clips)
    return combine_values(step, given_values, of(USUAL, len(given_values)))


BOTH = Step((Term("a"), Term("b")))
WITHOUT = Step((Term("a"),), (Term("b"),))


def test_one_term_keeps_its_very_values():
    cosines = np.random.default_rng(0).normal(size=(1, 50)).astype(np.float32)
    background = Background.of(cosines)
    for weight in (1.0, 3.0):
        got = combine_values(Step((Term("a", weight),)), cosines, background)
        np.testing.assert_array_equal(got, cosines[0])


def test_both_of_two_outrank_much_of_one():
    both, much_of_one, equal_sum = combined(BOTH, (1.5, 1.5), (3.5, -0.5), (3.0, 0.0))
    assert both > equal_sum > much_of_one


def test_a_term_with_high_cosines_counts_no_more_than_another():
    first, second = combined(BOTH, (2.0, 0.5), (0.5, 2.0))
    assert first == pytest.approx(second, abs=1e-6)


def test_equally_strong_terms_give_that_strength_whatever_the_weights():
    for weights in ((1.0, 1.0), (5.0, 0.1)):
        step = Step((Term("a", weights[0]), Term("b", weights[1])))
        shares = np.array(weights, np.float32) / sum(weights)
        expected = shares @ (USUAL.mean[:2] + 1.2 * USUAL.deviation[:2])
        assert combined(step, (1.2, 1.2))[0] == pytest.approx(expected, abs=1e-5)


def test_weight_decides_between_terms():
    first, second = combined(Step((Term("a", 3.0), Term("b"))), (2.0, 1.0), (1.0, 2.0))
    assert first > second


def test_exclusion_subtracts_only_what_stands_out():
    absent, usual, present, more = combined(
        WITHOUT, (2.0, -3.0), (2.0, 1.0), (2.0, 2.0), (2.0, 3.0)
    )
    assert [absent, usual] == pytest.approx([0.3, 0.3], abs=1e-6)
    assert usual > present > more
    heavier = Step((Term("a"),), (Term("b", 2.0),))
    assert combined(heavier, (2.0, 2.0))[0] < present


@given(
    st.integers(1, 5).flatmap(
        lambda m: st.tuples(
            st.lists(st.floats(-8, 8, width=32), min_size=m, max_size=m),
            st.lists(st.floats(0.125, 10, width=32), min_size=m, max_size=m),
        )
    )
)
def test_soft_minimum_lies_between_minimum_and_mean(drawn: tuple[list[float], list[float]]):
    z = np.array(drawn[0], np.float32)[:, None]
    shares = np.array(drawn[1], np.float32) / np.float32(sum(drawn[1]))
    got = float(soft_minimum(z, shares)[0])
    assert z.min() - 1e-3 <= got <= float(shares @ z[:, 0]) + 1e-3


def _record(c: int, n: int) -> ClipRecord:
    clip = Clip(Span(4.0 * c, 4.0 * c + 4.0), 0, 8 * c, n)
    return ClipRecord(c + 1, 1, Path("a.mp4"), c, clip, 4.0 * c + np.arange(n) / 2, "a.npy")


def test_clips_are_ranked_by_all_terms_with_their_curves_and_weights():
    lengths = (8, 3, 8)
    rng = np.random.default_rng(1)
    similarities = tuple(rng.normal(size=(3, n)).astype(np.float32) for n in lengths)
    weights = tuple(np.full((3, n), 1 / n, np.float32) for n in lengths)
    step = Step((Term("a"), Term("b", 2.0)), (Term("c"),))
    assert [term.text for term in step_terms(step)] == ["a", "b", "c"]
    scored = ScoredClips(
        tuple(_record(c, n) for c, n in enumerate(lengths)),
        values((1.0, 1.0, 0.0), (3.0, -1.0, 0.0), (1.5, 1.5, 3.0)),
        similarities,
        weights,
    )
    ranked = combine_clips(step, scored, of_scores=USUAL)
    assert [clip.record.id for clip in ranked] == [1, 2, 3]
    scores = combine_values(step, scored.scores, USUAL)
    for clip in ranked:
        c = clip.record.id - 1
        assert clip.score == pytest.approx(float(scores[c]))
        assert clip.weights.sum() == pytest.approx(1.0, abs=1e-5)
        frames = Background.of(np.concatenate(similarities, axis=1))
        expected = combine_values(step, similarities[c], frames)
        np.testing.assert_allclose(clip.similarities, expected, atol=1e-5)


def test_no_clips_and_clips_that_are_all_alike():
    empty = ScoredClips((), np.zeros((2, 0), np.float32), (), ())
    assert combine_clips(BOTH, empty) == []
    alike = ScoredClips(
        (_record(0, 2),),
        np.full((2, 1), 0.2, np.float32),
        (np.full((2, 2), 0.2, np.float32),),
        (np.full((2, 2), 0.5, np.float32),),
    )
    (clip,) = combine_clips(BOTH, alike)
    assert clip.score == pytest.approx(0.2, abs=1e-5)
