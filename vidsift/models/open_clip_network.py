"""The two towers of an open_clip model in torch; imported only to convert them or to run on CUDA.

Axes: n frames, s side of the picture, q texts, t tokens, d dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from vidsift.models.open_clip_encoder import Source, without_downloads
from vidsift.models.runtime import packages_of

__all__ = ["FrameNetwork", "TextNetwork", "build_networks"]


class FrameNetwork(nn.Module):
    """Square pictures as bytes to image features; `preprocess` is open_clip's configuration."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.preprocess: dict[str, Any] = dict(model.visual.preprocess_cfg)
        for name in ("mean", "std"):
            values = torch.tensor(self.preprocess[name], dtype=torch.float32) * 255
            self.register_buffer(name, values.reshape(-1, 1, 1).expand(3, 1, 1).clone())

    def forward(self, images: UInt8[Tensor, "n s s 3"]) -> Float[Tensor, "n d"]:
        features: Tensor = self.model.encode_image(self.pixels(images))
        return features

    def pixels(self, images: UInt8[Tensor, "n s s 3"]) -> Float[Tensor, "n 3 s s"]:
        """What the model takes."""
        return (images.permute(0, 3, 1, 2).float() - self.mean) / self.std


class TextNetwork(nn.Module):
    """Tokens to text features; `example` is a batch of real tokens to trace with."""

    def __init__(self, model: Any, example: Int64[Tensor, "q t"]) -> None:
        super().__init__()
        self.model = model
        self.example = example

    def forward(self, tokens: Int64[Tensor, "q t"]) -> Float[Tensor, "q d"]:
        features: Tensor = self.model.encode_text(tokens)
        return features


def build_networks(source: Source, fetch: bool) -> tuple[FrameNetwork, TextNetwork, int]:
    """Load the model as open_clip does; also the dimension of its features.

    Raises:
        EncoderError: the checkpoint is not one of this model, or holds more than tensors.
    """
    with packages_of(source.name):
        import open_clip
    with without_downloads(source, fetch):
        model = open_clip.create_model(
            source.model,
            pretrained=None if source.is_folder else str(source.checkpoint),
            force_preprocess_cfg=source.preprocess,
            weights_only=True,
        )
        example = open_clip.get_tokenizer(source.model)(["a cat", "a dog on the grass"])
    model.eval()
    with torch.inference_mode():
        dimension = model.encode_text(example).shape[1]
    return FrameNetwork(model).eval(), TextNetwork(model, example).eval(), dimension
