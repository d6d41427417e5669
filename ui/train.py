"""`vidsift train`: what can be trained on the user's own library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.table import Table

from ui.options import DeviceOption, JsonOption, LibraryOption, open_library
from ui.report import say_if_preparing
from ui.terminal import err, out, print_json
from ui.train_saliency import saliency
from vidsift.errors import ConfigError
from vidsift.paths import expanded

if TYPE_CHECKING:
    from search.projection import ProjectionReport
    from search.training import TrainingReport
    from vidsift.models.training_pairs import Kind

__all__ = ["train", "training_bar"]

train = typer.Typer(help="Train on your own annotations.", no_args_is_help=True)

train.command()(saliency)

_KINDS = ("additive", "dot", "multi-head")
_NAMED = 5  # unknown videos, skipped lines


@train.callback()
def _train() -> None:
    """Train on your own annotations."""


@train.command()
def pooler(
    context: typer.Context,
    captions: Annotated[Path, typer.Option("--captions", help="Captions of this library's videos")],
    captions_format: Annotated[
        str, typer.Option("--format", help="Of the captions, as `vidsift evaluate` knows them")
    ] = "auto",
    kind: Annotated[str, typer.Option("--kind", help=", ".join(_KINDS))] = "multi-head",
    heads: Annotated[int, typer.Option("--heads", min=1, help="Of multi-head attention")] = 1,
    positions: Annotated[
        int,
        typer.Option("--positions", min=0, help="Rows of the table of places; 0: order-blind"),
    ] = 0,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="At most")] = 30,
    patience: Annotated[
        int, typer.Option("--patience", min=1, help="Epochs without a better one before the end")
    ] = 5,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=2, help="Captions told apart at once")
    ] = 64,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="At its height")] = 3e-4,
    logit_temperature: Annotated[
        float | None, typer.Option("--logit-temperature", help="Of the loss; else learned")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    file: Annotated[
        Path | None, typer.Option("--out", help="The checkpoint [else LIBRARY/poolers/KIND]")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it was cut off")] = False,
    device: DeviceOption = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a pooler on captions of the library's videos: how frames are weighed for a question.

    A fifth of the videos is kept apart to tell when to stop. The file holds the best pooler so far
    at any time: Ctrl-C leaves it usable, and --resume goes on. It serves only the encoder that it
    was trained for.
    """
    from search.training import TrainingProgress, train_pooler
    from vidsift.models.training_pairs import Recipe

    if kind not in _KINDS:
        raise ConfigError(f"--kind {kind}: must be one of {', '.join(_KINDS)}")
    if not learning_rate > 0 or (logit_temperature is not None and not logit_temperature > 0):
        raise ConfigError("--learning-rate and --logit-temperature are positive")
    with open_library(context, library, device=device) as opened:
        recipe = Recipe(
            kind=cast("Kind", kind),
            heads=heads,
            positions=positions,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            logit_temperature=logit_temperature,
            patience=patience,
            seed=seed,
            device=opened.settings.device,
        )
        say_if_preparing(opened)
        with training_bar("training") as update:

            def show(progress: TrainingProgress) -> None:
                reached = progress.recall_at_1
                note = "" if reached is None else f"epoch {progress.epoch}  R@1 {reached:.3f}"
                update(
                    description=progress.stage,
                    completed=progress.done,
                    total=progress.total,
                    note=note,
                )

            report = train_pooler(
                opened,
                expanded(captions),
                recipe=recipe,
                out=expanded(file).absolute() if file else None,
                format=captions_format,
                resume=resume,
                on_progress=show,
            )
    _say_what_was_left_out(
        ("videos of captions are not in this library", report.unknown_videos),
        ("lines were skipped", report.skipped),
    )
    if as_json:
        print_json(
            {
                "checkpoint": str(report.checkpoint),
                "epochs": report.epochs,
                **report.figures,
                "unknown_videos": list(report.unknown_videos),
                "skipped": list(report.skipped),
            }
        )
        return
    _print(report)


@train.command()
def projection(
    context: typer.Context,
    captions: Annotated[Path, typer.Option("--captions", help="Captions of pictures or videos")],
    file: Annotated[Path, typer.Option("--out", help="The projection, a .safetensors file")],
    pictures: Annotated[
        Path | None,
        typer.Option("--pictures", help="Folder of what captions name [else: the library's]"),
    ] = None,
    captions_format: Annotated[
        str, typer.Option("--format", help="Of the captions, as `vidsift evaluate` knows them")
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which fifth is kept apart")] = 0,
    device: DeviceOption = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a projection for the built-in encoder on captioned pictures, or videos of the library.

    It replaces the one that comes with vidsift: index with --encoder builtin:FILE. A fifth of the
    pictures or videos is kept apart to tell what it is worth.
    """
    from search.projection import ProjectionProgress, train_projection

    with training_bar("training") as update:

        def show(progress: ProjectionProgress) -> None:
            update(description=progress.stage, completed=progress.done, total=progress.total)

        folder = expanded(pictures) if pictures else None
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"--pictures {folder}: is no folder")
        with ExitStack() as stack:
            opened = None
            if folder is None:
                opened = stack.enter_context(open_library(context, library, device=device))
            report = train_projection(
                expanded(captions),
                expanded(file),
                pictures=folder,
                library=opened,
                format=captions_format,
                device=opened.settings.device if opened else device or "auto",
                seed=seed,
                on_progress=show,
            )
    _say_what_was_left_out(
        ("names of captions are not there", report.unknown),
        ("lines and files were skipped", report.skipped),
    )
    if as_json:
        print_json(
            {
                "projection": str(report.file),
                **report.figures,
                "improves": report.improves,
                "unknown": list(report.unknown),
                "skipped": list(report.skipped),
            }
        )
        return
    _print_projection(report)


@contextmanager
def training_bar(what: str) -> Iterator[Any]:
    """A bar on stderr; yields a function that takes the fields to update.

    Where stderr is no terminal there is no bar; one line then says what has begun.
    """
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    if not err.is_terminal:
        err.print(what)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(20),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("at most"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=None, note="")
        yield lambda **fields: bar.update(task, **fields)


def _say_what_was_left_out(*left_out: tuple[str, tuple[str, ...]]) -> None:
    for what, names in left_out:
        if names:
            more = ", ..." if len(names) > _NAMED else ""
            err.print(f"{len(names)} {what}: {', '.join(names[:_NAMED])}{more}")


def _print_projection(report: ProjectionReport) -> None:
    figures = report.figures
    table = Table("encoder", *(f"R@{k}" for k in figures["chance"]), title="on what was kept apart")
    for name, key in (
        ("builtin:conse", "before"),
        ("with the projection", "after"),
        ("chance", "chance"),
    ):
        table.add_row(name, *(f"{value:.3f}" for value in figures[key].values()))
    out.print(table)
    out.print(
        f"{figures['held_captions']} captions of {figures['held_items']} pictures or clips; the"
        f" file is fitted on all {figures['captions']} of {figures['items']}\n{report.file}",
        markup=False,
    )
    if report.improves:
        out.print(f"to use it: vidsift index --encoder builtin:{report.file} ...", markup=False)
    else:
        out.print("no better than without it: do not use it, or train on more captions")


def _print(report: TrainingReport) -> None:
    figures = report.figures
    table = Table("pooler", "R@1", title="on videos that were kept apart")
    reached = f"{figures['recall_at_1']:.3f} ± {figures['standard_error']:.3f}"
    table.add_row(f"trained, epoch {figures['epoch']}", reached)
    for name, value in figures["untrained"].items():
        table.add_row(name, f"{value:.3f}")
    table.add_row("chance", f"{figures['chance']:.3f}")
    out.print(table)
    out.print(
        f"{figures['validation_captions']} captions of {figures['validation_videos']} videos;"
        f" trained on {figures['captions']} of {figures['videos']}\n{report.checkpoint}"
    )
    # The best of many epochs on these very captions: a small lead may be luck.
    lead = figures["recall_at_1"] - max(figures["untrained"].values())
    if lead > 2 * figures["standard_error"]:
        out.print(
            f"to search with it: VIDSIFT_POOLER={report.checkpoint}, or the setting `pooler` in the"
            " library's vidsift.toml"
        )
    else:
        out.print(
            "no better than pooling without training by more than luck could do: keep that, or"
            " train on more captions"
        )
