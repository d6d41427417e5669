"""Videos ranked by attention over their clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.videos import rank_videos
from vidsift.models.attention import SoftmaxPool
from vidsift.types import Clip, ClipRecord, RankedClip, Span


def ranked(video: int, ordinal: int, score: float) -> RankedClip:
    span = Span(float(ordinal), ordinal + 1.0)
    record = ClipRecord(
        video * 100 + ordinal,
        video,
        Path(f"/v/{video}.mp4"),
        ordinal,
        Clip(span, 0, ordinal, 1),
        np.array([float(ordinal)]),
        "features.npy",
    )
    one = np.array([score], np.float32)
    return RankedClip(record, score, one, np.ones(1, np.float32))


def test_a_video_by_hand() -> None:
    clips = [ranked(1, 0, 0.1), ranked(2, 0, 0.3), ranked(1, 1, 0.4)]
    first, second = rank_videos(clips, temperature=0.3 / np.log(3))  # 0.3 apart: 3 to 1
    assert (first.video_id, first.path) == (1, Path("/v/1.mp4"))
    assert first.weights == pytest.approx([0.75, 0.25])
    assert [clip.record.ordinal for clip in first.clips] == [1, 0]
    assert first.score == pytest.approx(0.75 * 0.4 + 0.25 * 0.1)
    assert (second.score, second.weights.tolist()) == (0.3, [1.0])


scores = st.lists(st.tuples(st.integers(1, 4), st.floats(-1, 1, width=32)), min_size=1, max_size=20)


@given(scores, st.floats(0.001, 10))
def test_it_is_softmax_pooling_one_level_up(items, temperature) -> None:
    clips = [ranked(video, i, score) for i, (video, score) in enumerate(items)]
    pool = SoftmaxPool(temperature)
    for video in rank_videos(clips, temperature):
        # A clip that lies at angle arccos(score) to the question.
        own = np.array([clip.score for clip in video.clips])
        frames = np.stack([own, np.sqrt(1 - own**2)], 1)[np.newaxis].astype(np.float32)
        question = np.array([[1.0, 0.0]], np.float32)
        pooled, weights = pool(question, frames, np.ones((1, len(own)), bool))
        assert video.score == pytest.approx(float(pooled[0, 0, 0]), abs=1e-4)
        assert video.weights == pytest.approx(weights[0, 0], abs=1e-3)
        assert video.weights.sum() == pytest.approx(1, abs=1e-5)


@given(scores)
def test_a_low_temperature_ranks_by_the_best_clip(items) -> None:
    clips = [ranked(video, i, score) for i, (video, score) in enumerate(items)]
    found = rank_videos(clips, 1e-6)
    assert {video.video_id for video in found} == {video for video, _ in items}
    values = [video.score for video in found]
    assert values == sorted(values, reverse=True)
    for video in found:
        assert video.score == pytest.approx(video.clips[0].score, abs=1e-4)


def test_of_equals_the_one_indexed_first_is_first() -> None:
    found = rank_videos([ranked(3, 0, 0.5), ranked(1, 0, 0.5), ranked(2, 0, 0.5)])
    assert [video.video_id for video in found] == [1, 2, 3]


def test_no_clips_no_videos() -> None:
    assert rank_videos([]) == []


def test_a_temperature_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        rank_videos([], 0.0)
