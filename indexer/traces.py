"""Traces of a video: what only it can have left behind, and where in a library that still lies.

A needle is a piece of bytes that tells of the video: its path and names, its content hash, lines
that are said in it, and pieces of 32 bytes of its vectors, features, thumbnails and previews. All
are looked for at once in every file and every row: a table of the first two bytes of each needle
leaves a few places of a buffer, where the needles themselves are compared.

A needle may be no trace: two videos can share a name, a line or a picture. What lies in another
video's own rows or files is that video's; a needle that is found there counts as shared, and is
not looked for among the raw bytes of the database.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vidsift.library import Library
from vidsift.store.forgetting import all_rows, database_files, space_files, stored_of_video
from vidsift.types import VideoRecord

__all__ = ["Needle", "Proof", "Trace", "look_for", "needles_of", "needles_of_file"]

_WINDOW = 32
_MOST = 64  # pieces of each kind of thing of each video, evenly chosen
_MOST_LINES = 512
_LEAST_TEXT = 12  # bytes; shorter lines are said in many videos
_LEAST_NAME = 5
_LEAST_DISTINCT = 8  # values of bytes in a piece: else it is a flat picture or padding
_CHUNK = 8 << 20
_TELLING = (".npy", ".jpg", ".png", ".mp4")


@dataclass(frozen=True, slots=True)
class Needle:
    """`kind` says what of the video `content` is."""

    kind: str
    content: bytes

    @property
    def is_name(self) -> bool:
        """Whether it says which video it is, rather than what is in it."""
        return self.kind in ("path", "file name", "content hash")


@dataclass(frozen=True, slots=True)
class Trace:
    """`what` of a forgotten video was found, and `where`."""

    where: str
    what: str


@dataclass
class Proof:
    """What was searched, for what, and what was found.

    `looked_for` counts needles by kind; `shared` those that other videos have, too.
    """

    files: int = 0
    bytes_read: int = 0
    rows: int = 0
    looked_for: Counter[str] = field(default_factory=Counter)
    shared: Counter[str] = field(default_factory=Counter)
    traces: list[Trace] = field(default_factory=list)


def needles_of(library: Library, video: VideoRecord, names: Iterable[str]) -> list[Needle]:
    """The needles of a video that is still there; `names` are all paths that it ever had."""
    found: list[Needle] = []
    for name in names:
        found += _text("path", name)
        if len(os.fsencode(Path(name).name)) >= _LEAST_NAME:
            found += _text("file name", Path(name).name)
    if video.fingerprint.sha256:
        # The names of its files begin so, too.
        found.append(Needle("content hash", video.fingerprint.sha256[:16].encode()))
    stored = list(stored_of_video(library.catalog, video.id))
    vectors = [each.content for each in stored if each.kind == "vector"]
    for blob in _some(vectors, _MOST):
        for needle in _piece("vector", blob):
            found += [needle, _in_faiss(needle)]
    lines = [each.content for each in stored if each.kind == "line"]
    for line in _some([line for line in lines if len(line) >= _LEAST_TEXT], _MOST_LINES):
        found.append(Needle("line", line))
    files = [video.feature_file, *space_files(library.catalog, video.id)]
    keys = {Path(name).stem for name in files if name}
    for path in files_named(library.root, keys):
        found += needles_of_file(path, library.root)
    return list(dict.fromkeys(found))


def needles_of_file(path: Path, root: Path) -> list[Needle]:
    """Pieces of a file of features, or of the second half of a picture or film, evenly chosen.

    In the first half are tables that many files have; pages and lists have words that all have.
    """
    found: list[Needle] = []
    if path.suffix not in _TELLING:
        return found
    kind = path.relative_to(root).parts[0].rstrip("s")  # feature, picture, skim
    count, first = (_MOST, 0) if path.suffix == ".npy" else (4, 4)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            for number in range(count):
                file.seek(size * (2 * (first + number) + 1) // (2 * (first + count)))
                found += _piece(kind, file.read(4 * _WINDOW))
    except OSError:  # damaged or gone: then there is nothing of it to find
        return found
    return list(dict.fromkeys(found))


def files_named(root: Path, keys: Iterable[str]) -> list[Path]:
    """Files whose own name, or that of a folder above them, begins with one of these keys."""
    begins = tuple(keys)
    if not begins:
        return []
    return [
        path
        for path in _files(root)
        if any(part.startswith(begins) for part in path.relative_to(root).parts)
    ]


def look_for(
    library: Library,
    needles: Sequence[Needle],
    *,
    legitimate: Iterable[Path] = (),
    progress: Callable[[float], None] | None = None,
) -> Proof:
    """Search every row and every file of the library for needles.

    Args:
        library: where to look.
        needles: what to look for.
        legitimate: files that may hold hashes and names, since they were asked to.
        progress: called with the share of the bytes that is read, 0 to 1.

    Raises:
        StorageError, LibraryError: the database cannot be read.
    """
    proof = Proof(looked_for=Counter(needle.kind for needle in needles))
    finder = _Finder({needle.content: needle for needle in needles})
    shared: set[Needle] = set()
    named: list[tuple[Needle, str]] = []
    for rows in all_rows(library.catalog):
        proof.rows += rows.count
        for needle in finder.found(rows.content):
            if rows.of_videos or not needle.is_name:
                shared.add(needle)
            else:
                named.append((needle, f"table {rows.table}"))
    shared |= {_in_faiss(needle) for needle in shared if needle.kind == "vector"}
    proof.traces += [Trace(where, needle.kind) for needle, where in named if needle not in shared]
    owned = {Path(video.feature_file).stem for video in library.catalog.videos()}
    for video in library.catalog.videos():
        owned |= {Path(name).stem for name in space_files(library.catalog, video.id)}
    owned.discard("")
    files = dict.fromkeys([*_files(library.root), *database_files(library.catalog)])
    sizes = {path: _size(path) for path in files}
    total = max(1, sum(sizes.values()))
    passed = set(legitimate)
    for path in files:
        found = _found_in(path, finder, proof)
        found |= {needle for needle in finder.found(os.fsencode(path)) if needle.is_name}
        if path in passed:
            continue
        if _belongs_to(path, library.root, owned):
            shared |= found
            continue
        where = str(path.relative_to(library.root)) if path.is_relative_to(library.root) else ""
        for kind in sorted({needle.kind for needle in found - shared}):
            proof.traces.append(Trace(where or str(path), kind))
        if progress is not None:
            progress(min(1.0, proof.bytes_read / total))
    proof.traces = list(dict.fromkeys(proof.traces))
    proof.shared = Counter(needle.kind for needle in shared)
    return proof


def _text(kind: str, text: str) -> Iterator[Needle]:
    """A text as a file name, as the database keeps it, and as JSON has it."""
    forms = [os.fsencode(text), json.dumps(text)[1:-1].encode()]
    escaped = text.replace("\\", "\\\\").encode("utf-8", "backslashreplace")
    for content in dict.fromkeys([*forms, escaped]):
        yield Needle(kind, content)


def _piece(kind: str, content: bytes) -> Iterator[Needle]:
    """One piece of this, from its middle, if it is not too plain to tell anything."""
    start = max(0, (len(content) - _WINDOW) // 2)
    piece = content[start : start + _WINDOW]
    if len(piece) == _WINDOW and len(set(piece)) >= _LEAST_DISTINCT and len(set(piece[:4])) > 1:
        yield Needle(kind, piece)


def _in_faiss(needle: Needle) -> Needle:
    """The same part of a vector as FAISS keeps it, while it compares every vector."""
    return Needle(needle.kind, np.frombuffer(needle.content, "<f2").astype("<f4").tobytes())


def _some(values: Sequence[bytes], most: int) -> list[bytes]:
    step = max(1, len(values) / most)
    return [values[int(i * step)] for i in range(min(most, len(values)))]


def _files(root: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(root):
        folders.sort()
        found += [Path(folder, name) for name in sorted(names)]
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _belongs_to(path: Path, root: Path, keys: set[str]) -> bool:
    """Whether the file was made of a video that is still there, and of no other."""
    if not path.is_relative_to(root):
        return False
    parts = path.relative_to(root).parts
    begins = tuple(f"{key}-" for key in keys)
    return parts[0] != "index" and any(
        part in keys or Path(part).stem in keys or part.startswith(begins) for part in parts
    )


def _found_in(path: Path, finder: _Finder, proof: Proof) -> set[Needle]:
    found: set[Needle] = set()
    rest = b""
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                proof.bytes_read += len(chunk)
                buffer = rest + chunk
                found.update(finder.found(buffer))
                rest = buffer[-finder.longest :]
    except FileNotFoundError:  # another process has just replaced it
        return found
    except OSError as error:
        proof.traces.append(Trace(str(path), f"cannot be read: {error.strerror}"))
    proof.files += 1
    return found


class _Finder:
    """Looks for many needles at once: all that a buffer holds, each once."""

    def __init__(self, needles: dict[bytes, Needle]) -> None:
        self.longest = max((len(content) for content in needles), default=1)
        self._by_prefix: dict[bytes, list[Needle]] = {}
        self._first = np.zeros(1 << 16, dtype=bool)
        self._second = np.zeros(1 << 16, dtype=bool)
        for content, needle in needles.items():
            self._by_prefix.setdefault(content[:4], []).append(needle)
            self._first[int.from_bytes(content[:2], "little")] = True
            self._second[int.from_bytes(content[2:4], "little")] = True

    def found(self, buffer: bytes) -> set[Needle]:
        """The needles that are somewhere in the buffer."""
        found: set[Needle] = set()
        values = np.frombuffer(buffer, np.uint8)
        if len(values) < 4 or not self._by_prefix:
            return found
        # Two bytes from every place on, as the numbers that they are.
        pairs = values[:-1].astype(np.uint16) | (values[1:].astype(np.uint16) << 8)
        places = np.flatnonzero(self._first[pairs[:-2]] & self._second[pairs[2:]])
        for place in places.tolist():
            for needle in self._by_prefix.get(buffer[place : place + 4], ()):
                if needle not in found and buffer.startswith(needle.content, place):
                    found.add(needle)
        return found
