"""Poolers by name, and checkpoints: what is written is read; mistakes are one clear line."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from vidsift.errors import PoolerError
from vidsift.models.attention import MaxPool, MeanPool, SoftmaxPool
from vidsift.models.learned_attention import AdditivePool, DotProductPool, MultiHeadPool
from vidsift.models.pooler_checkpoint import (
    PoolerCheckpoint,
    open_pooler,
    read_checkpoint,
    write_checkpoint,
)
from vidsift.types import EncoderStamp

STAMP = EncoderStamp("builtin", "a" * 64, 8, "centre crop")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "poolers" / "mine.safetensors"
    write_checkpoint(path, PoolerCheckpoint(MultiHeadPool.identity(8, 2), STAMP, {"epoch": 3}))
    return path


def test_names_open_the_poolers_that_need_no_training():
    assert open_pooler("softmax", 0.25, STAMP) == SoftmaxPool(0.25)
    assert open_pooler("mean", 0.25, STAMP) == MeanPool()
    assert open_pooler("max", 0.25, STAMP) == MaxPool()


@pytest.mark.parametrize(
    "pool",
    [
        AdditivePool.random(8, hidden=5, seed=1),
        DotProductPool.random(8, seed=1),
        MultiHeadPool.identity(8, heads=4, positions=3),
    ],
)
def test_a_checkpoint_is_read_as_it_was_written(tmp_path, pool):
    path = tmp_path / "some" / "folder" / "p.safetensors"
    write_checkpoint(path, PoolerCheckpoint(pool, STAMP, {"recall_at_1": 0.5, "epoch": 2}))
    found = read_checkpoint(path)
    assert type(found.pool) is type(pool)
    assert found.pool.tensors.keys() == pool.tensors.keys()
    assert all(np.array_equal(found.pool.tensors[n], pool.tensors[n]) for n in pool.tensors)
    assert getattr(found.pool, "heads", None) == getattr(pool, "heads", None)
    assert (found.stamp, found.figures) == (STAMP, {"recall_at_1": 0.5, "epoch": 2})
    assert [entry.name for entry in path.parent.iterdir()] == ["p.safetensors"]


def test_a_checkpoint_is_found_by_path_and_by_name(file, monkeypatch):
    for name in (str(file), "mine.safetensors", "mine"):
        assert isinstance(open_pooler(name, 0.1, STAMP, file.parent), MultiHeadPool)
    monkeypatch.setenv("HOME", str(file.parent))
    assert isinstance(open_pooler("~/mine.safetensors", 0.1, STAMP), MultiHeadPool)


def one_line(error: pytest.ExceptionInfo[PoolerError], *words: str) -> None:
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_an_unknown_name_tells_what_is_known(file):
    with pytest.raises(PoolerError) as error:
        open_pooler("mien", 0.1, STAMP, file.parent)
    one_line(error, "'mien'", "max, mean, softmax, mine.safetensors", "vidsift train pooler")
    with pytest.raises(PoolerError, match="'mien'"):
        open_pooler("mien", 0.1, STAMP)


@pytest.mark.parametrize(
    ("stamp", "words"),
    [
        (EncoderStamp("open_clip:a/b", "a" * 64, 8, "centre crop"), ["'builtin'", "open_clip:a/b"]),
        (EncoderStamp("builtin", "b" * 64, 8, "centre crop"), ["another version", "'builtin'"]),
        (EncoderStamp("builtin", "a" * 64, 8, "squash"), ["another version", "'builtin'"]),
    ],
)
def test_a_pooler_of_another_encoder_is_refused(file, stamp, words):
    with pytest.raises(PoolerError) as error:
        open_pooler(str(file), 0.1, stamp)
    one_line(error, str(file), *words)


def test_a_pooler_does_not_fit_an_encoder_of_another_dimension():
    with pytest.raises(ValueError, match="8 dimensions"):
        PoolerCheckpoint(DotProductPool.random(8), EncoderStamp("e", "a", 9, "p"))


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff" * 100])
def test_a_file_that_is_no_safetensors_is_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(PoolerError) as error:
        open_pooler(str(path), 0.1, STAMP)
    one_line(error, str(path), "no safetensors file")


def test_a_file_that_is_cut_short_is_refused(file):
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(PoolerError, match="damaged"):
        read_checkpoint(file)


def test_safetensors_of_something_else_are_refused(file):
    tensors = load_file(file)
    good = {
        "format": 1,
        "kind": "multi-head",
        "heads": 2,
        "encoder": {"name": "b", "weights_sha256": "a", "dimension": 8, "preprocessing": "p"},
        "figures": {},
    }
    for change in (
        {"kind": "mean"},
        {"heads": 3},
        {"heads": None},
        {"encoder": {"name": "b"}},
        {"encoder": {**good["encoder"], "dimension": 9}},
    ):
        save_file(tensors, file, metadata={"vidsift": json.dumps({**good, **change})})
        with pytest.raises(PoolerError) as error:
            read_checkpoint(file)
        one_line(error, str(file), "vidsift train pooler")
    for metadata in (None, {"vidsift": "{"}, {"vidsift": "[]"}, {"other": "1"}):
        save_file(tensors, file, metadata=metadata)
        with pytest.raises(PoolerError, match="is no pooler"):
            read_checkpoint(file)
    save_file(tensors, file, metadata={"vidsift": json.dumps({**good, "format": 2})})
    with pytest.raises(PoolerError, match="format 2"):
        read_checkpoint(file)
    save_file(
        {**tensors, "query.bias": np.full(8, np.nan, np.float32)},
        file,
        metadata={"vidsift": json.dumps(good)},
    )
    with pytest.raises(PoolerError, match="no numbers"):
        read_checkpoint(file)


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path):
    with pytest.raises(PoolerError) as error:
        read_checkpoint(tmp_path / "absent")
    one_line(error, "absent", "cannot be read")
    (tmp_path / "file").write_text("")
    with pytest.raises(PoolerError) as error:
        write_checkpoint(tmp_path / "file" / "x", PoolerCheckpoint(DotProductPool.random(8), STAMP))
    one_line(error, "cannot be written", "--out")
