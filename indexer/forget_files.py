"""The files of a library that may hold something of a video that is forgotten."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from indexer.commit import sweep
from indexer.forget_task import Task
from vidsift.errors import StorageError
from vidsift.library import Library
from vidsift.store.files import write_atomically
from vidsift.store.forgetting import without

__all__ = ["clean_history", "clean_tries", "remove_files", "trained_models"]

_SEVERAL = re.compile(r"\d+-videos-")  # a rendered summary of several videos


def remove_files(library: Library, task: Task) -> dict[Path, int]:
    """Remove files that were made of the videos, or may hold something of them; their sizes."""
    root = library.root
    known = {Path(video.feature_file).stem for video in library.catalog.videos()} - {""}
    doomed = [
        entry
        for folder in (root / "features", root / "pictures", *_folders_of_skims(library))
        for entry in _entries(folder)
        if entry.name.startswith(task.keys)
    ]
    for folder in _folders_of_skims(library):
        doomed += [entry for entry in _entries(folder) if _may_tell(entry, known, task)]
    # What is in these is made anew from the rows that are left.
    doomed += _entries(root / "index")
    if task.also_trained:
        doomed += trained_models(library)
    sizes = {
        path: path.stat().st_size
        for entry in doomed
        for path in ([entry] if entry.is_file() else sorted(entry.rglob("*")))
        if path.is_file()
    }
    for entry in doomed:
        _remove(entry)
    sweep(library)
    return sizes


def _folders_of_skims(library: Library) -> list[Path]:
    return [library.skims, library.skims / "moments", library.skims / "summaries"]


def _may_tell(entry: Path, known: set[str], task: Task) -> bool:
    """Whether a cached preview may show a forgotten video.

    That is one of several videos that does not say which, one of a content that is no more, and
    what is unfinished.
    """
    if entry.is_dir() and entry.name in ("moments", "summaries"):
        return False
    if any(entry.name.startswith(f"{key}-") for key in known):
        return False
    if not _SEVERAL.match(entry.name):
        return True
    manifests = [_read(file) for file in entry.glob("*.json")]
    paths = [
        str(video.get("video"))
        for manifest in manifests
        for video in manifest.get("videos", ())
        if isinstance(video, dict)
    ]
    return not paths or any(path in task.names for path in paths)


def _read(manifest: Path) -> dict[str, Any]:
    try:
        read = json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _remove(entry: Path) -> None:
    try:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
    except FileNotFoundError:  # another session's cache has just let go of it
        return
    except OSError as error:
        raise StorageError(
            f"{error.filename}: cannot be deleted: {error.strerror}; mend the permissions and run"
            " `vidsift forget` again, which goes on from here"
        ) from error


def trained_models(library: Library) -> list[Path]:
    return [*_entries(library.poolers), *_entries(library.saliency_models)]


def clean_tries(file: Path, task: Task) -> None:
    """Take their contents off the note of files during which the process died."""
    tries = _read(file)
    kept = {sha256: count for sha256, count in tries.items() if not sha256.startswith(task.keys)}
    if kept == tries and tries:
        return
    if kept:
        write_atomically(file, [json.dumps(kept).encode()])
    else:  # or it cannot be read, and nobody needs it
        _remove(file)


def clean_history(file: Path, task: Task) -> None:
    """Take what names the videos out of the measurements that the library has seen."""
    try:
        lines = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return
    kept = []
    for line in lines:
        try:
            kept.append(json.dumps(without(json.loads(line), task.names_it)))
        except ValueError:  # a broken line; readers pass over it
            if not task.names_it(line):
                kept.append(line)
    content = "".join(line + "\n" for line in kept)
    write_atomically(file, [content.encode("utf-8", "surrogateescape")])
