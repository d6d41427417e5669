"""Training a pooler on frozen features: symmetric InfoNCE, early stopping, resume.

Knows arrays alone; `search.training` makes them of a library and a file of captions.

Axes as in `vidsift.models.training_pairs`; b pairs of a batch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from vidsift.errors import PoolerError
from vidsift.models.attention import Frames, Mask, Queries
from vidsift.models.attention_network import PoolerNetwork, network_of, pool_of
from vidsift.models.epochs import Epochs, seeded
from vidsift.models.learned_attention import LearnedPool
from vidsift.models.memory import Batches
from vidsift.models.runtime import pick_device
from vidsift.models.training_pairs import Pairs, Recipe, ranks_by

__all__ = ["Epoch", "fit", "info_nce"]

_WARM_UP = 0.05  # of all steps
_MOST_SCALE = math.log(100.0)  # of the logits, as in CLIP
_CLIP_NORM = 1.0


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; number 0 is the pooler before training, without a loss.

    `recall_at_1` and `mrr` (mean reciprocal rank) are those on the validation captions, `best`
    says that no epoch so far was better, and `pool` is then the pooler.
    """

    number: int
    loss: float | None
    recall_at_1: float
    mrr: float
    best: bool
    pool: LearnedPool | None


def info_nce(
    similarities: Float[Tensor, "b b"], scale: Float[Tensor, ""], same: Bool[Tensor, "b b"]
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE: cross-entropy from caption to video and from video to caption, halved.

    van den Oord et al., "Representation Learning with Contrastive Predictive Coding" (2018), in
    both directions as in CLIP (Radford et al., 2021). Row: caption, column: video; the diagonal
    holds the pairs. Others of the `same` video or caption are left out of the denominator: they
    are no negatives.
    """
    others = same & ~torch.eye(len(similarities), dtype=torch.bool, device=scale.device)
    logits = (similarities * scale).masked_fill(others, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def fit(
    train: Pairs,
    validation: Pairs,
    recipe: Recipe,
    *,
    state: Path | None = None,
    resume: bool = False,
    on_step: Callable[[int, int, int], None] = lambda epoch, step, steps: None,
) -> Iterator[Epoch]:
    """Train; yields the pooler before training, then each epoch, until validation stops it.

    Better is a higher R@1 on `validation`, of equal ones the higher mean reciprocal rank. After
    each epoch, once the caller asks for the next, all that going on needs is written to `state`;
    `resume` goes on from there and yields only what was not yielded. Each epoch draws from a
    generator of its own, so that a run that was cut off ends as one that was not. The file is
    removed at the end. Where memory has no room for a batch it is halved, from there on.

    Raises:
        PoolerError: memory has no room for two captions; or the state cannot be read, or is of
            other captions or another recipe.
    """
    yield from _Training(train, validation, recipe).run(state, resume, on_step)


class _Trained(nn.Module):
    """All weights that are trained."""

    def __init__(self, network: PoolerNetwork, log_scale: nn.Parameter) -> None:
        super().__init__()
        self.network = network
        self.log_scale = log_scale


class _Training:
    def __init__(self, train: Pairs, validation: Pairs, recipe: Recipe) -> None:
        self._train = train
        self._validation = validation
        self._recipe = recipe
        self._device = torch.device(pick_device(recipe.device))
        start = recipe.start(train.queries.shape[1])
        self._network: PoolerNetwork = network_of(start, recipe.dropout).to(self._device)
        fixed = recipe.logit_temperature
        log_scale = torch.tensor(-math.log(fixed or 0.07), device=self._device)
        self._log_scale = nn.Parameter(log_scale, requires_grad=fixed is None)
        self._optimizer = torch.optim.Adam(
            [*self._network.parameters(), self._log_scale], lr=recipe.learning_rate
        )
        remedy = "train with a smaller batch, or on the CPU"
        self._batches = Batches("training", PoolerError, least=2, remedy=remedy)
        self._scoring = Batches("validation", PoolerError, remedy=remedy)

    def run(
        self, state: Path | None, resume: bool, on_step: Callable[[int, int, int], None]
    ) -> Iterator[Epoch]:
        epochs = Epochs(
            _Trained(self._network, self._log_scale),
            self._optimizer,
            most=self._recipe.epochs,
            patience=self._recipe.patience,
            state=state,
            fingerprint=self._fingerprint(),
            inputs="captions, videos",
            error=PoolerError,
        )
        train = partial(self._train_epoch, on_step)
        for number, loss, (recall, mrr), best in epochs.run(resume, train, self._quality):
            yield Epoch(number, loss, recall, mrr, best, pool_of(self._network) if best else None)

    def _train_epoch(self, on_step: Callable[[int, int, int], None], number: int) -> float:
        pairs, recipe = self._train, self._recipe
        order = np.random.default_rng([recipe.seed, number]).permutation(len(pairs.items))
        batches = [
            order[start : start + recipe.batch_size]
            for start in range(0, len(order), recipe.batch_size)
        ]
        if len(batches) > 1 and len(batches[-1]) < 2:
            batches.pop()  # one pair alone has nothing to be told from
        total = 0.0
        self._network.train()
        with seeded(self._device, recipe.seed, number):
            for step, batch in enumerate(batches):
                self._set_learning_rate((number - 1) * len(batches) + step, len(batches))
                total += sum(self._batches.run(partial(self._part_step, batch), len(batch)))
                on_step(number, step + 1, len(batches))
        return total / sum(map(len, batches))

    def _part_step(self, batch: Int64[np.ndarray, "b"], part: slice) -> float:
        """One step with a part of the batch, which has fewer to tell from; its loss, summed."""
        return self._step(batch[part]) * len(batch[part])

    def _step(self, batch: Int64[np.ndarray, "b"]) -> float:
        pairs, device = self._train, self._device
        items = pairs.items[batch]
        videos = torch.from_numpy(pairs.videos[items]).to(device)
        queries = torch.from_numpy(pairs.queries[batch]).to(device)  # (b, d)
        frames = torch.from_numpy(pairs.frames[items]).to(device).float()  # (b, n, d)
        mask = torch.from_numpy(pairs.mask[items]).to(device)
        vectors, _ = self._network(queries, frames, mask)  # (b, b, d)
        similarities = torch.einsum("qd,qcd->qc", queries, vectors)
        # "a man is singing" may be said of several videos.
        same_text = (queries[:, None] == queries).all(-1)
        same = same_text | (videos[:, None] == videos)
        loss = info_nce(similarities, self._log_scale.exp(), same)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._network.parameters(), _CLIP_NORM)
        self._optimizer.step()
        with torch.no_grad():
            self._log_scale.clamp_(max=_MOST_SCALE)
        return loss.item()

    def _set_learning_rate(self, step: int, steps_an_epoch: int) -> None:
        """Linear warm-up, then half a cosine down to 0 at the last epoch's end."""
        total = self._recipe.epochs * steps_an_epoch
        warm = max(1, round(_WARM_UP * total))
        if step < warm:
            factor = (step + 1) / warm
        else:
            factor = (1 + math.cos(math.pi * (step - warm) / max(1, total - warm))) / 2
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.learning_rate * factor

    def _quality(self) -> tuple[float, float]:
        self._network.eval()
        found = ranks_by(self._score, self._validation)
        return float((found == 1).mean()), float((1 / found).mean())

    def _score(self, queries: Queries, frames: Frames, mask: Mask) -> Float32[np.ndarray, "q c"]:
        parts = self._scoring.run(
            lambda part: self._score_part(queries[part], frames, mask), len(queries)
        )
        return np.concatenate(parts)

    def _score_part(
        self, queries: Queries, frames: Frames, mask: Mask
    ) -> Float32[np.ndarray, "q c"]:
        with torch.inference_mode():
            asked = torch.from_numpy(queries).to(self._device)
            vectors, _ = self._network(
                asked,
                torch.from_numpy(frames).to(self._device),
                torch.from_numpy(mask).to(self._device),
            )
            scores: np.ndarray = torch.einsum("qd,qcd->qc", asked, vectors).cpu().numpy()
            return scores

    def _fingerprint(self) -> str:
        recipe = {**asdict(self._recipe), "device": None}
        sums = [
            [*pairs.frames.shape, float(pairs.queries.sum(dtype=float)), int(pairs.items.sum())]
            for pairs in (self._train, self._validation)
        ]
        return json.dumps([recipe, sums])
