"""Engines for the two databases that a catalog may live in, and their errors in clear words."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Connection, Engine

from vidsift.errors import (
    ConfigError,
    DamagedLibraryError,
    LibraryBusyError,
    LibraryError,
    LibraryNotFoundError,
    StorageError,
)

__all__ = [
    "is_writable",
    "make_engine",
    "parse_url",
    "reading",
    "snapshot",
    "sqlite_file",
    "writing",
]

_BUSY_SECONDS = 10.0
# How SQLite begins where what it was to find is another thing by now, and does not call it corrupt.
_DAMAGE = ("no such column", "no such table", "invalid fts5 file format", "fts5: corrupt")


class _Held(threading.local):
    """The connections of the snapshots that this thread is in."""

    def __init__(self) -> None:
        self.connections: dict[Engine, Connection] = {}


_held = _Held()


def parse_url(url: str) -> URL:
    """Read a database URL.

    Raises:
        ConfigError: it is no URL, or names a database other than SQLite and PostgreSQL.
    """
    try:
        parsed = sa.make_url(url)
    except exc.ArgumentError as error:
        raise ConfigError(
            "database_url: not a database URL; write sqlite:///FILE or "
            "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
        ) from error
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise ConfigError(
            f"database_url: {parsed.drivername} is not supported; use sqlite or postgresql+psycopg"
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigError("database_url: SQLite needs a file: write sqlite:///FILE")
    return parsed


def sqlite_file(url: URL) -> Path | None:
    """The database file, or None where the database is a server."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def is_writable(url: URL) -> bool:
    """Whether this process may write the database, as far as the file system tells.

    SQLite writes beside its file too, so both the file and its folder matter. A file that does not
    exist, and a server, are taken as writable: to open them tells more.
    """
    file = sqlite_file(url)
    if file is None:
        return True
    return not file.exists() or all(os.access(place, os.W_OK) for place in (file, file.parent))


class _OfTheMoment(sqlite3.Connection):
    """Takes the file as immutable: not to be kept, for it may be written the next moment."""


def _holds_log(file: Path) -> bool:
    try:
        return file.with_name(f"{file.name}-wal").stat().st_size > 0
    except OSError:
        return False


def make_engine(url: URL, *, read_only: bool = False, foreign_keys: bool = True) -> Engine:
    """An engine whose connections are set up the same way on every checkout.

    `foreign_keys=False` is for migrations: rebuilding an SQLite table with them on would delete
    the rows that refer to it.
    """
    file = sqlite_file(url)
    if file is None:
        return _postgres_engine(url, read_only)

    on_read_only_medium = read_only and not is_writable(url)

    def connect() -> sqlite3.Connection:
        # mode=rw: a missing file is an error and not a new empty database; create() makes it.
        options = "mode=rw"
        if on_read_only_medium:
            # A reader of a WAL database writes beside it, which is not allowed here. Where its
            # owner is at work there is a log already, which must be read and not passed over.
            has_log = file.with_name(f"{file.name}-wal").exists()
            options = "mode=ro" if has_log else "mode=ro&immutable=1"
        try:
            return opened(options, sqlite3.Connection)
        except sqlite3.OperationalError as error:
            # On a disk without a single block left there is no room for what readers share. Nobody
            # else can be at work then: it would be there already.
            no_room = error.sqlite_errorname == "SQLITE_IOERR_SHMSIZE"
            if not no_room or _holds_log(file):
                raise
            return opened("mode=ro&immutable=1", _OfTheMoment)

    def opened(options: str, kind: type[sqlite3.Connection]) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{file.absolute().as_uri()}?{options}",
            uri=True,
            timeout=_BUSY_SECONDS,
            check_same_thread=False,
            isolation_level=None,  # transactions are begun below, so that DDL is inside them too
            factory=kind,
        )
        # Text that a flipped bit made no UTF-8 comes back changed, as its checksum tells, and does
        # not take the rows beside it with it.
        connection.text_factory = _text
        try:
            # A file that is opened to be read refuses by itself, but lets verifying have a
            # temporary table of what its index of words holds.
            if read_only and not on_read_only_medium:
                connection.execute("PRAGMA query_only = ON")
            elif options == "mode=rw":
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
            # A commit must outlive a power cut: files that it no longer names are deleted after it.
            connection.execute("PRAGMA synchronous = FULL")
            # 64 MB instead of 2: the inner pages of a library of a million vectors stay in memory.
            connection.execute("PRAGMA cache_size = -65536")
            connection.execute("PRAGMA schema_version")  # the first that reads the file
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    # A connection that takes the file as immutable must not outlive the moment it was opened for.
    pool = sa.pool.NullPool if on_read_only_medium else sa.pool.QueuePool
    engine = sa.create_engine("sqlite://", creator=connect, poolclass=pool, json_deserializer=_json)
    engine.url = url

    @event.listens_for(engine, "checkin")
    def checkin(connection: sqlite3.Connection | None, record: sa.pool.ConnectionPoolEntry) -> None:
        if isinstance(connection, _OfTheMoment):
            record.invalidate()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A deferred transaction that reads first and then writes can fail with "locked" at once.
        write = connection.get_execution_options().get("write", False)
        if write and isinstance(connection.connection.driver_connection, _OfTheMoment):
            raise StorageError(f"{file}: the disk is full; free some space and run again")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):  # damaged, as its checksum tells
        return None


def _postgres_engine(url: URL, read_only: bool) -> Engine:
    try:
        engine = sa.create_engine(url, connect_args={"connect_timeout": int(_BUSY_SECONDS)})
    except ModuleNotFoundError as error:
        raise LibraryError(
            f"database_url: PostgreSQL needs the package {error.name}; "
            "install it with: pip install 'vidsift[postgres]'"
        ) from error

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.read_only = read_only
        connection.execute("SET lock_timeout = '10s'")
        connection.commit()

    return engine


@contextmanager
def reading(engine: Engine, *, live: bool = False) -> Iterator[Connection]:
    """A connection whose statements all see one state of the catalog.

    Inside a `snapshot` of this thread that of the snapshot, unless `live`.
    """
    held = None if live else _held.connections.get(engine)
    if held is not None:
        with _translated(engine.url):
            yield held
        return
    with _translated(engine.url), engine.connect() as connection:
        yield connection


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """All that this thread reads inside sees the state of the catalog at the first statement.

    What it writes meanwhile goes its own way and is not seen.
    """
    if engine in _held.connections:
        raise RuntimeError("a snapshot of this catalog is held already")
    with _translated(engine.url), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")
        _held.connections[engine] = connection
        try:
            yield connection
        finally:
            del _held.connections[engine]


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction: all of it or nothing."""
    with (
        _translated(engine.url),
        engine.connect().execution_options(write=True) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def _translated(url: URL) -> Iterator[None]:
    """Turn what can be foreseen of a database into an error of vidsift; the rest passes."""
    try:
        yield
    except exc.TimeoutError as error:
        raise LibraryBusyError(
            f"{_shown(url)}: too many connections are in use; try again"
        ) from error
    except exc.DBAPIError as error:
        known = (
            _sqlite_error(error.orig, url)
            if isinstance(error.orig, sqlite3.Error)
            else _postgres_error(error, url)
        )
        if known is None:
            raise
        raise known from error
    except UnicodeDecodeError as error:
        # SQLite quotes a damaged definition in its error, which the driver then cannot decode.
        raise DamagedLibraryError(
            f"{_shown(url)}: damaged, even in what its tables are called; run `vidsift repair`, or"
            " restore it from a backup"
        ) from error


def _shown(url: URL) -> str:
    return str(sqlite_file(url) or url.render_as_string(hide_password=True))


def _sqlite_error(error: sqlite3.Error, url: URL) -> LibraryError | None:
    file = sqlite_file(url)
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_IOERR_SHMSIZE":  # what readers share lies beside the file and needs room too
        name = "SQLITE_FULL"
    match name.removeprefix("SQLITE_").split("_")[0]:
        case "FULL":
            return StorageError(f"{file}: the disk is full; free some space and run again")
        case "READONLY" | "PERM":
            return StorageError(f"{file}: may not be written; check the permissions of its folder")
        case "CANTOPEN" if file is not None and not file.exists():
            return LibraryNotFoundError(f"{file}: no such catalog; index a folder to create it")
        case "CANTOPEN" | "IOERR" | "AUTH":
            return StorageError(f"{file}: {error} ({name}); check the disk and the permissions")
        case "BUSY" | "LOCKED":
            return LibraryBusyError(
                f"{file}: another process is writing; try again when it is done"
            )
        case "NOTADB" | "CORRUPT":
            return DamagedLibraryError(
                f"{file}: not an SQLite database or damaged ({error}); run `vidsift repair`, or "
                "restore it from a backup"
            )
        case "ERROR" if str(error).startswith(_DAMAGE):
            # Its schema is this program's, so that all columns were there once.
            return DamagedLibraryError(
                f"{file}: damaged ({error}); run `vidsift repair`, or restore it from a backup"
            )
    return None


def _postgres_error(error: exc.DBAPIError, url: URL) -> LibraryError | None:
    state = getattr(error.orig, "sqlstate", None) or ""
    said = (str(error.orig).strip() or "no answer").splitlines()[0]
    shown = _shown(url)
    if state.startswith("53"):
        return StorageError(f"{shown}: the server is out of space or memory: {said}")
    if state in ("25006", "42501"):
        return StorageError(f"{shown}: may not be written: {said}; check the rights of the user")
    if state in ("55P03", "40001", "40P01"):
        return LibraryBusyError(f"{shown}: another process is writing; try again: {said}")
    lost = state[:2] in ("08", "28", "3D", "57")
    if lost or (not state and isinstance(error, exc.OperationalError)):
        return LibraryError(
            f"{shown}: cannot connect: {said}; check database_url and that the server runs"
        )
    return None
