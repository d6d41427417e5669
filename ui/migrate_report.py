"""What `vidsift migrate` prints: the spaces there are, what was built, how two spaces compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Column, Table

from ui.terminal import out

if TYPE_CHECKING:
    from indexer.migrate import MigrateReport
    from indexer.switch import SpaceStatus
    from search.compare import Comparison

__all__ = [
    "build_json",
    "comparison_json",
    "print_build",
    "print_comparison",
    "print_spaces",
    "space_json",
]

_SHOWN = 5  # questions whose answers differ most


def print_spaces(found: Sequence[SpaceStatus]) -> None:
    """The space that is searched, and the others."""
    table = Table(Column("encoder", overflow="fold"), "space", "videos", "size")
    for each in found:
        lacking = f", {each.missing_cues} subtitle lines lack" if each.missing_cues else ""
        table.add_row(
            each.stamp.name,
            _role(each),
            f"{each.videos} of {each.wanted}{lacking}",
            f"{each.num_bytes / 1e6:.1f} MB",
        )
    out.print(table)


def _role(status: SpaceStatus) -> str:
    if status.space is None:
        return "searched"
    return "built" if status.space.left_at is None else "searched before"


def space_json(status: SpaceStatus) -> dict[str, Any]:
    """One space, as `--json` prints it."""
    return {
        "encoder": status.stamp.name,
        "dimension": status.stamp.dimension,
        "space": _role(status),
        "videos": status.videos,
        "of_videos": status.wanted,
        "missing_cues": status.missing_cues,
        "whole": status.is_whole,
        "bytes": status.num_bytes,
    }


def build_json(report: MigrateReport) -> dict[str, Any]:
    """What became of every video, as `--json` prints it."""
    return {
        "encoder": report.encoder,
        "built": [str(path) for path in report.built],
        "unchanged": report.unchanged,
        "failed": [{"video": str(path), "reason": reason} for path, reason in report.failed],
        "cues": report.cues,
        "seconds": round(report.seconds, 3),
        "video_seconds": round(report.video_seconds, 3),
    }


def print_build(report: MigrateReport) -> None:
    """The videos that could not be taken into the space, and the counts."""
    for path, reason in report.failed:
        out.print(f"not in the space: {path}: {reason}")
    speed = report.video_seconds / report.seconds if report.seconds else 0.0
    out.print(
        f"{report.encoder}: {len(report.built)} videos built, {report.unchanged} were there,"
        f" {len(report.failed)} could not be; {report.cues} lines of subtitles;"
        f" {report.seconds:.1f} s, {speed:.0f} times real time"
    )


def comparison_json(compared: Comparison, shipped: int) -> dict[str, Any]:
    """A comparison, as `--json` prints it; so many of the questions ship with vidsift."""
    return {
        "encoders": list(compared.encoders),
        "questions": len(compared.differences),
        "shipped_questions": shipped,
        "overlap_at_10": {
            "videos": round(compared.videos, 4),
            "videos_by_chance": _rounded(compared.videos_by_chance),
            "moments": round(compared.moments, 4),
            "moments_by_chance": _rounded(compared.moments_by_chance),
        },
        "matched": [round(share, 4) for share in compared.matched],
        "by_question": [
            {
                "question": each.question,
                "videos": round(each.videos, 4),
                "moments": round(each.moments, 4),
                "matched": list(each.matched),
                "best": [str(best.video) if best else None for best in each.best],
            }
            for each in compared.differences
        ],
        "skipped": [{"question": text, "reason": why} for text, why in compared.skipped],
        "pooler": compared.pooler,
    }


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def print_comparison(compared: Comparison, shipped: int) -> None:
    """Overlaps beside what comes of chance, and the questions whose answers differ most."""
    first, second = compared.encoders
    count = len(compared.differences)
    out.print(f"{first} (searched) and {second} on {count} questions")
    if shipped:
        out.print(f"{shipped} of these ship with vidsift, since few were asked here yet")
    for what, share, chance in (
        ("videos", compared.videos, compared.videos_by_chance),
        ("moments", compared.moments, compared.moments_by_chance),
    ):
        by_chance = "" if chance is None else f" (by chance {chance:.2f})"
        out.print(f"overlap at 10, {what}: {share:.2f}{by_chance}, n = {count}")
    ours, theirs = compared.matched
    out.print(f"questions that something matches: {ours:.2f} and {theirs:.2f}")
    if compared.pooler:
        out.print(
            f"the pooler {compared.pooler} was trained for {first}; {second} was asked with softmax"
        )
    table = Table(
        Column("differs most", overflow="fold"), "videos", "moments", "best of each", "matched"
    )
    for each in compared.most_different(_SHOWN):
        table.add_row(
            each.question,
            f"{each.videos:.1f}",
            f"{each.moments:.1f}",
            "\n".join(best.video.name if best else "-" for best in each.best),
            "\n".join("yes" if matched else "no" for matched in each.matched),
        )
    out.print(table)
    for text, why in compared.skipped:
        out.print(f"not compared: {text}: {why}")
