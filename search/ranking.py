"""What pictures say to a question: its moments, best first, and how sure each of them is.

A question about one moment ranks clips and cuts moments from their curves. One about an order of
moments looks for the likeliest videos first and then, in all their frames, for the best chains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64

from search.asking import Asked, AskedStep
from search.candidates import Candidates, find_candidates, with_context
from search.combine import LEAST_DEVIATION, Background, combine_clips, step_terms
from search.moments import find_moments
from search.order import find_chains, step_curves
from search.rerank import ScoredClips, score_clips
from search.trust import false_alarm_rates
from vidsift.library import Library
from vidsift.types import ClipRecord, Moment, RankedClip, Span

__all__ = ["Judge", "Seen", "look", "rank_clips"]

# How sure clips are: see `search.trust.false_alarm_rates`.
Judge = Callable[
    [
        Library,
        Sequence[ClipRecord],
        Float32[np.ndarray, "m c"],
        frozenset[int] | None,
        Sequence[int] | None,
    ],
    Float64[np.ndarray, "m r"] | None,
]

_VIDEOS_IN_ORDER = 20  # likeliest videos whose every frame is searched for an order of moments
_CHAINS_A_VIDEO = 10


@dataclass(frozen=True)
class Seen:
    """What pictures say: moments, best first, found one by one as they are asked for.

    `parts` has, for a moment of several steps, the moment of each. `exact` tells that every clip
    was scored.
    """

    moments: Iterator[Moment]
    exact: bool
    _library: Library
    _asked: Asked
    _scored: ScoredClips
    parts: dict[Moment, tuple[Moment, ...]] = field(default_factory=dict)

    @cached_property
    def records(self) -> dict[int, ClipRecord]:
        """The clips that were scored, by id."""
        return {record.id: record for record in self._scored.records}

    def rates(
        self, moments: Sequence[Moment], judge: Judge = false_alarm_rates
    ) -> list[float | None]:
        """The false-alarm rate of each moment; None where there is nothing to tell it by.

        A moment is as sure as the least sure of what it must show. `judge` takes and gives what
        `false_alarm_rates` does.
        """
        places = {record.id: place for place, record in enumerate(self._scored.records)}
        shown = [self.parts.get(moment, (moment,)) for moment in moments]
        clips = sorted({places[part.clip_id] for each in shown for part in each
                        if part.clip_id in places})  # fmt: skip
        if not clips or not self._asked.in_words:
            return [None] * len(moments)
        rates = judge(
            self._library,
            self._scored.records,
            self._scored.scores,
            self._asked.scope,
            clips,
        )
        if rates is None:
            return [None] * len(moments)
        column = {place: number for number, place in enumerate(clips)}
        rows = _wanted_rows(self._asked.steps)

        def rate(parts: tuple[Moment, ...]) -> float | None:
            known = [
                float(rates[wanted, column[places[part.clip_id]]].max())
                for part, wanted in zip(parts, rows, strict=True)
                if part.clip_id in places
            ]
            return max(known) if len(known) == len(parts) else None

        return [rate(parts) for parts in shown]


def look(
    library: Library, asked: Asked, most: int, among: Sequence[ClipRecord] | None = None
) -> Seen:
    """Find the moments that show what is asked, among `most` candidates or the clips given."""
    vectors = np.concatenate([step.vectors for step in asked.steps])
    if among is None:
        wanted = np.concatenate([step.wanted for step in asked.steps])
        candidates = find_candidates(wanted, library, asked.scope, most)
    else:
        candidates = Candidates(tuple(among), exact=True)
    if len(asked.steps) > 1:
        return _in_order(library, asked, candidates, vectors)
    own = asked.steps[0]
    scored, ranked = rank_clips(library, own, asked.scope, candidates)
    usual = None
    if candidates.background is not None and len(own.vectors) == 1:
        usual = float(candidates.background[0])
    return Seen(find_moments(ranked, usual), candidates.exact, library, asked, scored)


def _wanted_rows(steps: Sequence[AskedStep]) -> list[slice]:
    """Where the wanted terms of each step lie on the axis of all terms."""
    starts = np.cumsum([0, *(len(step.vectors) for step in steps)]).tolist()
    return [slice(a, a + len(step.step.wanted)) for a, step in zip(starts, steps, strict=False)]


def rank_clips(
    library: Library, own: AskedStep, scope: frozenset[int] | None, candidates: Candidates
) -> tuple[ScoredClips, list[RankedClip]]:
    """Candidates of a question of one step: scored, and ranked, best first.

    Scores count a clip's surroundings; several terms must hold in the clip itself.
    """
    alone = score_clips(own.vectors, candidates.records, library.features, library.pooler)
    scored = with_context(own.vectors, library, scope, alone)
    one_term = len(own.vectors) == 1
    usual = _usual([own], alone, candidates)
    return scored, _ranked(own, scored if one_term else alone, slice(None), usual)


def _usual(
    steps: Sequence[AskedStep], scored: ScoredClips, candidates: Candidates
) -> Background | None:
    """What is usual for each term: in the library for what is wanted, which found the candidates;
    among them for what is excluded."""
    if not scored.records:
        return None
    among = Background.of(np.concatenate(scored.similarities, axis=1))
    if candidates.background is None or candidates.spread is None:
        return among
    rows = np.concatenate([np.arange(part.start, part.stop) for part in _wanted_rows(steps)])
    among.mean[rows] = candidates.background
    among.deviation[rows] = np.maximum(candidates.spread, LEAST_DEVIATION)
    return among


def _ranked(
    own: AskedStep, scored: ScoredClips, rows: slice, background: Background | None
) -> list[RankedClip]:
    part = ScoredClips(
        scored.records,
        scored.scores[rows],
        tuple(clip[rows] for clip in scored.similarities),
        tuple(clip[rows] for clip in scored.weights),
    )
    if background is None:
        return []
    usual = Background(background.mean[rows], background.deviation[rows])
    return combine_clips(own.step, part, usual, usual)


def _in_order(
    library: Library,
    asked: Asked,
    candidates: Candidates,
    vectors: Float32[np.ndarray, "m d"],
) -> Seen:
    rows = []
    start = 0
    for own in asked.steps:
        rows.append(slice(start, start + len(step_terms(own.step))))
        start = rows[-1].stop
    first = score_clips(vectors, candidates.records, library.features, library.pooler)
    background = _usual(asked.steps, first, candidates)
    if background is None:
        return Seen(iter(()), candidates.exact, library, asked, first)
    likely = _likeliest_videos(
        [_ranked(own, first, part, background) for own, part in zip(asked.steps, rows, strict=True)]
    )
    records = [record for video in likely for record in library.catalog.clips_of_video(video)]
    scored = score_clips(vectors, records, library.features, library.pooler)
    ranked = [
        _ranked(own, scored, part, background) for own, part in zip(asked.steps, rows, strict=True)
    ]
    if not scored.records:
        return Seen(iter(()), candidates.exact, library, asked, scored)
    within = [own.step.within_seconds for own in asked.steps]
    frames = [np.concatenate([clip.similarities for clip in step]) for step in ranked]
    usual = Background.of(np.stack(frames))
    chains = [
        chain
        for curves in step_curves(ranked)
        for chain in find_chains(curves, usual, within, _CHAINS_A_VIDEO)
    ]
    parts = {}
    for chain in sorted(chains, key=lambda chain: -chain.score):
        first_part, last_part = chain.moments[0], chain.moments[-1]
        whole = Moment(
            video_id=first_part.video_id,
            clip_id=first_part.clip_id,
            span=Span(first_part.span.start, last_part.span.end),
            peak_seconds=first_part.peak_seconds,
            score=chain.score,
        )
        parts[whole] = chain.moments
    may_answer = {video.id for video in library.catalog.videos("searchable")}
    if asked.scope is not None:
        may_answer &= asked.scope
    exact = candidates.exact and may_answer <= set(likely)
    scored = with_context(vectors, library, asked.scope, scored)  # what the rates are told by
    return Seen(iter(parts), exact, library, asked, scored, parts)


def _likeliest_videos(ranked: Sequence[Sequence[RankedClip]]) -> list[int]:
    """The videos whose best clips under all steps together are best."""
    best: dict[int, list[float]] = {}
    for number, step in enumerate(ranked):
        scores = np.array([clip.score for clip in step])
        standard = (scores - scores.mean()) / max(float(scores.std()), 1e-6)
        for clip, value in zip(step, standard.tolist(), strict=True):
            own = best.setdefault(clip.record.video_id, [-np.inf] * len(ranked))
            own[number] = max(own[number], value)
    return sorted(best, key=lambda video: -sum(best[video]))[:_VIDEOS_IN_ORDER]
