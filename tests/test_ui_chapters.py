"""`vidsift chapters`: the table, JSON, formats and files."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from indexer import index_videos
from ui.cli import app
from vidsift.errors import StorageError, VidsiftError


@pytest.fixture
def library(colour_library, colour_encoder, make_film, tmp_path, monkeypatch):
    monkeypatch.setattr("vidsift.library.open_encoder", lambda *_, **__: colour_encoder)
    make_film(tmp_path / "videos" / "flag.mp4", [("blue", 12), ("red", 12), ("green", 12)] * 2)
    index_videos(colour_library, [tmp_path / "videos"])
    return colour_library


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["chapters", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_chapters(library, tmp_path):
    shown = json.loads(run("flag.mp4", "--json"))
    chapters = shown["chapters"]
    assert chapters[0]["start_seconds"] == 0
    assert chapters[-1]["end_seconds"] == shown["duration_seconds"]
    assert shown["file"] is None
    assert {each["source"] for each in chapters} <= {"speech", "picture", "none"}
    assert chapters[0]["title"] in run("flag.mp4")

    lines = run("flag.mp4", "--format", "youtube").splitlines()
    assert len(lines) == len(chapters)
    assert lines[0] == f"0:00 {chapters[0]['title']}"
    assert run("flag.mp4", "--format", "vtt").startswith("WEBVTT\n\n1\n00:00:00.000 --> ")

    out = tmp_path / "new" / "chapters.txt"
    assert run("flag.mp4", "--out", out) == f"chapters  {out}\n"
    assert out.read_text() == run("flag.mp4", "--format", "ffmetadata")
    named = json.loads(run("flag.mp4", "--format", "vtt", "--out", out, "--json"))
    assert named["file"] == str(out)
    assert out.read_text().startswith("WEBVTT")


def test_mistakes(library, tmp_path):
    with pytest.raises(VidsiftError, match=r"none\.mp4: no such video"):
        run("none.mp4")
    with pytest.raises(StorageError, match="cannot be written"):
        run("flag.mp4", "--out", tmp_path)
    done = CliRunner().invoke(app, ["chapters", "flag.mp4", "--format", "docx"])
    assert done.exit_code == 2
