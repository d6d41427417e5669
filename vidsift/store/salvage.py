"""Saving what can still be read of a damaged SQLite catalog into a new one.

Rows are read through the tables themselves, not through their indexes, and around what cannot be
read; indexes and the full text index are made anew from them. What was saved is not thereby whole:
the checksums of each video tell. The damaged file stays beside the new one until it is deleted.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import sqlalchemy as sa

from vidsift.errors import DamagedLibraryError, LibraryError, SchemaError, StorageError
from vidsift.store.connection import parse_url, sqlite_file
from vidsift.store.files import PART
from vidsift.store.records import Generation
from vidsift.store.schema import HEAD, metadata
from vidsift.store.upgrade import upgrade
from vidsift.types import EncoderStamp

__all__ = ["Salvaged", "salvage"]

_ROWS = 2_000  # that are read in one go
_MOST_ID = 2**63 - 1
# The driver cannot even decode an error in which SQLite quotes what is damaged.
_UNREADABLE = (sqlite3.Error, UnicodeDecodeError, OverflowError)
_HEADER_BYTES = 100
_PAGE_BYTES = 4096


_MadeBy: TypeAlias = tuple[Generation, EncoderStamp] | None


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was saved: rows read, places where some could not be, and where the damaged file is."""

    rows: int
    unreadable: int
    damaged: Path


def salvage(url: str, made_by: _MadeBy = None) -> Salvaged | None:
    """Put what can be read of an SQLite catalog in its place; None where the catalog is no SQLite.

    `made_by` is what the saved index says: the state of which library it is of, and the encoder. It
    stands in where the catalog does not say so any more, or says it otherwise of the same state.

    Only for who holds the write lock, and with no other process at work on the library.

    Raises:
        DamagedLibraryError: nothing can be read of it.
        SchemaError: a newer vidsift made it.
        StorageError: the disk is full or may not be written; the catalog is as it was.
    """
    file = sqlite_file(parse_url(url))
    if file is None:
        return None
    _refuse_newer(file)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    kept = file.with_name(f"{file.name}.damaged-{stamp}")
    new = file.with_name(f"{file.name}{PART}")
    try:
        _keep(file, kept)
        try:
            rows, unreadable = _rebuild(file, new, made_by)
        except (LibraryError, OSError, sqlite3.Error):
            _put_back(kept, file)
            raise
    except (OSError, sqlite3.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise StorageError(
            f"{file}: cannot be mended: {why}; free some space or mend the permissions"
        ) from error
    finally:
        _remove(new)
    return Salvaged(rows, unreadable, kept)


def _rebuild(file: Path, new: Path, made_by: _MadeBy) -> tuple[int, int]:
    """Put a new catalog in the damaged one's place; returns how many rows and unreadable places."""
    _remove(new)
    _take_in_log(file)
    upgrade(f"sqlite:///{new}")
    _mend_schema(file, new)
    counts = _copy(file, new, made_by)
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    new.replace(file)
    _sync(file.parent)
    return counts


def _keep(file: Path, kept: Path) -> None:
    try:
        for suffix in ("", "-wal"):
            source = file.with_name(file.name + suffix)
            if source.exists():
                shutil.copy2(source, kept.with_name(kept.name + suffix))
    except OSError:
        _remove(kept)  # half a copy would be taken for all that there was
        raise


def _remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):
            file.with_name(file.name + suffix).unlink(missing_ok=True)


def _put_back(kept: Path, file: Path) -> None:
    """The catalog as it was, log included: another program may read what could not be read here."""
    with suppress(OSError):
        file.with_name(f"{file.name}-shm").unlink(missing_ok=True)
        for suffix in ("-wal", ""):
            before = kept.with_name(kept.name + suffix)
            if before.exists():
                before.replace(file.with_name(file.name + suffix))


def _take_in_log(file: Path) -> None:
    """Bring what is only in the log into the file: a log must not be taken for a new file's."""
    _mend_header(file)
    with suppress(*_UNREADABLE), closing(sqlite3.connect(file, isolation_level=None)) as old:
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        old.execute("PRAGMA journal_mode = DELETE")


def _mend_header(file: Path) -> None:
    """The first bytes are the same in all our databases: what is wrong with them can be put right.

    The copy that is kept has them as they were. Format: https://www.sqlite.org/fileformat2.html
    """
    with file.open("r+b") as stream:
        begin = stream.read(_HEADER_BYTES)
        if len(begin) < _HEADER_BYTES:
            return
        mended = bytearray(begin)
        mended[:16] = b"SQLite format 3\x00"
        page = int.from_bytes(begin[16:18], "big")
        if page != 1 and (page < 512 or page.bit_count() != 1):
            page = _PAGE_BYTES
            mended[16:18] = page.to_bytes(2, "big")
        if begin[18:20] not in (b"\x01\x01", b"\x02\x02"):
            mended[18:20] = b"\x01\x01"
        mended[20:24] = bytes([0, 64, 32, 32])  # nothing reserved, fractions of a page
        pages = file.stat().st_size // (page if page > 1 else 65536)
        mended[28:32] = pages.to_bytes(4, "big")
        mended[44:48] = (4).to_bytes(4, "big")  # of the schema
        mended[52:56] = mended[64:68] = bytes(4)  # no vacuum by itself
        mended[56:60] = (1).to_bytes(4, "big")  # UTF-8
        mended[72:92] = bytes(20)  # for later versions
        mended[92:96] = mended[24:28]
        if bytes(mended) != begin:
            stream.seek(0)
            stream.write(bytes(mended))
            stream.flush()
            os.fsync(stream.fileno())


def _mend_schema(file: Path, new: Path) -> None:
    """Where the definition of a table is damaged, that of the new catalog stands in its place."""
    query = "SELECT rowid, type, name, tbl_name, sql FROM sqlite_master"
    with (
        suppress(*_UNREADABLE),
        closing(sqlite3.connect(new)) as fresh,
        closing(sqlite3.connect(file)) as old,
    ):
        old.text_factory = fresh.text_factory = bytes
        defined = {row[0]: row[1:] for row in fresh.execute(query)}
        old.execute("PRAGMA writable_schema = ON")
        for rowid, *found in old.execute(query).fetchall():
            # Made by the same steps, both have their tables in the same order.
            right = next((each for each in defined.values() if each[1] == found[1]), None)
            right = right or defined.get(rowid)
            if right is not None and tuple(found) != right:
                old.execute(
                    "UPDATE sqlite_master SET type = CAST(? AS TEXT), name = CAST(? AS TEXT),"
                    " tbl_name = CAST(? AS TEXT), sql = CAST(? AS TEXT) WHERE rowid = ?",
                    (*right, rowid),
                )
        old.commit()


def _copy(
    file: Path, new: Path, made_by: tuple[Generation, EncoderStamp] | None
) -> tuple[int, int]:
    """Copy row by row; returns how many, and how many places could not be read."""
    rows = unreadable = 0
    with (
        closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as old,
        closing(sqlite3.connect(new, isolation_level=None)) as target,
    ):
        for connection in (old, target):
            connection.text_factory = bytes  # as it is there, be it text or not
        old.execute("PRAGMA writable_schema = ON")  # go on where a definition cannot be read
        _require_readable(old, file)
        target.execute("PRAGMA synchronous = FULL")
        target.execute("PRAGMA foreign_keys = OFF")
        # A row that breaks them is kept for what else it says; its checksum tells that it is bad.
        target.execute("PRAGMA ignore_check_constraints = ON")
        target.execute("BEGIN IMMEDIATE")
        if made_by is not None:  # unless the catalog still says it itself
            target.execute(
                "UPDATE library SET library_id = CAST(? AS TEXT), generation = ?, deletions = ?",
                (made_by[0].library_id, made_by[0].generation, made_by[0].deletions),
            )
        for table in metadata.sorted_tables:
            reading = _Reading(old, table)
            insert = _insert(table)
            for row in reading:
                if table.name == "library":  # in place of that of the new catalog
                    target.execute("DELETE FROM library")
                rows += target.execute(insert, row).rowcount
            unreadable += reading.unreadable
        if made_by is not None:
            _tell_encoder(target, *made_by)
        _drop_orphans(target)
        _keep_ids_apart(target)
        # An index of before must not be taken for a copy of what is here now.
        target.execute("UPDATE library SET generation = generation + 1, deletions = deletions + 1")
        target.execute("COMMIT")
    return rows, unreadable


# In what follows every name is one of our own schema.


def _insert(table: sa.Table) -> str:
    # Read as bytes, text is to be text again, whatever it holds.
    values = ("CAST(? AS TEXT)" if isinstance(c.type, _TEXT) else "?" for c in table.columns)
    names = ", ".join(column.name for column in table.columns)
    return f"INSERT OR IGNORE INTO {table.name} ({names}) VALUES ({', '.join(values)})"  # noqa: S608


_TEXT = (sa.Text, sa.String, sa.JSON, sa.types.TypeDecorator)


class _Reading:
    """The rows of one table that can be read, in order of their ids."""

    def __init__(self, old: sqlite3.Connection, table: sa.Table) -> None:
        self._old = old
        self._table = table.name
        names = ", ".join(column.name for column in table.columns)
        self._select = f"SELECT rowid, {names} FROM {table.name} NOT INDEXED"  # noqa: S608
        self.unreadable = 0

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        after = -1
        while after < _MOST_ID:
            try:
                rows = self._old.execute(
                    f"{self._select} WHERE rowid > ? ORDER BY rowid LIMIT {_ROWS}",
                    (after,),
                ).fetchall()
            except _UNREADABLE:
                yield from self._around(after)
                return
            if not rows:
                return
            for row in rows:
                yield tuple(row[1:])
            after = int(rows[-1][0])

    def _around(self, after: int) -> Iterator[tuple[object, ...]]:
        """One id after the other from here on, jumping over what cannot be read."""
        step = 1
        last = self._last(after)
        current = after + 1
        unreadable_before = False  # a place is counted once, however many ids it may have held
        while current <= last:
            try:
                rows = self._old.execute(
                    f"{self._select} WHERE rowid BETWEEN ? AND ? ORDER BY rowid",
                    (current, min(last, current + step - 1)),
                ).fetchall()
            except _UNREADABLE:
                if step == 1:
                    self.unreadable += not unreadable_before
                    unreadable_before = True
                    current += 1
                step = 1
                continue
            unreadable_before = False
            for row in rows:
                yield tuple(row[1:])
            current += step
            step = min(2 * step, _ROWS)

    def _last(self, after: int) -> int:
        """The greatest id that there may be."""
        with suppress(*_UNREADABLE):
            found = self._old.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = ?", (self._table,)
            ).fetchone()
            if found is not None and isinstance(found[0], int):
                return int(found[0])
        with suppress(*_UNREADABLE):
            newest = f"SELECT max(rowid) FROM {self._table} NOT INDEXED"  # noqa: S608
            found = self._old.execute(newest).fetchone()
            if found is not None and isinstance(found[0], int):
                return int(found[0])
        return after + 100 * _ROWS


def _refuse_newer(file: Path) -> None:
    version = b""
    with (
        suppress(*_UNREADABLE),
        closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as old,
    ):
        old.text_factory = bytes
        found = old.execute("SELECT version_num FROM alembic_version").fetchone()
        version = bytes(found[0]) if found else b""
    if version.isdigit() and version.decode() > HEAD:
        raise SchemaError(
            f"{file}: its schema {version.decode()} is newer than this program's {HEAD}; "
            "upgrade vidsift"
        )


def _require_readable(old: sqlite3.Connection, file: Path) -> None:
    try:
        old.execute("SELECT id FROM videos NOT INDEXED LIMIT 1").fetchone()
    except _UNREADABLE as error:
        raise DamagedLibraryError(
            f"{file}: nothing can be read of it any more ({error}); restore it from a backup, or"
            " delete it and index your folders again"
        ) from error


def _tell_encoder(target: sqlite3.Connection, state: Generation, stamp: EncoderStamp) -> None:
    target.execute(
        "UPDATE library SET encoder_name = CAST(? AS TEXT),"
        " encoder_weights_sha256 = CAST(? AS TEXT), encoder_dimension = ?,"
        " encoder_preprocessing = CAST(? AS TEXT)"
        " WHERE library_id = CAST(? AS TEXT) AND generation = ? AND deletions = ?",
        (
            *(stamp.name, stamp.weights_sha256, stamp.dimension, stamp.preprocessing),
            *(state.library_id, state.generation, state.deletions),
        ),
    )


def _drop_orphans(target: sqlite3.Connection) -> None:
    while orphans := target.execute("PRAGMA foreign_key_check").fetchall():
        for table, rowid, *_ in orphans:
            name = table.decode() if isinstance(table, bytes) else table
            target.execute(f"DELETE FROM {name} WHERE rowid = ?", (rowid,))  # noqa: S608


def _keep_ids_apart(target: sqlite3.Connection) -> None:
    """Ids of rows that were lost must not go to others: what refers to them would be wrong."""
    target.execute("UPDATE sqlite_sequence SET seq = seq + 1000000")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
