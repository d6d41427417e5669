"""One writer at a time: a lock that the operating system frees when its holder dies.

On this machine it is an flock on `write.lock` in the library's folder, in which the holder says who
it is. A catalog on a server may be written from several machines: there an advisory lock is held
too, on a connection of its own, which ends with the process or with its machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import sqlalchemy as sa

from vidsift.errors import LibraryBusyError, StorageError
from vidsift.store.connection import make_engine, parse_url, reading, sqlite_file

__all__ = ["Holder", "holder_of", "write_lock"]

_FILE = "write.lock"
_LOOK_EVERY_SECONDS = 0.2
# The first half of the advisory lock's key, so that other programs' locks are no obstacle.
_ADVISORY = 0x76696473
# A machine that vanished without a word holds its lock for about a minute.
_KEEPALIVE = {
    "tcp_keepalives_idle": 30,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
}


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: a process of a host, what it does, since when (seconds of the epoch)."""

    pid: int
    host: str
    command: str
    since: float

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"{self.command}, process {self.pid} on {self.host}, since {since}"


@contextmanager
def write_lock(
    folder: Path,
    url: str,
    *,
    wait: float = 0.0,
    command: str = "",
    on_wait: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Hold the write lock of the library in `folder` whose catalog is at `url`.

    Args:
        wait: seconds to wait for another holder, infinity: however long it takes.
        command: what this process does, for others to read; else its command line says so.
        on_wait: told once for each holder that is waited for who it is.

    Raises:
        LibraryBusyError: another process, or another part of this one, holds it.
        StorageError: the folder may not be written.
        LibraryError: the server of the catalog cannot be reached.
    """
    until = time.monotonic() + wait
    told = ""
    with ExitStack() as held:
        while busy := _try(held, folder, url, command):
            if time.monotonic() >= until:
                raise LibraryBusyError(
                    f"{folder}: another vidsift is writing to this library ({busy}); wait for it"
                    " to end, or let the command do so with --wait"
                )
            if on_wait is not None and busy != told:
                on_wait(busy)
            told = busy
            time.sleep(_LOOK_EVERY_SECONDS)
        yield


def holder_of(folder: Path) -> Holder | None:
    """Who said last that it holds the lock; the lock itself tells whether it still does."""
    with suppress(OSError, ValueError, TypeError):
        return Holder(**json.loads((folder / _FILE).read_bytes()))
    return None


def _try(held: ExitStack, folder: Path, url: str, command: str) -> str:
    """Take what locks there are into `held`; otherwise none, and say who has one."""
    me = Holder(os.getpid(), socket.gethostname(), command or _own_command(), time.time())
    with ExitStack() as taken:
        if not taken.enter_context(_file_lock(folder / _FILE, me)):
            return str(holder_of(folder) or "which does not say who it is")
        if sqlite_file(parse_url(url)) is None and (
            busy := taken.enter_context(_advisory_lock(url, me))
        ):
            return busy
        held.enter_context(taken.pop_all())
    return ""


def _own_command() -> str:
    words = [Path(sys.argv[0]).name, *sys.argv[1:2]]
    return " ".join(word for word in words if word and not word.startswith("-")) or "Python"


@contextmanager
def _file_lock(file: Path, me: Holder) -> Iterator[bool]:
    """Whether the file could be locked, and the lock until the end."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StorageError(
            f"{file.parent}: cannot be written: {error.strerror}; free some space or mend the"
            " permissions"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            raise StorageError(
                f"{file}: cannot be locked: {error.strerror}; put the library on a file system"
                " that has locks"
            ) from error
        _say_who(descriptor, json.dumps(asdict(me)).encode())
        try:
            yield True
        finally:
            _say_who(descriptor, b"")
    finally:
        os.close(descriptor)


def _say_who(descriptor: int, who: bytes) -> None:
    with suppress(OSError):  # a full disk: who writes is good to know, the lock is what counts
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, who, 0)


@contextmanager
def _advisory_lock(url: str, me: Holder) -> Iterator[str]:
    """Who else has the lock on the server; empty if it is ours until the end."""
    engine = make_engine(parse_url(url))
    try:
        with reading(engine) as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            for setting, value in _KEEPALIVE.items():
                connection.exec_driver_sql(f"SET {setting} = {value}")
            # A catalog is a schema of a database; the key of the lock is of the database alone.
            schema = connection.execute(sa.text("SELECT current_schema()")).scalar_one()
            key = {"ours": _ADVISORY, "schema": zlib.crc32(str(schema).encode()) & 0x7FFFFFFF}
            named = sa.text("SELECT set_config('application_name', :name, false)")
            connection.execute(named, {"name": f"{me.command} {me.pid}@{me.host}"[:63]})
            lock = sa.text("SELECT pg_try_advisory_lock(:ours, :schema)")
            if connection.execute(lock, key).scalar_one():
                try:
                    yield ""
                finally:
                    # Not left to the pool: a connection that is only given back keeps its lock.
                    connection.invalidate()
                return
            row = connection.execute(_HOLDER, key).first()
        yield (
            f"{row.application_name or 'a client'} through the server {engine.url.host}, since"
            f" {row.since}"
            if row
            else f"a client of the server {engine.url.host}"
        )
    finally:
        engine.dispose()


_HOLDER = sa.text(
    "SELECT application_name, to_char(backend_start, 'YYYY-MM-DD HH24:MI:SS') AS since"
    " FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND classid = :ours AND objid = :schema"
    " AND objsubid = 2 AND pg_locks.database = (SELECT oid FROM pg_database"
    " WHERE datname = current_database())"
)
