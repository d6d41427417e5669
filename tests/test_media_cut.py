"""Clips and rendered segments: lasting as promised, showing what was asked for, whole or absent."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vidsift.errors import MediaError, MediaTimeoutError, StorageError
from vidsift.media.cut import cut_clip, render_segments
from vidsift.media.frames import decode
from vidsift.media.limits import DEFAULT_LIMITS
from vidsift.media.probe import probe
from vidsift.types import Span

Make = Callable[..., Path]


def _clock(size: str = "160x120", rate: str = "10", seconds: float = 4) -> list[str]:
    """Frames that carry their number in eight bars, the lowest bit on the left."""
    source = ["-f", "lavfi", "-i", f"color=black:size={size}:rate={rate}:duration={seconds}"]
    bit = "if(bitand(floor(N/pow(2,floor(X*8/W))),1),235,16)"
    return [*source, "-vf", f"format=yuv420p,geq=lum='{bit}':cb=128:cr=128"]


def _shown(path: Path) -> list[int]:
    """The numbers of the source's frames that a file shows."""
    with decode(probe(path), sample_rate=1.0, short_side=16) as frames:
        bars = [frame.small[36, 8::16].mean(axis=1) > 128 for frame in frames]
    return [sum(int(bit) << place for place, bit in enumerate(bar)) for bar in bars]


_SOUND = ["-f", "lavfi", "-i", "sine=duration=4"]


def test_a_clip_shows_its_span(make: Make, tmp_path: Path) -> None:
    path = make("clock.mp4", *_clock(), "-g", "100")
    out = tmp_path / "clip with 'quotes': 🎬.mp4"
    cut_clip(probe(path), Span(1.2, 2.2), out)
    assert _shown(out) == list(range(12, 22))
    clip = probe(out)
    assert (clip.width, clip.height, clip.pixel_format) == (160, 120, "yuv420p")
    assert not clip.has_audio
    data = out.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "a browser wants the index first"


def test_a_clip_has_sound_and_fits_the_height(make: Make, tmp_path: Path) -> None:
    path = make("sound.mp4", *_SOUND, *_clock("322x242"), "-c:a", "aac", "-ac", "6")
    out = tmp_path / "clip.mp4"
    cut_clip(probe(path), Span(1.0, 2.0), out, max_height=120)
    clip = probe(out)
    assert (clip.width, clip.height, clip.has_audio) == (160, 120, True)
    assert clip.duration_seconds == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("late.ts", ["-c:v", "mpeg2video", "-g", "30", "-output_ts_offset", "5"]),
        ("late.mkv", ["-output_ts_offset", "5"]),
        ("raw.m4v", ["-c:v", "mpeg4", "-f", "m4v"]),
        ("plain.avi", ["-c:v", "mpeg4", "-g", "30"]),
    ],
)
def test_seeking_is_exact_in_any_container(
    make: Make, tmp_path: Path, name: str, options: list[str]
) -> None:
    path = make(name, *_clock(rate="25"), *options)
    out = tmp_path / "clip.mp4"
    cut_clip(probe(path), Span(2.0, 3.0), out)
    assert _shown(out) == list(range(50, 75))


def test_times_count_from_the_first_frame(make: Make, tmp_path: Path) -> None:
    flat = make("flat.mkv", *_clock())
    path = make("delay.mkv", "-itsoffset", "0.7", "-i", str(flat), *_SOUND, "-c:v", "copy")
    out = tmp_path / "clip.mp4"
    assert probe(path).delay_seconds == pytest.approx(0.7, abs=0.01)
    cut_clip(probe(path), Span(1.0, 2.0), out)
    assert _shown(out) == list(range(10, 20))


def test_segments_come_in_order_and_last_as_promised(make: Make, tmp_path: Path) -> None:
    path = make("both.mp4", *_SOUND, *_clock(rate="30000/1001"), "-c:a", "aac")
    out = tmp_path / "skim.mp4"
    told: list[float] = []
    spans = [Span(3.0, 3.5), Span(0.5, 1.013), Span(2.0, 2.21)]
    render_segments(probe(path), spans, out, progress=told.append)
    skim = probe(out)
    assert skim.has_audio
    assert skim.duration_seconds == pytest.approx(sum(s.duration for s in spans), abs=0.05)
    # At 30000/1001 a second: 15 frames, then 15, then 7, each from the one on show at its start.
    assert _shown(out) == [*range(90, 105), *range(15, 30), *range(60, 67)]
    assert told[-1] == 1.0
    assert told == sorted(told)


@pytest.mark.slow
def test_two_hundred_short_segments(make: Make, tmp_path: Path) -> None:
    path = make("many.mp4", *_SOUND, *_clock("64x48", "25"))
    spans = [Span(n * 0.019, n * 0.019 + 0.033) for n in range(200)]
    out = tmp_path / "skim.mp4"
    render_segments(probe(path), spans, out)
    assert probe(out).duration_seconds == pytest.approx(200 * 0.033, abs=0.1)
    shown = _shown(out)
    assert len(shown) == 165
    assert shown[0] == 0
    assert shown[-1] == pytest.approx(199 * 0.019 * 25, abs=1)
    assert [file.name for file in tmp_path.iterdir()] == ["skim.mp4"]


def test_rotation_hdr_and_odd_sizes(make: Make, tmp_path: Path) -> None:
    flat = make("plain.mp4", *_clock())
    turned = make("turned.mp4", "-display_rotation", "90", "-i", str(flat), "-c", "copy")
    tags = "format=yuv420p10le,setparams=color_trc=smpte2084"
    pattern = ["-f", "lavfi", "-i", "testsrc=size=161x121:rate=10:duration=3"]
    hdr = make("hdr.mkv", *pattern, "-vf", tags, "-c:v", "ffv1")
    for path, size in ((turned, (120, 160)), (hdr, (160, 120))):
        out = tmp_path / f"{path.stem}.mp4"
        render_segments(probe(path), [Span(0.5, 1.0), Span(2.0, 2.5)], out)
        made = probe(out)
        assert (made.width, made.height, made.rotation) == (*size, 0)
        assert (made.pixel_format, made.is_hdr) == ("yuv420p", False)
        assert made.duration_seconds == pytest.approx(1.0, abs=0.05)


def test_a_slow_slideshow_keeps_the_promise(make: Make, tmp_path: Path) -> None:
    path = make("slides.mkv", *_clock(rate="1"), "-c:v", "ffv1")
    out = tmp_path / "skim.mp4"
    render_segments(probe(path), [Span(0.2, 0.5), Span(2.3, 2.6)], out)
    assert probe(out).duration_seconds == pytest.approx(0.6, abs=0.2)
    assert _shown(out) == [0] * 3 + [2] * 3, "the slides on show at 0.2 s and 2.3 s"


def test_a_truncated_tail_stands_still(make: Make, tmp_path: Path) -> None:
    path = make("tail.mkv", *_SOUND, *_clock(seconds=4))
    video = probe(path)
    out = tmp_path / "skim.mp4"
    render_segments(video, [Span(0.0, 0.5), Span(3.5, 5.0)], out)
    assert probe(out).duration_seconds == pytest.approx(2.0, abs=0.1)


def test_failure_leaves_nothing_and_keeps_what_was(make: Make, tmp_path: Path) -> None:
    video = probe(make("clock.mp4", *_clock()))
    out = tmp_path / "skim.mp4"
    out.write_bytes(b"yesterday's")
    limits = replace(DEFAULT_LIMITS, time_limit=1e-4)
    with pytest.raises(MediaError, match=r"clock\.mp4: only 0\.0 s of 1\.0 s"):
        cut_clip(video, Span(50.0, 51.0), out)
    with pytest.raises(MediaTimeoutError):
        render_segments(video, [Span(0.0, 4.0)], out, limits=limits)
    assert [file.name for file in tmp_path.iterdir()] == ["skim.mp4"]
    assert out.read_bytes() == b"yesterday's"


def test_nothing_to_render(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no spans"):
        render_segments(probe(make("clock.mp4", *_clock())), [], tmp_path / "skim.mp4")


def test_a_place_that_cannot_be_written(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    video = probe(make("clock.mp4", *_clock()))
    with pytest.raises(StorageError, match="cannot be written"):
        cut_clip(video, Span(0.0, 1.0), tmp_path / "file" / "clip.mp4")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(make: Make, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    video = probe(make("clock.mp4", *_clock()))
    with pytest.raises(StorageError, match="Permission denied"):
        cut_clip(video, Span(0.0, 1.0), tmp_path / "clip.mp4")


def test_names_that_are_no_unicode(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff\xfe%20")
    folder.mkdir()
    film = shutil.copy(make("clock.mp4", *_clock()), folder / os.fsdecode(b"\xff.mp4"))
    video = probe(film)
    clip = folder / os.fsdecode(b"clip \xfe.mp4")
    cut_clip(video, Span(1.0, 2.0), clip)
    assert _shown(clip) == list(range(10, 20))
    skim = folder / os.fsdecode(b"skim \xfe.mp4")
    render_segments(video, [Span(n / 10, (n + 1) / 10) for n in range(0, 40, 2)], skim)
    assert _shown(skim) == list(range(0, 40, 2))
    film.write_bytes(b"no film" * 100)
    with pytest.raises(MediaError) as caught:
        probe(film)
    assert str(film) not in caught.value.reason


def test_a_fifo_is_not_cut(make: Make, tmp_path: Path) -> None:
    film = shutil.copy(make("clock.mp4", *_clock()), tmp_path / "film.mp4")
    video = probe(film)
    film.unlink()
    os.mkfifo(film)
    with pytest.raises(MediaError, match="not a regular file"):
        cut_clip(video, Span(0.0, 1.0), tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == [film]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk_names_the_folder_of_the_output(make: Make, tmp_path: Path) -> None:
    source = ["-f", "lavfi", "-i", "testsrc2=size=640x480:rate=10:duration=4"]
    video = probe(make("busy.mp4", *source))
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this root may not mount")
    try:
        for spans in ([Span(0.0, 4.0)], [Span(n / 10, (n + 1) / 10) for n in range(39, 0, -1)]):
            with pytest.raises(StorageError, match="small") as caught:
                render_segments(video, spans, folder / "out.mp4")
            assert "busy.mp4" not in str(caught.value)
            assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)
