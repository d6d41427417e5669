"""The search engine: text -> candidates -> query-conditioned rerank -> moments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from search.candidates import candidate_count, find_candidates
from search.moments import find_moments, group_by_video
from search.query import encode_query
from search.rerank import rerank
from vidsift.errors import QueryError
from vidsift.library import Library
from vidsift.types import Answer, SearchResult, TextQuery

__all__ = ["SearchEngine"]


class SearchEngine:
    """Answers questions about one library. Cheap to make; the library holds what is costly."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def search(self, text: str, k: int = 10) -> list[SearchResult]:
        """The `k` best moments for a question, best first, whether or not they match.

        Empty if the library holds no searchable video. See `ask`.
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

        Raises:
            QueryError: the question cannot be asked, or `k` is not positive.
            EncoderError, LibraryError: the library cannot be searched, and why.
        """
        if k < 1:
            raise QueryError(f"-k {k}: ask for at least one result")
        query = encode_query(text, self.library.encoder)
        return Answer(query.text, tuple(self.answer(query, k)), matched=True, exact=False)

    def answer(self, query: TextQuery, k: int = 10) -> list[SearchResult]:
        """The `k` best moments for a question that is encoded already."""
        library = self.library
        settings = library.settings
        most = candidate_count(settings, k)
        records = find_candidates(query.vector[np.newaxis], library, most=most).records
        ranked = rerank(query, records, library.features, library.pooler)
        best = group_by_video(find_moments(ranked), settings.moments_per_video, k)
        found = {record.id: record for record in records}
        return [
            SearchResult(
                moment=moment,
                video=found[moment.clip_id].video,
                thumbnail=library.thumbnail(found[moment.clip_id], found[moment.clip_id].ordinal),
            )
            for moment in best
        ]
