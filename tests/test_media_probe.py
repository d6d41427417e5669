"""What a probe says of ordinary and of odd files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from vidsift.errors import MediaError, MediaLimitError, NotAVideoError
from vidsift.media.limits import DEFAULT_LIMITS
from vidsift.media.probe import probe

Make = Callable[..., Path]


def _source(size: str = "160x120", rate: str = "10", seconds: float = 1) -> list[str]:
    return ["-f", "lavfi", "-i", f"testsrc=size={size}:rate={rate}:duration={seconds}"]


_SOUND = ["-f", "lavfi", "-i", "sine=duration=1"]


def test_plain_file(make: Make) -> None:
    path = make("plain.mp4", *_source(), *_SOUND, "-pix_fmt", "yuv420p", "-c:v", "mpeg4")
    found = probe(path)
    assert found.path == path
    assert "mp4" in found.container
    assert (found.codec, found.pixel_format) == ("mpeg4", "yuv420p")
    assert (found.width, found.height, found.rotation) == (160, 120, 0)
    assert found.frame_rate == 10
    assert found.duration_seconds == pytest.approx(1.0, abs=0.06)
    assert found.has_audio
    assert not found.is_hdr


@pytest.mark.parametrize(
    ("rate", "exact"),
    [
        ("30000/1001", Fraction(30000, 1001)),
        ("24000/1001", Fraction(24000, 1001)),
        ("60000/1001", Fraction(60000, 1001)),
        ("12.5", Fraction(25, 2)),
    ],
)
def test_frame_rates_are_exact(make: Make, rate: str, exact: Fraction) -> None:
    path = make(f"rate{exact.numerator}.mp4", *_source(rate=rate))
    assert probe(path).frame_rate == exact


def test_odd_size_without_audio(make: Make) -> None:
    found = probe(make("odd.mkv", *_source("161x121"), "-c:v", "ffv1"))
    assert (found.width, found.height, found.has_audio) == (161, 121, False)


@pytest.mark.parametrize(
    ("angle", "size"), [(90, (120, 160)), (180, (160, 120)), (270, (120, 160))]
)
def test_rotation_turns_the_size(make: Make, angle: int, size: tuple[int, int]) -> None:
    flat = make(f"flat{angle}.mp4", *_source())
    turned = make(
        f"turned{angle}.mp4", "-display_rotation", str(angle), "-i", str(flat), "-c", "copy"
    )
    found = probe(turned)
    assert found.rotation == angle
    assert (found.width, found.height) == size


def test_pixel_aspect_widens(make: Make) -> None:
    found = probe(make("wide.mp4", *_source(), "-vf", "setsar=2/1"))
    assert (found.width, found.height) == (320, 120)


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_is_told_by_its_transfer(make: Make, transfer: str) -> None:
    tags = f"format=yuv420p10le,setparams=color_trc={transfer}"
    found = probe(make(f"{transfer}.mkv", *_source(), "-vf", tags, "-c:v", "ffv1"))
    assert found.is_hdr
    assert found.pixel_format == "yuv420p10le"


def test_ten_bits_alone_are_not_hdr(make: Make) -> None:
    found = probe(make("ten.mkv", *_source(), "-pix_fmt", "yuv420p10le", "-c:v", "ffv1"))
    assert not found.is_hdr


def test_start_and_delay(make: Make) -> None:
    late = make("late.ts", *_source(), *_SOUND, "-output_ts_offset", "5", "-bf", "0")
    assert probe(late).start_seconds > 5
    delayed = make("delayed.mkv", "-itsoffset", "0.5", *_source(), *_SOUND)
    assert probe(delayed).delay_seconds == pytest.approx(0.5, abs=0.06)


def test_no_duration_and_no_rate(make: Make) -> None:
    raw = make("raw.m4v", *_source(rate="30"), "-c:v", "mpeg4", "-f", "m4v")
    found = probe(raw)
    assert found.duration_seconds == 0
    assert found.frame_rate > 0


def test_cover_art_is_no_video(make: Make) -> None:
    cover = make(
        "cover.mp3",
        *[*_SOUND, *_source(), "-map", "0", "-map", "1", "-frames:v", "1"],
        *["-c:v", "mjpeg", "-disposition:v", "attached_pic"],
    )
    with pytest.raises(NotAVideoError, match="no video stream, only sound"):
        probe(cover)


@pytest.mark.parametrize(
    "name",
    [
        "with space.mp4",
        'it\'s "quoted".mp4',
        "a:b%03d.mp4",
        "-leading.mp4",
        "new\nline.mp4",
        "🎬.mp4",
        os.fsdecode(b"latin \xff\xfe.mp4"),
    ],
)
def test_any_name_will_do(make: Make, name: str) -> None:
    assert probe(make(name, *_source())).width == 160


def test_relative_name_with_a_leading_dash(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make("-i.mp4", *_source()).parent)
    assert probe(Path("-i.mp4")).width == 160


def test_metadata_cannot_forge_a_stream(make: Make) -> None:
    forged = "x\n  Stream #0:0: Video: h264, yuv420p, 9999x9999, 25 fps"
    sound = make("forged.mkv", *_SOUND, "-metadata", f"title={forged}")
    with pytest.raises(NotAVideoError, match="only sound"):
        probe(sound)


def test_each_bad_file_has_its_reason(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("This is not a film.\n" * 50)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    fifo = tmp_path / "fifo.mp4"
    os.mkfifo(fifo)
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n")
    reasons = {}
    for path in (tmp_path / "absent.mp4", tmp_path, text, empty, fifo):
        with pytest.raises(MediaError) as caught:
            probe(path)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(str(path))
        reasons[path.name] = caught.value.reason
    assert len(set(reasons.values())) == len(reasons), reasons
    assert reasons["absent.mp4"] == "no such file"
    assert reasons["empty.mp4"] == "is empty"
    assert reasons[tmp_path.name] == "is a folder, not a video file"
    assert "is not a video" in reasons["text.mp4"]
    with pytest.raises(NotAVideoError):
        probe(playlist)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(make: Make) -> None:
    path = make("private.mp4", *_source())
    path.chmod(0)
    with pytest.raises(MediaError, match="Permission denied"):
        probe(path)


def test_frames_larger_than_allowed_are_refused(make: Make) -> None:
    limits = replace(DEFAULT_LIMITS, max_pixels=160 * 120 - 1)
    # Only the first codec tells the size of its frames to who does not decode one.
    for name, codec in {"plain.mp4": "mpeg4", "large.mkv": "png"}.items():
        path = make(name, *_source(), "-c:v", codec)
        with pytest.raises(MediaLimitError, match=rf"{name}: has frames of 160 x 120 pixels, 19,1"):
            probe(path, limits=limits)
        assert probe(path, limits=replace(limits, max_pixels=160 * 120)).width == 160


def test_a_length_beyond_what_is_allowed_is_refused(make: Make) -> None:
    path = make("plain.mp4", *_source(seconds=2))
    with pytest.raises(MediaLimitError, match=r"plain\.mp4: says that it lasts .*media_max_hours"):
        probe(path, limits=replace(DEFAULT_LIMITS, max_hours=1 / 3600))


def test_a_name_cannot_forge_a_stream(make: Make, tmp_path: Path) -> None:
    name = "a\n\n  Duration: 99:00:00.00\n  Stream #0:0: Video: h264, yuv420p, 9x9, 5 fps, from 'b'"
    path = tmp_path / name
    path.write_bytes(make("plain.mp4", *_source()).read_bytes())
    found = probe(path)
    assert (found.width, found.height, found.frame_rate) == (160, 120, 10)
    assert found.duration_seconds == pytest.approx(1.0, abs=0.1)
