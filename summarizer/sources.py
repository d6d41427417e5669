"""Whether the files that a skim is cut from are still what they were when they were indexed."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from vidsift.types import VideoRecord

__all__ = ["source_problem"]


def source_problem(video: VideoRecord) -> str:
    """What is wrong with the video's file, and what to do; empty if it is as it was indexed.

    Size and time of writing tell at once; only where the time alone differs is the file read.
    """
    known = video.fingerprint
    try:
        status = video.path.stat()
        if status.st_size == known.size_bytes and (
            status.st_mtime_ns == known.mtime_ns
            or _sha256(video.path, status.st_mtime_ns) == known.sha256
        ):
            return ""
    except FileNotFoundError:
        return "is gone since it was indexed; put it back, or run `vidsift index` again"
    except OSError as error:
        return f"cannot be read: {error.strerror}; mend that, or run `vidsift index` again"
    except ValueError as error:  # a NUL, which only a damaged row of the catalog holds
        return f"is no name of a file ({error}); run `vidsift index` again"
    return "has other content than when it was indexed; run `vidsift index` on it again"


@lru_cache(maxsize=256)
def _sha256(path: Path, _mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
