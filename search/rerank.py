"""Second stage: the pooler runs again, now with the real question, over the candidates' frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vidsift.models.attention import Pooler, pad_clips
from vidsift.store.features import FeatureStore
from vidsift.types import ClipRecord, RankedClip, TextQuery

__all__ = ["rerank"]


def rerank(
    query: TextQuery,
    records: Sequence[ClipRecord],
    features: FeatureStore,
    pooler: Pooler,
) -> list[RankedClip]:
    """Score clips by query-conditioned pooling, best first.

    The score is q . v with v the attention-weighted mean of the clip's unit frames, so that it is
    the weighted mean of the frames' cosines, in [-1, 1].
    """
    if not records:
        return []
    dimension = len(query.vector)
    clips = [
        features.read(
            record.feature_file, record.clip.first_frame, record.clip.num_frames, dimension
        )
        for record in records
    ]
    frames, mask = pad_clips(clips)
    vectors, weights = pooler(query.vector[np.newaxis], frames, mask)
    scores = vectors[0] @ query.vector  # (c,)
    similarities = frames @ query.vector  # (c, n)
    return [
        RankedClip(
            record=records[c],
            score=float(scores[c]),
            similarities=similarities[c, : len(clips[c])],
            weights=weights[0, c, : len(clips[c])],
        )
        for c in np.argsort(-scores, kind="stable")
    ]
