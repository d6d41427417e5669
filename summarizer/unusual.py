"""How unusual footage is beside what is normal: distance to the nearest, and local outlier factor.

A frame is unusual if nothing like it is near among the normal ones. What lies next to it in time is
no evidence that it is normal, since it is part of the same event: neighbours are looked for only
`apart` from it. With d_1 <= d_2 <= ... the distances (1 - cosine) to its nearest neighbours,

- `knn`: the mean of d_1 to d_k (Ramaswamy et al. 2000; Angiulli and Pizzuti 2002);
- `lof`: how much sparser it lies than its neighbours do (Breunig et al. 2000), by scikit-learn.

Each normal frame is scored in the same way against the others, which tells how high normal footage
scores: see `summarizer.highlights` for the rate that is told by that.

Axes: n frames that are judged, r normal frames, k neighbours, d dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Float64, Int64

__all__ = ["Footage", "Method", "Unusual", "judge"]

Method = Literal["knn", "lof"]

_NEIGHBOURS = {"knn": 3, "lof": 20}  # by benchmarks.highlights
_BLOCK = 512  # frames whose likeness to all normal ones is in memory at a time
# Features are stored in half precision: smaller distances are rounding.
_ROUNDING = np.float32(1e-3)


@dataclass(frozen=True, slots=True)
class Footage:
    """Frames with the id of the video and the time that each is of; `frames` have unit length."""

    frames: Float32[np.ndarray, "n d"]
    videos: Int64[np.ndarray, "n"]
    seconds: Float64[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, slots=True)
class Unusual:
    """How unusual each frame is, higher is more so, and its nearest normal one: place, distance.

    `usual` has the score of each normal frame among the others.
    """

    scores: Float64[np.ndarray, "n"]
    usual: Float64[np.ndarray, "r"]
    nearest: Int64[np.ndarray, "n"]
    distances: Float32[np.ndarray, "n"]


def judge(
    shown: Footage,
    normal: Footage,
    apart_seconds: float,
    method: Method,
    on_progress: Callable[[float], None] | None = None,
) -> Unusual:
    """Judge each frame of `shown` by the frames of `normal`, which may hold them too.

    Frames of one video that lie less than `apart_seconds` apart do not vouch for each other;
    infinity: no frames of one video do. `on_progress` is called with the share that is done.

    Raises:
        ValueError: some frame has no normal frame apart from it.
    """
    report = on_progress or (lambda _share: None)
    most = _NEIGHBOURS[method]
    total = len(normal) + (0 if shown is normal else len(shown))

    def find(frames: Footage, before: int) -> Neighbours:
        return _neighbours(
            frames, normal, apart_seconds, most, lambda done: report((before + done) / total)
        )

    among = find(normal, 0)
    near = among if shown is normal else find(shown, len(normal))
    k = min(among[0].shape[1], near[0].shape[1])
    if k == 0:
        raise ValueError("too few normal frames that lie apart")
    among, near = ((d[:, :k], p[:, :k]) for d, p in (among, near))
    scores, usual = _METHODS[method](near, among)
    return Unusual(scores, usual, near[1][:, 0], near[0][:, 0])


Neighbours = tuple[Float32[np.ndarray, "_ k"], Int64[np.ndarray, "_ k"]]
Scores = tuple[Float64[np.ndarray, "_"], Float64[np.ndarray, "_"]]


def _neighbours(
    shown: Footage,
    normal: Footage,
    apart_seconds: float,
    most: int,
    report: Callable[[int], None],
) -> Neighbours:
    """Distances and places of each frame's nearest normal frames that lie apart, nearest first.

    As many as every frame has, at most `most`.
    """
    k = min(most, len(normal))
    distances = np.empty((len(shown), k), np.float32)
    places = np.empty((len(shown), k), np.int64)
    for low in range(0, len(shown) if k else 0, _BLOCK):
        own = slice(low, low + _BLOCK)
        away = 1 - shown.frames[own] @ normal.frames.T  # (block, r)
        np.maximum(away, _ROUNDING, out=away)
        same = shown.videos[own, np.newaxis] == normal.videos
        if same.any():
            gaps = np.abs(shown.seconds[own, np.newaxis] - normal.seconds)
            away[same & (gaps < apart_seconds)] = np.inf
        nearest = np.argpartition(away, k - 1, axis=1)[:, :k]
        found = np.take_along_axis(away, nearest, axis=1)
        order = np.argsort(found, axis=1, kind="stable")
        distances[own] = np.take_along_axis(found, order, axis=1)
        places[own] = np.take_along_axis(nearest, order, axis=1)
        report(min(low + _BLOCK, len(shown)))
    all_have = int(np.isfinite(distances).sum(axis=1).min(initial=k))
    return distances[:, :all_have], places[:, :all_have]


def _knn(near: Neighbours, among: Neighbours) -> Scores:
    return near[0].mean(1, dtype=np.float64), among[0].mean(1, dtype=np.float64)


def _lof(near: Neighbours, among: Neighbours) -> Scores:
    from sklearn.neighbors import LocalOutlierFactor

    count, k = among[0].shape
    # scikit-learn expects each normal frame to be its own nearest neighbour, and drops it.
    own = np.arange(count)[:, np.newaxis]
    with_own = np.hstack([np.zeros((count, 1), np.float32), among[0]]), np.hstack([own, among[1]])
    factor = LocalOutlierFactor(n_neighbors=k, metric="precomputed", novelty=True)
    factor.fit(_graph(with_own, count))
    scores = -factor.score_samples(_graph(near, count)), -factor.negative_outlier_factor_
    return scores[0].astype(np.float64), scores[1].astype(np.float64)


def _graph(neighbours: Neighbours, count: int) -> Any:
    """A sparse matrix of distances, as scikit-learn takes neighbours that are known."""
    from scipy.sparse import csr_array

    distances, places = neighbours
    rows, k = distances.shape
    starts = np.arange(0, rows * k + 1, k)
    return csr_array((distances.reshape(-1), places.reshape(-1), starts), shape=(rows, count))


_METHODS: dict[str, Callable[[Neighbours, Neighbours], Scores]] = {"knn": _knn, "lof": _lof}
