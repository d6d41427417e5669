"""A learned projection beside ConSE: what captioned pictures teach the built-in encoder.

With class probabilities p, class texts T and a projection (m, A, B) a frame's feature is

    normalize(p T) + normalize(sqrt(p) - m) A B

ConSE says which classes a frame resembles; the second term says what people write under frames of
such a mixture of classes. The square roots are the Hellinger map: the Euclidean distance of two of
them is a distance of distributions, in which the small probabilities count as well. A and B are a
ridge regression of what ConSE leaves over of the captions' vectors, of reduced rank
(`vidsift.models.projection_training`).

Axes: k classes, j rank, d dimensions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from vidsift.errors import EncoderError
from vidsift.models.tensor_file import read_tensors, write_whole

__all__ = ["Projection", "file_sha256", "read_projection", "write_projection"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Projection:
    """Added to ConSE; `networks` is the SHA-256 of the weights that it was trained on.

    `figures` says how it was trained and what it reached.
    """

    centre: Float32[np.ndarray, "k"]
    left: Float32[np.ndarray, "k j"]
    right: Float32[np.ndarray, "j d"]
    networks: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = self.centre.shape, self.left.shape, self.right.shape
        k, (rows, j), (columns, _) = len(self.centre), self.left.shape, self.right.shape
        if k != rows or j != columns:
            raise ValueError(f"shapes that do not fit together: {shapes}")
        if not all(np.isfinite(array).all() for array in (self.centre, self.left, self.right)):
            raise ValueError("values that are no numbers")


def file_sha256(path: Path) -> str:
    """The SHA-256 of a projection's file.

    Raises:
        EncoderError: it cannot be read.
    """
    try:
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise EncoderError(
            f"{path}: the projection cannot be read: {error.strerror or error}; restore the file, "
            "or make one with `vidsift train projection`"
        ) from error


def read_projection(path: Path, networks: str, shape: tuple[int, int]) -> Projection:
    """Read a projection; nothing in the file is executed.

    Args:
        path: what `write_projection` wrote.
        networks: the SHA-256 of the weights that it is to be used with.
        shape: their number of classes and of dimensions.

    Raises:
        EncoderError: the file cannot be read, is damaged, no projection, or one for other weights.
    """
    from safetensors import SafetensorError

    try:
        metadata, arrays = read_tensors(path, "numpy")
        tensors = {name: array.astype(np.float32) for name, array in arrays.items()}
        document = json.loads(metadata["vidsift_projection"])
        if document["format"] != _FORMAT:
            raise EncoderError(
                f"{path}: a projection of format {document['format']}, this program reads "
                f"{_FORMAT}; train it again or upgrade vidsift"
            )
        found = Projection(
            tensors["centre"],
            tensors["left"],
            tensors["right"],
            str(document["networks"]),
            document["figures"],
        )
    except OSError as error:
        raise EncoderError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise EncoderError(f"{path}: no safetensors file, or damaged: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise EncoderError(
            f"{path}: is no projection ({error}); make one with `vidsift train projection`"
        ) from error
    if found.networks != networks or (len(found.left), found.right.shape[1]) != shape:
        raise EncoderError(
            f"{path}: was trained for other weights of the built-in encoder; train it again with "
            "`vidsift train projection`"
        )
    return found


def write_projection(path: Path, projection: Projection) -> None:
    """Write a projection in half precision; the folder is made if it is not there.

    Raises:
        EncoderError: it cannot be written.
    """
    from safetensors.numpy import save

    document = {
        "format": _FORMAT,
        "networks": projection.networks,
        "figures": dict(projection.figures),
    }
    tensors = {name: getattr(projection, name) for name in ("centre", "left", "right")}
    content = save(
        {name: np.ascontiguousarray(array, np.float16) for name, array in tensors.items()},
        metadata={"vidsift_projection": json.dumps(document)},
    )
    write_whole(path, content, EncoderError)
