"""The terminal: what is written to stdout and stderr, and how the program ends.

Names of files and questions are printed as they are: nothing in them is markup. What stdout's
encoding lacks is printed as an escape.
"""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import typer
from rich.console import Console

from vidsift.errors import QuestionSyntaxError, StorageError, VidsiftError

__all__ = ["err", "out", "print_json", "run"]

_INTERRUPTED = 130


class _Output(Console):
    """stdout. A reader that has gone ends the program quietly, a full disk with one line."""

    def print(self, *objects: Any, **options: Any) -> None:
        with _writing():
            super().print(*objects, **options)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


out = _Output(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def print_json(value: Any) -> None:
    """Print `value` as one line of JSON on stdout.

    Raises:
        StorageError: the disk is full.
    """
    # The escapes of an encoding that lacks a character are Python's; JSON's own are valid in all.
    text = json.dumps(value, ensure_ascii=out.encoding != "utf-8")
    with _writing():
        out.file.write(text + "\n")
        out.file.flush()


def run(app: typer.Typer) -> NoReturn:
    """Run the command line and exit: 0, 1, 2 for mistakes (one line, no traceback), 130."""
    for stream, errors in ((sys.stdin, "replace"), *((s, "backslashreplace") for s in _outputs())):
        if isinstance(stream, io.TextIOWrapper):  # none where the descriptor is closed
            stream.reconfigure(errors=errors)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        app()
    except VidsiftError as error:
        err.print(f"vidsift: {error}", style="red")
        if isinstance(error, QuestionSyntaxError):
            err.print(error.pointer(), style="red")
        sys.exit(2)
    except OSError as error:
        # Of --help, which typer prints, or of a file that nothing of ours was looking after.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _discard_stdout()
        err.print(f"vidsift: {error.strerror}", style="red")
        sys.exit(2)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # what typer makes of a KeyboardInterrupt
            err.print(
                "vidsift: interrupted; what was finished is kept, run the command again to go on"
            )
        raise
    sys.exit(0)


def _outputs() -> tuple[Any, Any]:
    return sys.stdout, sys.stderr


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    # Ending takes a moment: files and the database are closed. A second Ctrl-C must not break that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # the reader of our output has gone (`vidsift search ... | head`)
        _discard_stdout()
        raise typer.Exit(0) from None
    except OSError as error:
        _discard_stdout()
        raise StorageError(f"cannot write the output: {error.strerror}") from error


def _discard_stdout() -> None:
    # What stdout still holds would fail once more when the interpreter flushes it at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
