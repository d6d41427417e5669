"""The sound of a video as a speech model takes it, on the clock of the frames, piece by piece.

Axes: n samples.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from dataclasses import dataclass

import ffmpeg
import numpy as np
from jaxtyping import Float32

from vidsift.errors import MediaError
from vidsift.media.limits import DEFAULT_LIMITS, MediaLimits
from vidsift.media.process import FfmpegRun, compile_stream
from vidsift.media.source import input_file
from vidsift.types import VideoProbe

__all__ = ["SOUND_RATE", "SoundPiece", "read_sound"]

SOUND_RATE = 16_000
"""Samples a second."""

_BYTES = 2
# A piece ends in the quietest half second near its end, lest a word be cut in two.
_SEARCH_SECONDS = 20.0
_QUIET_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class SoundPiece:
    """A stretch of sound: mono at SOUND_RATE in [-1, 1), its first sample at `start_seconds`."""

    start_seconds: float
    samples: Float32[np.ndarray, "n"]

    @property
    def end_seconds(self) -> float:
        return self.start_seconds + len(self.samples) / SOUND_RATE

    def __repr__(self) -> str:
        return f"SoundPiece({self.start_seconds:.2f} s, samples={self.samples.shape})"


def read_sound(
    probe: VideoProbe,
    seconds: float,
    *,
    piece_seconds: float = 300.0,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> Generator[SoundPiece, None, None]:
    """The first sound track of a video from its first frame on, in pieces that follow each other.

    What sounds before the first frame is left out; where the sound starts later, or has a gap, is
    silence. Memory holds one piece and a quarter, however long the video is.

    Args:
        probe: the video.
        seconds: how long its frames last; sound that goes on after them is left out.
        piece_seconds: the longest piece; each is at most 20 s shorter, the last one apart.
        limits: what ffmpeg may take.

    Raises:
        MediaError: the video has no sound, or none of it can be decoded.
        MediaTimeoutError: the time limit is used up.
        MediaLimitError: so is another one.
    """
    if piece_seconds <= _SEARCH_SECONDS:
        raise ValueError(f"a piece must be longer than {_SEARCH_SECONDS} s, got {piece_seconds}")
    if not probe.has_audio:
        raise MediaError(probe.path, "has no sound")
    longest = round(piece_seconds * SOUND_RATE)
    place = 0
    left = np.zeros(0, np.int16)
    with contextlib.closing(_decoded(probe, seconds, longest // 4, limits)) as decoded:
        for samples in decoded:
            left = np.concatenate([left, samples])
            while len(left) > longest:
                end = _quietest_end(left[:longest])
                yield _piece(place, left[:end])
                left, place = left[end:], place + end
    if len(left):
        yield _piece(place, left)


def _piece(place: int, samples: np.ndarray) -> SoundPiece:
    return SoundPiece(place / SOUND_RATE, samples.astype(np.float32) / 32768)


def _quietest_end(samples: np.ndarray) -> int:
    """The middle of the quietest stretch among the last samples."""
    first = len(samples) - round(_SEARCH_SECONDS * SOUND_RATE)
    quiet = round(_QUIET_SECONDS * SOUND_RATE)
    energy = np.cumsum(np.square(samples[first:].astype(np.float64)))
    return first + quiet // 2 + int(np.argmin(energy[quiet:] - energy[:-quiet]))


def _decoded(
    probe: VideoProbe, seconds: float, at_least: int, limits: MediaLimits
) -> Generator[np.ndarray, None, None]:
    """What ffmpeg decodes, as int16 from the first frame on, `at_least` so many samples a time."""
    waiting = bytearray()

    def read(fd: int) -> bool:
        data = os.read(fd, 1 << 20)
        waiting.extend(data)
        return bool(data)

    def taken() -> np.ndarray:
        whole = len(waiting) // _BYTES * _BYTES
        samples = np.frombuffer(bytes(waiting[:whole]), "<i2")
        del waiting[:whole]
        return samples

    first, end = probe.delay_seconds, probe.delay_seconds + seconds
    limit = limits.seconds_for(probe.duration_seconds)
    with FfmpegRun(subject=probe.path, time_limit=limit, limits=limits) as run:
        source = input_file(probe.path, limits=limits)
        sound = (
            source["a:0"]
            .filter("aformat", sample_fmts="s16", channel_layouts="mono", sample_rates=SOUND_RATE)
            # Before gaps are filled: ffmpeg holds the silence of a gap in memory, and times that
            # jump by hours are ordinary in damaged files.
            .filter("aselect", f"lt(t,{end:.6f})")
            .filter("aresample", **{"async": 1, "first_pts": 0})
            .filter("atrim", start=f"{first:.6f}", end=f"{end:.6f}")
            .output(f"pipe:{run.open_pipe(read)}", format="s16le")
        )
        # The picture goes nowhere, undecoded; but some containers (mpegts) would start their clock
        # at the first packet of the sound if nothing else were read.
        picture = source["v:0"].output("-", format="null", vcodec="copy")
        run.start(compile_stream(ffmpeg.merge_outputs(sound, picture)))
        num_samples = 0
        while run.pump():
            if len(waiting) >= at_least * _BYTES:
                samples = taken()
                num_samples += len(samples)
                yield samples
        status = run.returncode()
        if limited := run.limit_error(status):
            raise limited
        if waiting:
            yield taken()
        elif not num_samples:
            raise MediaError(probe.path, f"its sound cannot be decoded: {run.reason(status)}")
