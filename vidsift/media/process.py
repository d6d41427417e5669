"""Runs of ffmpeg: one process group each, limits on all that it takes, no shell, no threads.

Each pipe of a run is read by a handler when `select` says that it has something to say, so a run
needs no reader threads and can be left at any point: leaving kills the process group. What a run
may open and take is said to `vidsift.media.launcher`, which every run begins with.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import re
import resource
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import ffmpeg

from vidsift.errors import (
    MediaError,
    MediaLimitError,
    MediaTimeoutError,
    MediaToolError,
    StorageError,
    VidsiftError,
)
from vidsift.media.binary import ffmpeg_binary
from vidsift.media.complaints import meaningful
from vidsift.media.launch import launched
from vidsift.media.limits import DEFAULT_LIMITS, MediaLimits
from vidsift.media.liveness import Liveness
from vidsift.media.source import unquoted

__all__ = ["MAX_LINES", "FfmpegRun", "compile_stream", "run_ffmpeg", "too_many_pixels"]

# Of filters; they and decoders hold frames in flight and stacks for each of their threads.
_FILTER_THREADS = 4
# Elsewhere than on Linux the limit of CPU time could not be raised for a file that goes on.
_CAN_RAISE_CPU = hasattr(resource, "prlimit")
_MAX_WAIT = 1.0  # seconds between two looks at whether ffmpeg does anything

MAX_LINES = 20_000
"""So many lines of what ffmpeg says are kept, the last ones."""

_MAX_LINE = 2_000
# The one by our limit, the other by ffmpeg's own, which is a little higher than our default.
_TOO_MANY_PIXELS = re.compile(
    r"Picture size (\d+)x(\d+) (?:exceeds specified max pixel count|is invalid)"
)
_OUT_OF_MEMORY = (
    "Cannot allocate memory", "bad_alloc", "Resource temporarily unavailable", "out of memory",
)  # fmt: skip


def compile_stream(stream: Any, *, loglevel: str = "error") -> list[str]:
    """The command line of an ffmpeg-python output stream; an existing output is overwritten."""
    binary, *rest = ffmpeg.compile(stream, cmd=ffmpeg_binary(), overwrite_output=True)
    return [
        binary,
        "-hide_banner",
        "-nostdin",
        "-nostats",
        "-loglevel",
        f"repeat+{loglevel}",
        *("-filter_threads", str(_FILTER_THREADS), "-filter_complex_threads", str(_FILTER_THREADS)),
        *map(unquoted, rest),
    ]


def too_many_pixels(path: Path, width: int, height: int, limits: MediaLimits) -> MediaLimitError:
    """The error of a file whose frames are larger than `limits`, or ffmpeg, allows."""
    size = f"has frames of {width} x {height} pixels"
    if width * height <= limits.max_pixels:
        return MediaLimitError(path, f"{size}, a size that ffmpeg does not take")
    return MediaLimitError(
        path,
        f"{size}, {limits.max_pixels:,} are the most; raise media_max_pixels if the file is good",
    )


class FfmpegRun:
    """One run of ffmpeg in its own process group; leaving the context ends it, whatever its state.

    `subject` is the file that errors name, `output` the one that is written, if it is another, for
    errors of the disk. `time_limit` bounds the seconds spent waiting for
    ffmpeg, so that a slow consumer of its output is not held against the file; `allow` may raise it
    while the run goes on. `limits` bounds the rest.
    """

    def __init__(
        self,
        *,
        subject: Path,
        time_limit: float,
        output: Path | None = None,
        limits: MediaLimits = DEFAULT_LIMITS,
    ) -> None:
        if time_limit <= 0:
            raise ValueError(f"time_limit must be positive, got {time_limit}")
        self.subject = subject
        self.output = output or subject
        self.time_limit = time_limit
        self.lines: deque[str] = deque(maxlen=MAX_LINES)
        self._limits = limits
        self._cpu_hours = math.ceil(time_limit / 3600)
        self._waited = 0.0
        self._liveness: Liveness | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._selector = selectors.DefaultSelector()
        self._reading: list[IO[bytes]] = []
        self._childs: list[int] = []
        self._rest = b""

    def __enter__(self) -> FfmpegRun:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process and its group."""
        if self._process is None:
            raise RuntimeError("ffmpeg was not started")
        return self._process.pid

    def allow(self, seconds: float) -> None:
        """Let the run take so long, if that is longer than it may already."""
        if seconds <= self.time_limit:
            return
        self.time_limit = seconds
        if seconds > self._cpu_hours * 3600:
            self._cpu_hours = math.ceil(2 * seconds / 3600)
            if self._process is not None and _CAN_RAISE_CPU:
                with contextlib.suppress(OSError):  # it has just ended
                    _, hard = resource.prlimit(self.pid, resource.RLIMIT_CPU)
                    resource.prlimit(self.pid, resource.RLIMIT_CPU, (self._cpu_seconds(), hard))

    def open_pipe(self, on_ready: Callable[[int], bool]) -> int:
        """Open a pipe for ffmpeg to write into (`pipe:N` with the number that is returned).

        `on_ready(fd)` is called by `pump` whenever the non-blocking `fd` can be read; it returns
        False at the end of the pipe.
        """
        reading, writing = os.pipe()
        self._childs.append(writing)
        # More than the default 64 KiB lets ffmpeg run ahead while the consumer is busy.
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(OSError):  # the user's share of pipe memory is used up
                fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 1 << 20)
        self._watch(os.fdopen(reading, "rb", buffering=0), on_ready)
        return writing

    def start(self, command: Sequence[str], *, reads: Sequence[Path] = ()) -> None:
        """Start `command`, the binary first.

        It can open the files that it names and what `reads` names besides (a folder: all in it).
        """
        try:
            if not os.access(command[0], os.X_OK):
                raise MediaToolError(command[0], "cannot be run; install ffmpeg anew")
            self._process = subprocess.Popen(
                launched(command, self._limits, self._cpu_seconds(), reads),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=self._childs,
                start_new_session=True,
                # Threads would have arenas of their own, each 64 MB of address space (glibc).
                env={
                    **os.environ,
                    "AV_LOG_FORCE_NOCOLOR": "1",
                    "LC_ALL": "C",
                    "MALLOC_ARENA_MAX": "4",
                },
            )
        except OSError as error:
            raise MediaToolError(command[0], f"cannot be run: {error.strerror}") from error
        finally:
            self._close_childs()
        assert self._process.stderr is not None  # noqa: S101 - asked for above
        self._liveness = Liveness(self._process.pid, self._limits.stall_seconds)
        self._watch(self._process.stderr, self._read_stderr)

    def pump(self) -> bool:
        """Wait until ffmpeg writes something and hand it to the handlers; False after the end.

        Raises:
            MediaTimeoutError: the time limit is used up.
        """
        if not self._selector.get_map():
            return False
        for key, _ in self._wait_ready():
            if not key.data(key.fd):
                self._selector.unregister(key.fileobj)
        return True

    def returncode(self) -> int:
        """Drain what is left, wait for the end and return the exit status (negative: a signal)."""
        while self.pump():
            pass
        if self._process is None:
            raise RuntimeError("ffmpeg was not started")
        while True:
            started = time.monotonic()
            try:
                return self._process.wait(timeout=_MAX_WAIT)
            except subprocess.TimeoutExpired:
                self._has_waited(time.monotonic() - started)

    def complaints(self) -> list[str]:
        """What ffmpeg said that means something to a person, in order."""
        return meaningful(self.lines, self.subject)

    def reason(self, returncode: int) -> str:
        """Why the run failed, in ffmpeg's own last meaningful words."""
        if complaints := self.complaints():
            return complaints[-1]
        if returncode < 0:
            return f"ffmpeg crashed ({signal.Signals(-returncode).name})"
        return f"ffmpeg ended with status {returncode}"

    def failure(self, returncode: int) -> VidsiftError:
        """The error to raise for a failed run."""
        if any("No space left on device" in line for line in self.lines):
            return StorageError(
                f"{self.output.parent}: the disk filled up while {self.output.name} was written; "
                "free some space and try again"
            )
        limited = self.limit_error(returncode) or self.pixel_error()
        return limited or MediaError(self.subject, self.reason(returncode))

    def pixel_error(self) -> MediaLimitError | None:
        """The error to raise if no picture could be used because of its size."""
        found = _TOO_MANY_PIXELS.search("\n".join(self.lines))
        if found is None or not int(found[1]) * int(found[2]):
            return None
        return too_many_pixels(self.subject, int(found[1]), int(found[2]), self._limits)

    def limit_error(self, returncode: int) -> MediaLimitError | None:
        """The error to raise if the run failed because it ran into a limit."""
        limits = self._limits
        said = "\n".join(self.lines)
        reason = ""
        if returncode == -signal.SIGXCPU:
            reason = "took more CPU time than its time limit stands for; raise media_time_limit"
        elif returncode == -signal.SIGXFSZ or "File too large" in said:
            reason = f"would fill a file of {limits.output_mb} MB; raise media_output_mb"
        elif any(words in said for words in _OUT_OF_MEMORY):
            reason = f"needs more memory than {limits.memory_mb} MB; raise media_memory_mb"
        if returncode == 0 or not reason:
            return None
        return MediaLimitError(self.subject, f"{reason} if the file is good")

    def close(self) -> None:
        """Kill the process group if it is still there and release all pipes; may be repeated."""
        self._close_childs()
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._selector.close()
        for pipe in self._reading:
            pipe.close()

    def _watch(self, pipe: IO[bytes], on_ready: Callable[[int], bool]) -> None:
        os.set_blocking(pipe.fileno(), False)
        self._reading.append(pipe)
        self._selector.register(pipe, selectors.EVENT_READ, on_ready)

    def _close_childs(self) -> None:
        while self._childs:
            os.close(self._childs.pop())

    def _wait_ready(self) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._selector.select(0)
        while not ready:
            started = time.monotonic()
            ready = self._selector.select(max(0.0, min(_MAX_WAIT, self.time_limit - self._waited)))
            self._has_waited(time.monotonic() - started, gave=bool(ready))
        return ready

    def _has_waited(self, seconds: float, *, gave: bool = False) -> None:
        """Count the time, and say so if ffmpeg has gone on for too long, or not at all."""
        self._waited += seconds
        if self._waited >= self.time_limit and not gave:
            raise MediaTimeoutError(
                self.subject,
                f"ffmpeg was still busy after {self.time_limit:g} s; raise media_time_limit if the "
                "file is good",
            )
        if self._liveness is not None and self._liveness.is_stalled(self._waited):
            raise MediaLimitError(
                self.subject,
                f"ffmpeg did nothing at all for {self._limits.stall_seconds:g} s; raise "
                "media_stall_seconds if the disk is that slow",
            )

    def _cpu_seconds(self) -> int:
        """A net under the time limit: 4 s a second of it for each core, an hour of it at least."""
        return 4 * 3600 * max(1, self._cpu_hours) * (os.cpu_count() or 1) if _CAN_RAISE_CPU else 0

    def _read_stderr(self, fd: int) -> bool:
        data = os.read(fd, 1 << 16)
        *whole, self._rest = (self._rest + data).split(b"\n")
        if not data or len(self._rest) > _MAX_LINE:
            whole.append(self._rest)
            self._rest = b""
        texts = (line[:_MAX_LINE].decode("utf-8", "replace").rstrip() for line in whole)
        self.lines.extend(text for text in texts if text)
        return bool(data)


def run_ffmpeg(
    stream: Any,
    *,
    subject: Path,
    time_limit: float,
    output: Path | None = None,
    reads: Sequence[Path] = (),
    limits: MediaLimits = DEFAULT_LIMITS,
    progress: Callable[[float], None] | None = None,
) -> str:
    """Run an ffmpeg-python output stream to its end and return what ffmpeg wrote to stderr.

    Args:
        stream: the output, or merged outputs; each writes to a file.
        subject: the file that an error names.
        time_limit: seconds, positive.
        output: the file that an error of the disk names, if it is another.
        reads: files and folders that ffmpeg opens without being told so on its command line.
        limits: on all but the time.
        progress: called in this thread with the seconds of output written so far.

    Raises:
        MediaTimeoutError: the time limit is used up.
        MediaLimitError: so is another one.
        StorageError: the disk is full.
        MediaError: ffmpeg failed; in its last meaningful words.
    """
    told = b""

    def on_progress(fd: int) -> bool:
        nonlocal told
        data = os.read(fd, 1 << 16)
        *lines, told = (told + data).split(b"\n")
        for line in lines:
            key, _, value = line.partition(b"=")
            # `out_time_us` is N/A until the first packet is written.
            if progress is not None and key == b"out_time_us" and value.strip().isdigit():
                progress(int(value) / 1e6)
        return bool(data)

    command = compile_stream(stream, loglevel="warning")
    with FfmpegRun(subject=subject, time_limit=time_limit, output=output, limits=limits) as run:
        if progress is not None:
            command[1:1] = ["-progress", f"pipe:{run.open_pipe(on_progress)}"]
        run.start(command, reads=reads)
        status = run.returncode()
        if status:
            raise run.failure(status)
        return "\n".join(run.lines)
