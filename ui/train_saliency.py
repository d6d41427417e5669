"""`vidsift train saliency`: learn from videos that people have summarised what is important."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ui.options import DeviceOption, JsonOption, LibraryOption, open_library
from ui.terminal import err, out, print_json
from vidsift.errors import ConfigError
from vidsift.paths import expanded

if TYPE_CHECKING:
    from summarizer.training import SaliencyReport, TrainingProgress

__all__ = ["saliency"]

_NAMED = 20  # videos on stderr; JSON has them all


def saliency(
    context: typer.Context,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE.h5...", help="TVSum's or SumMe's form")
    ],
    videos: Annotated[
        bool,
        typer.Option("--videos", help="Train on the library's own features of these videos"),
    ] = False,
    split: Annotated[
        Path | None, typer.Option("--split", help="JSON list of train_keys and test_keys")
    ] = None,
    fold: Annotated[
        int, typer.Option("--fold", min=0, help="Train on this split of the list, from 0")
    ] = 0,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="At most")] = 100,
    patience: Annotated[
        int, typer.Option("--patience", min=1, help="Epochs without a better one before the end")
    ] = 15,
    heads: Annotated[int, typer.Option("--heads", min=1, help="Of attention")] = 4,
    window: Annotated[
        int, typer.Option("--window", min=1, help="Frames that attend to each other as near")
    ] = 64,
    learning_rate: Annotated[float, typer.Option("--learning-rate")] = 1e-3,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    file: Annotated[
        Path | None,
        typer.Option("--out", help="The checkpoint [else FILE.safetensors, here or in LIBRARY]"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it was cut off")] = False,
    device: DeviceOption = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a saliency on annotated videos: how important a frame is, by attention to all others.

    Without --videos it learns from the files' own features, and serves such files alone
    (`vidsift evaluate summary --saliency`). With --videos it learns from the library's features of
    the videos that it has by their names, and can be a term of its summaries (setting `saliency`).
    A fifth of the videos is kept apart to tell when to stop. The file holds the best saliency so
    far at any time: Ctrl-C leaves it usable, and --resume goes on.
    """
    from summarizer.annotated import read_splits
    from summarizer.training import default_checkpoint, train_saliency
    from ui.train import training_bar
    from vidsift.models.saliency_training import Recipe

    if device not in (None, "auto", "cpu", "cuda"):
        raise ConfigError(f"--device {device}: must be auto, cpu or cuda")
    files = [expanded(one).absolute() for one in files]
    only = None
    if split is not None:
        splits = read_splits(expanded(split))
        if fold >= len(splits):
            raise ConfigError(f"--fold {fold}: {split} has splits 0 to {len(splits) - 1}")
        only = splits[fold]["train_keys"]
    elif fold:
        raise ConfigError("--fold is of --split; name the file of splits too")
    with ExitStack() as stack:
        opened = None
        if videos:
            opened = stack.enter_context(open_library(context, library, device=device))
        recipe = Recipe(
            heads=heads,
            window=window,
            epochs=epochs,
            patience=patience,
            learning_rate=learning_rate,
            seed=seed,
            device=opened.settings.device if opened else device or "auto",
        )
        folder = opened.saliency_models if opened else Path.cwd()
        update = stack.enter_context(training_bar("training"))

        def show(progress: TrainingProgress) -> None:
            reached = progress.kendall
            note = "" if reached is None else f"epoch {progress.epoch}  Kendall {reached:.3f}"
            update(completed=progress.done, total=progress.total, note=note)

        report = train_saliency(
            files,
            expanded(file).absolute() if file else default_checkpoint(files, folder),
            library=opened,
            recipe=recipe,
            only=only,
            resume=resume,
            on_progress=show,
        )
    for name in report.unknown_videos[:_NAMED]:
        err.print(f"not in the library: {name}", style="yellow")
    if len(report.unknown_videos) > _NAMED:
        err.print(f"{len(report.unknown_videos)} videos are not in the library", style="yellow")
    for line in report.skipped[:_NAMED]:
        err.print(f"skipped: {line}", style="yellow")
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
    else:
        _print(report, files[0], videos)


def _print(report: SaliencyReport, file: Path, videos: bool) -> None:
    figures = report.figures
    error = figures["standard_error"]
    table = Table("saliency", "Kendall", title="on videos that were kept apart")
    reached = f"{figures['kendall']:.3f}" + ("" if error is None else f" ± {error:.3f}")
    table.add_row(f"trained, epoch {figures['epoch']}", reached)
    table.add_row("without training", f"{figures['untrained']:.3f}")
    table.add_row("random", "0.000")
    out.print(table)
    out.print(
        f"{figures['validation_videos']} videos kept apart; trained on {figures['videos']}"
        f"\n{report.checkpoint}"
    )
    lead = figures["kendall"] - max(figures["untrained"], 0)
    if error is None or lead <= 2 * error:
        out.print(
            "no better than without training by more than luck could do: do not use it, or train"
            " on more videos"
        )
    elif videos:
        name = report.checkpoint.stem
        out.print(f"to use it: saliency = {name!r} in the library's vidsift.toml, or the path")
    else:
        out.print(f"to use it: vidsift evaluate summary {file} --saliency {report.checkpoint}")
