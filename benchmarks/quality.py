"""Ablation on captioned videos: which pooling, prototypes, corrections and encoder rank best.

    python -m benchmarks.quality DATA_FOLDER [--folder DIR]

DATA_FOLDER is that of `benchmarks.quality_videos`. Indexes its videos twice, with the shipped
projection and without (kept in DIR for another run), and works from stored features from there.
Prints one markdown table:

- R@1/5/10 of videos by their best clip (members of one dup_group count for each other), beside what
  chance gives, and the difference of R@1 to the default's with a paired bootstrap interval (95 %,
  over videos, whose questions go together);
- the mean tIoU of the best moment inside the right video;
- for prototypes the same through the index: only clips of the 20 nearest vectors are ranked, and
  how much of the exact ten best clips these hold.

Every row changes one thing of the default, which is the first row.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality_videos import CUTOFFS, groups_of
from indexer import index_videos
from indexer.prototypes import PrototypeBank
from search.bank import bank_vectors
from search.exact import FrameMatrix, frame_matrix
from search.moments import find_moments
from search.null import HUB_WEIGHT, hubness
from vidsift.library import Library
from vidsift.models.attention import MaxPool, MeanPool, Pooler, SoftmaxPool
from vidsift.types import RankedClip, Span

TEMPERATURES = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
NEAREST, BEST = 20, 10
RESAMPLES = 2000


@dataclass(frozen=True)
class Bench:
    """One library and what is asked of it: questions (q), clips (c), and which clips are right."""

    library: Library
    matrix: FrameMatrix
    entries: list[dict[str, Any]]
    of_entry: np.ndarray  # (q,) the entry that a question is about
    questions: np.ndarray  # (q, d)
    group: np.ndarray  # (c,) number of the group that a clip's video belongs to
    right: np.ndarray  # (q,) number of the group that answers a question

    @classmethod
    def of(cls, library: Library, entries: list[dict[str, Any]]) -> Bench:
        matrix = frame_matrix(library)
        groups = groups_of(entries)
        numbers = {name: number for number, name in enumerate(sorted(set(groups.values())))}
        number_of = {
            video.id: numbers[groups[video.path.name]]
            for video in library.catalog.videos("searchable")
        }
        of_entry = [i for i, entry in enumerate(entries) for _ in entry["queries"]]
        texts = [query for entry in entries for query in entry["queries"]]
        return cls(
            library,
            matrix,
            entries,
            np.array(of_entry),
            library.encoder.encode_texts(texts),
            np.array([number_of[video] for video in matrix.video_ids.tolist()]),
            np.array([numbers[groups[entries[i]["file"]]] for i in of_entry]),
        )

    def scores(self, pooler: Pooler, normalised: bool = False) -> np.ndarray:
        """Of every clip under every question, with what its surroundings bear out."""
        similarities = self.matrix.similarities(self.questions)
        alone = self.matrix.pool(similarities, pooler, normalised=normalised)
        temperature = self.library.settings.temperature
        return self.matrix.in_context(alone, similarities, temperature)

    def places(self, scores: np.ndarray) -> np.ndarray:
        """Of each question's right group: its place by best clip, from 1; scores (q, c)."""
        best = np.full((len(scores), self.group.max() + 1), -np.inf)
        for number in range(best.shape[1]):
            best[:, number] = scores[:, self.group == number].max(1)
        own = best[np.arange(len(best)), self.right][:, None]
        found = np.isfinite(own[:, 0])
        return np.asarray(np.where(found, 1 + (best > own).sum(1), best.shape[1]))

    def moments(self, pooler: Pooler, normalised: bool) -> np.ndarray:
        """tIoU of the best moment inside the right video, question by question."""
        found = []
        for entry in self.entries:
            if not entry.get("moments"):
                continue
            video = self.library.video(entry["file"])
            records = {r.id: r for r in self.library.catalog.clips_of_video(video.id)}
            chosen = self.matrix.video_ids == video.id
            vectors = self.library.encoder.encode_texts([t["query"] for t in entry["moments"]])
            for truth, vector in zip(entry["moments"], vectors[:, None], strict=True):
                scores = self.matrix.scores(vector, pooler, chosen, normalised=normalised)[0]
                ranked = []
                for place, score in zip(np.flatnonzero(chosen), scores.tolist(), strict=True):
                    s = self.matrix.frames(int(place)) @ vector[0]
                    record = records[int(self.matrix.clip_ids[place])]
                    ranked.append(RankedClip(record, score, s, np.full_like(s, 1 / len(s))))
                usual = float(self.matrix.similarities(vector).mean())
                span = next(find_moments(ranked, usual)).span
                found.append(span.tiou(Span(float(truth["start"]), float(truth["end"]))))
        return np.array(found)


def prepared(root: Path, encoder: str, data: Path) -> Library:
    """A library of the data's videos, indexed unless it is there."""
    library = Library.open(root, create=True, encoder=encoder)
    for path, reason in index_videos(library, [data / "videos"]).failed:
        print(f"not indexed: {path}: {reason}", file=sys.stderr)
    return library


def chance(bench: Bench) -> list[float]:
    """R@k of groups in random order of their videos."""
    total = len(bench.library.catalog.videos("searchable"))
    group = groups_of(bench.entries)
    figures = []
    for k in CUTOFFS:
        shares = []
        for i in bench.of_entry:
            own = group[bench.entries[i]["file"]]
            right = sum(other == own for other in group.values())
            shares.append(1 - np.prod([(total - right - j) / (total - j) for j in range(k)]))
        figures.append(float(np.mean(shares)))
    return figures


def interval(bench: Bench, difference: np.ndarray) -> tuple[float, float]:
    """95 % of the mean difference of paired questions, resampling videos."""
    random = np.random.default_rng(0)
    sums = np.bincount(bench.of_entry, difference)
    counts = np.bincount(bench.of_entry)
    drawn = random.integers(len(sums), size=(RESAMPLES, len(sums)))
    low, high = np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), [2.5, 97.5])
    return float(low), float(high)


class Table:
    """Prints rows beside the first one, the default."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.default: np.ndarray | None = None
        print("| what | R@1 | R@5 | R@10 | R@1 to the default (95 %) | mean tIoU | best 10 held |")
        print("|---|---|---|---|---|---|---|")

    def row(
        self, name: str, places: np.ndarray, tious: Sequence[float] = (), held: float | None = None
    ) -> None:
        if self.default is None:
            self.default = places
        recalls = " | ".join(f"{(places <= k).mean():.3f}" for k in CUTOFFS)
        difference = (places <= 1) - (self.default <= 1).astype(float)
        low, high = interval(self.bench, difference)
        shown = f"{difference.mean():+.3f} ({low:+.3f} to {high:+.3f})"
        tiou = f"{np.mean(tious):.3f}" if len(tious) else ""
        kept = "" if held is None else f"{held:.3f}"
        print(f"| {name} | {recalls} | {shown} | {tiou} | {kept} |", flush=True)


def pooling(bench: Bench, table: Table) -> None:
    """Each training-free pooler, its vector left as it is and made unit length."""
    default = bench.library.pooler
    table.row(
        f"default: softmax, temperature {bench.library.settings.temperature:g}",
        bench.places(bench.scores(default)),
        bench.moments(default, False).tolist(),
    )
    alone = bench.matrix.scores(bench.questions, default)
    table.row("each clip without its surroundings", bench.places(alone))
    poolers: dict[str, Pooler] = {"mean": MeanPool(), "max": MaxPool()}
    poolers |= {f"softmax, temperature {t:g}": SoftmaxPool(t) for t in TEMPERATURES}
    for name, pooler in poolers.items():
        for normalised in (False, True):
            if normalised and isinstance(pooler, MaxPool):
                continue  # the best frame has unit length
            scores = bench.scores(pooler, normalised)
            table.row(
                f"{name}, normalised" if normalised else name,
                bench.places(scores),
                bench.moments(pooler, normalised).tolist(),
            )


def prototypes(bench: Bench, table: Table) -> None:
    """The index's K vectors a clip: what the first stage lets through."""
    matrix, library = bench.matrix, bench.library
    scores = matrix.scores(bench.questions, library.pooler)  # (q, c)
    best = np.argsort(-scores, axis=1)[:, :BEST]
    for most in (1, 2, 3, 4):
        bank = PrototypeBank.for_encoder(library.encoder, library.pooler, most)
        vectors = [bank.vectors(matrix.frames(place)).vectors for place in range(len(matrix))]
        clip_of = np.repeat(np.arange(len(matrix)), [len(v) for v in vectors])
        nearest = np.argsort(-(bench.questions @ np.concatenate(vectors).T), axis=1)[:, :NEAREST]
        passed = np.full(scores.shape, -np.inf)
        rows = np.arange(len(scores))[:, None]
        passed[rows, clip_of[nearest]] = scores[rows, clip_of[nearest]]
        held = np.isfinite(passed[rows, best]).mean()
        size = f"{len(clip_of)} vectors of {len(matrix)} clips"
        name = f"through the index, clips alone, K = {most} ({size}), {NEAREST} nearest"
        table.row(name, bench.places(passed), held=float(held))


def correction(bench: Bench, table: Table) -> None:
    """Hubness taken off the clips' scores."""
    matrix, pooler = bench.matrix, bench.library.pooler
    near, _ = hubness(matrix.scores(bank_vectors(bench.library.encoder), pooler).T)
    scores = bench.scores(pooler)
    for weight in sorted({0.25, 0.5, float(HUB_WEIGHT), 1.0}):
        table.row(f"hubness taken off, weight {weight:g}", bench.places(scores - weight * near))


def main() -> None:
    """Index what is not there, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    entries = json.loads((arguments.data / "videos.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        with prepared(folder / "builtin", "builtin", arguments.data) as library:
            bench = Bench.of(library, entries)
            levels = " / ".join(f"{level:.3f}" for level in chance(bench))
            print(
                f"{len(entries)} videos, {len(bench.questions)} questions,"
                f" {sum(len(e.get('moments', [])) for e in entries)} moments;"
                f" chance R@1/5/10 {levels}\n"
            )
            table = Table(bench)
            parts: list[Callable[[Bench, Table], None]] = [pooling, prototypes, correction]
            for part in parts:
                part(bench, table)
        with prepared(folder / "conse", "builtin:conse", arguments.data) as library:
            bare = Bench.of(library, entries)
            scores = bare.scores(library.pooler)
            tious = bare.moments(library.pooler, False).tolist()
            table.row("without the projection", bare.places(scores), tious)


if __name__ == "__main__":
    main()
