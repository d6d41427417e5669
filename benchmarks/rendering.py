"""Rendering a summary against copying its streams and against decoding and encoding alone.

    python -m benchmarks.rendering [FILMS...] [--size 1280x720] [--seconds 400] [--rounds 3]

FILMS are video files; default: one of `--seconds` at `--size`, composed of photographs with a
moving camera and a tone. Of each, spans of 3 s that are 15 % of it are written as one film, in each
round one after the other

* as a summary is: cross-faded, and with hard cuts;
* decoded and encoded with the same encoder, joined and otherwise not filtered: what no renderer
  that cuts at exact frames can do without;
* copied as they are coded, from the key frame before each span: longer and not cut where it
  should be, but nothing is decoded.

Prints medians of the seconds that went by and of those that processors worked, the ratios of the
latter within the rounds (they hold on a busy machine too), and how long the results last.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data as photographs

from vidsift.media.binary import ffmpeg_binary
from vidsift.media.compose import CameraView, PictureShot, film_from_pictures
from vidsift.media.cut import Cut, render_cuts
from vidsift.media.probe import probe
from vidsift.types import Span, VideoProbe

RATIO = 0.15
SEGMENT_SECONDS = 3.0
CROSSFADE_SECONDS = 0.25
PICTURES = ("astronaut", "coffee", "cat", "rocket", "retina", "hubble_deep_field")
ENCODING = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p"]
SOUND = ["-c:a", "aac", "-b:a", "128k", "-ac", "2", "-ar", "48000"]


def composed_film(folder: Path, size: tuple[int, int], seconds: float) -> Path:
    """A film of photographs, looped without encoding it again until it is long enough."""
    shots = []
    for number, name in enumerate(PICTURES):
        picture = folder / f"{name}.png"
        Image.fromarray(np.asarray(getattr(photographs, name)())).convert("RGB").save(picture)
        start, end = CameraView(1.0 + 0.2 * (number % 2)), CameraView(1.4, 0.4, 0.6)
        shots.append(PictureShot(picture, 5.0, start, end))
    once = film_from_pictures(
        shots, folder / "once.mp4", size=size, tone_hertz=220.0, time_limit=600.0
    )
    film = folder / "film.mp4"
    ffmpeg("-stream_loop", "-1", "-i", str(once), "-c", "copy", "-t", str(seconds), str(film))
    return film


def ffmpeg(*arguments: str) -> None:
    """Run ffmpeg on its own."""
    subprocess.run([ffmpeg_binary(), "-nostdin", "-v", "error", "-y", *arguments], check=True)


def processor_seconds() -> float:
    """What this process and those that it waited for have used up."""
    return sum(os.times()[:4])


def chosen_spans(video: VideoProbe) -> list[Span]:
    """Spans of 3 s, evenly spread, that are 15 % of the video."""
    number = max(1, round(RATIO * video.duration_seconds / SEGMENT_SECONDS))
    every = video.duration_seconds / number
    length = min(SEGMENT_SECONDS, every / 2)
    return [Span(every * n + every / 4, every * n + every / 4 + length) for n in range(number)]


def rendered(video: VideoProbe, spans: list[Span], out: Path, fade: float) -> None:
    """As a summary is written."""
    render_cuts([Cut(video, span) for span in spans], out, crossfade_seconds=fade)


def decoded_and_encoded(video: VideoProbe, spans: list[Span], out: Path) -> None:
    """The same frames through the same decoder and encoder, with nothing in between."""
    inputs = []
    for span in spans:
        inputs += ["-ss", str(span.start), "-t", str(span.duration), "-i", str(video.path)]
    sound = int(video.has_audio)
    streams = "".join(f"[{n}:v:0]" + f"[{n}:a:0]" * sound for n in range(len(spans)))
    joined = f"{streams}concat=n={len(spans)}:v=1:a={sound}[v]" + "[a]" * sound
    outputs = ["-map", "[v]", *ENCODING] + (["-map", "[a]", *SOUND] if sound else [])
    ffmpeg(*inputs, "-filter_complex", joined, *outputs, str(out))


def copied(video: VideoProbe, spans: list[Span], out: Path) -> None:
    """The coded packets of the spans, from the key frame before each."""
    names = out.with_suffix(".ffconcat")
    lines = ["ffconcat version 1.0"]
    for span in spans:
        lines += [
            f"file '{video.path.absolute()}'",
            f"inpoint {span.start}",
            f"outpoint {span.end}",
        ]
    names.write_text("\n".join(lines) + "\n")
    ffmpeg("-f", "concat", "-safe", "0", "-i", str(names), "-c", "copy", str(out))


def measure(film: Path, rounds: int, folder: Path) -> None:
    """Rounds over one film; prints."""
    video = probe(film)
    spans = chosen_spans(video)
    promised = sum(span.duration for span in spans)
    out = folder / "out.mp4"
    ways: dict[str, Callable[[], None]] = {
        "copied": lambda: copied(video, spans, out),
        "decoded and encoded": lambda: decoded_and_encoded(video, spans, out),
        "hard cuts": lambda: rendered(video, spans, out, 0.0),
        "cross-faded": lambda: rendered(video, spans, out, CROSSFADE_SECONDS),
    }
    walls: dict[str, list[float]] = {name: [] for name in ways}
    worked: dict[str, list[float]] = {name: [] for name in ways}
    lasts = {}
    for _ in range(rounds):
        for name, way in ways.items():
            began, before = time.perf_counter(), processor_seconds()
            way()
            walls[name].append(time.perf_counter() - began)
            worked[name].append(processor_seconds() - before)
            lasts[name] = probe(out).duration_seconds
    print(f"{film.name}: {video.width}x{video.height}, {video.duration_seconds:.0f} s;"
          f" {len(spans)} spans, {promised:.1f} s, {rounds} rounds, medians")  # fmt: skip
    for name, taken in walls.items():
        ratios = [
            statistics.median(a / b for a, b in zip(worked[name], worked[floor], strict=True))
            for floor in ("copied", "decoded and encoded")
        ]
        print(f"  {name:<20} {statistics.median(taken):7.2f} s"
              f" {promised / statistics.median(taken):6.1f}x real time;"
              f" processors {statistics.median(worked[name]):7.2f} s,"
              f" {ratios[0]:6.1f} of copying, {ratios[1]:5.2f} of decoding and encoding;"
              f" lasts {lasts[name]:.2f} s")  # fmt: skip


def main() -> None:
    """Parse arguments and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("films", nargs="*", type=Path)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--seconds", type=float, default=400.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        films = arguments.films or [composed_film(Path(folder), (width, height), arguments.seconds)]
        for film in films:
            measure(film, arguments.rounds, Path(folder))


if __name__ == "__main__":
    main()
