"""Moments in which something is said: from cues that were found to spans of video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from vidsift.store.catalog import Catalog
from vidsift.store.records import Generation
from vidsift.store.words import WordHit
from vidsift.types import ClipRecord, Cue, Moment, Span

__all__ = ["CueVectors", "SpokenMoment", "said_together", "spoken_moments"]

_LEAST_SECONDS = 1.0  # a moment is long enough to be seen
_SAME_SCENE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class SpokenMoment:
    """A moment in which words are said: `cue` holds them, joined where they run over several.

    The moment's score is that of the words, between 0 and 1: no cosine.
    """

    moment: Moment
    cue: Cue


def spoken_moments(
    hits: Iterable[WordHit], clips_of: Callable[[int], Sequence[ClipRecord]]
) -> Iterator[SpokenMoment]:
    """The moment of each hit, in the order of the hits; hits at the same time count once.

    It spans the hit's cues, at least 1 s where the video has as much, and belongs to the clip that
    shares most time with it, or lies nearest. `clips_of` tells a video's clips in order of time
    (`catalog.clips_of_video`); it is asked once a video, when its first hit is reached.
    """
    clips: dict[int, Sequence[ClipRecord]] = {}
    taken: dict[int, list[Span]] = {}
    for hit in hits:
        video = hit.video_id
        if video not in clips:
            clips[video], taken[video] = clips_of(video), []
        if not clips[video]:
            continue  # the video has been taken out in the meantime
        own = hit.span
        if any(
            own.overlap(span) >= 0.5 * min(own.duration, span.duration) for span in taken[video]
        ):
            continue  # the same line in another language, or a phrase that is said twice in it
        taken[video].append(own)
        end = clips[video][-1].clip.span.end
        span = _widened(own, max(end, own.end))
        clip = min(clips[video], key=lambda record: _distance(record.clip.span, own))
        text = " ".join(record.cue.text for record in hit.cues)
        moment = Moment(video, clip.id, span, own.start, hit.score)
        yield SpokenMoment(moment, Cue(own, text, hit.cues[0].cue.track))


def said_together(found: Sequence[Sequence[WordHit]]) -> list[WordHit]:
    """Where every one of several phrases is said within 10 s; `found` has the hits of each.

    The cues of a hit are then those of all phrases, in order of time, and its score the least.
    """
    if not found:
        return []
    joined = list(found[0])
    for others in found[1:]:
        together = []
        for hit in joined:
            near = [
                other
                for other in others
                if other.video_id == hit.video_id
                and _distance(other.span, hit.span) <= _SAME_SCENE_SECONDS
            ]
            if near:
                best = min(near, key=lambda other: _distance(other.span, hit.span))
                cues = {record.id: record for record in (*hit.cues, *best.cues)}
                ordered = sorted(cues.values(), key=lambda record: record.cue.span)
                together.append(WordHit(tuple(ordered), min(hit.score, best.score)))
        joined = together
    return sorted(joined, key=lambda hit: -hit.score)


def _same(a: Span, b: Span) -> bool:
    return a.overlap(b) >= 0.5 * min(a.duration, b.duration)


def _distance(span: Span, own: Span) -> float:
    """Seconds between two spans; minus the seconds that they share where they overlap."""
    return max(own.start - span.end, span.start - own.end, 0.0) or -span.overlap(own)


def _widened(span: Span, end: float) -> Span:
    lacking = _LEAST_SECONDS - span.duration
    if lacking <= 0:
        return span
    start = max(0.0, min(span.start - lacking / 2, end - _LEAST_SECONDS))
    return Span(start, max(span.end, min(end, start + _LEAST_SECONDS)))


class CueVectors:
    """The vectors of all cues in memory, read again when the library has changed.

    4 * d bytes a cue: 1.5 KB with the built-in encoder.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._generation: Generation | None = None
        self._ids: Int64[np.ndarray, "n"] = np.zeros(0, np.int64)
        self._vectors: Float32[np.ndarray, "n d"] = np.zeros((0, 0), np.float32)

    def nearest(
        self, query: Float32[np.ndarray, "d"], most: int, *, at_least: float = -1.0
    ) -> list[WordHit]:
        """The cues whose meaning is nearest to a unit-length question, best first.

        Exact: one matrix product. The score is the cosine, at least `at_least`.
        """
        generation = self._catalog.generation()
        if generation != self._generation:
            self._ids, self._vectors = self._catalog.cue_vectors()
            self._generation = generation
        if not len(self._ids) or most < 1:
            return []
        scores = self._vectors @ query  # (n,)
        best = np.argsort(-scores, kind="stable")[:most]
        best = best[scores[best] >= at_least]
        score_of = dict(zip(self._ids[best].tolist(), scores[best].tolist(), strict=True))
        return [
            WordHit((record,), score_of[record.id])
            for record in self._catalog.cues_by_id(self._ids[best].tolist())
        ]
