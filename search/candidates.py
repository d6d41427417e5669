"""First stage: which clips are worth a closer look; all of them, where that is cheap enough."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Float32, Int64

from search.exact import (
    FrameMatrix,
    frame_matrix,
    frames_of_videos,
    is_small,
    is_training_free,
    let_go,
)
from search.rerank import ScoredClips
from vidsift.config import Settings
from vidsift.library import Library
from vidsift.models.attention import Pooler, SoftmaxPool
from vidsift.store.records import Generation
from vidsift.types import ClipRecord

__all__ = [
    "Candidates",
    "candidate_count",
    "find_candidates",
    "first_stage",
    "frames_sample",
    "nearest_clips",
    "with_context",
]

_SAMPLE = 2000  # vectors of a large library that tell what is usual
_STEP = 100  # candidates come in hundreds
_CANDIDATES_A_MOMENT = 3
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Candidates:
    """Clips that may answer, best first under the first stage (of equals the one indexed first).

    `exact` tells that no other clip can be better under any single one of the m query vectors:
    every clip was scored by the pooler that ranks. `background` and `spread` are the mean and the
    standard deviation of each query's similarity to the library's frames: all of them, or where a
    scope was searched or the index asked, a sample. None where nothing is searchable.
    """

    records: tuple[ClipRecord, ...]
    exact: bool
    background: Float32[np.ndarray, "m"] | None = None
    spread: Float32[np.ndarray, "m"] | None = None


def candidate_count(settings: Settings, results: int) -> int:
    """How many candidates an answer of `results` moments (pages before it included) needs.

    In steps of 100, so that pages are cut from one ranking: what is found does not depend on the
    size or the number of the page. A moment takes up to three candidates: those that touch make one
    moment, and a video's come in turn with other videos'. At most 1,000, which a learned pooler
    reranks in 60 ms, unless more are set or that many moments are asked for.
    """
    wanted = min(_CANDIDATES_A_MOMENT * results, max(_MOST, results))
    return -(-max(settings.candidates, wanted) // _STEP) * _STEP


def find_candidates(
    vectors: Float32[np.ndarray, "m d"],
    library: Library,
    scope: frozenset[int] | None = None,
    most: int = _STEP,
) -> Candidates:
    """The `most` best clips for each of m query vectors (unit length, one a term), best first.

    With several vectors also the `most` best for all of them together. `scope` are the ids of the
    videos that may answer; None: all.

    A library, or a scope, of at most `exact_clips` clips is scored exactly (see `search.exact`) by
    the library's pooler; if that is learned, by softmax pooling, and it is left to rerank what was
    found. Otherwise the index gives the clips of the `most` nearest vectors; since a clip stands
    there under several, fewer clips may come back.

    Raises:
        LibraryError: the catalog cannot be read.
    """
    matrix, chosen = _small(library, scope)
    if matrix is None:
        records = nearest_clips(vectors, library, scope, most)
        return Candidates(records, False, *_usual(vectors, library))
    similarities = matrix.similarities(vectors, chosen)
    pooler = first_stage(library)
    scores = matrix.pool(similarities, pooler, chosen)  # (m, c)
    scores = matrix.in_context(scores, similarities, library.settings.temperature, chosen)
    clip_ids = matrix.clip_ids if chosen is None else matrix.clip_ids[chosen]
    if not len(clip_ids):
        return Candidates((), exact=True)
    best = _best(scores, clip_ids, most)
    found = library.catalog.clips(clip_ids[best])
    # A moment stands out of the library, not of the few videos that a filter leaves.
    whole = scope is None
    usual = (similarities.mean(1), similarities.std(1)) if whole else _usual(vectors, library)
    return Candidates(
        # A clip that was deleted since is left out.
        records=tuple(found[clip] for clip in clip_ids[best].tolist() if clip in found),
        exact=pooler is library.pooler or len(best) == len(clip_ids),
        background=usual[0],
        spread=usual[1],
    )


def _usual(
    vectors: Float32[np.ndarray, "m d"], library: Library
) -> tuple[Float32[np.ndarray, "m"], Float32[np.ndarray, "m"]] | tuple[None, None]:
    """Mean and deviation of the queries' similarities to a sample of the library's frames."""
    sample = frames_sample(library)
    if not len(sample):
        return None, None
    similarities = vectors @ sample.T  # (m, n)
    return similarities.mean(axis=1), similarities.std(axis=1)


def with_context(
    vectors: Float32[np.ndarray, "m d"],
    library: Library,
    scope: frozenset[int] | None,
    scored: ScoredClips,
) -> ScoredClips:
    """The clips with scores that count their surroundings, where every frame is in memory.

    See `search.context`. In a library that is searched by candidates, or by a learned pooler, the
    scores stay as they are.
    """
    if not scored.records or not is_training_free(library.pooler):
        return scored
    matrix, _ = _small(library, scope)
    if matrix is None:
        return scored
    chosen = matrix.clips_of(frozenset(record.video_id for record in scored.records))
    similarities = matrix.similarities(vectors, chosen)
    own = matrix.pool(similarities, library.pooler, chosen)
    joined = matrix.in_context(own, similarities, library.settings.temperature, chosen)
    place = {clip: number for number, clip in enumerate(matrix.clip_ids[chosen].tolist())}
    scores = scored.scores.copy()
    for number, record in enumerate(scored.records):
        if record.id in place:  # or it was indexed since
            scores[:, number] = joined[:, place[record.id]]
    return replace(scored, scores=scores)


def first_stage(library: Library) -> Pooler:
    """What pools where a learned pooler would cost too much: the library's, or else softmax."""
    pooler = library.pooler
    return pooler if is_training_free(pooler) else SoftmaxPool(library.settings.temperature)


def _small(
    library: Library, scope: frozenset[int] | None
) -> tuple[FrameMatrix | None, Bool[np.ndarray, "c"] | None]:
    """The frames to be searched and which clips of theirs; (None, None): too many for that."""
    if is_small(library):
        matrix = frame_matrix(library)
        return matrix, None if scope is None else matrix.clips_of(scope)
    let_go(library)
    if scope is not None and is_small(library, scope):
        return frames_of_videos(library, scope), None
    return None, None


def _best(
    scores: Float32[np.ndarray, "m c"], clip_ids: Int64[np.ndarray, "c"], most: int
) -> Int64[np.ndarray, "p"]:
    """The places of the best clips under each query and under all together, best first.

    All together is the mean of scores in standard deviations, so that no query outweighs others.
    """
    mean, deviation = scores.mean(1, keepdims=True), scores.std(1, keepdims=True)
    standard = (scores - mean) / np.maximum(deviation, np.finfo(np.float32).tiny)
    together = standard.mean(0)
    rankings = [together] if len(scores) == 1 else [*standard, together]
    chosen = np.unique(np.concatenate([_top(each, most) for each in rankings]))
    # The best clip of any one query stands before the second best of any other.
    return chosen[np.lexsort((clip_ids[chosen], -standard[:, chosen].max(0)))]


def _top(scores: Float32[np.ndarray, "c"], most: int) -> Int64[np.ndarray, "p"]:
    """The places of the `most` largest, in any order; of equals the first."""
    if most >= len(scores):
        return np.arange(len(scores))
    least = np.partition(scores, len(scores) - most)[len(scores) - most]
    above = np.flatnonzero(scores > least)
    return np.concatenate([above, np.flatnonzero(scores == least)[: most - len(above)]])


def nearest_clips(
    vectors: Float32[np.ndarray, "m d"],
    library: Library,
    scope: frozenset[int] | None,
    most: int,
) -> tuple[ClipRecord, ...]:
    """The clips of the index's nearest vectors, by best score, each once."""
    asked = vectors
    if len(vectors) > 1:
        together = vectors.sum(0, keepdims=True)
        length = np.linalg.norm(together)
        if length > 0:  # opposite questions have nothing in common to look for
            asked = np.concatenate([vectors, together / length])
    among = None if scope is None else library.catalog.vector_ids(sorted(scope))
    scores, ids = library.index().search(asked, most, among)
    there = ids >= 0
    order = np.lexsort((ids[there], -scores[there]))
    nearest = ids[there][order].tolist()
    clip_of = library.catalog.clips_of_vectors(dict.fromkeys(nearest))
    if library.inspection.inspect({record.video_id for record in clip_of.values()}):
        # Without what is damaged others come nearer.
        return nearest_clips(vectors, library, scope, most)
    once = {clip_of[vector].id: clip_of[vector] for vector in nearest if vector in clip_of}
    return tuple(once.values())


_lock = threading.Lock()
_samples: WeakKeyDictionary[Library, tuple[Generation, Float32[np.ndarray, "n d"]]]
_samples = WeakKeyDictionary()


def frames_sample(library: Library) -> Float32[np.ndarray, "n d"]:
    """About 2,000 frames from all over the library, of a large one vectors, as it is now.

    Raises:
        LibraryError: the catalog cannot be read.
    """
    if is_small(library):
        rows = frame_matrix(library).rows
        return rows[:: max(1, len(rows) // _SAMPLE)]
    with _lock:
        now = library.catalog.generation()
        kept = _samples.get(library)
        if kept is None or kept[0] != now:
            kept = _samples[library] = (now, library.catalog.sample_vectors(_SAMPLE))
        return kept[1]
