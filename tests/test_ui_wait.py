"""Two commands on one library, as their users meet them: real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from vidsift.library import Library


def _start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ui.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _ended(*arguments: object) -> tuple[int, str]:
    process = _start(*arguments)
    errors = process.communicate(timeout=120)[1]
    assert "Traceback" not in errors
    return process.returncode, errors


@pytest.fixture
def held(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A library, and a process that holds its lock and is killed at the end."""
    Library.open(tmp_path / "library", create=True).close()
    code = f"""
        import time
        from vidsift.library import Library
        with Library.open({str(tmp_path / "library")!r}) as library:
            with library.writing(command="vidsift watch"):
                print("held", flush=True)
                time.sleep(300)
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    yield holder
    holder.kill()
    holder.wait()
    holder.stdout.close()


@pytest.mark.slow
def test_the_second_says_who_writes_and_can_wait(
    held: subprocess.Popen[str], tmp_path: Path, make_film
) -> None:
    make_film(tmp_path / "videos" / "red.mp4", [("red", 2)])
    library = ("--library", tmp_path / "library")
    code, errors = _ended("index", tmp_path / "videos", *library)
    assert code == 2
    assert f"vidsift watch, process {held.pid} on " in errors
    assert "--wait" in errors
    assert _ended("db", "upgrade", *library)[0] == 2
    waiting = _start("index", tmp_path / "videos", "--wait", *library)
    assert waiting.stderr is not None
    said = waiting.stderr.readline()
    while "waiting" not in said:
        assert said, "it ended without waiting"
        said = waiting.stderr.readline()
    assert f"waiting for another vidsift to end: vidsift watch, process {held.pid}" in said
    assert waiting.poll() is None
    held.send_signal(signal.SIGKILL)
    out, _ = waiting.communicate(timeout=200)
    assert waiting.returncode == 0
    assert "1 of 1 videos are searchable" in out


@pytest.mark.slow
def test_ctrl_c_ends_the_waiting(held: subprocess.Popen[str], tmp_path: Path, make_film) -> None:
    make_film(tmp_path / "videos" / "red.mp4", [("red", 2)])
    waiting = _start("index", tmp_path / "videos", "--wait", "--library", tmp_path / "library")
    assert waiting.stderr is not None
    while "waiting" not in (said := waiting.stderr.readline()):
        assert said
    waiting.send_signal(signal.SIGINT)
    errors = waiting.communicate(timeout=60)[1]
    assert waiting.returncode == 130
    assert "Traceback" not in errors
    assert held.poll() is None
    with Library.open(tmp_path / "library") as library:
        assert library.catalog.videos() == []


@pytest.mark.slow
def test_paths_without_videos_leave_no_library_behind(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, why in ((tmp_path / "nope", "no such file"), (tmp_path / "empty", "no video files")):
        code, errors = _ended("index", path, "--library", tmp_path / "library")
        assert code == 2
        assert why in errors
        assert not (tmp_path / "library").exists()


def test_a_lock_of_the_past_is_no_lock(tmp_path: Path) -> None:
    with Library.open(tmp_path / "library", create=True) as library:
        file = library.root / "write.lock"
        file.write_text('{"pid": 1, "host": "elsewhere", "command": "vidsift", "since": 0.0}')
        with library.writing():
            pass
