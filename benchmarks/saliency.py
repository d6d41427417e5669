"""What training a saliency is worth where the truth is known: Kendall's tau on held-out videos.

Films of shots, each of one of 24 subjects that all films share. There are two kinds of film, told
apart by what a fifth of their shots shows (the pitch, the studio). People care for half of the
other subjects in films of the one kind, and for the other half in films of the other: the same
frame is important in one film and dull in the next. Neither a frame by itself, nor how much of the
film it stands for, nor what is near it tells that; the rest of the film does.
Ten annotators give each frame 1 to 5: its importance with noise of their own. All goes through h5
files in TVSum's form, and figures are those of `vidsift evaluate summary`: five folds, every video
scored by the network that has not seen it.

    python -m benchmarks.saliency [--videos N] [--epochs N] [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool, Float32, Int64

from summarizer.annotated import read_annotated
from summarizer.evaluate import SummaryEvaluation, evaluate_summaries
from summarizer.summary_metrics import frame_scores, machine_summary
from summarizer.training import train_saliency
from summarizer.training_free import METHODS, training_free_scores
from vidsift.models.saliency_checkpoint import read_saliency
from vidsift.models.saliency_training import Recipe

__all__ = ["main", "measured", "write_planted"]

DIMENSION = 64
SUBJECTS = 24
TELLING = 4  # subjects that tell a kind of film: the first of all are of one, the next of the other
NOISE = 0.5  # length of what a frame shows besides its subject, whose length is 1
ANNOTATORS = 10
DISAGREEMENT = 1.0  # deviation of an annotator from the truth, in steps of 1 to 5
PICK = 15  # frames from one pick to the next: 2 a second


def write_planted(file: Path, videos: int, seed: int = 0) -> dict[str, Float32[np.ndarray, "T"]]:
    """Write annotated films as the module says; returns the truth of their picks."""
    pool = np.random.default_rng(0).standard_normal((SUBJECTS, DIMENSION))  # whatever the seed
    pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    rng = np.random.default_rng([1, seed])
    truth = {}
    with h5py.File(file, "w") as content:
        for number in range(videos):
            shots, subjects, cared_for = _film(rng)
            subject, importance = np.repeat(subjects, shots), np.repeat(cared_for, shots)  # (T,)
            agreed = 2 + 2 * importance  # what all would give if they agreed
            truth[f"video_{number + 1}"] = agreed.astype(np.float32)
            noise = rng.standard_normal((len(subject), DIMENSION)) * NOISE / DIMENSION**0.5
            rated = agreed + DISAGREEMENT * rng.standard_normal((ANNOTATORS, len(subject)))
            rated = np.clip(np.round(rated), 1, 5)
            lengths = shots * PICK
            ends = np.cumsum(lengths)
            change_points = np.stack([ends - lengths, ends - 1], axis=1)
            picks = np.arange(len(subject)) * PICK
            summaries = [
                machine_summary(frame_scores(own, picks, int(ends[-1])), change_points, lengths)
                for own in rated
            ]
            for name, value in {
                "features": (pool[subject] + noise).astype(np.float32),
                "gtscore": (rated.mean(axis=0) - 1) / 4,
                "user_scores": np.repeat(rated, PICK, axis=1),
                "user_summary": np.array(summaries, np.float32),
                "change_points": change_points,
                "n_frame_per_seg": lengths,
                "n_frames": int(ends[-1]),
                "picks": picks,
            }.items():
                content[f"video_{number + 1}/{name}"] = value
    return truth


def _film(
    rng: np.random.Generator,
) -> tuple[Int64[np.ndarray, "m"], Int64[np.ndarray, "m"], Bool[np.ndarray, "m"]]:
    """Of each shot the picks that it has, its subject, and whether that is important here."""
    count = int(rng.integers(14, 26))
    kind = int(rng.integers(2))
    rest = np.arange(2 * TELLING, SUBJECTS)
    first, second = np.split(rest, 2)
    own = np.concatenate([rng.choice(group, 4, replace=False) for group in (first, second)])
    telling = kind * TELLING + rng.integers(0, TELLING, count)
    subjects = np.where(rng.random(count) < 0.2, telling, rng.choice(own, count))
    subjects[rng.integers(count)] = telling[0]  # one shot at least tells the kind
    return rng.integers(4, 16, count), subjects, np.isin(subjects, (first, second)[kind])


def measured(
    folder: Path, videos: int, recipe: Recipe, folds: int = 5
) -> dict[str, SummaryEvaluation]:
    """The evaluations of trained and training-free saliency, and of the truth."""
    file = folder / "planted.h5"
    truth = write_planted(file, videos)
    annotations = read_annotated(file)
    trained: dict[str, np.ndarray] = {}
    for fold in range(folds):
        held = annotations.videos[fold::folds]
        seen = {video.key for video in annotations.videos} - {video.key for video in held}
        report = train_saliency([file], folder / f"{fold}.safetensors", recipe=recipe, only=seen)
        model = read_saliency(report.checkpoint).model
        trained |= {video.key: model.scores(video.features, video.pts_seconds) for video in held}
    scores: dict[str, Mapping[str, np.ndarray]] = {"trained": trained}
    for method in METHODS:
        scores[f"{method}, without training"] = {
            video.key: training_free_scores(video, method) for video in annotations.videos
        }
    scores["the truth"] = truth
    return {
        what: evaluate_summaries(annotations, own, what=what, reduction="mean")
        for what, own in scores.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=80)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), arguments.videos, Recipe(width=64, epochs=arguments.epochs))
    seconds = time.perf_counter() - began
    if arguments.json:
        print(json.dumps({what: one.figures for what, one in found.items()}))
        return
    print(f"{arguments.videos} films, 5 folds, {ANNOTATORS} annotators; {seconds:.0f} s in all")
    for what, one in found.items():
        low, high = one.interval95["kendall"] or (0.0, 0.0)
        print(
            f"{what:36}  Kendall {one.figures['kendall']:.3f} [{low:.3f}, {high:.3f}]"
            f"  F1 {one.figures['f1']:.1f}"
        )
    base = found["trained"].baselines
    low, high = base.random_interval95["kendall"] or (0.0, 0.0)
    print(
        f"{'random':36}  Kendall {base.random['kendall']:.3f} [{low:.3f}, {high:.3f}]"
        f"  F1 {base.random['f1']:.1f}"
    )
    print(f"{'human':36}  Kendall {base.human['kendall']:.3f}  F1 {base.human['f1']:.1f}")


if __name__ == "__main__":
    main()
