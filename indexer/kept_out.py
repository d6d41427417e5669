"""Contents that were forgotten on purpose and are not to come back: `kept-out.txt` of a library.

A line each: SHA-256, size in bytes and time of modification in nanoseconds of the file as it was
then. The last two only save hashing it again. Whoever deletes a line lets the video back in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vidsift.errors import DamagedLibraryError, StorageError
from vidsift.store.files import write_atomically
from vidsift.types import Fingerprint

__all__ = ["KEPT_OUT", "KeptOut", "keep_out"]

KEPT_OUT = "kept-out.txt"
_LINE = re.compile(r"([0-9a-f]{64}) (\d+) (-?\d+)", re.ASCII)


@dataclass(frozen=True)
class KeptOut:
    """What a library keeps out."""

    fingerprints: frozenset[Fingerprint]

    @classmethod
    def of(cls, root: Path) -> KeptOut:
        """What the library in `root` keeps out; nothing where there is no such file.

        Raises:
            DamagedLibraryError: a line of the file cannot be understood.
            StorageError: it cannot be read.
        """
        file = root / KEPT_OUT
        try:
            lines = file.read_text(encoding="ascii", errors="replace").split("\n")
        except FileNotFoundError:
            return cls(frozenset())
        except OSError as error:
            raise StorageError(f"{file}: cannot be read: {error.strerror}") from error
        found = set()
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            if (parts := _LINE.fullmatch(line.strip())) is None:
                # To pass over it might let in what was to stay out.
                raise DamagedLibraryError(
                    f"{file}: line {number} is not SHA-256, size and time; correct or delete it"
                )
            found.add(Fingerprint(int(parts[2]), int(parts[3]), parts[1]))
        return cls(frozenset(found))

    def holds(self, sha256: str) -> bool:
        """Whether this content is kept out."""
        return any(each.sha256 == sha256 for each in self.fingerprints)

    def is_untouched(self, path: Path) -> bool:
        """Whether the file has size and time of one that is kept out: no need to hash it."""
        if not self.fingerprints:
            return False
        try:
            status = path.stat()
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) in {
            (each.size_bytes, each.mtime_ns) for each in self.fingerprints
        }


def keep_out(root: Path, fingerprints: Iterable[Fingerprint]) -> None:
    """Keep these contents out, too. Only for who holds the write lock.

    Raises:
        StorageError: the file cannot be written.
    """
    known = KeptOut.of(root).fingerprints | {each for each in fingerprints if each.sha256}
    lines = sorted(f"{each.sha256} {each.size_bytes} {each.mtime_ns}\n" for each in known)
    write_atomically(root / KEPT_OUT, ["".join(lines).encode()])
