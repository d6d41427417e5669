"""The copy of the vector index on a GPU, where there is one and it has room."""

from __future__ import annotations

import logging
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float32, Int64

__all__ = ["Replica", "search_one"]

_log = logging.getLogger(__name__)

# Below this many queries one thread answers sooner than several that must be woken.
_FEW_QUERIES = 20
_MOST_K = 2048
_SCRATCH_BYTES = 64 << 20
_Found = tuple[Float32[np.ndarray, "q k"], Int64[np.ndarray, "q k"]]


class Replica:
    """A copy that is made anew whenever the index changes; for one caller at a time.

    Where the GPU has no room for it, now or in the middle of a search, there is none.
    """

    def __init__(self, most_bytes: int = 0) -> None:
        """`most_bytes`: of the GPU that it may take, scratch included; 0: as many as there are."""
        self._most_bytes = most_bytes
        self._copy: Any = None
        self._resources: Any = None

    def follow(self, master: Any) -> None:
        """Be a copy of this index, if that can be."""
        # faiss-cpu, which serves other systems than Linux, has no such function.
        if not hasattr(faiss, "get_num_gpus") or faiss.get_num_gpus() == 0:
            return
        self._copy = None  # before the next: both may not fit
        needed = bytes_on_gpu(master)
        if self._most_bytes and needed > self._most_bytes:
            _log.info(
                "the index takes %d MB of the GPU, more than it may (gpu_memory_mb): it is searched"
                " on the CPU",
                needed >> 20,
            )
            return
        try:
            if self._resources is None:
                self._resources = faiss.StandardGpuResources()
                self._resources.setTempMemory(_SCRATCH_BYTES)
            self._copy = faiss.index_cpu_to_gpu(self._resources, 0, master)
        except RuntimeError as error:
            self._drop(error)

    def search(self, queries: Float32[np.ndarray, "q d"], k: int) -> _Found | None:
        """As `search_one` of the index; None where there is no copy that can tell."""
        if self._copy is None or k > _MOST_K:
            return None
        try:
            return search_one(self._copy, queries, k)
        except RuntimeError as error:  # others have filled the GPU meanwhile
            self._drop(error)
            return None

    def _drop(self, error: RuntimeError) -> None:
        self._copy = self._resources = None
        said = str(error).strip().rpartition("\n")[2]
        _log.warning("the index does not fit on the GPU (%s): it is searched on the CPU", said)


def bytes_on_gpu(master: Any) -> int:
    """What a copy of this index and the scratch memory take: 4 bytes a dimension, or 1 and lists;
    8 an id."""
    dimension = int(master.d)
    num_lists = getattr(master, "nlist", 0)
    of_each = (dimension if num_lists else 4 * dimension) + 8
    return int(master.ntotal) * of_each + 4 * num_lists * dimension + _SCRATCH_BYTES


def search_one(
    index: Any, queries: Float32[np.ndarray, "q d"], k: int, parameters: Any = None
) -> tuple[Float32[np.ndarray, "q {k}"], Int64[np.ndarray, "q {k}"]]:
    """The k nearest of a FAISS index: scores and ids; a few queries are not worth many threads."""
    threads = faiss.omp_get_max_threads()
    if len(queries) < _FEW_QUERIES:
        faiss.omp_set_num_threads(1)  # of the calling thread alone, as OpenMP has it
    try:
        scores, ids = index.search(np.ascontiguousarray(queries), k, params=parameters)
    finally:
        faiss.omp_set_num_threads(threads)
    return scores, ids
