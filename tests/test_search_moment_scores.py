"""Predictions in QVHighlights' format: figures by hand, what is missing, what is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from search.moment_scores import evaluate_predictions
from vidsift.errors import AnnotationError

# Two queries of ten clips (20 s). The first has a short and a middle window.
TRUTH: list[dict[str, Any]] = [
    {
        "qid": 1,
        "query": "a dog runs",
        "vid": "a_0_20",
        "duration": 20,
        "relevant_windows": [[0, 4], [6, 18]],
        "relevant_clip_ids": [0, 1, 3],
        "saliency_scores": [[4, 2, 0], [3, 2, 0], [2, 1, 0]],
    },
    {
        "qid": 2,
        "query": "a cat sleeps",
        "vid": "b_0_20",
        "duration": 20,
        "relevant_windows": [[10, 20]],
        "relevant_clip_ids": [5],
        "saliency_scores": [[4, 4, 4]],
    },
]
SAID: list[dict[str, Any]] = [
    {
        "qid": 1,
        "query": "a dog runs",
        "vid": "a_0_20",
        # The first of the list is no match of 0.7 ((0, 4) with (0, 6): 4/6), the best by score is.
        "pred_relevant_windows": [[0, 6, 0.5], [6, 18, 0.9], [18, 20, 0.1]],
        "pred_saliency_scores": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    },
    {
        "qid": 2,
        "query": "a cat sleeps",
        "vid": "b_0_20",
        "pred_relevant_windows": [[0, 5, 0.9], [12, 20, 0.8]],
        "pred_saliency_scores": [0, 0, 0, 0, 0, 1, 2, 0, 0, 0],
    },
]


def _jsonl(path: Path, *lines: object) -> Path:
    text = "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines)
    path.write_text(text)
    return path


def _score(folder: Path, said: list[Any] = SAID, truth: list[Any] = TRUTH) -> dict[str, Any]:
    return evaluate_predictions(
        _jsonl(folder / "said.jsonl", *said), _jsonl(folder / "truth.jsonl", *truth)
    )


def test_every_figure_by_hand(tmp_path: Path) -> None:
    scores = _score(tmp_path)
    brief = scores["brief"]
    # Query 1: by score (6, 18) is right at all t; (0, 6) has tIoU 2/3 with (0, 4): right up to
    # 0.65. AP 1 at 4 thresholds, 1/2 at 6. Query 2: (12, 20) has 8/10 as the second: AP 1/2 at 7.
    assert brief["MR-full-mAP@0.5"] == 75.0
    assert brief["MR-full-mAP@0.75"] == 50.0
    assert brief["MR-full-mAP"] == 52.5  # (0.7 + 0.35) / 2
    # First of the list: 2/3 with (0, 4) for query 1; (0, 5) meets nothing for query 2.
    assert brief["MR-full-R1@0.5"] == 50.0
    assert brief["MR-full-R1@0.7"] == 0.0
    # Short: (0, 4) of query 1, found second: 1/2 up to 0.65; (10, 20) of query 2: 0.35.
    assert brief["MR-short-mAP"] == 27.5  # (0.2 + 0.35) / 2
    # Middle: (6, 18) of query 1, found first.
    assert brief["MR-middle-mAP"] == 100.0
    assert brief["MR-long-mAP"] is None
    assert scores["long"]["MR-R1"]["0.5"] is None
    # Fair: query 1 has clips 0, 1, 3 / 0, 1 / none for its annotators: AP (1 + 1 + 3/4) / 3, 1, 0.
    # Query 2: the only clip is ranked second: 1/2 for all three.
    assert brief["HL-min-Fair-mAP"] == pytest.approx(100 * ((11 / 12 + 1) / 3 + 0.5) / 2, abs=0.005)
    # Good: 0, 1 / none / none, AP 1, 0, 0.  VeryGood: 0 / none / none, AP 1, 0, 0.
    assert brief["HL-min-Good-mAP"] == pytest.approx(100 * (1 / 3 + 0.5) / 2, abs=0.005)
    assert brief["HL-min-VeryGood-mAP"] == pytest.approx(100 * (1 / 3 + 0.5) / 2, abs=0.005)
    # Clip 0 is right for query 1, clip 6 wrong for query 2.
    assert [brief[f"HL-min-{level}-Hit1"] for level in ("Fair", "Good", "VeryGood")] == [50.0] * 3


def test_the_layout_is_the_published_one(tmp_path: Path) -> None:
    scores = _score(tmp_path)
    thresholds = ["0.5", "0.55", "0.6", "0.65", "0.7", "0.75", "0.8", "0.85", "0.9", "0.95"]
    for name in ("full", "short", "middle", "long"):
        assert list(scores[name]["MR-R1"]) == thresholds
        assert list(scores[name]["MR-mAP"]) == [*thresholds, "average"]
    assert scores["HL-min-Good"].keys() == {"HL-mAP", "HL-Hit1"}
    assert scores["full"]["MR-mAP"]["average"] == scores["brief"]["MR-full-mAP"]
    assert list(scores["brief"]) == [
        "MR-full-R1@0.5",
        "MR-full-R1@0.7",
        "MR-full-mAP",
        "MR-full-mAP@0.5",
        "MR-full-mAP@0.75",
        "MR-long-mAP",
        "MR-middle-mAP",
        "MR-short-mAP",
        "HL-min-Fair-mAP",
        "HL-min-Fair-Hit1",
        "HL-min-Good-mAP",
        "HL-min-Good-Hit1",
        "HL-min-VeryGood-mAP",
        "HL-min-VeryGood-Hit1",
    ]
    assert scores["brief"].keys() == scores["n"].keys() == scores["random"].keys()
    assert scores["n"]["MR-middle-mAP"] == 1
    low, high = scores["interval95"]["MR-full-mAP"]
    assert low <= scores["brief"]["MR-full-mAP"] <= high
    assert scores["missing_as_wrong"] is None
    json.dumps(scores, allow_nan=False)


def test_the_truth_as_prediction_is_perfect_and_guesses_are_not(tmp_path: Path) -> None:
    said = []
    for one in TRUTH:
        saliency = [0.0] * 10
        for clip, scores in zip(one["relevant_clip_ids"], one["saliency_scores"], strict=True):
            saliency[clip] = sum(scores)
        windows = [[*window, 1.0] for window in one["relevant_windows"]]
        said.append(
            {"qid": one["qid"], "pred_relevant_windows": windows, "pred_saliency_scores": saliency}
        )
    scores = _score(tmp_path, said)
    # Of all lengths; among the short ones the true windows of other lengths are false alarms.
    assert {v for k, v in scores["brief"].items() if k.startswith("MR-full")} == {100.0}
    assert scores["brief"]["HL-min-Fair-Hit1"] == 100.0
    assert scores["random"]["MR-full-R1@0.7"] < 60
    assert scores["random"]["HL-min-Good-Hit1"] < 60


def test_only_ten_windows_count_and_an_empty_list_is_wrong(tmp_path: Path) -> None:
    decoys = [[1, 2, 0.9]] * 10
    late = {**SAID[1], "pred_relevant_windows": [*decoys, [10, 20, 1.0]]}
    assert _score(tmp_path, [late], TRUTH[1:])["brief"]["MR-full-mAP"] == 0.0
    empty = {**SAID[1], "pred_relevant_windows": []}
    scores = _score(tmp_path, [SAID[0], empty])["brief"]
    assert scores["MR-full-R1@0.5"] == 50.0
    assert scores["MR-full-mAP@0.5"] == 50.0


def test_queries_of_one_file_only_are_counted_and_what_they_cost_is_said(tmp_path: Path) -> None:
    scores = _score(tmp_path, [SAID[0], {**SAID[1], "qid": 77}])
    assert scores["queries"] == {
        "annotated": 2,
        "scored": 1,
        "without_prediction": 1,
        "without_annotation": 1,
    }
    assert scores["brief"]["MR-full-mAP"] == 70.0
    assert scores["missing_as_wrong"]["MR-full-mAP"] == 35.0
    assert scores["missing_as_wrong"]["HL-min-Good-Hit1"] == 50.0
    with pytest.raises(AnnotationError, match="no qid of it is in"):
        _score(tmp_path, [{**SAID[1], "qid": 77}])


def test_windows_or_saliencies_may_be_absent(tmp_path: Path) -> None:
    windows = [{k: v for k, v in one.items() if k != "pred_saliency_scores"} for one in SAID]
    assert not any(name.startswith("HL") for name in _score(tmp_path, windows)["brief"])
    saliency = [{k: v for k, v in one.items() if k != "pred_relevant_windows"} for one in SAID]
    scores = _score(tmp_path, saliency)
    assert not any(name.startswith("MR") for name in scores["brief"])
    assert scores["brief"]["HL-min-Fair-Hit1"] == 50.0


BAD_PREDICTIONS = [
    "{broken",
    "[]",
    {"pred_relevant_windows": [[0, 1, 1]]},
    {"qid": 1, "pred_relevant_windows": [[0, 1, 1]], "pred_saliency_scores": []},
    {"qid": 2},
    {"qid": 2, "pred_relevant_windows": [[0, "x", 1]]},
    {"qid": 2, "pred_relevant_windows": [[0, 1, 1], [0, 1]]},
    {"qid": 2, "pred_relevant_windows": [[0]]},
    {"qid": 2, "pred_relevant_windows": {"a": 1}},
    {"qid": True, "pred_relevant_windows": [[0, 1, 1]]},
    '{"qid": 2, "pred_relevant_windows": [[0, NaN, 1]]}',
    {"qid": 2, "pred_saliency_scores": [[1]]},
]


def test_ill_formed_predictions_are_named_and_the_rest_is_scored(tmp_path: Path) -> None:
    scores = _score(tmp_path, [*BAD_PREDICTIONS, *SAID, SAID[0]])
    assert scores["brief"] == _score(tmp_path)["brief"]
    scores = _score(tmp_path, [*BAD_PREDICTIONS, *SAID, SAID[0]])
    lines = scores["skipped"]["lines"]
    assert scores["skipped"]["count"] == len(BAD_PREDICTIONS) + 1
    file = tmp_path / "said.jsonl"
    places = [*range(1, len(BAD_PREDICTIONS) + 1), len(BAD_PREDICTIONS) + 3]
    assert [line.split(": ")[0] for line in lines] == [f"{file}:{place}" for place in places]
    assert "there already" in lines[-1]


@pytest.mark.parametrize(
    "change",
    [
        {"duration": 0},
        {"duration": "20"},
        {"duration": 1e300},
        {"relevant_windows": [[0, 10**400]]},
        {"relevant_windows": []},
        {"relevant_windows": [[5, 5]]},
        {"relevant_windows": [[-1, 5]]},
        {"relevant_windows": [[20, 25]]},
        {"relevant_windows": None},
        {"relevant_clip_ids": [10], "saliency_scores": [[1, 1, 1]]},
        {"relevant_clip_ids": [-1], "saliency_scores": [[1, 1, 1]]},
        {"relevant_clip_ids": [0.5], "saliency_scores": [[1, 1, 1]]},
        {"relevant_clip_ids": [1, 2], "saliency_scores": [[1, 1, 1]]},
        {"saliency_scores": [[1, 1, 1], [1, 1], [1, 1, 1]]},
    ],
)
def test_ill_formed_annotations_are_named_and_the_rest_is_scored(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    scores = _score(tmp_path, SAID, [{**TRUTH[1], **change}, TRUTH[0]])
    assert scores["skipped"]["count"] == 1
    assert scores["skipped"]["lines"][0].startswith(f"{tmp_path / 'truth.jsonl'}:1: ")
    assert scores["brief"]["MR-full-mAP"] == 70.0


def test_files_that_hold_nothing_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="holds no prediction in QVHighlights' format; "):
        _score(tmp_path, ["hello"])
    with pytest.raises(AnnotationError, match="holds no annotation"):
        _score(tmp_path, SAID, ["{}"])
    with pytest.raises(AnnotationError, match="is empty"):
        _score(tmp_path, [])
