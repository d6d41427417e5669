"""Why a moment was found: the curve, what the score falls to without its parts, and what was said.

Everything comes from stored features, except the heat map, for which one frame is decoded
(`look_at`).

Axes: t terms, n frames of the video, c clips, m frames of a clip (padded), d dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from search.candidates import find_candidates
from search.context import in_context, surroundings
from search.exact import is_small, is_training_free
from search.fusion import CrossModal, Scale, attend
from search.moments import find_moments, frame_spans
from vidsift.errors import QueryError
from vidsift.library import Library
from vidsift.media.limits import MediaLimits
from vidsift.media.probe import probe
from vidsift.media.still import read_frame
from vidsift.models.attention import Pooler, pad_clips
from vidsift.models.encoder import with_regions
from vidsift.models.regions import HeatMap
from vidsift.store.folding import FUNCTION_WORDS, fold_words
from vidsift.types import ClipRecord, Cue, RankedClip, Span, TextQuery, VideoRecord

__all__ = [
    "Explanation",
    "LookedAt",
    "SaidWords",
    "TermExplanation",
    "Without",
    "explain",
    "look_at",
]

_LEAST_DEVIATION = 0.01  # of cosines: where all are alike nothing must be divided by 0
_MOST_PARTS = 3
_MOST_TRIED = 16
_LEAST_SECONDS = 0.1  # shorter stretches are single frames beside a cut
_MOST_CUES = 3
_RELATED = 0.3  # cosine from which a line of subtitles is worth showing without a word in common
_EVEN = 1.001  # times the even share: frames that weigh more stand out


@dataclass(frozen=True, slots=True)
class Without:
    """The score if the frames of `span` were not there; None: nothing of the moment is left."""

    span: Span
    score: float | None


@dataclass(frozen=True, slots=True)
class SaidWords:
    """A line of subtitles in the moment: words it shares with the question, and its cosine."""

    cue: Cue
    words: tuple[str, ...]
    similarity: float


@dataclass(frozen=True, slots=True)
class TermExplanation:
    """One term of the question over the whole video.

    `similarities` are the frames' cosines, `weights` the attention over the moment's frames: they
    sum to 1 there and are 0 elsewhere. `background` is what is usual in the library (see
    `search.candidates.Candidates`). `score` is that of the moment's best clip, `elsewhere` that of
    the best clip if the moment were not there (None: the moment is all there is). `best_seconds` is
    the moment's most similar frame. `without` has, of the stretches that weigh more than an even
    share, the three that are missed most. `cross_modal` tells how much the picture and what is said
    count; None where nothing is said in the moment.
    """

    query: TextQuery
    similarities: Float32[np.ndarray, "n"]
    weights: Float32[np.ndarray, "n"]
    background: float
    score: float
    elsewhere: float | None
    best_seconds: float
    best_similarity: float
    without: tuple[Without, ...]
    cross_modal: CrossModal | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A moment of a video under the terms of a question; each frame counts from start to end."""

    video: VideoRecord
    moment: Span
    starts: Float64[np.ndarray, "n"]
    ends: Float64[np.ndarray, "n"]
    terms: tuple[TermExplanation, ...]
    said: tuple[SaidWords, ...]


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A frame and which of its regions speak for a term."""

    seconds: float
    image: UInt8[np.ndarray, "h w 3"]
    heat: HeatMap


def explain(
    library: Library, terms: Sequence[TextQuery], video: VideoRecord, at: Span | float
) -> Explanation:
    """Explain the moment `at` of a video: a span, or seconds in it, for which the moment is found.

    The score of a term is that of its ranking: pooling over the frames of each clip. What the
    moment would score without a stretch is the same pooling with that stretch's frames masked, and
    the best of the moment's clips that are left.

    Raises:
        QueryError: there is no term, or the time lies beyond the video's end.
        DamagedLibraryError: the video's features are absent or damaged.
    """
    if not terms:
        raise QueryError("there is nothing to explain: the question names nothing to be seen")
    return library.in_one_state(
        lambda: _explain(library, terms, library.catalog.video(video.id) or video, at)
    )


def _explain(
    library: Library, terms: Sequence[TextQuery], video: VideoRecord, at: Span | float
) -> Explanation:
    library.require_whole(video)
    records = library.catalog.clips_of_video(video.id)
    if not records:
        raise QueryError(f"{video.path}: is not searchable: {video.reason or 'it has no clips'}")
    vectors = np.stack([term.vector for term in terms])  # (t, d)
    reading = _Reading(library, video, records)
    usual, spread = _background(library, vectors)
    moment = at if isinstance(at, Span) else _moment_at(reading, vectors, usual, at)
    inside = reading.overlaps(moment)  # (n,)
    if not inside.any():
        end = reading.ends[-1]
        raise QueryError(f"{video.path}: {moment.start:.1f} s is beyond its end ({end:.1f} s)")
    return Explanation(
        video=video,
        moment=moment,
        starts=reading.starts,
        ends=reading.ends,
        terms=tuple(
            _explain_term(reading, term, inside, Scale(mean, max(deviation, _LEAST_DEVIATION)))
            for term, mean, deviation in zip(terms, usual.tolist(), spread.tolist(), strict=True)
        ),
        said=_said(library, video, terms, moment),
    )


def look_at(library: Library, video: VideoRecord, query: TextQuery, seconds: float) -> LookedAt:
    """Decode the frame at a time and see which of its regions speak for a question.

    Raises:
        MediaError: the video is gone, or has no frame there.
        EncoderError: the library's encoder has no regions.
    """
    encoder = with_regions(library.encoder)
    limits = MediaLimits.of(library.settings)
    side = library.encoder.picture_size
    image = read_frame(probe(video.path, limits=limits), seconds, short_side=side, limits=limits)
    return LookedAt(seconds, image, encoder.heat_map(image, query.vector))


class _Reading:
    """The stored frames of one video, clip by clip, and the pooler that scores them."""

    def __init__(self, library: Library, video: VideoRecord, records: list[ClipRecord]) -> None:
        self.records = records
        self._library, self._video = library, video
        self._in_context = is_training_free(library.pooler) and is_small(library)
        self._pooler: Pooler = library.pooler
        dimension = library.encoder.stamp.dimension
        clips = [
            library.features.read(
                video.feature_file, record.clip.first_frame, record.clip.num_frames, dimension
            )
            for record in records
        ]
        self._frames, self._mask = pad_clips(clips)  # (c, m, d), (c, m)
        self.starts, self.ends = frame_spans(records)
        self.pts = np.concatenate([record.pts_seconds for record in records])

    @property
    def frames(self) -> Float32[np.ndarray, "n d"]:
        return np.asarray(self._frames[self._mask], np.float32)

    def overlaps(self, span: Span) -> Bool[np.ndarray, "n"]:
        """Which frames stand for some of a span."""
        # Less than a microsecond shared is rounding.
        shared = np.minimum(self.ends, span.end) - np.maximum(self.starts, span.start)
        return np.asarray(shared > 1e-6)

    def score(
        self,
        vector: Float32[np.ndarray, "d"],
        kept: Bool[np.ndarray, "n"],
        of: Bool[np.ndarray, "n"] | None = None,
    ) -> float | None:
        """The best score of a clip, if only the kept frames were there; None: none is left.

        `of` marks the frames of the clips that count; None: all. The other clips are still their
        surroundings.
        """
        mask = np.zeros_like(self._mask)
        mask[self._mask] = kept
        left = np.asarray(mask.any(1))
        counts = left.copy()
        if of is not None:
            its = np.zeros_like(self._mask)
            its[self._mask] = of
            counts &= its.any(1)
        if not counts.any():
            return None
        pooled, _ = self._pooler(vector[np.newaxis], self._frames[left], mask[left])
        scores = (pooled[0] @ vector)[np.newaxis]  # (1, c)
        if self._in_context:
            lengths = mask[left].sum(1)
            reach = surroundings(lengths, np.zeros_like(lengths))
            similarities = (self._frames[mask] @ vector)[np.newaxis]
            temperature = self._library.settings.temperature
            scores = in_context(scores, similarities, lengths, reach, temperature)
        return float(scores[0, counts[left]].max())

    def of_clips_of(self, moment: Bool[np.ndarray, "n"], best: int) -> Bool[np.ndarray, "n"]:
        """All frames of the clips that are a moment's: of which it has half, or the best frame."""
        inside = np.zeros_like(self._mask)
        inside[self._mask] = moment
        shared, length = inside.sum(1), self._mask.sum(1)
        is_its = 2 * shared >= np.minimum(length, moment.sum())  # as moments are told apart
        is_its[np.searchsorted(np.cumsum(length), best, side="right")] = True
        return np.repeat(is_its, length)

    def weights(
        self, vector: Float32[np.ndarray, "d"], kept: Bool[np.ndarray, "n"]
    ) -> Float32[np.ndarray, "n"]:
        """Attention over these frames as over those of one clip; 0 for all others."""
        frames = self.frames[np.newaxis]
        return np.array(self._pooler(vector[np.newaxis], frames, kept[np.newaxis])[1][0, 0])

    def cross_modal(
        self, query: TextQuery, score: float, inside: Bool[np.ndarray, "n"], usual: Scale
    ) -> CrossModal | None:
        """Attention over the picture and the cues in the moment; None where there are no cues."""
        places = np.flatnonzero(inside)
        moment = Span(float(self.starts[places[0]]), float(self.ends[places[-1]]))
        here = [
            record.id
            for record in self._library.catalog.cues_of_video(self._video.id)
            if record.cue.span.overlap(moment) > 0
        ]
        if not here:
            return None
        ids, vectors = self._library.catalog.cue_vectors()
        cosines = vectors @ query.vector
        said = Scale(float(cosines.mean()), max(float(cosines.std()), _LEAST_DEVIATION))
        return attend(
            query.vector,
            score,
            vectors[np.isin(ids, here)],
            picture_scale=usual,
            words_scale=said,
        )

    def ranked(self, vectors: Float32[np.ndarray, "t d"]) -> list[RankedClip]:
        """The clips under the mean of the terms, best first."""
        pooled, weights = self._pooler(vectors, self._frames, self._mask)  # (t, c, d), (t, c, m)
        scores = np.einsum("tcd,td->c", pooled, vectors) / len(vectors)
        curve = np.matmul(self._frames, vectors.T).mean(2)  # (c, m)
        return [
            RankedClip(
                record=self.records[c],
                score=float(scores[c]),
                similarities=curve[c][self._mask[c]],
                weights=weights.mean(0)[c][self._mask[c]],
            )
            for c in np.argsort(-scores, kind="stable")
        ]


def _background(
    library: Library, vectors: Float32[np.ndarray, "t d"]
) -> tuple[Float32[np.ndarray, "t"], Float32[np.ndarray, "t"]]:
    """How similar frames of the library usually are to each term, as a search takes it."""
    candidates = find_candidates(vectors, library)
    if candidates.background is None or candidates.spread is None:
        return np.zeros(len(vectors), np.float32), np.ones(len(vectors), np.float32)
    return candidates.background, candidates.spread


def _moment_at(
    reading: _Reading,
    vectors: Float32[np.ndarray, "t d"],
    usual: Float32[np.ndarray, "t"],
    seconds: float,
) -> Span:
    """The moment around a time that a search of the video would find, or else the clip."""
    for moment in find_moments(reading.ranked(vectors), float(usual.mean())):
        if moment.span.start <= seconds < moment.span.end:
            return moment.span
    spans = [record.clip.span for record in reading.records]
    around = [span for span in spans if span.start <= seconds < span.end]
    return around[0] if around else Span(max(0.0, seconds), max(0.0, seconds) + 1.0)


def _explain_term(
    reading: _Reading, query: TextQuery, inside: Bool[np.ndarray, "n"], usual: Scale
) -> TermExplanation:
    similarities = reading.frames @ query.vector
    weights = reading.weights(query.vector, inside)
    best = int(np.argmax(np.where(inside, similarities, -np.inf)))
    its_clips = reading.of_clips_of(inside, best)
    everything = np.ones_like(inside)
    score = reading.score(query.vector, everything, its_clips)
    without: list[Without] = []
    for part in _parts(weights, inside)[:_MOST_TRIED]:
        span = Span(float(reading.starts[part[0]]), float(reading.ends[part[-1]]))
        if without and span.duration < _LEAST_SECONDS:
            continue
        kept = everything.copy()
        kept[part] = False
        without.append(Without(span, reading.score(query.vector, kept, its_clips)))
    without.sort(key=lambda each: (each.score is not None, each.score))
    return TermExplanation(
        query=query,
        similarities=similarities,
        weights=weights,
        background=usual.mean,
        score=score or 0.0,
        elsewhere=reading.score(query.vector, ~inside),
        best_seconds=float(reading.pts[best]),
        best_similarity=float(similarities[best]),
        without=tuple(without[:_MOST_PARTS]),
        cross_modal=reading.cross_modal(query, score or 0.0, inside, usual),
    )


def _parts(
    weights: Float32[np.ndarray, "n"], inside: Bool[np.ndarray, "n"]
) -> list[Int64[np.ndarray, "_"]]:
    """The runs of frames that weigh more than an even share, heaviest first; else all frames."""
    heavy = weights > _EVEN / inside.sum()
    if not heavy.any():
        return [np.flatnonzero(inside)]
    places = np.flatnonzero(heavy)
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return sorted(runs, key=lambda run: -float(weights[run].sum()))


def _said(
    library: Library, video: VideoRecord, terms: Sequence[TextQuery], moment: Span
) -> tuple[SaidWords, ...]:
    """Lines of subtitles in the moment that share words or meaning with the terms, best first."""
    cues = {
        record.id: record.cue
        for record in library.catalog.cues_of_video(video.id)
        if record.cue.span.overlap(moment) > 0
    }
    if not cues:
        return ()
    asked = {word for term in terms for word in fold_words(term.text)} - FUNCTION_WORDS
    ids, vectors = library.catalog.cue_vectors([video.id])
    nearness = (vectors @ np.stack([term.vector for term in terms]).T).max(1)  # (cues,)
    near = dict(zip(ids.tolist(), nearness.tolist(), strict=True))
    said = [
        SaidWords(
            cue, tuple(w for w in dict.fromkeys(fold_words(cue.text)) if w in asked), near[id_]
        )
        for id_, cue in cues.items()
    ]
    said = [each for each in said if each.words or each.similarity >= _RELATED]
    return tuple(sorted(said, key=lambda each: (-len(each.words), -each.similarity))[:_MOST_CUES])
