"""Measures of retrieval: from the places of the right answers to figures, chance and intervals.

Nothing here knows the search engine. A query may have several right answers. Shares are in percent
with two decimals, as they are published; places count from 1.

    R@k   share of queries with a right answer among the first k
    MedR  median, MnR mean, of the place of the first right answer
    MRR   mean of 1 / that place
    mAP   mean over queries of the average precision: the mean, over all right answers of a query,
          of the precision at their places

Axes: q queries, m measures.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

__all__ = [
    "CUTOFFS",
    "Judged",
    "bootstrap_interval",
    "chance_scores",
    "judge",
    "percent",
    "retrieval_interval",
    "retrieval_scores",
    "wilson_interval",
]

CUTOFFS = (1, 5, 10)
_RESAMPLES = 1000


def percent(share: float) -> float:
    """A share in percent with two decimals."""
    return float(f"{100 * share:.2f}")


@dataclass(frozen=True, slots=True)
class Judged:
    """Where in one answer the right ones stand: `places` of those found, ascending, from 1.

    `num_right` counts all right answers and `num_all` all that could be ranked; a right answer that
    is not found stands last.
    """

    places: tuple[int, ...]
    num_right: int
    num_all: int

    def __post_init__(self) -> None:
        in_order = all(a < b for a, b in zip(self.places, self.places[1:], strict=False))
        inside = not self.places or (self.places[0] >= 1 and self.places[-1] <= self.num_all)
        if not in_order or not inside or not len(self.places) <= self.num_right <= self.num_all:
            raise ValueError(f"places must ascend within all that is ranked, got {self!r}")
        if self.num_right < 1:
            raise ValueError("a query without a right answer cannot be judged")

    @property
    def first(self) -> int:
        """The place of the first right answer."""
        return self.places[0] if self.places else self.num_all

    @property
    def average_precision(self) -> float:
        found = sum(number / place for number, place in enumerate(self.places, 1))
        return found / self.num_right


def judge(ranking: Sequence[Hashable], right: Collection[Hashable], num_all: int) -> Judged:
    """Judge one ranking, best first and each item once, of a collection of `num_all` items."""
    places = tuple(place for place, item in enumerate(ranking, 1) if item in right)
    return Judged(places, len(right), num_all)


def retrieval_scores(judged: Sequence[Judged]) -> dict[str, float]:
    """R@1, R@5, R@10, MRR and mAP in percent, MedR and MnR as places.

    Raises:
        ValueError: there is no query.
    """
    _require(judged)
    means = _measures(judged).mean(axis=0)
    scores = dict(zip(_MEANS, (percent(float(mean)) for mean in means), strict=True))
    first = np.array([one.first for one in judged], dtype=np.float64)
    return scores | {"MedR": float(np.median(first)), "MnR": round(float(first.mean()), 2)}


def retrieval_interval(
    judged: Sequence[Judged], *, seed: int = 0, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """The bootstrap interval of R@k, MRR and mAP, in percent."""
    _require(judged)
    low, high = bootstrap_interval(_measures(judged), seed=seed, level=level)
    return {
        name: (percent(float(a)), percent(float(b)))
        for name, a, b in zip(_MEANS, low, high, strict=True)
    }


def chance_scores(judged: Sequence[Judged]) -> dict[str, float]:
    """What a random order of all items would get for these queries, exactly.

    With m right answers among n: P(first <= k) = 1 - C(n - m, k) / C(n, k); the mean average
    precision is (H_n + (m - 1) / (n - 1) * (n - H_n)) / n with the harmonic number H_n. MedR is
    the median of the mixture of all queries' first places.
    """
    _require(judged)
    most = max(one.num_all for one in judged)
    kinds: dict[tuple[int, int], int] = {}
    for one in judged:
        kinds[one.num_right, one.num_all] = kinds.get((one.num_right, one.num_all), 0) + 1
    within = np.zeros(most + 1)  # P(first <= k) for k = 0..most
    precision = 0.0
    for (right, total), count in kinds.items():
        share = count / len(judged)
        within += share * _first_within(right, total, most)
        harmonic = float(np.sum(1 / np.arange(1, total + 1)))
        more = (right - 1) / (total - 1) * (total - harmonic) if total > 1 else 0.0
        precision += share * (harmonic + more) / total
    at = np.diff(within)  # P(first = k) for k = 1..most
    places = np.arange(1, most + 1)
    scores = {f"R@{k}": percent(float(within[min(k, most)])) for k in CUTOFFS}
    return scores | {
        "MRR": percent(float(np.sum(at / places))),
        "mAP": percent(precision),
        "MedR": float(np.argmax(within >= 0.5 - 1e-12)),
        "MnR": round(float(np.sum(at * places)), 2),
    }


def bootstrap_interval(
    values: Float64[np.ndarray, "q m"], *, seed: int = 0, level: float = 0.95
) -> Float64[np.ndarray, "2 m"]:
    """The percentile bootstrap interval of each column's mean: low and high.

    Queries are drawn with replacement, 1,000 times (Efron 1979).
    """
    number = len(values)
    random = np.random.default_rng(seed)
    counts = random.multinomial(number, np.full(number, 1 / number), size=_RESAMPLES)
    means = counts @ values / number  # (resamples, m)
    tail = (1 - level) / 2
    return np.asarray(np.quantile(means, [tail, 1 - tail], axis=0), dtype=np.float64)


def wilson_interval(hits: int, number: int) -> tuple[float, float]:
    """The score interval at 95 % of a share (Wilson 1927): low and high, in [0, 1].

    For shares near 0 or 1, where the bootstrap sees no spread at all. `number` is positive.
    """
    z = 1.959964
    share = hits / number
    middle = share + z * z / (2 * number)
    width = z * math.sqrt(share * (1 - share) / number + z * z / (4 * number * number))
    scale = 1 + z * z / number
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)


_MEANS = (*(f"R@{k}" for k in CUTOFFS), "MRR", "mAP")


def _measures(judged: Sequence[Judged]) -> Float64[np.ndarray, "q m"]:
    """What the figures of _MEANS are means of."""
    return np.array(
        [
            [
                *(float(one.first <= k and bool(one.places)) for k in CUTOFFS),
                1 / one.first,
                one.average_precision,
            ]
            for one in judged
        ],
        dtype=np.float64,
    )


def _first_within(right: int, total: int, most: int) -> Float64[np.ndarray, "m"]:
    """P(first right answer <= k) for k = 0..most in a random order."""
    # As a running product: n over k of a large library is no float.
    left = np.arange(total, dtype=np.float64)
    step = np.clip((total - right - left) / (total - left), 0, None)
    none_yet = np.r_[1.0, np.cumprod(step)]
    return np.asarray(np.r_[1 - none_yet, np.ones(most - total)], dtype=np.float64)


def _require(judged: Sequence[Judged]) -> None:
    if not judged:
        raise ValueError("there is no query to score")
