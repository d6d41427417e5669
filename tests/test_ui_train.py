"""`vidsift train pooler` as its user meets it: the built-in encoder, a library, captions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.feature_videos import put_video
from ui.cli import app
from vidsift.errors import VidsiftError
from vidsift.library import Library
from vidsift.models.learned_attention import MultiHeadPool
from vidsift.models.pooler_checkpoint import read_checkpoint

SUBJECTS = ("a dog", "a red car", "the sea", "a cook", "a tall tree", "a piano", "snow", "a clock")
FRAMES = 12


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A library of a video a subject, and captions.jsonl."""
    root = tmp_path_factory.mktemp("train")
    rng = np.random.default_rng(0)
    with Library.open(root / "library", create=True) as library:
        library.catalog.set_stamp(library.encoder.stamp)
        texts = library.encoder.encode_texts(SUBJECTS)
        for i, vector in enumerate(texts):
            frames = vector + 0.1 * rng.standard_normal((FRAMES, len(vector)))
            put_video(library, f"v{i}", frames, clip_frames=FRAMES)
        library.index(write=True)
    lines = [json.dumps({"video": f"v{i}", "text": text}) for i, text in enumerate(SUBJECTS)]
    (root / "captions.jsonl").write_text("\n".join([*lines, '{"video": "elsewhere", "text": "x"}']))
    return root


@pytest.fixture
def library(home, monkeypatch) -> Path:
    monkeypatch.setenv("VIDSIFT_LIBRARY", str(home / "library"))
    return home / "library"


def train(*arguments: object):
    return CliRunner().invoke(app, ["train", "pooler", *map(str, arguments)])


def test_training_says_how_good_and_where(home, library, tmp_path):
    file = tmp_path / "mine.safetensors"
    done = train("--captions", home / "captions.jsonl", "--epochs", 2, "--heads", 4, "--out", file)
    assert done.exit_code == 0, done.output
    assert isinstance(read_checkpoint(file).pool, MultiHeadPool)
    # Two captions prove nothing.
    assert "no better than pooling without training by more than luck" in done.stdout
    for words in ("trained, epoch", "softmax", "chance", "2 captions of 2 videos", str(file)):
        assert words in done.stdout
    assert "1 videos of captions are not in this library: elsewhere" in done.stderr


def test_json_holds_the_figures(home, library, tmp_path):
    file = tmp_path / "mine.safetensors"
    options = ["--kind", "dot", "--epochs", 1, "--out", file, "--json"]
    done = train("--captions", home / "captions.jsonl", *options)
    assert done.exit_code == 0, done.output
    (line,) = done.stdout.splitlines()
    figures = json.loads(line)
    assert figures["checkpoint"] == str(file)
    assert figures["unknown_videos"] == ["elsewhere"]
    assert figures["recipe"]["kind"] == "dot"
    assert {"recall_at_1", "mrr", "chance", "untrained", "epoch", "epochs", "skipped"} <= set(
        figures
    )


def test_a_search_uses_the_trained_pooler(home, library, monkeypatch):
    done = train("--captions", home / "captions.jsonl", "--epochs", 1)
    assert done.exit_code == 0, done.output
    assert (library / "poolers" / "multi-head.safetensors").is_file()
    with Library.open(library, pooler="multi-head") as opened:
        pooler = opened.pooler
    assert isinstance(pooler, MultiHeadPool)
    monkeypatch.setenv("VIDSIFT_POOLER", "multi-head")
    found = CliRunner().invoke(app, ["search", SUBJECTS[2], "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["results"][0]["video"] == "/videos/v2.mp4"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--kind", "nonsense"], ["--kind nonsense", "multi-head"]),
        (["--heads", "7"], ["--heads 7", "384"]),
        (["--kind", "dot", "--heads", "2"], ["multi-head"]),
        (["--learning-rate", "0"], ["--learning-rate", "positive"]),
        (["--format", "nonsense"], ["nonsense", "msrvtt"]),
        (["--resume", "--out", "nothing.safetensors"], ["nothing.safetensors.state", "--resume"]),
        (["--out", "/proc/nowhere/p.safetensors"], ["/proc/nowhere", "--out"]),
        (["--device", "nonsense"], ["device", "cpu"]),
    ],
)
def test_mistakes_are_one_clear_line(home, library, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    done = train("--captions", home / "captions.jsonl", *arguments)
    assert isinstance(done.exception, VidsiftError), done.output
    assert "\n" not in str(done.exception)
    for word in words:
        assert word in str(done.exception)


def test_a_pooler_of_another_encoder_is_one_clear_line(home, library, tmp_path):
    file = tmp_path / "mine.safetensors"
    assert train("--captions", home / "captions.jsonl", "--epochs", 1, "--out", file).exit_code == 0
    content = file.read_bytes().replace(b'\\"name\\": \\"builtin\\"', b'\\"name\\": \\"another\\"')
    file.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "ui.cli", "search", "a dog"],
        capture_output=True,
        text=True,
        env=os.environ | {"VIDSIFT_POOLER": str(file)},
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "trained for encoder 'another', but this library's is 'builtin'" in done.stderr


@pytest.mark.slow
def test_ctrl_c_leaves_a_usable_pooler_and_resume_goes_on(home, library, tmp_path):
    file = tmp_path / "mine.safetensors"
    command = [sys.executable, "-m", "ui.cli", "train", "pooler", "--out", str(file)]
    command += ["--captions", str(home / "captions.jsonl")]
    command += ["--epochs", "100000", "--patience", "100000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    state = tmp_path / "mine.safetensors.state"
    began = time.monotonic()
    while not state.exists() and time.monotonic() - began < 120:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted; what was finished is kept" in errors
    assert isinstance(read_checkpoint(file).pool, MultiHeadPool)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([file.name, state.name])
    others = train("--captions", home / "captions.jsonl", "--resume", "--out", file)
    assert "other captions, videos or options" in str(others.exception)
