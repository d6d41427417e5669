"""Greedy maximisation of what a set of pieces is worth, under a budget of seconds.

A set S of the pieces of a film is worth

    f(S) = sum_j c_j max_{i in S} k(j, i) + sum_{i in S} g_i,        k, c, g >= 0

a facility location (what is shown stands for what is like it) and what each piece has of its own.
f is monotone and submodular: a piece adds the less, the more is taken already. So

- where all pieces are as long, taking whatever adds most reaches at least 1 - 1/e = 0.632 of the
  best there is (Nemhauser, Wolsey and Fisher 1978), and nothing faster can promise more;
- where they are not, taking by gain a second may end with a crumb in place of the one long piece
  that matters. The better of that and of taking by gain alone, which begins with the best single
  piece, reaches at least (1 - 1/e) / 2 = 0.316: by submodularity what was taken and the first piece
  that did not fit are together worth 1 - 1/e of the best (Wolsey 1982; Leskovec et al. 2007; 0.405
  by Tang et al. 2021).

Gains only fall, so that an old gain is an upper bound of the present one: pieces wait in a heap by
their last known gain, and only the first is looked at again (Minoux 1978).

Axes: j pieces to stand for, m pieces to take; both are all pieces of a film here.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Float64

__all__ = ["Term", "Worth", "greedy", "greedy_under_budget"]

_NOTHING = 1e-9  # seconds
_EQUAL = 1e-6  # by so much differ, by rounding, kernels of pieces that show the same
_EXCHANGES = 10


@dataclass(frozen=True, slots=True)
class Term:
    """One part of what pieces are worth: `weight` times the shares, of the whole film, in `share`.

    With `covers` a piece's share counts for all that it is like (facility location); otherwise it
    is the piece's own.
    """

    name: str
    weight: float
    share: Float64[np.ndarray, "m"]
    covers: bool


class Worth:
    """f of sets of pieces, from terms and the kernel (row i: how much piece i stands for each)."""

    def __init__(self, kernel: Float32[np.ndarray, "m m"], terms: tuple[Term, ...]) -> None:
        self.kernel = kernel
        self.terms = terms
        covering = [term.weight * term.share for term in terms if term.covers]
        owned = [term.weight * term.share for term in terms if not term.covers]
        nothing = np.zeros(len(kernel))
        self._mass = np.sum([nothing, *covering], axis=0, dtype=np.float32)
        self._own: Float64[np.ndarray, "m"] = np.sum([nothing, *owned], axis=0)

    def __len__(self) -> int:
        return len(self.kernel)

    def nothing_yet(self) -> Float32[np.ndarray, "m"]:
        """How far each piece is stood for by the empty set."""
        return np.zeros(len(self), np.float32)

    def with_piece(self, covered: Float32[np.ndarray, "m"], piece: int) -> Float32[np.ndarray, "m"]:
        """How far each piece is stood for once `piece` is taken as well."""
        return np.asarray(np.maximum(covered, self.kernel[piece]))

    def gain(self, covered: Float32[np.ndarray, "m"], piece: int) -> float:
        """What the piece adds to a set that covers so much."""
        added = np.maximum(self.kernel[piece] - covered, 0)
        return float(added @ self._mass) + float(self._own[piece])

    def gains(self, covered: Float32[np.ndarray, "m"]) -> Float64[np.ndarray, "m"]:
        """`gain` of every piece."""
        added = np.empty(len(self))
        for low in range(0, len(self), 256):  # so that no second matrix is needed
            rows = self.kernel[low : low + 256]
            added[low : low + 256] = np.maximum(rows - covered, 0) @ self._mass
        return np.asarray(added + self._own)

    def divided(
        self, pieces: list[int], ties: Literal["even", "first"] = "even"
    ) -> list[tuple[float, ...]]:
        """f of a set shared out among its pieces: of each what it is worth to each of `terms`.

        Not weighted. What several pieces stand for counts for the one that is most like it, so
        that the values, weighted, add up to f; of equals, as where footage is repeated, for each
        its even share, or all for the `first`.
        """
        rows = self.kernel[pieces]  # (s, m)
        likeness = rows.max(axis=0)
        if ties == "even":
            nearest = rows >= likeness - _EQUAL
        else:
            nearest = np.arange(len(pieces))[:, np.newaxis] == rows.argmax(axis=0)
        stood_for = likeness * nearest / nearest.sum(axis=0)
        columns = [
            stood_for @ term.share if term.covers else term.share[pieces] for term in self.terms
        ]
        return [tuple(map(float, values)) for values in zip(*columns, strict=True)]

    def losses(self, pieces: list[int]) -> Float64[np.ndarray, "s"]:
        """How much less the set is worth without each of its pieces; at least two."""
        rows = self.kernel[pieces]  # (s, m)
        second, first = np.partition(rows, len(pieces) - 2, axis=0)[-2:]
        missed = np.bincount(rows.argmax(axis=0), (first - second) * self._mass, len(pieces))
        return np.asarray(missed + self._own[pieces])

    def of(self, pieces: list[int]) -> float:
        """f of a set."""
        if not pieces:
            return 0.0
        covered = self.kernel[pieces].max(axis=0)
        return float(covered @ self._mass) + float(self._own[pieces].sum())


def greedy(
    worth: Worth,
    seconds: Float[np.ndarray, "m"],
    budget_seconds: float,
    *,
    per_second: bool,
    taken: Sequence[int] = (),
    but: int | None = None,
) -> list[int]:
    """Pieces in the order in which they are taken: of those that fit always what adds most.

    `per_second`: that adds most for each of its seconds. Pieces that add nothing are left. It goes
    on from what is `taken` already, and never takes the piece `but`.
    """
    price = np.asarray(seconds, dtype=np.float64) if per_second else np.ones(len(worth))
    taken = list(taken)
    covered = worth.kernel[taken].max(axis=0) if taken else worth.nothing_yet()
    left = budget_seconds + _NOTHING - float(sum(seconds[taken]))
    # (- gain per price, piece, how many were taken when the gain was looked at)
    heap = [
        (-gain / price[piece], piece, len(taken))
        for piece, gain in enumerate(worth.gains(covered).tolist())
        if piece not in taken and piece != but
    ]
    heapq.heapify(heap)
    while heap:
        bound, piece, seen = heapq.heappop(heap)
        if bound >= 0:
            break
        if seconds[piece] > left:
            continue  # and it never will fit: the budget only shrinks
        if seen < len(taken):
            entry = (-worth.gain(covered, piece) / price[piece], piece, len(taken))
            heapq.heappush(heap, entry)
            continue
        taken.append(piece)
        covered = worth.with_piece(covered, piece)
        left -= float(seconds[piece])
    return taken


def greedy_under_budget(
    worth: Worth, seconds: Float[np.ndarray, "m"], budget_seconds: float
) -> list[int]:
    """The better of greedy by gain a second and of greedy by gain alone, refined; see above.

    What is taken first is often like everything, and stands for nothing better than what is taken
    later: so the piece that would be missed least is exchanged for others as long as that helps.
    """
    choices = (
        greedy(worth, seconds, budget_seconds, per_second=per_second)
        for per_second in (True, False)
    )
    taken = max(choices, key=worth.of)
    for _ in range(_EXCHANGES):
        if len(taken) < 2:
            break
        least = taken[int(np.argmin(worth.losses(taken)))]
        rest = [piece for piece in taken if piece != least]
        other = greedy(worth, seconds, budget_seconds, per_second=True, taken=rest, but=least)
        if worth.of(other) <= worth.of(taken) * (1 + 1e-6):
            break
        taken = other
    return taken
