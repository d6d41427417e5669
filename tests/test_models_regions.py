"""The spatial level: what regions say, what adds up to the frame's score, and where it lies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
from torch.nn import functional

from vidsift.errors import EncoderError
from vidsift.models.attention import MeanPool, SoftmaxPool
from vidsift.models.builtin_network import FrameNetwork
from vidsift.models.builtin_regions import HeatNetwork, RegionNetwork
from vidsift.models.encoder import Encoder, open_encoder, with_regions
from vidsift.models.geometry import Geometry
from vidsift.models.open_clip_network import FrameNetwork as OpenClipFrames
from vidsift.models.open_clip_regions import RegionNetwork as OpenClipRegions
from vidsift.models.projection import Projection
from vidsift.models.regions import HeatMap, pool_regions
from vidsift.types import TextQuery

# --- attention over the regions of a frame


def _coloured(left: tuple[int, int, int], right: tuple[int, int, int]) -> np.ndarray:
    image = np.empty((1, 64, 64, 3), np.uint8)
    image[:, :, :32], image[:, :, 32:] = left, right
    return image


RED, BLUE, GREY = (250, 0, 0), (0, 0, 250), (120, 120, 120)


def test_spatial_attention_finds_what_the_mean_of_a_frame_hides(colour_encoder):
    """Of a frame that is half red and half grey the pooled feature is redder than the frame's."""
    frames = np.concatenate([_coloured(RED, GREY), _coloured(GREY, BLUE), _coloured(GREY, GREY)])
    regions = colour_encoder.encode_regions(frames)
    queries = colour_encoder.encode_texts(["red", "blue"])
    vectors, weights = pool_regions(SoftmaxPool(0.1), queries, regions)
    assert vectors.shape == (2, 3, 3)
    assert weights.shape == (2, 3, *regions.shape[1:3])
    np.testing.assert_allclose(weights.sum((2, 3)), 1, atol=1e-6)
    assert weights[0, 0, :, :2].sum() > 0.95, "red is on the left of the first frame"
    assert weights[1, 1, :, 2:].sum() > 0.95, "blue is on the right of the second"
    np.testing.assert_allclose(weights[:, 2], 1 / 16, atol=1e-5)
    scores = np.einsum("qnd,qd->qn", vectors, queries)
    assert scores[0].argmax() == 0
    assert scores[1].argmax() == 1
    whole = colour_encoder.encode_frames(frames) @ queries.T  # (n, q)
    assert scores[0, 0] > whole[0, 0] + 0.05


def test_regions_are_pooled_as_frames_are():
    rng = np.random.default_rng(3)
    regions = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    queries = rng.normal(size=(1, 5)).astype(np.float32)
    mean, _ = pool_regions(MeanPool(), queries, regions)
    np.testing.assert_allclose(mean[0], regions.mean((1, 2)), atol=1e-6)
    vectors, weights = pool_regions(SoftmaxPool(), queries, regions)
    turned, turned_weights = pool_regions(SoftmaxPool(), queries, regions[:, ::-1, ::-1].copy())
    np.testing.assert_allclose(turned, vectors, atol=1e-6)
    np.testing.assert_allclose(turned_weights[:, :, ::-1, ::-1], weights, atol=1e-6)


# --- where the regions of a frame lie


@pytest.mark.parametrize(
    ("geometry", "size", "covered"),
    [
        (Geometry(100, 80), (200, 200), (0.1, 0.1, 0.9, 0.9)),
        (Geometry(100, 100), (100, 400), (0.375, 0.0, 0.625, 1.0)),
        (Geometry(100, 100, "squash"), (50, 400), (0.0, 0.0, 1.0, 1.0)),
        (Geometry(100, 100, "longest"), (50, 100), (0.0, -0.5, 1.0, 1.5)),
    ],
)
def test_what_of_a_frame_is_covered(geometry, size, covered):
    assert geometry.covered(*size) == pytest.approx(covered)


def test_a_map_lies_over_the_part_that_is_covered():
    values = np.array([[0, 1], [2, 3]], np.float32)
    whole = HeatMap(values, Geometry(100, 100).covered(100, 400), exact=False).over(20, 80)
    assert np.isnan(whole[:, :30]).all()
    assert np.isnan(whole[:, 50:]).all()
    seen = whole[:, 30:50]
    assert seen[0, 0] < seen[0, -1] < seen[-1, 0] < seen[-1, -1]
    padded = HeatMap(values, Geometry(100, 100, "longest").covered(50, 100), exact=False)
    assert not np.isnan(padded.over(50, 100)).any()


# --- the built-in encoder's exact shares


@pytest.fixture(scope="module")
def small() -> FrameNetwork:
    """The built-in network's shape with weights of chance: what adds up does so for any weights."""
    torch.manual_seed(5)
    classifier = timm.create_model("tf_efficientnet_lite0", num_classes=30)
    torch.nn.init.normal_(classifier.classifier.weight, std=0.5)
    torch.nn.init.normal_(classifier.classifier.bias, std=0.5)
    classes = torch.randn(30, 12)
    return FrameNetwork(classifier, classes - classes.mean(0)).eval()


@pytest.fixture(scope="module")
def projected(small: FrameNetwork) -> FrameNetwork:
    """The same with a projection."""
    rng = np.random.default_rng(4)
    parts = (rng.normal(size=shape).astype(np.float32) for shape in ((30,), (30, 5), (5, 12)))
    return FrameNetwork(small.classifier, small.classes, Projection(*parts, networks="")).eval()


@pytest.fixture(scope="module")
def squares() -> torch.Tensor:
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    return torch.from_numpy(coarse.repeat(24, axis=1).repeat(24, axis=2))


def test_the_logits_are_a_sum_over_the_regions(small: FrameNetwork, squares):
    classifier = small.classifier
    with torch.inference_mode():
        maps = classifier.forward_features(small.pixels(squares))
        by_region = classifier.classifier(maps.permute(0, 2, 3, 1))  # with the bias each time
        logits = classifier(small.pixels(squares))
    torch.testing.assert_close(by_region.mean((1, 2)), logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("network", ["small", "projected"])
def test_the_shares_of_the_regions_add_up_to_the_score(network, squares, request):
    small = request.getfixturevalue(network)
    queries = functional.normalize(torch.randn(3, 12), dim=-1)
    with torch.inference_mode():
        baseline, *shares = HeatNetwork(small).eval()(squares, queries).T
        scores = functional.cosine_similarity(small(squares), queries)
        nothing = functional.cosine_similarity(
            small.embed(small.classifier.classifier.bias)[None], queries
        )
    assert len(shares) == 9
    torch.testing.assert_close(baseline, nothing)
    torch.testing.assert_close(baseline + torch.stack(shares).sum(0), scores, atol=1e-3, rtol=0)
    assert (scores - baseline).abs().max() > 0.05, "there is something to share out"


@pytest.mark.parametrize("network", ["small", "projected"])
def test_the_gradient_in_closed_form_is_that_of_torch(network, request):
    small = request.getfixturevalue(network)
    queries = functional.normalize(torch.randn(2, 12), dim=-1)
    logits = torch.randn(4, 2, 30, requires_grad=True)
    functional.cosine_similarity(small.embed(logits), queries, dim=-1).sum().backward()
    with torch.inference_mode():
        ours = HeatNetwork(small).gradient(logits.detach(), queries)
    torch.testing.assert_close(ours, logits.grad, atol=1e-6, rtol=1e-4)


def test_a_region_is_a_picture_that_shows_it_alone(small: FrameNetwork, squares):
    with torch.inference_mode():
        regions = RegionNetwork(small)(squares)
        maps = small.classifier.forward_features(small.pixels(squares))
        alone = small.embed(small.classifier.forward_head(maps[:, :, 1:2, 2:3]))
    torch.testing.assert_close(regions[:, 1, 2], alone, atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def builtin():
    encoder = open_encoder("builtin", device="cpu")
    yield encoder
    encoder.close()


def _beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two photographs as the halves of one square, as tall as the encoder takes them."""
    from PIL import Image

    halves = [Image.fromarray(photo).resize((146, 292)) for photo in (left, right)]
    return np.concatenate([np.asarray(half) for half in halves], axis=1)


@pytest.mark.slow
def test_the_built_in_encoder_points_to_what_was_asked_for(builtin: Encoder):
    """Real weights, real photographs, two subjects side by side: heat lies on the right one."""
    from skimage import data

    photos = {
        "a cat": data.chelsea()[:300, 100:300],
        "a cup of coffee": data.coffee()[50:400, 150:450],
        "a rocket on its launch pad": data.rocket()[:400, 220:420],
    }
    queries = {text: builtin.encode_texts([text])[0] for text in photos}
    for left in photos:
        for right in photos:
            if left == right:
                continue
            frame = _beside(photos[left], photos[right])
            for text, half in ((left, slice(0, 4)), (right, slice(5, 9))):
                heat = builtin.heat_map(frame, queries[text])
                assert heat.exact
                other = slice(5, 9) if half.start == 0 else slice(0, 4)
                assert heat.values[:, half].mean() > heat.values[:, other].mean(), (left, right)
            _, weights = pool_regions(
                SoftmaxPool(0.1), queries[left][None], builtin.encode_regions(frame[None])
            )
            assert weights[0, 0, :, :4].sum() > 0.6, (left, right)


@pytest.mark.slow
def test_the_built_in_encoders_shares_add_up_on_real_photographs(builtin: Encoder):
    from skimage import data

    for photo, text in ((data.chelsea(), "a cat"), (data.astronaut(), "a woman in a space suit")):
        query = builtin.encode_texts([text])[0]
        heat = builtin.heat_map(photo, query)
        assert heat.values.shape == (9, 9)
        # The frame's own feature may be computed in bf16.
        score = float((builtin.encode_frames(photo[None]) @ query)[0])
        assert heat.baseline + heat.values.sum() == pytest.approx(score, abs=0.02)


# --- towers of open_clip, small and with weights of chance

_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
_TOWERS = {
    "vit": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "vit-avg": {
        "image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16,
        "pool_type": "avg", "final_ln_after_pool": True,
    },
    "resnet": {"image_size": 128, "layers": [1, 1, 1, 1], "width": 16},
    "timm-map": {
        "image_size": 224, "timm_model_name": "vit_tiny_patch16_224", "timm_pool": "map",
        "timm_proj": "none",
    },
    "timm-tok": {
        "image_size": 224, "timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token",
        "timm_proj": "linear",
    },
    "timm-avg": {
        "image_size": 128, "timm_model_name": "tf_efficientnet_lite0", "timm_pool": "avg",
        "timm_proj": "linear",
    },
}  # fmt: skip


def _tower(folder: Path, kind: str) -> OpenClipFrames:
    name = f"vidsift-test-{kind}"
    dimension = 192 if kind == "timm-map" else 48
    config = {"embed_dim": dimension, "vision_cfg": _TOWERS[kind], "text_cfg": _TEXT}
    (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{name}.json")
    torch.manual_seed(2)
    model = open_clip.create_model(name).eval()
    for module in model.visual.modules():  # a ResNet of open_clip begins as nothing but shortcuts
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    return OpenClipFrames(model).eval()


@pytest.mark.parametrize("kind", _TOWERS)
def test_regions_of_open_clips_towers_lie_where_they_are(kind: str, tmp_path: Path):
    """Regions of one half of a two-coloured picture are alike, and unlike those of the other."""
    frames = _tower(tmp_path, kind)
    side = frames.preprocess["size"]
    side = side if isinstance(side, int) else side[0]
    picture = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    picture[:, :, : side // 2] = torch.tensor(RED, dtype=torch.uint8)
    picture[:, :, side // 2 :] = torch.tensor(BLUE, dtype=torch.uint8)
    with torch.inference_mode():
        regions = OpenClipRegions(frames, kind)(picture)
        rows = 14 if side == 224 else 4
        assert regions.shape == (1, rows, rows, frames(picture).shape[1])
        unit = functional.normalize(regions[0] - regions[0].mean((0, 1)), dim=-1)
    left, right = unit[:, 0], unit[:, -1]
    assert (left @ left.T).mean() > (left @ right.T).mean() + 0.3
    assert (right @ right.T).mean() > (left @ right.T).mean() + 0.3


def test_regions_of_a_linear_head_average_to_the_frame(tmp_path: Path):
    frames = _tower(tmp_path, "timm-avg")
    rng = np.random.default_rng(1)
    pictures = torch.from_numpy(rng.integers(0, 256, (2, 128, 128, 3), dtype=np.uint8))
    with torch.inference_mode():
        regions = OpenClipRegions(frames, "timm-avg")(pictures)
        torch.testing.assert_close(regions.mean((1, 2)), frames(pictures), atol=1e-5, rtol=1e-4)


def test_an_encoder_without_regions_says_so(colour_encoder):
    class Plain:
        stamp, picture_size = colour_encoder.stamp, 32
        encode_frames, encode_texts = colour_encoder.encode_frames, colour_encoder.encode_texts
        close = colour_encoder.close

    assert with_regions(colour_encoder) is colour_encoder
    with pytest.raises(EncoderError, match="colour: this encoder has no regions"):
        with_regions(Plain())


def test_a_tower_without_regions_says_so(tmp_path: Path):
    frames = _tower(tmp_path, "vit")
    frames.model.visual = torch.nn.Identity()  # a tower that nobody knows
    with pytest.raises(EncoderError, match="open_clip:some: this encoder has no regions"):
        OpenClipRegions(frames, "open_clip:some")


@pytest.mark.slow
def test_an_open_clip_encoder_draws_patch_similarity(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("VIDSIFT_CACHE", str(tmp_path / "cache"))
    model = _tower(tmp_path, "vit").model
    torch.save(model.state_dict(), tmp_path / "vit.pt")
    encoder = open_encoder(f"open_clip:vidsift-test-vit/{tmp_path / 'vit.pt'}", device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    regions = encoder.encode_regions(np.stack([image, image[:, ::-1]]))
    assert regions.shape == (2, 4, 4, 48)
    np.testing.assert_allclose(np.linalg.norm(regions, axis=-1), 1, atol=1e-5)
    query = TextQuery("a dog", encoder.encode_texts(["a dog"])[0])
    heat = encoder.heat_map(image, query.vector)
    assert not heat.exact
    np.testing.assert_allclose(heat.values, regions[0] @ query.vector, atol=1e-5)
    assert heat.covered == pytest.approx((0.21875, 0, 0.78125, 1), abs=0.01)
    assert encoder.encode_regions(np.zeros((0, 9, 9, 3), np.uint8)).shape[0] == 0
    encoder.close()
