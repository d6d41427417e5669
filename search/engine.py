"""The search engine: a question -> candidates -> query-conditioned rerank -> moments -> answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from search.asking import Asked, asked_for, understand
from search.candidates import candidate_count, find_candidates
from search.duplicates import fold, whitening_of
from search.feedback import without_rejected
from search.fusion import Fused, fuse
from search.moments import in_turn
from search.ranking import Seen, look, rank_clips
from search.rerank import score_clips
from search.videos import RankedVideo, rank_videos
from search.words import SpokenMoment, find_spoken, said_together, spoken_moments
from vidsift.errors import DamagedLibraryError, QueryError
from vidsift.library import Library
from vidsift.store.words import WordHit
from vidsift.types import Answer, ClipRecord, Cue, Moment, SearchResult, Span, TextQuery

__all__ = ["SearchEngine"]

_MOST_SPOKEN = 200  # cues that are taken from the full text search
_NEAR_SECONDS = 10.0  # what is said so near to what is seen belongs to it
_ALL_WORDS = 0.999  # a cue with this share of the question's words is an answer to it


class SearchEngine:
    """Answers questions about one library. Cheap to make; the library holds what is costly."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def search(self, text: str, k: int = 10) -> list[SearchResult]:
        """The `k` best moments for a question, best first, whether or not they match; see `ask`.

        Empty if the library holds no searchable video.
        """
        return list(self.ask(text, k).results)

    def ask(
        self,
        text: str = "",
        k: int = 10,
        *,
        offset: int = 0,
        flat: bool = False,
        image: Path | None = None,
        like: str | None = None,
        yes: Sequence[str] = (),
        no: Sequence[str] = (),
    ) -> Answer:
        """The answer to a question: its `k` best moments after the first `offset`.

        Args:
            text: the question, in the grammar of docs/questions.md; may be empty beside a picture.
            k: moments wanted.
            offset: moments to leave out; pages of one question are cut from one ranking.
            flat: best first whatever the video, instead of at most `moments_per_video` of each
                before the others had their turn.
            image: a picture of what is looked for.
            like: `VIDEO@SECONDS`, a moment like which others are looked for.
            yes: moments (`VIDEO@SECONDS`) that are what is looked for.
            no: moments that are not.

        Raises:
            QueryError: the question cannot be asked, or `k` is not positive.
            VideoNotFoundError: a moment names no video.
            EncoderError, PoolerError, LibraryError: the library cannot be searched, and why.
        """
        if k < 1:
            raise QueryError(f"-k {k}: ask for at least one result")
        if offset < 0:
            raise QueryError(f"--offset {offset}: must not be negative")
        asked = understand(self.library, text, image=image, like=like, yes=yes, no=no)
        return self._answer(asked, k, offset, flat)

    def answer(self, query: TextQuery, k: int = 10) -> Answer:
        """The `k` best moments for a question whose vector is known; whether they match is not."""
        return self._answer(asked_for(query), k, 0, flat=False)

    def _answer(self, asked: Asked, k: int, offset: int, flat: bool) -> Answer:
        found = self._said(asked, offset + k) if asked.spoken else self._seen(asked, offset + k)
        ranked = found.fused
        if not flat:
            ranked = in_turn(ranked, self.library.settings.moments_per_video, _video_of)
        whitening = partial(whitening_of, self.library)
        folded = fold(ranked, offset + k, self._frames_of(found), _video_of, whitening)
        chosen = [each.best for each in folded]
        rates = found.rates([each.moment for each in chosen])
        results = self._results(chosen, rates, [each.duplicates for each in folded], found)
        page = list(islice((each for each in results if each), offset, None))
        if not found.coverage:
            # Videos took turns; what is shown is best first. Ranks that words had a part in stay.
            page.sort(key=lambda result: -result.moment.score)
        return Answer(
            query=asked.text,
            results=tuple(page),
            matched=self._matched(asked, chosen, rates, found),
            exact=found.exact,
        )

    def rank_videos(self, text: str, k: int = 10) -> list[RankedVideo]:
        """The `k` best videos as a whole: attention over their clips; see `search.videos`.

        Raises:
            QueryError: the question cannot be asked, or is about more than what one moment shows.
        """
        if k < 1:
            raise QueryError(f"-k {k}: ask for at least one result")
        library = self.library
        asked = understand(library, text)
        if len(asked.steps) != 1 or asked.spoken:
            raise QueryError(
                f"{asked.text}: whole videos are ranked by what one moment shows; ask without"
                " `then` and `said:`, or for moments"
            )
        (own,) = asked.steps
        most = candidate_count(library.settings, k)
        candidates = find_candidates(own.wanted, library, asked.scope, most)
        scored = score_clips(own.vectors, candidates.records, library.features, library.pooler)
        return rank_videos(rank_clips(own, scored, candidates))[:k]

    def _seen(self, asked: Asked, wanted: int) -> _Found:
        """What pictures show, and what is said in the same words."""
        catalog = self.library.catalog
        seen = look(self.library, asked, candidate_count(self.library.settings, wanted))
        hits: list[WordHit] = []
        if asked.words and catalog.has_cues():
            hits = find_spoken(self.library, asked.words, _MOST_SPOKEN, asked.scope)
        moments = without_rejected(seen.moments, self.library, asked.rejected)
        if not hits:  # moments are then cut one by one, as they are needed
            return _Found((Fused(each, ("picture",), 0.0) for each in moments), seen)
        spoken = list(spoken_moments(hits, catalog.clips_of_video))
        return _Found(iter(fuse(list(moments), spoken)), seen, _coverage(spoken))

    def _said(self, asked: Asked, wanted: int) -> _Found:
        """Only what is said in exactly these words, and there what pictures show."""
        catalog = self.library.catalog
        hits = said_together(
            [catalog.search_phrase(each, _MOST_SPOKEN, asked.scope) for each in asked.spoken]
        )
        spoken = list(spoken_moments(hits, catalog.clips_of_video))
        if not asked.steps:
            fused = (Fused(each.moment, ("words",), 0.0, each.cue) for each in spoken)
            return _Found(fused, None, _coverage(spoken))
        spans = _by_video(spoken)
        near = [
            record
            for video in spans
            for record in catalog.clips_of_video(video)
            if _nearest(record.clip.span, spans[video]) is not None
        ]
        seen = look(self.library, asked, candidate_count(self.library.settings, wanted), near)
        return _Found(_where_said(seen, spans), seen)

    def _matched(
        self,
        asked: Asked,
        chosen: Sequence[Fused],
        rates: Sequence[float | None],
        found: _Found,
    ) -> bool:
        if not asked.in_words or not asked.steps:
            # Words that are said were found, or not; a picture's cosines have no null to go by.
            return bool(chosen)
        highest = self.library.settings.false_alarm_rate
        return any(rate is not None and rate <= highest for rate in rates) or any(
            each.cue is not None and found.coverage.get(each.cue, 0.0) >= _ALL_WORDS
            for each in chosen
        )

    def _results(
        self,
        chosen: Sequence[Fused],
        rates: Sequence[float | None],
        duplicates: Sequence[Sequence[Fused]],
        found: _Found,
    ) -> Iterator[SearchResult | None]:
        """The line of each moment; None where its clip was deleted while we searched."""
        for each, rate, others in zip(chosen, rates, duplicates, strict=True):
            record = self._record(each.moment, found)
            if record is None:
                yield None
                continue
            yield SearchResult(
                moment=each.moment,
                video=record.video,
                thumbnail=self.library.thumbnail(record, record.ordinal),
                false_alarm_rate=rate,
                found_by=each.found_by,
                cue=each.cue,
                parts=found.parts(each.moment),
                duplicates=tuple(other.moment for other in others),
            )

    def _record(self, moment: Moment, found: _Found) -> ClipRecord | None:
        if found.seen is not None and moment.clip_id in found.seen.records:
            return found.seen.records[moment.clip_id]
        return self.library.catalog.clips([moment.clip_id]).get(moment.clip_id)

    def _frames_of(self, found: _Found) -> Callable[[Fused], Float32[np.ndarray, "n d"] | None]:
        """How to look at a moment: the features of those frames of its clip that lie in it."""
        library = self.library

        def frames_of(each: Fused) -> Float32[np.ndarray, "n d"] | None:
            record = self._record(each.moment, found)
            if record is None:
                return None
            clip, span = record.clip, each.moment.span
            try:
                frames = library.features.read(
                    record.feature_file,
                    clip.first_frame,
                    clip.num_frames,
                    library.encoder.stamp.dimension,
                )
            except DamagedLibraryError:  # said when it was scored
                return None
            inside = (record.pts_seconds >= span.start) & (record.pts_seconds < span.end)
            return frames[inside] if inside.any() else frames

        return frames_of


@dataclass(frozen=True)
class _Found:
    """Moments of one question, best first; `coverage` tells how much of it a cue says."""

    fused: Iterator[Fused]
    seen: Seen | None
    coverage: Mapping[Cue, float] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        return self.seen is None or self.seen.exact

    def rates(self, moments: Sequence[Moment]) -> list[float | None]:
        return [None] * len(moments) if self.seen is None else self.seen.rates(moments)

    def parts(self, moment: Moment) -> tuple[Moment, ...]:
        return () if self.seen is None else self.seen.parts.get(moment, ())


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


def _where_said(seen: Seen, cues: Mapping[int, Sequence[Cue]]) -> Iterator[Fused]:
    for moment in seen.moments:
        cue = _nearest(moment.span, cues[moment.video_id])
        if cue is not None:
            yield Fused(moment, ("picture", "words"), 0.0, cue)


def _video_of(each: Fused) -> int:
    return each.moment.video_id
