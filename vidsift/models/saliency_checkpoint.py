"""Trained saliencies as files.

A checkpoint is a safetensors file: the tensors of `saliency_attention`, and as metadata one JSON
document under `vidsift` with heads, window, the stamp of the encoder whose features it was trained
on, and the figures of its training. Reading one executes nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vidsift.errors import SaliencyModelError
from vidsift.models.saliency_attention import SaliencyModel
from vidsift.types import EncoderStamp

__all__ = [
    "H5_ENCODER",
    "SUFFIX",
    "SaliencyCheckpoint",
    "h5_stamp",
    "read_saliency",
    "write_saliency",
]

H5_ENCODER = "h5"  # the name that stands for an encoder of which nothing is known
SUFFIX = ".safetensors"

_FORMAT = 1
_WHAT = "saliency"  # a pooler's checkpoint has another kind


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
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as content:
            metadata = content.metadata() or {}
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except OSError as error:
        raise SaliencyModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise SaliencyModelError(f"{path}: no safetensors file, or damaged: {error}") from error
    try:
        document = json.loads(metadata["vidsift"])
        if document["kind"] != _WHAT:
            raise ValueError(f"of kind {document['kind']!r}")
        if document["format"] != _FORMAT:
            raise SaliencyModelError(
                f"{path}: written in format {document['format']} of saliency checkpoints, this"
                f" program reads {_FORMAT}; train it again or upgrade vidsift"
            )
        whole = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
        model = SaliencyModel(whole, int(document["heads"]), int(document["window"]))
        return SaliencyCheckpoint(model, EncoderStamp(**document["encoder"]), document["figures"])
    except (KeyError, TypeError, ValueError) as error:
        raise SaliencyModelError(
            f"{path}: is no saliency that vidsift trained ({error}); make one with"
            " `vidsift train saliency`"
        ) from error


def write_saliency(path: Path, checkpoint: SaliencyCheckpoint) -> None:
    """Write a trained saliency in one step: readers see the old file or the new one, whole.

    Raises:
        SaliencyModelError: the file cannot be written.
    """
    from safetensors.numpy import save

    document = {
        "format": _FORMAT,
        "kind": _WHAT,
        "heads": checkpoint.model.heads,
        "window": checkpoint.model.window,
        "encoder": asdict(checkpoint.stamp),
        "figures": dict(checkpoint.figures),
    }
    tensors = {
        name: np.asarray(tensor, order="C") for name, tensor in checkpoint.model.tensors.items()
    }
    content = save(tensors, metadata={"vidsift": json.dumps(document)})
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(content)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise SaliencyModelError(
            f"{path}: cannot be written: {error.strerror}; name another file with --out"
        ) from error
