"""Shots and clips on frames whose cuts are known."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.clips import ClipDraft, cut_clips
from indexer.shots import mark_shots
from vidsift.media.frames import DecodedFrame

SMALL = np.zeros((4, 4, 3), np.uint8)


def frame(pts: float, *, sampled: bool = True, colour: tuple[int, int, int] = (0, 0, 0)):
    image = np.full((8, 8, 3), colour, np.uint8)
    return DecodedFrame(pts, image, image if sampled else None)


def clips_of(frames: list[tuple[DecodedFrame, bool]], **bounds: float) -> list[ClipDraft]:
    limits = {"min_seconds": 2.0, "max_seconds": 8.0, "max_frames": 16} | bounds
    return list(cut_clips(frames, **limits))


def film(cuts: list[float], end: float, rate: float = 10, sample: float = 2.0):
    count = round(end * rate)
    frames, cell = [], None
    for i in range(count):
        pts = i / rate
        sampled = cell != (cell := int(pts * sample + 1e-9))
        begins = i == 0 or any(abs(pts - cut) < 1e-6 for cut in cuts)
        frames.append((frame(pts, sampled=sampled), begins))
    return frames


def test_clips_tile_the_video_and_stay_in_their_shot():
    clips = clips_of(film([3.0, 14.0], 20.0))
    assert [clip.shot for clip in clips] == [0, 1, 1, 2]
    edges = [clip.span.start for clip in clips] + [clips[-1].span.end]
    assert edges == pytest.approx([0.0, 3.0, 11.0, 14.0, 20.0])
    for clip in clips:
        assert np.all(clip.pts_seconds >= clip.span.start - 1e-9)
        assert np.all(clip.pts_seconds < clip.span.end)


@given(
    lengths=st.lists(st.floats(1.0, 40.0), min_size=1, max_size=5),
    rate=st.sampled_from([5.0, 10.0, 25.0]),
)
def test_any_film_is_tiled_by_clips_within_bounds(lengths, rate):
    edges = np.round(np.cumsum(lengths) * rate) / rate
    clips = clips_of(film(list(edges[:-1]), float(edges[-1]), rate=rate))
    assert clips[0].span.start == 0.0
    assert clips[-1].span.end == pytest.approx(edges[-1])
    for before, after in itertools.pairwise(clips):
        assert before.span.end == pytest.approx(after.span.start)
    shots = {}
    for clip in clips:
        assert clip.span.duration <= 10.0 + 1e-6
        shots.setdefault(clip.shot, []).append(clip.span.duration)
    assert len(shots) == len(lengths)
    for durations in shots.values():
        assert len(durations) == 1 or min(durations) >= 2.0 - 1e-6


def test_a_shot_without_a_sampled_frame_joins_its_neighbour():
    unsampled = [(frame(0.1, sampled=False), True), (frame(0.2, sampled=False), True)]
    clips = clips_of(
        [(frame(0.0), True), *unsampled, (frame(0.5), False), (frame(0.6, sampled=False), True)]
    )
    assert [(clip.shot, clip.span.start, list(clip.pts_seconds)) for clip in clips] == [
        (0, 0.0, [0.0]),
        (1, 0.1, [0.5]),
    ]
    assert clips[-1].span.end == pytest.approx(0.7)


def test_a_frame_that_stays_on_screen_is_one_clip():
    frames = [(frame(0.0), True), (frame(0.5), False), (frame(60.0), False), (frame(60.5), False)]
    clips = clips_of(frames)
    assert [(clip.span.start, clip.span.end) for clip in clips] == [(0.0, 60.0), (60.0, 61.0)]


def test_a_still_film_is_cut_after_a_gap_too():
    frames = [(frame(0.0), True)] + [(frame(60.0 + i / 2), False) for i in range(100)]
    clips = clips_of(frames)
    assert max(len(clip.images) for clip in clips) <= 16
    assert len(clips) > 5


def test_the_cap_keeps_the_first_and_the_last_frame():
    (clip,) = clips_of(film([], 4.0, sample=10.0), max_frames=5)
    assert clip.pts_seconds == pytest.approx([0.0, 1.0, 2.0, 2.9, 3.9], abs=0.11)


def test_one_frame_is_one_clip():
    (clip,) = clips_of([(frame(0.0), True)])
    assert clip.span.start == 0.0
    assert clip.span.end > 0.0


def shots_of(frames: list[DecodedFrame]) -> list[float]:
    marked = mark_shots(frames, frame_rate=Fraction(10), threshold=3.0, min_shot_seconds=0.6)
    return [f.pts_seconds for f, begins in marked if begins]


def test_cuts_are_found_where_they_are():
    colours = [(200, 30, 30)] * 20 + [(30, 30, 200)] * 15 + [(30, 200, 30)] * 20
    frames = [frame(i / 10, colour=colour) for i, colour in enumerate(colours)]
    assert shots_of(frames) == pytest.approx([0.0, 2.0, 3.5])


def test_cuts_are_found_with_a_variable_frame_rate():
    times = np.cumsum([0.0] + [0.05, 0.3] * 20)
    colours = [(200, 30, 30)] * 20 + [(30, 30, 200)] * (len(times) - 20)
    frames = [frame(float(t), colour=c) for t, c in zip(times, colours, strict=True)]
    assert shots_of(frames) == pytest.approx([0.0, times[20]])


def test_every_frame_comes_out_once_and_in_order():
    frames = [frame(i / 10) for i in range(7)]
    marked = list(mark_shots(frames, frame_rate=Fraction(10), threshold=3.0, min_shot_seconds=0.6))
    assert [f for f, _ in marked] == frames
    assert [begins for _, begins in marked] == [True] + [False] * 6
