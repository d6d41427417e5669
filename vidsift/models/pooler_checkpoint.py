"""Poolers by name: the ones that need no training, and checkpoints of trained ones.

A checkpoint is a safetensors file: the tensors of `learned_attention`, and as metadata one JSON
document under `vidsift` with the kind, the number of heads, the stamp of the encoder whose features
it was trained on, and the figures of its training. Reading one executes nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vidsift.errors import PoolerError
from vidsift.models.attention import POOLERS, Pooler, SoftmaxPool
from vidsift.models.learned_attention import LEARNED_POOLERS, LearnedPool, MultiHeadPool
from vidsift.paths import expanded
from vidsift.types import EncoderStamp

__all__ = ["PoolerCheckpoint", "open_pooler", "read_checkpoint", "write_checkpoint"]

_FORMAT = 1
_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class PoolerCheckpoint:
    """A trained pooler, the encoder it belongs to, and the figures of its training."""

    pool: LearnedPool
    stamp: EncoderStamp
    figures: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pool.dimension != self.stamp.dimension:
            raise ValueError(
                f"the pooler has {self.pool.dimension} dimensions, its encoder"
                f" {self.stamp.dimension}"
            )


def open_pooler(
    name: str, temperature: float, stamp: EncoderStamp, folder: Path | None = None
) -> Pooler:
    """The pooler of this name, ready to search features of the encoder with this stamp.

    Args:
        name: `mean`, `max`, `softmax`, the path of a checkpoint, or the name of one in `folder`,
            with or without its suffix.
        temperature: of softmax pooling; the others have none or their own.
        stamp: the encoder of the features that will be pooled.
        folder: where checkpoints are looked for by name: the library's `poolers`.

    Raises:
        PoolerError: nothing has this name, the checkpoint cannot be read, or it was trained for
            another encoder.
    """
    if name == "softmax":
        return SoftmaxPool(temperature)
    if name in POOLERS:
        return POOLERS[name]()
    path = _find(name, folder)
    checkpoint = read_checkpoint(path)
    if checkpoint.stamp != stamp:
        raise PoolerError(f"{path}: {_difference(checkpoint.stamp, stamp)}")
    return checkpoint.pool


def read_checkpoint(path: Path) -> PoolerCheckpoint:
    """Read a trained pooler.

    Raises:
        PoolerError: the file cannot be read or is no checkpoint of a pooler.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as content:
            metadata = content.metadata() or {}
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except OSError as error:
        raise PoolerError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise PoolerError(f"{path}: no safetensors file, or damaged: {error}") from error
    try:
        document = json.loads(metadata["vidsift"])
        if document["format"] != _FORMAT:
            raise PoolerError(
                f"{path}: written in format {document['format']} of pooler checkpoints, this"
                f" program reads {_FORMAT}; train it again or upgrade vidsift"
            )
        heads = {"heads": int(document["heads"])} if document["kind"] == MultiHeadPool.kind else {}
        whole = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
        pool = LEARNED_POOLERS[document["kind"]](whole, **heads)
        return PoolerCheckpoint(pool, EncoderStamp(**document["encoder"]), document["figures"])
    except (KeyError, TypeError, ValueError) as error:
        raise PoolerError(
            f"{path}: is no pooler that vidsift trained ({error}); make one with"
            " `vidsift train pooler`"
        ) from error


def write_checkpoint(path: Path, checkpoint: PoolerCheckpoint) -> None:
    """Write a trained pooler in one step: readers see the old file or the new one, whole.

    Raises:
        PoolerError: the file cannot be written.
    """
    from safetensors.numpy import save

    document = {
        "format": _FORMAT,
        "kind": checkpoint.pool.kind,
        "heads": getattr(checkpoint.pool, "heads", 1),
        "encoder": asdict(checkpoint.stamp),
        "figures": dict(checkpoint.figures),
    }
    # Not np.ascontiguousarray, which makes a number a row of one.
    tensors = {
        name: np.asarray(tensor, order="C") for name, tensor in checkpoint.pool.tensors.items()
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
        raise PoolerError(
            f"{path}: cannot be written: {error.strerror}; name another file with --out"
        ) from error


def _find(name: str, folder: Path | None) -> Path:
    places = [expanded(name)]
    if folder is not None:
        places += [folder / name, folder / f"{name}{_SUFFIX}"]
    for place in places:
        if place.is_file():
            return place
    there = sorted(path.name for path in folder.glob(f"*{_SUFFIX}")) if folder is not None else []
    known = ", ".join([*POOLERS, *there])
    raise PoolerError(
        f"pooler {name!r} is unknown and no such file is here; known are {known}, or name the file"
        " of one that `vidsift train pooler` made"
    )


def _difference(trained: EncoderStamp, here: EncoderStamp) -> str:
    remedy = "train one on this library with `vidsift train pooler`"
    if trained.name != here.name:
        return (
            f"trained for encoder {trained.name!r}, but this library's is {here.name!r}; {remedy}"
        )
    return f"trained for another version of encoder {here.name!r}; {remedy}"
