"""The vector index over a real catalog, with real FAISS files."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import faiss
import numpy as np
import pytest

from vidsift.errors import StorageError
from vidsift.store import vectors
from vidsift.store.catalog import Catalog
from vidsift.store.vectors import FaissIndex, open_index
from vidsift.types import (
    Clip,
    ClipVectors,
    EncoderStamp,
    Fingerprint,
    FrameFeatures,
    IndexedVideo,
    Shot,
    Span,
    Summary,
    VideoProbe,
)

DIMENSION = 32
STAMP = EncoderStamp("colour", "ab" * 32, DIMENSION, "none")
# Vectors have few true degrees of freedom and come in bunches, as those of shots do.
_BASIS = np.random.default_rng(0).normal(size=(8, DIMENSION))
_BUNCHES = np.random.default_rng(1).normal(size=(60, 8))


def draw(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    latent = _BUNCHES[rng.integers(len(_BUNCHES), size=count)] + 0.5 * rng.normal(size=(count, 8))
    drawn = latent @ _BASIS + 0.3 * rng.normal(size=(count, DIMENSION))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def commit(catalog: Catalog, seed: int, num_vectors: int = 40) -> int:
    """One video of one shot and one clip a vector."""
    pts = np.arange(num_vectors, dtype=np.float64)
    indexed = IndexedVideo(
        VideoProbe(
            Path(f"/v/{seed}.mp4"), "mp4", "h264", "yuv420p", 64, 48, 0, Fraction(25), 1.0, 0.0,
            False, False,
        ),
        Fingerprint(1, 2, f"{seed:064x}"),
        float(num_vectors),
        (Shot(Span(0.0, float(num_vectors))),),
        tuple(Clip(Span(float(i), i + 1.0), 0, i, 1) for i in range(num_vectors)),
        FrameFeatures(draw(num_vectors, seed), pts),
        tuple(ClipVectors(row[np.newaxis]) for row in draw(num_vectors, seed)),
        tuple(b"" for _ in pts),
        Summary("", (), 1.0),
    )  # fmt: skip
    return catalog.commit_video(indexed, f"{seed}.npy", "f" * 64)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.create(f"sqlite:///{tmp_path / 'catalog.sqlite3'}") as catalog:
        catalog.set_stamp(STAMP)
        yield catalog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


def matches_catalog(index: FaissIndex, catalog: Catalog) -> bool:
    """Whether the index answers as a comparison with every vector in SQL does."""
    batches = list(catalog.iter_vectors())
    if not batches:
        return len(index) == 0
    ids = np.concatenate([each for each, _ in batches])
    stored = np.concatenate([each for _, each in batches])
    queries = draw(5, 777)
    scores, found = index.search(queries, 10)
    exact = queries @ stored.T
    best = np.argsort(-exact, axis=1)[:, :10]
    return len(index) == len(ids) and bool(
        (found == ids[best]).all()
        and np.allclose(scores, np.take_along_axis(exact, best, axis=1), atol=1e-5)
    )


def _rebuilt(caplog: pytest.LogCaptureFixture) -> bool:
    return any("made again" in record.message for record in caplog.records)


def test_empty_catalog(catalog: Catalog, folder: Path) -> None:
    index = open_index(folder, catalog, STAMP, write=True)
    scores, ids = index.search(draw(2, 0), 3)
    assert scores.shape == (2, 3)
    assert (ids == -1).all()
    commit(catalog, 1)
    index.sync()
    assert matches_catalog(index, catalog)


def test_absent_results_have_no_id(catalog: Catalog, folder: Path) -> None:
    commit(catalog, 1, num_vectors=2)
    _, ids = open_index(folder, catalog, STAMP, write=False).search(draw(1, 0), 5)
    assert sorted(ids[0]) == [-1, -1, -1, 1, 2]


def test_saved_index_is_loaded_and_left_alone(
    catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(catalog, 1)
    open_index(folder, catalog, STAMP, write=True)
    before = (folder / "vectors.faiss").stat().st_mtime_ns
    monkeypatch.delattr(FaissIndex, "_rebuild")
    assert matches_catalog(open_index(folder, catalog, STAMP, write=True), catalog)
    assert (folder / "vectors.faiss").stat().st_mtime_ns == before


@pytest.mark.parametrize("write", [True, False])
def test_index_that_lags_is_caught_up(
    catalog: Catalog, folder: Path, write: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(catalog, 1)
    open_index(folder, catalog, STAMP, write=True)
    content = (folder / "vectors.faiss").read_bytes()
    commit(catalog, 2)
    monkeypatch.delattr(FaissIndex, "_rebuild")
    index = open_index(folder, catalog, STAMP, write=write)
    assert matches_catalog(index, catalog)
    commit(catalog, 3)
    index.sync()
    assert matches_catalog(index, catalog)
    # A reader leaves the file to the writer.
    assert ((folder / "vectors.faiss").read_bytes() != content) == write


def test_removed_and_returned_videos(
    catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (commit(catalog, seed) for seed in (1, 2, 3))
    index = open_index(folder, catalog, STAMP, write=True)
    monkeypatch.delattr(FaissIndex, "_rebuild")
    catalog.mark_missing([first])
    catalog.delete_video(second)
    commit(catalog, 4)
    for each in (index, open_index(folder, catalog, STAMP, write=False)):
        each.sync()
        assert matches_catalog(each, catalog)
    catalog.restore_video(first, Fingerprint(1, 2, "e" * 64))
    commit(catalog, 3)  # the same path again: its old vectors go, new ones come
    assert catalog.video(third) is not None
    for each in (index, open_index(folder, catalog, STAMP, write=False)):
        each.sync()
        assert matches_catalog(each, catalog)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "text", "header", "folder"])
def test_damaged_file_is_made_again(
    catalog: Catalog, folder: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    commit(catalog, 1)
    open_index(folder, catalog, STAMP, write=True)
    file = folder / "vectors.faiss"
    content = bytearray(file.read_bytes())
    if damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        flipped = content.copy()
        flipped[len(content) // 2] ^= 1  # somewhere among the vectors
        damaged = {"flipped": flipped, "cut": content[:-5], "empty": b"", "text": b"hello\n"}
        file.write_bytes(damaged.get(damage, b'{"format": 1}\n' + content))
    index = open_index(folder, catalog, STAMP, write=False)
    assert matches_catalog(index, catalog)
    assert _rebuilt(caplog)


def test_index_of_another_library_or_encoder(
    catalog: Catalog, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Catalog.create(f"sqlite:///{tmp_path / 'other.sqlite3'}") as other:
        # As many vectors under the same ids, and the newest the very same.
        for here, there in ((3, 2), (1, 1)):
            commit(catalog, here)
            commit(other, there)
        open_index(folder, other, STAMP, write=True)
    assert matches_catalog(open_index(folder, catalog, STAMP, write=True), catalog)
    assert _rebuilt(caplog)
    caplog.clear()
    newer = EncoderStamp("colour", "cd" * 32, DIMENSION, "none")
    assert matches_catalog(open_index(folder, catalog, newer, write=True), catalog)
    assert _rebuilt(caplog)


def test_database_that_came_back_from_a_backup(
    catalog: Catalog, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same library, generation and ids, but other vectors."""
    file, backup = tmp_path / "catalog.sqlite3", tmp_path / "backup.sqlite3"
    commit(catalog, 1)
    catalog.close()
    backup.write_bytes(file.read_bytes())
    commit(catalog, 2)
    open_index(folder, catalog, STAMP, write=True)
    with Catalog.open(f"sqlite:///{backup}") as restored:
        commit(restored, 3)
        assert matches_catalog(open_index(folder, restored, STAMP, write=False), restored)
        assert _rebuilt(caplog)


def test_index_newer_than_the_database(catalog: Catalog, folder: Path, tmp_path: Path) -> None:
    commit(catalog, 1)
    catalog.close()
    backup = tmp_path / "backup.sqlite3"
    backup.write_bytes((tmp_path / "catalog.sqlite3").read_bytes())
    commit(catalog, 2)
    open_index(folder, catalog, STAMP, write=True)
    with Catalog.open(f"sqlite:///{backup}") as restored:
        assert matches_catalog(open_index(folder, restored, STAMP, write=False), restored)


def test_trained_index_finds_what_the_exact_one_does(
    catalog: Catalog,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(vectors, "EXACT_LIMIT", 3000)
    monkeypatch.setattr(vectors, "_COMPARED", 1500)  # of 6000: lists are left out
    commit(catalog, 1, num_vectors=3000)
    assert open_index(folder, catalog, STAMP, write=True).is_exact
    commit(catalog, 2, num_vectors=3000)
    built = open_index(folder, catalog, STAMP, write=True)
    loaded = open_index(folder, catalog, STAMP, write=False)
    queries = draw(50, 9)
    (ids, stored), *_ = catalog.iter_vectors()
    best = ids[np.argsort(-(queries @ stored.T), axis=1)[:, :100]]
    for index in (built, loaded):
        assert not index.is_exact
        _, found = index.search(queries, 100)
        recall = np.mean([np.isin(a, b).mean() for a, b in zip(best, found, strict=True)])
        assert recall > 0.97
    monkeypatch.setattr(vectors, "_COMPARED", 60)  # such a test could fail: two lists are too few
    built._rebuild()
    _, found = built.search(queries, 100)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(best, found, strict=True)]) < 0.9
    assert "WARNING" not in capfd.readouterr().err


def test_trained_index_follows_its_catalog(
    catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "EXACT_LIMIT", 500)
    first, second = commit(catalog, 1, num_vectors=400), commit(catalog, 2, num_vectors=400)
    index = open_index(folder, catalog, STAMP, write=True)
    assert index._trained_on == 800
    catalog.delete_video(first)
    commit(catalog, 3, num_vectors=700)
    index.sync()
    assert index._trained_on == 800  # appended and taken away in place
    assert set(vectors._ids(index._master)) == set(catalog.vector_ids())
    commit(catalog, 4, num_vectors=700)
    index.sync()
    assert index._trained_on == 1800  # more than doubled: trained anew
    catalog.mark_missing([second, *(v.id for v in catalog.videos() if v.num_clips == 700)])
    commit(catalog, 5, num_vectors=30)
    index.sync()
    assert index.is_exact
    assert matches_catalog(index, catalog)


@pytest.mark.parametrize("limit", [10_000, 500])
def test_search_among_some_videos(
    catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(vectors, "EXACT_LIMIT", limit)
    monkeypatch.setattr(vectors, "_COMPARED", 150)  # of 1200: an open search leaves lists out
    videos = [commit(catalog, seed, num_vectors=300) for seed in (1, 2, 3, 4)]
    index = open_index(folder, catalog, STAMP, write=False)
    assert index.is_exact == (limit == 10_000)
    among = catalog.vector_ids(videos[1:3])
    assert len(among) == 600
    queries = draw(20, 5)
    scores, found = index.search(queries, 10, among)
    (ids, stored), *_ = catalog.iter_vectors()
    here = np.isin(ids, among)
    best = ids[here][np.argsort(-(queries @ stored[here].T), axis=1)[:, :10]]
    assert np.isin(found, among).all()
    assert np.mean([np.isin(a, b).mean() for a, b in zip(best, found, strict=True)]) > 0.8
    if index.is_exact:
        assert (found == best).all()
    assert (np.diff(scores, axis=1) <= 0).all()
    one = catalog.vector_ids(videos[:1])[:4]
    _, few = index.search(queries, 10, one)
    assert {int(each) for each in few[0]} == {*one.tolist(), -1}
    _, none = index.search(queries, 3, np.empty(0, np.int64))
    assert (none == -1).all()


def test_queries_leave_the_number_of_threads_alone(catalog: Catalog, folder: Path) -> None:
    commit(catalog, 1)
    index = open_index(folder, catalog, STAMP, write=False)
    faiss.omp_set_num_threads(2)
    index.search(draw(1, 0), 1)
    assert faiss.omp_get_max_threads() == 2


def test_folder_that_cannot_be_written(catalog: Catalog, folder: Path) -> None:
    commit(catalog, 1)
    folder.write_text("a file where the folder should be")
    with pytest.raises(StorageError, match=r"vectors\.faiss: cannot be written"):
        open_index(folder, catalog, STAMP, write=True)


@pytest.mark.slow
def test_writer_that_is_killed_leaves_the_old_file(
    catalog: Catalog, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    commit(catalog, 1)
    open_index(folder, catalog, STAMP, write=True)
    content = (folder / "vectors.faiss").read_bytes()
    commit(catalog, 2)
    code = f"""
        import os, signal
        from pathlib import Path
        from vidsift.store.catalog import Catalog
        from vidsift.store.vectors import open_index

        # The moment of the power cut: all is written, nothing is on disk for sure.
        os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
        with Catalog.open({f"sqlite:///{tmp_path / 'catalog.sqlite3'}"!r}) as catalog:
            open_index(Path({str(folder)!r}), catalog, catalog.stamp(), write=True)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (folder / "vectors.faiss").read_bytes() == content
    assert (folder / "vectors.faiss.part").exists()
    with caplog.at_level(logging.WARNING):
        assert matches_catalog(open_index(folder, catalog, STAMP, write=True), catalog)
    assert not _rebuilt(caplog)
    assert [each.name for each in folder.iterdir()] == ["vectors.faiss"]


@pytest.mark.cuda
@pytest.mark.parametrize("limit", [10_000, 500])
def test_replica_on_the_gpu_answers_as_the_master(
    catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(vectors, "EXACT_LIMIT", limit)
    video_id = commit(catalog, 1, num_vectors=1500)
    index = open_index(folder, catalog, STAMP, write=True)
    for _ in range(2):
        assert index._replica is not None
        scores, ids = index.search(draw(8, 5), 20)
        wanted, wanted_ids = index._master.search(draw(8, 5), 20)
        np.testing.assert_allclose(scores, wanted, atol=1e-3)
        assert np.mean([np.isin(a, b).mean() for a, b in zip(ids, wanted_ids, strict=True)]) > 0.98
        commit(catalog, 2, num_vectors=1000)
        catalog.delete_video(video_id) if len(index) == 1500 else None
        index.sync()
