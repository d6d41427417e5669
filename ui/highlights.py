"""`vidsift highlights`: what is unusual in a video."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ui.options import JsonOption, LibraryOption, open_library
from ui.terminal import err, out, print_json
from vidsift.errors import SummaryError
from vidsift.types import Span

if TYPE_CHECKING:
    from summarizer.highlights import Highlight, Highlights

__all__ = ["highlights", "rarity"]

_AGAINST = ("video", "library")
_METHODS = ("knn", "lof")
_TIME = r"(?:(?:(\d{1,6}):)?(\d{1,6}):)?(\d{1,9}(?:\.\d+)?)"
_BASELINE = re.compile(rf"\s*{_TIME}\s*-\s*{_TIME}\s*", re.ASCII)


def highlights(
    context: typer.Context,
    video: Annotated[str, typer.Argument(help="Path, file name or id of an indexed video")],
    most: Annotated[int, typer.Option("-k", help="So many moments at most")] = 10,
    against: Annotated[
        str, typer.Option("--against", help="What is normal: the rest of the video, or the library")
    ] = "video",
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="START-END",
            help="A part of the video in which all is normal, such as 0:00-10:00",
        ),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="knn: distance to the nearest; lof: local outliers")
    ] = "knn",
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank what is unusual in a video, and tell how rare it is."""
    normal = None if baseline is None else _span(baseline)
    _check("--against", against, _AGAINST)
    _check("--method", method, _METHODS)

    from summarizer.highlights import find_highlights
    from ui.progress import share_shown

    with open_library(context, library) as opened:
        record = opened.video(video)
        with share_shown("comparing", record.path.name, err) as show:
            found = find_highlights(
                opened,
                record,
                most,
                against="library" if against == "library" else "video",
                baseline=normal,
                method="lof" if method == "lof" else "knn",
                on_progress=show,
            )
    if as_json:
        print_json(_json(found))
        return
    _print(found)


def _check(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SummaryError(f"{option} {value}: is not one of {', '.join(known)}")


def _span(text: str) -> Span:
    """The stretch of time that `START-END` names, each as seconds, m:ss or h:mm:ss."""
    found = _BASELINE.fullmatch(text)
    if found is None:
        raise SummaryError(
            f"--baseline {text}: expected two times with a dash between them, such as 0:00-10:00"
        )
    parts = [float(part or 0) for part in found.groups()]
    start, end = (3600 * h + 60 * m + s for h, m, s in (parts[:3], parts[3:]))
    if end <= start:
        raise SummaryError(f"--baseline {text}: ends before it begins")
    return Span(start, end)


def rarity(highlight: Highlight) -> str:
    """How rare it is, in words."""
    if highlight.as_unusual == 0:
        return f"more unusual than all {highlight.num_normal} clips"
    verb = "is" if highlight.as_unusual == 1 else "are"
    return f"{highlight.as_unusual} of {highlight.num_normal} clips {verb} as unusual"


def _print(found: Highlights) -> None:
    from vidsift.times import clock

    if found.note:
        out.print(f"{found.video.path.name}: {found.note}")
        return
    table = Table(
        "moment",
        "peak",
        "how rare",
        "nearest that is normal",
        title=f"{found.video.path.name}, compared with {found.compared_with}"
        f" ({found.num_clips} clips)",
    )
    for each in found.found:
        near = f"{clock(each.nearest_seconds)}, {each.distance:.2f} away"
        if each.nearest_video.id != found.video.id:
            near = f"{each.nearest_video.path.name} {near}"
        table.add_row(
            f"{clock(each.span.start)} - {clock(each.span.end)}",
            clock(each.peak_seconds),
            rarity(each),
            near,
        )
    out.print(table)


def _json(found: Highlights) -> dict[str, Any]:
    return {
        "video_id": found.video.id,
        "video": str(found.video.path),
        "compared_with": found.compared_with,
        "clips": found.num_clips,
        "method": found.method,
        "note": found.note,
        "highlights": [
            {
                "start_seconds": each.span.start,
                "end_seconds": each.span.end,
                "peak_seconds": each.peak_seconds,
                "score": each.score,
                "rate": each.rate,
                "as_unusual": each.as_unusual,
                "num_normal": each.num_normal,
                "nearest": {
                    "video_id": each.nearest_video.id,
                    "video": str(each.nearest_video.path),
                    "seconds": each.nearest_seconds,
                    "distance": each.distance,
                },
            }
            for each in found.found
        ],
    }
