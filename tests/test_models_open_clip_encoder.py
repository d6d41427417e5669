"""open_clip's real loading path: a small model of its own saved as a local checkpoint."""

import json
import socket
import time
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from vidsift.errors import EncoderError
from vidsift.models.encoder import Encoder, list_encoders, open_encoder
from vidsift.models.open_clip_network import FrameNetwork

MODEL = "vidsift-test-tiny"
CONFIG = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {
        "context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2,
    },
}  # fmt: skip
TEXTS = ["a dog", "A man in a red jacket rides along the beach.", "snow " * 100]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    """A cache folder of the tests' own: their models are of no use to anybody."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDSIFT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("open_clip")
    (folder / f"{MODEL}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder / f"{MODEL}.json")
    torch.manual_seed(0)
    file = folder / "tiny.pt"
    torch.save(open_clip.create_model(MODEL).state_dict(), file)
    return file


@pytest.fixture(scope="module")
def encoder(checkpoint: Path):
    encoder = open_encoder(f"open_clip:{MODEL}/{checkpoint}", device="cpu", batch_size=4)
    yield encoder
    encoder.close()


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (6, 9, 11, 3), dtype=np.uint8)
    return coarse.repeat(11, axis=1).repeat(11, axis=2)  # (6, 99, 121, 3)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"asked the network: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def by_open_clip(checkpoint: Path, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features of the pictures and of TEXTS, by open_clip's own functions alone."""
    model, _, preprocess = open_clip.create_model_and_transforms(MODEL, pretrained=str(checkpoint))
    images = torch.stack([preprocess(Image.fromarray(picture)) for picture in pictures])
    with torch.inference_mode():
        frames = model.eval().encode_image(images, normalize=True)
        texts = model.encode_text(open_clip.get_tokenizer(MODEL)(TEXTS), normalize=True)
    return frames.numpy(), texts.numpy()


def test_features_equal_open_clips_own_on_the_cpu(encoder: Encoder, checkpoint, pictures):
    frames, texts = by_open_clip(checkpoint, pictures)
    assert encoder.stamp.dimension == 64
    assert (encoder.encode_frames(pictures) * frames).sum(1).min() > 0.999
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), texts, atol=2e-5)


@pytest.mark.cuda
def test_features_equal_open_clips_own_on_cuda(checkpoint, pictures):
    encoder = open_encoder(f"open_clip:{MODEL}/{checkpoint}", device="cuda")
    frames, texts = by_open_clip(checkpoint, pictures)
    assert (encoder.encode_frames(pictures) * frames).sum(1).min() > 0.999
    assert (encoder.encode_texts(TEXTS) * texts).sum(1).min() > 0.999


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(99, 121), (121, 99), (64, 113), (33, 200), (65, 64), (40, 40)])
def test_preprocessing_equals_open_clips_own(mode, interpolation, size):
    from vidsift.models.open_clip_encoder import _preprocessing

    rng = np.random.default_rng(sum(size))
    picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    cfg = open_clip.transform.PreprocessCfg(
        size=64, resize_mode=mode, interpolation=interpolation, mean=(0.3, 0.4, 0.5)
    )
    expected = open_clip.transform.image_transform_v2(cfg, is_train=False)(Image.fromarray(picture))
    geometry, mean, std = _preprocessing(vars(cfg))
    square = torch.from_numpy(geometry.apply(picture[None]).copy()).permute(0, 3, 1, 2) / 255
    ours = (square[0] - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


def test_the_network_normalises_as_the_configuration_says(checkpoint: Path):
    model = open_clip.create_model(
        MODEL, force_preprocess_cfg={"mean": 0.5, "std": (0.1, 0.2, 0.3)}
    )
    seen = {}
    model.encode_image = lambda pixels: seen.setdefault("pixels", pixels).mean((2, 3))
    FrameNetwork(model)(torch.full((1, 64, 64, 3), 255, dtype=torch.uint8))
    torch.testing.assert_close(seen["pixels"][0, :, 0, 0], 0.5 / torch.tensor([0.1, 0.2, 0.3]))


def test_a_folder_with_its_configuration(checkpoint: Path, tmp_path: Path, no_network, pictures):
    config = {"model_cfg": CONFIG, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(checkpoint.read_bytes())
    folder = open_encoder(f"open_clip:local-dir:{tmp_path}", device="cpu")
    assert folder.encode_frames(pictures).shape == (6, 64)
    assert "mean (0.5, 0.5, 0.5)" in folder.stamp.preprocessing
    (tmp_path / "open_clip_config.json").unlink()
    with pytest.raises(EncoderError, match=r"needs open_clip_config\.json"):
        open_encoder(f"open_clip:local-dir:{tmp_path}", device="cpu")


def test_a_query_of_other_weights_has_another_stamp(encoder: Encoder, tmp_path: Path):
    torch.manual_seed(1)
    torch.save(open_clip.create_model(MODEL).state_dict(), tmp_path / "other.pt")
    other = open_encoder(f"open_clip:{MODEL}/{tmp_path / 'other.pt'}", device="cpu")
    assert other.stamp.weights_sha256 != encoder.stamp.weights_sha256
    assert not np.allclose(other.encode_texts(TEXTS), encoder.encode_texts(TEXTS), atol=0.01)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "open_clip:ViT-B-32/laion2b_s34b_b79k",
            r"fetch them with `vidsift encoders --fetch .*copy",
        ),
        (
            "open_clip:ViT-B-32/openai",
            r"fetch them with `vidsift encoders --fetch .*copy",
        ),
        ("open_clip:hf-hub:no-such-org/no-such-model", "not on this machine"),
        ("open_clip:hf-hub:a/b/c", "hf-hub:ORG/NAME"),
        (
            "open_clip:ViT-B-32/no-such-tag",
            "neither a checkpoint file nor a tag.*laion2b_s34b_b79k",
        ),
        ("open_clip:ViT-B-32", "neither a checkpoint file nor a tag"),
        ("open_clip:no-such-model/openai", "no model 'no-such-model'"),
        ("open_clip:", "needs a model: write open_clip:MODEL/PRETRAINED"),
        ("open_clop:ViT-B-32/openai", "unknown; known are builtin, open_clip:MODEL/PRETRAINED"),
    ],
)
def test_what_is_not_here_is_one_clear_error_at_once(
    name, message, no_network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(EncoderError, match=message) as caught:
        open_encoder(name, device="cpu")
    assert time.monotonic() - started < 5
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_model_is_refused(checkpoint: Path, tmp_path: Path):
    weights = torch.load(checkpoint, weights_only=True)
    weights["text_projection"] = torch.zeros(64, 32)
    torch.save(weights, tmp_path / "wrong.pt")
    with pytest.raises(EncoderError, match=r"cannot be loaded from .*wrong\.pt"):
        open_encoder(f"open_clip:{MODEL}/{tmp_path / 'wrong.pt'}", device="cpu")


class Boom:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


@pytest.mark.parametrize("content", [b"", b"e", b"hello world"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes):
    file = tmp_path / "wrong.pt"
    file.write_bytes(content)
    with pytest.raises(EncoderError, match=r"wrong\.pt \(it holds something else\)"):
        open_encoder(f"open_clip:{MODEL}/{file}", device="cpu")


def test_a_checkpoint_that_carries_code_is_not_run(tmp_path: Path, monkeypatch, checkpoint: Path):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Boom()}, tmp_path / "boom.pt")
    with pytest.raises(EncoderError, match="tensors alone, and code in it is not run"):
        open_encoder(f"open_clip:{MODEL}/{tmp_path / 'boom.pt'}", device="cpu")
    assert not (tmp_path / "executed").exists()


def test_encoders_are_listed_with_what_they_lack(no_network, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    statuses = {status.name: status for status in list_encoders(device="cpu")}
    assert statuses["builtin"].available
    assert statuses["builtin"].runtime == "OpenVINO on CPU"
    absent = statuses["open_clip:ViT-B-32/laion2b_s34b_b79k"]
    assert not absent.available
    assert f"vidsift encoders --fetch {absent.name}" in absent.remedy
