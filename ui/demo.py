"""The demo: a library of real videos, four searches, two summaries, and where all of it lies."""

from __future__ import annotations

import shlex
from pathlib import Path

import platformdirs
from rich.console import Console

from search import SearchEngine
from summarizer import Skim, summarize
from ui.answers import print_answer
from ui.demo_films import DEMO_QUERIES, build_demo_videos
from ui.progress import index_with_progress, share_shown, write_with_progress
from ui.report import say_if_preparing
from vidsift.library import Library
from vidsift.paths import expanded

__all__ = ["run_demo"]

_ABSENT = "surfers riding a big wave"  # none of the videos shows it, and vidsift is to say so
_SUMMARIES = (("launch_day", ""), ("coffee_break", "a cup of coffee"))


def run_demo(folder: Path | None, out: Console, err: Console) -> None:
    """Build the demo in `folder` (default: the user's data folder) or continue it, and show it.

    Raises:
        VidsiftError: the extra `demo` is not installed, or the folder cannot be written.
    """
    root = expanded(folder or platformdirs.user_data_path("vidsift") / "demo").absolute()
    with share_shown("building", "the demo's videos", err) as show:
        videos = build_demo_videos(root / "videos", show)
    with Library.open(root / "library", create=True) as library:
        say_if_preparing(library)
        report = index_with_progress(library, [root / "videos"], err)
        seconds = sum(video.duration_seconds for video in library.catalog.videos())
        out.print(
            f"{len(videos)} videos, {seconds / 60:.1f} minutes: {len(report.indexed)} indexed in"
            f" {report.seconds:.1f} s, {len(report.unchanged)} unchanged\n"
        )
        engine = SearchEngine(library)
        for query in (*DEMO_QUERIES, _ABSENT):
            print_answer(engine.ask(query, 3), library, out)
            out.print()
        for name, query in _SUMMARIES:
            record = library.video(name)
            summary = summarize(library, record, query)
            files = write_with_progress(library, Skim.of(record, summary), root / "summaries", err)
            about = f'about "{query}"' if query else "generic"
            out.print(
                f"summary of {record.path.name}, {about}: {summary.duration_seconds:.1f} s of"
                f" {record.duration_seconds:.1f} s\n  video       {files['mp4']}\n"
                f"  storyboard  {files['png']}\n"
            )
    command = "vidsift" if not Path(".venv/bin/vidsift").exists() else ".venv/bin/vidsift"
    command += f" --library {shlex.quote(str(root / 'library'))}"
    out.print(
        f"the library   {root / 'library'}\n"
        f"open the page {command} ui\n"
        f"search it     {command} search 'a red motorcycle'"
    )
