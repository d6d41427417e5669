"""What captions name becomes what a projection is trained on; the command, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from search.annotations import Caption
from search.projection import _Gathering, _times, train_projection
from ui.cli import app
from vidsift.errors import AnnotationError
from vidsift.models.builtin_encoder import DIMENSION
from vidsift.models.encoder import open_encoder
from vidsift.types import Span

COLOURS = ("red", "green", "blue", "yellow")
COLUMNS = 1384  # of the tower: dimensions, then classes


def colour_tower(pictures: np.ndarray) -> np.ndarray:
    """The mean colour, in the first three columns of either half."""
    both = np.zeros((len(pictures), COLUMNS), np.float32)
    colour = pictures.mean((1, 2)) / 255
    both[:, :3] = both[:, DIMENSION : DIMENSION + 3] = colour
    return both


@pytest.fixture
def gather(tmp_path: Path):
    def gather(*captions: Caption, folder: Path = tmp_path, library=None) -> _Gathering:
        gathering = _Gathering(folder, library, colour_tower, 64)
        gathering.add(captions, lambda progress: None)
        return gathering

    return gather


def colours_of(gathering: _Gathering, item: int) -> list[str]:
    names = {(1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue"}
    rounded = (gathering._conse[item][:, :3] > 0.4).astype(int)
    return [names[r, g, b] for r, g, b in rounded.tolist()]


def test_captions_of_one_picture_are_one_item(tmp_path: Path, gather):
    Image.new("RGB", (80, 60), "red").save(tmp_path / "a.jpg")
    Image.new("RGB", (80, 60), "blue").save(tmp_path / "b.PNG")
    gathering = gather(
        Caption("a.jpg", "something red"), Caption("b.PNG", "blue"), Caption("a.jpg", "warm")
    )
    assert gathering.texts == ["something red", "warm", "blue"]
    pairs = gathering.pairs(np.eye(3, DIMENSION, dtype=np.float32))
    assert pairs.item_of_caption.tolist() == [0, 0, 1]
    assert pairs.item_of_frame.tolist() == [0, 1]
    assert (colours_of(gathering, 0), colours_of(gathering, 1)) == (["red"], ["blue"])


def test_of_a_span_its_own_frames_count(tmp_path: Path, gather, make_film):
    make_film(tmp_path / "film.mp4", [("red", 2.0), ("0x00ff00", 2.0), ("blue", 2.0)])
    gathering = gather(
        Caption("film.mp4", "first", Span(0.0, 2.0)),
        Caption("film.mp4", "all of it"),
        Caption("film.mp4", "last", Span(4.0, 6.0)),
        Caption("film.mp4", "at the end of the first", Span(1.6, 1.7)),
        Caption("film.mp4", "too late", Span(60.0, 61.0)),
    )
    assert colours_of(gathering, 0) == ["red"] * 4
    assert colours_of(gathering, 1) == ["red"] * 3 + ["green"] * 2 + ["blue"] * 3
    assert colours_of(gathering, 2) == ["blue"] * 4
    assert colours_of(gathering, 3) == ["green"], "the first that is looked at after it"
    assert gathering.num_groups == 1
    assert gathering.skipped == [
        f"{tmp_path}/film.mp4: a caption is about what comes after its end"
    ]


def test_frames_are_spread_over_a_span():
    assert _times(Span(3.0, 3.2)) == [3.0]
    times = _times(Span(10.0, 110.0))
    assert len(times) == 8
    assert np.allclose(np.diff(times), 12.5)


def test_what_cannot_be_used_is_named_and_the_rest_used(tmp_path: Path, gather):
    Image.new("RGB", (80, 60), "red").save(tmp_path / "a.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    gathering = gather(
        *(Caption(name, "x") for name in ("broken.jpg", "broken.mp4", "absent.jpg", "a.jpg"))
    )
    assert gathering.unknown == ["absent.jpg"]
    assert [Path(line.split(":")[0]).name for line in gathering.skipped] == [
        "broken.jpg",
        "broken.mp4",
    ]
    assert gathering.num_groups == 1


def test_without_pictures_captions_name_videos_of_the_library(colour_library, tmp_path, make_film):
    from indexer import index_videos

    film = make_film(tmp_path / "films.mp4", [("red", 2.0)])
    index_videos(colour_library, [film])
    gathering = _Gathering(None, colour_library, colour_tower, 64)
    gathering.add((Caption("films", "red"), Caption("other", "x")), lambda progress: None)
    assert colours_of(gathering, 0) == ["red"] * 4
    assert gathering.unknown == ["other"]


def write_captions(folder: Path, count: int) -> Path:
    """Pictures of two colours side by side, and their captions."""
    lines = []
    for i in range(count):
        left, right = COLOURS[i % 4], COLOURS[i // 4 % 4]
        picture = Image.new("RGB", (120, 120), left)
        picture.paste(right, (60 + i % 7, 0, 120, 120))
        picture.save(folder / f"{i}.png")
        lines.append({"video": f"{i}.png", "text": f"{left} on the left and {right} on the right"})
    file = folder / "captions.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


@pytest.mark.slow
def test_the_command_trains_a_projection_that_is_an_encoder(tmp_path: Path):
    captions = write_captions(tmp_path, 24)
    out = tmp_path / "own.safetensors"
    arguments = ["train", "projection", "--captions", str(captions), "--pictures", str(tmp_path)]
    done = CliRunner().invoke(app, [*arguments, "--out", str(out), "--device", "cpu", "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["projection"] == str(out)
    assert (report["captions"], report["items"], report["held_items"]) == (24, 24, 5)
    assert report["chance"]["1"] == pytest.approx(1 / 5)
    assert all(0 <= report[key][k] <= 1 for key in ("before", "after") for k in ("1", "5", "10"))
    own = open_encoder(f"builtin:{out}", device="cpu").stamp
    assert own.weights_sha256 != open_encoder("builtin", device="cpu").stamp.weights_sha256

    few = tmp_path / "few.jsonl"
    lines = captions.read_text().splitlines()[:3]
    few.write_text("\n".join([*lines, '{"video": "nothing.png", "text": "x"}']))
    with pytest.raises(AnnotationError, match=r"of 3 pictures.*at least 20 \(nothing.png is not"):
        train_projection(few, tmp_path / "few.safetensors", pictures=tmp_path, device="cpu")
    assert not (tmp_path / "few.safetensors").exists()


def test_a_folder_that_is_none(tmp_path: Path):
    arguments = ["--captions", "x.jsonl", "--pictures", str(tmp_path / "no"), "--out", "y"]
    done = CliRunner().invoke(app, ["train", "projection", *arguments])
    assert "no: is no folder" in str(done.exception or done.output)
