"""What `transcribe` costs beside the network itself: memory and time, by the length of the sound.

    python -m benchmarks.transcribe [--minutes 5 30] [--model FOLDER]

Without --model the small network of benchmarks.spoken listens, which weighs next to nothing: what
is left is the reading of sound, the detection of voice and the spectra. A word is said each ten
seconds. Each length runs in a process of its own; the first one only opens the model. Linux only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import subprocess
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.spoken import WORDS, speech
from vidsift.media.binary import ffmpeg_binary
from vidsift.media.probe import probe
from vidsift.media.sound import read_sound
from vidsift.models.speech import open_speech

SMALL = Path(__file__).parents[1] / "tests" / "speech_model"


def make_film(path: Path, minutes: float) -> Path:
    """A film without much of a picture, in which a word is said each ten seconds."""
    seconds = minutes * 60
    names = list(WORDS)
    words = [(at + 1.0, names[at // 10 % 3]) for at in range(0, int(seconds) - 2, 10)]
    sound = (speech(seconds, words) * 32767).astype("<i2").tobytes()
    picture = ["-f", "lavfi", "-i", f"color=red:s=64x64:r=5:d={seconds}"]
    heard = ["-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "-", "-c:a", "aac"]
    command = [ffmpeg_binary(), "-v", "error", "-y", *picture, *heard, str(path)]
    subprocess.run(command, input=sound, check=True)
    return path


def listen(film: Path | None, model: str) -> tuple[int, float, float]:
    """Lines heard, CPU seconds it took, and the peak of the process's memory in MB."""
    opened = open_speech(model, device="cpu")
    began = time.process_time()
    num_lines = 0
    if film is not None:
        video = probe(film)
        for piece in read_sound(video, video.duration_seconds):
            num_lines += sum(1 for _ in opened.transcribe(piece.samples, "en"))
    # What getrusage tells includes the process that this one was forked from.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return num_lines, time.process_time() - began, int(peak) / 1024


def main() -> None:
    """Print one line a length."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0, 30.0])
    parser.add_argument("--model", default=str(SMALL))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        films: list[Path | None] = [None]
        films += [make_film(folder / f"{m:g}.mp4", m) for m in arguments.minutes]
        for film in films:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                num_lines, seconds, peak = pool.submit(listen, film, arguments.model).result()
            name = f"{film.stem} min" if film else "model alone"
            speed = f"{float(film.stem) * 60 / seconds:.0f}x real time" if film else ""
            print(f"{name:12} {peak:6.0f} MB  {num_lines:4} lines  {seconds:6.1f} s CPU  {speed}")


if __name__ == "__main__":
    main()
