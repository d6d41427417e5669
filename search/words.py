"""Moments in which something is said: from cues that were found to spans of video."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import SupportsIndex
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float32, Int64

from search.bank import bank_vectors
from vidsift.library import Library
from vidsift.models.encoder import Encoder
from vidsift.store.catalog import Catalog
from vidsift.store.folding import terms
from vidsift.store.records import Generation
from vidsift.store.words import WordHit
from vidsift.types import ClipRecord, Cue, EncoderStamp, Moment, Span

__all__ = [
    "RANK_CONSTANT",
    "CueVectors",
    "SpokenMoment",
    "find_spoken",
    "said_together",
    "spoken_moments",
]

# Of reciprocal rank fusion (Cormack, Clarke and Buettcher 2009), who found it to matter little.
RANK_CONSTANT = 60
_MOST_CUES = 50_000
_CHANCE = 1e-4

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


def find_spoken(
    library: Library,
    text: str,
    most: int,
    scope: Iterable[SupportsIndex] | None = None,
    *,
    vector: Float32[np.ndarray, "d"] | None = None,
) -> list[WordHit]:
    """The cues that say what `text` says, in its words or in others, best first, at most `most`.

    Two rankings, fused by reciprocal ranks: by words (`catalog.search_words`) and by meaning, the
    cosine of the text with every cue (exact, one matrix product). By meaning a cue counts only if
    it is nearer than all but one in ten thousand pairs of the bank's unrelated questions are to
    each other. A hit's score is its share of the words where it has one, else the cosine.

    Libraries of more than 50,000 cues are searched by words alone: to read the vectors would take
    longer than all else. `scope` are the ids of the videos that may answer, None: all. `vector` is
    the text's, where it is known already.

    Raises:
        LibraryError: the catalog cannot be read.
        EncoderError: the library has cues, and the encoder cannot run.
    """
    videos = None if scope is None else [int(video) for video in scope]
    by_words = library.catalog.search_words(text, most, videos)
    if not terms(text) or most < 1:
        return []
    with _opening:
        vectors = _kept.setdefault(library, CueVectors(library.catalog))
    if not vectors.is_small():
        return by_words
    query = library.encoder.encode_texts([text])[0] if vector is None else vector
    least = _least_cosine(library.encoder)
    by_meaning = vectors.nearest(query, most, at_least=least, of_videos=videos)
    hits: dict[int, WordHit] = {}
    worth: dict[int, float] = {}
    for ranking in (by_words, by_meaning):
        for rank, hit in enumerate(ranking, 1):
            [record] = hit.cues
            hits.setdefault(record.id, hit)
            worth[record.id] = worth.get(record.id, 0.0) + 1 / (RANK_CONSTANT + rank)
    return [hits[each] for each in sorted(hits, key=lambda each: -worth[each])][:most]


def _least_cosine(encoder: Encoder) -> float:
    stamp = encoder.stamp
    if stamp not in _least:
        bank = bank_vectors(encoder)
        apart = (bank @ bank.T)[np.triu_indices(len(bank), 1)]
        # A little more, since vectors are kept with half precision.
        _least[stamp] = float(np.quantile(apart, 1 - _CHANCE)) + 1e-3
    return _least[stamp]


class CueVectors:
    """The vectors of all cues in memory, read again when the library has changed.

    4 * d bytes a cue: 1.5 KB with the built-in encoder. For several threads.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        self._generation: Generation | None = None
        self._number = 0
        self._vectors: tuple[Int64[np.ndarray, "n"], Float32[np.ndarray, "n d"]] | None = None

    def is_small(self) -> bool:
        """Whether there are cues, and few enough to hold their vectors."""
        with self._lock:
            self._follow()
            return 0 < self._number <= _MOST_CUES

    def nearest(
        self,
        query: Float32[np.ndarray, "d"],
        most: int,
        *,
        at_least: float = -1.0,
        of_videos: Iterable[SupportsIndex] | None = None,
    ) -> list[WordHit]:
        """The cues whose meaning is nearest to a unit-length question, best first.

        Exact: one matrix product. The score is the cosine, at least `at_least`.
        """
        with self._lock:
            self._follow()
            if self._vectors is None:
                self._vectors = self._catalog.cue_vectors()
            ids, vectors = self._vectors
        if not len(ids) or most < 1:
            return []
        scores = vectors @ query  # (n,)
        if of_videos is not None:
            scores[~np.isin(ids, self._catalog.cue_ids(of_videos))] = -np.inf
        best = np.argsort(-scores, kind="stable")[:most]
        best = best[scores[best] >= at_least]
        score_of = dict(zip(ids[best].tolist(), scores[best].tolist(), strict=True))
        found = self._catalog.cues_by_id(ids[best])
        return [WordHit((record,), score_of[record.id]) for record in found]

    def _follow(self) -> None:
        generation = self._catalog.generation()
        if generation != self._generation:
            self._generation, self._vectors = generation, None
            self._number = self._catalog.num_cues()


_opening = threading.Lock()
_kept: WeakKeyDictionary[Library, CueVectors] = WeakKeyDictionary()
_least: dict[EncoderStamp, float] = {}
