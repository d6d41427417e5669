"""Exact search: every clip of a small library is scored by the training-free pooler itself.

All frames of the library's clips lie in memory as one float32 matrix, clip after clip. A question
is one pass over it: the product with the query gives the similarities s of all frames, and what is
left is arithmetic over each clip's few similarities, since a training-free pooler's weights w
depend on s alone. With a clip's Gram matrix G the pooled vector is never needed:

    score = w . s                             the pooled vector is not made unit length
    score = w . s / sqrt(w' G w)              it is: the cosine of question and pooled vector

Memory: 4 d bytes a frame, that is 18 kB a clip of 12 frames of 384 dimensions; a library is scored
so up to `exact_clips` clips and 16 frames for each of these (245 MB at 10,000 and 384), and with
Gram matrices 4 n bytes a frame more.

Axes: m queries, c clips, f frames of all clips, n frames of one clip, d dimensions.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Float32, Int64

from search.context import in_context, surroundings
from vidsift.errors import DamagedLibraryError, LibraryChangedError
from vidsift.library import Library
from vidsift.models.attention import MaxPool, MeanPool, Pooler, SoftmaxPool
from vidsift.store.records import Generation
from vidsift.types import ClipRecord

__all__ = [
    "FRAMES_A_CLIP",
    "FrameMatrix",
    "frame_matrix",
    "frames_of_videos",
    "is_small",
    "is_training_free",
    "let_go",
]

_log = logging.getLogger(__name__)

FRAMES_A_CLIP = 16  # the matrix has room for so many of each of `exact_clips` clips
# Rows that stay in the second-level cache while several queries pass over them.
_BLOCK = 512
# Similarities that differ by less are equal but for rounding, as MaxPool has it.
_ROUNDING = np.float32(1e-6)


def is_training_free(pooler: Pooler) -> bool:
    """Whether the pooler's weights depend on the frames' similarities alone."""
    return isinstance(pooler, (MeanPool, MaxPool, SoftmaxPool))


@dataclass(frozen=True)
class FrameMatrix:
    """The frames of clips, clip after clip, a video's clips in order of time.

    `rows` (f, d) have unit length; clip c has rows `starts[c]` to `starts[c] + lengths[c]`.
    """

    rows: Float32[np.ndarray, "f d"]
    starts: Int64[np.ndarray, "c"]
    lengths: Int64[np.ndarray, "c"]
    clip_ids: Int64[np.ndarray, "c"]
    video_ids: Int64[np.ndarray, "c"]

    def __len__(self) -> int:
        return len(self.clip_ids)

    def __repr__(self) -> str:
        return f"FrameMatrix(clips={len(self)}, rows={self.rows.shape})"

    def frames(self, place: int) -> Float32[np.ndarray, "n d"]:
        """The frames of the clip at a place; a view."""
        start = int(self.starts[place])
        return self.rows[start : start + int(self.lengths[place])]

    def clips_of(self, videos: frozenset[int]) -> Bool[np.ndarray, "c"]:
        """Which clips are of one of these videos."""
        return np.isin(self.video_ids, np.array(sorted(videos), dtype=np.int64))

    def similarities(
        self, vectors: Float32[np.ndarray, "m d"], chosen: Bool[np.ndarray, "c"] | None = None
    ) -> Float32[np.ndarray, "m f2"]:
        """The cosine of every frame (of the chosen clips) with each query."""
        parts = [(0, len(self.rows))] if chosen is None else self._row_ranges(chosen)
        found = np.empty((len(vectors), sum(end - start for start, end in parts)), np.float32)
        done = 0
        for start, end in parts:
            rows, out = self.rows[start:end], found[:, done : done + end - start]
            done += end - start
            if len(vectors) == 1:
                np.dot(rows, vectors[0], out=out[0])
                continue
            # Faster than one product of matrices: each block is fetched from memory once.
            for low in range(0, len(rows), _BLOCK):
                block = rows[low : low + _BLOCK]
                for query, values in zip(vectors, out, strict=True):
                    np.dot(block, query, out=values[low : low + _BLOCK])
        return found

    def scores(
        self,
        vectors: Float32[np.ndarray, "m d"],
        pooler: Pooler,
        chosen: Bool[np.ndarray, "c"] | None = None,
        *,
        normalised: bool = False,
    ) -> Float32[np.ndarray, "m c2"]:
        """What the pooler's pooled vector scores under each query, for every (chosen) clip.

        Equal to `q . v` with v from `pooler(vectors, frames, mask)`; with `normalised`, v is made
        unit length first.

        Raises:
            TypeError: the pooler is learned, so that similarities do not tell its weights.
        """
        return self.pool(self.similarities(vectors, chosen), pooler, chosen, normalised=normalised)

    def pool(
        self,
        similarities: Float32[np.ndarray, "m f2"],
        pooler: Pooler,
        chosen: Bool[np.ndarray, "c"] | None = None,
        *,
        normalised: bool = False,
    ) -> Float32[np.ndarray, "m c2"]:
        """`scores` from similarities that are known already."""
        lengths = self.lengths if chosen is None else self.lengths[chosen]
        if not len(lengths):
            return np.zeros((len(similarities), 0), np.float32)
        starts = np.cumsum(lengths) - lengths
        scores = np.empty((len(similarities), len(lengths)), np.float32)
        for of_query, s in zip(scores, similarities, strict=True):
            masses = _masses(pooler, s, starts, lengths)
            products = masses * s
            np.add.reduceat(products, starts, out=of_query)
            if normalised:
                of_query /= np.sqrt(self._quadratic_forms(masses, starts, lengths, chosen))
            else:
                of_query /= np.add.reduceat(masses, starts)
        return scores

    def in_context(
        self,
        scores: Float32[np.ndarray, "m c2"],
        similarities: Float32[np.ndarray, "m f2"],
        temperature: float,
        chosen: Bool[np.ndarray, "c"] | None = None,
    ) -> Float32[np.ndarray, "m c2"]:
        """Clips' own scores joined with their surroundings': see `search.context`.

        The chosen clips must be all of their videos.
        """
        if chosen is None:
            return in_context(scores, similarities, self.lengths, self._reach, temperature)
        lengths = self.lengths[chosen]
        reach = surroundings(lengths, self.video_ids[chosen])
        return in_context(scores, similarities, lengths, reach, temperature)

    @cached_property
    def _reach(self) -> Int64[np.ndarray, "c 2"]:
        return surroundings(self.lengths, self.video_ids)

    def _row_ranges(self, chosen: Bool[np.ndarray, "c"]) -> list[tuple[int, int]]:
        """The rows of chosen clips, those that touch as one range."""
        edges = np.flatnonzero(np.diff(np.r_[False, chosen, False].astype(np.int8)))
        firsts, lasts = edges[0::2], edges[1::2] - 1
        ends = self.starts[lasts] + self.lengths[lasts]
        return list(zip(self.starts[firsts].tolist(), ends.tolist(), strict=True))

    @cached_property
    def _grams(self) -> Mapping[int, tuple[Int64[np.ndarray, "c"], Float32[np.ndarray, "g n n"]]]:
        """By number of frames n: each clip's place in the stack (or -1), and the Gram matrices."""
        stacks = {}
        for n in np.unique(self.lengths).tolist():
            clips = np.flatnonzero(self.lengths == n)
            grams = np.empty((len(clips), n, n), np.float32)
            for low in range(0, len(clips), _BLOCK):
                starts = self.starts[clips[low : low + _BLOCK]]
                frames = self.rows[starts[:, np.newaxis] + np.arange(n)]  # (block, n, d)
                np.matmul(frames, frames.transpose(0, 2, 1), out=grams[low : low + _BLOCK])
            place = np.full(len(self), -1, np.int64)
            place[clips] = np.arange(len(clips))
            stacks[n] = (place, grams)
        return stacks

    def _quadratic_forms(
        self,
        masses: Float32[np.ndarray, "f"],
        starts: Int64[np.ndarray, "c2"],
        lengths: Int64[np.ndarray, "c2"],
        chosen: Bool[np.ndarray, "c"] | None,
    ) -> Float32[np.ndarray, "c2"]:
        """w' G w of every (chosen) clip."""
        forms = np.empty(len(lengths), np.float32)
        for n, (place, grams) in self._grams.items():
            here = np.flatnonzero(lengths == n)
            if not len(here):
                continue
            w = masses[starts[here][:, np.newaxis] + np.arange(n)]  # (g, n)
            stack = grams if chosen is None else grams[place[chosen][here]]
            forms[here] = np.einsum("gn,gn->g", np.matmul(stack, w[:, :, np.newaxis])[:, :, 0], w)
        return forms


def _masses(
    pooler: Pooler,
    s: Float32[np.ndarray, "f"],
    starts: Int64[np.ndarray, "c"],
    lengths: Int64[np.ndarray, "c"],
) -> Float32[np.ndarray, "f"]:
    """The pooler's weights but for a factor a clip."""
    if isinstance(pooler, MeanPool):
        return np.ones_like(s)
    if not isinstance(pooler, (MaxPool, SoftmaxPool)):
        raise TypeError(f"{type(pooler).__name__} is learned: it needs frames, not similarities")
    masses = np.repeat(np.maximum.reduceat(s, starts), lengths)  # each clip's best
    if isinstance(pooler, MaxPool):
        return np.asarray(s >= masses - _ROUNDING, dtype=np.float32)
    np.subtract(s, masses, out=masses)
    masses /= np.float32(pooler.temperature)
    np.exp(masses, out=masses)
    return masses


def is_small(library: Library, videos: frozenset[int] | None = None) -> bool:
    """Whether the library, or these videos of it, are scored exactly: see `exact_clips`."""
    most = library.settings.exact_clips
    if most == 0 or (videos is not None and len(videos) > most):
        return False
    clips, frames = library.catalog.num_clips(videos)
    return clips <= most and frames <= most * FRAMES_A_CLIP


def frame_matrix(library: Library) -> FrameMatrix:
    """All searchable clips' frames, as the catalog is now; kept while the library is open.

    What was added since is appended; after a deletion all is read again. Clips whose features are
    damaged are left out, with a warning that names the video and the file. Check `is_small` first.

    Raises:
        LibraryError: the catalog cannot be read.
    """
    with _opening:
        kept = _kept.setdefault(library, _KeptFrames())
    return kept.current(library)


def let_go(library: Library) -> None:
    """Give back the memory of `frame_matrix`: the library has grown too large for it."""
    with _opening:
        kept = _kept.get(library)
    if kept is not None:
        kept.let_go()


def frames_of_videos(library: Library, videos: frozenset[int]) -> FrameMatrix:
    """As `frame_matrix`, of some videos only; the latest such set is kept."""
    with _opening:
        kept = _kept.setdefault(library, _KeptFrames())
    return kept.of_videos(library, videos)


class _KeptFrames:
    """One library's matrix: a buffer with room to grow, and the state of the catalog it shows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: Generation | None = None
        self._buffer = np.empty((0, 0), np.float32)
        self._matrix = _empty(0)
        self._latest: tuple[Generation, frozenset[int], FrameMatrix] | None = None

    def current(self, library: Library) -> FrameMatrix:
        library.inspection.inspect()
        with self._lock:
            now = library.catalog.generation()
            before = self._state
            if now == before:
                return self._matrix
            is_older = before is not None and now.generation < before.generation
            if is_older and library.catalog.has_changed():
                # Another thread has read a later state than this one does.
                raise LibraryChangedError(f"{library.root}: it has changed; ask again")
            grown = before is not None and now == replace(before, generation=now.generation)
            old = self._matrix if grown else _empty(_dimension(library))
            if not grown:
                self._matrix, self._buffer = old, old.rows  # let go before all is read again
            after = int(old.clip_ids.max()) if len(old) else 0
            table = library.catalog.clip_frames(after)
            self._buffer = _grown(self._buffer, len(old.rows), int(table[:, 3].sum()))
            added = _read(library, table, self._buffer[len(old.rows) :])
            self._matrix = _joined(self._buffer, old, added)
            self._state = now
            return self._matrix

    def let_go(self) -> None:
        with self._lock:
            self._state = None
            self._buffer = np.empty((0, 0), np.float32)
            self._matrix = _empty(0)

    def of_videos(self, library: Library, videos: frozenset[int]) -> FrameMatrix:
        library.inspection.inspect(videos)
        with self._lock:
            now = library.catalog.generation()
            if self._latest is None or self._latest[:2] != (now, videos):
                table = library.catalog.clip_frames(of_videos=sorted(videos))
                room = np.empty((int(table[:, 3].sum()), _dimension(library)), np.float32)
                self._latest = (now, videos, _read(library, table, room))
            return self._latest[2]


_opening = threading.Lock()
_kept: WeakKeyDictionary[Library, _KeptFrames] = WeakKeyDictionary()


def _dimension(library: Library) -> int:
    stamp = library.catalog.stamp()
    return (stamp or library.encoder.stamp).dimension


def _empty(dimension: int) -> FrameMatrix:
    none = np.empty(0, np.int64)
    return FrameMatrix(np.empty((0, dimension), np.float32), none, none, none, none)


def _grown(
    buffer: Float32[np.ndarray, "room d"], used: int, more: int
) -> Float32[np.ndarray, "room2 d"]:
    """The buffer, or a copy of what is used of it that has room for `more` rows."""
    if used + more <= len(buffer):
        return buffer
    # Half as much again where it grows by little, so that n additions copy O(n) rows in all.
    room = max(used + more, used + used // 2)
    larger = np.empty((room, buffer.shape[1]), np.float32)
    larger[:used] = buffer[:used]
    return larger


def _joined(
    buffer: Float32[np.ndarray, "room d"], old: FrameMatrix, added: FrameMatrix
) -> FrameMatrix:
    """Both, whose rows follow each other in the buffer."""
    pairs: list[Any] = [
        np.concatenate(pair)
        for pair in (
            (old.starts, added.starts + len(old.rows)),
            (old.lengths, added.lengths),
            (old.clip_ids, added.clip_ids),
            (old.video_ids, added.video_ids),
        )
    ]
    return FrameMatrix(buffer[: len(old.rows) + len(added.rows)], *pairs)


def _read(
    library: Library, table: Int64[np.ndarray, "c 4"], room: Float32[np.ndarray, "room d"]
) -> FrameMatrix:
    """Fill `room` with the frames of the clips in `table`: see `CatalogReader.clip_frames`."""
    edges = np.flatnonzero(np.diff(table[:, 1], prepend=-1, append=-1)) if len(table) else [0]
    records = library.catalog.clips(table[edges[:-1], 0])
    whole = np.zeros(len(table), dtype=bool)
    used = 0
    for first, last in itertools.pairwise(edges):
        clips = table[first:last]
        record = records.get(int(clips[0, 0]))
        if record is None:  # it went between the two questions; the next call reads anew
            continue
        try:
            frames = _frames(library, record, clips[:, 2], clips[:, 3], room.shape[1])
        except DamagedLibraryError as error:
            # One lost file must not take the other videos' answers with it, nor be silent.
            _log.warning("%s is not searched: %s", record.video, error)
            continue
        room[used : used + len(frames)] = frames
        used += len(frames)
        whole[first:last] = True
    ids, videos, _, lengths = table[whole].T
    starts = np.cumsum(lengths) - lengths
    return FrameMatrix(room[:used], starts, lengths.copy(), ids.copy(), videos.copy())


def _frames(
    library: Library,
    record: ClipRecord,
    firsts: Int64[np.ndarray, "c"],
    lengths: Int64[np.ndarray, "c"],
    dimension: int,
) -> Float32[np.ndarray, "f d"]:
    """The frames of one video's clips, one clip after the other."""
    begin, end = int(firsts.min()), int((firsts + lengths).max())
    frames = library.features.read(record.feature_file, begin, end - begin, dimension)
    if np.array_equal(firsts[1:], firsts[:-1] + lengths[:-1]):
        return frames
    kept = [np.arange(a, a + n) for a, n in zip(firsts - begin, lengths, strict=True)]
    return np.take(frames, np.concatenate(kept), axis=0)
