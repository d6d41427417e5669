"""The form in which a question is put: words, a picture, and what is liked and not liked so far."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from ui import elements

__all__ = ["Asked", "forget_likes", "judge", "look_for_like", "question"]

_PICTURE_TYPES = ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"]
_PICTURE_MB = 20

_HOW = """
| to ask | write |
|---|---|
| several things in one moment | `"a dog" "a frisbee"` |
| without something | `a beach -"night"` |
| one thing more than another | `"a dog"^2 "grass"` |
| in this order | `"a man enters" then<20s "a car leaves"` |
| words that are spoken | `said:"good morning"` |
| some videos only | `video:holiday  path:2024  tag:family  after:2024-05  longer:10m` |
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person has asked for: what `SearchEngine.ask` takes, and what it is called here."""

    text: str
    image: Path | None = None
    like: str | None = None
    yes: tuple[str, ...] = ()
    no: tuple[str, ...] = ()
    flat: bool = False
    whole_videos: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of `SearchEngine.ask`."""
        return {
            "image": self.image,
            "like": self.like,
            "yes": self.yes,
            "no": self.no,
            "flat": self.flat,
        }


def question() -> Asked | None:
    """Draw the form; what is asked, or None before the first question.

    The words and the moment that is looked for stand in the address, so that they can be shared.
    """
    address, state = st.query_params, st.session_state
    if "q" in address or "like" in address:
        state["search-last"] = address.get("q", "")
        state["search-like"] = address.get("like")
    elif "search-last" in state:
        address.from_dict(_address(state["search-last"], state.get("search-like")))
    state["search-box"] = state.get("search-last", "")
    with st.form("search-form", border=False):
        box, button = st.columns([6, 1], vertical_alignment="bottom")
        box.text_input(
            "Question",
            key="search-box",
            placeholder="for example: a red car, somebody pouring coffee",
            icon=":material/search:",
            label_visibility="collapsed",
        )
        button.form_submit_button("Search", type="primary", width="stretch", on_click=_asked)
    picture, flat, whole = _options()
    like = state.get("search-like")
    if picture is None and "search-last" not in state:
        return None
    asked = Asked(
        state.get("search-last", ""),
        picture,
        like,
        tuple(state.get("search-yes", ())),
        tuple(state.get("search-no", ())),
        flat,
        whole,
    )
    _said_so_far(asked)
    return asked if asked.text or picture is not None or like else None


def _address(text: str, like: str | None) -> dict[str, str]:
    return {"q": text} | ({"like": like} if like else {})


def _asked() -> None:
    _look_for(st.session_state["search-box"], None)


def _look_for(text: str, like: str | None) -> None:
    state = st.session_state
    state["search-last"], state["search-like"] = text, like
    state["search-yes"], state["search-no"] = [], []
    state.pop("search-wanted", None)
    st.query_params.from_dict(_address(text, like))


def look_for_like(moment: str) -> None:
    """Ask for moments like this one (`VIDEO@SECONDS`)."""
    _look_for("", moment)


def judge(moment: str, good: bool) -> None:
    """Say that this moment is, or is not, what is looked for; a second time takes it back."""
    here, there = ("search-yes", "search-no") if good else ("search-no", "search-yes")
    chosen = list(st.session_state.get(here, ()))
    others = [one for one in st.session_state.get(there, ()) if one != moment]
    if moment in chosen:
        chosen.remove(moment)
    else:
        chosen.append(moment)
    st.session_state[here], st.session_state[there] = chosen, others


def forget_likes() -> None:
    """Take back every judgement."""
    st.session_state["search-yes"], st.session_state["search-no"] = [], []


def _options() -> tuple[Path | None, bool, bool]:
    left, middle, right, _ = st.columns([3, 1, 1, 2], vertical_alignment="center")
    shown = left.segmented_control(
        "Show",
        ["A few a video", "Best first", "Whole videos"],
        default="A few a video",
        key="search-show",
        label_visibility="collapsed",
    )
    with middle.popover("Picture", icon=":material/image_search:", width="stretch"):
        upload = st.file_uploader(
            "Find what a picture shows",
            _PICTURE_TYPES,
            key="search-picture",
            max_upload_size=_PICTURE_MB,
        )
    with right.popover("How to ask", icon=":material/help:", width="stretch"):
        st.markdown(_HOW)
    picture = None if upload is None else _kept(upload.getvalue(), upload.file_id)
    return picture, shown == "Best first", shown == "Whole videos"


def _kept(content: bytes, upload: str) -> Path:
    """The upload as a file of this session, which ends with it."""
    folder: Any = st.session_state.get("search-pictures")
    if folder is None:
        folder = st.session_state["search-pictures"] = tempfile.TemporaryDirectory()
    name = "".join(letter for letter in upload if letter.isalnum()) or "picture"
    path = Path(folder.name) / name
    if not path.exists():
        path.write_bytes(content)
    return path


def _said_so_far(asked: Asked) -> None:
    said = []
    if asked.image is not None:
        said.append("what the picture shows")
    if asked.like:
        said.append("moments like the chosen one")
    if asked.yes:
        said.append(f"more like {len(asked.yes)}")
    if asked.no:
        said.append(f"less like {len(asked.no)}")
    if not said:
        return
    note, button = st.columns([6, 1], vertical_alignment="center")
    with note:
        elements.line("Looking for " + ", ".join(said))
    if asked.yes or asked.no:
        button.button("Take back", key="search-forget", on_click=forget_likes, width="stretch")
