"""Saliency: how much of the film, or of its answer to a question, each piece stands for.

One formula serves both. With frames x_t of weight w_t (attention to the question, or uniform
without one), a set S of pieces is worth

    f(S) = sum_t w_t max_{i in S} cos(x_t, c_i)          (facility location)

which is monotone and submodular: what resembles something already chosen adds little. A piece's
saliency is what it adds when it is taken (its marginal gain), plus the share of the attention that
falls inside it, per second.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from vidsift.types import Span

__all__ = ["attention_over_time", "piece_saliency"]

_TEMPERATURE = 0.5  # of attention over a film, in standard deviations of its similarities
_MOST_FRAMES = 2000  # frames that stand for a long film in the sum over t


def attention_over_time(
    frames: Float32[np.ndarray, "n d"],
    seconds: Float64[np.ndarray, "n"],
    query: Float32[np.ndarray, "d"] | None,
) -> Float64[np.ndarray, "n"]:
    """Weights of the frames, summing to 1: softmax over time of their similarity to the query.

    Without a query a frame weighs the `seconds` that it stands for. Similarities are standardised
    over the film first, so that the weights say where in this film the answer lies, not whether
    the film as a whole is near the question.
    """
    weights = seconds.copy()
    if query is not None:
        similarities = (frames @ query).astype(np.float64)
        standard = (similarities - similarities.max()) / max(float(similarities.std()), 1e-6)
        weights *= np.exp(standard / _TEMPERATURE)
    return np.asarray(weights / weights.sum())


def piece_saliency(
    frames: Float32[np.ndarray, "n d"],
    weights: Float64[np.ndarray, "n"],
    owner: Int[np.ndarray, "n"],
    pieces: list[Span],
    budget_seconds: float,
    least_seconds: float = 0.0,
) -> Float[np.ndarray, "m"]:
    """Saliency (m,) of each piece, a second; `owner[t]` is the piece that frame t lies in.

    Pieces are taken greedily by gain a second until the budget is spent (Nemhauser, Wolsey and
    Fisher 1978); those never taken are valued by what they would still add. A piece shorter than
    `least_seconds` counts as if it were so long: a glimpse shows less than its picture is worth.
    """
    durations = np.maximum([piece.duration for piece in pieces], least_seconds)
    share = np.bincount(owner, weights=weights, minlength=len(pieces))  # (m,) attention inside
    centres = np.zeros((len(pieces), frames.shape[1]), dtype=np.float32)
    np.add.at(centres, owner, frames)
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)

    step = max(1, -(-len(frames) // _MOST_FRAMES))
    mass = np.add.reduceat(weights, np.arange(0, len(frames), step))
    likeness = np.maximum(frames[::step] @ centres.T, 0.0)  # (t, m)
    covered = np.zeros(len(likeness))
    gains = np.zeros(len(pieces))
    left = np.ones(len(pieces), dtype=bool)
    spent = 0.0
    while left.any():
        added = mass @ np.maximum(likeness - covered[:, np.newaxis], 0.0)  # (m,)
        gains[left] = added[left]
        if spent >= budget_seconds:
            break
        density = np.where(left, added / durations, -np.inf)
        best = int(np.argmax(density))
        left[best] = False
        spent += pieces[best].duration
        covered = np.maximum(covered, likeness[:, best])
    return np.asarray((gains + share) / durations)
