"""Speech to lines of text with their times: Whisper, run by faster-whisper on CTranslate2.

faster-whisper is an extra (`vidsift[speech]`) and is imported when a model is opened. Weights are
looked for where the hub's client keeps them, or in a folder; nothing is asked of the network unless
the caller fetches. They are tensors in CTranslate2's own format and JSON: no code in them is run.

Axes: n samples.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from vidsift.errors import SpeechError
from vidsift.paths import expanded
from vidsift.types import Span

__all__ = ["SpeechModel", "SpokenLine", "fetch_speech", "open_speech"]

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_FILES = ("model.bin", "tokenizer.json")
_VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
# Of a decoding that was accepted only because no other temperature gave a better one; above it the
# text is a loop (Radford et al. 2022, section 4.5).
_MOST_COMPRESSED = 2.4
# People say a thing twice; whisper, where it hears nothing, says it without end.
_MOST_IN_A_ROW = 2


@dataclass(frozen=True, slots=True)
class SpokenLine:
    """What was said in a span, counted from the first sample; `language` as ISO 639 has it.

    `confidence` is the geometric mean of the probabilities of its tokens, in (0, 1].
    """

    span: Span
    text: str
    language: str
    confidence: float


@runtime_checkable
class SpeechModel(Protocol):
    """What turns sound into lines. `name` is what it was opened by; folders are absolute."""

    name: str

    def check_language(self, language: str) -> None:
        """Refuse a language that the model does not know.

        Raises:
            SpeechError: it does not; the message lists what it knows.
        """

    def transcribe(
        self, samples: Float32[np.ndarray, "n"], language: str | None = None
    ) -> Iterator[SpokenLine]:
        """The lines that are spoken in mono sound of 16 kHz in [-1, 1], in order, as found.

        What is no speech is not listened to (voice activity is detected first). Without `language`
        it is told from the beginning of what is spoken.

        Raises:
            SpeechError: the model does not know the language, or cannot run.
        """

    def close(self) -> None:
        """Give the model's memory back; it must not be used afterwards."""


def open_speech(name: str, *, device: Literal["auto", "cpu", "cuda"] = "auto") -> SpeechModel:
    """Open a Whisper model that is on this machine.

    Args:
        name: a size (`tiny`, `small`, `large-v3` ...), `ORG/NAME` of a hub, or the folder of a
            model that was converted for CTranslate2.
        device: `auto` is CUDA where it works, else the CPU (in 8-bit integers).

    Raises:
        SpeechError: the package or the weights are not here, what is there is no such model, or
            the device cannot run it.
    """
    faster_whisper = _package()
    if (folder := _folder(name)) is not None:
        return _load(faster_whisper, str(folder), folder, device)
    try:
        found = Path(faster_whisper.download_model(name, local_files_only=True))
    except ValueError as error:
        raise _unknown(name, faster_whisper) from error
    except OSError as error:
        raise _absent(name) from error
    if lacking := _lacking(found):
        raise SpeechError(
            f"speech model {name}: {found} lacks {lacking}; fetch it anew with `{_fetch(name)}`"
        )
    return _load(faster_whisper, name, found, device)


def fetch_speech(name: str) -> Path:
    """Download the weights of a size or of `ORG/NAME` to where `open_speech` finds them.

    Raises:
        SpeechError: the name is unknown, or the weights cannot be had.
    """
    faster_whisper = _package()
    from huggingface_hub import errors

    # Of the hub's HTTP client, which has changed before and is not ours to name.
    broken_off = getattr(errors, "HTTPError", OSError)
    if (folder := _folder(name)) is not None:
        raise SpeechError(f"speech model {folder}: is on this machine already")
    try:
        return Path(faster_whisper.download_model(name))
    except ValueError as error:
        raise _unknown(name, faster_whisper) from error
    except (OSError, broken_off) as error:
        reason = str(error).strip().partition("\n")[0]
        raise SpeechError(f"speech model {name}: it could not be fetched: {reason}") from error


def _package() -> Any:
    try:
        import faster_whisper
    except ImportError as error:
        raise SpeechError(
            f"speech needs the package faster-whisper, which cannot be imported ({error}); "
            'install it with `pip install "vidsift[speech]"`'
        ) from error
    return faster_whisper


def _folder(name: str) -> Path | None:
    """The folder of a model that `name` means; None where it must be the name of one.

    Raises:
        SpeechError: it is a path, and no model lies there.
    """
    folder = expanded(name).absolute()
    if folder.is_dir() and not _lacking(folder):
        return folder
    if len(Path(name).parts) == 1 or _HUB_NAME.fullmatch(name):
        return None
    raise _no_model(folder)


def _no_model(folder: Path) -> SpeechError:
    if not folder.is_dir():
        return SpeechError(f"speech model {folder}: no such folder; check the path")
    return SpeechError(
        f"speech model {folder}: lacks {_lacking(folder)}; convert a Whisper with "
        "`ct2-transformers-converter --copy_files tokenizer.json preprocessor_config.json`"
    )


def _lacking(folder: Path) -> str:
    lacking = [file for file in _FILES if not (folder / file).is_file()]
    if not any((folder / file).is_file() for file in _VOCABULARIES):
        lacking.append(_VOCABULARIES[0])
    return ", ".join(lacking)


def _absent(name: str) -> SpeechError:
    return SpeechError(
        f"speech model {name}: its weights are not on this machine; fetch them with "
        f"`{_fetch(name)}`, or name a folder that holds a Whisper for CTranslate2 with --model"
    )


def _fetch(name: str) -> str:
    return f"vidsift transcribe --fetch {name}"


def _unknown(name: str, faster_whisper: Any) -> SpeechError:
    if (folder := expanded(name).absolute()).is_dir():
        return _no_model(folder)
    known = ", ".join(faster_whisper.available_models())
    return SpeechError(
        f"speech model {name!r} is unknown; name one of {known}, ORG/NAME of a hub, or a folder"
    )


def _load(faster_whisper: Any, name: str, folder: Path, device: str) -> SpeechModel:
    import ctranslate2

    cuda = device != "cpu" and ctranslate2.get_cuda_device_count() > 0
    if device == "cuda" and not cuda:
        raise SpeechError("device cuda: CTranslate2 sees no CUDA device; set device to cpu or auto")
    if cuda:
        try:
            return _Whisper(faster_whisper, name, folder, "cuda", "auto")
        except SpeechError:
            # A driver without the libraries that CTranslate2 needs (cuBLAS, cuDNN).
            if device == "cuda":
                raise
    return _Whisper(faster_whisper, name, folder, "cpu", "int8")


class _Whisper:
    """A SpeechModel."""

    def __init__(
        self, faster_whisper: Any, name: str, folder: Path, device: str, compute_type: str
    ) -> None:
        self.name = name
        try:
            self._model = faster_whisper.WhisperModel(
                str(folder), device=device, compute_type=compute_type, local_files_only=True
            )
            channels = self._model.feature_extractor.mel_filters.shape[0]
            if channels != self._model.model.n_mels:
                raise ValueError(
                    f"it hears {self._model.model.n_mels} mel channels and its "
                    f"preprocessor_config.json says {channels}"
                )
            # CUDA's libraries are looked for when something is first computed.
            self._model.encode(np.zeros((channels, 3000), np.float32))
        except Exception as error:
            # The tokenizers' library raises nothing but Exception itself.
            if type(error) is not Exception and not isinstance(
                error, (IndexError, OSError, RuntimeError, TypeError, ValueError)
            ):
                raise
            reason = str(error).strip().partition("\n")[0]
            raise SpeechError(
                f"speech model {name}: cannot be loaded from {folder} on {device} ({reason}); "
                "check that it is a Whisper for CTranslate2, or fetch or convert it anew"
            ) from error

    def check_language(self, language: str) -> None:
        known = self._model.supported_languages
        if language not in known:
            raise SpeechError(
                f"language {language!r}: speech model {self.name} does not know it; "
                f"it knows {', '.join(known)}"
            )

    def transcribe(
        self, samples: Float32[np.ndarray, "n"], language: str | None = None
    ) -> Iterator[SpokenLine]:
        if language is not None:
            self.check_language(language)
        return _without_loops(self._lines(samples, language))

    def _lines(self, samples: np.ndarray, language: str | None) -> Iterator[SpokenLine]:
        import ctranslate2

        # Where a decoding fails another is drawn at random; the same film is to say the same again.
        ctranslate2.set_random_seed(0)
        try:
            segments, told = self._model.transcribe(
                samples,
                language=language,
                vad_filter=True,
                # With it a loop, once begun, goes on through the following windows.
                condition_on_previous_text=False,
            )
            for segment in segments:
                text = " ".join(segment.text.split())
                start, end = max(0.0, float(segment.start)), float(segment.end)
                if not text or end <= start or segment.compression_ratio > _MOST_COMPRESSED:
                    continue
                confidence = min(1.0, math.exp(segment.avg_logprob))
                yield SpokenLine(Span(start, end), text, told.language, confidence)
        except RuntimeError as error:
            raise SpeechError(f"speech model {self.name}: {error}") from error

    def close(self) -> None:
        self._model.model.unload_model()


def _without_loops(lines: Iterable[SpokenLine]) -> Iterator[SpokenLine]:
    """The lines without those that only say again what several before them said."""
    before, count = "", 0
    for line in lines:
        said = line.text.casefold()
        before, count = said, count + 1 if said == before else 1
        if count <= _MOST_IN_A_ROW:
            yield line
