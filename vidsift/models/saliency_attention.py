"""A trained saliency: how important each frame is, from self-attention over a video's frames.

NumPy alone, so that a summary needs no torch; `vidsift.models.saliency_network` is the same in
torch, for training. The form is PGL-SUM's (Apostolidis, Balaouras, Mezaris and Patras, "Combining
Global and Local Attention with Positional Encoding for Video Summarization", ISM 2021):

    z = LN(W x / |x|) + p(t)        frames in fewer dimensions, with sinusoids of their time
    g = attention over all frames;  l = attention over the frames of the same window
    y = LN(z + g + l)               fusion by addition, with the residual connection
    s = sigmoid(v . LN(relu(H y)))  the regressor

Where this departs from the paper: windows have a fixed number of frames and share their weights
(the paper cuts every video into four), so that "local" means the same in a film of any length; time
enters as seconds (the paper encodes places of frames in the logits), so that rates may differ; and
frames are brought to fewer dimensions first.

Axes: n frames, d dimensions of the features, e of the network, h heads, b queries of a block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

__all__ = ["EPSILON", "SaliencyModel", "sinusoids", "unit_rows"]

EPSILON = 1e-5  # of LayerNorm
_BLOCK_BYTES = 64 * 2**20  # of attention logits at once
_LONGEST_WAVE = 10_000.0  # of the sinusoids, over 2 pi, in seconds

Rows = Float32[np.ndarray, "n e"]


@dataclass(frozen=True, eq=False)
class SaliencyModel:
    """See the module. `heads` divide the network's dimensions; `window` is in frames.

    Tensors: `input` (`.weight`: (e, d), `.bias`: (e,)); for each NAME of `query`, `key`, `value`
    and `out`, `everywhere.NAME.weight` and `nearby.NAME.weight` (e, e); `hidden` (`.weight`:
    (e, e), `.bias`: (e,)); `score` (`.weight`: (1, e), `.bias`: (1,)); `norm_in`, `norm_fused` and
    `norm_hidden` (`.weight`, `.bias`: (e,)).
    """

    tensors: Mapping[str, np.ndarray]
    heads: int
    window: int

    def __post_init__(self) -> None:
        shape = self.tensors["input.weight"].shape if "input.weight" in self.tensors else ()
        if len(shape) != 2:
            raise ValueError(f"tensor 'input.weight' must be a matrix, got shape {shape}")
        e, d = shape
        if self.heads < 1 or e % self.heads or e % 2 or self.window < 1:
            raise ValueError(
                f"{e} dimensions with {self.heads} heads and windows of {self.window} frames"
            )
        expected: dict[str, tuple[int, ...]] = {
            "input.weight": (e, d),
            "input.bias": (e,),
            "hidden.weight": (e, e),
            "hidden.bias": (e,),
            "score.weight": (1, e),
            "score.bias": (1,),
        }
        for norm in ("norm_in", "norm_fused", "norm_hidden"):
            expected |= {f"{norm}.weight": (e,), f"{norm}.bias": (e,)}
        for level in ("everywhere", "nearby"):
            for name in ("query", "key", "value", "out"):
                expected[f"{level}.{name}.weight"] = (e, e)
        found = {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}
        wrong = sorted({name for name, _ in set(found.items()) ^ set(expected.items())})
        if wrong:
            raise ValueError(f"tensors are absent, unknown or of another shape: {', '.join(wrong)}")
        if not all(np.isfinite(tensor).all() for tensor in self.tensors.values()):
            raise ValueError("tensors hold values that are no numbers")

    @property
    def dimension(self) -> int:
        """Dimensions d of the features that it takes."""
        return int(self.tensors["input.weight"].shape[1])

    def scores(
        self, features: Float[np.ndarray, "n d"], pts_seconds: Float64[np.ndarray, "n"]
    ) -> Float32[np.ndarray, "n"]:
        """How important each frame is, in [0, 1], from the features of a whole video in order.

        O(n^2 e) time; memory for all pairs of frames is never taken, only for blocks of them.
        """
        unit = unit_rows(np.asarray(features, dtype=np.float32))
        width = len(self.tensors["input.bias"])
        z = self._norm("norm_in", self._linear("input", unit)) + sinusoids(pts_seconds, width)
        fused = z + self._attention("everywhere", z)
        for start in range(0, len(z), self.window):
            window = slice(start, start + self.window)
            fused[window] += self._attention("nearby", z[window])
        y = self._norm("norm_fused", fused)
        hidden = self._norm("norm_hidden", np.maximum(self._linear("hidden", y), 0))
        logit = self._linear("score", hidden)[:, 0]
        return np.asarray(np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * logit)))

    def _attention(self, level: str, z: Rows) -> Rows:
        """Multi-head self-attention of the rows (Vaswani et al. 2017), by blocks of queries."""
        n, e = z.shape
        size = e // self.heads
        query, key, value = (
            self._by_head(z @ self.tensors[f"{level}.{name}.weight"].T)
            for name in ("query", "key", "value")
        )
        query = query * np.float32(1 / math.sqrt(size))
        attended = np.empty((n, self.heads, size), np.float32)
        block = max(1, _BLOCK_BYTES // (4 * max(n, 1)))
        for head in range(self.heads):
            for start in range(0, n, block):
                rows = slice(start, start + block)
                weights = query[head, rows] @ key[head].T  # (b, n) softmax over n, not yet divided
                weights -= weights.max(axis=1, keepdims=True)
                np.exp(weights, out=weights)
                total = weights.sum(axis=1, keepdims=True)
                attended[rows, head] = (weights @ value[head]) / total
        return np.asarray(attended.reshape(n, e) @ self.tensors[f"{level}.out.weight"].T)

    def _by_head(self, rows: Rows) -> Float32[np.ndarray, "h n k"]:
        n, e = rows.shape
        by_head = rows.reshape(n, self.heads, e // self.heads).transpose(1, 0, 2)
        return np.ascontiguousarray(by_head)

    def _linear(self, name: str, rows: Float32[np.ndarray, "n i"]) -> Float32[np.ndarray, "n o"]:
        return np.asarray(rows @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"])

    def _norm(self, name: str, rows: Rows) -> Rows:
        centred = rows - rows.mean(axis=1, keepdims=True)
        variance = np.mean(centred * centred, axis=1, keepdims=True)
        normal = centred / np.sqrt(variance + np.float32(EPSILON))
        return np.asarray(normal * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"])


def sinusoids(
    pts_seconds: Float64[np.ndarray, "n"], width: int
) -> Float32[np.ndarray, "n {width}"]:
    """The positional encoding of Vaswani et al. (2017), of seconds: sines, then cosines."""
    rates = _LONGEST_WAVE ** (-np.arange(width // 2) / (width // 2))
    angles = pts_seconds[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def unit_rows(features: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """The rows at unit length; a row of zeros stays."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(norms, np.finfo(np.float32).tiny))
