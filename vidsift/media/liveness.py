"""Whether a process still does anything.

ffmpeg may wait for ever with all of its threads idle (version 9 does where several inputs are
sought in and joined in one graph), long before its time limit, which follows the video's length.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["Liveness"]

# An idle ffmpeg still wakes twice a second to print its progress: a tenth of this share.
_IDLE_SHARE = 0.001
_TICKS = os.sysconf("SC_CLK_TCK")


class Liveness:
    """Watches the CPU time of a process and the bytes that it has read, where the system tells.

    Times are seconds spent waiting for the process, on a clock of the caller's own.
    """

    def __init__(self, pid: int, patience: float) -> None:
        """`patience`: seconds without anything done after which the process has stalled."""
        self._folder = Path(f"/proc/{pid}")
        self._patience = patience
        self._least_cpu = max(1 / _TICKS, patience * _IDLE_SHARE)
        self._since = 0.0
        self._next_look = patience / 4
        self._done = self._look()

    def heard(self, now: float) -> None:
        """The process has given something."""
        self._since = max(self._since, now)

    def is_stalled(self, now: float) -> bool:
        """Whether it has done nothing for longer than the patience allows."""
        if now < self._next_look:
            return False
        self._next_look = now + self._patience / 4
        done = self._look()
        if done is None or self._done is None:  # the system does not tell, or the process has ended
            return False
        if done[0] - self._done[0] >= self._least_cpu or done[1] != self._done[1]:
            self._since, self._done = now, done
        return now - self._since >= self._patience

    def _look(self) -> tuple[float, int] | None:
        """CPU seconds and bytes read so far."""
        try:
            fields = (self._folder / "stat").read_text("ascii", "replace").rpartition(")")[2]
            read = (self._folder / "io").read_text("ascii").split()
        except OSError:
            return None
        ticks = sum(map(int, fields.split()[11:13]))  # utime and stime, 14 and 15 with pid and name
        return ticks / _TICKS, int(read[read.index("rchar:") + 1])
