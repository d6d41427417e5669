"""`vidsift summarize`: what a video, or what answers a question, comes down to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ui.options import JsonOption, LibraryOption, open_library
from ui.report import say_if_preparing
from ui.terminal import err, out, print_json
from vidsift.paths import expanded

__all__ = ["summarize"]


def summarize(
    context: typer.Context,
    video: Annotated[str, typer.Argument(help="Path, file name or id of an indexed video")],
    query: Annotated[str, typer.Option("--query", help="Summarise what answers this")] = "",
    seconds: Annotated[float | None, typer.Option("--seconds", help="Length in seconds")] = None,
    ratio: Annotated[float | None, typer.Option("--ratio", help="Length as a share")] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder for mp4, storyboard and JSON")
    ] = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Summarise a video, or what in it answers a question: mp4 with sound, storyboard, JSON."""
    from search.query import parse_query
    from summarizer import summarize as choose
    from summarizer.render import summary_json
    from ui.progress import write_with_progress
    from vidsift.times import clock

    if folder is not None:
        folder = expanded(folder).absolute()
    with open_library(context, library) as opened:
        record = opened.video(video)
        if query:
            say_if_preparing(opened)
        summary = choose(
            opened, record, parse_query(query) if query else "", seconds=seconds, ratio=ratio
        )
        files = write_with_progress(opened, record, summary, folder, err)
    if as_json:
        print_json(summary_json(record, summary, files))
        return
    table = Table("segment", "saliency", title=f"{record.path.name}  {summary.query}")
    for segment in summary.segments:
        span = segment.span
        table.add_row(f"{clock(span.start)} - {clock(span.end)}", f"{segment.saliency:.4f}")
    out.print(table)
    out.print(
        f"{summary.duration_seconds:.1f} s of {record.duration_seconds:.1f} s\n"
        f"video       {files.video}\nstoryboard  {files.storyboard}\njson        {files.json}",
    )
