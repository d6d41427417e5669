"""How sure an answer is: how often a question without an answer here would find one as good.

A score alone says little: cosines differ between encoders, libraries and poolers. What a score is
worth is asked of the library itself, by a bank of questions that have nothing to do with it: see
`search.null` for the distribution that this gives and what is read from it. Here the bank goes
through a library, in the way that a real question goes:

- where every clip is scored exactly, all of the bank in one pass over the frames;
- else each text through both stages, candidates and rerank, once; the result is kept on disk.

A null distribution belongs to one state of the catalog, one encoder, one pooler and one bank; it is
made again when any of these changes, and for each set of videos that a filter leaves.

The rates hold for texts; a picture as the question lies elsewhere in the space and has no null.

Axes: m terms of a question, c clips, b texts of the bank, f frames, d dimensions.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import cache
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float32, Float64

from search.bank import bank_texts, bank_vectors
from search.candidates import candidate_count, find_candidates, first_stage
from search.exact import FrameMatrix, frame_matrix, frames_of_videos, is_small, is_training_free
from search.null import (
    BEST,
    Null,
    best_places,
    directions_from,
    hubness,
    peak,
    rivals,
    value,
)
from search.rerank import score_clips
from vidsift.errors import StorageError
from vidsift.library import Library
from vidsift.models.attention import Pooler
from vidsift.models.learned_attention import LearnedPool
from vidsift.store.files import write_atomically
from vidsift.store.records import Generation
from vidsift.types import ClipRecord

__all__ = [
    "false_alarm_rates",
    "matrix_of",
    "mean_frames",
    "null_problem",
    "prepare",
    "scores_in_one_pass",
]

_FILE = "null.npz"
_FORMAT = 2
_DIGEST_BYTES = 32
# Through both stages the bank costs several milliseconds a text; so many still tell 5 %.
_TEXTS_IN_STAGES = 300
_CLIPS = 2_000  # whose frames are in memory at a time
# Frames times texts that take about a second; a larger library is asked fewer texts.
_PRODUCTS = 60_000_000
_LEAST_TEXTS = 300
_BLOCK = 32  # texts whose similarities to all frames are in memory at a time
_KEPT_NULLS = 16
_GROWN = 1.1  # times the clips that a null was made of, up to which it serves


_Stamp = dict[str, Any]


def false_alarm_rates(
    library: Library,
    records: Sequence[ClipRecord],
    scores: Float32[np.ndarray, "m c"],
    scope: frozenset[int] | None = None,
    shown: Sequence[int] | None = None,
) -> Float64[np.ndarray, "m r"] | None:
    """How often a question without an answer would find a clip as good, for each term and clip.

    Args:
        library: where was searched.
        records: the clips that were scored, in any order, the 100 best of each term among them.
        scores: what `score_clips` gave them under each of m terms in words.
        scope: ids of the videos that were searched, None: all.
        shown: the places of those clips whose rates are asked for, None: all.

    A clip that must show several terms at once is as sure as the least sure of them: take the
    maximum over the terms. None where nothing is searchable.

    Raises:
        LibraryError: the catalog cannot be read.
        EncoderError: the bank must be encoded, and the encoder cannot run.
    """
    null = _nulls_of(library).null(library, scope)
    if null is None:
        return None
    asked = np.arange(len(records)) if shown is None else np.array(shown, dtype=np.int64)
    if not len(asked):
        return np.empty((len(scores), 0))
    bests = [best_places(of_term, BEST) for of_term in scores]
    used = np.unique(np.concatenate([asked, *bests]))
    directions = null.directions(mean_frames(matrix_of(library, [records[i] for i in used])))
    levels = np.stack([
        rivals(of_term[best], directions[np.searchsorted(used, best)],
               directions[np.searchsorted(used, asked)])
        for of_term, best in zip(scores, bests, strict=True)
    ])  # fmt: skip
    near = _hubness(library, null, [records[i] for i in asked])
    return null.rates(value(scores[:, asked], near[np.newaxis], levels))


def prepare(library: Library) -> None:
    """Make the library's null distribution and keep it on disk, so that no search has to.

    Raises:
        LibraryError, EncoderError: as false_alarm_rates.
    """
    library.in_one_state(lambda: _nulls_of(library).null(library, None, fresh=True))


class _Nulls:
    """One library's null distributions, by the videos searched, for the catalog as it is now.

    While videos are indexed into a library its own serves on until a tenth was added: to make it
    takes seconds, and a search would find it outdated again and again. Its rates are then too low
    by about as much as was added.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: Generation | None = None
        self._nulls: dict[frozenset[int] | None, Null | None] = {}
        self._made: tuple[_Stamp, Null | None] | None = None  # of the whole library

    def null(
        self, library: Library, scope: frozenset[int] | None, *, fresh: bool = False
    ) -> Null | None:
        """`fresh`: that of the library must be of this very state."""
        with self._lock:
            now = library.catalog.generation()
            if now != self._state:
                self._nulls.clear()
                self._state = now
            if fresh:
                self._nulls.pop(None, None)
            if scope not in self._nulls:
                if len(self._nulls) == _KEPT_NULLS:
                    del self._nulls[next(iter(self._nulls))]
                whole = scope is None
                self._nulls[scope] = self._whole(library, fresh) if whole else _make(library, scope)
            return self._nulls[scope]

    def _whole(self, library: Library, fresh: bool) -> Null | None:
        stamp = _stamp(library)
        if self._made is None or not _serves(self._made[0], stamp, fresh):
            self._made = _load_or_make(library, stamp, fresh)
        return self._made[1]


_opening = threading.Lock()
_kept: WeakKeyDictionary[Library, _Nulls] = WeakKeyDictionary()


def _nulls_of(library: Library) -> _Nulls:
    with _opening:
        return _kept.setdefault(library, _Nulls())


def _in_one_pass(library: Library, scope: frozenset[int] | None) -> bool:
    """Whether every clip is scored by the pooler that ranks."""
    return is_training_free(library.pooler) and (
        is_small(library) or (scope is not None and is_small(library, scope))
    )


def _make(library: Library, scope: frozenset[int] | None) -> Null | None:
    if not _in_one_pass(library, scope):
        return _through_stages(library, scope)
    if is_small(library):
        matrix = frame_matrix(library)
        matrix = matrix if scope is None else _part(matrix, scope)
    else:
        matrix = frames_of_videos(library, scope or frozenset())
    if not len(matrix):
        return None
    texts = max(_LEAST_TEXTS, _PRODUCTS // len(matrix.rows))
    bank = bank_vectors(library.encoder)[:texts]
    scores = scores_in_one_pass(matrix, bank, library.pooler, library.settings.temperature)
    return Null.of(scores, mean_frames(matrix), matrix.clip_ids)


def _through_stages(library: Library, scope: frozenset[int] | None) -> Null | None:
    """The null of a library that is searched by candidates, whose every clip no text sees.

    Each text of the bank goes the way of a question.
    """
    bank = bank_vectors(library.encoder)[:_TEXTS_IN_STAGES]
    most = candidate_count(library.settings, 0)
    records: dict[int, ClipRecord] = {}
    found: list[tuple[list[int], Float32[np.ndarray, "c"]]] = []  # of each text: clips, scores
    damaged: set[str] = set()  # files that score_clips has warned of: once is enough
    for vector in bank[:, np.newaxis]:
        candidates = [
            record
            for record in find_candidates(vector, library, scope, most).records
            if record.feature_file not in damaged
        ]
        scored = score_clips(vector, candidates, library.features, library.pooler)
        damaged |= {each.feature_file for each in candidates}
        damaged -= {each.feature_file for each in scored.records}
        best = best_places(scored.scores[0], BEST)
        found.append(([scored.records[c].id for c in best], scored.scores[0, best]))
        records.update((scored.records[c].id, scored.records[c]) for c in best)
    if not records:
        return None
    means, without = [], []
    for low in range(0, len(records), _CLIPS):
        matrix = matrix_of(library, list(records.values())[low : low + _CLIPS])
        means.append(mean_frames(matrix))
        without.append(hubness(scores_in_one_pass(matrix, bank, first_stage(library)))[1])
    near = np.concatenate(without)  # (c, b)
    centre = np.concatenate(means).mean(0)
    directions = directions_from(centre, np.concatenate(means))
    row = {clip: number for number, clip in enumerate(records)}
    peaks = []
    for place, (clips, scores) in enumerate(found):
        rows = [row[clip] for clip in clips]
        if rows:
            peaks.append(peak(scores, near[rows, place], directions[rows]))
    nothing = np.empty(0, np.int64)
    return Null(np.sort(np.array(peaks)), centre, nothing, nothing.astype(np.float32))


def _hubness(
    library: Library, null: Null, records: Sequence[ClipRecord]
) -> Float32[np.ndarray, "c"]:
    near = np.full(len(records), np.inf, np.float32)
    if len(null.clip_ids):
        near = null.hubness_of(np.array([record.id for record in records], dtype=np.int64))
    # Of clips that were added since, as of those of a large library, it is that of the clip alone:
    # never less than with its surroundings, so that too little is claimed and not too much.
    unknown = np.flatnonzero(np.isinf(near))
    if len(unknown):
        bank = bank_vectors(library.encoder)[:_TEXTS_IN_STAGES]
        matrix = matrix_of(library, [records[i] for i in unknown.tolist()])
        near[unknown] = hubness(scores_in_one_pass(matrix, bank, first_stage(library)))[0]
    return near


def matrix_of(library: Library, records: Sequence[ClipRecord]) -> FrameMatrix:
    """The frames of some clips, which have been read before and so are whole."""
    dimension = library.encoder.stamp.dimension
    clips = [
        library.features.read(
            record.feature_file, record.clip.first_frame, record.clip.num_frames, dimension
        )
        for record in records
    ]
    lengths = np.array([len(clip) for clip in clips], dtype=np.int64)
    return FrameMatrix(
        rows=np.concatenate([np.empty((0, dimension), np.float32), *clips]),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        clip_ids=np.array([record.id for record in records], dtype=np.int64),
        video_ids=np.array([record.video_id for record in records], dtype=np.int64),
    )


def mean_frames(matrix: FrameMatrix) -> Float32[np.ndarray, "c d"]:
    """Each clip's mean frame."""
    lengths = matrix.lengths[:, np.newaxis].astype(np.float32)
    return np.add.reduceat(matrix.rows, matrix.starts, axis=0) / lengths


def _part(matrix: FrameMatrix, videos: frozenset[int]) -> FrameMatrix:
    """The clips of some videos alone."""
    chosen = matrix.clips_of(videos)
    lengths = matrix.lengths[chosen]
    return FrameMatrix(
        rows=matrix.rows[np.repeat(chosen, matrix.lengths)],
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        clip_ids=matrix.clip_ids[chosen],
        video_ids=matrix.video_ids[chosen],
    )


def scores_in_one_pass(
    matrix: FrameMatrix,
    bank: Float32[np.ndarray, "b d"],
    pooler: Pooler,
    temperature: float | None = None,
) -> Float32[np.ndarray, "c b"]:
    """The scores of all clips under many texts; the pooler must be training-free.

    With a temperature they count each clip's surroundings (`search.context`); the clips must then
    be all of their videos.
    """
    scores = np.empty((len(matrix), len(bank)), np.float32)
    for low in range(0, len(bank), _BLOCK):
        similarities = bank[low : low + _BLOCK] @ matrix.rows.T  # (block, f)
        of_block = matrix.pool(similarities, pooler)
        if temperature is not None:
            of_block = matrix.in_context(of_block, similarities, temperature)
        scores[:, low : low + _BLOCK] = of_block.T
    return scores


def null_problem(library: Library) -> str:
    """What is wrong with the null distribution that is kept on disk; empty if nothing is, or none.

    It is a cache: one that is of another state or damaged is made anew when it is needed.
    """
    try:
        _read(library)
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError) as error:
        return f"unreadable ({error})"
    return ""


def _read(library: Library) -> tuple[_Stamp, Null]:
    """The stamp and the null that the file holds, which ends with the checksum of the rest."""
    content = (library.root / "index" / _FILE).read_bytes()
    content, checksum = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != checksum:
        raise ValueError("its checksum does not fit")
    with np.load(io.BytesIO(content), allow_pickle=False) as kept:
        names = [field.name for field in fields(Null)]
        return json.loads(str(kept["stamp"])), Null(**{name: kept[name] for name in names})


def _load_or_make(library: Library, stamp: _Stamp, fresh: bool) -> tuple[_Stamp, Null | None]:
    """The null of the whole library and what it is of: from its file if that serves, else anew.

    Processes that write it at once write the same; a mixture would fail its checksum.
    """
    # Not there yet, damaged, or of another version.
    with contextlib.suppress(OSError, ValueError, KeyError):
        of, kept = _read(library)
        if _serves(of, stamp, fresh):
            return of, kept
    null = _make(library, None)
    if null is not None:
        content = io.BytesIO()
        np.savez(content, stamp=np.array(json.dumps(stamp)), **asdict(null))
        whole = [content.getvalue(), hashlib.sha256(content.getvalue()).digest()]
        with contextlib.suppress(StorageError):  # a library that may only be read
            write_atomically(library.root / "index" / _FILE, whole)
    return stamp, null


def _stamp(library: Library) -> _Stamp:
    """All that the null of a whole library depends on, as JSON has it."""
    settings = library.settings
    stamp: _Stamp = {
        "format": _FORMAT,
        "catalog": asdict(library.catalog.generation()),
        "clips": library.catalog.num_clips()[0],
        "in_one_pass": _in_one_pass(library, None),
        "encoder": asdict(library.catalog.stamp() or library.encoder.stamp),
        "bank": _bank_sha256(),
        "pooler": _identity(library.pooler),
        "settings": [settings.exact_clips, settings.candidates, settings.temperature],
    }
    return cast(_Stamp, json.loads(json.dumps(stamp)))


def _serves(of: _Stamp, stamp: _Stamp, fresh: bool) -> bool:
    """Whether a null of one state may tell the rates of another: the same, or hardly grown."""
    if fresh or of == stamp:
        return of == stamp
    then, now = of["catalog"]["generation"], stamp["catalog"]["generation"]
    grown = of | {"clips": stamp["clips"], "catalog": of["catalog"] | {"generation": now}}
    return grown == stamp and then < now and stamp["clips"] <= _GROWN * of["clips"]


@cache
def _bank_sha256() -> str:
    return hashlib.sha256("\n".join(bank_texts()).encode()).hexdigest()


def _identity(pooler: Pooler) -> str:
    if not isinstance(pooler, LearnedPool):
        return repr(pooler)
    plain = [getattr(pooler, field.name) for field in fields(pooler) if field.name != "tensors"]
    content = hashlib.sha256(repr((pooler.kind, plain)).encode())
    for name, tensor in sorted(pooler.tensors.items()):
        content.update(name.encode() + np.ascontiguousarray(tensor).tobytes())
    return content.hexdigest()
