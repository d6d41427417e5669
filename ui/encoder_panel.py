"""The encoder, a section of the Library view: its space, others beside it, and changing over.

A space is built from the command line (`vidsift migrate`), which goes on when the page is closed.
"""

from __future__ import annotations

import os
import shlex
from typing import Any

import streamlit as st

from indexer.switch import SpaceStatus, discard_space, space_statuses, switch_space
from search.compare import Comparison, compare_spaces, questions_of
from ui import background, coverage, elements, session
from ui.background import Drawn, Job
from vidsift.library import Library
from vidsift.store.locks import holder_of
from vidsift.store.spaces import Space
from vidsift.store.switching import Switched

__all__ = ["show"]

_COMPARE, _CHANGE = "compare", "change"
_SHOWN = 8  # questions whose answers differ most
_ASKED = "encoder-asked"
"""Key of the session's state: what a dialog asks about, `switch` or `discard`, and of which id."""


def show(library: Library) -> Drawn | None:
    """The section; what is at work is returned, for `background.follow`."""
    statuses = space_statuses(library)
    if not statuses:
        elements.line("No encoder yet: the first video that is indexed chooses it.", "text")
        return None
    elements.line(
        "The encoder decides what a search understands. The space of another one is built beside"
        " the one that is searched, compared with it, and then takes its place, or does not.",
        "text",
    )
    change: Job[str] | None = background.newest(_CHANGE)
    if change is not None and change.running:
        draw = background.panel(st.empty(), change, _CHANGE)

        def draw_it() -> None:
            change.now = _waiting_for(library)
            draw()

        return change, draw_it
    if change is not None:
        _changed(change)
    for status in statuses:
        _space(status)
    _dialogs(library, statuses)
    compare: Job[tuple[Comparison, int]] | None = background.newest(_COMPARE)
    place = st.container()
    _how_to_build(library)
    with place:
        if compare is not None and compare.running:
            return compare, background.panel(st.empty(), compare, _COMPARE, stop="Stop")
        if compare is not None:
            _compared(compare, statuses)
    return None


def _waiting_for(library: Library) -> str:
    """Which other writer is waited for, which a change does for as long as it takes."""
    holder = holder_of(library.root)
    if holder is None or (holder.pid == os.getpid() and holder.command == "vidsift migrate"):
        return ""
    return f"waiting for another vidsift that writes: {holder}"


def _space(status: SpaceStatus) -> None:
    space = status.space
    with st.container(border=True, key=f"space-{space.id if space else 'searched'}"):
        elements.line(status.stamp.name, "name", tooltip=status.stamp.preprocessing)
        lacking = (
            f", {status.missing_cues:,} lines of subtitles lack" if status.missing_cues else ""
        )
        elements.facts(
            {
                "State": _state(status),
                "Videos": f"{status.videos:,} of {status.wanted:,}{lacking}",
                "Dimensions": f"{status.stamp.dimension:,}",
                "Size": elements.size_words(status.num_bytes),
            }
        )
        if space is None:
            return
        with st.container(horizontal=True):
            st.button(
                "Compare",
                key=f"compare-{space.id}",
                icon=":material/compare_arrows:",
                on_click=_begin_compare,
                args=(space,),
                disabled=not status.videos,
            )
            st.button(
                "Search with it" if space.left_at is None else "Switch back to it",
                key=f"switch-{space.id}",
                icon=":material/swap_horiz:",
                on_click=_ask,
                args=("switch", space.id),
                disabled=not status.videos,
            )
            st.button(
                "Discard",
                key=f"discard-{space.id}",
                icon=":material/delete:",
                type="tertiary",
                on_click=_ask,
                args=("discard", space.id),
            )


def _state(status: SpaceStatus) -> str:
    if status.space is None:
        return "searched"
    if status.space.left_at is not None:
        return "searched before"
    return "ready" if status.is_whole else "being built"


def _ask(what: str = "", space_id: int = 0) -> None:
    st.session_state[_ASKED] = (what, space_id)


def _dialogs(library: Library, statuses: list[SpaceStatus]) -> None:
    what, space_id = st.session_state.get(_ASKED, ("", 0))
    for status in statuses:
        if status.space is not None and status.space.id == space_id:
            if what == "switch":
                _switch(status, statuses[0].stamp.name)
            elif what == "discard":
                _discard(status)


@st.dialog("Change the encoder", width="medium", on_dismiss=_ask)
def _switch(status: SpaceStatus, now: str) -> None:
    space = status.space
    assert space is not None  # noqa: S101 - asked before
    elements.line(
        f"From now on every search is made with {space.stamp.name}. What {now} made is kept, so"
        " that you can switch back; what was trained for it is not used meanwhile.",
        "text",
    )
    lacking = status.wanted - status.videos
    without = bool(lacking) and st.checkbox(
        f"Leave {lacking:,} of {status.wanted:,} videos out of the search, which are not in it yet",
        key="switch-without",
    )
    with st.container(horizontal=True):
        if st.button(
            "Search with it", type="primary", key="switch-yes", disabled=lacking > 0 and not without
        ):
            _begin_switch(space, without_missing=without)
        _never_mind()


@st.dialog("Discard a space", width="medium", on_dismiss=_ask)
def _discard(status: SpaceStatus) -> None:
    space = status.space
    assert space is not None  # noqa: S101 - asked before
    elements.line(
        f"What {space.stamp.name} made of {status.videos:,} videos is deleted"
        f" ({elements.size_words(status.num_bytes)}); to have it again it must be built again."
        " The search stays as it is.",
        "text",
    )
    with st.container(horizontal=True):
        if st.button("Discard it", type="primary", key="discard-yes"):
            _begin_discard(space)
        _never_mind()


def _never_mind() -> None:
    if st.button("Leave it as it is", key="encoder-no"):
        _ask()
        st.rerun()


def _begin_switch(space: Space, *, without_missing: bool) -> None:
    workspace = session.current()

    def work(tell: background.Tell) -> str:
        try:
            done: Switched = switch_space(
                workspace.library(), space, without_missing=without_missing
            )
        finally:
            coverage.look_again()
        said = f"Searched from now on: {space.stamp.name}."
        if done.left_out:
            said += f" Left out of the search: {_videos(len(done.left_out))}."
        if done.back:
            said += f" Searched again: {_videos(len(done.back))}."
        return said

    _begin(f"Changing over to {space.stamp.name}", work)


def _videos(count: int) -> str:
    return "1 video" if count == 1 else f"{count:,} videos"


def _begin_discard(space: Space) -> None:
    workspace = session.current()

    def work(tell: background.Tell) -> str:
        discard_space(workspace.library(), space)
        return f"The space of {space.stamp.name} is deleted."

    _begin(f"Deleting the space of {space.stamp.name}", work)


def _begin(doing: str, work: Any) -> None:
    with elements.errors_shown():
        background.start(_CHANGE, doing, work)
        _ask()
        st.rerun()


def _changed(job: Job[str]) -> None:
    if job.error:
        st.error(elements.plain(job.error), icon=":material/error:")
    elif job.result:
        st.success(elements.plain(job.result), icon=":material/check_circle:")


def _begin_compare(space: Space) -> None:
    workspace = session.current()

    def work(tell: background.Tell) -> tuple[Comparison, int]:
        library = workspace.library_with_encoder()
        questions, shipped = questions_of(library)
        return compare_spaces(library, space, questions, tell), shipped

    with elements.errors_shown():
        background.start(_COMPARE, f"Comparing with {space.stamp.name}", work)


def _compared(job: Job[tuple[Comparison, int]], statuses: list[SpaceStatus]) -> None:
    if job.error:
        st.error(elements.plain(job.error), icon=":material/error:")
        return
    if job.result is None:
        return
    compared, shipped = job.result
    names = [status.stamp.name for status in statuses]
    # After a switch it is of a library that is no more.
    if compared.encoders[0] != names[0] or compared.encoders[1] not in names:
        return
    first, second = compared.encoders
    count = len(compared.differences)
    with st.container(border=True, key="comparison"):
        elements.line(f"{first} and {second} on {count:,} questions", "name")
        if shipped:
            which = "all" if shipped == count else f"{shipped:,}"
            elements.line(f"{which} of these ship with vidsift, since few were asked here yet")
        elements.facts(
            {
                "Same videos in the best 10": _share(compared.videos, compared.videos_by_chance),
                "Same moments in the best 10": _share(compared.moments, compared.moments_by_chance),
                f"Something matches, {first}": f"{compared.matched[0]:.0%}",
                f"Something matches, {second}": f"{compared.matched[1]:.0%}",
            }
        )
        elements.line("Overlap says how different they are, not which is better.", "small")
        if compared.pooler:
            elements.line(
                f"The pooler {compared.pooler} was trained for {first}; {second} was asked"
                " without it.",
                "small",
            )
        st.dataframe(
            [
                {
                    "Differs most": each.question,
                    f"Best of {first}": _best(each.best[0]),
                    f"Best of {second}": _best(each.best[1]),
                    "Same videos": f"{each.videos:.0%}",
                    "Same moments": f"{each.moments:.0%}",
                }
                for each in compared.most_different(_SHOWN)
            ],
            hide_index=True,
        )
        for text, why in compared.skipped:
            elements.reason(f"not compared: {text}", why)


def _share(share: float, by_chance: float | None) -> str:
    return f"{share:.0%}" + ("" if by_chance is None else f" (by chance {by_chance:.0%})")


def _best(result: Any) -> str:
    return "-" if result is None else str(result.video.name)


def _how_to_build(library: Library) -> None:
    elements.line("Build the space of another encoder", "name")
    elements.line(
        "In a terminal; it can be broken off and goes on where it was. vidsift encoders lists"
        " what there is. Searching goes on meanwhile.",
        "small",
    )
    root = shlex.quote(str(library.root))
    st.code(f"vidsift migrate --encoder NAME --library {root}", language="bash", wrap_lines=True)
