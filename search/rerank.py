"""Second stage: the pooler runs again, now with the real question, over the candidates' frames."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from vidsift.errors import DamagedLibraryError
from vidsift.models.attention import Pooler, pad_clips
from vidsift.store.features import FeatureStore
from vidsift.types import ClipRecord, RankedClip, TextQuery

__all__ = ["ScoredClips", "rerank", "score_clips"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScoredClips:
    """Clips under each of m terms: `scores` (m, c), and for each clip its frames under the terms.

    `similarities` are cosines, `weights` sum to 1 over a clip's frames; both (m, n) a clip.
    """

    records: tuple[ClipRecord, ...]
    scores: Float32[np.ndarray, "m c"]
    similarities: tuple[Float32[np.ndarray, "m _"], ...]
    weights: tuple[Float32[np.ndarray, "m _"], ...]


def score_clips(
    vectors: Float32[np.ndarray, "m d"],
    records: Sequence[ClipRecord],
    features: FeatureStore,
    pooler: Pooler,
) -> ScoredClips:
    """Score clips by query-conditioned pooling under each of m query vectors.

    A score is q . v with v the pooled vector: for training-free poolers the attention-weighted mean
    of the clip's unit frames, so that it is the weighted mean of the frames' cosines, in [-1, 1].
    A clip whose features are damaged is left out, with a warning that names the file.
    """
    clips, whole = _frames(records, features, vectors.shape[1])
    if not whole:
        return ScoredClips((), np.zeros((len(vectors), 0), np.float32), (), ())
    frames, mask = pad_clips(clips)
    pooled, weights = pooler(vectors, frames, mask)  # (m, c, d), (m, c, n)
    lengths = [len(clip) for clip in clips]
    similarities = np.matmul(frames, vectors.T).transpose(2, 0, 1)  # (m, c, n)
    return ScoredClips(
        records=tuple(whole),
        scores=np.einsum("mcd,md->mc", pooled, vectors),
        similarities=tuple(similarities[:, c, :n] for c, n in enumerate(lengths)),
        weights=tuple(weights[:, c, :n] for c, n in enumerate(lengths)),
    )


def rerank(
    query: TextQuery,
    records: Sequence[ClipRecord],
    features: FeatureStore,
    pooler: Pooler,
) -> list[RankedClip]:
    """Score clips under one question, best first; see `score_clips`."""
    scored = score_clips(query.vector[np.newaxis], records, features, pooler)
    return [
        RankedClip(
            record=scored.records[c],
            score=float(scored.scores[0, c]),
            similarities=scored.similarities[c][0],
            weights=scored.weights[c][0],
        )
        for c in np.argsort(-scored.scores[0], kind="stable")
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
