"""Words beside pictures: two rankings made one, and how much each part of a clip counted.

Rankings are fused by their ranks alone (Cormack, Clarke and Buettcher 2009), since a cosine between
a text and a picture and a share of spoken words do not compare. How much picture and words count
in one clip is told by attention over the two, from scores that are standardised each by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from search.words import RANK_CONSTANT, SpokenMoment
from vidsift.models.attention import SoftmaxPool
from vidsift.types import Cue, Moment, Span

__all__ = ["CrossModal", "Fused", "Scale", "attend", "fuse"]

_SAME_MOMENT = 0.5  # overlap, as a share of the shorter, from which two moments are the same


@dataclass(frozen=True, slots=True)
class Fused:
    """A moment in the fused ranking.

    `found_by` names the rankings that hold it, `("picture",)`, `("words",)` or both; `cue` is what
    is said in it, if words found it. `rank_score` is the sum of 1 / (60 + rank) over the rankings.
    The moment keeps the score of its ranking: the picture's where that holds it.
    """

    moment: Moment
    found_by: tuple[str, ...]
    rank_score: float
    cue: Cue | None = None


def fuse(visual: Sequence[Moment], spoken: Sequence[SpokenMoment]) -> list[Fused]:
    """One ranking of moments found by pictures and moments found by words, each best first.

    A spoken moment that shares half of the shorter with a visual one of its video is the same: it
    keeps the visual span and counts by its rank in both. Other spoken moments stand by themselves.
    Of equal sums, what words found comes first: a cue must hold half of what was asked to be found
    at all, while some picture is always the nearest. Without spoken moments the visual ranking is
    returned as it is.

    >>> seen = Moment(1, 10, Span(0.0, 4.0), 1.0, 0.31), Moment(2, 20, Span(0.0, 4.0), 1.0, 0.30)
    >>> cue = Cue(Span(1.0, 3.0), "the words")
    >>> said = SpokenMoment(Moment(2, 20, cue.span, 1.0, 0.9), cue)
    >>> [(each.moment.video_id, each.found_by) for each in fuse(seen, [said])]
    [(2, ('picture', 'words')), (1, ('picture',))]
    """
    alone = dict(enumerate(spoken))  # by rank, those that no visual moment holds
    said_in: dict[int, list[int]] = {}
    for place, heard in enumerate(spoken):
        said_in.setdefault(heard.moment.video_id, []).append(place)
    fused = []
    for rank, moment in enumerate(visual, 1):
        near = said_in.get(moment.video_id, ())
        same = [place for place in near if _same(moment.span, spoken[place].moment.span)]
        for place in same:
            alone.pop(place, None)
        score = 1 / (RANK_CONSTANT + rank)
        if same:
            heard = spoken[same[0]]
            score += 1 / (RANK_CONSTANT + 1 + same[0])
            fused.append(Fused(moment, ("picture", "words"), score, heard.cue))
        else:
            fused.append(Fused(moment, ("picture",), score))
    fused += [
        Fused(heard.moment, ("words",), 1 / (RANK_CONSTANT + 1 + place), heard.cue)
        for place, heard in alone.items()
    ]
    return sorted(fused, key=lambda each: (-each.rank_score, each.cue is None))


def _same(a: Span, b: Span) -> bool:
    return a.overlap(b) >= _SAME_MOMENT * min(a.duration, b.duration)


@dataclass(frozen=True, slots=True)
class Scale:
    """How scores of one kind spread over a library: what a score is compared with."""

    mean: float = 0.0
    deviation: float = 1.0

    def __post_init__(self) -> None:
        if not self.deviation > 0:
            raise ValueError(f"a deviation is positive, got {self.deviation}")

    def standardise(self, score: float) -> float:
        """How many deviations above the mean."""
        return (score - self.mean) / self.deviation


@dataclass(frozen=True, slots=True)
class CrossModal:
    """How much the picture and the words of a clip counted: weights that sum to 1.

    `cue_weights` tells the same among its m cues. `score` is in deviations above the mean.
    """

    picture: float
    words: float
    cue_weights: Float32[np.ndarray, "m"]
    score: float


def attend(
    query: Float32[np.ndarray, "d"],
    picture_score: float,
    cue_vectors: Float32[np.ndarray, "m d"],
    *,
    temperature: float = 0.1,
    picture_scale: Scale = Scale(),
    words_scale: Scale = Scale(),
) -> CrossModal:
    """Cross-modal attention of a question over a clip's picture and the cues said in it.

    The cues are pooled as frames are: a = softmax(C q / temperature), s_words = a . (C q). Both
    scores are standardised by how such scores spread over the library, z = (s - mean) / deviation,
    since cosines of text with text are larger than those of text with pictures. Then
    (g_picture, g_words) = softmax(z_picture, z_words) and score = g . z: the gate opens for the
    part that says more than is usual. Without cues the picture is all. Nothing is trained.

    Args:
        query: the question's unit-length vector.
        picture_score: the score of the clip's picture under the question.
        cue_vectors: unit-length vectors of the m cues that overlap the clip; m may be 0.
        temperature: of the attention over cues.
        picture_scale: spread of picture scores of this question over the library.
        words_scale: spread of its cosines with cues.
    """
    seen = picture_scale.standardise(picture_score)
    if not len(cue_vectors):
        return CrossModal(1.0, 0.0, np.zeros(0, np.float32), seen)
    pooled, weights = SoftmaxPool(temperature)(
        query[np.newaxis], cue_vectors[np.newaxis], np.ones((1, len(cue_vectors)), dtype=bool)
    )
    said = words_scale.standardise(float(pooled[0, 0] @ query))
    picture = float(1 / (1 + np.exp(np.clip(said - seen, -60, 60))))
    return CrossModal(picture, 1 - picture, weights[0, 0], picture * seen + (1 - picture) * said)
