"""`vidsift evaluate`: how well a library, or any system's predictions, answer known questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ui.terminal import err, print_json
from vidsift.errors import ConfigError

__all__ = ["evaluate"]

evaluate = typer.Typer(
    help="How well questions with known answers are answered.", no_args_is_help=True
)

_NAMED = 20  # skipped lines on stderr; --json has them all


@evaluate.callback()
def _evaluate() -> None:
    """How well questions with known answers are answered."""


@evaluate.command()
def moments(
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", help="Any system's answers, as QVHighlights' submissions"),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="QVHighlights' annotations for --predictions")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, as --predictions always does")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random baseline")] = 0,
) -> None:
    """Moments: score predictions of any system by QVHighlights' measures.

    --predictions and --truth need no library and no encoder.
    """
    if predictions is None or truth is None:
        raise ConfigError("evaluate moments: name --predictions and --truth")
    _score_predictions(predictions.expanduser(), truth.expanduser(), seed)


def _score_predictions(predictions: Path, truth: Path, seed: int) -> None:
    from search.moment_scores import evaluate_predictions

    scores = evaluate_predictions(predictions, truth, seed=seed)
    print_json(scores)
    _name_skipped(scores["skipped"]["lines"])
    queries = scores["queries"]
    if queries["without_prediction"]:
        err.print(
            f"{queries['without_prediction']} of {queries['annotated']} annotated queries have no"
            " prediction and are left out; missing_as_wrong counts them as wrong",
            style="yellow",
        )
    if queries["without_annotation"]:
        err.print(
            f"{queries['without_annotation']} predictions are of queries that {truth} lacks",
            style="yellow",
        )


def _name_skipped(lines: Sequence[str]) -> None:
    for line in lines[:_NAMED]:
        err.print(f"skipped: {line}", style="yellow")
    if len(lines) > _NAMED:
        err.print(f"and {len(lines) - _NAMED} lines more", style="yellow")
    if lines:
        err.print(f"{len(lines)} lines are skipped, the rest is scored", style="yellow")
