"""Going on where the memory of the GPU, or of the machine, has no room for a batch.

What is kept of the GPU by this program is bounded by the setting `gpu_memory_mb`: half of it for
networks (`limit_networks`, which torch enforces), half for the copy of the index
(`vidsift.store.vectors`). Torch's own start takes some hundred MB beside that.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from vidsift.errors import EncoderError, VidsiftError

__all__ = ["Batches", "has_no_room", "let_go", "limit_networks", "set_limit", "trim"]

_log = logging.getLogger(__name__)

# What CUDA's libraries and OpenVINO say, which have no class of error for it.
_NO_ROOM = re.compile(
    r"out of memory|_ALLOC_FAILED|[Ff]ailed to allocate|[Cc]annot allocate|can't alloc|bad_alloc"
)
_Part = TypeVar("_Part")


def has_no_room(error: BaseException) -> bool:
    """Whether this error says that memory is full, on the GPU or in the machine."""
    # torch.cuda.OutOfMemoryError is a RuntimeError; torch need not be imported to know it.
    of_memory = isinstance(error, RuntimeError) and _NO_ROOM.search(str(error)) is not None
    return of_memory or isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__


class Batches:
    """A batch goes through a network in as many parts as memory asks for.

    Where it has no room the part is halved, for as long as this object lives: a run does not fill
    the memory again at every batch. Not for several threads at once.
    """

    def __init__(
        self,
        what: str,
        error: Callable[[str], VidsiftError] = EncoderError,
        *,
        least: int = 1,
        remedy: str = "close other programs that use it, or set device to cpu",
    ) -> None:
        """`what` goes through, in words; where `least` rows are too many `error` is raised."""
        self._what = what
        self._error = error
        self._least = least
        self._remedy = remedy
        self._most: int | None = None

    @property
    def most(self) -> int | None:
        """Rows that went through at most, since more did not; None: all that were given."""
        return self._most

    def run(self, call: Callable[[slice], _Part], rows: int) -> list[_Part]:
        """`call` of all rows, part after part.

        Raises:
            VidsiftError: there is no room for the smallest part, as `error` says it.
        """
        parts: list[_Part] = []
        start = 0
        while start < rows:
            size = min(self._most or rows, rows - start)
            try:
                parts.append(call(slice(start, start + size)))
            except (MemoryError, RuntimeError) as error:
                if not has_no_room(error):
                    raise
                said = str(error).strip().partition("\n")[0]
            else:
                start += size
                continue
            # Only here is the traceback gone that holds what the batch had taken.
            let_go()
            self._halve(size, said)
        return parts

    def _halve(self, size: int, said: str) -> None:
        if size < 2 * self._least:
            raise self._error(
                f"{self._what}: memory has no room for {size} at a time ({said}); {self._remedy}"
            )
        self._most = size // 2
        _log.warning(
            "%s: memory has no room for %d at a time; going on with %d",
            self._what,
            size,
            self._most,
        )


def let_go() -> None:
    """Give back what torch keeps of the GPU's memory for later."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


_limit_mb = 0


def set_limit(megabytes: int) -> None:
    """How much of the GPU's memory this program may take; 0: as much as there is.

    It holds for networks that are opened from now on, and for the whole process: once there was a
    limit, 0 does not lift it.
    """
    global _limit_mb
    _limit_mb = megabytes


def limit_networks(cuda: Any) -> None:
    """Have torch keep to its half of the limit; `cuda` is `torch.cuda`, where there is a device."""
    if _limit_mb:
        total = cuda.get_device_properties(0).total_memory
        cuda.set_per_process_memory_fraction(min(1.0, _limit_mb * 2**20 / 2 / total))


def trim() -> None:
    """Have the C library give back to the system what is free, where it can (glibc)."""
    gc.collect()
    if sys.platform == "linux":
        trim_all = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim_all is not None:
            trim_all(0)
