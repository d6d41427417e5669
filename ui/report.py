"""What the commands print: the report of a run of indexing, and answers to questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table

from ui.terminal import err, out
from vidsift.errors import QueryError

if TYPE_CHECKING:
    from indexer import IndexReport
    from search import SearchEngine
    from vidsift.library import Library
    from vidsift.types import SearchResult

__all__ = [
    "answer_json",
    "answer_line_json",
    "index_json",
    "print_index",
    "print_moments",
    "say_if_preparing",
]


def say_if_preparing(library: Library) -> None:
    """Say on stderr why nothing will seem to happen where the models are used the first time."""
    from vidsift.models.encoder import needs_preparation

    if needs_preparation(library.encoder_name, library.settings.device):
        err.print("preparing the models, once (about half a minute)")


def index_json(
    report: IndexReport, not_rendered: Sequence[tuple[Path, str]], searchable: int, videos: int
) -> dict[str, Any]:
    """The report as `vidsift index --json` prints it."""
    return {
        "indexed": [str(path) for path in report.indexed],
        "unchanged": [str(path) for path in report.unchanged],
        "renamed": [{"from": str(a), "to": str(b)} for a, b in report.renamed],
        "missing": [str(path) for path in report.missing],
        "failed": [{"path": str(path), "reason": reason} for path, reason in report.failed],
        "not_rendered": [{"path": str(path), "reason": reason} for path, reason in not_rendered],
        "notes": [{"path": str(path), "note": note} for path, note in report.notes],
        "seconds": round(report.seconds, 3),
        "video_seconds": round(report.video_seconds, 3),
        "searchable": searchable,
        "videos": videos,
    }


def print_index(
    report: IndexReport, not_rendered: Sequence[tuple[Path, str]], searchable: int, videos: int
) -> None:
    """The files that need a word on stderr, the counts on stdout."""
    for path, note in report.notes:
        err.print(f"note: {path}: {note}", style="yellow")
    for old, new in report.renamed:
        err.print(f"renamed: {old} -> {new}")
    for path in report.missing:
        err.print(f"gone: {path} (kept, not searched)", style="yellow")
    for path, reason in report.failed:
        err.print(f"skipped: {path}: {reason}", style="red")
    for path, reason in not_rendered:
        err.print(f"not rendered: {path}: {reason}", style="red")
    took = ""
    if report.indexed:
        speed = report.video_seconds / report.seconds
        took = (
            f" ({report.video_seconds:.0f} s of video in {report.seconds:.1f} s,"
            f" {speed:.0f}x real time)"
        )
    out.print(
        f"{len(report.indexed)} indexed{took}, {len(report.unchanged)} unchanged,"
        f" {len(report.renamed)} renamed, {len(report.missing)} gone,"
        f" {len(report.failed)} skipped. {searchable} of {videos} videos are searchable."
    )


def answer_line_json(engine: SearchEngine, line: str, k: int) -> dict[str, Any]:
    """The answer to one line of a stream; a bad question has an `error` and no results."""
    try:
        return answer_json(engine, line.strip(), engine.search(line, k))
    except QueryError as error:
        # One bad question in a stream must not end it, and its line must not be missing.
        return {"query": line.strip(), "error": str(error), "results": []}


def answer_json(engine: SearchEngine, text: str, results: list[SearchResult]) -> dict[str, Any]:
    """The moments found as `vidsift search --json` prints them."""
    return {
        "query": text,
        "encoder": engine.library.encoder.stamp.name,
        "results": [
            {
                "video_id": result.moment.video_id,
                "video": str(result.video),
                "start_seconds": round(result.moment.span.start, 3),
                "end_seconds": round(result.moment.span.end, 3),
                "peak_seconds": round(result.moment.peak_seconds, 3),
                "score": round(result.moment.score, 6),
                "clip_id": result.moment.clip_id,
                "thumbnail": str(result.thumbnail),
            }
            for result in results
        ],
    }


def print_moments(
    text: str, results: list[SearchResult], library: Library, console: Console = out
) -> None:
    """The moments found, as a table; without any, why there are none."""
    from vidsift.times import clock

    if not results:
        console.print(f"nothing to search in {library.root}: index a folder first")
        return
    table = Table(
        Column("video", overflow="fold"), "start - end", "score", title=text, title_justify="left"
    )
    for result in results:
        span = result.moment.span
        table.add_row(
            str(result.video.name),
            f"{clock(span.start)} - {clock(span.end)}",
            f"{result.moment.score:.3f}",
        )
    console.print(table)
