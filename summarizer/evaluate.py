"""How good summaries are where people have made theirs: `vidsift evaluate summary`.

Any system's scores of the picked frames are put through the protocol of `summary_metrics`, and
beside them what tells whether the figures mean anything: random scores (100 draws), equal scores
(the knapsack then fills up with short shots), and each annotator against the others.

Axes: p picks, u annotators, k systems, v videos, f figures.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float64

from search.metrics import bootstrap_interval
from summarizer.annotated import AnnotatedVideo, Annotations
from summarizer.summary_metrics import (
    Reduction,
    f1_scores,
    frame_scores,
    machine_summary,
    rank_correlations,
    runs_of,
)
from vidsift.errors import AnnotationError

__all__ = ["FIGURES", "Baselines", "SummaryEvaluation", "evaluate_summaries"]

Scores = Float64[np.ndarray, "p"]
FIGURES = ("f1", "kendall", "spearman", "kendall_gtscore", "spearman_gtscore")
_DRAWS = 100
_Figures = Float64[np.ndarray, "f"]


@dataclass(frozen=True)
class Baselines:
    """The same figures for random scores, for equal scores, and for people.

    `random` is the mean of 100 draws and `random_interval95` where 95 % of the draws lie. `human`
    leaves one annotator out after another and takes him for the system; None where there are no
    others, and of gtscore, which all annotators have made.
    """

    random: dict[str, float | None]
    random_interval95: dict[str, tuple[float, float] | None]
    equal: dict[str, float | None]
    human: dict[str, float | None]


@dataclass(frozen=True)
class SummaryEvaluation:
    """Figures over videos, with their 95 % bootstrap intervals over videos, and baselines.

    `f1` is in percent, of each annotator's summary: the `reduction` over annotators, the mean over
    videos. `kendall` and `spearman` are means over annotators of correlations with what each gave
    the frames (`annotators_by` is `user_scores`), or, where the file does not say, with which
    frames his summary shows (`user_summary`). `kendall_gtscore` and `spearman_gtscore` are those
    with the mean importance at the picks. None where nothing is ranked. With splits a figure is the
    mean over splits of the mean over a split's videos, and `splits` has each split's.
    """

    file: str
    what: str
    reduction: Reduction
    videos: int
    annotators: tuple[int, int]
    annotators_by: str
    figures: dict[str, float | None]
    interval95: dict[str, tuple[float, float] | None]
    baselines: Baselines
    per_video: dict[str, dict[str, float | None]] = field(repr=False)
    splits: tuple[dict[str, float | None], ...] = ()
    skipped: tuple[str, ...] = ()


def evaluate_summaries(
    annotations: Annotations,
    scores: Mapping[str, Float[np.ndarray, "..."]],
    *,
    what: str,
    reduction: Reduction,
    splits: Sequence[Sequence[str]] = (),
    seed: int = 0,
    on_progress: Callable[[float], None] = lambda share: None,
) -> SummaryEvaluation:
    """Put scores of the picked frames, by video (its key or name), through the protocol.

    Args:
        what: what the scores are of, for the report.
        reduction: of F1 over annotators: mean (TVSum) or max (SumMe).
        splits: keys of the test videos of each split; none: all videos at once.

    Raises:
        AnnotationError: no video of the file has scores that fit.
    """
    videos, skipped = _with_scores(annotations, scores)
    if splits:
        videos, splits, absent = _in_splits(videos, splits)
        skipped += absent
    if not videos:
        raise AnnotationError(skipped[0] if skipped else f"{annotations.file}: nothing to score")
    rng = np.random.default_rng(seed)
    ours, random, equal, human = [], [], [], []
    for number, (video, own) in enumerate(videos):
        drawn = rng.random((_DRAWS, len(own)))
        found = _figures(video, np.concatenate([own[None], np.ones((1, len(own))), drawn]),
                         reduction)  # fmt: skip
        ours.append(found[0])
        equal.append(found[1])
        random.append(found[2:])
        human.append(_human(video, reduction))
        on_progress((number + 1) / len(videos))

    keys = [video.key for video, _ in videos]
    weights = _weights(keys, splits)
    draws = _weighted_mean(np.array(random), weights)  # (k, f)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    counts = [len(video.user_summary) for video, _ in videos]
    rated = sum(video.user_scores is not None for video, _ in videos)
    return SummaryEvaluation(
        file=str(annotations.file),
        what=what,
        reduction=reduction,
        videos=len(videos),
        annotators=(min(counts), max(counts)),
        annotators_by=_annotators_by(rated, len(videos)),
        figures=_named(_weighted_mean(np.array(ours), weights)),
        interval95=_interval(np.array(ours), weights, seed),
        baselines=Baselines(
            random=_named(draws.mean(axis=0)),
            random_interval95=_named_pairs(low, high),
            equal=_named(_weighted_mean(np.array(equal), weights)),
            human=_named(_weighted_mean(np.array(human), weights)),
        ),
        per_video={key: _named(row) for key, row in zip(keys, ours, strict=True)},
        splits=tuple(
            _named(_weighted_mean(np.array(ours), _weights(keys, [split]))) for split in splits
        ),
        skipped=(*annotations.skipped, *skipped),
    )


def _with_scores(
    annotations: Annotations, scores: Mapping[str, Float[np.ndarray, "..."]]
) -> tuple[list[tuple[AnnotatedVideo, Scores]], list[str]]:
    """The videos that have scores, and of the others why not."""
    videos: list[tuple[AnnotatedVideo, Scores]] = []
    skipped = []
    for video in annotations.videos:
        own = scores.get(video.key, scores.get(video.name))
        place = f"{annotations.file}: {video.key}"
        if own is None:
            skipped.append(f"{place}: no scores are given for it")
        elif own.shape != video.picks.shape:
            skipped.append(
                f"{place}: scores have shape {own.shape}, its picks are {len(video.picks)}"
            )
        elif not np.isfinite(own).all():
            skipped.append(f"{place}: scores hold values that are no numbers")
        else:
            videos.append((video, own.astype(np.float64)))
    return videos, skipped


def _in_splits(
    videos: list[tuple[AnnotatedVideo, Scores]], splits: Sequence[Sequence[str]]
) -> tuple[list[tuple[AnnotatedVideo, Scores]], list[list[str]], list[str]]:
    """The videos that a split names, the splits' videos that are there, and what is not."""
    key_of = {name: video.key for video, _ in videos for name in (video.name, video.key)}
    there = [[key_of[name] for name in split if name in key_of] for split in splits]
    absent = sorted({name for split in splits for name in split} - set(key_of))
    named = {key for split in there for key in split}
    return (
        [(video, own) for video, own in videos if video.key in named],
        [split for split in there if split],
        [f"{name}: a split names it, but it is not there or has no scores" for name in absent],
    )


def _weights(keys: Sequence[str], splits: Sequence[Sequence[str]]) -> Float64[np.ndarray, "v"]:
    """How much each video counts; the sum is 1."""
    place = {key: i for i, key in enumerate(keys)}
    weights = np.zeros(len(keys))
    for split in splits or [keys]:
        for key in split:
            weights[place[key]] += 1 / len(split)
    return np.asarray(weights / weights.sum())


def _figures(
    video: AnnotatedVideo, scores: Float64[np.ndarray, "k p"], reduction: Reduction
) -> Float64[np.ndarray, "k f"]:
    """The figures of one video for each of several systems' scores, in the order of FIGURES."""
    f1 = []
    for row in scores:
        every = frame_scores(row, video.picks, video.num_frames)
        summary = machine_summary(every, video.change_points, video.shot_lengths)
        f1.append(100 * _reduced(f1_scores(summary, video.user_summary), reduction))
    theirs, pick, frames = _ratings(video)
    # Frames before the first pick have no score, which counts as 0.
    shown = np.concatenate([np.zeros((len(scores), 1)), scores], axis=1)[:, pick + 1]
    tau, rho = rank_correlations(shown, theirs, frames)
    at_picks = np.ones(len(video.picks))
    tau_mean, rho_mean = rank_correlations(scores, video.gtscore[None], at_picks)
    return np.stack([f1, _mean(tau), _mean(rho), tau_mean[:, 0], rho_mean[:, 0]], axis=1)


def _ratings(
    video: AnnotatedVideo,
) -> tuple[Float64[np.ndarray, "u r"], np.ndarray, Float64[np.ndarray, "r"]]:
    """What annotators gave each run of alike frames, the pick that it is scored by, its length."""
    theirs = video.user_scores
    if theirs is None:
        theirs = video.user_summary.astype(np.float64)
    if theirs.shape[1] != video.num_frames:
        return theirs, np.arange(len(video.picks)), np.ones(len(video.picks))
    number = np.arange(1, len(video.picks) + 1)
    pick = frame_scores(number.astype(np.float64), video.picks, video.num_frames)
    starts, frames = runs_of(pick, theirs)
    return theirs[:, starts], pick[starts].astype(np.int64) - 1, frames


def _human(video: AnnotatedVideo, reduction: Reduction) -> _Figures:
    """Each annotator in turn as the system, against all the others."""
    summaries = video.user_summary
    found = np.full(len(FIGURES), np.nan)
    if len(summaries) > 1:
        f1 = [
            _reduced(f1_scores(own, np.delete(summaries, i, axis=0)), reduction)
            for i, own in enumerate(summaries)
        ]
        found[0] = 100 * np.mean(f1)
    theirs, _, frames = _ratings(video)
    for place, matrix in enumerate(rank_correlations(theirs, theirs, frames), 1):
        np.fill_diagonal(matrix, np.nan)
        found[place] = _mean(_mean(matrix)[None])[0]
    return found


def _annotators_by(rated: int, videos: int) -> str:
    if rated in (0, videos):
        return "user_scores" if rated else "user_summary"
    return f"user_scores ({rated} videos) and user_summary ({videos - rated})"


def _reduced(values: Float64[np.ndarray, "u"], reduction: Reduction) -> float:
    return float(values.max() if reduction == "max" else values.mean())


def _mean(values: Float64[np.ndarray, "k u"]) -> Float64[np.ndarray, "k"]:
    """The mean of each row, of what is a number in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a row without any: it stays NaN
        return np.asarray(np.nanmean(values, axis=1))


def _weighted_mean(
    values: Float64[np.ndarray, "v *k f"], weights: Float64[np.ndarray, "v"]
) -> Float64[np.ndarray, "*k f"]:
    """The mean over videos, of those whose figure is a number."""
    known = ~np.isnan(values)
    total = np.tensordot(weights, known.astype(np.float64), axes=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.tensordot(weights, np.where(known, values, 0), axes=1) / total)


def _interval(
    values: Float64[np.ndarray, "v f"], weights: Float64[np.ndarray, "v"], seed: int
) -> dict[str, tuple[float, float] | None]:
    interval: dict[str, tuple[float, float] | None] = {}
    for column, name in enumerate(FIGURES):
        known = ~np.isnan(values[:, column])
        if not known.any():
            interval[name] = None
            continue
        share = weights[known] / weights[known].sum() * known.sum()
        low, high = bootstrap_interval((values[known, column] * share)[:, None], seed=seed)
        interval[name] = _rounded(float(low[0])), _rounded(float(high[0]))
    return interval


def _named(row: _Figures) -> dict[str, float | None]:
    return {
        name: None if np.isnan(value) else _rounded(float(value))
        for name, value in zip(FIGURES, row, strict=True)
    }


def _named_pairs(low: _Figures, high: _Figures) -> dict[str, tuple[float, float] | None]:
    return {
        name: None if np.isnan(a) else (_rounded(float(a)), _rounded(float(b)))
        for name, a, b in zip(FIGURES, low, high, strict=True)
    }


def _rounded(value: float) -> float:
    return float(f"{value:.6f}")
