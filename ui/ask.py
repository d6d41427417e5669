"""`vidsift search`: one question from the command line, or many from standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.answers import (
    answer_json,
    left_out_json,
    print_answer,
    print_videos,
    videos_json,
)
from ui.options import EncoderOption, JsonOption, LibraryOption, open_library
from ui.terminal import print_json
from vidsift.errors import QueryError

if TYPE_CHECKING:
    from search import SearchEngine

__all__ = ["search"]


def search(
    context: typer.Context,
    text: Annotated[
        str, typer.Argument(help="What to look for; - reads a question a line", show_default=False)
    ] = "",
    k: Annotated[int, typer.Option("-k", help="Number of moments")] = 10,
    offset: Annotated[int, typer.Option("--offset", help="Leave out so many, to turn pages")] = 0,
    image: Annotated[
        Path | None, typer.Option("--image", help="Look for what this picture shows")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option("--like", metavar="VIDEO@SECONDS", help="Look for moments like this one"),
    ] = None,
    yes: Annotated[
        list[str] | None,
        typer.Option("--yes", metavar="VIDEO@SECONDS", help="More like this one (repeatable)"),
    ] = None,
    no: Annotated[
        list[str] | None,
        typer.Option("--no", metavar="VIDEO@SECONDS", help="Less like that one (repeatable)"),
    ] = None,
    flat: Annotated[
        bool, typer.Option("--flat", help="Best first whatever the video, not a few a video")
    ] = False,
    videos: Annotated[bool, typer.Option("--videos", help="Rank whole videos")] = False,
    pooler: Annotated[
        str | None,
        typer.Option("--pooler", help="mean, max, softmax, or a trained one by name or path"),
    ] = None,
    library: LibraryOption = None,
    encoder: EncoderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find moments that a question describes, best first, and say whether they match at all.

    A question may have parts: "a dog" -"night", "a man enters" then<20s "a car leaves",
    said:"good morning", video:NAME, longer:10m ... (docs/questions.md has them all).

    A question in words alone is kept in the library's database, for `vidsift migrate` to compare
    encoders on; not those read by -, and none with the setting `question_history = false`.
    """
    from search import SearchEngine
    from ui.asked import remember_question

    if text == "-" and sys.stdin is None:
        raise QueryError("standard input is closed; pipe the questions in, one a line")
    if videos and (offset or flat or image or like or yes or no):
        raise QueryError(
            "--videos ranks whole videos by words alone; leave out --offset, --flat, --image,"
            " --like, --yes and --no, or --videos"
        )
    asked: dict[str, Any] = {
        "offset": offset,
        "flat": flat,
        "image": image,
        "like": like,
        "yes": yes or (),
        "no": no or (),
    }
    with open_library(context, library, encoder=encoder, pooler=pooler) as opened:
        engine = SearchEngine(opened)
        if text == "-":
            for line in sys.stdin:
                print_json(_line_json(engine, line.strip(), k, videos, asked))
        elif as_json:
            print_json(_json(engine, text, k, videos, asked))
        elif videos:
            print_videos(text, engine.rank_videos(text, k))
        else:
            print_answer(engine.ask(text, k, **asked), opened, offset=offset)
        if text != "-":
            remember_question(opened, text, asked)


def _json(
    engine: SearchEngine, text: str, k: int, videos: bool, asked: dict[str, Any]
) -> dict[str, Any]:
    name = engine.library.encoder.stamp.name
    if videos:
        ranked = engine.rank_videos(text, k)
        left_out = left_out_json(engine.library.catalog.left_out)
        return {**videos_json(text, ranked, name), "left_out": left_out}
    return answer_json(engine.ask(text, k, **asked), name)


def _line_json(
    engine: SearchEngine, text: str, k: int, videos: bool, asked: dict[str, Any]
) -> dict[str, Any]:
    """The answer to one line of a stream; a bad question has an `error` and no results."""
    try:
        return _json(engine, text, k, videos, asked)
    except QueryError as error:
        # One bad question in a stream must not end it, and its line must not be missing.
        return {"query": text, "error": str(error), "results": []}
