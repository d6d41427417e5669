"""`vidsift chapters`: a whole video divided and titled."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ui.options import JsonOption, LibraryOption, open_library
from ui.report import say_if_preparing
from ui.terminal import err, out, print_json
from vidsift.paths import expanded

__all__ = ["chapters"]

_LEAST_ON_YOUTUBE = 3


class ChapterFormat(StrEnum):
    """The names of summarizer.chapter_files, which costs too much to import for --help."""

    FFMETADATA = "ffmetadata"
    VTT = "vtt"
    YOUTUBE = "youtube"


def chapters(
    context: typer.Context,
    video: Annotated[str, typer.Argument(help="Path, file name or id of an indexed video")],
    format_: Annotated[
        ChapterFormat | None,
        typer.Option(
            "--format",
            help="ffmetadata (for ffmpeg -map_chapters), vtt (WebVTT) or youtube (lines); with"
            " --out ffmetadata if none is named",
        ),
    ] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write there, not to stdout")
    ] = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Divide a video into chapters, titled by what is said or seen in them."""
    from summarizer.chapter_files import CHAPTER_FORMATS
    from summarizer.chapters import chapters_of
    from vidsift.store.files import write_atomically
    from vidsift.times import clock

    with open_library(context, library) as opened:
        record = opened.video(video)
        say_if_preparing(opened)
        found = chapters_of(opened, record)
    if format_ is ChapterFormat.YOUTUBE and len(found) < _LEAST_ON_YOUTUBE:
        err.print(
            f"note: YouTube shows chapters where there are {_LEAST_ON_YOUTUBE} or more, and"
            f" {record.path.name} has {len(found)}",
            style="yellow",
        )
    file = None
    if out_file is not None:
        content = CHAPTER_FORMATS[format_ or ChapterFormat.FFMETADATA](found)
        file = expanded(out_file).absolute()
        write_atomically(file, [content.encode()])
    if as_json:
        print_json(
            {
                "video_id": record.id,
                "video": str(record.path),
                "duration_seconds": record.duration_seconds,
                "chapters": [
                    {
                        "start_seconds": chapter.span.start,
                        "end_seconds": chapter.span.end,
                        "title": chapter.title,
                        "confidence": round(chapter.confidence, 4),
                        "source": chapter.source,
                    }
                    for chapter in found
                ],
                "file": None if file is None else str(file),
            }
        )
    elif file is not None:
        out.print(f"chapters  {file}")
    elif format_ is not None:
        out.print(CHAPTER_FORMATS[format_](found), end="")
    else:
        table = Table("chapter", "title", "from", "sure", title=record.path.name)
        for chapter in found:
            sure = f"{chapter.confidence:.0%}" if chapter.source != "none" else ""
            source = chapter.source if chapter.source != "none" else ""
            start, end = clock(chapter.span.start), clock(chapter.span.end)
            table.add_row(f"{start} - {end}", chapter.title, source, sure)
        out.print(table)
