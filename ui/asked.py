"""Which questions are remembered, by the command line and the page alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vidsift.store import history

if TYPE_CHECKING:
    from vidsift.library import Library

__all__ = ["remember_question"]

# A text beside a picture or another moment is not the whole question; a further page no new one.
_MORE = ("image", "like", "yes", "no", "offset")


def remember_question(library: Library, text: str, options: Mapping[str, Any]) -> None:
    """Keep a question, after its answer, for the comparison of encoders, unless settings say no.

    `options` are those of `SearchEngine.ask`. Takes a moment, or is left out: see `history`.
    """
    if library.settings.question_history and not any(options.get(name) for name in _MORE):
        history.remember(library.catalog, text)
