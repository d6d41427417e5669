"""Questions of several parts: which numbers join terms, exclude and learn from feedback best?

    python -m benchmarks.questions DATA_FOLDER [--library DIR]

DATA_FOLDER holds `photos.json`, `photos/`, `videos.json` and `videos/`. Measures

* several terms: pictures are made of two photographs, one above the other. The captions of both
  are to find their picture among all photographs and twice as many pictures of other pairs; and two
  questions of one video their video, with a higher score than two of different videos reach.
* exclusion: a caption without the other's is to find its photograph rather than the two together.
  A question of a video is to lose it when its other question is excluded, and else to keep it.
* feedback: a user says no to wrong videos above the right one (at most 3) or yes to one of two
  duplicates. Where a question means one of two things ("a cat or a train"), no to 3 of the other.
* order: two moments of one video by their own questions, and how long the search for chains takes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.composed import (
    Array,
    Case,
    Photos,
    Videos,
    cases_of,
    load_photos,
    load_videos,
    rank,
    recalls,
)
from indexer import index_videos
from search.combine import TEMPERATURE, Background, combine_values
from search.feedback import BETA, GAMMA, rocchio
from search.order import StepCurves, find_chains
from search.question import Step, Term
from search.rerank import score_clips
from vidsift.library import Library
from vidsift.models.encoder import Encoder

TEMPERATURES = (1e6, 8.0, 4.0, 2.0, 1.0, 1e-3)
PAIRINGS = 4  # of the photographs, at random: so many pictures of two for each photograph
EXCLUSIONS = ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 2.0), (1.0, 4.0), (1.5, 2.0), (2.0, 2.0))
BOTH = Step((Term("a"), Term("b")))
WITHOUT = Step((Term("a"),), (Term("b"),))


def joined(step: Step, values: Array, **numbers: float) -> Array:
    """Values (m, x) of the step's terms as one (x,), the background taken over them."""
    return combine_values(step, values, Background.of(values), **numbers)


def measure_photos(cases: list[Case]) -> None:
    """Several terms and exclusion on pictures of two photographs."""
    print(f"two captions to the picture of both among {cases[0].values.shape[1]}, R@1/5/10")
    print(f"  one text, 'A and B'        {recalls([rank(c.as_one, c.both) for c in cases])}")
    print(f"  sum of cosines             {recalls([rank(c.values.sum(0), c.both) for c in cases])}")
    for temperature in TEMPERATURES:
        ranks = [rank(joined(BOTH, c.values, temperature=temperature), c.both) for c in cases]
        print(f"  soft minimum, T = {temperature:<8g} {recalls(ranks)}")
    print("one caption without the other: its photograph before both together; R of the photograph")
    for start, rate in EXCLUSIONS:
        numbers = {"exclusion_from": start, "exclusion_rate": rate}
        found = [(joined(WITHOUT, c.values, **numbers), c) for c in cases]
        before = np.mean([values[c.own] > values[c.both] for values, c in found])
        ranks = [rank(values, c.own) for values, c in found]
        print(f"  from {start:g}, rate {rate:g}: {before:.3f}; {recalls(ranks)}")


def measure_terms_of_videos(videos: Videos) -> None:
    """Two questions of one video against two of different ones; exclusion of one's own."""
    random = np.random.default_rng(0)
    first = np.arange(0, len(videos.vectors), 2)
    group, scores = videos.question_group, videos.scored.scores

    def another(question: int) -> int:
        return int(random.choice(np.flatnonzero(group != group[question])))

    mixed = [(int(q), another(int(q))) for q in first for _ in range(5)]
    print("two questions of a video: R@1/5/10 of it; best score above that of 95 % of mixed pairs")
    for temperature in TEMPERATURES:

        def best(a: int, b: int, temperature: float = temperature) -> Array:
            return videos.best(joined(BOTH, scores[[a, b]], temperature=temperature))

        own = {int(q): best(int(q), int(q) + 1) for q in first}
        ranks = [rank(values, group[q]) for q, values in own.items()]
        bar = np.quantile([best(a, b).max() for a, b in mixed], 0.95)
        above = np.mean([values.max() > bar for values in own.values()])
        print(f"  T = {temperature:<8g} {recalls(ranks)}; {above:.3f}")
    print("its own other question excluded: R@1/5/10 of the video; another video's excluded")
    unrelated = [(q, another(q)) for q in range(len(group)) for _ in range(3)]
    related = [(q, q ^ 1) for q in range(len(group))]
    for start, rate in EXCLUSIONS:
        numbers = {"exclusion_from": start, "exclusion_rate": rate}
        own_ranks, other_ranks = (
            [rank(videos.best(joined(WITHOUT, scores[[a, b]], **numbers)), group[a])
             for a, b in cases]
            for cases in (related, unrelated)
        )  # fmt: skip
        print(f"  from {start:g}, rate {rate:g}: {recalls(own_ranks)}; {recalls(other_ranks)}")


def measure_feedback(videos: Videos, library: Library) -> None:
    """Simulated users; every video or photograph that was judged is left out of the ranking."""

    def rescore(vector: Array) -> Array:
        records = videos.scored.records
        scored = score_clips(vector[None], records, library.features, library.pooler)
        return np.asarray(scored.scores[0])

    def shown(question: int, clip: int) -> Array:
        mean = videos.scored.weights[clip][question] @ videos.frames[clip]
        return np.asarray(mean / np.linalg.norm(mean), np.float32)

    none = np.zeros((0, videos.vectors.shape[1]), np.float32)
    print(f"no to at most 3 wrong videos above the right one, R@1/5/10 of it (gamma {GAMMA})")
    for gamma in (0.0, 0.02, 0.05, 0.1, 0.25):
        ranks = []
        for question, vector in enumerate(videos.vectors):
            right = videos.question_group[question]
            scores = videos.scored.scores[question]
            groups = videos.clip_group[np.argsort(-scores)]
            ordered = list(dict.fromkeys(groups.tolist()))
            wrong = ordered[: min(3, ordered.index(right))]
            if wrong:
                clips = [videos.best_clip(question, videos.clip_group == g) for g in wrong]
                no = np.stack([shown(question, c) for c in clips])
                best = videos.best(rescore(rocchio(vector, none, no, gamma=gamma)))
                best[wrong] = -np.inf
                ranks.append(rank(best, right))
        print(f"  gamma {gamma:<5g} {recalls(ranks)}")
    print(f"yes to one of two duplicates, R@1/5/10 of the other (beta {BETA})")
    for beta in (0.0, 0.25, 0.5, 0.75, 1.0, 2.0):
        ranks = []
        for question, vector in enumerate(videos.vectors):
            own, group = videos.question_video[question], videos.question_group[question]
            other = videos.clip_video[(videos.clip_group == group) & (videos.clip_video != own)]
            if len(other):
                clip = videos.best_clip(question, videos.clip_video == own)
                moved = rescore(rocchio(vector, shown(question, clip)[None], none, beta=beta))
                moved[videos.clip_video == own] = -np.inf
                best = np.full(videos.clip_video.max() + 1, -np.inf)
                np.maximum.at(best, videos.clip_video, moved)
                ranks.append(rank(best, int(other[0])))
        print(f"  beta {beta:<5g} {recalls(ranks)}")


def measure_ambiguous(photos: Photos, encoder: Encoder) -> None:
    """A question that means one of two things, of which the other is rejected."""
    words = ["baseball", "bathroom", "bear", "bed", "bus", "cat", "desk", "dog", "elephant",
             "food", "kitchen", "laptop", "sign", "train", "toilet"]  # fmt: skip
    texts = encoder.encode_texts(words)
    said = [
        Counter(w for text in each for w in set(re.findall("[a-z]+", text.lower())))
        for each in photos.captions
    ]
    shows = np.array([[counts[word] >= 3 for counts in said] for word in words])
    none = texts[:0]
    print("one of two things meant, no to 3 of the other: mean average precision")
    for gamma in (0.0, 0.02, 0.05, 0.1, 0.2, 0.3):
        found = []
        for a, b in itertools.permutations(range(len(words)), 2):
            query = (texts[a] + texts[b]) / np.linalg.norm(texts[a] + texts[b])
            right = shows[a] & ~shows[b]
            order = np.argsort(-(photos.single @ query))
            no = [k for k in order[:20] if not right[k]][:3]
            rest = np.array([k for k in order if k not in no])
            moved = rocchio(query, none, photos.single[no], gamma=gamma)
            hits = right[rest[np.argsort(-(photos.single[rest] @ moved))]]
            found.append(np.mean(np.cumsum(hits)[hits] / (np.flatnonzero(hits) + 1)))
        print(f"  gamma {gamma:<5g} {np.mean(found):.3f} (n = {len(found)})")


def measure_order(library: Library, entries: list[dict[str, Any]], videos: Videos) -> None:
    """Two moments of one video by their questions; and the time of the search for chains."""
    names = [entry["file"] for entry in entries]
    all_frames = np.concatenate(videos.frames)
    records = videos.scored.records
    ranks = []
    for place, entry in enumerate(entries):
        for first, second in itertools.permutations(entry.get("moments", []), 2):
            if first["end"] > second["start"] + 0.5:
                continue
            vectors = library.encoder.encode_texts([first["query"], second["query"]])
            usual = Background.of(vectors @ all_frames.T)
            best = np.full(videos.question_group.max() + 1, -np.inf)
            for video in range(len(names)):
                clips = np.flatnonzero(videos.clip_video == video)
                pts = np.concatenate([records[c].pts_seconds for c in clips])
                curves = StepCurves(
                    video,
                    np.repeat(clips, [len(videos.frames[c]) for c in clips]),
                    pts,
                    np.r_[pts[1:], pts[-1] + 0.5],
                    vectors @ np.concatenate([videos.frames[c] for c in clips]).T,
                )
                group = videos.clip_group[clips[0]]
                for chain in find_chains(curves, usual, (None, None)):
                    best[group] = max(best[group], chain.score)
            ranks.append(rank(best, videos.question_group[2 * place]))
    print(f"one moment then another, R@1/5/10 of their video: {recalls(ranks)}")
    random = np.random.default_rng(0)
    times = np.arange(7200) / 2
    usual = Background(np.zeros(2, np.float32), np.ones(2, np.float32))
    hours = [
        StepCurves(
            v, np.zeros(7200, int), times, times + 0.5, random.normal(size=(2, 7200)).astype("f4")
        )
        for v in range(20)
    ]
    for limit in (None, 20.0):

        def search(limit: float | None = limit) -> None:
            for curves in hours:
                find_chains(curves, usual, (None, limit))

        print(f"chains of 2 in 20 videos of 1 h at 2 Hz, limit {limit}: {median_ms(search):.0f} ms")


def median_ms(run: Callable[[], None], repeats: int = 9) -> float:
    """Median wall time in milliseconds."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return 1000 * float(np.median(taken))


def main() -> None:
    """Index unless the library is there already, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("--library", type=Path)
    arguments = parser.parse_args()
    entries = json.loads((arguments.data / "videos.json").read_text())
    print(f"defaults: T = {TEMPERATURE:g}, beta = {BETA:g}, gamma = {GAMMA:g}")
    with (
        tempfile.TemporaryDirectory() as scratch,
        Library.open(arguments.library or Path(scratch), create=True) as library,
    ):
        index_videos(library, [arguments.data / "videos"])
        encoder = library.encoder
        pairings = load_photos(arguments.data, encoder, PAIRINGS)
        videos = load_videos(library, entries)
        measure_photos([case for photos in pairings for case in cases_of(photos, encoder)])
        measure_terms_of_videos(videos)
        measure_feedback(videos, library)
        measure_ambiguous(pairings[0], encoder)
        measure_order(library, entries, videos)


if __name__ == "__main__":
    main()
