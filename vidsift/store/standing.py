"""Standing questions, which every new video is asked, and the alerts that they raised.

What was asked is remembered by content: a copy, or a file that was moved away and back, is not
asked again. What is said in a video may become known later than the video; it is then asked once
more, about the words alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection

from vidsift.errors import QueryError
from vidsift.store.catalog import Catalog
from vidsift.store.connection import reading, writing
from vidsift.store.reader import CatalogReader, chunks
from vidsift.store.schema import alerts as alert_rows
from vidsift.store.schema import standing_asked, standing_questions, videos
from vidsift.types import SearchResult, Span

__all__ = [
    "Alert",
    "Due",
    "StandingQuestion",
    "add_question",
    "alerts",
    "due",
    "mark_delivered",
    "mark_seen",
    "questions",
    "record_answer",
    "remove_question",
]

_SAME_MOMENT = 0.5  # overlap, as a share of the shorter, from which two moments are the same
_WORDS = videos.c.subtitles + "/" + videos.c.speech


@dataclass(frozen=True, slots=True)
class StandingQuestion:
    """A question that every new video is asked.

    `false_alarm_rate`: of videos that have nothing to do with it this share, at most, raises an
    alert. `created_at` is in seconds of the epoch.
    """

    id: int
    question: str
    false_alarm_rate: float
    created_at: float


@dataclass(frozen=True, slots=True)
class Due:
    """A question that a video has not been asked yet.

    `words_only`: it was asked when less was known of what is said in it.
    """

    question: StandingQuestion
    video_id: int
    sha256: str
    words: str
    words_only: bool


@dataclass(frozen=True, slots=True)
class Alert:
    """A moment that a standing question found.

    `false_alarm_rate` is None where words found it; `said` are these words. `is_current` tells that
    the video still has the content in which it was found. `waiting_for` are the channels that are
    still to get it, and `delivered_at` is when the latest of the others did.
    """

    id: int
    question_id: int
    question: str
    video_id: int
    video: Path
    is_current: bool
    span: Span
    peak_seconds: float
    score: float
    false_alarm_rate: float | None
    said: str
    found_at: float
    waiting_for: tuple[str, ...]
    delivered_at: float | None
    seen: bool


def add_question(catalog: Catalog, question: str, false_alarm_rate: float) -> StandingQuestion:
    """Ask a question of every video that is indexed from now on, those here already left out.

    The text is stored as it is: check its grammar first.
    """
    rate, now = float(false_alarm_rate), time.time()
    row = {"question": question, "false_alarm_rate": rate, "created_at": now}
    with writing(catalog._engine) as connection:
        new = standing_questions.insert().values(row).returning(standing_questions.c.id)
        question_id = int(connection.execute(new).scalar_one())
        known = sa.select(sa.literal(question_id), videos.c.sha256, _WORDS).distinct()
        columns = ["standing_question_id", "sha256", "words"]
        connection.execute(
            standing_asked.insert().from_select(columns, known.where(videos.c.status != "failed"))
        )
    return StandingQuestion(question_id, question, rate, now)


def questions(catalog: CatalogReader) -> list[StandingQuestion]:
    """All standing questions, the oldest first."""
    query = standing_questions.select().order_by(standing_questions.c.id)
    with reading(catalog._engine) as connection:
        return [StandingQuestion(*row) for row in connection.execute(query)]


def remove_question(catalog: Catalog, question_id: int) -> None:
    """Ask a question no more, and forget its alerts.

    Raises:
        QueryError: none has this id.
    """
    chosen = standing_questions.c.id == int(question_id)
    with writing(catalog._engine) as connection:
        if not connection.execute(standing_questions.delete().where(chosen)).rowcount:
            raise QueryError(
                f"no standing question has the id {question_id}; `vidsift standing list` lists them"
            )


def due(catalog: CatalogReader) -> list[Due]:
    """Every question that a searchable video has not been asked, videos in order of indexing."""
    asked = standing_asked.c
    of_content = (asked.standing_question_id == standing_questions.c.id) & (
        asked.sha256 == videos.c.sha256
    )
    before = sa.exists().where(of_content)
    query = (
        sa.select(standing_questions, videos.c.id, videos.c.sha256, _WORDS, before)
        .select_from(standing_questions.join(videos, videos.c.status == "searchable"))
        .where(~sa.exists().where(of_content, asked.words == _WORDS))
        .order_by(videos.c.indexed_at, videos.c.id, standing_questions.c.id)
    )
    with reading(catalog._engine) as connection:
        rows = connection.execute(query).all()
    return [
        Due(StandingQuestion(*row[:4]), int(row[4]), row[5], row[6], bool(row[7])) for row in rows
    ]


def record_answer(
    catalog: Catalog, asked: Due, results: Sequence[SearchResult], waiting_for: Sequence[str] = ()
) -> list[Alert]:
    """Write down that a question was asked and what it found; all of it or nothing.

    A moment that the question has found in the same content before raises no second alert.

    Args:
        catalog: the library's.
        asked: the question and the video.
        results: the moments of the video that match.
        waiting_for: the channels that are to get the alerts.

    Returns:
        The new alerts; none if somebody else has asked in the meantime.
    """
    question_id = asked.question.id
    row = {"standing_question_id": question_id, "sha256": asked.sha256, "words": asked.words}
    try:
        with writing(catalog._engine) as connection:
            connection.execute(standing_asked.insert().values(row))
            known = _known_spans(connection, asked)
            new = []
            for result in results:
                span = result.moment.span
                if not any(_same(span, other) for other in known):
                    known.append(span)
                    new.append(_alert_row(asked, result, waiting_for))
            insert = alert_rows.insert().returning(alert_rows.c.id)
            ids = [int(connection.execute(insert, each).scalar_one()) for each in new]
    except exc.IntegrityError:
        # Another process has just asked it, or the question or the video has just been removed.
        return []
    return alerts(catalog, ids=ids) if ids else []


def _known_spans(connection: Connection, asked: Due) -> list[Span]:
    query = sa.select(alert_rows.c.start_seconds, alert_rows.c.end_seconds).where(
        alert_rows.c.standing_question_id == asked.question.id,
        alert_rows.c.sha256 == asked.sha256,
    )
    return [Span(*row) for row in connection.execute(query)]


def _same(a: Span, b: Span) -> bool:
    return a.overlap(b) >= _SAME_MOMENT * min(a.duration, b.duration)


def _alert_row(asked: Due, result: SearchResult, waiting_for: Sequence[str]) -> dict[str, Any]:
    moment = result.moment
    return {
        "standing_question_id": asked.question.id,
        "video_id": asked.video_id,
        "sha256": asked.sha256,
        "start_seconds": moment.span.start,
        "end_seconds": moment.span.end,
        "peak_seconds": moment.peak_seconds,
        "score": moment.score,
        "false_alarm_rate": result.false_alarm_rate,
        "said": result.cue.text if result.cue is not None else "",
        "found_at": time.time(),
        "waiting_for": " ".join(waiting_for),
        "seen": False,
    }


def alerts(
    catalog: CatalogReader,
    *,
    since: float | None = None,
    unseen: bool = False,
    waiting: bool = False,
    ids: Iterable[SupportsIndex] | None = None,
) -> list[Alert]:
    """Alerts in the order in which they were found.

    Args:
        catalog: the library's.
        since: seconds of the epoch; only those found then or later.
        unseen: only those that nobody has marked as seen.
        waiting: only those that a channel is still to get.
        ids: only these.
    """
    query = (
        sa.select(
            alert_rows,
            standing_questions.c.question,
            videos.c.path,
            (alert_rows.c.sha256 == videos.c.sha256).label("is_current"),
        )
        .select_from(alert_rows.join(standing_questions).join(videos))
        .order_by(alert_rows.c.id)
    )
    if since is not None:
        query = query.where(alert_rows.c.found_at >= since)
    if unseen:
        query = query.where(~alert_rows.c.seen)
    if waiting:
        query = query.where(alert_rows.c.waiting_for != "")
    each = [query] if ids is None else [query.where(alert_rows.c.id.in_(c)) for c in chunks(ids)]
    with reading(catalog._engine) as connection:
        return [_alert(row) for part in each for row in connection.execute(part)]


def _alert(row: Any) -> Alert:
    return Alert(
        id=row.id,
        question_id=row.standing_question_id,
        question=row.question,
        video_id=row.video_id,
        video=Path(row.path),
        is_current=bool(row.is_current),
        span=Span(row.start_seconds, row.end_seconds),
        peak_seconds=row.peak_seconds,
        score=row.score,
        false_alarm_rate=row.false_alarm_rate,
        said=row.said,
        found_at=row.found_at,
        waiting_for=tuple(row.waiting_for.split()),
        delivered_at=row.delivered_at,
        seen=row.seen,
    )


def mark_seen(catalog: Catalog, ids: Iterable[SupportsIndex], seen: bool = True) -> None:
    """Note that somebody has seen these alerts, or take that back."""
    with writing(catalog._engine) as connection:
        for chunk in chunks(ids):
            chosen = alert_rows.c.id.in_(chunk)
            connection.execute(alert_rows.update().where(chosen).values(seen=seen))


def mark_delivered(catalog: Catalog, alert_id: int, channel: str) -> None:
    """Note that a channel has got an alert, so that it does not get it again."""
    chosen = alert_rows.c.id == int(alert_id)
    with writing(catalog._engine) as connection:
        left = connection.execute(sa.select(alert_rows.c.waiting_for).where(chosen)).scalar()
        if left is None:  # its question was removed in the meantime
            return
        rest = " ".join(name for name in left.split() if name != channel)
        row = {"waiting_for": rest, "delivered_at": time.time()}
        connection.execute(alert_rows.update().where(chosen).values(row))
