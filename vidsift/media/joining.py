"""The filter graph that joins pieces of videos into one film, cross-faded, in one size and rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg

from vidsift.media.frames import tone_map
from vidsift.media.pieces import SAMPLE_RATE, Cut, Piece
from vidsift.media.source import file_url, input_file
from vidsift.media.still import seek_lead
from vidsift.types import VideoProbe

__all__ = ["Canvas", "joined"]

_MAX_RATE = Fraction(60)
# Below this rate the frame grid is too coarse for a promised duration.
_MIN_RATE = 10
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
    pieces: Sequence[Piece], canvas: Canvas, labels: Mapping[bytes, Path], *, seeking: bool
) -> list[Any]:
    """The streams of the film: its picture, and its sound if the canvas has any.

    Args:
        pieces: in order; the first one has no fade.
        canvas: what they are brought to.
        labels: where the labels of the cuts lie as files.
        seeking: read from shortly before each piece; otherwise from the beginning of its video,
            which finds it where a container's seek misses.
    """
    videos: list[Any] = []
    sounds: list[Any] = []
    frames = 0
    for piece in pieces:
        source = _Source(piece, canvas.rate, seek_lead(piece.cut.probe) if seeking else math.inf)
        video = _labelled(_picture(source, canvas), piece, canvas, labels)
        sound = _sound(source) if canvas.has_audio else None
        if piece.fade:
            video = ffmpeg.filter(
                [videos.pop(), video],
                "xfade",
                transition="fade",
                duration=_seconds(piece.fade / canvas.rate),
                offset=_seconds((frames - piece.fade) / canvas.rate),
            )
            if sound is not None:
                # Equal power: two sounds that have nothing to do with each other stay as loud.
                sound = ffmpeg.filter(
                    [sounds.pop(), sound],
                    "acrossfade",
                    nb_samples=piece.fade_samples,
                    curve1="qsin",
                    curve2="qsin",
                )
            frames += piece.frames - piece.fade
        else:
            frames = piece.frames
        videos.append(video)
        sounds.append(sound)
    film = ffmpeg.concat(*videos) if len(videos) > 1 else videos[0]
    # Frames and samples are counted out, so their number is their time.
    streams = [film.filter("settb", f"1/({canvas.rate})").filter("setpts", "N")]
    if canvas.has_audio:
        track = ffmpeg.concat(*sounds, v=0, a=1) if len(sounds) > 1 else sounds[0]
        streams.append(track.filter("asetpts", "N/SR/TB"))
    return streams


class _Source:
    """One piece's file as an input, and where in it the piece begins."""

    def __init__(self, piece: Piece, rate: Fraction, lead: float) -> None:
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
        reading = {"t": _seconds(start - hundredths / 100 + (piece.frames + 1) / rate)}
        if hundredths:  # some formats cannot seek, not even to their beginning
            reading["ss"] = f"{hundredths / 100:.2f}"
        self.stream = input_file(cut.probe.path, **reading)


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
    tv = {"out_color_matrix": "bt709", "out_range": "tv"} if canvas.mixed else {}
    stream = stream.filter("scale", width, height, **tv).filter("setsar", 1)
    if probe.is_hdr:
        stream = tone_map(stream)
    stream = stream.filter("format", "yuv420p")
    if (width, height) != (canvas.width, canvas.height):
        stream = stream.filter("pad", canvas.width, canvas.height, "(ow-iw)/2", "(oh-ih)/2")
    return stream


def _labelled(stream: Any, piece: Piece, canvas: Canvas, labels: Mapping[bytes, Path]) -> Any:
    frames = round(_LABEL_SECONDS * canvas.rate) - piece.first
    if piece.cut.label is None or frames <= 0:
        return stream
    # Never text: a picture cannot say anything to a filter graph.
    label = ffmpeg.input(file_url(labels[piece.cut.label]), format="png_pipe").filter(
        "scale", f"min(iw*{canvas.height}/{_LABEL_LINES},{canvas.width}*0.9)", -1
    )
    margin = canvas.height // 30
    stream = ffmpeg.overlay(
        stream, label, x=margin, y=f"main_h-overlay_h-{margin}", enable=f"lt(n,{frames})"
    )
    return stream.filter("settb", f"1/({canvas.rate})")


def _sound(source: _Source) -> Any:
    """Exactly the piece's samples, silent where there is no sound."""
    samples = source.piece.samples
    if not source.piece.cut.probe.has_audio:
        silence = f"anullsrc=sample_rate={SAMPLE_RATE}:channel_layout=stereo"
        stream = ffmpeg.input(silence, format="lavfi").filter("atrim", end_sample=samples)
        return _stereo(stream)
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
