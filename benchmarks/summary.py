"""Are summaries worth watching? Films of many sources whose contents are known beforehand.

    python -m benchmarks.summary DATA_FOLDER [--library DIR] [--coarse DIR] [--films 8]

DATA_FOLDER holds `videos.json` ({"file", "queries", "dup_group"?}) and `videos/`. Films are
composed of the features that indexing stores (`benchmarks.summary_films`). Prints, with intervals
of 95 % by a bootstrap over films,

* of a generic summary of 15 %: how many of the film's subjects it shows, and how much of it shows
  again what it has shown, for ours (knapsack, greedy) and, with as many segments of one length,
  uniform, random and k-means selection;
* of a summary about the question of each subject: precision and recall of the asked footage beside
  its base rate;
* the same of one film that is rendered by ffmpeg and indexed, beside its composed features;
* the time to summarise an hour and two of indexed video, generic and about a question.
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
    asked,
    compose,
    coverage,
    film_of,
    repeated,
    sources_of,
)
from benchmarks.summary_library import commit_film, render_film
from indexer import index_videos
from search.candidates import frames_sample
from search.combine import Background
from summarizer.summary import choose_segments, summarize
from vidsift.library import Library
from vidsift.media.cut import render_segments
from vidsift.media.probe import probe
from vidsift.types import Span

Array = np.ndarray[Any, Any]
Choice = Callable[[Film, int, int], list[Span]]

RATIO = 0.15
RESAMPLES = 2000
RANDOM_DRAWS = 20
SELECTIONS = ("knapsack", "greedy")


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
    clusters = KMeans(count, n_init=3, random_state=seed).fit(film.features.features)
    nearest = clusters.transform(film.features.features).argmin(axis=0)
    middles = film.features.pts_seconds[nearest] + 0.25
    return around(film, middles, RATIO * film.seconds / count)


def interval(values: Sequence[float] | Array) -> str:
    """Mean and 95 % of it by a bootstrap."""
    own = np.asarray(values)
    drawn = np.random.default_rng(0).integers(len(own), size=(RESAMPLES, len(own)))
    low, high = np.percentile(own[drawn].mean(1), [2.5, 97.5])
    return f"{own.mean():.3f} [{low:.3f}, {high:.3f}]"


def ratio(above: Array, below: Array) -> str:
    """Ratio of two means over the same films and 95 % of it by a bootstrap."""
    drawn = np.random.default_rng(0).integers(len(above), size=(RESAMPLES, len(above)))
    low, high = np.percentile(above[drawn].mean(1) / below[drawn].mean(1), [2.5, 97.5])
    return f"{above.mean() / below.mean():.2f} [{low:.2f}, {high:.2f}]"


def of_generic(film: Film, spans: list[Span]) -> tuple[float, float, float]:
    """Subjects shown; same footage again; same subject again."""
    return (coverage(film, spans), *repeated(film, spans))


def generic(films: Sequence[Film]) -> None:
    """Coverage and repetition of each way to select."""
    spans: dict[str, list[list[list[Span]]]] = {
        name: [[ours(film, name)] for film in films] for name in SELECTIONS
    }
    counts = [len(each[0]) for each in spans["knapsack"]]
    others: dict[str, tuple[Choice, int]] = {
        "uniform": (uniform, 1),
        "random": (at_random, RANDOM_DRAWS),
        "k-means": (k_means, 3),
    }
    for name, (choose, draws) in others.items():
        spans[name] = [
            [choose(film, count, seed) for seed in range(draws)]
            for film, count in zip(films, counts, strict=True)
        ]
    print(f"generic, {RATIO:.0%}, {np.mean(counts):.1f} segments: mean over {len(films)} films")
    print(f"{'':11}{'subjects shown':22} {'same footage again':22} same subject again")
    found: dict[str, Array] = {}
    for name, of_films in spans.items():
        found[name] = np.array([
            np.mean([of_generic(film, each) for each in draws], axis=0)
            for film, draws in zip(films, of_films, strict=True)
        ])  # fmt: skip
        print(f"  {name:<9}" + " ".join(interval(column) for column in found[name].T))
    for name in (*SELECTIONS, "k-means"):
        columns = zip(found[name].T, found["uniform"].T, strict=True)
        print(f"  {name} / uniform: " + "  ".join(ratio(*pair) for pair in columns))
    apart = found["greedy"] - found["knapsack"]
    print("  greedy - knapsack: " + "  ".join(interval(column) for column in apart.T))


def of_questions(library: Library, film: Film, selection: str) -> Array:
    """Mean precision, recall, base rate and best precision over the subjects' questions."""
    sample = frames_sample(library)
    questions = {part.source.subject: part.source.question for part in film.parts}
    vectors = library.encoder.encode_texts(list(questions.values()))
    usual = Background.of(vectors @ sample.T)
    rows = []
    for i, subject in enumerate(questions):
        similarities = (film.features.features @ vectors[i]).astype(np.float64)
        relevance = (similarities - usual.mean[i]) / usual.deviation[i]
        precision, recall = asked(film, ours(film, selection, relevance), subject)
        base, _ = asked(film, [Span(0.0, film.seconds)], subject)
        rows.append((precision, recall, base, min(1.0, base / RATIO)))
    return np.asarray(np.mean(rows, axis=0))


def about(library: Library, films: Sequence[Film]) -> None:
    """Precision and recall of the footage that the question of each subject asks for."""
    print(f"about a question: {sum(len(film.subjects) for film in films)} questions")
    for selection in SELECTIONS:
        found = np.array([of_questions(library, film, selection) for film in films])
        print(f"  {selection}: precision {interval(found[:, 0])}, at best {found[:, 3].mean():.3f};"
              f" recall {interval(found[:, 1])}; base rate {found[:, 2].mean():.3f};"
              f" precision / base rate {ratio(found[:, 0], found[:, 2])}")  # fmt: skip


def rendered(library: Library, film: Film, folder: Path) -> None:
    """One film by its composed features, and rendered and indexed."""
    began = time.perf_counter()
    real = render_film(library, film, folder)
    print(f"one film of {film.seconds:.0f} s, rendered and indexed in"
          f" {time.perf_counter() - began:.0f} s: {len(film.clips)} clips composed,"
          f" {len(real.clips)} indexed")  # fmt: skip
    for name, each in (("composed", film), ("indexed", real)):
        spans = ours(each, "greedy")
        count = len(spans)
        values = " ".join(f"{value:.3f}" for value in of_generic(each, spans))
        even = " ".join(f"{v:.3f}" for v in of_generic(each, uniform(each, count, 0)))
        precision, recall, base, _ = of_questions(library, each, "greedy")
        print(f"  {name}: {count} segments, {values} (uniform {even}); about a question:"
              f" precision {precision:.3f}, recall {recall:.3f}, base rate {base:.3f}")  # fmt: skip


def times(library: Library, films: Sequence[Film], folder: Path) -> None:
    """How long a summary of an hour and of two takes, warm, in a library of their own."""
    own = library.encoder
    with Library.open(folder, create=True, encoder=library.encoder_name) as long:
        long.catalog.set_stamp(own.stamp)
        for hours in (1, 2):
            parts = [part for film in films for part in film.parts]
            whole = film_of((parts * (1 + 7200 // int(films[0].seconds)))[: 33 * 8 * hours])
            record = commit_film(long, whole, hours)
            for query in ("", "a dog on a beach", '"a man" then "a car"'):
                taken = []
                for _ in range(6):
                    start = time.perf_counter()
                    summarize(long, record, query)
                    taken.append(time.perf_counter() - start)
                print(f"  {whole.seconds / 3600:.2f} h, {query or 'generic'}: first"
                      f" {taken[0]:.2f} s, then {np.median(taken[1:]):.2f} s")  # fmt: skip


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
    parser.add_argument("--coarse", type=Path, help="coarser encodings; made if absent")
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
            repeats = {each.path.stem: each for each in sources_of(smaller, entries)}
        sources = sources_of(library, entries)
        films = [compose(sources, repeats, seed) for seed in range(arguments.films)]
        lengths = [film.seconds for film in films]
        print(f"{len(films)} films of {min(lengths):.0f} to {max(lengths):.0f} s,"
              f" {np.mean([len(film.subjects) for film in films]):.0f} subjects and"
              f" {np.mean([len(film.parts) for film in films]):.0f} parts each")  # fmt: skip
        generic(films)
        about(library, films)
        rendered(library, films[0], Path(scratch) / "rendered")
        print("time to summarise:")
        times(library, films, Path(scratch) / "long")


if __name__ == "__main__":
    main()
