"""`vidsift summarize` as its user meets it: what it prints, writes, and says of mistakes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from indexer import index_videos
from summarizer import FORMATS
from ui.cli import app
from ui.summarize import _ENCODED, _FORMATS_HELP
from vidsift.errors import QuestionSyntaxError, VidsiftError
from vidsift.library import Library
from vidsift.media.probe import probe

SAID = "1\n00:00:00,500 --> 00:00:02,000\nA red wall.\n"


@pytest.fixture
def library(colour_library: Library, colour_encoder, make_film, tmp_path, monkeypatch):
    """Two films; every library that the command line opens has the colour encoder, too."""
    monkeypatch.setattr("vidsift.library.open_encoder", lambda *_, **__: colour_encoder)
    monkeypatch.setattr("ui.summarize.say_if_preparing", lambda _library: None)
    shots = [("red", 3), ("blue", 3), ("green", 3)]
    make_film(tmp_path / "videos" / "flag.mp4", shots, sound=True, rate=25)
    (tmp_path / "videos" / "flag.en.srt").write_text(SAID)
    make_film(tmp_path / "videos" / "mute.mkv", [("yellow", 4), ("cyan", 3)], rate=25)
    index_videos(colour_library, [tmp_path / "videos"])
    return colour_library


def run(*arguments: object) -> Result:
    done = CliRunner().invoke(app, ["summarize", *map(str, arguments)])
    if isinstance(done.exception, VidsiftError):
        raise done.exception
    assert done.exception is None, done.output
    return done


def told(*arguments: object) -> dict:
    return json.loads(run(*arguments, "--json").stdout)


def test_one_video_is_told_in_a_table_with_reasons(library, tmp_path):
    done = run("flag.mp4", "--seconds", 3, "--out", tmp_path / "out")
    assert "flag.mp4" in done.stdout
    assert "of the film" in done.stdout
    assert "3.0 s of 9.0 s" in done.stdout
    named = dict(re.findall(r"^(video|storyboard|json) +(\S+)$", done.stdout, re.MULTILINE))
    assert sorted(map(Path, named.values())) == sorted((tmp_path / "out").iterdir())
    assert probe(Path(named["video"])).duration_seconds == pytest.approx(3.0, abs=0.2)


@pytest.mark.slow
def test_all_formats_that_there_can_be(library, tmp_path):
    done = run("flag.mp4", "--format", "all", "--out", tmp_path / "all")
    assert "left out" not in done.stderr
    suffixes = {form.suffix for form in FORMATS.values()}
    assert {file.name for file in (tmp_path / "all").iterdir()} == {
        f"flag.summary{suffix}" for suffix in suffixes
    }
    # A video that says nothing has no subtitles; the rest is written.
    done = run("mute.mkv", "--format", "all", "--out", tmp_path / "rest")
    left_out = re.findall(r"^left out (\w+): .*no sound to transcribe", done.stderr, re.MULTILINE)
    assert left_out == ["srt", "vtt"]
    assert len(list((tmp_path / "rest").iterdir())) == len(FORMATS) - 2


def test_the_help_names_every_format():
    for name in FORMATS:
        assert re.search(rf"\b{name}\b", _FORMATS_HELP)
    assert set(FORMATS) | {"all"} > _ENCODED


def test_several_videos_under_one_budget(library, tmp_path):
    made = told("flag.mp4", "mute.mkv", "flag", "--seconds", 12, "--format", "json,edl")
    assert made["duration_seconds"] == pytest.approx(12.0, abs=0.1)
    assert {Path(video["video"]).name for video in made["videos"]} == {"flag.mp4", "mute.mkv"}
    assert set(made["files"]) == {"json", "edl"}
    assert told("--library-wide", "--seconds", 4, "--format", "json")["segments"]
    assert told("--since", "2020-01", "--seconds", 4, "--format", "json")["segments"]
    table = run("--library-wide", "--seconds", 12, "--format", "json").stdout
    assert "mute.mkv" in table
    assert "12.0 s of 2 videos, 16.0 s" in table


def test_a_question_is_answered_or_said_not_to_be(library):
    made = told("flag.mp4", "--query", "green", "--seconds", 2, "--format", "json")
    assert made["query"] == "green"
    assert all(segment["start_seconds"] >= 6.0 for segment in made["segments"])
    # Whether a library is large enough to tell is the search's business; what is told is said.
    done = run("flag.mp4", "--query", "green", "--seconds", 2, "--format", "json")
    assert ("nothing here matches" in done.stderr) == (made["matched"] is False)


def test_nothing_matches_is_a_note_and_no_error(library, monkeypatch):
    import dataclasses

    from summarizer import summary as module

    real = module.summarize
    monkeypatch.setattr(
        "summarizer.summarize",
        lambda *args, **named: dataclasses.replace(real(*args, **named), matched=False),
    )
    done = run("flag.mp4", "--query", "violet", "--format", "json")
    assert done.exit_code == 0
    assert "note: nothing here matches 'violet'" in done.stderr
    assert "leave --query out" in done.stderr
    assert told("flag.mp4", "--query", "violet", "--format", "json")["matched"] is False


def test_the_same_summary_from_its_manifest(library, tmp_path):
    first = told("flag.mp4", "--query", "blue", "--seconds", 2.5, "--out", tmp_path / "a")
    again = told("--from", first["files"]["json"], "--format", "json,mp4", "--out", tmp_path / "b")
    assert again["segments"] == first["segments"]
    assert (again["query"], again["matched"]) == (first["query"], first["matched"])
    a, b = (Path(made["files"]["video"]).read_bytes() for made in (first, again))
    assert a == b


MISTAKES = [
    (["flag.mp4", "--seconds", "0"], "more than 0"),
    (["flag.mp4", "--seconds", "-2"], "more than 0"),
    (["flag.mp4", "--seconds", "nan"], "more than 0"),
    (["flag.mp4", "--seconds", "10"], "lasts only 9.0 s"),
    (["flag.mp4", "--ratio", "1.5"], "up to 1"),
    (["flag.mp4", "--ratio", "0.5", "--seconds", "1"], "one of them"),
    (["flag.mp4", "--format", "mp4,gif"], "'gif': no such format; there are mp4, png, html"),
    (["flag.mp4", "--format", ""], "no format is named"),
    (["flag.mp4", "--selection", "luck"], "knapsack or greedy"),
    (["flag.mp4", "--format", "vtt", "--subtitles", "de"], "there are en.srt"),
    (["mute.mkv", "--format", "json,srt"], "no subtitles"),
    (["flag.mp4", "mute.mkv", "--seconds", "12", "--format", "youtube"], "of one video"),
    (["--library-wide", "--seconds", "17"], "16.0 s"),
    (["--library-wide", "flag.mp4"], "leave the names out"),
    (["--since", "soon"], "--since: expected a date"),
    ([], "no video is named"),
    (["nothing.mp4"], "no such video"),
    (["--from", "nowhere.json"], "cannot be read"),
    (["--from", "nowhere.json", "--seconds", "3"], "leave them out"),
]


def test_mistakes_are_one_line_and_leave_nothing(library, tmp_path):
    for arguments, words in MISTAKES:
        with pytest.raises(VidsiftError) as caught:
            run(*arguments, "--out", tmp_path / "out")
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()


def test_a_question_that_is_no_question_shows_where(library, tmp_path):
    with pytest.raises(QuestionSyntaxError) as caught:
        run("flag.mp4", "--query", 'red "wall', "--out", tmp_path / "out")
    assert caught.value.pointer() == 'red "wall\n    ^'


def test_a_video_that_changed_is_noted_where_it_is_not_needed(library, tmp_path):
    library.video("flag.mp4").path.write_bytes(b"other")
    done = run("flag.mp4", "--format", "html,edl", "--out", tmp_path / "out")
    assert "note: " in done.stderr
    assert "other content than when it was indexed" in done.stderr
    with pytest.raises(VidsiftError, match="other content than when it was indexed"):
        run("flag.mp4", "--out", tmp_path / "out")


def test_a_library_that_cannot_be_written_names_out(library, tmp_path):
    shutil.rmtree(library.skims, ignore_errors=True)
    library.skims.touch()  # a folder in which nothing can be made, for root as well
    with pytest.raises(VidsiftError, match=r"cannot be written: .*; name a folder with --out$"):
        run("flag.mp4", "--format", "json")
    assert told("flag.mp4", "--format", "json", "--out", tmp_path / "out")["files"]


def test_what_was_written_once_is_kept(library):
    first = told("flag.mp4")["files"]
    made = Path(first["video"]).stat().st_ino
    again = told("flag.mp4", "--format", "mp4,html")["files"]
    assert again["video"] == first["video"]
    assert Path(again["video"]).stat().st_ino == made
    assert Path(again["html"]).parent == Path(first["video"]).parent


def test_people_are_blurred_when_asked_for_and_the_manifest_says_how_well(library, tmp_path):
    plain = ("flag.mp4", "--seconds", 2, "--format", "png,json", "--out", tmp_path / "out")
    done = run(*plain, "--blur-people")
    assert "as far as they are found" in done.stderr
    blurred = told(*plain, "--blur-people")
    assert blurred["blurred"] == "people, best effort"
    assert "blurred" not in told(*plain)
    again = told("--from", blurred["files"]["json"], "--format", "json", "--out", tmp_path / "two")
    assert again["blurred"] == "people, best effort"
