"""Second stage: the pooler runs again, now with the real question, over the candidates' frames."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from vidsift.errors import DamagedLibraryError
from vidsift.models.attention import Pooler, pad_clips
from vidsift.store.features import FeatureStore
from vidsift.types import ClipRecord, RankedClip, TextQuery

__all__ = ["rerank"]

_log = logging.getLogger(__name__)


def rerank(
    query: TextQuery,
    records: Sequence[ClipRecord],
    features: FeatureStore,
    pooler: Pooler,
) -> list[RankedClip]:
    """Score clips by query-conditioned pooling, best first.

    The score is q . v with v the attention-weighted mean of the clip's unit frames, so that it is
    the weighted mean of the frames' cosines, in [-1, 1]. A clip whose features are damaged is left
    out, with a warning that names the file.
    """
    clips, records = _frames(records, features, len(query.vector))
    if not records:
        return []
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


def _frames(
    records: Sequence[ClipRecord], features: FeatureStore, dimension: int
) -> tuple[list[Float32[np.ndarray, "n d"]], list[ClipRecord]]:
    clips, whole = [], []
    damaged: set[str] = set()
    for record in records:
        clip, file = record.clip, record.feature_file
        if file in damaged:
            continue
        try:
            clips.append(features.read(file, clip.first_frame, clip.num_frames, dimension))
        except DamagedLibraryError as error:
            # One lost file must not take the other videos' answers with it, nor be silent.
            _log.warning("%s is not searched: %s", record.video, error)
            damaged.add(file)
        else:
            whole.append(record)
    return clips, whole
