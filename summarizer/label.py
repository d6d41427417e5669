"""The label of a segment: where it comes from, drawn over the picture."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageFont

__all__ = ["draw_label"]

# For a picture of 720 lines; the renderer scales it to others.
_FONT_SIZE = 28
_PADDING = 10
_LONGEST = 60


def draw_label(text: str) -> bytes:
    """`text` in white on a translucent plate, as PNG; what is too long loses its middle."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2 - 2]}...{text[-_LONGEST // 2 + 1 :]}"
    font = ImageFont.load_default(size=_FONT_SIZE)
    left, top, right, bottom = font.getbbox(text)
    size = (int(right - left) + 2 * _PADDING, int(bottom - top) + 2 * _PADDING)
    plate = Image.new("RGBA", size, (16, 18, 22, 160))
    ImageDraw.Draw(plate).text(
        (_PADDING - left, _PADDING - top), text, font=font, fill=(255, 255, 255, 255)
    )
    encoded = io.BytesIO()
    plate.save(encoded, "PNG")
    return encoded.getvalue()
