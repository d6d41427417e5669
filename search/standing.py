"""Standing questions: does a new video show what is asked, and how sure is that?

A standing question is asked of one video at a time, again and again. Its false-alarm rate is a
share of videos: of those that have nothing to do with the question at most so many may raise an
alert. The rate of a search (`search.trust`) cannot say this: there the best clip of a whole library
is compared with what unrelated questions find in that library, which is more than in one video.

So the null distribution here is of the one video: each text of the bank of unrelated questions is
put to it, and the best value that each finds in it makes the distribution. The video's length is
accounted for thereby. But a question may be close to everything ("outdoors"), and would then alert
all the time; what it finds anywhere is therefore taken from what it finds here:

    t(q, c) = s(q, c) - h(c) / 2 - r(q, c)

with the hubness h of clip c under the bank, as in `search.null`, and the level r: the mean of the
10 highest scores under q of the library's clips that show something else than c (as much of it as
there are such clips, where they are fewer: the first video of a library has no level). The library
is represented by up to 2,000 of its clips. Bank and question are treated alike, so that the rate is
right whatever the weights; these decide what is found at a rate. `benchmarks/standing.py` holds the
figures.

Axes: m terms of a question, c clips of the video, r clips of the reference, b texts of the bank.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float32, Float64, Int64

from search.asking import Asked, understand
from search.bank import bank_texts, bank_vectors
from search.candidates import first_stage
from search.engine import ALL_WORDS, SearchEngine
from search.exact import FrameMatrix, frames_of_videos, is_small, is_training_free
from search.fusion import Fused
from search.grammar import parse_question
from search.null import (
    BEST,
    HUB_WEIGHT,
    RIVALS,
    SAME_CONTENT,
    Null,
    best_places,
    blocks,
    directions_from,
    hubness,
    rivals,
)
from search.paging import Ranking
from search.rerank import score_clips
from search.trust import false_alarm_rates, matrix_of, mean_frames, scores_in_one_pass
from vidsift.errors import DamagedLibraryError, QueryError
from vidsift.library import Library
from vidsift.models.attention import Pooler
from vidsift.types import ClipRecord, SearchResult

__all__ = ["DEFAULT_RATE", "check_question", "check_rate", "standing_matches"]

DEFAULT_RATE = 0.01
_REFERENCE_CLIPS = 2_000
_GROWTH = 1.1  # of the library, or its inverse, after which other clips represent it
_SHOWN = 30  # of a text's best clips in the video, among which its best value is
_LOOKED_AT = 200  # moments of a video
_MOST = 20  # alerts of one question about one video
_BLOCK = 32  # texts that a learned pooler takes at a time


def check_question(text: str) -> None:
    """Refuse a question that can never be asked, before it stands.

    Raises:
        QuestionSyntaxError: it breaks the grammar; points at the character.
        QueryError: it is empty or too long, or says only which videos are meant.
    """
    question = parse_question(text)
    if not question.steps and not question.spoken:
        raise QueryError(
            f"{question.text}: this only says which videos; say also what to look for in them"
        )


def check_rate(rate: float) -> None:
    """Refuse a false-alarm rate that cannot be told.

    Raises:
        QueryError: it is no share, or lower than the bank's questions are enough to tell.
    """
    nothing = np.empty(0, np.int64)
    none = nothing.astype(np.float32)
    peaks = np.zeros(len(bank_texts()), np.float32)
    least = float(Null(peaks, none, nothing, none).rates(np.ones(1, np.float32))[0])
    if not least <= rate < 1:
        raise QueryError(
            f"--false-alarm-rate {rate:g}: must be from {np.ceil(least * 1e4) / 1e4:g}, the lowest"
            " that can be told, to below 1"
        )


def standing_matches(
    library: Library, question: str, rate: float, video_ids: Sequence[int]
) -> list[SearchResult]:
    """The moments of some videos that answer a question, at a false-alarm rate a video.

    A moment that pictures show matches where its rate, which the result carries, is at most `rate`.
    A moment that words found matches where every word of the question is said in it, or where it
    says what `said:` asks for; it carries no rate. Question after question costs less than video
    after video: a video's null distribution is kept until another video is asked.

    Args:
        library: where the videos are.
        question: in the whole grammar; of its filters the videos that are given must pass all.
        rate: of videos that have nothing to do with the question, the share that may match.
        video_ids: ids of searchable videos, each asked by itself.

    Returns:
        At most 20 moments of each video, in the order of the ids and of time.

    Raises:
        QueryError: the question breaks the grammar, or a filter names what is not there.
        EncoderError, LibraryError: the library cannot be searched, and why.
    """
    asked = understand(library, question)
    may_answer = asked.scope
    found = []
    for video in video_ids:
        if may_answer is None or video in may_answer:
            found += _matches(library, replace(asked, scope=frozenset({int(video)})), rate)
    return found


def _matches(library: Library, asked: Asked, rate: float) -> list[SearchResult]:
    ranking = Ranking(library, asked, None)
    looked_at = list(islice(ranking, _LOOKED_AT))
    rates = ranking.rates([each.moment for each in looked_at], _Judge(asked))
    matching = sorted(
        (1.0 if its_rate is None else its_rate, place)
        for place, (each, its_rate) in enumerate(zip(looked_at, rates, strict=True))
        if _is_said(each, asked, ranking) or (its_rate is not None and its_rate <= rate)
    )[:_MOST]
    places = [place for _, place in matching]
    results = SearchEngine(library).results(
        [looked_at[place] for place in places],
        [rates[place] for place in places],
        [()] * len(places),
        ranking,
    )
    return sorted((each for each in results if each), key=lambda each: each.moment.span)


def _is_said(each: Fused, asked: Asked, ranking: Ranking) -> bool:
    if asked.spoken:
        return not asked.steps
    return each.cue is not None and ranking.coverage.get(each.cue, 0.0) >= ALL_WORDS


class _Judge:
    """How sure the clips of one video are under one question: a `search.ranking.Judge`."""

    def __init__(self, asked: Asked) -> None:
        self._vectors = [vector for step in asked.steps for vector in step.vectors]

    def __call__(
        self,
        library: Library,
        records: Sequence[ClipRecord],
        scores: Float32[np.ndarray, "m c"],
        scope: frozenset[int] | None,
        shown: Sequence[int] | None,
    ) -> Float64[np.ndarray, "m r"] | None:
        if scope is None or not is_small(library, scope):
            # A video of a day or more is a library by itself.
            return false_alarm_rates(library, records, scores, scope, shown)
        with _opening:
            kept = _kept.setdefault(library, _Kept())
        reference, video = kept.current(library, scope)
        if not len(video.null.peaks):
            return None
        asked = np.arange(len(records)) if shown is None else np.array(shown, dtype=np.int64)
        ids = np.array([records[place].id for place in asked], dtype=np.int64)
        places = np.searchsorted(video.null.clip_ids, ids).clip(max=len(video.null.clip_ids) - 1)
        near = video.null.hubness_of(ids)
        values = [
            _value(
                of_term[asked],
                near,
                reference.level(reference.scores(vector), video.directions[places]),
                video.weights[places],
            )
            for vector, of_term in zip(self._vectors, scores, strict=True)
        ]
        return video.null.rates(np.stack(values))


def _value(
    scores: Float32[np.ndarray, "*b r"],
    near: Float32[np.ndarray, "*b r"],
    level: Float32[np.ndarray, "*b r"],
    weights: Float32[np.ndarray, "*b r"],
) -> Float32[np.ndarray, "*b r"]:
    return np.asarray(scores - HUB_WEIGHT * near - weights * level)


@dataclass(frozen=True)
class _Reference:
    """Clips that represent a library, and what they score under the bank.

    `centre` is the mean of their mean frames, `directions` lead from it to each.
    """

    pooler: Pooler
    matrix: FrameMatrix
    centre: Float32[np.ndarray, "d"]
    directions: Float32[np.ndarray, "r d"]
    bank: Float32[np.ndarray, "r b"]

    @classmethod
    def of(cls, library: Library) -> _Reference:
        ids = library.catalog.vector_ids()
        # A clip stands there under up to three vectors.
        step = max(1, len(ids) // (2 * _REFERENCE_CLIPS))
        clips = {each.id: each for each in library.catalog.clips_of_vectors(ids[::step]).values()}
        matrix = matrix_of(library, _readable(library, list(clips.values())[:_REFERENCE_CLIPS]))
        means = mean_frames(matrix)
        centre = means.mean(0)
        pooler = first_stage(library)
        bank = scores_in_one_pass(matrix, bank_vectors(library.encoder), pooler)
        return cls(pooler, matrix, centre, directions_from(centre, means), bank)

    def scores(self, vector: Float32[np.ndarray, "d"]) -> Float32[np.ndarray, "r"]:
        return np.asarray(self.matrix.scores(vector[np.newaxis], self.pooler)[0])

    def level(
        self, scores: Float32[np.ndarray, "*b r"], directions: Float32[np.ndarray, "*b c d"]
    ) -> Float32[np.ndarray, "*b c"]:
        """What a text with these scores finds that shows something else than each of the clips."""
        best = best_places(scores, BEST)
        highest = np.take_along_axis(scores, best, -1)
        return rivals(highest, self.directions[best], directions)


def _readable(library: Library, records: Sequence[ClipRecord]) -> list[ClipRecord]:
    """The clips whose features are there; the search warns of the others."""
    damaged = set()
    for name in {record.feature_file for record in records}:
        try:
            library.features.open(name)
        except DamagedLibraryError:
            damaged.add(name)
    return [record for record in records if record.feature_file not in damaged]


@dataclass(frozen=True)
class _VideoNull:
    """What unrelated questions find in one video.

    Of the null's clips in turn: the directions, and how much of the level is taken off.
    """

    null: Null
    directions: Float32[np.ndarray, "c d"]
    weights: Float32[np.ndarray, "c"]

    @classmethod
    def of(cls, library: Library, scope: frozenset[int], reference: _Reference) -> _VideoNull:
        matrix = frames_of_videos(library, scope)
        order = np.argsort(matrix.clip_ids)
        scores = _bank_scores(library, matrix)
        near, without = hubness(scores)
        directions = directions_from(reference.centre, mean_frames(matrix))
        others = (directions @ reference.directions.T < SAME_CONTENT).sum(1)
        weights = np.minimum(others / np.float32(RIVALS), np.float32(1)).astype(np.float32)
        peaks = []
        for block in blocks(scores.shape[1]):
            best = best_places(scores.T[block], _SHOWN)  # (block, p)
            levels = reference.level(reference.bank.T[block], directions[best])
            highest = np.take_along_axis(scores.T[block], best, -1)
            near_best = np.take_along_axis(without.T[block], best, -1)
            peaks.append(_value(highest, near_best, levels, weights[best]).max(-1))
        null = Null(
            np.sort(np.concatenate(peaks)),
            reference.centre,
            matrix.clip_ids[order],
            near[order],
        )
        return cls(null, directions[order], weights[order])


def _bank_scores(library: Library, matrix: FrameMatrix) -> Float32[np.ndarray, "c b"]:
    """What the clips of a video score under the bank, by the pooler that ranks."""
    bank = bank_vectors(library.encoder)
    if is_training_free(library.pooler):
        return scores_in_one_pass(matrix, bank, library.pooler, library.settings.temperature)
    records = _records(library, matrix.clip_ids)
    blocks = [
        score_clips(bank[low : low + _BLOCK], records, library.features, library.pooler).scores
        for low in range(0, len(bank), _BLOCK)
    ]
    return np.ascontiguousarray(np.concatenate(blocks).T)


def _records(library: Library, clip_ids: Int64[np.ndarray, "c"]) -> list[ClipRecord]:
    found = library.catalog.clips(clip_ids)
    return [found[clip] for clip in clip_ids.tolist()]


class _Kept:
    """One library's reference and the null of the latest video that was asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reference: _Reference | None = None
        self._clips = 0
        self._video: tuple[frozenset[int], int, _VideoNull] | None = None

    def current(self, library: Library, scope: frozenset[int]) -> tuple[_Reference, _VideoNull]:
        with self._lock:
            clips, _ = library.catalog.num_clips()
            if self._reference is None or not 1 / _GROWTH <= clips / self._clips <= _GROWTH:
                self._reference, self._clips, self._video = _Reference.of(library), clips, None
            generation = library.catalog.generation().generation
            if self._video is None or self._video[:2] != (scope, generation):
                null = _VideoNull.of(library, scope, self._reference)
                self._video = (scope, generation, null)
            return self._reference, self._video[2]


_opening = threading.Lock()
_kept: WeakKeyDictionary[Library, _Kept] = WeakKeyDictionary()
