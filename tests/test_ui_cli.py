"""The command line as its user meets it: real processes, the built-in encoder, real files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from scenedetect import open_video  # an independent reader of what we rendered

from vidsift.media.probe import probe


def vidsift(
    *args: object, stdin: str | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ui.cli", *map(str, args)],
        input=stdin,
        capture_output=True,
        text=True,
        env=os.environ | env,
        timeout=250,
    )


def one_line(done: Done, code: int, *words: str) -> None:
    """A user's mistake: this exit code, one line that has these words, and no traceback."""
    lines = [line for line in done.stderr.strip().splitlines() if line.startswith("vidsift:")]
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]


@pytest.fixture(scope="module")
def home(tmp_path_factory, make_film) -> Path:
    """A folder with a few films and a library made of them by `vidsift index`."""
    root = tmp_path_factory.mktemp("cli")
    make_film(root / "videos" / "one.mp4", [("red", 4), ("blue", 4), ("green", 4)], sound=True)
    make_film(root / "videos" / "two.mkv", [("white", 3), ("black", 3)])
    done = vidsift("index", root / "videos", "--library", root / "library")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 videos are searchable" in done.stdout
    return root


@pytest.fixture
def library(home, monkeypatch) -> Path:
    monkeypatch.setenv("VIDSIFT_LIBRARY", str(home / "library"))
    return home / "library"


def test_index_again_skips_what_is_unchanged(home, library):
    done = vidsift("index", home / "videos", "--json")
    report = json.loads(done.stdout)
    assert (len(report["unchanged"]), report["indexed"], report["failed"]) == (2, [], [])


def test_search_json_is_the_contract(home, library):
    done = vidsift("search", "a red screen", "-k", 3, "--json")
    answer = json.loads(done.stdout)
    assert answer["query"] == "a red screen"
    assert answer["encoder"] == "builtin"
    assert 1 <= len(answer["results"]) <= 3
    for result in answer["results"]:
        assert Path(result["video"]).is_absolute()
        assert Path(result["thumbnail"]).is_file()
        assert result["start_seconds"] <= result["peak_seconds"] < result["end_seconds"]
        assert -1 <= result["score"] <= 1
    scores = [result["score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)


def test_search_prints_a_table_on_stdout_and_nothing_on_stderr(library):
    done = vidsift("search", "colours")
    assert done.returncode == 0
    assert "one.mp4" in done.stdout
    assert done.stderr == ""


def test_search_reads_questions_from_stdin(library):
    done = vidsift("search", "--json", "-k", 1, "-", stdin="red\n\ngreen grass\n")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["query"] for answer in answers] == ["red", "", "green grass"]
    assert "empty" in answers[1]["error"]
    assert [len(answer["results"]) for answer in answers] == [1, 0, 1]
    assert done.returncode == 0


def test_summarize_writes_video_storyboard_and_json(library, tmp_path):
    done = vidsift("summarize", "one.mp4", "--seconds", 3, "--out", tmp_path / "out", "--json")
    summary = json.loads(done.stdout)
    assert summary["query"] == ""
    assert summary["duration_seconds"] == pytest.approx(3.0, abs=0.01)
    total = sum(s["end_seconds"] - s["start_seconds"] for s in summary["segments"])
    assert total == pytest.approx(3.0, abs=0.02)
    files = summary["files"]
    made = probe(Path(files["video"]))
    assert made.duration_seconds == pytest.approx(3.0, abs=0.2)
    assert made.has_audio
    assert open_video(files["video"]).duration.seconds == pytest.approx(3.0, abs=0.2)
    assert Path(files["storyboard"]).stat().st_size > 1000
    assert json.loads(Path(files["json"]).read_text())["segments"] == summary["segments"]
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_summarize_about_a_question(library, tmp_path):
    done = vidsift("summarize", "one", "--query", "green", "--ratio", 0.25, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3.0 s of 12.0 s" in done.stdout
    assert (tmp_path / "one.green.mp4").is_file()


def test_status_says_what_is_searchable_and_why_not(home, tmp_path):
    bad = tmp_path / "videos"
    bad.mkdir()
    (bad / "notes.mp4").write_text("no video\n" * 100)
    done = vidsift("index", bad, "--library", tmp_path / "lib")
    assert done.returncode == 1
    assert "notes.mp4" in done.stderr
    assert "Traceback" not in done.stderr
    done = vidsift("status", "--library", tmp_path / "lib")
    assert done.returncode == 0
    assert "0 of 1 videos are searchable" in done.stdout
    assert "notes.mp4" in done.stdout
    # The option may stand before the command as well.
    status = json.loads(vidsift("--library", tmp_path / "lib", "status", "--json").stdout)
    assert status["not_searchable"][0]["status"] == "failed"
    # Searching a library without a searchable video is no error.
    done = vidsift("search", "anything", "--library", tmp_path / "lib", "--json")
    assert json.loads(done.stdout)["results"] == []


def test_encoders_are_listed_with_what_they_lack(library):
    done = vidsift("encoders", "--json")
    listed = {status["name"]: status for status in json.loads(done.stdout)}
    assert listed["builtin"]["available"]
    assert all(status["available"] or status["remedy"] for status in listed.values())


def test_db_upgrade(library):
    done = vidsift("db", "upgrade")
    assert done.returncode == 0
    assert str(library) in done.stdout


def test_index_can_render_at_once(home, tmp_path):
    done = vidsift("index", home / "videos" / "two.mkv", "--render", "--library", tmp_path / "lib")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "lib" / "skims").glob("**/two.summary.mp4"))) == 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["search", ""], ["question", "empty"]),
        (["search", "x" * 10_000], ["10,000", "shorten"]),
        (["search", "dog", "-k", "0"], ["-k 0"]),
        (["search", "dog", "--encoder", "nonsense"], ["nonsense", "builtin"]),
        (["search", "dog", "--encoder", "open_clip:ViT-B-32/openai"], ["made with", "builtin"]),
        (["index", "nowhere"], ["nowhere", "no such file"]),
        (["summarize", "one.mp4", "--seconds", "0"], ["--seconds 0"]),
        (["summarize", "one.mp4", "--seconds", "500"], ["--seconds 500", "12.0 s"]),
        (["summarize", "one.mp4", "--seconds", "-1"], ["--seconds -1"]),
        (["summarize", "one.mp4", "--ratio", "1.5"], ["--ratio 1.5"]),
        (["summarize", "one.mp4", "--seconds", "1", "--ratio", "0.5"], ["one of them"]),
        (["summarize", "three.mp4"], ["three.mp4", "no such video"]),
        (["summarize", "one.mp4", "--out", "/proc/nowhere"], ["/proc/nowhere"]),
        (["status", "--library", "nowhere"], ["nowhere", "no library"]),
        (["search", "dog", "--library", "nowhere"], ["nowhere", "no library"]),
    ],
)
def test_mistakes_are_one_clear_line(library, args, words):
    one_line(vidsift(*args), 2, *words)


def test_an_empty_folder_is_one_clear_line(library, tmp_path):
    one_line(vidsift("index", tmp_path), 2, str(tmp_path), "no video files")


def test_an_unknown_key_is_one_clear_line(home, library, tmp_path):
    one_line(vidsift("status", VIDSIFT_COLOUR="red"), 2, "VIDSIFT_COLOUR", "unknown key")
    lib = tmp_path / "lib"
    lib.mkdir()
    (lib / "vidsift.toml").write_text('sample_rat = 3\nbatch_size = "many"\n')
    done = vidsift("index", home / "videos", "--library", lib)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "sample_rat: unknown key" in done.stderr
    assert "batch_size" in done.stderr


def test_ctrl_c_keeps_the_library_usable(home, tmp_path, make_film):
    import signal
    import time

    make_film(tmp_path / "v" / "long.mp4", [("red", 1500), ("blue", 1500)], size="64x48", rate=25)
    process = subprocess.Popen(
        [sys.executable, "-m", "ui.cli", "index", tmp_path / "v", "--library", tmp_path / "lib"],
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert vidsift("status", "--library", tmp_path / "lib").returncode == 0
