"""Relevance feedback: more like this one, not that one.

Rocchio, "Relevance feedback in information retrieval" (1971), on frames: with the mean p of the
liked moments and n of the disliked ones the question becomes

    q' = q + beta p - gamma n,    unit length.

A moment stands for the frames around it, pooled by attention to the question: what in it answers
the question counts, not what merely lies beside. gamma is small because what was disliked was found
by the same question, and so shares with the right answer what was asked for (the measurement is in
`benchmarks/questions.py`). What was disliked, and what looks the same, is left out altogether.

Axes: e examples, d dimensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float32

from search.examples import clip_at, frames_around
from vidsift.library import Library
from vidsift.types import Moment, TextQuery, VideoRecord

__all__ = ["BETA", "GAMMA", "refine", "rocchio", "without_rejected"]

BETA, GAMMA = 0.75, 0.05
_LOOKS_THE_SAME = 0.95  # cosine; frames of different footage reach it once in 10,000 pairs


def refine(
    query: TextQuery,
    library: Library,
    yes: Sequence[tuple[VideoRecord, float]],
    no: Sequence[tuple[VideoRecord, float]],
) -> TextQuery:
    """The question after feedback; `yes` and `no` are videos and times in seconds in them.

    Raises:
        QueryError: a video has no clips.
        DamagedLibraryError: its features cannot be read.
    """
    liked, disliked = (_attended(query, library, moments) for moments in (yes, no))
    return TextQuery(query.text, rocchio(query.vector, liked, disliked))


def rocchio(
    query: Float32[np.ndarray, "d"],
    yes: Float32[np.ndarray, "_ d"],
    no: Float32[np.ndarray, "_ d"],
    *,
    beta: float = BETA,
    gamma: float = GAMMA,
) -> Float32[np.ndarray, "d"]:
    """The question's vector after feedback, unit length; without any example it stays."""
    moved = query.copy()
    if len(yes):
        moved += np.float32(beta) * yes.mean(0)
    if len(no):
        moved -= np.float32(gamma) * no.mean(0)
    return _unit(moved)


def _attended(
    query: TextQuery, library: Library, moments: Sequence[tuple[VideoRecord, float]]
) -> Float32[np.ndarray, "e d"]:
    """The frames of each moment, pooled under the question, unit length."""
    pooled = []
    for video, seconds in moments:
        frames = frames_around(library, clip_at(library, video, seconds), seconds)
        mask = np.ones((1, len(frames)), bool)
        _, weights = library.pooler(query.vector[np.newaxis], frames[np.newaxis], mask)
        pooled.append(_unit(weights[0, 0] @ frames))
    return np.stack(pooled) if pooled else np.zeros((0, len(query.vector)), np.float32)


def without_rejected(
    moments: Iterable[Moment], library: Library, no: Sequence[tuple[VideoRecord, float]]
) -> Iterator[Moment]:
    """The moments, one by one, that were not disliked and do not look the same as one that was.

    Raises:
        QueryError: a video has no clips.
        DamagedLibraryError: the features of a video in `no` cannot be read.
    """
    if not no:
        yield from moments
        return
    rejected = np.stack(
        [
            _unit(frames_around(library, clip_at(library, video, seconds), seconds).mean(0))
            for video, seconds in no
        ]
    )
    for moment in moments:
        if any(
            moment.video_id == video.id and moment.span.start <= seconds < moment.span.end
            for video, seconds in no
        ):
            continue
        record = library.catalog.clips([moment.clip_id]).get(moment.clip_id)
        if record is None:  # deleted meanwhile
            continue
        seen = _unit(frames_around(library, record, moment.peak_seconds).mean(0))
        if float((rejected @ seen).max()) < _LOOKS_THE_SAME:
            yield moment


def _unit(vector: Float32[np.ndarray, "d"]) -> Float32[np.ndarray, "d"]:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)
