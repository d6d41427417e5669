"""Indexing speed against its floors, and memory against length.

    python -m benchmarks.ingest [VIDEOS...] [--rounds 3] [--no-memory]

VIDEOS are files and folders; default: the demo's films. Each round runs, one after the other, on
the same files and with as many at a time as indexing uses: decoding alone (our decode, drained),
encoding alone (as many frames of the same shapes), and indexing. Prints medians and the ratio of
indexing to the larger floor; the plain decoder (`ffmpeg -f null`) is printed as a peer.
Memory: the peak resident size of `vidsift index` for 1 and for 30 minutes of the same film.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from indexer import index_videos
from indexer.scan import find_files
from ui.demo_films import build_demo_videos
from vidsift.library import Library
from vidsift.media.binary import ffmpeg_binary
from vidsift.media.frames import decode
from vidsift.media.probe import probe
from vidsift.models.encoder import Encoder

Sampled = tuple[int, tuple[int, ...]]  # frames of one video, and the shape of one


def timed(work: Callable[[], object]) -> float:
    """Wall seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def decode_all(files: list[Path], library: Library, size: int) -> list[Sampled]:
    """Drain our decode of every file; returns what was sampled of each."""

    def drain(path: Path) -> Sampled:
        count, shape = 0, (size, size, 3)
        rate = library.settings.sample_rate
        with decode(probe(path), sample_rate=rate, short_side=size) as frames:
            for frame in frames:
                if frame.sample is not None:
                    count, shape = count + 1, frame.sample.shape
        return count, shape

    with ThreadPoolExecutor(library.settings.workers) as pool:
        return list(pool.map(drain, files))


def encode_all(sampled: list[Sampled], encoder: Encoder, library: Library) -> None:
    """Encode as many frames of the same shapes, in batches as indexing does."""
    batch = library.settings.batch_size

    def encode(one: Sampled) -> None:
        count, shape = one
        noise = np.random.default_rng(0).integers(0, 255, (batch, *shape), dtype=np.uint8)
        for first in range(0, count, batch):
            encoder.encode_frames(noise[: min(batch, count - first)])

    with ThreadPoolExecutor(library.settings.workers) as pool:
        list(pool.map(encode, sampled))


def null_all(files: list[Path], workers: int) -> None:
    """ffmpeg's own decoder alone, nothing scaled, nothing piped."""

    def run(path: Path) -> None:
        command = [ffmpeg_binary(), "-nostdin", "-v", "quiet", "-i", str(path)]
        subprocess.run([*command, "-map", "0:V:0", "-f", "null", "-"], check=False)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, files))


def one_round(files: list[Path], library: Library) -> dict[str, float]:
    """Wall seconds of each floor and of indexing, run one after the other."""
    encoder = library.encoder
    size = encoder.picture_size
    encoder.encode_frames(np.zeros((1, size, size, 3), np.uint8))  # loads the model
    encoder.encode_texts(["warm"])
    sampled: list[Sampled] = []
    return {
        "null": timed(lambda: null_all(files, library.settings.workers)),
        "decode": timed(lambda: sampled.extend(decode_all(files, library, size))),
        "encode": timed(lambda: encode_all(sampled, encoder, library)),
        "index": timed(lambda: index_videos(library, files)),
    }


def speed(files: list[Path], rounds: int) -> None:
    """Rounds of floors and indexing; prints medians and ratios."""
    walls = []
    seconds = 0.0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder, Library.open(folder, create=True) as library:
            walls.append(one_round(files, library))
            seconds = sum(video.duration_seconds for video in library.catalog.videos())
    middle = {name: statistics.median(wall[name] for wall in walls) for name in walls[0]}
    print(f"{len(files)} files, {seconds:.0f} s of video, {rounds} rounds, medians")
    for name, value in middle.items():
        print(f"  {name:<7} {value:7.2f} s  {seconds / value:6.1f}x real time")
    for name, floors in {
        "max(decode, encode)": [max(wall["decode"], wall["encode"]) for wall in walls],
        "(decode + encode)": [wall["decode"] + wall["encode"] for wall in walls],
    }.items():
        ratios = sorted(wall["index"] / low for wall, low in zip(walls, floors, strict=True))
        print(f"  index / {name}: median {statistics.median(ratios):.2f}"
              f" (min {ratios[0]:.2f}, max {ratios[-1]:.2f})")  # fmt: skip


def peak_megabytes(film: Path, minutes: int, folder: Path) -> float:
    """Peak resident size of the process that indexes `minutes` of the film, looped."""
    long = folder / f"{minutes}.mp4"
    command = [ffmpeg_binary(), "-nostdin", "-v", "error", "-y", "-stream_loop", "-1"]
    command += ["-i", str(film), "-c", "copy", "-t", str(60 * minutes), str(long)]
    subprocess.run(command, check=True)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "ui.cli",
            "index",
            str(long),
            "--library",
            str(folder / f"l{minutes}"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"indexing {long} failed with {process.returncode}")
    return usage.ru_maxrss / 1024


def memory(film: Path) -> None:
    """Peak memory at 1 and at 30 minutes."""
    with tempfile.TemporaryDirectory() as folder:
        short = peak_megabytes(film, 1, Path(folder))
        long = peak_megabytes(film, 30, Path(folder))
    print(f"peak memory: {short:.0f} MB at 1 minute, {long:.0f} MB at 30 minutes,"
          f" ratio {long / short:.2f}")  # fmt: skip


def main() -> None:
    """Parse arguments and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-memory", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = find_files(arguments.videos)[0] or build_demo_videos(Path(folder))
        speed(files, arguments.rounds)
        if not arguments.no_memory:
            memory(max(files, key=lambda path: probe(path).duration_seconds))


if __name__ == "__main__":
    main()
