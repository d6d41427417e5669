"""Trained saliencies as files.

A checkpoint (`tensor_file`) has the tensors of `saliency_attention`, and in its document heads and
window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vidsift.errors import SaliencyModelError
from vidsift.models.saliency_attention import SaliencyModel
from vidsift.models.tensor_file import read_checkpoint, write_checkpoint
from vidsift.types import EncoderStamp

__all__ = [
    "H5_ENCODER",
    "SaliencyCheckpoint",
    "h5_stamp",
    "read_saliency",
    "write_saliency",
]

H5_ENCODER = "h5"  # the name that stands for an encoder of which nothing is known

_KIND = "saliency"  # a pooler's checkpoint has another kind


@dataclass(frozen=True)
class SaliencyCheckpoint:
    """A trained saliency, the encoder it belongs to, and the figures of its training."""

    model: SaliencyModel
    stamp: EncoderStamp
    figures: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.model.dimension != self.stamp.dimension:
            raise ValueError(
                f"the saliency has {self.model.dimension} dimensions, its encoder"
                f" {self.stamp.dimension}"
            )


def h5_stamp(dimension: int) -> EncoderStamp:
    """What stands for the unknown encoder of the features in a file of annotations."""
    return EncoderStamp(H5_ENCODER, "", dimension, "")


def read_saliency(path: Path) -> SaliencyCheckpoint:
    """Read a trained saliency.

    Raises:
        SaliencyModelError: the file cannot be read or is no checkpoint of a saliency.
    """
    return read_checkpoint(path, _KIND, SaliencyModelError, _checkpoint)


def write_saliency(path: Path, checkpoint: SaliencyCheckpoint) -> None:
    """Write a trained saliency in one step: readers see the old file or the new one, whole.

    Raises:
        SaliencyModelError: the file cannot be written.
    """
    document = {
        "kind": _KIND,
        "heads": checkpoint.model.heads,
        "window": checkpoint.model.window,
        "encoder": asdict(checkpoint.stamp),
        "figures": dict(checkpoint.figures),
    }
    write_checkpoint(path, document, checkpoint.model.tensors, SaliencyModelError)


def _checkpoint(
    document: dict[str, Any], tensors: dict[str, Float[np.ndarray, "..."]]
) -> SaliencyCheckpoint:
    if document["kind"] != _KIND:
        raise ValueError(f"of kind {document['kind']!r}")
    model = SaliencyModel(tensors, int(document["heads"]), int(document["window"]))
    return SaliencyCheckpoint(model, EncoderStamp(**document["encoder"]), document["figures"])
