"""How a frame of any size becomes the square picture that a network takes.

Resizing is Pillow's, with anti-aliasing, as torchvision and open_clip do it for photographs, so
that a frame and a photograph of the same thing get the same features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

__all__ = ["Geometry"]

_INTERPOLATIONS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}


@dataclass(frozen=True, slots=True)
class Geometry:
    """Resize to `resize` pixels by `mode`, then a centred square of `crop` pixels, padded if short.

    Modes, in open_clip's words: `shortest` fits the short side and keeps the shape, `longest` fits
    the long side, `squash` fits both and gives the shape up.
    """

    resize: int
    crop: int
    mode: Literal["shortest", "longest", "squash"] = "shortest"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    fill: int = 0

    def __str__(self) -> str:
        return f"{self.mode} {self.resize} {self.interpolation}, crop {self.crop}"

    def apply(self, images: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n s s 3"]:
        """Square pictures of side `crop`; frames that have the size already are only cut."""
        size = self._size(*images.shape[1:3])
        if size != images.shape[1:3]:
            method = _INTERPOLATIONS[self.interpolation]
            resized = np.empty((len(images), *size, 3), np.uint8)
            for picture, image in zip(resized, images, strict=True):
                picture[:] = np.asarray(Image.fromarray(image).resize(size[::-1], method))
            images = resized
        return self._crop(images)

    def covered(self, height: int, width: int) -> tuple[float, float, float, float]:
        """What of a frame of this size the square shows: left, top, right, bottom as shares of it.

        Beyond 0 and 1 where the square is padded.
        """
        rows, columns = self._size(height, width)
        top, left = self._margin(rows), self._margin(columns)
        return left / columns, top / rows, (left + self.crop) / columns, (top + self.crop) / rows

    def _margin(self, side: int) -> int:
        """What is cut off before the square, or, below 0, padded."""
        if side < self.crop:
            return -_halves(self.crop - side)[0]
        return round((side - self.crop) / 2)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after the resize, rounded as torchvision or open_clip round them."""
        if self.mode == "squash":
            return self.resize, self.resize
        if self.mode == "shortest":
            short, long = sorted((height, width))
            other = int(self.resize * long / short)
            return (self.resize, other) if height <= width else (other, self.resize)
        scale = self.resize / max(height, width)
        return round(height * scale), round(width * scale)

    def _crop(self, images: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n s s 3"]:
        height, width = images.shape[1:3]
        if height < self.crop or width < self.crop:
            # torchvision puts the smaller half of an odd margin first.
            rows, columns = max(0, self.crop - height), max(0, self.crop - width)
            margins = ((0, 0), _halves(rows), _halves(columns), (0, 0))
            images = np.pad(images, margins, constant_values=self.fill)
            height, width = images.shape[1:3]
        top, left = self._margin(height), self._margin(width)
        return images[:, top : top + self.crop, left : left + self.crop]


def _halves(margin: int) -> tuple[int, int]:
    return margin // 2, margin - margin // 2
