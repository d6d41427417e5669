"""Frames of a video: one decode feeds shot detection and sampling.

One ffmpeg process splits what it decodes. Every frame is made tiny and goes into one pipe; the
frames of the sampling grid go, as pictures for an encoder, into another. The presentation times
of both go into two more, so that nothing has to be guessed from a frame rate.

The sampling grid has cells of `1 / sample_rate` seconds that begin at the first frame; the first
frame of each cell is sampled. ffmpeg's `select` and this module compute the same expression on
the same integers, so that it is known without waiting which frames have a sample.
"""

from __future__ import annotations

import math
import os
import re
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any

import ffmpeg
import numpy as np
from jaxtyping import UInt8

from vidsift.errors import MediaError, MediaLimitError
from vidsift.media.binary import has_filter
from vidsift.media.limits import DEFAULT_LIMITS, MediaLimits
from vidsift.media.process import FfmpegRun, compile_stream
from vidsift.media.source import input_file
from vidsift.types import VideoProbe

__all__ = ["DecodedFrame", "Decoding", "decode", "sample_size", "tone_map"]

# Enough for colour histograms and differences between neighbours, cheap to make and to pipe.
_SMALL_WIDTH, _SMALL_HEIGHT = 128, 72
_MAX_ASPECT = 4
_KEY = "vidsift"
_TIME = re.compile(rb"frame:(\d+) +pts:(-?\d+|NOPTS)\b")
_MICROSECONDS = 1_000_000
# Frames a second, on the average and a minute's worth beside: high-speed cameras have 1,000.
_MAX_RATE = 1_000
_RATE_SECONDS = 60.0
_MOST_WAITING = 5_000  # tiny pictures, 28 kB each, beside those between two samples


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One frame: its time since the first, a tiny BGR picture, and a sample if it is on the grid.

    `small` ignores the aspect ratio and HDR and has the same size for every video; `sample` is
    RGB, upright, of display aspect ratio and tone-mapped.
    """

    pts_seconds: float
    small: UInt8[np.ndarray, "h w 3"]
    sample: UInt8[np.ndarray, "sh sw 3"] | None


def decode(
    probe: VideoProbe,
    *,
    sample_rate: float,
    short_side: int,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> Decoding:
    """Decode a video once: `with decode(...) as frames: for frame in frames: ...`.

    Args:
        probe: the video.
        sample_rate: samples a second.
        short_side: of the samples, in pixels; see `sample_size`.
        limits: what ffmpeg may take, and how long the video may last.

    Raises (while iterating):
        MediaError: the file cannot be read, or not a single frame could be decoded.
        MediaTimeoutError: the time limit is used up.
        MediaLimitError: so is another one; or the video goes on for longer than any may, or has
            more frames than a video of its length can have.
    """
    return Decoding(probe, sample_rate=sample_rate, short_side=short_side, limits=limits)


def sample_size(probe: VideoProbe, short_side: int) -> tuple[int, int]:
    """Width and height of samples: display aspect ratio, even, `short_side` the shorter.

    A picture longer than four times its short side would be a burden to hold; it is made smaller.
    """
    shorter, longer = sorted((probe.width, probe.height))
    scale = min(short_side / shorter, short_side * _MAX_ASPECT / longer)
    return _even(probe.width * scale), _even(probe.height * scale)


def tone_map(stream: Any) -> Any:
    """Bring HDR (PQ or HLG) to BT.709 with the Hable curve; unchanged without zscale.

    HDR video is BT.2020 by its standards (ITU-R BT.2100); files that leave matrix or primaries
    untagged are ordinary, and zscale would refuse them.
    """
    if not (has_filter("zscale") and has_filter("tonemap")):
        return stream
    return (
        stream.filter("setparams", colorspace="bt2020nc", color_primaries="bt2020")
        .filter("zscale", transfer="linear", npl=100)
        .filter("format", "gbrpf32le")
        .filter("zscale", primaries="bt709")
        .filter("tonemap", "hable", desat=0)
        .filter("zscale", transfer="bt709", matrix="bt709", range="tv")
        .filter("format", "yuv420p")
    )


class Decoding:
    """A running decode: a context manager and an iterator of `DecodedFrame`.

    Nothing is buffered here beyond the frame in hand and what ffmpeg's pipes hold, however slow
    the consumer; leaving the context, at the end or before, ends ffmpeg.

    After the end of the iteration `duration_seconds` is the last frame's time plus one frame, and
    `note` says in one line what was wrong with the file, or is empty.
    """

    def __init__(
        self, probe: VideoProbe, *, sample_rate: float, short_side: int, limits: MediaLimits
    ) -> None:
        if sample_rate <= 0 or short_side < 2:
            raise ValueError(f"cannot sample {sample_rate} a second at {short_side} pixels")
        self.note = ""
        self.duration_seconds = 0.0
        self._probe = probe
        self._rate = float(sample_rate)
        self._limits = limits
        self._run = FfmpegRun(
            subject=probe.path,
            time_limit=limits.seconds_for(probe.duration_seconds),
            limits=limits,
        )
        width, height = sample_size(probe, short_side)
        self._small = _Pictures(_SMALL_WIDTH, _SMALL_HEIGHT)
        self._samples = _Pictures(width, height)
        self._small_times = _Times()
        self._sample_times = _Times()
        self._first_pts: int | None = None
        self._last_pts = 0
        self._last_cell = -1
        # ffmpeg holds a sample until the next one.
        self._most_waiting = _MOST_WAITING + int(2 * probe.frame_rate / Fraction(self._rate))
        self._decoded = 0
        self._dropped = 0
        # What `select` knows: its first and its previous time; both start anew with its graph.
        self._select_start: int | None = None
        self._select_cell = -1
        self._frames = self._decode()

    def __enter__(self) -> Decoding:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._frames.close()
        self._run.close()

    def __iter__(self) -> Iterator[DecodedFrame]:
        return self

    def __next__(self) -> DecodedFrame:
        return next(self._frames)

    @property
    def pid(self) -> int:
        """The ffmpeg process, once the first frame was asked for."""
        return self._run.pid

    def _decode(self) -> Generator[DecodedFrame, None, None]:
        self._run.start(self._command())
        while self._have(self._small, self._small_times):
            index, pts = self._small_times.ready.popleft()
            small = self._small.ready.popleft()
            self._decoded += 1
            self._check_length()
            sample = self._take_sample(pts) if self._is_sampled(index, pts) else None
            if pts is None or (self._first_pts is not None and pts <= self._last_pts):
                self._dropped += 1
                continue
            if self._first_pts is None:
                self._first_pts = pts
            self._last_pts = pts
            seconds = (pts - self._first_pts) / _MICROSECONDS
            self.duration_seconds = seconds + float(1 / self._probe.frame_rate)
            # A file that gives frames may have been longer than it said.
            self._run.allow(self._limits.seconds_for(seconds))
            cell = self._cell(pts, self._first_pts)
            if sample is not None and cell <= self._last_cell:
                sample = None
            if sample is not None:
                self._last_cell = cell
            yield DecodedFrame(seconds, small, sample)
        self._finish()

    def _command(self) -> list[str]:
        probe, run = self._probe, self._run
        cell = f"floor(({{}}-start_pts+1)*{self._rate!r}/{_MICROSECONDS})"
        on_grid = f"isnan(prev_pts)+gt({cell.format('pts')},{cell.format('prev_pts')})"
        both = (
            input_file(probe.path, limits=self._limits)["V:0"]
            .filter("settb", f"1/{_MICROSECONDS}")
            .filter_multi_output("split")
        )
        small = both[0].filter("scale", _SMALL_WIDTH, _SMALL_HEIGHT, flags="area")
        samples = both[1].filter("select", on_grid)
        samples = samples.filter("scale", *self._samples.size, flags="bicubic")
        if probe.is_hdr:
            samples = tone_map(samples)

        def output(stream: Any, pixels: str, pictures: _Pictures, times: _Times) -> Any:
            stream = (
                stream.filter("format", pixels)
                .filter("metadata", "add", key=_KEY, value=1)
                .filter(
                    "metadata",
                    "print",
                    key=_KEY,
                    file=f"pipe:{run.open_pipe(times.read)}",
                    direct=1,
                )
            )
            return stream.output(
                f"pipe:{run.open_pipe(pictures.read)}",
                format="rawvideo",
                fps_mode="passthrough",
                # Else the end of a sample waits in ffmpeg for the next one, however many frames
                # that takes, and these would pile up here.
                flush_packets=1,
            )

        return compile_stream(
            ffmpeg.merge_outputs(
                output(small, "bgr24", self._small, self._small_times),
                output(samples, "rgb24", self._samples, self._sample_times),
            )
        )

    def _check_length(self) -> None:
        seconds = 0.0
        if self._first_pts is not None:
            seconds = (self._last_pts - self._first_pts) / _MICROSECONDS
        reason = ""
        if seconds > self._limits.max_seconds:
            reason = (
                f"goes on after {self._limits.max_hours:g} hours; raise media_max_hours if the"
                " file is good"
            )
        elif self._decoded > _MAX_RATE * (seconds + _RATE_SECONDS):
            reason = f"has {self._decoded:,} frames in {seconds:.1f} s, more than a video can have"
        if reason:
            raise MediaLimitError(self._probe.path, reason)

    def _cell(self, pts: int, start: int) -> int:
        # One microsecond is added because times are rounded to it: a third of a second is in.
        return math.floor((pts - start + 1) * self._rate / _MICROSECONDS)

    def _is_sampled(self, index: int, pts: int | None) -> bool:
        if index == 0:  # a new filter graph: the first, or after a change of resolution
            self._select_start = None
        if pts is None:
            return False
        if self._select_start is None:
            self._select_start = pts
            self._select_cell = -1
            previous = None
        else:
            previous = self._select_cell
        self._select_cell = self._cell(pts, self._select_start)
        return previous is None or self._select_cell > previous

    def _take_sample(self, pts: int | None) -> UInt8[np.ndarray, "h w 3"] | None:
        while self._have(self._samples, self._sample_times):
            _, sampled = self._sample_times.ready[0]
            if sampled is not None and pts is not None and sampled > pts:
                return None
            self._sample_times.ready.popleft()
            picture = self._samples.ready.popleft()
            if sampled == pts:
                return picture
        return None

    def _have(self, pictures: _Pictures, times: _Times) -> bool:
        """Whether the next picture and its time are here, after waiting for them."""
        while not (pictures.ready and times.ready):
            if (pictures.ended and not pictures.ready) or (times.ended and not times.ready):
                return False
            if len(self._small.ready) > self._most_waiting:
                raise MediaLimitError(
                    self._probe.path,
                    f"has {len(self._small.ready):,} frames for a sample that does not come",
                )
            if not self._run.pump():
                return False
        return True

    def _finish(self) -> None:
        # What comes now has nothing to go with it, and must not pile up.
        self._small.is_over = self._samples.is_over = True
        status = self._run.returncode()
        if limit := self._run.limit_error(status):
            raise limit
        if self._first_pts is None:
            # One frame of an absurd size among good ones is damage, and no more than a note.
            raise self._run.pixel_error() or MediaError(
                self._probe.path, f"no frame could be decoded: {self._run.reason(status)}"
            )
        notes = []
        promised, got = self._probe.duration_seconds, self.duration_seconds
        if promised - got > max(1.0, 0.02 * promised):
            notes.append(f"picture ends early: {got:.1f} s of {promised:.1f} s could be decoded")
        many = len(self._run.complaints())
        if status or many:
            notes.append(
                f"ffmpeg reported {many} error{'s' * (many != 1)}: {self._run.reason(status)}"
            )
        if self._dropped:
            notes.append(f"{self._dropped} frames out of order were dropped")
        if self._probe.is_hdr and not has_filter("zscale"):
            notes.append("HDR was not tone-mapped: this ffmpeg lacks zscale")
        self.note = "; ".join(notes)


class _Pictures:
    """Reads raw pictures of one size from a pipe."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self.ready: deque[UInt8[np.ndarray, "h w 3"]] = deque()
        self.ended = False
        self.is_over = False
        self._begin()

    def _begin(self) -> None:
        width, height = self.size
        self._picture = bytearray(width * height * 3)
        self._left = memoryview(self._picture)

    def read(self, fd: int) -> bool:
        count = os.readv(fd, [self._left])
        self._left = self._left[count:]
        if not self._left:
            width, height = self.size
            if not self.is_over:
                self.ready.append(np.frombuffer(self._picture, np.uint8).reshape(height, width, 3))
            self._begin()
        self.ended = count == 0
        return not self.ended


class _Times:
    """Reads what the filter `metadata=print` says: the frame's number in its graph and its pts."""

    def __init__(self) -> None:
        self.ready: deque[tuple[int, int | None]] = deque()
        self.ended = False
        self._rest = b""

    def read(self, fd: int) -> bool:
        data = os.read(fd, 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if found := _TIME.match(line):
                pts = None if found[2] == b"NOPTS" else int(found[2])
                self.ready.append((int(found[1]), pts))
        self.ended = not data
        return not self.ended


def _even(pixels: float) -> int:
    return max(2, 2 * round(pixels / 2))
