"""`vidsift tag` on a real library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from indexer import index_videos
from ui.cli import app
from vidsift.errors import QueryError, VidsiftError
from vidsift.library import Library
from vidsift.store.tags import tags_of_videos


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_tags_from_the_command_line(colour_library: Library, make_film, tmp_path: Path):
    film = make_film(tmp_path / "videos" / "one.mp4", [("red", 2)])
    make_film(tmp_path / "videos" / "two.mp4", [("blue", 2)])
    index_videos(colour_library, [tmp_path / "videos"])
    at = ("--library", colour_library.root)

    assert "no video has a tag" in run("tag", *at)
    run("tag", "one", "two.mp4", "--add", "Beach", "--add", "dog", *at)
    run("tag", film, "--remove", "dog", *at)
    shown = json.loads(run("tag", "--json", *at))
    assert [(each["video"], each["tags"]) for each in shown] == [
        (str(film), ["beach"]),
        (str(film.with_name("two.mp4")), ["beach", "dog"]),
    ]
    assert "beach, dog" in run("tag", "two", *at)

    make_film(film, [("green", 3)])
    assert index_videos(colour_library, [film]).indexed == [film]
    assert tags_of_videos(colour_library.catalog)[colour_library.video(film).id] == ("beach",)

    with pytest.raises(QueryError, match="name the videos"):
        run("tag", "--add", "beach", *at)
    with pytest.raises(VidsiftError, match=r"nothing\.mp4"):
        run("tag", "nothing.mp4", "--add", "beach", *at)
