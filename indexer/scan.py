"""Which files there are, and what has happened to them since they were last indexed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from vidsift.errors import MediaError, VidsiftError
from vidsift.paths import expanded
from vidsift.types import Fingerprint, VideoRecord

__all__ = [
    "VIDEO_SUFFIXES",
    "check_unchanged",
    "find_files",
    "fingerprint",
    "lies_under",
    "no_videos",
    "real_path",
]

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


_LARGE_BYTES = 1 << 30


def find_files(
    paths: Iterable[Path | str], leave_out: Path | None = None
) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Every file named, and every video file (by suffix) below every folder named.

    Real paths (links resolved, so that one file is one video however it is reached), sorted, each
    once; and the folders that could not be read, with the reason. Hidden files and folders below a
    named folder are left out, so is the folder `leave_out`, and links to folders are not followed,
    so a link cannot make the walk endless.

    Raises:
        VidsiftError: a path does not exist or cannot be reached, naming all such.
    """
    found: set[Path] = set()
    unreadable: list[tuple[Path, str]] = []
    absent = []

    def note(error: OSError) -> None:
        unreadable.append((Path(error.filename), f"cannot be read: {error.strerror}"))

    for path in map(real_path, paths):
        try:
            is_folder = stat.S_ISDIR(path.lstat().st_mode)
        except FileNotFoundError:
            absent.append(f"{path}: no such file or folder; check the path")
            continue
        except OSError as error:
            absent.append(f"{path}: cannot be reached: {error.strerror}; mend the permissions")
            continue
        if not is_folder:
            found.add(path)
            continue
        for folder, folders, files in os.walk(path, onerror=note):
            folders[:] = [
                name
                for name in sorted(folders)
                if not name.startswith(".") and Path(folder, name) != leave_out
            ]
            found.update(
                real_path(Path(folder, name))
                for name in files
                if not name.startswith(".") and Path(name).suffix.lower() in VIDEO_SUFFIXES
            )
    if absent:
        raise VidsiftError("\n".join(absent))
    return sorted(found), unreadable


def no_videos(paths: Iterable[Path | str]) -> VidsiftError:
    """The error of paths that hold no video, and of which none is known."""
    named = ", ".join(str(real_path(path)) for path in paths)
    return VidsiftError(f"{named}: no video files in there; name a folder that holds some")


def real_path(path: Path | str) -> Path:
    """The absolute path with links resolved; a link that leads nowhere stays what it is."""
    named = expanded(path).absolute()
    real = os.path.realpath(named)
    return Path(real) if os.path.exists(real) else Path(os.path.normpath(named))  # noqa: PTH110


def lies_under(path: Path, roots: Sequence[Path]) -> bool:
    """Whether `path` is one of `roots` or below one of them."""
    return any(path == root or path.is_relative_to(root) for root in roots)


def fingerprint(path: Path) -> Fingerprint:
    """Size, modification time and SHA-256 of the whole file.

    Raises:
        MediaError: the file cannot be read, or is no regular file.
    """
    try:
        # Before it is opened: opening a pipe waits for somebody to write into it.
        if not stat.S_ISREG(path.stat().st_mode):
            raise MediaError(path, "is not a regular file")
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            # Of 512 bytes each, whatever the disk's own are. To hash terabytes of nothing takes
            # hours, and a download that is not finished is no video yet.
            stored = status.st_blocks * 512
            if status.st_size > _LARGE_BYTES and stored * 2 < status.st_size:
                raise MediaError(
                    path,
                    f"is mostly holes: {stored / 1e9:.1f} of its {status.st_size / 1e9:,.1f} GB are"
                    " there; index it when it is whole",
                )
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MediaError(path, f"cannot be read: {error.strerror}") from error
    return Fingerprint(status.st_size, status.st_mtime_ns, digest)


def check_unchanged(video: VideoRecord) -> None:
    """Refuse a video whose file is not what was indexed: what is made of it would not fit.

    Raises:
        MediaError: it has changed since, or cannot be read.
    """
    try:
        status = video.path.stat()
    except OSError as error:
        raise MediaError(video.path, f"cannot be read: {error.strerror}") from error
    known = video.fingerprint
    same = (status.st_size, status.st_mtime_ns) == (known.size_bytes, known.mtime_ns)
    if not same and fingerprint(video.path).sha256 != known.sha256:
        raise MediaError(
            video.path, "has changed since it was indexed; run `vidsift index` on it first"
        )
