"""What forgetting a video asks of the database: its rows, the room they took, and all that is left.

Rows that are deleted stay on the disk for a while: SQLite keeps them in free pages and in its log,
its full text index in segments that are not merged yet, PostgreSQL in dead tuples and statistics.
`scrub` writes anew what holds them.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection

from vidsift.errors import LibraryBusyError, StorageError
from vidsift.store import schema
from vidsift.store.catalog import Catalog
from vidsift.store.connection import reading, sqlite_file, writing
from vidsift.store.reader import CatalogReader
from vidsift.store.seals import resealed

__all__ = [
    "Rows",
    "Stored",
    "all_rows",
    "database_files",
    "delete_videos",
    "fts_words",
    "require_room",
    "rows_of_videos",
    "scrub",
    "space_files",
    "stored_of_video",
    "without",
]

# VACUUM writes the whole file twice: to a temporary file, and through the log.
_ROOM = 1.1
_BATCH = 1000
_SIDE_FILES = ("", "-wal", "-shm", "-journal")
# At emptying the log while others read.
_TRIES = 6


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes that a row of a video holds: a `vector` (float16), or a `line` that is said in it."""

    kind: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of one table as bytes; `of_videos` tells that each of them belongs to a video."""

    table: str
    count: int
    content: bytes
    of_videos: bool


def stored_of_video(catalog: CatalogReader, video_id: int) -> Iterator[Stored]:
    """The vectors of a video in every space, and its lines of speech and subtitles."""
    clips, cues = schema.clips, schema.cues
    of_clips = clips.c.video_id == int(video_id)
    of_cues = cues.c.video_id == int(video_id)
    vectors = [
        sa.select(table.c.vector).select_from(table.join(of)).where(chosen)
        for table, of, chosen in (
            (schema.clip_vectors, clips, of_clips),
            (schema.space_clip_vectors, clips, of_clips),
            (schema.space_cue_vectors, cues, of_cues),
        )
    ]
    vectors.append(sa.select(cues.c.vector).where(of_cues))
    with reading(catalog._engine) as connection:
        for query in vectors:
            for blob in connection.execute(query).scalars():
                yield Stored("vector", bytes(blob))
        for text in connection.execute(sa.select(cues.c.text).where(of_cues)).scalars():
            yield Stored("line", text.encode("utf-8", "surrogateescape"))


def space_files(catalog: CatalogReader, video_id: int) -> list[str]:
    """The feature files that other spaces than the one searched have of a video."""
    table = schema.space_videos
    query = sa.select(table.c.feature_file).where(table.c.video_id == int(video_id))
    with reading(catalog._engine) as connection:
        return list(connection.execute(query).scalars())


def delete_videos(
    catalog: Catalog,
    video_ids: Collection[int],
    *,
    names_it: Callable[[str], bool],
    may_mean: Callable[[str], bool],
) -> dict[str, int]:
    """Delete videos and every row that tells of them, in one transaction.

    That is: all their parts; what standing questions were asked of contents that no video has any
    more; of the reports of runs the entries that name them; questions that name them, with their
    alerts, out of history, standing questions and summaries of other videos.

    Args:
        catalog: the library's.
        video_ids: the videos; those that are gone already do not matter.
        names_it: whether a text names one of them.
        may_mean: whether it may; enough for what is only history.

    Returns:
        How many rows of each table are gone or (`runs`) were changed; those of none are left out.
    """
    chosen = [int(each) for each in video_ids]
    with writing(catalog._engine) as connection:
        if connection.dialect.name == "sqlite":
            # What is deleted is overwritten at once. Of this connection, until it is closed.
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        before = _counts(connection)
        found = connection.execute(
            schema.videos.delete().where(schema.videos.c.id.in_(chosen))
        ).rowcount
        asked = schema.standing_asked
        contents = sa.select(schema.videos.c.sha256)
        connection.execute(asked.delete().where(asked.c.sha256.not_in(contents)))
        for table, tells in (
            (schema.asked_questions, may_mean),
            (schema.standing_questions, names_it),
        ):
            texts = connection.execute(sa.select(table.c.id, table.c.question)).all()
            for row_id in [row.id for row in texts if tells(row.question)]:
                connection.execute(table.delete().where(table.c.id == row_id))
        _drop_summaries(connection, names_it)
        changed = _clean_reports(connection, names_it)
        if found:
            library = schema.library
            connection.execute(
                library.update().values(
                    generation=library.c.generation + 1, deletions=library.c.deletions + 1
                )
            )
        gone = {name: count - after for name, count, after in _both(before, _counts(connection))}
    return {name: count for name, count in (gone | {"runs": changed}).items() if count}


def _counts(connection: Connection) -> dict[str, int]:
    count = sa.func.count()
    return {
        name: connection.execute(sa.select(count).select_from(table)).scalar_one()
        for name, table in schema.metadata.tables.items()
    }


def _both(before: dict[str, int], after: dict[str, int]) -> Iterator[tuple[str, int, int]]:
    return ((name, count, after[name]) for name, count in before.items())


def _drop_summaries(connection: Connection, names_it: Callable[[str], bool]) -> None:
    """Those of other videos about a question that names one that is forgotten."""
    table = schema.summaries
    about = sa.select(table.c.id, table.c.video_id, table.c.query).where(table.c.query != "")
    named = [row for row in connection.execute(about).all() if names_it(row.query)]
    with resealed(connection, {row.video_id for row in named}):
        for row in named:
            connection.execute(table.delete().where(table.c.id == row.id))


def _clean_reports(connection: Connection, names_it: Callable[[str], bool]) -> int:
    changed = 0
    for row in connection.execute(sa.select(schema.runs.c.id, schema.runs.c.report)).all():
        report = without(row.report, names_it)
        if report != row.report:
            chosen = schema.runs.c.id == row.id
            connection.execute(schema.runs.update().where(chosen).values(report=report))
            changed += 1
    return changed


def without(value: Any, names_it: Callable[[str], bool]) -> Any:
    """JSON without the entries of lists, and the keys of objects, that name a video.

    A list of plain texts inside a list (a path and its reason) is one entry.
    """
    if isinstance(value, dict):
        return {k: without(v, names_it) for k, v in value.items() if not names_it(k)}
    if isinstance(value, list):
        kept = []
        for each in value:
            texts = each if isinstance(each, list) else [each]
            if not any(isinstance(text, str) and names_it(text) for text in texts):
                kept.append(without(each, names_it))
        return kept
    if isinstance(value, str) and names_it(value):
        return ""
    return value


def rows_of_videos(catalog: CatalogReader, video_ids: Sequence[int]) -> dict[str, int]:
    """How many rows of each table still refer to one of these videos; tables with none left out."""
    left = {}
    with reading(catalog._engine) as connection:
        for name, table in schema.metadata.tables.items():
            column = table.c.id if name == "videos" else table.c.get("video_id")
            if column is None:
                continue
            query = sa.select(sa.func.count()).where(column.in_([int(i) for i in video_ids]))
            if count := connection.execute(query.select_from(table)).scalar_one():
                left[name] = count
    return left


def all_rows(catalog: CatalogReader) -> Iterator[Rows]:
    """Every row of every table as bytes, and on PostgreSQL what its planner remembers of them."""
    of_others = {"clip_vectors", "space_clip_vectors", "space_cue_vectors", "videos"}
    with reading(catalog._engine) as connection:
        for name, table in schema.metadata.tables.items():
            of_videos = "video_id" in table.c or name in of_others
            result = connection.execution_options(yield_per=_BATCH).execute(sa.select(table))
            for part in result.partitions():
                yield Rows(name, len(part), _joined(part), of_videos)
        if connection.dialect.name == "postgresql":
            remembered = sa.text(
                "SELECT tablename, attname, most_common_vals::text, histogram_bounds::text"
                " FROM pg_stats WHERE schemaname = ANY(current_schemas(false))"
            )
            for row in connection.execute(remembered).all():
                of_videos = row[0] != "runs" and "question" not in row[0]
                yield Rows("pg_stats", 1, _joined([row]), of_videos)


def _joined(listed: Sequence[Any]) -> bytes:
    return b"\0".join(_bytes(value) for row in listed for value in row)


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes | memoryview):
        return bytes(value)
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    if value is None:
        return b""
    try:
        return str(value).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # no part of a file name
        return str(value).encode("utf-8", "surrogatepass")


def fts_words(catalog: CatalogReader, words: Collection[str]) -> list[str]:
    """Those of these words that SQLite's full text index holds though no line has them any more.

    PostgreSQL's index is made anew by `scrub`, and cannot be read word by word.
    """
    with reading(catalog._engine) as connection:
        if connection.dialect.name != "sqlite":
            return []
        said = connection.execute(sa.select(schema.cues.c.words)).scalars()
        left = set(words).difference(*(text.split() for text in said))
        connection.exec_driver_sql(
            "CREATE VIRTUAL TABLE IF NOT EXISTS temp.words_held"
            " USING fts5vocab(main, 'cues_words', 'row')"
        )
        held = connection.exec_driver_sql("SELECT term FROM temp.words_held").scalars()
        return sorted(left.intersection(held))


def database_files(catalog: CatalogReader) -> list[Path]:
    """The files of an SQLite database that are there; none of a server's."""
    file = sqlite_file(catalog._engine.url)
    if file is None:
        return []
    beside = (file.with_name(file.name + suffix) for suffix in _SIDE_FILES)
    return [path for path in beside if path.exists()]


def require_room(catalog: CatalogReader) -> None:
    """Refuse where there is no room to write the database anew.

    Raises:
        StorageError: it names how much is needed, and where.
    """
    file = sqlite_file(catalog._engine.url)
    if file is None:
        return
    needed: dict[int, int] = {}
    temporary = Path(os.environ.get("SQLITE_TMPDIR") or tempfile.gettempdir())
    places: dict[int, Path] = {}
    for folder in (file.parent, temporary):
        device = folder.stat().st_dev
        places.setdefault(device, folder)
        needed[device] = needed.get(device, 0) + int(_ROOM * file.stat().st_size)
    for device, size in needed.items():
        if shutil.disk_usage(places[device]).free < size:
            raise StorageError(
                f"{places[device]}: forgetting writes the database anew, which needs"
                f" {-(-size // 1_000_000)} MB free there; free some space and run again."
                " Nothing has been forgotten yet"
            )


def scrub(catalog: Catalog) -> None:
    """Write the database anew, so that nothing is left in it of rows that were deleted.

    Raises:
        LibraryBusyError: others read it all the time; the rows are deleted all the same.
        StorageError: the disk is full.
    """
    engine = catalog._engine
    if engine.dialect.name != "sqlite":
        with reading(engine) as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            for name in schema.metadata.tables:
                connection.exec_driver_sql(f"VACUUM (FULL, ANALYZE) {name}")
        return
    with writing(engine) as connection:
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
        connection.exec_driver_sql("INSERT INTO cues_words(cues_words) VALUES ('rebuild')")
    with reading(engine) as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - the dialect says so
        try:
            # Past SQLAlchemy, which would begin a transaction: VACUUM takes none.
            driver.execute("PRAGMA secure_delete = ON")
            driver.execute("VACUUM")
            # Each try waits ten seconds for whoever began to read before it.
            for _ in range(_TRIES):
                busy = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                if not busy:
                    break
        except sqlite3.Error as error:
            raise exc.DBAPIError("VACUUM", None, error) from error
    if busy:
        raise LibraryBusyError(
            f"{sqlite_file(engine.url)}: the rows are deleted, but another process reads the"
            " database all the time, so that its log cannot be cleared; close the page and run"
            " `vidsift forget` again"
        )
