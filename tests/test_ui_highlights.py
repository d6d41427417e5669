"""`vidsift highlights` as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from indexer import index_videos
from ui.cli import app
from ui.highlights import _span
from vidsift.errors import SummaryError
from vidsift.library import Library
from vidsift.types import Span

FILM = [*[("red", 8), ("blue", 8)] * 2, ("green", 3), *[("red", 8), ("blue", 8)] * 2]


@pytest.fixture(scope="module")
def home(tmp_path_factory, make_film) -> Path:
    """A library of one film: what highlights compares is stored, so that no encoder is needed."""
    folder = tmp_path_factory.mktemp("ui_highlights")
    return make_film(folder / "film.mp4", FILM).parent


@pytest.fixture
def library(home, colour_encoder) -> str:
    if not (home / "library").exists():
        with Library.open(home / "library", create=True, encoder="colour") as library:
            library.__dict__["encoder"] = colour_encoder
            assert not index_videos(library, [home / "film.mp4"]).failed
    return str(home / "library")


def run(*arguments: str):
    return CliRunner().invoke(app, ["highlights", *arguments])


def test_it_prints_what_is_unusual_and_how_rare_it_is(library):
    result = run("film.mp4", "-k", "1", "--library", library)
    assert result.exit_code == 0
    assert "0:32.0 - 0:35" in result.stdout
    assert "more unusual than" in result.stdout
    assert "compared with the rest of the video" in result.stdout.replace("\n", " ")
    assert "comparing" in result.stderr


def test_json_says_all_of_it(library):
    result = run("film.mp4", "-k", "1", "--library", library, "--json", "--method", "lof")
    found = json.loads(result.stdout)
    assert set(found) == {
        *("video_id", "video", "compared_with", "clips", "method", "note", "highlights")
    }
    (best,) = found["highlights"]
    assert best["start_seconds"] == pytest.approx(32, abs=0.6)
    assert best["rate"] == 1 / (best["num_normal"] + 1)
    assert best["nearest"]["video"].endswith("film.mp4")


def test_what_is_all_alike_is_said(library):
    result = run("film.mp4", "--library", library, "--baseline", "0:00-0:55")
    assert result.exit_code == 0
    assert "nothing stands out" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["film.mp4", "--against", "world"], "--against world"),
        (["film.mp4", "--method", "guess"], "knn, lof"),
        (["film.mp4", "--baseline", "soon"], "0:00-10:00"),
        (["film.mp4", "--against", "library"], "only video"),
        (["film.mp4", "-k", "0"], "at least one"),
        (["other.mp4"], "no such video"),
    ],
)
def test_mistakes_are_told_in_one_line(library, arguments, says):
    error = run(*arguments, "--library", library).exception
    assert says in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("0:00-10:00", Span(0.0, 600.0)),
        ("5-7.5", Span(5.0, 7.5)),
        ("1:00:00 - 1:00:01", Span(3600.0, 3601.0)),
    ],
)
def test_a_baseline_is_two_times(text, span):
    assert _span(text) == span


@pytest.mark.parametrize("text", ["", "-", "5", "7-5", "5-5", "a-b", "1:2:3:4-5", "0-1-2", "0--1"])
def test_what_is_no_baseline_is_refused(text):
    with pytest.raises(SummaryError, match="--baseline"):
        _span(text)
