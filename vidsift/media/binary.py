"""Which ffmpeg runs, and what it can do."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache

import imageio_ffmpeg

from vidsift.errors import MediaToolError

__all__ = ["ffmpeg_binary", "has_encoder", "has_filter"]

# Older versions decode the same frames, but 5.1 and 7.0 do not tell how long a first frame is
# delayed by an edit list (so that a cut would be late by that), and 5.1 ends well on a full disk.
_OLDEST = (8, 0)


@cache
def ffmpeg_binary() -> str:
    """The ffmpeg to run: that of PATH if it is new enough, else imageio-ffmpeg's.

    Raises:
        MediaToolError: neither is there.
    """
    on_path = shutil.which("ffmpeg")
    if on_path and _version(on_path) >= _OLDEST:
        return on_path
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        oldest = ".".join(map(str, _OLDEST))
        raise MediaToolError(
            on_path or "ffmpeg",
            f"no ffmpeg {oldest} or newer was found; install ffmpeg or imageio-ffmpeg's wheel",
        ) from error


def _version(binary: str) -> tuple[int, int]:
    said = _ask(binary, "-version")
    numbers = re.match(r"ffmpeg version n?(\d+)\.(\d+)", said)
    # A build from git carries no number; it is new.
    return (int(numbers[1]), int(numbers[2])) if numbers else (99, 0) if said else (0, 0)


def _ask(binary: str, *arguments: str) -> str:
    done = subprocess.run(
        [binary, "-hide_banner" if arguments[0] != "-version" else "-nostdin", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        check=False,
    )
    return done.stdout


@cache
def _listed(kind: str) -> frozenset[str]:
    lines = _ask(ffmpeg_binary(), kind).splitlines()
    return frozenset(words[1] for line in lines if len(words := line.split()) > 1)


def has_filter(name: str) -> bool:
    """Whether the ffmpeg in use has this filter."""
    return name in _listed("-filters")


def has_encoder(name: str) -> bool:
    """Whether the ffmpeg in use has this encoder."""
    return name in _listed("-encoders")
