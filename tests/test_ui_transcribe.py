"""`vidsift transcribe` as a person runs it, with a real film and a real, small Whisper."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from indexer.pipeline import index_videos
from ui.cli import app
from vidsift.errors import QueryError, SpeechError, VideoNotFoundError
from vidsift.library import Library

pytestmark = pytest.mark.slow

RUNNER = CliRunner()


@pytest.fixture
def library(
    colour_library: Library,
    tmp_path: Path,
    make_talk: Callable[..., Path],
    make_film: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Library:
    """A library of a film in which words are said and one without sound."""
    films = tmp_path / "films"
    films.mkdir()
    make_talk(films / "talk.mp4", 8.0, [(1.0, "red"), (5.0, "blue")])
    make_film(films / "mute.mp4", [("green", 2.0)])
    index_videos(colour_library, [films])
    # Each command opens the library for itself.
    monkeypatch.setattr(Library, "encoder", colour_library.encoder)
    return colour_library


def run(library: Library, *arguments: str) -> tuple[int, str, str]:
    done = RUNNER.invoke(
        app, ["transcribe", "--library", str(library.root), "--device", "cpu", *arguments]
    )
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_all_videos_are_transcribed_and_what_is_left_is_named(
    library: Library, speech_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "subtitles"
    code, said, noted = run(
        library, "--all", "--model", str(speech_folder), "--srt", str(out), "--json"
    )
    assert code == 0
    told = json.loads(said)
    assert told["model"] == str(speech_folder)
    [video] = told["transcribed"]
    assert (video["lines"], video["language"]) == (2, "en")
    assert Path(video["video"]).name == "talk.mp4"
    assert [each["reason"] for each in told["skipped"]] == ["has no sound"]
    assert told["failed"] == []
    assert told["srt"] == [str(out / "talk.en.srt")]
    assert "red" in (out / "talk.en.srt").read_text()
    assert told["video_seconds"] == pytest.approx(8.0, abs=0.2)
    assert "transcribing" in noted

    code, said, noted = run(library, "talk", "--model", str(speech_folder))
    assert code == 0
    assert "was transcribed by" in noted
    assert "0 transcribed, 1 left as they are, 0 skipped." in said

    code, said, _ = run(
        library, "talk", "--model", str(speech_folder), "--again", "--language", "de"
    )
    assert code == 0
    assert "talk.mp4: 2 lines, de" in said
    assert "1 transcribed (8 s of video in" in said


def test_model_of_the_settings_is_used(
    library: Library, speech_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDSIFT_SPEECH_MODEL", str(speech_folder))
    code, said, _ = run(library, "talk", "--json")
    assert code == 0
    assert json.loads(said)["model"] == str(speech_folder)


def test_video_that_cannot_be_used_is_named_and_ends_with_1(
    library: Library, speech_folder: Path
) -> None:
    library.video("talk").path.unlink()
    code, said, noted = run(library, "--all", "--model", str(speech_folder))
    assert code == 1
    assert "skipped: " in noted
    assert "talk.mp4: cannot be read: No such file or directory" in noted.replace("\n", "")
    assert "0 transcribed, 1 left as they are, 1 skipped." in said


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ([], QueryError, "name the videos to transcribe, or --all"),
        (["talk", "--all"], QueryError, "name the videos to transcribe, or --all"),
        (["--all", "--model", "/no/such/folder"], SpeechError, "/no/such/folder: no such folder"),
        (["--all", "--model", "enormous"], SpeechError, "'enormous' is unknown"),
        (["--fetch", "enormous"], SpeechError, "'enormous' is unknown"),
        (["another"], VideoNotFoundError, "another: no such video"),
    ],
)
def test_mistakes_are_one_clear_error(
    colour_library: Library, arguments: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(colour_library, *arguments)


def test_unknown_language_is_one_clear_error(colour_library: Library, speech_folder: Path) -> None:
    with pytest.raises(SpeechError, match="language 'xx'"):
        run(colour_library, "--all", "--model", str(speech_folder), "--language", "xx")
