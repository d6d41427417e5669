"""Forgetting a video from its page: what goes and what stays, and then the proof."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from indexer.forget import Forgotten, forget_videos
from indexer.forget_files import trained_models
from ui import background, computed, coverage, elements
from ui.background import Job
from vidsift.library import Library
from vidsift.types import VideoRecord

__all__ = ["button", "outcome"]

_KIND = "forget"
# With the session and not with the server: the proof names what is forgotten.
_OUTCOME = "forgotten"
_ASKED = "forget-asked"
_GOES = (
    "Goes for good: everything that the library holds of it, that is its words, features, vectors,"
    " thumbnails, summaries, previews, tags and alerts, and what past questions and runs of"
    " indexing say of it. Then every file and row of the library is searched for what is left."
)
_NOT_KNOWN = (
    "Not touched: what was downloaded or written elsewhere, backups, and the history of a browser."
)


def button(library: Library, video: VideoRecord) -> None:
    """A button that asks whether the video is to be forgotten, and forgets it if it is."""
    st.button(
        "Forget this video",
        key=f"forget-{video.id}",
        type="tertiary",
        icon=":material/delete_forever:",
        on_click=_ask,
        args=(video.id,),
    )
    if st.session_state.get(_ASKED) == video.id:
        _dialog(library, video)


def _ask(video_id: int | None = None) -> None:
    st.session_state[_ASKED] = video_id


@st.dialog("Forget this video", width="medium", on_dismiss=_ask)
def _dialog(library: Library, video: VideoRecord) -> None:
    """Say what goes and what stays; forget when that is confirmed."""
    elements.line(video.path.name, "name", tooltip=video.path)
    elements.line(_GOES, "text")
    there = video.path.exists()
    elements.line(
        f"Stays: the video file itself, {video.path}"
        if there
        else f"Its file is gone already: {video.path}",
        "text",
    )
    elements.line(_NOT_KNOWN, "small")
    kept_out = st.checkbox(
        "Leave it out when its folder is indexed again",
        value=there,
        key="forget-keep-out",
        help="For this a hash of its content is kept, in the library's kept-out.txt.",
    )
    also_trained = bool(trained_models(library)) and st.checkbox(
        "Remove what was trained on this library, too: it may have learned from the video",
        key="forget-trained",
    )
    slot = st.empty()
    with slot.container(horizontal=True):
        agreed = st.button(
            "Forget it for good", type="primary", icon=":material/delete_forever:", key="forget-yes"
        )
        if st.button("Keep it", key="forget-no"):
            _ask()
            st.rerun()
    if agreed:
        with elements.errors_shown():
            _forget(library, video, slot, kept_out=kept_out, also_trained=also_trained)


def _forget(
    library: Library,
    video: VideoRecord,
    slot: st.delta_generator.DeltaGenerator,
    *,
    kept_out: bool,
    also_trained: bool,
) -> None:
    def work(tell: background.Tell) -> Forgotten:
        return forget_videos(
            library, [video], kept_out=kept_out, also_trained=also_trained, progress=tell
        )

    job = background.start(_KIND, f"Forgetting {video.path.name}", work)
    st.session_state[_OUTCOME] = (job, kept_out, video.id)
    _ask()
    background.follow([(job, background.panel(slot, job, _KIND))])


def outcome() -> None:
    """What came of the forgetting that this session asked for last, until it is put away."""
    asked: tuple[Job[Forgotten], bool, int] | None = st.session_state.get(_OUTCOME)
    if asked is None:
        return
    job, kept_out, video_id = asked
    if job.running:  # the dialog was closed
        slot = st.empty()
        background.follow([(job, background.panel(slot, job, _KIND))])
    if job.result is not None:
        _let_go(video_id)
    with st.container(border=True, key="forgotten"):
        if job.error:
            st.error(elements.plain(job.error), icon=":material/error:")
        elif job.result is not None:
            _proof(job.result, kept_out=kept_out)
        if st.button("Put this away", key="forgotten-away", icon=":material/close:"):
            del st.session_state[_OUTCOME]
            st.rerun()


def _let_go(video_id: int) -> None:
    """Clear what the page itself holds of a video that is forgotten."""
    if st.query_params.get("id") == str(video_id):
        st.query_params.clear()
    if st.session_state.get("video-last") == video_id:
        computed.forget()
        coverage.look_again()
        for key in ("video-last", "video-box", "across-made"):
            st.session_state.pop(key, None)


def _proof(done: Forgotten, *, kept_out: bool) -> None:
    names = ", ".join(path.name for path in done.videos)
    proof = done.proof
    if proof is None:
        st.info("There was nothing to forget.", icon=":material/info:")
        return
    searched = (
        f"searched {proof.files:,} files ({elements.size_words(proof.bytes_read)}) and"
        f" {proof.rows:,} rows for {proof.looked_for.total():,} pieces of it"
    )
    if proof.traces:
        st.error(
            f"{elements.plain(names)} is forgotten, but traces are left: {searched}.",
            icon=":material/error:",
        )
        for trace in proof.traces:
            elements.reason(trace.where, trace.what)
    else:
        st.success(
            f"{elements.plain(names)} is forgotten: {searched}; no trace.",
            icon=":material/verified:",
        )
    elements.line(f"Removed: {_counted(done.rows)} (rows), {done.files:,} files", "small")
    elements.line(f"Searched for: {_counted(proof.looked_for)}", "small")
    if proof.shared:
        elements.line(
            f"Shared with other videos, and so no trace: {_counted(proof.shared)}", "small"
        )
    if not kept_out and (there := [path for path in done.videos if path.exists()]):
        named = ", ".join(map(str, there))
        elements.line(f"Still on the disk, and indexed again when its folder is: {named}", "text")
    if done.copies:
        copies = ", ".join(map(str, done.copies))
        elements.line(
            f"The same content is still indexed as {copies}; forget these too if you mean them.",
            "text",
        )
    if done.learned:
        models = ", ".join(path.name for path in done.learned)
        elements.line(f"What was trained may have learned from it: {models}.", "text")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"
