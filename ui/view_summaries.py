"""Summaries: the storyboard of every video, to browse a library at a glance."""

from __future__ import annotations

import streamlit as st

from summarizer import Skim, summarize
from ui import across_panel, elements, preview, rendering, session
from vidsift.library import Library
from vidsift.types import VideoRecord

_PAGE_SIZE = 24
_COLUMNS = 3
_ORDERS = {
    "Newest": lambda video: (-video.indexed_at, video.path.name.lower()),
    "Name": lambda video: (video.path.name.lower(), str(video.path)),
    "Longest": lambda video: (-video.duration_seconds, video.path.name.lower()),
}


def show() -> None:
    """The view."""
    library = session.current().library()
    # A video whose file is away still has its pictures; one that failed never had any.
    videos = [video for video in library.catalog.videos() if video.feature_file]
    if not videos:
        elements.welcome()
        return
    _heading(videos)
    chosen = _chosen(videos)
    if not chosen:
        elements.line("No video is called so.", "text")
        return
    progress = st.empty()
    across_panel.show(library, chosen)
    for video_row in _rows(_page_of(chosen)):
        for column, video in zip(st.columns(_COLUMNS), video_row, strict=False):
            with column:
                _card(library, video)
    rendering.finish(library, across_panel.PLACE, progress)


def _heading(videos: list[VideoRecord]) -> None:
    seconds = sum(video.duration_seconds for video in videos)
    videos_in_words = "1 video" if len(videos) == 1 else f"{len(videos):,} videos"
    elements.heading("Summaries", f"{videos_in_words}, {elements.time_words(seconds)} in all")


def _chosen(videos: list[VideoRecord]) -> list[VideoRecord]:
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    wanted = left.text_input(
        "Filter",
        key="summaries-filter",
        placeholder="Filter by name",
        icon=":material/filter_list:",
        label_visibility="collapsed",
    )
    order = right.segmented_control(
        "Order",
        list(_ORDERS),
        default="Newest",
        required=True,
        key="summaries-order",
        label_visibility="collapsed",
    )
    words = wanted.lower().split()
    return sorted(
        (video for video in videos if all(word in video.path.name.lower() for word in words)),
        key=_ORDERS[order or "Newest"],
    )


def _page_of(videos: list[VideoRecord]) -> list[VideoRecord]:
    pages = -(-len(videos) // _PAGE_SIZE)
    if pages == 1:
        return videos
    page = st.pagination(pages, key="summaries-page")
    return videos[(page - 1) * _PAGE_SIZE : page * _PAGE_SIZE]


def _rows(videos: list[VideoRecord]) -> list[list[VideoRecord]]:
    return [videos[start : start + _COLUMNS] for start in range(0, len(videos), _COLUMNS)]


def _card(library: Library, video: VideoRecord) -> None:
    with st.container(border=True):
        clicked = elements.tile(
            library.storyboard(video),
            ":material/play_arrow: Play summary",
            f"s{video.id}",
            kind="board",
        )
        left, right = st.columns([3, 1], vertical_alignment="center")
        away = "file is gone · " if video.status == "missing" else ""
        with left:
            elements.caption(
                video.path.name,
                f"{away}{elements.time_words(video.duration_seconds)}"
                f" · {video.width} x {video.height}",
                tooltip=video.path,
            )
        if right.button("Open", key=f"open-{video.id}", width="stretch"):
            elements.open_video(video.id)
    if clicked:
        _play_summary(library, video)


@st.dialog("Summary", width="medium")
def _play_summary(library: Library, video: VideoRecord) -> None:
    elements.line(video.path.name, "name", tooltip=video.path)
    with elements.errors_shown():
        summary = summarize(library, video)
        with st.spinner("Rendering the summary ..."):
            files = preview.skim_files(library, Skim.of(video, summary), ["mp4"])
        elements.play(files["mp4"], autoplay=True)
        elements.line(
            f"{elements.time_words(summary.duration_seconds)} of"
            f" {elements.time_words(video.duration_seconds)}"
        )
    if st.button("Open the video", key="summary-open", icon=":material/movie:"):
        elements.open_video(video.id)


if __name__ == "__main__":
    show()
