"""Films joined from cuts: what a cross-fade shows and sounds like, and many kinds of source."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vidsift.errors import MediaError, NotAVideoError
from vidsift.media import cut
from vidsift.media.binary import ffmpeg_binary
from vidsift.media.cut import Cut, render_cuts
from vidsift.media.frames import decode
from vidsift.media.probe import probe
from vidsift.media.process import compile_stream, run_ffmpeg
from vidsift.types import Span

Make = Callable[..., Path]

RED, GREEN, BLUE = np.eye(3) * 255


def _colours(path: Path) -> np.ndarray:
    """The mean colour of every frame (n, 3), RGB."""
    with decode(probe(path), sample_rate=1.0, short_side=16) as frames:
        return np.array([frame.small.mean(axis=(0, 1))[::-1] for frame in frames])


def _picture(path: Path, frame: int) -> np.ndarray:
    """One frame (h, w, 3), RGB."""
    video = probe(path)
    command = [ffmpeg_binary(), "-v", "error", "-nostdin", "-i", str(path)]
    command += ["-vf", f"select=eq(n\\,{frame})", "-frames:v", "1", "-f", "rawvideo"]
    done = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(video.height, video.width, 3).astype(int)


def _samples(path: Path) -> np.ndarray:
    """The first channel of the sound, 48,000 samples a second."""
    command = [ffmpeg_binary(), "-v", "error", "-nostdin", "-i", str(path), "-map", "0:a:0"]
    command += ["-f", "f32le", "-ar", "48000", "-ac", "2", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)[::2]


def _levels(samples: np.ndarray) -> np.ndarray:
    """Root mean square of each 20 ms, without the coder's edges."""
    windows = samples[: len(samples) // 960 * 960].reshape(-1, 960)[2:-3]
    levels: np.ndarray = np.sqrt(np.mean(windows**2, axis=1))
    return levels


@pytest.fixture(scope="module")
def flag(make: Make) -> Path:
    """Red, green and blue, two seconds each, 25 frames a second."""
    source: list[str] = []
    for colour in ("red", "lime", "blue"):
        source += ["-f", "lavfi", "-i", f"color={colour}:s=96x64:r=25:d=2"]
    joined = ["-filter_complex", "[0][1][2]concat=n=3", "-pix_fmt", "yuv444p"]
    return make("flag.mkv", *source, *joined, "-c:v", "ffv1")


def test_a_fade_is_half_and_half_in_its_middle(flag: Path, tmp_path: Path) -> None:
    out = tmp_path / "skim.mp4"
    cuts = [Cut(probe(flag), Span(0.5, 1.5)), Cut(probe(flag), Span(4.5, 5.5))]
    render_cuts(cuts, out, crossfade_seconds=0.4)
    shown = _colours(out)
    assert len(shown) == 50
    assert shown[:21] == pytest.approx(np.tile(RED, (21, 1)), abs=6)
    assert shown[25] == pytest.approx((RED + BLUE) / 2, abs=6)
    assert shown[30:] == pytest.approx(np.tile(BLUE, (20, 1)), abs=6)
    assert np.all(np.diff(shown[20:31, 2]) > 10), "it goes evenly from one to the other"


@pytest.mark.parametrize("walls", [True, False])
def test_a_fade_shows_nothing_from_outside_of_the_room(
    flag: Path, tmp_path: Path, walls: bool
) -> None:
    out = tmp_path / "skim.mp4"
    red, blue = Cut(probe(flag), Span(0.5, 1.5)), Cut(probe(flag), Span(4.5, 5.5))
    green = Cut(probe(flag), Span(2.0, 4.0), Span(2.0, 4.0) if walls else None)
    render_cuts([blue, green, red], out, crossfade_seconds=0.4)
    shown = _colours(out)
    assert len(shown) == 100
    # Red comes before green in the video and blue after it; without walls the fades show them.
    assert (shown[:50, 0].max() < 10) == walls
    assert (shown[50:, 2].max() < 10) == walls


def test_a_fade_shows_what_goes_on_in_the_room(make: Make, tmp_path: Path) -> None:
    ramp = "geq=lum='20+4*mod(N,50)':cb=128:cr=128"
    black = ["-f", "lavfi", "-i", "color=black:s=64x48:r=25:d=4"]
    video = probe(make("ramp.mkv", *black, "-vf", ramp, "-c:v", "ffv1"))
    out = tmp_path / "skim.mp4"
    for room, until, next_room, since in (
        (None, 30, None, 5),
        (Span(0.0, 1.0), 24, Span(2.4, 4.0), 10),
        (Span(0.0, 1.08), 26, Span(2.28, 4.0), 7),
    ):
        first = Cut(video, Span(0.0, 1.0), room)
        render_cuts([first, Cut(video, Span(2.4, 3.4), next_room)], out, crossfade_seconds=0.4)
        shown = (_colours(out).mean(axis=1) * 219 / 255 + 16 - 20) / 4
        assert shown[:20] == pytest.approx(np.arange(20), abs=0.5)
        # Both go on under the fade as far as their rooms reach, and stand still beyond.
        faded = np.arange(10) / 10
        leaving = np.minimum(np.arange(20, 30), until)
        coming = np.maximum(np.arange(5, 15), since)
        expected = (1 - faded) * leaving + faded * coming
        assert shown[20:30] == pytest.approx(expected, abs=0.5)
        assert shown[30:] == pytest.approx(np.arange(15, 35), abs=0.5)


def _tone(make: Make, hertz: int, rate: int = 44_100) -> Path:
    """A picture and a tone of amplitude 1/8 that both last 12 s."""
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=12"]
    source += ["-f", "lavfi", "-i", f"sine=frequency={hertz}:sample_rate={rate}:duration=12"]
    return make(f"tone{hertz}-{rate}.mkv", *source, "-c:v", "mpeg4", "-c:a", "flac")


def test_a_fade_neither_dips_nor_clicks(make: Make, tmp_path: Path) -> None:
    low, high = probe(_tone(make, 440)), probe(_tone(make, 563, 48_000))
    out = tmp_path / "skim.mp4"
    cuts = [Cut(low, Span(1.0, 2.5)), Cut(high, Span(3.3, 4.8)), Cut(low, Span(8.1, 9.6))]
    for fade, clicks in ((0.25, False), (0.0, True)):
        render_cuts(cuts, out, crossfade_seconds=fade)
        samples = _samples(out)
        assert len(samples) == pytest.approx(4.5 * 48_000, abs=1024)
        # A sine's second difference is small and even; a jump's is not.
        assert (np.abs(np.diff(samples, 2)[2400:-4800]).max() > 0.003) == clicks
        if not clicks:
            decibels = 20 * np.log10(_levels(samples) / np.median(_levels(samples)))
            assert np.abs(decibels).max() < 1.7, "two tones that beat, and no more"


@pytest.mark.slow
def test_forty_cuts_in_several_runs_are_seamless(make: Make, tmp_path: Path) -> None:
    video = probe(_tone(make, 440))
    # One period of the tone is 1/440 s, so that all cuts continue each other's wave.
    periods = [(round(n * 440 * 0.25 + 100), 130) for n in range(40)]
    cuts = [Cut(video, Span(at / 440, (at + length) / 440)) for at, length in periods]
    out = tmp_path / "skim.mp4"
    render_cuts(cuts, out, crossfade_seconds=0.1)
    seconds = 40 * 130 / 440
    assert probe(out).duration_seconds == pytest.approx(seconds, abs=0.03)
    assert len(_colours(out)) == round(seconds * 25)
    samples = _samples(out)
    assert len(samples) == pytest.approx(seconds * 48_000, abs=1024)
    assert np.abs(np.diff(samples, 2)[2400:-4800]).max() < 0.0012
    assert [file.name for file in tmp_path.iterdir()] == ["skim.mp4"]


@pytest.fixture(scope="module")
def mixture(make: Make) -> list[Path]:
    """Wide with a tone, upright and mute at 29.97, 4:3 of uneven frames with a tone."""
    wide = ["-f", "lavfi", "-i", "color=red:s=640x360:r=25:d=4"]
    upright = ["-f", "lavfi", "-i", "color=lime:s=360x640:r=30000/1001:d=4"]
    square = ["-f", "lavfi", "-i", "color=blue:s=320x240:r=20:d=4"]
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:duration=4"]
    uneven = ["-vf", "select=not(eq(mod(n\\,5)\\,3))", "-fps_mode", "vfr"]
    return [
        make("wide.mp4", *wide, *tone, "-pix_fmt", "yuv420p"),
        make("upright.mp4", *upright, "-pix_fmt", "yuv420p"),
        make("uneven.mkv", *square, *tone, *uneven, "-pix_fmt", "yuv420p"),
    ]


def test_sources_of_every_shape_share_one_canvas(mixture: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "skim.mp4"
    wide, upright, uneven = (probe(path) for path in mixture)
    cuts = [Cut(wide, Span(1.0, 2.0)), Cut(upright, Span(1.0, 2.1)), Cut(uneven, Span(2.0, 3.0))]
    render_cuts(cuts, out, crossfade_seconds=0.2)
    made = probe(out)
    assert (made.width, made.height, made.pixel_format) == (640, 360, "yuv420p")
    assert made.frame_rate == Fraction(30000, 1001)
    assert made.duration_seconds == pytest.approx(3.1, abs=0.04)
    assert len(_colours(out)) == round(3.1 * 30000 / 1001)

    first, second, third = (_picture(out, frame) for frame in (10, 45, 80))
    assert first[180, [0, 320, 639]] == pytest.approx(np.tile(RED, (3, 1)), abs=8)
    # 360x640 becomes 202x360 in the middle, 320x240 becomes 480x360.
    for picture, colour, left in ((second, GREEN, 219), (third, BLUE, 80)):
        assert picture[180, [left + 4, 635 - left]] == pytest.approx(np.tile(colour, (2, 1)), abs=8)
        assert picture[[0, 359], 320] == pytest.approx(np.tile(colour, (2, 1)), abs=8)
        assert picture[180, [left - 4, 643 - left]].max() < 8

    levels = _levels(_samples(out))
    assert levels[:40].min() > 0.05
    assert levels[55:85].max() < 0.001, "what has no sound is silent"
    assert levels[105:].min() > 0.05


def test_a_single_upright_source_does_not_turn_the_film(
    mixture: list[Path], tmp_path: Path
) -> None:
    wide, upright, _ = (probe(path) for path in mixture)
    long, short = Span(0.0, 2.0), Span(0.0, 0.5)
    for cuts, size in (
        ([Cut(wide, long), Cut(upright, short)], (640, 360)),
        ([Cut(wide, short), Cut(upright, long)], (180, 320)),
    ):
        render_cuts(cuts, tmp_path / "skim.mp4", max_height=size[1] if size[0] == 180 else 1080)
        made = probe(tmp_path / "skim.mp4")
        assert (made.width, made.height) == size


def test_colours_of_standard_and_high_definition_agree(make: Make, tmp_path: Path) -> None:
    films = []
    grass = "color=0x40C020:r=10:d=1:s="
    for matrix, size, told in (
        ("smpte170m", "96x64", True),
        ("bt709", "96x64", True),
        ("smpte170m", "96x64", False),
        ("bt709", "1280x720", False),
    ):
        pixels = f"format=rgb24,scale=out_color_matrix={matrix}:out_range=tv,format=yuv420p"
        tags = f"setparams=colorspace={matrix if told else 'unknown'}"
        films.append(
            make(
                f"{matrix}{told}.mp4", "-f", "lavfi", "-i", grass + size,
                "-vf", f"{pixels},{tags}", "-crf", "5",
            )
        )  # fmt: skip
    videos = [probe(film) for film in films]
    assert [video.colour_matrix for video in videos] == ["smpte170m", "bt709", "", ""]
    out = tmp_path / "skim.mp4"
    render_cuts([Cut(video, Span(0.0, 1.0)) for video in videos], out, max_height=96)
    assert probe(out).colour_matrix == "bt709"
    for frame in (5, 15, 25, 35):
        green = _picture(out, frame)[48, 85]
        assert green == pytest.approx([0x40, 0xC0, 0x20], abs=5), frame


def test_high_dynamic_range_beside_plain(flag: Path, make: Make, tmp_path: Path) -> None:
    white = ["-f", "lavfi", "-i", "color=white:s=96x64:r=25:d=2", "-c:v", "ffv1"]
    tags = "setparams=color_trc=smpte2084:color_primaries=bt2020:colorspace=bt2020nc"
    bright = probe(make("bright.mkv", *white, "-vf", f"format=yuv420p10le,{tags}"))
    assert bright.is_hdr
    alone, beside = tmp_path / "alone.mp4", tmp_path / "beside.mp4"
    render_cuts([Cut(bright, Span(0.0, 1.0))], alone)
    cuts = [Cut(bright, Span(0.0, 1.0)), Cut(probe(flag), Span(0.0, 1.0))]
    render_cuts(cuts, beside, crossfade_seconds=0.2)
    assert _picture(beside, 10) == pytest.approx(_picture(alone, 10), abs=6)
    assert _colours(beside)[45] == pytest.approx(RED, abs=6)
    assert not probe(beside).is_hdr


def test_a_label_lies_over_the_beginning(flag: Path, tmp_path: Path) -> None:
    plate = io.BytesIO()
    Image.new("RGBA", (400, 200), "white").save(plate, "PNG")
    out = tmp_path / "50% 'skim': [x].mp4"
    video = probe(flag)
    cuts = [
        Cut(video, Span(2.0, 2.2)),
        Cut(video, Span(0.0, 2.0), label=plate.getvalue()),
        Cut(video, Span(4.0, 6.0), label=plate.getvalue()),
        Cut(video, Span(2.0, 4.0), label=plate.getvalue()),
        Cut(video, Span(0.2, 1.2)),
    ]
    render_cuts(cuts, out, crossfade_seconds=0.0)
    lit = [_picture(out, frame)[:, :, :].min(axis=2) > 200 for frame in (2, 5, 54, 55, 107, 160)]
    # 400x200 on 720 lines are about 36x18 on 64, two pixels from the corner.
    assert [bool(mask.any()) for mask in lit] == [False, True, True, True, True, False]
    rows, columns = np.nonzero(lit[1])
    assert (rows.min(), rows.max()) == pytest.approx((64 - 2 - 18, 61), abs=1)
    assert (columns.min(), columns.max()) == pytest.approx((2, 37), abs=1)
    # Two that touch are one: green follows blue without being announced.
    film = tmp_path / "long.mp4"
    render_cuts([Cut(video, Span(0.0, 4.0), label=plate.getvalue())], film)
    lit = [_picture(film, frame).min(axis=2) > 200 for frame in (60, 61, 62)]
    assert [bool(mask.any()) for mask in lit] == [True, True, False], "for two and a half seconds"


def test_the_same_cut_again(flag: Path, mixture: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "skim.mp4"
    mute, heard = (Cut(probe(path), Span(1.0, 2.0)) for path in (flag, mixture[0]))
    render_cuts([mute, mute, heard, heard, mute], out, crossfade_seconds=0.2)
    assert len(_colours(out)) == 125
    assert len(_samples(out)) == pytest.approx(5 * 48_000, abs=1024)


def test_sound_that_ends_before_the_picture(make: Make, tmp_path: Path) -> None:
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=6"]
    source += ["-f", "lavfi", "-i", "sine=duration=2"]
    video = probe(make("short.mkv", *source, "-c:v", "mpeg4", "-c:a", "flac"))
    out = tmp_path / "skim.mp4"
    render_cuts(
        [Cut(video, Span(1.0, 3.0)), Cut(video, Span(4.0, 5.5))], out, crossfade_seconds=0.2
    )
    samples = _samples(out)
    assert len(samples) == pytest.approx(3.5 * 48_000, abs=1024)
    assert np.abs(samples[5_000:45_000]).max() > 0.08
    assert np.abs(samples[55_000:]).max() < 0.01
    assert len(_colours(out)) == round(3.5 * 25)


def test_a_source_that_is_broken_is_named(flag: Path, make: Make, tmp_path: Path) -> None:
    other = tmp_path / "other.mkv"
    other.write_bytes(flag.read_bytes())
    video = probe(other)
    cuts = [Cut(probe(flag), Span(0.0, 1.0)), Cut(video, Span(0.0, 1.0))]
    other.write_bytes(b"")
    with pytest.raises(NotAVideoError, match=r"other\.mkv"):
        render_cuts(cuts, tmp_path / "skim.mp4")
    other.write_bytes(b"no film" * 1000)
    with pytest.raises(MediaError, match=r"other\.mkv"):
        render_cuts(cuts, tmp_path / "skim.mp4")
    assert [file.name for file in tmp_path.iterdir()] == ["other.mkv"]


@pytest.mark.slow
def test_a_killed_process_leaves_no_film(make: Make, tmp_path: Path) -> None:
    source = ["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25:duration=30"]
    path = make("long.mkv", *source, "-c:v", "mpeg4")
    program = (
        "from pathlib import Path; from vidsift.media.cut import *; from vidsift.types import Span;"
        "from vidsift.media.probe import probe;"
        f"render_cuts([Cut(probe(Path({str(path)!r})), Span(0.0, 29.0))], Path('skim.mp4'))"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path) as process:
        while not any(
            file.suffix == ".part" and file.stat().st_size for file in tmp_path.iterdir()
        ):
            time.sleep(0.02)
            assert process.poll() is None, "it was over too soon"
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "skim.mp4").exists()


def test_a_run_seeks_in_one_input_only(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where ffmpeg 9 seeks in several inputs of one graph it may wait for ever.
    path = make("long.mp4", *["-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=120"])
    runs: list[list[str]] = []

    def run(stream: object, **options: object) -> str:
        runs.append(compile_stream(stream))
        return run_ffmpeg(stream, **options)

    monkeypatch.setattr(cut, "run_ffmpeg", run)
    film = [Cut(probe(path), Span(start, start + 1.0)) for start in (30.0, 60.0, 90.0)]
    render_cuts(film, tmp_path / "out.mp4", crossfade_seconds=0.2)
    assert sum("-ss" in command for command in runs) == 3
    assert all(command.count("-ss") <= 1 for command in runs)
    assert probe(tmp_path / "out.mp4").duration_seconds == pytest.approx(3.0, abs=0.02)
