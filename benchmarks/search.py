"""Latency of a warm search, end to end, over the floor of encoding the question.

    python -m benchmarks.search [--sizes 10000 100000 1000000] [--queries 200] [--folder DIR]

First every pooler, over the floor of its matrix products alone, in alternation: training-free ones
score 50,000 clips of 12 frames exactly; all rerank 1,000 clips, from memory and from a library's
feature files. `--sizes` without numbers ends there.

Then builds libraries of synthetic clips (real catalog, real feature files, real index; 3 vectors a
clip, 8 frames a clip, 384 dimensions) and asks real questions in words: encoding, candidates,
rerank over stored features, moments. The floor is encoding the same questions alone, in the same
run and in alternation. Also prints how much of the exact nearest 10 the index finds among 200.
"""

from __future__ import annotations

if __name__ == "search":  # run by its path, this file hides our package of the same name
    raise SystemExit("run a benchmark as a module: python -m benchmarks.NAME")

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.feature_videos import mute_probe
from search import SearchEngine
from search.bank import prototype_texts
from search.exact import FrameMatrix, is_small
from search.rerank import score_clips
from vidsift.library import Library
from vidsift.models.attention import MaxPool, MeanPool, Pooler, SoftmaxPool, pad_clips
from vidsift.models.learned_attention import AdditivePool, DotProductPool, MultiHeadPool
from vidsift.types import (
    Clip,
    ClipVectors,
    Fingerprint,
    FrameFeatures,
    IndexedVideo,
    Segment,
    Shot,
    Span,
    Summary,
)

WARM_UP = 200  # other questions, after which files are open and pages of the database at hand
EXACT_CLIPS, RERANKED_CLIPS, POOLED_FRAMES, DIMENSION = 50_000, 1_000, 12, 384
ROUNDS = 15
CLIPS_A_VIDEO, FRAMES_A_CLIP, VECTORS_A_CLIP, SECONDS_A_CLIP = 400, 8, 3, 4.0


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of unit length, float32."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / lengths, dtype=np.float32)


def beside(floor: Callable[[], object], measured: dict[str, Callable[[], object]]) -> None:
    """Median of each over the floor's, round by round in alternation."""
    times: dict[str, list[float]] = {"matrix products alone": [], **{name: [] for name in measured}}
    every = {"matrix products alone": floor, **measured}
    for _ in range(ROUNDS + 1):
        for name, call in every.items():
            call()  # so that each finds the same in the processor's caches: its own
            began = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - began)
    least = np.median(times["matrix products alone"][1:])  # the first round warms up
    for name, values in times.items():
        p50 = np.median(values[1:])
        print(f"  {name:<34} {p50 * 1000:6.1f} ms   {p50 / least:5.2f} of the floor", flush=True)


def exact() -> None:
    """Training-free poolers over every clip of a library, one question at a time."""
    random = np.random.default_rng(0)
    count = EXACT_CLIPS * POOLED_FRAMES
    rows = random.standard_normal((count, DIMENSION), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    lengths = np.full(EXACT_CLIPS, POOLED_FRAMES)
    ids = np.arange(1, EXACT_CLIPS + 1)
    matrix = FrameMatrix(rows, np.cumsum(lengths) - lengths, lengths, ids, ids // CLIPS_A_VIDEO)
    query = unit(random.standard_normal((1, DIMENSION), dtype=np.float32))
    poolers: dict[str, Pooler] = {
        "softmax": SoftmaxPool(),
        "mean": MeanPool(),
        "max": MaxPool(),
    }
    print(f"exact, {EXACT_CLIPS:,} clips of {POOLED_FRAMES} frames, {DIMENSION} dimensions")
    measured: dict[str, Callable[[], object]] = {
        name: partial(matrix.scores, query, pooler) for name, pooler in poolers.items()
    }
    measured["softmax, normalised (Gram form)"] = partial(
        matrix.scores, query, SoftmaxPool(), normalised=True
    )
    beside(lambda: rows @ query[0], measured)


def rerank() -> None:
    """Every pooler over a thousand candidates, from memory and from a library."""
    texts = unit(np.random.default_rng(0).standard_normal((973, DIMENSION)))
    video = synthetic_video(0, RERANKED_CLIPS, texts, POOLED_FRAMES)
    stored = np.asarray(video.features.features, dtype=np.float32)
    frames, mask = pad_clips(np.split(stored, RERANKED_CLIPS))  # (c, n, d)
    query = texts[:1]
    weights = np.full((RERANKED_CLIPS, 1, POOLED_FRAMES), 1 / POOLED_FRAMES, np.float32)
    d = texts.shape[1]
    poolers: dict[str, Pooler] = {
        "softmax": SoftmaxPool(),
        "mean": MeanPool(),
        "max": MaxPool(),
        "additive": AdditivePool.random(d),
        "dot-product": DotProductPool.random(d),
        "multi-head, 1 head": MultiHeadPool.identity(d),
        "multi-head, 4 heads": MultiHeadPool.identity(d, heads=4),
    }

    def products() -> None:
        np.matmul(frames, query.T)  # similarities; small products, so that BLAS wakes no thread
        np.matmul(weights, frames)  # pooled vectors

    print(f"rerank, {RERANKED_CLIPS:,} clips of {POOLED_FRAMES} frames, {d} dimensions")
    with tempfile.TemporaryDirectory() as scratch, Library.open(scratch, create=True) as library:
        name = library.features.write("0.npy", video.features.features)
        number = library.catalog.commit_video(video, "0.npy", name)
        records = library.catalog.clips_of_video(number)
        measured: dict[str, Callable[[], object]] = {}
        for name, pooler in poolers.items():
            measured[name] = partial(pooler, query, frames, mask)
            measured[f"{name}, from files"] = partial(
                score_clips, query, records, library.features, pooler
            )
        beside(products, measured)


def synthetic_video(
    number: int, clips: int, texts: np.ndarray, num_frames: int = FRAMES_A_CLIP
) -> IndexedVideo:
    """A video whose clips lie about random mixtures of text directions, as ConSE's frames do."""
    random = np.random.default_rng(number)
    weights = random.dirichlet(np.full(len(texts), 0.01), clips).astype(np.float32)  # (c, t)
    centres = unit(weights @ texts)  # (c, d)
    noise = random.standard_normal((clips, num_frames, texts.shape[1]), dtype=np.float32)
    frames = unit(centres[:, None] + 0.02 * noise)  # (c, n, d)
    pts = np.arange(clips * num_frames) * (SECONDS_A_CLIP / num_frames)
    spans = [Span(i * SECONDS_A_CLIP, (i + 1) * SECONDS_A_CLIP) for i in range(clips)]
    path = Path(f"/synthetic/{number:06d}.mp4")
    return IndexedVideo(
        probe=mute_probe(path, spans[-1].end),
        fingerprint=Fingerprint(1, 1, f"{number:064x}"),
        duration_seconds=spans[-1].end,
        shots=tuple(Shot(span) for span in spans),
        clips=tuple(Clip(span, i, i * num_frames, num_frames) for i, span in enumerate(spans)),
        features=FrameFeatures(frames.reshape(-1, texts.shape[1]).astype(np.float16), pts),
        vectors=tuple(ClipVectors(frames[i, :VECTORS_A_CLIP]) for i in range(clips)),
        thumbnails=(b"",) * clips,
        summary=Summary("", (Segment(spans[0], 1.0),), SECONDS_A_CLIP),
    )


def grow(library: Library, size: int, texts: np.ndarray) -> None:
    """Commit synthetic videos until the library holds `size` vectors, then build the index."""
    number = len(library.catalog.videos())
    missing = size - library.catalog.num_vectors()
    began = time.perf_counter()
    while missing > 0:
        clips = min(CLIPS_A_VIDEO, -(-missing // VECTORS_A_CLIP))
        video = synthetic_video(number, clips, texts)
        name = f"{number:06d}.npy"
        library.catalog.commit_video(
            video, name, library.features.write(name, video.features.features)
        )
        missing -= clips * VECTORS_A_CLIP
        number += 1
    committed = time.perf_counter()
    library.index(write=True)
    print(f"\n{library.catalog.num_vectors():,} vectors: committed in {committed - began:.0f} s,"
          f" index caught up in {time.perf_counter() - committed:.0f} s", flush=True)  # fmt: skip


def latency(library: Library, questions: list[str]) -> None:
    """p50 and p95 of a search and of its floor, question by question in alternation."""
    engine = SearchEngine(library)
    way = "scored exactly" if is_small(library) else "through the index"
    print(f"  {library.catalog.num_clips()[0]:,} clips, {way}")
    floors, searches = [], []
    for warm in questions[:WARM_UP]:
        engine.search(warm)
    for question in questions[WARM_UP:]:
        began = time.perf_counter()
        library.encoder.encode_texts([question])
        middle = time.perf_counter()
        engine.search(question)
        floors.append(middle - began)
        searches.append(time.perf_counter() - middle)
    for name, values in (("encoding alone", floors), ("search", searches)):
        p50, p95 = np.percentile(values, [50, 95]) * 1000
        print(f"  {name:<14} p50 {p50:6.2f} ms  p95 {p95:6.2f} ms")
    print(f"  search / floor, p50: {np.median(searches) / np.median(floors):.2f}")


def recall(library: Library, questions: list[str]) -> None:
    """How much of the exact nearest 10 vectors is among the index's 200."""
    queries = library.encoder.encode_texts(questions)
    best_scores = np.full((len(queries), 10), -np.inf, np.float32)
    best_ids = np.zeros((len(queries), 10), np.int64)
    for ids, vectors in library.catalog.iter_vectors():
        scores = np.concatenate([best_scores, queries @ vectors.T], axis=1)
        every = np.concatenate([best_ids, np.broadcast_to(ids, (len(queries), len(ids)))], axis=1)
        top = np.argpartition(-scores, 10, axis=1)[:, :10]
        best_scores = np.take_along_axis(scores, top, axis=1)
        best_ids = np.take_along_axis(every, top, axis=1)
    _, found = library.index().search(queries, 200)
    held = [np.isin(exact, ids).mean() for exact, ids in zip(best_ids, found, strict=True)]
    print(f"  exact nearest 10 among the index's 200: {np.mean(held):.4f}")


def main() -> None:
    """Grow one library through the sizes and measure at each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    exact()
    rerank()
    if not arguments.sizes:
        return
    questions = list(prototype_texts())[:: max(1, 973 // (arguments.queries + WARM_UP))]
    with (
        tempfile.TemporaryDirectory() as scratch,
        Library.open(arguments.folder or scratch, create=True) as library,
    ):
        library.catalog.set_stamp(library.encoder.stamp)
        texts = library.encoder.encode_texts(prototype_texts())
        for size in arguments.sizes:
            grow(library, size, texts)
            latency(library, questions)
            recall(library, questions)


if __name__ == "__main__":
    main()
