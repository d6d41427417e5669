"""Long work with a progress bar: how far, how long still, which file.

Where stderr is no terminal there is no bar; one line then says what has begun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from indexer import IndexProgress, IndexReport, index_videos
from summarizer import Skim, summarize, write_skim
from summarizer.formats import DEFAULT_FORMATS
from ui.preview import skim_files
from ui.terminal import one_line
from vidsift.errors import MediaError, StorageError, VidsiftError
from vidsift.library import Library

__all__ = [
    "index_with_progress",
    "render_with_progress",
    "share_shown",
    "write_with_progress",
]


_BAR_WIDTH = 20


@contextmanager
def _bar(what: str, note: str, console: Console) -> Iterator[tuple[Progress, TaskID]]:
    """A bar of one task, whose total is not known yet."""
    if not console.is_terminal:
        console.print(f"{what}: {one_line(note)}")
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(_BAR_WIDTH),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        # A long name is cut, lest it push the bar out of the line.
        TextColumn(
            "{task.fields[note]}",
            markup=False,
            table_column=Column(no_wrap=True, max_width=max(10, console.width - _BAR_WIDTH - 40)),
        ),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield bar, bar.add_task(what, total=None, note=note)


def index_with_progress(
    library: Library, paths: Sequence[Path | str], console: Console, *, retry: bool = False
) -> IndexReport:
    """Index with a bar of bytes done, the time that is left and the file at hand."""
    with _bar("indexing", "looking for videos, loading the encoder", console) as (bar, task):

        def show(progress: IndexProgress) -> None:
            bar.update(
                task,
                total=max(progress.total_bytes, 1),
                completed=progress.done_bytes,
                note=f"{progress.done_files}/{progress.total_files} {progress.path.name}",
            )

        return index_videos(library, paths, retry=retry, on_progress=show)


@contextmanager
def share_shown(what: str, note: str, console: Console) -> Iterator[Callable[[float], None]]:
    """Show the share of the work that is done; call what this gives with it, 0 to 1."""
    with _bar(what, note, console) as (bar, task):
        yield lambda share: bar.update(task, total=1.0, completed=share)


def write_with_progress(
    library: Library,
    skim: Skim,
    out: Path | None,
    console: Console,
    formats: Sequence[str] = DEFAULT_FORMATS,
    *,
    track: str = "",
) -> dict[str, Path]:
    """Render and write one skim with a bar; without `out`, into the library's cache.

    Raises:
        as summarizer.write_skim.
    """
    with share_shown("rendering", skim.title, console) as show:
        if out is not None:
            return write_skim(library, skim, out, formats, track=track, progress=show)
        try:
            return skim_files(library, skim, formats, track=track, progress=show)
        except StorageError as error:
            told = str(error).removesuffix("; name another folder")
            raise StorageError(f"{told}; name a folder with --out") from error


def render_with_progress(
    library: Library, paths: Sequence[Path], console: Console
) -> list[tuple[Path, str]]:
    """Render the generic summaries of the videos at `paths`; returns which failed, and why."""
    failed = []
    for path in paths:
        try:
            record = library.video(path)
            skim = Skim.of(record, summarize(library, record))
            write_with_progress(library, skim, None, console)
        except VidsiftError as error:
            # One video must not cost the rest theirs.
            reason = error.reason if isinstance(error, MediaError) else str(error)
            failed.append((path, reason))
    return failed
