"""The tags of a video, to be seen and changed where the video is shown."""

from __future__ import annotations

import streamlit as st

from ui import elements
from vidsift.errors import VidsiftError
from vidsift.library import Library
from vidsift.store.tags import change_tags, tags_of_videos
from vidsift.types import VideoRecord

__all__ = ["edit_tags"]


def edit_tags(library: Library, video: VideoRecord) -> None:
    """A box of the video's tags: choose one that the library knows, type a new one, or remove one.

    What the box holds is what is stored, also after a change that could not be made, which is
    said above it.
    """
    error = st.session_state.pop("tags-error", None)
    if error is not None:
        with elements.errors_shown():
            raise error
    tags = tags_of_videos(library.catalog)
    key = f"tags-{video.id}"
    st.session_state[key] = list(tags.get(video.id, ()))
    st.multiselect(
        "Tags",
        sorted({tag for listed in tags.values() for tag in listed}),
        key=key,
        accept_new_options=True,
        placeholder="Tags: choose one, or type a new one",
        help="A question is narrowed to videos with a tag by tag:NAME",
        on_change=_changed,
        args=(library, video.id, key),
        label_visibility="collapsed",
    )


def _changed(library: Library, video_id: int, key: str) -> None:
    wanted: list[str] = st.session_state[key]
    try:
        known = set(tags_of_videos(library.catalog).get(video_id, ()))
        change_tags(
            library.catalog, [video_id], add=set(wanted) - known, remove=known - set(wanted)
        )
    except VidsiftError as error:  # said by the page, which is drawn after this
        st.session_state["tags-error"] = error
