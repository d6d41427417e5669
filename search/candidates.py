"""First stage: the clips whose index vectors lie nearest to the question."""

from __future__ import annotations

from vidsift.store.catalog import Catalog
from vidsift.store.vectors import VectorIndex
from vidsift.types import ClipRecord, TextQuery

__all__ = ["find_candidates"]


def find_candidates(
    query: TextQuery, index: VectorIndex, catalog: Catalog, most: int
) -> list[ClipRecord]:
    """The clips of the `most` nearest vectors, nearest first, each clip once.

    A clip stands in the index under several vectors, so fewer than `most` clips may come back.
    """
    _, ids = index.search(query.vector[None, :], most)
    nearest = [int(vector_id) for vector_id in ids[0] if vector_id >= 0]
    clip_of = catalog.clips_of_vectors(nearest)
    # Each clip once, in the order of its best vector.
    once = {clip_of[vector].id: clip_of[vector] for vector in nearest if vector in clip_of}
    return list(once.values())
