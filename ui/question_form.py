"""The form in which a question is put: words, a picture, and what is liked and not liked so far."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import streamlit as st
from PIL import Image
from streamlit.delta_generator import DeltaGenerator

from search.examples import read_picture
from search.grammar import parse_question
from search.videos import RankedVideo
from ui import elements, session
from vidsift.errors import QueryError
from vidsift.types import Answer

__all__ = ["Asked", "judge", "look_for_like", "question", "said_so_far", "show_picture"]

_PICTURE_TYPES = ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"]
_PICTURE_MB = 20
_SHOWN_PIXELS = 240
_NAME = 80  # characters of its end that are shown

_HOW = """
| to ask | write |
|---|---|
| several things in one moment | `"a dog" "a frisbee"` |
| without something | `a beach -"night"` |
| one thing more than another | `"a dog"^2 "grass"` |
| in this order | `"a man enters" then<20s "a car leaves"` |
| words that are spoken | `said:"good morning"` |
| some videos only | `video:holiday  path:2024  tag:family` |
| of that date or length | `after:2024-05  before:2025  longer:10m  shorter:1h` |
"""


class Examples(TypedDict):
    """What is asked beside words, as `SearchEngine.ask` and `search.asking.understand` take it."""

    image: Path | None
    like: str | None
    yes: tuple[str, ...]
    no: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person has asked for, and how the answer is to be listed."""

    text: str
    image: Path | None = None
    like: str | None = None
    yes: tuple[str, ...] = ()
    no: tuple[str, ...] = ()
    flat: bool = False
    whole_videos: bool = False
    image_name: str = ""

    @property
    def examples(self) -> Examples:
        return {"image": self.image, "like": self.like, "yes": self.yes, "no": self.no}

    @property
    def can_be_judged(self) -> bool:
        """Whether moments may be liked: the question is about what one moment shows.

        Raises:
            QuestionSyntaxError: it cannot be read.
        """
        shown = self.image is not None or self.like is not None
        steps = len(parse_question(self.text).steps) if self.text.strip() else 0
        return steps == 1 or (steps == 0 and shown)

    def answer(self, k: int) -> Answer:
        """The `k` best moments; raises as `SearchEngine.ask`."""
        workspace = session.current()
        try:
            return workspace.ask(self.text, k, flat=self.flat, **self.examples)
        except QueryError as error:
            if self.image is None or str(self.image) not in str(error):
                raise
            # The upload has a name; where it lies meanwhile says nothing to a person.
            said = str(error).replace(str(self.image), self.image_name)
            raise QueryError(said) from error

    def videos(self, k: int) -> list[RankedVideo]:
        """The `k` best videos as a whole; raises as `SearchEngine.rank_videos`."""
        if any(self.examples.values()):
            raise QueryError(
                "whole videos are ranked by words alone; take back the pictures and moments,"
                " or show moments"
            )
        return session.current().rank_videos(self.text, k)


def question() -> Asked | None:
    """Draw the form; what is asked, or None before the first question.

    The words and the moment that is looked for stand in the address, so that they can be shared.
    """
    address, state = st.query_params, st.session_state
    if "q" in address or "like" in address:
        now = (address.get("q", ""), address.get("like"))
        if now != (state.get("search-last"), state.get("search-like")):
            _ask(*now)  # a link, or a step back in the browser
    elif "search-last" in state:
        address.from_dict(_address(state["search-last"], state.get("search-like")))
    text = state.get("search-last", "")
    # Words that were typed and not yet asked are left alone, whatever else is clicked.
    if "search-box" not in state or state.get("search-boxed") != text:
        state["search-box"] = state["search-boxed"] = text
    with st.form("search-form", border=False):
        box, button = st.columns([6, 1], vertical_alignment="bottom")
        box.text_input(
            "Question",
            key="search-box",
            placeholder="for example: a red car, somebody pouring coffee",
            icon=":material/search:",
            label_visibility="collapsed",
        )
        button.form_submit_button("Search", type="primary", width="stretch", on_click=_submitted)
    shown = _options()
    asked = Asked(
        text,
        state.get("search-image"),
        state.get("search-like"),
        tuple(state.get("search-yes", ())),
        tuple(state.get("search-no", ())),
        flat=shown == "Best first",
        whole_videos=shown == "Whole videos",
        image_name=state.get("search-image-name", ""),
    )
    return asked if asked.text or asked.image is not None or asked.like else None


def _address(text: str, like: str | None) -> dict[str, str]:
    return {"q": text} | ({"like": like} if like else {})


def _submitted() -> None:
    text = st.session_state["search-box"]
    _ask(text, None)
    st.query_params.from_dict(_address(text, None))


def _ask(text: str, like: str | None) -> None:
    st.session_state["search-last"], st.session_state["search-like"] = text, like
    _forget_likes()


def look_for_like(moment: str) -> None:
    """Ask for moments like this one (`VIDEO@SECONDS`), and for nothing else."""
    _forget_picture()
    _ask("", moment)
    st.query_params.from_dict(_address("", moment))


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


def _forget_likes() -> None:
    st.session_state["search-yes"], st.session_state["search-no"] = [], []
    st.session_state.pop("search-wanted", None)


def _forget_picture() -> None:
    state = st.session_state
    state["search-image"] = None
    state["search-upload"] = state.get("search-upload", 0) + 1  # another key empties the uploader
    _forget_likes()


def _forget_like() -> None:
    _ask(st.session_state["search-last"], None)
    st.query_params.from_dict(_address(st.session_state["search-last"], None))


def _options() -> str | None:
    key = f"search-picture-{st.session_state.get('search-upload', 0)}"
    with st.container(horizontal=True, vertical_alignment="center", key="search-options"):
        shown = st.segmented_control(
            "Show",
            ["Each video in turn", "Best first", "Whole videos"],
            default="Each video in turn",
            key="search-show",
            label_visibility="collapsed",
            width="content",
        )
        with st.popover("Picture", icon=":material/image_search:"):
            st.file_uploader(
                f"Find what a picture shows (at most {_PICTURE_MB} MB)",
                _PICTURE_TYPES,
                key=key,
                max_upload_size=_PICTURE_MB,
                on_change=_uploaded,
                args=(key,),
            )
        with st.popover("How to ask", icon=":material/help:"):
            st.markdown(_HOW)
    return shown


def _uploaded(key: str) -> None:
    upload = st.session_state[key]
    picture = None if upload is None else _kept(upload.getvalue())
    st.session_state["search-image"] = picture
    st.session_state["search-image-name"] = "" if upload is None else upload.name[-_NAME:]
    _forget_likes()


class _Folder:
    """A folder that is deleted with the object, so when the session that holds it ends."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="vidsift-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def _kept(content: bytes) -> Path:
    """The upload as a file of this session, which ends with it; never under its own name."""
    folder: _Folder | None = st.session_state.get("search-pictures")
    if folder is None:
        folder = st.session_state["search-pictures"] = _Folder()
    for before in folder.path.iterdir():
        shutil.rmtree(before)  # one at a time is asked with
    path = folder.path / hashlib.sha256(content).hexdigest()[:16] / "picture"
    path.parent.mkdir()
    path.write_bytes(content)
    return path


def said_so_far(asked: Asked) -> DeltaGenerator | None:
    """Say what is asked beside the words, with ways to take it back; the place of the picture."""
    slot = None
    if not any(asked.examples.values()):
        return slot
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="so-far"):
        if asked.image is not None:
            slot = st.empty()
            _taken(f"what {asked.image_name} shows", "Leave the picture out", _forget_picture)
        if asked.like:
            _taken(_moment_words(asked.like), "Leave the moment out", _forget_like)
        judged = [f"more like {len(asked.yes)}"] * bool(asked.yes)
        judged += [f"less like {len(asked.no)}"] * bool(asked.no)
        if judged:
            _taken(", ".join(judged), "Take back", _forget_likes, icon=":material/undo:")
    return slot


def _taken(
    said: str, button: str, back: Callable[[], None], icon: str = ":material/close:"
) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", width="content"):
        elements.line(said, "note", tooltip=said, width="content")
        key = f"forget-{button.rsplit(' ', 1)[0].replace(' ', '-').lower()}"
        st.button(button, key=key, icon=icon, type="tertiary", on_click=back)


def _moment_words(like: str) -> str:
    """`3@17.20` is how the address says it; a person knows the video by its name."""
    video, _, at = like.rpartition("@")
    known = session.current().library().catalog.video(int(video)) if video.isdecimal() else None
    return f"moments like {known.path.name if known else video} at {at} s"


def show_picture(asked: Asked, slot: DeltaGenerator | None) -> None:
    """Show the picture that is asked with, once the search has found that it can be read."""
    if asked.image is None or slot is None:
        return
    small = Image.fromarray(read_picture(asked.image, _SHOWN_PIXELS))
    small.thumbnail((_SHOWN_PIXELS, _SHOWN_PIXELS))
    slot.image(small, width=72, alt=asked.image_name)
