"""What `vidsift index` prints: the report of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ui.terminal import err, one_line, out

if TYPE_CHECKING:
    from indexer import IndexReport
    from vidsift.library import Library

__all__ = ["index_json", "print_index", "say_if_preparing"]


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
        "subtitles": [str(path) for path in report.subtitles],
        "kept_out": [str(path) for path in report.kept_out],
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
        err.print(f"note: {one_line(path)}: {one_line(note)}", style="yellow")
    for old, new in report.renamed:
        err.print(f"renamed: {one_line(old)} -> {one_line(new)}")
    for path in report.subtitles:
        err.print(f"new subtitles: {one_line(path)}")
    for path in report.kept_out:
        err.print(f"left out: {one_line(path)}: forgotten on purpose (kept-out.txt in the library)")
    for path in report.missing:
        err.print(f"gone: {one_line(path)} (kept, not searched)", style="yellow")
    for path, reason in report.failed:
        err.print(f"skipped: {one_line(path)}: {one_line(reason)}", style="red")
    for path, reason in not_rendered:
        err.print(f"not rendered: {one_line(path)}: {one_line(reason)}", style="red")
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
