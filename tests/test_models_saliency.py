"""The trained saliency: what it computes, and the file that it is kept in."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from vidsift.errors import SaliencyModelError
from vidsift.models.learned_saliency import open_saliency
from vidsift.models.saliency_attention import SaliencyModel
from vidsift.models.saliency_checkpoint import (
    SaliencyCheckpoint,
    h5_stamp,
    read_saliency,
    write_saliency,
)
from vidsift.models.saliency_network import SaliencyNetwork, model_of
from vidsift.types import EncoderStamp

DIMENSION = 12


def network(dimension: int = DIMENSION, width: int = 16) -> SaliencyNetwork:
    torch.manual_seed(3)
    return SaliencyNetwork(dimension, width, heads=4, window=8).eval()


def frames(count: int, dimension: int = DIMENSION) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    features = rng.standard_normal((count, dimension)).astype(np.float32)
    return features, np.cumsum(rng.uniform(0.1, 2, count))


@pytest.mark.parametrize("count", [1, 7, 8, 9, 100])
def test_numpy_and_torch_agree(count, monkeypatch):
    # A few queries a block, as a film of hours has them.
    monkeypatch.setattr("vidsift.models.saliency_attention._BLOCK_BYTES", 4 * count * 3)
    features, seconds = frames(count)
    with torch.inference_mode():
        logits = network()(torch.from_numpy(features), torch.from_numpy(seconds))
    expected = torch.sigmoid(logits).numpy()
    scores = model_of(network()).scores(features, seconds)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert 0 < scores.min() <= scores.max() < 1


def test_length_of_features_and_padding_frames_do_not_matter():
    features, seconds = frames(20)
    model = model_of(network())
    np.testing.assert_allclose(
        model.scores(7 * features, seconds), model.scores(features, seconds), atol=1e-6
    )
    features[4] = 0
    assert np.isfinite(model.scores(features, seconds)).all()
    assert model.scores(features[:0], seconds[:0]).shape == (0,)


def test_a_frame_is_judged_by_all_the_others():
    features, seconds = frames(40)
    model = model_of(network())
    before = model.scores(features, seconds)
    features[39] *= -1
    after = model.scores(features, seconds)
    # Frame 0 is in another window than 39: it learns of the change by attention to all.
    assert abs(after[0] - before[0]) > 1e-5
    assert np.abs(model.scores(features, seconds + 3) - after).max() > 1e-3  # and time counts


@pytest.mark.slow
def test_hours_take_little_memory():
    model = model_of(network(384, 128))
    features, _ = frames(10_000, 384)
    tracemalloc.start()
    try:
        scores = model.scores(features, np.arange(10_000) / 2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert scores.shape == (10_000,)
    assert peak < 250 << 20  # all pairs of frames would be 381 MiB


def checkpoint(stamp: EncoderStamp) -> SaliencyCheckpoint:
    return SaliencyCheckpoint(model_of(network()), stamp, {"kendall": 0.25})


BUILTIN = EncoderStamp("builtin", "a" * 64, DIMENSION, "p")


def test_a_checkpoint_comes_back_as_it_was_written(tmp_path):
    file = tmp_path / "saliency" / "mine.safetensors"
    write_saliency(file, checkpoint(BUILTIN))
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    found = read_saliency(file)
    assert (found.stamp, found.figures) == (BUILTIN, {"kendall": 0.25})
    features, seconds = frames(10)
    expected = model_of(network()).scores(features, seconds)
    for name in (str(file), "mine", "mine.safetensors"):
        model = open_saliency(name, BUILTIN, tmp_path / "saliency")
        assert isinstance(model, SaliencyModel)
        np.testing.assert_array_equal(model.scores(features, seconds), expected)


@pytest.mark.parametrize(
    ("trained", "asked", "words"),
    [
        (BUILTIN, EncoderStamp("other", "a" * 64, DIMENSION, "p"), ["'builtin'", "'other'"]),
        (BUILTIN, EncoderStamp("builtin", "b" * 64, DIMENSION, "p"), ["another version"]),
        (BUILTIN, h5_stamp(DIMENSION), ["'builtin'", "12 dimensions from an h5"]),
        (h5_stamp(DIMENSION), h5_stamp(1024), ["12 dimensions", "1024 dimensions"]),
        (h5_stamp(DIMENSION), BUILTIN, ["h5", "'builtin'", "--videos"]),
    ],
)
def test_a_checkpoint_serves_only_the_features_it_was_trained_on(tmp_path, trained, asked, words):
    file = tmp_path / "mine.safetensors"
    write_saliency(file, checkpoint(trained))
    with pytest.raises(SaliencyModelError) as caught:
        open_saliency(str(file), asked)
    for word in (*words, str(file), "vidsift train saliency"):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mistakes_are_one_clear_line(tmp_path):
    write_saliency(tmp_path / "mine.safetensors", checkpoint(BUILTIN))
    with pytest.raises(SaliencyModelError, match=r"'yours' is unknown.*known are mine"):
        open_saliency("yours", BUILTIN, tmp_path)
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    with pytest.raises(SaliencyModelError, match="no safetensors file, or damaged"):
        open_saliency("broken", BUILTIN, tmp_path)
    whole = (tmp_path / "mine.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    with pytest.raises(SaliencyModelError, match="no safetensors file, or damaged"):
        open_saliency("cut", BUILTIN, tmp_path)
    other = whole.replace(b'\\"saliency\\"', b'\\"salience\\"')
    (tmp_path / "other.safetensors").write_bytes(other)
    with pytest.raises(SaliencyModelError, match="is no saliency that vidsift trained"):
        open_saliency("other", BUILTIN, tmp_path)
    with pytest.raises(SaliencyModelError, match="cannot be written"):
        write_saliency(tmp_path / "mine.safetensors" / "x", checkpoint(BUILTIN))


def test_tensors_that_do_not_fit_are_refused():
    tensors = dict(model_of(network()).tensors)
    with pytest.raises(ValueError, match=r"of another shape: score\.bias"):
        SaliencyModel({**tensors, "score.bias": np.zeros(2, np.float32)}, 4, 8)
    with pytest.raises(ValueError, match=r"absent.*hidden\.weight"):
        SaliencyModel({k: v for k, v in tensors.items() if k != "hidden.weight"}, 4, 8)
    with pytest.raises(ValueError, match="3 heads"):
        SaliencyModel(tensors, 3, 8)
    with pytest.raises(ValueError, match="no numbers"):
        SaliencyModel({**tensors, "score.bias": np.full(1, np.nan, np.float32)}, 4, 8)
