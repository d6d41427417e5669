"""Options that several commands share, and the library that they name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.report import say_if_preparing
from ui.terminal import err

if TYPE_CHECKING:
    from vidsift.library import Library

__all__ = [
    "DeviceOption",
    "EncoderOption",
    "JsonOption",
    "LibraryOption",
    "WaitOption",
    "open_library",
    "say_waiting",
]

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
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait for another vidsift that writes, however long")
]


@contextmanager
def open_library(
    context: typer.Context,
    library: Path | None,
    *,
    create: bool = False,
    wait: bool = False,
    **flags: Any,
) -> Iterator[Library]:
    """The library that the options name; `flags` are settings given on the command line.

    With `wait` all that writes waits for other writers, and says so.
    """
    from vidsift.library import Library

    with Library.open(library or context.obj, create=create, **flags) as opened:
        if wait:
            opened.wait_for_writers(math.inf, say_waiting)
        if "encoder" in flags:
            # Also where nothing is new to index or to find, and so no encoder would be opened.
            opened.check_encoder()
            say_if_preparing(opened)
        yield opened


def say_waiting(holder: str) -> None:
    """Say on stderr which other writer a command waits for."""
    err.print(f"waiting for another vidsift to end: {holder} (Ctrl-C ends the waiting)")
