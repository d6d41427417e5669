"""The learned saliency in torch, for training: the formulas of `saliency_attention`, literally.

Axes: n frames, d dimensions of the features, e of the network.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vidsift.models.saliency_attention import EPSILON, SaliencyModel, sinusoids

__all__ = ["SaliencyNetwork", "model_of"]


class SaliencyNetwork(nn.Module):
    """See `SaliencyModel`; dropout acts on the fused frames and in the regressor, as in PGL-SUM."""

    def __init__(
        self, dimension: int, width: int, heads: int, window: int, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.input = nn.Linear(dimension, width)
        self.norm_in = nn.LayerNorm(width, EPSILON)
        self.everywhere = _SelfAttention(width, heads)
        self.nearby = _SelfAttention(width, heads)
        self.norm_fused = nn.LayerNorm(width, EPSILON)
        self.hidden = nn.Linear(width, width)
        self.norm_hidden = nn.LayerNorm(width, EPSILON)
        self.score = nn.Linear(width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, features: Float[Tensor, "n d"], pts_seconds: Float[Tensor, "n"]
    ) -> Float[Tensor, "n"]:
        """The logit of each frame's importance, whose sigmoid is the score."""
        z = self.norm_in(self.input(F.normalize(features, dim=1)))
        places = sinusoids(pts_seconds.double().cpu().numpy(), z.shape[1])
        z = z + torch.from_numpy(places).to(z.device)
        nearby = torch.cat([self.nearby(window) for window in z.split(self.window)])
        y = self.dropout(self.norm_fused(z + self.everywhere(z) + nearby))
        hidden = self.norm_hidden(self.dropout(F.relu(self.hidden(y))))
        return torch.as_tensor(self.score(hidden)[:, 0])


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        # Frames begin by attending to what they resemble; from random weights they would have to
        # find that out first, and few annotated videos tell them.
        for projection in (self.query, self.key, self.value, self.out):
            nn.init.eye_(projection.weight)

    def forward(self, z: Float[Tensor, "n e"]) -> Float[Tensor, "n e"]:
        query, key, value = (
            projection(z).unflatten(1, (self.heads, -1)).transpose(0, 1)  # (h, n, k)
            for projection in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        return torch.as_tensor(self.out(attended.transpose(0, 1).flatten(1)))


def model_of(network: SaliencyNetwork) -> SaliencyModel:
    """The NumPy model that computes what `network` does in evaluation mode."""
    tensors = {
        name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()
    }
    return SaliencyModel(tensors, network.heads, network.window)
