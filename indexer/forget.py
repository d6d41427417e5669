"""Forgetting videos: every trace of them out of the library, safe from being killed at any moment.

Order of writing: first `forgetting.json`, which says what is being forgotten and how to recognise
it; then one transaction that deletes all rows (from here on no search finds the videos); then
files, index, and what the database keeps of deleted rows; at last `forgetting.json` itself. Who
dies on the way leaves that file, and the next run of `vidsift forget` or `vidsift index` goes on.

Nothing is proven by having been deleted: `indexer.traces` then searches the library for pieces of
what was there.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from indexer.forget_files import clean_history, clean_tries, remove_files, trained_models
from indexer.forget_task import Task
from indexer.kept_out import KEPT_OUT, keep_out
from indexer.traces import Needle, Proof, Trace, look_for
from indexer.trying import TRYING
from search.evaluation_history import HISTORY_FILE
from vidsift.library import Library
from vidsift.store.files import remove_file
from vidsift.store.forgetting import delete_videos, fts_words, require_room, rows_of_videos, scrub
from vidsift.types import Fingerprint, VideoRecord

__all__ = ["FORGETTING", "Forgotten", "finish_forgetting", "forget_videos"]

FORGETTING = "forgetting.json"
_Tell = Callable[[float], None]


@dataclass(frozen=True)
class Forgotten:
    """What came of forgetting.

    `rows` are those that were deleted or changed, by table, `files` how many were removed and
    `bytes_removed` their size; `learned` are trained models that may have learned from the videos
    and are still there; `copies` are other videos of the same content. `proof` is None where
    nothing was forgotten.
    """

    videos: tuple[Path, ...] = ()
    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    bytes_removed: int = 0
    learned: tuple[Path, ...] = ()
    copies: tuple[Path, ...] = ()
    proof: Proof | None = None


def forget_videos(
    library: Library,
    videos: Sequence[VideoRecord],
    *,
    also_trained: bool = False,
    kept_out: bool = False,
    progress: _Tell | None = None,
) -> Forgotten:
    """Remove every trace of these videos from the library, and search it for what is left.

    Their files stay where they are. A forgetting that was cut off before is finished as well.

    Args:
        library: where to forget.
        videos: of any status; none: only finish what was cut off.
        also_trained: remove trained poolers and saliencies too, which may have learned from them.
        kept_out: remember the hashes of their contents, so that indexing passes over them.
        progress: called with the share that is done, 0 to 1.

    Raises:
        LibraryBusyError: another process writes to the library, or reads it all the time.
        StorageError: there is no room to write the database anew; nothing was forgotten.
    """
    with library.writing(command="vidsift forget"):
        return _forget(library, videos, also_trained, kept_out, progress)


def _forget(
    library: Library,
    videos: Sequence[VideoRecord],
    also_trained: bool,
    kept_out: bool,
    progress: _Tell | None,
) -> Forgotten:
    before = finish_forgetting(library, progress=None if videos else progress)
    if not videos:
        return before
    require_room(library.catalog)
    copies = _copies(library, videos)
    task = Task.of(library, videos, also_trained=also_trained, kept_out=kept_out)
    task.write(library.root / FORGETTING)
    return replace(finish_forgetting(library, progress=progress), copies=copies)


def finish_forgetting(library: Library, progress: _Tell | None = None) -> Forgotten:
    """Do, or go on with, what `forgetting.json` says. Only for who holds the write lock.

    Raises:
        DamagedLibraryError: that file cannot be understood.
        LibraryBusyError, StorageError: as forget_videos; the next run goes on from here.
    """
    file = library.root / FORGETTING
    task = Task.read(file)
    if task is None:
        return Forgotten()
    if task.kept_out:
        keep_out(library.root, [Fingerprint(*each) for each in task.kept_out])
    rows = delete_videos(library.catalog, task.ids, names_it=task.names_it, may_mean=task.may_mean)
    removed = remove_files(library, task)
    if library.catalog.stamp() is not None:
        library.index(write=True)
    clean_history(library.root / HISTORY_FILE, task)
    clean_tries(library.root / TRYING, task)
    scrub(library.catalog)
    size = file.stat().st_size
    remove_file(file)
    return Forgotten(
        videos=tuple(Path(path) for path in task.paths),
        rows=rows,
        files=len(removed) + 1,
        bytes_removed=sum(removed.values()) + size,
        learned=tuple(trained_models(library)),
        proof=_prove(library, task, progress),
    )


def _copies(library: Library, videos: Sequence[VideoRecord]) -> tuple[Path, ...]:
    ids = {video.id for video in videos}
    found = {
        other.path
        for video in videos
        if video.fingerprint.sha256
        for other in library.catalog.videos_by_sha256(video.fingerprint.sha256)
        if other.id not in ids
    }
    return tuple(sorted(found))


def _prove(library: Library, task: Task, progress: _Tell | None) -> Proof:
    from vidsift.store.vectors import stored_ids

    needles = [Needle(kind, base64.b64decode(content)) for kind, content in task.needles]
    proof = look_for(library, needles, legitimate=[library.root / KEPT_OUT], progress=progress)
    for table, count in rows_of_videos(library.catalog, task.ids).items():
        proof.traces.append(Trace(f"table {table}", f"{count} rows of its id"))
    held = set(stored_ids(library.root / "index").tolist()).intersection(task.vector_ids)
    if held:
        proof.traces.append(Trace("index", f"{len(held)} of its vectors, by id"))
    proof.looked_for["vector id"] = len(task.vector_ids)
    for word in fts_words(library.catalog, task.words):
        proof.traces.append(Trace("full text index", f"the word {word!r}"))
    proof.looked_for["word"] = len(task.words)
    return proof
