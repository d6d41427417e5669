"""Chapters: do they begin where another source begins, and are their titles true?

    python -m benchmarks.chapters DATA_FOLDER [--library DIR] [--films N]

DATA_FOLDER is as of benchmarks.quality_videos, with `photos.json` and `photos/` beside (a list of
{"file", "captions"}; those named `coco*` are used).

**Edges.** Films are put together from the stored features of 6, 10 or 16 sources of 10 s and more
(their first 40 s, one of each dup_group); truth are the joints. F1 of edges within 2 s, with the
interval of 95 % by a bootstrap over films, beside as many edges evenly, as many at random, and as
many of the film's own cuts at random.

**Titles.** A title is a hit if it is among the 20 of the prototypes that lie nearest to what people
wrote of the footage (mean cosine with description and questions, or captions). By confidence,
beside a title drawn at random (20 of all) and the prototype of the highest cosine alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from benchmarks.quality_videos import clustered_interval, groups_of
from indexer import index_videos
from summarizer.chapter_edges import LEAST_SECONDS, candidate_edges
from summarizer.chapter_titles import SURE, Prototypes, other_footage, picture_titles
from summarizer.chapters import chapter_spans
from summarizer.sentences import SpokenLines
from vidsift.library import Library
from vidsift.types import Shot, Span

Array = np.ndarray[Any, Any]

SIZES = (6, 10, 16)
LONGEST_SECONDS = 40.0
TOLERANCE_SECONDS = 2.0
NEAREST = 20
CONFIDENCES = (0.0, 0.2, 0.35, SURE, 0.7, 1.01)


@dataclass(frozen=True)
class Source:
    """What the library holds of a video, up to `seconds`; times count from its beginning."""

    frames: Array
    pts: Array
    clip_starts: Array
    shot_starts: Array
    seconds: float


@dataclass(frozen=True)
class Film:
    """Sources one after the other, and the joints between them."""

    source: Source
    joints: Array

    def edges(self) -> Array:
        """Where the chapters begin, the first left out."""
        found = self.source
        starts = [*found.shot_starts.tolist(), found.seconds]
        shots = [Shot(Span(a, b)) for a, b in pairwise(starts)]
        spans = chapter_spans(
            found.frames,
            found.pts,
            found.clip_starts.tolist(),
            candidate_edges(shots, []),
            SpokenLines((), found.frames[:0]),
            found.seconds,
        )
        return np.array([span.start for span in spans[1:]])


def sources(library: Library, entries: list[dict[str, Any]]) -> list[Source]:
    """The sources of at least 10 s, one of each group of duplicates."""
    group = groups_of(entries)
    found: dict[str, Source] = {}
    for entry in entries:
        video = library.video(entry["file"])
        if video.duration_seconds < LEAST_SECONDS - 0.01 or group[entry["file"]] in found:
            continue
        clips = library.catalog.clips_of_video(video.id)
        clips = [each for each in clips if each.clip.span.end <= LONGEST_SECONDS]
        shots = library.catalog.shots_of_video(video.id)
        pts = np.concatenate([each.pts_seconds for each in clips])
        end = clips[-1].clip.span.end
        found[group[entry["file"]]] = Source(
            np.asarray(library.features.open(video.feature_file)[: len(pts)], np.float32),
            pts,
            np.array([each.clip.span.start for each in clips]),
            np.array([shot.span.start for shot in shots if shot.span.start < end]),
            end,
        )
    return list(found.values())


def compose(chosen: list[Source]) -> Film:
    """The features of a film in which these follow each other."""
    begins = np.concatenate([[0.0], np.cumsum([each.seconds for each in chosen])])

    def shifted(name: str) -> Array:
        return np.concatenate(
            [getattr(each, name) + at for each, at in zip(chosen, begins, strict=False)]
        )

    frames = np.concatenate([each.frames for each in chosen])
    whole = Source(
        frames, shifted("pts"), shifted("clip_starts"), shifted("shot_starts"), float(begins[-1])
    )
    return Film(whole, begins[1:-1])


def f1(found: Array, truth: Array) -> float:
    """The harmonic mean of precision and recall; an edge is right within 2 s of a joint."""
    if not len(found) or not len(truth):
        return float(len(found) == len(truth))
    near = np.abs(found[:, None] - truth) <= TOLERANCE_SECONDS
    precision, recall = near.any(1).mean(), near.any(0).mean()
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def edges(every: list[Source], films: int) -> None:
    """F1 of the edges of composed films against three baselines of the same number."""
    values: dict[str, list[float]] = {}
    off: list[int] = []
    for seed in range(films):
        random = np.random.default_rng(seed)
        size = min(SIZES[seed % len(SIZES)], len(every))
        film = compose([every[i] for i in random.choice(len(every), size, replace=False)])
        found = film.edges()
        off.append(len(found) - len(film.joints))
        end, cuts = film.source.seconds, film.source.shot_starts[1:]
        many = len(found)
        draws = range(30)
        for name, value in (
            ("ours", f1(found, film.joints)),
            ("evenly", f1(np.linspace(0, end, many + 2)[1:-1], film.joints)),
            ("random", np.mean([f1(random.uniform(0, end, many), film.joints) for _ in draws])),
            (
                "random cuts",
                np.mean([f1(random.choice(cuts, many, replace=False), film.joints) for _ in draws]),
            ),
        ):
            values.setdefault(name, []).append(float(value))
    print(f"edges within {TOLERANCE_SECONDS:g} s: {films} films of {SIZES} of {len(every)} sources")
    for name, each in values.items():
        low, high = clustered_interval(np.array(each), np.arange(films))
        print(f"  {name:12} F1 {np.mean(each):.3f} [{low:.3f}, {high:.3f}]")
    print(f"  chapters more than sources: mean {np.mean(off):+.2f}, {min(off):+d} to {max(off):+d}")


def two_hours(every: list[Source]) -> None:
    """The time that a film of two hours takes."""
    random = np.random.default_rng(0)
    chosen: list[Source] = []
    while sum(each.seconds for each in chosen) < 7200:
        chosen.append(every[int(random.integers(len(every)))])
    film = compose(chosen)
    began = time.perf_counter()
    found = film.edges()
    print(f"two hours, {len(film.source.clip_starts)} clips, {len(film.source.shot_starts)} shots:"
          f" {len(found) + 1} chapters in {time.perf_counter() - began:.2f} s")  # fmt: skip


def hits(title: str, prototypes: Prototypes, written: Array) -> bool:
    """Whether a title is among the prototypes nearest to what people wrote."""
    near = (prototypes.vectors @ written.T).mean(1)
    place = prototypes.texts.index(title)
    return int((near > near[place]).sum()) < NEAREST


def titles(
    name: str,
    prototypes: Prototypes,
    footage: list[tuple[Array, Array]],
    written: list[Array],
    owners: Array,
) -> None:
    """Hit rates by confidence. `footage` are own scores (p,) and those of other footage."""
    given = [picture_titles(prototypes, own[None], others)[0] for own, others in footage]
    right = np.array(
        [hits(each.text, prototypes, text) for each, text in zip(given, written, strict=True)]
    )
    nearest = np.array([
        hits(prototypes.texts[int(own.argmax())], prototypes, text)
        for (own, _), text in zip(footage, written, strict=True)
    ])  # fmt: skip
    sure = np.array([each.confidence for each in given])
    print(f"titles of {name}, n = {len(given)}; a title at random hits"
          f" {NEAREST / len(prototypes.texts):.3f}")  # fmt: skip
    for label, values, chosen in (
        ("the highest cosine", nearest, sure >= 0),
        ("ours, all", right, sure >= 0),
        (f"ours, given (sure >= {SURE:g})", right, sure >= SURE),
    ):
        _, places = np.unique(owners[chosen], return_inverse=True)
        low, high = clustered_interval(values[chosen].astype(float), places)
        print(f"  {label:26} {values[chosen].mean():.3f} [{low:.3f}, {high:.3f}]"
              f" n = {chosen.sum()}")  # fmt: skip
    for low, high in pairwise(CONFIDENCES):
        inside = (sure >= low) & (sure < high)
        if inside.any():
            print(f"    confidence {low:.2f} to {min(high, 1):.2f}: mean {sure[inside].mean():.2f},"
                  f" hits {right[inside].mean():.2f}, n = {inside.sum()}")  # fmt: skip


def titles_of_videos(library: Library, entries: list[dict[str, Any]]) -> None:
    """Each video as one chapter."""
    prototypes = Prototypes.for_encoder(library.encoder)
    group = groups_of(entries)
    names = list(dict.fromkeys(group.values()))
    footage, written = [], []
    for entry in entries:
        video = library.video(entry["file"])
        frames = np.asarray(library.features.open(video.feature_file), dtype=np.float32)
        own = prototypes.scores([frames], library.settings.temperature)[0]
        footage.append((own, other_footage(library, video, prototypes)))
        written.append(library.encoder.encode_texts([entry["description"], *entry["queries"]]))
    owners = np.array([names.index(group[entry["file"]]) for entry in entries])
    titles("videos", prototypes, footage, written, owners)


def titles_of_photos(library: Library, data: Path) -> None:
    """Each photograph as one chapter. The built-in encoder has learned from captions of COCO."""
    entries = json.loads((data / "photos.json").read_text())
    entries = [entry for entry in entries if entry["file"].startswith("coco")]
    encoder = library.encoder
    prototypes = Prototypes.for_encoder(encoder)
    size = (encoder.picture_size, encoder.picture_size)
    pictures = [Image.open(data / "photos" / entry["file"]) for entry in entries]
    shown = [np.asarray(ImageOps.fit(each.convert("RGB"), size)) for each in pictures]
    features = np.concatenate(
        [encoder.encode_frames(np.stack(shown[i : i + 32])) for i in range(0, len(shown), 32)]
    )
    scores = prototypes.scores(list(features[:, None]), library.settings.temperature)
    footage = [(own, np.delete(scores, i, axis=0)) for i, own in enumerate(scores)]
    captions = [encoder.encode_texts(entry["captions"][:5]) for entry in entries]
    titles("COCO photographs", prototypes, footage, captions, np.arange(len(entries)))


def main() -> None:
    """Index unless the library is there already, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--films", type=int, default=60)
    arguments = parser.parse_args()
    entries = json.loads((arguments.data / "videos.json").read_text())
    with (
        tempfile.TemporaryDirectory() as scratch,
        Library.open(arguments.library or Path(scratch), create=True) as library,
    ):
        report = index_videos(library, [arguments.data / "videos"])
        for path, reason in report.failed:
            print(f"not indexed: {path}: {reason}", file=sys.stderr)
        every = sources(library, entries)
        edges(every, arguments.films)
        two_hours(every)
        titles_of_videos(library, entries)
        titles_of_photos(library, arguments.data)


if __name__ == "__main__":
    main()
