"""Training a projection: ridge regression from classes to what ConSE leaves over of captions.

With little data a linear model close to ConSE serves best: of 258 photographs a ridge regression
carried over to other sources, a contrastive loss over the same photographs did not.

Axes: n items (pictures or clips), m captions, f frames of all items, k classes, d dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from vidsift.models.projection import Projection

__all__ = ["RANK", "STRENGTHS", "Captioned", "choose_strength", "fit", "rank_captions", "split"]

STRENGTHS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
RANK = 128  # of what is kept: twice the size ranks no better
_FOLDS = 5
# Where captions and classes have next to nothing in common the regression must not blow up.
_LEAST_SCALE = 0.1
_ROUNDING = 1e-6  # scores of equal items differ by less


@dataclass(frozen=True)
class Captioned:
    """Items with frames and captions. `item_of_*` are sorted and name every item.

    `conse` and `captions` are unit vectors; `roots` the square roots of the probabilities;
    `groups` tells which items belong together (clips of one video): no split divides them.
    """

    conse: Float32[np.ndarray, "f d"]
    roots: Float32[np.ndarray, "f k"]
    item_of_frame: Int64[np.ndarray, "f"]
    captions: Float32[np.ndarray, "m d"]
    item_of_caption: Int64[np.ndarray, "m"]
    groups: Int64[np.ndarray, "n"]

    def part(self, items: Int64[np.ndarray, "p"]) -> Captioned:
        """The same for some items, numbered anew in their order."""
        items = np.sort(items)
        frames = np.isin(self.item_of_frame, items)
        captions = np.isin(self.item_of_caption, items)
        return Captioned(
            self.conse[frames],
            self.roots[frames],
            np.searchsorted(items, self.item_of_frame[frames]),
            self.captions[captions],
            np.searchsorted(items, self.item_of_caption[captions]),
            self.groups[items],
        )


def split(pairs: Captioned, seed: int) -> list[Int64[np.ndarray, "_"]]:
    """The items in five parts of like size, groups whole."""
    groups, sizes = np.unique(pairs.groups, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(groups))
    parts: list[list[int]] = [[] for _ in range(_FOLDS)]
    filled = np.zeros(_FOLDS)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        smallest = int(filled.argmin())
        parts[smallest].append(int(groups[group]))
        filled[smallest] += sizes[group]
    return [np.flatnonzero(np.isin(pairs.groups, part)).astype(np.int64) for part in parts]


def fit(
    pairs: Captioned, strength: float, networks: str = "", *, rank: int | None = RANK
) -> Projection:
    """The ridge regression of this strength; `networks` as in `Projection`, `rank` None: full.

    An item counts once, however many frames or captions it has. The inputs are centred, and so what
    all captions share is left out: it would pull every frame to one side and rank nothing.
    """
    centre = _means(pairs.roots, pairs.item_of_frame).mean(0)
    inputs = _means(_unit(pairs.roots - centre), pairs.item_of_frame)  # (n, k)
    conse = _means(pairs.conse, pairs.item_of_frame)  # (n, d)
    targets = _means(pairs.captions, pairs.item_of_caption)  # (n, d)
    scale = max(float((targets * conse).sum() / (conse**2).sum()), _LEAST_SCALE)
    residual = targets - scale * conse
    inputs = (inputs - inputs.mean(0)).astype(np.float64)
    weights = _ridge(inputs, residual, strength) / scale  # (k, d)
    if rank is None:
        left, right = weights, np.eye(weights.shape[1])
    else:
        left, values, right = np.linalg.svd(weights, full_matrices=False)
        root = np.sqrt(values[:rank])
        left, right = left[:, :rank] * root, root[:, None] * right[:rank]
    return Projection(
        centre=centre.astype(np.float32),
        left=left.astype(np.float32),
        right=right.astype(np.float32),
        networks=networks,
    )


def _ridge(
    inputs: Float64[np.ndarray, "n k"], targets: Float32[np.ndarray, "n d"], strength: float
) -> Float64[np.ndarray, "k d"]:
    """Least squares with a penalty of `strength` on the weights' squares, on the smaller side."""
    n, k = inputs.shape
    gram = inputs @ inputs.T if n < k else inputs.T @ inputs
    gram[np.diag_indices_from(gram)] += strength
    weights: np.ndarray = (
        inputs.T @ np.linalg.solve(gram, targets)
        if n < k
        else np.linalg.solve(gram, inputs.T @ targets)
    )
    return weights


def choose_strength(
    pairs: Captioned, seed: int, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[float, dict[float, float]]:
    """The strength to take, and the mean reciprocal rank that each reaches, cross-validated.

    By the one-standard-error rule (Breiman et al., "Classification and Regression Trees", 1984) it
    is the strongest that is as good as the best within the standard error of that: what is searched
    later differs from what was captioned, and what stays nearer to ConSE carries farther.
    """
    parts = split(pairs, seed)
    reached: dict[float, float] = {}
    errors: dict[float, float] = {}
    for done, strength in enumerate(STRENGTHS):
        on_progress(done, len(STRENGTHS))
        values = []
        for held in parts:
            rest = np.setdiff1d(np.arange(len(pairs.groups)), held)
            trained = fit(pairs.part(rest), strength, rank=None)
            tested = pairs.part(held)
            by_item = _means((1 / rank_captions(tested, trained))[:, None], tested.item_of_caption)
            values.append(by_item[:, 0])
        by_items = np.concatenate(values)
        reached[strength] = float(by_items.mean())
        errors[strength] = float(by_items.std() / np.sqrt(len(by_items)))
    best = max(reached, key=lambda strength: reached[strength])
    floor = reached[best] - errors[best]
    return max(strength for strength in STRENGTHS if reached[strength] >= floor), reached


def rank_captions(pairs: Captioned, projection: Projection | None) -> Int64[np.ndarray, "m"]:
    """The rank of each caption's item among all, from 1; a tie counts against it.

    An item's score is the mean of its frames' cosines, as `MeanPool` has it.
    """
    frames = pairs.conse
    if projection is not None:
        inputs = _unit(pairs.roots - projection.centre)
        frames = _unit(frames + inputs @ projection.left @ projection.right)
    scores = pairs.captions @ _means(frames, pairs.item_of_frame).T  # (m, n)
    own = np.take_along_axis(scores, pairs.item_of_caption[:, None], axis=1)
    ranks: np.ndarray = (scores >= own - _ROUNDING).sum(1)
    return ranks


def _unit(vectors: Float32[np.ndarray, "f k"]) -> Float32[np.ndarray, "f k"]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: np.ndarray = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit


def _means(
    rows: Float[np.ndarray, "f k"], item: Int64[np.ndarray, "f"]
) -> Float[np.ndarray, "n k"]:
    """The mean row of each item; `item` is sorted and leaves none out."""
    starts = np.flatnonzero(np.diff(item, prepend=-1))
    counts = np.diff(starts, append=len(item))
    means: np.ndarray = np.add.reduceat(rows, starts, axis=0) / counts[:, None].astype(rows.dtype)
    return means
