"""Which of the pieces that compete for one summary of many videos are taken.

See `summarizer.across` for what a set of pieces is worth. Gains are evaluated lazily (Minoux 1978):
what a piece adds never grows while others are taken, so that a piece whose gain was computed last
and is still the greatest is the best there is. `summarizer.greedy` does the same for the pieces of
one film; here they are so many that a thousand of them stand for all, and what repeats the footage
of another video is passed over.

Axes: m pieces that compete, u pieces that are to be stood for, t terms, n frames, d dimensions.
"""

from __future__ import annotations

import heapq
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float32, Float64

from search.duplicates import SAME_FOOTAGE, Whitening, footage_similarity, whitening_of
from summarizer.across_pieces import Piece, around
from summarizer.saliency import ABOUT, GENERIC
from vidsift.errors import DamagedLibraryError
from vidsift.library import Library
from vidsift.types import SaliencyTerm, Segment, VideoRecord

__all__ = ["best_pieces"]

_log = logging.getLogger(__name__)

_STAND_FOR = 1_000  # pieces that stand for all in the sum over u
_MAY_BE_SAME = 0.4  # cosine of whitened centres; footage that is the same is far above
_NOTHING = 1e-6  # seconds


def best_pieces(
    library: Library,
    pieces: Sequence[Piece],
    budget_seconds: float,
    least: float,
    *,
    about: bool,
) -> tuple[dict[VideoRecord, list[Segment]], set[VideoRecord]]:
    """Of each video the segments of the best pieces that the budget holds, in order of time.

    And the videos of which nothing is taken and whose every piece another one shows.

    `about`: they were found by a question, so that relevance decides before all else. The last one
    is cut to what is left of the budget, unless that is less than `least`. Footage that is shown
    already, of another video, is not taken.
    """
    whitening = whitening_of(library)
    readable, centres = _centres(library, pieces, whitening)
    shown = _Shown(library, readable, centres, whitening)
    gains = _Gains(readable, centres, ABOUT if about else GENERIC, least)
    chosen: dict[VideoRecord, list[Segment]] = defaultdict(list)
    rest = budget_seconds
    while rest > _NOTHING and (place := gains.best()) is not None:
        piece = readable[place]
        if piece.duration > rest + _NOTHING:
            if rest < least - _NOTHING or len(piece.spans) > 1:
                continue
            piece = replace(piece, spans=(around(piece.spans[0], piece.peak_seconds, rest),))
        if shown.holds(place):
            continue
        shown.add(place)
        rest -= piece.duration
        terms = gains.take(place)
        saliency = sum(term.weight * term.value for term in terms)
        chosen[piece.video] += [Segment(span, saliency, terms) for span in piece.spans]
    in_order = {
        video: sorted(segments, key=lambda segment: segment.span)
        for video, segments in chosen.items()
    }
    others: dict[VideoRecord, list[int]] = defaultdict(list)
    for place, piece in enumerate(readable):
        if piece.video not in chosen:
            others[piece.video].append(place)
    repeated = {video for video, own in others.items() if all(map(shown.holds, own))}
    return in_order, repeated


class _Gains:
    """What each piece would add to those that were taken, by the terms of summarizer.saliency.

    Without a question every video has its turn before one is shown again. A piece shorter than
    `least` seconds counts as if it were so long.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        centres: Float32[np.ndarray, "m d"],
        factors: Mapping[str, float],
        least: float,
    ) -> None:
        own = np.array([piece.weight for piece in pieces])
        step = max(1, -(-len(pieces) // _STAND_FOR))
        firsts = np.arange(0, len(pieces), step)
        self._likeness = np.maximum(centres @ centres[::step].T, 0.0)  # (m, u)
        covering = {"representativeness": own}
        if len(pieces):
            # A second counts for the less, the more there is like it.
            kinds = own / (self._likeness @ np.add.reduceat(own, firsts))
            covering["diversity"] = kinds / kinds.sum()
        self._mass = np.array([np.add.reduceat(each, firsts) for each in covering.values()])
        self._own = {"relevance": own} if "relevance" in factors else {}
        self._names = (*covering, *self._own)
        self._factors = np.array([factors[name] for name in self._names])
        self._durations = np.array([max(piece.duration, least) for piece in pieces])
        self._covered = np.zeros(self._likeness.shape[1], np.float32)
        self._taken = 0
        self._videos = [piece.video.id for piece in pieces]
        self._in_turn = "relevance" not in factors
        self._shown: set[int] = set()
        self._heap = [(*self._rank(place), place, 0) for place in range(len(pieces))]
        heapq.heapify(self._heap)

    def best(self) -> int | None:
        """The place of the piece that adds most a second; it is not looked at again."""
        while self._heap:
            _, _, place, seen = heapq.heappop(self._heap)
            if seen == self._taken:
                return place
            heapq.heappush(self._heap, (*self._rank(place), place, self._taken))
        return None

    def take(self, place: int) -> tuple[SaliencyTerm, ...]:
        """From now on it is there; returns what it adds, a second."""
        values, duration = self._values(place), float(self._durations[place])
        np.maximum(self._covered, self._likeness[place], out=self._covered)
        self._shown.add(self._videos[place])
        self._taken += 1
        return tuple(
            SaliencyTerm(name, value, factor / duration)
            for name, value, factor in zip(
                self._names, values.tolist(), self._factors.tolist(), strict=True
            )
        )

    def _values(self, place: int) -> Float64[np.ndarray, "t"]:
        added = self._mass @ np.maximum(self._likeness[place] - self._covered, 0.0)
        return np.concatenate([added, [own[place] for own in self._own.values()]])

    def _rank(self, place: int) -> tuple[bool, float]:
        """Smaller comes first; never gets smaller."""
        again = self._in_turn and self._videos[place] in self._shown
        return again, -float(self._factors @ self._values(place) / self._durations[place])


def _centres(
    library: Library, pieces: Sequence[Piece], whitening: Whitening
) -> tuple[list[Piece], Float32[np.ndarray, "m d"]]:
    """The whitened mean frame of each piece, of unit length; a damaged video's are left out."""
    dimension = (library.catalog.stamp() or library.encoder.stamp).dimension
    means, readable = [], []
    damaged: set[str] = set()
    for piece in pieces:
        if piece.video.feature_file in damaged:
            continue
        try:
            means.append(_read(library, piece, dimension).mean(0))
        except DamagedLibraryError as error:
            _log.warning("%s is left out: %s", piece.video.path, error)
            damaged.add(piece.video.feature_file)
            continue
        readable.append(piece)
    if not readable:
        return [], np.empty((0, dimension), np.float32)
    return readable, whitening(np.stack(means))


def _read(library: Library, piece: Piece, dimension: int) -> Float32[np.ndarray, "n d"]:
    parts = [
        library.features.read(piece.video.feature_file, first, count, dimension)
        for first, count in piece.rows
    ]
    return np.concatenate(parts)


class _Shown:
    """The footage that was taken, to tell what would show it again."""

    def __init__(
        self,
        library: Library,
        pieces: Sequence[Piece],
        centres: Float32[np.ndarray, "m d"],
        whitening: Whitening,
    ) -> None:
        self._library, self._whitening = library, whitening
        self._pieces, self._all = pieces, centres
        self._places: list[int] = []
        self._centres = np.empty_like(centres)  # of what was taken, in that order
        self._white: dict[int, Float32[np.ndarray, "n d"]] = {}  # of those that were looked at

    def holds(self, place: int) -> bool:
        """Whether another video showed it."""
        likeness = self._centres[: len(self._places)] @ self._all[place]
        near = [self._places[i] for i in np.flatnonzero(likeness >= _MAY_BE_SAME)]
        video = self._pieces[place].video
        return any(
            footage_similarity(self._frames(place), self._frames(other)) >= SAME_FOOTAGE
            for other in near
            if self._pieces[other].video != video
        )

    def add(self, place: int) -> None:
        """It is shown now."""
        self._centres[len(self._places)] = self._all[place]
        self._places.append(place)

    def _frames(self, place: int) -> Float32[np.ndarray, "n d"]:
        if place not in self._white:
            frames = _read(self._library, self._pieces[place], self._all.shape[1])
            self._white[place] = self._whitening(frames)
        return self._white[place]
