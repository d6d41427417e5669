"""The one writer: files first, each written beside and renamed, then one SQL transaction.

SQL is the truth. A crash before the transaction leaves files that no row names, which the next
run removes; a crash after it leaves nothing undone but the old version's files, likewise removed.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from summarizer.storyboard import draw_storyboard
from vidsift.errors import StorageError
from vidsift.library import Library
from vidsift.types import IndexedVideo

__all__ = ["commit_video", "sweep"]


def commit_video(library: Library, video: IndexedVideo) -> int:
    """Store one indexed video; returns its id. An older version at the same path is replaced.

    Raises:
        StorageError: the disk is full or may not be written; the library is as it was before.
    """
    key = f"{video.fingerprint.sha256[:16]}-{uuid.uuid4().hex[:8]}"
    name = f"{key}.npy"
    pictures = library.root / "pictures" / key
    try:
        sha256 = library.features.write(name, video.features.features)
        _write_pictures(pictures, video)
        return library.catalog.commit_video(video, name, sha256)
    except OSError as error:
        _discard(library, name, pictures)
        raise StorageError(
            f"{library.root}: {error.strerror}; free some space and run `vidsift index` again"
        ) from error
    except BaseException:
        _discard(library, name, pictures)
        raise


def _write_pictures(folder: Path, video: IndexedVideo) -> None:
    temporary = folder.with_name(folder.name + ".part")
    temporary.mkdir(parents=True)
    for ordinal, picture in enumerate(video.thumbnails):
        (temporary / f"{ordinal:05d}.jpg").write_bytes(picture)
    spans = [segment.span for segment in video.summary.segments]
    clips = [clip.span for clip in video.clips]
    chosen = [video.thumbnails[span.nearest(clips)] for span in spans]
    (temporary / "storyboard.jpg").write_bytes(draw_storyboard(chosen, spans))
    temporary.rename(folder)
    descriptor = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(library: Library, name: str, pictures: Path) -> None:
    library.features.remove(name)
    shutil.rmtree(pictures, ignore_errors=True)
    shutil.rmtree(pictures.with_name(pictures.name + ".part"), ignore_errors=True)


def sweep(library: Library) -> None:
    """Remove files that no row of the catalog names. Only for who holds the write lock."""
    named = {video.feature_file for video in library.catalog.videos() if video.feature_file}
    for name in set(library.features.names()) - named:
        library.features.remove(name)
    folder = library.root / "pictures"
    keys = {Path(name).stem for name in named}
    if folder.is_dir():
        for entry in folder.iterdir():
            if entry.name not in keys:
                shutil.rmtree(entry, ignore_errors=True)
