"""Films composed from pictures: what is seen when, with real ffmpeg."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vidsift.errors import MediaError, MediaTimeoutError
from vidsift.media.binary import ffmpeg_binary
from vidsift.media.compose import CameraView, PictureShot, film_from_pictures

SIZE = (64, 36)
STILL = CameraView(1.0)
RED, GREEN, BLUE = (200, 30, 30), (30, 160, 30), (30, 30, 200)


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (128, 72)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def still(path: Path, seconds: float, fade_seconds: float = 0.0) -> PictureShot:
    return PictureShot(path, seconds, STILL, STILL, fade_seconds)


def frames_of(film: Path) -> np.ndarray:
    raw = subprocess.run(
        [ffmpeg_binary(), "-v", "error", "-i", film, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
        check=True,
        capture_output=True,
    ).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, SIZE[1], SIZE[0], 3).astype(int)


def streams_of(film: Path) -> str:
    return subprocess.run(
        [ffmpeg_binary(), "-hide_banner", "-i", film], check=False, capture_output=True, text=True
    ).stderr


def assert_colour(pixels: np.ndarray, colour: tuple[int, int, int]) -> None:
    assert np.abs(pixels.reshape(-1, 3).mean(axis=0) - colour).max() < 12, pixels.mean(axis=(0, 1))


def test_shots_follow_each_other_by_cut_and_by_fade(tmp_path: Path) -> None:
    red, green, blue = (
        picture(tmp_path / f"{number}.png", colour)
        for number, colour in enumerate((RED, GREEN, BLUE))
    )
    shots = [still(red, 1.0), still(green, 1.0), still(blue, 1.0, 0.4), still(red, 0.6)]
    film = film_from_pictures(shots, tmp_path / "film.mp4", size=SIZE)
    frames = frames_of(film)
    # 25 + 25 + 25 + 15 frames less the 10 that the fade shares
    assert len(frames) == 80
    assert_colour(frames[24], RED)
    assert_colour(frames[25], GREEN)
    assert_colour(frames[39], GREEN)
    middle = frames[45].reshape(-1, 3).mean(axis=0)
    assert min(middle[1], middle[2]) > 60, "half green, half blue"
    assert_colour(frames[51], BLUE)
    assert_colour(frames[64], BLUE)
    assert_colour(frames[65], RED)


def test_camera_moves_from_start_to_end(tmp_path: Path) -> None:
    halves = Image.new("RGB", (128, 72), RED)
    halves.paste(BLUE, (64, 0, 128, 72))
    halves.save(tmp_path / "halves.png")
    shot = PictureShot(
        tmp_path / "halves.png", 1.0, CameraView(2.0, 0.0, 0.5), CameraView(2.0, 1.0, 0.5)
    )
    frames = frames_of(film_from_pictures([shot], tmp_path / "film.mp4", size=SIZE))
    assert_colour(frames[0][:, 4:-8], RED)
    assert_colour(frames[-1][:, 8:-4], BLUE)
    assert_colour(frames[12][:, :24], RED)
    assert_colour(frames[12][:, -24:], BLUE)


def test_picture_of_another_shape_is_fitted_on_the_background(tmp_path: Path) -> None:
    square = picture(tmp_path / "square.png", RED, (90, 90))
    film = film_from_pictures(
        [still(square, 0.4)], tmp_path / "film.mp4", size=SIZE, background="white"
    )
    frame = frames_of(film)[-1]
    assert_colour(frame[:, :8], (255, 255, 255))
    assert_colour(frame[:, 22:42], RED)


def test_jpeg_and_png_of_one_colour_look_the_same(tmp_path: Path) -> None:
    grey = (230, 230, 230)
    shots = [
        still(picture(tmp_path / "a.jpg", grey), 0.4),
        still(picture(tmp_path / "b.png", grey), 0.4),
    ]
    film = film_from_pictures(shots, tmp_path / "film.mp4", size=SIZE)
    frames = frames_of(film)
    assert abs(frames[4].mean() - 230) < 4
    assert abs(frames[14].mean() - 230) < 4
    # What players show of full-range video differs.
    assert "yuv420p(tv, bt709" in streams_of(film)


def test_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    shots = [PictureShot(picture(tmp_path / "a.png", GREEN), 0.5)]
    one, two = (
        film_from_pictures(shots, tmp_path / name, size=SIZE, tone_hertz=220.0).read_bytes()
        for name in ("one.mp4", "two.mp4")
    )
    assert one == two


def test_tone_lasts_as_long_as_the_film(tmp_path: Path) -> None:
    red = picture(tmp_path / "red.png", RED)
    shots = [still(red, 1.5), still(red, 1.5, 0.4)]
    silent = film_from_pictures(shots, tmp_path / "silent.mp4", size=SIZE)
    sounding = film_from_pictures(shots, tmp_path / "sounding.mp4", size=SIZE, tone_hertz=220.0)
    assert "Audio: " not in streams_of(silent)
    assert "Audio: aac" in streams_of(sounding)
    assert "Duration: 00:00:02.6" in streams_of(sounding)


def test_frame_rate_may_be_a_fraction(tmp_path: Path) -> None:
    shots = [still(picture(tmp_path / "red.png", RED), 1.0)]
    film = film_from_pictures(
        shots, tmp_path / "film.mp4", size=SIZE, frame_rate=Fraction(30000, 1001)
    )
    assert len(frames_of(film)) == 30
    assert "29.97 fps" in streams_of(film)


def test_percent_in_a_name_is_no_pattern(tmp_path: Path) -> None:
    picture(tmp_path / "1000.png", RED)
    shots = [still(picture(tmp_path / "100%d.png", BLUE), 0.4)]
    film = film_from_pictures(shots, tmp_path / "film%d.mp4", size=SIZE)
    assert_colour(frames_of(film)[5], BLUE)


def test_failure_leaves_what_was_there(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    out = tmp_path / "film.mp4"
    out.write_bytes(b"before")
    with pytest.raises(MediaError, match=r"film\.mp4"):
        film_from_pictures([still(broken, 1.0)], out, size=SIZE)
    with pytest.raises(MediaTimeoutError):
        film_from_pictures([still(picture(tmp_path / "red.png", RED), 600.0)], out, time_limit=0.2)
    assert out.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "broken.png",
        "film.mp4",
        "red.png",
    ]


def test_absent_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"gone\.png: there is no such picture"):
        film_from_pictures([still(tmp_path / "gone.png", 1.0)], tmp_path / "film.mp4")


def test_impossible_films_are_refused(tmp_path: Path) -> None:
    red = picture(tmp_path / "red.png", RED)
    out = tmp_path / "film.mp4"
    with pytest.raises(ValueError, match="at least one shot"):
        film_from_pictures([], out)
    with pytest.raises(ValueError, match="nothing to fade"):
        film_from_pictures([still(red, 1.0, 0.5)], out)
    with pytest.raises(ValueError, match="even"):
        film_from_pictures([still(red, 1.0)], out, size=(63, 36))
    with pytest.raises(ValueError, match="longer than what comes before"):
        film_from_pictures([still(red, 0.4), still(red, 1.0, 0.6)], out)
    with pytest.raises(ValueError, match="fade_seconds < seconds"):
        still(red, 1.0, 1.0)
    with pytest.raises(ValueError, match="1 <= zoom"):
        CameraView(0.5)
