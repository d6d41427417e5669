"""Files as ffmpeg is given them: regular, under any name, and unable to reach other files."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import ffmpeg

from vidsift.errors import MediaError, NotAVideoError
from vidsift.media.limits import DEFAULT_LIMITS, MediaLimits

__all__ = ["file_url", "input_file", "unquoted"]

# Formats that hold their own pictures. Those that name other files (hls, dash, concat, imf,
# image2 patterns) are left out on purpose: a video must not make ffmpeg read something else.
_FORMATS = (
    "aac,ac3,aiff,apng,asf,avi,av1,dv,flac,flv,gif,h264,hevc,ivf,m4v,matroska,webm,mjpeg,mov,mp4,"
    "m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,mpegtsraw,mpegvideo,mpjpeg,mxf,nsv,nut,obu,ogg,rm,roq,swf,"
    "vc1,viv,wav,wtv,y4m,yuv4mpegpipe"
)
# Each thread holds frames: 16 of them take 4.5 GB for 8K HEVC, 4 take 1.8 and are hardly slower.
_THREADS = min(8, os.cpu_count() or 1)
# ffmpeg-python hashes what it is given as UTF-8, which the name of a file need not be.
_QUOTED = "vidsift-quoted-file:"


def input_file(
    path: Path, *, limits: MediaLimits = DEFAULT_LIMITS, threads: int = 0, **options: Any
) -> Any:
    """An ffmpeg-python input of one file that may read neither the network nor other files.

    Args:
        path: the file.
        limits: of which the size of frames is kept by the decoder.
        threads: of the decoder; 0: as many as there are cores, but no more than 8.
        options: of ffmpeg for this input.

    Raises:
        NotAVideoError: the file is empty.
        MediaError: it is absent, not a regular file, or may not be read.
    """
    _check_readable(path)
    return ffmpeg.input(
        file_url(path),
        protocol_whitelist="file,pipe",
        format_whitelist=_FORMATS,
        max_pixels=limits.max_pixels,
        threads=threads or _THREADS,
        **options,
    )


def file_url(path: Path) -> str:
    """The name of an input or output for ffmpeg-python; `unquoted` makes it ffmpeg's own."""
    return _QUOTED + quote_from_bytes(os.fsencode(path))


def unquoted(argument: str) -> str:
    """An argument of ffmpeg's command line in which `file_url` is what ffmpeg understands."""
    if not argument.startswith(_QUOTED):
        return argument
    return "file:" + os.fsdecode(unquote_to_bytes(argument.removeprefix(_QUOTED)))


def _check_readable(path: Path) -> None:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise MediaError(path, "is a folder, not a video file")
        # Asked before it is opened: opening a FIFO waits for its writer.
        if not stat.S_ISREG(status.st_mode):
            raise MediaError(path, "is not a regular file")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise MediaError(path, "no such file") from None
    except OSError as error:
        raise MediaError(path, f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL, which a damaged row of the catalog may hold
        raise MediaError(path, f"is no name of a file: {error}") from error
    if status.st_size == 0:
        raise NotAVideoError(path, "is empty")
