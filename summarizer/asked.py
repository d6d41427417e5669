"""A question put to one video: how near each frame is to it, and whether anything answers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64

from search.asking import Asked, understand
from search.candidates import frames_sample
from search.combine import Background, combine_values
from search.engine import SearchEngine
from vidsift.library import Library
from vidsift.types import FrameFeatures, SearchResult, Span, VideoRecord

__all__ = ["Answered", "answer_in"]

_MOST_MOMENTS = 50
_OUTSIDE = 2.0  # deviations below the lowest: frames of no moment, where only moments answer


@dataclass(frozen=True)
class Answered:
    """How near each frame is to a question, in deviations above what is usual in the library.

    `matched` is that of Summary: the false-alarm rate is that of unrelated questions put to this
    one video, since a summary is always of it, and not of the best that a library has.
    """

    relevance: Float64[np.ndarray, "n"]
    matched: bool | None


def answer_in(
    library: Library, record: VideoRecord, features: FrameFeatures, text: str
) -> Answered:
    """Put a question, in the grammar of docs/questions.md, to one video.

    Frames count by their own similarity: of several terms of one moment by the soft minimum, less
    what is excluded. What is said in the words of the question counts as the nearest picture does,
    by the share of the words. A question about an order of moments, or about what is said, is
    answered by the moments that a search finds, and by nothing outside of them.

    Raises:
        QueryError: the question cannot be asked.
        EncoderError, PoolerError, LibraryError: the library cannot be searched, and why.
    """
    asked = understand(library, text)
    answer = SearchEngine(library).ask(text, _MOST_MOMENTS, flat=True, among=frozenset({record.id}))
    times = features.pts_seconds
    frames = np.asarray(features.features, dtype=np.float32)
    relevance = _seen(library, asked, frames)
    for result in answer.results:
        if result.cue is not None and not asked.spoken:
            said = _inside(times, [result.cue.span])
            share = min(1.0, result.moment.score) if result.found_by == ("words",) else 1.0
            relevance[said] += share * (relevance.max() - relevance[said])
    if asked.spoken or len(asked.steps) > 1:
        answering = _inside(times, [span for each in answer.results for span in _spans(each)])
        relevance[~answering] = relevance.min() - _OUTSIDE
    # What was found and has no rate cannot be told from chance.
    untold = bool(answer.results) and all(each.false_alarm_rate is None for each in answer.results)
    return Answered(relevance, answer.matched or (None if untold else False))


def _seen(
    library: Library, asked: Asked, frames: Float32[np.ndarray, "n d"]
) -> Float64[np.ndarray, "n"]:
    """How near the frames are to what is to be seen; of several steps to any."""
    nearest = np.full(len(frames), -np.inf if asked.steps else 0.0)
    sample = frames_sample(library)
    for own in asked.steps:
        usual = Background.of(own.vectors @ (sample if len(sample) else frames).T)
        values = combine_values(own.step, own.vectors @ frames.T, usual)
        wanted = len(own.step.wanted)
        z = (values - usual.mean[:wanted].mean()) / usual.deviation[:wanted].mean()
        nearest = np.maximum(nearest, z)
    return nearest


def _spans(result: SearchResult) -> Sequence[Span]:
    return [part.span for part in result.parts] or [result.moment.span]


def _inside(times: Float64[np.ndarray, "n"], spans: Sequence[Span]) -> Bool[np.ndarray, "n"]:
    inside = np.zeros(len(times), dtype=bool)
    for span in spans:
        # The frame before shows at the start of the span too.
        first = max(0, int(np.searchsorted(times, span.start + 1e-6, side="right")) - 1)
        inside[first : int(np.searchsorted(times, span.end - 1e-6, side="left"))] = True
    return inside
