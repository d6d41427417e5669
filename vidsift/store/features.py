"""Frame features on disk: one little-endian float16 `.npy` file of shape (n, d) a video."""

from __future__ import annotations

import hashlib
import io
import os
import re
import resource
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float16, Float32, Int16

from vidsift.errors import (
    DamagedLibraryError,
    LibraryChangedError,
    LibraryError,
    StorageError,
)
from vidsift.store.files import write_atomically
from vidsift.store.inside import open_inside

__all__ = ["FeatureStore"]

# Features have unit length: no value of theirs is greater, but for rounding to half precision.
# What `_single` makes of the infinities and of what is no number is greater, too.
_GREATEST = 1.01
# Half of what this process may open, so that enough is left for everything else.
_OPEN_FILES = min(4096, max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))
# What NumPy writes before the values of such an array: always 128 bytes.
_HEADER_BYTES = 128
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00v\x00"
    rb"\{'descr': '<f2', 'fortran_order': False, 'shape': \((\d+), (\d+)\), \} *\n"
)


@dataclass(frozen=True, slots=True)
class _OpenFile:
    descriptor: int
    num_frames: int
    dimension: int


class FeatureStore:
    """The folder of feature files; safe to use from several threads.

    A file is never changed under its name, so that a reader may keep it open. `has_changed` tells
    whether the catalog names other files by now than the one that the caller reads: what is absent
    then is not damaged, and LibraryChangedError is raised in place of DamagedLibraryError.
    """

    def __init__(self, folder: Path, has_changed: Callable[[], bool] = lambda: False) -> None:
        self._folder = folder
        self._has_changed = has_changed
        self._files: OrderedDict[str, _OpenFile] = OrderedDict()  # least recently read first
        self._lock = threading.Lock()

    def write(self, name: str, features: Float[np.ndarray, "n d"]) -> str:
        """Store a video's features as float16 and return the SHA-256 of the file.

        Raises:
            StorageError: the disk is full or may not be written; nothing is left behind.
        """
        half = np.ascontiguousarray(features, dtype="<f2")
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(half))
        chunks = (header.getvalue(), half.reshape(-1).view(np.uint8).data)
        digest = hashlib.sha256()
        for chunk in chunks:
            digest.update(chunk)
        write_atomically(self._path(name), chunks)
        self._forget(name)
        return digest.hexdigest()

    def read(
        self, name: str, first: int, count: int, dimension: int
    ) -> Float32[np.ndarray, "{count} {dimension}"]:
        """Rows `[first, first + count)` of a video's features.

        Raises:
            DamagedLibraryError: the file is absent, or not what the catalog says of it.
        """
        row = 2 * dimension
        # Held while reading too: a descriptor that another thread closes may become another file.
        with self._lock:
            file = self._opened(name)
            if file.dimension != dimension or not 0 <= first <= first + count <= file.num_frames:
                raise self._damaged(
                    name,
                    f"holds {file.num_frames} frames of {file.dimension} dimensions, but frames "
                    f"{first} to {first + count} of {dimension} are needed",
                )
            content = os.pread(file.descriptor, count * row, _HEADER_BYTES + first * row)
        if len(content) != count * row:
            raise self._damaged(name, "is cut short")
        single = _single(np.frombuffer(content, "<i2").reshape(count, dimension))
        if single.size and max(single.max(), -single.min()) > _GREATEST:
            raise self._damaged(name, "holds values that no feature has")
        return single

    def num_frames(self, name: str) -> int:
        """How many frames a file holds, by its first line and its length.

        Raises:
            DamagedLibraryError: the file is absent, or the two do not fit.
        """
        if not name:
            raise self._damaged("(none)", "there is no file of features")
        with self._lock:
            return self._opened(name).num_frames

    def open(self, name: str) -> Float16[np.ndarray, "n d"]:
        """All of a video's features, mapped into memory.

        Raises:
            DamagedLibraryError: the file is absent or damaged.
        """
        with self._lock:
            file = self._opened(name)
        shape = (file.num_frames, file.dimension)
        try:
            half = np.memmap(self._path(name), "<f2", "r", offset=_HEADER_BYTES, shape=shape)
        except (OSError, ValueError) as error:
            raise self._damaged(name, str(error)) from error
        self._check_values(name, half)
        return half

    def sha256(self, name: str) -> str:
        """The SHA-256 of the file as it is now, to be held against the catalog's.

        Raises:
            DamagedLibraryError: the file is absent or cannot be read.
        """
        try:
            with os.fdopen(open_inside(self._folder.parent, self._path(name)), "rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise self._damaged(name, f"cannot be read: {error.strerror}") from error

    def names(self) -> list[str]:
        """All that lies in the folder, in order: files, and what killed writers left of them."""
        if not self._folder.is_dir():
            return []
        return sorted(entry.name for entry in self._folder.iterdir())

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        self._forget(name)
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"{self._path(name)}: cannot be deleted: {error.strerror}; mend the permissions"
            ) from error

    def close_others(self, names: Collection[str]) -> None:
        """Close all files but these: a deleted file takes its room until nobody has it open."""
        with self._lock:
            for name in self._files.keys() - set(names):
                os.close(self._files.pop(name).descriptor)

    def close(self) -> None:
        """Close every file. The store can be used again afterwards."""
        with self._lock:
            while self._files:
                os.close(self._files.popitem()[1].descriptor)

    def _path(self, name: str) -> Path:
        # The name may be what a damaged or crafted row of the catalog says.
        if name in ("", ".", "..") or not {"/", "\0"}.isdisjoint(name):
            raise DamagedLibraryError(
                f"{self._folder}: the catalog names a file {name!r}, which cannot lie there;"
                " run `vidsift index` on the video's folder to compute it again"
            )
        return self._folder / name

    def _forget(self, name: str) -> None:
        with self._lock:
            if (file := self._files.pop(name, None)) is not None:
                os.close(file.descriptor)

    def _opened(self, name: str) -> _OpenFile:
        if (file := self._files.get(name)) is not None:
            self._files.move_to_end(name)
            return file
        try:
            descriptor = open_inside(self._folder.parent, self._path(name))
        except OSError as error:
            raise self._damaged(name, f"cannot be read: {error.strerror}") from error
        try:
            file = self._checked(name, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._files[name] = file
        if len(self._files) > _OPEN_FILES:
            os.close(self._files.popitem(last=False)[1].descriptor)
        return file

    def _checked(self, name: str, descriptor: int) -> _OpenFile:
        header = _HEADER.fullmatch(os.pread(descriptor, _HEADER_BYTES, 0))
        if header is None:
            raise self._damaged(name, "does not begin like a feature file")
        num_frames, dimension = int(header[1]), int(header[2])
        if os.fstat(descriptor).st_size != _HEADER_BYTES + 2 * num_frames * dimension:
            raise self._damaged(name, "has another length than its first line says")
        return _OpenFile(descriptor, num_frames, dimension)

    def _check_values(self, name: str, half: Float16[np.ndarray, "n d"]) -> None:
        # A flipped bit can make a number so large that it would outweigh every honest one.
        if not (np.abs(half) <= _GREATEST).all():  # not so where one is no number, too
            raise self._damaged(name, "holds values that no feature has")

    def _damaged(self, name: str, what: str) -> LibraryError:
        if self._has_changed():
            return LibraryChangedError(f"{self._folder / name}: the library has changed; ask again")
        return DamagedLibraryError(
            f"{self._folder / name}: {what}; run `vidsift index` on the video's folder"
            " to compute it again"
        )


def _single(bits: Int16[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """The float16 values of these bits in float32, exactly; 4 times as fast as NumPy's own cast.

    Exponent and fraction move to where float32 has them, sign extended as they are; multiplying by
    the difference of the exponents' biases does the rest, for subnormal values too.
    """
    wide = bits.astype(np.int32)
    wide <<= 13
    wide &= np.int32(-0x70002000)  # sign, 5 bits of the exponent, fraction
    single = wide.view(np.float32)
    single *= np.float32(2.0**112)
    return single
