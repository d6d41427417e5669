"""`vidsift forget` on a real library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from indexer import index_videos
from indexer.kept_out import KEPT_OUT
from ui.cli import app
from vidsift.errors import LibraryBusyError, VideoNotFoundError, VidsiftError
from vidsift.library import Library


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)


@pytest.fixture
def films(colour_library: Library, make_film, tmp_path: Path) -> list[Path]:
    made = [
        make_film(tmp_path / "films" / f"{name}.mp4", [(colour, 2)])
        for name, colour in (("first_film", "red"), ("second_film", "blue"), ("third_film", "lime"))
    ]
    index_videos(colour_library, made)
    return made


def test_one_is_forgotten_and_said_to_be_still_there(colour_library: Library, films):
    at = ("--library", colour_library.root)
    done = run("forget", "first_film.mp4", "--yes", *at)
    assert done.exit_code == 0
    assert f"forgotten: {films[0]}" in done.stdout
    assert done.stdout.splitlines()[-1] == "no trace"
    assert f"indexed again when their folder is: {films[0]}" in done.stderr
    assert "--keep-out" in done.stderr
    assert "--out" in done.stderr  # what it cannot know
    assert [video.path for video in colour_library.catalog.videos()] == films[1:]
    with pytest.raises(VideoNotFoundError, match="first_film"):
        run("forget", "first_film.mp4", "--yes", *at)


def test_several_as_json_kept_out_and_trained_models_removed(colour_library: Library, films):
    at = ("--library", colour_library.root)
    model = colour_library.poolers / "additive.safetensors"
    model.parent.mkdir()
    model.write_bytes(b"weights")
    second = colour_library.video("second_film").id
    done = run("forget", films[0], second, "second_film", "--yes", "--keep-out", "--json", *at)
    told = json.loads(done.stdout)
    assert done.exit_code == 0
    assert told["forgotten"] == [str(films[0]), str(films[1])]
    assert told["rows"]["videos"] == 2
    assert told["traces"] == []
    assert told["searched"]["for"]["path"] == 2
    assert told["searched"]["files"] > 5
    assert any("may have learned" in note and str(model) in note for note in told["notes"])
    assert len((colour_library.root / KEPT_OUT).read_text().splitlines()) == 2
    again = run("index", films[0].parent, "--json", *at)
    assert json.loads(again.stdout)["kept_out"] == [str(films[0]), str(films[1])]
    assert run("forget", "third_film", "--yes", "--also-trained", *at).exit_code == 0
    assert not model.exists()


def test_a_trace_ends_with_code_1_and_is_named(colour_library: Library, films):
    (colour_library.root / "list.txt").write_text(str(films[0]))
    done = run("forget", "first_film", "--yes", "--library", colour_library.root)
    assert done.exit_code == 1
    assert "list.txt: path" in done.stdout
    assert done.stdout.splitlines()[-1] != "no trace"
    told = json.loads(
        run("forget", "third_film", "--yes", "--json", "--library", colour_library.root).stdout
    )
    assert told["traces"] == []


def test_it_is_not_done_without_being_asked_for(colour_library: Library, films):
    at = ("--library", colour_library.root)
    with pytest.raises(VidsiftError, match="--yes"):
        run("forget", "1", *at)
    assert "nothing to forget" in run("forget", *at).stdout
    with colour_library.writing(), pytest.raises(LibraryBusyError, match="--wait"):
        run("forget", "1", "--yes", *at)
    assert len(colour_library.catalog.videos()) == 3
