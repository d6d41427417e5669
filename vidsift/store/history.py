"""What people asked of a library, kept so that encoders can be compared on it.

One row a question however often it is asked, the newest `MOST` of them. Remembering is a
convenience and never in the way: where the catalog is busy or may not be written, it is left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection, Engine

from vidsift.store.connection import reading, writing
from vidsift.store.reader import CatalogReader, chunks
from vidsift.store.schema import asked_questions

__all__ = ["MOST", "AskedQuestion", "asked", "forget", "remember"]

MOST = 1_000
"""Questions that are kept."""

_PATIENCE_MS = 50  # for another writer; the engine's own patience is seconds
# Busy, full or read-only; another session that asked the same for the first time; no connection.
_IN_THE_WAY = (exc.OperationalError, exc.InternalError, exc.IntegrityError, exc.TimeoutError)


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question as it was typed, how often, and when last (seconds of the epoch)."""

    question: str
    times: int
    last_asked_at: float


def remember(catalog: CatalogReader, question: str) -> bool:
    """Note that the question was asked; returns whether that could be done within 50 ms.

    It could not where another process is writing, or the catalog may only be read.
    """
    question = question.strip()
    if not question:
        return False
    key = sha256(question.encode("utf-8", "surrogatepass")).hexdigest()
    now = time.time()
    same = asked_questions.c.question_sha256 == key
    again = asked_questions.update().where(same)
    try:
        with _briefly(catalog._engine) as connection:
            again = again.values(times=asked_questions.c.times + 1, last_asked_at=now)
            if not connection.execute(again).rowcount:
                row = {"question": question, "question_sha256": key}
                connection.execute(
                    asked_questions.insert(), row | {"times": 1, "last_asked_at": now}
                )
                _keep_newest(connection)
    except _IN_THE_WAY:
        return False
    return True


def asked(catalog: CatalogReader, most: int = MOST) -> list[AskedQuestion]:
    """The questions that are remembered, at most so many, the latest first."""
    columns = (
        asked_questions.c.question,
        asked_questions.c.times,
        asked_questions.c.last_asked_at,
    )
    with reading(catalog._engine) as connection:
        rows = connection.execute(sa.select(*columns).order_by(*_LATEST_FIRST).limit(most))
        return [AskedQuestion(*row) for row in rows]


def forget(catalog: CatalogReader, *naming: str) -> int:
    """Forget the questions that hold one of these texts, whatever its case; without any, all.

    Returns how many were forgotten.

    Raises:
        StorageError, LibraryBusyError: the catalog cannot be written.
    """
    sought = [text.casefold() for text in naming]
    with writing(catalog._engine) as connection:
        if connection.dialect.name == "sqlite":
            # What is deleted is overwritten at once. Of this connection, until it is closed.
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        rows = connection.execute(sa.select(asked_questions.c.id, asked_questions.c.question)).all()
        gone = [
            row.id
            for row in rows
            if not naming or any(text in row.question.casefold() for text in sought)
        ]
        for chunk in chunks(gone):
            connection.execute(asked_questions.delete().where(asked_questions.c.id.in_(chunk)))
    return len(gone)


_LATEST_FIRST = (asked_questions.c.last_asked_at.desc(), asked_questions.c.id.desc())


def _keep_newest(connection: Connection) -> None:
    newest = sa.select(asked_questions.c.id).order_by(*_LATEST_FIRST).limit(MOST)
    connection.execute(asked_questions.delete().where(asked_questions.c.id.not_in(newest)))


@contextmanager
def _briefly(engine: Engine) -> Iterator[Connection]:
    """A transaction that soon gives up, and does not wait until the disk has it for certain."""
    with engine.connect().execution_options(write=True) as connection:
        if engine.dialect.name == "postgresql":
            with connection.begin():
                for limit in ("lock_timeout", "statement_timeout"):
                    connection.exec_driver_sql(f"SET LOCAL {limit} = '{_PATIENCE_MS}ms'")
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
                yield connection
            return
        pragmas = ("busy_timeout", "synchronous")
        sqlite = connection.connection.driver_connection
        if sqlite is None:
            raise RuntimeError("the connection is closed")
        before = [sqlite.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
        for name, value in zip(pragmas, (_PATIENCE_MS, "NORMAL"), strict=True):
            sqlite.execute(f"PRAGMA {name} = {value}")
        try:
            with connection.begin():
                yield connection
        finally:
            for name, value in zip(pragmas, before, strict=True):
                sqlite.execute(f"PRAGMA {name} = {value}")
