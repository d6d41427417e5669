"""`vidsift evaluate`: how well a library, or any system's predictions, answer known questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.evaluate_summary import summary
from ui.options import EncoderOption, JsonOption, LibraryOption, open_library
from ui.terminal import err, print_json
from vidsift.errors import ConfigError, StorageError
from vidsift.paths import expanded

if TYPE_CHECKING:
    from search import SearchEngine
    from search.evaluate import Evaluation
    from search.labelled import Labelled

__all__ = ["evaluate"]

evaluate = typer.Typer(
    help="How well questions with known answers are answered.", no_args_is_help=True
)

evaluate.command()(summary)

CaptionsOption = Annotated[
    Path, typer.Option("--captions", help="Captions of the library's videos: JSONL or a known set")
]
FormatOption = Annotated[
    str, typer.Option("--format", help="Of the captions: auto, plain, msrvtt, msvd, didemo ...")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of all that is random")]

_NAMED = 20  # skipped lines and unknown videos on stderr; JSON has them all


@evaluate.callback()
def _evaluate() -> None:
    """How well questions with known answers are answered."""


@evaluate.command()
def retrieval(
    context: typer.Context,
    captions: CaptionsOption,
    captions_format: FormatOption = "auto",
    videos: Annotated[
        bool, typer.Option("--videos", help="Judge the ranking of whole videos, not of moments")
    ] = False,
    seed: SeedOption = 0,
    library: LibraryOption = None,
    encoder: EncoderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Does a caption find its video? R@1/5/10, MedR, MnR, MRR, mAP."""
    from search.evaluate import evaluate_retrieval

    with _asking(context, library, encoder, captions, captions_format) as (engine, labelled, show):
        found = evaluate_retrieval(
            engine, labelled, whole_videos=videos, seed=seed, on_progress=show
        )
    _show(found, as_json)


@evaluate.command()
def moments(
    context: typer.Context,
    captions: Annotated[
        Path | None, typer.Option("--captions", help="Captions with start and end")
    ] = None,
    captions_format: FormatOption = "auto",
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", help="Any system's answers, as QVHighlights' submissions"),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="QVHighlights' annotations for --predictions")
    ] = None,
    seed: SeedOption = 0,
    library: LibraryOption = None,
    encoder: EncoderOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, as --predictions always does")
    ] = False,
) -> None:
    """Is the moment found in its video? R1@tIoU, mIoU, mAP.

    With --predictions and --truth, predictions of any system are scored by QVHighlights' measures;
    that needs no library and no encoder.
    """
    if (predictions is None) != (truth is None) or (predictions is None) == (captions is None):
        raise ConfigError(
            "evaluate moments: name --captions, or --predictions together with --truth"
        )
    if predictions is not None and truth is not None:
        _score_predictions(expanded(predictions), expanded(truth), seed)
    elif captions is not None:
        from search.evaluate import evaluate_moments

        asking = _asking(context, library, encoder, captions, captions_format)
        with asking as (engine, labelled, show):
            found = evaluate_moments(engine, labelled, seed=seed, on_progress=show)
        _show(found, as_json)


@evaluate.command()
def calibration(
    context: typer.Context,
    captions: CaptionsOption,
    captions_format: FormatOption = "auto",
    seed: SeedOption = 0,
    library: LibraryOption = None,
    encoder: EncoderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Can "nothing here matches" be believed? False matches at 1, 5, 10, 20 %, and their cost."""
    from search.calibration import evaluate_calibration
    from ui.evaluation_tables import print_calibration

    with _asking(context, library, encoder, captions, captions_format) as (engine, labelled, show):
        found = evaluate_calibration(engine, labelled, seed=seed, on_progress=show)
    _name_left_out(found.skipped, found.unknown_videos)
    if as_json:
        print_json(asdict(found))
    else:
        print_calibration(found)


@evaluate.command("self")
def of_itself(
    context: typer.Context,
    n: Annotated[int, typer.Option("--n", min=1, help="Subtitle lines and cuts, each")] = 50,
    seed: SeedOption = 0,
    history: Annotated[
        bool, typer.Option("--history", help="Show the measurements so far, make none")
    ] = False,
    library: LibraryOption = None,
    encoder: EncoderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the library on its own content: recall, moment IoU, latency, bytes an hour.

    Subtitle lines and re-encoded cuts of its videos are the questions. Each measurement is kept in
    LIBRARY/evaluations.jsonl.
    """
    from search import SearchEngine
    from search.evaluation_history import append_to_history, read_history
    from search.self_evaluation import evaluate_self
    from ui.evaluation_tables import print_history, print_self
    from ui.progress import share_shown

    if history:
        with open_library(context, library) as opened:
            measured, broken = read_history(opened.root)
        if broken:
            err.print(f"{broken} lines of the history are broken", style="yellow")
        if as_json:
            print_json(measured)
        else:
            print_history(measured)
        return
    with open_library(context, library, encoder=encoder) as opened:
        with share_shown("measuring", str(opened.root), err) as show:
            found = evaluate_self(SearchEngine(opened), n=n, seed=seed, on_progress=show)
        try:
            append_to_history(opened.root, found)
        except StorageError as error:  # a library that may only be read
            err.print(f"the measurement is not kept: {error}", style="yellow")
    _name_left_out(found.skipped, ())
    if as_json:
        print_json(asdict(found))
    else:
        print_self(found)


@contextmanager
def _asking(
    context: typer.Context,
    library: Path | None,
    encoder: str | None,
    captions: Path,
    captions_format: str,
) -> Iterator[tuple[SearchEngine, Labelled, Callable[[float], None]]]:
    """The library's engine, the questions of the captions, and what shows the share asked."""
    from search import SearchEngine
    from search.annotations import read_captions
    from search.labelled import match_captions
    from ui.progress import share_shown

    annotations = read_captions(expanded(captions), captions_format)
    with open_library(context, library, encoder=encoder) as opened:
        labelled = match_captions(opened, annotations)
        with share_shown("asking", f"{len(labelled.queries)} questions", err) as show:
            yield SearchEngine(opened), labelled, show


def _show(found: Evaluation, as_json: bool) -> None:
    from ui.evaluation_tables import print_evaluation

    _name_left_out(found.skipped, found.unknown_videos)
    if as_json:
        print_json(asdict(found))
    else:
        print_evaluation(found)


def _score_predictions(predictions: Path, truth: Path, seed: int) -> None:
    from search.moment_scores import evaluate_predictions

    scores = evaluate_predictions(predictions, truth, seed=seed)
    print_json(scores)
    _name_left_out(scores["skipped"]["lines"], ())
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


def _name_left_out(skipped: Sequence[str], unknown_videos: Sequence[str]) -> None:
    for lines, each, what in (
        (skipped, "skipped", "skipped, the rest is scored"),
        (unknown_videos, "not in the library", "videos that captions name are not in the library"),
    ):
        for line in lines[:_NAMED]:
            err.print(f"{each}: {line}", style="yellow")
        if lines:
            more = f" (the first {_NAMED} are named)" if len(lines) > _NAMED else ""
            err.print(f"{len(lines)} {what}{more}", style="yellow")
