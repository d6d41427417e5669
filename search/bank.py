"""Texts that ship with vidsift, in the space of an encoder: unrelated questions, and prototypes."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Sequence
from importlib import resources

import numpy as np
from jaxtyping import Float32

from vidsift.config import cache_dir
from vidsift.errors import StorageError
from vidsift.models.encoder import Encoder
from vidsift.store.files import write_atomically

__all__ = ["bank_texts", "bank_vectors", "prototype_texts", "prototype_vectors"]


def bank_texts() -> tuple[str, ...]:
    """The bank that ships with vidsift, in random order: its beginning is a fair sample of it."""
    return _texts("bank.txt")


def bank_vectors(encoder: Encoder) -> Float32[np.ndarray, "b d"]:
    """The bank's unit-length vectors."""
    return _encode_once(encoder, bank_texts(), "bank")


def prototype_texts() -> tuple[str, ...]:
    """What videos commonly show, in short texts: stand-ins for questions when clips are indexed,
    and words for what is seen where nobody says any."""
    return _texts("prototypes.txt")


def prototype_vectors(encoder: Encoder) -> Float32[np.ndarray, "q d"]:
    """The prototypes' unit-length vectors."""
    return _encode_once(encoder, prototype_texts(), "prototypes")


def _texts(name: str) -> tuple[str, ...]:
    lines = resources.files("search").joinpath(name).read_text("utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def _encode_once(encoder: Encoder, texts: Sequence[str], kind: str) -> Float32[np.ndarray, "b d"]:
    """Unit-length vectors of texts that ship with vidsift, kept below `kind` in the cache folder.

    To encode hundreds of texts takes seconds.
    """
    key = hashlib.sha256("\n".join([repr(encoder.stamp), *texts]).encode()).hexdigest()[:32]
    file = cache_dir() / kind / f"{key}.npy"
    try:
        kept = np.load(file, allow_pickle=False)
        shape = (len(texts), encoder.stamp.dimension)
        # What is no array, but an archive of some, has no shape.
        if getattr(kept, "shape", None) == shape and kept.dtype == np.float32:
            return np.asarray(kept)
    except (OSError, ValueError, EOFError):
        pass  # not there yet, or cut short: encoded again
    vectors = encoder.encode_texts(texts)
    content = io.BytesIO()
    np.save(content, vectors, allow_pickle=False)
    with contextlib.suppress(OSError, StorageError):  # a cache that cannot be kept costs only time
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, [content.getvalue()])
    return vectors
