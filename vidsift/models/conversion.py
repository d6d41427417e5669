"""The cache of converted models: made once, checked whenever one is used, made again if damaged.

Checksums are CRC-32: they find what a disk or a crash did to a file at many times the speed of a
cryptographic hash, and a query waits for them.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vidsift.config import cache_dir
from vidsift.errors import StorageError

__all__ = ["converted_models", "drop_damaged", "is_converted", "seal", "use_converted"]

_log = logging.getLogger(__name__)

# Raised whenever what is converted, or how, changes: older conversions are then left alone.
_CONVERSION = 1
_SEAL = "checksums.json"
_Loaded = TypeVar("_Loaded")


def is_converted(key: str) -> bool:
    """Whether there is a conversion under `key`, damaged or not."""
    return os.access(_folder(key), os.R_OK | os.X_OK)


def converted_models(key: str, convert: Callable[[Path], None]) -> Path:
    """The cache folder of models converted under `key`, made by `convert(folder)` if absent.

    The folder appears whole or not at all; of processes that convert at once the first one wins.

    Raises:
        StorageError: the cache folder cannot be read or written.
    """
    folder = _folder(key)
    try:
        if folder.is_dir():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".converting-", dir=folder.parent) as unfinished:
            made = Path(unfinished) / folder.name
            made.mkdir()
            convert(made)
            seal(made)
            for file in made.iterdir():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
            if not folder.is_dir():
                _publish(made, folder)
    except OSError as error:
        raise _unusable(folder.parent, error) from error
    return folder


def use_converted(
    key: str, convert: Callable[[Path], None], part: str, load: Callable[[Path], _Loaded]
) -> _Loaded:
    """`load(folder)` of the conversion under `key`, once the files called `part.*` are whole.

    A conversion that is not is thrown away and made again.

    Raises:
        StorageError: the cache folder cannot be read or written.
    """
    folder = converted_models(key, convert)
    try:
        damaged = _damaged(folder, part)
        if damaged:
            _log.warning("%s: damaged; it is made again", damaged)
            with tempfile.TemporaryDirectory(prefix=".damaged-", dir=folder.parent) as away:
                # Gone at once for everybody, however long the deleting takes.
                folder.rename(Path(away) / folder.name)
    except OSError as error:
        raise _unusable(folder, error) from error
    return load(converted_models(key, convert))


def seal(folder: Path) -> None:
    """Note the checksums of all files in `folder`."""
    sums = {file.name: _checksum(file) for file in folder.iterdir() if file.name != _SEAL}
    part = folder / f".{_SEAL}"
    part.write_text(json.dumps(sums), encoding="utf-8")
    part.replace(folder / _SEAL)


def drop_damaged(folder: Path) -> bool:
    """Delete the files that are not what `seal` noted of them; whether all the others are known."""
    sums = _sealed(folder)
    names = {file.name for file in folder.iterdir()} - {_SEAL}
    for name in names:
        if sums.get(name) != _checksum(folder / name):
            (folder / name).unlink()
    return names == sums.keys()


def _damaged(folder: Path, part: str) -> Path | None:
    """The first file called `part.*` that is not what it was when it was made."""
    sums = {name: sum_ for name, sum_ in _sealed(folder).items() if Path(name).stem == part}
    if not sums:
        return folder / _SEAL
    for name, wanted in sums.items():
        try:
            if _checksum(folder / name) != wanted:
                return folder / name
        except FileNotFoundError:
            return folder / name
    return None


def _sealed(folder: Path) -> dict[str, list[int]]:
    try:
        sums = json.loads((folder / _SEAL).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return sums if isinstance(sums, dict) else {}


def _checksum(file: Path) -> list[int]:
    """Size and CRC-32."""
    size = file.stat().st_size
    if not size:
        return [0, 0]
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as content:
        return [size, zlib.crc32(content)]


def _folder(key: str) -> Path:
    return cache_dir() / "models" / f"{key}-v{_CONVERSION}"


def _publish(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        # Another process was first; its conversion of the same weights is as good as ours.
        if not folder.is_dir():
            raise


def _unusable(folder: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{folder}: converted models cannot be kept there ({error.strerror or error}); "
        "make room or mend the permissions, or point VIDSIFT_CACHE to another folder"
    )
