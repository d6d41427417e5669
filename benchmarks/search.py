"""Latency of a warm search, end to end, over the floor of encoding the question.

    python -m benchmarks.search [--sizes 10000 100000 1000000] [--queries 200] [--folder DIR]

Builds libraries of synthetic clips (real catalog, real feature files, real index; 3 vectors a
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
from fractions import Fraction
from pathlib import Path

import numpy as np

from indexer.prototypes import prototype_texts
from search import SearchEngine
from vidsift.library import Library
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
    VideoProbe,
)

WARM_UP = 200  # other questions, after which files are open and pages of the database at hand
CLIPS_A_VIDEO, FRAMES_A_CLIP, VECTORS_A_CLIP, SECONDS_A_CLIP = 400, 8, 3, 4.0


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of unit length, float32."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / lengths, dtype=np.float32)


def synthetic_video(number: int, clips: int, texts: np.ndarray) -> IndexedVideo:
    """A video whose clips lie about random mixtures of text directions, as ConSE's frames do."""
    random = np.random.default_rng(number)
    weights = random.dirichlet(np.full(len(texts), 0.01), clips).astype(np.float32)  # (c, t)
    centres = unit(weights @ texts)  # (c, d)
    noise = random.standard_normal((clips, FRAMES_A_CLIP, texts.shape[1]), dtype=np.float32)
    frames = unit(centres[:, None] + 0.02 * noise)  # (c, n, d)
    pts = np.arange(clips * FRAMES_A_CLIP) * (SECONDS_A_CLIP / FRAMES_A_CLIP)
    spans = [Span(i * SECONDS_A_CLIP, (i + 1) * SECONDS_A_CLIP) for i in range(clips)]
    path = Path(f"/synthetic/{number:06d}.mp4")
    return IndexedVideo(
        probe=VideoProbe(
            path,
            "mp4",
            "h264",
            "yuv420p",
            640,
            360,
            0,
            Fraction(25),
            spans[-1].end,
            0.0,
            False,
            False,
        ),
        fingerprint=Fingerprint(1, 1, f"{number:064x}"),
        duration_seconds=spans[-1].end,
        shots=tuple(Shot(span) for span in spans),
        clips=tuple(
            Clip(span, i, i * FRAMES_A_CLIP, FRAMES_A_CLIP) for i, span in enumerate(spans)
        ),
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
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
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
