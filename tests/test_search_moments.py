"""Moments on curves whose peaks are known."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.moments import find_moments, in_turn, suppress
from search.query import parse_query
from vidsift.errors import QueryError
from vidsift.types import Clip, ClipRecord, Moment, RankedClip, Span


def ranked(video: int, ordinal: int, curve: list[float], shot: int = 0) -> RankedClip:
    """A clip of one frame every half second, the clips of a video touching in time."""
    start = ordinal * 4.0
    pts = start + np.arange(len(curve)) / 2
    clip = Clip(Span(start, start + len(curve) / 2), shot, ordinal * 8, len(curve))
    record = ClipRecord(
        video * 100 + ordinal, video, Path(f"{video}.mp4"), ordinal, clip, pts, "features.npy"
    )
    values = np.array(curve, np.float32)
    return RankedClip(
        record, float(values.max()), values, np.full(len(curve), 1 / len(curve), np.float32)
    )


def test_a_moment_is_where_the_curve_stands_up():
    clips = [
        ranked(1, 0, [0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.1, 0.1]),
        ranked(2, 0, [0.1] * 8),
    ]
    best = next(find_moments(clips))
    assert (best.video_id, best.span, best.peak_seconds) == (1, Span(1.5, 3.0), 1.5)
    assert best.score == pytest.approx(0.9)


def test_one_odd_frame_does_not_tear_a_moment_apart():
    clips = [ranked(1, 0, [0.1, 0.9, 0.9, 0.4, 0.9, 0.9, 0.1, 0.1]), ranked(2, 0, [0.1] * 8)]
    assert next(find_moments(clips)).span == Span(0.5, 3.0)


def test_a_moment_crosses_clips_that_touch():
    clips = [
        ranked(1, 0, [0.1] * 6 + [0.8, 0.9]),
        ranked(1, 1, [0.9, 0.8] + [0.1] * 6),
        ranked(2, 0, [0.1] * 8),
    ]
    moments = list(find_moments(clips))
    assert moments[0].span == Span(3.0, 5.0)
    assert sum(m.video_id == 1 and m.span.overlap(Span(3.0, 5.0)) > 0 for m in moments) == 1


def test_a_moment_does_not_cross_a_clip_that_is_no_candidate():
    clips = [ranked(1, 0, [0.9] * 8), ranked(1, 2, [0.9] * 8), ranked(2, 0, [0.1] * 17)]
    spans = sorted(m.span for m in find_moments(clips) if m.video_id == 1)
    assert spans == [Span(0.0, 4.0), Span(8.0, 12.0)]


def test_a_moment_is_long_enough_to_be_seen():
    clips = [ranked(1, 0, [0.9] + [0.1] * 7), ranked(2, 0, [0.1] * 8)]
    moment = next(find_moments(clips))
    assert moment.span == Span(0.0, 1.0)
    assert moment.span.start <= moment.peak_seconds < moment.span.end


def test_an_edge_near_a_cut_moves_onto_it():
    other = ranked(2, 0, [0.0] * 8)

    def span(before: list[float], after: list[float], second_shot: int = 1) -> Span:
        clips = [ranked(1, 0, before), ranked(1, 1, after, second_shot), other]
        return next(find_moments(clips, background=0.0)).span

    low, high = [0.1] * 6, [0.9] * 6
    # The first frames of the shot lie a little below the level: the shot is the moment.
    assert span([*low, 0.1, 0.1], [0.5, 0.5, *high]) == Span(4.0, 8.0)
    assert span([*low, 0.1, 0.1], [0.5, 0.5, *high], second_shot=0) == Span(5.0, 8.0)
    # They lie at the background: the shot holds something else first.
    assert span([*low, 0.1, 0.1], [0.2, 0.2, *high]) == Span(5.0, 8.0)
    # More than a second away.
    assert span([*low, 0.1, 0.1], [0.5, 0.5, 0.5, *high[1:]]) == Span(5.5, 8.0)
    # What reaches over the cut by a sliver ends at it.
    assert span([*high, 0.9, 0.9], [0.7, 0.7, *low]) == Span(0.0, 4.0)
    assert span([*high, 0.9, 0.9], [0.7, 0.7, *low], second_shot=0) == Span(0.0, 5.0)
    assert span([*high, 0.9, 0.9], [0.7, 0.7, 0.7, *low[1:]]) == Span(0.0, 5.5)


def test_the_background_is_that_of_the_best_clips_or_given():
    curve = [0.1, 0.1, 0.5, 0.9, 0.9, 0.5, 0.1, 0.1]
    clips = [ranked(1, 0, curve), *(ranked(2, n, [0.1] * 8) for n in range(99))]
    assert next(find_moments(clips)).span == Span(1.5, 2.5)
    more = [ranked(3, n, [-0.9] * 8) for n in range(200)]  # further candidates change nothing
    assert next(find_moments(clips + more)).span == Span(1.5, 2.5)
    assert next(find_moments(clips, background=-0.2)).span == Span(1.0, 3.0)


def test_further_candidates_change_no_moment():
    random = np.random.default_rng(0)
    # Few long videos, so that clips of all ranks touch each other.
    clips = [ranked(v, n, random.uniform(0, 1, 8).tolist()) for v in range(3) for n in range(100)]
    clips.sort(key=lambda clip: -clip.score)
    whole = list(find_moments(clips, background=0.3))
    for count in (100, 200):
        few = list(find_moments(clips[:count], background=0.3))
        assert len(few) > count / 4
        assert whole[: len(few)] == few


def test_of_equals_the_one_indexed_first_is_first():
    clips = [ranked(video, 0, [0.5] * 8) for video in (3, 1, 2)]
    assert [m.video_id for m in find_moments(clips)] == [1, 2, 3]


def test_a_part_of_a_moment_is_no_other_moment():
    whole, part = moment(1, 0, 10, 0.9), moment(1, 2, 4, 0.8)
    assert list(suppress([whole, part])) == [whole]


def test_no_candidates_no_moments():
    assert list(find_moments([])) == []


def moment(video: int, start: float, end: float, score: float) -> Moment:
    return Moment(video, video, Span(float(start), float(end)), float(start), float(score))


def test_suppression_keeps_the_best_of_what_overlaps():
    kept = suppress([moment(1, 1, 5, 0.7), moment(1, 0, 4, 0.5), moment(2, 0, 4, 0.4)])
    assert [(m.video_id, m.score) for m in kept] == [(1, 0.7), (2, 0.4)]


spans = st.tuples(st.integers(0, 40), st.integers(1, 10), st.floats(0, 1))


@given(st.lists(st.tuples(st.integers(1, 2), spans), max_size=30))
def test_what_suppression_keeps_is_apart_and_in_order(items):
    moments = [moment(v, s, s + d, score) for v, (s, d, score) in items]
    kept = list(suppress(sorted(moments, key=lambda m: -m.score)))
    assert [m.score for m in kept] == sorted((m.score for m in kept), reverse=True)
    for i, a in enumerate(kept):
        for b in kept[i + 1 :]:
            assert a.video_id != b.video_id or a.span.tiou(b.span) < 0.5


def test_one_video_does_not_fill_the_list():
    moments = [moment(1, 10 * i, 10 * i + 5, 0.9 - i / 100) for i in range(6)]
    moments += [moment(2, 0, 5, 0.2), moment(3, 0, 5, 0.1)]

    def videos(ranked, most):
        return [m.video_id for m in in_turn(ranked, most, lambda m: m.video_id)]

    assert videos(moments, 2) == [1, 1, 2, 3, 1, 1, 1, 1]
    assert videos(moments[:6], 2) == [1] * 6
    assert videos(moments, 100) == [m.video_id for m in moments]
    assert list(in_turn(moments, 2, lambda m: m.video_id))[4:] == moments[2:6]


@given(st.lists(st.integers(1, 4), max_size=40), st.integers(1, 4), st.integers(1, 7))
def test_pages_are_slices_of_one_order(videos, most, k):
    ranked = list(enumerate(videos))
    whole = list(in_turn(ranked, most, lambda each: each[1]))
    assert sorted(whole) == ranked
    pages = [
        list(itertools.islice(in_turn(iter(ranked), most, lambda each: each[1]), start, start + k))
        for start in range(0, len(ranked), k)
    ]
    assert [each for page in pages for each in page] == whole


def test_no_more_moments_are_cut_than_are_asked_for():
    source = iter([moment(1, 0, 5, 0.9), moment(2, 0, 5, 0.8), moment(3, 0, 5, 0.7)])
    assert next(in_turn(source, 1, lambda m: m.video_id)).video_id == 1
    assert next(source).video_id == 2


@given(st.tuples(spans, spans))
def test_tiou_is_symmetric_and_bounded(pair):
    (a0, a1, _), (b0, b1, _) = pair
    a, b = Span(float(a0), float(a0 + a1)), Span(float(b0), float(b0 + b1))
    assert a.tiou(b) == b.tiou(a)
    assert 0.0 <= a.tiou(b) <= 1.0
    assert a.tiou(a) == 1.0


def test_a_question_is_cleaned():
    assert parse_query("  a dog\n on  the beach ") == "a dog on the beach"


@pytest.mark.parametrize(
    ("text", "what"), [("", "empty"), (" \n", "empty"), ("x" * 10_000, "10,000")]
)
def test_a_question_that_cannot_be_asked(text, what):
    with pytest.raises(QueryError, match=what):
        parse_query(text)
