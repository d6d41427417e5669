"""Exact scores against the poolers' own pooled vectors, and the matrix against its catalog."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.exact import FrameMatrix, frame_matrix, frames_of_videos, is_small, is_training_free
from vidsift.library import Library
from vidsift.models.attention import MaxPool, MeanPool, Pooler, SoftmaxPool, pad_clips
from vidsift.types import (
    Clip,
    ClipVectors,
    Fingerprint,
    FrameFeatures,
    IndexedVideo,
    Shot,
    Span,
    Summary,
    VideoProbe,
)


def unit(random: np.random.Generator, *shape: int) -> np.ndarray:
    drawn = random.standard_normal(shape) + 0.5  # cosines of both signs, mostly positive
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(np.float32)


def matrix_of(clips: list[np.ndarray], videos: list[int] | None = None) -> FrameMatrix:
    lengths = np.array([len(clip) for clip in clips])
    return FrameMatrix(
        np.concatenate(clips),
        np.cumsum(lengths) - lengths,
        lengths,
        np.arange(1, len(clips) + 1),
        np.array(videos or [1] * len(clips)),
    )


POOLERS = [MeanPool(), MaxPool(), *(SoftmaxPool(t) for t in (0.005, 0.1, 3.0))]


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=8),
    st.integers(1, 3),
    st.sampled_from(POOLERS),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_scores_are_those_of_the_pooled_vectors(
    lengths: list[int], m: int, pooler: Pooler, normalised: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    clips = [unit(random, n, 5) for n in lengths]
    queries = unit(random, m, 5)
    pooled, _ = pooler(queries, *pad_clips(clips))  # (m, c, d)
    if normalised:
        pooled = pooled / np.linalg.norm(pooled, axis=2, keepdims=True)
    wanted = np.einsum("md,mcd->mc", queries, pooled)
    found = matrix_of(clips).scores(queries, pooler, normalised=normalised)
    np.testing.assert_allclose(found, wanted, atol=2e-4 if normalised else 1e-5)


@given(st.data(), st.booleans())
def test_chosen_clips_score_as_among_all(data: st.DataObject, normalised: bool) -> None:
    lengths = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=9))
    chosen = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)))
    )
    random = np.random.default_rng(len(lengths))
    matrix = matrix_of([unit(random, n, 5) for n in lengths])
    queries = unit(random, 2, 5)
    every = matrix.scores(queries, SoftmaxPool(0.1), normalised=normalised)
    some = matrix.scores(queries, SoftmaxPool(0.1), chosen, normalised=normalised)
    np.testing.assert_allclose(some, every[:, chosen], atol=1e-6)


def test_clips_of_videos() -> None:
    matrix = matrix_of([unit(np.random.default_rng(0), 2, 5)] * 4, videos=[3, 1, 3, 7])
    assert matrix.clips_of(frozenset({3, 8})).tolist() == [True, False, True, False]
    assert not matrix.clips_of(frozenset()).any()


def test_a_learned_pooler_is_refused() -> None:
    class Learned:
        def __call__(self, queries, frames, mask):
            raise AssertionError("not asked")

    assert not is_training_free(Learned())
    with pytest.raises(TypeError, match="Learned"):
        matrix_of([np.eye(2, 3, dtype=np.float32)]).scores(
            np.eye(1, 3, dtype=np.float32), Learned()
        )


def add_video(library: Library, number: int, lengths: list[int], gap: int = 0) -> np.ndarray:
    """Commit a video of three-dimensional frames, with `gap` frames between clips; its frames."""
    firsts = [sum(lengths[:i]) + gap * i for i in range(len(lengths))]
    total = firsts[-1] + lengths[-1]
    features = unit(np.random.default_rng(number), total, 3).astype(np.float16)
    pts = np.arange(total, dtype=np.float64)
    clips = tuple(
        Clip(Span(float(a), float(a + n)), 0, a, n) for a, n in zip(firsts, lengths, strict=True)
    )
    probe = VideoProbe(
        Path(f"/v/{number}.mp4"), "mp4", "h264", "yuv420p", 8, 8, 0, Fraction(1), 1.0, 0.0,
        False, False,
    )  # fmt: skip
    video = IndexedVideo(
        probe,
        Fingerprint(1, 1, f"{number:064x}"),
        float(total),
        (Shot(Span(0.0, float(total))),),
        clips,
        FrameFeatures(features, pts),
        tuple(ClipVectors(features[a : a + 1].astype(np.float32)) for a in firsts),
        (b"",) * len(clips),
        Summary("", (), 1.0),
    )
    name = f"{number}.npy"
    library.catalog.set_stamp(library.encoder.stamp)
    library.catalog.commit_video(video, name, library.features.write(name, features))
    rows = [np.arange(a, a + n) for a, n in zip(firsts, lengths, strict=True)]
    return features[np.concatenate(rows)].astype(np.float32)


def test_the_matrix_follows_its_catalog(colour_library: Library) -> None:
    library = colour_library
    assert len(frame_matrix(library)) == 0
    frames = [add_video(library, 1, [2, 3]), add_video(library, 2, [1, 4], gap=2)]
    first = frame_matrix(library)
    assert np.array_equal(first.rows, np.concatenate(frames))
    assert first.lengths.tolist() == [2, 3, 1, 4]
    assert first.starts.tolist() == [0, 2, 5, 6]
    assert frame_matrix(library) is first
    kept = first.rows.copy()

    frames += [add_video(library, number, [3]) for number in (3, 4, 5)]
    second = frame_matrix(library)
    assert np.array_equal(second.rows, np.concatenate(frames))
    assert np.array_equal(second.frames(4), frames[2])
    assert np.array_equal(first.rows, kept)  # whoever still holds the old one can go on

    library.catalog.delete_video(int(second.video_ids[0]))
    third = frame_matrix(library)
    assert np.array_equal(third.rows, np.concatenate(frames[1:]))
    clips = library.catalog.clips(third.clip_ids)
    assert [clips[int(clip)].clip.num_frames for clip in third.clip_ids] == [1, 4, 3, 3, 3]
    assert [clips[int(clip)].video_id for clip in third.clip_ids] == third.video_ids.tolist()


def test_added_videos_are_appended_not_read_again(
    colour_library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_video(colour_library, 1, [2])
    frame_matrix(colour_library)
    read = []
    plain = colour_library.features.read
    monkeypatch.setattr(
        colour_library.features, "read", lambda *args: read.append(args[0]) or plain(*args)
    )
    add_video(colour_library, 2, [2])
    assert len(frame_matrix(colour_library)) == 2
    assert read == ["2.npy"]


def test_frames_of_some_videos(colour_library: Library) -> None:
    frames = [add_video(colour_library, number, [2, 1]) for number in (1, 2, 3)]
    ids = [video.id for video in colour_library.catalog.videos()]
    some = frames_of_videos(colour_library, frozenset(ids[1:]))
    assert np.array_equal(some.rows, np.concatenate(frames[1:]))
    assert frames_of_videos(colour_library, frozenset(ids[1:])) is some
    assert len(frames_of_videos(colour_library, frozenset({999}))) == 0
    colour_library.catalog.delete_video(ids[1])
    assert np.array_equal(frames_of_videos(colour_library, frozenset(ids[1:])).rows, frames[2])


def test_damaged_features_are_left_out_by_name(
    colour_library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    add_video(colour_library, 1, [2])
    whole = add_video(colour_library, 2, [2, 2])
    (colour_library.root / "features" / "1.npy").unlink()
    colour_library.features.close()
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(frame_matrix(colour_library).rows, whole)
    assert "/v/1.mp4 is not searched" in caplog.text


@pytest.mark.parametrize(("most", "small"), [(0, False), (4, False), (5, True)])
def test_what_is_small(tmp_path: Path, colour_encoder, most: int, small: bool) -> None:
    root = tmp_path / "small"
    with Library.open(root, create=True, encoder="colour", exact_clips=most) as library:
        library.__dict__["encoder"] = colour_encoder
        add_video(library, 1, [1, 1, 1])
        add_video(library, 2, [1, 1])
        assert is_small(library) == small
        video = library.catalog.videos()[1].id
        assert is_small(library, frozenset({video})) == (most > 0)
        add_video(library, 3, [200])
        assert not is_small(library, frozenset({video + 1}))  # one clip, but too many frames
