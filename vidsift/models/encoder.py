"""What an encoder is, which there are, and how one is opened.

An encoder puts frames and texts into one space of unit-length vectors, so that their dot product is
a cosine. Importing this module is cheap: the machinery of an encoder is imported when it is opened,
and its heavy parts when they are first used.

Axes: n frames, h rows, w columns, q texts, d dimensions, r rows and c columns of regions.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from vidsift.errors import EncoderError
from vidsift.models.regions import HeatMap
from vidsift.types import EncoderStamp

__all__ = [
    "Encoder",
    "EncoderStatus",
    "RegionEncoder",
    "ReleasableEncoder",
    "full_name",
    "list_encoders",
    "needs_preparation",
    "open_encoder",
    "with_regions",
]

# Family of encoders -> module that knows it; see _Family.
_FAMILIES = {
    "builtin": "vidsift.models.builtin_encoder",
    "open_clip": "vidsift.models.open_clip_encoder",
}


@runtime_checkable
class Encoder(Protocol):
    """Frames and texts to unit-length vectors of one space. Safe to call from several threads."""

    @property
    def stamp(self) -> EncoderStamp:
        """What a library remembers; features of equal stamps may be compared."""

    @property
    def picture_size(self) -> int:
        """Short side in pixels at which frames are best given: no resize is then needed."""

    def encode_frames(self, images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n d"]:
        """Unit-length features of RGB frames of any size."""

    def encode_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "q d"]:
        """Unit-length features of texts; a text longer than the model reads is cut at its end."""

    def close(self) -> None:
        """Give the models' memory back; the encoder must not be used afterwards."""


@runtime_checkable
class RegionEncoder(Protocol):
    """An encoder that also tells the regions of a frame apart; see `vidsift.models.regions`."""

    def encode_regions(
        self, images: UInt8[np.ndarray, "n h w 3"]
    ) -> Float32[np.ndarray, "n r c d"]:
        """Unit-length features of the regions of RGB frames, in a grid; always on the CPU.

        Raises:
            EncoderError: this encoder has no regions.
        """

    def heat_map(
        self, image: UInt8[np.ndarray, "h w 3"], query: Float32[np.ndarray, "d"]
    ) -> HeatMap:
        """Which regions of a frame speak for a query (unit length); raises as encode_regions."""


@runtime_checkable
class ReleasableEncoder(Protocol):
    """An encoder that gives its models' memory back until it is used again."""

    def release(self, idle_seconds: float = 0.0) -> bool:
        """Let go of the models that nobody uses and nobody used for so long; whether of any.

        They are loaded again when they are needed; a model in use stays.
        """


@dataclass(frozen=True, slots=True)
class EncoderStatus:
    """Whether an encoder can be used here and now; `remedy` says what to do where it cannot.

    `runtime` is what would run it, such as `OpenVINO bf16 on CPU`.
    """

    name: str
    available: bool
    runtime: str
    remedy: str = ""


@runtime_checkable
class _Family(Protocol):
    """What a module of `_FAMILIES` provides."""

    def open_variant(self, variant: str, device: str, batch_size: int, fetch: bool) -> Encoder:
        """Open the encoder that `family:variant` names."""

    def list_variants(self, device: str) -> tuple[EncoderStatus, ...]:
        """The encoders of this family that are worth naming."""

    def needs_preparation(self, variant: str, device: str) -> bool:
        """See the function of this name."""


def open_encoder(
    name: str, *, device: str = "auto", batch_size: int = 32, fetch: bool = False
) -> Encoder:
    """Open an encoder by name.

    Args:
        name: `builtin`, `builtin:FILE` with a trained projection, `builtin:conse` without any, or
            `open_clip:MODEL/PRETRAINED` where PRETRAINED is a tag of open_clip or
            the path of a checkpoint, or `open_clip:hf-hub:ORG/NAME`, `open_clip:local-dir:PATH`.
        device: `auto` (CUDA where there is a device, else the CPU), `cpu` or `cuda`.
        batch_size: frames that go through the model at once.
        fetch: allow weights to be downloaded; without it nothing is asked of the network.

    Raises:
        EncoderError: the name is unknown, or packages, weights or the device are not here.
    """
    family, _, variant = name.partition(":")
    if family not in _FAMILIES:
        raise EncoderError(
            f"encoder {name!r} is unknown; known are builtin, open_clip:MODEL/PRETRAINED, "
            "open_clip:hf-hub:ORG/NAME and open_clip:local-dir:PATH "
            "(`vidsift encoders` lists what can be used here)"
        )
    return _family(family).open_variant(variant, device, batch_size, fetch)


def with_regions(encoder: Encoder) -> RegionEncoder:
    """The same encoder, as one that has regions.

    Raises:
        EncoderError: it has none.
    """
    if isinstance(encoder, RegionEncoder):
        return encoder
    raise EncoderError(f"{encoder.stamp.name}: this encoder has no regions")


def list_encoders(*, device: str = "auto") -> tuple[EncoderStatus, ...]:
    """The encoders that can be used here and now, and of the others what each lacks."""
    return tuple(status for family in _FAMILIES for status in _family(family).list_variants(device))


def full_name(name: str) -> str:
    """The name as a library remembers it: the path of a projection of `builtin` made absolute."""
    family, _, variant = name.partition(":")
    if family != "builtin" or not variant:
        return name
    from vidsift.models.builtin_encoder import complete_variant

    return f"{family}:{complete_variant(variant)}"


def needs_preparation(name: str, device: str = "auto") -> bool:
    """Whether the first use of this encoder will convert its models, which takes a while.

    Told quickly: where it is not known without asking a GPU or reading weights, it is False.
    """
    family, _, variant = name.partition(":")
    return family in _FAMILIES and _family(family).needs_preparation(variant, device)


def _family(family: str) -> _Family:
    return cast(_Family, importlib.import_module(_FAMILIES[family]))
