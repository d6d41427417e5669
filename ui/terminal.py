"""The terminal: what is written to stdout and stderr, and how the program ends.

Nothing in names of files, subtitles and questions is markup, and nothing in them is a command to
the terminal: its control characters are printed as pictures of themselves (`␛` for an escape). What
stdout's encoding lacks is printed as an escape.
"""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from vidsift.errors import ConfigError, QuestionSyntaxError, StorageError, VidsiftError

__all__ = ["err", "one_line", "out", "print_json", "run"]

_INTERRUPTED = 130
# Orders to the terminal, and marks that turn the direction of what follows. C1 has no pictures.
_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_PICTURES = {
    **{code: chr(0x2400 + code) for code in range(32)},
    0x7F: "\u2421",
    **dict.fromkeys((*range(0x80, 0xA0), *map(ord, _TURNING)), "\ufffd"),
}
_ON_A_LINE = str.maketrans(_PICTURES | {0x2028: "\ufffd", 0x2029: "\ufffd"})
_ON_LINES = str.maketrans({c: shown for c, shown in _PICTURES.items() if chr(c) not in "\n\t"})
# JSON escapes what is below 32 itself.
_IN_JSON = str.maketrans(
    {code: f"\\u{code:04x}" for code in (*_PICTURES, 0x2028, 0x2029) if code >= 0x7F}
)


def one_line(text: object) -> str:
    """A name as it can be told on one line of a terminal, whatever is in it."""
    return str(text).translate(_ON_A_LINE)


class _Terminal(Console):
    """A console to which no text that is printed can give an order."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(text.translate(_ON_LINES), style)


class _Output(_Terminal):
    """stdout. A reader that has gone ends the program quietly, a full disk with one line."""

    def print(self, *objects: Any, **options: Any) -> None:
        with _writing():
            super().print(*objects, **options)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


out = _Output(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = _Terminal(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def print_json(value: Any) -> None:
    """Print `value` as one line of JSON on stdout.

    Raises:
        StorageError: the disk is full.
    """
    # The escapes of an encoding that lacks a character are Python's; JSON's own are valid in all.
    text = json.dumps(value, ensure_ascii=out.encoding != "utf-8").translate(_IN_JSON)
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
        # These two list several mistakes, a line for each.
        several = type(error) in (ConfigError, VidsiftError)
        err.print(f"vidsift: {error if several else one_line(error)}", style="red")
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
