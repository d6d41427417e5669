"""Library: what can be searched, what cannot and why; a box to index a folder; mending it all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from indexer import IndexReport
from ui import background, check_panel, coverage, elements, encoder_panel, session
from ui.background import Drawn
from ui.coverage import Coverage
from vidsift.errors import DamagedLibraryError, LibraryNotFoundError, MediaError, VidsiftError
from vidsift.library import Library
from vidsift.types import VideoRecord

_SECTIONS = ("Videos", "Check and repair", "Encoder")
_STATES = {"searchable": "searchable", **coverage.STATES}


def show() -> None:
    """The view; the only one that makes sense before there is a library."""
    workspace = session.current()
    try:
        library = workspace.library()
        found = coverage.coverage(library)
        videos = library.catalog.videos()
    except LibraryNotFoundError:
        videos = []
    except DamagedLibraryError as error:
        st.error(elements.plain(elements.without_command(str(error))), icon=":material/error:")
        st.session_state[elements.LIBRARY_SECTION] = _SECTIONS[1]  # when it is mended
        if (at_work := check_panel.show()) is not None:
            background.follow([at_work])
        return
    if videos:
        _heading(library, found, videos)
    else:
        elements.heading(
            "Library",
            "There is no video in it yet. Name a folder: all videos in it and below it are made"
            " searchable, where they are. Nothing is copied and nothing leaves this machine.",
        )
    _add_videos(workspace)
    place = st.container()
    shown = [_section(library, found, videos)] if videos else []
    with place:
        shown.append(_indexing(workspace))
    if followed := [each for each in shown if each is not None]:
        background.follow(followed)  # last, since it stays while they go on


def _section(library: Library, found: Coverage, videos: list[VideoRecord]) -> Drawn | None:
    # Kept under a name of its own: a box that is not drawn forgets what it held.
    if st.session_state.get(elements.LIBRARY_SECTION) not in _SECTIONS:
        st.session_state[elements.LIBRARY_SECTION] = _SECTIONS[0]
    section = st.segmented_control(
        "What to look at",
        _SECTIONS,
        required=True,
        key=elements.LIBRARY_SECTION,
        label_visibility="collapsed",
    )
    if section == "Check and repair":
        return check_panel.show()
    if section == "Encoder":
        return encoder_panel.show(library)
    _table(found, videos)
    return None


def _heading(library: Library, found: Coverage, videos: list[VideoRecord]) -> None:
    away = {video.id for video, _, _ in found.rest}
    searchable = [video for video in videos if video.id not in away]
    elements.heading(f"{found.searchable:,} of {found.total:,} videos searchable")
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


def _indexing(workspace: session.Workspace) -> Drawn | None:
    """The newest run of indexing: how far it is, or what came of it."""
    job = workspace.job
    if job is None:
        return None
    if job.running:
        return job, _progress(job)
    if job.error:
        st.error(elements.plain(elements.without_command(job.error)), icon=":material/error:")
    elif job.report is not None:
        _report(job.report)
    return None


def _progress(job: session.IndexJob) -> Callable[[], None]:
    with st.container(border=True):
        bar = st.progress(0.0, text="Looking for videos and loading the encoder ...")
        name = st.empty()
        if st.button("Stop", icon=":material/stop:", key="index-stop"):
            job.stop()

    def draw() -> None:
        progress = job.progress
        if progress is None or progress.total_bytes <= 0:
            return
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

    return draw


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


def _table(found: Coverage, videos: list[VideoRecord]) -> None:
    why_not = {video.id: (state, reason) for video, state, reason in found.rest}
    states = {video.id: why_not.get(video.id, ("searchable", ""))[0] for video in videos}
    # What needs a person's eye comes first.
    kinds = {"All": sorted(videos, key=lambda video: states[video.id] == "searchable")}
    kinds |= {
        words.capitalize(): [video for video in videos if states[video.id] == state]
        for state, words in _STATES.items()
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
    reasons = {
        video.id: elements.without_command(why_not.get(video.id, ("", ""))[1]) or video.note
        for video in rows
    }
    explain = any(reasons.values())
    picked: Any = st.dataframe(
        [_row(video, states[video.id], reasons[video.id] if explain else None) for video in rows],
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
    _retry([video.path for video, _, _ in found.of("failed")])
    selected = picked.selection.rows
    if selected and rows[selected[0]].feature_file:
        elements.open_video(rows[selected[0]].id)


def _retry(failed: list[Path]) -> None:
    if not failed:
        return
    what = "the file" if len(failed) == 1 else f"the {len(failed):,} files"
    st.button(
        f"Try {what} again that could not be used",
        key="library-retry",
        icon=":material/refresh:",
        on_click=_try_again,
        args=(failed,),
    )


def _try_again(failed: list[Path]) -> None:
    with elements.errors_shown():
        there = [str(path) for path in failed if path.exists()]
        if not there:
            raise MediaError(
                failed[0], "is gone; index its folder, which forgets what is not there"
            )
        session.current().start_indexing(there, retry=True)


def _row(video: VideoRecord, state: str, why: str | None) -> dict[str, Any]:
    known = video.status != "failed"
    return {
        "Video": video.path.name,
        "State": _STATES[state],
        **({"Why": why} if why is not None else {}),
        "Length": elements.time_words(video.duration_seconds) if known else "",
        "Picture": f"{video.width} x {video.height}" if known else "",
        "Codec": video.codec if known else "",
        "Clips": video.num_clips if known else None,
        "Size": elements.size_words(video.fingerprint.size_bytes),
        "Folder": str(video.path.parent),
    }


if __name__ == "__main__":
    show()
