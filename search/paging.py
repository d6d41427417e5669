"""The ranking of one question, found as far as it is asked for: pages are slices of it.

A page further down needs more candidates than the first, and more candidates change what is known:
which clips touch, what is usual among candidates, whose turn it is. So that pages stay apart, the
ranking is made in tiers. The first tier ranks 100 candidates, as many as most answers need. Each
later one ranks four times as many, and adds only what no tier before has shown. What stands
in the ranking therefore does not depend on how much of it is asked for.

A question about an order of moments, or about what is said, has one tier.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from search.asking import Asked
from search.candidates import candidate_count
from search.feedback import without_rejected
from search.fusion import Fused, fuse
from search.moments import in_turn, same_moment
from search.ranking import Judge, Seen, look
from search.trust import false_alarm_rates
from search.words import SpokenMoment, find_spoken, said_together, spoken_moments
from vidsift.library import Library
from vidsift.store.words import WordHit
from vidsift.types import ClipRecord, Cue, Moment, Span

__all__ = ["Ranking"]

_MOST_SPOKEN = 200  # cues that are taken from the full text search
_NEAR_SECONDS = 10.0  # what is said so near to what is seen belongs to it
_TIMES = 4  # as many candidates in the next tier; each clip stands in the index under up to three


class Ranking:
    """What answers a question, best first: iterate over it once, as far as is needed.

    `coverage` tells how much of the question a cue says, where words were looked for beside
    pictures. `exact`, `rates`, `parts` and `record` tell of what has been taken so far.
    """

    coverage: Mapping[Cue, float]

    def __init__(self, library: Library, asked: Asked, most_per_video: int | None) -> None:
        """`most_per_video`: moments of one video before others had their turn; None: any."""
        self._library = library
        self._asked = asked
        self._tiers: list[Seen] = []
        self._tier_of: dict[Moment, Seen] = {}
        self._most = candidate_count(library.settings, 0)
        self.coverage = {}
        ranked = self._ranked_said() if asked.spoken else self._ranked_seen()
        if most_per_video is not None:
            # Tier by tier: a video of which no clip is among the likeliest waits for its turn.
            ranked = (in_turn(tier, most_per_video, _video_of) for tier in ranked)
        self._ranked: Iterator[Fused] = chain.from_iterable(ranked)

    def __iter__(self) -> Iterator[Fused]:
        return self._ranked

    @property
    def exact(self) -> bool:
        """Whether every clip that may answer was scored."""
        return all(tier.exact for tier in self._tiers)

    def rates(
        self, moments: Sequence[Moment], judge: Judge = false_alarm_rates
    ) -> list[float | None]:
        """The false-alarm rate of each moment; None for those that only words found."""
        rates: dict[Moment, float | None] = dict.fromkeys(moments)
        for tier in self._tiers:
            own = [moment for moment in moments if self._tier_of.get(moment) is tier]
            rates.update(zip(own, tier.rates(own, judge), strict=True))
        return [rates[moment] for moment in moments]

    def parts(self, moment: Moment) -> tuple[Moment, ...]:
        """The moment of each step of a question about order."""
        tier = self._tier_of.get(moment)
        return () if tier is None else tier.parts.get(moment, ())

    def record(self, clip: int) -> ClipRecord | None:
        """The clip with this id, if it was scored."""
        return next((tier.records[clip] for tier in self._tiers if clip in tier.records), None)

    def _ranked_seen(self) -> Iterator[Iterator[Fused]]:
        """What pictures show, tier by tier, and in the first what is said in the same words."""
        spoken = self._spoken()
        self.coverage = _coverage(spoken)
        shown: dict[int, list[Span]] = defaultdict(list)
        for tier in self._looked():
            moments = without_rejected(self._of(tier), self._library, self._asked.rejected)
            if spoken and len(self._tiers) == 1:
                yield _not_shown(fuse(list(moments), spoken), shown)
            else:
                yield _not_shown((Fused(each, ("picture",), 0.0) for each in moments), shown)

    def _looked(self) -> Iterator[Seen]:
        """What pictures show among ever more candidates, up to all clips."""
        catalog, scope = self._library.catalog, self._asked.scope
        while True:
            tier = look(self._library, self._asked, self._most)
            self._tiers.append(tier)
            yield tier
            is_all = len(tier.records) >= catalog.num_clips(scope)[0]
            if is_all or len(self._asked.steps) > 1 or self._most >= catalog.num_vectors():
                return
            self._most *= _TIMES

    def _of(self, tier: Seen) -> Iterator[Moment]:
        """A tier's moments, of which is noted where they come from."""
        for moment in tier.moments:
            self._tier_of.setdefault(moment, tier)
            yield moment

    def _spoken(self) -> list[SpokenMoment]:
        catalog, asked = self._library.catalog, self._asked
        hits: list[WordHit] = []
        if asked.words and catalog.has_cues():
            hits = find_spoken(self._library, asked.words, _MOST_SPOKEN, asked.scope)
        return list(spoken_moments(hits, catalog.clips_of_video))

    def _ranked_said(self) -> Iterator[Iterator[Fused]]:
        """Only what is said in exactly these words, and there what pictures show."""
        catalog, asked = self._library.catalog, self._asked
        hits = said_together(
            [catalog.search_phrase(each, _MOST_SPOKEN, asked.scope) for each in asked.spoken]
        )
        spoken = list(spoken_moments(hits, catalog.clips_of_video))
        if not asked.steps:
            self.coverage = _coverage(spoken)
            yield (Fused(each.moment, ("words",), 0.0, each.cue) for each in spoken)
            return
        cues = _by_video(spoken)
        near = [
            record
            for video in cues
            for record in catalog.clips_of_video(video)
            if _nearest(record.clip.span, cues[video]) is not None
        ]
        tier = look(self._library, asked, self._most, near)
        self._tiers.append(tier)
        yield self._where_said(tier, cues)

    def _where_said(self, tier: Seen, cues: Mapping[int, Sequence[Cue]]) -> Iterator[Fused]:
        for moment in self._of(tier):
            cue = _nearest(moment.span, cues[moment.video_id])
            if cue is not None:
                yield Fused(moment, ("picture", "words"), 0.0, cue)


def _not_shown(ranked: Iterable[Fused], shown: dict[int, list[Span]]) -> Iterator[Fused]:
    """What tiers before have not shown; adds it to `shown`."""
    before = {video: list(spans) for video, spans in shown.items()}
    for each in ranked:
        span, video = each.moment.span, each.moment.video_id
        if not any(same_moment(span, other) for other in before.get(video, ())):
            shown[video].append(span)
            yield each


def _coverage(spoken: Sequence[SpokenMoment]) -> dict[Cue, float]:
    return {each.cue: each.moment.score for each in spoken}


def _by_video(spoken: Sequence[SpokenMoment]) -> dict[int, list[Cue]]:
    found: dict[int, list[Cue]] = {}
    for each in spoken:
        found.setdefault(each.moment.video_id, []).append(each.cue)
    return found


def _nearest(span: Span, cues: Sequence[Cue]) -> Cue | None:
    """The cue that is said nearest to a span, None if none is near."""
    apart = [max(cue.span.start - span.end, span.start - cue.span.end, 0.0) for cue in cues]
    least = min(apart)
    return cues[apart.index(least)] if least <= _NEAR_SECONDS else None


def _video_of(each: Fused) -> int:
    return each.moment.video_id
