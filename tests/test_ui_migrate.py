"""`vidsift migrate` as its user meets it, and what `vidsift search` remembers for it."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from ui.cli import app
from ui.session import Workspace
from vidsift.errors import VidsiftError
from vidsift.library import Library
from vidsift.models import encoder as encoders
from vidsift.store import history
from vidsift.types import EncoderStamp


@pytest.fixture(autouse=True)
def families(monkeypatch, colour_encoder, tmp_path):
    """Encoders that can be opened by name: `colour`, and `grey` to which all colours are one."""
    colour = type(colour_encoder)

    class Grey(colour):
        stamp = EncoderStamp("grey", "1" * 64, 3, "mean brightness")

        def encode_frames(self, images: np.ndarray) -> np.ndarray:
            return self._unit(np.sqrt(super().encode_frames(images)))

    for kind in (colour, Grey):
        module = types.ModuleType(f"family_{kind.stamp.name}")
        module.open_variant = lambda *_, kind=kind: kind()
        module.needs_preparation = lambda *_: False
        module.list_variants = lambda *_: ()
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(encoders._FAMILIES, kind.stamp.name, module.__name__)
    monkeypatch.setenv("VIDSIFT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def videos(tmp_path: Path, make_film: Callable[..., Path]) -> Path:
    folder = tmp_path / "videos"
    make_film(folder / "flag.mp4", [("red", 3), ("blue", 3)])
    make_film(folder / "lawn.mkv", [("green", 4)])
    assert vidsift("index", folder, "--encoder", "colour").exit_code == 0
    return folder


def vidsift(*args: object, stdin: str = "") -> Result:
    return CliRunner().invoke(app, [*map(str, args)], input=stdin)


def as_json(*args: object) -> object:
    done = vidsift(*args, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def asked() -> list[tuple[str, int]]:
    with Library.open() as library:
        return [(each.question, each.times) for each in history.asked(library.catalog)]


def test_migrate_compare_switch_roll_back_discard(videos):
    vidsift("search", "a red wall")
    before = as_json("search", "red")
    done = vidsift("migrate", "--encoder", "grey")
    assert done.exit_code == 0, done.output
    assert "grey: 2 videos built, 0 were there, 0 could not be" in done.stdout
    assert "colour (searched) and grey on 52 questions" in done.stdout
    assert "50 of these ship with vidsift" in done.stdout
    assert "overlap at 10, videos: 1.00 (by chance 1.00), n = 52" in done.stdout
    assert [(each["encoder"], each["space"], each["whole"]) for each in as_json("migrate")] == [
        ("colour", "searched", True),
        ("grey", "built", True),
    ]
    assert as_json("search", "red") == before

    switched = as_json("migrate", "--switch")
    assert switched == {"searched": "grey", "kept": "colour", "left_out": [], "back": 0}
    assert as_json("search", "red")["encoder"] == "grey"
    assert "searched before" in vidsift("migrate").stdout
    assert vidsift("search", "red", "--encoder", "colour").exit_code != 0
    done = vidsift("migrate", "--roll-back")
    assert "searched from now on: colour; kept: grey" in done.stdout
    assert as_json("search", "red") == before
    assert as_json("migrate", "--discard") == {"discarded": "grey"}
    assert as_json("search", "red") == before


def test_what_cannot_be_built_is_named(videos):
    (videos / "lawn.mkv").unlink()
    done = vidsift("migrate", "--encoder", "grey")
    assert done.exit_code == 1
    assert "not in the space: " in done.stdout
    assert "lawn.mkv: cannot be read: No such file" in done.stdout
    assert "1 videos built, 0 were there, 1 could not be" in done.stdout
    report = vidsift("migrate", "--encoder", "grey", "--json")
    assert report.exit_code == 1
    report = json.loads(report.stdout)
    assert (report["unchanged"], len(report["failed"])) == (1, 1)
    assert isinstance(vidsift("migrate", "--switch").exception, VidsiftError)
    switched = as_json("migrate", "--switch", "--without-missing")
    assert switched["left_out"] == [str(videos / "lawn.mkv")]
    assert "left out when the encoder was changed" in vidsift("status").stdout
    assert as_json("migrate", "--roll-back")["back"] == 1


def test_questions_of_a_file(videos, tmp_path):
    vidsift("migrate", "--encoder", "grey")
    file = tmp_path / "questions.txt"
    file.write_text("red\nblue\nvideo:nowhere red\n")
    compared = as_json("migrate", "--questions", file)
    assert (compared["questions"], compared["shipped_questions"]) == (2, 0)
    assert [each["question"] for each in compared["by_question"]] == ["red", "blue"]
    assert [each["question"] for each in compared["skipped"]] == ["video:nowhere red"]
    assert set(compared["overlap_at_10"]) == {
        "videos",
        "videos_by_chance",
        "moments",
        "moments_by_chance",
    }
    shown = vidsift("migrate", "--compare", "--questions", file)
    assert "not compared: video:nowhere red: " in shown.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--switch", "--roll-back"], "several commands"),
        (["--without-missing"], "belongs to --switch"),
        (["--switch"], "no space of another encoder"),
        (["--roll-back"], "no other encoder was searched"),
        (["--compare"], "no space of another encoder"),
        (["--encoder", "colour"], "searched with this encoder already"),
        (["--encoder", "nonsense"], "is unknown"),
    ],
)
def test_mistakes_are_one_line(videos, options, words):
    done = vidsift("migrate", *options)
    assert isinstance(done.exception, VidsiftError)
    assert words in str(done.exception)
    assert "\n" not in str(done.exception)


def test_searches_in_words_are_remembered(videos, tmp_path, monkeypatch):
    vidsift("search", "red", "-k", 1)
    vidsift("search", "red", "--json", "--flat")
    vidsift("search", "blue", "--videos")
    vidsift("search", "red", "--offset", 1)
    vidsift("search", "red", "--like", "flag.mp4@1")
    vidsift("search", "-", "--json", stdin="green\n")
    assert vidsift("search", '"unclosed').exit_code != 0
    assert asked() == [("blue", 1), ("red", 2)]
    with Library.open() as library:
        page = Workspace(library.root)
        page.ask("cyan", 2)
        page.ask("cyan", 2, offset=2)
        page.close()
    assert asked()[0] == ("cyan", 1)
    monkeypatch.setenv("VIDSIFT_QUESTION_HISTORY", "false")
    vidsift("search", "magenta")
    assert len(asked()) == 3
    assert "3 questions are forgotten" in vidsift("forget", "--questions").stderr
    assert asked() == []


@pytest.mark.slow
def test_from_one_real_encoder_to_another(tmp_path, make_film, monkeypatch):
    """The built-in encoder, and the same without its projection: other weights, one dimension."""
    monkeypatch.delenv("VIDSIFT_CACHE")
    make_film(tmp_path / "videos" / "one.mp4", [("red", 3), ("blue", 3)])
    make_film(tmp_path / "videos" / "two.mp4", [("green", 4)])
    assert vidsift("index", tmp_path / "videos").exit_code == 0
    before = as_json("search", "a red screen")
    (tmp_path / "questions.txt").write_text("a red screen\ngrass\n")
    assert vidsift("migrate", "--encoder", "builtin:conse").exit_code == 0
    compared = as_json("migrate", "--questions", tmp_path / "questions.txt")
    assert compared["encoders"] == ["builtin", "builtin:conse"]
    assert as_json("migrate", "--switch")["searched"] == "builtin:conse"
    after = as_json("search", "a red screen")
    assert after["encoder"] == "builtin:conse"
    assert after["results"][0]["score"] != before["results"][0]["score"]
    as_json("migrate", "--roll-back")
    assert as_json("search", "a red screen") == before
