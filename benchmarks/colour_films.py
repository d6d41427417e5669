"""Tiny films of plain colours, and an encoder that sees nothing but colour.

What is asked of them is not what a network sees but what becomes of a library: thousands can be
indexed in minutes, and each answer can be told beforehand.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from vidsift.library import Library
from vidsift.media.binary import ffmpeg_binary
from vidsift.models.regions import HeatMap
from vidsift.types import EncoderStamp

__all__ = ["COLOURS", "ColourEncoder", "make_colour_film", "open_colour_library"]

COLOURS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "cyan": (0, 1, 1),
    "magenta": (1, 0, 1),
}


class ColourEncoder:
    """A frame is its mean colour, and so is a text; a text without a colour is grey."""

    stamp = EncoderStamp("colour", "0" * 64, 3, "mean colour")
    picture_size = 32

    def encode_frames(self, images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n 3"]:
        return _unit(images.astype(np.float32).mean(axis=(1, 2)) / 255)

    def encode_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "q 3"]:
        found = [
            [COLOURS[word] for word in text.lower().split() if word in COLOURS] for text in texts
        ]
        means = [np.mean(colours, axis=0) if colours else (1.0, 1.0, 1.0) for colours in found]
        return _unit(np.array(means, dtype=np.float32))

    def encode_regions(
        self, images: UInt8[np.ndarray, "n h w 3"]
    ) -> Float32[np.ndarray, "n 1 1 3"]:
        return self.encode_frames(images)[:, np.newaxis, np.newaxis]

    def heat_map(
        self, image: UInt8[np.ndarray, "h w 3"], query: Float32[np.ndarray, "3"]
    ) -> HeatMap:
        values = self.encode_regions(image[np.newaxis])[0] @ query
        return HeatMap(values, (0.0, 0.0, 1.0, 1.0), exact=False)

    def close(self) -> None:
        """There is nothing to give back."""


def _unit(vectors: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n 3"]:
    vectors = vectors + np.float32(1e-3)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def open_colour_library(root: Path, **flags: object) -> Library:
    """The library in `root`, made if need be, with the colour encoder."""
    library = Library.open(root, create=True, encoder="colour", **flags)
    library.__dict__["encoder"] = ColourEncoder()
    return library


def make_colour_film(
    path: Path, shots: Sequence[tuple[str, float]], *, size: str = "160x120", rate: int = 10
) -> None:
    """Shots of plain colours (name, seconds), put in place of `path` at once.

    No two films have the same content, whatever they show: each holds a number of its own.
    """
    command = [ffmpeg_binary(), "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
    for colour, seconds in shots:
        command += ["-f", "lavfi", "-i", f"color={colour}:s={size}:r={rate}:d={seconds}"]
    joined = "".join(f"[{i}:v]" for i in range(len(shots)))
    command += ["-filter_complex", f"{joined}concat=n={len(shots)}:v=1:a=0[v]", "-map", "[v]"]
    part = path.with_name(f".{path.name}.part")
    command += ["-metadata", f"comment={uuid.uuid4().hex}", "-preset", "ultrafast"]
    command += ["-threads", "1", "-pix_fmt", "yuv420p", "-f", "mp4", f"file:{part}"]
    subprocess.run(command, check=True)
    part.replace(path)
