"""Making people in films and pictures unrecognisable, as far as they are found (best effort).

What covers somebody shows nothing but a picture of 8 rows, whatever the size of the original: what
is not there cannot be restored, nor gathered from several frames. A film is looked at 5 times a
second; boxes are held for half a second before and after and across gaps of 2 seconds. The film
keeps its size, its frames and its sound: voices are not changed, and can identify people as well.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vidsift.errors import MediaError
from vidsift.media.limits import DEFAULT_LIMITS, MediaLimits
from vidsift.media.people import Box, PeopleDetector, through_time
from vidsift.media.process import FfmpegRun, compile_stream, run_ffmpeg
from vidsift.media.source import file_url, input_file
from vidsift.types import VideoProbe

__all__ = ["blur_film", "blur_picture"]

_LOOKS_A_SECOND = 4
_HOLD_SECONDS = 0.5
_GAP_SECONDS = 2.0
_ROWS = 8  # of the picture that is left of what is covered
_LOOK_SHORT_SIDE = 480
_CELL = 8  # pixels; edges of what is covered lie on this grid, outside of the boxes
_SHARE_OF_LOOKING = 0.8


def blur_picture(picture: bytes) -> bytes:
    """A picture (of any format that Pillow reads) with its people blurred, as JPEG.

    Where nobody is found it comes back as it is.
    """
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    pixels = np.asarray(image)
    boxes = PeopleDetector().find(pixels)
    if not boxes:
        return picture
    h, w = pixels.shape[:2]
    left = image.resize((_columns(w, h), _ROWS), Image.Resampling.BOX)
    left = left.resize((w, h), Image.Resampling.BICUBIC)
    mask = Image.fromarray(_mask(boxes, -(-w // _CELL), -(-h // _CELL)))
    mask = mask.resize((w, h), Image.Resampling.NEAREST)
    image.paste(left, mask=mask)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=88)
    return encoded.getvalue()


def blur_film(
    film: VideoProbe,
    rate: Fraction,
    out: Path,
    encoding: dict[str, Any],
    *,
    subject: Path,
    time_limit: float,
    limits: MediaLimits = DEFAULT_LIMITS,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write `film`, whose frames come at exactly `rate`, to `out` with its people blurred.

    As many frames of the same size at the same times, and the sound, if `encoding` (options of
    ffmpeg's output) has a codec for it.

    Args:
        film: upright, in square pixels, as `vidsift.media.cut` renders.
        rate: frames a second.
        out: the file to write.
        encoding: ffmpeg-python's options of the output.
        subject: the file that errors name.
        time_limit: seconds for each of two runs.
        limits: what else they may take.
        progress: called with the share that is done, 0 to 1.

    Raises:
        MediaError: ffmpeg failed; MediaTimeoutError, MediaLimitError as it says.
        StorageError: the disk is full.
    """
    step = max(1, round(rate / _LOOKS_A_SECOND))
    seconds = max(film.duration_seconds, 1e-6)

    def looked(count: int) -> None:
        if progress is not None:
            progress(min(1.0, count * step / float(rate) / seconds) * _SHARE_OF_LOOKING)

    found = _look(film, step, subject, time_limit, limits, looked)
    looks_a_second = float(rate / step)
    covered = through_time(
        found, math.ceil(_HOLD_SECONDS * looks_a_second), math.ceil(_GAP_SECONDS * looks_a_second)
    )
    # A look stands for the frames up to the next one, which has seen where they lead.
    covered = [a + b for a, b in zip(covered, [*covered[1:], []], strict=True)]
    mask = out.with_name(f"{out.name}.mask")
    try:
        size = _write_masks(mask, covered, film)
        stream = _blurred(film, mask, size, rate, step)
        streams = [stream]
        if "acodec" in encoding:
            streams.append(input_file(film.path, limits=limits)["a:0"])

        def written(done: float) -> None:
            if progress is not None:
                share = min(1.0, done / seconds)
                progress(_SHARE_OF_LOOKING + share * (1 - _SHARE_OF_LOOKING))

        run_ffmpeg(
            ffmpeg.output(*streams, file_url(out), **encoding, r=str(rate)),
            subject=subject,
            output=out,
            time_limit=time_limit,
            limits=limits,
            progress=written,
        )
    finally:
        mask.unlink(missing_ok=True)


def _look(
    film: VideoProbe,
    step: int,
    subject: Path,
    time_limit: float,
    limits: MediaLimits,
    looked: Callable[[int], None],
) -> list[list[Box]]:
    """Who is found in every `step`-th frame."""
    scale = min(1.0, _LOOK_SHORT_SIDE / min(film.width, film.height))
    w, h = (max(2, 2 * round(side * scale / 2)) for side in (film.width, film.height))
    detector = PeopleDetector()
    found: list[list[Box]] = []
    content = bytearray()

    def collect(fd: int) -> bool:
        data = os.read(fd, 1 << 20)
        content.extend(data)
        while len(content) >= w * h * 3:
            frame = np.frombuffer(bytes(content[: w * h * 3]), np.uint8).reshape(h, w, 3)
            del content[: w * h * 3]
            found.append(detector.find(frame))
            looked(len(found))
        return bool(data)

    with FfmpegRun(subject=subject, time_limit=time_limit, limits=limits) as run:
        stream = input_file(film.path, limits=limits)["v:0"]
        stream = stream.filter("select", f"not(mod(n,{step}))")
        stream = stream.filter("scale", w, h, flags="area").filter("format", "rgb24")
        pipe = f"pipe:{run.open_pipe(collect)}"
        run.start(compile_stream(stream.output(pipe, format="rawvideo", fps_mode="passthrough")))
        status = run.returncode()
        if status:
            raise run.failure(status)
    if not found:
        raise MediaError(subject, "has no frame in which people could be looked for")
    return found


def _write_masks(file: Path, covered: Sequence[Sequence[Box]], film: VideoProbe) -> tuple[int, int]:
    """A raw picture for each look, white (255) where it is covered; returns their size."""
    columns, rows = (2 * math.ceil(side / 2 / _CELL) for side in (film.width, film.height))
    with file.open("wb") as stream:
        for boxes in covered:
            mask = _mask(boxes, columns, rows)
            stream.write(mask.tobytes())
            # Half of the colour's resolution: covered if any of its four pixels is.
            colour = mask.reshape(rows // 2, 2, columns // 2, 2).max(axis=(1, 3)).tobytes()
            stream.write(colour + colour)
    return columns, rows


def _mask(boxes: Sequence[Box], columns: int, rows: int) -> UInt8[np.ndarray, "{rows} {columns}"]:
    mask = np.zeros((rows, columns), np.uint8)
    for box in boxes:
        top, bottom = math.floor(box.top * rows), math.ceil(box.bottom * rows)
        left, right = math.floor(box.left * columns), math.ceil(box.right * columns)
        mask[top:bottom, left:right] = 255
    return mask


def _blurred(film: VideoProbe, mask: Path, size: tuple[int, int], rate: Fraction, step: int) -> Any:
    """The film's frames, and where the mask is white what 8 rows leave of them."""
    clock = f"1/({rate})"
    frames = input_file(film.path)["v:0"].filter("settb", clock).filter("setpts", "N")
    copies = frames.filter("format", "yuv420p").filter_multi_output("split", 2)
    left = copies[1].filter("scale", _columns(film.width, film.height), _ROWS, flags="area")
    left = left.filter("scale", film.width, film.height, flags="bicubic")
    masks = ffmpeg.input(
        file_url(mask),
        format="rawvideo",
        pix_fmt="yuv420p",
        video_size=size,
        framerate=str(rate / step),
    )
    if film.colour_matrix:
        # A mask is no colour: with another matrix than the film's it would be "converted" to it.
        masks = masks.filter("setparams", colorspace=film.colour_matrix)
    masks = masks.filter("scale", film.width, film.height, flags="neighbor")
    # It stands until the next one comes.
    masks = masks.filter("settb", clock).filter("setpts", f"N*{step}")
    merged = ffmpeg.filter([copies[0], left.filter("setsar", 1), masks], "maskedmerge")
    return merged.filter("settb", clock).filter("setpts", "N")


def _columns(width: int, height: int) -> int:
    """Of a picture of 8 rows in the same shape; even, as its colour needs."""
    return max(2, 2 * round(_ROWS * width / height / 2))
