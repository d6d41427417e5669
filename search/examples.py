"""Questions that are shown, not said: a picture, or a moment of the library."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from vidsift.errors import QueryError
from vidsift.library import Library
from vidsift.models.encoder import Encoder
from vidsift.times import clock
from vidsift.types import ClipRecord, TextQuery, VideoRecord

__all__ = [
    "clip_at",
    "frames_around",
    "moment_query",
    "parse_moment",
    "picture_query",
    "read_picture",
]

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
_MOST_PIXELS = 100_000_000
_MOST_ASPECT = 20  # a thread of pixels would be blown up to gigabytes
_TIME = re.compile(r"(?:(?:(\d{1,6}):)?(\d{1,6}):)?(\d{1,9}(?:\.\d+)?)", re.ASCII)
_NEAR_SECONDS = 1.0  # a moment is what is seen so long before and after, within one clip


def parse_moment(text: str, library: Library) -> tuple[VideoRecord, float]:
    """A video and a time in seconds in it, from `VIDEO@SECONDS`, `VIDEO@1:23` or `VIDEO@1:02:03`.

    Raises:
        QueryError: it is not of that form, the video cannot be searched, or ends earlier.
        VideoNotFoundError: none or several videos answer to that name.
        DamagedLibraryError: the video is damaged.
    """
    name, at, time = text.rpartition("@")
    found = _TIME.fullmatch(time.strip())
    if not at or not name.strip() or found is None:
        raise QueryError(
            f"{text}: expected a video and a time in it, VIDEO@SECONDS or VIDEO@MINUTES:SECONDS"
        )
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    seconds += 60 * minutes + 3600 * hours
    video = library.video(name.strip())
    if video.status != "searchable":
        raise QueryError(f"{text}: {video.path} cannot be searched: {video.reason}")
    if seconds >= video.duration_seconds:
        raise QueryError(
            f"{text}: lies beyond the end of {video.path.name},"
            f" which is {clock(video.duration_seconds)} long"
        )
    library.require_whole(video)
    return video, seconds


def moment_query(library: Library, video: VideoRecord, seconds: float) -> TextQuery:
    """What is seen at this time, as a question: the mean of the frames around it, unit length.

    Raises:
        QueryError: the video has no frames.
        DamagedLibraryError: its features cannot be read.
    """
    mean = frames_around(library, clip_at(library, video, seconds), seconds).mean(0)
    return TextQuery(f"{video.path.name}@{clock(seconds)}", mean / np.linalg.norm(mean))


def clip_at(library: Library, video: VideoRecord, seconds: float) -> ClipRecord:
    """The clip that is on at this time.

    Raises:
        QueryError: the video has none.
    """
    clips = library.catalog.clips_of_video(video.id)
    if not clips:
        raise QueryError(f"{video.path}: has no clips to go by; run `vidsift index` on it")
    return next((each for each in clips if seconds < each.clip.span.end), clips[-1])


def frames_around(
    library: Library, record: ClipRecord, seconds: float
) -> Float32[np.ndarray, "n d"]:
    """The features of a clip's frames within a second of this time, at least the nearest one.

    Raises:
        DamagedLibraryError: they cannot be read.
    """
    clip = record.clip
    features = library.features.read(
        record.feature_file, clip.first_frame, clip.num_frames, library.encoder.stamp.dimension
    )
    apart: Float64[np.ndarray, "n"] = np.abs(record.pts_seconds - seconds)
    return features[apart <= max(_NEAR_SECONDS, float(apart.min()))]


def picture_query(path: Path, encoder: Encoder) -> TextQuery:
    """What a picture shows, as a question.

    Raises:
        QueryError: the file is absent, is no picture, is damaged, or too large or narrow.
        EncoderError: the encoder cannot run.
    """
    picture = read_picture(path, encoder.picture_size)
    return TextQuery(path.name, encoder.encode_frames(picture[np.newaxis])[0])


def read_picture(path: Path, short_side: int) -> UInt8[np.ndarray, "h w 3"]:
    """The upright picture in RGB, what is transparent white, no larger than the encoder needs.

    Raises:
        QueryError: the file is absent, is no picture, is damaged, or too large or narrow.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe would be waited for
        raise QueryError(f"{path}: is no picture but a pipe or a device; name a file")
    try:
        # Pillow warns of what is large; our own limit is checked before a pixel is decoded.
        quiet = warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning)
        with quiet, Image.open(path, formats=_FORMATS) as image:
            _check_size(path, *image.size)
            image.draft("RGB", (short_side, short_side))  # JPEG: decode no more than is needed
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("1", "P"):  # these cannot be made smaller smoothly
                upright = upright.convert("RGBA")
            shrink = max(1.0, min(upright.size) / short_side)
            size = (round(upright.width / shrink), round(upright.height / shrink))
            upright = upright.resize(size, reducing_gap=2.0)
            if upright.mode.startswith("I"):  # 16 bits of grey; convert would cut them off
                upright = Image.fromarray((np.asarray(upright) // 256).astype(np.uint8))
            shown = upright.convert("RGBA")
            ground = Image.new("RGBA", shown.size, "white")
            return np.asarray(Image.alpha_composite(ground, shown).convert("RGB"))
    except UnidentifiedImageError as error:
        raise QueryError(
            f"{path}: is no picture that can be read; use {', '.join(_FORMATS)}"
        ) from error
    except Image.DecompressionBombError as error:
        raise QueryError(f"{path}: has too many pixels; make it smaller") from error
    except OSError as error:
        raise QueryError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (EOFError, RuntimeError, SyntaxError, ValueError) as error:  # Pillow has them all
        raise QueryError(f"{path}: is damaged: {error}") from error


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > _MOST_PIXELS:
        raise QueryError(
            f"{path}: has {width} x {height} pixels, {_MOST_PIXELS // 1_000_000} million are the"
            " most; make it smaller"
        )
    if max(width, height) > _MOST_ASPECT * min(width, height):
        raise QueryError(
            f"{path}: is {width} x {height} pixels, one side more than {_MOST_ASPECT} times the"
            " other; cut out what matters"
        )
