"""Memory that grows with the library, and what letting go of the encoder gives back.

    python -m benchmarks.memory [--clips 5000 10000 20000 40000]

Each size is a process of its own over a library of synthetic clips (8 frames and 3 vectors a clip,
384 dimensions): resident memory when the library is open and nothing was asked, after 20 questions,
and with the models let go. Up to `exact_clips` (10,000) every frame lies in memory; above, the
index does. Prints bytes a clip, of the difference to the size before.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.search import CLIPS_A_VIDEO, synthetic_video
from search.bank import prototype_texts
from ui.session import Workspace
from vidsift.library import Library
from vidsift.models.memory import trim

_QUESTIONS = 20


def resident_mb() -> float:
    """Memory of this process, without what is free and kept for later."""
    trim()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def build(root: Path, clips: int) -> None:
    """A library of so many clips, its index and null distribution saved."""
    with Library.open(root, create=True, encoder="builtin") as library:
        library.catalog.set_stamp(library.encoder.stamp)
        texts = library.encoder.encode_texts(prototype_texts())
        for number in range(clips // CLIPS_A_VIDEO):
            video = synthetic_video(number, CLIPS_A_VIDEO, texts)
            name = f"{number:06d}.npy"
            sha256 = library.features.write(name, video.features.features)
            library.catalog.commit_video(video, name, sha256)
        library.index(write=True)


def measure(root: Path) -> dict[str, float]:
    """Resident megabytes in the course of a session of the page."""
    workspace = Workspace(root)
    workspace.library_with_encoder().encoder.encode_texts(["a cat"])
    found = {"open": resident_mb()}
    for text in prototype_texts()[:_QUESTIONS]:
        workspace.ask(text, 10)
    found["asked"] = resident_mb()
    workspace.release()
    found["released"] = resident_mb()
    workspace.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clips", type=int, nargs="+", default=[5000, 10_000, 20_000, 40_000])
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure is not None:
        print(json.dumps(measure(chosen.measure)))
        return
    before: tuple[int, float] | None = None
    for clips in chosen.clips:
        with tempfile.TemporaryDirectory(prefix="memory-") as folder:
            root = Path(folder) / "library"
            build(root, clips)
            command = [sys.executable, "-m", "benchmarks.memory", "--measure", str(root)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        grown = found["asked"] - found["open"]
        line = "".join(f"  {key} {value:7.1f} MB" for key, value in found.items())
        if before is not None:
            slope = (grown - before[1]) * 2**20 / (clips - before[0])
            line += f"  {slope:8.0f} bytes a clip more than the last"
        print(f"{clips:7} clips{line}", flush=True)
        before = clips, grown


if __name__ == "__main__":
    main()
