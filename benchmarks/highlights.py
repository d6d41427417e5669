"""What is unusual: are planted anomalies found in long dull footage?

    python -m benchmarks.highlights DATA_FOLDER [--library DIR] [--films 30]

DATA_FOLDER is that of `benchmarks.quality_videos`; its videos are indexed (into DIR, if it is
given). A film of 15 minutes goes to and fro between a few sources, some of them often and some
rarely, which it plays forwards and backwards; three times another source, from no duplicate of
them, is spliced in for 3 to 6 s; then the same with one anomaly that comes twice. Films are
composed of stored features, not of pictures: each frame lies somewhere between two sampled ones,
and has noise that takes its cosine with the clean one to 0.95. Each frame is scored against the
rest of the film, or against a first part without anomalies (the baseline).

Prints for each way of scoring the area under the ROC curve of frames, the share of anomalous frames
that stand above 95 % of the normal ones, and how many of the three best moments are an anomaly;
means over films, with the interval of 95 % by a bootstrap over films. Beside them the distance to
the mean of all frames, and chance. Then how often the rate that is told is kept: of normal clips,
the share whose conformal p-value is at most 5 %.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality_videos import groups_of
from indexer import index_videos
from search.duplicates import Whitening
from summarizer import unusual
from summarizer.unusual import Footage, judge
from vidsift.library import Library

Array = np.ndarray[Any, Any]

FILM_SECONDS, RATE, ANOMALIES, APART = 900.0, 2.0, 3, 10.0
NOISE = float(np.sqrt(1 / 0.95**2 - 1))
CLIP = 8  # frames


@dataclass(frozen=True)
class Film:
    """Frames (n, d), which of them are of an anomaly, and the number of each one's anomaly or 0."""

    frames: Array
    event: Array

    @property
    def odd(self) -> Array:
        """Which frames are anomalous."""
        return self.event > 0

    def footage(self, chosen: Array | slice = slice(None)) -> Footage:
        """The frames, as what is judged."""
        count = len(self.frames)
        seconds = np.arange(count) / RATE
        return Footage(self.frames[chosen], np.zeros(count, np.int64)[chosen], seconds[chosen])


def unit(vectors: Array) -> Array:
    """Rows of unit length, float32."""
    lengths: Array = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def played(source: Array, count: int, random: np.random.Generator) -> Array:
    """So many frames of a source from somewhere on, to and fro, between the sampled frames."""
    there_and_back = np.concatenate([source, source[-2:0:-1]])
    at = random.uniform(0, len(there_and_back)) + np.arange(count)
    low = np.floor(at).astype(int) % len(there_and_back)
    share: Array = (at % 1)[:, None]
    nearby = there_and_back[(low + 1) % len(there_and_back)]
    clean = unit((1 - share) * there_and_back[low] + share * nearby)
    noise = unit(np.asarray(random.standard_normal(clean.shape))) * NOISE
    return unit(clean + noise)


def compose(sources: dict[str, Array], groups: dict[str, str], seed: int, kinds: int) -> Film:
    """A dull film with its anomalies, of so many sources, none of them in its first third."""
    random = np.random.default_rng(seed)
    names = list(sources)
    usual = random.choice(names, int(random.integers(2, 6)), replace=False).tolist()
    others = [name for name in names if groups[name] not in {groups[each] for each in usual}]
    often = random.dirichlet(np.ones(len(usual)))
    odd = random.choice(others, kinds, replace=False).tolist()
    frames, event = [], []
    done = 0
    starts = random.uniform(FILM_SECONDS / 3, FILM_SECONDS - 10, 100)
    apart = [s for i, s in enumerate(starts) if all(abs(s - t) > 30 for t in starts[:i])]
    for number, at in enumerate([*sorted(apart[:ANOMALIES]), FILM_SECONDS], 1):
        while done < at * RATE:
            count = min(int(random.uniform(6, 30) * RATE), int(np.ceil(at * RATE)) - done)
            frames.append(played(sources[str(random.choice(usual, p=often))], count, random))
            event.append(np.zeros(count, int))
            done += count
        if number <= ANOMALIES:
            count = int(random.uniform(3, 6) * RATE)
            frames.append(played(sources[odd[number % kinds]], count, random))
            event.append(np.full(count, number))
            done += count
    return Film(np.concatenate(frames), np.concatenate(event))


def area(scores: Array, odd: Array) -> float:
    """Under the ROC curve: how often an odd frame scores above a normal one."""
    order = np.argsort(np.argsort(scores, kind="stable")) + 1
    positives = int(odd.sum())
    rank_sum = float(order[odd].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * (len(odd) - positives))


def measures(scores: Array, film: Film, judged: Array) -> list[float]:
    """Area, share above 95 % of normal frames, share of the best three moments that are odd."""
    odd, event = film.odd[judged], film.event[judged]
    above = float((scores[odd] > np.quantile(scores[~odd], 0.95)).mean())
    found, left = [], scores.astype(float).copy()
    for _ in range(ANOMALIES):
        best = int(np.argmax(left))
        found.append(bool(odd[best]))
        left[max(0, best - 8) : best + 9] = -np.inf
        if odd[best]:
            left[event == event[best]] = -np.inf
    return [area(scores, odd), above, float(np.mean(found))]


Score = Callable[[Film, Array, Array], Array]


def raw(frames: Array) -> Callable[[Array], Array]:
    """Features as they are."""
    return lambda rows: rows


def centred(frames: Array) -> Callable[[Array], Array]:
    """Less the mean of what is normal."""
    mean = frames.mean(0)
    return lambda rows: unit(rows - mean)


def whitened(frames: Array) -> Callable[[Array], Array]:
    """Whitened by what is normal."""
    return Whitening.of(frames)


def by_neighbours(
    method: unusual.Method, k: int, space: Callable[[Array], Callable[[Array], Array]]
) -> Score:
    """Scores of `summarizer.unusual` with k neighbours, in one of the spaces."""

    def score(film: Film, judged: Array, normal: Array) -> Array:
        to = space(film.frames[normal])
        moved = Film(to(film.frames), film.event)
        kept = unusual._NEIGHBOURS[method]
        unusual._NEIGHBOURS[method] = k
        try:
            return judge(moved.footage(judged), moved.footage(normal), APART, method).scores
        finally:
            unusual._NEIGHBOURS[method] = kept

    return score


def from_mean(film: Film, judged: Array, normal: Array) -> Array:
    """Distance to the mean of what is normal."""
    mean = unit(film.frames[normal].mean(0, keepdims=True))[0]
    return np.asarray(1 - film.frames[judged] @ mean)


def by_chance(film: Film, judged: Array, normal: Array) -> Array:
    """Numbers that know nothing."""
    return np.random.default_rng(len(film.frames)).random(int(judged.sum()))


def ways() -> dict[str, Score]:
    """All ways of scoring."""
    found: dict[str, Score] = {}
    for k in (1, 3, 5, 10):
        found[f"knn, k = {k}, raw"] = by_neighbours("knn", k, raw)
    for k in (10, 20, 40):
        found[f"lof, k = {k}, raw"] = by_neighbours("lof", k, raw)
    for space in (centred, whitened):
        found[f"knn, k = 5, {space.__name__}"] = by_neighbours("knn", 5, space)
        found[f"lof, k = 20, {space.__name__}"] = by_neighbours("lof", 20, space)
    return found | {"distance to the mean": from_mean, "random": by_chance}


def interval(values: Array) -> tuple[float, float]:
    """95 % of the mean by bootstrap."""
    drawn = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
    low, high = np.percentile(values[drawn].mean(1), [2.5, 97.5])
    return float(low), float(high)


def compare(films: list[Film], against: str) -> None:
    """One line for each way."""
    print(f"\n{len(films)} films, each frame against {against}")
    print(f"  {'':<28}  AUC{'':<18} above 95 %{'':<11} best three")
    for name, score in ways().items():
        found, began = [], time.perf_counter()
        for film in films:
            everything = np.ones(len(film.frames), bool)
            if against == "the rest":
                judged = normal = everything
            else:
                normal = np.arange(len(everything)) < FILM_SECONDS / 3 * RATE
                judged = ~normal
            found.append(measures(score(film, judged, normal), film, judged))
        table = np.array(found)
        cells = [
            f"{column.mean():.3f} [{low:.3f}, {high:.3f}]"
            for column in table.T
            for low, high in [interval(column)]
        ]
        took = (time.perf_counter() - began) / len(films)
        print(f"  {name:<28} {'  '.join(cells)}  {took:.2f} s", flush=True)


def rates(films: list[Film], method: unusual.Method) -> None:
    """Whether normal clips are called unusual as often as the rate says, against a baseline."""
    shares = []
    for film in films:
        normal = np.arange(len(film.frames)) < FILM_SECONDS / 3 * RATE
        judged = ~normal & ~film.odd
        found = judge(film.footage(judged), film.footage(normal), APART, method)
        clips = np.arange(0, len(found.scores), CLIP)
        usual = np.maximum.reduceat(found.usual, np.arange(0, len(found.usual), CLIP))
        highest = np.maximum.reduceat(found.scores, clips)
        as_high = (usual >= highest[:, None]).sum(1)
        shares.append(np.mean((1 + as_high) / (1 + len(usual)) <= 0.05))
    low, high = interval(np.array(shares))
    print(f"  {method}: {np.mean(shares):.3f} [{low:.3f}, {high:.3f}] of normal clips at most 5 %")


def sources_of(library: Library, names: list[str]) -> dict[str, Array]:
    """The features of each video that is long enough to be played to and fro."""
    found = {}
    for name in names:
        video = library.video(name)
        frames = np.asarray(library.features.open(video.feature_file), np.float32)
        if len(frames) >= 8:
            found[name] = frames
    return found


def main() -> None:
    """Index, compose, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--films", type=int, default=30)
    arguments = parser.parse_args()
    entries = json.loads((arguments.data / "videos.json").read_text())
    with (
        tempfile.TemporaryDirectory() as scratch,
        Library.open(arguments.library or scratch, create=True) as library,
    ):
        index_videos(library, [arguments.data / "videos"])
        sources = sources_of(library, [entry["file"] for entry in entries])
    groups = groups_of(entries)
    films = [compose(sources, groups, seed, ANOMALIES) for seed in range(arguments.films)]
    twice = [compose(sources, groups, seed, ANOMALIES - 1) for seed in range(arguments.films)]
    compare(films, "the rest")
    print("\nthe same, but two of the three anomalies are of one source")
    compare(twice, "the rest")
    compare(films, "a baseline")
    print("\nconformal rates against a baseline")
    for method in ("knn", "lof"):
        rates(films, method)


if __name__ == "__main__":
    main()
