"""Speech through the real faster-whisper, with a small Whisper that is trained here."""

from __future__ import annotations

import builtins
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.spoken import say, speech
from vidsift.errors import SpeechError
from vidsift.models.speech import (
    SpeechModel,
    SpokenLine,
    _without_loops,
    fetch_speech,
    open_speech,
)
from vidsift.types import Span

RATE = 16_000


@pytest.fixture(scope="module")
def model(speech_folder: Path) -> Iterator[SpeechModel]:
    model = open_speech(str(speech_folder), device="cpu")
    yield model
    model.close()


@pytest.fixture
def copy(speech_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(speech_folder, tmp_path / "model"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the hub's client, empty; its server refuses every connection."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "hub"


@pytest.mark.slow
def test_words_are_heard_at_their_times(model: SpeechModel) -> None:
    said = [(1.0, "red"), (4.5, "blue"), (36.0, "green")]
    lines = list(model.transcribe(speech(40.0, said)))
    assert [line.text for line in lines] == [word for _, word in said]
    for line, (at, word) in zip(lines, said, strict=True):
        assert line.span.start == pytest.approx(at, abs=0.3)
        assert line.span.duration == pytest.approx(len(say(word)) / RATE, abs=0.4)
        assert line.language == "en"
        assert 0.3 < line.confidence <= 1.0


@pytest.mark.slow
def test_language_that_is_named_is_written(model: SpeechModel) -> None:
    lines = list(model.transcribe(speech(8.0, [(1.0, "red"), (5.0, "blue")]), "de"))
    assert [(line.text, line.language) for line in lines] == [("rot", "de"), ("blau", "de")]


def test_model_is_a_speech_model_and_says_the_same_again(model: SpeechModel) -> None:
    assert isinstance(model, SpeechModel)
    sound = speech(8.0, [(1.0, "green"), (5.0, "red")])
    assert list(model.transcribe(sound)) == list(model.transcribe(sound))


@pytest.mark.parametrize("kind", ["silence", "noise", "tone", "nothing"])
def test_what_is_no_speech_has_no_words(model: SpeechModel, kind: str) -> None:
    n = 0 if kind == "nothing" else 20 * RATE
    sound = {
        "silence": np.zeros(n),
        "nothing": np.zeros(n),
        "noise": 0.1 * np.random.default_rng(0).standard_normal(n),
        "tone": 0.3 * np.sin(np.arange(n) * 2 * np.pi * 440 / RATE),
    }[kind]
    assert list(model.transcribe(sound.astype(np.float32))) == []


def test_unknown_language_is_refused(model: SpeechModel) -> None:
    with pytest.raises(
        SpeechError, match=r"language 'deutsch': .* does not know it; it knows .*de"
    ):
        list(model.transcribe(np.zeros(RATE, np.float32), "deutsch"))


def test_loops_are_cut_short() -> None:
    def line(second: int, text: str) -> SpokenLine:
        return SpokenLine(Span(float(second), second + 1.0), text, "en", 0.5)

    texts = ["No.", "No.", "no.", "NO.", "Yes.", "No.", "No.", "No."]
    kept = _without_loops([line(second, text) for second, text in enumerate(texts)])
    assert [(each.span.start, each.text) for each in kept] == [
        (0.0, "No."), (1.0, "No."), (4.0, "Yes."), (5.0, "No."), (6.0, "No."),
    ]  # fmt: skip


def test_name_of_a_folder_is_absolute(
    speech_folder: Path, model: SpeechModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model.name == str(speech_folder)
    monkeypatch.chdir(speech_folder.parent)
    opened = open_speech(speech_folder.name, device="cpu")
    assert opened.name == str(speech_folder)
    opened.close()


def test_weights_that_are_not_here_name_the_command(hub: Path) -> None:
    with pytest.raises(SpeechError) as raised:
        open_speech("small")
    assert str(raised.value) == (
        "speech model small: its weights are not on this machine; fetch them with `vidsift "
        "transcribe --fetch small`, or name a folder that holds a Whisper for CTranslate2 with "
        "--model"
    )
    with pytest.raises(SpeechError, match="vidsift transcribe --fetch somebody/whisper"):
        open_speech("somebody/whisper")


def test_model_of_the_hubs_cache_is_opened(hub: Path, speech_folder: Path) -> None:
    repository = hub / "models--Systran--faster-whisper-small"
    snapshot = repository / "snapshots" / ("0" * 40)
    shutil.copytree(speech_folder, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    opened = open_speech("small", device="cpu")
    assert opened.name == "small"
    opened.close()
    (snapshot / "model.bin").unlink()  # as an interrupted download leaves it
    with pytest.raises(SpeechError, match=r"lacks model\.bin; fetch it anew with .*--fetch small"):
        open_speech("small", device="cpu")


def test_fetch_without_a_network_says_so(hub: Path) -> None:
    with pytest.raises(SpeechError, match=r"speech model tiny: it could not be fetched: .*refused"):
        fetch_speech("tiny")


def test_fetch_of_what_is_here_or_unknown(hub: Path, speech_folder: Path) -> None:
    with pytest.raises(SpeechError, match="is on this machine already"):
        fetch_speech(str(speech_folder))
    with pytest.raises(
        SpeechError, match=r"'enormous' is unknown; name one of .*small.*, ORG/NAME"
    ):
        fetch_speech("enormous")


def test_unknown_names_and_folders(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match=r"'enormous' is unknown; name one of .*small"):
        open_speech("enormous")
    with pytest.raises(SpeechError, match=r"speech model /no/such/folder: no such folder"):
        open_speech("/no/such/folder")
    with pytest.raises(SpeechError, match=r"lacks model\.bin, tokenizer\.json, vocabulary\.json"):
        open_speech(str(tmp_path))


def test_bare_name_of_a_folder_without_a_model(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpeechError, match=r"mine: lacks model\.bin"):
        open_speech("mine")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.bin", b"x" * 1000),
        ("model.bin", b""),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"no json"),
        ("vocabulary.json", b"no json"),
        ("preprocessor_config.json", json.dumps({"feature_size": 128}).encode()),
    ],
)
def test_damaged_model_is_one_clear_error(copy: Path, file: str, content: bytes) -> None:
    (copy / file).write_bytes(content)
    with pytest.raises(SpeechError, match=f"speech model {copy}: cannot be loaded from .* on cpu"):
        open_speech(str(copy), device="cpu")


def test_cuda_that_is_absent_is_refused(speech_folder: Path) -> None:
    import ctranslate2

    if ctranslate2.get_cuda_device_count():
        pytest.skip("needs a machine without CUDA")
    with pytest.raises(SpeechError, match="device cuda: CTranslate2 sees no CUDA device"):
        open_speech(str(speech_folder), device="cuda")


@pytest.mark.cuda
def test_cuda_hears_the_same(speech_folder: Path) -> None:
    opened = open_speech(str(speech_folder), device="cuda")
    lines = list(opened.transcribe(speech(8.0, [(1.0, "red"), (5.0, "blue")])))
    assert [line.text for line in lines] == ["red", "blue"]
    opened.close()


def test_package_that_is_absent_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "faster_whisper":
            raise ImportError("No module named 'faster_whisper'", name=name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SpeechError, match=r'pip install "vidsift\[speech\]"'):
        open_speech("small")


def test_nothing_of_it_is_imported_by_a_search() -> None:
    code = (
        "import sys, ui.cli, ui.ask, ui.transcribe, vidsift.models.speech, vidsift.media.sound, "
        "search.engine; print([m for m in ('faster_whisper', 'ctranslate2', 'onnxruntime', "
        "'huggingface_hub', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
