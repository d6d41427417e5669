"""Clips scored with their surroundings, checked against sums by hand."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from search.context import in_context, surroundings

SHAPES = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 16)), min_size=1, max_size=20
)  # video, frames of a clip


def by_hand(scores, similarities, lengths, videos, temperature):
    ends = np.cumsum(lengths)
    starts = ends - lengths
    joined = []
    for c in range(len(lengths)):
        near = [
            np.arange(starts[o], ends[o])
            for o in range(len(lengths))
            if videos[o] == videos[c] and starts[o] < ends[c] + 30 and ends[o] > starts[c] - 30
        ]
        s = similarities[np.concatenate(near)].astype(float)
        w = np.exp((s - s.max()) / temperature)
        joined.append(0.25 * scores[c] + 0.75 * min(scores[c], (w * s).sum() / w.sum()))
    return joined


@given(SHAPES, st.integers(0, 2**32 - 1), st.sampled_from([0.02, 0.1, 1.0]))
def test_the_surroundings_are_the_near_clips_of_the_same_video(shapes, seed, temperature):
    shapes.sort()
    videos = np.array([video for video, _ in shapes])
    lengths = np.array([frames for _, frames in shapes])
    random = np.random.default_rng(seed)
    similarities = random.uniform(-1, 1, (2, lengths.sum())).astype(np.float32)
    scores = random.uniform(-1, 1, (2, len(lengths))).astype(np.float32)
    reach = surroundings(lengths, videos)
    found = in_context(scores, similarities, lengths, reach, temperature)
    for own, s, row in zip(scores, similarities, found, strict=True):
        assert row == pytest.approx(by_hand(own, s, lengths, videos, temperature), abs=1e-5)


def test_a_clip_without_neighbours_is_its_own_surroundings():
    lengths, videos = np.array([3]), np.array([7])
    similarities = np.array([[0.5, 0.5, 0.5]], np.float32)
    scores = np.array([[0.5]], np.float32)
    found = in_context(scores, similarities, lengths, surroundings(lengths, videos), 0.1)
    assert found == pytest.approx(np.array([[0.5]]))
    none = np.zeros(0, np.int64)
    empty = np.zeros((1, 0), np.float32)
    assert in_context(empty, empty, none, none.reshape(0, 2), 0.1).shape == (1, 0)
