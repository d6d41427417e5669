"""The parts that every view is made of, and the one place where text becomes markup.

File names and questions are whatever a person or a stranger made them. They reach the page through
`plain` (for what Streamlit reads as Markdown) or escaped by `line` (HTML), never as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Literal

import streamlit as st

from ui import session
from vidsift.errors import (
    DamagedLibraryError,
    LibraryNotFoundError,
    QuestionSyntaxError,
    VidsiftError,
)
from vidsift.store.inside import read_inside

__all__ = [
    "ALERTS_PAGE",
    "BLUR_HELP",
    "BLUR_LABEL",
    "LIBRARY_PAGE",
    "LIBRARY_SECTION",
    "SEARCH_PAGE",
    "SUMMARIES_PAGE",
    "VIDEO_PAGE",
    "caption",
    "dress",
    "errors_shown",
    "facts",
    "heading",
    "icon_button",
    "line",
    "open_library",
    "open_video",
    "plain",
    "play",
    "reason",
    "size_words",
    "steps",
    "tile",
    "time_words",
    "welcome",
    "without_command",
]

ALERTS_PAGE = "view_alerts.py"
SUMMARIES_PAGE = "view_summaries.py"
SEARCH_PAGE = "view_search.py"
VIDEO_PAGE = "view_video.py"
LIBRARY_PAGE = "view_library.py"
LIBRARY_SECTION = "library-section"
"""Key of the session's state: the section of the Library view that is open."""

BLUR_LABEL = "Blur people (best effort)"
BLUR_HELP = (
    "People are blurred as far as they are found; some will be missed, so look at the film before"
    " you show it to anyone. Voices, words and names stay. It takes longer."
)

# What Streamlit gives to a player it holds in memory whole.
_MAX_PLAYED_BYTES = 200_000_000
# What an error tells to run on a command line; where a view has buttons for it.
_COMMAND = re.compile(
    r"; run `vidsift [^`]*`[^;()]*$|, or let the command do so with --wait| and run `vidsift .*$"
)
_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:^&=/@])")

_STYLE = """
<style>
[data-testid="stMainBlockContainer"] {padding-top: 3.6rem; padding-bottom: 3rem; max-width: 86rem}
[data-testid="stMainMenu"], [data-testid="stAppDeployButton"], footer {display: none}
.vs-title {font-size: 1.55rem; font-weight: 650; line-height: 1.3; overflow-wrap: anywhere}
.vs-name {font-weight: 600; white-space: nowrap; overflow: hidden; text-overflow: ellipsis}
.vs-note {color: #98a2b0; font-size: .875rem; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis}
.vs-sure {color: #4fb3a5; font-size: .875rem; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis}
.vs-small {color: #98a2b0; font-size: .8rem; overflow-wrap: anywhere}
.vs-middle {color: #98a2b0; font-size: .875rem; text-align: center; white-space: nowrap}
.vs-text {color: #98a2b0; font-size: .95rem; overflow-wrap: anywhere}
.vs-said {overflow-wrap: anywhere}
.vs-curve {position: relative; margin: .4rem 0 -.6rem; height: 64px}
.vs-curve div {position: absolute; top: 0; bottom: 0; box-sizing: border-box}
.vs-curve .area {left: 0; right: 0; background: #98a2b0aa}
.vs-curve .on {background: #4fb3a566}
.vs-curve .off {border: 1px dashed #4fb3a5}
.vs-curve .point:hover {background: #f0b35a88}
.vs-timeline {margin: .2rem 0}
.vs-timeline .chapters {position: relative; height: 1.35rem; margin-top: 2px}
.vs-timeline .chapter {position: absolute; top: 0; bottom: 0; overflow: hidden; padding: 0 .3rem;
  border-left: 2px solid #4fb3a5; color: #98a2b0; font-size: .75rem; line-height: 1.35rem;
  white-space: nowrap; text-overflow: ellipsis; box-sizing: border-box}
.vs-timeline .bars {position: relative; height: 34px; border-radius: 4px; overflow: hidden;
  background: #1b1e24}
.vs-timeline .bars div {position: absolute; top: 6px; bottom: 0}
.vs-timeline .odd {background: #3d4754}
.vs-timeline .even {background: #2f3742}
.vs-timeline .bars .segment {top: 0; background: #4fb3a566; border-top: 6px solid #4fb3a5}
.vs-timeline .bars .playing {border: 2px solid #f0b35a; border-radius: 4px}
.vs-timeline .ticks {position: relative; height: 1.2rem; color: #8b95a3; font-size: .78rem}
.vs-timeline .ticks span {position: absolute}
.vs-facts {display: flex; flex-wrap: wrap; gap: .4rem 2.2rem; margin: .1rem 0}
.vs-facts div {min-width: 4.5rem}
.vs-facts span {display: block; color: #98a2b0; font-size: .8rem}
.vs-facts b {font-weight: 600}
[class*="st-key-tile-"] {position: relative; gap: 0; overflow: hidden; border-radius: .5rem;
  background: #181a1e}
[class*="st-key-tile-"] [data-testid="stFullScreenFrame"] > div,
[class*="st-key-tile-"] [data-testid="stImage"],
[class*="st-key-tile-"] [data-testid="stImageContainer"] {width: 100%}
[class*="st-key-tile-"] img {width: 100% !important; aspect-ratio: 16 / 9; object-fit: contain;
  display: block; border-radius: .5rem; transition: filter .15s}
[class*="st-key-tile-board-"] img {aspect-ratio: 16 / 8; padding: .3rem .3rem 1.9rem}
[class*="st-key-tile-"] [data-testid="stElementToolbar"] {display: none}
[class*="st-key-tile-"]:hover img {filter: brightness(1.15)}
[class*="st-key-hit-"] {position: absolute !important; inset: 0; width: 100% !important;
  height: 100% !important}
[class*="st-key-hit-"] .stButton {width: 100%; height: 100%}
[class*="st-key-hit-"] button {width: 100%; height: 100%; min-height: 0; padding: .35rem .5rem;
  align-items: flex-end; justify-content: flex-start; color: #fff; border-radius: .5rem;
  border: 1px solid transparent; background: linear-gradient(#0000 62%, #000c)}
[class*="st-key-tile-board-"] button {background: none; text-shadow: 0 0 6px #000, 0 0 3px #000}
[class*="st-key-hit-"] button:hover {border-color: #4fb3a5; color: #fff;
  background: linear-gradient(#0000 45%, #000d)}
[class*="st-key-hit-"] button:focus-visible {border-color: #4fb3a5}
[class*="st-key-hit-"] button p {font-size: .85rem; font-weight: 600}
[class*="st-key-tile-now-"] {outline: 2px solid #f0b35a; outline-offset: 1px}
[class*="st-key-tile-weak-"] img {opacity: .45}
.st-key-results, [class*="st-key-grid-"] {display: grid !important; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr))}
[class*="st-key-grid-"] {gap: .7rem;
  grid-template-columns: repeat(auto-fill, minmax(min(10.5rem, 100%), 1fr))}
[class*="st-key-strip-"] {display: grid !important; gap: .5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(7.6rem, 45%), 1fr))}
[class*="st-key-card-"] {padding: .6rem; gap: .3rem}
[class*="st-key-do-"] {margin-top: .15rem; gap: .6rem}
[class*="st-key-do-"] [data-testid="stPopoverButton"] {padding: .2rem .3rem; min-height: 0}
[class*="st-key-icon-"] button {padding: .2rem .3rem; min-height: 0}
[class*="st-key-icon-"] [data-testid="stMarkdownContainer"] {position: absolute; width: 1px;
  height: 1px; overflow: hidden; clip-path: inset(50%)}
.st-key-coverage {position: fixed; top: .7rem; right: 7.2rem; z-index: 999991;
  width: auto !important}
.st-key-coverage .vs-note {line-height: 2.2rem}
.st-key-coverage button {min-height: 2.2rem; padding: .1rem .6rem}
.vs-steps {margin: 0; padding-left: 1.1rem; overflow-wrap: anywhere}
.vs-steps li {margin: .15rem 0}
.vs-steps li::marker {color: #4fb3a5}
.vs-reason {margin: .1rem 0; padding-left: .6rem; border-left: 2px solid #2b3038}
.vs-reason b {display: block; font-weight: 600; overflow-wrap: anywhere}
.vs-reason span {color: #98a2b0; font-size: .875rem; overflow-wrap: anywhere}
@media (max-width: 640px) {.st-key-coverage {right: .5rem}}
[data-testid="stVideo"] {max-height: 62vh; border-radius: .5rem; background: #000}
</style>
"""


def dress() -> None:
    """Add the style sheet to the page."""
    st.html(_STYLE)


def plain(text: object) -> str:
    """Text that Streamlit's Markdown shows as it stands, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(str(text).split()))


def line(
    text: object,
    kind: str = "note",
    tooltip: object = "",
    width: Literal["stretch", "content"] = "stretch",
) -> None:
    """One piece of text, escaped; `kind` is a class of the style sheet without its `vs-`."""
    body = f'<div class="vs-{kind}" title="{escape(str(tooltip))}">{escape(str(text))}</div>'
    st.html(body, width=width)


def heading(text: object, note: object = "") -> None:
    """The heading of a view and a quiet line below it."""
    below = f'<div class="vs-text">{escape(str(note))}</div>' if note else ""
    st.html(f'<div class="vs-title">{escape(str(text))}</div>{below}')


def caption(name: object, note: object, tooltip: object = "") -> None:
    """What a card says: a name, and a quiet line below it."""
    st.html(
        f'<div class="vs-name" title="{escape(str(tooltip))}">{escape(str(name))}</div>'
        f'<div class="vs-note">{escape(str(note))}</div>'
    )


def facts(pairs: dict[str, object]) -> None:
    """Names and values side by side."""
    cells = "".join(
        f"<div><span>{escape(name)}</span><b>{escape(str(value))}</b></div>"
        for name, value in pairs.items()
    )
    st.html(f'<div class="vs-facts">{cells}</div>')


def reason(name: object, why: object, tooltip: object = "") -> None:
    """What a thing is called, and below it why it is as it is."""
    st.html(
        f'<div class="vs-reason" title="{escape(str(tooltip))}"><b>{escape(str(name))}</b>'
        f"<span>{escape(str(why))}</span></div>"
    )


def steps(texts: Sequence[object], most: int = 20) -> None:
    """What is done or was, one line each."""
    shown = [f"<li>{escape(str(text))}</li>" for text in texts[:most]]
    if len(texts) > most:
        shown.append(f"<li>and {len(texts) - most:,} more of this kind</li>")
    st.html(f'<ul class="vs-steps">{"".join(shown)}</ul>')


def tile(picture: Path, label: str, key: str, *, kind: str = "clip") -> bool:
    """A picture of the library that can be clicked, with a label on it; whether it was.

    `kind` is clip, weak (dimmed), now (what is playing) or board (a storyboard).
    """
    with st.container(key=f"tile-{kind}-{key}"):
        try:
            # As bytes, which have been looked at: a path would be served whatever lies there.
            st.image(_jpeg(picture), width="stretch", alt="")
        except (OSError, DamagedLibraryError):  # lost; a place without a picture can be clicked
            st.html('<div style="aspect-ratio: 16 / 9"></div>')
        return st.button(label, key=f"hit-{key}")


def _jpeg(picture: Path) -> bytes:
    content = read_inside(session.current().root, picture)
    if not content.startswith(b"\xff\xd8\xff"):
        raise DamagedLibraryError(f"{picture}: is no picture of a clip")
    return content


def icon_button(label: str, icon: str, key: str, *, is_chosen: bool = False) -> bool:
    """A button that shows an icon alone; its label is the tooltip and what a reader hears."""
    with st.container(key=f"icon-{key}", width="content"):
        kind: Literal["primary", "tertiary"] = "primary" if is_chosen else "tertiary"
        return st.button(label, key=key, icon=icon, help=label, type=kind)


def play(clip: Path, *, autoplay: bool = False, name: str = "") -> None:
    """A player for a short file of the library that was made for it.

    Raises:
        DamagedLibraryError: it is no file of the library, but a link out of it.
    """
    if (size := clip.stat().st_size) > _MAX_PLAYED_BYTES:
        line(f"At {size_words(size)} this is too large for the page's player: {clip}", "text")
        return
    st.video(read_inside(session.current().root, clip), autoplay=autoplay, alt=name or None)


@contextmanager
def errors_shown() -> Iterator[None]:
    """Turn what vidsift raises on purpose into one line of the page."""
    try:
        yield
    except LibraryNotFoundError:
        welcome()
    except VidsiftError as error:
        st.error(plain(error), icon=":material/error:")
        if isinstance(error, QuestionSyntaxError):
            st.code(error.pointer(), language=None)


def welcome() -> None:
    """What a page without a single video says instead of its content."""
    heading(
        "Welcome to vidsift",
        "Name a folder of videos on the Library page: each video is summarised, and every moment"
        " can be found in words. Nothing leaves this machine.",
    )
    if st.button("Add a folder of videos", type="primary", icon=":material/create_new_folder:"):
        st.switch_page(LIBRARY_PAGE)


def open_video(video_id: int, seconds: float | None = None) -> None:
    """Go to a video's page, at a time if one is given."""
    where = {"id": str(video_id)}
    if seconds is not None:
        where["t"] = f"{seconds:.2f}"
    st.switch_page(VIDEO_PAGE, query_params=where)


def open_library(section: str = "") -> None:
    """Go to the Library view, to a section of it if one is named."""
    if section:
        st.session_state[LIBRARY_SECTION] = section
    st.switch_page(LIBRARY_PAGE)


def without_command(text: str) -> str:
    """An error or a reason without what it tells to run on a command line."""
    return _COMMAND.sub("", text)


def size_words(size_bytes: float) -> str:
    """Bytes for a person: `812 kB`, `4.1 MB`, `2.7 GB`."""
    if size_bytes < 1000:
        return f"{size_bytes:.0f} B"
    power = min(4, int(math.log10(size_bytes) / 3))
    scaled = size_bytes / 1000**power
    return f"{scaled:.{1 if scaled < 10 else 0}f} {('kB', 'MB', 'GB', 'TB')[power - 1]}"


def time_words(seconds: float) -> str:
    """A length for a person: `8.4 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole // 60 % 60:02d} min"
