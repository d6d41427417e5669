"""`vidsift migrate`: change the encoder; build another space, compare, switch, and switch back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.migrate_report import (
    build_json,
    comparison_json,
    print_build,
    print_comparison,
    print_spaces,
    space_json,
)
from ui.options import DeviceOption, JsonOption, LibraryOption, open_library, say_waiting
from ui.terminal import err, out, print_json
from vidsift.errors import ConfigError

if TYPE_CHECKING:
    from search.compare import Comparison
    from vidsift.library import Library
    from vidsift.store.spaces import Space

__all__ = ["migrate"]


def migrate(
    context: typer.Context,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", help="Build this encoder's space, or which one is meant"),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare both spaces on past questions")
    ] = False,
    questions: Annotated[
        Path | None, typer.Option("--questions", help="Compare on these instead, one a line")
    ] = None,
    switch: Annotated[
        bool, typer.Option("--switch", help="Search the space that was built from now on")
    ] = False,
    without_missing: Annotated[
        bool,
        typer.Option("--without-missing", help="Switch though videos lack: they are left out"),
    ] = False,
    roll_back: Annotated[
        bool, typer.Option("--roll-back", help="Search the space from before the last switch")
    ] = False,
    discard: Annotated[
        bool, typer.Option("--discard", help="Drop the space that is not searched, with its files")
    ] = False,
    library: LibraryOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change the encoder without losing the old one.

    `--encoder X` builds X's space beside the searched one and compares both on the questions that
    were asked; searching and indexing go on meanwhile, and it can be cut off and run again. Then
    `--switch`, and `--roll-back` as long as the old space is not dropped by `--discard`. Without
    options: what spaces there are. Trained poolers and saliencies belong to one encoder.

    Exit code 1 if some videos could not be taken into the space; each is named with its reason.
    """
    actions = {"--compare": compare or questions is not None, "--switch": switch,
               "--roll-back": roll_back, "--discard": discard}  # fmt: skip
    chosen = [name for name, given in actions.items() if given]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} are several commands; give one of them")
    if without_missing and not (switch or roll_back):
        raise ConfigError("--without-missing belongs to --switch or --roll-back")
    with open_library(context, library, device=device) as opened:
        opened.wait_for_writers(0.0, say_waiting)
        match chosen:
            case []:
                if encoder is None:
                    _show_spaces(opened, as_json)
                else:
                    _build(opened, encoder, as_json)
            case ["--compare"]:
                _compare(opened, encoder or "", questions, as_json)
            case ["--discard"]:
                _discard(opened, encoder or "", as_json)
            case _:
                _switch(opened, encoder or "", roll_back, without_missing, as_json)


def _build(library: Library, encoder: str, as_json: bool) -> None:
    from indexer.migrate import MigrateProgress, build_space
    from indexer.switch import find_space
    from search.compare import questions_of
    from ui.progress import share_shown

    with share_shown("migrating", f"to {encoder}", err) as show:

        def progress(done: MigrateProgress) -> None:
            show(min(1.0, done.done_seconds / max(done.total_seconds, 1e-6)))

        report = build_space(library, encoder, on_progress=progress)
    space = find_space(library, report.encoder)
    asked, shipped = questions_of(library)
    compared = _compared(library, space, asked)
    if as_json:
        print_json(build_json(report) | {"comparison": comparison_json(compared, shipped)})
    else:
        print_build(report)
        print_comparison(compared, shipped)
        out.print("search it from now on: vidsift migrate --switch")
    if report.failed:
        raise typer.Exit(1)


def _compare(library: Library, encoder: str, file: Path | None, as_json: bool) -> None:
    from indexer.switch import find_space
    from search.compare import questions_of, read_questions

    space = find_space(library, encoder)
    asked, shipped = (read_questions(file), 0) if file is not None else questions_of(library)
    compared = _compared(library, space, asked)
    if as_json:
        print_json(comparison_json(compared, shipped))
    else:
        print_comparison(compared, shipped)


def _compared(library: Library, space: Space, questions: list[str]) -> Comparison:
    from search.compare import compare_spaces
    from ui.progress import share_shown

    with share_shown("comparing", "asking both spaces", err) as show:
        return compare_spaces(library, space, questions, show)


def _switch(
    library: Library, encoder: str, roll_back: bool, without_missing: bool, as_json: bool
) -> None:
    from indexer.switch import find_space, switch_space

    space = find_space(library, encoder, left=roll_back or (None if encoder else False))
    before = library.catalog.stamp()
    done = switch_space(library, space, without_missing=without_missing)
    left_out = [library.catalog.video(video_id) for video_id in done.left_out]
    paths = [str(video.path) for video in left_out if video is not None]
    name = before.name if before else ""
    if as_json:
        print_json(
            {"searched": space.stamp.name, "kept": name, "left_out": paths, "back": len(done.back)}
        )
        return
    out.print(f"searched from now on: {space.stamp.name}; kept: {name} (--roll-back, --discard)")
    for path in paths:
        out.print(f"left out: {path}")
    if done.back:
        out.print(f"{len(done.back)} videos that were left out are searched again")


def _discard(library: Library, encoder: str, as_json: bool) -> None:
    from indexer.switch import discard_space, find_space

    space = find_space(library, encoder)
    discard_space(library, space)
    if as_json:
        print_json({"discarded": space.stamp.name})
    else:
        out.print(f"dropped the space of {space.stamp.name}")


def _show_spaces(library: Library, as_json: bool) -> None:
    from indexer.switch import space_statuses

    found = space_statuses(library)
    if as_json:
        print_json([space_json(each) for each in found])
        return
    print_spaces(found)
