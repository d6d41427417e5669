"""Several terms of one moment to one score and one curve: all that is wanted, nothing excluded.

Each term's values are standardised against its own background, because cosines of one text run
higher than another's. What is wanted is joined by a soft minimum,

    z = -T log sum_i p_i exp(-z_i / T),     p_i = weight_i / sum of weights,   T = 4,

between the mean (T -> infinity), in which one strong term hides an absent one, and the minimum,
which trusts the noisiest. What is excluded subtracts `2 weight max(0, z_j - 1)`: nothing as long as
it stands no further above its background than one standard deviation. The result goes back to
cosines by the wanted terms' own backgrounds. One wanted term alone keeps its very values.

T and the two numbers of exclusion are measured: `python -m benchmarks.questions`.

Axes: m terms (wanted, then excluded), c clips, n frames, x values of either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from search.question import Step, Term
from search.rerank import ScoredClips
from vidsift.types import RankedClip

__all__ = [
    "LEAST_DEVIATION",
    "TEMPERATURE",
    "Background",
    "combine_clips",
    "combine_values",
    "soft_minimum",
    "step_terms",
]

TEMPERATURE = 4.0
EXCLUSION_FROM = 1.0  # standard deviations above the background
EXCLUSION_RATE = 2.0
LEAST_DEVIATION = 0.01  # of cosines: a handful of clips that are alike must not divide by 0


@dataclass(frozen=True, slots=True)
class Background:
    """What values are usual for each of m terms: mean and standard deviation."""

    mean: Float32[np.ndarray, "m"]
    deviation: Float32[np.ndarray, "m"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "m x"]) -> Background:
        """Over values of clips or of frames, of the library or of candidates; x >= 1."""
        return cls(
            mean=values.mean(1, dtype=np.float32),
            deviation=np.maximum(values.std(1, dtype=np.float32), np.float32(LEAST_DEVIATION)),
        )


def step_terms(step: Step) -> tuple[Term, ...]:
    """The terms in the order of axis m."""
    return step.wanted + step.excluded


def combine_values(
    step: Step,
    values: Float32[np.ndarray, "m x"],
    background: Background,
    *,
    temperature: float = TEMPERATURE,
    exclusion_from: float = EXCLUSION_FROM,
    exclusion_rate: float = EXCLUSION_RATE,
) -> Float32[np.ndarray, "x"]:
    """The values of a step's terms as those of one term, in units of cosine."""
    wanted = len(step.wanted)
    if wanted == 1 and not step.excluded:
        return np.asarray(values[0])
    z = (values - background.mean[:, None]) / background.deviation[:, None]
    shares = _shares(step)
    joined = soft_minimum(z[:wanted], shares, temperature)
    excess = np.maximum(z[wanted:] - np.float32(exclusion_from), 0)
    rates = np.array([exclusion_rate * term.weight for term in step.excluded], np.float32)
    joined -= rates @ excess
    mean, deviation = shares @ background.mean[:wanted], shares @ background.deviation[:wanted]
    return np.asarray(mean + deviation * joined, dtype=np.float32)


def soft_minimum(
    z: Float32[np.ndarray, "m x"],
    shares: Float32[np.ndarray, "m"],
    temperature: float = TEMPERATURE,
) -> Float32[np.ndarray, "x"]:
    """`-T log sum_i p_i exp(-z_i / T)` over axis m, with shares p that sum to 1."""
    lowest = z.min(0)
    sums = shares @ np.exp((lowest - z) / np.float32(temperature))
    return np.asarray(lowest - np.float32(temperature) * np.log(sums), dtype=np.float32)


def combine_clips(
    step: Step,
    scored: ScoredClips,
    of_scores: Background | None = None,
    of_frames: Background | None = None,
) -> list[RankedClip]:
    """Rank clips under all terms of a step, best first.

    Args:
        step: whose `step_terms` the clips were scored under.
        scored: scores and similarities of each term.
        of_scores: the background of clips' scores; None: over the clips given.
        of_frames: the background of frames' similarities; None: over the frames given.

    A clip's frame weights are the mean of its wanted terms' weights, each counting its share.
    """
    if not scored.records:
        return []
    frames = np.concatenate(scored.similarities, axis=1)  # (m, all frames)
    scores = combine_values(step, scored.scores, of_scores or Background.of(scored.scores))
    curve = combine_values(step, frames, of_frames or Background.of(frames))
    ends = np.cumsum([clip.shape[1] for clip in scored.similarities])
    curves = np.split(curve, ends[:-1])
    shares = _shares(step)
    return [
        RankedClip(
            record=scored.records[c],
            score=float(scores[c]),
            similarities=curves[c],
            weights=shares @ scored.weights[c][: len(shares)],
        )
        for c in np.argsort(-scores, kind="stable")
    ]


def _shares(step: Step) -> Float32[np.ndarray, "m"]:
    weights = np.array([term.weight for term in step.wanted], np.float32)
    return np.asarray(weights / weights.sum(), dtype=np.float32)
