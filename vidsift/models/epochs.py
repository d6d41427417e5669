"""Epochs of a training until validation stops them, and going on with one that was cut off.

What going on needs is a safetensors file beside the checkpoint: weights, the optimizer's state,
and how far it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from vidsift.errors import VidsiftError
from vidsift.models.tensor_file import read_tensors, write_whole

__all__ = ["Epochs", "seeded"]

_OPTIMIZER = "optimizer."


@contextmanager
def seeded(device: torch.device, seed: int, number: int) -> Iterator[None]:
    """Dropout and initial weights draw from torch's own generator: it is left as it was found."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed * 1_000_003 + number)
        yield


@dataclass(frozen=True)
class Epochs:
    """At most so many epochs, and `patience` of them without a better validation.

    After each one, once the caller asks for the next, all that going on needs is written to
    `state` (None: nowhere), which is removed at the end. `fingerprint` tells trainings apart;
    `inputs` names, in a message, what it was made of. Errors are raised as `error`.
    """

    trained: nn.Module
    optimizer: Optimizer
    most: int
    patience: int
    state: Path | None
    fingerprint: str
    inputs: str
    error: type[VidsiftError]

    def run(
        self,
        resume: bool,
        train: Callable[[int], float],
        validate: Callable[[], tuple[float, ...]],
    ) -> Iterator[tuple[int, float | None, tuple[float, ...], bool]]:
        """Number, loss, quality (greater is better) of each epoch, and whether none was better.

        Number 0, without a loss, is what there is before training; with `resume` it goes on after
        the last epoch that was finished.

        Raises:
            VidsiftError: the state cannot be read or written, or is of another training.
        """
        best: tuple[float, ...] = ()
        first = stale = 0
        if resume:
            done = self._load()
            best, stale, first = tuple(done["best"]), done["stale"], done["epoch"] + 1
        for number in range(first, self.most + 1):
            if stale >= self.patience:
                break
            loss = train(number) if number else None
            quality = validate()
            better = quality > best
            stale = 0 if better else stale + 1
            best = max(best, quality)
            yield number, loss, quality, better
            if number:
                self._save({"epoch": number, "best": best, "stale": stale})
        if self.state is not None:
            self.state.unlink(missing_ok=True)

    def _save(self, progress: dict[str, Any]) -> None:
        if self.state is None:
            return
        tensors = self.trained.state_dict()
        for parameter, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"{_OPTIMIZER}{parameter}.{name}": slot for name, slot in slots.items()}
        metadata = {"fingerprint": self.fingerprint, "progress": json.dumps(progress)}
        write_whole(self.state, save(tensors, metadata), self.error)

    def _load(self) -> dict[str, Any]:
        """Take up what `_save` left; returns its `progress`."""
        if self.state is None or not self.state.is_file():
            raise self.error(f"{self.state}: no training was cut off here; leave --resume out")
        try:
            metadata, tensors = read_tensors(self.state, "pt")
        except (OSError, SafetensorError) as reason:
            raise self.error(
                f"{self.state}: cannot be read ({reason}); leave --resume out to begin anew"
            ) from reason
        if metadata.get("fingerprint") != self.fingerprint:
            raise self.error(
                f"{self.state}: was begun with other {self.inputs} or options; give the same ones,"
                " or leave --resume out to begin anew"
            )
        slots: dict[int, dict[str, Tensor]] = {}
        weights: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            if name.startswith(_OPTIMIZER):
                parameter, _, slot = name.removeprefix(_OPTIMIZER).partition(".")
                slots.setdefault(int(parameter), {})[slot] = tensor
            else:
                weights[name] = tensor
        self.trained.load_state_dict(weights)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        progress: dict[str, Any] = json.loads(metadata["progress"])
        return progress
