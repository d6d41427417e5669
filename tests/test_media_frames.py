"""One decode of real files: known times, the sampling grid, odd and broken files, no leftovers."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidsift.errors import MediaError, MediaLimitError, MediaTimeoutError
from vidsift.media.frames import DecodedFrame, Decoding, decode, sample_size
from vidsift.media.limits import DEFAULT_LIMITS
from vidsift.media.probe import probe

Make = Callable[..., Path]


def _source(size: str = "160x120", rate: str = "10", seconds: float = 2) -> list[str]:
    return ["-f", "lavfi", "-i", f"testsrc=size={size}:rate={rate}:duration={seconds}"]


_LOSSLESS = ["-c:v", "ffv1"]


def _drain(
    path: Path, sample_rate: float = 2.0, short_side: int = 64
) -> tuple[list[DecodedFrame], Decoding]:
    decoding = decode(probe(path), sample_rate=sample_rate, short_side=short_side)
    with decoding as frames:
        return list(frames), decoding


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _times(frames: list[DecodedFrame], sampled: bool = False) -> list[float]:
    return [f.pts_seconds for f in frames if not sampled or f.sample is not None]


def test_constant_rate_has_known_times_and_samples(make: Make) -> None:
    frames, decoding = _drain(make("plain.mkv", *_source(), *_LOSSLESS))
    assert _times(frames) == pytest.approx([n / 10 for n in range(20)], abs=1e-6)
    assert _times(frames, sampled=True) == pytest.approx([0.0, 0.5, 1.0, 1.5], abs=1e-6)
    assert decoding.duration_seconds == pytest.approx(2.0, abs=1e-6)
    assert decoding.note == ""
    assert {f.small.shape for f in frames} == {(72, 128, 3)}
    assert {f.sample.shape for f in frames if f.sample is not None} == {(64, 86, 3)}


def test_times_are_exact_beyond_six_digits(make: Make) -> None:
    # The 30000/1001 grid, more than 1000 s into a file: printed seconds have no digits left there.
    path = make("ntsc.mp4", *_source(rate="30000/1001", seconds=1), "-output_ts_offset", "5000")
    frames, _ = _drain(path)
    expected = [n * 1001 / 30000 for n in range(len(frames))]
    assert _times(frames) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("rate", [3.0, 7.0, 0.1, 60.0])
def test_each_cell_of_the_grid_gives_its_first_frame(make: Make, rate: float) -> None:
    path = make("grid.mp4", *_source(rate="30", seconds=2))
    frames, _ = _drain(path, sample_rate=rate)
    expected, cell = [], -1
    for n in range(60):
        if n * rate // 30 > cell:
            cell = n * rate // 30
            expected.append(n / 30)
    assert _times(frames, sampled=True) == pytest.approx(expected, abs=1e-4)


def test_variable_frame_rate(make: Make) -> None:
    # Frames at 0, .1, ... .9, then one every half second.
    slow_down = "setpts='if(lt(N,10),N/10,1+(N-10)/2)/TB'"
    path = make("vfr.mkv", *_source(seconds=1.5), "-vf", slow_down, "-fps_mode", "vfr", *_LOSSLESS)
    frames, _ = _drain(path)
    expected = [n / 10 for n in range(10)] + [1 + n / 2 for n in range(5)]
    assert _times(frames) == pytest.approx(expected, abs=1e-3)
    assert _times(frames, sampled=True) == pytest.approx([n / 2 for n in range(7)], abs=1e-3)


@pytest.mark.parametrize("name", ["late.ts", "late.mkv", "late.mp4"])
def test_times_count_from_the_first_frame(make: Make, name: str) -> None:
    sound = ["-f", "lavfi", "-i", "sine=duration=3"]
    path = make(name, "-itsoffset", "0.73", *_source(), *sound, "-output_ts_offset", "5")
    frames, _ = _drain(path)
    assert _times(frames) == pytest.approx([n / 10 for n in range(20)], abs=2e-3)
    assert _times(frames, sampled=True)[0] == 0


def test_the_sample_is_the_frame_of_its_time(make: Make) -> None:
    # A frame's grey value is its number times ten.
    source = ["-f", "lavfi", "-i", "color=black:size=64x64:rate=10:duration=2"]
    path = make("grey.mkv", *source, "-vf", "format=gray,geq=lum=N*10", *_LOSSLESS)
    frames, _ = _drain(path, sample_rate=3.0)
    assert len(frames) == 20
    for number, frame in enumerate(frames):
        assert abs(int(frame.small.mean()) - number * 10) <= 2
        if frame.sample is not None:
            assert abs(int(frame.sample.mean()) - number * 10) <= 2


def test_small_is_bgr_and_sample_rgb(make: Make) -> None:
    red = ["-f", "lavfi", "-i", "color=red:size=64x64:rate=10:duration=0.2"]
    frames, _ = _drain(make("red.mp4", *red))
    assert frames[0].small.mean(axis=(0, 1)).argmax() == 2
    assert frames[0].sample is not None
    assert frames[0].sample.mean(axis=(0, 1)).argmax() == 0


def test_rotation_turns_pictures_upright(make: Make) -> None:
    # White above black; turned a quarter counterclockwise, white lies on the left.
    source = ["-f", "lavfi", "-i", "color=white:size=160x120:rate=10:duration=0.3"]
    flat = make("flat.mp4", *source, "-vf", "drawbox=y=60:h=60:color=black:t=fill")
    turned = make("turned.mp4", "-display_rotation", "90", "-i", str(flat), "-c", "copy")
    sample = _drain(turned)[0][0].sample
    assert sample is not None
    assert sample.shape == (86, 64, 3)
    assert sample[:, :24].mean() > 220
    assert sample[:, -24:].mean() < 30


def test_pixel_aspect_and_odd_sizes(make: Make) -> None:
    wide = make("wide.mp4", *_source(seconds=0.3), "-vf", "setsar=2/1")
    assert _drain(wide)[0][0].sample.shape == (64, 170, 3)  # type: ignore[union-attr]
    odd = make("odd.mkv", *_source("161x121", seconds=0.3), *_LOSSLESS)
    assert _drain(odd)[0][0].sample.shape == (64, 86, 3)  # type: ignore[union-attr]


def test_a_very_long_picture_is_made_smaller(make: Make) -> None:
    strip = make("strip.mkv", *_source("640x20", seconds=0.3), *_LOSSLESS)
    assert sample_size(probe(strip), 64) == (256, 8)
    assert _drain(strip)[0][0].sample.shape == (8, 256, 3)  # type: ignore[union-attr]


def test_hdr_is_tone_mapped(make: Make) -> None:
    # PQ code value 0.58 is 203 cd/m2, the white of a diffuse surface: bright, but not clipped.
    tags = "setparams=color_trc=smpte2084:color_primaries=bt2020:colorspace=bt2020nc:range=tv"
    source = ["-f", "lavfi", "-i", "color=gray:size=64x64:rate=10:duration=0.3"]
    grey = f"format=gray10le,geq=lum=64+876*0.58,format=yuv420p10le,{tags}"
    frames, decoding = _drain(make("hdr.mkv", *source, "-vf", grey, *_LOSSLESS))
    assert decoding.note == ""
    assert frames[0].sample is not None
    levels = frames[0].sample.reshape(-1, 3).astype(float)
    assert np.ptp(levels.mean(axis=0)) < 6, "grey must stay grey"
    assert levels.mean() > 165, "without tone mapping it would be 0.58 * 255 = 148"


def test_ten_bits_without_hdr(make: Make) -> None:
    path = make("ten.mkv", *_source(seconds=0.3), "-pix_fmt", "yuv420p10le", *_LOSSLESS)
    assert len(_drain(path)[0]) == 3


def test_one_frame(make: Make) -> None:
    frames, decoding = _drain(make("one.mp4", *_source(), "-frames:v", "1"))
    assert _times(frames, sampled=True) == [0.0]
    assert decoding.duration_seconds == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "options"),
    [("cut.mkv", []), ("cut.avi", ["-c:v", "mpeg4"]), ("cut.mp4", ["-movflags", "+faststart"])],
)
def test_a_truncated_file_gives_what_it_has(make: Make, name: str, options: list[str]) -> None:
    path = make(name, *_source("320x240", seconds=8), "-g", "10", *options)
    os.truncate(path, int(path.stat().st_size * 0.6))
    frames, decoding = _drain(path)
    assert 20 < len(frames) < 70
    if path.suffix == ".avi":  # ffmpeg corrects an AVI's duration by the file's size
        assert "ffmpeg reported" in decoding.note
    else:
        assert "picture ends early" in decoding.note
        assert "of 8.0 s could be decoded" in decoding.note
    assert "\n" not in decoding.note


def test_a_change_of_resolution_goes_on(make: Make, tmp_path: Path) -> None:
    both = tmp_path / "both.ts"
    for size in ("160x120", "320x180"):
        offset = "0" if size == "160x120" else "1"
        options = ["-c:v", "mpeg2video", "-bf", "0", "-output_ts_offset", offset]
        part = make(f"{size}.ts", *_source(size, seconds=1, rate="25"), *options)
        with both.open("ab") as joined:
            joined.write(part.read_bytes())
    frames, _ = _drain(both, sample_rate=1.5)
    assert len(frames) >= 49, "the decoder may drop the frame at the change"
    assert _times(frames)[-1] == pytest.approx(49 / 25, abs=0.041)
    assert {f.small.shape for f in frames} == {(72, 128, 3)}
    # The grid starts anew in ffmpeg with the new size: 1.0 lies in a cell that has its sample.
    assert _times(frames, sampled=True) == pytest.approx([0.0, 0.68, 1.68], abs=0.041)


def test_no_frame_at_all_is_an_error(make: Make) -> None:
    path = make("hollow.avi", *_source(seconds=1), "-c:v", "mpeg4")
    data = bytearray(path.read_bytes())
    start = data.index(b"movi") + 4
    hollow = path.with_name("hollow2.avi")
    data[start:] = bytes(len(data) - start)
    hollow.write_bytes(data)
    with pytest.raises(MediaError, match=r"hollow2\.avi: "):
        _drain(hollow)


def test_leaving_early_ends_ffmpeg_and_leaks_nothing(make: Make) -> None:
    path = make("long.mp4", *_source("320x240", rate="30", seconds=8))
    video = probe(path)
    open_before = _open_files()
    for _ in range(3):
        with decode(video, sample_rate=2.0, short_side=64) as frames:
            next(frames)
            pid = frames.pid
            assert Path(f"/proc/{pid}").exists()
        assert not Path(f"/proc/{pid}").exists()
    with decode(video, sample_rate=2.0, short_side=64):
        pass
    assert _open_files() == open_before


@pytest.mark.slow
def test_a_slow_consumer_is_neither_a_deadlock_nor_a_timeout(make: Make) -> None:
    path = make("long.mp4", *_source("320x240", rate="30", seconds=8))
    count = 0
    with decode(
        probe(path),
        sample_rate=30.0,
        short_side=240,
        limits=replace(DEFAULT_LIMITS, time_limit=2.0),
    ) as frames:
        for _ in frames:
            count += 1
            if count % 40 == 0:
                time.sleep(0.5)
    assert count == 240


def test_the_time_limit_hits(make: Make) -> None:
    limits = replace(DEFAULT_LIMITS, time_limit=1e-4)
    path = make("long.mp4", *_source("320x240", rate="30", seconds=8))
    with decode(probe(path), sample_rate=2.0, short_side=64, limits=limits) as frames:
        with pytest.raises(MediaTimeoutError, match=r"long\.mp4"):
            list(frames)
        pid = frames.pid
    assert not Path(f"/proc/{pid}").exists()


def test_a_file_that_became_a_fifo_is_not_opened(make: Make, tmp_path: Path) -> None:
    path = shutil.copy(make("plain.mp4", *_source()), tmp_path / "film.mp4")
    found = probe(path)
    path.unlink()
    os.mkfifo(path)
    with (
        decode(found, sample_rate=1.0, short_side=16) as frames,
        pytest.raises(MediaError, match="not a regular file"),
    ):
        next(frames)


def test_frames_that_go_on_after_the_longest_video_are_refused(make: Make) -> None:
    path = make("long.mp4", *_source("320x240", rate="30", seconds=8))
    limits = replace(DEFAULT_LIMITS, max_hours=2 / 3600)
    with decode(probe(path), sample_rate=2.0, short_side=64, limits=limits) as frames:
        with pytest.raises(MediaLimitError, match=r"long\.mp4: goes on after .*media_max_hours"):
            list(frames)
        pid = frames.pid
    assert not Path(f"/proc/{pid}").exists()


def test_more_frames_than_a_video_can_have_are_refused(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidsift.media.frames._MAX_RATE", 20)
    monkeypatch.setattr("vidsift.media.frames._RATE_SECONDS", 1.0)
    path = make("long.mp4", *_source("320x240", rate="30", seconds=8))
    with (
        decode(probe(path), sample_rate=2.0, short_side=64) as frames,
        pytest.raises(MediaLimitError, match=r"has \d+ frames in \d\.\d s"),
    ):
        list(frames)


def test_frames_that_become_too_large_are_refused(make: Make) -> None:
    path = make("long.mp4", *_source("320x240", rate="30", seconds=8))
    limits = replace(DEFAULT_LIMITS, max_pixels=1000)
    with (
        decode(probe(path), sample_rate=2.0, short_side=64, limits=limits) as frames,
        pytest.raises(MediaLimitError, match=r"has frames of 320 x 240 pixels, 1,000 are the most"),
    ):
        next(frames)


def test_memory_and_stalls_are_limited(make: Make) -> None:
    path = make(
        "large.mp4",
        "-f",
        "lavfi",
        "-i",
        "color=size=3840x2160:rate=5:duration=8",
        "-preset",
        "ultrafast",
    )
    limits = replace(DEFAULT_LIMITS, memory_mb=200)
    with (
        decode(probe(path), sample_rate=2.0, short_side=64, limits=limits) as frames,
        pytest.raises(MediaLimitError, match="raise media_memory_mb"),
    ):
        list(frames)
    limits = replace(DEFAULT_LIMITS, stall_seconds=0.5)
    with decode(probe(path), sample_rate=2.0, short_side=64, limits=limits) as frames:
        next(frames)
        os.kill(frames.pid, signal.SIGSTOP)
        with pytest.raises(MediaLimitError, match="did nothing at all"):
            list(frames)
