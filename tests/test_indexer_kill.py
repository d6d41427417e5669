"""A sample of benchmarks.kill_trials: kills and errors at points of real writing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kill_stage import Task
from benchmarks.kill_trials import planned, recorded
from benchmarks.write_points import ERRORS, KILLS, PythonPoints

ROOT = Path(__file__).parents[1]


def _tried(out: Path, *arguments: str) -> list[dict[str, Any]]:
    environment = {name: value for name, value in os.environ.items() if "VIDSIFT_" not in name}
    environment["PYTHONPATH"] = str(ROOT)
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.kill_trials", "--out", str(out), *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in (0, 1), run.stderr
    return [json.loads(line) for line in out.read_text().splitlines()]


def _sample(tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    sample = ("--trials", "5", "--errors", "3", "--workers", "1", "--work", str(tmp_path))
    records = _tried(tmp_path / "record.jsonl", *sample, *arguments)
    assert [record["wrong"] for record in records] == [[]] * 8
    return records


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_library_is_whole_whenever_a_system_call_is_the_last(tmp_path: Path) -> None:
    records = _sample(tmp_path, "--scenarios", "changed content")
    assert sum(record["outcome"] == "killed" for record in records) >= 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "server", [False, pytest.param(True, marks=pytest.mark.postgres)], ids=["sqlite", "postgresql"]
)
def test_library_is_whole_whenever_a_step_of_python_is_the_last(
    tmp_path: Path, server: bool
) -> None:
    url = os.environ["VIDSIFT_TEST_POSTGRES_URL"] if server else ""
    records = _sample(tmp_path, "--no-shim", "--scenarios", "upgrade from 0003", "--postgres", url)
    assert {record["backend"] for record in records} >= {"postgresql" if server else "sqlite"}


def test_what_is_on_record_is_not_done_again(tmp_path: Path) -> None:
    points = {"sqlite": PythonPoints()}
    seen = {"sqlite": {"new files": ["open features/a.npy.part", "commit", "committed"]}}
    tasks = planned(points, seen, 10, 10, seed=0)
    assert tasks == planned(points, seen, 10, 10, seed=0)
    kills = [task for task in tasks if task.kind in (*KILLS, "random")]
    assert {task.number for task in kills if task.kind == "before"} == {1, 2, 3}
    assert len(kills) == len(set(map(str, kills))) == 10
    assert {task.kind.removesuffix("+") for task in tasks if task not in kills} == set(ERRORS)
    out = tmp_path / "record.jsonl"
    out.write_text('{"trial": "sqlite/new files/before/1"}\n{"trial": "sqli')
    assert [record["trial"] for record in recorded(out)] == [
        str(Task("sqlite", "new files", "before", 1))
    ]
