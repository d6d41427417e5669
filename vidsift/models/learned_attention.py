"""The poolers that are trained, as a search runs them: NumPy, from the tensors of a checkpoint.

`vidsift.models.attention_network` holds the same formulas in torch, for training; the names and
shapes of the tensors are those of its `state_dict`.

**What a query costs.** Taken literally, projecting every frame to a key and a value costs
O(c n d^2). Both projections are linear, so with few queries they are moved off the frames:

- keys: `(W_q q) . (W_k x) = (W_k' W_q q) . x`: the projection is absorbed into the query;
- values: `sum_i w_i (W_v x_i + b) = W_v (sum_i w_i x_i) + b`, since the weights sum to 1: what was
  pooled is projected, once a clip and not once a frame;
- LayerNorm of a frame is a shift and a scale of its own, so it becomes a factor of the logit and
  of the weight, and no normalised copy of the frames is made.

A query then costs O(c n d h + c d^2) for h heads. Only additive attention has to project each
frame, since its tanh lies between; its hidden layer is narrower instead.

Axes: q queries, c clips, n frames of a clip, d dimensions, h heads, e = d / h, a hidden units,
m rows of the positional table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float32

from vidsift.models.attention import (
    Frames,
    Mask,
    Pooled,
    Queries,
    masked_softmax,
    without_padding,
)

__all__ = [
    "EPSILON",
    "LEARNED_POOLERS",
    "AdditivePool",
    "DotProductPool",
    "LearnedPool",
    "MultiHeadPool",
    "places",
]

# Of LayerNorm. Unit vectors have a variance of 1 / d; the usual 1e-5 would shift the temperature.
EPSILON = 1e-12

Tensors = Mapping[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class AdditivePool:
    """Additive attention: `w = softmax_i(v . tanh(W_q q + W_k x_i + b))`, `sum_i w_i x_i`.

    Bahdanau, Cho and Bengio, "Neural Machine Translation by Jointly Learning to Align and
    Translate" (ICLR 2015), appendix A.1.2, with the query in the place of the decoder's state. The
    result is made unit length.

    Tensors: `query.weight` and `key.weight` (a, d), `key.bias` (a,), `score.weight` (1, a).
    """

    kind: ClassVar[str] = "additive"
    tensors: Tensors

    def __post_init__(self) -> None:
        hidden, d = _matrix(self.tensors, "key.weight")
        expected: Shapes = {
            "query.weight": (hidden, d),
            "key.weight": (hidden, d),
            "key.bias": (hidden,),
            "score.weight": (1, hidden),
        }
        _check(self.tensors, expected)

    @classmethod
    def random(cls, dimension: int, hidden: int = 128, seed: int = 0) -> AdditivePool:
        """Before training: Glorot's uniform weights, so that no frame is much preferred."""
        rng = np.random.default_rng(seed)
        return cls(
            {
                "query.weight": _glorot(rng, hidden, dimension),
                "key.weight": _glorot(rng, hidden, dimension),
                "key.bias": np.zeros(hidden, np.float32),
                "score.weight": _glorot(rng, 1, hidden),
            }
        )

    @property
    def dimension(self) -> int:
        return int(self.tensors["key.weight"].shape[1])

    def __call__(self, queries: Queries, frames: Frames, mask: Mask) -> Pooled:
        frames = without_padding(frames, mask)
        # One matrix product of all frames: a stack of small ones takes twice as long.
        flat = frames.reshape(-1, self.dimension) @ self.tensors["key.weight"].T
        keys = (flat + self.tensors["key.bias"]).reshape(*mask.shape, len(flat.T))  # (c, n, a)
        score = self.tensors["score.weight"][0]  # (a,)
        logits = np.empty((len(queries), *mask.shape), np.float32)
        # A query at a time: (q, c, n, a) at once would be too large.
        for i, query in enumerate(queries @ self.tensors["query.weight"].T):
            hidden = keys + query
            np.tanh(hidden, out=hidden)
            logits[i] = hidden @ score
        weights = masked_softmax(logits, mask)
        return _pooled(weights, frames), weights


@dataclass(frozen=True, eq=False)
class DotProductPool:
    """Dot-product attention with a key projection: `w = softmax_i(s q . W_k x_i)`, `sum_i w_i x_i`.

    Luong, Pham and Manning, "Effective Approaches to Attention-based Neural Machine Translation"
    (EMNLP 2015), their "general" score, times a learned scale s. The result is made unit length.
    With `W_k` the identity it is softmax pooling at temperature 1 / s.

    Tensors: `key.weight` (d, d), `log_scale` ().
    """

    kind: ClassVar[str] = "dot"
    tensors: Tensors

    def __post_init__(self) -> None:
        _, d = _matrix(self.tensors, "key.weight")
        _check(self.tensors, {"key.weight": (d, d), "log_scale": ()})

    @classmethod
    def identity(cls, dimension: int, temperature: float = 0.1) -> DotProductPool:
        """Before training: softmax pooling at this temperature."""
        return cls(
            {
                "key.weight": np.eye(dimension, dtype=np.float32),
                "log_scale": np.array(-math.log(temperature), np.float32),
            }
        )

    @classmethod
    def random(cls, dimension: int, seed: int = 0) -> DotProductPool:
        """A key projection of no meaning, as good as a trained one for measuring time."""
        weight = _glorot(np.random.default_rng(seed), dimension, dimension)
        return cls({**cls.identity(dimension).tensors, "key.weight": weight})

    @property
    def dimension(self) -> int:
        return int(self.tensors["key.weight"].shape[1])

    def __call__(self, queries: Queries, frames: Frames, mask: Mask) -> Pooled:
        frames = without_padding(frames, mask)
        keys = queries @ self.tensors["key.weight"] * np.exp(self.tensors["log_scale"])  # (q, d)
        logits = np.matmul(frames, keys.T).transpose(2, 0, 1)  # (q, c, n)
        weights = masked_softmax(logits, mask)
        return _pooled(weights, frames), weights


@dataclass(frozen=True, eq=False)
class MultiHeadPool:
    """Multi-head cross-attention from a query to the frames, in X-Pool's form.

    Gorti et al., "X-Pool: Cross-Modal Language-Video Attention for Text-Video Retrieval" (CVPR
    2022), equations 4 to 7; heads as in Vaswani et al., "Attention Is All You Need" (2017):

        z_i = LN1(x_i) + p_i                     p_i: positional term, if there is one
        w_i = softmax_i(Q_h LN1(q) . K_h z_i / sqrt(e))           for each head h
        a   = LN2(O concat_h(sum_i w_i V_h z_i))
        v   = LN3(a + F a), made unit length

    LN1 is shared by query and frames. The key projection has no bias: it would move all logits of
    a query alike, which softmax ignores. The weights returned are the mean over the heads. `p_i`
    is read from a learned table by linear interpolation at the frame's place in the clip, first
    frame to last; without the table the pooler is blind to the order of frames.

    All projections start as the identity, biases and positions as 0. LN1 then centres a vector on
    the mean of its own coordinates and gives it length sqrt(d): with one head the untrained pooler
    is exactly softmax pooling of the vectors so centred and made unit length, at **temperature
    1 / sqrt(d)** (0.051 for d = 384), and its vector is theirs made unit length. With h heads each
    head does that in its own e coordinates, at temperature sqrt(e) / d, and LN2 centres the whole.

    Tensors: `norm_in`, `norm_attended`, `norm_out` (`.weight`, `.bias`: (d,)), `query`, `value`,
    `out`, `feed` (`.weight`: (d, d), `.bias`: (d,)), `key.weight` (d, d) and, if it has one, the
    positional table `positions` (m, d), m >= 2.
    """

    kind: ClassVar[str] = "multi-head"
    tensors: Tensors
    heads: int = 1

    def __post_init__(self) -> None:
        _, d = _matrix(self.tensors, "key.weight")
        if self.heads < 1 or d % self.heads:
            raise ValueError(f"{d} dimensions cannot be divided among {self.heads} heads")
        expected: Shapes = {f"{name}.bias": (d,) for name in (*_NORMS, *_BIASED)}
        expected |= {f"{name}.weight": (d,) for name in _NORMS}
        expected |= {f"{name}.weight": (d, d) for name in (*_BIASED, "key")}
        if "positions" in self.tensors:
            expected["positions"] = (max(2, len(self.tensors["positions"])), d)
        _check(self.tensors, expected)

    @classmethod
    def identity(cls, dimension: int, heads: int = 1, positions: int = 0) -> MultiHeadPool:
        """Before training: see the class. `positions`: rows of the positional table, 0: none."""
        tensors: dict[str, np.ndarray] = {}
        for name in (*_NORMS, *_BIASED):
            tensors[f"{name}.bias"] = np.zeros(dimension, np.float32)
        for name in _NORMS:
            tensors[f"{name}.weight"] = np.ones(dimension, np.float32)
        for name in (*_BIASED, "key"):
            tensors[f"{name}.weight"] = np.eye(dimension, dtype=np.float32)
        if positions:
            tensors["positions"] = np.zeros((positions, dimension), np.float32)
        return cls(tensors, heads)

    @property
    def dimension(self) -> int:
        return int(self.tensors["key.weight"].shape[1])

    def __call__(self, queries: Queries, frames: Frames, mask: Mask) -> Pooled:
        frames = without_padding(frames, mask)
        (c, n), q, d, h = mask.shape, len(queries), self.dimension, self.heads
        keys = self._absorbed_keys(queries)  # (q h, d)
        flat = frames.reshape(-1, d)
        mean, scale = _moments(flat)  # (c n,), of LN1
        gained = keys * self.tensors["norm_in.weight"]
        gained -= gained.mean(1, keepdims=True)
        logits = np.matmul(flat, gained.T)  # (c n, q h)
        logits *= scale[:, None]
        logits = logits.reshape(c, n, q * h).transpose(2, 0, 1)  # (q h, c, n)
        table = self.tensors.get("positions")
        where = None if table is None else places(mask, len(table))  # (c, n, m)
        if table is not None and where is not None:
            logits += np.matmul(where, table @ keys.T).transpose(2, 0, 1)
        weights = masked_softmax(logits, mask)  # (q h, c, n)

        scaled = weights * scale.reshape(c, n)
        pooled = np.matmul(scaled.transpose(1, 0, 2), frames)  # (c, q h, d)
        pooled -= (scaled * mean.reshape(c, n)).sum(2).T[:, :, None]
        pooled *= self.tensors["norm_in.weight"]
        pooled += self.tensors["norm_in.bias"]
        if table is not None and where is not None:
            pooled += np.matmul(np.matmul(weights.transpose(1, 0, 2), where), table)
        vectors = self._projected(pooled.reshape(c, q, h, d))
        return vectors, weights.reshape(q, h, c, n).mean(1)

    def _absorbed_keys(self, queries: Queries) -> Float32[np.ndarray, "qh d"]:
        """`K_h' Q_h LN1(q) / sqrt(e)` of each query and head: (q h, d)."""
        q, d, h = len(queries), self.dimension, self.heads
        projected = self._linear("query", self._norm("norm_in", queries)).reshape(q, h, d // h)
        by_head = self.tensors["key.weight"].reshape(h, d // h, d)
        keys = np.matmul(projected.transpose(1, 0, 2), by_head).transpose(1, 0, 2)  # (q, h, d)
        return np.asarray(keys.reshape(q * h, d) / np.float32(math.sqrt(d // h)))

    def _projected(self, pooled: Float32[np.ndarray, "c q h d"]) -> Float32[np.ndarray, "q c d"]:
        """From each head's weighted mean of normalised frames to the unit vector."""
        c, q, h, d = pooled.shape
        by_head = self.tensors["value.weight"].reshape(h, d // h, d).transpose(0, 2, 1)  # (h, d, e)
        values = np.matmul(pooled.transpose(2, 1, 0, 3).reshape(h, q * c, d), by_head)  # (h, qc, e)
        joined = values.transpose(1, 0, 2).reshape(q * c, d) + self.tensors["value.bias"]
        attended = self._norm("norm_attended", self._linear("out", joined))
        out = self._norm("norm_out", attended + self._linear("feed", attended))
        return _unit(out).reshape(q, c, d)

    def _linear(self, name: str, rows: Float32[np.ndarray, "r d"]) -> Float32[np.ndarray, "r d"]:
        return np.asarray(rows @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"])

    def _norm(self, name: str, rows: Float32[np.ndarray, "r d"]) -> Float32[np.ndarray, "r d"]:
        mean, scale = _moments(rows)
        normal = (rows - mean[:, None]) * scale[:, None]
        return np.asarray(normal * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"])


LearnedPool = AdditivePool | DotProductPool | MultiHeadPool
LEARNED_POOLERS: Mapping[str, type[LearnedPool]] = {
    pool.kind: pool for pool in (AdditivePool, DotProductPool, MultiHeadPool)
}

_NORMS = ("norm_in", "norm_attended", "norm_out")
_BIASED = ("query", "value", "out", "feed")


def places(mask: Bool[np.ndarray, "c n"], rows: int) -> Float32[np.ndarray, "c n {rows}"]:
    """How much of each row of a positional table each frame takes: (c, n, m), rows sum to 1.

    The first frame of a clip takes the first row, the last frame the last, those between the two
    nearest rows in proportion; a single frame takes the first. Padding takes none.
    """
    rank = np.cumsum(mask, axis=1) - 1  # (c, n) among the frames that exist
    last = np.maximum(mask.sum(1, keepdims=True) - 1, 1)
    place = rank / last * (rows - 1)
    share = np.maximum(0, 1 - np.abs(place[:, :, None] - np.arange(rows)))  # (c, n, m)
    return np.asarray(share * mask[:, :, None], dtype=np.float32)


def _pooled(weights: Float32[np.ndarray, "q c n"], frames: Frames) -> Float32[np.ndarray, "q c d"]:
    vectors = np.matmul(weights.transpose(1, 0, 2), frames)  # (c, q, d)
    return _unit(vectors).transpose(1, 0, 2)


def _unit(vectors: Float32[np.ndarray, "*rows d"]) -> Float32[np.ndarray, "*rows d"]:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, np.finfo(np.float32).tiny))


def _moments(
    rows: Float32[np.ndarray, "r d"],
) -> tuple[Float32[np.ndarray, "r"], Float32[np.ndarray, "r"]]:
    """Mean of each row's coordinates and 1 over their standard deviation."""
    d = rows.shape[1]
    mean = rows @ np.full(d, 1 / d, np.float32)
    square = np.vecdot(rows, rows) / np.float32(d)
    variance = np.maximum(square - mean * mean, 0)
    return mean, 1 / np.sqrt(variance + np.float32(EPSILON))


def _glorot(rng: np.random.Generator, rows: int, columns: int) -> Float32[np.ndarray, "r d"]:
    bound = math.sqrt(6 / (rows + columns))
    return rng.uniform(-bound, bound, (rows, columns)).astype(np.float32)


def _matrix(tensors: Tensors, name: str) -> tuple[int, int]:
    shape = tensors[name].shape if name in tensors else ()
    if len(shape) != 2:
        raise ValueError(f"tensor {name!r} must be a matrix, got shape {shape}")
    return int(shape[0]), int(shape[1])


def _check(tensors: Tensors, expected: Shapes) -> None:
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = sorted(set(found.items()) ^ set(expected.items()))
    if wrong:
        names = ", ".join(sorted({name for name, _ in wrong}))
        raise ValueError(f"tensors are absent, unknown or of another shape: {names}")
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ValueError("tensors hold values that are no numbers")
