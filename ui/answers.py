"""What `vidsift search` prints: answers as a table for people, as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table

from ui.terminal import one_line, out
from vidsift.times import clock
from vidsift.types import Answer, LeftOut, Moment, SearchResult

if TYPE_CHECKING:
    from search.videos import RankedVideo
    from vidsift.library import Library

__all__ = [
    "answer_json",
    "left_out_json",
    "likelihood",
    "print_answer",
    "print_videos",
    "videos_json",
]


def answer_json(answer: Answer, encoder: str) -> dict[str, Any]:
    """The answer as `vidsift search --json` prints it."""
    return {
        "query": answer.query,
        "encoder": encoder,
        "matched": answer.matched,
        "exact": answer.exact,
        "left_out": left_out_json(answer.left_out),
        "results": [_result_json(result) for result in answer.results],
    }


def left_out_json(left_out: Sequence[LeftOut]) -> list[dict[str, Any]]:
    """The videos that could not answer since they are damaged, as `--json` prints them."""
    return [
        {"video_id": each.video_id, "video": str(each.video), "reason": each.reason}
        for each in left_out
    ]


def _result_json(result: SearchResult) -> dict[str, Any]:
    rate = result.false_alarm_rate
    cue = result.cue
    return {
        **_moment_json(result.moment),
        "video": str(result.video),
        "thumbnail": str(result.thumbnail),
        "false_alarm_rate": None if rate is None else round(rate, 6),
        "found_by": list(result.found_by),
        "cue": cue
        and {
            "start_seconds": round(cue.span.start, 3),
            "end_seconds": round(cue.span.end, 3),
            "text": cue.text,
            "track": cue.track,
        },
        "parts": [_moment_json(part) for part in result.parts],
        "duplicates": [_moment_json(moment) for moment in result.duplicates],
    }


def _moment_json(moment: Moment) -> dict[str, Any]:
    return {
        "video_id": moment.video_id,
        "clip_id": moment.clip_id,
        "start_seconds": round(moment.span.start, 3),
        "end_seconds": round(moment.span.end, 3),
        "peak_seconds": round(moment.peak_seconds, 3),
        "score": round(moment.score, 6),
    }


def likelihood(rate: float | None) -> str:
    """How often a question without an answer here finds one as good, in words."""
    if rate is None:
        return "unknown"
    if rate < 0.001:
        return "< 1 in 1,000"
    return f"1 in {1 / rate:,.0f}" if rate < 0.095 else f"{rate:.0%}"


def print_answer(
    answer: Answer, library: Library, console: Console = out, *, offset: int = 0
) -> None:
    """The moments found, as a table; where there are none, why."""
    if not answer.results:
        if offset:
            console.print(f"nothing after the first {offset:,}: {answer.query}")
        elif library.catalog.videos("searchable"):
            console.print(f"nothing in {library.root} answers: {answer.query}")
        else:
            console.print(f"nothing to search in {library.root}: index a folder first")
        return
    if not answer.matched:
        console.print(f"nothing here matches: {answer.query}\nthe nearest are")
    table = Table(
        Column("video", overflow="fold"),
        Column("start - end", no_wrap=True),
        Column("score", no_wrap=True),
        Column("by chance", no_wrap=True),
        title=answer.query if answer.matched else None,
        title_justify="left",
    )
    for result in answer.results:
        spans = [part.span for part in result.parts] or [result.moment.span]
        lines = [one_line(result.video.name)]
        if result.cue is not None:
            lines.append(f'"{one_line(result.cue.text)}"')
        if result.duplicates:
            lines.append(f"(+{len(result.duplicates)} alike)")
        table.add_row(
            "\n".join(lines),
            "\n".join(f"{clock(span.start)} - {clock(span.end)}" for span in spans),
            f"{result.moment.score:.3f}",
            likelihood(result.false_alarm_rate),
        )
    console.print(table)


def videos_json(query: str, videos: list[RankedVideo], encoder: str) -> dict[str, Any]:
    """The ranking of whole videos as `vidsift search --videos --json` prints it."""
    return {
        "query": query,
        "encoder": encoder,
        "videos": [
            {
                "video_id": video.video_id,
                "video": str(video.path),
                "score": round(video.score, 6),
                "clip_id": video.clips[0].record.id,
                "start_seconds": round(video.clips[0].record.clip.span.start, 3),
            }
            for video in videos
        ],
    }


def print_videos(query: str, videos: list[RankedVideo], console: Console = out) -> None:
    """Whole videos, best first."""
    if not videos:
        console.print(f"nothing to search: {query}")
        return
    table = Table(Column("video", overflow="fold"), "score", title=query, title_justify="left")
    for video in videos:
        table.add_row(one_line(video.path.name), f"{video.score:.3f}")
    console.print(table)
