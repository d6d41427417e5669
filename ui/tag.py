"""`vidsift tag`: give tags to videos, take them away, list them."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Column, Table

from ui.options import JsonOption, LibraryOption, open_library
from ui.terminal import out, print_json
from vidsift.errors import QueryError

__all__ = ["tag"]


def tag(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[VIDEO]...", help="Path, file name or id of indexed videos"),
    ] = None,
    add: Annotated[
        list[str] | None, typer.Option("--add", metavar="TAG", help="Give this tag (repeatable)")
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option("--remove", metavar="TAG", help="Take this tag away (repeatable)"),
    ] = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tag videos, or list tags: of the videos named, else of all that have any.

    A question is narrowed to them by tag:NAME. Tags stay when a file is indexed again or moved.
    """
    from vidsift.store.tags import change_tags, tags_of_videos

    if (add or remove) and not names:
        raise QueryError("name the videos that --add and --remove are meant for")
    with open_library(context, library) as opened:
        chosen = [opened.video(name) for name in names or ()]
        if add or remove:
            change_tags(
                opened.catalog, [video.id for video in chosen], add=add or (), remove=remove or ()
            )
        tags = tags_of_videos(opened.catalog)
        shown = chosen or [video for video in opened.catalog.videos() if video.id in tags]
    if as_json:
        print_json(
            [
                {"video_id": video.id, "video": str(video.path), "tags": tags.get(video.id, ())}
                for video in shown
            ]
        )
        return
    if not shown:
        out.print("no video has a tag; `vidsift tag VIDEO --add TAG` gives one")
        return
    table = Table("id", Column("video", overflow="fold"), Column("tags", overflow="fold"))
    for video in shown:
        table.add_row(str(video.id), video.path.name, ", ".join(tags.get(video.id, ())))
    out.print(table)
