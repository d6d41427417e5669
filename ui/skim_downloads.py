"""Taking a skim away: each format a button; its file is made when it is asked for."""

from __future__ import annotations

import mimetypes
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import streamlit as st

from summarizer import FORMATS, Skim, write_skim
from summarizer.formats import possible_formats
from summarizer.storyboard import skim_thumbnails
from summarizer.write import skim_name
from ui import elements, preview, rendering
from vidsift.library import Library
from vidsift.store.inside import read_inside

__all__ = ["downloads"]

_PICTURED = ("png", "html")


def downloads(library: Library, skim: Skim, place: str) -> None:
    """A popover with the formats; one that cannot hold this skim says why on pointing at it."""
    with st.popover("Download", icon=":material/download:", width="stretch", key=f"take-{place}"):
        _, reasons = possible_formats(library, skim)
        lost = [path for path in skim_thumbnails(library, skim) if not path.is_file()]
        if lost:
            why = f"{lost[0]} is lost; run `vidsift index` on the video's folder to make it again"
            reasons |= dict.fromkeys(_PICTURED, why)
        film = preview.known_skim(library, skim).get("mp4")
        blurred = "-blurred" if skim.blur_people else ""
        for form in FORMATS.values():
            label = elements.plain(f"{form.name}: {form.description}")
            key = f"take-{place}-{form.name}"
            if form.name == "mp4" and film is None and "mp4" not in reasons:
                # A film takes a while, and a download has no bar that shows how long.
                if st.button(f"{label} (render it first)", key=key, width="stretch"):
                    rendering.wish(place, skim)
                continue
            st.download_button(
                label,
                partial(read_inside, library.root, film)
                if form.name == "mp4" and film
                else _made(library, skim, form.name),
                file_name=f"{skim_name(skim)}{blurred}{form.suffix}",
                mime=mimetypes.guess_type(f"x{form.suffix}")[0] or "application/octet-stream",
                key=key,
                help=elements.plain(reasons.get(form.name, "")) or None,
                disabled=form.name in reasons,
                on_click="ignore",
                width="stretch",
            )


def _made(library: Library, skim: Skim, name: str) -> Callable[[], bytes]:
    """Makes the file in a folder of its own: a library may be one that cannot be written."""

    def make() -> bytes:
        with tempfile.TemporaryDirectory(prefix="vidsift-") as folder:
            return write_skim(library, skim, Path(folder), [name])[name].read_bytes()

    return make
