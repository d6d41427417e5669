"""Near-duplicate moments: the same footage in several files, shown once, with a count.

Two moments are the same footage if the frames of the shorter one are all found in the longer one,
in the same order: their similarity is the mean over the best matching that never goes back in time,

    s(i, j) = k(a_i, b_j) + max_{j' <= j} s(i - 1, j'),      similarity = max_j s(n, j) / n,

for the n frames a of the shorter and the frames b of the longer (of two that are as long, the
better way round), in O(n n'): dynamic time warping in which each frame of the shorter counts once.
So an excerpt is like what it was cut from, and footage is not like itself played backwards.

k is not the cosine of the features: that is near 1 for all that shows the same kind of thing. It is
the cosine after whitening by the library, with M the mean of x x' over a sample of its frames,

    k(a, b) = a' P b / sqrt(a' P a  b' P b),      P = (M + I / d)^-1,

in which what many frames share hardly counts and what tells one picture from another does (as PCA
whitening does for the retrieval of copies: Jegou and Chum 2012). I / d, the variance of directions
without any preference, keeps P tame in small libraries.

Only moments of different videos are compared: two moments of one video are at different times,
which is what somebody who looks for a moment wants to know, and a fixed camera sees the same for
hours.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float32

from search.candidates import frames_sample
from vidsift.library import Library
from vidsift.store.records import Generation

__all__ = ["SAME_FOOTAGE", "Folded", "Whitening", "fold", "footage_similarity", "whitening_of"]

# Measured by `python -m benchmarks.duplicates`: see there for what is found and what is confused.
SAME_FOOTAGE = 0.65
# Moments behind the last one that is wanted among which duplicates are still looked for.
_LOOK_AHEAD = 10

_Ranked = TypeVar("_Ranked")
Footage = Float32[np.ndarray, "_ d"]


@dataclass(frozen=True, slots=True)
class Whitening:
    """A linear map after which a library's frames point everywhere alike; see the module."""

    root: Float32[np.ndarray, "d d"]

    @classmethod
    def of(cls, sample: Float32[np.ndarray, "n d"]) -> Whitening:
        """From frames of all over a library; with few of them it does little."""
        count, d = sample.shape
        moment = sample.T.astype(np.float64) @ sample / max(1, count)
        moment[np.diag_indices(d)] += 1 / d
        return cls(np.linalg.cholesky(np.linalg.inv(moment)).astype(np.float32))

    def __call__(self, frames: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
        """The frames in the whitened space, of unit length."""
        white = frames @ self.root
        lengths = np.linalg.norm(white, axis=1, keepdims=True)
        return np.asarray(white / np.maximum(lengths, np.finfo(np.float32).tiny))


def whitening_of(library: Library) -> Whitening:
    """The library's own, as the catalog is now.

    Raises:
        LibraryError: the catalog cannot be read.
    """
    with _lock:
        now = library.catalog.generation()
        kept = _kept.get(library)
        if kept is None or kept[0] != now:
            kept = _kept[library] = (now, Whitening.of(frames_sample(library)))
        return kept[1]


_lock = threading.Lock()
_kept: WeakKeyDictionary[Library, tuple[Generation, Whitening]] = WeakKeyDictionary()


def footage_similarity(a: Float32[np.ndarray, "n d"], b: Float32[np.ndarray, "n2 d"]) -> float:
    """How alike two pieces of footage are, in [-1, 1]: symmetric, 1 for a piece and its excerpt.

    Takes frames of unit length, whitened ones to tell near-duplicates.
    """
    if len(a) == len(b):
        return max(_found_in(a, b), _found_in(b, a))
    return _found_in(*sorted((a, b), key=len))


def _found_in(shorter: Footage, longer: Footage) -> float:
    totals = np.zeros(len(longer), np.float32)
    for row in shorter @ longer.T:
        totals = np.maximum.accumulate(totals) + row
    return float(totals.max()) / len(shorter)


@dataclass(frozen=True, slots=True)
class Folded(Generic[_Ranked]):
    """The best of several near-duplicates, and the others, best first."""

    best: _Ranked
    duplicates: list[_Ranked] = field(default_factory=list)


def fold(
    ranked: Iterable[_Ranked],
    wanted: int,
    frames_of: Callable[[_Ranked], Footage | None],
    video_of: Callable[[_Ranked], int],
    whitening: Callable[[], Whitening],
) -> list[Folded[_Ranked]]:
    """The first `wanted` of what is ranked whose footage is not in something before it.

    Args:
        ranked: best first; 10 more than are needed are taken, to find duplicates in.
        wanted: how many different ones are needed.
        frames_of: the unit-length features of the frames that one shows, None where there are none:
            it is then nobody's duplicate.
        video_of: the id of its video.
        whitening: gives the library's; not asked where all is of one video.
    """
    found: list[Folded[_Ranked]] = []
    seen: list[_Seen] = []  # of those that have frames, in the same order
    whiten = cache(whitening)
    behind = 0
    for each in ranked:
        if len(found) == wanted:
            behind += 1
            if behind > _LOOK_AHEAD:
                break
        frames = frames_of(each)
        own = None
        if frames is not None and len(frames):
            own = _Seen(len(found), video_of(each), frames, whiten)
        twin = None if own is None else own.twin(seen)
        if twin is not None:
            found[twin].duplicates.append(each)
        elif len(found) < wanted:
            seen += [] if own is None else [own]
            found.append(Folded(each))
    return found


@dataclass
class _Seen:
    """The footage of one that is or would be found, and its place."""

    place: int
    video: int
    frames: Footage
    whitening: Callable[[], Whitening]

    @cached_property
    def white(self) -> Footage:
        return self.whitening()(self.frames)

    def twin(self, seen: list[_Seen]) -> int | None:
        """The first place whose footage is the same and of another video."""
        others = [other for other in seen if other.video != self.video]
        if not others:
            return None
        lengths = np.array([len(other.frames) for other in others])
        starts = np.cumsum(lengths) - lengths
        # No matching is better than each frame's own best match, whatever the order: few pass.
        products = self.white @ np.concatenate([other.white for other in others]).T
        of_own = np.maximum.reduceat(products, starts, axis=1).mean(0)
        of_theirs = np.add.reduceat(products.max(0), starts) / lengths
        bound = np.where(len(self.frames) < lengths, of_own, of_theirs)
        bound = np.where(len(self.frames) == lengths, np.maximum(of_own, of_theirs), bound)
        for i in np.flatnonzero(bound >= SAME_FOOTAGE).tolist():
            if footage_similarity(self.white, others[i].white) >= SAME_FOOTAGE:
                return others[i].place
        return None
