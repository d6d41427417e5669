"""Small mp4 files made of pieces of a video: a clip for the page, a summary of segments."""

from __future__ import annotations

import contextlib
import math
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg

from vidsift.errors import MediaError, NotAVideoError, StorageError
from vidsift.media.frames import tone_map
from vidsift.media.probe import probe as probe_file
from vidsift.media.process import has_encoder, resolve_time_limit, run_ffmpeg
from vidsift.media.source import file_url, input_file
from vidsift.media.still import seek_lead
from vidsift.types import Span, VideoProbe

__all__ = ["cut_clip", "render_segments"]

_SAMPLE_RATE = 48_000
_MAX_RATE = Fraction(60)
# Below this rate the frame grid is too coarse for a promised duration.
_MIN_RATE = 10
# Each input of a run holds its own decoder and its frames in flight, all at the same time.
_MAX_INPUTS = 16
_MAX_PIXELS_IN_FLIGHT = 33_000_000
_TOLERANCE_SECONDS = 0.2


def cut_clip(
    probe: VideoProbe, span: Span, out: Path, *, max_height: int = 720, time_limit: float = 0.0
) -> None:
    """Write `span` of a video to `out` as an mp4 that a browser plays, with sound if there is any.

    It starts with the frame that is shown at the start of the span, is no higher than
    `max_height`, and HDR is tone-mapped. `out` appears whole or not at all.

    Raises:
        MediaError: there is no picture in the span, or ffmpeg failed.
        MediaTimeoutError: the time limit (seconds; 0: 60 plus 4 a second of video) is used up.
        StorageError: `out` cannot be written.
    """
    render_segments(probe, [span], out, max_height=max_height, time_limit=time_limit)


def render_segments(
    probe: VideoProbe,
    spans: Sequence[Span],
    out: Path,
    *,
    max_height: int = 1080,
    progress: Callable[[float], None] | None = None,
    time_limit: float = 0.0,
) -> None:
    """Write the spans of a video one after the other to `out` (mp4), with sound if there is any.

    The result lasts as long as the spans together, within half a frame however many there are:
    their edges are rounded to the frames of the output as sums, and a segment whose end is
    missing in the file stands still until its time is over. `out` appears whole or not at all.

    Args:
        probe: the video.
        spans: at least one, in the order of the output.
        out: the file to write.
        max_height: of the picture in pixels.
        progress: called with the share that is done, 0 to 1.
        time_limit: seconds for each run of ffmpeg; 0: 60 plus 4 for each second of video.

    Raises:
        MediaError: a segment has no picture, or ffmpeg failed.
        MediaTimeoutError: a time limit is used up.
        StorageError: `out` cannot be written.
    """
    if not spans:
        raise ValueError("there is nothing to render: no spans were given")
    seconds = math.fsum(span.duration for span in spans)
    limit = resolve_time_limit(time_limit, probe.duration_seconds + seconds)
    rate = _output_rate(probe.frame_rate)
    pieces = _on_grid(spans, rate)
    chunks = [pieces[n : n + _inputs(probe)] for n in range(0, len(pieces), _inputs(probe))]
    done = 0.0

    def tell(written: float) -> None:
        if progress is not None:
            progress(min(1.0, (done + written) / seconds))

    def render(chunk: Sequence[_Piece], part: Path, encoding: dict[str, Any]) -> None:
        promised = float(sum(piece.frames for piece in chunk) / rate)
        # A container's seek can miss; then the file is read from its beginning.
        for lead in (seek_lead(probe), math.inf):
            run_ffmpeg(
                ffmpeg.output(
                    *_joined(probe, chunk, rate, max_height, lead),
                    file_url(part),
                    **encoding,
                    r=str(rate),
                ),
                subject=probe.path,
                output=out,
                time_limit=limit,
                progress=tell,
            )
            written = _written_seconds(part)
            if abs(written - promised) < _TOLERANCE_SECONDS / 2:
                return
        raise MediaError(
            probe.path,
            f"only {written:.1f} s of {promised:.1f} s could be cut out of it between "
            f"{chunk[0].span.start:.1f} s and {chunk[-1].span.end:.1f} s",
        )

    with _appearing(out) as part:
        if len(chunks) == 1:
            render(chunks[0], part, _encoding(probe))
        else:
            with tempfile.TemporaryDirectory(dir=out.parent, prefix=".vidsift-") as folder:
                files = []
                for number, chunk in enumerate(chunks):
                    files.append(Path(folder) / f"{number}.mov")
                    # Sound stays PCM until the end: each AAC file has its own silent lead-in.
                    pcm = {"format": "mov", "acodec": "pcm_s16le"} if probe.has_audio else {}
                    render(chunk, files[-1], _encoding(probe) | pcm)
                    done += float(sum(piece.frames for piece in chunk) / rate)
                _concatenate(probe, files, part, out, limit)
    if progress is not None:
        progress(1.0)


class _Piece:
    """A span with the frames and sound samples that it fills in the output."""

    def __init__(self, span: Span, frames: int, samples: int) -> None:
        self.span = span
        self.frames = frames
        self.samples = samples


def _output_rate(rate: Fraction) -> Fraction:
    return min(_MAX_RATE, rate * max(1, math.ceil(_MIN_RATE / rate)))


def _inputs(probe: VideoProbe) -> int:
    return max(1, min(_MAX_INPUTS, _MAX_PIXELS_IN_FLIGHT // (probe.width * probe.height)))


def _on_grid(spans: Sequence[Span], rate: Fraction) -> list[_Piece]:
    pieces = []
    seconds = 0.0
    frame = sample = 0
    for span in spans:
        seconds += span.duration
        # The very first piece has a frame, however short it is.
        next_frame = max(round(seconds * rate), 1)
        next_sample = round(next_frame * _SAMPLE_RATE / rate)
        if next_frame > frame:
            pieces.append(_Piece(span, next_frame - frame, next_sample - sample))
        frame, sample = next_frame, next_sample
    return pieces


def _picture(probe: VideoProbe, stream: Any, max_height: int) -> Any:
    scale = min(1.0, max_height / probe.height)
    width, height = (max(2, 2 * round(side * scale / 2)) for side in (probe.width, probe.height))
    stream = stream.filter("scale", width, height).filter("setsar", 1)
    if probe.is_hdr:
        stream = tone_map(stream)
    return stream.filter("format", "yuv420p")


def _joined(
    probe: VideoProbe, pieces: Sequence[_Piece], rate: Fraction, max_height: int, lead: float
) -> list[Any]:
    streams = []
    for piece in pieces:
        # ffmpeg counts from the container's start, our times from the first frame.
        start = piece.span.start + probe.delay_seconds
        seek = max(0.0, start - lead)
        skip = f"{start - seek:.6f}"
        reading = {"t": f"{start - seek + piece.span.duration + float(1 / rate):.6f}"}
        if seek > 0:  # some formats cannot seek, not even to their beginning
            reading["ss"] = f"{seek:.6f}"
        source = input_file(probe.path, **reading)
        video = source["V:0"].filter("setpts", f"PTS-{skip}/TB")
        video = _picture(probe, video.filter("fps", str(rate), start_time=0), max_height)
        video = video.filter("tpad", stop_mode="clone", stop=piece.frames)
        streams.append(video.filter("trim", end_frame=piece.frames))
        if probe.has_audio:
            sound = source["a:0"].filter("atrim", start=skip).filter("asetpts", f"PTS-{skip}/TB")
            sound = sound.filter("aresample", _SAMPLE_RATE, **{"async": 1, "first_pts": 0})
            sound = sound.filter("aformat", sample_fmts="fltp", channel_layouts="stereo")
            sound = sound.filter("apad", whole_len=piece.samples)
            streams.append(sound.filter("atrim", end_sample=piece.samples))
    joined = ffmpeg.concat(*streams, v=1, a=int(probe.has_audio)).node
    # Frames and samples are counted out, so their number is their time.
    joined_streams = [joined[0].filter("settb", f"1/({rate})").filter("setpts", "N")]
    if probe.has_audio:
        joined_streams.append(joined[1].filter("asetpts", "N/SR/TB"))
    return joined_streams


def _concatenate(
    probe: VideoProbe, files: Sequence[Path], part: Path, out: Path, limit: float
) -> None:
    names = files[0].parent / "files.ffconcat"
    names.write_text(
        "ffconcat version 1.0\n" + "".join(f"file {file.name}\n" for file in files), "utf-8"
    )
    source = ffmpeg.input(file_url(names), format="concat", protocol_whitelist="file,pipe")
    streams = [source["v:0"], source["a:0"]] if probe.has_audio else [source["v:0"]]
    run_ffmpeg(
        ffmpeg.output(*streams, file_url(part), **_encoding(probe) | {"vcodec": "copy"}),
        subject=probe.path,
        output=out,
        time_limit=limit,
    )


def _encoding(probe: VideoProbe) -> dict[str, Any]:
    options: dict[str, Any] = {"format": "mp4", "movflags": "+faststart", "map_metadata": -1}
    if has_encoder("libx264"):
        options |= {"vcodec": "libx264", "preset": "veryfast", "crf": 23}
    else:
        options |= {"vcodec": "mpeg4", "q:v": 4}
    if probe.has_audio:
        options |= {"acodec": "aac", "audio_bitrate": "128k", "ac": 2, "ar": _SAMPLE_RATE}
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
            part.replace(out)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{out}: cannot be written: {error.strerror}; choose another place"
        ) from error
