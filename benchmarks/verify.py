"""Time to verify a large library, and to rebuild its index.

    python -m benchmarks.verify [--sizes 100000 1000000] [--folder DIR]

Libraries of synthetic clips as in benchmarks.search: real catalog, real feature files, real index,
but no pictures and no video files; so verifying names each video for these, and nothing else.
Beside it the floor: reading all the files of the library once, with their SHA-256.
"""

from __future__ import annotations

if __name__ == "verify":  # run by its path, this file would hide ours of the same name
    raise SystemExit("run a benchmark as a module: python -m benchmarks.NAME")

import argparse
import hashlib
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.search import grow, unit
from indexer.verify import verify
from vidsift.library import Library
from vidsift.types import EncoderStamp

_DIMENSION = 384
_TEXTS = 973
_EXPECTED = {"source", "pictures", "no checksum"}


def read_all(root: Path) -> float:
    """Seconds to read every file of the library."""
    began = time.perf_counter()
    for path in sorted(root.rglob("*")):
        if path.is_file():
            with path.open("rb") as stream:
                hashlib.file_digest(stream, "sha256")
    return time.perf_counter() - began


def measure(library: Library) -> None:
    """Verify, rebuild the index, and look at all videos as a search does."""
    floor = read_all(library.root)
    began = time.perf_counter()
    found = verify(library)
    took = time.perf_counter() - began
    kinds = Counter(gap.kind for gap in found.gaps)
    if strange := kinds.keys() - _EXPECTED:
        raise SystemExit(f"a library that is whole has gaps: {sorted(strange)}")
    print(f"  verify {took:.1f} s, {took / floor:.1f} times reading every file ({floor:.1f} s)")
    began = time.perf_counter()
    library.inspection.inspect()
    took, videos = time.perf_counter() - began, len(library.catalog.videos())
    print(f"  looking at all {videos} videos before they answer {took:.1f} s,"
          f" {1000 * took / videos:.1f} ms a video of 400 clips")  # fmt: skip
    (library.root / "index" / "vectors.faiss").unlink()
    began = time.perf_counter()
    with Library.open(library.root) as again:
        count = len(again.index(write=True))
    print(f"  index of {count:,} vectors rebuilt in {time.perf_counter() - began:.1f} s")


def main() -> None:
    """Grow one library through the sizes and measure at each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    texts = unit(np.random.default_rng(0).standard_normal((_TEXTS, _DIMENSION)))
    with (
        tempfile.TemporaryDirectory() as scratch,
        Library.open(arguments.folder or scratch, create=True) as library,
    ):
        library.catalog.set_stamp(EncoderStamp("builtin", "0" * 64, _DIMENSION, "none"))
        for size in arguments.sizes:
            grow(library, size, texts)
            measure(library)


if __name__ == "__main__":
    main()
