"""Training a saliency on annotated videos: on which features, and how it goes on."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from benchmarks.feature_videos import put_video
from benchmarks.saliency import write_planted
from summarizer.annotated import read_annotated
from summarizer.evaluate import evaluate_summaries
from summarizer.training import train_saliency
from summarizer.training_free import training_free_scores
from vidsift.errors import AnnotationError, SaliencyModelError
from vidsift.library import Library
from vidsift.models.learned_saliency import open_saliency
from vidsift.models.saliency_checkpoint import h5_stamp, read_saliency
from vidsift.models.saliency_training import Recipe

SMALL = Recipe(width=16, heads=2, window=8, epochs=3, batch_size=2, device="cpu")


@pytest.fixture
def file(tmp_path) -> Path:
    write_planted(tmp_path / "planted.h5", 6)
    return tmp_path / "planted.h5"


def same(a: Path, b: Path) -> bool:
    first, second = (read_saliency(path).model.tensors for path in (a, b))
    return all(np.array_equal(first[name], second[name]) for name in first)


def test_training_writes_the_best_and_says_how_good(file, tmp_path):
    steps = []
    report = train_saliency(
        [file], tmp_path / "out" / "mine.safetensors", recipe=SMALL, on_progress=steps.append
    )
    assert report.checkpoint == tmp_path / "out" / "mine.safetensors"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.safetensors"]
    figures = report.figures
    assert (figures["videos"], figures["validation_videos"]) == (5, 1)
    assert figures["trained_on"] == [f"planted/video_{i}" for i in range(1, 7)]
    assert figures["standard_error"] is None  # of one video
    assert -1 <= figures["kendall"] <= 1
    assert {"epoch", "untrained", "recipe"} <= figures.keys()
    assert (steps[-1].done, steps[-1].total) == (9, 9)
    model = open_saliency(str(report.checkpoint), h5_stamp(64))
    video = read_annotated(file).videos[0]
    assert model.scores(video.features, video.pts_seconds).shape == video.picks.shape


def test_a_seed_decides_all(file, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        recipe = Recipe(**{**SMALL.__dict__, "seed": seed})
        train_saliency([file], tmp_path / name, recipe=recipe)
    assert same(tmp_path / "a", tmp_path / "b")
    assert not same(tmp_path / "a", tmp_path / "c")


class _CutOffError(Exception):
    pass


def test_a_run_that_was_cut_off_leaves_a_usable_file_and_ends_as_one_that_was_not(file, tmp_path):
    whole = train_saliency([file], tmp_path / "whole", recipe=SMALL)

    def cut(progress) -> None:
        if progress.epoch == 2 and progress.done == 5:
            raise _CutOffError

    with pytest.raises(_CutOffError):
        train_saliency([file], tmp_path / "cut", recipe=SMALL, on_progress=cut)
    read_saliency(tmp_path / "cut")
    assert (tmp_path / "cut.state").exists()
    other = Recipe(**{**SMALL.__dict__, "seed": 1})
    with pytest.raises(SaliencyModelError, match="other videos or options"):
        train_saliency([file], tmp_path / "cut", recipe=other, resume=True)
    report = train_saliency([file], tmp_path / "cut", recipe=SMALL, resume=True)
    assert same(tmp_path / "whole", tmp_path / "cut")
    assert report.figures == whole.figures
    assert not (tmp_path / "cut.state").exists()
    with pytest.raises(SaliencyModelError, match="leave --resume out"):
        train_saliency([file], tmp_path / "cut", recipe=SMALL, resume=True)


@pytest.mark.slow
def test_what_the_rest_of_a_film_tells_is_learned(tmp_path):
    write_planted(tmp_path / "seen.h5", 56)
    write_planted(tmp_path / "new.h5", 12, seed=1)
    recipe = Recipe(width=32, epochs=14, device="cpu")
    report = train_saliency([tmp_path / "seen.h5"], tmp_path / "mine", recipe=recipe)
    annotations = read_annotated(tmp_path / "new.h5")
    model = open_saliency(str(report.checkpoint), h5_stamp(64))
    trained = {v.key: model.scores(v.features, v.pts_seconds) for v in annotations.videos}
    untrained = {v.key: training_free_scores(v) for v in annotations.videos}
    found, without = (
        evaluate_summaries(annotations, scores, what="", reduction="mean")
        for scores in (trained, untrained)
    )
    assert found.interval95["kendall_gtscore"][0] > 0.15
    assert found.interval95["kendall_gtscore"][0] > without.interval95["kendall_gtscore"][1]
    assert found.interval95["kendall"][0] > found.baselines.random_interval95["kendall"][1]


def test_only_the_named_videos_are_trained_on(file, tmp_path):
    only = [f"video_{i}" for i in (1, 2, 4, 5)]
    report = train_saliency([file], tmp_path / "m", recipe=SMALL, only=only)
    assert report.figures["trained_on"] == [f"planted/{key}" for key in only]
    with pytest.raises(AnnotationError, match="3 videos can be trained on, at least 4"):
        train_saliency([file], tmp_path / "m", recipe=SMALL, only=only[:3])


def test_files_of_other_features_are_refused(file, tmp_path):
    with h5py.File(file, "a") as content:
        features = content["video_2/features"][()]
        del content["video_2/features"]
        content["video_2/features"] = features[:, :32]
    with pytest.raises(AnnotationError, match="32 and 64 dimensions"):
        train_saliency([file], tmp_path / "m", recipe=SMALL)


def test_importance_from_1_to_5_is_brought_to_the_unit_range(file, tmp_path):
    plain = train_saliency([file], tmp_path / "plain", recipe=SMALL)
    with h5py.File(file, "a") as content:
        for video in content.values():
            values = 1 + 4 * video["gtscore"][()]
            del video["gtscore"]
            video["gtscore"] = values
    rated = train_saliency([file], tmp_path / "rated", recipe=SMALL)
    # Ranks are the same; a network that is to reach 5 would end with all scores at 1.
    assert rated.figures["untrained"] == pytest.approx(plain.figures["untrained"])
    video = read_annotated(file).videos[0]
    scores = read_saliency(rated.checkpoint).model.scores(video.features, video.pts_seconds)
    assert scores.mean() < 0.6


@pytest.fixture
def library(colour_library, file) -> Library:
    """A library that has videos 1 to 5 by name, 5 in another length; frames are of 3 dimensions."""
    colour_library.catalog.set_stamp(colour_library.encoder.stamp)
    with h5py.File(file, "a") as content:
        for number, key in enumerate(sorted(content), 1):
            content[f"{key}/video_name"] = np.bytes_(f"film {number}")
            if number == 6:
                continue
            seconds = int(content[f"{key}/n_frames"][()]) / 25 + (30 if number == 5 else 0)
            rng = np.random.default_rng(number)
            frames = np.abs(rng.standard_normal((round(seconds), 3))) + 0.01
            name = f"film {number}"
            put_video(colour_library, name, frames, clip_frames=len(frames), seconds=seconds)
    return colour_library


def test_the_librarys_own_features_are_trained_on(file, library):
    out = library.saliency_models / "mine.safetensors"
    report = train_saliency([file], out, library=library, recipe=SMALL)
    assert report.figures["trained_on"] == [f"planted/video_{i}" for i in (1, 2, 3, 4)]
    assert report.unknown_videos == ("film 6",)
    (line,) = report.skipped
    assert "video_5" in line
    assert "not the same video" in line
    with Library.open(library.root, saliency="mine") as opened:
        assert opened.saliency is not None
        assert opened.saliency.dimension == 3
    with Library.open(library.root) as opened:
        assert opened.saliency is None
    with (
        Library.open(library.root, saliency="yours") as opened,
        pytest.raises(SaliencyModelError, match="known are mine"),
    ):
        _ = opened.saliency


def test_importance_moves_with_time_to_the_librarys_frames(file, library):
    from summarizer.training import _examples

    (first, *_), _, _ = _examples([file], library, None)
    video = read_annotated(file).videos[0]
    # 25 frames a second: pick i at 0.6 i seconds; the library has a frame a second.
    for seconds, importance in zip(first.pts_seconds, first.video.gtscore, strict=True):
        around = video.gtscore[int(seconds / 0.6) :][:2]  # the picks before and after
        assert around.min() - 1e-9 <= importance <= around.max() + 1e-9
    assert len(first.pts_seconds) == pytest.approx(video.num_frames / 25, abs=1)


def test_too_few_videos_in_the_library_are_one_clear_line(file, library):
    with pytest.raises(AnnotationError) as caught:
        train_saliency(
            [file], library.root / "m", library=library, recipe=SMALL,
            only=["video_1", "video_2", "video_6"],
        )  # fmt: skip
    for words in (str(file), "2 videos", "at least 4", "1 are not in", str(library.root)):
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)
