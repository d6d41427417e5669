"""The command line: results on stdout, progress and notes on stderr, one line for each error."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from ui.ask import search
from ui.chapters import chapters
from ui.evaluate import evaluate
from ui.explain import explain
from ui.forget import forget
from ui.highlights import highlights
from ui.migrate import migrate
from ui.options import (
    DeviceOption,
    EncoderOption,
    JsonOption,
    LibraryOption,
    WaitOption,
    open_library,
    say_waiting,
)
from ui.repair import repair
from ui.report import index_json, print_index
from ui.serve import ui
from ui.standing import alerts, standing
from ui.summarize import summarize
from ui.tag import tag
from ui.terminal import err, one_line, out, print_json, run
from ui.train import train
from ui.transcribe import transcribe
from ui.verify import verify
from ui.watch import watch
from vidsift import __version__
from vidsift.paths import expanded

__all__ = ["app", "main"]

app = typer.Typer(
    help="Find the moment a sentence describes in your videos, and summarise them. Offline.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
db = typer.Typer(help="The library's database.", no_args_is_help=True)
app.add_typer(db, name="db")
app.add_typer(evaluate, name="evaluate")
app.add_typer(standing, name="standing")
app.add_typer(train, name="train")


def main() -> None:
    """Entry point: errors that are ours become one line and exit code 2, never a traceback."""
    run(app)


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
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Index files and folders: incremental, resumable, with progress.

    Exit code 1 if some files could not be used or rendered; each is named with its reason.
    """
    from ui.progress import index_with_progress, render_with_progress
    from vidsift.config import default_library

    root = expanded(library or context.obj or default_library()).absolute()
    _require_videos(paths, root)
    with open_library(
        context, library, create=True, wait=wait, encoder=encoder, device=device
    ) as opened:
        report = index_with_progress(opened, paths, err, retry=retry)
        not_rendered = render_with_progress(opened, report.indexed, err) if render else []
        videos = opened.catalog.videos()
    searchable = sum(video.status == "searchable" for video in videos)
    if as_json:
        print_json(index_json(report, not_rendered, searchable, len(videos)))
    else:
        print_index(report, not_rendered, searchable, len(videos))
    if report.failed or not_rendered:
        raise typer.Exit(1)


def _require_videos(paths: list[str], root: Path) -> None:
    """Refuse what holds no video before a library is made for it."""
    from indexer.scan import find_files, no_videos
    from vidsift.config import load_settings

    if load_settings(root).database_url or (root / "catalog.sqlite3").exists():
        return
    if not any(find_files(paths, leave_out=root)):
        raise no_videos(paths)


app.command()(search)
app.command()(chapters)
app.command()(explain)
app.command()(forget)
app.command()(highlights)
app.command()(migrate)
app.command()(repair)
app.command()(tag)
app.command()(transcribe)
app.command()(summarize)
app.command()(alerts)
app.command()(verify)
app.command()(watch)
app.command()(ui)


@app.command()
def status(
    context: typer.Context, library: LibraryOption = None, as_json: JsonOption = False
) -> None:
    """What is searchable, what is not, and why."""
    with open_library(context, library) as opened:
        videos = opened.catalog.videos()
        stamp = opened.catalog.stamp()
        vectors = opened.catalog.num_vectors()
        cues = opened.catalog.num_cues()
        root = opened.root
        rest = opened.not_searchable()
    away = {video.id for video, _, _ in rest}
    searchable = [video for video in videos if video.id not in away]
    if as_json:
        print_json(
            {
                "library": str(root),
                "encoder": stamp.name if stamp else None,
                "videos": len(videos),
                "searchable": len(searchable),
                "clips": sum(video.num_clips for video in searchable),
                "vectors": vectors,
                "cues": cues,
                "seconds": round(sum(video.duration_seconds for video in searchable), 3),
                "not_searchable": [
                    {"video": str(video.path), "status": state, "reason": reason}
                    for video, state, reason in rest
                ],
            }
        )
        return
    seconds = sum(video.duration_seconds for video in searchable)
    out.print(
        f"library   {root}\nencoder   {stamp.name if stamp else 'none yet'}\n"
        f"{len(searchable)} of {len(videos)} videos are searchable:"
        f" {seconds / 3600:.2f} h, {sum(v.num_clips for v in searchable)} clips, {vectors} vectors,"
        f" {cues} lines of subtitles",
    )
    for video, state, reason in rest:
        out.print(f"{state}: {one_line(video.path)}: {one_line(reason)}")


@app.command()
def encoders(
    fetch: Annotated[
        str | None, typer.Option("--fetch", metavar="NAME", help="Download the encoder's weights")
    ] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", help="With --fetch: what the weights must be")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The encoders that can be used here and now, and of the others what is lacking."""
    from dataclasses import asdict

    from vidsift.models.encoder import list_encoders, open_encoder
    from vidsift.models.known_weights import expect_weights

    if fetch is not None:
        if sha256 is not None:
            expect_weights(fetch, sha256)
        err.print(f"fetching and preparing {fetch}")
        open_encoder(fetch, fetch=True).close()
        err.print(f"{fetch} can be used now")
        return
    found = list_encoders()
    if as_json:
        print_json([asdict(status) for status in found])
        return
    table = Table(Column("encoder", overflow="fold"), "usable", "runtime")
    for status_ in found:
        table.add_row(status_.name, "yes" if status_.available else "no", status_.runtime)
    out.print(table)
    for status_ in found:
        if not status_.available:
            # Below the table and not in it: a command must come out whole, to be copied.
            out.print(f"\n{status_.name}\n{status_.remedy.removeprefix(f'{status_.name}: ')}")


@db.command()
def upgrade(
    context: typer.Context, library: LibraryOption = None, wait: WaitOption = False
) -> None:
    """Bring the library's database to the schema of this program."""
    from vidsift.config import default_library, load_settings
    from vidsift.errors import LibraryNotFoundError
    from vidsift.store.locks import write_lock
    from vidsift.store.upgrade import upgrade as upgrade_schema

    root = expanded(library or context.obj or default_library()).absolute()
    url = load_settings(root).database_url
    if not url and not (root / "catalog.sqlite3").exists():
        raise LibraryNotFoundError(f"{root}: no library here; name one with --library")
    url = url or f"sqlite:///{root / 'catalog.sqlite3'}"
    patience = math.inf if wait else 0.0
    with write_lock(root, url, wait=patience, on_wait=say_waiting):
        revision = upgrade_schema(url)
    out.print(f"{root}: schema is at {revision}")


@app.command()
def demo(
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where the demo's videos and library lie")
    ] = None,
) -> None:
    """Build a small library of real videos, search it, summarise it, and say where all lies."""
    from ui.demo import run_demo

    run_demo(folder, out, err)


if __name__ == "__main__":
    main()
