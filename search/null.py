"""The null distribution: what the best clip is worth under questions that have no answer.

A bank of unrelated questions (see `search.bank`) is put to a library as a real question is, and the
best value that each finds makes the null distribution. With t the real question's value,

    false alarm rate = share of the bank's questions whose best value is at least t,

taken at the upper end of its 95 % confidence interval (Wilson 1927, one-sided), since a bank is a
sample. No labels and no assumption on the shape of the distribution are needed, and the size of the
library is accounted for: the more clips, the higher the best of them under any question.

**The value** of clip c under question q is its score less what either of them scores anyhow:

    t(q, c) = s(q, c) - h(c) / 2 - r(q, c) / 2

- `h(c)`, hubness: the mean of the highest tenth of c's scores under the bank. Hubs lie near to any
  question. A bank question's own score is left out of the h that corrects it.
- `r(q, c)`, rivals: the mean of the 10 highest scores under q of clips that show something else
  than c: whose mean frames, the library's mean taken away, have a cosine below 0.5 with c's.

This is cross-domain similarity local scaling (CSLS; Conneau et al. 2018) with one difference: clips
that show the same are no rivals, so that a question which much of a library answers still matches.

Questions of the bank that the library does answer only make the rates higher than they are.

Axes: m terms of a question, c clips, b texts of the bank, r clips that are shown, d dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

__all__ = [
    "BEST",
    "HUB_WEIGHT",
    "RIVALS",
    "RIVALS_WEIGHT",
    "SAME_CONTENT",
    "SHOWN",
    "Null",
    "best_places",
    "blocks",
    "directions_from",
    "hubness",
    "peak",
    "rivals",
    "value",
]

HUB_WEIGHT = np.float32(0.5)
RIVALS_WEIGHT = np.float32(0.5)
BEST = 100  # clips under a question among which its rivals are
SHOWN = 30  # best of these, among which its best value is
_BLOCK = 32
_HUB_SHARE = 0.1
RIVALS = 10
SAME_CONTENT = 0.5
_ONE_SIDED_95 = 1.645  # standard deviations


@dataclass(frozen=True)
class Null:
    """What unrelated questions find in one set of clips.

    `peaks` (b,) are their best values, increasing; `centre` (d,) is the mean of the clips' mean
    frames. `hubness` (c,) is known beforehand for the clips `clip_ids`, increasing, of a library
    that is scored exactly; both are empty otherwise.
    """

    peaks: Float32[np.ndarray, "b"]
    centre: Float32[np.ndarray, "d"]
    clip_ids: Int64[np.ndarray, "c"]
    hubness: Float32[np.ndarray, "c"]

    @classmethod
    def of(
        cls,
        scores: Float32[np.ndarray, "c b"],
        means: Float32[np.ndarray, "c d"],
        clip_ids: Int64[np.ndarray, "c"],
    ) -> Null:
        """The null of clips from their scores under at least two texts and their mean frames."""
        near, without = hubness(scores)
        centre = means.mean(0)
        directions = directions_from(centre, means)
        peaks = []
        for block in blocks(scores.shape[1]):
            best = best_places(scores.T[block], BEST)
            highest = np.take_along_axis(scores.T[block], best, -1)
            near_best = np.take_along_axis(without.T[block], best, -1)
            peaks.append(peak(highest, near_best, directions[best]))
        order = np.argsort(clip_ids)
        return cls(np.sort(np.concatenate(peaks)), centre, clip_ids[order], near[order])

    def rates(self, values: Float32[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
        """The false-alarm rate of each value, in (0, 1]: the higher the value, the lower."""
        n = len(self.peaks)
        return _upper_bound((n - np.searchsorted(self.peaks, values)) / n, n)

    def directions(self, means: Float32[np.ndarray, "c d"]) -> Float32[np.ndarray, "c d"]:
        """What sets clips apart from the rest of the library, unit length, from mean frames."""
        return directions_from(self.centre, means)

    def hubness_of(self, clip_ids: Int64[np.ndarray, "r"]) -> Float32[np.ndarray, "r"]:
        """The hubness of clips; infinite, so that nothing matches, where it is not known."""
        place = np.searchsorted(self.clip_ids, clip_ids).clip(max=len(self.clip_ids) - 1)
        known = self.clip_ids[place] == clip_ids
        return np.where(known, self.hubness[place], np.float32(np.inf))


def blocks(texts: int) -> Iterator[slice]:
    """The texts of a bank, as many at a time as their best clips' directions may take memory."""
    for low in range(0, texts, _BLOCK):
        yield slice(low, low + _BLOCK)


def value(
    scores: Float32[np.ndarray, "*shape"],
    near: Float32[np.ndarray, "*#shape"],
    level: Float32[np.ndarray, "*shape"],
) -> Float32[np.ndarray, "*shape"]:
    """t of clips from their scores, hubness and rivals."""
    return scores - HUB_WEIGHT * near - RIVALS_WEIGHT * level


def peak(
    scores: Float32[np.ndarray, "*b c"],
    near: Float32[np.ndarray, "*b c"],
    directions: Float32[np.ndarray, "*b c d"],
) -> Float32[np.ndarray, "*b"]:
    """The best value among each question's best clips, best first."""
    level = rivals(scores, directions, directions[..., :SHOWN, :])
    return np.asarray(value(scores[..., :SHOWN], near[..., :SHOWN], level).max(-1))


def hubness(
    scores: Float32[np.ndarray, "c b"],
) -> tuple[Float32[np.ndarray, "c"], Float32[np.ndarray, "c b"]]:
    """Of each clip, the mean of its highest scores; and the same without each of the texts."""
    texts = scores.shape[1]
    k = max(1, round(_HUB_SHARE * texts))
    upper = np.partition(scores, texts - k - 1, axis=1)[:, texts - k - 1 :]
    following, highest = upper[:, :1], upper[:, 1:]  # (c, 1), (c, k)
    mean = highest.mean(1)
    in_it = scores >= highest.min(1, keepdims=True)
    return mean, mean[:, np.newaxis] + np.where(in_it, (following - scores) / k, np.float32(0))


def rivals(
    scores: Float32[np.ndarray, "*b c"],
    directions: Float32[np.ndarray, "*b c d"],
    shown: Float32[np.ndarray, "*b r d"],
) -> Float32[np.ndarray, "*b r"]:
    """The mean score of the best clips that show something else than each of the clips shown.

    Takes the scores and directions of a question's best clips, best first, and the directions of
    those shown; of several questions at once or of one. Where too few clips show something else,
    the lowest score stands for each that is lacking.
    """
    other = shown @ directions.swapaxes(-1, -2) < SAME_CONTENT  # (*b, r, c)
    counted = other & (np.cumsum(other, axis=-1) <= RIVALS)
    lacking = RIVALS - counted.sum(-1)
    total = np.where(counted, scores[..., np.newaxis, :], np.float32(0)).sum(-1)
    return np.asarray((total + lacking * scores[..., -1:]) / RIVALS, dtype=np.float32)


def best_places(scores: Float32[np.ndarray, "*b c"], most: int) -> Int64[np.ndarray, "*b p"]:
    """The places of the highest scores, best first."""
    if most < scores.shape[-1]:
        high = np.argpartition(-scores, most, axis=-1)[..., :most]
        order = np.argsort(-np.take_along_axis(scores, high, -1), axis=-1, kind="stable")
        return np.take_along_axis(high, order, -1)
    return np.argsort(-scores, axis=-1, kind="stable")


def directions_from(
    centre: Float32[np.ndarray, "d"], means: Float32[np.ndarray, "c d"]
) -> Float32[np.ndarray, "c d"]:
    """The unit vectors from the centre to each; zero where there is no way to go."""
    away = means - centre
    lengths = np.linalg.norm(away, axis=1, keepdims=True)
    return np.asarray(away / np.maximum(lengths, np.float32(1e-6)))


def _upper_bound(shares: Float64[np.ndarray, "*shape"], n: int) -> Float64[np.ndarray, "*shape"]:
    """Of the one-sided 95 % interval of a share seen in a sample of n (Wilson 1927)."""
    z2 = _ONE_SIDED_95**2 / n
    deviation = np.sqrt(shares * (1 - shares) * z2 + z2**2 / 4)
    return np.asarray((shares + z2 / 2 + deviation) / (1 + z2))
