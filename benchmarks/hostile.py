"""Hostile files through the whole of indexing: none may hang, escape, or touch the rest of a run.

    python -m benchmarks.hostile --out DIR [--seed 1] [--count 377]

`--count` damaged files (29 kinds of container and codec, 13 kinds of damage) and about 220 crafted
ones (see benchmarks.hostile_crafted) are indexed a few dozen a run among three good films, what
leads elsewhere also alone and once more without the confinement to named files, so that ffmpeg's
own whitelists are seen to hold. A film, a text and a port of this machine are the canaries that
nothing may reach. Each run is a process of its own; a run that was interrupted goes on with the
groups that are left.

The limits are small, so that what is endless ends soon: 20 s of ffmpeg a file, 10 s for a stall,
2 GB of address space, 1 hour of video; frames and output as the settings have them.

Prints what was tried, indexed and refused (by reason), what hung, escaped or was affected, and the
peak memory of ffmpeg and of Python; ends with 1 where anything hung, escaped or was affected.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.colour_films import COLOURS, make_colour_film, open_colour_library
from benchmarks.hostile_crafted import Canary, crafted, names, special
from benchmarks.hostile_mutated import make_films, mutated
from benchmarks.hostile_report import SECONDS_OF_A_FILE, report
from indexer import index_videos, pipeline
from indexer.scan import VIDEO_SUFFIXES, real_path
from vidsift.media import launch

_LIMITS = {
    "media_time_limit": 20.0,
    "media_stall_seconds": 10.0,
    "media_memory_mb": 2048,
    "media_max_hours": 1.0,
}
_GROUP = 30
_GOOD = ("h264.mp4", "vp9.mkv", "mpeg4.avi")
_LEADING = re.compile(
    r"playlist|concat|key|master|list|plain|dash|session|redirect|smil|asx|ref|graph|avisynth"
    r"|metadata|cue|imf|vobsub|svg|rar|ram|linked|styled"
)


@dataclass
class Group:
    """Files of one run. `alone`: each in a run of its own; `confined` to the files it names."""

    name: str
    files: list[tuple[bytes, bytes]] = field(default_factory=list)
    alone: bool = False
    confined: bool = True


def groups(
    films: dict[str, bytes], paths: list[Path], canary: Canary, count: int, seed: int
) -> Iterator[Group]:
    """All runs that are to be made, in order; of `special` files only the name."""
    damaged = [mutated(paths, number, seed) for number in range(count)]
    made = list(crafted(films, canary))
    leading = [(os.fsencode(name), data) for name, data in made if _LEADING.match(name)]
    others = [
        (os.fsencode(name), data) for name, data in [*damaged, *made] if not _LEADING.match(name)
    ]
    for number, first in enumerate(range(0, len(others), _GROUP)):
        yield Group(f"damaged-{number:02d}", others[first : first + _GROUP])
    for number, first in enumerate(range(0, len(leading), _GROUP)):
        some = leading[first : first + _GROUP]
        films_only = [file for file in some if Path(os.fsdecode(file[0])).suffix in VIDEO_SUFFIXES]
        yield Group(f"leading-{number}", films_only)
        yield Group(f"leading-{number}-alone", some, alone=True)
        yield Group(f"leading-{number}-unconfined", some, alone=True, confined=False)
    yield Group("names", [(name, films["h264.mp4"]) for name in names()])
    yield Group("special")


def run_group(
    group: Group, folder: Path, films: dict[str, bytes], canary: Canary
) -> dict[str, Any]:
    """Index one group in this process and tell what became of it."""
    shutil.rmtree(folder, ignore_errors=True)
    videos = folder / "videos"
    videos.mkdir(parents=True)
    good = []
    for name in _GOOD:
        good.append(videos / f"good-{name}")
        good[-1].write_bytes(films[name])
    hostile = []
    for raw_name, data in group.files:
        hostile.append(videos / os.fsdecode(raw_name))
        hostile[-1].write_bytes(data)
    if not group.files:
        lying = special(videos, canary, films["h264.mp4"])
        hostile = [p for p in lying if p not in good and p.suffix in VIDEO_SUFFIXES]
    if not group.confined:
        launch._can_be_confined.cache_clear()
        launch._can_be_confined = lambda: False  # type: ignore[assignment]
    seconds: dict[str, float] = {}
    real = vars(pipeline)["index_video"]

    def timed(path: Path, *arguments: Any) -> Any:
        began = time.monotonic()
        try:
            return real(path, *arguments)
        finally:
            seconds[_shown(path)] = time.monotonic() - began

    vars(pipeline)["index_video"] = timed
    os.chdir(videos)
    peak = _PeakOfChildren()
    before = set(Path().iterdir())
    began = time.monotonic()
    found: dict[str, Any] = {"name": group.name, "confined": group.confined}
    with open_colour_library(folder / "library", **_LIMITS) as library:
        reports = [index_videos(library, [path]) for path in hostile] if group.alone else []
        reports.append(index_videos(library, [videos]))
        found["seconds"] = time.monotonic() - began
        refused = {_shown(path): reason for report in reports for path, reason in report.failed}
        indexed = {_shown(path) for report in reports for path in report.indexed}
        records = {video.path: video for video in library.catalog.videos()}
        found["good"] = [
            path in records and records[path].status == "searchable" and not records[path].note
            for path in good
        ]
        found["features"] = [
            library.features.open(records[path].feature_file).tobytes().hex()[:4096]
            if path in records and records[path].feature_file
            else ""
            for path in good
        ]
        found["reached"] = sorted(_reached(library, set(good)))
        tried = dict(seconds)
        again = index_videos(library, [videos])
        found["again"] = sorted(seconds.keys() - tried.keys()) + [_shown(p) for p in again.indexed]
        named = refused.keys() | indexed
        files = [path for path in hostile if not path.is_dir()]
        found["unnamed"] = sorted(_shown(path) for path in files if _real(path) not in named)
    found["files"] = {
        _shown(path): {
            "reason": refused.get(_real(path), "" if _real(path) in indexed else "left out"),
            "seconds": round(tried.get(_shown(path), 0.0), 2),
        }
        for path in hostile
    }
    found["left"] = sorted(map(_shown, set(Path().iterdir()) ^ before))
    found["children"] = [str(child) for child in _children()]
    found["python_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    found["ffmpeg_mb"] = peak.megabytes
    shutil.rmtree(folder)
    return found


def _shown(path: Path) -> str:
    return os.fsencode(path.name).decode("utf-8", "backslashreplace")


def _real(path: Path) -> str:
    return _shown(real_path(path))


def _reached(library: Any, good: set[Path]) -> Iterator[str]:
    """Videos in which the canary film or its text is to be seen."""
    magenta = np.array(COLOURS["magenta"], np.float32) / np.sqrt(2)
    for video in library.catalog.videos():
        if video.feature_file and video.path not in good:
            features = np.asarray(library.features.open(video.feature_file), np.float32)
            if _LEADING.match(video.path.name) and (features @ magenta > 0.99).any():
                yield _shown(video.path)
            if any("canary" in cue.cue.text for cue in library.catalog.cues_of_video(video.id)):
                yield _shown(video.path)


def _children() -> list[Path]:
    found = []
    for process in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(process.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(process.parent)
    return found


class _PeakOfChildren:
    """The largest resident size of any child, looked at 20 times a second.

    What the system counts for ended children begins with the size of the parent they came from.
    """

    def __init__(self) -> None:
        self.megabytes = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            for child in _children():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    if "ffmpeg" in (child / "comm").read_text():
                        told = (child / "status").read_text().partition("VmHWM:")[2].split()
                        self.megabytes = max(self.megabytes, int(told[0]) >> 10)
            time.sleep(0.05)


class Listener:
    """Counts who calls at a port, by TCP or UDP."""

    def __init__(self) -> None:
        self.calls = 0
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        for listen in (self._accept, self._receive):
            threading.Thread(target=listen, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._tcp.accept()
            self.calls += 1
            connection.close()

    def _receive(self) -> None:
        while True:
            self._udp.recv(1)
            self.calls += 1


def _tends_atime(folder: Path) -> bool:
    """Whether reading a file here shows in its time of access."""
    file = folder / "read"
    file.write_text("x")
    _forget_reading(file)
    file.read_text()
    return file.stat().st_atime > 1


def _forget_reading(file: Path) -> None:
    os.utime(file, (1, file.stat().st_mtime))


def main() -> int:
    options = argparse.ArgumentParser(description="index hostile files")
    options.add_argument("--out", type=Path, required=True, help="folder of the trials and results")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--count", type=int, default=377, help="damaged files")
    options.add_argument("--group", help=argparse.SUPPRESS)
    options.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = options.parse_args()
    out = given.out.absolute()
    paths = make_films(out / "films")
    films = {path.name: path.read_bytes() for path in paths}
    film, text = out / "canary" / "canary.mp4", out / "canary" / "canary.srt"
    if given.group:
        canary = Canary(film, text, given.port)
        group = next(
            g
            for g in groups(films, paths, canary, given.count, given.seed)
            if g.name == given.group
        )
        print(json.dumps(run_group(group, out / f"trial-{group.name}", films, canary)))
        return 0
    film.parent.mkdir(exist_ok=True)
    if not film.exists():
        make_colour_film(film, [("magenta", 2.0)])
    text.write_text("1\n00:00:00,000 --> 00:00:01,000\ncanary\n")
    listener = Listener()
    canary = Canary(film, text, listener.port)
    has_atime = _tends_atime(film.parent)
    results = out / f"results-{given.seed}-{given.count}.jsonl"
    done = (
        [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    )
    for group in groups(films, paths, canary, given.count, given.seed):
        if group.name in {result["name"] for result in done}:
            continue
        _forget_reading(film)
        _forget_reading(text)
        calls = listener.calls
        result = _in_child(given, group, listener.port)
        result["called"] = listener.calls - calls
        result["read"] = [p.name for p in (film, text) if has_atime and p.stat().st_atime > 1]
        done.append(result)
        with results.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print(
            f"{group.name}: {len(result['files'])} files in {result['seconds']:.0f} s",
            file=sys.stderr,
        )
    return report(done, has_atime)


def _in_child(given: argparse.Namespace, group: Group, port: int) -> dict[str, Any]:
    limit = SECONDS_OF_A_FILE * max(1, len(group.files))
    command = [
        sys.executable,
        "-m",
        "benchmarks.hostile",
        "--out",
        str(given.out),
        "--group",
        group.name,
    ]
    command += ["--seed", str(given.seed), "--count", str(given.count), "--port", str(port)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        try:
            said, _ = child.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            return {
                "name": group.name,
                "files": {},
                "seconds": limit,
                "died": f"hung for {limit:.0f} s",
            }
    if child.returncode:
        return {
            "name": group.name,
            "files": {},
            "seconds": 0.0,
            "died": f"status {child.returncode}",
        }
    result: dict[str, Any] = json.loads(said.splitlines()[-1])
    return result


if __name__ == "__main__":
    sys.exit(main())
