"""The filter graph that joins pieces of videos into one film, cross-faded, in one size and rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg

from vidsift.media.frames import tone_map
from vidsift.media.limits import DEFAULT_LIMITS, MediaLimits
from vidsift.media.pieces import SAMPLE_RATE, Cut, Piece
from vidsift.media.source import file_url, input_file
from vidsift.media.still import seek_lead
from vidsift.types import VideoProbe

__all__ = ["Canvas", "joined"]

_MAX_RATE = Fraction(60)
# Below this rate the frame grid is too coarse for a promised duration.
_MIN_RATE = 10
_LEAST_HD_PIXELS = 1280 * 700
_LABEL_SECONDS = 2.5
_LABEL_LINES = 720


@dataclass(frozen=True, slots=True)
class Canvas:
    """What all pieces of a film are brought to. `mixed`: they come from several videos."""

    width: int
    height: int
    rate: Fraction
    has_audio: bool
    mixed: bool

    @classmethod
    def of(cls, cuts: Sequence[Cut], max_height: int) -> Canvas:
        """The largest picture among them, upright or wide as most of their time is, even sides.

        The rate is the highest among them, within 10 to 60 a second; a slow one is multiplied.
        """
        upright = math.fsum(
            cut.span.duration * (1 if cut.probe.height > cut.probe.width else -1) for cut in cuts
        )
        probes = [cut.probe for cut in cuts]
        fitting = [probe for probe in probes if (probe.height > probe.width) == (upright > 0)]
        largest = max(fitting or probes, key=lambda probe: probe.width * probe.height)
        scale = min(1.0, max_height / largest.height)
        return cls(
            *_even(largest.width * scale, largest.height * scale),
            rate=max(_output_rate(probe.frame_rate) for probe in probes),
            has_audio=any(probe.has_audio for probe in probes),
            mixed=len({probe.path for probe in probes}) > 1,
        )


def _even(width: float, height: float) -> tuple[int, int]:
    return max(2, 2 * round(width / 2)), max(2, 2 * round(height / 2))


def _output_rate(rate: Fraction) -> Fraction:
    return min(_MAX_RATE, rate * max(1, math.ceil(_MIN_RATE / rate)))


def joined(
    pieces: Sequence[Piece],
    canvas: Canvas,
    labels: Sequence[Path | None],
    *,
    seeking: bool,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> list[Any]:
    """The streams of the film: its picture, and its sound if the canvas has any.

    Args:
        pieces: in order; the first one has no fade.
        canvas: what they are brought to.
        labels: for each piece the file of its label, or None.
        seeking: read from shortly before each piece; otherwise from the beginning of its video,
            which finds it where a container's seek misses.
        limits: of which the size of frames is kept.
    """
    videos: list[Any] = []
    sounds: list[Any] = []
    leaving = leaving_sound = None
    for place, (piece, label) in enumerate(zip(pieces, labels, strict=True)):
        lead = seek_lead(piece.cut.probe) if seeking else math.inf
        # Each input has its own decoder.
        threads = 2 if len(pieces) > 1 else 0
        source = _Source(piece, canvas.rate, lead, place, limits, threads)
        following = pieces[place + 1] if place + 1 < len(pieces) else None
        picture = _labelled(_picture(source, canvas), piece, canvas, label)
        lent = following.fade if following else 0
        head, body, tail = _divided(picture, "", "frame", (piece.fade, piece.frames - lent, lent))
        if piece.fade:
            videos.append(_faded(leaving, head, piece, canvas))
        videos.append(body)
        leaving = tail
        if canvas.has_audio:
            lent = following.fade_samples if following else 0
            lengths = piece.fade_samples, piece.samples - lent, lent
            head, body, tail = _divided(_sound(source), "a", "sample", lengths)
            if piece.fade:
                sounds.append(_faded_sound(leaving_sound, head, piece))
            sounds.append(body)
            leaving_sound = tail
    film = ffmpeg.concat(*videos) if len(videos) > 1 else videos[0]
    # Frames and samples are counted out, so their number is their time.
    streams = [film.filter("settb", f"1/({canvas.rate})").filter("setpts", "N")]
    if canvas.has_audio:
        track = ffmpeg.concat(*sounds, v=0, a=1) if len(sounds) > 1 else sounds[0]
        streams.append(track.filter("asetpts", "N/SR/TB"))
    return streams


class _Source:
    """One piece's file as an input, and where in it the piece begins."""

    def __init__(
        self,
        piece: Piece,
        rate: Fraction,
        lead: float,
        place: int,
        limits: MediaLimits,
        threads: int,
    ) -> None:
        cut = piece.cut
        # ffmpeg counts from the container's start, our times from the first frame.
        begin = cut.span.start + cut.probe.delay_seconds
        start = begin + float(piece.first / rate)
        # In every usual rate of sound a hundredth of a second is a whole number of samples, so the
        # two parts of a divided piece are resampled alike and join without a seam.
        hundredths = math.floor(max(0.0, start - lead) * 100)
        earliest, end = cut.shown_slots(rate)
        self.piece = piece
        self.first = max(piece.first, earliest)
        self.end = max(self.first + 1, min(piece.end, end))
        self.skip = begin + float(self.first / rate) - hundredths / 100
        self.skip_samples = round(begin * SAMPLE_RATE) - hundredths * (SAMPLE_RATE // 100)
        self.skip_samples += piece.first_sample
        # More than is needed, and not the same twice: ffmpeg-python takes equal inputs for one.
        spare = float(1 / rate) + place * 1e-5
        reading = {"t": _seconds(start - hundredths / 100 + piece.frames / rate + spare)}
        if hundredths:  # some formats cannot seek, not even to their beginning
            reading["ss"] = f"{hundredths / 100:.2f}"
        self.stream = input_file(cut.probe.path, limits=limits, threads=threads, **reading)
        silence = f"anullsrc=sample_rate={SAMPLE_RATE}:channel_layout=stereo"
        self.silence = ffmpeg.input(
            silence, format="lavfi", t=_seconds(piece.frames / rate + spare)
        )


def _picture(source: _Source, canvas: Canvas) -> Any:
    """Exactly the piece's frames; what its file or its room lacks of them stands still."""
    piece, rate = source.piece, canvas.rate
    stream = source.stream["V:0"].filter("setpts", f"PTS-({source.skip:.6f})/TB")
    stream = stream.filter("fps", str(rate), start_time=0)
    stream = stream.filter("trim", end_frame=source.end - source.first)
    stream = _fitted(stream, piece.cut.probe, canvas)
    stream = stream.filter(
        "tpad",
        start_mode="clone",
        start=source.first - piece.first,
        stop_mode="clone",
        stop=piece.frames,
    )
    return stream.filter("trim", end_frame=piece.frames)


def _fitted(stream: Any, probe: VideoProbe, canvas: Canvas) -> Any:
    scale = min(canvas.width / probe.width, canvas.height / probe.height)
    width, height = _even(probe.width * scale, probe.height * scale)
    width, height = min(width, canvas.width), min(height, canvas.height)
    if abs(width - canvas.width) <= 2 and abs(height - canvas.height) <= 2:
        width, height = canvas.width, canvas.height  # the same shape but for rounding: no bars
    colours = {}
    if canvas.mixed and not probe.is_hdr:
        colours = {"out_color_matrix": "bt709", "out_range": "tv"}
        # What does not tell is taken as players take it: by its size.
        if not probe.colour_matrix and probe.width * probe.height >= _LEAST_HD_PIXELS:
            colours["in_color_matrix"] = "bt709"
    stream = stream.filter("scale", width, height, **colours).filter("setsar", 1)
    if probe.is_hdr:
        stream = tone_map(stream)
    if (width, height) != (canvas.width, canvas.height):
        stream = stream.filter("pad", canvas.width, canvas.height, "(ow-iw)/2", "(oh-ih)/2")
    return stream.filter("format", "yuv420p")


def _labelled(stream: Any, piece: Piece, canvas: Canvas, label: Path | None) -> Any:
    frames = round(_LABEL_SECONDS * canvas.rate) - piece.first
    if label is None or frames <= 0:
        return stream
    # Never text: a picture cannot say anything to a filter graph.
    plate = ffmpeg.input(file_url(label), format="png_pipe").filter(
        "scale", f"min(iw*{canvas.height}/{_LABEL_LINES},{canvas.width}*0.9)", -1
    )
    margin = canvas.height // 30
    stream = ffmpeg.overlay(
        stream, plate, x=margin, y=f"main_h-overlay_h-{margin}", enable=f"lt(n,{frames})"
    )
    return stream.filter("settb", f"1/({canvas.rate})")


def _divided(
    stream: Any, kind: str, unit: str, lengths: tuple[int, int, int]
) -> tuple[Any, Any, Any]:
    """What fades in, what is seen or heard alone, and what fades out.

    `lengths` are where the first ends, where the second ends, and how much is left for the third.
    `kind` is the letter with which the names of filters of sound begin.
    """
    fade, end, lent = lengths
    if not fade and not lent:
        return None, stream, None
    copies = stream.filter_multi_output(f"{kind}split", bool(fade) + 1 + bool(lent))

    def stretch(copy: int, first: int, last: int) -> Any:
        trimmed = copies[copy].filter(
            f"{kind}trim", **{f"start_{unit}": first, f"end_{unit}": last}
        )
        return trimmed.filter(f"{kind}setpts", "PTS-STARTPTS")

    head = stretch(0, 0, fade) if fade else None
    tail = stretch(bool(fade) + 1, end, end + lent) if lent else None
    return head, stretch(bool(fade), fade, end), tail


# Only what overlaps goes through the filters that cross-fade: they would ask for all their inputs
# at once, whose frames would pile up, and xfade would bring the whole film to 4:4:4.


def _faded(leaving: Any, coming: Any, piece: Piece, canvas: Canvas) -> Any:
    both = [stream.filter("fps", str(canvas.rate)) for stream in (leaving, coming)]
    seconds = _seconds(piece.fade / canvas.rate)
    faded = ffmpeg.filter(both, "xfade", "fade", duration=seconds, offset=0)
    return faded.filter("format", "yuv420p")


def _faded_sound(leaving: Any, coming: Any, piece: Piece) -> Any:
    # Equal power: two sounds that have nothing to do with each other stay as loud.
    curves = {"curve1": "qsin", "curve2": "qsin"}
    return ffmpeg.filter([leaving, coming], "acrossfade", ns=piece.fade_samples, **curves)


def _sound(source: _Source) -> Any:
    """Exactly the piece's samples, silent where there is no sound."""
    samples = source.piece.samples
    if not source.piece.cut.probe.has_audio:
        return _stereo(source.silence).filter("atrim", end_sample=samples)
    stream = source.stream["a:0"].filter("aresample", SAMPLE_RATE, **{"async": 1, "first_pts": 0})
    stream = _stereo(stream)
    if source.skip_samples < 0:
        stream = stream.filter("adelay", f"{-source.skip_samples}S", all=1)
    # Cut after it was resampled: a resampler's first samples are not to be heard.
    stream = stream.filter("atrim", start_sample=max(0, source.skip_samples))
    stream = stream.filter("asetpts", "N/SR/TB").filter("apad", whole_len=samples)
    return stream.filter("atrim", end_sample=samples)


def _stereo(stream: Any) -> Any:
    return stream.filter("aformat", sample_fmts="fltp", channel_layouts="stereo")


def _seconds(seconds: float | Fraction) -> str:
    return f"{float(seconds):.6f}"
