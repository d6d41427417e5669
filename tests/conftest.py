"""What several tests share: real films made with ffmpeg, and an encoder whose answers are known."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import hypothesis
import imageio_ffmpeg
import numpy as np
import pytest

from vidsift.library import Library
from vidsift.models.regions import HeatMap
from vidsift.types import EncoderStamp

# Speed is measured in benchmarks/, never in a test.
hypothesis.settings.register_profile("vidsift", deadline=None)
hypothesis.settings.load_profile("vidsift")

PROMISED = set(filter(None, os.environ.get("VIDSIFT_TEST_REQUIRE", "").split(",")))


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


_PRESENT: dict[str, Callable[[], bool]] = {
    "postgres": lambda: bool(os.environ.get("VIDSIFT_TEST_POSTGRES_URL")),
    "browser": lambda: any(shutil.which(name) for name in ("chromium", "chromium-browser")),
    "cuda": _has_cuda,
}


def pytest_configure() -> None:
    # Of a shell that runs the suite in the background, children would inherit to ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that need something skip by name where it is absent and fail where it is promised."""
    for need, present in _PRESENT.items():
        if item.get_closest_marker(need) and not present():
            if need in PROMISED:
                pytest.fail(f"{need} was promised by VIDSIFT_TEST_REQUIRE and is not here")
            pytest.skip(f"needs {need}")


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # A developer's own settings must not leak into tests, nor tests into his library.
    for name in list(os.environ):
        if name.startswith("VIDSIFT_") and not name.startswith(("VIDSIFT_TEST_", "VIDSIFT_CACHE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VIDSIFT_LIBRARY", str(tmp_path / "library"))


class ColourEncoder:
    """A frame is its mean colour, and so is a text: "red" and a red frame are the same vector.

    Texts without a colour are grey, as near to one colour as to another. Answers can be checked
    by hand.
    """

    stamp = EncoderStamp("colour", "0" * 64, 3, "mean colour")
    picture_size = 32
    WORDS: ClassVar = {
        "red": (1, 0, 0),
        "green": (0, 1, 0),
        "blue": (0, 0, 1),
        "yellow": (1, 1, 0),
        "cyan": (0, 1, 1),
        "magenta": (1, 0, 1),
    }

    def __init__(self) -> None:
        self.frames_encoded = 0

    def encode_frames(self, images: np.ndarray) -> np.ndarray:
        self.frames_encoded += len(images)
        return self._unit(images.astype(np.float32).mean(axis=(1, 2)) / 255)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        found = [
            [self.WORDS[word] for word in text.lower().split() if word in self.WORDS]
            for text in texts
        ]
        means = [np.mean(colours, axis=0) if colours else (1.0, 1.0, 1.0) for colours in found]
        return self._unit(np.array(means, dtype=np.float32))

    def encode_regions(self, images: np.ndarray) -> np.ndarray:
        h, w = images.shape[1:3]
        rows, columns = np.arange(4) * h // 4, np.arange(4) * w // 4
        sums = np.add.reduceat(images.astype(np.float32) / 255, rows, axis=1)
        return self._unit(np.add.reduceat(sums, columns, axis=2) * 16 / (h * w))

    def heat_map(self, image: np.ndarray, query: np.ndarray) -> HeatMap:
        return HeatMap(
            self.encode_regions(image[None])[0] @ query, (0.0, 0.0, 1.0, 1.0), exact=False
        )

    def close(self) -> None:
        pass

    @staticmethod
    def _unit(vectors: np.ndarray) -> np.ndarray:
        vectors = vectors + 1e-3
        return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def colour_encoder() -> ColourEncoder:
    return ColourEncoder()


class AxesEncoder:
    """Texts lie at random on a sphere, each always in the same place; `axis 3` is a unit vector."""

    stamp = EncoderStamp("axes", "0" * 64, 32, "none")
    picture_size = 32

    def __init__(self) -> None:
        self.texts_encoded = 0

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.texts_encoded += len(texts)
        d = self.stamp.dimension
        vectors = np.empty((len(texts), d), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            if text.startswith("axis "):
                vector[:] = np.eye(d)[int(text.removeprefix("axis "))]
            else:
                vector[:] = np.random.default_rng(list(text.encode())).standard_normal(d)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode_frames(self, images: np.ndarray) -> np.ndarray:
        raise AssertionError("no frame is encoded here")

    encode_regions = heat_map = encode_frames

    def close(self) -> None:
        pass


@pytest.fixture
def axes_encoder() -> AxesEncoder:
    return AxesEncoder()


@pytest.fixture
def colour_library(tmp_path: Path, colour_encoder: ColourEncoder) -> Iterator[Library]:
    """An empty library whose encoder is the colour encoder."""
    with Library.open(tmp_path / "library", create=True, encoder="colour") as library:
        library.__dict__["encoder"] = colour_encoder
        yield library


@pytest.fixture
def axes_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axes_encoder: AxesEncoder
) -> Iterator[Library]:
    """An empty library whose encoder is the axes encoder, and its own cache."""
    monkeypatch.setenv("VIDSIFT_CACHE", str(tmp_path / "cache"))
    with Library.open(tmp_path / "library", create=True, encoder="axes") as library:
        library.__dict__["encoder"] = axes_encoder
        library.catalog.set_stamp(axes_encoder.stamp)
        yield library


# Films are made by the packaged ffmpeg whatever is on PATH, so that they are always the same.
FFMPEG = [
    imageio_ffmpeg.get_ffmpeg_exe(),
    *["-hide_banner", "-loglevel", "error", "-nostdin", "-y"],
]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`make(name, *arguments)`: a file that ffmpeg writes with these arguments."""
    folder = tmp_path_factory.mktemp("media")

    def make_file(name: str, *arguments: str) -> Path:
        path = folder / name
        subprocess.run([*FFMPEG, *arguments, f"file:{path}"], check=True)
        return path

    return make_file


MakeFilm = Callable[..., Path]


@pytest.fixture(scope="session")
def make_film() -> MakeFilm:
    """`make_film(path, [("red", 2.0), ("blue", 1.5)], sound=True)`: shots of plain colours."""

    def make(
        path: Path,
        shots: Sequence[tuple[str, float]],
        *,
        size: str = "96x64",
        rate: int = 10,
        sound: bool = False,
    ) -> Path:
        command = [*FFMPEG]
        for colour, seconds in shots:
            command += ["-f", "lavfi", "-i", f"color={colour}:s={size}:r={rate}:d={seconds}"]
        total = sum(seconds for _, seconds in shots)
        if sound:
            command += ["-f", "lavfi", "-i", f"sine=frequency=440:duration={total}"]
        joined = "".join(f"[{i}:v]" for i in range(len(shots)))
        command += ["-filter_complex", f"{joined}concat=n={len(shots)}:v=1:a=0[v]", "-map", "[v]"]
        if sound:
            command += ["-map", f"{len(shots)}:a", "-c:a", "aac"]
        command += ["-pix_fmt", "yuv420p", str(path)]
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(command, check=True)
        return path

    return make


@pytest.fixture(scope="session")
def speech_folder() -> Path:
    """A small Whisper that understands the words of benchmarks.spoken, which made it."""
    return Path(__file__).with_name("speech_model")


@pytest.fixture(scope="session")
def make_talk(make_film: MakeFilm) -> Callable[..., Path]:
    """`make_talk(path, 8.0, [(1.0, "red"), ...])`: a film in which words are said at their times.

    The picture is red and then blue; the sound is AAC.
    """
    from benchmarks.spoken import speech

    def make(path: Path, seconds: float, words: Sequence[tuple[float, str]]) -> Path:
        mute, sound = path.with_suffix(".mute.mp4"), path.with_suffix(".wav")
        make_film(mute, [("red", seconds / 2), ("blue", seconds / 2)])
        with wave.open(str(sound), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes((speech(seconds, words) * 32767).astype("<i2").tobytes())
        joined = ["-i", str(mute), "-i", str(sound), "-c:v", "copy", "-c:a", "aac", str(path)]
        subprocess.run([*FFMPEG, *joined], check=True)
        mute.unlink()
        sound.unlink()
        return path

    return make
