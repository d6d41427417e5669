"""The storyboard: a skim at a glance, one picture a segment."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from summarizer.skim import Skim
from summarizer.skim_reasons import skim_reasons
from vidsift.errors import DamagedLibraryError
from vidsift.library import Library
from vidsift.store.inside import read_inside
from vidsift.times import clock
from vidsift.types import Span, VideoRecord

__all__ = ["draw_storyboard", "skim_pictures", "skim_thumbnails", "storyboard"]

_CELL = (320, 180)
_MOST_CELLS = 30
_CAPTION = 26  # height of a line of text below a picture
_MARGIN = 8


def skim_pictures(library: Library, skim: Skim) -> list[bytes]:
    """A picture (JPEG) of each part: what lies at its `skim_thumbnails`, blurred if it is to be.

    Raises:
        DamagedLibraryError: a thumbnail is not there.
    """
    paths = skim_thumbnails(library, skim)
    parts = zip(paths, skim.parts, strict=True)
    pictures = [_read(library, path, part.video) for path, part in parts]
    if skim.blur_people:
        from vidsift.media.blurring import blur_picture  # and with it OpenCV, which few need

        pictures = [blur_picture(picture) for picture in pictures]
    return pictures


def skim_thumbnails(library: Library, skim: Skim) -> list[Path]:
    """Of each part the thumbnail of the clip that shares most time with it; it may be lost."""
    spans: dict[int, list[Span]] = {}
    ordinals: dict[int, list[int]] = {}
    for video in skim.videos:
        clips = library.catalog.clips_of_video(video.id)
        spans[video.id] = [clip.clip.span for clip in clips]
        ordinals[video.id] = [clip.ordinal for clip in clips]
    paths = []
    for part in skim.parts:
        place = part.segment.span.nearest(spans[part.video.id])
        paths.append(library.thumbnail(part.video, ordinals[part.video.id][place]))
    return paths


def _read(library: Library, thumbnail: Path, video: VideoRecord) -> bytes:
    try:
        return read_inside(library.root, thumbnail)
    except OSError as error:
        raise DamagedLibraryError(
            f"{error.filename}: a thumbnail cannot be read: {error.strerror};"
            f" run `vidsift index` on the folder of {video.path.name} to make it again"
        ) from error


def storyboard(library: Library, skim: Skim) -> bytes:
    """The skim at a glance, as PNG: a picture of each segment, its times, and why it was chosen.

    Raises:
        DamagedLibraryError: a thumbnail is not there.
    """
    several = len(skim.videos) > 1
    notes = [
        " - ".join(filter(None, (part.video.path.name if several else "", why)))
        for part, why in zip(skim.parts, skim_reasons(library, skim), strict=True)
    ]
    spans = [part.segment.span for part in skim.parts]
    return draw_storyboard(skim_pictures(library, skim), spans, "PNG", notes=notes)


def draw_storyboard(
    pictures: Sequence[bytes],
    spans: Sequence[Span],
    form: Literal["JPEG", "PNG"] = "JPEG",
    *,
    notes: Sequence[str] = (),
) -> bytes:
    """A sheet of pictures (JPEG bytes), about square, each with its span written below.

    Below that stands its note, where there is one, as far as it fits in a line. Of more than 30
    pictures an even choice is drawn.
    """
    notes = notes or [""] * len(pictures)
    if len(pictures) > _MOST_CELLS:
        picks = [i * len(pictures) // _MOST_CELLS for i in range(_MOST_CELLS)]
        pictures, spans = [pictures[i] for i in picks], [spans[i] for i in picks]
        notes = [notes[i] for i in picks]
    caption = _CAPTION * (2 if any(notes) else 1)
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = -(-len(pictures) // columns)
    width = columns * (_CELL[0] + _MARGIN) + _MARGIN
    height = rows * (_CELL[1] + caption + _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (width, height), (24, 26, 30))
    draw = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(size=15), ImageFont.load_default(size=13)
    for place, (picture, span, note) in enumerate(zip(pictures, spans, notes, strict=True)):
        x = _MARGIN + (place % columns) * (_CELL[0] + _MARGIN)
        y = _MARGIN + (place // columns) * (_CELL[1] + caption + _MARGIN)
        image = Image.open(io.BytesIO(picture)).convert("RGB")
        image.thumbnail(_CELL)
        left, top = x + (_CELL[0] - image.width) // 2, y + (_CELL[1] - image.height) // 2
        sheet.paste(image, (left, top))
        below = y + _CELL[1] + 4
        draw.text((x + 2, below), f"{clock(span.start)} - {clock(span.end)}", font=font)
        fitting = _fitting(note, small, _CELL[0] - 4)
        draw.text((x + 2, below + _CAPTION - 4), fitting, (160, 170, 182), font=small)
    encoded = io.BytesIO()
    sheet.save(encoded, form, quality=85)
    return encoded.getvalue()


def _fitting(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """The text in one line, cut with an ellipsis where it is wider than `width` pixels."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text.rstrip()}..."
