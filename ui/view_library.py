"""Library: what can be searched, what cannot and why, and a box to index a folder."""

from __future__ import annotations

from typing import Any

import streamlit as st

from indexer import IndexReport
from ui import elements, session
from vidsift.errors import LibraryNotFoundError, VidsiftError
from vidsift.library import Library
from vidsift.types import VideoRecord

_REFRESH_SECONDS = 0.5
_STATES = {"searchable": "searchable", "failed": "not usable", "missing": "file is gone"}


def show() -> None:
    """The view; the only one that makes sense before there is a library."""
    workspace = session.current()
    try:
        library: Library | None = workspace.library()
    except LibraryNotFoundError:
        library = None
    videos = library.catalog.videos() if library is not None else []
    _heading(library, videos)
    _add_videos(workspace)
    place = st.container()
    if videos:
        _table(videos)
    with place:
        _job(workspace)  # last, since it stays while a run goes on


def _heading(library: Library | None, videos: list[VideoRecord]) -> None:
    if library is None or not videos:
        elements.heading(
            "Library",
            "There is no video in it yet. Name a folder: all videos in it and below it are made"
            " searchable, where they are. Nothing is copied and nothing leaves this machine.",
        )
        return
    searchable = [video for video in videos if video.status == "searchable"]
    elements.heading(f"{len(searchable):,} of {len(videos):,} videos searchable")
    stamp = library.catalog.stamp()
    size = sum(video.fingerprint.size_bytes for video in searchable)
    elements.facts(
        {
            "Length": elements.time_words(sum(video.duration_seconds for video in searchable)),
            "Size": elements.size_words(size),
            "Clips": f"{sum(video.num_clips for video in searchable):,}",
            "Vectors": f"{library.catalog.num_vectors():,}",
            "Encoder": stamp.name if stamp else "none yet",
        }
    )


def _add_videos(workspace: session.Workspace) -> None:
    with st.form("index-form", border=False):
        box, button = st.columns([6, 1], vertical_alignment="bottom")
        path = box.text_input(
            "Folder or video file to index",
            key="index-path",
            placeholder="~/Videos",
            icon=":material/create_new_folder:",
        )
        asked = button.form_submit_button("Index", type="primary", width="stretch")
    if not asked:
        return
    if not path.strip():
        st.error("The path is empty; name a folder that holds videos.", icon=":material/error:")
        return
    try:
        workspace.start_indexing([path.strip()])
    except VidsiftError as error:
        st.error(elements.plain(error), icon=":material/error:")


def _job(workspace: session.Workspace) -> None:
    job = workspace.job
    if job is None:
        return
    if job.running:
        _progress(job)
    elif job.error:
        st.error(elements.plain(job.error), icon=":material/error:")
    elif job.report is not None:
        _report(job.report)


def _progress(job: session.IndexJob) -> None:
    with st.container(border=True):
        bar = st.progress(0.0, text="Looking for videos and loading the encoder ...")
        name = st.empty()
        if st.button("Stop", icon=":material/stop:", key="index-stop"):
            job.stop()
    # A loop and not a timer in the browser, which is lost when views are switched while it fires.
    # Leaving the view ends this script at its next output.
    while job.running:
        progress = job.progress
        if progress is not None and progress.total_bytes > 0:
            left = job.seconds_left
            bar.progress(
                min(1.0, progress.done_bytes / progress.total_bytes),
                text=f"{progress.done_files} of {progress.total_files} files,"
                f" {elements.size_words(progress.done_bytes)} of"
                f" {elements.size_words(progress.total_bytes)}"
                + (f", about {elements.time_words(left)} left" if left is not None else ""),
            )
            with name.container():
                elements.line(progress.path.name)
        else:
            bar.progress(0.0, text="Looking for videos and loading the encoder ...")
        job.wait(_REFRESH_SECONDS)
    st.rerun()  # the whole page: the table and the report have changed


def _report(report: IndexReport) -> None:
    counts = {
        "indexed": len(report.indexed),
        "unchanged": len(report.unchanged),
        "renamed": len(report.renamed),
        "gone": len(report.missing),
        "not usable": len(report.failed),
    }
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "nothing new"
    text = f"Indexing is done: {said}, in {elements.time_words(report.seconds)}."
    if report.failed:
        st.warning(text, icon=":material/warning:")
    else:
        st.success(text, icon=":material/check_circle:")


def _table(videos: list[VideoRecord]) -> None:
    # What needs a person's eye comes first.
    kinds = {"All": sorted(videos, key=lambda video: video.status == "searchable")}
    kinds |= {
        words.capitalize(): [video for video in videos if video.status == status]
        for status, words in _STATES.items()
    }
    shown = [name for name, members in kinds.items() if members]
    if len(shown) > 2:
        chosen = st.segmented_control(
            "Show",
            shown,
            default="All",
            required=True,
            key="library-show",
            label_visibility="collapsed",
            format_func=lambda name: f"{name} ({len(kinds[name])})",
        )
    else:
        chosen = "All"
    rows = kinds[chosen or "All"]
    explain = any(video.reason or video.note for video in rows)
    picked: Any = st.dataframe(
        [_row(video, explain) for video in rows],
        hide_index=True,
        key=f"library-table-{chosen}",
        on_select="rerun",
        selection_mode="single-row",
        height=min(35 * (len(rows) + 1) + 3, 560),
        column_config={
            "Video": st.column_config.TextColumn(width="medium"),
            "Why": st.column_config.TextColumn(width="large"),
        },
    )
    elements.line("Select a row to open the video.")
    selected = picked.selection.rows
    if selected and rows[selected[0]].feature_file:
        elements.open_video(rows[selected[0]].id)


def _row(video: VideoRecord, explain: bool) -> dict[str, Any]:
    known = video.status != "failed"
    return {
        "Video": video.path.name,
        "State": _STATES[video.status],
        **({"Why": video.reason or video.note} if explain else {}),
        "Length": elements.time_words(video.duration_seconds) if known else "",
        "Picture": f"{video.width} x {video.height}" if known else "",
        "Codec": video.codec if known else "",
        "Clips": video.num_clips if known else None,
        "Size": elements.size_words(video.fingerprint.size_bytes),
        "Folder": str(video.path.parent),
    }


if __name__ == "__main__":
    show()
