"""Small mp4 files made of pieces of a video: a clip for the page, a summary of segments."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg

from vidsift.errors import MediaError, NotAVideoError, StorageError
from vidsift.media.binary import has_encoder
from vidsift.media.joining import Canvas, joined
from vidsift.media.limits import DEFAULT_LIMITS, MediaLimits
from vidsift.media.pieces import SAMPLE_RATE, Cut, Piece, lay_out, split_into_runs
from vidsift.media.probe import probe as probe_file
from vidsift.media.process import run_ffmpeg
from vidsift.media.source import file_url
from vidsift.types import Span, VideoProbe

__all__ = ["Cut", "cut_clip", "render_cuts", "render_segments"]

# Each input of a run holds its own decoder and its frames in flight, all at the same time.
_MAX_INPUTS = 16
_MAX_PIXELS_IN_FLIGHT = 16_700_000
# Of the time that a run takes, what the pieces take before they are joined.
_SHARE_OF_PIECES = 0.6
# And what rendering takes before people are looked for and blurred.
_SHARE_OF_SHARP = 0.3
_TOLERANCE_SECONDS = 0.2
_THREADS = min(8, os.cpu_count() or 1)  # each holds frames

_Tell = Callable[[float], None]


def cut_clip(
    probe: VideoProbe,
    span: Span,
    out: Path,
    *,
    max_height: int = 720,
    blur_people: bool = False,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> None:
    """Write `span` of a video to `out` as an mp4 that a browser plays, with sound if there is any.

    It starts with the frame that is shown at the start of the span, is no higher than
    `max_height`, and HDR is tone-mapped. `out` appears whole or not at all. `blur_people` as in
    `render_cuts`.

    Raises:
        MediaError: there is no picture in the span, or ffmpeg failed.
        MediaTimeoutError: the time limit is used up.
        MediaLimitError: so is another one of `limits`.
        StorageError: `out` cannot be written.
    """
    render_cuts(
        [Cut(probe, span)], out, max_height=max_height, blur_people=blur_people, limits=limits
    )


def render_segments(
    probe: VideoProbe,
    spans: Sequence[Span],
    out: Path,
    *,
    max_height: int = 1080,
    progress: Callable[[float], None] | None = None,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> None:
    """Write the spans of one video one after the other to `out`, without cross-fades.

    See `render_cuts`.
    """
    cuts = [Cut(probe, span) for span in spans]
    render_cuts(cuts, out, max_height=max_height, progress=progress, limits=limits)


def render_cuts(
    cuts: Sequence[Cut],
    out: Path,
    *,
    max_height: int = 1080,
    crossfade_seconds: float = 0.0,
    blur_people: bool = False,
    progress: Callable[[float], None] | None = None,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> None:
    """Write the cuts one after the other to `out` (mp4), with sound if any of them has some.

    The result lasts as long as the spans together, within half a frame however many there are:
    their edges are rounded to the frames of the output as sums, a cross-fade takes what it needs
    from outside the spans, and a cut whose end is missing in its file stands still until its time
    is over. `out` appears whole or not at all.

    Args:
        cuts: at least one, in the order of the output; those of several videos are brought to the
            size of the largest, with bars, to the highest rate and to BT.709.
        out: the file to write.
        max_height: of the picture in pixels.
        crossfade_seconds: how long two cuts that do not touch overlap; less where one of them is
            shorter than twice that.
        blur_people: blur them as far as they are found (`vidsift.media.blurring`); frames, size
            and sound stay.
        progress: called with the share that is done, 0 to 1.
        limits: what each run of ffmpeg may take.

    Raises:
        MediaError: a cut has no picture, or ffmpeg failed.
        MediaTimeoutError: a time limit is used up.
        MediaLimitError: so is another one.
        StorageError: `out` cannot be written.
    """
    if not cuts:
        raise ValueError("there is nothing to render: no spans were given")
    canvas = Canvas.of(cuts, max_height)
    pieces = lay_out(cuts, canvas.rate, crossfade_seconds)
    runs = split_into_runs(pieces, _inputs(cuts), canvas.rate)
    seconds = math.fsum(cut.span.duration for cut in cuts)
    read = math.fsum({cut.probe.path: cut.probe.duration_seconds for cut in cuts}.values())
    limit = limits.seconds_for(read + seconds)
    encoding = _encoding(canvas)
    done = 0.0

    def tell(written: float) -> None:
        if progress is not None:
            share = min(1.0, (done + written) / seconds)
            progress(share * _SHARE_OF_SHARP if blur_people else share)

    with (
        _appearing(out) as part,
        tempfile.TemporaryDirectory(dir=out.parent, prefix=".vidsift-") as folder,
    ):
        sharp = part
        final = encoding
        if blur_people:
            sharp, encoding = Path(folder) / "sharp.mov", _between(encoding)
        renderer = _Renderer(canvas, Path(folder), out, limit, limits)
        if len(runs) == 1:
            renderer.render(runs[0], sharp, encoding, tell)
        else:
            # Sound stays PCM until the end: each AAC file has its own silent lead-in.
            pcm = {"format": "mov", "acodec": "pcm_s16le"} if canvas.has_audio else {}
            files = []
            for number, run in enumerate(runs):
                files.append(Path(folder) / f"{number}.mov")
                renderer.render(run, files[-1], encoding | pcm, tell)
                done += _seconds_of(run, canvas)
            _concatenate(files, sharp, encoding, out=out, limit=limit, limits=limits)
        if blur_people:
            _blur(sharp, canvas, part, final, out=out, limit=limit, limits=limits, tell=progress)
    if progress is not None:
        progress(1.0)


def _blur(
    sharp: Path,
    canvas: Canvas,
    part: Path,
    encoding: dict[str, Any],
    *,
    out: Path,
    limit: float,
    limits: MediaLimits,
    tell: _Tell | None,
) -> None:
    from vidsift.media.blurring import blur_film  # and with it OpenCV, which few need

    def told(share: float) -> None:
        if tell is not None:
            tell(_SHARE_OF_SHARP + share * (1 - _SHARE_OF_SHARP))

    blur_film(
        probe_file(sharp),
        canvas.rate,
        part,
        encoding,
        subject=out,
        time_limit=limit,
        limits=limits,
        progress=told,
    )


@dataclass(frozen=True)
class _Renderer:
    """Renders runs of pieces of the film `out` in a `folder` of its own.

    ffmpeg 9 may wait for ever where several inputs are sought in and joined in one graph: a film of
    28 cuts hung nearly every time. So each piece is rendered from its own file first, and what is
    joined are whole files that begin where they are needed.
    """

    canvas: Canvas
    folder: Path
    out: Path
    limit: float
    limits: MediaLimits

    def render(
        self, pieces: Sequence[Piece], part: Path, encoding: dict[str, Any], tell: _Tell
    ) -> None:
        """Write pieces that follow each other to `part`; a single one needs no joining."""
        if len(pieces) == 1:
            self._render_alone(pieces[0], part, encoding, tell)
            return
        seconds = _seconds_of(pieces, self.canvas)
        whole: list[Piece] = []
        done = 0.0
        for number, piece in enumerate(pieces):
            alone = dataclasses.replace(piece, fade=0, fade_samples=0)
            file = self.folder / f"piece-{number}.mov"

            def told(written: float, before: float = done) -> None:
                tell(min(seconds, before + written) * _SHARE_OF_PIECES)

            self._render_alone(alone, file, _between(encoding), told)
            length = _seconds_of([alone], self.canvas)
            done += length
            cut = Cut(probe_file(file), Span(0.0, length))
            whole.append(
                Piece(cut, 0, piece.frames, 0, piece.samples, piece.fade, piece.fade_samples)
            )
        streams = joined(whole, self.canvas, [None] * len(whole), seeking=False, limits=self.limits)

        def tell_joined(written: float) -> None:
            tell(seconds * _SHARE_OF_PIECES + written * (1 - _SHARE_OF_PIECES))

        written = self._write(streams, part, encoding, self.out, tell_joined)
        if not _is_as_long(written, seconds):
            raise MediaError(self.out, f"only {written:.1f} s of {seconds:.1f} s could be joined")
        for piece in whole:
            piece.cut.probe.path.unlink()

    def _render_alone(
        self, piece: Piece, part: Path, encoding: dict[str, Any], tell: _Tell
    ) -> None:
        label = self.folder / "label.png" if piece.cut.label else None
        if label and piece.cut.label:
            label.write_bytes(piece.cut.label)
        promised = _seconds_of([piece], self.canvas)
        written = 0.0
        # A container's seek can miss; then the file is read from its beginning.
        for seeking in (True, False):
            streams = joined([piece], self.canvas, [label], seeking=seeking, limits=self.limits)
            written = self._write(streams, part, encoding, piece.cut.probe.path, tell)
            if _is_as_long(written, promised):
                return
        raise MediaError(
            piece.cut.probe.path,
            f"only {written:.1f} s of {promised:.1f} s could be cut out of it"
            f" between {piece.cut.span.start:.1f} s and {piece.cut.span.end:.1f} s",
        )

    def _write(
        self, streams: list[Any], part: Path, encoding: dict[str, Any], subject: Path, tell: _Tell
    ) -> float:
        """Run ffmpeg; returns how many seconds it wrote."""
        film = ffmpeg.output(*streams, file_url(part), **encoding, r=str(self.canvas.rate))
        run_ffmpeg(
            film,
            subject=subject,
            output=self.out,
            time_limit=self.limit,
            limits=self.limits,
            progress=tell,
        )
        return _written_seconds(part)


def _between(encoding: dict[str, Any]) -> dict[str, Any]:
    """How what is rendered again is kept: without loss, quickly."""
    sound = {"acodec": "pcm_s16le"} if "acodec" in encoding else {}
    options = {key: value for key, value in encoding.items() if key != "movflags"}
    if options["vcodec"] == "libx264":
        options |= {"preset": "ultrafast", "crf": 0}
    else:
        options |= {"q:v": 1}
    return options | {"format": "mov"} | sound


def _is_as_long(written: float, promised: float) -> bool:
    return abs(written - promised) < _TOLERANCE_SECONDS / 2


def _seconds_of(pieces: Sequence[Piece], canvas: Canvas) -> float:
    return float(sum(piece.frames - piece.fade for piece in pieces) / canvas.rate)


def _inputs(cuts: Sequence[Cut]) -> int:
    pixels = max(cut.probe.width * cut.probe.height for cut in cuts)
    return max(2, min(_MAX_INPUTS, _MAX_PIXELS_IN_FLIGHT // pixels))


def _concatenate(
    files: Sequence[Path],
    part: Path,
    encoding: dict[str, Any],
    *,
    out: Path,
    limit: float,
    limits: MediaLimits,
) -> None:
    names = files[0].parent / "files.ffconcat"
    names.write_text(
        "ffconcat version 1.0\n" + "".join(f"file {file.name}\n" for file in files), "utf-8"
    )
    source = ffmpeg.input(file_url(names), format="concat", protocol_whitelist="file,pipe")
    streams = [source["v:0"], source["a:0"]] if "acodec" in encoding else [source["v:0"]]
    run_ffmpeg(
        ffmpeg.output(*streams, file_url(part), **encoding | {"vcodec": "copy"}),
        subject=out,
        output=out,
        reads=[names.parent],
        time_limit=limit,
        limits=limits,
    )


def _encoding(canvas: Canvas) -> dict[str, Any]:
    options: dict[str, Any] = {"format": "mp4", "movflags": "+faststart", "map_metadata": -1}
    if has_encoder("libx264"):
        options |= {"vcodec": "libx264", "preset": "veryfast", "crf": 23, "threads": _THREADS}
    else:
        options |= {"vcodec": "mpeg4", "q:v": 4}
    if canvas.mixed:
        options |= dict.fromkeys(("colorspace", "color_primaries", "color_trc"), "bt709")
    if canvas.has_audio:
        options |= {"acodec": "aac", "audio_bitrate": "128k", "ac": 2, "ar": SAMPLE_RATE}
    return options


def _written_seconds(part: Path) -> float:
    try:
        return probe_file(part).duration_seconds
    except NotAVideoError:  # ffmpeg ends well without having had a single frame
        return 0.0


@contextlib.contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A name beside `out` to write to; it becomes `out` at the end, or vanishes on an error."""
    part = out.with_name(f".{uuid.uuid4().hex}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.touch()
            yield part
            with part.open("rb") as stream:  # whole on disk before it has its name
                os.fsync(stream.fileno())
            part.replace(out)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{out}: cannot be written: {error.strerror}; choose another place"
        ) from error
