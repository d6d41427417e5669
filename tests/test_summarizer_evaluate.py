"""`evaluate summary` on small h5 files whose answers are computed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import stats

from summarizer.annotated import read_annotated, read_scores, read_splits
from summarizer.evaluate import evaluate_summaries
from summarizer.training_free import METHODS, training_free_scores
from vidsift.errors import AnnotationError

# 20 frames, room for int(0.15 * 20) = 3. Frames 0-4 have the first pick's score, 5-9 the second's,
# and so on, so that shots of 3, 3, 4 and 10 frames have the means
#     A 0-2: 0.2    B 3-5: (0.2 + 0.2 + 0.9) / 3 = 0.433    C 6-9: 0.9    D 10-19: 0.25
# C does not fit; B is taken. (Were the last frame of a shot left out, C would last 3 and be taken.)
SCORES = [0.2, 0.9, 0.1, 0.4]
GTSCORE = [0.1, 0.8, 0.2, 0.4]
CHANGE_POINTS = [[0, 2], [3, 5], [6, 9], [10, 19]]


def shows(frames: list[int], count: int = 20) -> np.ndarray:
    summary = np.zeros(count, np.float32)
    summary[frames] = 1
    return summary


# Against frames 3 4 5: two of three (F1 0.667), all (1), none (0).
USERS = np.array([shows([4, 5, 6]), shows([3, 4, 5]), shows([0, 1, 2])])


def by_hand(**changes: object) -> dict[str, object]:
    rng = np.random.default_rng(0)
    video = {
        "features": rng.random((4, 6)).astype(np.float32),
        "gtscore": GTSCORE,
        "user_summary": USERS,
        "change_points": CHANGE_POINTS,
        "n_frames": 20,
        "picks": [0, 5, 10, 15],
        "n_frame_per_seg": [3, 3, 4, 10],
    }
    video |= changes
    return {key: value for key, value in video.items() if value is not None}


def write(file: Path, **videos: dict[str, object]) -> Path:
    with h5py.File(file, "w") as content:
        for key, video in videos.items():
            for name, value in video.items():
                content[f"{key}/{name}"] = value
    return file


def evaluate(file: Path, reduction: str = "mean", scores: object = None, **options: object):
    scores = {"video_1": SCORES} if scores is None else scores
    arrays = {key: np.array(values) for key, values in scores.items()}
    annotations = read_annotated(file)
    return evaluate_summaries(annotations, arrays, what="by hand", reduction=reduction, **options)


def test_figures_by_hand(tmp_path):
    found = evaluate(write(tmp_path / "a.h5", video_1=by_hand()))
    assert found.figures["f1"] == pytest.approx(100 * (2 / 3 + 1 + 0) / 3, abs=1e-5)
    # Of 6 pairs of picks one is in reverse (0.2 0.1 against 0.1 0.2); 1 - 6 * (1 + 1) / (4 * 15).
    assert found.figures["kendall_gtscore"] == pytest.approx(4 / 6, abs=1e-5)
    assert found.figures["spearman_gtscore"] == pytest.approx(0.8, abs=1e-5)
    assert (found.videos, found.annotators) == (1, (3, 3))
    # Equal scores: A and B are worth as much, only one fits, the first is taken: the third
    # annotator's.
    assert found.baselines.equal["f1"] == pytest.approx(100 / 3, abs=1e-5)
    assert found.baselines.equal["kendall"] is None
    # The first two share two of three frames, the third none with anyone: (1/3 + 1/3 + 0) / 3.
    assert found.baselines.human["f1"] == pytest.approx(100 * 2 / 9, abs=1e-5)
    assert found.baselines.human["kendall_gtscore"] is None


def test_summe_takes_the_best_annotator(tmp_path):
    found = evaluate(write(tmp_path / "a.h5", video_1=by_hand()), "max")
    assert found.figures["f1"] == 100
    assert found.baselines.equal["f1"] == 100
    assert found.baselines.human["f1"] == pytest.approx(100 * (2 / 3 + 2 / 3 + 0) / 3, abs=1e-5)


def test_annotators_are_ranked_against_frame_by_frame(tmp_path):
    every = np.repeat(SCORES, 5)
    given = np.array([np.repeat([1, 4, 2, 3], [4, 6, 3, 7]), np.repeat([2, 5, 5, 1], 5)])
    for users, by in ((None, "user_summary"), (given, "user_scores"), (given.T, "user_scores")):
        file = write(tmp_path / "a.h5", video_1=by_hand(user_anno=users))
        found = evaluate(file)
        theirs = USERS if users is None else given
        tau = [stats.kendalltau(-every, -user)[0] for user in theirs]
        rho = [stats.spearmanr(-every, -user)[0] for user in theirs]
        assert found.annotators_by == by
        assert found.figures["kendall"] == pytest.approx(np.mean(tau), abs=1e-6)
        assert found.figures["spearman"] == pytest.approx(np.mean(rho), abs=1e-6)
        if by == "user_scores":
            between = stats.kendalltau(*given)[0]
            assert found.baselines.human["kendall"] == pytest.approx(between, abs=1e-6)
    # Scores that annotators gave the picks alone.
    at_picks = np.array([[1, 4, 2, 3], [2, 5, 5, 1]])
    found = evaluate(write(tmp_path / "a.h5", video_1=by_hand(user_scores=at_picks)))
    tau = [stats.kendalltau(SCORES, user)[0] for user in at_picks]
    assert found.figures["kendall"] == pytest.approx(np.mean(tau), abs=1e-6)


def test_a_greedy_knapsack_would_be_found_out(tmp_path):
    # 40 frames, room for 6. Greed takes the 4 frames worth 0.9 and then nothing fits; the two
    # shots of 3 frames are worth 0.5 + 0.5, and are what the annotator shows.
    video = by_hand(
        user_summary=[shows(list(range(4, 10)), 40)],
        change_points=[[0, 3], [4, 6], [7, 9], [10, 39]],
        n_frames=40,
        picks=[0, 4, 7, 10],
        n_frame_per_seg=[4, 3, 3, 30],
    )
    found = evaluate(
        write(tmp_path / "a.h5", video_1=video), scores={"video_1": [0.9, 0.5, 0.5, 0.1]}
    )
    assert found.figures["f1"] == 100


def test_random_scores_are_beside_with_an_interval(tmp_path):
    found = evaluate(write(tmp_path / "a.h5", video_1=by_hand()))
    base = found.baselines
    # Only A or B can be taken (C and D do not fit), by chance; A is worth 1/3, B 5/9.
    assert 100 / 3 < base.random["f1"] < 100 * 5 / 9
    assert base.random_interval95["f1"] == pytest.approx((100 / 3, 100 * 5 / 9), abs=1e-4)
    low, high = base.random_interval95["kendall_gtscore"]
    assert low < base.random["kendall_gtscore"] < high
    assert evaluate(tmp_path / "a.h5").baselines == base  # the same seed
    assert evaluate(tmp_path / "a.h5", seed=1).baselines.random != base.random


def test_splits_are_averaged_and_the_mean_is_over_splits(tmp_path):
    good, bad = by_hand(), by_hand(user_summary=[shows([0]), shows([1]), shows([2])])
    file = write(tmp_path / "a.h5", video_1=good, video_2=bad, video_3=bad, video_4=good)
    scores = {f"video_{i}": SCORES for i in (1, 2, 3, 4)}
    f1 = 100 * 5 / 9
    assert evaluate(file, scores=scores).figures["f1"] == pytest.approx(f1 / 2, abs=1e-5)
    found = evaluate(file, scores=scores, splits=[["video_1"], ["video_2", "video_3", "video_9"]])
    assert [one["f1"] for one in found.splits] == [pytest.approx(f1, abs=1e-5), 0]
    assert found.figures["f1"] == pytest.approx(f1 / 2, abs=1e-5)
    assert found.videos == 3  # of video_4 no split speaks
    assert found.interval95["f1"][0] <= found.figures["f1"] <= found.interval95["f1"][1]
    (line,) = found.skipped
    assert "video_9" in line


@pytest.mark.parametrize("method", METHODS)
def test_without_training_the_files_features_are_scored(tmp_path, method):
    features = np.zeros((4, 6), np.float32)
    features[[0, 1, 3], [0, 1, 0]] = features[2, 0] = 3.0
    file = write(tmp_path / "a.h5", video_1=by_hand(features=features))
    (video,) = read_annotated(file).videos
    scores = training_free_scores(video, method)
    assert scores.shape == (4,)
    assert np.isfinite(scores).all()
    if method == "diversity":
        # The second pick, in the third shot, is the only one of its kind.
        assert np.argmax(scores) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        *[({key: None}, ["lacks the key", repr(key)]) for key in by_hand()],
        ({"features": np.ones((5, 6))}, ["'features'", "(5, 6)", "(4, any)"]),
        ({"gtscore": [1, 2, 3]}, ["'gtscore'", "(3,)"]),
        ({"user_summary": USERS.T}, ["'user_summary'", "(20, 3)", "(any, 20)"]),
        ({"n_frame_per_seg": [2, 2, 3, 9]}, ["'n_frame_per_seg'", "last - first + 1"]),
        ({"n_frame_per_seg": [3, 3, 4]}, ["'n_frame_per_seg'", "(3,)"]),
        ({"change_points": [[0, 2], [2, 5], [6, 9], [10, 19]]}, ["'change_points'", "in order"]),
        ({"change_points": [[0, 2], [3, 5], [6, 9], [10, 20]]}, ["'change_points'", "below 20"]),
        ({"picks": [0, 5, 5, 15]}, ["'picks'", "ascend"]),
        ({"picks": [0, 5, 10, 21]}, ["'picks'", "20"]),
        ({"picks": [0, 5.5, 10, 15]}, ["'picks'", "whole numbers"]),
        ({"n_frames": 0}, ["'n_frames'"]),
        ({"gtscore": [0.1, np.nan, 0.2, 0.4]}, ["'gtscore'", "no numbers"]),
        ({"gtscore": [b"a", b"b", b"c", b"d"]}, ["'gtscore'", "no numbers"]),
        ({"user_scores": np.ones((3, 7))}, ["'user_scores'", "(3, 7)"]),
    ],
)
def test_a_video_that_cannot_be_used_is_one_line_and_the_others_go_on(tmp_path, changes, words):
    file = write(tmp_path / "a.h5", video_1=by_hand(), video_2=by_hand(**changes))
    found = evaluate(file)
    assert found.videos == 1
    (line,) = found.skipped
    for word in (str(file), "video_2", *words):
        assert word in line
    assert "\n" not in line
    alone = write(tmp_path / "b.h5", video_2=by_hand(**changes))
    with pytest.raises(AnnotationError) as caught:
        read_annotated(alone)
    for word in (str(alone), "video_2", *words):
        assert word in str(caught.value)


def test_files_that_are_no_annotations_are_one_line(tmp_path):
    whole = write(tmp_path / "whole.h5", video_1=by_hand()).read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.h5").write_text("no h5")
    write(tmp_path / "empty.h5")
    write(tmp_path / "flat.h5", **{"": by_hand()})
    for name, words in {
        "cut.h5": "damaged",
        "text.h5": "no HDF5 file",
        "empty.h5": "no videos",
        "flat.h5": "a video has a group of its own",
        "absent.h5": "no such file",
    }.items():
        with pytest.raises(AnnotationError, match=words) as caught:
            read_annotated(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_names_and_order_of_videos(tmp_path):
    named = by_hand(video_name=np.bytes_(b"A film"))
    file = write(tmp_path / "a.h5", video_10=by_hand(), video_9=named)
    videos = read_annotated(file).videos
    assert [(video.key, video.name) for video in videos] == [
        ("video_9", "A film"),
        ("video_10", "video_10"),
    ]
    assert evaluate(file, scores={"A film": SCORES}).per_video.keys() == {"video_9"}


def test_scores_that_do_not_fit_are_named(tmp_path):
    file = write(tmp_path / "a.h5", video_1=by_hand(), video_2=by_hand(), video_3=by_hand())
    given = {"video_1": SCORES, "video_2": SCORES[:3]}
    found = evaluate(file, scores=given)
    assert [line.split(": ")[1] for line in found.skipped] == ["video_2", "video_3"]
    assert "(3,)" in found.skipped[0]
    assert "no scores" in found.skipped[1]
    with pytest.raises(AnnotationError, match="no scores are given"):
        evaluate(file, scores={"video_7": SCORES})


def test_scores_and_splits_are_read(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps({"video_1": SCORES}))
    write(tmp_path / "s.h5", video_1={"scores": SCORES})
    with h5py.File(tmp_path / "flat.h5", "w") as content:
        content["video_1"] = SCORES
    for name in ("s.json", "s.h5", "flat.h5"):
        assert read_scores(tmp_path / name)["video_1"].tolist() == SCORES
    for content, words in (('{"v": ["x"]}', "v: scores"), ("[1]", "an object"), ("{", "no JSON")):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(AnnotationError, match=words):
            read_scores(tmp_path / "bad.json")
    split = {"train_keys": ["../data/tvsum.h5/video_1"], "test_keys": ["video_2"]}
    (tmp_path / "split.json").write_text(json.dumps([split]))
    expected = [{"train_keys": ("video_1",), "test_keys": ("video_2",)}]
    assert read_splits(tmp_path / "split.json") == expected
    (tmp_path / "split.json").write_text('[{"train_keys": []}]')
    with pytest.raises(AnnotationError, match="split 0"):
        read_splits(tmp_path / "split.json")
