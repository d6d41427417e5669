"""Where trials happen: one worker's folder and databases, and one trial in them from end to end.

This process must stay one that can be forked at any time: it has imported all that a trial needs
and runs none of it itself. All work is done in children.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import vidsift.store.vectors  # noqa: F401  loads FAISS before anything is forked
from benchmarks.kill_oracle import (
    Place,
    State,
    left_over,
    state_of,
    what_is_wrong,
)
from benchmarks.kill_scenarios import ALL_FILMS, SCENARIOS, make_base, make_films
from benchmarks.write_points import KILLS, Points
from indexer import index_videos
from indexer.scan import fingerprint
from indexer.verify import verify
from vidsift.errors import (
    LibraryError,
    LibraryNotFoundError,
    SchemaError,
    StorageError,
    VidsiftError,
)

__all__ = ["Stage", "Task", "in_child"]

_LIMIT_SECONDS = 240.0
# Gaps that verify may find: caches that lag, files that the next run removes, work that is to do.
_OF_OLD_LIBRARIES = frozenset({"no checksum"})
_OF_A_KILL = _OF_OLD_LIBRARIES | {"leftover", "index", "null", "source"}
_BASE = "base"


@dataclass(frozen=True)
class Task:
    """One trial: at the `number`-th point, or the `number`-th random one, `kind` happens."""

    backend: str
    scenario: str
    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.backend}/{self.scenario}/{self.kind}/{self.number}"


@dataclass(frozen=True)
class _Before:
    """What is known of a scenario: the states before and after, its films, how long it takes."""

    before: State
    after: State
    truth: dict[str, frozenset[str]]
    seconds: float


def in_child(
    work: Callable[[], Any], *, kill_after: float | None = None, limit: float = _LIMIT_SECONDS
) -> dict[str, Any]:
    """Do `work` in a forked process: its `value`, or the `end` that it came to.

    `end` is `done`, `killed` (by its own SIGKILL or after `kill_after` seconds), `hung`, `crashed`.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.setpgid(0, 0)
            silent = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(silent, stream)
            try:
                told = {"end": "done", "value": work()}
            except BaseException:
                told = {"end": "crashed", "value": traceback.format_exc()}
            with os.fdopen(writing, "w") as pipe:
                json.dump(told, pipe, default=list)
        finally:
            os._exit(0)
    os.close(writing)
    content = b""
    until = time.monotonic() + (limit if kill_after is None else kill_after)
    hung = False
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while not hung:
            if select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
                chunk = pipe.read(1 << 16)
                if not chunk:
                    break
                content += chunk
            else:
                hung = True
                os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if hung and kill_after is None:
        _kill_group(child)
        return {"end": "hung", "value": None}
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        return {"end": "crashed", "value": f"signal {os.WTERMSIG(status)}"}
    if os.WIFSIGNALED(status):
        return {"end": "killed", "value": os.WTERMSIG(status)}
    answer: dict[str, Any] = json.loads(content)
    return answer


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


class Stage:
    """One worker: `points` says for each backend how its writes are met."""

    def __init__(self, folder: Path, points: Mapping[str, Points], postgres: str) -> None:
        self._folder = folder
        self._points = points
        self._postgres = postgres
        self._known: dict[tuple[str, str], _Before] = {}
        self.points_seen: dict[str, dict[str, list[str]]] = {backend: {} for backend in points}

    def build(self, scenarios: Sequence[str]) -> None:
        """Make what each scenario begins with, do it once undisturbed, and count its points."""
        self._folder.mkdir(parents=True)
        _require(in_child(partial(make_films, self._folder / "films")))
        for backend in self._points:
            self._clear(backend)
            place = self._place(backend)
            if place.url:
                self._admin(f'CREATE DATABASE "{self._database()}"')
            _require(in_child(partial(make_base, place)))
            self._keep(backend, _BASE)
            for name in scenarios:
                self._build_one(backend, name)

    def _build_one(self, backend: str, name: str) -> None:
        scenario, place = SCENARIOS[name], self._place(backend)
        self._restore(backend, _BASE)
        _require(in_child(partial(scenario.prepare, place)))
        self._keep(backend, name)
        before = _require(in_child(partial(state_of, place)))
        log = self._folder / "points.txt"
        log.unlink(missing_ok=True)
        began = time.monotonic()
        _require(in_child(partial(self._counted, backend, name, log)))
        seconds = time.monotonic() - began
        self.points_seen[backend][name] = log.read_text().splitlines()
        _require(in_child(partial(_finish, place, name)))
        after = _require(in_child(partial(state_of, place)))
        truth = _require(in_child(partial(_truth, self._folder / "films")))
        films = {sha256: frozenset(colours) for sha256, colours in truth.items()}
        known = _Before(before, after, films, seconds)
        if wrong := _require(in_child(partial(_judge, place, known, went_on=True))):
            raise SystemExit(f"{backend}/{name} is wrong undisturbed: {wrong}")
        self._known[backend, name] = known

    def _counted(self, backend: str, name: str, log: Path) -> None:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        place = self._place(backend)
        self._points[backend].arm(place.library, "count", 0, descriptor)
        SCENARIOS[name].run(place)

    def attempt(self, task: Task) -> dict[str, Any]:
        """One trial, from a fresh copy to the last look at it."""
        began = time.monotonic()
        known = self._known[task.backend, task.scenario]
        place = self._place(task.backend)
        self._restore(task.backend, task.scenario)
        kill_after = None
        if task.kind == "random":
            kill_after = random.Random(str(task)).random() * known.seconds * 1.1
        hit = in_child(partial(self._disturbed, task), kill_after=kill_after)
        self._wait_for_server(place)
        wrong: list[str] = []
        outcome = hit["value"] if hit["end"] == "done" else hit["end"]
        message = ""
        if isinstance(outcome, list):
            outcome, message = outcome
        is_kill = task.kind in (*KILLS, "random")
        if hit["end"] in ("hung", "crashed") or (hit["end"] == "killed" and not is_kill):
            wrong.append(f"the work {hit['end']}: {hit['value']}")
        elif outcome not in _ALLOWED and message:
            wrong.append(f"the work ended in {outcome}: {message}")
        if "\n" in message:
            wrong.append(f"an error of several lines: {message}")
        look = in_child(partial(_look, place, task.scenario, known))
        wrong += look["value"] if look["end"] == "done" else [f"looking {look['end']}: {look}"]
        return {
            "trial": str(task),
            "backend": task.backend,
            "scenario": task.scenario,
            "kind": task.kind,
            "number": task.number,
            "outcome": outcome,
            "message": message,
            "wrong": wrong,
            "seconds": round(time.monotonic() - began, 2),
        }

    def _disturbed(self, task: Task) -> Any:
        place = self._place(task.backend)
        if task.kind != "random":
            self._points[task.backend].arm(place.library, task.kind, task.number)
        try:
            SCENARIOS[task.scenario].run(place)
        except VidsiftError as error:
            return [type(error).__name__, str(error)]
        return "done"

    def tidy_up(self) -> None:
        """Drop the databases."""
        if self._postgres:
            for name in (_BASE, "", *SCENARIOS):
                self._admin(f'DROP DATABASE IF EXISTS "{self._database(name)}" WITH (FORCE)')

    def _place(self, backend: str) -> Place:
        url = ""
        if backend != "sqlite":
            url = f"{self._postgres.rsplit('/', 1)[0]}/{self._database()}"
        return Place(self._folder, url)

    def _database(self, template: str = "") -> str:
        name = f"{self._folder.parent.name}_{self._folder.name}_{template}"
        return name.replace(" ", "_").replace("-", "_").rstrip("_")

    def _clear(self, backend: str) -> None:
        place = self._place(backend)
        shutil.rmtree(place.videos, ignore_errors=True)
        shutil.rmtree(place.library, ignore_errors=True)
        if place.url:
            self._admin(f'DROP DATABASE IF EXISTS "{self._database()}" WITH (FORCE)')

    def _keep(self, backend: str, name: str) -> None:
        """Keep what is there as the template `name`."""
        kept = self._folder / "templates" / backend / name
        place = self._place(backend)
        for folder in (place.videos, place.library):
            if folder.exists():
                shutil.copytree(folder, kept / folder.name)
        if place.url:
            self._copy_database(self._database(), self._database(name))

    def _restore(self, backend: str, name: str) -> None:
        self._clear(backend)
        kept = self._folder / "templates" / backend / name
        place = self._place(backend)
        for folder in (place.videos, place.library):
            if (kept / folder.name).exists():
                shutil.copytree(kept / folder.name, folder)
        if place.url:
            self._copy_database(self._database(name), self._database())

    def _copy_database(self, old: str, new: str) -> None:
        self._admin(f'DROP DATABASE IF EXISTS "{new}" WITH (FORCE)')
        self._admin(f'CREATE DATABASE "{new}" TEMPLATE "{old}"')

    def _admin(self, statement: str) -> list[Any]:
        import psycopg

        # Closed before anything is forked: two processes on one connection would end it.
        with psycopg.connect(self._postgres.replace("+psycopg", ""), autocommit=True) as server:
            cursor = server.execute(statement.encode())
            return list(cursor.fetchall()) if cursor.description else []

    def _wait_for_server(self, place: Place) -> None:
        """Until the server has seen that its client is dead, and ended what that had begun."""
        if not place.url:
            return
        query = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{self._database()}'"
        until = time.monotonic() + 30.0
        while self._admin(query) and time.monotonic() < until:
            time.sleep(0.02)


# An error of a disk or a server in words that say what to do; LibraryError: the server has gone.
_ALLOWED = ("done", StorageError.__name__, LibraryError.__name__)


def _require(told: dict[str, Any]) -> Any:
    if told["end"] != "done":
        raise SystemExit(f"preparing {told['end']}: {told['value']}")
    return told["value"]


def _truth(films: Path) -> dict[str, list[str]]:
    return {
        fingerprint(films / name).sha256: sorted({colour for colour, _ in shots})
        for name, shots in ALL_FILMS.items()
    }


def _judge(place: Place, known: _Before, *, went_on: bool = False) -> list[str]:
    versions = [known.after] if went_on else [known.before, known.after]
    ids = [{video["id"] for video in state.values()} for state in (known.before, known.after)]
    try:
        return what_is_wrong(place, versions, frozenset(ids[0] & ids[1]), known.truth)
    except SchemaError:  # of an older program, as a whole: what it holds was looked at
        return []


def _gaps(place: Place, allowed: frozenset[str]) -> list[str]:
    """What `vidsift verify` finds beside what may be."""
    try:
        with place.open(create=False) as library:
            gaps = verify(library).gaps
    except (LibraryNotFoundError, SchemaError):
        return []
    return [f"{gap.what}: {gap.cause} ({gap.kind})" for gap in gaps if gap.kind not in allowed]


def _finish(place: Place, name: str) -> None:
    """Go on with the work to its end; and the run of indexing after it, which sweeps."""
    SCENARIOS[name].run(place)
    with place.open() as library:
        index_videos(library, [place.videos])


def _look(place: Place, name: str, known: _Before) -> list[str]:
    """All that is wrong with what was left, and after it went on."""
    wrong = []
    if SCENARIOS[name].is_whole:
        wrong += [f"left: {each}" for each in [*_judge(place, known), *_gaps(place, _OF_A_KILL)]]
    try:
        _finish(place, name)
    except VidsiftError as error:
        return [*wrong, f"cannot go on: {type(error).__name__}: {error}"]
    wrong += [f"went on: {each}" for each in _judge(place, known, went_on=True)]
    wrong += [f"went on: {each}" for each in _gaps(place, _OF_OLD_LIBRARIES)]
    wrong += [f"orphan: {each}" for each in left_over(place)]
    now = state_of(place)
    if {path: _without_id(video) for path, video in now.items()} != {
        path: _without_id(video) for path, video in known.after.items()
    }:
        wrong.append(f"went on to another end: {now}")
    return wrong


def _without_id(video: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in video.items() if key != "id"}
