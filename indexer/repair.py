"""Mending a library: what `indexer.verify` finds wrong, as far as it can be put right.

Nothing is served that is not proven whole. A damaged video is taken out of the search first and
then indexed anew from its file; where the file is away it stays out, with the reason. What was
transcribed, tags and standing questions stay where they can be read. Killed at any moment, the
next run goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexer.commit import sweep
from indexer.pipeline import IndexProgress, index_videos
from indexer.scan import fingerprint
from indexer.verify import Gap, Verification, verify, verify_at
from search.trust import prepare
from vidsift.errors import MediaError
from vidsift.library import Library
from vidsift.store.files import remove_file
from vidsift.store.locks import write_lock
from vidsift.store.mending import drop_from_spaces, set_aside, take_checksums
from vidsift.store.salvage import salvage
from vidsift.store.seals import folder_sha256
from vidsift.store.vectors import stored_origin

__all__ = ["Repair", "repair", "repair_at"]

_OF_VIDEO = frozenset({"rows", "features", "pictures", "not told"})
_DATABASE = frozenset({"database", "words"})


@dataclass
class Repair:
    """What was done, one line each; the videos taken out of the search, with the reason; and what
    was found when all was done."""

    done: list[str] = field(default_factory=list)
    taken_out: list[tuple[Path, str]] = field(default_factory=list)
    left: Verification = field(default_factory=lambda: Verification(0, 0, ()))


def repair_at(
    folder: Path | None,
    *,
    on_progress: Callable[[float], None] | None = None,
    on_index: Callable[[IndexProgress], None] | None = None,
    wait: Callable[[str], None] | None = None,
    **flags: Any,
) -> Repair:
    """`repair` the library in a folder, also where its catalog cannot be opened.

    A damaged SQLite catalog is replaced by one that holds what could be read of it; it stays beside
    as `catalog.sqlite3.damaged-DATE` until it is deleted. With `wait` other writers are waited for,
    and it is told who they are.

    Raises:
        LibraryNotFoundError, SchemaError, ConfigError, LibraryError: as `Library.open`.
        DamagedLibraryError: nothing can be read of the catalog.
        LibraryBusyError: without `wait`, another process writes.
    """
    done: list[str] = []
    found = verify_at(folder, on_progress=on_progress, **flags)
    if any(gap.kind in _DATABASE for gap in found.gaps):
        root, url = Library.place(folder, **flags)
        patience = math.inf if wait else 0.0
        with write_lock(root, url, wait=patience, command="vidsift repair", on_wait=wait):
            saved = salvage(url, stored_origin(root / "index"))
        if saved is not None:
            count = saved.unreadable
            places = "1 place" if count == 1 else f"{count} places"
            lost = f", {places} in it could not be read" if count else ""
            done.append(
                f"made a new catalog of the {saved.rows} rows that could be read{lost}; the"
                f" damaged one is {saved.damaged}, delete it when all is well"
            )
    with Library.open(folder, **flags) as library:
        if wait is not None:
            library.wait_for_writers(math.inf, wait)
        report = repair(library, on_progress=on_progress, on_index=on_index)
    report.done[:0] = done
    return report


def repair(
    library: Library,
    *,
    on_progress: Callable[[float], None] | None = None,
    on_index: Callable[[IndexProgress], None] | None = None,
) -> Repair:
    """Mend a library whose catalog can be opened; see `repair_at`.

    Raises:
        LibraryBusyError: another process writes to the library.
        StorageError, EncoderError: as in indexing.
    """
    report = Repair()
    with library.writing(command="vidsift repair"):
        mending = _Mending(library, report, verify(library, on_progress=on_progress).gaps)
        mending.rows()
        mending.files()
    if mending.again:
        _index_again(library, report, mending.again, on_index)
    with library.writing(command="vidsift repair"):
        sweep(library)  # the files of what was set aside
        if library.catalog.stamp() is not None:
            library.index(write=True)
            if mending.null:
                prepare(library)
    report.left = verify(library, on_progress=on_progress)
    return report


class _Mending:
    """What is done while the write lock is held; `again` are files that are to be indexed anew."""

    def __init__(self, library: Library, report: Repair, gaps: Sequence[Gap]) -> None:
        self._library = library
        self._catalog = library.catalog
        self._report = report
        self._gaps = gaps
        self.again: list[Path] = []
        self.null = False

    def rows(self) -> None:
        """Set damaged videos aside, seal those that are whole, note what became of the files."""
        damaged = {gap.video_id: gap for gap in reversed(self._gaps) if gap.kind in _OF_VIDEO}
        for video_id, gap in damaged.items():
            if video_id is not None:
                self._set_aside(video_id, gap)
        for gap in self._of("no checksum"):
            if gap.video_id is not None and gap.video_id not in damaged:
                self._take_checksums(gap.video_id)
        gone = []
        for gap in self._of("source"):
            if gap.video_id in damaged or gap.video_id is None or gap.video is None:
                continue
            if gap.video.exists():
                self.again.append(gap.video)
            else:
                gone.append(gap.video_id)
                self._report.taken_out.append((gap.video, "the file is gone"))
        self._catalog.mark_missing(gone)
        for gap in self._of("space"):
            drop_from_spaces(self._catalog, gap.what)
            self._say(f"dropped {gap.what} of another encoder; `vidsift migrate` makes it anew")

    def files(self) -> None:
        """Remove what nothing names, and caches that are damaged: they are made anew."""
        if removed := len(list(self._of("leftover"))):
            sweep(self._library)
            self._say(f"removed {removed} files that nothing names")
        for kind, name in (("index", "vectors.faiss"), ("null", "null.npz")):
            for _ in self._of(kind):
                remove_file(self._library.root / "index" / name)
                self._say(f"made index/{name} anew")
                self.null = True

    def _of(self, kind: str) -> Iterable[Gap]:
        return (gap for gap in self._gaps if gap.kind == kind)

    def _say(self, line: str) -> None:
        self._report.done.append(line)

    def _set_aside(self, video_id: int, gap: Gap) -> None:
        path = gap.video or Path()
        cause = f"what was stored of it is damaged ({gap.cause})"
        print_ = None
        with suppress(MediaError, ValueError):
            print_ = fingerprint(path)
        if print_ is None:
            reason = f"{cause}, and its file is away; run `vidsift index` when it is back"
            self._report.taken_out.append((path, reason))
        else:
            reason = f"{cause}; run `vidsift index` on its folder"
            self.again.append(path)
        set_aside(self._catalog, video_id, reason, print_)

    def _take_checksums(self, video_id: int) -> None:
        video = self._catalog.video(video_id)
        if video is None or video.status == "failed":
            return
        take_checksums(self._catalog, video_id, folder_sha256(self._library.pictures(video)))
        self._say(f"took the checksums of {video.path}")


def _index_again(
    library: Library,
    report: Repair,
    paths: Sequence[Path],
    on_index: Callable[[IndexProgress], None] | None,
) -> None:
    made = index_videos(library, paths, retry=True, on_progress=on_index)
    for path in made.indexed:
        report.done.append(f"indexed {path} anew")
    for path in made.unchanged:
        report.done.append(f"found {path} unchanged")
    report.taken_out += made.failed
