"""Damaged libraries: is anything wrong served, does anything crash, is it found, is it mended?

    python -m benchmarks.damage [--trials 400] [--seed 0] [--out FILE] [--only KIND]
    python -m benchmarks.damage --sectors

A small library of real films (and what is said in them, a tag, a transcript) is damaged in one way
drawn at random, a copy of it for each trial. Then it is asked; verified; repaired; asked again.
What it answers must be what the undamaged library answers without the videos that the answer names
as left out. `--out` keeps each trial on a line: what is there already is not done again. With
`--sectors` every 512 bytes of the catalog are zeroed in turn, and the library is asked.

Served wrong: an answer has a moment, time or score that the right one has not. Lacking: it has only
some of the right one's, and does not say so. Refused: one clear line instead of an answer.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.colour_films import ColourEncoder, make_colour_film
from benchmarks.damage_kinds import DAMAGES, SECTOR, damage
from indexer import index_videos
from indexer.repair import repair_at
from indexer.verify import verify_at
from search import SearchEngine
from vidsift.errors import VidsiftError
from vidsift.library import Library
from vidsift.store.tags import change_tags
from vidsift.types import Cue, LeftOut, SearchResult, Span

__all__ = ["Subject", "Trial", "colour_encoder", "run_trial", "sectors"]

_FILMS = {
    "flag.mp4": (("red", 3.0), ("blue", 3.0)),
    "lawn.mp4": (("green", 4.0),),
    "sun.mp4": (("yellow", 2.0), ("red", 2.0), ("cyan", 2.0)),
    "sky.mp4": (("blue", 3.0), ("magenta", 3.0)),
    "sea.mp4": (("cyan", 5.0),),
}
_SRT = "1\n00:00:00,000 --> 00:00:02,000\n{}\n\n2\n00:00:02,000 --> 00:00:04,000\nto all of you\n"
_QUESTIONS = (
    "red", "green", "blue", "yellow", "cyan", "magenta", '"red" -"blue"', '"red" then "blue"',
    'said:"good morning"', "good evening", "red tag:holiday", "blue longer:5s", "cyan video:sea",
)  # fmt: skip

Answers = dict[str, list[tuple[Any, ...]] | str]


def colour_encoder() -> AbstractContextManager[object]:
    """Whoever opens an encoder inside gets the one that sees colours."""
    return patch("vidsift.library.open_encoder", lambda *_, **__: ColourEncoder())


@dataclass
class Trial:
    """What became of one damaged library; `crashed` is the traceback, if there was one."""

    seed: int
    kind: str
    done: str = ""
    refused: str = ""
    left_out: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    meaningless: bool = False
    mended: str = ""
    crashed: str = ""


class Subject:
    """The library that is damaged, in `folder / "library"`, and what it answers undamaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reference: dict[frozenset[int], Answers] = {}

    @property
    def videos(self) -> Path:
        return self.folder / "videos"

    def make(self) -> None:
        """Films, the library, one of an earlier time and another one, and one with a log."""
        self.videos.mkdir(parents=True)
        for number, (name, shots) in enumerate(_FILMS.items()):
            make_colour_film(self.videos / name, shots)
            said = ("good morning", "good evening")[number % 2]
            if number < 3:
                self.videos.joinpath(name).with_suffix(".srt").write_text(_SRT.format(said))
        root = self.folder / "library"
        with Library.open(root, create=True, encoder="colour") as library:
            index_videos(library, [self.videos / "flag.mp4", self.videos / "sea.mp4"])
            shutil.copytree(root, self.folder / "earlier")
            index_videos(library, [self.videos])
            _talk(library)
        with Library.open(self.folder / "other", create=True, encoder="colour") as library:
            index_videos(library, [self.videos / "sky.mp4"])
        with Library.open(root) as library:
            ask(library)  # makes what is kept on disk
        shutil.copytree(root, self.folder / "reference")
        self._make_log(root)

    def _make_log(self, root: Path) -> None:
        """A copy of the library whose newest change is only in the log."""
        with Library.open(root) as library:
            flag = library.video("flag.mp4")
            change_tags(library.catalog, [flag.id], add=["later"])
            shutil.copytree(root, self.folder / "logged")
            change_tags(library.catalog, [flag.id], remove=["later"])

    def copy(self, to: Path, kind: str) -> Path:
        """A copy to be damaged."""
        source = "logged" if kind.startswith("log") else "library"
        shutil.copytree(self.folder / source, to / "library")
        for name in ("other", "earlier"):
            if not (to / name).exists():
                shutil.copytree(self.folder / name, to / name)
        return to / "library"

    def right(self, left_out: frozenset[int]) -> Answers:
        """What the undamaged library answers without these videos."""
        if left_out not in self._reference:
            with Library.open(self.folder / "reference") as library:
                library.catalog.leave_out(LeftOut(each, Path(), "") for each in left_out)
                self._reference[left_out] = ask(library)
        return self._reference[left_out]

    @cached_property
    def rows(self) -> dict[str, list[Any]]:
        """All rows of the undamaged catalog."""
        return rows_of(self.folder / "library")


def _talk(library: Library) -> None:
    """What people add: a tag and a transcript."""
    sky, sun = library.video("sky.mp4"), library.video("sun.mp4")
    change_tags(library.catalog, [sun.id], add=["holiday"])
    cue = Cue(Span(1.0, 2.5), "good morning from above", "speech en")
    vector = library.encoder.encode_texts([cue.text])
    library.catalog.save_speech(sky.id, [cue], vector, model="small")
    library.index(write=True)


def ask(library: Library) -> Answers:
    """What a library answers to every question; what it says where it will not."""
    engine = SearchEngine(library)
    answers: Answers = {}
    for question in _QUESTIONS:
        try:
            answers[question] = [_plain(each) for each in engine.ask(question, 20).results]
        except VidsiftError as error:
            answers[question] = str(error).partition(":")[0]
    answers["videos"] = [
        (each.path.name, round(each.score, 4)) for each in engine.rank_videos("red", 10)
    ]
    return answers


def _plain(result: SearchResult) -> tuple[Any, ...]:
    moment, cue = result.moment, result.cue
    return (
        result.video.name,
        round(moment.span.start, 3),
        round(moment.span.end, 3),
        round(moment.peak_seconds, 3),
        round(moment.score, 4),
        None if cue is None else cue.text,
        len(result.parts),
        len(result.duplicates),
    )


def rows_of(root: Path) -> dict[str, list[Any]]:
    """Every row of a catalog that says something of a video."""
    tables = ("videos", "shots", "clips", "clip_vectors", "summaries", "cues", "tags", "library")
    with closing(sqlite3.connect(root / "catalog.sqlite3")) as connection:
        connection.text_factory = bytes
        return {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()
            for table in tables
        }


def run_trial(subject: Subject, kind: str, seed: int, scratch: Path) -> Trial:
    """Damage a copy in one way and see what becomes of it."""
    trial = Trial(seed, kind)
    root = subject.copy(scratch, kind)
    trial.done = damage(root, kind, np.random.default_rng(seed))
    try:
        _ask_damaged(subject, root, trial)
        _verify(subject, root, trial)
        _repair(subject, root, trial)
    except Exception:  # which is what is being looked for
        trial.crashed = traceback.format_exc()
    return trial


def sectors(subject: Subject, scratch: Path, first: int = 0, every: int = 1) -> Iterator[Trial]:
    """Zero the sectors of the catalog one after the other, each in a copy that is asked."""
    size = (subject.folder / "library" / "catalog.sqlite3").stat().st_size
    for place in range(first * SECTOR, size, every * SECTOR):
        trial = Trial(place, "a sector of the catalog")
        root = subject.copy(scratch / str(place), trial.kind)
        with (root / "catalog.sqlite3").open("r+b") as stream:
            stream.seek(place)
            stream.write(bytes(min(SECTOR, size - place)))
        try:
            _ask_damaged(subject, root, trial)
        except Exception:
            trial.crashed = traceback.format_exc()
        shutil.rmtree(scratch / str(place))
        yield trial


def _ask_damaged(subject: Subject, root: Path, trial: Trial) -> None:
    try:
        with Library.open(root) as library:
            found = ask(library)
            left_out = {each.video_id for each in library.catalog.left_out}
            trial.left_out = [each.reason for each in library.catalog.left_out]
    except VidsiftError as error:
        trial.refused = str(error)
        return
    right = subject.right(frozenset(left_out))
    for question, answer in found.items():
        wanted = right[question]
        if answer == wanted:
            continue
        if isinstance(answer, str):
            # The only question whose refusal would be wrong is one that is answered otherwise.
            trial.refused = trial.refused or f"{question}: {answer}"
        elif not isinstance(wanted, str) and set(answer) <= set(wanted):
            trial.lacking.append(f"{question}: {answer} of {wanted}")
        else:
            trial.wrong.append(f"{question}: {answer}, not {wanted}")


def _verify(subject: Subject, root: Path, trial: Trial) -> None:
    try:
        found = verify_at(root)
    except VidsiftError as error:
        trial.gaps = [f"refused: {error}"]
        return
    trial.gaps = [f"{gap.kind}: {gap.what}: {gap.cause}" for gap in found.gaps]
    if not found.gaps:
        # Then what is stored must say the same as before.
        rows = rows_of(root)
        trial.meaningless = trial.kind.startswith("log") or rows == subject.rows


def _repair(subject: Subject, root: Path, trial: Trial) -> None:
    try:
        left = repair_at(root).left
    except VidsiftError as error:
        trial.mended = f"refused: {error}"
        return
    with Library.open(root) as library:
        answers = ask(library)
        clean = not left.gaps
        if clean and answers == subject.right(frozenset()):
            trial.mended = "yes"
            return
        index_videos(library, [subject.videos])
    left = verify_at(root)
    with Library.open(root) as library:
        answers = ask(library)
    if left.gaps:
        trial.mended = f"no: {[gap.cause for gap in left.gaps]}"
    elif answers == subject.right(frozenset()):
        trial.mended = "by indexing the folder"
    else:
        right = subject.right(frozenset())
        differing = [question for question in right if right[question] != answers[question]]
        trial.mended = f"all but {', '.join(differing)}"


def trials(
    subject: Subject, seeds: Sequence[int], kinds: Sequence[str], out: Path | None
) -> Iterator[Trial]:
    """Every trial that is not in `out` yet, each written there when it is done."""
    known: dict[int, dict[str, Any]] = {}
    if out is not None and out.exists():
        known = {each["seed"]: each for each in map(json.loads, out.read_text().splitlines())}
    for seed in seeds:
        if seed in known:
            yield Trial(**known[seed])
            continue
        kind = kinds[seed % len(kinds)]
        with tempfile.TemporaryDirectory(dir=subject.folder) as scratch:
            trial = run_trial(subject, kind, seed, Path(scratch))
        if out is not None:
            with out.open("a") as stream:
                stream.write(json.dumps(asdict(trial)) + "\n")
        yield trial


def summary(done: Sequence[Trial]) -> str:
    """The counts, of all and of each kind."""
    lines = [f"{'':28} tried found nothing refused left-out lacking WRONG CRASHED mended index not"]
    groups = {"all": list(done)}
    for trial in done:
        groups.setdefault(trial.kind, []).append(trial)
    for name, own in groups.items():
        mended = Counter(trial.mended.partition(":")[0].partition(" ")[0] for trial in own)
        lines.append(
            f"{name:28} {len(own):5} {sum(bool(t.gaps) for t in own):5}"
            f" {sum(t.meaningless for t in own):7} {sum(bool(t.refused) for t in own):7}"
            f" {sum(bool(t.left_out) for t in own):8} {sum(bool(t.lacking) for t in own):7}"
            f" {sum(bool(t.wrong) for t in own):5} {sum(bool(t.crashed) for t in own):7}"
            f" {mended['yes']:6} {mended['by']:5}"
            f" {len(own) - mended['yes'] - mended['by']:3}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the trials and print the counts, and every trial that went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", help="kinds that begin so")
    parser.add_argument("--sectors", action="store_true", help="each of the catalog, asked alone")
    arguments = parser.parse_args()
    kinds = [kind for kind in DAMAGES if kind.startswith(arguments.only or "")]
    with tempfile.TemporaryDirectory() as scratch, colour_encoder():
        subject = Subject(Path(scratch) / "subject")
        subject.make()
        seeds = range(arguments.seed, arguments.seed + arguments.trials)
        done = []
        for trial in (
            sectors(subject, Path(scratch))
            if arguments.sectors
            else trials(subject, seeds, kinds, arguments.out)
        ):
            done.append(trial)
            unseen = not (trial.gaps or trial.meaningless or arguments.sectors)
            if trial.wrong or trial.crashed or unseen or trial.lacking:
                print(json.dumps(asdict(trial), indent=1), file=sys.stderr, flush=True)
    print(summary(done))


if __name__ == "__main__":
    main()
