"""Blurring people: real detectors on a real face, in films that ffmpeg makes and writes."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from skimage import data

from indexer import index_videos
from summarizer import Skim, summarize, write_skim
from summarizer.manifest import read_manifest, skim_from_manifest
from ui import preview
from vidsift.library import Library
from vidsift.media.blurring import blur_picture
from vidsift.media.cut import Cut, render_cuts
from vidsift.media.people import Box, PeopleDetector, through_time
from vidsift.media.probe import probe
from vidsift.types import Moment, Span, VideoProbe

FFMPEG = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
WIDTH, HEIGHT, RATE, FRAMES = 320, 240, 10, 30
FACE = 130  # pixels of the square that holds it


def background() -> np.ndarray:
    """Fine waves: detail everywhere, and nobody."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    grey = 128 + 50 * np.sin(x / 2.0) + 50 * np.sin(y / 1.7)
    return np.repeat(grey[..., np.newaxis], 3, axis=2).astype(np.uint8)


def face() -> np.ndarray:
    astronaut = Image.fromarray(data.astronaut()[10:270, 90:350])
    return np.asarray(astronaut.resize((FACE, FACE), Image.Resampling.LANCZOS))


def place_of_face(frame: int) -> tuple[int, int]:
    """Left and top of the face: it moves across two thirds of the film."""
    return 5 + 6 * frame, 30 + 2 * frame


def frames(with_face: bool) -> np.ndarray:
    film = np.repeat(background()[np.newaxis], FRAMES, axis=0)
    if with_face:
        for number, frame in enumerate(film):
            left, top = place_of_face(number)
            frame[top : top + FACE, left : left + FACE] = face()[: HEIGHT - top, : WIDTH - left]
    return film


MakeRaw = Callable[..., VideoProbe]


@pytest.fixture(scope="module")
def film_of(tmp_path_factory: pytest.TempPathFactory) -> MakeRaw:
    folder = tmp_path_factory.mktemp("people")

    def make(name: str, pictures: np.ndarray, *options: str) -> VideoProbe:
        path = folder / name
        command = [*FFMPEG, "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}"]
        command += ["-r", str(RATE), "-i", "-", "-f", "lavfi", "-i", "sine=frequency=330"]
        command += ["-pix_fmt", "yuv420p", "-crf", "8", "-c:a", "aac", "-shortest", *options]
        command.remove("-nostdin")
        subprocess.run([*command, str(path)], input=pictures.tobytes(), check=True)
        return probe(path)

    return make


def decoded(path: Path) -> np.ndarray:
    command = [*FFMPEG, "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)


def samples(path: Path) -> np.ndarray:
    command = [*FFMPEG, "-i", str(path), "-f", "s16le", "-"]
    raw = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return np.frombuffer(raw, "<i2")


def times(path: Path) -> str:
    command = [*FFMPEG, "-i", str(path), "-map", "v:0", "-c", "copy", "-f", "framecrc", "-"]
    lines = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return "\n".join(
        sorted(line.split(",")[2] for line in lines.splitlines() if not line.startswith("#"))
    )


def detail(pictures: np.ndarray) -> float:
    """How much pixels differ from the middle of their neighbours: none in smooth shades."""
    grey = pictures.astype(np.float32).mean(axis=-1)
    return float(sum(np.abs(np.diff(grey, 2, axis=axis)).mean() for axis in (-1, -2)))


def rendered(film: VideoProbe, out: Path, *, blur_people: bool) -> Path:
    spans = [Span(0.0, 1.2), Span(1.5, 3.0)]
    cuts = [Cut(film, span) for span in spans]
    render_cuts(cuts, out, crossfade_seconds=0.2, blur_people=blur_people)
    return out


# A mask is taken for a picture by ffmpeg, and must not be "converted" to the film's colours.
@pytest.mark.parametrize("matrix", ["", "smpte170m"])
@pytest.mark.slow
def test_a_face_that_moves_is_blurred_and_nothing_else_changes(film_of, tmp_path, matrix):
    tags = ["-colorspace", matrix, "-color_primaries", matrix, "-color_trc", "bt709"]
    film = film_of(f"face{matrix}.mp4", frames(True), *(tags if matrix else ()))
    assert film.colour_matrix == matrix
    sharp = rendered(film, tmp_path / "sharp.mp4", blur_people=False)
    shares: list[float] = []
    blurred = tmp_path / "blurred.mp4"
    cuts = [Cut(film, Span(0.0, 1.2)), Cut(film, Span(1.5, 3.0))]
    render_cuts(cuts, blurred, crossfade_seconds=0.2, blur_people=True, progress=shares.append)
    before, after = decoded(sharp), decoded(blurred)
    assert len(before) == len(after) == 27
    assert times(sharp) == times(blurred)
    heard = [samples(each).astype(int) for each in (sharp, blurred)]
    assert len(heard[0]) == len(heard[1])
    assert np.abs(heard[0] - heard[1]).mean() < 10  # of 32,768
    assert probe(blurred).colour_matrix == probe(sharp).colour_matrix
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    for number in range(27):
        left, top = place_of_face(number if number < 12 else number + 3)
        inner = np.s_[top + 28 : top + 90, left + 30 : left + 100]
        assert detail(before[number][inner]) > 10
        assert detail(after[number][inner]) < 3, number
    # What lies far from its way is as it was, up to being encoded again.
    far = np.s_[:, HEIGHT - 25 :, :60]
    difference = np.abs(before[far].astype(int) - after[far].astype(int)).mean()
    assert difference < 6
    assert detail(after[far]) > 0.9 * detail(before[far])


def test_a_film_without_people_is_only_encoded_again(film_of, tmp_path):
    film = film_of("nobody.mp4", frames(False))
    sharp = rendered(film, tmp_path / "sharp.mp4", blur_people=False)
    blurred = rendered(film, tmp_path / "blurred.mp4", blur_people=True)
    before, after = decoded(sharp), decoded(blurred)
    assert before.shape == after.shape
    assert np.abs(before.astype(int) - after.astype(int)).mean() < 6
    assert detail(after) > 0.95 * detail(before)
    assert set(tmp_path.iterdir()) == {sharp, blurred}


def jpeg(pixels: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=92)
    return encoded.getvalue()


def test_a_picture_is_blurred_or_comes_back_as_it_is():
    nobody = jpeg(background())
    assert blur_picture(nobody) == nobody
    with_face = frames(True)[10]
    left, top = place_of_face(10)
    inner = np.s_[top + 28 : top + 90, left + 30 : left + 100]
    blurred = np.asarray(Image.open(io.BytesIO(blur_picture(jpeg(with_face)))))
    assert blurred.shape == with_face.shape
    assert detail(blurred[inner]) < 3 < 10 < detail(with_face[inner])


def test_what_is_left_of_a_face_is_8_rows_of_the_picture():
    """Two faces that differ in what is finer than that come out the same."""
    with_face = frames(True)[10]
    boxes = PeopleDetector().find(with_face)
    assert boxes
    left, top = place_of_face(10)
    finer = with_face.copy()
    noise = np.random.default_rng(0).integers(0, 2, (FACE // 2, FACE // 2, 1)) * 40 - 20
    # Noise whose every 2 x 2 pixels sum up to nothing.
    signs = np.kron(noise, np.array([[1, -1], [-1, 1]])[..., np.newaxis])
    part = finer[top : top + FACE, left : left + FACE].astype(int)
    finer[top : top + FACE, left : left + FACE] = (part + signs).clip(0, 255).astype(np.uint8)
    a, b = (
        np.asarray(Image.open(io.BytesIO(blur_picture(jpeg(each))))) for each in (with_face, finer)
    )
    inner = np.s_[top + 30 : top + 88, left + 32 : left + 98]
    assert np.abs(with_face[inner].astype(int) - finer[inner]).mean() > 10
    assert np.abs(a[inner].astype(int) - b[inner]).mean() < 2


def test_boxes_are_held_and_gaps_are_closed():
    here, there, away = Box(0.1, 0.1, 0.3, 0.3), Box(0.2, 0.1, 0.4, 0.3), Box(0.7, 0.7, 0.8, 0.8)
    found = [[], [here], [], [], [], [there], [], [away], [], [], [], []]
    covered = through_time(found, hold=1, gap=4)
    both = here.hull(there)
    assert [boxes[:1] for boxes in covered[:7]] == [[here]] * 3 + [[both]] + [[there]] * 3
    assert covered[6:9] == [[there, away], [away], [away]]
    assert covered[9:] == [[], [], []]
    # Too long away to be taken for the same.
    apart = through_time([[here], [], [], [], [here]], hold=0, gap=2)
    assert [len(boxes) for boxes in apart] == [1, 0, 0, 0, 1]


def test_boxes_grow_only_as_far_as_the_picture_goes():
    grown = Box(0.0, 0.4, 0.5, 0.8).grown(0.5, 0.25, 1.0)
    edges = (grown.left, grown.top, grown.right, grown.bottom)
    assert edges == pytest.approx((0.0, 0.3, 0.75, 1.0))
    assert grown.overlap(Box(0.5, 0.5, 1.0, 1.0)) == pytest.approx(0.5)


@pytest.mark.slow
def test_summaries_storyboards_and_moments_can_be_blurred(
    colour_library: Library, film_of, tmp_path
):
    film = film_of("portrait.mp4", frames(True)[10:11].repeat(FRAMES, axis=0))
    colour_library.encoder.picture_size = HEIGHT  # and so its thumbnails', as of real encoders
    index_videos(colour_library, [film.path])
    video = colour_library.video(film.path)
    summary = summarize(colour_library, video, seconds=2.0)
    plain = Skim.of(video, summary)
    blurred = Skim(plain.title, plain.query, plain.parts, plain.budget_seconds, blur_people=True)
    out = tmp_path / "out"
    kinds = ["mp4", "png", "html", "json"]
    sharp_files = write_skim(colour_library, plain, out, kinds)
    files = write_skim(colour_library, blurred, out, kinds)
    assert not set(files.values()) & set(sharp_files.values())  # neither takes the other's place
    assert read_manifest(files["json"])["blurred"] == "people, best effort"
    assert "blurred" not in read_manifest(sharp_files["json"])
    assert skim_from_manifest(colour_library, files["json"]) == blurred
    assert "best effort" in files["html"].read_text(encoding="utf-8")
    left, top = place_of_face(10)
    inner = np.s_[:, top + 28 : top + 90, left + 30 : left + 100]
    assert detail(decoded(files["mp4"])[inner]) < 3
    assert detail(decoded(sharp_files["mp4"])[inner]) > 10
    boards = [np.asarray(Image.open(each["png"]).convert("RGB")) for each in (sharp_files, files)]
    assert boards[0].shape == boards[1].shape
    assert np.abs(boards[0].astype(int) - boards[1].astype(int)).mean() > 5

    moment = Moment(video.id, 1, Span(0.5, 2.0), 1.0, 0.5)
    clips = [
        preview.moment_clip(colour_library, video, moment, blur_people=each)
        for each in (False, True)
    ]
    assert clips[0] != clips[1]
    assert detail(decoded(clips[1])[inner]) < 3 < 10 < detail(decoded(clips[0])[inner])
