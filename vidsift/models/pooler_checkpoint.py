"""Poolers by name: the ones that need no training, and checkpoints of trained ones.

A checkpoint (`tensor_file`) has the tensors of `learned_attention`, and in its document the kind of
pooler and the number of heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vidsift.errors import PoolerError
from vidsift.models import tensor_file
from vidsift.models.attention import POOLERS, Pooler, SoftmaxPool
from vidsift.models.learned_attention import LEARNED_POOLERS, LearnedPool, MultiHeadPool
from vidsift.models.tensor_file import SUFFIX
from vidsift.paths import expanded
from vidsift.types import EncoderStamp

__all__ = ["PoolerCheckpoint", "open_pooler", "read_checkpoint", "write_checkpoint"]


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
    return tensor_file.read_checkpoint(path, "pooler", PoolerError, _checkpoint)


def write_checkpoint(path: Path, checkpoint: PoolerCheckpoint) -> None:
    """Write a trained pooler in one step: readers see the old file or the new one, whole.

    Raises:
        PoolerError: the file cannot be written.
    """
    document = {
        "kind": checkpoint.pool.kind,
        "heads": getattr(checkpoint.pool, "heads", 1),
        "encoder": asdict(checkpoint.stamp),
        "figures": dict(checkpoint.figures),
    }
    tensor_file.write_checkpoint(path, document, checkpoint.pool.tensors, PoolerError)


def _checkpoint(
    document: dict[str, Any], tensors: dict[str, Float[np.ndarray, "..."]]
) -> PoolerCheckpoint:
    heads = {"heads": int(document["heads"])} if document["kind"] == MultiHeadPool.kind else {}
    pool = LEARNED_POOLERS[document["kind"]](tensors, **heads)
    return PoolerCheckpoint(pool, EncoderStamp(**document["encoder"]), document["figures"])


def _find(name: str, folder: Path | None) -> Path:
    places = [expanded(name)]
    if folder is not None:
        places += [folder / name, folder / f"{name}{SUFFIX}"]
    for place in places:
        if place.is_file():
            return place
    there = sorted(path.name for path in folder.glob(f"*{SUFFIX}")) if folder is not None else []
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
