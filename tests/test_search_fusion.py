"""Words beside pictures: rankings with known answers."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.fusion import Scale, attend, fuse
from search.words import SpokenMoment
from vidsift.types import Cue, Moment, Span


def seen(video: int, start: float, score: float = 0.3, seconds: float = 4.0) -> Moment:
    return Moment(video, 10 * video, Span(start, start + seconds), start, score)


def said(video: int, start: float, seconds: float = 2.0, text: str = "words") -> SpokenMoment:
    span = Span(start, start + seconds)
    return SpokenMoment(Moment(video, 10 * video, span, start, 0.8), Cue(span, text))


def test_example_of_the_docstring() -> None:
    names = {each.__name__: each for each in (Cue, Moment, Span, SpokenMoment, fuse)}
    [case] = doctest.DocTestFinder().find(fuse, globs=names)
    assert len(case.examples) == 4
    assert doctest.DocTestRunner().run(case).failed == 0


def test_without_words_the_visual_ranking_is_left_alone() -> None:
    visual = [seen(1, 0.0, 0.5), seen(2, 0.0, 0.1), seen(1, 9.0, 0.4)]
    fused = fuse(visual, [])
    assert [each.moment for each in fused] == visual
    assert {each.found_by for each in fused} == {("picture",)}
    assert [each.cue for each in fused] == [None] * 3


def test_sums_of_reciprocal_ranks() -> None:
    visual = [seen(1, 0.0), seen(2, 0.0), seen(3, 0.0)]
    spoken = [said(4, 0.0), said(3, 1.0, text="three"), said(1, 50.0)]
    fused = fuse(visual, spoken)
    assert [(each.moment.video_id, each.found_by) for each in fused] == [
        (3, ("picture", "words")),  # 1/63 + 1/62
        (4, ("words",)),  # 1/61, and words before pictures
        (1, ("picture",)),  # 1/61
        (2, ("picture",)),  # 1/62
        (1, ("words",)),  # 1/63, at another time of the video
    ]
    assert [each.rank_score for each in fused] == [
        1 / 63 + 1 / 62, 1 / 61, 1 / 61, 1 / 62, 1 / 63,
    ]  # fmt: skip
    best = fused[0]
    assert best.moment is visual[2]  # its span and score are those of the picture
    assert best.cue is not None
    assert best.cue.text == "three"
    assert fused[1].moment is spoken[0].moment


def test_several_lines_in_one_moment_count_once_by_the_best() -> None:
    fused = fuse([seen(1, 0.0, seconds=10.0)], [said(1, 1.0, text="a"), said(1, 5.0, text="b")])
    assert [(each.rank_score, each.cue and each.cue.text) for each in fused] == [(2 / 61, "a")]


def test_less_than_half_of_the_shorter_is_another_moment() -> None:
    assert len(fuse([seen(1, 0.0)], [said(1, 2.9)])) == 1  # 1.1 of 2 s
    assert len(fuse([seen(1, 0.0)], [said(1, 3.1)])) == 2  # 0.9 of 2 s
    assert len(fuse([seen(1, 0.0)], [said(2, 0.0)])) == 2


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 20)), max_size=8),
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 20)), max_size=8),
)
def test_nothing_is_lost_and_nothing_twice(
    places: list[tuple[int, int]], lines: list[tuple[int, int]]
) -> None:
    visual = [seen(video, 10.0 * start) for video, start in dict.fromkeys(places)]
    spoken = [said(video, 10.0 * start) for video, start in dict.fromkeys(lines)]
    fused = fuse(visual, spoken)
    assert {id(each.moment) for each in fused} >= {id(moment) for moment in visual}
    assert len(fused) == len(set(places) | set(lines))
    scores = [each.rank_score for each in fused]
    assert scores == sorted(scores, reverse=True)
    assert [m for m in (each.moment for each in fused) if m in visual] == sorted(
        visual, key=lambda m: -next(e.rank_score for e in fused if e.moment is m)
    )


# --- the gate

RED, GREEN, BLUE = np.eye(3, dtype=np.float32)
NONE = np.zeros((0, 3), np.float32)


def test_without_cues_the_picture_is_all() -> None:
    found = attend(RED, 0.4, NONE, picture_scale=Scale(0.2, 0.1))
    assert (found.picture, found.words, len(found.cue_weights)) == (1.0, 0.0, 0)
    assert found.score == pytest.approx(2.0)


def test_gate_by_hand() -> None:
    # Cues of cosine 1 and 0 at temperature 0.5: weights e^2 : 1.
    found = attend(RED, 0.5, np.stack([RED, BLUE]), temperature=0.5)
    first = math.exp(2) / (math.exp(2) + 1)
    np.testing.assert_allclose(found.cue_weights, [first, 1 - first], rtol=1e-5)
    gate = math.exp(0.5) / (math.exp(0.5) + math.exp(first))
    assert found.picture == pytest.approx(gate, rel=1e-5)
    assert found.words == pytest.approx(1 - gate, rel=1e-5)
    assert found.score == pytest.approx(gate * 0.5 + (1 - gate) * first, rel=1e-5)


def test_gate_opens_for_the_part_that_says_more_than_usual() -> None:
    scales = {"picture_scale": Scale(0.1, 0.05), "words_scale": Scale(0.3, 0.2)}
    picture = attend(RED, 0.3, GREEN[np.newaxis], **scales)  # 4 above, 1.5 below the mean
    assert picture.picture == pytest.approx(1 / (1 + math.exp(-5.5)), rel=1e-4)
    words = attend(RED, 0.1, RED[np.newaxis], **scales)  # 0, 3.5 above
    assert words.words == pytest.approx(1 / (1 + math.exp(-3.5)), rel=1e-4)
    even = attend(RED, 0.2, (RED * 0.7)[np.newaxis], **scales)  # both 2 above
    assert even.picture == pytest.approx(0.5, abs=1e-5)
    assert even.score == pytest.approx(2.0, abs=1e-4)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e3))
def test_weights_sum_to_one_whatever_the_scores(score: float, deviation: float) -> None:
    found = attend(RED, score, np.stack([RED, BLUE]), picture_scale=Scale(0.0, deviation))
    assert found.picture + found.words == pytest.approx(1.0)
    assert 0.0 <= found.picture <= 1.0
    assert found.cue_weights.sum() == pytest.approx(1.0)


def test_a_scale_without_spread_is_refused() -> None:
    with pytest.raises(ValueError, match="deviation is positive"):
        Scale(0.0, 0.0)
