"""Limits itself and becomes ffmpeg: the first program of every run.

A program of its own, by `python -I -S launcher.py`, because nothing else is airtight: limits that
are set on a process from outside come after it has begun, and a function between fork and exec is
not safe in a program that has threads. It costs 10 ms.

What a system does not have is left out: limits of memory on macOS, death with the parent and
Landlock elsewhere than on Linux (from 5.13; TCP from 6.7).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Sequence

__all__ = ["confine", "launch", "limit"]

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38

# The same on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
# All kinds of access to files by the version of Landlock's ABI (1 to 5).
_FILES = ((1 << 13) - 1, (1 << 14) - 1, (1 << 15) - 1, (1 << 15) - 1, (1 << 16) - 1)
_BIND_AND_CONNECT_TCP = 0b11

# Where programs have their libraries; and what they may always open.
_SYSTEM = (
    *("/lib", "/lib32", "/lib64", "/usr", "/nix/store", "/gnu/store", "/etc/ld.so.cache"),
    *("/sys/devices/system", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"),
)


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


def launch(arguments: Sequence[str]) -> None:
    """Become a command: `PARENT MEMORY OUTPUT CPU CONFINED READS WRITES PATH... COMMAND...`.

    PARENT is the process to die with; MEMORY and OUTPUT are bytes, CPU seconds (0: no limit); with
    CONFINED 1 only what the system holds, READS further files or folders and WRITES files can be
    opened, and no TCP connection.
    """
    parent, memory, output, cpu, confined, reads, writes = map(int, arguments[:7])
    paths, command = arguments[7 : 7 + reads + writes], arguments[7 + reads + writes :]
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux":
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before it could be asked for
            return
        if confined:
            confine(libc, command[0], paths[:reads], paths[reads:])
    # Python ignores both; a limit of output is to be an error that ffmpeg can tell.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for name, most in (
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", output),
        ("RLIMIT_CPU", cpu or None),
        ("RLIMIT_AS", memory),
    ):
        if most is not None:
            limit(name, most)
    os.execv(command[0], list(command))  # noqa: S606 - no shell is what is wanted


def limit(name: str, most: int) -> None:
    """Lower a limit of this process, if the system has it; the limit of CPU time can be raised."""
    kind = getattr(resource, name, None)
    if kind is None:
        return
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    try:
        resource.setrlimit(kind, (most, hard if name == "RLIMIT_CPU" else most))
    except (ValueError, OSError):  # macOS knows limits that it does not keep
        return


def confine(libc: ctypes.CDLL, program: str, reads: Sequence[str], writes: Sequence[str]) -> None:
    """Let this process open only these files from now on, by Landlock if the kernel has it."""
    version = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return
    handled = _FILES[min(version, len(_FILES)) - 1]
    attr = _RulesetAttr(handled, _BIND_AND_CONNECT_TCP if version >= 4 else 0, 0)
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(attr), 16 if version >= 4 else 8, 0)
    if ruleset < 0:
        return
    # A program may bring its libraries along, as those of conda do.
    prefix = os.path.dirname(os.path.dirname(os.path.realpath(program)))  # noqa: PTH120
    own = [prefix] if prefix not in ("", "/") else [program]
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    for path in (*_SYSTEM, *own, *filter(None, libraries)):
        _allow(libc, ruleset, path, handled & (_EXECUTE | _READ_FILE | _READ_DIR))
    for path in ("/dev/null", *writes):
        _allow(libc, ruleset, path, handled & (_WRITE_FILE | _READ_FILE | _TRUNCATE))
    for path in reads:
        _allow(libc, ruleset, path, handled & (_READ_FILE | _READ_DIR))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.syscall(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, allowed: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):  # noqa: PTH112
        allowed &= ~_READ_DIR
    rule = _PathBeneathAttr(allowed, descriptor)
    libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    os.close(descriptor)


if __name__ == "__main__":
    try:
        launch(sys.argv[1:])
    except OSError as problem:
        sys.exit(f"{sys.argv[-1]}: cannot be run: {problem.strerror}")
