"""Pooling: against float64 arithmetic, against torch's attention, and by its algebra."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsift.models.attention import POOLERS, MaxPool, MeanPool, Pooler, SoftmaxPool, pad_clips

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = rng.standard_normal(shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@st.composite
def ragged(draw):
    """Queries, frames and a mask with at least one frame a clip, not all at the front."""
    q, c, n, d = (draw(st.integers(1, most)) for most in (4, 5, 7, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.random((c, n)) < 0.6
    mask[np.arange(c), rng.integers(0, n, c)] = True
    return unit(rng, q, d), unit(rng, c, n, d), mask


def by_hand(queries, frames, mask, temperature):
    """Softmax pooling with loops in float64."""
    q, c = len(queries), len(frames)
    vectors = np.zeros((q, c, frames.shape[2]))
    weights = np.zeros((q, *mask.shape))
    for i in range(q):
        for j in range(c):
            similarities = frames[j].astype(float) @ queries[i].astype(float)
            scores = [np.exp(s / temperature) for s in similarities[mask[j]]]
            weights[i, j, mask[j]] = np.array(scores) / sum(scores)
            vectors[i, j] = weights[i, j] @ frames[j].astype(float)
    return vectors, weights


@settings(deadline=None)
@given(ragged(), st.sampled_from([0.01, 0.1, 1.0, 10.0]))
def test_softmax_pool_equals_plain_arithmetic(batch, temperature):
    vectors, weights = SoftmaxPool(temperature)(*batch)
    expected_vectors, expected_weights = by_hand(*batch, temperature)
    # Rounding of a similarity is magnified by 1 / temperature.
    np.testing.assert_allclose(
        weights, expected_weights, rtol=3e-5 / min(temperature, 1), atol=1e-6
    )
    np.testing.assert_allclose(vectors, expected_vectors, atol=3e-6 / min(temperature, 1))


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_softmax_pool_is_torchs_attention(temperature):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    queries, frames, mask = unit(rng, 6, 32), unit(rng, 5, 9, 32), rng.random((5, 9)) < 0.7
    mask[:, 0] = True
    vectors, _ = SoftmaxPool(temperature)(queries, frames, mask)
    keys = torch.from_numpy(frames)  # (c, n, d)
    theirs = torch.nn.functional.scaled_dot_product_attention(
        torch.from_numpy(queries).expand(5, -1, -1),
        keys,
        keys,
        attn_mask=torch.from_numpy(mask)[:, None].expand(-1, 6, -1),
        scale=1 / temperature,
    )  # (c, q, d)
    np.testing.assert_allclose(vectors, theirs.transpose(0, 1).numpy(), **TOLERANCE)


@pytest.mark.parametrize("pooler", [make() for make in POOLERS.values()])
class TestEveryPooler:
    @settings(deadline=None)
    @given(batch=ragged())
    def test_weights_sum_to_one_over_real_frames(self, pooler: Pooler, batch):
        _, weights = pooler(*batch)
        np.testing.assert_allclose(weights.sum(2), 1, **TOLERANCE)
        assert (weights >= 0).all()
        assert (weights[:, ~batch[2]] == 0).all()

    @settings(deadline=None)
    @given(batch=ragged())
    def test_the_vectors_product_with_the_query_is_the_weighted_similarity(self, pooler, batch):
        queries, frames, _ = batch
        vectors, weights = pooler(*batch)
        similarities = np.einsum("qd,cnd->qcn", queries, frames)
        expected = (weights * similarities).sum(2)
        np.testing.assert_allclose(np.einsum("qd,qcd->qc", queries, vectors), expected, atol=1e-5)

    @settings(deadline=None)
    @given(batch=ragged(), seed=st.integers(0, 99))
    def test_permuting_frames_permutes_weights(self, pooler: Pooler, batch, seed):
        queries, frames, mask = batch
        order = np.random.default_rng(seed).permutation(mask.shape[1])
        vectors, weights = pooler(queries, frames, mask)
        moved, moved_weights = pooler(queries, frames[:, order], mask[:, order])
        np.testing.assert_allclose(moved_weights, weights[:, :, order], **TOLERANCE)
        np.testing.assert_allclose(moved, vectors, **TOLERANCE)

    @settings(deadline=None)
    @given(batch=ragged())
    def test_equal_frames_weigh_the_same(self, pooler: Pooler, batch):
        queries, frames, mask = batch
        still = np.repeat(frames[:, :1], mask.shape[1], axis=1)
        vectors, weights = pooler(queries, still, mask)
        expected = np.broadcast_to(mask / mask.sum(1, keepdims=True), weights.shape)
        np.testing.assert_allclose(weights, expected, **TOLERANCE)
        np.testing.assert_allclose(vectors, np.broadcast_to(still[:, 0], vectors.shape), atol=1e-5)

    @settings(deadline=None)
    @given(batch=ragged(), junk=st.sampled_from([np.nan, np.inf, -1e30, 1e30]))
    def test_padding_never_leaks(self, pooler: Pooler, batch, junk):
        queries, frames, mask = batch
        dirty = np.where(mask[:, :, None], frames, np.float32(junk))
        for mine, expected in zip(
            pooler(queries, dirty, mask), pooler(queries, frames, mask), strict=True
        ):
            assert np.array_equal(mine, expected)

    def test_a_clip_without_frames_is_refused(self, pooler: Pooler):
        rng = np.random.default_rng(0)
        mask = np.array([[True, True], [False, False]])
        with pytest.raises(ValueError, match=r"clips \[1\]"):
            pooler(unit(rng, 1, 4), unit(rng, 2, 2, 4), mask)
        with pytest.raises(ValueError, match="needs a frame"):
            pooler(unit(rng, 1, 4), np.zeros((2, 0, 4), np.float32), np.zeros((2, 0), bool))

    def test_no_clips_and_no_queries_are_no_error(self, pooler: Pooler):
        rng = np.random.default_rng(0)
        vectors, weights = pooler(
            unit(rng, 2, 4), np.zeros((0, 3, 4), np.float32), np.zeros((0, 3), bool)
        )
        assert vectors.shape == (2, 0, 4)
        assert weights.shape == (2, 0, 3)
        vectors, weights = pooler(
            np.zeros((0, 4), np.float32), unit(rng, 2, 3, 4), np.ones((2, 3), bool)
        )
        assert vectors.shape == (0, 2, 4)


def test_temperature_goes_from_the_best_frame_to_the_mean():
    rng = np.random.default_rng(1)
    queries, frames = unit(rng, 3, 16), unit(rng, 4, 6, 16)
    mask = np.ones((4, 6), bool)
    best = np.einsum("qd,cnd->qcn", queries, frames).argmax(2)
    _, sharp = SoftmaxPool(1e-6)(queries, frames, mask)
    np.testing.assert_allclose(np.take_along_axis(sharp, best[..., None], 2), 1)
    for flat, mean in zip(
        SoftmaxPool(1e6)(queries, frames, mask), MeanPool()(queries, frames, mask), strict=True
    ):
        np.testing.assert_allclose(flat, mean, atol=1e-5)


def test_max_pool_takes_the_best_frame_and_shares_among_frames_that_tie_but_for_rounding():
    queries = np.array([[1.0, 0.0]], np.float32)
    frames = np.array([[[0.6, 0.8], [0.6 + 1e-7, -0.8], [0.5, 0.5]]], np.float32)
    assert frames[0, 0, 0] != frames[0, 1, 0]
    vectors, weights = MaxPool()(queries, frames, np.ones((1, 3), bool))
    assert weights.tolist() == [[[0.5, 0.5, 0.0]]]
    np.testing.assert_allclose(vectors, [[[0.6, 0.0]]], atol=1e-6)
    vectors, weights = MaxPool()(queries, frames, np.array([[False, False, True]]))
    assert weights.tolist() == [[[0.0, 0.0, 1.0]]]


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_is_positive(temperature):
    with pytest.raises(ValueError, match="positive"):
        SoftmaxPool(temperature)


def test_padding_clips_keeps_every_frame_in_its_place():
    rng = np.random.default_rng(2)
    clips = [unit(rng, length, 8).astype(np.float16) for length in (3, 1, 5)]
    frames, mask = pad_clips(clips)
    assert frames.dtype == np.float32
    assert mask.sum(1).tolist() == [3, 1, 5]
    for clip, row, present in zip(clips, frames, mask, strict=True):
        assert np.array_equal(row[present], clip)
    assert (frames[~mask] == 0).all()


@pytest.mark.parametrize("clips", [[], [np.zeros((0, 4), np.float32)]])
def test_padding_refuses_what_has_no_frames(clips):
    with pytest.raises(ValueError, match="needs a frame"):
        pad_clips(clips)
