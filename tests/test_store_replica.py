"""The copy of the index on a GPU: where there is no room for it, the CPU answers all the same."""

from __future__ import annotations

import logging

import faiss
import numpy as np
import pytest

from vidsift.store import replica
from vidsift.store.replica import Replica


@pytest.fixture
def master() -> faiss.Index:
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(8))
    rows = np.eye(8, dtype=np.float32)
    index.add_with_ids(rows, np.arange(8, dtype=np.int64))
    return index


class Gpu:
    """Stands for FAISS's part on a GPU, on a machine without one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.copies = 0
        self.is_full = False
        monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1, raising=False)
        monkeypatch.setattr(faiss, "StandardGpuResources", lambda: self, raising=False)
        monkeypatch.setattr(faiss, "index_cpu_to_gpu", self._copy, raising=False)

    def setTempMemory(self, size: int) -> None:  # noqa: N802 - FAISS's name
        pass

    def _copy(self, _resources: object, _device: int, master: faiss.Index) -> Gpu:
        if self.is_full:
            raise RuntimeError("Error in virtual void*\nCUDA error 2 out of memory")
        self.copies += 1
        self._master = master
        return self

    def search(self, queries: np.ndarray, k: int, params: object = None):
        if self.is_full:
            raise RuntimeError("Error: 'err == cudaSuccess' failed\nCUDA error 2 out of memory")
        return self._master.search(queries, k)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    return Gpu(monkeypatch)


def test_a_copy_answers_as_the_index(gpu, master):
    copy = Replica()
    assert copy.search(np.eye(8, dtype=np.float32), 1) is None
    copy.follow(master)
    scores, ids = copy.search(np.eye(8, dtype=np.float32), 1)
    assert ids[:, 0].tolist() == list(range(8))
    assert scores[:, 0].tolist() == [1.0] * 8
    assert copy.search(np.eye(8, dtype=np.float32), 5000) is None  # more than a GPU gives


def test_no_room_for_the_copy_ends_no_search(gpu, master, caplog):
    gpu.is_full = True
    copy = Replica()
    copy.follow(master)
    assert copy.search(np.eye(8, dtype=np.float32), 1) is None
    assert "CUDA error 2 out of memory): it is searched on the CPU" in caplog.text
    gpu.is_full = False
    copy.follow(master)  # there is room again when the index next changes
    assert copy.search(np.eye(8, dtype=np.float32), 1) is not None


def test_a_gpu_that_fills_up_in_the_middle_ends_no_search(gpu, master, caplog):
    copy = Replica()
    copy.follow(master)
    gpu.is_full = True
    for _ in range(2):
        assert copy.search(np.eye(8, dtype=np.float32), 1) is None
    assert caplog.text.count("is searched on the CPU") == 1


def test_the_copy_keeps_to_its_limit(gpu, master, caplog):
    needed = replica.bytes_on_gpu(master)
    with caplog.at_level(logging.INFO):
        Replica(needed - 1).follow(master)
    assert gpu.copies == 0
    assert "more than it may (gpu_memory_mb)" in caplog.text
    Replica(needed).follow(master)
    assert gpu.copies == 1


def test_what_a_copy_takes(master):
    assert replica.bytes_on_gpu(master) - replica._SCRATCH_BYTES == 8 * (8 * 4 + 8)
    coarse = faiss.IndexFlatIP(8)
    lists = faiss.IndexIVFScalarQuantizer(
        coarse, 8, 2, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    lists.cp.min_points_per_centroid = 1
    rows = np.random.default_rng(0).standard_normal((100, 8)).astype(np.float32)
    lists.train(rows)
    lists.add(rows)
    assert replica.bytes_on_gpu(lists) - replica._SCRATCH_BYTES == 100 * (8 + 8) + 2 * 8 * 4
