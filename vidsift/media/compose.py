"""Compose a film from photographs: a camera that pans and zooms, cuts, cross-fades and a tone.

It gives the demo and the tests real videos whose shots, times and contents are known beforehand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg

from vidsift.errors import MediaError
from vidsift.media.process import run_ffmpeg
from vidsift.media.source import file_url

__all__ = ["CameraView", "PictureShot", "film_from_pictures"]

# zoompan moves its window by whole pixels; on a canvas this much larger the steps are too small to
# be seen as a tremble.
_OVERSAMPLING = 3
_SAMPLE_RATE = 48_000


@dataclass(frozen=True, slots=True)
class CameraView:
    """Where the camera looks: `zoom` 1 shows the whole picture, 2 half of its width and height.

    `x` and `y` say where the visible window lies in what is left to roam over: 0 is the left or
    upper edge, 1 the right or lower one, 0.5 the middle.
    """

    zoom: float = 1.0
    x: float = 0.5
    y: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.zoom <= 10 or not 0 <= self.x <= 1 or not 0 <= self.y <= 1:
            raise ValueError(f"a view needs 1 <= zoom <= 10 and 0 <= x, y <= 1, got {self}")


@dataclass(frozen=True, slots=True)
class PictureShot:
    """One picture, seen for `seconds` while the camera moves evenly from `start` to `end`.

    It begins with a cut, or with a cross-fade over `fade_seconds` that both shots share.
    """

    picture: Path
    seconds: float
    start: CameraView = CameraView()
    end: CameraView = CameraView(1.2)
    fade_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.fade_seconds < self.seconds:
            raise ValueError(f"a shot needs 0 <= fade_seconds < seconds, got {self}")


def film_from_pictures(
    shots: Sequence[PictureShot],
    out: Path,
    *,
    size: tuple[int, int] = (640, 360),
    frame_rate: Fraction = Fraction(25),
    tone_hertz: float | None = None,
    background: str = "black",
    time_limit: float = 120.0,
) -> Path:
    """Write the film to `out` (H.264 in mp4; AAC if there is a tone) and return `out`.

    The same arguments and the same ffmpeg give the same bytes. `out` appears when it is complete,
    or not at all.

    Args:
        shots: in order; the first one's `fade_seconds` is a fade from nothing and must be 0.
        size: width and height in pixels, both even. A picture of another shape is fitted into it
            on `background` (a colour name of ffmpeg); a zoom hides the bars.
        tone_hertz: pitch of a quiet, slowly beating tone; None: no sound.
        time_limit: seconds that ffmpeg may take.

    Raises:
        ValueError: there is no shot, or a size or a fade cannot be met.
        MediaError: a picture is absent, or ffmpeg cannot use it.
        StorageError: the disk is full.
    """
    if not shots or shots[0].fade_seconds:
        raise ValueError("a film needs at least one shot, and its first shot has nothing to fade")
    if min(size) < 2 or size[0] % 2 or size[1] % 2:
        raise ValueError(f"width and height must be even and positive, got {size}")
    for shot in shots:
        if not shot.picture.is_file():
            raise MediaError(shot.picture, "there is no such picture")

    views = _shot_streams(shots, size, frame_rate, background)
    video = next(views)
    seconds = _rounded_seconds(shots[0].seconds, frame_rate)
    for shot, following in zip(shots[1:], views, strict=True):
        video, seconds = _join(video, seconds, following, shot, frame_rate)

    streams = [video]
    # Tags such as the encoder's version would make equal films differ.
    options: dict[str, Any] = {
        "vcodec": "libx264", "preset": "veryfast", "crf": 22, "pix_fmt": "yuv420p",
        "color_range": "tv", "colorspace": "bt709", "movflags": "+faststart",
        "map_metadata": -1, "fflags": "+bitexact", "flags:v": "+bitexact",
    }  # fmt: skip
    if tone_hertz is not None:
        streams.append(_tone(tone_hertz, seconds))
        options |= {"acodec": "aac", "audio_bitrate": "64k", "flags:a": "+bitexact"}

    partial = out.with_name(f".{out.name}.part")
    try:
        run_ffmpeg(
            ffmpeg.output(*streams, file_url(partial), format="mp4", **options),
            subject=out,
            time_limit=time_limit,
        )
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return out


def _shot_streams(
    shots: Sequence[PictureShot], size: tuple[int, int], frame_rate: Fraction, background: str
) -> Iterator[Any]:
    """The moving view of each shot; a picture of several shots is read and enlarged once."""
    width, height = size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING
    uses = Counter(shot.picture for shot in shots)
    canvases = {
        picture: (
            # A name with a % is a name here and not a pattern of many.
            ffmpeg.input(
                file_url(picture),
                format="image2",
                pattern_type="none",
                protocol_whitelist="file,pipe",
            )
            .filter(
                "scale",
                width,
                height,
                force_original_aspect_ratio="decrease",
                flags="bicubic",
                # JPEG has its own range of levels; all shots need one and the same.
                out_range="tv",
                out_color_matrix="bt709",
            )
            .filter("format", "yuv420p")
            .filter("pad", width, height, "(ow-iw)/2", "(oh-ih)/2", color=background)
            .filter_multi_output("split", num_uses)
        )
        for picture, num_uses in uses.items()
    }
    used: Counter[Path] = Counter()
    for shot in shots:
        yield _camera(canvases[shot.picture].stream(used[shot.picture]), shot, size, frame_rate)
        used[shot.picture] += 1


def _camera(canvas: Any, shot: PictureShot, size: tuple[int, int], frame_rate: Fraction) -> Any:
    """The moving view of one canvas as a stream of exactly the shot's number of frames."""
    num_frames = max(1, round(shot.seconds * frame_rate))
    # on: the number of the frame that zoompan is about to give out
    progress = f"min(1,on/{max(1, num_frames - 1)})"

    def moving(first: float, last: float) -> str:
        return f"({first}+({last - first})*{progress})"

    return (
        canvas.filter(
            "zoompan",
            zoom=moving(shot.start.zoom, shot.end.zoom),
            x=f"(iw-iw/zoom)*{moving(shot.start.x, shot.end.x)}",
            y=f"(ih-ih/zoom)*{moving(shot.start.y, shot.end.y)}",
            d=num_frames,
            s=f"{size[0]}x{size[1]}",
            fps=str(frame_rate),
        )
        .filter("setsar", 1)
        .filter("settb", "AVTB")
    )


def _join(
    video: Any, seconds: float, following: Any, shot: PictureShot, frame_rate: Fraction
) -> tuple[Any, float]:
    """`following` after `video`, which lasts `seconds`; the joined stream and how long it lasts."""
    fade = _rounded_seconds(shot.fade_seconds, frame_rate)
    if fade >= seconds:
        raise ValueError(f"{shot.picture}: a fade of {fade} s is longer than what comes before it")
    if fade:
        joined = ffmpeg.filter(
            [video, following], "xfade", transition="fade", duration=fade, offset=seconds - fade
        )
    else:
        joined = ffmpeg.concat(video, following, v=1, a=0)
    # Joining may change the clock, and the next xfade insists on one.
    return joined.filter("settb", "AVTB"), seconds - fade + _rounded_seconds(
        shot.seconds, frame_rate
    )


def _tone(hertz: float, seconds: float) -> Any:
    source = f"sine=frequency={hertz}:sample_rate={_SAMPLE_RATE}:duration={seconds}"
    return (
        ffmpeg.input(source, format="lavfi").filter("tremolo", f=0.5, d=0.6).filter("volume", "0.3")
    )


def _rounded_seconds(seconds: float, frame_rate: Fraction) -> float:
    """What a whole number of frames lasts that comes closest to `seconds`."""
    return float(round(seconds * frame_rate) / frame_rate)
