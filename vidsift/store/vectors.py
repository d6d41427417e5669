"""The vector index: FAISS over the clip vectors of every searchable video.

SQL holds the vectors; the index is a copy that can be made again without the model. Ids are never
used twice and vectors never change, so a copy that lags is mended by taking away the ids that SQL
no longer has and adding those that it lacks.

File: one line of JSON, then FAISS's own serialisation; replaced as a whole, so the two always fit.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import faiss
import numpy as np
from jaxtyping import Float32, Int64

from vidsift.errors import DamagedLibraryError, LibraryChangedError
from vidsift.store.files import remove_file, write_atomically
from vidsift.store.reader import CatalogReader
from vidsift.store.records import Generation
from vidsift.store.replica import Replica, search_one
from vidsift.types import EncoderStamp

__all__ = [
    "EXACT_LIMIT",
    "FaissIndex",
    "VectorIndex",
    "drop_index",
    "index_problem",
    "open_index",
    "stored_ids",
]

_log = logging.getLogger(__name__)

# Up to here every vector is compared: 1 ms a query at 384 dimensions on one core.
EXACT_LIMIT = 20_000
# Above, the nearest of 4 sqrt(n) lists are, as many as make about this many vectors: the work of a
# query, and so its time, stays the same however large the library grows.
_COMPARED = 16_000
_TRAINING_VECTORS_PER_LIST = 40
# Cosine of a vector to what the index holds of it; 8 bits a dimension keep more than 0.999.
_SAME = 0.99
_SAMPLED = 200  # vectors of a saved index that are looked at
_FILE = "vectors.faiss"
_FORMAT = 1


@runtime_checkable
class VectorIndex(Protocol):
    """Where the nearest vectors are found."""

    def search(
        self,
        queries: Float32[np.ndarray, "q d"],
        k: int,
        among: Int64[np.ndarray, "n"] | None = None,
    ) -> tuple[Float32[np.ndarray, "q {k}"], Int64[np.ndarray, "q {k}"]]:
        """The k vectors of largest inner product: scores, and vector ids (-1 where there is none).

        Queries and vectors have unit length, so scores are cosines. With `among` (vector ids)
        other vectors do not come back.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Header:
    """What the file's first line says of the rest."""

    format: int
    library_id: str
    generation: int
    deletions: int
    encoder: dict[str, Any]
    trained_on: int
    count: int
    sha256: str
    # Of all the other values; empty in a file of before there was any.
    own_sha256: str = ""

    def sealed(self) -> _Header:
        """The same with the checksum that fits."""
        values = {**asdict(self), "own_sha256": ""}
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        return replace(self, own_sha256=digest)


def open_index(
    folder: Path,
    catalog: CatalogReader,
    stamp: EncoderStamp,
    *,
    write: bool,
    gpu_memory_mb: int = 0,
) -> FaissIndex:
    """The index of the catalog's vectors as they are now.

    What lies in `folder` is used as far as it is whole, of this library and this encoder, and made
    again otherwise. With `write` the result is saved there, at each `sync` too; else it is in
    memory only. Of `gpu_memory_mb` (0: no limit) the copy on a GPU takes at most half; where it
    does not fit the index is searched on the CPU.

    Raises:
        StorageError: with `write`, the disk is full or may not be written.
        LibraryError: the catalog cannot be read.
    """
    index = FaissIndex(
        folder / _FILE, catalog, stamp, write=write, most_gpu_bytes=gpu_memory_mb * 2**20 // 2
    )
    index.sync()
    return index


def index_problem(folder: Path, catalog: CatalogReader, stamp: EncoderStamp) -> str:
    """What is wrong with the index that is saved in `folder`; see `FaissIndex.problem`."""
    return FaissIndex(folder / _FILE, catalog, stamp, write=False).problem()


def stored_origin(folder: Path) -> tuple[Generation, EncoderStamp] | None:
    """Of which state of which library the saved index is, and of which encoder; or None."""
    try:
        with (folder / _FILE).open("rb") as stream:
            header = _Header(**json.loads(stream.readline(1 << 16)))
        if header != header.sealed():
            return None
        state = Generation(header.library_id, header.generation, header.deletions)
        return state, EncoderStamp(**header.encoder)
    except (OSError, ValueError, TypeError):
        return None


def stored_ids(folder: Path) -> Int64[np.ndarray, "n"]:
    """The ids of the vectors that the index saved in `folder` holds; none where there is no index.

    It is read as it lies there, whatever the catalog says.
    """
    try:
        with (folder / _FILE).open("rb") as stream:
            stream.readline(1 << 16)
            master = faiss.deserialize_index(np.frombuffer(stream.read(), np.uint8))
    except (OSError, RuntimeError):  # not there, or nothing that FAISS could hold
        return np.empty(0, np.int64)
    return _ids(master)


class FaissIndex:
    """An index in memory, on the GPU too where there is one; safe to use from several threads."""

    def __init__(
        self,
        file: Path,
        catalog: CatalogReader,
        stamp: EncoderStamp,
        *,
        write: bool,
        most_gpu_bytes: int = 0,
    ) -> None:
        self._file = file
        self._catalog = catalog
        self.stamp = stamp
        self._write = write
        self._lock = threading.Lock()  # FAISS's GPU indexes allow one caller at a time
        self._master: Any = None  # on the CPU
        self._replica = Replica(most_gpu_bytes)
        self._state: Generation | None = None  # of the catalog, when the master was made
        self._trained_on = 0

    def __len__(self) -> int:
        return 0 if self._master is None else int(self._master.ntotal)

    @property
    def is_exact(self) -> bool:
        """Whether every vector is compared with the query."""
        return self._trained_on == 0

    def search(
        self,
        queries: Float32[np.ndarray, "q d"],
        k: int,
        among: Int64[np.ndarray, "n"] | None = None,
    ) -> tuple[Float32[np.ndarray, "q {k}"], Int64[np.ndarray, "q {k}"]]:
        """See VectorIndex."""
        with self._lock:
            if among is not None:  # FAISS's GPU indexes take no selector
                return search_one(self._master, queries, k, self._only(among))
            found = self._replica.search(queries, k)
            return search_one(self._master, queries, k) if found is None else found

    def _only(self, among: Int64[np.ndarray, "n"]) -> Any:
        """FAISS's parameters for a search among these ids."""
        size = int(among.max()) + 1 if len(among) else 0
        allowed = np.zeros(size, dtype=bool)
        allowed[among] = True
        make: Any = faiss  # its stubs do not know what its Python layer makes of constructors
        selector = make.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        if self.is_exact:
            return make.SearchParameters(sel=selector)
        # As many lists as hold about as many allowed vectors as an open search compares.
        lists = self._master.nlist
        probes = math.ceil(_COMPARED * lists / max(1, len(among)))
        return make.SearchParametersIVF(sel=selector, nprobe=min(lists, probes))

    def sync(self) -> None:
        """Catch up with the catalog: one small SELECT where nothing has changed.

        Raises:
            StorageError, LibraryError: as open_index.
            LibraryChangedError: in a snapshot of the catalog that is older than this index.
        """
        with self._lock:
            now = self._catalog.generation()
            if now == self._state:
                return
            if self._master is None:
                self._load(now)
            if self._state is not None and self._state.generation > now.generation:
                self._refuse_older()
            lags = now != self._state
            if lags and not self._catch_up(now):
                self._rebuild()
            self._state = now
            self._replica.follow(self._master)
            # What this process leaves out another may find mended: it is not for the file.
            if lags and self._write and not now.left_out:
                self._save(now)

    def _refuse_older(self) -> None:
        """The index is of a later state than the one that is read: it cannot be taken back."""
        if self._catalog.has_changed():
            raise LibraryChangedError(f"{self._file}: the library has changed; ask again")

    def _load(self, now: Generation) -> None:
        """Take over what the file holds, if it is whole and may be a copy of this catalog."""
        found = self._stored(now)
        if found is None:
            return
        if isinstance(found, str):
            _log.warning("%s: %s; it is made again", self._file, found)
            return
        header, self._master = found
        self._trained_on = header.trained_on
        self._state = Generation(header.library_id, header.generation, header.deletions)

    def _stored(self, now: Generation) -> tuple[_Header, Any] | str | None:
        """What the file holds; why it cannot be used; None where there is no file."""
        try:
            with self._file.open("rb") as stream:
                line = stream.readline(1 << 16)
            header = _Header(**json.loads(line))
            content = np.memmap(self._file, np.uint8, "r", offset=len(line))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            return f"unreadable ({error})"
        if header.own_sha256 and header != header.sealed():
            return "damaged in its first line"
        numbers = (header.generation, header.deletions, header.trained_on, header.count)
        if not all(isinstance(number, int) for number in numbers):
            return "damaged"
        if header.library_id == now.library_id and header.generation > now.generation:
            self._refuse_older()
        if (
            header.format != _FORMAT
            or header.library_id != now.library_id
            or header.encoder != asdict(self.stamp)
            or header.generation > now.generation
            or header.deletions > now.deletions
        ):
            return "of another library or encoder"
        if hashlib.sha256(content.data).hexdigest() != header.sha256:
            return "damaged"
        try:
            master = faiss.deserialize_index(content)
        except RuntimeError as error:  # of a newer FAISS
            return f"unreadable ({error})"
        is_exact = isinstance(master, faiss.IndexIDMap2)
        if is_exact != (header.trained_on == 0) or header.count != master.ntotal:
            return "damaged in its first line"
        only_grown = header.deletions == now.deletions and not now.left_out
        if not self._is_copy(master, only_grown=only_grown):
            return "holds other vectors than the catalog"
        return header, master

    def problem(self) -> str:
        """What is wrong with the file, but for changes since that it can catch up with by itself.

        Empty where nothing is. Every id is held against the catalog, and of some their vectors.
        """
        now = self._catalog.generation()
        wanted = self._catalog.vector_ids()
        found = self._stored(now)
        if found is None:
            return "is not there" if len(wanted) else ""
        if isinstance(found, str):
            return found
        header, master = found
        held = _ids(master)
        if (header.generation, header.deletions) == (now.generation, now.deletions):
            others, lacking = np.setdiff1d(held, wanted), np.setdiff1d(wanted, held)
            if len(others) or len(lacking) or len(held) != len(wanted):
                return f"lacks {len(lacking)} vectors and holds {len(others)} that are not there"
        shared = np.intersect1d(held, wanted)
        sample = shared[:: max(1, len(shared) // _SAMPLED)]
        vectors = self._catalog.vectors_by_id(sample)
        if len(vectors):
            self._check_dimension(vectors)
            scores, _ = search_one(master, vectors, 1)
            if (scores[:, 0] < _SAME * (vectors * vectors).sum(1)).any():
                return "holds other vectors than the catalog"
        return ""

    def _is_copy(self, master: Any, *, only_grown: bool) -> bool:
        """Whether the newest vector that index and catalog share is the same vector in both.

        It is not where the database came back from a backup and has since grown other rows.
        """
        held = _ids(master)
        if not only_grown:
            held = np.intersect1d(held, self._catalog.vector_ids())
        if len(held) == 0:
            return True
        newest = int(held.max())
        ids, vectors = next(self._catalog.iter_vectors(newest - 1, 1), (np.empty(0), None))
        if vectors is None or ids[0] != newest:
            return False
        self._check_dimension(vectors)
        scores, _ = search_one(master, vectors, 1)
        return bool(scores[0, 0] > _SAME * float(vectors[0] @ vectors[0]))

    def _catch_up(self, now: Generation) -> bool:
        """Add and take away what differs; False where the index had better be made anew."""
        if self._master is None or self._state is None or self._is_outgrown():
            return False
        before = self._state
        if (before.deletions, before.left_out) == (now.deletions, now.left_out):
            held = _ids(self._master)
            self._add(int(held.max()) if len(held) else 0)
        else:
            held, wanted = _ids(self._master), self._catalog.vector_ids()
            gone = np.setdiff1d(held, wanted)
            if len(gone):
                self._master.remove_ids(gone)
            lacking = np.setdiff1d(wanted, held)
            if len(lacking):
                self._add(int(lacking[0]) - 1, lacking)
        # A commit in between makes the counts differ rightly; the next sync sees to it.
        unchanged = self._catalog.generation() == now
        return not unchanged or len(self) == self._catalog.num_vectors()

    def _add(self, after_id: int, only: Int64[np.ndarray, "n"] | None = None) -> None:
        for ids, vectors in self._catalog.iter_vectors(after_id):
            self._check_dimension(vectors)
            chosen = slice(None) if only is None else np.isin(ids, only)
            self._master.add_with_ids(vectors[chosen], ids[chosen])

    def _check_dimension(self, *vectors: Float32[np.ndarray, "_ _"]) -> None:
        if any(each.shape[1] != self.stamp.dimension for each in vectors):
            raise DamagedLibraryError(
                f"the catalog is damaged: vectors of it have not {self.stamp.dimension} dimensions;"
                " run `vidsift repair`"
            )

    def _is_outgrown(self) -> bool:
        count = self._catalog.num_vectors()
        if self.is_exact:
            return count > EXACT_LIMIT
        return count > 2 * self._trained_on or count < EXACT_LIMIT // 2

    def _rebuild(self) -> None:
        count = self._catalog.num_vectors()
        dimension = self.stamp.dimension
        if count <= EXACT_LIMIT:
            self._master = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))
            self._trained_on = 0
        else:
            self._master = self._trained(count, dimension)
            self._trained_on = count
        self._add(0)

    def _trained(self, count: int, dimension: int) -> Any:
        """An empty inverted-file index with 8 bits a dimension, for about `count` vectors."""
        num_lists = round(4 * math.sqrt(count))
        share = min(1.0, num_lists * _TRAINING_VECTORS_PER_LIST / count)
        rng = np.random.default_rng(0)
        sample = [
            vectors[rng.random(len(vectors)) < share] for _, vectors in self._catalog.iter_vectors()
        ]
        self._check_dimension(*sample)
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(dimension),
            dimension,
            num_lists,
            faiss.ScalarQuantizer.QT_8bit,
            faiss.METRIC_INNER_PRODUCT,
        )
        index.cp.min_points_per_centroid = 1  # small libraries train on all they have: no warning
        index.train(np.concatenate(sample))
        index.nprobe = min(num_lists, math.ceil(_COMPARED * num_lists / count))
        return index

    def _save(self, state: Generation) -> None:
        content = faiss.serialize_index(self._master)
        header = _Header(
            format=_FORMAT,
            library_id=state.library_id,
            generation=state.generation,
            deletions=state.deletions,
            encoder=asdict(self.stamp),
            trained_on=self._trained_on,
            count=len(self),
            sha256=hashlib.sha256(content.data).hexdigest(),
        )
        line = json.dumps(asdict(header.sealed())).encode() + b"\n"
        write_atomically(self._file, (line, content.data))


def _ids(index: Any) -> Int64[np.ndarray, "n"]:
    """The ids that a CPU index holds, in any order."""
    if isinstance(index, faiss.IndexIDMap2):
        return np.asarray(faiss.vector_to_array(index.id_map))
    lists = index.invlists
    held = [
        faiss.rev_swig_ptr(lists.get_ids(number), lists.list_size(number)).copy()
        for number in range(lists.nlist)
        if lists.list_size(number)
    ]
    return np.concatenate(held) if held else np.empty(0, np.int64)


def drop_index(folder: Path) -> None:
    """Remove the index that is saved in `folder`, as after a switch to another encoder."""
    remove_file(folder / _FILE)
