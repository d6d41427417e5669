"""What a pooler is trained on and by, and how it is told how good it is. NumPy alone.

Axes: m captions, i items (the frames that a caption is about), n frames of an item, d dimensions,
q queries, c clips.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from vidsift.errors import PoolerError
from vidsift.models.attention import Frames, Mask, Pooler, Queries
from vidsift.models.learned_attention import (
    AdditivePool,
    DotProductPool,
    LearnedPool,
    MultiHeadPool,
)

__all__ = ["Kind", "Pairs", "Recipe", "ranks", "ranks_by"]

Kind = Literal["additive", "dot", "multi-head"]

_CHUNK = 64  # captions and items that are scored at once, lest memory grow with their product


@dataclass(frozen=True)
class Recipe:
    """All that decides what training yields, but for the captions.

    `heads`, `positions` (rows of the positional table; 0: none) and `dropout` are those of
    multi-head attention. `logit_temperature` divides the cosines in the loss; None: learned,
    from 0.07, as in CLIP. `patience`: epochs without a better validation before training ends.
    """

    kind: Kind = "multi-head"
    heads: int = 1
    positions: int = 0
    dropout: float = 0.3
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 3e-4
    logit_temperature: float | None = None
    patience: int = 5
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if min(self.epochs, self.patience, self.heads) < 1 or self.batch_size < 2:
            raise PoolerError("epochs, patience and heads are at least 1, a batch at least 2 pairs")
        if self.positions == 1 or self.positions < 0:
            raise PoolerError(f"a table of {self.positions} positions tells none apart; give 2")
        if self.kind != MultiHeadPool.kind and (self.heads > 1 or self.positions):
            raise PoolerError(f"heads and positions are of multi-head attention, not {self.kind}")

    def start(self, dimension: int) -> LearnedPool:
        """The pooler before training.

        Raises:
            PoolerError: the dimension cannot be divided among the heads.
        """
        if self.kind == AdditivePool.kind:
            return AdditivePool.random(dimension, seed=self.seed)
        if self.kind == DotProductPool.kind:
            return DotProductPool.identity(dimension)
        try:
            return MultiHeadPool.identity(dimension, self.heads, self.positions)
        except ValueError as error:
            raise PoolerError(f"--heads {self.heads}: {error}") from error


@dataclass(frozen=True, eq=False)
class Pairs:
    """Captions, and for each the item that it is about.

    Captions: unit vectors `queries` (m, d), and `items` (m,): rows of `frames` (i, n, d) float16
    or float32, `mask` (i, n). `videos` (i,) says of which video an item is: items of one video are
    no negatives of each other.
    """

    queries: Float32[np.ndarray, "m d"]
    items: Int64[np.ndarray, "m"]
    frames: Float[np.ndarray, "i n d"]
    mask: Bool[np.ndarray, "i n"]
    videos: Int64[np.ndarray, "i"]

    def take(self, captions: Int64[np.ndarray, "k"]) -> Pairs:
        """These captions alone, and the items that they are about."""
        kept, items = np.unique(self.items[captions], return_inverse=True)
        return Pairs(
            self.queries[captions],
            items.astype(np.int64),
            self.frames[kept],
            self.mask[kept],
            self.videos[kept],
        )


Scores = Callable[[Queries, Frames, Mask], Float32[np.ndarray, "q c"]]


def ranks(pooler: Pooler, pairs: Pairs) -> Int64[np.ndarray, "m"]:
    """The rank of each caption's own item among the items of other videos; 1 is best.

    An item that scores the same counts as before it.
    """

    def score(queries: Queries, frames: Frames, mask: Mask) -> Float32[np.ndarray, "q c"]:
        vectors, _ = pooler(queries, frames, mask)
        return np.asarray(np.einsum("qd,qcd->qc", queries, vectors))

    return ranks_by(score, pairs)


def ranks_by(score: Scores, pairs: Pairs) -> Int64[np.ndarray, "m"]:
    """As `ranks`, by any function of queries, frames and mask that gives scores (q, c)."""
    own = pairs.videos[pairs.items]  # (m,)
    found = np.ones(len(pairs.items), np.int64)
    for start in range(0, len(found), _CHUNK):
        asked = slice(start, start + _CHUNK)
        queries = pairs.queries[asked]
        parts = []
        for first in range(0, len(pairs.videos), _CHUNK):
            given = slice(first, first + _CHUNK)
            parts.append(score(queries, pairs.frames[given].astype(np.float32), pairs.mask[given]))
        scores = np.concatenate(parts, axis=1)  # (q, i)
        mine = np.take_along_axis(scores, pairs.items[asked, None], axis=1)
        rivals = pairs.videos != own[asked, None]
        found[asked] += ((scores >= mine) & rivals).sum(1)
    return found
