"""The command line by which a run begins: limits first, then the command itself."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

from vidsift.media.binary import ffmpeg_binary
from vidsift.media.limits import MediaLimits

__all__ = ["launched"]

_LAUNCHER = os.fspath(Path(__file__).with_name("launcher.py"))
_MEGABYTE = 1 << 20


def launched(
    command: Sequence[str], limits: MediaLimits, cpu_seconds: int, reads: Sequence[Path]
) -> list[str]:
    """The command line that runs `command` under limits, confined to the files that it names.

    These are its arguments that begin with `file:` or `/`: those after `-i` may be read, others
    written, as may be read what is in `reads`. See `vidsift.media.launcher`.
    """
    readable = [os.fspath(path) for path in reads]
    writable: list[str] = []
    for before, argument in pairwise(command):
        if argument.startswith(("file:", "/")):
            (readable if before == "-i" else writable).append(argument.removeprefix("file:"))
    is_confined = command[0] != ffmpeg_binary() or _can_be_confined()
    if is_confined:
        # What may be written must exist, lest all of its folder be opened up.
        for path in writable:
            with contextlib.suppress(OSError), open(path, "ab"):  # noqa: PTH123
                pass
    return [
        *_launcher(),
        *(str(limits.memory_mb * _MEGABYTE), str(limits.output_mb * _MEGABYTE), str(cpu_seconds)),
        *("1" if is_confined else "0", str(len(readable)), str(len(writable))),
        *(*readable, *writable, *command),
    ]


def _launcher() -> list[str]:
    return [sys.executable, "-I", "-S", _LAUNCHER, str(os.getpid())]


@cache
def _can_be_confined() -> bool:
    """Whether ffmpeg finds all that it needs to start where systems keep such things."""
    free = str(resource.RLIM_INFINITY)
    done = subprocess.run(
        [*_launcher(), free, free, "0", "1", "0", "0", ffmpeg_binary(), "-version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode == 0
