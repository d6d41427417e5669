"""Training a saliency on frame features and what people found important: early stopping, resume.

Knows arrays alone; `summarizer.training` makes them of annotated videos. The loss is PGL-SUM's: the
mean squared error of the frames' importance.

Axes: n frames of a film, d dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import nn
from torch.nn import functional as F

from vidsift.errors import SaliencyModelError
from vidsift.models.epochs import Epochs, seeded
from vidsift.models.memory import Batches
from vidsift.models.runtime import pick_device
from vidsift.models.saliency_attention import SaliencyModel
from vidsift.models.saliency_network import SaliencyNetwork, model_of

__all__ = ["Epoch", "Film", "Recipe", "fit"]

_CLIP_NORM = 5.0  # of gradients, as in PGL-SUM
# Seconds by which a film begins later, another time each epoch: else few films are soon known by
# heart, each frame by its time.
_MOST_SHIFT = 600.0


@dataclass(frozen=True, eq=False)
class Film:
    """A video's frames in order, and how important people found each, in [0, 1]."""

    features: Float32[np.ndarray, "n d"]
    pts_seconds: Float64[np.ndarray, "n"]
    importance: Float32[np.ndarray, "n"]


@dataclass(frozen=True)
class Recipe:
    """All that decides what training yields, but for the films.

    `width` is the network's dimension, divided among `heads`; `window` the frames of local
    attention. `batch_size` films make one step. `patience`: epochs without a better validation
    before training ends.
    """

    width: int = 128
    heads: int = 4
    window: int = 64
    dropout: float = 0.3
    epochs: int = 100
    batch_size: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    patience: int = 15
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        counts = (self.epochs, self.patience, self.heads, self.window, self.batch_size, self.width)
        if min(counts) < 1:
            raise SaliencyModelError(
                "epochs, patience, heads, window, width and batch size are at least 1"
            )
        if self.width % self.heads or self.width % 2:
            raise SaliencyModelError(
                f"--heads {self.heads}: {self.width} dimensions cannot be divided among them"
            )
        if not self.learning_rate > 0:
            raise SaliencyModelError(
                f"--learning-rate {self.learning_rate:g}: must be greater than 0"
            )


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; number 0 is the network before training, without a loss.

    `quality` is what the validation says, `best` that no epoch so far was better, and `model` is
    then the saliency.
    """

    number: int
    loss: float | None
    quality: float
    best: bool
    model: SaliencyModel | None


def fit(
    films: Sequence[Film],
    validate: Callable[[SaliencyModel], float],
    recipe: Recipe,
    *,
    state: Path | None = None,
    resume: bool = False,
    on_step: Callable[[int, int, int], None] = lambda epoch, step, steps: None,
) -> Iterator[Epoch]:
    """Train; yields the network before training, then each epoch, until `validate` stops it.

    Greater is better. After each epoch, once the caller asks for the next, all that going on needs
    is written to `state`; `resume` goes on from there and yields only what was not yielded. Each
    epoch draws from generators of its own, so that a run that was cut off ends as one that was
    not. The file is removed at the end.

    Raises:
        SaliencyModelError: the state cannot be read or written, or is of other films or another
            recipe.
    """
    yield from _Training(films, validate, recipe).run(state, resume, on_step)


class _Training:
    def __init__(
        self,
        films: Sequence[Film],
        validate: Callable[[SaliencyModel], float],
        recipe: Recipe,
    ) -> None:
        self._films = films
        self._validate = validate
        self._recipe = recipe
        self._device = torch.device(pick_device(recipe.device))
        with seeded(self._device, recipe.seed, 0):
            self._network = SaliencyNetwork(
                films[0].features.shape[1],
                recipe.width,
                recipe.heads,
                recipe.window,
                recipe.dropout,
            ).to(self._device)
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        # Films go through one at a time: there is nothing to halve, only something to say.
        remedy = "train on the CPU, or without the longest video"
        self._room = Batches("training", SaliencyModelError, remedy=remedy)

    def run(
        self, state: Path | None, resume: bool, on_step: Callable[[int, int, int], None]
    ) -> Iterator[Epoch]:
        model: SaliencyModel | None = None

        def validate() -> tuple[float]:
            nonlocal model
            self._network.eval()
            model = model_of(self._network)
            return (self._validate(model),)

        epochs = Epochs(
            self._network,
            self._optimizer,
            most=self._recipe.epochs,
            patience=self._recipe.patience,
            state=state,
            fingerprint=self._fingerprint(),
            inputs="videos",
            error=SaliencyModelError,
        )
        train = partial(self._train_epoch, on_step)
        for number, loss, (quality,), best in epochs.run(resume, train, validate):
            yield Epoch(number, loss, quality, best, model if best else None)

    def _train_epoch(self, on_step: Callable[[int, int, int], None], number: int) -> float:
        size = self._recipe.batch_size
        rng = np.random.default_rng([self._recipe.seed, number])
        order = rng.permutation(len(self._films))
        shifts = rng.uniform(0, _MOST_SHIFT, len(self._films))
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        total = 0.0
        self._network.train()
        with seeded(self._device, self._recipe.seed, number):
            for step, batch in enumerate(batches):
                self._optimizer.zero_grad()
                for film in batch:  # one after another: films differ in length
                    step_of = partial(self._backward, int(film), float(shifts[film]), len(batch))
                    total += sum(self._room.run(step_of, 1))
                nn.utils.clip_grad_norm_(self._network.parameters(), _CLIP_NORM)
                self._optimizer.step()
                on_step(number, step + 1, len(batches))
        return total / len(order)

    def _backward(self, film: int, shift: float, films: int, _one: slice) -> float:
        loss = self._loss(self._films[film], shift)
        (loss / films).backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def _loss(self, film: Film, shift: float) -> torch.Tensor:
        features, seconds, importance = (
            torch.from_numpy(array).to(self._device)
            for array in (film.features, film.pts_seconds + shift, film.importance)
        )
        return F.mse_loss(torch.sigmoid(self._network(features, seconds)), importance)

    def _fingerprint(self) -> str:
        recipe = {**asdict(self._recipe), "device": None}
        sums = [
            [*film.features.shape, float(film.features.sum(dtype=float)),
             float(film.importance.sum(dtype=float))]
            for film in self._films
        ]  # fmt: skip
        return json.dumps([recipe, sums])
