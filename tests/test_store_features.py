"""Feature files, on a real disk."""

from __future__ import annotations

import hashlib
import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vidsift.errors import DamagedLibraryError, StorageError
from vidsift.store import features
from vidsift.store.features import FeatureStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    store = FeatureStore(tmp_path / "features")
    yield store
    store.close()


def _features(num_frames: int, dimension: int = 24, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(num_frames, dimension))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("num_frames", [1, 9, 100_000])
def test_what_is_written_is_read(store: FeatureStore, tmp_path: Path, num_frames: int) -> None:
    features = _features(num_frames)
    sha256 = store.write("a.npy", features)
    file = tmp_path / "features" / "a.npy"
    assert sha256 == hashlib.sha256(file.read_bytes()).hexdigest() == store.sha256("a.npy")
    half = features.astype(np.float16)
    np.testing.assert_array_equal(np.load(file), half)
    np.testing.assert_array_equal(store.open("a.npy"), half)
    first = num_frames // 2
    rows = store.read("a.npy", first, num_frames - first, 24)
    np.testing.assert_array_equal(rows, half[first:].astype(np.float32))


def test_names_and_remove(store: FeatureStore, tmp_path: Path) -> None:
    assert store.names() == []
    store.write("b.npy", _features(2))
    store.write("a.npy", _features(2))
    (tmp_path / "features" / "c.npy.part").touch()  # of a writer that was killed
    assert store.names() == ["a.npy", "b.npy", "c.npy.part"]
    store.read("a.npy", 0, 2, 24)
    for name in ("a.npy", "c.npy.part", "never was.npy"):
        store.remove(name)
    assert store.names() == ["b.npy"]
    with pytest.raises(DamagedLibraryError):
        store.read("a.npy", 0, 2, 24)


def test_name_must_be_plain(store: FeatureStore) -> None:
    with pytest.raises(DamagedLibraryError, match="cannot lie there"):
        store.write("../a.npy", _features(1))


def test_replaced_file_is_read_anew(store: FeatureStore) -> None:
    store.write("a.npy", _features(3, seed=1))
    store.read("a.npy", 0, 3, 24)
    newer = _features(3, seed=2)
    store.write("a.npy", newer)
    np.testing.assert_allclose(store.read("a.npy", 0, 3, 24), newer, atol=1e-3)


@pytest.mark.parametrize("damage", ["absent", "cut", "longer", "header", "empty", "float32"])
def test_damaged_file_is_named_with_its_mend(
    store: FeatureStore, tmp_path: Path, damage: str
) -> None:
    store.write("a.npy", _features(4))
    file = tmp_path / "features" / "a.npy"
    content = file.read_bytes()
    if damage == "absent":
        file.unlink()
    elif damage == "float32":
        np.save(file, _features(4))
    else:
        damaged = {"cut": content[:-2], "longer": content + b"xx", "empty": b""}
        file.write_bytes(damaged.get(damage, b"\x00" + content[1:]))
    with pytest.raises(DamagedLibraryError, match=r"a\.npy: .*vidsift index"):
        store.read("a.npy", 0, 1, 24)
    with pytest.raises(DamagedLibraryError, match=r"a\.npy"):
        store.open("a.npy")


@pytest.mark.parametrize(("first", "count", "dimension"), [(3, 2, 24), (0, 1, 16), (-1, 1, 24)])
def test_catalog_and_file_that_disagree(
    store: FeatureStore, first: int, count: int, dimension: int
) -> None:
    store.write("a.npy", _features(4))
    with pytest.raises(DamagedLibraryError, match="holds 4 frames of 24 dimensions"):
        store.read("a.npy", first, count, dimension)


def test_full_disk_leaves_the_old_file_and_nothing_else(store: FeatureStore) -> None:
    old = _features(4)
    store.write("a.npy", old)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        for name in ("a.npy", "b.npy"):
            with pytest.raises(StorageError, match=rf"{name}: cannot be written"):
                store.write(name, _features(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert store.names() == ["a.npy"]
    np.testing.assert_allclose(store.read("a.npy", 0, 4, 24), old, atol=1e-3)


def test_open_files_are_bounded(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_OPEN_FILES", 256)
    for number in range(300):
        store.write(f"{number}.npy", _features(2, 4, number))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(300):
        store.read(f"{number}.npy", 0, 2, 4)
    assert 0 < len(list(Path("/proc/self/fd").iterdir())) - before <= 256
    store.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_threads_read_their_own_files(store: FeatureStore) -> None:
    # More files than stay open, so that descriptors are closed and used again all the time.
    for number in range(300):
        store.write(f"{number}.npy", np.full((2, 4), number / 512, np.float32))
    wrong: list[int] = []

    def read(seed: int) -> None:
        for number in np.random.default_rng(seed).integers(300, size=1000):
            if not (store.read(f"{number}.npy", 0, 2, 4) == number / 512).all():
                wrong.append(int(number))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.02, -150.0])
def test_values_that_no_feature_has_are_damage(
    store: FeatureStore, tmp_path: Path, value: float
) -> None:
    store.write("a.npy", _features(4))
    file = tmp_path / "features" / "a.npy"
    content = bytearray(file.read_bytes())
    content[-2:] = np.array(value, "<f2").tobytes()
    file.write_bytes(content)
    store.read("a.npy", 0, 3, 24)
    with pytest.raises(DamagedLibraryError, match="vidsift index"):
        store.read("a.npy", 3, 1, 24)
    with pytest.raises(DamagedLibraryError, match="vidsift index"):
        store.open("a.npy")


def test_every_half_is_read_exactly(store: FeatureStore) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(-1, 64)
    small = np.where(np.abs(every) <= 1, every, np.float16(0))  # as values of features are
    store.write("a.npy", small)
    read = store.read("a.npy", 0, len(small), 64)
    assert np.array_equal(read, small.astype(np.float32))
    assert np.array_equal(np.signbit(read), np.signbit(small))


def test_files_that_nobody_names_are_closed(store: FeatureStore) -> None:
    features = _features(4)
    for name in ("a.npy", "b.npy"):
        store.write(name, features)
        store.read(name, 0, 4, 24)
    store.close_others({"b.npy"})
    assert list(store._files) == ["b.npy"]
    np.testing.assert_array_equal(store.read("a.npy", 0, 4, 24), store.open("a.npy"))
