"""How well a library answers captions: the right video, and the moment in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from jaxtyping import Float64

from search.engine import SearchEngine
from search.labelled import Labelled, LabelledQuery, ask_literally
from search.metrics import (
    bootstrap_interval,
    chance_scores,
    judge,
    percent,
    retrieval_interval,
    retrieval_scores,
)
from search.moment_metrics import MOST_WINDOWS, THRESHOLDS, average_precisions, best_tiou
from vidsift.errors import AnnotationError, QueryError
from vidsift.types import Answer, SearchResult, Span

__all__ = ["Evaluation", "each_asked", "evaluate_moments", "evaluate_retrieval", "videos_of"]

Progress = Callable[[float], None]
_Answered = TypeVar("_Answered")

_MOMENT_TIOUS = (0.3, 0.5, 0.7)
_RANDOM_DRAWS = 20
# So many moments are asked for at most: the places of right videos behind them are not known.
_MOST_RESULTS = 1000


@dataclass(frozen=True)
class Evaluation:
    """Figures with what stands beside them: baselines, n and bootstrap intervals.

    Shares are in percent. `interval95` is of the figures that are means over the `n` questions.
    """

    kind: str
    n: int
    videos: int
    figures: dict[str, float]
    baselines: dict[str, dict[str, float]]
    interval95: dict[str, tuple[float, float]]
    unknown_videos: tuple[str, ...] = ()
    skipped: tuple[str, ...] = field(default=())


def evaluate_retrieval(
    engine: SearchEngine,
    labelled: Labelled,
    *,
    whole_videos: bool = False,
    seed: int = 0,
    on_progress: Progress = lambda share: None,
) -> Evaluation:
    """Text to video.

    The ranking of videos is the order in which an answer of at most 1,000 moments first names them,
    those of near-duplicates right behind the moment that they are folded into; or, with
    `whole_videos`, the ranking of whole videos. A right video that is not named stands last.

    Raises:
        AnnotationError: no question can be asked.
        EncoderError, LibraryError: the library cannot be searched, and why.
    """
    library = engine.library
    videos = len(library.catalog.videos("searchable"))
    results = min(videos * library.settings.moments_per_video, _MOST_RESULTS)

    def ranking(query: LabelledQuery) -> list[int]:
        text = ask_literally(query.text)
        if whole_videos:
            return [video.video_id for video in engine.rank_videos(text, videos)]
        named = (video for each in engine.ask(text, results).results for video in videos_of(each))
        return list(dict.fromkeys(named))

    skipped = list(labelled.skipped)
    judged = [
        judge(ranked, query.right, videos)
        for query, ranked in each_asked(labelled.queries, ranking, skipped, on_progress)
    ]
    _require(judged, skipped)
    return Evaluation(
        kind="retrieval of whole videos" if whole_videos else "retrieval",
        n=len(judged),
        videos=videos,
        figures=retrieval_scores(judged),
        baselines={"chance": chance_scores(judged)},
        interval95=retrieval_interval(judged, seed=seed),
        unknown_videos=labelled.unknown_videos,
        skipped=tuple(skipped),
    )


def evaluate_moments(
    engine: SearchEngine,
    labelled: Labelled,
    *,
    seed: int = 0,
    on_progress: Progress = lambda share: None,
) -> Evaluation:
    """The moment in the right video: each question is asked of the one video that it is of.

    R1@t and mIoU judge the first moment, mAP the first ten, by the definitions of
    `search.moment_metrics`. Beside them: random spans as long as the true ones are, and the whole
    video as the answer.

    Raises:
        AnnotationError: no caption has a span, or no question can be asked.
        EncoderError, LibraryError: the library cannot be searched, and why.
    """
    pairs = [
        (LabelledQuery(query.text, frozenset([video]), {}), spans)
        for query in labelled.queries
        for video, spans in query.spans.items()
    ]
    if not pairs:
        raise AnnotationError(
            "no caption has a start and an end; moments are judged by them"
            " (`vidsift evaluate retrieval` needs none)"
        )
    truth = {id(query): _windows(spans) for query, spans in pairs}
    durations = {v.id: v.duration_seconds for v in engine.library.catalog.videos("searchable")}
    random = np.random.default_rng(seed)
    lengths = np.concatenate([np.diff(windows, axis=1)[:, 0] for windows in truth.values()])
    skipped = list(labelled.skipped)
    found, guessed, whole = [], [], []
    asked = [query for query, _ in pairs]

    def ask(query: LabelledQuery) -> Answer:
        return engine.ask(ask_literally(query.text, query.right), MOST_WINDOWS, flat=True)

    for query, answer in each_asked(asked, ask, skipped, on_progress):
        (video,) = query.right
        windows = truth[id(query)]
        found.append(_measures(_windows([r.moment.span for r in answer.results]), windows))
        guessed.append(_guess(windows, lengths, durations[video], random))
        whole.append(_measures(np.array([[0.0, durations[video]]]), windows))
    _require(found, skipped)
    rows = np.array(found)
    low, high = bootstrap_interval(rows, seed=seed)
    return Evaluation(
        kind="moments",
        n=len(rows),
        videos=len({video for query in asked for video in query.right}),
        figures=_named(rows.mean(axis=0)),
        baselines={
            "random": _named(np.mean(guessed, axis=0)),
            "whole video": _named(np.mean(whole, axis=0)),
        },
        interval95={
            name: (percent(float(a)), percent(float(b)))
            for name, a, b in zip(_MEASURES, low, high, strict=True)
        },
        unknown_videos=labelled.unknown_videos,
        skipped=tuple(skipped),
    )


def each_asked(
    queries: Sequence[LabelledQuery],
    ask: Callable[[LabelledQuery], _Answered],
    skipped: list[str],
    on_progress: Progress,
) -> Iterator[tuple[LabelledQuery, _Answered]]:
    """Every question with what `ask` says to it.

    One that cannot be asked, for it is too long, is added to `skipped`.
    """
    for number, query in enumerate(queries):
        try:
            answered = ask(query)
        except QueryError as error:
            skipped.append(f"{query.text[:60]!r}: {error}")
        else:
            yield query, answered
        on_progress((number + 1) / len(queries))


def videos_of(result: SearchResult) -> list[int]:
    """The video of a result, and those of its near-duplicates."""
    return [moment.video_id for moment in (result.moment, *result.duplicates)]


_MEASURES = (*(f"R1@{t}" for t in _MOMENT_TIOUS), "mIoU", "mAP", "mAP@0.5", "mAP@0.75")


def _measures(
    predicted: Float64[np.ndarray, "p 2"], truth: Float64[np.ndarray, "t 2"]
) -> list[float]:
    """One question's share in each of _MEASURES; moments come best first."""
    first = best_tiou(predicted, truth)
    best_first = -np.arange(len(predicted), dtype=np.float64)
    precisions = average_precisions(predicted, best_first, truth)
    at = [float(precisions[THRESHOLDS.index(t)]) for t in (0.5, 0.75)]
    return [*(float(first >= t) for t in _MOMENT_TIOUS), first, float(precisions.mean()), *at]


def _guess(
    truth: Float64[np.ndarray, "t 2"],
    lengths: Float64[np.ndarray, "w"],
    duration: float,
    random: np.random.Generator,
) -> Float64[np.ndarray, "m"]:
    """What random spans of the true ones' lengths score, on average over draws."""
    draws = []
    for _ in range(_RANDOM_DRAWS):
        length = np.minimum(random.choice(lengths, MOST_WINDOWS), duration)
        start = random.uniform(size=MOST_WINDOWS) * (duration - length)
        draws.append(_measures(np.stack([start, start + length], axis=1), truth))
    return np.asarray(np.mean(draws, axis=0))


def _windows(spans: Iterable[Span]) -> Float64[np.ndarray, "t 2"]:
    return np.array([[span.start, span.end] for span in spans], dtype=np.float64).reshape(-1, 2)


def _named(means: Float64[np.ndarray, "m"]) -> dict[str, float]:
    return {name: percent(float(mean)) for name, mean in zip(_MEASURES, means, strict=True)}


def _require(judged: Sequence[object], skipped: Sequence[str]) -> None:
    if not judged:
        raise AnnotationError(f"no question can be asked: {skipped[0]}")
