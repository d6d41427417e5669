"""A library measured on itself: questions made from its own content, whose answers are known.

- **lines**: a line of subtitles is the question, the moments at which it is said are the answer.
- **cuts**: a clip is cut out of its video and encoded anew, at most 240 pixels high; the picture in
  its middle is the question, the clip is the answer.

A result is right if it lies in the right video (or a copy of it) and shares at least half of the
shorter of both spans. Chance is that of clips named at random. Beside them: how long a warm search
takes, and what an hour of video takes on disk.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from search.bank import bank_texts
from search.engine import SearchEngine
from search.labelled import ask_literally
from search.metrics import CUTOFFS, bootstrap_interval, percent
from vidsift import __version__
from vidsift.errors import AnnotationError, MediaError, QueryError
from vidsift.library import Library
from vidsift.media.cut import cut_clip
from vidsift.media.limits import MediaLimits
from vidsift.media.probe import probe
from vidsift.media.still import read_frame
from vidsift.types import Answer, ClipRecord, SearchResult, Span, TextQuery

__all__ = ["Found", "SelfEvaluation", "evaluate_self"]

_SAME_MOMENT = 0.5  # of the shorter
_CUT_HEIGHT = 240
_LEAST_WORDS = 3  # a shorter line says too little to be asked for
_WARM_UP, _TIMED = 5, 50  # searches

_Truth = Mapping[int, Sequence[Span]]  # by video


@dataclass(frozen=True)
class Found:
    """How much is found again, in percent: R@k with its chance and interval at 95 %, and mIoU.

    `first_iou` is the mean tIoU of the first result with the truth, 0 in a wrong video; `found_iou`
    that of the first right result where one is among ten, None without any.
    """

    n: int
    recall: dict[str, float]
    chance: dict[str, float]
    interval95: dict[str, tuple[float, float]]
    first_iou: float
    found_iou: float | None


@dataclass(frozen=True)
class SelfEvaluation:
    """One measurement of one library. `bytes_per_hour` are of an hour of searchable video."""

    time: str
    version: str
    encoder: str
    pooler: str
    seed: int
    videos: int
    hours: float
    clips: int
    lines: Found | None
    cuts: Found | None
    latency_ms: dict[str, float]
    bytes_per_hour: dict[str, int]
    skipped: tuple[str, ...]


def evaluate_self(
    engine: SearchEngine,
    *,
    n: int = 50,
    seed: int = 0,
    on_progress: Callable[[float], None] = lambda share: None,
) -> SelfEvaluation:
    """Measure a library with up to `n` lines and `n` cuts, chosen at random.

    Cuts of videos whose files cannot be read are left out, each with its reason.

    Raises:
        AnnotationError: nothing in the library can be searched.
        EncoderError, LibraryError: the library cannot be searched, and why.
    """
    library = engine.library
    videos = library.catalog.videos("searchable")
    if not videos:
        raise AnnotationError(f"{library.root}: nothing to measure; index a folder first")
    random = np.random.default_rng(seed)
    skipped: list[str] = []
    truth = _Truths(library)
    lines = truth.judge_all(_lines(engine, truth, n, random, skipped, _part(on_progress, 0)), seed)
    cuts = truth.judge_all(_cuts(engine, truth, n, random, skipped, _part(on_progress, 1)), seed)
    latency = _latency(engine, _part(on_progress, 2))
    hours = sum(video.duration_seconds for video in videos) / 3600
    return SelfEvaluation(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        encoder=library.encoder.stamp.name,
        pooler=library.settings.pooler,
        seed=seed,
        videos=len(videos),
        hours=round(hours, 4),
        clips=truth.num_clips,
        lines=lines,
        cuts=cuts,
        latency_ms=latency,
        bytes_per_hour={
            name: round(size / hours) if hours else 0 for name, size in _sizes(library.root).items()
        },
        skipped=tuple(skipped),
    )


def _part(on_progress: Callable[[float], None], number: int) -> Callable[[float], None]:
    return lambda share: on_progress((number + share) / 3)


@dataclass(frozen=True)
class _Judged:
    """One question: whether one of the first 1, 5, 10 is right, by answer and by chance; tIoUs."""

    hits: tuple[float, ...]
    chance: tuple[float, ...]
    first_iou: float
    found_iou: float | None


class _Truths:
    """What is in the library, and which of it is the same."""

    def __init__(self, library: Library) -> None:
        self.videos = {video.id: video for video in library.catalog.videos("searchable")}
        self.num_clips = sum(video.num_clips for video in self.videos.values())
        self._catalog = library.catalog
        self._copies: dict[str, list[int]] = defaultdict(list)
        for video in self.videos.values():
            self._copies[video.fingerprint.sha256].append(video.id)

    def clip(self, place: int) -> ClipRecord:
        """The clip with this place among all clips of the library."""
        for video in self.videos.values():
            if place < video.num_clips:
                return self._catalog.clips_of_video(video.id)[place]
            place -= video.num_clips
        raise IndexError(place)

    def with_copies(self, truth: _Truth) -> dict[int, list[Span]]:
        """The truth in every video of the same content."""
        spread: dict[int, list[Span]] = defaultdict(list)
        for video, spans in truth.items():
            for copy in self._copies[self.videos[video].fingerprint.sha256]:
                spread[copy] += spans
        return spread

    def judge_all(self, asked: Iterator[tuple[_Truth, Answer]], seed: int) -> Found | None:
        judged = [self._judge(self.with_copies(truth), answer) for truth, answer in asked]
        if not judged:
            return None
        hits = np.array([one.hits for one in judged])
        low, high = bootstrap_interval(hits, seed=seed)
        names = [f"R@{k}" for k in CUTOFFS]
        ious = [one.found_iou for one in judged if one.found_iou is not None]
        return Found(
            n=len(judged),
            recall=dict(zip(names, map(percent, hits.mean(axis=0).tolist()), strict=True)),
            chance=dict(
                zip(
                    names,
                    map(percent, np.mean([one.chance for one in judged], axis=0).tolist()),
                    strict=True,
                )
            ),
            interval95={
                name: (percent(a), percent(b))
                for name, a, b in zip(names, low.tolist(), high.tolist(), strict=True)
            },
            first_iou=percent(float(np.mean([one.first_iou for one in judged]))),
            found_iou=percent(float(np.mean(ious))) if ious else None,
        )

    def _judge(self, truth: _Truth, answer: Answer) -> _Judged:
        results = answer.results[: CUTOFFS[-1]]
        right = [any(_is_right(moment, truth) for moment in _of(each)) for each in results]
        ious = [max(_tiou(moment, truth) for moment in _of(each)) for each in results]
        place = right.index(True) if True in right else len(right)
        num_right = sum(
            _is_right((video, clip.clip.span), truth)
            for video in truth
            for clip in self._catalog.clips_of_video(video)
        )
        return _Judged(
            hits=tuple(float(any(right[:k])) for k in CUTOFFS),
            chance=tuple(_chance(num_right, self.num_clips, k) for k in CUTOFFS),
            first_iou=ious[0] if ious else 0.0,
            found_iou=ious[place] if place < len(ious) else None,
        )


_Place = tuple[int, Span]  # a video and a span of it


def _of(result: SearchResult) -> list[_Place]:
    """Where a result lies, and its near-duplicates in other files."""
    return [(each.video_id, each.span) for each in (result.moment, *result.duplicates)]


def _is_right(found: _Place, truth: _Truth) -> bool:
    video, span = found
    return any(
        span.overlap(true) >= _SAME_MOMENT * min(span.duration, true.duration)
        for true in truth.get(video, ())
    )


def _tiou(found: _Place, truth: _Truth) -> float:
    return max((found[1].tiou(true) for true in truth.get(found[0], ())), default=0.0)


def _chance(right: int, total: int, k: int) -> float:
    """P(one of `right` among `k` of `total`) in a random order."""
    missed = 1.0
    for drawn in range(min(k, total)):
        missed *= max(0.0, (total - right - drawn) / (total - drawn))
    return 1.0 - missed


def _lines(
    engine: SearchEngine,
    inside: _Truths,
    n: int,
    random: np.random.Generator,
    skipped: list[str],
    on_progress: Callable[[float], None],
) -> Iterator[tuple[_Truth, Answer]]:
    said: dict[str, dict[int, list[Span]]] = defaultdict(lambda: defaultdict(list))
    for video in inside.videos.values():
        for record in engine.library.catalog.cues_of_video(video.id):
            text = " ".join(record.cue.text.split())
            if len(text.split()) >= _LEAST_WORDS:
                said[text][video.id].append(record.cue.span)
    texts = sorted(said)
    chosen = random.permutation(len(texts))[:n].tolist()
    for number, place in enumerate(chosen):
        text = texts[place]
        try:
            yield said[text], engine.ask(ask_literally(text), CUTOFFS[-1])
        except QueryError as error:
            skipped.append(f"{text[:60]!r}: {error}")
        on_progress((number + 1) / len(chosen))


def _cuts(
    engine: SearchEngine,
    inside: _Truths,
    n: int,
    random: np.random.Generator,
    skipped: list[str],
    on_progress: Callable[[float], None],
) -> Iterator[tuple[_Truth, Answer]]:
    library = engine.library
    encoder = library.encoder
    chosen = random.permutation(inside.num_clips)[:n].tolist()
    with tempfile.TemporaryDirectory() as folder:
        cut = Path(folder) / "cut.mp4"
        for number, place in enumerate(chosen):
            clip = inside.clip(place)
            limits = MediaLimits.of(library.settings)
            try:
                cut_clip(
                    probe(clip.video, limits=limits),
                    clip.clip.span,
                    cut,
                    max_height=_CUT_HEIGHT,
                    limits=limits,
                )
                picture = read_frame(
                    probe(cut),
                    clip.clip.span.duration / 2,
                    short_side=encoder.picture_size,
                    limits=limits,
                )
            except MediaError as error:
                skipped.append(f"{clip.video}: {error.reason}")
            else:
                vector = encoder.encode_frames(picture[np.newaxis])[0]
                answer = engine.answer(TextQuery("", vector), CUTOFFS[-1])
                yield {clip.video_id: [clip.clip.span]}, answer
            on_progress((number + 1) / len(chosen))


def _latency(engine: SearchEngine, on_progress: Callable[[float], None]) -> dict[str, float]:
    """Milliseconds of a search from text to moments, the encoder and the index being warm."""
    texts = bank_texts()
    asked = [ask_literally(texts[number % len(texts)]) for number in range(_WARM_UP + _TIMED)]
    took = []
    for number, text in enumerate(asked):
        begin = time.perf_counter()
        engine.ask(text, CUTOFFS[-1])
        took.append(1000 * (time.perf_counter() - begin))
        on_progress((number + 1) / len(asked))
    p50, p95 = np.percentile(took[_WARM_UP:], [50, 95]).tolist()
    return {"p50": round(p50, 2), "p95": round(p95, 2), "n": _TIMED}


def _sizes(root: Path) -> dict[str, int]:
    """Bytes on disk of what searching needs; a database elsewhere is not counted."""
    parts = {
        "catalog": list(root.glob("catalog.sqlite3*")),
        "features": list((root / "features").rglob("*")),
        "index": list((root / "index").rglob("*")),
        "pictures": list((root / "pictures").rglob("*")),
    }
    sizes = {
        name: sum(path.stat().st_size for path in paths if path.is_file())
        for name, paths in parts.items()
    }
    return sizes | {"total": sum(sizes.values())}
