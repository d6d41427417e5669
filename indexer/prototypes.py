"""Prototypes: stand-in queries that pool a clip before the real query is known (DESIGN 2.1).

A query-conditioned vector does not exist until the query does. Pooling the frames by attention to
a bank of prototype texts gives vectors near those that real queries will ask for; the most
responsive and most distinct of them are what the index holds.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from search.bank import prototype_vectors
from vidsift.models.attention import Pooler
from vidsift.models.encoder import Encoder
from vidsift.types import ClipVectors

__all__ = ["PrototypeBank"]

_RESPONSIVE = 64  # prototypes of a clip whose vectors compete for the K places
_DISTINCT = 0.02  # least cosine distance of two vectors of one clip


class PrototypeBank:
    """Pools clips by cross-modal attention to the prototypes."""

    def __init__(self, prototypes: Float32[np.ndarray, "q d"], pooler: Pooler, most: int) -> None:
        self._prototypes = prototypes
        self._pooler = pooler
        self._most = most

    @classmethod
    def for_encoder(cls, encoder: Encoder, pooler: Pooler, most: int) -> PrototypeBank:
        """The shipped bank in the space of `encoder`; at most `most` vectors a clip."""
        return cls(prototype_vectors(encoder), pooler, most)

    def vectors(self, frames: Float32[np.ndarray, "n d"]) -> ClipVectors:
        """At most K unit vectors for one clip's frames.

        The first is the pooled vector of the prototype that responds most (highest attention-
        pooled similarity); each further one is the farthest, by cosine, from those already kept
        (farthest point first, Gonzalez 1985), until K are kept or none is distinct. A still shot
        keeps one.
        """
        pooled = self._pooler(
            self._prototypes, frames[np.newaxis], np.ones((1, len(frames)), dtype=bool)
        )[0][:, 0]  # (q, d)
        response = np.einsum("qd,qd->q", self._prototypes, pooled)
        best = np.argsort(-response, kind="stable")[:_RESPONSIVE]
        pooled = pooled[best]
        pooled /= np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        kept = [0]
        nearest = pooled @ pooled[0]  # (q,) cosine to the nearest kept vector
        while len(kept) < self._most:
            farthest = int(np.argmin(nearest))
            if 1.0 - nearest[farthest] < _DISTINCT:
                break
            kept.append(farthest)
            nearest = np.maximum(nearest, pooled @ pooled[farthest])
        return ClipVectors(np.ascontiguousarray(pooled[kept], dtype=np.float32))
