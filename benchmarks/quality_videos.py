"""Quality on captioned videos: does a question find its video, and the moment in it?

    python -m benchmarks.quality_videos DATA_FOLDER [--library DIR]

DATA_FOLDER holds `videos.json` and `videos/`: a list of {"file", "queries": [..], "dup_group"?,
"moments"?: [{"start", "end", "query"}]}. Prints R@1/5/10 (a video counts once, members of one
dup_group count for each other) with the interval of 95 % by a bootstrap over videos, the mean tIoU
of moments inside the right video, and how much of the exact query-conditioned ranking the
candidates hold: each beside its chance level and n.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from indexer import index_videos
from search import SearchEngine
from search.candidates import nearest_clips
from search.exact import frame_matrix
from search.moments import find_moments
from search.query import encode_query
from search.rerank import rerank
from vidsift.library import Library
from vidsift.types import ClipRecord, Span

CUTOFFS = (1, 5, 10)
RESAMPLES = 2000


def groups_of(entries: list[dict[str, Any]]) -> dict[str, str]:
    """File name -> name of its group of duplicates (itself if it has none)."""
    return {entry["file"]: entry.get("dup_group", entry["file"]) for entry in entries}


def recall(library: Library, entries: list[dict[str, Any]]) -> None:
    """Text to video: rank of the first right video among distinct videos."""
    group = groups_of(entries)
    engine = SearchEngine(library)
    total = len(library.catalog.videos("searchable"))
    chance = dict.fromkeys(CUTOFFS, 0.0)
    hits: list[list[bool]] = []  # of each question, by cutoff
    owners: list[int] = []
    for owner, entry in enumerate(entries):
        right = sum(group[other["file"]] == group[entry["file"]] for other in entries)
        for query in entry["queries"]:
            found = [result.video.name for result in engine.search(query, 100)]
            ranked = [group[name] for name in dict.fromkeys(found)]
            hits.append([group[entry["file"]] in ranked[:k] for k in CUTOFFS])
            owners.append(owner)
            for k in CUTOFFS:
                miss = np.prod([(total - right - i) / (total - i) for i in range(k)])
                chance[k] += 1 - float(miss)
    n = len(hits)
    print(f"text to video, {total} videos, {n} questions")
    for k, shares in zip(CUTOFFS, np.array(hits, float).T, strict=True):
        low, high = clustered_interval(shares, np.array(owners))
        print(
            f"  R@{k:<2} {shares.mean():.3f} [{low:.3f}, {high:.3f}]   chance {chance[k] / n:.3f}"
        )


def clustered_interval(values: np.ndarray, owners: np.ndarray) -> tuple[float, float]:
    """95 % of the mean by bootstrap over owners, whose values stand and fall together."""
    sums, counts = np.bincount(owners, values), np.bincount(owners)
    drawn = np.random.default_rng(0).integers(len(sums), size=(RESAMPLES, len(sums)))
    low, high = np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), [2.5, 97.5])
    return float(low), float(high)


def moments(library: Library, entries: list[dict[str, Any]], seed: int = 0) -> None:
    """Inside the right video: tIoU of the best moment, against a random span of like length."""
    random = np.random.default_rng(seed)
    matrix = frame_matrix(library)
    scores, baseline, whole = [], [], []
    for entry in entries:
        if not entry.get("moments"):
            continue
        video = library.video(entry["file"])
        records = library.catalog.clips_of_video(video.id)
        for truth in entry["moments"]:
            span = Span(float(truth["start"]), float(truth["end"]))
            query = encode_query(truth["query"], library.encoder)
            ranked = rerank(query, records, library.features, library.pooler)
            usual = matrix.similarities(query.vector[np.newaxis]).mean()
            best = next(find_moments(ranked, float(usual))).span
            scores.append(best.tiou(span))
            whole.append(Span(0.0, video.duration_seconds).tiou(span))
            length = min(best.duration, video.duration_seconds)
            starts = random.uniform(0, max(video.duration_seconds - length, 1e-6), 50).tolist()
            baseline.append(np.mean([Span(s, s + length).tiou(span) for s in starts]))
    found = np.array(scores)
    print(f"moments inside the right video, n = {len(found)}")
    print(f"  mean tIoU   {found.mean():.3f}   random span {np.mean(baseline):.3f}"
          f"   whole video {np.mean(whole):.3f}")  # fmt: skip
    print(f"  tIoU >= 0.5 {np.mean(found >= 0.5):.3f}   whole video"
          f" {np.mean(np.array(whole) >= 0.5):.3f}")  # fmt: skip


def candidate_recall(library: Library, entries: list[dict[str, Any]], most: int) -> None:
    """How much of the exact query-conditioned top 10 clips is among the candidates."""
    records: list[ClipRecord] = []
    for video in library.catalog.videos("searchable"):
        records += library.catalog.clips_of_video(video.id)
    held = []
    for entry in entries:
        for text in entry["queries"]:
            query = encode_query(text, library.encoder)
            exact = rerank(query, records, library.features, library.pooler)[:10]
            found = nearest_clips(query.vector[np.newaxis], library, None, most)
            ids = {record.id for record in found}
            held.append(np.mean([clip.record.id in ids for clip in exact]))
    vectors = library.catalog.num_vectors()
    chance = min(1.0, most / vectors)
    print(f"exact top 10 among {most} candidates ({vectors} vectors, {len(records)} clips,"
          f" n = {len(held)}): {np.mean(held):.4f}  chance {chance:.3f}")  # fmt: skip


def main() -> None:
    """Index unless the library is there already, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("--library", type=Path)
    arguments = parser.parse_args()
    entries = json.loads((arguments.data / "videos.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.library or Path(scratch)
        with Library.open(root, create=True) as library:
            report = index_videos(library, [arguments.data / "videos"])
            for path, reason in report.failed:
                print(f"not indexed: {path}: {reason}", file=sys.stderr)
            recall(library, entries)
            moments(library, entries)
            for most in (50, 100, 200):
                candidate_recall(library, entries, most)


if __name__ == "__main__":
    main()
