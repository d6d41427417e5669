"""Which files there are, and what has happened to them since they were last indexed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from vidsift.errors import MediaError, VidsiftError
from vidsift.types import Fingerprint

__all__ = ["VIDEO_SUFFIXES", "find_files", "fingerprint", "lies_under"]

VIDEO_SUFFIXES = frozenset(
    [
        ".3g2",
        ".3gp",
        ".asf",
        ".avi",
        ".divx",
        ".dv",
        ".f4v",
        ".flv",
        ".gif",
        ".m1v",
        ".m2ts",
        ".m2v",
        ".m4v",
        ".mjpeg",
        ".mjpg",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpe",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".ogm",
        ".ogv",
        ".qt",
        ".rm",
        ".rmvb",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
        ".y4m",
    ]
)


def find_files(paths: Iterable[Path | str]) -> list[Path]:
    """Every file named, and every video file (by suffix) below every folder named.

    Absolute, sorted, each once. Hidden files and folders below a named folder are left out, and
    links to folders are not followed, so a link cannot make the walk endless.

    Raises:
        VidsiftError: a path does not exist, naming all that do not.
    """
    found: set[Path] = set()
    absent = []
    for path in (Path(p).expanduser().absolute() for p in paths):
        if path.is_dir():
            for folder, folders, files in os.walk(path):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                found.update(
                    Path(folder) / name
                    for name in files
                    if not name.startswith(".") and Path(name).suffix.lower() in VIDEO_SUFFIXES
                )
        elif path.exists():
            found.add(path)
        else:
            absent.append(path)
    if absent:
        raise VidsiftError(
            "\n".join(f"{path}: no such file or folder; check the path" for path in absent)
        )
    return sorted(found)


def lies_under(path: Path, roots: Sequence[Path]) -> bool:
    """Whether `path` is one of `roots` or below one of them."""
    return any(path == root or path.is_relative_to(root) for root in roots)


def fingerprint(path: Path) -> Fingerprint:
    """Size, modification time and SHA-256 of the whole file.

    Raises:
        MediaError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MediaError(path, f"cannot be read: {error.strerror}") from error
    return Fingerprint(status.st_size, status.st_mtime_ns, digest)
