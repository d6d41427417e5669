"""`vidsift watch`: index what comes into folders, and tell what standing questions find in it."""

from __future__ import annotations

import signal
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ui.options import DeviceOption, EncoderOption, JsonOption, LibraryOption, open_library
from ui.standing import alert_line, local_time
from ui.terminal import err, one_line, out, print_json

if TYPE_CHECKING:
    from indexer import IndexReport
    from vidsift.library import Library
    from vidsift.store.standing import Alert

__all__ = ["watch"]


def watch(
    context: typer.Context,
    folders: Annotated[list[str], typer.Argument(help="Folders, with all that is below them")],
    once: Annotated[
        bool, typer.Option("--once", help="Index and ask what is there, then end")
    ] = False,
    poll: Annotated[
        bool, typer.Option("--poll", help="Look again and again: for network shares")
    ] = False,
    interval: Annotated[
        float,
        typer.Option(
            "--interval",
            min=0.1,
            max=3600,
            metavar="SECONDS",
            help="A file is read when it has stood still so long; with --poll, the time between"
            " two looks",
        ),
    ] = 3.0,
    library: LibraryOption = None,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Index what is in folders and what comes into them, and ask the standing questions of it.

    A match is a line on stdout (with --json, one object), kept for `vidsift alerts` and handed to
    the settings `alert_webhook` and `alert_command`. Ctrl-C ends it; the next run goes on where
    this one ended. With --once, exit code 1 if some files could not be used or alerts handed over.
    """
    from indexer.alerts import alert_json
    from indexer.watch import Listener
    from indexer.watch import watch as watch_folders

    with (
        open_library(context, library, create=True, encoder=encoder, device=device) as opened,
        _ended_by_sigterm(),
    ):

        def alerted(alert: Alert) -> None:
            if as_json:
                print_json(alert_json(opened, alert))
            else:
                out.print(alert_line(alert))

        listener = Listener(say=_say, indexed=_say_report, alerted=alerted)
        try:
            all_well = watch_folders(
                opened,
                folders,
                listener,
                once=once,
                poll=poll,
                interval=interval,
                index=_index,
            )
        except KeyboardInterrupt:
            err.print("stopped; what was finished is kept, the next run goes on from there")
            return
    if not all_well:
        raise typer.Exit(1)


def _index(library: Library, paths: Sequence[Path], *, skip: Collection[Path]) -> IndexReport:
    from indexer import IndexProgress, index_videos
    from ui.progress import share_shown

    names = ", ".join(path.name for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
    with share_shown("indexing", names, err) as show:

        def progress(now: IndexProgress) -> None:
            show(now.done_bytes / max(now.total_bytes, 1))

        return index_videos(library, paths, skip=skip, on_progress=progress)


def _say(text: str) -> None:
    err.print(f"{local_time(time.time())} {one_line(text)}")


def _say_report(report: IndexReport) -> None:
    for path in report.indexed:
        _say(f"indexed: {path}")
    for path, note in report.notes:
        _say(f"note: {path}: {note}")
    for old, new in report.renamed:
        _say(f"renamed: {old} -> {new}")
    for path in report.subtitles:
        _say(f"new subtitles: {path}")
    for path in report.missing:
        _say(f"gone: {path} (kept, not searched)")
    for path, reason in report.failed:
        _say(f"skipped: {path}: {reason}")


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends what is inside as Ctrl-C does."""

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
