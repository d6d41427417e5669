"""What happens to disks and files: ways to damage a library, drawn at random."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

__all__ = ["DAMAGES", "SECTOR", "damage"]

Random = np.random.Generator
SECTOR = 512  # bytes
_PAGE = 4096
# Tables and the columns of each that a trial changes a value of.
_TABLES = ("library", "videos", "shots", "clips", "clip_vectors", "summaries", "cues", "tags")


def damage(root: Path, kind: str, random: Random) -> str:
    """Do one damage of this kind to the library in `root`; returns what was done, in words."""
    return DAMAGES[kind](root, random)


def _files(root: Path, pattern: str) -> list[Path]:
    return sorted(path for path in root.glob(pattern) if path.is_file())


def _chosen(root: Path, pattern: str, random: Random) -> Path:
    files = _files(root, pattern)
    return files[int(random.integers(len(files)))]


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _flip(pattern: str, bits: int = 1) -> Callable[[Path, Random], str]:
    def act(root: Path, random: Random) -> str:
        path = _chosen(root, pattern, random)
        content = bytearray(path.read_bytes())
        places = random.integers(len(content), size=bits).tolist()
        for place in places:
            content[place] ^= 1 << int(random.integers(8))
        _write(path, bytes(content))
        return f"{bits} bits of {path.relative_to(root)} at {places}"

    return act


def _blank(pattern: str, size: int) -> Callable[[Path, Random], str]:
    def act(root: Path, random: Random) -> str:
        path = _chosen(root, pattern, random)
        content = bytearray(path.read_bytes())
        place = int(random.integers(max(1, len(content) // size))) * size
        content[place : place + size] = bytes(len(content[place : place + size]))
        _write(path, bytes(content))
        return f"{size} bytes of {path.relative_to(root)} at {place} are zero"

    return act


def _truncate(pattern: str) -> Callable[[Path, Random], str]:
    def act(root: Path, random: Random) -> str:
        path = _chosen(root, pattern, random)
        size = int(random.integers(path.stat().st_size))
        os.truncate(path, size)
        return f"{path.relative_to(root)} ends after {size} bytes"

    return act


def _remove(pattern: str) -> Callable[[Path, Random], str]:
    def act(root: Path, random: Random) -> str:
        path = _chosen(root, pattern, random)
        path.unlink()
        return f"{path.relative_to(root)} is gone"

    return act


def _swap(pattern: str) -> Callable[[Path, Random], str]:
    def act(root: Path, random: Random) -> str:
        entries = sorted(root.glob(pattern))
        first, second = (entries[i] for i in random.permutation(len(entries))[:2])
        aside = root / "aside"
        first.rename(aside)
        second.rename(first)
        aside.rename(second)
        return f"{first.relative_to(root)} and {second.name} have changed places"

    return act


def _foreign(name: str) -> Callable[[Path, Random], str]:
    """A file of another library, or of an earlier time, which lies beside the one at hand."""

    def act(root: Path, random: Random) -> str:
        shutil.copy(root.parent / name / "index" / "vectors.faiss", root / "index")
        return f"the index of {name}"

    return act


def _sql(act: Callable[[sqlite3.Connection, Random], str]) -> Callable[[Path, Random], str]:
    def run(root: Path, random: Random) -> str:
        with closing(sqlite3.connect(root / "catalog.sqlite3")) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            done = act(connection, random)
            connection.commit()
        return done

    return run


def _row(connection: sqlite3.Connection, random: Random) -> tuple[str, int]:
    table = _TABLES[int(random.integers(len(_TABLES)))]
    ids = [row[0] for row in connection.execute(f"SELECT rowid FROM {table} ORDER BY rowid")]
    return table, ids[int(random.integers(len(ids)))]


def _delete_row(connection: sqlite3.Connection, random: Random) -> str:
    table, row = _row(connection, random)
    connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
    return f"row {row} of {table} is gone"


def _change_value(connection: sqlite3.Connection, random: Random) -> str:
    table, row = _row(connection, random)
    columns = [each[1] for each in connection.execute(f"PRAGMA table_info({table})")]
    column = columns[int(random.integers(len(columns)))]
    query = f"SELECT {column} FROM {table} WHERE rowid = ?"
    (value,) = connection.execute(query, (row,)).fetchone()
    changed = _changed(value, random)
    try:
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (changed, row))
    except sqlite3.Error:  # what no row may hold, such as a path twice
        connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
        return f"row {row} of {table} is gone"
    return f"{column} of row {row} of {table}"


def _changed(value: object, random: Random) -> object:
    if isinstance(value, int):
        return value ^ (1 << int(random.integers(20)))
    if isinstance(value, float):
        bits = np.float64(value).view(np.int64) ^ np.int64(1 << int(random.integers(62)))
        changed = float(bits.view(np.float64))
        return changed if np.isfinite(changed) else 0.0
    if isinstance(value, bytes) and value:
        content = bytearray(value)
        content[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))
        return bytes(content)
    if isinstance(value, str) and value:
        place = int(random.integers(len(value)))
        return value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]
    return "?"


def _newer(connection: sqlite3.Connection, random: Random) -> str:
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    return "the catalog is of a newer version"


DAMAGES: dict[str, Callable[[Path, Random], str]] = {
    "catalog: a bit": _flip("catalog.sqlite3"),
    "catalog: bits": _flip("catalog.sqlite3", 16),
    "catalog: sector": _blank("catalog.sqlite3", SECTOR),
    "catalog: page": _blank("catalog.sqlite3", _PAGE),
    "catalog: cut": _truncate("catalog.sqlite3"),
    "log: a bit": _flip("catalog.sqlite3-wal"),
    "log: cut": _truncate("catalog.sqlite3-wal"),
    "log: gone": _remove("catalog.sqlite3-wal"),
    "row: gone": _sql(_delete_row),
    "row: a value": _sql(_change_value),
    "features: a bit": _flip("features/*.npy"),
    "features: sector": _blank("features/*.npy", SECTOR),
    "features: cut": _truncate("features/*.npy"),
    "features: gone": _remove("features/*.npy"),
    "features: swapped": _swap("features/*.npy"),
    "pictures: a bit": _flip("pictures/*/*.jpg"),
    "pictures: cut": _truncate("pictures/*/*.jpg"),
    "pictures: gone": _remove("pictures/*/*.jpg"),
    "pictures: swapped": _swap("pictures/*"),
    "index: a bit": _flip("index/vectors.faiss"),
    "index: cut": _truncate("index/vectors.faiss"),
    "index: gone": _remove("index/vectors.faiss"),
    "index: of another library": _foreign("other"),
    "index: of an earlier time": _foreign("earlier"),
    "null: a bit": _flip("index/null.npz"),
    "null: cut": _truncate("index/null.npz"),
    "newer version": _sql(_newer),
}
