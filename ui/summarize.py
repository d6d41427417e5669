"""`vidsift summarize`: what a video, or what answers a question, comes down to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ui.options import JsonOption, LibraryOption, open_library
from ui.report import say_if_preparing
from ui.terminal import err, out, print_json
from vidsift.errors import QuestionSyntaxError, SummaryError
from vidsift.paths import expanded

if TYPE_CHECKING:
    from summarizer.skim import Skim
    from vidsift.library import Library

__all__ = ["summarize"]

# What --format takes stands in its help, which must not load what writes the formats.
_FORMATS_HELP = (
    "What to write, with commas between: mp4, png and html (storyboards), srt and vtt (subtitles"
    " re-timed to the summary), edl and otio (editing lists), ffmetadata, chapters (WebVTT) and"
    " youtube (chapters of the whole video), text (Markdown), json (manifest for --from), or all"
)
# Formats whose words are encoded.
_ENCODED = {"ffmetadata", "chapters", "youtube", "text", "all"}


def summarize(
    context: typer.Context,
    videos: Annotated[
        list[str] | None, typer.Argument(help="Paths, file names or ids of indexed videos")
    ] = None,
    query: Annotated[str, typer.Option("--query", help="Summarise what answers this")] = "",
    seconds: Annotated[float | None, typer.Option("--seconds", help="Length in seconds")] = None,
    ratio: Annotated[float | None, typer.Option("--ratio", help="Length as a share")] = None,
    formats: Annotated[str, typer.Option("--format", help=_FORMATS_HELP)] = "mp4,png,json",
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder to write into; else the library's own")
    ] = None,
    selection: Annotated[
        str | None, typer.Option("--selection", help="How segments are chosen: knapsack or greedy")
    ] = None,
    library_wide: Annotated[
        bool, typer.Option("--library-wide", help="One summary of all videos of the library")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="DATE", help="Of what was indexed since, as 2024-05-01"),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--from", metavar="MANIFEST", help="Make the summary of this JSON again"),
    ] = None,
    subtitles: Annotated[
        str, typer.Option("--subtitles", metavar="NAME", help="Of several: en, en.srt ...")
    ] = "",
    blur_people: Annotated[
        bool,
        typer.Option(
            "--blur-people",
            help="Blur people in films and storyboards: best effort, some will be missed; voices,"
            " words and names stay",
        ),
    ] = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Summarise videos, or what in them answers a question, in as many seconds as you say.

    One video by its own; several, --library-wide or --since in one summary of their best moments.
    """
    from summarizer.formats import formats_named
    from summarizer.manifest import read_manifest, skim_from_manifest, summary_json
    from ui.progress import write_with_progress

    names = [name.strip() for name in formats.split(",") if name.strip()]
    if "all" not in names:
        formats_named(names)
    flags: dict[str, Any] = {"summary_selection": selection}
    if manifest is not None:
        asked = (videos, query, seconds is not None, ratio is not None, selection, since)
        if any(asked) or library_wide:
            raise SummaryError(
                "--from takes videos, question and length from the manifest; leave them out"
            )
        flags["crossfade_seconds"] = read_manifest(manifest)["settings"].get("crossfade_seconds")
    elif not videos and not library_wide and since is None:
        raise SummaryError(
            "no video is named; name one or several, or give --library-wide, --since or --from"
        )
    if folder is not None:
        folder = expanded(folder).absolute()
    with open_library(context, library, **flags) as opened:
        if query.strip() or _ENCODED.intersection(names):
            say_if_preparing(opened)
        if manifest is not None:
            skim = skim_from_manifest(opened, manifest)
        else:
            skim = _chosen(opened, videos or [], query, seconds, ratio, since, library_wide)
        if blur_people:
            skim = replace(skim, blur_people=True)
        if "all" in names:
            names = _possible(opened, skim, subtitles)
        _warn(skim, names)
        files = write_with_progress(opened, skim, folder, err, names, track=subtitles)
        told = summary_json(opened, skim, files)
    if as_json:
        print_json(told)
    else:
        _print(skim, told)


def _chosen(
    library: Library,
    names: list[str],
    query: str,
    seconds: float | None,
    ratio: float | None,
    since: str | None,
    library_wide: bool,
) -> Skim:
    """The summary of the one video that is named, or one of all that are meant."""
    from summarizer import Skim, summarize
    from summarizer.across import summarize_videos

    if library_wide and names:
        raise SummaryError("--library-wide takes every video; leave the names out, or the option")
    after = None if since is None else _date(since)
    videos = list({video.id: video for video in map(library.video, names)}.values())
    if len(videos) == 1 and after is None:
        summary = summarize(library, videos[0], query, seconds=seconds, ratio=ratio)
        return Skim.of(videos[0], summary)
    return summarize_videos(
        library, videos or None, query, seconds=seconds, ratio=ratio, since=after
    )


def _date(text: str) -> float:
    from search.filter_values import parse_date

    def wrong(at: int, reason: str) -> QuestionSyntaxError:
        return QuestionSyntaxError(text, at, reason)

    try:
        return parse_date(text, 0, wrong)
    except QuestionSyntaxError as error:
        reason = str(error).partition(": ")[2]
        raise SummaryError(f"--since: {reason}") from error


def _possible(library: Library, skim: Skim, track: str) -> list[str]:
    """All formats that can hold the skim; the others are named with their reasons."""
    from summarizer.formats import possible_formats

    possible, reasons = possible_formats(library, skim, track=track)
    for name, why in reasons.items():
        err.print(f"left out {name}: {why}", style="yellow")
    return possible


def _warn(skim: Skim, formats: list[str]) -> None:
    """Say on stderr what must be known of a summary that can be made all the same."""
    from summarizer.sources import source_problem

    if skim.matched is False:
        err.print(
            f"note: nothing here matches {skim.query!r}: these are only the moments that come"
            " nearest; leave --query out for a summary of everything",
            style="yellow",
        )
    if skim.blur_people:
        err.print(
            "note: people are blurred as far as they are found; look at the result before it is"
            " shown to anyone",
            style="yellow",
        )
    if "mp4" not in formats:  # which is refused for such a video
        for video in skim.videos:
            if problem := source_problem(video):
                err.print(f"note: {video.path}: {problem}", style="yellow")


def _print(skim: Skim, told: dict[str, Any]) -> None:
    from vidsift.times import clock

    several = len(skim.videos) > 1
    columns = ("segment", *(("video",) if several else ()), "saliency", "why")
    about = "" if skim.query in skim.title else f"  {skim.query}"
    table = Table(*columns, title=f"{skim.title}{about}")
    for part, listed in zip(skim.parts, told["segments"], strict=True):
        segment = part.segment
        span = f"{clock(segment.span.start)} - {clock(segment.span.end)}"
        name = (part.video.path.name,) if several else ()
        table.add_row(span, *name, f"{segment.saliency:.4f}", listed["reason"])
    out.print(table)
    total = sum(video.duration_seconds for video in skim.videos)
    of = f"{len(skim.videos)} videos, " if several else ""
    out.print(f"{skim.duration_seconds:.1f} s of {of}{total:.1f} s")
    width = max(map(len, told["files"])) + 2
    for kind, path in told["files"].items():
        out.print(f"{kind:<{width}}{path}")
