"""Predictions of moments scored as QVHighlights' public evaluation does, independent of the engine.

The names of the figures are the published ones. Queries that only one of the two files holds are
left out, as there, and counted; what they would cost stands beside.

Axes: q queries, h thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from search.metrics import bootstrap_interval, percent
from search.moment_metrics import (
    HIGHLIGHT_LEVELS,
    LENGTHS,
    MOST_WINDOWS,
    THRESHOLDS,
    average_precisions,
    best_tiou,
    highlight_precision,
    hits_highlight,
)
from search.predictions import MomentPrediction, MomentTruth, read_predictions, read_truth
from vidsift.errors import AnnotationError

__all__ = ["evaluate_predictions"]

_RANDOM_QUERIES = 2000  # few queries are guessed several times, up to so many
_MOST_DRAWS = 20

_Pair = tuple[MomentTruth, MomentPrediction]


def evaluate_predictions(predictions: Path, truth: Path, *, seed: int = 0) -> dict[str, Any]:
    """Everything that `vidsift evaluate moments --predictions` prints.

    The published figures, and beside them: `queries` counted, `n` behind each figure,
    `interval95` (bootstrap over queries), `random` (as many windows of the lengths of the true
    ones and saliencies, both drawn at random), `skipped` lines, and `missing_as_wrong`, the
    figures if queries without a prediction count as wrong; None where there are none.

    Raises:
        AnnotationError: a file cannot be used, or the two share no query.
    """
    said, bad_predictions = read_predictions(predictions)
    true, bad_truth = read_truth(truth)
    said_of = {one.qid: one for one in said}
    pairs = [(one, said_of[one.qid]) for one in true if one.qid in said_of]
    if not pairs:
        raise AnnotationError(
            f"{predictions}: no qid of it is in {truth}; name the annotations of the same split"
        )
    missing = [one for one in true if one.qid not in said_of]
    as_wrong = pairs + [(one, MomentPrediction(one.qid, None, None)) for one in missing]
    known = {one.qid for one in true}
    skipped = bad_predictions + bad_truth
    rows = _Rows.of(pairs)
    values = rows.brief()
    return _figures(rows) | {
        "queries": {
            "annotated": len(true),
            "scored": len(pairs),
            "without_prediction": len(missing),
            "without_annotation": sum(one.qid not in known for one in said),
        },
        "n": {name: len(one) for name, one in values.items()},
        "interval95": {name: _interval(one, seed) for name, one in values.items()},
        "random": _random_brief(pairs, seed),
        "missing_as_wrong": _means(_Rows.of(as_wrong).brief()) if missing else None,
        "skipped": {"count": len(skipped), "lines": skipped},
    }


@dataclass(frozen=True)
class _Rows:
    """What the figures are means of, a row a query.

    `moments` holds for each length of windows the average precisions (q, h) and the tIoU of the
    first window (q,); `highlights` for each level the average precision and the hit, both (q,).
    """

    moments: dict[str, tuple[Float64[np.ndarray, "q h"], Float64[np.ndarray, "q"]]]
    highlights: dict[str, tuple[Float64[np.ndarray, "q"], Float64[np.ndarray, "q"]]]

    @classmethod
    def of(cls, pairs: Sequence[_Pair]) -> _Rows:
        moments, highlights = {}, {}
        if any(prediction.windows is not None for _, prediction in pairs):
            moments = {name: _moment_rows(_of_length(pairs, name)) for name in ("full", *LENGTHS)}
        if any(t.saliency is not None and p.saliency is not None for t, p in pairs):
            highlights = _highlight_rows(pairs)
        return cls(moments, highlights)

    def brief(self) -> dict[str, Float64[np.ndarray, "q"]]:
        """The rows behind each figure of `brief`."""
        rows: dict[str, Float64[np.ndarray, "q"]] = {}
        for name, (precisions, tious) in self.moments.items():
            rows[f"MR-{name}-mAP"] = precisions.mean(axis=1)
            if name == "full":
                for at in (0.5, 0.75):
                    rows[f"MR-full-mAP@{at}"] = precisions[:, THRESHOLDS.index(at)]
                for at in (0.5, 0.7):
                    rows[f"MR-full-R1@{at}"] = (tious >= at).astype(np.float64)
        rows = dict(sorted(rows.items()))
        for level, (precision, hits) in self.highlights.items():
            rows[f"HL-min-{level}-mAP"], rows[f"HL-min-{level}-Hit1"] = precision, hits
        return rows


def _figures(rows: _Rows) -> dict[str, Any]:
    result: dict[str, Any] = {"brief": _means(rows.brief())}
    for name, (precisions, tious) in rows.moments.items():
        result[name] = {
            "MR-mAP": _by_threshold(precisions) | {"average": _mean(precisions.mean(axis=1))},
            "MR-R1": _by_threshold(tious[:, None] >= np.array(THRESHOLDS)),
        }
    for level, (precision, hits) in rows.highlights.items():
        result[f"HL-min-{level}"] = {"HL-mAP": _mean(precision), "HL-Hit1": _mean(hits)}
    return result


def _means(rows: dict[str, Float64[np.ndarray, "q"]]) -> dict[str, float | None]:
    return {name: _mean(values) for name, values in rows.items()}


def _mean(values: Shaped[np.ndarray, "q"]) -> float | None:
    return percent(float(np.mean(values))) if len(values) else None


def _by_threshold(rows: Shaped[np.ndarray, "q h"]) -> dict[str, float | None]:
    return {str(at): _mean(rows[:, h]) for h, at in enumerate(THRESHOLDS)}


def _interval(values: Float64[np.ndarray, "q"], seed: int) -> tuple[float, float] | None:
    if not len(values):
        return None
    low, high = bootstrap_interval(values[:, None], seed=seed)[:, 0]
    return percent(float(low)), percent(float(high))


# Rows from pairs.


def _truth_of_length(truth: MomentTruth, name: str) -> MomentTruth | None:
    """The query with those of its windows that are of this length; None without any."""
    if name == "full":
        return truth
    low, high = LENGTHS[name]
    lengths = truth.windows[:, 1] - truth.windows[:, 0]
    inside = truth.windows[(lengths > low) & (lengths <= high)]
    return MomentTruth(truth.qid, truth.duration, inside, truth.saliency) if len(inside) else None


def _of_length(pairs: Sequence[_Pair], name: str) -> list[_Pair]:
    return [
        (inside, prediction)
        for truth, prediction in pairs
        if (inside := _truth_of_length(truth, name)) is not None
    ]


def _moment_rows(
    pairs: Sequence[_Pair],
) -> tuple[Float64[np.ndarray, "q h"], Float64[np.ndarray, "q"]]:
    """Average precision at each threshold, and tIoU of the first window, of each query."""
    precisions = np.zeros((len(pairs), len(THRESHOLDS)))
    tious = np.zeros(len(pairs))
    for q, (truth, prediction) in enumerate(pairs):
        if prediction.windows is None:
            continue
        spans, scores = prediction.windows[:, :2], prediction.windows[:, 2]
        tious[q] = best_tiou(spans, truth.windows)
        precisions[q] = average_precisions(
            spans[:MOST_WINDOWS], scores[:MOST_WINDOWS], truth.windows
        )
    return precisions, tious


def _highlight_rows(
    pairs: Sequence[_Pair],
) -> dict[str, tuple[Float64[np.ndarray, "q"], Float64[np.ndarray, "q"]]]:
    """For each level of highlights, average precision and hit of each query."""
    rows = {}
    for level, least in HIGHLIGHT_LEVELS.items():
        precision, hits = [], []
        for truth, prediction in pairs:
            if truth.saliency is None:
                continue
            highlight = truth.saliency >= least
            if prediction.saliency is None:
                precision.append(0.0)
                hits.append(0.0)
                continue
            of_each = [highlight_precision(column, prediction.saliency) for column in highlight.T]
            precision.append(float(np.mean(of_each)))
            hits.append(float(hits_highlight(highlight, prediction.saliency)))
        rows[level] = (np.array(precision), np.array(hits))
    return rows


def _random_brief(pairs: Sequence[_Pair], seed: int) -> dict[str, float | None]:
    """What guesses score: windows of the true ones' lengths anywhere, saliencies at random."""
    random = np.random.default_rng(seed)
    lengths = np.concatenate([t.windows[:, 1] - t.windows[:, 0] for t, _ in pairs])
    draws = min(max(1, _RANDOM_QUERIES // len(pairs)), _MOST_DRAWS)
    guesses = []
    for truth, prediction in list(pairs) * draws:
        length = np.minimum(random.choice(lengths, MOST_WINDOWS), truth.duration)
        start = random.uniform(0, 1, MOST_WINDOWS) * (truth.duration - length)
        windows = np.stack([start, start + length, random.uniform(size=MOST_WINDOWS)], axis=1)
        clips = 1 if truth.saliency is None else len(truth.saliency)
        guess = MomentPrediction(
            truth.qid,
            None if prediction.windows is None else windows,
            None if prediction.saliency is None else random.uniform(size=clips),
        )
        guesses.append((truth, guess))
    return _means(_Rows.of(guesses).brief())
