"""The command line as its user meets it: real processes, the built-in encoder, real files."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from scenedetect import open_video  # an independent reader of what we rendered
from typer.testing import CliRunner

from indexer import index_videos
from search import SearchEngine
from ui import terminal
from ui.answers import print_answer
from ui.cli import app
from ui.progress import render_with_progress, share_shown
from ui.report import index_json, print_index, say_if_preparing
from vidsift.library import Library
from vidsift.media.probe import probe
from vidsift.models.encoder import list_encoders
from vidsift.types import Answer


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


def one_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
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


@pytest.mark.parametrize("question", ["[/red]", "[bold]x", "a :dog: [red]"])
def test_questions_and_file_names_are_no_markup(library, tmp_path, question):
    name = "[red] [bold]x :dog:.mp4"
    with Library.open(library) as opened:
        moment = replace(SearchEngine(opened).search("red", 1)[0], video=tmp_path / name)
        for console in (terminal.out, terminal.err):
            with console.capture() as shown:
                print_answer(Answer(question, (moment,), True, True), opened, console)
            assert question in shown.get()
            assert name in shown.get()
    written = io.StringIO()
    screen = Console(
        file=written, force_terminal=True, color_system=None, width=100, markup=False, emoji=False
    )
    with share_shown("rendering", name, screen) as show:
        show(0.5)
    assert name in written.getvalue()
    assert "rendering" in written.getvalue()


def test_the_wait_for_the_models_is_announced_once(library, tmp_path, monkeypatch):
    with Library.open(library, device="cpu") as opened:
        with terminal.err.capture() as shown:
            say_if_preparing(opened)  # the fixture's indexing has prepared them
        assert shown.get() == ""
        monkeypatch.setenv("VIDSIFT_CACHE", str(tmp_path))
        with terminal.err.capture() as shown:
            say_if_preparing(opened)
        assert shown.get().startswith("preparing the models, once")


def test_where_stderr_is_no_terminal_a_line_says_what_has_begun():
    written = io.StringIO()
    with share_shown("rendering", "one.mp4", Console(file=written)) as show:
        show(0.5)
    assert written.getvalue() == "rendering: one.mp4\n"


def test_a_line_that_is_no_utf8_does_not_end_the_stream(library):
    done = subprocess.run(
        [sys.executable, "-m", "ui.cli", "search", "--json", "-k", "1", "-"],
        input=b"red\n\xff\xfe\ngreen\n",
        capture_output=True,
        timeout=60,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["query"] for answer in answers] == ["red", "\ufffd\ufffd", "green"]
    assert done.returncode == 0


def shell(line: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`V` in the line is the command."""
    command = line.replace("V ", f"{sys.executable} -m ui.cli ", 1)
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=os.environ | env, timeout=60
    )


@pytest.mark.parametrize("arguments", ["search x --json", "search x", "status --json", "--help"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_one_clear_line(library, arguments):
    done = shell(f"V {arguments} >/dev/full")
    one_line(done, 2, "No space left on device")
    assert len(done.stderr.splitlines()) == 1
    assert "--help" in arguments or "cannot write the output" in done.stderr


@pytest.mark.parametrize("arguments", ["search x --json", "search x"])
def test_a_reader_that_has_gone_ends_it_quietly(library, arguments):
    done = shell(f"V {arguments} | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, "")


def test_closed_standard_streams(library):
    one_line(shell("V search - <&-"), 2, "standard input is closed")
    assert shell("V search red >&-").returncode == 0


def test_an_encoding_without_the_characters_still_shows_the_answer(library):
    done = shell("V search é", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\xe9" in done.stdout
    assert "one.mp4" in done.stdout
    done = shell("V search é --json", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)["query"] == "é"
    one_line(shell("V status --library é", PYTHONIOENCODING="ascii"), 2, "\\xe9")


def test_a_port_out_of_range_or_taken_is_refused():
    done = CliRunner().invoke(app, ["ui", "--port", "99999"])
    assert (done.exit_code, "65535" in done.output) == (2, True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = vidsift("ui", "--port", port)
    one_line(done, 2, f"port {port}", "--port")
    assert "the page is at" not in done.stderr


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


def test_status_names_a_video_that_lost_its_features(home, tmp_path):
    lib = tmp_path / "lib"
    assert vidsift("index", home / "videos", "--library", lib).returncode == 0
    next((lib / "features").glob("*.npy")).unlink()
    status = json.loads(vidsift("status", "--json", "--library", lib).stdout)
    assert (status["searchable"], status["videos"]) == (1, 2)
    assert status["not_searchable"][0]["status"] == "damaged"
    done = vidsift("search", "red", "--json", "--library", lib)
    assert done.returncode == 0
    assert {result["video"] for result in json.loads(done.stdout)["results"]}
    assert "is not searched" in done.stderr


def test_encoders_are_listed_with_what_they_lack(library):
    done = vidsift("encoders", "--json")
    listed = {status["name"]: status for status in json.loads(done.stdout)}
    assert listed["builtin"]["available"]
    assert all(status["available"] or status["remedy"] for status in listed.values())


def test_what_an_encoder_lacks_comes_out_whole(library):
    shown = CliRunner().invoke(app, ["encoders"], env={"COLUMNS": "80"}).output
    lacking = [status for status in list_encoders() if not status.available]
    for status in lacking:
        assert status.remedy.removeprefix(f"{status.name}: ") in shown
        if status.name in shown and "weights are not" in status.remedy:
            assert f"vidsift encoders --fetch {status.name}" in shown


def test_fetching_opens_the_encoder_and_names_an_unknown_one(library):
    done = vidsift("encoders", "--fetch", "builtin")
    assert done.returncode == 0
    assert "builtin can be used now" in done.stderr
    one_line(vidsift("encoders", "--fetch", "nonsense"), 2, "nonsense", "unknown")


def test_db_upgrade(library):
    done = vidsift("db", "upgrade")
    assert done.returncode == 0
    assert str(library) in done.stdout


def test_index_can_render_at_once(home, tmp_path):
    done = vidsift("index", home / "videos" / "two.mkv", "--render", "--library", tmp_path / "lib")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "lib" / "skims").glob("**/two.summary.mp4"))) == 1


@pytest.mark.slow
def test_a_video_that_cannot_be_rendered_is_named_and_the_rest_go_on(tmp_path, make_film):
    for name in ("a.mp4", "b.mp4"):
        make_film(tmp_path / "v" / name, [("red" if name == "a.mp4" else "blue", 3)])
    with Library.open(tmp_path / "lib", create=True) as opened:
        report = index_videos(opened, [tmp_path / "v"])
        (tmp_path / "v" / "a.mp4").unlink()
        not_rendered = render_with_progress(opened, sorted(report.indexed), terminal.err)
    ((path, reason),) = not_rendered
    assert path == tmp_path / "v" / "a.mp4"
    assert reason.startswith("is gone")
    assert len(list((tmp_path / "lib" / "skims").glob("**/b.summary.mp4"))) == 1
    assert index_json(report, not_rendered, 2, 2)["not_rendered"] == [
        {"path": str(path), "reason": reason}
    ]
    with terminal.err.capture() as shown:
        print_index(report, not_rendered, 2, 2)
    assert f"not rendered: {path}: {reason}" in shown.get()


def test_a_failed_rendering_is_reported_and_exits_with_1(home, tmp_path):
    (tmp_path / "lib").mkdir()
    # Nothing can be rendered into a folder whose place a file takes.
    (tmp_path / "lib" / "skims").write_text("no folder")
    done = vidsift("index", home / "videos" / "two.mkv", "--render", "--library", tmp_path / "lib")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert f"not rendered: {home / 'videos' / 'two.mkv'}: " in done.stderr
    assert "1 indexed" in done.stdout


def test_another_encoder_is_refused_where_nothing_is_new(home, library):
    one_line(vidsift("index", home / "videos", "--encoder", "nonsense"), 2, "nonsense", "builtin")


def test_json_names_absolute_files(home, library, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["summarize", "one.mp4", "--seconds", "1", "--out", "rel", "--json"]
    files = json.loads(CliRunner().invoke(app, command).stdout)["files"]
    assert {Path(file).parent for file in files.values()} == {tmp_path / "rel"}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["search", ""], ["question", "empty"]),
        (["search", "x" * 10_000], ["10,000", "shorten"]),
        (["search", "dog", "-k", "0"], ["-k 0"]),
        (["search", "dog", "--pooler", "nonsense"], ["nonsense", "softmax"]),
        (["search", "dog", "--offset", "-1"], ["--offset -1"]),
        (["search", 'dog -"cat'], ["character 6", "quote"]),
        (["search", "dog vide:x"], ["character 5", "vide:", "video:"]),
        (["search", "video:one"], ["only says which videos"]),
        (["search", "--like", "one@99"], ["one", "99"]),
        (["search", "--like", "~nobody-here/one@1"], ["~nobody-here/one", "no such video"]),
        (["search", "dog video:~nobody-here/one"], ["~nobody-here/one", "no video"]),
        (["search", "dog", "--library", "~nobody-here"], ["~nobody-here", "no library"]),
        (["search", "dog", "--videos", "--like", "one@1"], ["--videos", "--like"]),
        (["search", "dog", "--videos", "--offset", "2"], ["--videos", "--offset"]),
        (["search", "said:good", "--yes", "one@1"], ["feedback", "seen"]),
        (["search", "--like", "two"], ["two", "@"]),
        (["search", "--image", "nowhere.png"], ["nowhere.png"]),
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
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)  # an impatient one must not break the ending
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "vidsift: interrupted; what was finished is kept" in errors
    assert "Traceback" not in errors
    assert vidsift("status", "--library", tmp_path / "lib").returncode == 0
