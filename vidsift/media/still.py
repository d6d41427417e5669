"""One frame of a video: read from just before it, not from the beginning."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from jaxtyping import UInt8

from vidsift.errors import MediaError
from vidsift.media.frames import sample_size, tone_map
from vidsift.media.limits import DEFAULT_LIMITS, MediaLimits
from vidsift.media.process import FfmpegRun, compile_stream
from vidsift.media.source import input_file
from vidsift.types import VideoProbe

__all__ = ["read_frame", "seek_lead"]

# Times are kept in microseconds; half a millisecond is less than any two frames are apart.
_TOLERANCE_SECONDS = 0.0005


def read_frame(
    probe: VideoProbe,
    seconds: float,
    *,
    short_side: int,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> UInt8[np.ndarray, "h w 3"]:
    """The first frame that is shown at or after `seconds` from the first, RGB and upright.

    It is the picture that `decode` samples at that time: display aspect ratio, `short_side` pixels
    the shorter side (see `sample_size`), tone-mapped.

    Raises:
        MediaError: the file cannot be read, or has no frame there.
        MediaTimeoutError: the time limit is used up.
        MediaLimitError: so is another one of `limits`.
    """
    # Quick where a frame begins at that very time, as every sampled one does. A container's seek
    # can miss, and between two frames nothing is found: then the file is read from its beginning.
    for lead in (seek_lead(probe), math.inf):
        if (picture := _read(probe, seconds, short_side, lead, limits)) is not None:
            return picture
    raise MediaError(probe.path, f"no frame could be decoded at {seconds:.1f} s")


def seek_lead(probe: VideoProbe) -> float:
    """Seconds before a time at which to start reading, so that its frame is not missed."""
    if "mov" in probe.container or "matroska" in probe.container:
        # The index is exact; two frames before, because the one that is shown began earlier.
        return max(0.25, float(2 / probe.frame_rate))
    # Others seek by guess, and decoding starts at the next key frame after the place they find.
    return 10.0 if probe.duration_seconds else math.inf


def _read(
    probe: VideoProbe, seconds: float, short_side: int, lead: float, limits: MediaLimits
) -> UInt8[np.ndarray, "h w 3"] | None:
    # ffmpeg counts from the container's start, our times from the first frame.
    start = max(0.0, seconds) + probe.delay_seconds
    seek = max(0.0, start - lead)
    earliest = start - seek - _TOLERANCE_SECONDS
    reading: dict[str, Any] = {}
    wanted = f"gte(t,{earliest:.6f})"
    if lead < math.inf:
        latest = earliest + 2 * _TOLERANCE_SECONDS
        reading["t"] = f"{latest + 0.1:.6f}"
        wanted = f"between(t,{earliest:.6f},{latest:.6f})"
    if seek > 0:  # some formats cannot seek, not even to their beginning
        reading["ss"] = f"{seek:.6f}"
    width, height = sample_size(probe, short_side)
    content = bytearray()

    def collect(fd: int) -> bool:
        data = os.read(fd, 1 << 16)
        content.extend(data)
        return bool(data)

    limit = limits.seconds_for(probe.duration_seconds)
    with FfmpegRun(subject=probe.path, time_limit=limit, limits=limits) as run:
        stream = input_file(probe.path, limits=limits, **reading)["V:0"]
        stream = stream.filter("select", wanted)
        stream = stream.filter("scale", width, height, flags="bicubic")
        if probe.is_hdr:
            stream = tone_map(stream)
        stream = stream.filter("format", "rgb24").output(
            f"pipe:{run.open_pipe(collect)}", format="rawvideo", vframes=1, fps_mode="passthrough"
        )
        run.start(compile_stream(stream))
        status = run.returncode()
        if len(content) == width * height * 3:
            return np.frombuffer(bytes(content), np.uint8).reshape(height, width, 3)
        if status:
            raise run.failure(status)
    return None
