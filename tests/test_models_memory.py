"""Full memory: batches are halved, towers let go and come back, the limit is kept to."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest
import torch

from vidsift.errors import EncoderError, PoolerError
from vidsift.models import attention_training, memory
from vidsift.models.encoder import ReleasableEncoder
from vidsift.models.geometry import Geometry
from vidsift.models.memory import Batches, has_no_room
from vidsift.models.runtime import CudaTower, OpenVinoTower, save_for_openvino
from vidsift.models.training_pairs import Pairs, Recipe
from vidsift.models.two_tower import TwoTowerEncoder
from vidsift.types import EncoderStamp


class Small(torch.nn.Module):
    """Doubles its input; a GPU of the size that holds `room` rows."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.seen: list[int] = []

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(rows))
        if len(rows) > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return rows * 2


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("Check 'ptr' failed\nFailed to allocate 12582912 bytes of memory"),
        MemoryError("std::bad_alloc"),
    ],
)
def test_full_memory_is_told(error):
    assert has_no_room(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), ValueError("out of memory")])
def test_other_errors_are_not_taken_for_it(error):
    assert not has_no_room(error)


def test_a_batch_is_halved_until_it_fits_and_stays_so(caplog):
    network = Small(room=5)
    tower = CudaTower(network, "cpu")
    rows = np.arange(24, dtype=np.float32).reshape(24, 1)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(tower(rows), rows * 2)
    assert network.seen == [24, 12, 6, 3, 3, 3, 3, 3, 3, 3, 3]
    assert [record.getMessage() for record in caplog.records] == [
        f"Small on the GPU: memory has no room for {a} at a time; going on with {a // 2}"
        for a in (24, 12, 6)
    ]
    network.seen.clear()
    caplog.clear()
    np.testing.assert_array_equal(tower(rows[:8]), rows[:8] * 2)
    assert network.seen == [3, 3, 2]
    assert not caplog.records


def test_where_one_is_too_many_the_error_says_what_to_do():
    tower = CudaTower(Small(room=0), "cpu")
    with pytest.raises(EncoderError, match=r"Small on the GPU: .* no room for 1 .*set device to c"):
        tower(np.zeros((4, 1), np.float32))


def test_what_the_batch_had_taken_is_let_go_before_the_next(monkeypatch):
    emptied = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    CudaTower(Small(room=2), "cpu")(np.zeros((8, 1), np.float32))
    assert emptied == [True, True]


def test_other_errors_of_a_network_pass():
    def fail(rows: slice) -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        Batches("x").run(fail, 4)


def test_training_goes_on_with_half_a_batch(monkeypatch, caplog):
    rng = np.random.default_rng(0)
    unit = rng.standard_normal((24, 8)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    pairs = Pairs(
        queries=unit,
        items=np.arange(24),
        frames=np.repeat(unit[:, None], 3, 1).astype(np.float16),
        mask=np.ones((24, 3), bool),
        videos=np.arange(24),
    )
    real = attention_training.info_nce
    sizes: list[int] = []

    def narrow(similarities, scale, same):
        sizes.append(len(similarities))
        if len(similarities) > 6:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return real(similarities, scale, same)

    monkeypatch.setattr(attention_training, "info_nce", narrow)
    recipe = Recipe(kind="additive", epochs=1, batch_size=24, device="cpu")
    epochs = list(attention_training.fit(pairs, pairs, recipe))
    assert [epoch.number for epoch in epochs] == [0, 1]
    assert np.isfinite(epochs[1].loss)
    assert sizes == [24, 12, 6, 6, 6, 6]
    assert "training: memory has no room for 24" in caplog.text

    monkeypatch.setattr(attention_training, "info_nce", lambda *_: _fill())
    with pytest.raises(PoolerError, match=r"training: .*train with a smaller batch"):
        list(attention_training.fit(pairs, pairs, recipe))


def _fill() -> None:
    raise torch.cuda.OutOfMemoryError("CUDA out of memory.")


def test_a_tower_of_openvino_that_failed_goes_on(tmp_path, caplog):
    """A queue of requests that has failed once fails for ever: there must be a new one."""
    file = tmp_path / "double.xml"
    save_for_openvino(Small(99), [torch.zeros(2, 3)], [(-1, 3)], file)
    tower = OpenVinoTower(file, "f32")

    class Full:
        def start_async(self, *_: object, **__: object) -> None:
            raise RuntimeError("Check 'ptr' failed\nFailed to allocate 12582912 bytes of memory")

        def wait_all(self) -> None:
            pass

    tower._requests = Full()
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.testing.assert_array_equal(tower(rows), rows * 2)
    assert "double.xml: memory has no room for 4 at a time; going on with 2" in caplog.text


class _Cuda:
    """What `limit_networks` asks of torch.cuda: a device of 8 GB."""

    class properties:  # noqa: N801
        total_memory = 8 * 2**30

    def __init__(self) -> None:
        self.share = None

    def get_device_properties(self, _device: int) -> type:
        return self.properties

    def set_per_process_memory_fraction(self, share: float) -> None:
        self.share = share


@pytest.mark.parametrize(("limit_mb", "share"), [(0, None), (4096, 0.25), (999_999, 1.0)])
def test_networks_keep_to_half_of_the_limit(limit_mb, share):
    cuda = _Cuda()
    memory.set_limit(limit_mb)
    try:
        memory.limit_networks(cuda)
    finally:
        memory.set_limit(0)
    assert cuda.share == share


class _Tower:
    def __init__(self) -> None:
        self.started, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        self.started.set()
        assert self.go_on.wait(30)
        return np.ones((len(inputs[0]), 2), np.float32)


@pytest.fixture
def loaded() -> list[_Tower]:
    return []


@pytest.fixture
def encoder(loaded) -> TwoTowerEncoder:
    def load() -> _Tower:
        loaded.append(_Tower())
        return loaded[-1]

    return TwoTowerEncoder(
        EncoderStamp("two", "0" * 64, 2, "none"),
        Geometry(resize=8, crop=8),
        4,
        tokenize=lambda texts: (np.zeros((len(texts), 1), np.int64),),
        load_frame_tower=load,
        load_text_tower=load,
        load_region_tower=load,
    )


def test_a_released_encoder_is_loaded_again_when_it_is_used(encoder, loaded):
    assert isinstance(encoder, ReleasableEncoder)
    assert not encoder.release()  # nothing there yet
    encoder.encode_texts(["a"])
    assert not encoder.release(idle_seconds=60.0)
    encoder.encode_texts(["a"])
    assert len(loaded) == 1
    assert encoder.release()
    assert encoder.encode_texts(["a", "b"]).shape == (2, 2)
    assert len(loaded) == 2


def test_an_encoder_in_use_is_not_released(encoder, loaded):
    encoder.encode_texts(["a"])
    (tower,) = loaded
    tower.started.clear()
    tower.go_on.clear()
    user = threading.Thread(target=encoder.encode_texts, args=(["b"],))
    user.start()
    assert tower.started.wait(30)
    assert not encoder.release()
    tower.go_on.set()
    user.join()
    assert encoder.release()
    assert len(loaded) == 1


@pytest.mark.cuda
def test_a_real_gpu_that_is_full_halves_the_batch(caplog):
    """The limit that torch keeps to stands for a small GPU."""
    share = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (2 << 30) / share))
    try:
        network = torch.nn.Conv2d(3, 64, 3, padding=1)
        tower = CudaTower(network)
        pictures = np.ones((64, 3, 512, 512), np.float32)
        assert tower(pictures).shape == (64, 64, 512, 512)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "memory has no room for 64 at a time; going on with 32" in caplog.text
