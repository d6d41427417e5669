"""Training on a library: which frames a caption is about, what is left out, what is written."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from search.training import TrainingProgress, train_pooler
from vidsift.errors import AnnotationError, PoolerError
from vidsift.library import Library
from vidsift.models.attention import SoftmaxPool
from vidsift.models.learned_attention import AdditivePool, MultiHeadPool
from vidsift.models.pooler_checkpoint import read_checkpoint
from vidsift.models.training_pairs import Recipe
from vidsift.types import (
    Clip,
    ClipVectors,
    EncoderStamp,
    Fingerprint,
    FrameFeatures,
    IndexedVideo,
    Segment,
    Shot,
    Span,
    Summary,
    VideoProbe,
)

DIMENSION = 16
FRAMES, STEP = 40, 0.5  # of each video, and seconds between two
RECIPE = Recipe(epochs=2, batch_size=8, device="cpu")


class WordEncoder:
    """Each word has a direction of its own; a text is the sum of its words'."""

    stamp = EncoderStamp("words", "0" * 64, DIMENSION, "none")
    picture_size = 32

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode_texts(self, texts):
        self.texts += texts
        rows = [
            sum((word_vector(word) for word in text.split()), np.zeros(DIMENSION)) for text in texts
        ]
        return unit(np.array(rows))

    def close(self) -> None:
        pass


def word_vector(word: str) -> np.ndarray:
    return np.random.default_rng(list(word.encode())).standard_normal(DIMENSION)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def film(name: str, number: int, frames: np.ndarray) -> IndexedVideo:
    """A video of these frame features, in two clips."""
    path = Path(f"/videos/{name}")
    duration = len(frames) * STEP
    half = len(frames) // 2
    spans = (Span(0.0, half * STEP), Span(half * STEP, duration))
    return IndexedVideo(
        probe=VideoProbe(
            path, "mp4", "h264", "yuv420p", 64, 64, 0, Fraction(25), duration, 0.0, False, False
        ),
        fingerprint=Fingerprint(1, 1, f"{number:064x}"),
        duration_seconds=duration,
        shots=tuple(map(Shot, spans)),
        clips=(Clip(spans[0], 0, 0, half), Clip(spans[1], 1, half, len(frames) - half)),
        features=FrameFeatures(frames.astype(np.float16), np.arange(len(frames)) * STEP),
        vectors=(ClipVectors(unit(frames[:1])), ClipVectors(unit(frames[-1:]))),
        thumbnails=(b"", b""),
        summary=Summary("", (Segment(spans[0], 1.0),), duration),
    )


@pytest.fixture
def library(tmp_path):
    """Eight videos v0.mp4 ... v7.mp4: "subject<i>" from 10 to 12 s, and noise around it."""
    with Library.open(tmp_path / "library", create=True, encoder="words") as opened:
        encoder = WordEncoder()
        opened.__dict__["encoder"] = encoder
        opened.catalog.set_stamp(encoder.stamp)
        rng = np.random.default_rng(0)
        for i in range(8):
            frames = rng.standard_normal((FRAMES, DIMENSION))
            frames[20:24] = 0.01 * frames[20:24] + word_vector(f"subject{i}")
            add(opened, film(f"v{i}.mp4", i, unit(frames)))
        yield opened


def add(library: Library, video: IndexedVideo) -> None:
    name = f"{video.fingerprint.sha256[-8:]}-{video.probe.path.stem}.npy"
    sha256 = library.features.write(name, video.features.features)
    library.catalog.commit_video(video, name, sha256)


def captions(tmp_path: Path, *lines: dict) -> Path:
    path = tmp_path / "captions.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture
def whole(tmp_path) -> Path:
    return captions(tmp_path, *({"video": f"v{i}", "text": f"subject{i}"} for i in range(8)))


def seen_by(monkeypatch) -> dict:
    """What reaches training, in place of training."""
    from vidsift.models import attention_training

    seen = {}
    fit = attention_training.fit

    def spy(train, validation, *args, **options):
        seen.update(train=train, validation=validation)
        return fit(train, validation, *args, **options)

    monkeypatch.setattr(attention_training, "fit", spy)
    return seen


def rows_of(library: Library, name: str, frames: np.ndarray) -> list[int]:
    """Which rows of a video's features these frames are."""
    stored = library.features.open(library.video(name).feature_file)
    return [int(np.flatnonzero((stored == frame).all(1))[0]) for frame in frames]


def test_a_caption_of_a_video_is_about_frames_spread_over_it(library, whole, monkeypatch):
    seen = seen_by(monkeypatch)
    train_pooler(library, whole, recipe=RECIPE)
    pairs = seen["train"]
    assert pairs.frames.shape == (6, 16, DIMENSION)
    assert pairs.mask.all()
    video = library.catalog.video(int(pairs.videos[0]))
    rows = rows_of(library, video.path.name, pairs.frames[0])
    assert rows == sorted(rows)
    assert (rows[0], rows[-1]) == (0, FRAMES - 1)
    assert set(np.diff(rows)) <= {2, 3}


def test_a_caption_of_a_span_is_about_its_frames_and_as_many_that_distract(
    library, tmp_path, monkeypatch
):
    seen = seen_by(monkeypatch)
    file = captions(
        tmp_path,
        {"video": "v0", "text": "subject0", "start": 10.0, "end": 12.0},
        {"video": "v0", "text": "more", "start": 2.0, "end": 16.0},
        {"video": "v0", "text": "between two frames", "start": 3.6, "end": 3.9},
        *(
            {"video": f"v{i}", "text": f"subject{i}", "start": 10.0, "end": 12.0}
            for i in range(1, 8)
        ),
    )
    train_pooler(library, file, recipe=RECIPE)
    found = {}
    for pairs in (seen["train"], seen["validation"]):
        for query, item in zip(pairs.queries, pairs.items, strict=True):
            if pairs.videos[item] == library.video("v0").id:
                rows = rows_of(library, "v0.mp4", pairs.frames[item][pairs.mask[item]])
                for text in ("subject0", "more", "between two frames"):
                    if np.allclose(query, library.encoder.encode_texts([text])[0]):
                        found[text] = rows
    assert [row for row in found["subject0"] if 20 <= row < 24] == [20, 21, 22, 23]
    assert len(found["subject0"]) == 4 + 8
    inside = [row for row in found["more"] if 4 <= row < 32]
    assert (len(inside), inside[0], inside[-1], len(found["more"])) == (8, 4, 31, 16)
    assert 7 in found["between two frames"]
    assert len(found["between two frames"]) == 1 + 8
    assert all(rows == sorted(rows) for rows in found.values())


def test_training_and_validation_share_no_video(library, whole, monkeypatch):
    seen = seen_by(monkeypatch)
    report = train_pooler(library, whole, recipe=RECIPE)
    train, validation = seen["train"], seen["validation"]
    assert len(set(validation.videos)) == 2
    assert not set(train.videos) & set(validation.videos)
    assert report.figures["captions"] == 6
    assert report.figures["validation_captions"] == 2
    assert report.figures["chance"] == 0.5
    assert set(report.figures["untrained"]) == {"mean", "max", "softmax"}


def test_each_text_is_encoded_once(library, tmp_path):
    lines = [{"video": f"v{i}", "text": f"subject{i % 4}"} for i in range(8)]
    train_pooler(library, captions(tmp_path, *lines, *lines), recipe=RECIPE)
    assert sorted(library.encoder.texts) == [f"subject{i}" for i in range(4)]


def test_copies_of_a_video_are_trained_on_once(library, whole, monkeypatch):
    seen = seen_by(monkeypatch)
    frames = library.features.open(library.video("v3").feature_file)
    add(library, film("copy of v3.mp4", 3, frames))
    train_pooler(library, whole, recipe=RECIPE)
    assert len(seen["train"].items) + len(seen["validation"].items) == 8


def test_the_trained_pooler_is_the_librarys_from_then_on(library, whole):
    report = train_pooler(library, whole, recipe=RECIPE)
    assert report.checkpoint == library.root / "poolers" / "multi-head.safetensors"
    assert sorted(path.name for path in library.poolers.iterdir()) == ["multi-head.safetensors"]
    assert read_checkpoint(report.checkpoint).stamp == WordEncoder.stamp
    assert isinstance(library.pooler, SoftmaxPool)
    for name in ("multi-head", "multi-head.safetensors", str(report.checkpoint)):
        with Library.open(library.root, pooler=name) as again:
            assert isinstance(again.pooler, MultiHeadPool)
    with Library.open(library.root, pooler="no-such") as again, pytest.raises(PoolerError) as error:
        _ = again.pooler
    assert "multi-head.safetensors" in str(error.value)


def test_a_pooler_of_another_librarys_encoder_is_refused(library, whole, tmp_path):
    file = train_pooler(library, whole, recipe=RECIPE).checkpoint
    with Library.open(tmp_path / "other", create=True, pooler=str(file)) as other:
        other.catalog.set_stamp(EncoderStamp("builtin", "f" * 64, DIMENSION, "p"))
        with pytest.raises(PoolerError, match="trained for encoder 'words'"):
            _ = other.pooler


def test_figures_are_in_the_checkpoint(library, whole, tmp_path):
    recipe = Recipe(kind="additive", epochs=1, seed=3, device="cpu")
    report = train_pooler(library, whole, recipe=recipe, out=tmp_path / "a.safetensors")
    found = read_checkpoint(tmp_path / "a.safetensors")
    assert isinstance(found.pool, AdditivePool)
    assert found.figures == report.figures
    assert found.figures["recipe"]["seed"] == 3
    assert 0 <= found.figures["recall_at_1"] <= 1
    assert report.epochs == 1


def test_progress_goes_from_captions_to_the_last_step(library, whole):
    shown: list[TrainingProgress] = []
    train_pooler(library, whole, recipe=RECIPE, on_progress=shown.append)
    assert [progress.stage for progress in shown[:2]] == ["captions", "captions"]
    steps = [progress for progress in shown if progress.stage == "training"]
    assert (steps[-1].done, steps[-1].total, steps[-1].epoch) == (2, 2, 2)
    assert all(a.done <= b.done for a, b in itertools.pairwise(steps))
    assert steps[-1].recall_at_1 is not None


def test_a_run_that_was_cut_off_left_a_pooler_and_goes_on(library, whole, tmp_path):
    file = tmp_path / "cut.safetensors"

    def interrupt(progress: TrainingProgress) -> None:
        if progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_pooler(library, whole, recipe=RECIPE, out=file, on_progress=interrupt)
    assert isinstance(read_checkpoint(file).pool, MultiHeadPool)
    assert (tmp_path / "cut.safetensors.state").exists()
    resumed = train_pooler(library, whole, recipe=RECIPE, out=file, resume=True)
    expected = train_pooler(library, whole, recipe=RECIPE, out=tmp_path / "whole.safetensors")
    assert resumed.figures == expected.figures
    mine, theirs = read_checkpoint(file).pool, read_checkpoint(expected.checkpoint).pool
    assert all(np.array_equal(mine.tensors[name], theirs.tensors[name]) for name in theirs.tensors)
    assert not (tmp_path / "cut.safetensors.state").exists()
    with pytest.raises(PoolerError, match="leave --resume out"):
        train_pooler(library, whole, recipe=RECIPE, out=file, resume=True)


def test_captions_of_unknown_videos_and_broken_lines_are_named_and_the_rest_is_used(library, whole):
    whole.write_text(
        whole.read_text()
        + '\n{"video": "elsewhere", "text": "a dog"}\n{"video": "v1"}\n'
        + '{"video": "v2", "text": "late", "start": 100, "end": 110}\n'
    )
    report = train_pooler(library, whole, recipe=RECIPE)
    assert report.unknown_videos == ("elsewhere",)
    assert len(report.skipped) == 2
    assert any(f"{whole}:10" in line for line in report.skipped)
    assert any("v2" in line and "100" in line for line in report.skipped)


def test_captions_that_nothing_can_be_learned_from_are_refused(library, tmp_path):
    few = [{"video": f"v{i}", "text": "x"} for i in range(3)]
    with pytest.raises(AnnotationError) as error:
        train_pooler(library, captions(tmp_path, *few, {"video": "w", "text": "x"}))
    assert "captions of 3 videos" in str(error.value)
    assert "(1 are not in the library: w)" in str(error.value)
    with pytest.raises(AnnotationError, match="no caption is of a video"):
        train_pooler(library, captions(tmp_path, {"video": "w", "text": "x"}))
    with pytest.raises(AnnotationError, match="absent"):
        train_pooler(library, tmp_path / "absent.jsonl")


@pytest.mark.slow
def test_training_finds_the_frames_that_matter(tmp_path):
    """Every frame but two is of something else, and all carry the same strong nuisance."""
    with Library.open(tmp_path / "library", create=True, encoder="words") as opened:
        opened.__dict__["encoder"] = WordEncoder()
        opened.catalog.set_stamp(WordEncoder.stamp)
        rng = np.random.default_rng(1)
        lines = []
        for i in range(150):
            frames = rng.standard_normal((16, DIMENSION))
            frames[rng.integers(0, 15) :][:2] = word_vector(f"thing{i}")
            frames[:, :4] += 4 * rng.standard_normal((16, 4))
            add(opened, film(f"v{i}.mp4", i, unit(frames)))
            lines.append({"video": f"v{i}.mp4", "text": f"thing{i}"})
        recipe = Recipe(epochs=30, batch_size=32, learning_rate=1e-3, device="cpu")
        report = train_pooler(opened, captions(tmp_path, *lines), recipe=recipe)
    untrained = report.figures["untrained"]
    assert report.figures["recall_at_1"] >= max(untrained.values()) + 0.1
