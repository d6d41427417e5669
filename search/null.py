"""The null distribution: what the best clip is worth under questions that have no answer.

A bank of unrelated questions (see `search.bank`) is put to a library as a real question is, and the
best that each finds makes the null distribution. With t the real question's value,

    false alarm rate = share of the bank's questions whose best value is at least t,

taken at the upper end of its 95 % confidence interval (Wilson 1927, one-sided), since a bank is a
sample. No labels and no assumption on the shape of the distribution are needed, and the size of the
library is accounted for: the more clips, the higher the best of them under any question.

**The value** of clip c under question q is its score, corrected by the clip's hubness:

    t(q, c) = s(q, c) - 0.75 h(c),    h(c) = mean of the highest tenth of s(b, c) over the bank b

Hubs are clips that lie near to any question. The correction is that of cross-domain similarity
local scaling (CSLS; Conneau et al. 2018), on the side of the clip alone: with the question's own
neighbourhood taken away too, a question which much of the library answers would match nothing.
A bank question's own score is left out of the h that corrects it.

Questions of the bank that the library does answer only make the rates higher than they are.

Axes: m terms of a question, c clips, b texts of the bank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

__all__ = ["HUB_WEIGHT", "Null", "hubness"]

HUB_WEIGHT = np.float32(0.75)
_HUB_SHARE = 0.1  # of the bank's scores at a clip, the highest, make its hubness
_ONE_SIDED_95 = 1.645  # standard deviations


@dataclass(frozen=True)
class Null:
    """What unrelated questions find in one set of clips.

    `peaks` (b,) are their best values, increasing. `hubness` (c,) is known beforehand for the clips
    `clip_ids`, increasing, of a library that is scored exactly; both are empty otherwise.
    """

    peaks: Float32[np.ndarray, "b"]
    clip_ids: Int64[np.ndarray, "c"]
    hubness: Float32[np.ndarray, "c"]

    @classmethod
    def of(cls, scores: Float32[np.ndarray, "c b"], clip_ids: Int64[np.ndarray, "c"]) -> Null:
        """The null of clips whose scores under at least two texts of the bank are known."""
        near, without = hubness(scores)
        peaks = np.sort((scores - HUB_WEIGHT * without).max(0))
        order = np.argsort(clip_ids)
        return cls(peaks, clip_ids[order], near[order])

    def rates(
        self, scores: Float32[np.ndarray, "m c"], hubness: Float32[np.ndarray, "c"]
    ) -> Float64[np.ndarray, "m c"]:
        """The false-alarm rate of each score, in (0, 1]: the higher the score, the lower."""
        n = len(self.peaks)
        values = scores - HUB_WEIGHT * hubness
        return _upper_bound((n - np.searchsorted(self.peaks, values)) / n, n)

    def hubness_of(self, clip_ids: Int64[np.ndarray, "r"]) -> Float32[np.ndarray, "r"]:
        """The hubness of clips; infinite, so that nothing matches, where it is not known."""
        place = np.searchsorted(self.clip_ids, clip_ids).clip(max=len(self.clip_ids) - 1)
        known = self.clip_ids[place] == clip_ids
        return np.where(known, self.hubness[place], np.float32(np.inf))


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


def _upper_bound(shares: Float64[np.ndarray, "*shape"], n: int) -> Float64[np.ndarray, "*shape"]:
    """Of the one-sided 95 % interval of a share seen in a sample of n (Wilson 1927)."""
    z2 = _ONE_SIDED_95**2 / n
    deviation = np.sqrt(shares * (1 - shares) * z2 + z2**2 / 4)
    return np.asarray((shares + z2 / 2 + deviation) / (1 + z2))
