"""What a training that was cut off needs to go on: a safetensors file beside its checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from vidsift.errors import SaliencyModelError

__all__ = ["read_state", "write_state"]


def write_state(
    path: Path,
    network: nn.Module,
    optimizer: Optimizer,
    fingerprint: str,
    progress: Mapping[str, Any],
) -> None:
    """Write network, optimizer and `progress` (JSON) in one step. `fingerprint`: of what training.

    Raises:
        SaliencyModelError: the file cannot be written.
    """
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for parameter, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{parameter}.{name}": tensor for name, tensor in slots.items()}
    content = save(tensors, {"fingerprint": fingerprint, "progress": json.dumps(progress)})
    beside = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(content)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise SaliencyModelError(f"{path}: cannot be written: {error.strerror}") from error


def read_state(
    path: Path | None, network: nn.Module, optimizer: Optimizer, fingerprint: str
) -> dict[str, Any]:
    """Put network and optimizer back to where `write_state` found them; returns its `progress`.

    Raises:
        SaliencyModelError: there is no such file, it cannot be read, or is of another training.
    """
    if path is None or not path.is_file():
        raise SaliencyModelError(f"{path}: no training was cut off here; leave --resume out")
    try:
        with safe_open(path, framework="pt") as content:
            metadata = content.metadata() or {}
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise SaliencyModelError(
            f"{path}: cannot be read ({error}); leave --resume out to begin anew"
        ) from error
    if metadata.get("fingerprint") != fingerprint:
        raise SaliencyModelError(
            f"{path}: was begun with other videos or options; give the same ones, or leave"
            " --resume out to begin anew"
        )
    slots: dict[int, dict[str, Tensor]] = {}
    weights: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        whose, _, rest = name.partition(".")
        if whose == "network":
            weights[rest] = tensor
        else:
            parameter, _, slot = rest.partition(".")
            slots.setdefault(int(parameter), {})[slot] = tensor
    network.load_state_dict(weights)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": slots, "param_groups": groups})
    progress: dict[str, Any] = json.loads(metadata["progress"])
    return progress
