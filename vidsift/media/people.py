"""Where people are in pictures, as far as OpenCV's packaged detectors see them.

Faces from the front (also tilted) and from the side, and upper bodies, by boosted cascades (Viola
and Jones, CVPR 2001; Kruppa et al., PETS 2003); whole bodies by histograms of oriented gradients
(Dalal and Triggs, CVPR 2005). They miss people who are small, far to the side, bent, behind things
or in the dark, and see some where there are none: best effort, and no more.

Axes: h rows, w columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

__all__ = ["Box", "PeopleDetector", "through_time"]

# What is seen of people hardly gets better above it, and the time grows with the pixels.
_SHORT_SIDE = 360
_STEP_OF_SIZES = 1.12
_TILTS = (-28.0, 28.0)  # degrees; faces from the front are found within about 15 of upright
_HOG_LEAST = (64, 128)

# Left, top, width and height in pixels.
_Found = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a picture; edges are shares of its width and height, in [0, 1]."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Their common area as a share of the smaller one's."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        if width <= 0 or height <= 0:
            return 0.0
        return width * height / min(self.area, other.area)

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)

    def hull(self, other: Box) -> Box:
        """The smallest box that holds both."""
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def grown(self, sideways: float, up: float, down: float) -> Box:
        """Larger by these shares of its own width and height, as far as the picture goes."""
        width, height = self.right - self.left, self.bottom - self.top
        return Box(
            max(0.0, self.left - sideways * width),
            max(0.0, self.top - up * height),
            min(1.0, self.right + sideways * width),
            min(1.0, self.bottom + down * height),
        )


class PeopleDetector:
    """Finds people in one picture at a time. Not for several threads at once."""

    def __init__(self) -> None:
        folder = Path(cv2.__file__).with_name("data")

        def cascade(name: str) -> Any:
            return cv2.CascadeClassifier(str(folder / f"haarcascade_{name}.xml"))

        self._front = cascade("frontalface_alt2")
        self._side = cascade("profileface")
        self._upper = cascade("upperbody")
        self._body = cv2.HOGDescriptor()
        self._body.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())

    def find(self, picture: UInt8[np.ndarray, "h w 3"]) -> list[Box]:
        """The people in an RGB picture; each box with room about what was found, some twice."""
        h, w = picture.shape[:2]
        scale = _SHORT_SIDE / min(h, w)
        size = (max(1, round(w * scale)), max(1, round(h * scale)))
        small = cv2.resize(
            picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        )
        grey = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        upper = _boxes(self._cascade(self._upper, grey, 44), (size[1], size[0]))
        return [
            *(box.grown(0.35, 0.45, 0.35) for box in self._faces(grey)),
            *(box.grown(0.1, 0.1, 0.1) for box in (*upper, *self._bodies(small))),
        ]

    def _faces(self, grey: UInt8[np.ndarray, "h w"]) -> Iterator[Box]:
        h, w = grey.shape
        yield from _boxes(self._cascade(self._front, grey, 20), (h, w))
        yield from _boxes(self._cascade(self._side, grey, 24), (h, w))
        mirrored = np.ascontiguousarray(grey[:, ::-1])
        for box in _boxes(self._cascade(self._side, mirrored, 24), (h, w)):
            yield Box(1 - box.right, box.top, 1 - box.left, box.bottom)
        for degrees in _TILTS:
            turn = cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1.0)
            turned = cv2.warpAffine(grey, turn, (w, h), borderMode=cv2.BORDER_REPLICATE)
            back = cv2.invertAffineTransform(turn)
            for x, y, width, height in self._cascade(self._front, turned, 32):
                centre = back @ np.array([x + width / 2, y + height / 2, 1.0])
                x, y = float(centre[0] - width / 2), float(centre[1] - height / 2)
                yield _box(x, y, width, height, (h, w))

    def _cascade(self, cascade: Any, grey: UInt8[np.ndarray, "h w"], least: int) -> list[_Found]:
        return _found(cascade.detectMultiScale(grey, _STEP_OF_SIZES, 3, minSize=(least, least)))

    def _bodies(self, small: UInt8[np.ndarray, "h w 3"]) -> Iterator[Box]:
        h, w = small.shape[:2]
        if w < _HOG_LEAST[0] or h < _HOG_LEAST[1]:
            return
        found, _ = self._body.detectMultiScale(
            small, winStride=(8, 8), padding=(16, 16), scale=1.06
        )
        yield from _boxes(_found(found), (h, w))


def _found(rectangles: Any) -> list[_Found]:
    # An array, or an empty tuple where there are none.
    return [(float(x), float(y), float(w), float(h)) for x, y, w, h in rectangles]


def _boxes(found: Sequence[_Found], shape: tuple[int, int]) -> Iterator[Box]:
    return (_box(*each, shape) for each in found)


def _box(x: float, y: float, width: float, height: float, shape: tuple[int, int]) -> Box:
    h, w = shape
    left, right = (min(1.0, max(0.0, float(edge) / w)) for edge in (x, x + width))
    top, bottom = (min(1.0, max(0.0, float(edge) / h)) for edge in (y, y + height))
    return Box(left, top, right, bottom)


def through_time(found: Sequence[Sequence[Box]], hold: int, gap: int) -> list[list[Box]]:
    """What is to be covered in each of a row of pictures, from what was found in each.

    Boxes that overlap from one picture to the next are of one person. What covers somebody holds
    all his boxes of `hold` pictures before and after; where he was not found for at most `gap`
    pictures, and then again, it holds where he was seen last and next.
    """
    tracks: list[list[tuple[int, Box]]] = []
    for now, boxes in enumerate(found):
        near = [track for track in tracks if now - track[-1][0] <= gap]
        for box in boxes:
            best = max(near, key=lambda track: track[-1][1].overlap(box), default=None)
            if best is not None and best[-1][1].overlap(box) > 0.2:
                best.append((now, box))
            else:
                tracks.append([(now, box)])
                near.append(tracks[-1])
    covered: list[list[Box]] = [[] for _ in found]
    for track in tracks:
        for now in range(max(0, track[0][0] - hold), min(len(found), track[-1][0] + hold + 1)):
            boxes = [box for when, box in track if abs(when - now) <= hold]
            if not boxes:
                boxes = [
                    max((each for each in track if each[0] < now), key=lambda each: each[0])[1],
                    min((each for each in track if each[0] > now), key=lambda each: each[0])[1],
                ]
            whole = boxes[0]
            for box in boxes[1:]:
                whole = whole.hull(box)
            covered[now].append(whole)
    return covered
