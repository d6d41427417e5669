"""Regions of open_clip's picture towers in torch; imported only to convert them.

The patches of a vision transformer and the positions of a ResNet's last map are carried into the
space of texts by what carries the pooled feature there. As the last attention mixes all of a
picture into every patch, it is left out in the way of MaskCLIP (Zhou, Loy and Dai, "Extract Free
Dense Labels from CLIP", 2022): in the last block each patch attends to itself alone, and an
attention pool sees one position at a time.

Axes: n frames, s side of the picture, r rows and c columns of regions, p = r * c, d dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vidsift.errors import EncoderError
from vidsift.models.open_clip_network import FrameNetwork

__all__ = ["RegionNetwork"]

Regions = Float[Tensor, "n r c d"]


class RegionNetwork(nn.Module):
    """Square pictures as bytes to the features of their regions."""

    def __init__(self, frames: FrameNetwork, name: str) -> None:
        """
        Raises:
            EncoderError: the tower of the encoder `name` has no regions that are known here.
        """
        super().__init__()
        self.frames = frames
        self._regions = _way_of(frames.model.visual, name)

    def forward(self, images: UInt8[Tensor, "n s s 3"]) -> Regions:
        return self._regions(self.frames.model.visual, self.frames.pixels(images))


def _way_of(visual: Any, name: str) -> Callable[[Any, Tensor], Regions]:
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    if isinstance(visual, VisionTransformer) and visual.attn_pool is None:
        return _of_transformer
    if isinstance(visual, ModifiedResNet):
        return _of_resnet
    if isinstance(visual, TimmModel):
        return _of_timm
    raise EncoderError(
        f"{name}: this encoder has no regions ({type(visual).__name__}); "
        "the curve over time explains its results, a map over the frame cannot"
    )


def _of_transformer(visual: Any, pixels: Float[Tensor, "n 3 s s"]) -> Regions:
    tokens = visual._embeds(pixels)  # (n, 1 + p, w)
    *blocks, last = visual.transformer.resblocks
    if not visual.transformer.batch_first:
        tokens = tokens.transpose(0, 1)
    for block in blocks:
        tokens = block(tokens)
    if not visual.transformer.batch_first:
        tokens = tokens.transpose(0, 1)
    # Each patch as a sequence of its own: it attends to itself.
    n, p = tokens.shape[0], tokens.shape[1] - 1
    alone = tokens[:, 1:].reshape(n * p, 1, -1)
    if not visual.transformer.batch_first:
        alone = alone.transpose(0, 1)
    patches = visual.ln_post(last(alone).reshape(n, p, -1))  # (n, p, w)
    return _square(patches if visual.proj is None else torch.matmul(patches, visual.proj))


def _of_resnet(visual: Any, pixels: Float[Tensor, "n 3 s s"]) -> Regions:
    maps = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(pixels)))))
    pool = visual.attnpool
    regions: Regions = pool.c_proj(pool.v_proj(maps.permute(0, 2, 3, 1)))
    return regions


def _of_timm(visual: Any, pixels: Float[Tensor, "n 3 s s"]) -> Regions:
    trunk = visual.trunk
    features = trunk.forward_features(pixels)  # (n, f, r, c), or (n, prefix + p, f)
    n = features.shape[0]
    if features.ndim == 4:
        if getattr(trunk, "output_fmt", "NCHW") == "NHWC":
            features = features.permute(0, 3, 1, 2)
        f, r, c = features.shape[1:]
        alone = features.permute(0, 2, 3, 1).reshape(n * r * c, f, 1, 1)
        regions: Regions = visual.head(trunk.forward_head(alone)).reshape(n, r, c, -1)
        return regions
    prefix = trunk.num_prefix_tokens
    patches = features[:, prefix:]
    alone = patches.reshape(-1, 1, patches.shape[2])
    trunk.num_prefix_tokens = 0  # the head is given a patch and no prefix
    try:
        pooled = visual.head(trunk.forward_head(alone))
    finally:
        trunk.num_prefix_tokens = prefix
    return _square(pooled.reshape(n, patches.shape[1], -1))


def _square(patches: Float[Tensor, "n p d"]) -> Regions:
    n, p, d = patches.shape
    side = math.isqrt(p)
    return patches.reshape(n, side, side, d)
