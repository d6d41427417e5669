"""Regions of the built-in encoder in torch; imported only to convert them.

The classifier ends in the mean over the positions of its last map and a linear layer, and so its
logits are a sum over the positions, exactly: `z = b + sum_p z_p` with `z_p = W f_p / (r c)`. This
is class activation mapping (Zhou et al., "Learning Deep Features for Discriminative Localization",
2016).

A region's feature is what the network would say of a picture that showed this region alone: that
of the logits `b + W f_p`.

The frame's cosine with a question, s(z), is not linear in the logits. The share of a position is
its integrated gradient (Sundararajan et al., "Axiomatic Attribution for Deep Networks", 2017) along
the straight way from no evidence, b, to the frame's logits z:
`h_p = z_p . integral of ds/dz(b + t (z - b)) dt, t from 0 to 1`.
The shares add up to `s(z) - s(b)`: nothing of the score is left over. The gradient at the frame
alone would not do: where the classifier is sure of itself it is nearly 0. (Without a projection, of
two photographs side by side, it pointed to the right one for 88 % of 160 captions, the integral for
94 %; chance 50 %. `benchmarks/regions.py` measures the integral.)

Axes: n frames, s side of the picture, r rows and c columns of regions, k classes, d dimensions,
t steps of the integral, m = 1 + r * c.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vidsift.models.builtin_network import FrameNetwork

__all__ = ["HeatNetwork", "RegionNetwork"]

_STEPS = 48


class RegionNetwork(nn.Module):
    """Pictures to the features of the positions of the last map."""

    def __init__(self, frames: FrameNetwork) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, images: UInt8[Tensor, "n s s 3"]) -> Float[Tensor, "n r c d"]:
        classifier: Any = self.frames.classifier
        maps = classifier.forward_features(self.frames.pixels(images))  # (n, f, r, c)
        logits = classifier.classifier(maps.permute(0, 2, 3, 1))  # (n, r, c, k)
        return self.frames.embed(logits)


class HeatNetwork(nn.Module):
    """Pictures and unit-length queries to the baseline s(b) and the share of each position."""

    times: Tensor
    portions: Tensor

    def __init__(self, frames: FrameNetwork) -> None:
        super().__init__()
        self.frames = frames
        # Gauss and Legendre's quadrature: the curve is smooth, though steep at its beginning.
        points, portions = np.polynomial.legendre.leggauss(_STEPS)
        self.register_buffer("times", torch.tensor((points + 1) / 2, dtype=torch.float32))
        self.register_buffer("portions", torch.tensor(portions / 2, dtype=torch.float32))

    def forward(
        self, images: UInt8[Tensor, "n s s 3"], queries: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n m"]:
        classifier: Any = self.frames.classifier
        maps = classifier.forward_features(self.frames.pixels(images))  # (n, f, r, c)
        linear = classifier.classifier
        evidence = torch.matmul(maps.mean((2, 3)), linear.weight.T)  # (n, k) is z - b
        path = linear.bias + self.times[:, None, None] * evidence  # (t, n, k)
        slope = (self.portions[:, None, None] * self.gradient(path, queries)).sum(0)  # (n, k)
        # (n, f) . (n, f, r, c): the question's own class activation map
        share = (torch.matmul(slope, linear.weight)[:, :, None, None] * maps).sum(1)
        share = share / (share.shape[1] * share.shape[2])  # (n, r, c)
        embedded = nn.functional.normalize(self.frames.embed(linear.bias), dim=-1)  # (d)
        baseline = torch.matmul(queries, embedded)  # (n)
        return torch.cat([baseline[:, None], share.flatten(1)], 1)

    def gradient(
        self, logits: Float[Tensor, "t n k"], queries: Float[Tensor, "n d"]
    ) -> Float[Tensor, "t n k"]:
        """Of the cosine with the query by the logits, in closed form, so that it can be traced."""
        frames = self.frames
        probabilities = frames.probabilities(logits)
        conse = torch.matmul(probabilities, frames.classes)  # (t, n, d)
        by_vector = _by_unnormalised(queries, frames.embed(logits))
        by_conse = _by_unnormalised(by_vector, conse) if frames.is_projected else by_vector
        # Times the probabilities, which the softmax asks for: their roots divide by 0 else.
        by_class = probabilities * torch.matmul(by_conse, frames.classes.T)  # (t, n, k)
        if frames.is_projected:
            roots = probabilities.sqrt()
            by_input = torch.matmul(torch.matmul(by_vector, frames.right.T), frames.left.T)
            by_class = by_class + _by_unnormalised(by_input, roots - frames.centre) * roots / 2
        total = by_class.sum(-1, keepdim=True)
        return (by_class - probabilities * total) / frames.temperature


def _by_unnormalised(
    by_unit: Float[Tensor, "*#axes d"], vector: Float[Tensor, "*axes d"]
) -> Float[Tensor, "*axes d"]:
    """The gradient by a vector, from that by the same vector at unit length."""
    length = vector.norm(dim=-1, keepdim=True)
    unit = vector / length
    tangent: Tensor = (by_unit - (by_unit * unit).sum(-1, keepdim=True) * unit) / length
    return tangent
