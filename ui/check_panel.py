"""Check and repair, a section of the Library view: what is not as it was stored, and mending it.

Both run in the background: searching goes on, also in other sessions, and the view may be left.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from indexer import IndexProgress
from indexer.repair import Repair, repair, repair_at
from indexer.verify import Gap, Verification, verify_at
from ui import background, coverage, elements, session
from ui.background import Drawn, Job
from vidsift.errors import VidsiftError

__all__ = ["show"]

_CHECK, _REPAIR = "check", "repair"
_SHOWN = 12  # gaps of one kind
_NAMED = 3  # videos of one thing that a repair does

_TITLES = {
    "database": "The database",
    "words": "The index of what is said",
    "rows": "What the database holds of a video",
    "not told": "Videos that are neither searched nor said why not",
    "features": "Features of videos",
    "pictures": "Pictures of videos",
    "source": "Video files",
    "no checksum": "Videos without a checksum",
    "index": "The search index",
    "null": "What tells how sure an answer is",
    "space": "The space of another encoder",
    "leftover": "Files that belong to nothing",
}
_OF_VIDEO = ("rows", "not told", "features", "pictures")
_DATABASE = ("database", "words")


@dataclass(frozen=True)
class _Checked:
    """What a check found, and of what state of the library that is."""

    found: Verification
    at: float


def show() -> Drawn | None:
    """The section; what is at work is returned, for `background.follow`."""
    elements.line(
        "A check reads all that is stored and holds it against its checksums and the video files."
        " It changes nothing, and searching goes on.",
        "text",
    )
    check: Job[_Checked] | None = background.newest(_CHECK)
    mending: Job[Repair] | None = background.newest(_REPAIR)
    if mending is not None and mending.running:
        return _at_work(mending, _REPAIR)
    if check is not None and check.running:
        return _at_work(check, _CHECK)
    if mending is not None:
        _mended(mending)
        # What was found before it is no more, unless it could not begin.
        checked = _Checked(mending.result.left, mending.ended_at) if mending.result else None
        newer = check is not None and check.ended_at > mending.ended_at
        if checked is None or newer:
            checked = check.result if check is not None else None
    else:
        checked = check.result if check is not None else None
    if check is not None and check.error:
        st.error(elements.plain(elements.without_command(check.error)), icon=":material/error:")
    if checked is None:
        _button("Check now", primary=True)
        return None
    _found(checked)
    return None


def _at_work(job: Job[Any], kind: str) -> Drawn:
    return job, background.panel(st.empty(), job, kind, stop="Stop")


def _button(label: str, *, primary: bool = False) -> None:
    st.button(
        label,
        key="check-now",
        type="primary" if primary else "secondary",
        icon=":material/fact_check:",
        on_click=_begin_check,
    )


def _begin_check() -> None:
    with elements.errors_shown():
        background.start(_CHECK, "Checking all that is stored", _check)


def _check(tell: background.Tell) -> _Checked:
    workspace = session.current()
    found = verify_at(workspace.root, on_progress=tell)
    at = time.time()
    try:
        # From now on no question of this page is answered from what is damaged.
        ids = [gap.video_id for gap in found.gaps if gap.video_id is not None]
        workspace.library().inspection.inspect_again(ids)
    except VidsiftError:  # the catalog itself: `found` says it
        pass
    coverage.look_again()
    return _Checked(found, at)


def _found(checked: _Checked) -> None:
    found = checked.found
    when = time.strftime("%H:%M:%S", time.localtime(checked.at))
    if not found.gaps:
        st.success(f"Nothing is wrong (checked at {when}).", icon=":material/verified:")
        _button("Check again")
        return
    gaps = "1 gap" if len(found.gaps) == 1 else f"{len(found.gaps):,} gaps"
    st.warning(f"{gaps} (checked at {when}).", icon=":material/warning:")
    for kind in sorted({gap.kind for gap in found.gaps}, key=_order):
        _listed_gaps(kind, _of(found.gaps, kind))
    with st.container(border=True, key="repair-plan"):
        elements.line("A repair would", "name")
        elements.steps(_plan(found.gaps))
        with st.container(horizontal=True):
            st.button(
                "Repair",
                key="repair-now",
                type="primary",
                icon=":material/healing:",
                on_click=_begin_repair,
                args=(found.gaps,),
            )
            _button("Check again")


def _listed_gaps(kind: str, gaps: Sequence[Gap]) -> None:
    """The gaps of a kind; those of one cause together."""
    by_cause: dict[str, list[str]] = {}
    for gap in gaps:
        name = gap.what if gap.video is None else gap.video.name
        by_cause.setdefault(elements.without_command(gap.cause), []).append(name)
    with st.container(gap="xsmall", key=f"gaps-{kind.replace(' ', '-')}"):
        elements.line(f"{_TITLES.get(kind, kind)} ({len(gaps):,})", "name")
        for cause, names in list(by_cause.items())[:_SHOWN]:
            elements.reason(_several(names, _SHOWN), cause, tooltip="\n".join(names))
        if (more := len(by_cause) - _SHOWN) > 0:
            elements.line(f"and {more:,} more; vidsift verify names them all", "small")


def _order(kind: str) -> int:
    return list(_TITLES).index(kind) if kind in _TITLES else len(_TITLES)


def _plan(gaps: Sequence[Gap]) -> list[str]:
    """What a repair would do about these gaps, a sentence each."""
    steps = []
    if _of(gaps, *_DATABASE):
        steps.append(
            "write a new database of all that can be read; the damaged one is kept beside it"
        )
    damaged = {gap.video for gap in _of(gaps, *_OF_VIDEO) if gap.video is not None}
    sources = {gap.video for gap in _of(gaps, "source") if gap.video is not None} - damaged
    again, gone = _by_presence(damaged | sources)
    out = [path for path in gone if path in damaged]
    away = [path for path in gone if path not in damaged]
    if again:
        steps.append(f"index {_videos(again)} anew from the file: {_listed(again)}")
    if out:
        steps.append(
            f"take {_videos(out)} out of the search, damaged and with the file away: {_listed(out)}"
        )
    if away:
        steps.append(
            f"take {_videos(away)} out of the search until the file is back: {_listed(away)}"
        )
    found = [gap for gap in _of(gaps, "no checksum") if gap.video not in damaged]
    if found:
        steps.append(f"take the checksums of {_videos(found)}")
    if _of(gaps, "index"):
        steps.append("make the search index anew from the database")
    if _of(gaps, "null"):
        steps.append("measure anew how sure an answer is")
    if found := _of(gaps, "space"):
        steps.append(f"drop {len(found):,} damaged parts of another encoder's space")
    if found := _of(gaps, "leftover"):
        files = "1 file that belongs" if len(found) == 1 else f"{len(found):,} files that belong"
        steps.append(f"remove {files} to nothing")
    return steps


def _of(gaps: Sequence[Gap], *kinds: str) -> list[Gap]:
    return [gap for gap in gaps if gap.kind in kinds]


def _by_presence(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    there = {path: path.exists() for path in sorted(paths)}
    return [path for path in there if there[path]], [path for path in there if not there[path]]


def _videos(found: Sequence[object]) -> str:
    return "1 video" if len(found) == 1 else f"{len(found):,} videos"


def _listed(paths: Sequence[Path]) -> str:
    return _several([path.name for path in paths], _NAMED)


def _several(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _begin_repair(gaps: Sequence[Gap]) -> None:
    def work(tell: background.Tell) -> Repair:
        return _repair(gaps, tell)

    with elements.errors_shown():
        background.start(_REPAIR, "Mending the library", work)


def _repair(gaps: Sequence[Gap], tell: background.Tell) -> Repair:
    workspace = session.current()

    def indexing(progress: IndexProgress) -> None:
        tell(progress.done_bytes / max(progress.total_bytes, 1), progress.path.name)

    try:
        if _of(gaps, *_DATABASE):
            # The database may be another file afterwards: what is open is of the old one.
            workspace.close()
            return repair_at(workspace.root, on_progress=tell, on_index=indexing)
        again = _of(gaps, "source", *_OF_VIDEO)
        library = workspace.library_with_encoder() if again else workspace.library()
        return repair(library, on_progress=tell, on_index=indexing)
    finally:
        if _of(gaps, *_DATABASE):
            workspace.close()
        coverage.look_again()


def _mended(job: Job[Repair]) -> None:
    """What the last repair did."""
    if job.error:
        st.error(elements.plain(elements.without_command(job.error)), icon=":material/error:")
        return
    done = job.result
    if done is None:
        return
    with st.container(border=True, key="repaired"):
        when = time.strftime("%H:%M:%S", time.localtime(job.ended_at))
        elements.line(f"Repaired at {when}, in {elements.time_words(job.seconds)}", "name")
        elements.steps(done.done or ["there was nothing to mend"])
        for path, reason in done.taken_out:
            elements.reason(f"not searched: {path.name}", elements.without_command(reason), path)
