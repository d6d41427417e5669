"""Summaries of many videos, where it is known what each shows.

    python -m benchmarks.across DATA_FOLDER [--library DIR] [--coarse DIR] [--libraries 6]

DATA_FOLDER is that of `benchmarks.quality_videos`. Libraries of 16 videos are composed as the films
of `benchmarks.summary_films` are: each video has a few excerpts of up to 12 s of different
subjects; 10 of the 30 subjects are in three videos, twice from a smaller and coarser encoding of
the file; one video shows 3 s of one subject slowed down to a minute and more.

A digest of a tenth of all footage: the share of the subjects that is shown for a second or more,
and the shares of the digest that show the same footage, and the same subject, once more. Beside it
the same without folding, the best of each video by itself (its own summary, all as long), pieces of
like length at even distances over all videos, and at random ones.

A question about every third subject, in 20 s: how much of the summary is of that subject over how
much of the library is (the base rate), and the share that shows the same footage once more; beside
it without folding, and each video's summary about the question by itself. 95 % by a bootstrap over
libraries, or over questions. Then times: a digest of 10,000 clips, and a question to them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.search import synthetic_video
from benchmarks.summary import coarse, interval, ratio
from benchmarks.summary_films import Film, Part, Source, asked, coverage, film_of, repeated
from benchmarks.summary_films import sources_of as sources_in
from benchmarks.summary_library import commit_film
from indexer import index_videos
from search import duplicates
from search.bank import prototype_texts
from summarizer import across_choice
from summarizer.across import summarize_videos
from summarizer.skim import Skim
from summarizer.summary import choose_segments, summarize
from vidsift.library import Library
from vidsift.types import Segment, Span, Summary, VideoRecord

Array = np.ndarray[Any, Any]

VIDEOS, SUBJECTS, REPEATED, EXCERPT_SECONDS, DULL_SECONDS = 16, 30, 10, 12.0, 3.0
SHARE, QUESTION_SECONDS = 0.1, 20.0
CLIPS, CLIPS_A_VIDEO, FRAMES_A_CLIP = 10_000, 400, 12


@dataclass(frozen=True)
class Composed:
    """A library of composed videos, all of them on one time line, and where each begins there."""

    library: Library
    whole: Film
    records: tuple[VideoRecord, ...]
    starts: dict[int, float]

    def spans(self, skim: Skim) -> list[Span]:
        """The segments of a skim, on the time line."""
        return [
            Span(at + part.segment.span.start, at + part.segment.span.end)
            for part in skim.parts
            for at in [self.starts[part.video.id]]
        ]


def parts_of(sources: Sequence[Source], repeats: dict[str, Source], seed: int) -> list[list[Part]]:
    """The parts of each video of one library."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(sources)).tolist()
    first_of = {sources[i].subject: sources[i] for i in reversed(order)}
    long_enough = [each for each in first_of.values() if len(each.features) >= 6]
    again = [each for each in long_enough if each.path.stem in repeats][:REPEATED]
    once = [each for each in long_enough if each not in again][: SUBJECTS - REPEATED]
    videos: list[list[Part]] = [[] for _ in range(VIDEOS)]

    def put(part: Part, places: Sequence[int]) -> None:
        fewest = min(places, key=lambda place: (len(videos[place]), random.random()))
        videos[fewest].append(part)

    everywhere = list(range(1, VIDEOS))
    for number, source in enumerate([*again, *once]):
        whole = len(source.features) / 2
        length = min(whole, EXCERPT_SECONDS)
        start = float(random.uniform(0, whole - length))
        if number == SUBJECTS - 1:  # alone in the first video
            slowed = float(random.uniform(20, 30))
            videos[0].append(Part(source, 0.0, DULL_SECONDS * slowed, slowed))
            continue
        put(Part(source, start, length), everywhere)
        for _ in range(2 if source in again else 0):
            share = length * float(random.uniform(0.6, 1.0))
            begin = start + float(random.uniform(0, length - share))
            without = [
                place
                for place in everywhere
                if source.subject not in {part.source.subject for part in videos[place]}
            ]
            put(Part(repeats[source.path.stem], begin, share), without)
    return [[parts[i] for i in random.permutation(len(parts))] for parts in videos if parts]


def composed(
    library: Library, sources: Sequence[Source], repeats: dict[str, Source], seed: int
) -> Composed:
    """Compose the videos of one library and put them into it, with their generic summaries."""
    videos = parts_of(sources, repeats, seed)
    records, starts, begin = [], {}, 0.0
    for number, parts in enumerate(videos):
        film = film_of(parts)
        budget = library.settings.summary_ratio * film.seconds
        generic = choose_segments(film.features, film.clips, film.shots, budget)
        record = commit_film(library, film, number, generic)
        records.append(record)
        starts[record.id] = begin
        begin += film.seconds
    whole = film_of([part for parts in videos for part in parts])
    return Composed(library, whole, tuple(records), starts)


@contextmanager
def without_folding() -> Iterator[None]:
    """Nothing is taken for the same footage."""
    with (
        patch.object(duplicates, "SAME_FOOTAGE", 2.0),
        patch.object(across_choice, "SAME_FOOTAGE", 2.0),
    ):
        yield


def each_by_itself(made: Composed, query: str, seconds: float) -> list[Span]:
    """A summary of every video, all as long."""
    own = seconds / len(made.records)
    return [
        Span(at + segment.span.start, at + segment.span.end)
        for record in made.records
        for at in [made.starts[record.id]]
        for segment in summarize(
            made.library, record, query, seconds=min(own, record.duration_seconds)
        ).segments
    ]


def evenly(made: Composed, count: int, seconds: float) -> list[Span]:
    """So many pieces at even distances."""
    length, gap = seconds / count, made.whole.seconds / count
    return [Span(i * gap + (gap - length) / 2, i * gap + (gap + length) / 2) for i in range(count)]


def at_random(made: Composed, count: int, seconds: float) -> list[Span]:
    """So many pieces at random, one in each of as many even stretches."""
    length, gap = seconds / count, made.whole.seconds / count
    starts = np.random.default_rng(count).uniform(0, gap - length, count)
    return [Span(i * gap + a, i * gap + a + length) for i, a in enumerate(starts.tolist())]


def digests(libraries: Sequence[Composed]) -> None:
    """Subjects shown and footage repeated, of each way."""
    table: dict[str, list[tuple[float, ...]]] = {}
    for made in libraries:
        seconds = SHARE * made.whole.seconds
        ours = summarize_videos(made.library, None, seconds=seconds)
        with without_folding():
            unfolded = summarize_videos(made.library, None, seconds=seconds)
        count = len(ours.parts)
        ways = {
            "ours": made.spans(ours),
            "without folding": made.spans(unfolded),
            "each video by itself": each_by_itself(made, "", seconds),
            "even distances": evenly(made, count, seconds),
            "random": at_random(made, count, seconds),
        }
        for name, spans in ways.items():
            values = (coverage(made.whole, spans), *repeated(made.whole, spans))
            table.setdefault(name, []).append(values)
    print(f"\ndigests of {SHARE:.0%}, {len(libraries)} libraries")
    print(f"  {'':<22} subjects shown{'':<9} same footage again{'':<6} same subject again")
    for name, rows in table.items():
        print(f"  {name:<22} {'  '.join(f'{interval(c):<22}' for c in np.array(rows).T)}")
    ours_, even = (np.array(table[name])[:, 0] for name in ("ours", "even distances"))
    print(f"  subjects shown, ours over even distances: {ratio(ours_, even)}", flush=True)


def questions(libraries: Sequence[Composed]) -> None:
    """Precision over the base rate and footage repeated, of each way."""
    ways: dict[str, Callable[[Composed, str], list[Span]]] = {
        "ours": lambda made, query: made.spans(
            summarize_videos(made.library, None, query, seconds=QUESTION_SECONDS)
        ),
        "without folding": _unfolded,
        "each video by itself": lambda made, query: each_by_itself(made, query, QUESTION_SECONDS),
    }
    table: dict[str, list[tuple[float, float, float]]] = {}
    bases: list[float] = []
    for made in libraries:
        every = [Span(0.0, made.whole.seconds)]
        for subject in made.whole.subjects[::3]:
            query = next(
                part.source.question for part in made.whole.parts if part.source.subject == subject
            )
            bases.append(asked(made.whole, every, subject)[0])
            for name, way in ways.items():
                spans = way(made, query)
                precision, recall = asked(made.whole, spans, subject)
                again = repeated(made.whole, spans)[0]
                table.setdefault(name, []).append((precision, recall, again))
    base = np.array(bases)
    print(
        f"\nquestions in {QUESTION_SECONDS:.0f} s, {len(base)} of them, base rate {base.mean():.3f}"
    )
    print(f"  {'':<22} precision{'':<14} over base{'':<12} recall{'':<17} same footage again")
    for name, rows in table.items():
        precisions, recalls, again_ = np.array(rows).T
        print(f"  {name:<22} {interval(precisions):<22}  {ratio(precisions, base):<20}"
              f" {interval(recalls):<22}  {interval(again_)}", flush=True)  # fmt: skip


def _unfolded(made: Composed, query: str) -> list[Span]:
    with without_folding():
        return made.spans(summarize_videos(made.library, None, query, seconds=QUESTION_SECONDS))


def times(folder: Path) -> None:
    """A digest of many clips, and a question to them, the second time each."""
    with Library.open(folder, create=True) as library:
        library.catalog.set_stamp(library.encoder.stamp)
        texts = library.encoder.encode_texts(prototype_texts())
        for number in range(CLIPS // CLIPS_A_VIDEO):
            video = synthetic_video(number, CLIPS_A_VIDEO, texts, FRAMES_A_CLIP)
            random = np.random.default_rng(number)
            clips = sorted(random.choice(CLIPS_A_VIDEO, CLIPS_A_VIDEO // 7, replace=False).tolist())
            segments = tuple(Segment(video.clips[clip].span, 1.0) for clip in clips)
            seconds = sum(segment.span.duration for segment in segments)
            object.__setattr__(video, "summary", Summary("", segments, seconds))
            name = f"{number}.npy"
            sha256 = library.features.write(name, video.features.features)
            library.catalog.commit_video(video, name, sha256)
        print(f"\n{library.catalog.num_clips()[0]:,} clips, 60 s")
        for query in ("", "a dog in the snow"):
            summarize_videos(library, None, query, seconds=60.0)
            began = time.perf_counter()
            summarize_videos(library, None, query, seconds=60.0)
            print(f"  {query or 'digest':<20} {time.perf_counter() - began:.2f} s")


def main() -> None:
    """Index what is not yet, compose, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--coarse", type=Path, help="coarser encodings; made if absent")
    parser.add_argument("--libraries", type=int, default=6)
    arguments = parser.parse_args()
    entries = json.loads((arguments.data / "videos.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        with Library.open(arguments.library or Path(scratch) / "own", create=True) as library:
            index_videos(library, [arguments.data / "videos"])
            folder = arguments.coarse or Path(scratch) / "coarse"
            coarse(library, folder / "videos")
            sources = sources_in(library, entries)
        with Library.open(folder / "library", create=True) as smaller:
            index_videos(smaller, [folder / "videos"])
            repeats = {each.path.stem: each for each in sources_in(smaller, entries)}
        made = []
        for seed in range(arguments.libraries):
            opened = Library.open(Path(scratch) / str(seed), create=True)
            opened.catalog.set_stamp(opened.encoder.stamp)
            made.append(composed(opened, sources, repeats, seed))
        lengths = [each.whole.seconds for each in made]
        print(
            f"{len(made)} libraries of {VIDEOS} videos, {min(lengths):.0f} to {max(lengths):.0f} s"
        )
        digests(made)
        questions(made)
        for each in made:
            each.library.close()
        times(Path(scratch) / "long")


if __name__ == "__main__":
    main()
