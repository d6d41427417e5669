"""Fetched weights are those of the first time, or those that a person named; else nothing loads."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import open_clip
import pytest
import torch
from typer.testing import CliRunner

from ui.cli import app
from vidsift.errors import EncoderError
from vidsift.models.encoder import open_encoder
from vidsift.models.known_weights import check_weights, expect_weights

MODEL = "vidsift-test-known"
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
    "text_cfg": {
        "context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1,
    },
}  # fmt: skip
A, B = "a" * 64, "b" * 64


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("VIDSIFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights.json"


def test_what_was_fetched_first_is_trusted_from_then_on(cache):
    check_weights("open_clip:x", A, fetched=False)
    assert not cache.exists()  # what a person copied here by himself is his own
    check_weights("open_clip:x", A, fetched=True)
    assert json.loads(cache.read_text()) == {"open_clip:x": A}
    check_weights("open_clip:x", A, fetched=False)
    check_weights("open_clip:y", B, fetched=True)
    for fetched in (False, True):
        with pytest.raises(EncoderError, match="they are not loaded"):
            check_weights("open_clip:x", B, fetched=fetched)


def test_a_person_may_say_what_they_must_be():
    expect_weights("open_clip:x", A.upper())
    with pytest.raises(EncoderError, match=f"--sha256 {B}"):
        check_weights("open_clip:x", B, fetched=True)
    expect_weights("open_clip:x", B)
    check_weights("open_clip:x", B, fetched=True)


@pytest.mark.parametrize("bad", ["", "a" * 63, "g" * 64, "a" * 64 + "\n", "$(x)"])
def test_what_they_must_be_is_a_hash(bad):
    with pytest.raises(EncoderError, match="64 hexadecimal digits"):
        expect_weights("open_clip:x", bad)
    done = CliRunner().invoke(app, ["encoders", "--fetch", "open_clip:x", "--sha256", bad])
    assert "64 hexadecimal digits" in str(done.exception)


@pytest.mark.parametrize("content", ["", "[]", "{", "\udcff"])
def test_a_damaged_record_is_not_taken_for_none(cache, content):
    cache.parent.mkdir()
    cache.write_text(content, errors="surrogateescape")
    with pytest.raises(EncoderError, match="delete it"):
        check_weights("open_clip:x", A, fetched=True)


@pytest.mark.slow
def test_weights_that_were_changed_after_they_were_fetched_are_not_loaded(tmp_path):
    (tmp_path / f"{MODEL}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(tmp_path / f"{MODEL}.json")
    file = tmp_path / "tiny.pt"
    torch.save(open_clip.create_model(MODEL).state_dict(), file)
    name = f"open_clip:{MODEL}/{file}"
    open_encoder(name, device="cpu", fetch=True).close()
    open_encoder(name, device="cpu").close()
    torch.save(open_clip.create_model(MODEL).state_dict(), file)
    for fetch in (False, True):
        with pytest.raises(EncoderError, match="they are not loaded"):
            open_encoder(name, device="cpu", fetch=fetch)
    expect_weights(name, hashlib.sha256(file.read_bytes()).hexdigest())
    open_encoder(name, device="cpu").close()
