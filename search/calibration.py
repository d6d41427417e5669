"""Whether "nothing here matches" can be believed: questions with and without their videos.

Every question is asked once. As it stands its answer is there; with the right videos (and their
copies) taken out of the results it is absent, and whatever then reaches a false-alarm rate is a
false match. Calibrated means: of questions whose answer is absent a share of at most r finds a
result at a false-alarm rate of r or less.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from search.engine import SearchEngine
from search.evaluate import each_asked, videos_of
from search.labelled import Labelled, LabelledQuery, ask_literally
from search.metrics import bootstrap_interval, percent, wilson_interval
from vidsift.errors import AnnotationError
from vidsift.types import Answer, SearchResult

__all__ = ["SETTINGS", "Calibration", "Reliability", "Setting", "evaluate_calibration"]

SETTINGS = (0.01, 0.05, 0.1, 0.2)
_EDGES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_RESULTS = 10  # of an answer, in which a match is looked for


@dataclass(frozen=True)
class Setting:
    """What one setting of `false_alarm_rate` does, in percent, intervals at 95 %.

    An answer has ten moments. `false_matches` is the share of questions with an absent answer that
    claim a match, `claimed` that of questions whose answer is there; `recall_at_1` and
    `recall_at_10` count a right video only where its result reaches the setting;
    `recall_at_1_coin` is what would be left of R@1 if a coin claimed as often.
    """

    false_alarm_rate: float
    false_matches: float
    false_matches_interval95: tuple[float, float]
    claimed: float
    recall_at_1: float
    recall_at_1_interval95: tuple[float, float]
    recall_at_10: float
    recall_at_1_coin: float


@dataclass(frozen=True)
class Reliability:
    """Rates from `above` up to `up_to`: what they say and what is the case.

    `absent_up_to` is the share, in percent, of questions without an answer whose best result says
    `up_to` or less: calibrated if it is at most that. `right` is the share of the `n` first results
    within these bounds, of questions whose answer is there, that are right; None without any.
    """

    above: float
    up_to: float
    absent_up_to: float
    n: int
    right: float | None


@dataclass(frozen=True)
class Calibration:
    """The settings and the table of reliability, over `n` questions asked both ways.

    `recall_at_1` and `recall_at_10` are what is reached if every answer counts as a match.
    """

    n: int
    videos: int
    recall_at_1: float
    recall_at_10: float
    settings: tuple[Setting, ...]
    reliability: tuple[Reliability, ...]
    unknown_videos: tuple[str, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class _Outcome:
    """One question: the least rate with the answer absent; of its results with it, rate and right.

    Results without a rate have infinity.
    """

    absent: float
    rates: Float64[np.ndarray, "k"]
    right: Float64[np.ndarray, "k"]

    def hit(self, k: int, rate: float) -> float:
        """1 if one of the first `k` results is right and reaches the rate."""
        return float((self.right[:k] * (self.rates[:k] <= rate)).any())


def evaluate_calibration(
    engine: SearchEngine,
    labelled: Labelled,
    *,
    seed: int = 0,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Calibration:
    """Ask every question, and judge its answer with and without the right videos.

    Raises:
        AnnotationError: no question can be asked, or the library has no rates or no other videos.
        EncoderError, LibraryError: the library cannot be searched, and why.
    """
    library = engine.library
    per_video = library.settings.moments_per_video
    videos = len(library.catalog.videos("searchable"))
    skipped = list(labelled.skipped)
    most_right = max(len(query.right) for query in labelled.queries)
    outcomes = []
    k = _RESULTS + per_video * most_right

    def ask(query: LabelledQuery) -> Answer:
        return engine.ask(ask_literally(query.text), k)

    for query, answer in each_asked(labelled.queries, ask, skipped, on_progress):
        # A near-duplicate of the answer is no other video.
        others = [each for each in answer.results if query.right.isdisjoint(videos_of(each))]
        if others:
            shown = answer.results[:_RESULTS]
            right = [not query.right.isdisjoint(videos_of(each)) for each in shown]
            outcomes.append(
                _Outcome(
                    absent=float(_rates(others[:_RESULTS]).min()),
                    rates=_rates(shown),
                    right=np.array(right, dtype=np.float64),
                )
            )
    if not outcomes or all(np.isinf(one.rates).all() for one in outcomes):
        raise AnnotationError(
            f"{library.root}: calibration needs other videos than those that answer the questions,"
            " and false-alarm rates, which this library is too small to have"
        )
    return Calibration(
        n=len(outcomes),
        videos=videos,
        recall_at_1=percent(float(np.mean([one.hit(1, np.inf) for one in outcomes]))),
        recall_at_10=percent(float(np.mean([one.hit(10, np.inf) for one in outcomes]))),
        settings=tuple(_setting(outcomes, rate, seed) for rate in SETTINGS),
        reliability=tuple(
            _reliability(outcomes, above, up_to) for above, up_to in itertools.pairwise(_EDGES)
        ),
        unknown_videos=labelled.unknown_videos,
        skipped=tuple(skipped),
    )


def _rates(results: Sequence[SearchResult]) -> Float64[np.ndarray, "k"]:
    rates = [each.false_alarm_rate for each in results]
    return np.array([np.inf if rate is None else rate for rate in rates], dtype=np.float64)


def _setting(outcomes: Sequence[_Outcome], rate: float, seed: int) -> Setting:
    rows = np.array(
        [
            [
                float(one.absent <= rate),
                float(one.rates.min() <= rate),
                one.hit(1, rate),
                one.hit(10, rate),
                one.hit(1, np.inf),
            ]
            for one in outcomes
        ]
    )
    absent, claimed, first, ten, free = rows.mean(axis=0).tolist()
    low, high = bootstrap_interval(rows, seed=seed)[:, 2].tolist()
    fewest, most = wilson_interval(round(absent * len(rows)), len(rows))
    return Setting(
        false_alarm_rate=rate,
        false_matches=percent(absent),
        false_matches_interval95=(percent(fewest), percent(most)),
        claimed=percent(claimed),
        recall_at_1=percent(first),
        recall_at_1_interval95=(percent(low), percent(high)),
        recall_at_10=percent(ten),
        recall_at_1_coin=percent(claimed * free),
    )


def _reliability(outcomes: Sequence[_Outcome], above: float, up_to: float) -> Reliability:
    inside = [
        one for one in outcomes if (above < one.rates[0] or above == 0) and one.rates[0] <= up_to
    ]
    return Reliability(
        above=above,
        up_to=up_to,
        absent_up_to=percent(float(np.mean([one.absent <= up_to for one in outcomes]))),
        n=len(inside),
        right=percent(float(np.mean([one.right[0] for one in inside]))) if inside else None,
    )
