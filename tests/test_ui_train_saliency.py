"""`vidsift train saliency` as its user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest
from typer.testing import CliRunner

from benchmarks.saliency import write_planted
from ui.cli import app
from vidsift.errors import VidsiftError
from vidsift.models.saliency_checkpoint import read_saliency


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("h5") / "tvsum_planted.h5"
    write_planted(path, 6)
    return path


def train(*arguments: object):
    return CliRunner().invoke(app, ["train", "saliency", *map(str, arguments)])


def test_training_says_how_good_and_where_and_is_evaluated(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = train(file, "--epochs", 1)
    assert done.exit_code == 0, done.output
    checkpoint = tmp_path / "tvsum_planted.safetensors"
    assert read_saliency(checkpoint).stamp.name == "h5"
    # One video kept apart proves nothing.
    assert "no better than without training by more than luck" in done.stdout
    for words in ("trained, epoch", "without training", "1 videos kept apart", str(checkpoint)):
        assert words in done.stdout
    scored = CliRunner().invoke(
        app, ["evaluate", "summary", str(file), "--saliency", str(checkpoint), "--json"]
    )
    assert scored.exit_code == 0, scored.output
    assert json.loads(scored.stdout)["figures"]["f1"] is not None
    assert "was trained on 6 of the videos" in scored.stderr


def test_json_holds_the_figures_and_a_split_is_kept_apart(file, tmp_path):
    train_keys = [f"data/tvsum.h5/video_{i}" for i in (1, 2, 3, 4)]
    splits = [{"train_keys": [], "test_keys": []}, {"train_keys": train_keys, "test_keys": []}]
    (tmp_path / "s.json").write_text(json.dumps(splits))
    options = ["--split", tmp_path / "s.json", "--fold", 1, "--out", tmp_path / "m", "--json"]
    done = train(file, "--epochs", 1, *options)
    assert done.exit_code == 0, done.output
    (line,) = done.stdout.splitlines()
    figures = json.loads(line)
    assert figures["checkpoint"] == str(tmp_path / "m")
    assert figures["trained_on"] == [f"tvsum_planted/video_{i}" for i in (1, 2, 3, 4)]
    assert {"kendall", "untrained", "epoch", "epochs", "unknown_videos", "skipped"} <= set(figures)


def test_a_video_that_cannot_be_used_is_named(file, tmp_path):
    broken = tmp_path / "tvsum.h5"
    broken.write_bytes(file.read_bytes())
    with h5py.File(broken, "a") as content:
        del content["video_2/gtscore"]
    done = train(broken, "--epochs", 1, "--out", tmp_path / "m")
    assert done.exit_code == 0, done.output
    assert f"skipped: {broken}: video_2: lacks the key 'gtscore'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--heads", "7"], ["--heads 7", "128"]),
        (["--learning-rate", "0"], ["--learning-rate 0", "greater than 0"]),
        (["--fold", "1"], ["--fold", "--split"]),
        (["--split", "absent.json"], ["absent.json"]),
        (["--resume", "--out", "nothing"], ["nothing.state", "--resume"]),
        (["--out", "/proc/nowhere/m"], ["/proc/nowhere", "--out"]),
        (["--device", "nonsense"], ["nonsense"]),
        (["absent.h5"], ["absent.h5", "no such file"]),
        (["--videos"], ["library"]),
    ],
)
def test_mistakes_are_one_clear_line(file, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    done = train(file, "--epochs", 1, *arguments)
    assert isinstance(done.exception, VidsiftError), done.output
    assert "\n" not in str(done.exception)
    for word in words:
        assert word in str(done.exception)
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_library_without_these_videos_says_so(file, colour_library):
    colour_library.catalog.set_stamp(colour_library.encoder.stamp)
    done = train(file, "--videos", "--library", colour_library.root)
    assert isinstance(done.exception, VidsiftError), done.output
    assert "0 videos can be trained on" in str(done.exception)
    assert f"6 are not in {colour_library.root}" in str(done.exception)


@pytest.mark.slow
def test_ctrl_c_leaves_a_usable_saliency_and_resume_goes_on(file, tmp_path):
    checkpoint = tmp_path / "mine.safetensors"
    command = [sys.executable, "-m", "ui.cli", "train", "saliency", str(file)]
    command += ["--out", str(checkpoint), "--epochs", "100000", "--patience", "100000"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    state = tmp_path / "mine.safetensors.state"
    began = time.monotonic()
    while not state.exists() and time.monotonic() - began < 120:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted; what was finished is kept" in errors
    assert read_saliency(checkpoint).model.dimension == 64
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([checkpoint.name, state.name])
    others = train(file, "--resume", "--out", checkpoint)
    assert "other videos or options" in str(others.exception)
