"""Searches while another process indexes, replaces and removes: every answer is of one state."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from benchmarks.colour_films import make_colour_film, open_colour_library
from indexer import index_videos
from indexer.commit import commit_video, sweep
from indexer.prototypes import PrototypeBank
from indexer.scan import fingerprint
from indexer.video import Recipe, index_video
from search import SearchEngine
from search.bank import bank_vectors
from search.explain import explain
from summarizer import summarize
from summarizer.chapters import chapters_of
from summarizer.summary import saliency_curve
from vidsift.errors import LibraryBusyError
from vidsift.library import Library
from vidsift.media.subtitles import Sidecars
from vidsift.models.attention import SoftmaxPool
from vidsift.models.encoder import Encoder
from vidsift.types import Answer, IndexedVideo, TextQuery, VideoRecord

# More by `VIDSIFT_TEST_SEARCH_SECONDS=600 pytest tests/test_search_while_indexing.py`.
SECONDS = float(os.environ.get("VIDSIFT_TEST_SEARCH_SECONDS", "6"))
QUESTIONS = ("red", "blue", "red then blue")

State = tuple[tuple[str, float, float, float], ...]


def _state_of(answer: Answer) -> State:
    """What an answer says, so that it can be compared."""
    return tuple(
        sorted(
            (
                result.video.name,
                round(result.moment.span.start, 3),
                round(result.moment.span.end, 3),
                round(result.moment.score, 4),
            )
            for result in answer.results
        )
    )


def _asked(library: Library, question: int) -> Answer:
    return SearchEngine(library).ask(QUESTIONS[question], 50, flat=True)


def _state_asked(question: int, library: Library) -> State:
    return _state_of(_asked(library, question))


def _answers(library: Library) -> list[State]:
    return [_state_asked(question, library) for question in range(len(QUESTIONS))]


# Changes one video of a library without a pause: another content, away, back, moved.
_INDEXER = """
import os, shutil, sys
from pathlib import Path
from benchmarks.colour_films import open_colour_library
from indexer import index_videos
from indexer.commit import commit_video, sweep
from indexer.prototypes import PrototypeBank
from indexer.scan import fingerprint
from indexer.video import Recipe, index_video

root, films, one, two = map(Path, sys.argv[1:])
film, moved = films / "b.mp4", films / "c.mp4"
rounds = 0
with open_colour_library(root) as library:
    while not (root / "stop").exists():
        for source in (two, one):
            shutil.copyfile(source, films / ".new")
            os.replace(films / ".new", film)
            assert not index_videos(library, [films]).failed
        film.rename(moved)
        index_videos(library, [films])
        moved.unlink()
        index_videos(library, [films])
        (gone,) = library.catalog.videos("missing")
        library.catalog.delete_video(gone.id)
        rounds += 1
print(rounds)
"""


@pytest.mark.slow
def test_every_answer_is_of_one_whole_state(tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    make_colour_film(films / "a.mp4", [("red", 2.5), ("green", 2.5), ("blue", 2.5)])
    make_colour_film(one, [("red", 3.0), ("blue", 3.0)])
    make_colour_film(two, [("blue", 2.5), ("red", 4.0), ("green", 2.5)])
    root = tmp_path / "library"
    with open_colour_library(root) as library:
        allowed = _allowed(library, films, one, two)
        assert len({json.dumps(states) for states in allowed}) == len(allowed) == 4
        indexer = subprocess.Popen(
            [sys.executable, "-c", _INDEXER, *map(str, (root, films, one, two))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            seen = _searched(library, allowed, indexer)
        finally:
            (root / "stop").touch()
            said, complaints = indexer.communicate(timeout=120)
    assert indexer.returncode == 0, complaints
    assert int(said) >= 1
    assert len(seen) >= 3  # of the four states
    assert _open_feature_files(root) == []


def _summary(library: Library, query: str) -> object:
    summary = summarize(library, _video(library), query, ratio=0.5)
    return [(each.span, round(each.saliency, 3)) for each in summary.segments]


def _curve(library: Library) -> object:
    times, values = saliency_curve(library, _video(library), "red")
    return times.tolist(), values.round(3).tolist()


def _why(library: Library) -> object:
    term = TextQuery("red", library.encoder.encode_texts(["red"])[0])
    explained = explain(library, [term], _video(library), 2.6)
    return explained.moment, explained.terms[0].similarities.round(3).tolist()


def _video(library: Library) -> VideoRecord:
    return library.video("b.mp4")


_READINGS: dict[str, Callable[[Library], object]] = {
    "question": partial(_state_asked, 0),
    "question of order": partial(_state_asked, 2),
    "summary": partial(_summary, query=""),
    "summary of red": partial(_summary, query="red"),
    "curve": _curve,
    "chapters": lambda library: chapters_of(library, _video(library)),
    "why": _why,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", _READINGS)
def test_a_change_at_any_statement_leaves_what_is_read_whole(name, tmp_path, monkeypatch):
    """The video is replaced, and its old files deleted, before each SQL statement in turn."""
    few = partial(_few_bank_vectors, 20)  # they are asked anew after each change
    monkeypatch.setattr("search.trust.bank_vectors", few)
    films = tmp_path / "films"
    films.mkdir()
    sources = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    make_colour_film(films / "a.mp4", [("green", 2.5), ("red", 2.5)])
    make_colour_film(sources[0], [("red", 3.0), ("blue", 3.0)])
    make_colour_film(sources[1], [("blue", 2.5), ("red", 4.0), ("green", 2.5)])
    root = tmp_path / "library"
    read = _READINGS[name]
    with open_colour_library(root) as other, open_colour_library(root) as library:
        index_videos(other, [films])
        values = [_indexed(other, source, films / "b.mp4") for source in sources]

        def put(number: int) -> None:
            commit_video(other, values[number])
            sweep(other)

        allowed = []
        for number in range(len(values)):
            put(number)
            allowed.append(read(other))
        assert allowed[0] != allowed[1]
        for place in itertools.count(1):
            changed = _read_while_changed(library, read, place, partial(put, place % 2), allowed)
            if not changed:
                break
            # A summary of what the video was must not be kept as one of what it is.
            for summary in other.catalog.summaries(_video(other).id):
                assert summary.segments[-1].span.end <= values[place % 2].duration_seconds + 0.01
        assert place > 5


def _read_while_changed(
    library: Library,
    read: Callable[[Library], object],
    place: int,
    change: Callable[[], None],
    allowed: list[object],
) -> bool:
    """Whether the reading came to the statement before which the change was to be made."""
    statements = itertools.count(1)

    def before(connection: sa.Connection, *_: object) -> None:
        # Nobody else can write while this library does, as where it keeps a summary.
        if not connection.get_execution_options().get("write") and next(statements) == place:
            change()

    engine = library.catalog._engine
    sa.event.listen(engine, "before_cursor_execute", before)
    try:
        assert read(library) in allowed, f"changed before statement {place}"
    finally:
        sa.event.remove(engine, "before_cursor_execute", before)
    return next(statements) > place


def _few_bank_vectors(most: int, encoder: Encoder) -> np.ndarray:
    return bank_vectors(encoder)[:most]


def _indexed(library: Library, source: Path, path: Path) -> IndexedVideo:
    """What indexing `source` at `path` comes to."""
    shutil.copyfile(source, path)
    pooler = SoftmaxPool(library.settings.temperature)
    bank = PrototypeBank.for_encoder(library.encoder, pooler, library.settings.vectors_per_clip)
    recipe = Recipe(library.settings, library.encoder, bank, Sidecars())
    return index_video(path, fingerprint(path), recipe, lambda done, total: None)


def _allowed(library: Library, films: Path, one: Path, two: Path) -> list[list[State]]:
    """The answers in each state in which the library may be found, looked up at leisure."""
    allowed = []
    index_videos(library, [films])
    allowed.append(_answers(library))
    for name, source in (("b.mp4", one), ("b.mp4", two)):
        (films / name).write_bytes(source.read_bytes())
        index_videos(library, [films])
        allowed.append(_answers(library))
    (films / "b.mp4").write_bytes(one.read_bytes())
    index_videos(library, [films])
    (films / "b.mp4").rename(films / "c.mp4")
    index_videos(library, [films])
    allowed.append(_answers(library))
    (films / "c.mp4").unlink()
    index_videos(library, [films])
    (gone,) = library.catalog.videos("missing")
    library.catalog.delete_video(gone.id)
    return allowed


def _searched(
    library: Library, allowed: list[list[State]], indexer: subprocess.Popen[str]
) -> set[int]:
    """Ask for some seconds; which states were seen.

    Two threads share a library, as sessions of the page do, and one opens it for each question.
    """
    seen: set[int] = set()
    wrong: list[object] = []
    end = time.monotonic() + SECONDS

    def goes_on() -> bool:
        now = time.monotonic()
        return not wrong and (now < end or (len(seen) < 3 and now < end + 60))

    def ask(number: int) -> None:
        try:
            while goes_on():
                assert indexer.poll() is None
                number += 1
                question = number % len(QUESTIONS)
                states = [of_all[question] for of_all in allowed]
                if number % 3:
                    state = _state_of(_asked(library, question))
                else:
                    with open_colour_library(library.root) as own:
                        state = _state_of(_asked(own, question))
                if state not in states:
                    wrong.append((QUESTIONS[question], state))
                else:
                    seen.add(states.index(state))
        except BaseException as error:
            wrong.append(error)
            raise

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    return seen


def _open_feature_files(root: Path) -> list[str]:
    """Deleted feature files that this process keeps open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)  # noqa: PTH115 - it may be gone, and is no path then
        except OSError:
            continue
        if str(root) in target and target.endswith("(deleted)"):
            found.append(target)
    return found


def test_a_summary_waits_for_no_writer(tmp_path, monkeypatch):
    """Who writes may wait for those who read: a summary is kept after its reading, if it can be."""
    films = tmp_path / "films"
    films.mkdir()
    make_colour_film(films / "b.mp4", [("red", 3.0), ("blue", 3.0)])
    with open_colour_library(tmp_path / "library") as library:
        index_videos(library, [films])
        before = library.catalog.summaries(_video(library).id)
        kept = library.catalog.save_summary

        def save(*args: object, **options: object) -> None:
            assert not library.catalog.in_snapshot()
            kept(*args, **options)
            raise LibraryBusyError("another process is writing")

        monkeypatch.setattr(library.catalog, "save_summary", save)
        assert summarize(library, _video(library), "red", ratio=0.5).segments
        assert len(library.catalog.summaries(_video(library).id)) == len(before) + 1
