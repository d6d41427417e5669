"""The questions about subtitles that can be asked of a catalog: by words, by phrase, by meaning.

The database finds cues (FTS5 on SQLite, tsvector on PostgreSQL); what they are worth is computed
here, from counts that both give alike, so that both rank alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice, pairwise
from typing import Any, SupportsIndex

import numpy as np
import sqlalchemy as sa
from jaxtyping import Float32, Int64
from sqlalchemy.engine import Connection, Engine

from vidsift.store import records
from vidsift.store.connection import reading
from vidsift.store.folding import fold_words, terms
from vidsift.store.schema import cues, videos
from vidsift.types import CueRecord, LeftOut, Span

__all__ = ["WordHit", "WordsReader"]

# A cue must hold this share of what the question says, each term counted by its rarity.
_LEAST_COVERAGE = 0.5
_MOST_TERMS = 64
_MOST_CANDIDATES = 2_000
_MOST_VIDEOS = 900  # values in one IN list; older builds of SQLite stop at 999
# A phrase may run over cues that follow each other within so many seconds, this many of them.
_SAME_SPEECH_SECONDS = 3.0
_MOST_CUES_OF_PHRASE = 12

_COLUMNS = (
    cues.c.id,
    cues.c.video_id,
    cues.c.ordinal,
    cues.c.track,
    cues.c.start_seconds,
    cues.c.end_seconds,
    cues.c.text,
)
_IS_SEARCHABLE = videos.c.status == "searchable"
_Term = tuple[str, ...]
_Conditions = list[sa.ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class WordHit:
    """Cues of one video that hold what was asked for: one, or the few that a phrase runs over.

    `score` is positive and grows with how well they do; only hits of one search compare.
    """

    cues: tuple[CueRecord, ...]
    score: float

    @property
    def video_id(self) -> int:
        return self.cues[0].video_id

    @property
    def span(self) -> Span:
        """From the start of the first cue to the end of the last to end."""
        return self.cues[0].cue.span.hull(
            max((record.cue.span for record in self.cues), key=lambda span: span.end)
        )


class WordsReader:
    """The part of a catalog's reader that knows subtitles; all texts are safe to ask for."""

    _engine: Engine
    _left_out: dict[int, LeftOut]

    def _may_answer(self) -> sa.ColumnElement[bool]:
        """Of rows of `videos`: searchable, and not left out because they are damaged."""
        if not self._left_out:
            return _IS_SEARCHABLE
        return sa.and_(_IS_SEARCHABLE, videos.c.id.not_in(sorted(self._left_out)))

    def num_cues(self) -> int:
        """How many cues can be searched."""
        query = sa.select(sa.func.count()).select_from(cues.join(videos)).where(self._may_answer())
        with reading(self._engine) as connection:
            return int(connection.execute(query).scalar_one())

    def has_cues(self) -> bool:
        """Whether there is any; told at once."""
        with reading(self._engine) as connection:
            return connection.execute(sa.select(cues.c.id).limit(1)).first() is not None

    def cues_of_video(self, video_id: int) -> list[CueRecord]:
        """A video's cues by their ordinals: track by track, each in order of time."""
        query = sa.select(*_COLUMNS).where(cues.c.video_id == int(video_id))
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(cues.c.ordinal))
            return [records.cue_record(row) for row in rows]

    def subtitle_stamps(self) -> dict[int, str]:
        """What each video's subtitles were read from, by the video's id; empty: not read yet."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(videos.c.id, videos.c.subtitles))
            return {row.id: row.subtitles for row in rows}

    def cue_vectors(
        self, of_videos: Iterable[SupportsIndex] | None = None
    ) -> tuple[Int64[np.ndarray, "n"], Float32[np.ndarray, "n d"]]:
        """The ids and unit-length vectors of all searchable cues, or of those videos, by id."""
        found: list[Any] = []
        with reading(self._engine) as connection:
            for chosen in _choices(self._may_answer(), of_videos):
                query = sa.select(cues.c.id, cues.c.vector).select_from(cues.join(videos))
                found += connection.execute(query.where(*chosen)).all()
        found.sort(key=lambda row: int(row[0]))
        if not found:
            return np.zeros(0, np.int64), np.zeros((0, 0), np.float32)
        ids = np.array([row[0] for row in found], dtype=np.int64)
        return ids, records.vectors_of([row[1] for row in found])

    def cue_ids(self, of_videos: Iterable[SupportsIndex]) -> Int64[np.ndarray, "n"]:
        """The ids of all searchable cues of these videos, in order."""
        found: list[int] = []
        with reading(self._engine) as connection:
            for chosen in _choices(self._may_answer(), of_videos):
                query = sa.select(cues.c.id).select_from(cues.join(videos)).where(*chosen)
                found += connection.execute(query).scalars()
        return np.array(sorted(found), dtype=np.int64)

    def cues_by_id(self, cue_ids: Iterable[SupportsIndex]) -> list[CueRecord]:
        """The cues with these ids, in their order; those that are gone are left out."""
        wanted = [int(each) for each in cue_ids]
        found: dict[int, CueRecord] = {}
        with reading(self._engine) as connection:
            for chunk in _pieces(wanted):
                for row in connection.execute(sa.select(*_COLUMNS).where(cues.c.id.in_(chunk))):
                    found[row.id] = records.cue_record(row)
        return [found[each] for each in wanted if each in found]

    def search_words(
        self, text: str, most: int, of_videos: Iterable[SupportsIndex] | None = None
    ) -> list[WordHit]:
        """The cues that say what `text` says, best first, at most `most`.

        The terms of the text (see vidsift.store.folding) are weighted by rarity, ln(1 + (N - n +
        0.5) / (n + 0.5)) for a term in n of N cues. The score is the share of the text's whole
        weight that a cue holds (BM25 with k1 = 0, Robertson and Zaragoza 2009: a cue is too short
        for a second mention to tell anything), and at least a half; terms that no cue holds count
        in the whole, so that a question is not answered by its commonest words. Of equals the
        shorter cue first. `of_videos` limits where is searched. Empty for a text without words.
        """
        wanted = terms(text)[:_MOST_TERMS]
        if not wanted or most < 1:
            return []
        found: list[tuple[int, WordHit]] = []
        among = list(_choices(self._may_answer(), of_videos))
        with reading(self._engine) as connection:
            rarity = _rarities(connection, wanted)
            whole = sum(rarity.values())
            for row in _matching(connection, _needed(rarity, whole), among):
                words = row.words.split(" ")
                share = sum(rarity[term] for term in wanted if _holds(words, term)) / whole
                if share >= _LEAST_COVERAGE:
                    found.append((len(words), WordHit((records.cue_record(row),), share)))
        # Rounded, so that the order of a sum does not tell equals apart.
        found.sort(key=lambda each: (-round(each[1].score, 9), each[0], *_place(each[1])))
        return [hit for _, hit in found[:most]]

    def search_phrase(
        self, text: str, most: int, of_videos: Iterable[SupportsIndex] | None = None
    ) -> list[WordHit]:
        """Where exactly these words are said one after the other, at most `most`.

        Case, accents and punctuation do not count. A phrase may run over cues of one track that
        follow each other. The score is the phrase's share of the words of its cues; the purest
        first, then by video and time. Empty for a text without words.
        """
        phrase = fold_words(text)
        if not phrase or most < 1:
            return []
        among = list(_choices(self._may_answer(), of_videos))
        with reading(self._engine) as connection:
            rarity = _rarities(connection, [(word,) for word in dict.fromkeys(phrase)])
            rarest = max(rarity, key=lambda term: rarity[term])
            near = min(len(phrase), _MOST_CUES_OF_PHRASE) - 1
            rows = _around(connection, rarest, near, among)
        hits = [hit for run in _speeches(rows) for hit in _phrases(phrase, run)]
        return sorted(hits, key=lambda hit: (-hit.score, *_place(hit)))[:most]


def _place(hit: WordHit) -> tuple[int, float]:
    return hit.video_id, hit.span.start


def _rarities(connection: Connection, wanted: Sequence[_Term]) -> dict[_Term, float]:
    total = connection.execute(sa.select(sa.func.count()).select_from(cues)).scalar_one()
    rarity = {}
    for term in wanted:
        matching = sa.select(sa.func.count()).select_from(_index(connection))
        count = connection.execute(matching.where(_matches(connection, [term]))).scalar_one()
        rarity[term] = math.log(1 + (total - count + 0.5) / (count + 0.5))
    return rarity


def _needed(rarity: dict[_Term, float], whole: float) -> list[_Term]:
    """The rarest terms of which a cue must hold one, since the others together weigh too little."""
    needed = []
    rest = whole
    for term in sorted(rarity, key=lambda term: -rarity[term]):
        if rest < _LEAST_COVERAGE * whole:
            break
        needed.append(term)
        rest -= rarity[term]
    return needed


def _matching(
    connection: Connection, wanted: Sequence[_Term], among: Sequence[_Conditions]
) -> Iterator[Any]:
    """The cues that hold any of these terms, with their words; those that hold most of them."""
    found = _found(connection, wanted)
    for chosen in among:
        yield from connection.execute(
            sa.select(*_COLUMNS, cues.c.words)
            .select_from(found.join(cues, cues.c.id == found.c.id).join(videos))
            .where(*chosen)
            .order_by(found.c.rank, cues.c.id)
            .limit(_MOST_CANDIDATES)
        )


def _around(
    connection: Connection, term: _Term, near: int, among: Sequence[_Conditions]
) -> list[Any]:
    """The cues that hold the term and those within `near` places of them, in order."""
    found = _found(connection, [term])
    middle = cues.alias("middle")
    neighbour = sa.and_(
        cues.c.video_id == middle.c.video_id,
        cues.c.ordinal.between(middle.c.ordinal - near, middle.c.ordinal + near),
    )
    rows: dict[int, Any] = {}
    for chosen in among:
        source = (
            found.join(middle, middle.c.id == found.c.id)
            .join(videos, videos.c.id == middle.c.video_id)
            .join(cues, neighbour)
        )
        query = sa.select(*_COLUMNS, cues.c.words).select_from(source).where(*chosen)
        rows.update((row.id, row) for row in connection.execute(query))
    return sorted(rows.values(), key=lambda row: (row.video_id, row.ordinal))


def _speeches(rows: Sequence[Any]) -> Iterator[list[Any]]:
    """Runs of cues that follow each other in one track without a long silence."""
    breaks = [0]
    for place, (a, b) in enumerate(pairwise(rows), 1):
        follows = (a.video_id, a.track, a.ordinal + 1) == (b.video_id, b.track, b.ordinal)
        if not follows or b.start_seconds - a.end_seconds > _SAME_SPEECH_SECONDS:
            breaks.append(place)
    for start, end in pairwise([*breaks, len(rows)]):
        yield list(rows[start:end])


def _phrases(phrase: list[str], run: Sequence[Any]) -> Iterator[WordHit]:
    """Each place of the run where the phrase stands; of several in the same cues, one."""
    own = [row.words.split() for row in run]
    words = [word for each in own for word in each]
    cue_of = [number for number, each in enumerate(own) for _ in each]
    places = (
        (cue_of[place], cue_of[place + len(phrase) - 1])
        for place in range(len(words) - len(phrase) + 1)
        if words[place : place + len(phrase)] == phrase
    )
    for (first, last), again in groupby(places):
        length = sum(len(each) for each in own[first : last + 1])
        share = min(1.0, len(list(again)) * len(phrase) / length)
        found = tuple(records.cue_record(row) for row in run[first : last + 1])
        yield WordHit(found, share)


def _holds(words: Sequence[str], term: _Term) -> bool:
    return term[0] in words if len(term) == 1 else any(pair == term for pair in pairwise(words))


# --- what differs between the databases


def _index(connection: Connection) -> sa.FromClause:
    if connection.dialect.name == "sqlite":
        return sa.table(
            "cues_words", sa.column("rowid"), sa.column("cues_words"), sa.column("rank")
        )
    return cues


def _matches(connection: Connection, wanted: Sequence[_Term]) -> sa.ColumnElement[bool]:
    """Whether a row of the full text index holds any of these terms."""
    if connection.dialect.name == "sqlite":
        # Words are letters, digits and marks alone, so that none can end the quotes.
        quoted = " OR ".join(f'"{" ".join(term)}"' for term in wanted)
        return sa.column("cues_words").match(quoted)
    return _lexemes().op("@@", return_type=sa.Boolean())(_tsquery(wanted))


def _found(connection: Connection, wanted: Sequence[_Term]) -> sa.Subquery:
    """The ids of the cues that hold any of these terms, with a rank: lower is better."""
    index = _index(connection)
    rank: sa.ColumnElement[Any] = sa.column("rank")
    key: sa.ColumnElement[Any] = sa.column("rowid")
    if connection.dialect.name != "sqlite":
        key, rank = cues.c.id, -sa.func.ts_rank_cd(_lexemes(), _tsquery(wanted))
    query = sa.select(key.label("id"), rank.label("rank")).select_from(index)
    return query.where(_matches(connection, wanted)).subquery("found")


def _lexemes() -> sa.ColumnElement[Any]:
    # As the migration wrote it: only the same expression is answered from the GIN index.
    return sa.func.to_tsvector(sa.text("'simple'::regconfig"), cues.c.words)


def _tsquery(wanted: Sequence[_Term]) -> sa.ColumnElement[Any]:
    simple = sa.text("'simple'::regconfig")
    first, *others = (sa.func.phraseto_tsquery(simple, " ".join(term)) for term in wanted)
    query: sa.ColumnElement[Any] = first
    for other in others:
        query = query.op("||")(other)
    return query


def _choices(
    may_answer: sa.ColumnElement[bool], of_videos: Iterable[SupportsIndex] | None
) -> Iterator[_Conditions]:
    """Conditions on videos that together choose those that may answer, or those of these."""
    if of_videos is None:
        yield [may_answer]
        return
    for chunk in _pieces(sorted({int(each) for each in of_videos})):
        yield [may_answer, videos.c.id.in_(chunk)]


def _pieces(ids: Iterable[int]) -> Iterator[list[int]]:
    left = iter(ids)
    while chunk := list(islice(left, _MOST_VIDEOS)):
        yield chunk
