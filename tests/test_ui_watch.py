"""`vidsift watch`, `vidsift standing` and `vidsift alerts` from the command line."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ui.cli import app
from vidsift.errors import QueryError, QuestionSyntaxError, VidsiftError
from vidsift.library import Library


def run(*arguments: object, code: int = 0) -> Result:
    done = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def at(tmp_path: Path, colour_encoder, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """`--library DIR`, where there is no library yet."""
    monkeypatch.setattr("vidsift.library.open_encoder", lambda *_, **__: colour_encoder)
    return ("--library", str(tmp_path / "own"))


def test_standing_questions_come_and_go(at: tuple[str, str]) -> None:
    assert (
        "standing question 1: a dog at the door"
        in run("standing", "add", "a dog at the door", *at).stdout
    )
    added = json.loads(
        run("standing", "add", "said:help", "--false-alarm-rate", 0.05, "--json", *at).stdout
    )
    assert (added["question_id"], added["false_alarm_rate"]) == (2, 0.05)
    listed = json.loads(run("standing", "list", "--json", *at).stdout)
    assert [(each["question"], each["false_alarm_rate"]) for each in listed] == [
        ("a dog at the door", 0.01),
        ("said:help", 0.05),
    ]
    assert "1.00%" in run("standing", "list", *at).stdout
    assert json.loads(run("standing", "remove", 1, "--json", *at).stdout) == {"removed": 1}
    assert "2" in run("standing", "remove", 2, *at).stdout
    assert "`vidsift standing add QUESTION` adds one" in run("standing", "list", *at).stdout
    with pytest.raises(QueryError, match="no standing question has the id 2"):
        run("standing", "remove", 2, *at)


def test_questions_that_cannot_stand(at: tuple[str, str]) -> None:
    with pytest.raises(QuestionSyntaxError, match="character 3: expected a closing quote"):
        run("standing", "add", 'a "dog', *at)
    with pytest.raises(QueryError, match="only says which videos"):
        run("standing", "add", "longer:10", *at)
    with pytest.raises(QueryError, match=r"--false-alarm-rate 0: must be from 0\.0035"):
        run("standing", "add", "a dog", "--false-alarm-rate", 0, *at)
    assert not Path(at[1]).exists()


@pytest.mark.slow
def test_matches_are_lines_and_kept(at: tuple[str, str], make_film, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    make_film(folder / "magenta.mp4", [("magenta", 2)])
    run("standing", "add", "magenta", *at)
    (folder / "bad.mp4").touch()
    done = run("watch", folder, "--once", "--interval", 0.1, "--json", *at, code=1)
    [line] = done.stdout.splitlines()
    match = json.loads(line)
    assert (match["question"], match["video"]) == ("magenta", str(folder / "magenta.mp4"))
    assert f"indexed: {folder / 'magenta.mp4'}" in done.stderr
    assert f"skipped: {folder / 'bad.mp4'}: " in done.stderr
    (folder / "bad.mp4").unlink()
    assert run("watch", folder, "--once", "--interval", 0.1, *at).stdout == ""

    [alert] = json.loads(run("alerts", "--json", *at).stdout)
    assert alert | match == alert
    assert (alert["seen"], alert["is_current"], alert["waiting_for"]) == (False, True, [])
    assert "magenta.mp4" in run("alerts", "--since", "2020", "--mark-seen", *at).stdout
    assert "no such alert" in run("alerts", "--unseen", *at).stdout
    assert json.loads(run("alerts", "--since", "2200-01", "--json", *at).stdout) == []
    with pytest.raises(QuestionSyntaxError, match="expected a date such as"):
        run("alerts", "--since", "yesterday", *at)


def test_folders_that_cannot_be_watched(at: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(VidsiftError, match="nowhere: no such folder; name folders to watch"):
        run("watch", tmp_path / "nowhere", "--once", *at)


_WATCH = """
import runpy, sys
sys.path.insert(0, {root!r})
encoder = runpy.run_path({conftest!r})["ColourEncoder"]()
from vidsift import library
library.open_encoder = lambda *_, **__: encoder
from ui.cli import main
sys.argv = {arguments!r}
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(
    at: tuple[str, str], make_film, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    film = make_film(tmp_path / "made.mp4", [("magenta", 2)])
    run("standing", "add", "magenta", *at)
    conftest = Path(__file__).with_name("conftest.py")
    code = _WATCH.format(
        root=str(conftest.parent.parent),
        conftest=str(conftest),
        arguments=["vidsift", "watch", str(folder), "--interval", "0.2", *at],
    )
    watching = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        time.sleep(1)
        shutil.copy(film, folder / "new.mp4")
        assert watching.stdout is not None
        assert "magenta: " in watching.stdout.readline()  # a match is not kept in a buffer
        watching.send_signal(number)
        out, err = watching.communicate(timeout=60)
    finally:
        watching.kill()
        watching.wait()
    assert (watching.returncode, out) == (0, "")
    assert (
        err.splitlines()[-1]
        == "stopped; what was finished is kept, the next run goes on from there"
    )
    with Library.open(at[1]) as library, library.writing():
        assert len(library.catalog.videos("searchable")) == 1
