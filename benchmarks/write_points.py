"""The points at which a process writes to a folder, and what may happen to it there.

Two ways to meet them. `write_faults.c`, where there is a C compiler, is loaded before libc and sees
every system call of Python, SQLite and FAISS alike, so that it can tear a write in two. Python's
own audit events and SQLAlchemy's events see files being opened, renamed and removed, and statements
and commits, which is also all that there is to see of a database on a server.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, Protocol, runtime_checkable

__all__ = ["ERRORS", "KILLS", "Points", "PythonPoints", "SystemCalls", "load_shim"]

KILLS = ("before", "after", "torn")
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EACCES": errno.EACCES}
_SHIM = "VIDSIFT_TEST_WRITE_FAULTS"
_MODES = {"count": 0, "before": 1, "after": 2, "torn": 3}
_FAIL_ONCE, _FAIL_ONWARDS = 4, 5


@runtime_checkable
class Points(Protocol):
    """A way to meet the points at which a process writes."""

    def arm(self, folder: Path, kind: str, point: int, log: int = -1) -> None:
        """From now on: at the `point`-th change (from 1) of `folder`, what `kind` says.

        `count`: nothing; one of KILLS: SIGKILL; the name of an error of ERRORS: it fails with that,
        or with a `+` behind the name it and all that follow; `lost`: the connection to the server
        is cut. Each change is written to the descriptor `log`, a line each, unless that is -1.
        """

    def kills_at(self, call: str) -> Iterable[str]:
        """The kinds of kill that can happen at a point, as `log` has it."""

    def errors_at(self, call: str, number: int) -> Iterable[str]:
        """The kinds of error that can happen at the `number`-th point."""


def load_shim(folder: Path) -> SystemCalls | None:  # noqa: RET503
    """Start this program again with the shim loaded; in its second life, the way to arm it.

    None where there is no C compiler, or the system is not Linux.
    """
    if _SHIM in os.environ:
        # What this process starts (ffmpeg) is not to carry it on.
        os.environ.pop("LD_PRELOAD")
        return SystemCalls(ctypes.CDLL(os.environ.pop(_SHIM)))
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        return None
    built = folder / "write_faults.so"
    source = Path(__file__).with_name("write_faults.c")
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(built), str(source), "-ldl"]
    subprocess.run(command, check=True)
    again = os.environ | {_SHIM: str(built), "LD_PRELOAD": str(built)}
    # Threads do not outlive a fork: libraries that start some at once are not to.
    again |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], again)


class SystemCalls:
    """Points are system calls, seen by the shim."""

    def __init__(self, shim: Any) -> None:
        self._shim = shim

    def arm(self, folder: Path, kind: str, point: int, log: int = -1) -> None:
        """See Points."""
        name = kind.removesuffix("+")
        fails = _FAIL_ONWARDS if kind.endswith("+") else _FAIL_ONCE
        mode = fails if name in ERRORS else _MODES[kind]
        code = ERRORS.get(name, 0)
        self._shim.faults_arm(os.fsencode(folder), mode, ctypes.c_long(point), code, log)

    def kills_at(self, call: str) -> Iterable[str]:
        """See Points; only what is written can be torn."""
        return KILLS if "write" in call.split()[0] else KILLS[:2]

    def errors_at(self, call: str, number: int) -> Iterable[str]:
        """See Points: each once, or from then on, as a disk that stays full."""
        return [f"{error}{'+' * ((number + place) % 2)}" for place, error in enumerate(ERRORS)]


class PythonPoints:
    """Points are Python's changes of files and SQLAlchemy's statements and commits.

    Only for a process that ends soon: what is armed cannot be taken back.
    """

    def __init__(self, *, of_server: bool = False) -> None:
        self._of_server = of_server
        self._folder = ""
        self._kind = "count"
        self._point = 0
        self._seen = 0
        self._log = -1
        self._committing = False

    def arm(self, folder: Path, kind: str, point: int, log: int = -1) -> None:
        """See Points."""
        self._folder, self._kind, self._point, self._log = f"{folder}/", kind, point, log
        sys.addaudithook(self._audited)
        # Not imported: the benchmarks leave the database to vidsift.store, which has loaded it.
        alchemy: Any = sys.modules["sqlalchemy"]
        alchemy.event.listen(alchemy.engine.Engine, "before_cursor_execute", self._executing)
        alchemy.event.listen(alchemy.engine.Engine, "commit", self._before_commit)
        alchemy.event.listen(alchemy.pool.Pool, "reset", self._after_commit)

    def kills_at(self, call: str) -> Iterable[str]:
        """See Points; after one is before the next."""
        return KILLS[:1]

    def errors_at(self, call: str, number: int) -> Iterable[str]:
        """See Points; what a server says of its own disk is not made up."""
        name = call.split()[0]
        if name in ("commit", "execute"):
            return ("lost",) if self._of_server else ()
        if name == "committed":
            return ()
        return [f"{error}{'+' * ((number + place) % 2)}" for place, error in enumerate(ERRORS)]

    def _audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        path, directory = "", -1
        if event == "open":
            path, _, flags = arguments
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event == "os.rename":
            path = arguments[1]
        elif event in ("os.remove", "os.rmdir", "os.mkdir"):
            path, directory = arguments[0], arguments[-1]
        else:
            return
        if isinstance(path, int):
            return
        name = os.fsdecode(path)
        if directory >= 0:
            name = str(Path(f"/proc/self/fd/{directory}").readlink() / name)
        if name.startswith(self._folder):
            self._reached(f"{event.removeprefix('os.')} {name.removeprefix(self._folder)}", None)

    def _executing(self, connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.lstrip()[:6].upper() not in ("SELECT", "PRAGMA", "BEGIN "):
            self._reached(f"execute {statement.split('(')[0][:40].strip()}", connection)

    def _before_commit(self, connection: Any) -> None:
        self._committing = True
        self._reached("commit", connection)

    def _after_commit(self, *_arguments: Any) -> None:
        if self._committing:
            self._committing = False
            self._reached("committed", None)

    def _reached(self, what: str, connection: Any) -> None:
        self._seen += 1
        if self._log >= 0:
            os.write(self._log, f"{what}\n".encode())
        if self._seen == self._point or (self._kind.endswith("+") and self._seen > self._point):
            _HAPPENINGS.get(self._kind, _fail)(self._kind, connection)


def _die(_kind: str, _connection: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL does not return")


def _fail(kind: str, connection: Any) -> None:
    if connection is None:
        code = ERRORS[kind.removesuffix("+")]
        raise OSError(code, os.strerror(code))


def _lose(_kind: str, connection: Any) -> None:
    """Cut the connection to the server, as a network or a server that goes away does."""
    if connection is not None:
        with socket.socket(fileno=os.dup(connection.connection.driver_connection.fileno())) as cut:
            cut.shutdown(socket.SHUT_RDWR)


_HAPPENINGS: dict[str, Callable[[str, Any], None]] = {
    "count": lambda _kind, _connection: None,
    "before": _die,
    "lost": _lose,
}
