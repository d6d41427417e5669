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
    found = [int(vector_id) for vector_id in ids[0] if vector_id >= 0]
    clip_of = catalog.clip_ids_of_vectors(found)
    # dict.fromkeys: each clip once, in the order of its best vector.
    clip_ids = list(dict.fromkeys(clip_of[vector] for vector in found if vector in clip_of))
    records = catalog.clips(clip_ids)
    return [records[clip] for clip in clip_ids if clip in records]
