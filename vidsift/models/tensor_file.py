"""Safetensors files that training writes: whole or not at all, with errors of one line.

A checkpoint has, as metadata, one JSON document under `vidsift` with its format and kind, the stamp
of the encoder whose features it was trained on, and the figures of its training. Reading one
executes nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import Float

from vidsift.errors import VidsiftError

__all__ = ["SUFFIX", "read_checkpoint", "read_tensors", "write_checkpoint", "write_whole"]

SUFFIX = ".safetensors"

_FORMAT = 1
_Trained = TypeVar("_Trained")


def read_tensors(
    path: Path, framework: Literal["numpy", "pt"]
) -> tuple[dict[str, str], dict[str, Any]]:
    """The metadata and the tensors of a file, these as arrays or as torch has them.

    Raises:
        OSError, SafetensorError: as they say.
    """
    from safetensors import safe_open

    with safe_open(path, framework=framework) as content:
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        return content.metadata() or {}, tensors


def write_whole(path: Path, content: bytes, error: type[VidsiftError], remedy: str = "") -> None:
    """Write a file in one step: readers see the old one or the new one, whole.

    Raises:
        VidsiftError: as `error`: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as reason:
        raise error(f"{path}: cannot be written: {reason.strerror or reason}{remedy}") from reason


def read_checkpoint(
    path: Path,
    what: str,
    error: type[VidsiftError],
    make: Callable[[dict[str, Any], dict[str, Float[np.ndarray, "..."]]], _Trained],
) -> _Trained:
    """Read a checkpoint of a `what`; `make` makes it of the document and the tensors (float32).

    What `make` raises of KeyError, TypeError and ValueError says that it is none.

    Raises:
        VidsiftError: as `error`: the file cannot be read or is no such checkpoint.
    """
    from safetensors import SafetensorError

    try:
        metadata, tensors = read_tensors(path, "numpy")
    except OSError as reason:
        raise error(f"{path}: cannot be read: {reason.strerror or reason}") from reason
    except SafetensorError as reason:
        raise error(f"{path}: no safetensors file, or damaged: {reason}") from reason
    try:
        document = json.loads(metadata["vidsift"])
        if document["format"] != _FORMAT:
            raise error(
                f"{path}: written in format {document['format']} of {what} checkpoints, this"
                f" program reads {_FORMAT}; train it again or upgrade vidsift"
            )
        return make(document, {name: one.astype(np.float32) for name, one in tensors.items()})
    except (KeyError, TypeError, ValueError) as reason:
        raise error(
            f"{path}: is no {what} that vidsift trained ({reason}); make one with"
            f" `vidsift train {what}`"
        ) from reason


def write_checkpoint(
    path: Path,
    document: Mapping[str, Any],
    tensors: Mapping[str, Float[np.ndarray, "..."]],
    error: type[VidsiftError],
) -> None:
    """Write what `read_checkpoint` reads, in one step.

    Raises:
        VidsiftError: as `error`: the file cannot be written.
    """
    from safetensors.numpy import save

    # Not np.ascontiguousarray, which makes a number a row of one.
    whole = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    metadata = {"vidsift": json.dumps({"format": _FORMAT, **document})}
    write_whole(path, save(whole, metadata), error, "; name another file with --out")
