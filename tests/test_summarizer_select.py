"""Saliency and selection against brute force and by hand."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.edges import fill_budget, join_lines
from summarizer.select import cut_pieces, knapsack, piece_seconds
from summarizer.summary import choose_segments
from vidsift.types import Clip, Cue, FrameFeatures, SaliencyTerm, Segment, Shot, Span

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


def shots_and_chosen(lengths, share, data):
    """Shots, and pieces of some of them that a budget holds."""
    edges = np.concatenate([[0.0], np.cumsum(lengths)])
    shots = [Span(float(a), float(b)) for a, b in pairwise(edges)]
    budget = share * float(edges[-1])
    chosen, room = [], budget
    for i in sorted(data.draw(st.sets(st.sampled_from(range(len(shots))), min_size=1))):
        length = min(shots[i].duration, room)
        if length > 1e-3:
            chosen.append(Segment(Span(shots[i].start, shots[i].start + length), float(i)))
            room -= length
    return shots, chosen, budget


def cut_lines(segments, cues):
    """Lines that a cut breaks; what plays on into the next segment is no cut."""
    spans = [segment.span for segment in segments]
    starts = {span.start for span in spans} - {span.end for span in spans}
    ends = {span.end for span in spans} - {span.start for span in spans}
    return sum(
        cue.start + 1e-5 < time < cue.end - 1e-5
        for cue in join_lines(cues)
        for time in starts | ends
    )


@given(
    st.lists(st.floats(0.5, 8.0), min_size=1, max_size=12),
    st.floats(0.01, 1.0),
    st.lists(st.tuples(st.floats(0.0, 40.0), st.floats(0.2, 6.0)), max_size=10),
    st.data(),
)
def test_with_lines_too_the_budget_is_filled_exactly(lengths, share, cues, data):
    shots, chosen, budget = shots_and_chosen(lengths, share, data)
    if not chosen:
        return
    end = shots[-1].end
    lines = [Span(start, start + long) for start, long in cues]
    least = data.draw(st.sampled_from([0.0, 1.0]))
    filled = fill_budget(chosen, shots, budget, end, cues=lines, least_seconds=least)
    assert sum(s.span.duration for s in filled) == pytest.approx(budget, abs=1e-6)
    assert all(a.span.end <= b.span.start + 1e-9 for a, b in pairwise(filled))
    assert filled[0].span.start >= 0
    assert filled[-1].span.end <= end + 1e-9
    shortest = min(min(least, segment.span.duration) for segment in chosen)
    assert all(segment.span.duration >= shortest - 1e-6 for segment in filled)


@given(st.integers(0, 10_000))
def test_where_the_budget_allows_no_line_is_cut(seed):
    # Shots of 10 s, lines of at most 2 s with at least a second between them, and segments of
    # 3 s: there is room beside every line, and seconds enough to be exact.
    random = np.random.default_rng(seed)
    shots = [Span(10.0 * i, 10.0 * i + 10.0) for i in range(10)]
    cues, time = [], 0.0
    while time < 95:
        time += random.uniform(1.0, 3.0)
        cues.append(Span(time, time + random.uniform(0.5, 2.0)))
        time = cues[-1].end
    picked = np.sort(random.choice(10, 4, replace=False)).tolist()
    begins = [10.0 * i + random.uniform(1, 6) for i in picked]
    chosen = [Segment(Span(begin, begin + 3.0), random.random()) for begin in begins]
    filled = fill_budget(chosen, shots, 20.0, 100.0, cues=cues, least_seconds=1.0)
    assert sum(s.span.duration for s in filled) == pytest.approx(20.0)
    assert cut_lines(filled, cues) == 0


def test_an_edge_in_a_line_moves_to_its_nearer_end():
    shots = [Span(0.0, 20.0)]
    # It would end at 6.0, in a line that is over at 6.5; two seconds are left for that.
    (one,) = fill_budget(
        [Segment(Span(2.0, 6.0), 1.0)], shots, 4.5, 20.0, cues=[Span(5.0, 6.5)], least_seconds=1.0
    )
    assert one.span == Span(2.0, 6.5)
    # There is nothing left: it ends where the line begins, and begins earlier instead.
    (one,) = fill_budget(
        [Segment(Span(3.0, 6.0), 1.0)], shots, 3.0, 20.0, cues=[Span(5.0, 6.5)], least_seconds=1.0
    )
    assert (one.span.start, one.span.end) == pytest.approx((2.0, 5.0))


def test_a_line_is_paid_for_with_what_is_shown_beside_lines():
    # A second is left, and on either side begins a line of two: one of them is shown, and a
    # second less at the other end.
    lines = [Span(2.0, 4.0), Span(8.0, 10.0)]
    chosen = [Segment(Span(4.0, 8.0), 1.0)]
    filled = fill_budget(chosen, [Span(0.0, 20.0)], 5.0, 20.0, cues=lines, least_seconds=1.0)
    assert sum(segment.span.duration for segment in filled) == pytest.approx(5.0)
    assert cut_lines(filled, lines) == 0


def test_a_line_longer_than_the_summary_is_cut_rather_than_the_promise_broken():
    (one,) = fill_budget(
        [Segment(Span(4.0, 6.0), 1.0)], [Span(0.0, 20.0)], 2.0, 20.0, cues=[Span(0.0, 20.0)]
    )
    assert one.span.duration == pytest.approx(2.0)


def test_segments_that_touch_add_up_what_they_stand_for():
    def segment(start, value, saliency):
        terms = (SaliencyTerm("representativeness", value, saliency / value),)
        return Segment(Span(start, start + 2.0), saliency, terms)

    (one,) = fill_budget(
        [segment(0.0, 0.2, 0.4), segment(2.0, 0.1, 0.2)], [Span(0.0, 9.0)], 4.0, 9.0
    )
    assert one.span == Span(0.0, 4.0)
    assert one.saliency == pytest.approx(0.3)
    assert one.terms[0].value == pytest.approx(0.3)
    assert one.terms[0].weight * one.terms[0].value == pytest.approx(one.saliency)


@given(
    st.lists(st.tuples(st.floats(0.3, 12.0), st.integers(1, 12)), min_size=1, max_size=12),
    st.floats(0.01, 1.0),
)
def test_pieces_are_the_film_and_none_is_shorter_than_it_must_be(shots, share):
    clips, start, frame = [], 0.0, 0
    for i, (seconds, frames) in enumerate(shots):
        clips.append(Clip(Span(start, start + seconds), i, frame, frames))
        start, frame = start + seconds, frame + frames
    length = piece_seconds(share * start, 1.0)
    pieces = cut_pieces(clips, length)
    assert sum(piece.duration for piece in pieces) == pytest.approx(start)
    for clip in clips:
        own = [piece for piece in pieces if piece.overlap(clip.span) > 1e-6]
        assert len(own) <= clip.num_frames
        assert all(p.duration >= min(length, clip.span.duration) - 1e-6 for p in own)


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
        features,
        clips,
        shots,
        4.0,
        query="green",
        relevance=features.features[:, 1].astype(np.float64),
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


@given(
    st.floats(0.01, 1.0),
    st.text("rgb", min_size=1, max_size=12),
    st.sampled_from(["knapsack", "greedy"]),
    st.booleans(),
    st.lists(st.floats(0.0, 20.0), max_size=4),
)
def test_any_budget_is_met_and_every_segment_says_why(share, colours, selection, asked, lines):
    features, clips, shots = film(colours)
    budget = share * clips[-1].span.end
    summary = choose_segments(
        features,
        clips,
        shots,
        budget,
        relevance=features.features[:, 0].astype(np.float64) if asked else None,
        cues=[Cue(Span(start, start + 1.5), "words") for start in sorted(lines)],
        selection=selection,
    )
    assert summary.duration_seconds == pytest.approx(budget, abs=1e-6)
    for segment in summary.segments:
        assert segment.span.duration >= min(1.0, budget) - 1e-6
        terms = sum(term.weight * term.value for term in segment.terms)
        assert terms == pytest.approx(segment.saliency)
        assert all(0 <= term.value <= 1 + 1e-6 for term in segment.terms)


def test_shots_are_cut_whatever_clips_they_were_indexed_in():
    clips = [Clip(Span(2.0 * i, 2.0 * i + 2.0), 0, 4 * i, 4) for i in range(3)]
    assert cut_pieces(clips, 3.0) == [Span(0.0, 3.0), Span(3.0, 6.0)]


def test_short_shots_that_follow_each_other_are_one_piece():
    spans = [(0.0, 0.7), (0.7, 1.4), (1.4, 5.4), (5.4, 6.0), (6.0, 10.0)]
    clips = [Clip(Span(*span), i, i, 1) for i, span in enumerate(spans)]
    pieces = cut_pieces(clips, 4.0, 1.0)
    assert pieces == [Span(0.0, 1.4), Span(1.4, 5.4), Span(5.4, 6.0), Span(6.0, 10.0)]


@given(st.floats(1.0, 12.0), st.floats(0.2, 0.9), st.integers(0, 1000))
def test_no_segment_is_shorter_than_asked_where_the_shots_allow(least, share, seed):
    random = np.random.default_rng(seed)
    edges = np.cumsum([0.0, *random.uniform(least, 3 * least, 6)]).tolist()
    clips, pts = [], []
    for shot, (a, b) in enumerate(pairwise(edges)):
        for low, high in pairwise(np.linspace(a, b, int((b - a) / 8) + 2).tolist()):
            own = np.arange(low, high - 1e-9, 0.5)
            clips.append(Clip(Span(low, high), shot, len(pts), len(own)))
            pts += own.tolist()
    frames = random.normal(size=(len(pts), 4)).astype(np.float32)
    frames /= np.linalg.norm(frames, axis=1, keepdims=True)
    budget = share * edges[-1]
    lines = [Cue(Span(t, t + 2.0), "words") for t in random.uniform(0, edges[-1] - 2, 5).tolist()]
    summary = choose_segments(
        FrameFeatures(frames, np.array(pts)),
        clips,
        [Shot(Span(a, b)) for a, b in pairwise(edges)],
        budget,
        cues=lines,
        least_seconds=least,
    )
    assert summary.duration_seconds == pytest.approx(budget)
    shortest = min(segment.span.duration for segment in summary.segments)
    assert shortest >= min(least, budget) - 1e-6


@pytest.mark.parametrize("selection", ["knapsack", "greedy"])
def test_a_short_shot_is_left_out_where_others_fill_the_budget(selection):
    # What a short shot shows, nothing else does; it is too short to be shown.
    lengths = {"r": 4.0, "g": 0.8, "b": 4.0}
    clips, features, pts, start = [], [], [], 0.0
    for i, colour in enumerate("rgb"):
        one, _, _ = film(colour)
        clips.append(Clip(Span(start, start + lengths[colour]), i, 4 * i, 4))
        features.append(one.features)
        pts.append(start + np.arange(4) * lengths[colour] / 4)
        start += lengths[colour]
    summary = choose_segments(
        FrameFeatures(np.concatenate(features), np.concatenate(pts)),
        clips,
        [Shot(clip.span) for clip in clips],
        6.0,
        selection=selection,
    )
    assert not any(segment.span.overlap(Span(4.0, 4.8)) for segment in summary.segments)
    assert len(summary.segments) > 1
