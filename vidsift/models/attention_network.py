"""The learned poolers in torch, for training: the formulas of `learned_attention`, taken literally.

Each takes and returns what `vidsift.models.attention.Pooler` says, as tensors: queries (q, d),
frames (c, n, d) and a mask (c, n) to unit vectors (q, c, d) and weights (q, c, n).
A network is made from a NumPy pool and gives one back, so that there is one definition of how a
pooler starts and of what its tensors are called.

Axes: q queries, c clips, n frames of a clip, d dimensions, h heads, e = d / h, a hidden units,
m rows of the positional table.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from vidsift.models.learned_attention import (
    EPSILON,
    AdditivePool,
    DotProductPool,
    LearnedPool,
    MultiHeadPool,
)

__all__ = [
    "AdditiveNetwork",
    "DotProductNetwork",
    "MultiHeadNetwork",
    "PoolerNetwork",
    "network_of",
    "pool_of",
]


class AdditiveNetwork(nn.Module):
    """See `AdditivePool`."""

    def __init__(self, dimension: int, hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(dimension, hidden, bias=False)
        self.key = nn.Linear(dimension, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(
        self,
        queries: Float[Tensor, "q d"],
        frames: Float[Tensor, "c n d"],
        mask: Bool[Tensor, "c n"],
    ) -> tuple[Float[Tensor, "q c d"], Float[Tensor, "q c n"]]:
        frames = _without_padding(frames, mask)
        hidden = self.query(queries)[:, None, None] + self.key(frames)  # (q, c, n, a)
        logits = self.score(torch.tanh(hidden)).squeeze(-1)  # (q, c, n)
        return _weighted(logits, frames, mask)


class DotProductNetwork(nn.Module):
    """See `DotProductPool`."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.key = nn.Linear(dimension, dimension, bias=False)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(
        self,
        queries: Float[Tensor, "q d"],
        frames: Float[Tensor, "c n d"],
        mask: Bool[Tensor, "c n"],
    ) -> tuple[Float[Tensor, "q c d"], Float[Tensor, "q c n"]]:
        frames = _without_padding(frames, mask)
        logits = torch.einsum("qd,cnd->qcn", queries, self.key(frames)) * self.log_scale.exp()
        return _weighted(logits, frames, mask)


class MultiHeadNetwork(nn.Module):
    """See `MultiHeadPool`; dropout acts on the feed-forward layer, as in X-Pool."""

    def __init__(
        self, dimension: int, heads: int, positions: int = 0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads = heads
        self.norm_in = nn.LayerNorm(dimension, EPSILON)
        self.query = nn.Linear(dimension, dimension)
        self.key = nn.Linear(dimension, dimension, bias=False)
        self.value = nn.Linear(dimension, dimension)
        self.out = nn.Linear(dimension, dimension)
        self.norm_attended = nn.LayerNorm(dimension, EPSILON)
        self.feed = nn.Linear(dimension, dimension)
        self.dropout = nn.Dropout(dropout)
        self.norm_out = nn.LayerNorm(dimension, EPSILON)
        self.positions = nn.Parameter(torch.zeros(positions, dimension)) if positions else None

    def forward(
        self,
        queries: Float[Tensor, "q d"],
        frames: Float[Tensor, "c n d"],
        mask: Bool[Tensor, "c n"],
    ) -> tuple[Float[Tensor, "q c d"], Float[Tensor, "q c n"]]:
        frames = _without_padding(frames, mask)
        inputs = self.norm_in(frames)  # (c, n, d)
        if self.positions is not None:
            inputs = inputs + _places(mask, len(self.positions)) @ self.positions
        query = self.query(self.norm_in(queries)).unflatten(-1, (self.heads, -1))  # (q, h, e)
        key = self.key(inputs).unflatten(-1, (self.heads, -1))  # (c, n, h, e)
        value = self.value(inputs).unflatten(-1, (self.heads, -1))  # (c, n, h, e)
        logits = torch.einsum("qhe,cnhe->qchn", query, key) / math.sqrt(query.shape[-1])
        weights = logits.masked_fill(~mask[None, :, None], -torch.inf).softmax(-1)  # over n
        joined = torch.einsum("qchn,cnhe->qche", weights, value).flatten(2)  # (q, c, d)
        attended = self.norm_attended(self.out(joined))
        pooled = self.norm_out(attended + self.dropout(self.feed(attended)))
        return F.normalize(pooled, dim=-1), weights.mean(2)


PoolerNetwork = AdditiveNetwork | DotProductNetwork | MultiHeadNetwork


def network_of(pool: LearnedPool, dropout: float = 0.0) -> PoolerNetwork:
    """The network that computes what `pool` does. `dropout` is that of multi-head attention."""
    network: PoolerNetwork
    # On no device: what torch would start with is not computed, nor random numbers drawn for it.
    with torch.device("meta"):
        if isinstance(pool, MultiHeadPool):
            rows = len(pool.tensors.get("positions", ()))
            network = MultiHeadNetwork(pool.dimension, pool.heads, rows, dropout)
        elif isinstance(pool, AdditivePool):
            network = AdditiveNetwork(pool.dimension, len(pool.tensors["key.weight"]))
        else:
            network = DotProductNetwork(pool.dimension)
    tensors = {name: torch.tensor(np.asarray(tensor)) for name, tensor in pool.tensors.items()}
    network.load_state_dict(tensors, assign=True)
    return network


def pool_of(network: PoolerNetwork) -> LearnedPool:
    """The NumPy pool that computes what `network` does in evaluation mode."""
    tensors = {
        name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()
    }
    if isinstance(network, MultiHeadNetwork):
        return MultiHeadPool(tensors, network.heads)
    if isinstance(network, AdditiveNetwork):
        return AdditivePool(tensors)
    return DotProductPool(tensors)


def _without_padding(
    frames: Float[Tensor, "c n d"], mask: Bool[Tensor, "c n"]
) -> Float[Tensor, "c n d"]:
    return frames.masked_fill(~mask[:, :, None], 0.0)


def _weighted(
    logits: Float[Tensor, "q c n"], frames: Float[Tensor, "c n d"], mask: Bool[Tensor, "c n"]
) -> tuple[Float[Tensor, "q c d"], Float[Tensor, "q c n"]]:
    weights = logits.masked_fill(~mask, -torch.inf).softmax(-1)
    return F.normalize(torch.einsum("qcn,cnd->qcd", weights, frames), dim=-1), weights


def _places(mask: Bool[Tensor, "c n"], rows: int) -> Float[Tensor, "c n m"]:
    """See `learned_attention.places`."""
    rank = mask.cumsum(1) - 1
    last = (mask.sum(1, keepdim=True) - 1).clamp(min=1)
    place = rank / last * (rows - 1)  # (c, n)
    share = (1 - (place[:, :, None] - torch.arange(rows, device=mask.device)).abs()).clamp(min=0)
    return share * mask[:, :, None]
