"""The trained poolers: NumPy against torch, torch against its own attention, and their algebra."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsift.models.attention import Pooler, SoftmaxPool
from vidsift.models.attention_network import MultiHeadNetwork, network_of, pool_of
from vidsift.models.learned_attention import (
    LEARNED_POOLERS,
    AdditivePool,
    DotProductPool,
    MultiHeadPool,
    places,
)

DIMENSION = 12
KINDS = ["additive", "dot", "one head", "three heads", "positions"]


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = rng.standard_normal(shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def trained(kind: str, seed: int = 0, dimension: int = DIMENSION):
    """A pool whose every tensor is away from its start, as after training."""
    start = {
        "additive": lambda: AdditivePool.random(dimension, hidden=7),
        "dot": lambda: DotProductPool.identity(dimension),
        "one head": lambda: MultiHeadPool.identity(dimension),
        "three heads": lambda: MultiHeadPool.identity(dimension, heads=3),
        "positions": lambda: MultiHeadPool.identity(dimension, heads=2, positions=4),
    }[kind]()
    rng = np.random.default_rng(seed)
    tensors = {
        name: (tensor + 0.3 * rng.standard_normal(tensor.shape)).astype(np.float32)
        for name, tensor in start.tensors.items()
    }
    return dataclasses.replace(start, tensors=tensors)


@st.composite
def ragged(draw):
    """Queries, frames and a mask with at least one frame a clip, not all at the front."""
    q, c, n = (draw(st.integers(1, most)) for most in (4, 5, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.random((c, n)) < 0.6
    mask[np.arange(c), rng.integers(0, n, c)] = True
    return unit(rng, q, DIMENSION), unit(rng, c, n, DIMENSION), mask


def through_torch(network: torch.nn.Module, batch):
    with torch.inference_mode():
        vectors, weights = network.eval()(*map(torch.from_numpy, batch))
    return vectors.numpy(), weights.numpy()


@pytest.mark.parametrize("kind", KINDS)
class TestEveryLearnedPooler:
    @settings(deadline=None, max_examples=40)
    @given(batch=ragged(), seed=st.integers(0, 99))
    def test_numpy_is_torch(self, kind, batch, seed):
        pool = trained(kind, seed)
        for mine, theirs in zip(pool(*batch), through_torch(network_of(pool), batch), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)

    def test_numpy_is_torch_at_the_size_of_a_real_encoder(self, kind):
        pool = trained(kind, dimension=384)
        # Between the start and noise: 384 summands of 0.3 would saturate every softmax.
        pool = dataclasses.replace(pool, tensors={k: 0.3 * v for k, v in pool.tensors.items()})
        rng = np.random.default_rng(1)
        batch = unit(rng, 3, 384), unit(rng, 20, 12, 384), np.ones((20, 12), bool)
        for mine, theirs in zip(pool(*batch), through_torch(network_of(pool), batch), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)

    def test_a_network_gives_its_pool_back(self, kind):
        pool = trained(kind)
        back = pool_of(network_of(pool))
        assert type(back) is type(pool)
        assert back.tensors.keys() == pool.tensors.keys()
        assert all(np.array_equal(back.tensors[name], pool.tensors[name]) for name in pool.tensors)

    @settings(deadline=None)
    @given(batch=ragged())
    def test_vectors_are_unit_and_weights_sum_to_one_over_real_frames(self, kind, batch):
        vectors, weights = trained(kind)(*batch)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=2), 1, atol=1e-5)
        np.testing.assert_allclose(weights.sum(2), 1, atol=1e-5)
        assert (weights >= 0).all()
        assert (weights[:, ~batch[2]] == 0).all()

    @settings(deadline=None)
    @given(batch=ragged(), seed=st.integers(0, 99))
    def test_permuting_frames_permutes_weights(self, kind, batch, seed):
        if kind == "positions":
            pytest.skip("sees the order of frames, which has a test of its own")
        queries, frames, mask = batch
        order = np.random.default_rng(seed).permutation(mask.shape[1])
        pool = trained(kind)
        vectors, weights = pool(queries, frames, mask)
        moved, moved_weights = pool(queries, frames[:, order], mask[:, order])
        np.testing.assert_allclose(moved_weights, weights[:, :, order], atol=1e-5)
        np.testing.assert_allclose(moved, vectors, atol=1e-5)

    @settings(deadline=None)
    @given(batch=ragged())
    def test_equal_frames_are_mean_pooled(self, kind, batch):
        if kind == "positions":
            pytest.skip("equal frames differ by their places")
        queries, frames, mask = batch
        still = np.repeat(frames[:, :1], mask.shape[1], axis=1)
        pool = trained(kind)
        vectors, weights = pool(queries, still, mask)
        expected = np.broadcast_to(mask / mask.sum(1, keepdims=True), weights.shape)
        np.testing.assert_allclose(weights, expected, atol=1e-5)
        # The mean of equal frames is that frame.
        alone, _ = pool(queries, frames[:, :1], np.ones((len(frames), 1), bool))
        np.testing.assert_allclose(vectors, alone, atol=1e-5)

    @settings(deadline=None)
    @given(batch=ragged(), junk=st.sampled_from([np.nan, np.inf, -1e30, 1e30]))
    def test_padding_never_leaks(self, kind, batch, junk):
        queries, frames, mask = batch
        dirty = np.where(mask[:, :, None], frames, np.float32(junk))
        pool = trained(kind)
        for mine, expected in zip(
            pool(queries, dirty, mask), pool(queries, frames, mask), strict=True
        ):
            assert np.array_equal(mine, expected)
        network = network_of(pool)
        for mine, expected in zip(
            through_torch(network, (queries, dirty, mask)),
            through_torch(network, (queries, frames, mask)),
            strict=True,
        ):
            assert np.array_equal(mine, expected)

    def test_gradients_reach_every_parameter(self, kind):
        rng = np.random.default_rng(5)
        start = trained(kind)
        for pool in (start, start.identity(DIMENSION) if kind != "additive" else start):
            network = network_of(pool)
            mask = np.arange(6) < np.array([[6], [4], [5]])
            batch = (unit(rng, 3, DIMENSION), unit(rng, 3, 6, DIMENSION), mask)
            queries, frames, present = map(torch.from_numpy, batch)
            # NaN in padding must not reach a gradient either.
            frames[~present] = torch.nan
            vectors, _ = network(queries, frames, present)
            logits = torch.einsum("qd,qcd->qc", queries, vectors)
            torch.nn.functional.cross_entropy(10 * logits, torch.arange(3)).backward()
            for name, parameter in network.named_parameters():
                assert parameter.grad is not None, name
                assert torch.isfinite(parameter.grad).all(), name
                assert parameter.grad.abs().max() > 1e-6, name

    def test_a_clip_without_frames_is_refused(self, kind):
        rng = np.random.default_rng(0)
        mask = np.array([[True, True], [False, False]])
        with pytest.raises(ValueError, match=r"clips \[1\]"):
            trained(kind)(unit(rng, 1, DIMENSION), unit(rng, 2, 2, DIMENSION), mask)

    def test_no_clips_and_no_queries_are_no_error(self, kind):
        rng = np.random.default_rng(0)
        pool = trained(kind)
        empty = np.zeros((0, 3, DIMENSION), np.float32), np.zeros((0, 3), bool)
        vectors, weights = pool(unit(rng, 2, DIMENSION), *empty)
        assert (vectors.shape, weights.shape) == ((2, 0, DIMENSION), (2, 0, 3))
        none = np.zeros((0, DIMENSION), np.float32)
        vectors, _ = pool(none, unit(rng, 2, 3, DIMENSION), np.ones((2, 3), bool))
        assert vectors.shape == (0, 2, DIMENSION)

    def test_it_is_a_pooler(self, kind):
        assert isinstance(trained(kind), Pooler)


def centred(vectors: np.ndarray) -> np.ndarray:
    """What LayerNorm makes of vectors, but for the length sqrt(d)."""
    vectors = vectors - vectors.mean(-1, keepdims=True)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@settings(deadline=None)
@given(ragged())
def test_untrained_multi_head_is_softmax_pooling_at_its_implied_temperature(batch):
    queries, frames, mask = batch
    vectors, weights = MultiHeadPool.identity(DIMENSION)(queries, frames, mask)
    implied = SoftmaxPool(1 / np.sqrt(DIMENSION))
    expected, expected_weights = implied(centred(queries), centred(frames), mask)
    np.testing.assert_allclose(weights, expected_weights, atol=1e-5)
    expected /= np.linalg.norm(expected, axis=2, keepdims=True)
    np.testing.assert_allclose(vectors, expected, atol=2e-5)


@settings(deadline=None)
@given(ragged(), st.sampled_from([2, 3, 4]))
def test_each_untrained_head_is_softmax_pooling_in_its_own_coordinates(batch, heads):
    queries, frames, mask = batch
    vectors, weights = MultiHeadPool.identity(DIMENSION, heads)(queries, frames, mask)
    e = DIMENSION // heads
    implied = SoftmaxPool(float(np.sqrt(e)) / DIMENSION)
    parts = [
        implied(centred(queries)[:, part], centred(frames)[:, :, part], mask)
        for part in (slice(h * e, (h + 1) * e) for h in range(heads))
    ]
    np.testing.assert_allclose(weights, np.mean([w for _, w in parts], axis=0), atol=1e-5)
    expected = centred(np.concatenate([v for v, _ in parts], axis=2))
    np.testing.assert_allclose(vectors, expected, atol=2e-5)


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_untrained_dot_product_is_softmax_pooling(temperature):
    rng = np.random.default_rng(2)
    batch = unit(rng, 3, 8), unit(rng, 4, 5, 8), np.ones((4, 5), bool)
    vectors, weights = DotProductPool.identity(8, temperature)(*batch)
    expected, expected_weights = SoftmaxPool(temperature)(*batch)
    np.testing.assert_allclose(weights, expected_weights, atol=1e-5)
    expected /= np.linalg.norm(expected, axis=2, keepdims=True)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


@pytest.mark.parametrize("heads", [1, 2, 4, 6])
def test_heads_are_those_of_torchs_multi_head_attention(heads):
    """The same weights in `nn.MultiheadAttention`, between the same LayerNorms."""
    rng = np.random.default_rng(heads)
    pool = dataclasses.replace(trained("one head", heads), heads=heads)
    t = {name: torch.from_numpy(tensor) for name, tensor in pool.tensors.items()}
    theirs = torch.nn.MultiheadAttention(DIMENSION, heads, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": torch.cat([t["query.weight"], t["key.weight"], t["value.weight"]]),
            "in_proj_bias": torch.cat([t["query.bias"], torch.zeros(DIMENSION), t["value.bias"]]),
            "out_proj.weight": t["out.weight"],
            "out_proj.bias": t["out.bias"],
        }
    )
    mask = rng.random((5, 7)) < 0.6
    mask[:, 2] = True
    batch = unit(rng, 4, DIMENSION), unit(rng, 5, 7, DIMENSION), mask
    queries, frames, present = map(torch.from_numpy, batch)
    network = network_of(pool).eval()
    assert isinstance(network, MultiHeadNetwork)
    with torch.inference_mode():
        normal = network.norm_in(frames)
        attended, expected_weights = theirs.eval()(
            network.norm_in(queries).expand(5, -1, -1), normal, normal, key_padding_mask=~present
        )  # (c, q, d), (c, q, n)
        attended = network.norm_attended(attended)
        out = network.norm_out(attended + network.feed(attended))
        expected = torch.nn.functional.normalize(out, dim=-1)
    for vectors, weights in (pool(*batch), through_torch(network, batch)):
        np.testing.assert_allclose(weights, expected_weights.transpose(0, 1), atol=1e-5)
        np.testing.assert_allclose(vectors, expected.transpose(0, 1), atol=1e-5)


def test_only_a_positional_term_sees_the_order_of_frames():
    rng = np.random.default_rng(4)
    queries, frames, mask = (
        unit(rng, 2, DIMENSION),
        unit(rng, 3, 6, DIMENSION),
        np.ones((3, 6), bool),
    )
    blind, seeing = trained("three heads"), trained("positions")
    backwards = frames[:, ::-1].copy()
    np.testing.assert_allclose(
        blind(queries, backwards, mask)[0], blind(queries, frames, mask)[0], atol=1e-5
    )
    assert (
        np.abs(seeing(queries, backwards, mask)[0] - seeing(queries, frames, mask)[0]).max() > 0.01
    )


def test_a_place_is_that_among_the_frames_that_exist():
    rng = np.random.default_rng(6)
    pool = trained("positions")
    queries, frames = unit(rng, 2, DIMENSION), unit(rng, 1, 4, DIMENSION)
    gaps = np.zeros((1, 9), bool)
    gaps[0, [1, 4, 5, 8]] = True
    spread = np.full((1, 9, DIMENSION), np.nan, np.float32)
    spread[gaps] = frames[0]
    vectors, weights = pool(queries, spread, gaps)
    expected, expected_weights = pool(queries, frames, np.ones((1, 4), bool))
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_allclose(weights[:, gaps], expected_weights[:, 0], atol=1e-5)


def test_places_go_from_the_first_row_to_the_last():
    mask = np.array([[True, True, True], [True, False, False], [False, True, True]])
    shares = places(mask, 5)
    assert shares[0].tolist() == [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 1]]
    assert shares[1].tolist() == [[1, 0, 0, 0, 0], [0] * 5, [0] * 5]
    assert shares[2].tolist() == [[0] * 5, [1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]
    np.testing.assert_allclose(places(np.ones((1, 4), bool), 3)[0, 1], [1 / 3, 2 / 3, 0], atol=1e-6)


def test_dropout_acts_in_training_alone():
    rng = np.random.default_rng(8)
    pool = trained("one head")
    batch = [
        torch.from_numpy(unit(rng, 2, DIMENSION)),
        torch.from_numpy(unit(rng, 3, 4, DIMENSION)),
    ]
    batch.append(torch.ones((3, 4), dtype=torch.bool))
    network = network_of(pool, dropout=0.5)
    torch.manual_seed(0)
    assert not torch.equal(network.train()(*batch)[0], network.eval()(*batch)[0])
    assert torch.equal(network(*batch)[0], network(*batch)[0])


def test_tensors_that_do_not_fit_are_named():
    good = MultiHeadPool.identity(8, 2).tensors
    with pytest.raises(ValueError, match=r"query\.bias"):
        MultiHeadPool({**good, "query.bias": np.zeros(7, np.float32)}, 2)
    with pytest.raises(ValueError, match="extra"):
        MultiHeadPool({**good, "extra": np.zeros(7, np.float32)}, 2)
    with pytest.raises(ValueError, match=r"key\.weight"):
        DotProductPool({})
    with pytest.raises(ValueError, match="3 heads"):
        MultiHeadPool(good, 3)
    with pytest.raises(ValueError, match="no numbers"):
        DotProductPool({"key.weight": np.full((2, 2), np.nan), "log_scale": np.array(0.0)})
    assert set(LEARNED_POOLERS) == {"additive", "dot", "multi-head"}
