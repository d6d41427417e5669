"""Kill vidsift while it writes, at every point, and see whether the library is whole afterwards.

    python -m benchmarks.kill_trials --trials 3200 --errors 1500 --out record.jsonl [--workers 2]

A trial copies a small library of real films (`kill_scenarios`), does one piece of real work in a
child process and kills that with SIGKILL: at the n-th point at which it writes (before it, after
it, in the middle of it; see `write_points`), or at a random moment. Then `kill_oracle` looks at
what is left, the work goes on to its end, and the library must be as if nothing had happened,
without an orphan. A trial with an error in place of the kill (no space, input/output error, no
permission, a server that goes away) must end in one clear StorageError, or go on where that write
is no loss.

SQLite is met at its system calls, where there is a C compiler; with --postgres URL (else
VIDSIFT_TEST_POSTGRES_URL) databases of a server are met around their statements and commits. Each
trial is one line of the record; what is there is not done again, so that the run can be stopped at
any time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.kill_scenarios import SCENARIOS
from benchmarks.kill_stage import Stage, Task, in_child
from benchmarks.write_points import KILLS, Points, PythonPoints, load_shim

__all__ = ["main", "planned", "recorded"]

_RANDOM_SHARE = 0.2  # of the kills, at least
_SERVER_SHARE = 0.2  # of the kills and errors


def planned(
    points: Mapping[str, Points],
    seen: dict[str, dict[str, list[str]]],
    kills: int,
    errors: int,
    seed: int,
) -> list[Task]:
    """What is to be tried, given the points seen in each backend's scenarios; in random order."""
    rng = random.Random(seed)
    chosen: list[Task] = []
    for backend, of_scenario in seen.items():
        share = 1 - _SERVER_SHARE if backend == "sqlite" else _SERVER_SHARE
        share = 1.0 if len(seen) == 1 else share
        every = [
            Task(backend, scenario, kind, number)
            for scenario, calls in of_scenario.items()
            for number, call in enumerate(calls, 1)
            for kind in points[backend].kills_at(call)
        ]
        failing = [
            Task(backend, scenario, kind, number)
            for scenario, calls in of_scenario.items()
            for number, call in enumerate(calls, 1)
            for kind in points[backend].errors_at(call, number)
        ]
        rng.shuffle(every)
        rng.shuffle(failing)
        every = every[: round(share * kills * (1 - _RANDOM_SHARE))]
        names = list(of_scenario)
        at_random = [
            Task(backend, names[number % len(names)], "random", number)
            for number in range(round(share * kills) - len(every))
        ]
        chosen += every + at_random + failing[: round(share * errors)]
    rng.shuffle(chosen)
    return chosen


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=3200, help="kills in all")
    parser.add_argument("--errors", type=int, default=1500, help="errors in all")
    parser.add_argument("--out", type=Path, required=True, help="the record, JSON lines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder to work in (default: in memory)")
    parser.add_argument("--scenarios", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument(
        "--postgres", default=os.environ.get("VIDSIFT_TEST_POSTGRES_URL", ""), metavar="URL"
    )
    parser.add_argument("--no-shim", action="store_true", help="Python's own points alone")
    return parser.parse_args()


def main() -> None:
    """Try what is not in the record yet, and print the counts of all that is."""
    arguments = _parsed()
    for name in list(os.environ):  # nobody's own settings
        if name.startswith("VIDSIFT_") and not name.startswith("VIDSIFT_TEST_"):
            del os.environ[name]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    shim = None if arguments.no_shim else load_shim(arguments.out.parent)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="kills-", dir=arguments.work or (memory if memory.is_dir() else None)
    ) as folder:
        os.environ["VIDSIFT_CACHE"] = f"{folder}/cache"
        _try_all(arguments, Path(folder), shim)
    records = recorded(arguments.out)
    _print_counts(records)
    if any(record["wrong"] for record in records):
        sys.exit(1)


def _try_all(arguments: argparse.Namespace, work: Path, shim: Points | None) -> None:
    points: dict[str, Points] = {"sqlite": shim or PythonPoints()}
    if arguments.postgres:
        points["postgresql"] = PythonPoints(of_server=True)
    stages = [
        Stage(work / f"worker-{number}", points, arguments.postgres)
        for number in range(arguments.workers)
    ]
    # In children throughout: this process must stay one that can be forked.
    for stage in stages:
        stage.build(arguments.scenarios)
    counts = (arguments.trials, arguments.errors, arguments.seed)
    tasks = planned(points, stages[0].points_seen, *counts)
    done = {record["trial"] for record in recorded(arguments.out)}
    due = [task for task in tasks if str(task) not in done]
    for backend, of_scenario in stages[0].points_seen.items():
        points_of = ", ".join(f"{name} {len(calls)}" for name, calls in of_scenario.items())
        print(f"points of {backend}: {points_of}", file=sys.stderr)
    print(f"{len(tasks)} trials planned, {len(due)} to do", file=sys.stderr, flush=True)
    commit = _commit()
    with arguments.out.open("a+b") as stream:
        if stream.tell() and not arguments.out.read_bytes().endswith(b"\n"):
            stream.write(b"\n")  # the line before was cut short
    children = []
    for number, stage in enumerate(stages):
        child = os.fork()
        if child == 0:
            try:
                _work(stage, due[number :: len(stages)], arguments.out, commit)
            finally:
                os._exit(0)
        children.append(child)
    try:
        for child in children:
            os.waitpid(child, 0)
    finally:
        for stage in stages:
            in_child(stage.tidy_up)


def _work(stage: Stage, tasks: list[Task], out: Path, commit: str) -> None:
    began = time.monotonic()
    for number, task in enumerate(tasks, 1):
        record = stage.attempt(task) | {"commit": commit}
        with out.open("a") as stream:  # a line at once, so that workers do not mix theirs
            stream.write(json.dumps(record) + "\n")
        if record["wrong"]:
            print(f"WRONG {task}: {record['wrong']}", file=sys.stderr, flush=True)
        if number % 50 == 0:
            rate = (time.monotonic() - began) / number
            left = rate * (len(tasks) - number) / 60
            print(f"{number} done, {rate:.2f} s each, {left:.0f} min left", file=sys.stderr)


def recorded(out: Path) -> list[dict[str, Any]]:
    """The trials of a record; a line that a kill of this very process cut short is left out."""
    if not out.exists():
        return []
    records = []
    for line in out.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def _commit() -> str:
    root = Path(__file__).parent.parent
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "-C", str(root), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _print_counts(records: list[dict[str, Any]]) -> None:
    """Trials by backend and scenario, and by what happened; the last number: what was wrong."""
    groups = ("at a point", "random", "error")
    counts = Counter((r["backend"], r["scenario"], _group(r["kind"])) for r in records)
    wrong = Counter((r["backend"], r["scenario"]) for r in records if r["wrong"])
    print(f"| backend | scenario | {' | '.join(groups)} | inconsistent |")
    print("|---|---|---|---|---|---|")
    for backend, scenario in sorted({key[:2] for key in counts}):
        numbers = " | ".join(str(counts[backend, scenario, group]) for group in groups)
        print(f"| {backend} | {scenario} | {numbers} | {wrong[backend, scenario]} |")
    kills = [record for record in records if _group(record["kind"]) != "error"]
    killed = sum(record["outcome"] == "killed" for record in kills)
    print(f"{len(kills)} kill trials ({killed} died in the middle), {len(records) - len(kills)}"
          f" error trials; {sum(bool(r['wrong']) for r in records)} inconsistent")  # fmt: skip
    outcomes = Counter(r["outcome"] for r in records if _group(r["kind"]) == "error")
    print("errors ended in: " + ", ".join(f"{n} {o}" for o, n in outcomes.most_common()))


def _group(kind: str) -> str:
    if kind in KILLS:
        return "at a point"
    return "random" if kind == "random" else "error"


if __name__ == "__main__":
    main()
