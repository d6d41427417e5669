"""Attention over the frames of a clip: one signature, a family of poolers.

The same weights rank a clip, mark the moment, draw the explanation and choose the summary. This
module is NumPy alone, so that a search needs no deep-learning framework. The poolers that are
trained are in `vidsift.models.learned_attention`.

Axes: q queries, c clips, n frames of a clip (padded, see the mask), d dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32

__all__ = [
    "POOLERS",
    "MaxPool",
    "MeanPool",
    "Pooler",
    "SoftmaxPool",
    "masked_softmax",
    "pad_clips",
    "without_padding",
]

Queries = Float32[np.ndarray, "q d"]
Frames = Float32[np.ndarray, "c n d"]
Mask = Bool[np.ndarray, "c n"]
Pooled = tuple[Float32[np.ndarray, "q c d"], Float32[np.ndarray, "q c n"]]

# Cosines of unit vectors in float32 that differ by less are equal but for rounding.
_ROUNDING = 1e-6


@runtime_checkable
class Pooler(Protocol):
    """Pools the frames of each clip under each query.

    Takes queries (q, d), frames (c, n, d) and a mask (c, n) that is True where a frame exists.
    Returns vectors (q, c, d) and weights (q, c, n). Weights sum to 1 over a clip's frames and are
    exactly 0 where there is none, whatever the padding holds. A training-free pooler's vector is
    the weighted mean of the frames and is not made unit length again: its dot product with the
    query is then the weighted mean of the frames' similarities, the score that ranks a clip. A
    learned pooler's vector has unit length: its dot product with the query is a cosine.

    Raises ValueError for a clip without any frame.
    """

    def __call__(self, queries: Queries, frames: Frames, mask: Mask) -> Pooled: ...


@dataclass(frozen=True, slots=True)
class MeanPool:
    """Every frame weighs the same, whatever the query: the baseline."""

    def __call__(self, queries: Queries, frames: Frames, mask: Mask) -> Pooled:
        frames = without_padding(frames, mask)
        weights = (mask / mask.sum(1, keepdims=True)).astype(np.float32)  # (c, n)
        vectors = np.matmul(weights[:, None], frames)[:, 0]  # (c, d)
        q = len(queries)
        return (
            np.broadcast_to(vectors, (q, *vectors.shape)),
            np.broadcast_to(weights, (q, *weights.shape)),
        )


@dataclass(frozen=True, slots=True)
class MaxPool:
    """The frame that is most similar to the query, alone; frames that tie share the weight."""

    def __call__(self, queries: Queries, frames: Frames, mask: Mask) -> Pooled:
        frames = without_padding(frames, mask)
        similarities = np.matmul(frames, queries.T).transpose(2, 0, 1)  # (q, c, n)
        similarities = np.where(mask, similarities, np.float32(-np.inf))
        best = similarities >= similarities.max(2, keepdims=True) - np.float32(_ROUNDING)
        weights = (best / best.sum(2, keepdims=True)).astype(np.float32)  # (q, c, n)
        vectors = np.matmul(weights.transpose(1, 0, 2), frames)  # (c, q, d)
        return vectors.transpose(1, 0, 2), weights


@dataclass(frozen=True, slots=True)
class SoftmaxPool:
    """Scaled dot-product attention without projections: softmax of similarity over temperature.

    `temperature` tends to 0: the best frame alone; to infinity: the mean. It is what Bain et al.,
    "A CLIP-Hitchhiker's Guide to Long Video Retrieval" (2022), call query-scoring.
    """

    temperature: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"a temperature is positive and finite, got {self.temperature}")

    def __call__(self, queries: Queries, frames: Frames, mask: Mask) -> Pooled:
        frames = without_padding(frames, mask)
        similarities = np.matmul(frames, queries.T).transpose(2, 0, 1)  # (q, c, n)
        weights = masked_softmax(similarities, mask, self.temperature)
        vectors = np.matmul(weights.transpose(1, 0, 2), frames)  # (c, q, d)
        return vectors.transpose(1, 0, 2), weights


# The poolers that need no training, by the name that selects them.
POOLERS: Mapping[str, Callable[[], Pooler]] = {
    "max": MaxPool,
    "mean": MeanPool,
    "softmax": SoftmaxPool,
}


def masked_softmax(
    logits: Float32[np.ndarray, "q c n"], mask: Mask, temperature: float = 1.0
) -> Float32[np.ndarray, "q c n"]:
    """Softmax over the frames that exist of logits over temperature; exactly 0 elsewhere.

    In place: this array is the largest of a search but for the frames.
    """
    np.copyto(logits, -np.inf, where=~mask)
    logits -= logits.max(2, keepdims=True)
    logits /= np.float32(temperature)
    np.exp(logits, out=logits)
    logits /= logits.sum(2, keepdims=True)
    return logits


def pad_clips(clips: Sequence[Float[np.ndarray, "_ d"]]) -> tuple[Frames, Mask]:
    """Stack the frames of clips of different lengths: (c, n, d) float32, and their mask (c, n).

    Raises:
        ValueError: there is no clip, or one has no frame.
    """
    lengths = np.array([len(clip) for clip in clips])
    if not len(lengths) or not lengths.all():
        raise ValueError(f"every clip needs a frame, got lengths {lengths.tolist()}")
    mask = np.arange(lengths.max()) < lengths[:, None]  # (c, n)
    frames = np.zeros((*mask.shape, clips[0].shape[1]), np.float32)
    frames[mask] = np.concatenate(clips)
    return frames, mask


def without_padding(frames: Frames, mask: Mask) -> Frames:
    """The frames with zeros where the mask is False: 0 times NaN would not be 0.

    Raises:
        ValueError: a clip has no frame.
    """
    if mask.all():
        if not mask.size and len(mask):
            raise ValueError("every clip needs a frame, got clips of length 0")
        return frames
    if not mask.any(1).all():
        empty = np.flatnonzero(~mask.any(1)).tolist()
        raise ValueError(f"every clip needs a frame, but the mask of clips {empty} has none")
    return np.where(mask[:, :, None], frames, np.float32(0))
