"""Indexing, searching, summarising and deleting all at once, for long: what is lost?

    python -m benchmarks.soak [--minutes 30] [--library DIR] [--encoder colour] [--out FILE]

Films are added, changed, renamed and taken away without end while five threads ask, look at videos
as the page does, summarise and render. The library stays of one size, so that whatever grows is a
leak. Each minute one line of what was done and what the process holds; at the end:

- growth: bytes an indexed video, the slope of the second half of the run (Theil-Sen, with its 95 %
  interval), of the memory that is in use (what the C library has given out, `mallinfo2`; Python's
  objects are taken from there too, PYTHONMALLOC=malloc) and of what is resident, which also holds
  the gaps between. Freed memory is given back before each look (`malloc_trim`), and there are two
  arenas for it (MALLOC_ARENA_MAX=2).
- descriptors, threads and children before and after.
- inconsistencies: what `vidsift verify` finds, and films that are there and not searchable.

Most films are one of 24 that are made at the beginning, each time with a number of its own behind
its end, so that no two are the same content. `--encoder builtin` runs the real networks.
Exits with 1 where anything was lost, or any operation failed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmarks.colour_films import COLOURS, ColourEncoder
from benchmarks.soak_films import Films
from indexer import index_videos
from indexer.forget import forget_videos
from indexer.verify import verify
from search import SearchEngine
from summarizer import summarize, write_summary
from summarizer.chapters import chapters_of
from summarizer.summary import saliency_curve
from ui.session import Workspace
from vidsift.errors import LibraryBusyError, MediaError, SummaryError, VideoNotFoundError
from vidsift.library import Library
from vidsift.models.memory import trim
from vidsift.types import VideoRecord

_GONE = (MediaError, SummaryError, VideoNotFoundError)  # of a video that was there a moment ago
_LOOK_SECONDS = 2.0
_RENDER_SECONDS = 8.0
_FORGET = 0.1  # of the runs of indexing; it writes the database anew
_WORDS = (*COLOURS, "a cat", "two people", "the sea at night")


@dataclass(frozen=True, slots=True)
class Look:
    """What the process holds at one time."""

    seconds: float
    indexed: int
    rss_bytes: int
    used_bytes: int
    descriptors: int
    threads: int
    children: int
    catalog_bytes: int

    @classmethod
    def now(cls, seconds: float, indexed: int, catalog: Path) -> Look:
        trim()
        process = Path("/proc/self")
        pages = int((process / "statm").read_text().split()[1])
        threads = list((process / "task").iterdir())
        return cls(
            seconds=round(seconds, 2),
            indexed=indexed,
            rss_bytes=pages * os.sysconf("SC_PAGESIZE"),
            used_bytes=_used_bytes(),
            descriptors=len(list((process / "fd").iterdir())),
            threads=len(threads),
            children=sum(len(_children(thread)) for thread in threads),
            catalog_bytes=sum(each.stat().st_size for each in _files(catalog)),
        )


class _MallocInfo(ctypes.Structure):
    _fields_: ClassVar = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def _used_bytes() -> int:
    """What malloc has given out, in its arenas and as mappings of their own."""
    tell = ctypes.CDLL(None).mallinfo2
    tell.restype = _MallocInfo
    told = tell()
    return int(told.uordblks + told.hblkhd)


def _children(thread: Path) -> list[str]:
    try:
        return (thread / "children").read_text().split()
    except FileNotFoundError:  # it has ended
        return []


def _files(catalog: Path) -> list[Path]:
    """The database and its log."""
    return [each for each in (catalog, catalog.with_name(f"{catalog.name}-wal")) if each.exists()]


class Soak:
    """One run: what is done by kind, what failed, and what was looked at."""

    def __init__(self, root: Path, encoder: str, seed: int) -> None:
        self.root = root
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self.looks: list[Look] = []
        self.films = Films(root / "films", random.Random(seed))
        self._lock = threading.Lock()
        self._encoder = encoder
        self._stop = threading.Event()
        self._workspace = Workspace(root / "library")
        self.catalog = root / "library" / "catalog.sqlite3"

    def open(self, *, create: bool = False) -> Library:
        library = Library.open(self.root / "library", create=create, encoder=self._encoder)
        self._prepare(library)
        return library

    def _prepare(self, library: Library) -> None:
        if self._encoder == "colour":
            library.__dict__["encoder"] = ColourEncoder()

    def run(self, seconds: float, tell: Callable[[str], None]) -> None:
        """Everything at once for so long."""
        self.open(create=True).close()
        self._prepare(self._workspace.library())
        began = time.monotonic()
        workers = [
            threading.Thread(target=self._loop, args=(step, number), name=step.__name__)
            for number, step in enumerate(
                (self.index, self.ask, self.page, self.page, self.watch)
            )
        ]  # fmt: skip
        for worker in workers:
            worker.start()
        try:
            next_line = 60.0
            while (now := time.monotonic() - began) < seconds and not self.failures:
                self.looks.append(Look.now(now, self.done["indexed"], self.catalog))
                if now >= next_line:
                    next_line += 60.0
                    tell(self.line())
                time.sleep(_LOOK_SECONDS)
        finally:
            self._stop.set()
            for worker in workers:
                worker.join()
            self._workspace.close()

    def most(self, what: str) -> int:
        """The most of it that was seen at a time."""
        return int(max(getattr(look, what) for look in self.looks))

    def line(self) -> str:
        """What there is to say each minute."""
        look = self.looks[-1]
        done = ", ".join(f"{count} {kind}" for kind, count in sorted(self.done.items()))
        return (
            f"{look.seconds / 60:5.1f} min  {look.used_bytes / 2**20:6.1f} MB in use"
            f"  {look.rss_bytes / 2**20:6.1f} MB resident"
            f"  {look.descriptors} descriptors  {look.threads} threads  {look.children} children"
            f"  catalog {look.catalog_bytes / 2**20:.1f} MB  | {done}"
        )

    def _loop(self, step: Callable[[random.Random], None], number: int) -> None:
        rng = random.Random(number)
        while not self._stop.is_set():
            try:
                step(rng)
            except _GONE:
                self._count("gone meanwhile")
            except Exception:
                # Whatever it is, it is what this benchmark looks for.
                with self._lock:
                    self.failures.append(traceback.format_exc())
                self._stop.set()

    def _count(self, kind: str, number: int = 1) -> None:
        with self._lock:
            self.done[kind] += number

    # --- what is done

    def index(self, rng: random.Random) -> None:
        """Change the folder, index it, and forget half of what was taken away."""
        self.films.change()
        if rng.random() < 0.5:
            job = self._workspace.start_indexing([str(self.films.folder)])
            job.wait()
            if job.report is None:
                raise RuntimeError(job.error)
            report = job.report
        else:
            with self.open() as library:
                report = index_videos(library, [self.films.folder])
        if report.failed:
            raise RuntimeError(f"could not be indexed: {report.failed}")
        self._count("indexed", len(report.indexed))
        self._count("renamed", len(report.renamed))
        self._count("runs")
        with self.open() as library:
            gone = library.catalog.videos("missing")
            if gone and rng.random() < _FORGET:
                gone = self._forget(library, gone)
            for video in gone:
                library.catalog.delete_video(video.id)
                self._count("deleted")

    def _forget(self, library: Library, gone: list[VideoRecord]) -> list[VideoRecord]:
        """Forget the first of them for good; the others."""
        try:
            forget_videos(library, gone[:1])
        except LibraryBusyError:  # so many read at once; it is finished the next time
            self._count("not yet forgotten")
        else:
            self._count("forgotten")
        return gone[1:]

    def ask(self, rng: random.Random) -> None:
        """Questions as the command line asks them."""
        with self.open() as library:
            engine = SearchEngine(library)
            for _ in range(20):
                engine.ask(_question(rng), rng.choice((1, 10, 50)), flat=rng.random() < 0.3)
                self._count("asked")
                if self._stop.wait(0.2):
                    return

    def page(self, rng: random.Random) -> None:
        """A session of the page: a question, a video with its curve and chapters."""
        workspace = self._workspace
        answer = workspace.ask(_question(rng), 10)
        self._count("asked by the page")
        library = workspace.library_with_encoder()
        for result in answer.results[:1]:
            record = library.catalog.video(result.moment.video_id)
            if record is None or record.status != "searchable":
                self._count("gone meanwhile")
                continue
            self._look_at(library, record, rng)
        workspace.rank_videos(rng.choice(_WORDS), 5)
        self._stop.wait(0.3)

    def _look_at(self, library: Library, record: VideoRecord, rng: random.Random) -> None:
        saliency_curve(library, record.id, rng.choice(("", *_WORDS)))
        chapters_of(library, record)
        self._count("looked at")

    def watch(self, rng: random.Random) -> None:
        """Summarise a video about something and render it."""
        if self._stop.wait(_RENDER_SECONDS):
            return
        with self.open() as library, tempfile.TemporaryDirectory(dir=self.root) as out:
            if not (videos := library.catalog.videos("searchable")):
                return
            record = rng.choice(videos)
            summary = summarize(library, record.id, rng.choice(("", *_WORDS)), ratio=0.5)
            write_summary(library, record, summary, Path(out), ["mp4", "png", "json"])
            self._count("rendered")

    # --- what is left

    def inconsistencies(self) -> list[str]:
        """What is wrong with the library when all is quiet."""
        found = []
        with self.open() as library:
            index_videos(library, [self.films.folder])
            forget_videos(library, [])  # what could not be finished amid all readers
            checked = verify(library)
            found += [f"{gap.kind}: {gap.what}: {gap.cause}" for gap in checked.gaps]
            searchable = {video.path for video in library.catalog.videos("searchable")}
            for odd in sorted(searchable ^ set(self.films.paths())):
                found.append(f"{odd}: searched and not there, or there and not searched")
        return found


def _question(rng: random.Random) -> str:
    one, other = rng.choice(_WORDS), rng.choice(_WORDS)
    return rng.choice((one, one, f"{one} then {other}", f"{one} -{other}", f'said:"{one}"', one))


def growth(looks: list[Look], what: str) -> list[float]:
    """Bytes more an indexed video in the second half: the slope, and its 95 % interval."""
    from scipy.stats import theilslopes

    late = looks[len(looks) // 2 :]
    indexed = np.array([look.indexed for look in late], dtype=float)
    if len(late) < 3 or indexed[0] == indexed[-1]:
        return [float("nan")] * 3
    slope, _, low, high = theilslopes([getattr(look, what) for look in late], indexed)
    return [round(float(value), 1) for value in (slope, low, high)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--library", type=Path, help="work in this folder; else in a temporary one")
    parser.add_argument("--encoder", default="colour", help="colour or builtin")
    parser.add_argument("--out", type=Path, help="every look, and the result, as JSON lines")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if os.environ.get("PYTHONMALLOC") is None:  # read when a process starts
        os.environ |= {"MALLOC_ARENA_MAX": "2", "PYTHONMALLOC": "malloc"}
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.soak", *sys.argv[1:]])
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        root = chosen.library or Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        result = soaked(root, chosen.encoder, chosen.minutes * 60, chosen.seed, chosen.out)
    print(json.dumps(result, indent=2))
    wrong = result["failures"] or result["inconsistencies"] or result["descriptors_leaked"]
    return 1 if wrong or result["children_left"] else 0


def soaked(
    root: Path, encoder: str, seconds: float, seed: int, out: Path | None
) -> dict[str, object]:
    """One soak in `root`, and what came of it."""
    soak = Soak(root, encoder, seed)
    before = Look.now(0.0, 0, soak.catalog)
    soak.run(seconds, lambda line: print(line, file=sys.stderr, flush=True))
    after = Look.now(seconds, soak.done["indexed"], soak.catalog)
    middle, last = soak.looks[len(soak.looks) // 2], soak.looks[-1]
    result: dict[str, object] = {
        "minutes": round(seconds / 60, 2),
        "encoder": encoder,
        "operations": dict(sorted(soak.done.items())),
        "failures": soak.failures,
        "growth_of_used_bytes_a_video": growth(soak.looks, "used_bytes"),
        "growth_of_resident_bytes_a_video": growth(soak.looks, "rss_bytes"),
        "used_mb": [round(each.used_bytes / 2**20, 1) for each in (before, middle, last, after)],
        "resident_mb": [round(each.rss_bytes / 2**20, 1) for each in (before, middle, last, after)],
        "descriptors": [before.descriptors, soak.most("descriptors"), after.descriptors],
        "descriptors_leaked": max(0, after.descriptors - before.descriptors),
        "threads": [before.threads, soak.most("threads"), after.threads],
        "children_left": after.children,
        "catalog_bytes_a_video": round(after.catalog_bytes / max(1, after.indexed), 1),
        "inconsistencies": soak.inconsistencies(),
    }
    if out is not None:
        with out.open("w", encoding="utf-8") as file:
            for each in (*map(asdict, soak.looks), result):
                file.write(json.dumps(each) + "\n")
    return result


if __name__ == "__main__":
    sys.exit(main())
