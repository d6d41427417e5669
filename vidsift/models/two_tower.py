"""An encoder made of two towers, one for frames and one for texts, each loaded when first used.

Axes: n frames, h rows, w columns, q texts, d dimensions, r rows and c columns of regions.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float32, UInt8

from vidsift.models.geometry import Geometry
from vidsift.models.regions import HeatMap
from vidsift.models.runtime import CudaTower, Inputs, Tower
from vidsift.types import EncoderStamp

__all__ = ["TwoTowerEncoder"]

# Texts that go through the model at once; sorted by nothing, so short to keep padding small.
_TEXT_BATCH = 32


class TwoTowerEncoder:
    """Implements `Encoder` and `RegionEncoder` over two towers and a tokenizer.

    The region tower gives (n, r, c, d), the heat tower of an encoder that has one (n, 1 + r * c)
    for pictures and queries: the baseline and the regions' shares of an exact `HeatMap`.
    """

    def __init__(
        self,
        stamp: EncoderStamp,
        geometry: Geometry,
        batch_size: int,
        *,
        tokenize: Callable[[Sequence[str]], Inputs],
        load_frame_tower: Callable[[], Tower],
        load_text_tower: Callable[[], Tower],
        load_region_tower: Callable[[], Tower],
        load_heat_tower: Callable[[], Tower] | None = None,
    ) -> None:
        self._stamp = stamp
        self._geometry = geometry
        self._batch_size = batch_size
        self._tokenize = tokenize
        self._frame_tower = _Lazy(load_frame_tower)
        self._text_tower = _Lazy(load_text_tower)
        self._region_tower = _Lazy(load_region_tower)
        self._heat_tower = _Lazy(load_heat_tower) if load_heat_tower else None

    @property
    def stamp(self) -> EncoderStamp:
        return self._stamp

    @property
    def picture_size(self) -> int:
        return self._geometry.resize

    def encode_frames(self, images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n d"]:
        """See `Encoder.encode_frames`."""
        return self._through(self._frame_tower, self._pictures(images))

    def encode_regions(
        self, images: UInt8[np.ndarray, "n h w 3"]
    ) -> Float32[np.ndarray, "n r c d"]:
        """See `RegionEncoder.encode_regions`."""
        parts = self._parts(self._region_tower, self._pictures(images))
        if not parts:
            return np.zeros((0, 0, 0, self._stamp.dimension), np.float32)
        return _unit(np.concatenate(parts))

    def heat_map(
        self, image: UInt8[np.ndarray, "h w 3"], query: Float32[np.ndarray, "d"]
    ) -> HeatMap:
        """See `RegionEncoder.heat_map`."""
        covered = self._geometry.covered(*image.shape[:2])
        if self._heat_tower is None:
            return HeatMap(self.encode_regions(image[np.newaxis])[0] @ query, covered, exact=False)
        ((picture,),) = self._pictures(image[np.newaxis])
        with self._heat_tower.used() as tower:
            baseline, *shares = tower(picture, query[np.newaxis])[0]
        side = math.isqrt(len(shares))
        values = np.array(shares, np.float32).reshape(side, side)
        return HeatMap(values, covered, exact=True, baseline=float(baseline))

    def encode_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "q d"]:
        """See `Encoder.encode_texts`."""
        starts = range(0, len(texts), _TEXT_BATCH)
        tokens = (self._tokenize(texts[start : start + _TEXT_BATCH]) for start in starts)
        return self._through(self._text_tower, tokens)

    def close(self) -> None:
        """See `Encoder.close`."""
        self._frame_tower.drop()
        self._text_tower.drop()
        self._region_tower.drop()
        if self._heat_tower is not None:
            self._heat_tower.drop()

    def release(self, idle_seconds: float = 0.0) -> bool:
        """See `ReleasableEncoder.release`."""
        towers = [self._frame_tower, self._text_tower, self._region_tower]
        towers += [self._heat_tower] if self._heat_tower is not None else []
        # Each of them, not only up to the first that was there.
        return any([tower.drop(idle_seconds) for tower in towers])  # noqa: C419

    def _pictures(self, images: UInt8[np.ndarray, "n h w 3"]) -> Iterator[Inputs]:
        for start in range(0, len(images), self._batch_size):
            batch = images[start : start + self._batch_size]
            # Contiguous, because the runtimes read the memory as it lies.
            yield (np.ascontiguousarray(self._geometry.apply(batch)),)

    def _through(self, tower: _Lazy, batches: Iterable[Inputs]) -> Float32[np.ndarray, "n d"]:
        parts = self._parts(tower, batches)
        if not parts:
            return np.zeros((0, self._stamp.dimension), np.float32)
        return _unit(np.concatenate(parts))

    def _parts(self, tower: _Lazy, batches: Iterable[Inputs]) -> list[np.ndarray]:
        """What the tower gives of each batch; without any it is not loaded."""
        parts = []
        for inputs in batches:
            with tower.used() as loaded:
                parts.append(loaded(*inputs))
        return parts


def _unit(features: Float32[np.ndarray, "*axes d"]) -> Float32[np.ndarray, "*axes d"]:
    norms = np.linalg.norm(features, axis=-1, keepdims=True)
    unit: np.ndarray = features / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit


class _Lazy:
    """A tower that is loaded by the first thread that needs it.

    Who uses it holds it: what is dropped meanwhile ends with its last user.
    """

    def __init__(self, load: Callable[[], Tower]) -> None:
        self._load = load
        self._tower: Tower | None = None
        self._lock = threading.Lock()
        self._users = 0
        self._left_at = 0.0

    @contextmanager
    def used(self) -> Iterator[Tower]:
        """The tower, which is not taken for idle inside."""
        with self._lock:
            if self._tower is None:
                self._tower = self._load()
            tower = self._tower
            self._users += 1
        try:
            yield tower
        finally:
            with self._lock:
                self._users -= 1
                self._left_at = time.monotonic()

    def drop(self, idle_seconds: float | None = None) -> bool:
        """Let go of the tower, unless it was in use within `idle_seconds`; whether there was one.

        None: in use or not.
        """
        with self._lock:
            is_idle = not self._users and time.monotonic() - self._left_at >= (idle_seconds or 0.0)
            if self._tower is None or not (idle_seconds is None or is_idle):
                return False
            tower, self._tower = self._tower, None
        if isinstance(tower, CudaTower):
            tower.close()
        return True
