"""Options that several commands share, and the library that they name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.report import say_if_preparing

if TYPE_CHECKING:
    from vidsift.library import Library

__all__ = ["DeviceOption", "EncoderOption", "JsonOption", "LibraryOption", "open_library"]

LibraryOption = Annotated[
    Path | None,
    typer.Option("--library", help="Library folder [env: VIDSIFT_LIBRARY; else user data folder]"),
]
EncoderOption = Annotated[
    str | None,
    typer.Option("--encoder", help="builtin, builtin:PROJECTION or open_clip:MODEL/PRETRAINED"),
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]


@contextmanager
def open_library(
    context: typer.Context, library: Path | None, *, create: bool = False, **flags: Any
) -> Iterator[Library]:
    """The library that the options name; `flags` are settings given on the command line."""
    from vidsift.library import Library

    with Library.open(library or context.obj, create=create, **flags) as opened:
        if "encoder" in flags:
            # Also where nothing is new to index or to find, and so no encoder would be opened.
            opened.check_encoder()
            say_if_preparing(opened)
        yield opened
