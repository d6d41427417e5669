"""The level between clips and videos: a clip is scored together with its surroundings.

What a clip shows is rarely alone: the frames around it are mostly of the same scene. So attention
runs twice, over the clip's frames and over those of its surroundings, which are the clips of its
video that begin or end within 30 frames (15 s) of it. On both levels it is training-free softmax
(`vidsift.models.attention.SoftmaxPool`; hierarchical attention: Yang et al. 2016):

    own = sum_clip w_t s_t,    around = sum_around w'_t s_t,    w, w' = softmax of s / T
    score = 1/4 own + 3/4 min(own, around)

with s the frames' similarities to the question. All are means of cosines; so is the score. What
stands alone counts less than what its scene bears out, and nothing gains by its neighbours: they
would follow the best moment into the answer. The curve that marks a moment is not touched.

It runs where all frames are in memory (`search.exact`) and the pooler is training-free; a library
that is searched by candidates scores each clip alone, and its null distribution does the same.

Axes: m queries, c clips, f frames of all clips.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64

__all__ = ["in_context", "surroundings"]

_FRAMES_AROUND = 30
_SHARE = np.float32(0.75)  # of the surroundings; the clip itself has the rest


def surroundings(
    lengths: Int64[np.ndarray, "c"], video_ids: Int64[np.ndarray, "c"]
) -> Int64[np.ndarray, "c 2"]:
    """From which clip to which (exclusive) the surroundings of each clip reach.

    Clips are given video after video, a video's in order of time; `lengths` are their frames.
    """
    ends = np.cumsum(lengths)
    starts = ends - lengths
    changes = np.flatnonzero(np.diff(video_ids)) + 1
    first = np.r_[0, changes]
    last = np.r_[changes, len(lengths)]
    of_clip = np.searchsorted(changes, np.arange(len(lengths)), side="right")
    low = np.searchsorted(ends, starts - _FRAMES_AROUND, side="right")
    high = np.searchsorted(starts, ends + _FRAMES_AROUND, side="left")
    return np.stack([np.maximum(low, first[of_clip]), np.minimum(high, last[of_clip])], axis=1)


def in_context(
    scores: Float32[np.ndarray, "m c"],
    similarities: Float32[np.ndarray, "m f"],
    lengths: Int64[np.ndarray, "c"],
    reach: Int64[np.ndarray, "c 2"],
    temperature: float,
) -> Float32[np.ndarray, "m c"]:
    """Clips' own scores, lowered by what their surroundings (`surroundings`) do not bear out."""
    if not lengths.size:
        return scores
    starts = np.cumsum(lengths) - lengths
    joined = np.empty_like(scores)
    # reduceat sums between each two neighbours of this list: every second sum is one that we want.
    edges = reach.ravel()
    for own, s, out in zip(scores, similarities, joined, strict=True):
        best = np.maximum.reduceat(s, starts)
        masses = np.exp((s - np.repeat(best, lengths)) / np.float32(temperature))
        # Each clip's sums on one scale: in double precision even the unlikeliest do not vanish.
        scale = np.exp((best - best.max()).astype(np.float64) / temperature)
        mass = np.append(np.add.reduceat(masses, starts) * scale, 0.0)
        moment = np.append(np.add.reduceat(masses * s, starts) * scale, 0.0)
        around = np.add.reduceat(mass, edges)[::2]
        mean = np.add.reduceat(moment, edges)[::2] / np.maximum(around, np.finfo(np.float64).tiny)
        mean = np.where(around > 0, np.minimum(mean, own), own)  # no mass: temperatures next to 0
        out[:] = own + _SHARE * (mean.astype(np.float32) - own)
    return joined
