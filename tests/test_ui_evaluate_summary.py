"""`vidsift evaluate summary` as its user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from ui.cli import app
from vidsift.errors import VidsiftError
from vidsift.models.saliency_checkpoint import SaliencyCheckpoint, h5_stamp, write_saliency

DIMENSION = 8


def write(file: Path, videos: int = 3, **changes: object) -> Path:
    rng = np.random.default_rng(0)
    with h5py.File(file, "w") as content:
        for number in range(1, videos + 1):
            shots = np.array([[0, 9], [10, 19], [20, 59], [60, 99]])
            video = {
                "features": rng.random((20, DIMENSION)).astype(np.float32),
                "gtscore": rng.random(20),
                "user_summary": rng.random((4, 100)) < 0.15,
                "change_points": shots,
                "n_frames": 100,
                "picks": np.arange(0, 100, 5),
                "n_frame_per_seg": shots[:, 1] - shots[:, 0] + 1,
            }
            for name, value in video.items():
                content[f"video_{number}/{name}"] = value
        for path, value in changes.items():
            del content[path]
            if value is not None:
                content[path] = value
    return file


@pytest.fixture
def file(tmp_path) -> Path:
    return write(tmp_path / "tvsum.h5")


def evaluate(*arguments: object):
    return CliRunner().invoke(app, ["evaluate", "summary", *map(str, arguments)])


def figures(*arguments: object) -> dict:
    done = evaluate(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def checkpoint(file: Path, dimension: int = DIMENSION, **figures: object) -> Path:
    import torch

    from vidsift.models.saliency_network import SaliencyNetwork, model_of

    torch.manual_seed(0)
    model = model_of(SaliencyNetwork(dimension, 8, heads=2, window=4))
    write_saliency(file, SaliencyCheckpoint(model, h5_stamp(dimension), figures))
    return file


def test_a_table_with_random_and_human_beside(file):
    done = evaluate(file)
    assert done.exit_code == 0, done.output
    for words in ("attention, without training: 3 videos, 4 annotators", "F1, %", "Kendall"):
        assert words in done.stdout
    for words in ("random", "human", "the mean over annotators", "no scores by annotator"):
        assert words in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines()[:8])


def test_json_has_every_video_and_baseline(file):
    found = figures(file)
    assert found["videos"] == 3
    assert found["per_video"].keys() == {"video_1", "video_2", "video_3"}
    for part in (found["figures"], found["interval95"], *found["baselines"].values()):
        assert part.keys() == found["figures"].keys()
    assert found["baselines"]["human"]["f1"] is not None


def test_f1_is_by_the_files_name_or_the_metric(file, tmp_path):
    assert figures(file)["reduction"] == "mean"
    assert figures(file, "--metric", "max")["reduction"] == "max"
    assert figures(write(tmp_path / "eccv16_SumMe.h5"))["reduction"] == "max"
    done = evaluate(write(tmp_path / "other.h5"))
    assert "says neither TVSum nor SumMe" in done.stderr


def test_the_annotators_own_scores_are_the_best_there_are(file, tmp_path):
    with h5py.File(file) as content:
        scores = {key: content[key]["gtscore"][()].tolist() for key in content}
    (tmp_path / "s.json").write_text(json.dumps(scores))
    found = figures(file, "--scores", tmp_path / "s.json")
    assert found["what"] == "scores of s.json"
    assert found["figures"]["kendall_gtscore"] == 1
    assert found["figures"]["spearman_gtscore"] == 1


def test_methods_differ(tmp_path):
    # Shots 1, 3 and 4 show the same, shot 2 (as long as shot 1) something of its own: shot 1 stands
    # for most, shot 2 adds the most different.
    kind = np.repeat([0, 1, 0, 0], [2, 2, 8, 8])
    features = np.eye(DIMENSION, dtype=np.float32)[kind]
    unique = (kind == 1).astype(float)
    file = write(
        tmp_path / "tvsum.h5", 1, **{"video_1/features": features, "video_1/gtscore": unique}
    )
    kendall = {
        method: figures(file, "--method", method)["figures"]["kendall_gtscore"]
        for method in ("representativeness", "diversity")
    }
    assert kendall["representativeness"] < kendall["diversity"]
    assert figures(file)["per_video"] == figures(file, "--method", "attention")["per_video"]


def test_a_checkpoint_is_scored_and_says_when_it_has_seen_the_videos(file, tmp_path):
    model = checkpoint(tmp_path / "m.safetensors", trained_on=["tvsum/video_1", "tvsum/video_2"])
    done = evaluate(file, "--saliency", model)
    assert done.exit_code == 0, done.output
    assert "was trained on 2 of the videos" in done.stderr
    (tmp_path / "split.json").write_text(
        json.dumps([{"train_keys": ["video_1", "video_2"], "test_keys": ["video_3"]}])
    )
    done = evaluate(file, "--saliency", model, "--split", tmp_path / "split.json", "--fold", 0)
    assert done.exit_code == 0, done.output
    assert "too good" not in done.stderr
    assert "1 videos" in done.stdout
    assert "split 0: F1" in done.stdout


def test_what_is_left_out_is_named_and_the_rest_scored(tmp_path):
    file = write(tmp_path / "tvsum.h5", **{"video_2/picks": None})
    done = evaluate(file)
    assert done.exit_code == 1
    assert f"skipped: {file}: video_2: lacks the key 'picks'" in done.stderr
    assert "2 videos" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "x", "--scores", "y"], ["one of --scores, --saliency and --method"]),
        (["--method", "guess"], ["--method guess", "attention, representativeness, diversity"]),
        (["--metric", "median"], ["--metric median", "mean, max or auto"]),
        (["--scores", "absent.json"], ["absent.json"]),
        (["--saliency", "absent"], ["'absent' is unknown", "vidsift train saliency"]),
        (["--split", "absent.json"], ["absent.json"]),
        (["--fold", "0"], ["--fold", "--split"]),
    ],
)
def test_mistakes_are_one_clear_line(file, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    done = evaluate(file, *arguments)
    assert isinstance(done.exception, VidsiftError), done.output
    assert "\n" not in str(done.exception)
    for word in words:
        assert word in str(done.exception)


def test_a_checkpoint_of_other_features_is_one_clear_line(file, tmp_path):
    model = checkpoint(tmp_path / "m.safetensors", dimension=DIMENSION + 2)
    done = evaluate(file, "--saliency", model)
    assert "trained on features of 10 dimensions" in str(done.exception)
    assert "not on features of 8 dimensions" in str(done.exception)


@pytest.mark.slow
def test_no_h5_is_exit_2_without_a_traceback(tmp_path):
    (tmp_path / "x.h5").write_text("nothing")
    done = subprocess.run(
        [sys.executable, "-m", "ui.cli", "evaluate", "summary", str(tmp_path / "x.h5")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "is no HDF5 file, or damaged" in done.stderr
