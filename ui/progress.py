"""Long work with a progress bar: how far, how long still, which file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from indexer import IndexProgress, IndexReport, index_videos
from summarizer import SummaryFiles, summarize, write_summary
from ui.preview import summary_files
from vidsift.library import Library
from vidsift.types import Summary, VideoRecord

__all__ = ["index_with_progress", "render_with_progress", "write_with_progress"]


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        transient=not console.is_terminal,
    )


def index_with_progress(
    library: Library, paths: Sequence[Path | str], console: Console, *, retry: bool = False
) -> IndexReport:
    """Index with a bar of bytes done, the time that is left and the file at hand."""
    with _bar(console) as bar:
        task = bar.add_task("indexing", total=None, note="looking for videos, loading the encoder")

        def show(progress: IndexProgress) -> None:
            bar.update(
                task,
                total=max(progress.total_bytes, 1),
                completed=progress.done_bytes,
                note=f"{progress.done_files}/{progress.total_files} {progress.path.name}",
            )

        return index_videos(library, paths, retry=retry, on_progress=show)


def write_with_progress(
    library: Library, record: VideoRecord, summary: Summary, out: Path | None, console: Console
) -> SummaryFiles:
    """Render and write one summary with a bar; without `out`, into the library's cache."""
    with _bar(console) as bar:
        task = bar.add_task("rendering", total=1.0, note=record.path.name)

        def show(share: float) -> None:
            bar.update(task, completed=share)

        if out is None:
            return summary_files(library, record, summary, show)
        return write_summary(library, record, summary, out, progress=show)


def render_with_progress(library: Library, paths: Sequence[Path], console: Console) -> None:
    """Render the generic summaries of the videos at `paths`."""
    for path in paths:
        record = library.video(path)
        write_with_progress(library, record, summarize(library, record), None, console)
