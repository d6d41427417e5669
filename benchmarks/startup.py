"""A cold search: from the start of the process to the answer on the terminal.

    python -m benchmarks.startup [--folder DEMO_FOLDER] [--rounds 7]

Uses the demo library (made there if it is absent). Converted models are cached by a first,
uncounted run. The floor is an interpreter that imports NumPy and ends.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from ui.demo import run_demo

SEARCH = ["-m", "ui.cli", "search", "a cup of coffee", "--json"]


def wall(command: list[str]) -> float:
    """Wall seconds of one process."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Measure in alternation and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        run_demo(folder, Console(quiet=True), Console(stderr=True, quiet=True))
        search = [sys.executable, *SEARCH, "--library", str(folder / "library")]
        floor = [sys.executable, "-c", "import numpy"]
        wall(search)
        pairs = [(wall(search), wall(floor)) for _ in range(arguments.rounds)]
    answers = sorted(pair[0] for pair in pairs)
    floors = [pair[1] for pair in pairs]
    print(f"cold search: median {statistics.median(answers):.2f} s"
          f" (min {answers[0]:.2f}, max {answers[-1]:.2f}, {len(pairs)} rounds);"
          f" interpreter with NumPy {statistics.median(floors):.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
