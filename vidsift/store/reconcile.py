"""Whether a catalog fits together: the database as such, and the rows of each video.

Checksums (`vidsift.store.seals`) tell what has changed since it was written. Here is what must hold
of any library whatever wrote it, and of libraries from before there were checksums.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from vidsift.store import records, seals
from vidsift.store.connection import reading
from vidsift.store.reader import CatalogReader
from vidsift.store.schema import cues, space_videos, spaces, unescaped, videos

__all__ = [
    "SpaceEntry",
    "VideoEntry",
    "database_problems",
    "entries",
    "row_problems",
    "space_entries",
    "words_problem",
]

_MOST = 5  # complaints of one kind that are named
_ROUNDING = 1e-6  # seconds
_UNIT = 0.01  # by which the length of a vector of half precision may differ from 1
_COUNTS = ("num_frames", "num_clips", "num_vectors")


@dataclass(frozen=True, slots=True)
class VideoEntry:
    """What the catalog says of one video, as it stands there.

    `checked` tells whether all checksums of it have been taken.
    """

    id: int
    path: str
    status: str
    reason: str
    size_bytes: int
    mtime_ns: int
    sha256: str
    num_frames: int
    num_clips: int
    feature_file: str
    feature_sha256: str
    pictures_sha256: str
    checked: bool


@dataclass(frozen=True, slots=True)
class SpaceEntry:
    """What the catalog says of one video in a space beside the one that is searched."""

    space_id: int
    encoder: str
    video_id: int
    feature_file: str
    feature_sha256: str
    pictures_sha256: str


def database_problems(catalog: CatalogReader) -> list[str]:
    """What is wrong with the database as such; only SQLite can be asked.

    Raises:
        DamagedLibraryError: it is so damaged that it cannot even be asked.
    """
    engine = catalog._engine
    if engine.dialect.name != "sqlite":
        return []
    with reading(engine) as connection:
        told = connection.exec_driver_sql(f"PRAGMA integrity_check({_MOST})").scalars().all()
        found = [str(each) for each in told if each != "ok"]
        orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        tables = sorted({(str(row[0]), str(row[2])) for row in orphans})
        found += [
            f"{sum(str(row[0]) == table for row in orphans)} rows of {table} belong to rows of"
            f" {parent} that are not there"
            for table, parent in tables
        ]
    return found


def words_problem(catalog: CatalogReader) -> str:
    """What is wrong with the full text index of what is said; empty if nothing, or on PostgreSQL.

    Each place of each word is held against the subtitles, as sums: neither need be in memory.
    """
    engine = catalog._engine
    if engine.dialect.name != "sqlite":
        return ""
    with reading(engine) as connection:
        try:
            connection.exec_driver_sql(
                "CREATE VIRTUAL TABLE IF NOT EXISTS temp.words_there"
                " USING fts5vocab(main, cues_words, instance)"
            )
            rows = connection.exec_driver_sql("SELECT doc, offset, term FROM temp.words_there")
            there = _sum((doc, offset, term) for doc, offset, term in rows)
            connection.exec_driver_sql("DROP TABLE temp.words_there")
        except sa.exc.DBAPIError:
            connection.invalidate()  # with what it made of its own
            raise
        said = connection.execute(sa.select(cues.c.id, cues.c.words))
        wanted = _sum(
            (row.id, offset, word)
            for row in said
            for offset, word in enumerate(str(row.words).split(" "))
            if word
        )
    return "" if there == wanted else "the index of words does not hold what the subtitles say"


def _sum(places: Iterable[tuple[int, int, str]]) -> tuple[int, int]:
    count = total = 0
    for place in places:
        count += 1
        total += zlib.crc32(repr(place).encode("utf-8", "surrogatepass"))
    return count, total


def entries(catalog: CatalogReader) -> list[VideoEntry]:
    """Every video by its id, also those whose entries are damaged."""
    query = sa.select(*(seals.raw(column) for column in videos.c)).order_by(videos.c.id)
    with reading(catalog._engine) as connection:
        rows = connection.execute(query).mappings().all()
    return [_entry(row) for row in rows]


def _entry(row: Any) -> VideoEntry:
    def number(name: str) -> int:
        return row[name] if isinstance(row[name], int) else -1

    return VideoEntry(
        id=int(row["id"]),
        path=unescaped(str(row["path"])),
        status=str(row["status"]),
        reason=str(row["reason"]),
        size_bytes=number("size_bytes"),
        mtime_ns=number("mtime_ns"),
        sha256=str(row["sha256"]),
        num_frames=number("num_frames"),
        num_clips=number("num_clips"),
        feature_file=str(row["feature_file"]),
        feature_sha256=str(row["feature_sha256"]),
        pictures_sha256=str(row["pictures_sha256"]),
        checked=seals.NOT_TAKEN not in (row["parts_sha256"], row["seal"])
        and (row["pictures_sha256"] != seals.NOT_TAKEN or not row["feature_file"]),
    )


def row_problems(
    catalog: CatalogReader, video_ids: Iterable[SupportsIndex], dimension: int | None
) -> Iterator[dict[int, str]]:
    """What is wrong with the rows of each video, empty where nothing is, some videos at a time.

    By their checksums, where these are taken, and by what must hold of clips and vectors.
    """
    ids = [int(each) for each in video_ids]
    with reading(catalog._engine) as connection:
        batches = list(seals.batches(connection, ids))
    for batch in batches:
        with reading(catalog._engine) as connection:
            wrong = seals.unfit(connection, batch)
            counts = _counts(connection, batch)
            for video_id, parts in seals.read_parts(connection, batch).items():
                if not wrong.get(video_id, "") and video_id in counts:
                    wrong[video_id] = _misfit(parts, counts[video_id], dimension)
        yield wrong


def _counts(connection: Connection, batch: list[int]) -> dict[int, Mapping[str, Any]]:
    columns = [videos.c.id, *(seals.raw(videos.c[name]) for name in _COUNTS)]
    query = sa.select(*columns).where(videos.c.id.in_(batch))
    return {row["id"]: dict(row) for row in connection.execute(query).mappings()}


def _misfit(parts: seals.Parts, counts: Mapping[str, Any], dimension: int | None) -> str:
    """What does not fit together in the rows of one video; the first that is found."""
    try:
        return next(_misfits(parts, counts, dimension), "")
    except (TypeError, ValueError) as error:  # values that no clip or vector has
        return f"a row of it holds what it cannot ({error})"


def _misfits(parts: seals.Parts, counts: Mapping[str, Any], dimension: int | None) -> Iterator[str]:
    first_frame = 0
    for ordinal, row in enumerate(parts.clips):
        pts = np.frombuffer(row["pts_seconds"], "<f8")
        if row["ordinal"] != ordinal:
            yield f"its clip {ordinal} is not there"
        if row["first_frame"] != first_frame or row["num_frames"] != len(pts) or not len(pts):
            yield f"the frames of its clip {ordinal} do not follow those before"
        if not (np.diff(pts) > 0).all():
            yield f"the times of its clip {ordinal} do not increase"
        inside = row["start_seconds"] - _ROUNDING <= pts[0] and pts[-1] < row["end_seconds"]
        if not inside:
            yield f"frames of its clip {ordinal} lie outside of it"
        if not 0 <= row["shot_ordinal"] < len(parts.shots):
            yield f"the shot of its clip {ordinal} is not there"
        first_frame += len(pts)
    if any(a["end_seconds"] > b["start_seconds"] + _ROUNDING
           for a, b in itertools.pairwise(parts.clips)):  # fmt: skip
        yield "its clips overlap"
    found = {
        "num_frames": first_frame,
        "num_clips": len(parts.clips),
        "num_vectors": len(parts.vectors),
    }
    for name, number in found.items():
        if counts[name] != number:
            yield f"it has {number} {name.removeprefix('num_')}, not {counts[name]}"
    if {ordinal for ordinal, _ in parts.vectors} != set(range(len(parts.clips))):
        yield "a clip of it has no vector"
    if parts.vectors:
        blobs = [vector for _, vector in parts.vectors]
        if any(len(each) != len(blobs[0]) for each in blobs):
            yield "its vectors are not of one length"
        vectors = records.vectors_of(blobs)
        if dimension is not None and vectors.shape[1] != dimension:
            yield f"its vectors have {vectors.shape[1]} dimensions, not {dimension}"
        lengths = np.linalg.norm(vectors, axis=1)
        if not (np.abs(lengths - 1) < _UNIT).all():
            yield "a vector of it has not the length 1"


def space_entries(catalog: CatalogReader) -> list[SpaceEntry]:
    """Every video of every space beside the one that is searched."""
    query = sa.select(
        space_videos.c.space_id,
        spaces.c.encoder_name,
        space_videos.c.video_id,
        space_videos.c.feature_file,
        space_videos.c.feature_sha256,
        space_videos.c.pictures_sha256,
    ).join(spaces)
    with reading(catalog._engine) as connection:
        rows = connection.execute(query.order_by(space_videos.c.space_id, space_videos.c.video_id))
        return [SpaceEntry(*row) for row in rows]
