"""`vidsift evaluate` as its user meets it: what goes to stdout, to stderr, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ui.cli import app
from vidsift.errors import VidsiftError


def _vidsift(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ui.cli", *map(str, args)],
        capture_output=True,
        text=True,
        env=os.environ | env,
        timeout=250,
    )


def _run(*args: object) -> Any:
    return CliRunner().invoke(app, [*map(str, args)])


def _jsonl(path: Path, *values: object) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


TRUTH = {"qid": 1, "query": "a", "vid": "v", "duration": 10, "relevant_windows": [[0, 4]],
         "relevant_clip_ids": [0, 1], "saliency_scores": [[4, 4, 4], [2, 2, 2]]}  # fmt: skip
SAID = {"qid": 1, "query": "a", "vid": "v", "pred_relevant_windows": [[0, 4, 1.0]],
        "pred_saliency_scores": [3, 2, 1, 0, 0]}  # fmt: skip


def test_predictions_need_no_library_and_name_what_is_broken(tmp_path: Path) -> None:
    said = _jsonl(tmp_path / "said.jsonl", SAID, {"qid": 2})
    truth = _jsonl(tmp_path / "truth.jsonl", TRUTH, {**TRUTH, "qid": 3})
    done = _vidsift(
        "evaluate", "moments", "--predictions", said, "--truth", truth,
        VIDSIFT_LIBRARY=str(tmp_path / "nowhere"), VIDSIFT_CACHE=str(tmp_path / "cache"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    scores = json.loads(line)
    assert scores["brief"]["MR-full-R1@0.7"] == 100.0
    assert scores["brief"]["HL-min-VeryGood-Hit1"] == 100.0
    assert scores["skipped"]["count"] == 1
    assert f"skipped: {said}:2: has neither" in done.stderr
    assert "1 of 2 annotated queries have no prediction" in done.stderr
    assert not (tmp_path / "cache").exists()


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    said = _jsonl(tmp_path / "said.jsonl", SAID)
    captions = _jsonl(tmp_path / "captions.jsonl", {"video": "a", "text": "b"})
    absent = tmp_path / "absent"
    for arguments, words in (
        (["moments"], "name --captions, or --predictions together with --truth"),
        (["moments", "--predictions", said], "together with --truth"),
        (["moments", "--predictions", said, "--truth", absent], f"{absent}: cannot be read"),
        (["retrieval", "--captions", absent], f"{absent}: cannot be read"),
        (["retrieval", "--captions", captions], "no library here"),
        (["calibration", "--captions", captions, "--format", "coco"], "'coco' is unknown"),
        (["self", "--history"], "no library here"),
    ):
        done = _run("evaluate", *arguments)
        assert isinstance(done.exception, VidsiftError)
        assert words in str(done.exception)
        assert "\n" not in str(done.exception)
    done = _vidsift("evaluate", "retrieval", "--captions", absent)
    assert done.returncode == 2
    assert done.stderr.startswith(f"vidsift: {absent}: cannot be read")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, make_film) -> Path:
    """A library of the built-in encoder, and captions of which some are of no use."""
    root = tmp_path_factory.mktemp("evaluate")
    make_film(root / "videos" / "one.mp4", [("red", 3), ("blue", 3)])
    make_film(root / "videos" / "two.mp4", [("green", 3)])
    make_film(root / "videos" / "three.mp4", [("white", 3)])
    done = _run("--library", root / "library", "index", root / "videos")
    assert done.exit_code == 0, done.output
    _jsonl(
        root / "captions.jsonl",
        {"video": "one.mp4", "text": "a red wall", "start": 0, "end": 3},
        {"video": "two.mp4", "text": "green grass", "start": 0, "end": 3},
        {"video": "gone.mp4", "text": "a dog"},
        {"video": "two.mp4"},
    )
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "baseline"),
    [("retrieval", "chance"), ("moments", "random"), ("calibration", "coin")],
)
def test_captions_are_judged_as_json_and_as_a_table(home: Path, what: str, baseline: str) -> None:
    captions = home / "captions.jsonl"
    command = ["--library", home / "library", "evaluate", what, "--captions", captions]
    done = _run(*command, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["n"] == 2
    assert found["unknown_videos"] == ["gone.mp4"]
    assert found["skipped"] == [f"{captions}:4: has no text"]
    assert "not in the library: gone.mp4" in done.stderr
    assert f"skipped: {captions}:4: has no text" in done.stderr
    table = _run(*command)
    assert table.exit_code == 0, table.output
    assert "2 questions" in table.stdout
    assert baseline in table.stdout


@pytest.mark.slow
def test_self_measures_and_keeps_the_history(home: Path) -> None:
    command = ["--library", home / "library", "evaluate", "self"]
    found = json.loads(_run(*command, "--n", 2, "--json").stdout)
    assert found["cuts"]["n"] == 2
    table = _run(*command, "--n", 1, "--seed", 3)
    assert "R@1 (chance)" in table.stdout
    assert "MB an hour" in table.stdout
    history = json.loads(_run(*command, "--history", "--json").stdout)
    assert [one["seed"] for one in history] == [0, 3]
    lines = _run(*command, "--history").stdout.splitlines()
    assert sum(found["time"][:10] in line for line in lines) == 2
