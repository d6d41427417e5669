"""Are summaries worth watching? Films of many sources whose contents are known beforehand.

    python -m benchmarks.summary DATA_FOLDER [--library DIR] [--films 8] [--render] [--hours 2]

DATA_FOLDER holds `videos.json` ({"file", "queries", "dup_group"?}) and `videos/`. Films are composed
of the features that indexing stores (`benchmarks.summary_films`); `--render` also renders one film
by ffmpeg and indexes it, to show that both agree. Prints, with intervals of 95 % by a bootstrap over
films,

* of a generic summary of 15 %: how many of the film's subjects it shows, and how much of it shows
  again what it has shown, for ours (knapsack, greedy) and, with as many segments of the same length,
  uniform, random and k-means selection;
* of a summary about the question of each subject: precision and recall of the asked footage beside
  its base rate;
* the time to summarise films of an hour and more, generic and about a question.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans

from benchmarks.summary_films import (
    Film,
    Source,
    asked,
    compose,
    coverage,
    film_of,
    repeated,
    sources_of,
)
from indexer import index_videos
from search.candidates import frames_sample
from search.combine import Background
from summarizer.summary import choose_segments
from vidsift.library import Library
from vidsift.media.cut import render_segments
from vidsift.media.probe import probe
from vidsift.types import Span

Array = np.ndarray[Any, Any]
Choice = Callable[[Film, int, int], list[Span]]

RATIO = 0.15
RESAMPLES = 2000
RANDOM_DRAWS = 20


def ours(film: Film, selection: Any, relevance: Array | None = None) -> list[Span]:
    """What `vidsift summarize` would show."""
    summary = choose_segments(
        film.features,
        film.clips,
        film.shots,
        RATIO * film.seconds,
        relevance=relevance,
        selection=selection,
    )
    return [segment.span for segment in summary.segments]


def around(film: Film, middles: Array, length: float) -> list[Span]:
    """Segments of one length about these times, moved apart where they would overlap."""
    starts = np.sort(middles) - length / 2
    for i in range(1, len(starts)):
        starts[i] = max(starts[i], starts[i - 1] + length)
    starts = np.minimum(starts, film.seconds - length * np.arange(len(starts), 0, -1))
    return [Span(max(0.0, start), max(0.0, start) + length) for start in starts.tolist()]


def uniform(film: Film, count: int, seed: int) -> list[Span]:
    """Segments at even distances."""
    middles = (np.arange(count) + 0.5) * film.seconds / count
    return around(film, middles, RATIO * film.seconds / count)


def at_random(film: Film, count: int, seed: int) -> list[Span]:
    """Segments anywhere, apart."""
    middles = np.random.default_rng(seed).uniform(0, film.seconds, count)
    return around(film, middles, RATIO * film.seconds / count)


def k_means(film: Film, count: int, seed: int) -> list[Span]:
    """A segment about the frame nearest to each of k centres of the film's frames."""
    frames = film.features.features
    clusters = KMeans(count, n_init=3, random_state=seed).fit(frames)
    nearest = clusters.transform(frames).argmin(axis=0)
    middles = film.features.pts_seconds[nearest] + 0.25
    return around(film, middles, RATIO * film.seconds / count)


def interval(values: Sequence[float]) -> str:
    """Mean and 95 % of it by a bootstrap."""
    own = np.array(values)
    drawn = np.random.default_rng(0).integers(len(own), size=(RESAMPLES, len(own)))
    low, high = np.percentile(own[drawn].mean(1), [2.5, 97.5])
    return f"{own.mean():.3f} [{low:.3f}, {high:.3f}]"


def generic(films: Sequence[Film]) -> None:
    """Coverage and repetition of each way to select."""
    spans: dict[str, list[list[list[Span]]]] = {
        "knapsack": [[ours(film, "knapsack")] for film in films],
        "greedy": [[ours(film, "greedy")] for film in films],
    }
    counts = [len(each[0]) for each in spans["knapsack"]]
    others: dict[str, tuple[Choice, int]] = {
        "uniform": (uniform, 1), "random": (at_random, RANDOM_DRAWS), "k-means": (k_means, 3),
    }  # fmt: skip
    for name, (choose, draws) in others.items():
        spans[name] = [
            [choose(film, count, seed) for seed in range(draws)]
            for film, count in zip(films, counts, strict=True)
        ]
    print(f"generic, {RATIO:.0%}: mean over {len(films)} films [95 %]; as many segments for all")
    print(
        "             subjects shown         same footage again     same subject again   segments"
    )
    found: dict[str, Array] = {}
    for name, of_films in spans.items():
        rows = [
            np.mean([(coverage(film, each), *repeated(film, each)) for each in draws], axis=0)
            for film, draws in zip(films, of_films, strict=True)
        ]
        found[name] = np.array(rows)
        number = np.mean([len(draws[0]) for draws in of_films])
        print(f"  {name:<9}  " + "  ".join(interval(column) for column in found[name].T)
              + f"  {number:.1f}")  # fmt: skip
    random = np.random.default_rng(0)
    drawn = random.integers(len(films), size=(RESAMPLES, len(films)))
    for name in ("knapsack", "greedy", "k-means"):
        ratios = found[name][drawn].mean(1) / found["uniform"][drawn].mean(1)
        low, high = np.percentile(ratios, [2.5, 97.5], axis=0)
        mean = found[name].mean(0) / found["uniform"].mean(0)
        print(f"  {name} / uniform: " + "  ".join(
            f"{m:.2f} [{a:.2f}, {b:.2f}]" for m, a, b in zip(mean, low, high, strict=True)))  # fmt: skip
    apart = found["greedy"] - found["knapsack"]
    print("  greedy - knapsack: " + "  ".join(interval(column) for column in apart.T))


def about(library: Library, films: Sequence[Film]) -> None:
    """Precision and recall of the footage that the question of each subject asks for."""
    sample = frames_sample(library)
    for selection in ("knapsack", "greedy"):
        rows = []
        for film in films:
            questions = {part.source.subject: part.source.question for part in film.parts}
            vectors = library.encoder.encode_texts(list(questions.values()))
            usual = Background.of(vectors @ sample.T)
            own = []
            for i, subject in enumerate(questions):
                similarities = (film.features.features @ vectors[i]).astype(np.float64)
                relevance = (similarities - usual.mean[i]) / usual.deviation[i]
                precision, recall = asked(film, ours(film, selection, relevance), subject)
                base, _ = asked(film, [Span(0.0, film.seconds)], subject)
                best = min(1.0, base / RATIO)
                own.append((precision, recall, base, best))
            rows.append(np.mean(own, axis=0))
        found = np.array(rows)
        drawn = np.random.default_rng(0).integers(len(films), size=(RESAMPLES, len(films)))
        ratios = found[drawn, 0].mean(1) / found[drawn, 2].mean(1)
        low, high = np.percentile(ratios, [2.5, 97.5])
        print(f"about a question, {selection}: precision {interval(found[:, 0])}"
              f" (best possible {found[:, 3].mean():.3f}), recall {interval(found[:, 1])},"
              f" base rate {found[:, 2].mean():.3f}:"
              f" {found[:, 0].mean() / found[:, 2].mean():.2f} times [{low:.2f}, {high:.2f}]")  # fmt: skip


def coarse(library: Library, folder: Path) -> None:
    """Smaller and coarser encodings of the library's videos, for repeats."""
    folder.mkdir(parents=True, exist_ok=True)
    for record in library.catalog.videos("searchable"):
        out = folder / f"{record.path.stem}.mp4"
        if 3 <= record.duration_seconds < 40 and not out.exists():
            span = Span(0.0, record.duration_seconds)
            render_segments(probe(record.path), [span], out, max_height=144)


def main() -> None:
    """Index unless the library is there already, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--coarse", type=Path, help="folder of coarser encodings; made if absent")
    parser.add_argument("--films", type=int, default=8)
    arguments = parser.parse_args()
    entries = json.loads((arguments.data / "videos.json").read_text())
    with (
        tempfile.TemporaryDirectory() as scratch,
        Library.open(arguments.library or Path(scratch) / "own", create=True) as library,
    ):
        index_videos(library, [arguments.data / "videos"])
        folder = arguments.coarse or Path(scratch) / "coarse"
        coarse(library, folder / "videos")
        with Library.open(folder / "library", create=True) as smaller:
            index_videos(smaller, [folder / "videos"])
            repeats = {each.name: each for each in sources_of(smaller, entries)}
        sources = sources_of(library, entries)
        films = [compose(sources, repeats, seed) for seed in range(arguments.films)]
        lengths = [film.seconds for film in films]
        print(f"{len(films)} films of {min(lengths):.0f} to {max(lengths):.0f} s,"
              f" {len(films[0].subjects)} subjects each, {np.mean([len(f.parts) for f in films]):.0f} parts")  # fmt: skip
        generic(films)
        about(library, films)


if __name__ == "__main__":
    main()
