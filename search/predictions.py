"""Predictions of any system, and the truth, in QVHighlights' own formats: one JSON object a line.

submission  {"qid", "query", "vid", "pred_relevant_windows": [[start, end, score], ...],
             "pred_saliency_scores": [one a clip of 2 s]}
annotation  {"qid", "query", "vid", "duration", "relevant_windows": [[start, end], ...],
             "relevant_clip_ids": [...], "saliency_scores": [[one an annotator], ...]}
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float64

from search.annotations import json_lines, read_text
from search.moment_metrics import CLIP_SECONDS
from vidsift.errors import AnnotationError

__all__ = [
    "MomentPrediction",
    "MomentTruth",
    "read_predictions",
    "read_truth",
]


@dataclass(frozen=True)
class MomentPrediction:
    """What a system says of one query: windows (start, end, score) and a saliency a clip.

    None where the submission has no such field.
    """

    qid: str
    windows: Float64[np.ndarray, "p 3"] | None
    saliency: Float64[np.ndarray, "s"] | None


@dataclass(frozen=True)
class MomentTruth:
    """The true windows of one query in seconds, and each annotator's score of each clip."""

    qid: str
    duration: float
    windows: Float64[np.ndarray, "t 2"]
    saliency: Float64[np.ndarray, "c a"] | None = field(default=None)


_LONGEST_SECONDS = 1e7  # four months; every clip of 2 s has its row

_Read = TypeVar("_Read", MomentPrediction, MomentTruth)


def read_predictions(path: Path) -> tuple[list[MomentPrediction], list[str]]:
    """The predictions of a submission, and its ill-formed lines: `FILE:LINE: reason`.

    Raises:
        AnnotationError: the file cannot be read or holds no prediction.
    """
    return _read(path, _prediction, "prediction")


def read_truth(path: Path) -> tuple[list[MomentTruth], list[str]]:
    """The annotations of a file, and its ill-formed lines: `FILE:LINE: reason`.

    Raises:
        AnnotationError: the file cannot be read or holds no annotation.
    """
    return _read(path, _truth, "annotation")


class _MalformedError(ValueError):
    """A line breaks its format."""


def _read(
    path: Path, parse: Callable[[dict[str, Any]], _Read], what: str
) -> tuple[list[_Read], list[str]]:
    found: dict[str, _Read] = {}
    skipped: list[str] = []
    for number, value in json_lines(path, read_text(path)):
        if isinstance(value, str):
            skipped.append(value)
            continue
        try:
            one = parse(value)
            if one.qid in found:
                raise _MalformedError(f"qid {one.qid} is there already")
            found[one.qid] = one
        except _MalformedError as error:
            skipped.append(f"{path}:{number}: {error}")
    if not found:
        why = f"; {skipped[0]}" if skipped else ""
        raise AnnotationError(f"{path}: holds no {what} in QVHighlights' format{why}")
    return list(found.values()), skipped


def _prediction(value: dict[str, Any]) -> MomentPrediction:
    windows = saliency = None
    if value.get("pred_relevant_windows") is not None:
        windows = _numbers(value, "pred_relevant_windows", 2)
        if windows.size == 0:
            windows = np.zeros((0, 3))
        elif windows.shape[1] == 2:  # without scores they stand best first
            windows = np.c_[windows, -np.arange(len(windows), dtype=np.float64)]
        if windows.shape[1] != 3:
            raise _MalformedError("a window of pred_relevant_windows is [start, end, score]")
    if value.get("pred_saliency_scores") is not None:
        saliency = _numbers(value, "pred_saliency_scores", 1)
        if not len(saliency):
            raise _MalformedError("pred_saliency_scores is empty")
    if windows is None and saliency is None:
        raise _MalformedError("has neither pred_relevant_windows nor pred_saliency_scores")
    return MomentPrediction(_qid(value), windows, saliency)


def _truth(value: dict[str, Any]) -> MomentTruth:
    duration = value.get("duration")
    if (
        isinstance(duration, bool)
        or not isinstance(duration, int | float)
        or not (0 < duration <= _LONGEST_SECONDS)
    ):
        raise _MalformedError(f"duration is no number of seconds: {str(duration)[:40]}")
    windows = _numbers(value, "relevant_windows", 2)
    if windows.size == 0 or windows.shape[1] != 2 or not (windows[:, 0] < windows[:, 1]).all():
        raise _MalformedError("relevant_windows needs at least one [start, end], start before end")
    if windows.min() < 0 or windows[:, 0].max() >= duration:
        raise _MalformedError(f"a window of relevant_windows is outside the {duration} s")
    return MomentTruth(_qid(value), float(duration), windows, _clip_scores(value, float(duration)))


def _clip_scores(value: dict[str, Any], duration: float) -> Float64[np.ndarray, "c a"] | None:
    if value.get("saliency_scores") is None or value.get("relevant_clip_ids") is None:
        return None
    clips = _numbers(value, "relevant_clip_ids", 1)
    scores = _numbers(value, "saliency_scores", 2)
    count = int(duration / CLIP_SECONDS)
    if len(clips) != len(scores) or scores.size == 0:
        raise _MalformedError(f"{len(clips)} relevant_clip_ids have {len(scores)} saliency_scores")
    if (clips != np.floor(clips)).any() or clips.min() < 0 or clips.max() >= count:
        raise _MalformedError(f"relevant_clip_ids must be whole, from 0 to {count - 1}")
    full = np.zeros((count, scores.shape[1]))
    full[clips.astype(np.int64)] = scores
    return full


def _qid(value: dict[str, Any]) -> str:
    qid = value.get("qid")
    if isinstance(qid, bool) or not isinstance(qid, int | str) or qid == "":
        raise _MalformedError(f"qid is neither number nor text: {qid!r:.60}")
    return str(qid)


def _numbers(value: dict[str, Any], key: str, axes: int) -> Float64[np.ndarray, "..."]:
    given = value.get(key)
    try:
        numbers = np.array(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise _MalformedError(f"{key} is no list of numbers, alike in length") from error
    if (numbers.ndim != axes and numbers.size) or not isinstance(given, list):
        raise _MalformedError(f"{key} is no list of numbers, alike in length")
    if not np.isfinite(numbers).all():
        raise _MalformedError(f"{key} holds a number that is not finite")
    return numbers
