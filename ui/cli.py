"""The command line: results on stdout, progress and notes on stderr, one line for each error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from vidsift import __version__
from vidsift.errors import QueryError, VidsiftError

if TYPE_CHECKING:
    from indexer import IndexReport
    from vidsift.library import Library
    from vidsift.types import SearchResult

__all__ = ["app", "main"]

app = typer.Typer(
    help="Find the moment a sentence describes in your videos, and summarise them. Offline.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
db = typer.Typer(help="The library's database.", no_args_is_help=True)
app.add_typer(db, name="db")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

LibraryOption = Annotated[
    Path | None,
    typer.Option("--library", help="Library folder [env: VIDSIFT_LIBRARY; else user data folder]"),
]
EncoderOption = Annotated[
    str | None, typer.Option("--encoder", help="builtin or open_clip:MODEL/PRETRAINED")
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]


def main() -> None:
    """Entry point: errors that are ours become one line and exit code 2, never a traceback."""
    try:
        app()
    except VidsiftError as error:
        err.print(f"vidsift: {error}", style="red", markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("vidsift: interrupted; what was finished is kept, run the command again to go on")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone (`vidsift search ... | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


@app.callback(invoke_without_command=True)
def _version(
    context: typer.Context,
    library: LibraryOption = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version")] = False,
) -> None:
    context.obj = library
    if version:
        out.print(f"vidsift {__version__}")
        raise typer.Exit


@contextmanager
def _library(
    context: typer.Context, library: Path | None, *, create: bool = False, **flags: Any
) -> Iterator[Library]:
    from vidsift.library import Library

    with Library.open(library or context.obj, create=create, **flags) as opened:
        yield opened


@app.command()
def index(
    context: typer.Context,
    paths: Annotated[list[str], typer.Argument(help="Video files and folders")],
    library: LibraryOption = None,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what failed before")] = False,
    render: Annotated[
        bool, typer.Option("--render", help="Render the generic summaries as mp4 at once")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Index files and folders: incremental, resumable, with progress.

    Exit code 1 if some files could not be used; each is named with its reason.
    """
    from ui.progress import index_with_progress, render_with_progress

    with _library(context, library, create=True, encoder=encoder, device=device) as opened:
        report = index_with_progress(opened, paths, err, retry=retry)
        if render:
            render_with_progress(opened, report.indexed, err)
        videos = opened.catalog.videos()
    searchable = sum(video.status == "searchable" for video in videos)
    if as_json:
        _print_json(_report_json(report, searchable, len(videos)))
    else:
        _print_report(report, searchable, len(videos))
    if report.failed:
        raise typer.Exit(1)


def _report_json(report: IndexReport, searchable: int, videos: int) -> dict[str, Any]:
    return {
        "indexed": [str(path) for path in report.indexed],
        "unchanged": [str(path) for path in report.unchanged],
        "renamed": [{"from": str(a), "to": str(b)} for a, b in report.renamed],
        "missing": [str(path) for path in report.missing],
        "failed": [{"path": str(path), "reason": reason} for path, reason in report.failed],
        "notes": [{"path": str(path), "note": note} for path, note in report.notes],
        "seconds": round(report.seconds, 3),
        "video_seconds": round(report.video_seconds, 3),
        "searchable": searchable,
        "videos": videos,
    }


def _print_report(report: IndexReport, searchable: int, videos: int) -> None:
    for path, note in report.notes:
        err.print(f"note: {path}: {note}", style="yellow", markup=False)
    for old, new in report.renamed:
        err.print(f"renamed: {old} -> {new}", markup=False)
    for path in report.missing:
        err.print(f"gone: {path} (kept, not searched)", style="yellow", markup=False)
    for path, reason in report.failed:
        err.print(f"skipped: {path}: {reason}", style="red", markup=False)
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


@app.command()
def search(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="What to look for; - reads a question a line")],
    k: Annotated[int, typer.Option("-k", help="Number of moments")] = 10,
    library: LibraryOption = None,
    encoder: EncoderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find moments that a sentence describes, best first."""
    from search import SearchEngine

    with _library(context, library, encoder=encoder) as opened:
        engine = SearchEngine(opened)
        if text == "-":
            for line in sys.stdin:
                _print_json(_answer_json(engine, line, k))
            return
        results = engine.search(text, k)
        if as_json:
            _print_json(_answer_json_of(engine, text, results))
        else:
            print_moments(text, results, opened)


def _answer_json(engine: Any, line: str, k: int) -> dict[str, Any]:
    try:
        return _answer_json_of(engine, line.strip(), engine.search(line, k))
    except QueryError as error:
        # One bad question in a stream must not end it, and its line must not be missing.
        return {"query": line.strip(), "error": str(error), "results": []}


def _answer_json_of(engine: Any, text: str, results: list[SearchResult]) -> dict[str, Any]:
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
        console.print(f"nothing to search in {library.root}: index a folder first", markup=False)
        return
    table = Table("video", "start - end", "score", title=text, title_justify="left")
    for result in results:
        span = result.moment.span
        table.add_row(
            str(result.video.name),
            f"{clock(span.start)} - {clock(span.end)}",
            f"{result.moment.score:.3f}",
        )
    console.print(table)


@app.command()
def summarize(
    context: typer.Context,
    video: Annotated[str, typer.Argument(help="Path, file name or id of an indexed video")],
    query: Annotated[str, typer.Option("--query", help="Summarise what answers this")] = "",
    seconds: Annotated[float | None, typer.Option("--seconds", help="Length in seconds")] = None,
    ratio: Annotated[float | None, typer.Option("--ratio", help="Length as a share")] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder for mp4, storyboard and JSON")
    ] = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Summarise a video, or what in it answers a question: mp4 with sound, storyboard, JSON."""
    from search.query import parse_query
    from summarizer import summarize as choose
    from summarizer.render import summary_json
    from ui.progress import write_with_progress
    from vidsift.times import clock

    with _library(context, library) as opened:
        record = opened.video(video)
        summary = choose(
            opened, record, parse_query(query) if query else "", seconds=seconds, ratio=ratio
        )
        files = write_with_progress(opened, record, summary, folder, err)
    if as_json:
        _print_json(summary_json(record, summary, files))
        return
    table = Table("segment", "saliency", title=f"{record.path.name}  {summary.query}")
    for segment in summary.segments:
        span = segment.span
        table.add_row(f"{clock(span.start)} - {clock(span.end)}", f"{segment.saliency:.4f}")
    out.print(table)
    out.print(
        f"{summary.duration_seconds:.1f} s of {record.duration_seconds:.1f} s\n"
        f"video       {files.video}\nstoryboard  {files.storyboard}\njson        {files.json}",
        markup=False,
    )


@app.command()
def status(
    context: typer.Context, library: LibraryOption = None, as_json: JsonOption = False
) -> None:
    """What is searchable, what is not, and why."""
    with _library(context, library) as opened:
        videos = opened.catalog.videos()
        stamp = opened.catalog.stamp()
        vectors = opened.catalog.num_vectors()
        root = opened.root
    searchable = [video for video in videos if video.status == "searchable"]
    rest = [video for video in videos if video.status != "searchable"]
    if as_json:
        _print_json(
            {
                "library": str(root),
                "encoder": stamp.name if stamp else None,
                "videos": len(videos),
                "searchable": len(searchable),
                "clips": sum(video.num_clips for video in searchable),
                "vectors": vectors,
                "seconds": round(sum(video.duration_seconds for video in searchable), 3),
                "not_searchable": [
                    {"video": str(video.path), "status": video.status, "reason": video.reason}
                    for video in rest
                ],
            }
        )
        return
    seconds = sum(video.duration_seconds for video in searchable)
    out.print(
        f"library   {root}\nencoder   {stamp.name if stamp else 'none yet'}\n"
        f"{len(searchable)} of {len(videos)} videos are searchable:"
        f" {seconds / 3600:.2f} h, {sum(v.num_clips for v in searchable)} clips, {vectors} vectors",
        markup=False,
    )
    for video in rest:
        out.print(f"{video.status}: {video.path}: {video.reason}", markup=False)


@app.command()
def encoders(as_json: JsonOption = False) -> None:
    """The encoders that can be used here and now, and of the others what is lacking."""
    from dataclasses import asdict

    from vidsift.models.encoder import list_encoders

    found = list_encoders()
    if as_json:
        _print_json([asdict(status) for status in found])
        return
    table = Table("encoder", "usable", "runtime", "what to do")
    for status_ in found:
        usable = "yes" if status_.available else "no"
        table.add_row(status_.name, usable, status_.runtime, status_.remedy)
    out.print(table)


@db.command()
def upgrade(context: typer.Context, library: LibraryOption = None) -> None:
    """Bring the library's database to the schema of this program."""
    from vidsift.config import default_library, load_settings
    from vidsift.errors import LibraryNotFoundError
    from vidsift.store.upgrade import upgrade as upgrade_schema

    root = (library or context.obj or default_library()).expanduser().absolute()
    url = load_settings(root).database_url
    if not url and not (root / "catalog.sqlite3").exists():
        raise LibraryNotFoundError(f"{root}: no library here; name one with --library")
    revision = upgrade_schema(url or f"sqlite:///{root / 'catalog.sqlite3'}")
    out.print(f"{root}: schema is at {revision}", markup=False)


@app.command()
def ui(
    context: typer.Context,
    library: LibraryOption = None,
    port: Annotated[int, typer.Option("--port", help="TCP port on this machine")] = 8501,
) -> None:
    """Open the page in a browser. It is served to this machine alone (127.0.0.1)."""
    from vidsift.config import default_library

    root = (library or context.obj or default_library()).expanduser().absolute()
    command = [sys.executable, "-m", "streamlit", "run", str(Path(__file__).with_name("app.py"))]
    command += ["--server.address=127.0.0.1", f"--server.port={port}"]
    command += ["--browser.gatherUsageStats=false", "--server.fileWatcherType=none"]
    command += ["--server.headless=true", "--client.toolbarMode=viewer"]
    err.print(f"vidsift: the page is at http://127.0.0.1:{port} (Ctrl-C ends it)")
    environment = os.environ | {"VIDSIFT_LIBRARY": str(root)}
    if os.name == "posix":
        # In place of this process, so that a signal to it ends the page.
        os.execve(sys.executable, command, environment)  # noqa: S606
    raise typer.Exit(subprocess.call(command, env=environment))


@app.command()
def demo(
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where the demo's videos and library lie")
    ] = None,
) -> None:
    """Build a small library of real videos, search it, summarise it, and say where all lies."""
    from ui.demo import run_demo

    run_demo(folder, out, err)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
