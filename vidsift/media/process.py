"""Runs of ffmpeg: one process group each, a time limit, no shell, no threads.

Each pipe of a run is read by a handler when `select` says that it has something to say, so a run
needs no reader threads and can be left at any point: leaving kills the process group.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import ffmpeg
import imageio_ffmpeg

from vidsift.errors import (
    MediaError,
    MediaTimeoutError,
    MediaToolError,
    StorageError,
    VidsiftError,
)
from vidsift.media.source import unquoted

__all__ = [
    "FfmpegRun",
    "compile_stream",
    "ffmpeg_binary",
    "has_encoder",
    "has_filter",
    "resolve_time_limit",
    "run_ffmpeg",
]

# Older versions decode the same frames, but 5.1 and 7.0 do not tell how long a first frame is
# delayed by an edit list (so that a cut would be late by that), and 5.1 ends well on a full disk.
_OLDEST = (8, 0)
_MAX_LINES = 20_000
_MAX_LINE = 2_000
_PREFIX = re.compile(r"^(?:\[[^\]]*@ 0x[0-9a-f]+\] )+")
# Lines that only repeat that something went wrong.
_EMPTY_PHRASES = re.compile(
    r"^(?:Conversion failed!|Error opening (?:input|output) files?\b.*|Exiting normally.*"
    r"|Last message repeated.*|Error while filtering: .*|Task finished with error code.*"
    r"|Error : .*|Error initializing .*|Terminating thread with return code.*"
    r"|Nothing was written into output file.*"
    r"|Error sending frames? to consumers: .*|At least one output file must be specified"
    r"|Error selecting an encoder|Could not open encoder before EOF"
    r"|Output file (?:#\d+ )?(?:is empty|does not contain).*"
    # Of our own pipes, where frames closer together than a tick of theirs are no fault of the file.
    r"|Application provided invalid, non monotonically increasing dts to muxer.*"
    r"|Cannot determine format of input .* after EOF)$"
)
_ERROR_OPENING = re.compile(r"^Error opening (?:input|output)(?: file)?: ")


@cache
def ffmpeg_binary() -> str:
    """The ffmpeg to run: that of PATH if it is new enough, else imageio-ffmpeg's.

    Raises:
        MediaToolError: neither is there.
    """
    on_path = shutil.which("ffmpeg")
    if on_path and _version(on_path) >= _OLDEST:
        return on_path
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        oldest = ".".join(map(str, _OLDEST))
        raise MediaToolError(
            on_path or "ffmpeg",
            f"no ffmpeg {oldest} or newer was found; install ffmpeg or imageio-ffmpeg's wheel",
        ) from error


def _version(binary: str) -> tuple[int, int]:
    said = _ask(binary, "-version")
    numbers = re.match(r"ffmpeg version n?(\d+)\.(\d+)", said)
    # A build from git carries no number; it is new.
    return (int(numbers[1]), int(numbers[2])) if numbers else (99, 0) if said else (0, 0)


def _ask(binary: str, *arguments: str) -> str:
    done = subprocess.run(
        [binary, "-hide_banner" if arguments[0] != "-version" else "-nostdin", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        check=False,
    )
    return done.stdout


@cache
def _listed(kind: str) -> frozenset[str]:
    lines = _ask(ffmpeg_binary(), kind).splitlines()
    return frozenset(words[1] for line in lines if len(words := line.split()) > 1)


def has_filter(name: str) -> bool:
    """Whether the ffmpeg in use has this filter."""
    return name in _listed("-filters")


def has_encoder(name: str) -> bool:
    """Whether the ffmpeg in use has this encoder."""
    return name in _listed("-encoders")


def resolve_time_limit(time_limit: float, video_seconds: float) -> float:
    """Seconds that a run over so much video may take; 0 stands for 60 plus 4 for each second."""
    return time_limit or 60.0 + 4.0 * video_seconds


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
        *map(unquoted, rest),
    ]


class FfmpegRun:
    """One run of ffmpeg in its own process group; leaving the context ends it, whatever its state.

    `subject` is the file that errors name, `output` the one that is written, if it is another, for
    errors of the disk. `time_limit` bounds the seconds spent waiting for
    ffmpeg, so that a slow consumer of its output is not held against the file; it may be raised
    while the run goes on.
    """

    def __init__(self, *, subject: Path, time_limit: float, output: Path | None = None) -> None:
        if time_limit <= 0:
            raise ValueError(f"time_limit must be positive, got {time_limit}")
        self.subject = subject
        self.output = output or subject
        self.time_limit = time_limit
        self.lines: deque[str] = deque(maxlen=_MAX_LINES)
        self._waited = 0.0
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

    def start(self, command: Sequence[str]) -> None:
        """Start `command`, the binary first."""
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=self._childs,
                start_new_session=True,
                env={**os.environ, "AV_LOG_FORCE_NOCOLOR": "1", "LC_ALL": "C"},
            )
        except OSError as error:
            raise MediaToolError(command[0], f"cannot be run: {error.strerror}") from error
        finally:
            self._close_childs()
        assert self._process.stderr is not None  # noqa: S101 - asked for above
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
        try:
            return self._process.wait(timeout=max(0.1, self.time_limit - self._waited))
        except subprocess.TimeoutExpired:
            raise self._timeout() from None

    def complaints(self) -> list[str]:
        """What ffmpeg said that means something to a person, in order."""
        subject = os.fsencode(self.subject).decode("utf-8", "replace")
        said = (_PREFIX.sub("", line).replace(f"file:{subject}: ", "") for line in self.lines)
        words = (_ERROR_OPENING.sub("", line.strip()) for line in said)
        return [line for line in words if line and not _EMPTY_PHRASES.match(line)]

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
        return MediaError(self.subject, self.reason(returncode))

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
            left = self.time_limit - self._waited
            if left <= 0:
                raise self._timeout()
            started = time.monotonic()
            ready = self._selector.select(left)
            self._waited += time.monotonic() - started
        return ready

    def _timeout(self) -> MediaTimeoutError:
        return MediaTimeoutError(
            self.subject,
            f"ffmpeg was still busy after {self.time_limit:g} s; raise media_time_limit if the "
            "file is good",
        )

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
    progress: Callable[[float], None] | None = None,
) -> str:
    """Run an ffmpeg-python output stream to its end and return what ffmpeg wrote to stderr.

    Args:
        stream: the output, or merged outputs; each writes to a file.
        subject: the file that an error names.
        time_limit: seconds, positive.
        output: the file that an error of the disk names, if it is another.
        progress: called in this thread with the seconds of output written so far.

    Raises:
        MediaTimeoutError: the time limit is used up.
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
    with FfmpegRun(subject=subject, time_limit=time_limit, output=output) as run:
        if progress is not None:
            command[1:1] = ["-progress", f"pipe:{run.open_pipe(on_progress)}"]
        run.start(command)
        status = run.returncode()
        if status:
            raise run.failure(status)
        return "\n".join(run.lines)
