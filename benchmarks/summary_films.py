"""Films that are put together from the indexed parts of many videos, so that the truth is known.

A film is made of the features that indexing stored of its sources, one excerpt after the other:
what a summary is chosen by is then the same as if the film itself had been rendered and indexed
(`benchmarks.summary` renders one to show it). Each holds, in random order,

* excerpts of up to 12 s of different subjects; videos of one `dup_group` are one subject;
* repeats: parts of some of them once more, from a smaller and coarser encoding of the file;
* dull stretches: 3 s of a subject slowed down to a minute and more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from vidsift.library import Library
from vidsift.types import Clip, FrameFeatures, Shot, Span

Array = np.ndarray[Any, Any]

STEP = 0.5  # seconds from frame to frame, as indexing samples them
EXCERPT_SECONDS = 12.0
DULL_SOURCE_SECONDS = 3.0
_LONGEST_CLIP = 8.0
_GRID = 0.1  # seconds: how finely is told what a summary shows


@dataclass(frozen=True)
class Source:
    """An indexed video: features (n, d) every `STEP` seconds, cuts, what is asked about it."""

    path: Path
    subject: str
    question: str
    features: Array
    cuts: tuple[float, ...]


@dataclass(frozen=True)
class Part:
    """`seconds` of a film that show a source from `start` on, `slowed` times as long as there."""

    source: Source
    start: float
    seconds: float
    slowed: float = 1.0


@dataclass(frozen=True)
class Film:
    """A composed film; `starts` are the parts' times in it."""

    parts: tuple[Part, ...]
    features: FrameFeatures
    clips: tuple[Clip, ...]
    shots: tuple[Shot, ...]

    @property
    def seconds(self) -> float:
        return self.clips[-1].span.end

    @property
    def starts(self) -> Array:
        return np.cumsum([0.0, *(part.seconds for part in self.parts)])

    @property
    def subjects(self) -> list[str]:
        return list(dict.fromkeys(part.source.subject for part in self.parts))

    def shown(self, spans: Sequence[Span]) -> tuple[Array, Array]:
        """Of every tenth of a second of the spans: which part it is of, and the source's time."""
        times = np.concatenate([np.arange(s.start + _GRID / 2, s.end, _GRID) for s in spans])
        place = np.clip(np.searchsorted(self.starts, times, "right") - 1, 0, len(self.parts) - 1)
        slowed = np.array([part.slowed for part in self.parts])
        begun = np.array([part.start for part in self.parts])
        return place, begun[place] + (times - self.starts[place]) / slowed[place]


def sources_of(library: Library, entries: Sequence[dict[str, Any]]) -> list[Source]:
    """The library's videos that `entries` (of videos.json) name and that last 2 s and more."""
    found = []
    for entry in entries:
        known = library.catalog.find_videos(Path(entry["file"]).stem)
        record = known[0] if len(known) == 1 else None
        if record is not None and record.duration_seconds >= 2:
            found.append(
                Source(
                    record.path,
                    entry.get("dup_group", entry["file"]),
                    entry["queries"][0],
                    np.array(library.features.open(record.feature_file), dtype=np.float32),
                    tuple(s.span.start for s in library.catalog.shots_of_video(record.id)[1:]),
                )
            )
    return found


def compose(sources: Sequence[Source], repeats: dict[str, Source], seed: int) -> Film:
    """A film of 24 subjects: 3 of them dull and long, 5 shown twice more from `repeats`."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(sources)).tolist()
    first_of = {sources[i].subject: sources[i] for i in reversed(order)}
    chosen = [each for each in first_of.values() if len(each.features) * STEP >= 3][:24]
    parts = []
    for place, source in enumerate(chosen):
        whole = len(source.features) * STEP
        if place < 3:
            start = float(random.uniform(0, whole - DULL_SOURCE_SECONDS))
            slowed = float(random.uniform(20, 30))
            parts.append(Part(source, start, DULL_SOURCE_SECONDS * slowed, slowed))
            continue
        length = min(whole, EXCERPT_SECONDS)
        start = float(random.uniform(0, whole - length))
        parts.append(Part(source, start, length))
        if place < 8 and source.path.stem in repeats:
            again = repeats[source.path.stem]
            for _ in range(2):
                part = length * float(random.uniform(0.6, 1.0))
                begin = start + float(random.uniform(0, length - part))
                parts.append(Part(again, begin, part))
    return film_of([parts[i] for i in random.permutation(len(parts))])


def film_of(parts: Sequence[Part]) -> Film:
    """The parts one after the other, with features, shots and clips as indexing has them."""
    features: list[Array] = []
    pts: list[Array] = []
    clips: list[Clip] = []
    shots: list[Shot] = []
    begin, first = 0.0, 0
    for part in parts:
        local = np.arange(math.ceil(part.seconds / STEP - 1e-6)) * STEP
        at = part.start + local / part.slowed
        rows = np.minimum(np.round(at / STEP).astype(int), len(part.source.features) - 1)
        features.append(part.source.features[rows])
        pts.append(begin + local)
        inside = [(cut - part.start) * part.slowed for cut in part.source.cuts]
        cuts = [cut for cut in inside if 0.5 < cut < part.seconds - 0.5]
        for a, b in pairwise([0.0, *cuts, part.seconds]):
            edges = np.linspace(a, b, math.ceil((b - a) / _LONGEST_CLIP) + 1)
            for low, high in pairwise(edges.tolist()):
                own = np.flatnonzero((local >= low - 1e-9) & (local < high - 1e-9))
                if len(own):
                    span = Span(begin + low, begin + high)
                    clips.append(Clip(span, len(shots), first + int(own[0]), len(own)))
            shots.append(Shot(Span(begin + a, begin + b)))
        begin += part.seconds
        first += len(local)
    joined = FrameFeatures(np.concatenate(features), np.concatenate(pts))
    return Film(tuple(parts), joined, tuple(clips), tuple(shots))


def coverage(film: Film, spans: Sequence[Span]) -> float:
    """The share of the film's subjects of which at least a second is shown."""
    place, _ = film.shown(spans)
    seconds = dict.fromkeys(film.subjects, 0.0)
    for part, number in zip(*np.unique(place, return_counts=True), strict=True):
        seconds[film.parts[part].source.subject] += number * _GRID
    return float(np.mean([each >= 1.0 - _GRID / 2 for each in seconds.values()]))


def repeated(film: Film, spans: Sequence[Span]) -> tuple[float, float]:
    """The shares of a summary that show the same footage, and the same subject, once more.

    Footage is the same within a second of the source's time: of a dull stretch all that is more
    than a few seconds away from what was seen, of a repeat all that was seen in the original. The
    subject is the same wherever an earlier segment has shown it.
    """
    before: dict[str, list[Array]] = {}
    footage = subject = total = 0
    for span in spans:
        place, times = film.shown([span])
        names = np.array([film.parts[part].source.subject for part in place])
        total += len(times)
        for name in dict.fromkeys(names.tolist()):
            at = times[names == name]
            if name in before:
                apart = np.abs(at[:, np.newaxis] - np.concatenate(before[name]))
                footage += int(np.count_nonzero(apart.min(1) < 1.0))
                subject += len(at)
            before.setdefault(name, []).append(at)
    return footage / total, subject / total


def asked(film: Film, spans: Sequence[Span], subject: str) -> tuple[float, float]:
    """Precision and recall of the footage of a subject, by time."""
    place, _ = film.shown(spans)
    right = np.array([part.source.subject == subject for part in film.parts])
    whole, _ = film.shown([Span(0.0, film.seconds)])
    return float(right[place].mean()), float(right[place].sum() / right[whole].sum())
