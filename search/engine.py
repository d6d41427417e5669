"""The search engine: a question -> candidates -> query-conditioned rerank -> moments -> answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float32

from search.asking import Asked, asked_for, understand
from search.candidates import candidate_count, find_candidates
from search.duplicates import fold, whitening_of
from search.exact import is_small
from search.fusion import Fused
from search.paging import Ranking
from search.ranking import rank_clips
from search.videos import RankedVideo, rank_videos
from vidsift.errors import DamagedLibraryError, QueryError
from vidsift.library import Library
from vidsift.types import Answer, ClipRecord, Moment, SearchResult, TextQuery

__all__ = ["ALL_WORDS", "SearchEngine"]

# Each leaves out videos that the one before was damaged by; after these all videos are looked at.
_ANSWERS = 3
_Found = TypeVar("_Found")

ALL_WORDS = 0.999  # a cue with this share of the question's words is an answer to it


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
        among: frozenset[int] | None = None,
    ) -> Answer:
        """The answer to a question: its `k` best moments after the first `offset`.

        It is of one state of the library: while a video is indexed anew it shows the old one whole,
        or the new one.

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
            among: ids of the videos that may answer, beside what the question says of them.

        Raises:
            QueryError: the question cannot be asked, or `k` is not positive.
            VideoNotFoundError: a moment names no video.
            EncoderError, PoolerError, LibraryError: the library cannot be searched, and why.
        """
        if k < 1:
            raise QueryError(f"-k {k}: ask for at least one result")
        if offset < 0:
            raise QueryError(f"--offset {offset}: must not be negative")

        def read() -> Answer:
            if is_small(self.library):
                self.library.inspection.inspect()  # before a filter passes over what is damaged
            asked = understand(self.library, text, image=image, like=like, yes=yes, no=no)
            if among is not None:
                asked = replace(asked, scope=among if asked.scope is None else asked.scope & among)
            return self._answer(asked, k, offset, flat)

        return self.library.in_one_state(read)

    def answer(self, query: TextQuery, k: int = 10) -> Answer:
        """The `k` best moments for a question whose vector is known; whether they match is not."""
        asked = asked_for(query)
        return self.library.in_one_state(lambda: self._answer(asked, k, 0, flat=False))

    def _answer(self, asked: Asked, k: int, offset: int, flat: bool) -> Answer:
        return self._of_whole_videos(
            lambda: self._found(asked, k, offset, flat),
            lambda answer: {
                moment.video_id
                for each in answer.results
                for moment in (each.moment, *each.parts, *each.duplicates)
            },
        )

    def _of_whole_videos(
        self, answer: Callable[[], _Found], videos_of: Callable[[_Found], set[int]]
    ) -> _Found:
        """`answer()`, of videos that are as they were stored; damaged ones are left out of it."""
        inspection = self.library.inspection
        for _ in range(_ANSWERS):
            try:
                found = answer()
            except DamagedLibraryError:
                # Of which video it does not say: look at all, once.
                if not inspection.inspect():
                    raise
                continue
            if not inspection.inspect(videos_of(found)):
                return found
        inspection.inspect()
        return answer()

    def _found(self, asked: Asked, k: int, offset: int, flat: bool) -> Answer:
        most = None if flat else self.library.settings.moments_per_video
        ranking = Ranking(self.library, asked, most)
        whitening = partial(whitening_of, self.library)
        folded = fold(ranking, offset + k, self._frames_of(ranking), _video_of, whitening)
        chosen = [each.best for each in folded]
        rates = ranking.rates([each.moment for each in chosen])
        results = self.results(chosen, rates, [each.duplicates for each in folded], ranking)
        page = list(islice((each for each in results if each), offset, None))
        if not ranking.coverage:
            # Videos took turns; what is shown is best first. Ranks that words had a part in stay.
            page.sort(key=lambda result: -result.moment.score)
        return Answer(
            query=asked.text,
            results=tuple(page),
            matched=self._matched(asked, chosen, rates, ranking),
            exact=ranking.exact,
            left_out=self.library.catalog.left_out,
        )

    def rank_videos(self, text: str, k: int = 10) -> list[RankedVideo]:
        """The `k` best videos as a whole: attention over their clips; see `search.videos`.

        Raises:
            QueryError: the question cannot be asked, or is about more than what one moment shows.
        """
        if k < 1:
            raise QueryError(f"-k {k}: ask for at least one result")
        return self.library.in_one_state(
            lambda: self._of_whole_videos(
                lambda: self._rank_videos(text, k),
                lambda ranked: {each.video_id for each in ranked},
            )
        )

    def _rank_videos(self, text: str, k: int) -> list[RankedVideo]:
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
        return rank_videos(rank_clips(library, own, asked.scope, candidates)[1])[:k]

    def _matched(
        self,
        asked: Asked,
        chosen: Sequence[Fused],
        rates: Sequence[float | None],
        ranking: Ranking,
    ) -> bool:
        if not asked.in_words or not asked.steps:
            # Words that are said were found, or not; a picture's cosines have no null to go by.
            return bool(chosen)
        highest = self.library.settings.false_alarm_rate
        return any(rate is not None and rate <= highest for rate in rates) or any(
            each.cue is not None and ranking.coverage.get(each.cue, 0.0) >= ALL_WORDS
            for each in chosen
        )

    def results(
        self,
        chosen: Sequence[Fused],
        rates: Sequence[float | None],
        duplicates: Sequence[Sequence[Fused]],
        ranking: Ranking,
    ) -> Iterator[SearchResult | None]:
        """The line of each moment; None where its clip was deleted while we searched."""
        for each, rate, others in zip(chosen, rates, duplicates, strict=True):
            record = self._record(each.moment, ranking)
            if record is None:
                yield None
                continue
            yield SearchResult(
                moment=each.moment,
                video=record.video,
                thumbnail=self._thumbnail(each.moment, record),
                false_alarm_rate=rate,
                found_by=each.found_by,
                cue=each.cue,
                parts=ranking.parts(each.moment),
                duplicates=tuple(other.moment for other in others),
            )

    def _record(self, moment: Moment, ranking: Ranking) -> ClipRecord | None:
        known = ranking.record(moment.clip_id)
        return known or self.library.catalog.clips([moment.clip_id]).get(moment.clip_id)

    def _thumbnail(self, moment: Moment, record: ClipRecord) -> Path:
        """A picture of the moment: its clip's, unless that is of a time beside the moment."""
        middle = float(record.pts_seconds[len(record.pts_seconds) // 2])  # as indexing takes it
        if not moment.span.start <= middle < moment.span.end:
            clips = self.library.catalog.clips_of_video(record.video_id)
            if clips:  # or it was deleted while we searched
                record = clips[moment.span.nearest([each.clip.span for each in clips])]
        return self.library.thumbnail(record, record.ordinal)

    def _frames_of(self, ranking: Ranking) -> Callable[[Fused], Float32[np.ndarray, "n d"] | None]:
        """How to look at a moment: the features of those frames of its clip that lie in it."""
        library = self.library

        def frames_of(each: Fused) -> Float32[np.ndarray, "n d"] | None:
            record = self._record(each.moment, ranking)
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


def _video_of(each: Fused) -> int:
    return each.moment.video_id
