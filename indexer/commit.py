"""The one writer: files first, each written beside and renamed, then one SQL transaction.

SQL is the truth. A crash before the transaction leaves files that no row names, a crash after it
the old version's files; the next run removes both, and until then whoever still reads the old
version finds it.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import Float

from summarizer.storyboard import draw_storyboard
from vidsift.errors import StorageError
from vidsift.library import Library
from vidsift.store.files import PART, write_folder_atomically
from vidsift.store.seals import files_sha256
from vidsift.types import IndexedVideo, Span, Summary

__all__ = ["commit_video", "picture_files", "store_files", "sweep"]

# Folders of whoever renders and cuts, which needs no lock: what lies in them may be at work.
_UNFINISHED = (".vidsift-*", f"*{PART}")
_GIVEN_UP_SECONDS = 24 * 3600.0


def commit_video(library: Library, video: IndexedVideo) -> int:
    """Store one indexed video; returns its id. An older version at the same path is replaced.

    Raises:
        StorageError: the disk is full or may not be written; the library is as it was before.
    """
    key = f"{video.fingerprint.sha256[:16]}-{uuid.uuid4().hex[:8]}"
    spans = [clip.span for clip in video.clips]
    files = picture_files(video.thumbnails, spans, video.summary)
    sums = store_files(library, key, video.features.features, files)
    # From here on the files stay: where the disk or the server fails in the middle of a commit,
    # only the next transaction tells whether it took effect. The next run's sweep asks.
    return library.catalog.commit_video(video, f"{key}.npy", *sums)


def store_files(
    library: Library,
    key: str,
    features: Float[np.ndarray, "n d"],
    pictures: Mapping[str, bytes],
) -> tuple[str, str]:
    """Write a video's feature file and its folder of pictures; returns the SHA-256 of each.

    Raises:
        StorageError: the disk is full or may not be written; nothing is left of the attempt.
    """
    folder = library.root / "pictures" / key
    try:
        feature_sha256 = library.features.write(f"{key}.npy", features)
        write_folder_atomically(folder, pictures)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(StorageError):  # what went wrong before is what counts
            library.features.remove(f"{key}.npy")
        raise
    return feature_sha256, files_sha256(pictures)


def picture_files(
    thumbnails: Sequence[bytes], clips: Sequence[Span], summary: Summary
) -> dict[str, bytes]:
    """The thumbnails of a video's clips and the storyboard of its summary, by file name."""
    files = {f"{ordinal:05d}.jpg": picture for ordinal, picture in enumerate(thumbnails)}
    spans = [segment.span for segment in summary.segments]
    chosen = [thumbnails[span.nearest(clips)] for span in spans]
    return files | {"storyboard.jpg": draw_storyboard(chosen, spans)}


def sweep(library: Library) -> None:
    """Remove files that no row of the catalog names. Only for who holds the write lock.

    So go the files of versions that were replaced, and what writers left that were killed. What
    cannot be removed now is tried again by the next run.
    """
    named = library.catalog.named_files()
    for name in set(library.features.names()) - named:
        if (entry := library.root / "features" / name).is_dir():
            _remove(entry)
            continue
        with suppress(StorageError):
            library.features.remove(name)
    keys = {Path(name).stem for name in named}
    for entry in _entries(library.root / "pictures"):
        if entry.name not in keys:
            _remove(entry)
    for folder in (library.root, library.root / "index"):
        for entry in _entries(folder):
            if entry.suffix == PART:
                _remove(entry)
    for pattern in _UNFINISHED:
        for entry in library.skims.rglob(pattern):
            if _age_seconds(entry) > _GIVEN_UP_SECONDS:
                _remove(entry)


def _entries(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(folder.iterdir())


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
        return
    with suppress(OSError):
        entry.unlink()


def _age_seconds(entry: Path) -> float:
    """Since anything in it was written last; 0 where it is gone."""
    try:
        newest = max(each.lstat().st_mtime for each in (entry, *entry.rglob("*")))
    except OSError:
        return 0.0
    return time.time() - newest
