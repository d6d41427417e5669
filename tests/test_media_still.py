"""A single frame: the very one that was sampled at that time, from any container."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidsift.errors import MediaError, MediaTimeoutError
from vidsift.media.frames import decode
from vidsift.media.limits import DEFAULT_LIMITS
from vidsift.media.probe import probe
from vidsift.media.still import read_frame

Make = Callable[..., Path]

# Every frame has a grey of its own, in the middle of the picture.
_GREYS = [
    *["-f", "lavfi", "-i", "color=black:size=160x120:rate=10:duration=4"],
    *["-vf", "format=yuv420p,geq=lum='20+5*N':cb=128:cr=128"],
]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain.mp4", ["-g", "100"]),
        ("late.ts", ["-c:v", "mpeg2video", "-g", "30", "-output_ts_offset", "5"]),
        ("late.mkv", ["-output_ts_offset", "5"]),
        ("raw.m4v", ["-c:v", "mpeg4", "-f", "m4v"]),
        ("plain.avi", ["-c:v", "mpeg4", "-g", "30"]),
    ],
)
def test_it_is_the_frame_that_was_sampled(make: Make, name: str, options: list[str]) -> None:
    video = probe(make(name, *_GREYS, *options))
    with decode(video, sample_rate=2.0, short_side=60) as frames:
        sampled = [
            (frame.pts_seconds, frame.sample) for frame in frames if frame.sample is not None
        ]
    assert len(sampled) == 8
    for seconds, sample in sampled:
        assert np.array_equal(read_frame(video, seconds, short_side=60), sample), seconds


def test_between_two_frames_it_is_the_next(make: Make) -> None:
    video = probe(make("grey.mp4", *_GREYS))
    third = read_frame(video, 0.3, short_side=60)
    assert third.shape == (60, 80, 3)
    assert np.array_equal(read_frame(video, 0.25, short_side=60), third)
    assert not np.array_equal(read_frame(video, 0.2, short_side=60), third)


def test_beyond_the_end_there_is_none(make: Make) -> None:
    path = make("short.mp4", *_GREYS)
    with pytest.raises(MediaError, match=r"short\.mp4: no frame could be decoded at 40\.0 s"):
        read_frame(probe(path), 40.0, short_side=60)


def test_the_time_limit_holds(make: Make) -> None:
    limits = replace(DEFAULT_LIMITS, time_limit=1e-4)
    with pytest.raises(MediaTimeoutError):
        read_frame(probe(make("slow.mp4", *_GREYS)), 0.0, short_side=60, limits=limits)
