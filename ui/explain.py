"""`vidsift explain`: why a moment was found, in sentences and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.options import EncoderOption, JsonOption, LibraryOption, open_library
from ui.terminal import err, out, print_json
from vidsift.errors import EncoderError, MediaError, QueryError, StorageError
from vidsift.paths import expanded

if TYPE_CHECKING:
    from search.explain import Explanation, LookedAt
    from vidsift.library import Library
    from vidsift.types import Span, VideoRecord

__all__ = ["explain"]

_PAGE = 10  # results are numbered as `vidsift search` lists them, a page of its own size at a time


def explain(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="The question")],
    moment: Annotated[
        str | None,
        typer.Argument(metavar="VIDEO@SECONDS", help="The moment; else a result of the question"),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option("--rank", help="Explain this result of the question; else the best"),
    ] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.png", help="Where the picture goes")
    ] = None,
    heat_map: Annotated[
        bool, typer.Option("--heat-map/--no-heat-map", help="Look at the best frame itself")
    ] = True,
    library: LibraryOption = None,
    encoder: EncoderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain why a moment was found: its curve, where in the frame, what the score rests on.

    The picture goes to --out, else into the library (with --json: only to --out).
    """
    if moment is not None and rank is not None:
        raise QueryError("--rank: name a moment or a rank, not both")
    with open_library(context, library, encoder=encoder) as opened:
        found = _explained(opened, text, moment, 1 if rank is None else rank)
        explained = [(each, _looked(opened, each, heat_map)) for each in found]
        if as_json:
            picture = _write(explained, out_file) if out_file else None
            print_json(
                {
                    "query": text,
                    "encoder": opened.encoder.stamp.name,
                    "explanations": [_json(*each) for each in explained],
                    "picture": None if picture is None else str(picture),
                }
            )
            return
        for each in explained:
            _print(*each)
        out.print(f"picture  {_write(explained, out_file or opened.skims / 'explanation.png')}")


def _explained(library: Library, text: str, moment: str | None, rank: int) -> list[Explanation]:
    """One explanation for each step of the question."""
    from search import SearchEngine
    from search.asking import understand
    from search.examples import parse_moment
    from search.explain import explain as explain_moment
    from vidsift.types import TextQuery

    steps = understand(library, text).steps
    places: list[tuple[VideoRecord, Span | float]]
    if moment is not None:
        places = [parse_moment(moment, library)] * len(steps)
    else:
        if rank < 1:
            raise QueryError(f"--rank {rank}: the first result has rank 1")
        before = (rank - 1) // _PAGE * _PAGE
        answer = SearchEngine(library).ask(text, _PAGE, offset=before)
        if not answer.results and rank == 1:
            raise QueryError(f"{text}: nothing in {library.root} answers; see `vidsift status`")
        if before + len(answer.results) < rank:
            raise QueryError(f"--rank {rank}: the answer has fewer results")
        if not answer.matched:
            err.print("nothing here matches; what is explained is only the nearest")
        result = answer.results[rank - 1 - before]
        parts = result.parts or (result.moment,) * len(steps)
        places = [(library.video(part.video_id), part.span) for part in parts]
    if not steps:
        raise QueryError(f"{text}: names nothing to be seen, only words that are said")
    return [
        explain_moment(
            library,
            [
                TextQuery(term.text, vector)
                for term, vector in zip(step.step.wanted, step.wanted, strict=True)
            ],
            *place,
        )
        for step, place in zip(steps, places, strict=True)
    ]


def _looked(
    library: Library, explanation: Explanation, heat_map: bool
) -> tuple[LookedAt | None, ...]:
    """The best frame of each term, None where it cannot be looked at."""
    from search.explain import look_at

    if not heat_map:
        return (None,) * len(explanation.terms)
    try:
        with err.status("looking at the best frame (the first time: preparing the model for it)"):
            return tuple(
                look_at(library, explanation.video, term.query, term.best_seconds)
                for term in explanation.terms
            )
    except (EncoderError, MediaError) as error:
        # The curve explains the result all the same.
        err.print(f"no heat map: {error}", style="yellow")
        return (None,) * len(explanation.terms)


def _print(explanation: Explanation, looked: tuple[LookedAt | None, ...]) -> None:
    from ui.explanation_text import looked_sentence, said_sentences, term_sentences
    from vidsift.times import clock

    span = explanation.moment
    out.print(f"{explanation.video.path.name}  {clock(span.start)} - {clock(span.end)}")
    for term, seen in zip(explanation.terms, looked, strict=True):
        sentences = term_sentences(term) + ([looked_sentence(seen)] if seen else [])
        out.print("\n".join([term.query.text, *(f"  {sentence}" for sentence in sentences)]))
    for sentence in said_sentences(explanation):
        out.print(sentence)


def _json(explanation: Explanation, looked: tuple[LookedAt | None, ...]) -> dict[str, Any]:
    from ui.explanation_text import explanation_json

    return explanation_json(explanation, looked)


def _write(explained: list[tuple[Explanation, tuple[LookedAt | None, ...]]], file: Path) -> Path:
    """Write the pictures of all steps, one below the other, and return where.

    Raises:
        StorageError: the file cannot be written.
    """
    from ui.explanation_picture import draw_explanation, picture_bytes, stacked

    picture = stacked([draw_explanation(*each) for each in explained])
    file = expanded(file).absolute()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture_bytes(picture))
    except OSError as error:
        raise StorageError(
            f"{file}: cannot be written: {error.strerror}; choose another place with --out"
        ) from error
    return file
