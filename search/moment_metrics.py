"""Measures of moments and highlights, as QVHighlights publishes them (Lei et al. 2021).

The definitions are those of its public evaluation; figures agree with it to the last digit:

- R1@t: share of queries whose first predicted window reaches tIoU t with a true window. "First" is
  the first that the prediction lists.
- mAP@t: per query the area under the interpolated precision-recall curve (Pascal VOC 2011) of at
  most 10 windows by score; each true window is found once, by the best window that reaches t. The
  average is over t = 0.5, 0.55 ... 0.95.
- Highlights are the clips of 2 s that an annotator gave a score of at least 2 (Fair), 3 (Good) or 4
  (VeryGood). HL-mAP is the mean over queries and annotators of the average precision of the clips
  by predicted saliency; HL-Hit1 the share of queries whose most salient clip is a highlight for any
  annotator.

Axes: p predicted windows, t true windows, h thresholds, c clips, a annotators.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64

__all__ = [
    "CLIP_SECONDS",
    "HIGHLIGHT_LEVELS",
    "LENGTHS",
    "MOST_WINDOWS",
    "THRESHOLDS",
    "average_precisions",
    "best_tiou",
    "highlight_precision",
    "hits_highlight",
    "tiou_matrix",
]

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
MOST_WINDOWS = 10
CLIP_SECONDS = 2.0
HIGHLIGHT_LEVELS = {"Fair": 2.0, "Good": 3.0, "VeryGood": 4.0}
LENGTHS = {"short": (0.0, 10.0), "middle": (10.0, 30.0), "long": (30.0, 150.0)}  # (low, high]


def tiou_matrix(
    predicted: Float64[np.ndarray, "p 2"], truth: Float64[np.ndarray, "t 2"]
) -> Float64[np.ndarray, "p t"]:
    """tIoU of each predicted with each true window; one of no or negative length has 0."""
    start = np.maximum(predicted[:, None, 0], truth[None, :, 0])  # (p, t)
    end = np.minimum(predicted[:, None, 1], truth[None, :, 1])
    shared = np.clip(end - start, 0, None)
    lengths = (predicted[:, 1] - predicted[:, 0])[:, None] + (truth[:, 1] - truth[:, 0])[None, :]
    union = lengths - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def best_tiou(predicted: Float64[np.ndarray, "p 2"], truth: Float64[np.ndarray, "t 2"]) -> float:
    """The tIoU of the first predicted window with the true window that it fits best."""
    if len(predicted) == 0:
        return 0.0
    return float(tiou_matrix(predicted[:1], truth).max())


def average_precisions(
    predicted: Float64[np.ndarray, "p 2"],
    scores: Float64[np.ndarray, "p"],
    truth: Float64[np.ndarray, "t 2"],
    thresholds: tuple[float, ...] = THRESHOLDS,
) -> Float64[np.ndarray, "h"]:
    """The average precision of one query's windows at each threshold of tIoU, in ascending order.

    Windows are taken by score, of equal ones the first. A window that no free true window matches
    is a false alarm.
    """
    result = np.zeros(len(thresholds))
    if len(predicted) == 0:
        return result
    tious = tiou_matrix(predicted[np.argsort(-scores, kind="stable")], truth)
    # Of true windows that fit equally well the last: so does the published evaluation.
    preferred = np.argsort(tious, axis=1, kind="stable")[:, ::-1]
    # Most windows reach no threshold at all: only pairs that do are looked at again.
    near = [
        (p, [(int(t), float(tious[p, t])) for t in preferred[p] if tious[p, t] >= thresholds[0]])
        for p in np.flatnonzero(tious.max(axis=1) >= thresholds[0])
    ]
    for h, threshold in enumerate(thresholds):
        taken: set[int] = set()
        found = np.zeros(len(predicted))
        for p, matches in near:
            for t, tiou in matches:
                if tiou >= threshold and t not in taken:
                    taken.add(t)
                    found[p] = 1.0
                    break
        if taken:
            result[h] = _interpolated_area(found, len(truth))
    return result


def _interpolated_area(found: Float64[np.ndarray, "p"], num_true: int) -> float:
    true = np.cumsum(found)
    precision = np.r_[0.0, true / np.arange(1, len(found) + 1), 0.0]
    recall = np.r_[0.0, true / num_true, 1.0]
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(np.sum((recall[steps] - recall[steps - 1]) * envelope[steps]))


def highlight_precision(
    highlight: Bool[np.ndarray, "c"], saliency: Float64[np.ndarray, "s"]
) -> float:
    """The average precision of a video's clips by predicted saliency, for one annotator.

    Clips without a prediction have saliency 0, predictions beyond the last clip are dropped. The
    precision is interpolated and averaged over the distinct values of recall, so that clips of
    equal saliency count once. Without highlights it is 0, of highlights alone 1.
    """
    if highlight.all() or not highlight.any():
        return float(highlight.all())
    scores = np.zeros(len(highlight))
    known = min(len(highlight), len(saliency))
    scores[:known] = saliency[:known]
    order = np.argsort(-scores, kind="stable")
    last_of_equal = np.r_[np.flatnonzero(np.diff(scores[order])), len(scores) - 1]
    true = np.cumsum(highlight[order])[last_of_equal]
    # From all clips down to none, where precision is 1 and recall 0.
    precision = np.r_[(true / (last_of_equal + 1))[::-1], 1.0]
    recall = np.r_[(true / true[-1])[::-1], 0.0]
    steps = np.flatnonzero(np.diff(recall))
    return float(np.mean(np.maximum.accumulate(precision)[steps]))


def hits_highlight(highlight: Bool[np.ndarray, "c a"], saliency: Float64[np.ndarray, "s"]) -> bool:
    """Whether the most salient clip, of equal ones the first, is a highlight for any annotator."""
    clip = int(np.argmax(saliency))
    return clip < len(highlight) and bool(highlight[clip].any())
