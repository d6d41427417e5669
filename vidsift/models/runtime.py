"""What runs a network: torch in half precision on CUDA, OpenVINO on the CPU.

A tower is one half of an encoder, from arrays to unit-length vectors. For the CPU it is converted
once and kept in the cache folder under the hash of its weights, so that a later process needs
neither torch nor the original weights.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Float32

from vidsift.errors import EncoderError
from vidsift.models.conversion import drop_damaged, seal
from vidsift.models.memory import Batches, let_go, limit_networks

if TYPE_CHECKING:
    import torch

__all__ = [
    "CudaTower",
    "OpenVinoTower",
    "Precision",
    "Tower",
    "describe_runtime",
    "is_surely_cpu",
    "packages_of",
    "pick_device",
    "save_for_openvino",
]

Device = Literal["cpu", "cuda"]
Precision = Literal["f32", "bf16"]
Inputs = tuple[np.ndarray, ...]

# Present where the kernel drives an NVIDIA device (the last one: under Windows' Linux).
_CUDA_SIGNS = (Path("/dev/nvidiactl"), Path("/proc/driver/nvidia/version"), Path("/dev/dxg"))


@runtime_checkable
class Tower(Protocol):
    """A network that runs: a batch of inputs to float32 arrays, one row for each of the batch."""

    def __call__(self, *inputs: np.ndarray) -> Float32[np.ndarray, "n ..."]: ...


def pick_device(device: str) -> Device:
    """Resolve `auto`, `cpu` or `cuda` to what is here; torch is imported only where CUDA may be.

    Raises:
        EncoderError: `cuda` is asked for and there is none.
    """
    if is_surely_cpu(device):
        return "cpu"
    with packages_of("device cuda"):
        import torch
    if torch.cuda.is_available():
        limit_networks(torch.cuda)
        return "cuda"
    if device == "auto":
        return "cpu"
    raise EncoderError(
        "device cuda: no CUDA device can be used here (torch "
        f"{torch.__version__} sees none); set device to cpu or auto, or install its driver"
    )


def is_surely_cpu(device: str) -> bool:
    """Whether `pick_device` says cpu without a question to torch, which is slow to import."""
    return device == "cpu" or (device == "auto" and not any(sign.exists() for sign in _CUDA_SIGNS))


def describe_runtime(device: Device) -> str:
    """In words, for a person: what runs an encoder on this device."""
    if device == "cpu":
        return "OpenVINO on CPU"
    import torch

    return f"torch half precision on {torch.cuda.get_device_name()}"


@contextmanager
def packages_of(encoder: str) -> Iterator[None]:
    """Turn a package that is absent, or does not fit another, into one clear EncoderError."""
    try:
        yield
    except ImportError as error:
        package = (error.name or str(error)).partition(".")[0]
        raise EncoderError(
            f"{encoder}: package {package} cannot be imported ({error}); "
            "reinstall with `pip install --upgrade vidsift`"
        ) from error
    except RuntimeError as error:
        # What torchvision's import says when it was built for another torch.
        if "torchvision" not in str(error):
            raise
        raise EncoderError(
            f"{encoder}: torchvision does not fit the installed torch ({error}); "
            "reinstall both together: `pip install --upgrade torch torchvision`"
        ) from error


def _openvino() -> Any:
    """Import OpenVINO without its telemetry, which reports every import and conversion.

    It takes an import of `openvino_telemetry` that fails as a no; nothing leaves the machine
    unasked, and the import is faster.
    """
    sys.modules.setdefault("openvino_telemetry", cast(Any, None))
    import openvino

    return openvino


def save_for_openvino(
    network: torch.nn.Module,
    example: Sequence[torch.Tensor],
    shapes: Sequence[Sequence[int]],
    file: Path,
) -> None:
    """Trace `network` on `example` and write it as OpenVINO's .xml and .bin; -1: any length.

    Raises:
        OSError: the disk is full.
    """
    import torch

    ov = _openvino()
    # Attention's fused path is one opaque operator that cannot be converted.
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            # What tracing says of branches: the tests compare the result over sizes and lengths.
            warnings.simplefilter("ignore")
            model = ov.convert_model(
                network, example_input=tuple(example), input=[list(shape) for shape in shapes]
            )
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
    try:
        ov.save_model(model, file, compress_to_fp16=False)
        ov.Core().read_model(file)  # a full disk may go unnoticed while writing
    except RuntimeError as error:
        raise OSError(errno.EIO, "the disk is full or failed while it was written") from error


class OpenVinoTower:
    """A converted network on the CPU."""

    def __init__(self, file: Path, precision: Precision, *, piece: int | None = None) -> None:
        """Load `file`; `bf16` is used where the processor computes in it, else float32.

        With `piece` a batch goes through in pieces of so many rows, one a core at a time: small
        pieces stay in the cores' caches, and no core waits for another. Without it all cores work
        on one batch, which answers a single question sooner.
        """
        ov = _openvino()
        core = ov.Core()
        bf16 = precision == "bf16" and "BF16" in core.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        )
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            "PERFORMANCE_HINT": "THROUGHPUT" if piece else "LATENCY",
        }
        streams = len(os.sched_getaffinity(0)) if piece else 1
        if piece:
            options["NUM_STREAMS"] = streams
        try:
            model = _compile(core, file, options)
        except RuntimeError as error:
            raise EncoderError(
                f"{file}: the converted model cannot be read; delete the folder {file.parent}, "
                "it is made again"
            ) from error
        self._model = model
        self._streams = streams
        self._requests = self._queue()
        self._piece = piece
        self._lock = threading.Lock()
        self._batches = Batches(file.name, remedy="close other programs, or set a smaller batch")

    def __call__(self, *inputs: np.ndarray) -> Float32[np.ndarray, "n ..."]:
        with self._lock:
            parts = self._batches.run(
                lambda rows: self._run([array[rows] for array in inputs]), len(inputs[0])
            )
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _run(self, inputs: Sequence[np.ndarray]) -> Float32[np.ndarray, "n ..."]:
        rows = len(inputs[0])
        step = self._piece or rows
        parts: list[np.ndarray] = [np.empty(0)] * -(-rows // step)
        try:
            for place in range(len(parts)):
                piece = [array[place * step : (place + 1) * step] for array in inputs]
                self._requests.start_async(piece, (parts, place), share_inputs=True)
            self._requests.wait_all()
        except RuntimeError:
            # A queue that has failed once says so for ever.
            self._requests = self._queue()
            raise
        return np.concatenate(parts)

    def _queue(self) -> Any:
        requests = _openvino().AsyncInferQueue(self._model, self._streams)
        requests.set_callback(_collect)
        return requests


def _compile(core: Any, file: Path, options: dict[str, Any]) -> Any:
    """Compile a model, from its compiled form if there is one; else keep that, if it can be kept.

    The compiled form, weights packed for this processor, halves the load of a tower.
    """
    folder = file.parent / "compiled" / file.stem
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_known = drop_damaged(folder)
        # OpenVINO does not notice a disk that fills up while it writes.
        has_room = shutil.disk_usage(folder).free > 2 * file.with_suffix(".bin").stat().st_size
        if os.access(folder, os.W_OK) and (has_room or is_known):
            cached = {"CACHE_DIR": str(folder), "CACHE_MODE": "OPTIMIZE_SPEED"}
            before = sorted(folder.iterdir())
            model = core.compile_model(file, "CPU", options | cached)
            if not is_known or sorted(folder.iterdir()) != before:
                seal(folder)
            return model
    except (OSError, RuntimeError):
        # Without it the same, only later.
        return core.compile_model(file, "CPU", options)
    return core.compile_model(file, "CPU", options)


def _collect(request: Any, where: tuple[list[np.ndarray], int]) -> None:
    parts, place = where
    parts[place] = np.array(request.get_output_tensor(0).data, dtype=np.float32)


class CudaTower:
    """A network in half precision on the CUDA device; it gives unit-length float32.

    What the GPU has no room for goes through in smaller batches; see `Batches`.
    """

    def __init__(self, network: torch.nn.Module, device: str = "cuda") -> None:
        self._device = device
        self._network = network.eval().to(device)
        self._is_there = True  # on the GPU
        self._lock = threading.Lock()
        self._batches = Batches(f"{type(network).__name__} on the GPU")

    def __call__(self, *inputs: np.ndarray) -> Float32[np.ndarray, "n d"]:
        with self._lock:
            if not self._is_there:
                self._network.to(self._device)
                self._is_there = True
            parts = self._batches.run(
                lambda rows: self._run([array[rows] for array in inputs]), len(inputs[0])
            )
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def close(self) -> None:
        """Give back the GPU's memory, when it is not in use; the next call takes it again."""
        with self._lock:
            self._network.to("cpu")
            self._is_there = False
        let_go()

    def _run(self, inputs: Sequence[np.ndarray]) -> Float32[np.ndarray, "n d"]:
        import torch

        device = self._device
        with torch.inference_mode(), torch.autocast(device, torch.float16):
            tensors = [torch.from_numpy(array).to(device, non_blocking=True) for array in inputs]
            features: np.ndarray = self._network(*tensors).float().cpu().numpy()
            return features
