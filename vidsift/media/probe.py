"""What a file says of itself, read from the words of `ffmpeg -i`: no ffprobe is needed."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from vidsift.errors import MediaLimitError, NotAVideoError
from vidsift.media.limits import DEFAULT_LIMITS, MediaLimits
from vidsift.media.process import MAX_LINES, FfmpegRun, compile_stream, too_many_pixels
from vidsift.media.source import input_file
from vidsift.types import SubtitleTrack, VideoProbe

__all__ = ["probe"]

_TIME_LIMIT = 60.0
_INPUT = re.compile(r"^Input #0, (?P<container>.+?), from '")
_DURATION = re.compile(r"^  Duration: (?:(\d+):(\d\d):(\d\d(?:\.\d+)?)|N/A)")
_START = re.compile(r"\bstart: (-?\d+(?:\.\d+)?)")
_STREAM_START = re.compile(r", start (-?\d+(?:\.\d+)?)")
# Values of metadata stand behind "key :" or " :", so no file can forge a line of a stream.
_STREAM = re.compile(r"^ {2,6}Stream #0:\d+\S*: (?P<kind>Video|Audio): (?P<rest>.*)$")
_SUBTITLES = re.compile(
    r"^ {2,6}Stream #0:\d+(?:\[0x[0-9a-f]+\])?(?:\((?P<language>[^)]*)\))?: Subtitle: "
    r"(?P<codec>\w+)"
)
_VIDEO = re.compile(
    r"^(?P<codec>[^\s,]+).*?, (?P<pixels>\w+)(?:\((?P<colours>[^)]*)\))?, "
    r"(?P<width>\d+)x(?P<height>\d+)\b"
)
_MATRICES = {"bt709", "bt470bg", "smpte170m", "smpte240m", "fcc", "bt2020nc", "bt2020c", "gbr"}
_SAR = re.compile(r"\bSAR (\d+):(\d+)")
_RATE = re.compile(r"(\d+(?:\.\d+)?)(k?) (fps|tbr)\b")
_ROTATION = re.compile(r"^\s+(?:Display Matrix|displaymatrix): rotation of (-?\d+(?:\.\d+)?) deg")
_HDR = re.compile(r"\((?:[^)]*[,/] ?)?(?:smpte2084|arib-std-b67)\b")

_DEFAULT_RATE = Fraction(25)
# ffmpeg prints two digits; these are what they stand for.
_NTSC = {
    f"{1000 * nominal / 1001:.2f}": Fraction(1000 * nominal, 1001)
    for nominal in (24, 30, 48, 60, 120, 240)
} | {"14.99": Fraction(15000, 1001)}


def probe(path: Path, *, limits: MediaLimits = DEFAULT_LIMITS) -> VideoProbe:
    """Read what the headers of a video say; no frame is decoded for the answer.

    Pictures that are attached to a sound file (cover art) are not video. Width and height are as
    displayed; a frame rate that is not told is taken as 25; `rotation` is ffmpeg's, in degrees
    counterclockwise.

    Raises:
        NotAVideoError: the file is empty, is no media, or has no video stream.
        MediaError: the file is absent, not a file, or may not be read.
        MediaTimeoutError: ffmpeg hangs on it.
        MediaLimitError: it is longer, or its frames are larger, than `limits` allows.
    """
    source = input_file(path, limits=limits)
    with FfmpegRun(subject=path, time_limit=_TIME_LIMIT, limits=limits) as run:
        # Without an output ffmpeg describes its input and ends; its status is never 0.
        run.start([*compile_stream(source.output("-"), loglevel="info")[:-2]])
        status = run.returncode()
        lines = list(run.lines)
        header = next((n for n, line in enumerate(lines) if _INPUT.match(line)), None)
        if header is None:
            if limited := run.limit_error(status) or run.pixel_error():
                raise limited
            if len(lines) == MAX_LINES:
                raise MediaLimitError(path, f"says more than {MAX_LINES:,} lines about itself")
            raise NotAVideoError(path, _why_unreadable(run, status))
        # A name may have lines of its own, which could pass for those of ffmpeg.
        more = f"{path}':".split("\n")[1:]
        header_lines = 1 + sum(bool(line.rstrip()) for line in more)
        described = _parse(path, lines[header : header + 1] + lines[header + header_lines :])
        if described is None:
            raise (
                run.limit_error(status)
                or run.pixel_error()
                or NotAVideoError(path, "has a video stream whose picture size cannot be read")
            )
    if described.width * described.height > limits.max_pixels:
        raise too_many_pixels(path, described.width, described.height, limits)
    if described.duration_seconds > limits.max_seconds:
        raise MediaLimitError(
            path,
            f"says that it lasts {described.duration_seconds / 3600:,.1f} hours,"
            f" {limits.max_hours:g} are the most; raise media_max_hours if the file is good",
        )
    return described


def _why_unreadable(run: FfmpegRun, status: int) -> str:
    if any("whitelist" in line for line in run.lines):
        return "is not a video (or a playlist or pattern of other files, which is not followed)"
    if any("moov atom not found" in line for line in run.lines):
        return "is not a video, or an mp4 that was never finished: its index (moov) is missing"
    return f"is not a video: {run.reason(status)}"


def _parse(path: Path, lines: list[str]) -> VideoProbe | None:
    """What the lines say; None where they do not tell the size of the picture."""
    duration = start = 0.0
    video: str | None = None
    has_audio = False
    rotation = 0
    in_video = False
    subtitles: list[SubtitleTrack] = []
    for line in lines:
        if found := _DURATION.match(line):
            if found[1]:
                duration = int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
            if told := _START.search(line):
                start = float(told[1])
        elif found := _STREAM.match(line):
            in_video = found["kind"] == "Video" and video is None and _is_moving(found["rest"])
            has_audio |= found["kind"] == "Audio"
            if in_video:
                video = found["rest"]
        elif line.lstrip().startswith("Stream #0:"):
            in_video = False
            if found := _SUBTITLES.match(line):
                language = found["language"] or ""
                subtitles.append(
                    SubtitleTrack("" if language == "und" else language, found["codec"])
                )
        elif in_video and (found := _ROTATION.match(line)):
            rotation = _right_angle(float(found[1]))
    if video is None:
        raise NotAVideoError(path, "has no video stream" + (", only sound" if has_audio else ""))
    described = _VIDEO.match(video)
    if described is None or not int(described["width"]) * int(described["height"]):
        return None
    width, height = _displayed(video, int(described["width"]), int(described["height"]), rotation)
    named = _INPUT.match(lines[0])
    begins = _STREAM_START.search(video)
    return VideoProbe(
        path=path,
        container=named["container"] if named else "",
        codec=described["codec"],
        pixel_format=described["pixels"],
        width=width,
        height=height,
        rotation=rotation,
        frame_rate=_frame_rate(video),
        duration_seconds=duration,
        start_seconds=start,
        has_audio=has_audio,
        is_hdr=_HDR.search(video) is not None,
        delay_seconds=max(0.0, float(begins[1]) - start) if begins else 0.0,
        subtitle_tracks=tuple(subtitles),
        colour_matrix=_colour_matrix(described["colours"] or ""),
    )


def _colour_matrix(colours: str) -> str:
    # Such as `tv, bt709, progressive`; where matrix, primaries and transfer differ,
    # `smpte170m/bt470bg/bt709`.
    told = (word.partition("/")[0] for word in colours.split(", "))
    return next((word for word in told if word in _MATRICES), "")


def _is_moving(rest: str) -> bool:
    return "(attached pic)" not in rest and "(still image)" not in rest


def _right_angle(degrees: float) -> int:
    # ffmpeg turns pictures upright by right angles and leaves their size alone otherwise.
    nearest = round(degrees / 90) * 90
    return nearest % 360 if abs(degrees - nearest) < 2 else 0


def _displayed(video: str, width: int, height: int, rotation: int) -> tuple[int, int]:
    if sar := _SAR.search(video):
        over, under = int(sar[1]), int(sar[2])
        # A ratio beyond these is damage, and would make a picture a line.
        if over and under and 1 / 20 <= over / under <= 20:
            width = max(1, round(width * over / under))
    return (height, width) if rotation in (90, 270) else (width, height)


def _frame_rate(video: str) -> Fraction:
    rates = {kind: (number, kilo) for number, kilo, kind in _RATE.findall(video)}
    for kind in ("fps", "tbr"):
        number, kilo = rates.get(kind, ("0", ""))
        rate = _NTSC.get(number) or Fraction(number)
        # A rate in thousands is the time base of a stream that names no rate.
        if not kilo and 0 < rate <= 480:
            return rate
    return _DEFAULT_RATE
