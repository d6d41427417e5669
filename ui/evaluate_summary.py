"""`vidsift evaluate summary`: saliency against people's, by TVSum's and SumMe's protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich import box
from rich.table import Table

from ui.options import JsonOption
from ui.terminal import err, out, print_json
from vidsift.errors import ConfigError
from vidsift.paths import expanded

if TYPE_CHECKING:
    import numpy as np

    from summarizer.annotated import Annotations
    from summarizer.evaluate import SummaryEvaluation
    from summarizer.summary_metrics import Reduction

__all__ = ["summary"]

_NAMED = 20  # videos on stderr; JSON has them all
_ROWS = {
    "f1": "F1, %",
    "kendall": "Kendall",
    "spearman": "Spearman",
    "kendall_gtscore": "Kendall, gtscore",
    "spearman_gtscore": "Spearman, gtscore",
}


def summary(
    file: Annotated[Path, typer.Argument(metavar="FILE.h5", help="TVSum's or SumMe's form")],
    scores: Annotated[
        Path | None,
        typer.Option("--scores", help="Any system's scores at the picks: JSON or h5, by video"),
    ] = None,
    saliency: Annotated[
        str | None, typer.Option("--saliency", help="A checkpoint of `vidsift train saliency`")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", help="attention [default], representativeness or diversity"),
    ] = None,
    metric: Annotated[
        str, typer.Option("--metric", help="F1 over annotators: mean, max, or auto by file name")
    ] = "auto",
    split: Annotated[
        Path | None, typer.Option("--split", help="JSON list of train_keys and test_keys")
    ] = None,
    fold: Annotated[
        int | None, typer.Option("--fold", min=0, help="Only this split of the list, from 0")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of random scores")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Do summaries agree with people's? F1 at 15 %, Kendall, Spearman; random and human beside.

    Scored is vidsift's saliency without training, a checkpoint, or the scores of any system.
    Exit code 1 if some videos were left out; each is named with its reason.
    """
    from summarizer.annotated import read_annotated, read_splits
    from summarizer.evaluate import evaluate_summaries
    from ui.progress import share_shown

    if sum(given is not None for given in (scores, saliency, method)) > 1:
        raise ConfigError("evaluate summary: name one of --scores, --saliency and --method")
    file = expanded(file)
    reduction = _reduction(metric, file)
    tests = []
    if split is not None:
        splits = read_splits(expanded(split))
        if fold is not None and fold >= len(splits):
            raise ConfigError(f"--fold {fold}: {split} has splits 0 to {len(splits) - 1}")
        tests = [one["test_keys"] for one in (splits if fold is None else [splits[fold]])]
    elif fold is not None:
        raise ConfigError("--fold is of --split; name the file of splits too")
    annotations = read_annotated(file)
    what, given = _scores(annotations, scores, saliency, method, tests)
    with share_shown("scoring", file.name, err) as show:
        found = evaluate_summaries(
            annotations,
            given,
            what=what,
            reduction=reduction,
            splits=tests,
            seed=seed,
            on_progress=show,
        )
    for line in found.skipped[:_NAMED]:
        err.print(f"skipped: {line}", style="yellow")
    if len(found.skipped) > _NAMED:
        err.print(f"{len(found.skipped)} skipped (the first {_NAMED} are named)", style="yellow")
    if as_json:
        print_json(asdict(found))
    else:
        _print(found)
    if found.skipped:
        raise typer.Exit(1)


def _reduction(metric: str, file: Path) -> Reduction:
    if metric in ("mean", "max"):
        return cast("Reduction", metric)
    if metric != "auto":
        raise ConfigError(f"--metric {metric}: must be mean, max or auto")
    name = file.name.lower()
    if "summe" in name:
        return "max"
    if "tvsum" not in name:
        err.print(
            "the file's name says neither TVSum nor SumMe: F1 is the mean over annotators;"
            " --metric max takes the best",
            style="yellow",
        )
    return "mean"


def _scores(
    annotations: Annotations,
    scores: Path | None,
    saliency: str | None,
    method: str | None,
    tests: Sequence[Sequence[str]],
) -> tuple[str, Mapping[str, np.ndarray]]:
    """What is scored, in words, and its scores by video."""
    from summarizer.annotated import read_scores
    from summarizer.training_free import METHODS, training_free_scores

    if scores is not None:
        return f"scores of {scores.name}", read_scores(expanded(scores))
    if saliency is not None:
        return f"saliency {saliency}", _checkpoint_scores(annotations, saliency, tests)
    for known in METHODS:
        if known == (method or METHODS[0]):
            return f"{known}, without training", {
                video.key: training_free_scores(video, known) for video in annotations.videos
            }
    raise ConfigError(f"--method {method}: must be one of {', '.join(METHODS)}")


def _checkpoint_scores(
    annotations: Annotations, name: str, tests: Sequence[Sequence[str]]
) -> Mapping[str, np.ndarray]:
    from summarizer.training import trained_name
    from vidsift.models.learned_saliency import open_saliency
    from vidsift.models.saliency_checkpoint import h5_stamp, read_saliency

    stamp = h5_stamp(annotations.videos[0].features.shape[1])
    model = open_saliency(name, stamp)
    seen = set(read_saliency(expanded(name)).figures.get("trained_on", ()))
    tested = {key for test in tests for key in test}
    known = sum(
        trained_name(annotations.file, video) in seen
        and (not tests or bool(tested & {video.key, video.name}))
        for video in annotations.videos
    )
    if known:
        err.print(
            f"{name} was trained on {known} of the videos: figures of those are too good; keep some"
            " apart with --split",
            style="yellow",
        )
    return {
        video.key: model.scores(video.features, video.pts_seconds)
        for video in annotations.videos
        if video.features.shape[1] == model.dimension
    }


def _print(found: SummaryEvaluation) -> None:
    few, many = found.annotators
    people = str(few) if few == many else f"{few} to {many}"
    table = Table(
        *("", "found", "95 %", "random", "95 %", "equal", "human"),
        title=f"{found.what}: {found.videos} videos, {people} annotators",
        title_justify="left",
        box=box.SIMPLE,
        collapse_padding=True,
        pad_edge=False,
    )
    base = found.baselines
    for name, title in _ROWS.items():
        table.add_row(
            title,
            _number(name, found.figures[name]),
            _interval(name, found.interval95[name]),
            _number(name, base.random[name]),
            _interval(name, base.random_interval95[name]),
            _number(name, base.equal[name]),
            _number(name, base.human[name]),
        )
    out.print(table)
    best = "the best annotator" if found.reduction == "max" else "the mean over annotators"
    out.print(
        f"F1 at 15 % of the frames, {best}; Kendall and Spearman with each annotator's"
        f" {_BY.get(found.annotators_by, found.annotators_by)}"
    )
    for number, split in enumerate(found.splits):
        figures = (f"{title} {_number(name, split[name])}" for name, title in _ROWS.items())
        out.print(f"split {number}: {'  '.join(figures)}")


_BY = {
    "user_scores": "scores of the frames",
    "user_summary": "summary (the file has no scores by annotator)",
}


def _number(name: str, value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if name == "f1" else f"{value:.3f}"


def _interval(name: str, interval: tuple[float, float] | None) -> str:
    if interval is None:
        return ""
    digits = 1 if name == "f1" else 2
    return " to ".join(f"{value:.{digits}f}" for value in interval)
