"""What a person watches or looks at: the skim (mp4), the storyboard (picture), the JSON."""

from __future__ import annotations

import io
import json
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image, ImageDraw, ImageFont

from summarizer.label import draw_label
from summarizer.skim import Skim
from vidsift.errors import DamagedLibraryError, MediaError, StorageError
from vidsift.library import Library
from vidsift.media.cut import Cut, render_cuts
from vidsift.media.probe import probe
from vidsift.paths import expanded
from vidsift.times import clock
from vidsift.types import Span, Summary, VideoProbe, VideoRecord

__all__ = ["SummaryFiles", "render_skim", "storyboard", "summary_json", "write_summary"]

_CELL = (320, 180)
_MOST_CELLS = 30
_CAPTION = 26
_MARGIN = 8


@dataclass(frozen=True)
class SummaryFiles:
    """Where the parts of a written summary lie."""

    video: Path
    storyboard: Path
    json: Path


def summary_json(
    record: VideoRecord, summary: Summary, files: SummaryFiles | None = None
) -> dict[str, Any]:
    """The summary as `vidsift summarize --json` prints it."""
    return {
        "video_id": record.id,
        "video": str(record.path),
        "query": summary.query,
        "duration_seconds": round(summary.duration_seconds, 3),
        "segments": [
            {
                "start_seconds": round(segment.span.start, 3),
                "end_seconds": round(segment.span.end, 3),
                "saliency": round(segment.saliency, 6),
            }
            for segment in summary.segments
        ],
        "files": {kind: str(path) for kind, path in asdict(files).items()} if files else {},
    }


def write_summary(
    library: Library,
    record: VideoRecord,
    summary: Summary,
    out: Path,
    *,
    progress: Callable[[float], None] | None = None,
) -> SummaryFiles:
    """Write skim, storyboard and JSON into the folder `out`; returns where they lie.

    Raises:
        StorageError: `out` cannot be written.
        MediaError: the video is gone, or ffmpeg cannot render it.
    """
    out = expanded(out).absolute()
    files = _free_names(record, summary, out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        render_skim(library, Skim.of(record, summary), files.video, progress=progress)
        _replace(files.storyboard, storyboard(library, record, summary))
        text = json.dumps(summary_json(record, summary, files), indent=2)
        _replace(files.json, text.encode())
    except OSError as error:
        raise StorageError(f"{out}: cannot be written: {error.strerror}") from error
    return files


def summary_name(record: VideoRecord, summary: Summary) -> str:
    """A file name without suffix: the video's, and `summary` or the words of the question."""
    about = re.sub(r"\W+", "-", summary.query.lower()).strip("-")
    return f"{_shortened(record.path.stem, 120)}.{_shortened(about, 60) or 'summary'}"


def _shortened(name: str, most_bytes: int) -> str:
    # File systems count bytes, and what is appended needs room too.
    return os.fsencode(name)[:most_bytes].decode("utf-8", "ignore")


def _free_names(record: VideoRecord, summary: Summary, out: Path) -> SummaryFiles:
    """Names in `out` that are free, or taken by an earlier copy of this very summary."""
    number = 0
    while True:
        number += 1
        name = summary_name(record, summary) + (f"-{number}" if number > 1 else "")
        files = SummaryFiles(out / f"{name}.mp4", out / f"{name}.png", out / f"{name}.json")
        mine = summary_json(record, summary, files)
        try:
            if json.loads(files.json.read_bytes()) == json.loads(json.dumps(mine)):
                return files
        except (OSError, ValueError):
            pass  # not there, or not ours
        if not any(os.path.lexists(file) for file in (files.video, files.storyboard, files.json)):
            return files


def render_skim(
    library: Library,
    skim: Skim,
    out: Path,
    *,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Render the skim with its sound to `out` (mp4), as long as it says.

    Segments that do not touch are cross-faded as the library's settings say, with footage of their
    own shots. Where the skim is of several videos, each segment is labelled with its source.

    Raises:
        MediaError: a video is gone, or ffmpeg cannot render it.
        StorageError: `out` cannot be written.
    """
    probes: dict[int, VideoProbe] = {}
    rooms: dict[int, list[Span]] = {}
    for video in skim.videos:
        if not os.path.exists(video.path):  # noqa: PTH110 - False too where it may not be looked at
            raise MediaError(
                video.path,
                "is gone since it was indexed; put it back, or run `vidsift index` again",
            )
        probes[video.id] = probe(video.path)
        rooms[video.id] = [shot.span for shot in library.catalog.shots_of_video(video.id)]
    cuts = []
    for part in skim.parts:
        span, shots = part.segment.span, rooms[part.video.id]
        room = shots[span.nearest(shots)].hull(span)
        source = f"{part.video.path.name}  {clock(span.start)}"
        label = draw_label(source) if len(probes) > 1 else None
        cuts.append(Cut(probes[part.video.id], span, room, label))
    render_cuts(
        cuts,
        out,
        crossfade_seconds=library.settings.crossfade_seconds,
        progress=progress,
        time_limit=library.settings.media_time_limit or 120 + 20 * skim.duration_seconds,
    )


def storyboard(library: Library, record: VideoRecord, summary: Summary) -> bytes:
    """The summary at a glance, as PNG: a picture of each segment with its times.

    Raises:
        DamagedLibraryError: a thumbnail is not there.
    """
    clips = library.catalog.clips_of_video(record.id)
    spans = [clip.clip.span for clip in clips]
    ordinals = [clips[segment.span.nearest(spans)].ordinal for segment in summary.segments]
    pictures = [library.thumbnail(record, ordinal) for ordinal in ordinals]
    try:
        thumbnails = [picture.read_bytes() for picture in pictures]
    except OSError as error:
        raise DamagedLibraryError(
            f"{error.filename}: a thumbnail cannot be read: {error.strerror};"
            f" run `vidsift index` on the folder of {record.path.name} to make it again"
        ) from error
    return draw_storyboard(thumbnails, [segment.span for segment in summary.segments], "PNG")


def draw_storyboard(
    pictures: Sequence[bytes], spans: Sequence[Span], form: Literal["JPEG", "PNG"] = "JPEG"
) -> bytes:
    """A sheet of pictures (JPEG bytes), about square, each with its span written below.

    Of more than 30 pictures an even choice is drawn.
    """
    if len(pictures) > _MOST_CELLS:
        picks = [i * len(pictures) // _MOST_CELLS for i in range(_MOST_CELLS)]
        pictures, spans = [pictures[i] for i in picks], [spans[i] for i in picks]
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = -(-len(pictures) // columns)
    width = columns * (_CELL[0] + _MARGIN) + _MARGIN
    height = rows * (_CELL[1] + _CAPTION + _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (width, height), (24, 26, 30))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    for place, (picture, span) in enumerate(zip(pictures, spans, strict=True)):
        x = _MARGIN + (place % columns) * (_CELL[0] + _MARGIN)
        y = _MARGIN + (place // columns) * (_CELL[1] + _CAPTION + _MARGIN)
        image = Image.open(io.BytesIO(picture)).convert("RGB")
        image.thumbnail(_CELL)
        left, top = x + (_CELL[0] - image.width) // 2, y + (_CELL[1] - image.height) // 2
        sheet.paste(image, (left, top))
        draw.text((x + 2, y + _CELL[1] + 4), f"{clock(span.start)} - {clock(span.end)}", font=font)
    encoded = io.BytesIO()
    sheet.save(encoded, form, quality=85)
    return encoded.getvalue()


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
