"""Watching folders with a real observer, real films, a real server and real commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from indexer import IndexReport, alerts, arrivals, index_videos
from indexer import watch as watching
from indexer.alerts import Delivery
from indexer.arrivals import open_for_writing
from indexer.folders import WatchedFolders
from indexer.watch import Listener, watch
from vidsift.errors import ConfigError, VidsiftError
from vidsift.library import Library
from vidsift.store import standing
from vidsift.store.standing import Alert, add_question

INTERVAL = 0.25
MakeFilm = Callable[..., Path]


class Heard:
    """What a listener was told; ends the watching as soon as `until` holds of it."""

    def __init__(self, until: Callable[[Heard], object]) -> None:
        self.said: list[str] = []
        self.reports: list[IndexReport] = []
        self.alerts: list[Alert] = []
        self._until = until

    def listener(self) -> Listener:
        def told(where: list[Any]) -> Callable[[Any], None]:
            def add(what: Any) -> None:
                where.append(what)
                if self._until(self):
                    raise KeyboardInterrupt

            return add

        return Listener(told(self.said), told(self.reports), told(self.alerts))

    @property
    def indexed(self) -> list[str]:
        return [path.name for report in self.reports for path in report.indexed]

    @property
    def failed(self) -> list[str]:
        return [path.name for report in self.reports for path, _ in report.failed]

    def has_said(self, part: str) -> bool:
        return any(part in line for line in self.said)


@dataclass(frozen=True)
class Told:
    """In place of a deed: the next one waits until this holds of what was told."""

    holds: Callable[[Heard], object]


def watch_until(
    library: Library,
    folders: Sequence[Path],
    until: Callable[[Heard], object],
    *deeds: Callable[[], object] | Told,
    poll: bool = False,
) -> Heard:
    """Watch while the deeds are done, each after a moment, until something has been told."""
    heard = Heard(until)

    def act() -> None:
        for deed in deeds:
            if isinstance(deed, Told):
                patience = time.monotonic() + 60
                while not deed.holds(heard) and time.monotonic() < patience:
                    time.sleep(0.02)
            else:
                time.sleep(2 * INTERVAL)
                deed()

    thread = threading.Thread(target=act)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        watch(library, folders, heard.listener(), poll=poll, interval=INTERVAL)
    thread.join()
    return heard


def watch_once(library: Library, *folders: Path) -> tuple[bool, Heard]:
    heard = Heard(lambda _: False)
    well = watch(library, folders, heard.listener(), once=True, interval=INTERVAL)
    return well, heard


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture(scope="module")
def films(make_film: MakeFilm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    # Magenta is a colour that the bank of unrelated questions does not name.
    for colour in ("magenta", "blue"):
        make_film(folder / f"{colour}.mp4", [(colour, 2)])
    return folder


@pytest.fixture
def film(films: Path, tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir(exist_ok=True)
    return Path(shutil.copy(films / "magenta.mp4", tmp_path / "made"))


@pytest.fixture
def blue(films: Path, tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir(exist_ok=True)
    return Path(shutil.copy(films / "blue.mp4", tmp_path / "made"))


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_TICK", 0.1)


# Files that come


def test_what_is_there_and_what_comes(
    colour_library: Library, folder: Path, film: Path, blue: Path
) -> None:
    os.utime(shutil.copy(film, folder / "old.mp4"), (0, 0))
    heard = watch_until(
        colour_library,
        [folder],
        lambda heard: "new.mp4" in heard.indexed,
        lambda: (folder / "sub" / "deep").mkdir(parents=True),
        lambda: shutil.copy(blue, folder / "sub" / "deep" / "new.mp4"),
    )
    assert heard.indexed == ["old.mp4", "new.mp4"]
    assert [video.status for video in colour_library.catalog.videos()] == ["searchable"] * 2


def test_a_file_that_is_held_open_is_waited_for(
    colour_library: Library, folder: Path, film: Path
) -> None:
    whole = threading.Event()
    content = film.read_bytes()

    def write_slowly() -> None:
        # The whole content is there from the start: only the open file tells that more may come.
        with (folder / "new.mp4").open("wb") as file:
            file.write(content)
            file.flush()
            assert open_for_writing([folder / "new.mp4"]) == {folder / "new.mp4"}
            time.sleep(8 * INTERVAL)
            whole.set()

    def until(heard: Heard) -> bool:
        assert whole.is_set() or not heard.indexed
        return bool(heard.indexed)

    watch_until(colour_library, [folder], until, write_slowly)
    assert open_for_writing([folder / "new.mp4"]) == set()


def test_a_file_that_comes_in_pieces_is_waited_for(
    colour_library: Library, folder: Path, film: Path
) -> None:
    content = film.read_bytes()  # its index is at its end

    def append(begin: int, end: int) -> Callable[[], object]:
        def write() -> None:
            with (folder / "new.mp4").open("ab") as file:
                file.write(content[begin:end])

        return write

    half = len(content) // 2
    heard = watch_until(
        colour_library,
        [folder],
        lambda heard: heard.indexed,
        append(0, half),
        Told(lambda heard: len(heard.said) == 1),
        append(half, half + 9),
        Told(lambda heard: len(heard.said) == 2),
        append(half + 9, len(content)),
    )
    assert heard.has_said("not whole yet, waiting for it: is not a video, or an mp4 that was never")
    assert heard.failed == []
    assert colour_library.video("new").duration_seconds == pytest.approx(2.0)


@pytest.mark.slow
def test_a_file_that_never_becomes_whole_is_reported_and_left(
    colour_library: Library, folder: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "_PROBES", 3)  # 7 intervals; 5 would take 31
    (folder / "bad.mp4").write_bytes(film.read_bytes()[:400])
    well, heard = watch_once(colour_library, folder)
    assert not well
    assert heard.failed == ["bad.mp4"]
    assert len(heard.said) == 1
    assert colour_library.video("bad").status == "failed"
    shutil.copy(film, folder / "bad.mp4")
    well, heard = watch_once(colour_library, folder)
    assert (well, heard.indexed) == (True, ["bad.mp4"])


def test_names_of_unfinished_files_and_hidden_ones_are_left_alone(
    colour_library: Library, folder: Path, film: Path
) -> None:
    def copy(name: str) -> Callable[[], object]:
        def do() -> None:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(film, folder / name)

        return do

    heard = watch_until(
        colour_library,
        [folder],
        lambda heard: "new.mp4" in heard.indexed,
        copy("new.mp4.part"),
        copy(".hidden.mp4"),
        copy(".trash/magenta.mp4"),
        lambda: (folder / "new.mp4.part").rename(folder / "new.mp4"),
    )
    assert heard.indexed == ["new.mp4"]
    assert len(colour_library.catalog.videos()) == 1


def test_the_librarys_own_films_are_left_alone(
    colour_library: Library, film: Path, blue: Path
) -> None:
    parent = colour_library.root.parent / "made"
    assert film.parent == parent
    colour_library.skims.mkdir()
    heard = watch_until(
        colour_library,
        [colour_library.root.parent],
        lambda heard: "last.mp4" in heard.indexed,
        lambda: shutil.copy(blue, colour_library.skims / "skim.mp4"),
        lambda: shutil.copy(blue, parent / "last.mp4"),
    )
    assert sorted(heard.indexed) == ["blue.mp4", "last.mp4", "magenta.mp4"]


def test_a_burst_is_one_run(colour_library: Library, folder: Path, film: Path) -> None:
    def burst() -> None:
        for number in range(6):
            shutil.copy(film, folder / f"{number}.mp4")
            time.sleep(INTERVAL / 4)

    heard = watch_until(colour_library, [folder], lambda heard: len(heard.indexed) == 6, burst)
    assert len([report for report in heard.reports if report.indexed]) <= 2


@pytest.mark.parametrize("poll", [False, True])
def test_renamed_and_deleted(
    colour_library: Library, folder: Path, film: Path, blue: Path, poll: bool
) -> None:
    os.utime(shutil.copy(film, folder / "magenta.mp4"), (0, 0))
    os.utime(shutil.copy(blue, folder / "blue.mp4"), (0, 0))
    index_videos(colour_library, [folder])
    ids = {video.path.stem: video.id for video in colour_library.catalog.videos()}

    def gone(heard: Heard) -> int:
        return sum(len(report.missing) for report in heard.reports)

    def renamed(heard: Heard) -> list[tuple[Path, Path]]:
        return [pair for report in heard.reports for pair in report.renamed]

    heard = watch_until(
        colour_library,
        [folder],
        lambda heard: gone(heard) == 2 and renamed(heard),
        Told(lambda heard: heard.reports),
        lambda: (folder / "magenta.mp4").rename(folder / "crimson.mp4"),
        lambda: (folder / "blue.mp4").unlink(),
        poll=poll,
    )
    assert renamed(heard) == [(folder / "magenta.mp4", folder / "crimson.mp4")]
    assert heard.indexed == []
    videos = {
        video.path.name: (video.id, video.status) for video in colour_library.catalog.videos()
    }
    assert videos == {
        "crimson.mp4": (ids["magenta"], "searchable"),
        "blue.mp4": (ids["blue"], "missing"),
    }


def test_a_folder_that_is_renamed_keeps_its_videos(
    colour_library: Library, folder: Path, film: Path
) -> None:
    (folder / "a").mkdir()
    os.utime(shutil.copy(film, folder / "a" / "magenta.mp4"), (0, 0))
    heard = watch_until(
        colour_library,
        [folder],
        lambda heard: any(report.renamed for report in heard.reports),
        Told(lambda heard: heard.indexed),
        lambda: (folder / "a").rename(folder / "b"),
    )
    assert heard.indexed == ["magenta.mp4"]
    [video] = colour_library.catalog.videos()
    assert (video.path, video.status) == (folder / "b" / "magenta.mp4", "searchable")


def test_a_folder_that_vanishes_is_waited_for(
    colour_library: Library, folder: Path, film: Path, blue: Path
) -> None:
    os.utime(shutil.copy(film, folder / "magenta.mp4"), (0, 0))
    elsewhere = folder.with_name("elsewhere")

    def unmount() -> None:
        folder.rename(elsewhere)
        folder.mkdir()  # what a mount leaves behind

    def mount() -> None:
        assert colour_library.video("magenta").status == "searchable"
        shutil.copy(blue, elsewhere / "blue.mp4")
        folder.rmdir()
        elsewhere.rename(folder)

    heard = watch_until(
        colour_library,
        [folder],
        lambda heard: "new.mp4" in heard.indexed,
        Told(lambda heard: heard.indexed == ["magenta.mp4"]),
        unmount,
        Told(lambda heard: heard.has_said("has gone")),
        mount,
        Told(lambda heard: heard.has_said("is back") and "blue.mp4" in heard.indexed),
        lambda: shutil.copy(film, folder / "new.mp4"),
    )
    assert heard.said == [
        f"{folder}: has gone; waiting for it to come back",
        f"{folder}: is back",
    ]
    assert heard.indexed == ["magenta.mp4", "blue.mp4", "new.mp4"]
    assert not any(report.missing for report in heard.reports)


def test_a_library_that_is_being_written_to_is_waited_for(
    colour_library: Library, folder: Path, film: Path
) -> None:
    free = threading.Event()

    def hold() -> None:
        with Library.open(colour_library.root).writing():
            shutil.copy(film, folder / "new.mp4")
            time.sleep(12 * INTERVAL)  # longer than a run waits on its own
            free.set()

    def until(heard: Heard) -> bool:
        assert free.is_set() or not heard.indexed
        return bool(heard.indexed)

    heard = watch_until(colour_library, [folder], until, hold)
    assert len(heard.said) == 1
    assert "another vidsift is writing to this library" in heard.said[0]


def test_folders_that_cannot_be_watched(
    colour_library: Library, tmp_path: Path, film: Path
) -> None:
    with pytest.raises(VidsiftError, match=r"nowhere: no such folder"):
        watch_once(colour_library, tmp_path / "nowhere")
    with pytest.raises(VidsiftError, match=r"magenta\.mp4: is not a folder"):
        watch_once(colour_library, film)
    inner = WatchedFolders([tmp_path / "made", tmp_path, tmp_path], poll=False, interval=1.0)
    assert inner.here == [tmp_path]


def test_many_files_keep_no_question_waiting(
    colour_library: Library, folder: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_BATCH", 1)
    add_question(colour_library.catalog, "magenta", 0.01)
    for number in range(3):
        copy = folder / f"{number}.mp4"
        copy.write_bytes(film.read_bytes() + b"\0" * number)
        os.utime(copy, (0, 0))
    heard = watch_until(colour_library, [folder], lambda heard: heard.alerts)
    assert (heard.said, heard.indexed) == (["3 files to index"], ["0.mp4"])
    well, heard = watch_once(colour_library, folder)
    assert (well, heard.indexed, len(heard.alerts)) == (True, ["1.mp4", "2.mp4"], 2)


# Standing questions and where their alerts go


class Receiver(BaseHTTPRequestHandler):
    """Answers with the next of `answers`, else 200, and keeps what was posted to it."""

    posted: ClassVar[list[dict[str, Any]]]
    answers: ClassVar[list[int]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json"
        self.posted.append(json.loads(body))
        code = self.answers.pop(0) if self.answers else 200
        self.send_response(code)
        if 300 <= code < 400:
            self.send_header("Location", "file:///etc/passwd")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[str, type[Receiver]]]:
    """A server on this machine: its URL, and what it has got."""

    class Own(Receiver):
        posted: ClassVar[list[dict[str, Any]]] = []
        answers: ClassVar[list[int]] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Own) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook?key=secret", Own
        server.shutdown()
        thread.join()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels that fail rest for 0.1 s at first."""
    monkeypatch.setattr(alerts, "_FIRST_PAUSE", 0.1)


def configured(library: Library, **settings: str) -> Library:
    library.settings = library.settings.model_copy(update=settings)
    return library


def test_a_match_is_told_and_handed_over_once(
    colour_library: Library, folder: Path, film: Path, blue: Path, receiver, tmp_path: Path
) -> None:
    url, posts = receiver
    got = tmp_path / "got $(touch x).json"
    library = configured(colour_library, alert_webhook=url, alert_command=f"tee -a '{got}'")
    os.utime(shutil.copy(film, folder / "old.mp4"), (0, 0))
    index_videos(library, [folder])
    question = "magenta ; touch hacked ; $(touch hacked) `touch hacked`"
    add_question(library.catalog, question, 0.01)

    (folder / "new$(touch hacked).mp4").write_bytes(film.read_bytes() + b"\0" * 8)
    shutil.copy(film, folder / "copy of old.mp4")
    shutil.copy(blue, folder / "blue.mp4")
    well, heard = watch_once(library, folder)
    assert well
    [alert] = heard.alerts
    assert (alert.question, alert.video.name) == (question, "new$(touch hacked).mp4")
    assert (alert.span.start, alert.span.end) == pytest.approx((0.0, 2.0), abs=0.2)
    [posted] = posts.posted
    assert posted["question"] == question
    assert posted["video"] == str(alert.video)
    assert posted["alert_id"] == alert.id
    assert posted["start_seconds"] <= posted["peak_seconds"] <= posted["end_seconds"]
    assert posted["false_alarm_rate"] <= 0.01
    assert Path(posted["thumbnail"]).is_file()
    assert json.loads(got.read_text()) == posted
    assert not list(Path.cwd().glob("hacked*"))

    well, heard = watch_once(library, folder)
    assert (well, heard.alerts, len(posts.posted)) == (True, [], 1)
    [kept] = standing.alerts(library.catalog)
    assert (kept.waiting_for, kept.delivered_at is not None) == ((), True)


@pytest.mark.usefixtures("quick")
def test_what_is_not_handed_over_is_tried_again(
    colour_library: Library, folder: Path, film: Path, receiver, tmp_path: Path
) -> None:
    url, posts = receiver
    switch = tmp_path / "switch"
    library = configured(colour_library, alert_webhook=url, alert_command=f"test -e '{switch}'")
    add_question(library.catalog, "magenta", 0.01)
    shutil.copy(film, folder / "new.mp4")
    posts.answers[:] = [500, 302]
    well, heard = watch_once(library, folder)
    assert not well  # the command never took it
    assert len(posts.posted) == 3
    assert heard.has_said("not handed to the webhook: http://127.0.0.1 answered 500")
    assert heard.has_said("answered 302")  # and is not followed to file:
    assert heard.has_said("not handed to the command: test: ended with 1")
    assert not heard.has_said("secret")
    [waiting] = standing.alerts(library.catalog)
    assert waiting.waiting_for == ("command",)

    switch.touch()
    well, heard = watch_once(library, folder)
    assert (well, heard.said, heard.alerts, len(posts.posted)) == (True, [], [], 3)
    assert standing.alerts(library.catalog, waiting=True) == []


@pytest.mark.usefixtures("quick")
def test_a_server_that_is_not_there_and_a_command_that_does_not_end(
    colour_library: Library, folder: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "_SECONDS", 0.3)
    library = configured(
        colour_library,
        alert_webhook="http://127.0.0.1:9/x",
        alert_command="sh -c 'sleep 97 & sleep 97'",
    )
    add_question(library.catalog, "magenta", 0.01)
    shutil.copy(film, folder / "new.mp4")
    well, heard = watch_once(library, folder)
    assert not well
    assert heard.has_said("http://127.0.0.1: [Errno 111] Connection refused")
    assert heard.has_said("sh: not done after 0.3 s")
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert "sleep 97" not in running.stdout.splitlines()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"alert_webhook": "file:///etc/passwd"}, r"alert_webhook: not a URL; write http://HOST"),
        ({"alert_webhook": "http:///path"}, "not a URL"),
        ({"alert_webhook": "http://host:port/"}, "not a URL"),
        ({"alert_webhook": "http://host/a b"}, "not a URL"),
        ({"alert_webhook": "http://me:word@host/"}, "holds a user"),
        ({"alert_command": "'tee"}, "alert_command: No closing quotation"),
        ({"alert_command": "no-such-program-here -x"}, "no such program: no-such-program-here -x"),
    ],
)
def test_channels_that_cannot_be(colour_library: Library, settings, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        Delivery(configured(colour_library, **settings).settings, print)


def test_words_that_come_later_count(colour_library: Library, folder: Path, film: Path) -> None:
    os.utime(shutil.copy(film, folder / "old.mp4"), (0, 0))
    index_videos(colour_library, [folder])
    add_question(colour_library.catalog, "magenta", 0.01)
    add_question(colour_library.catalog, "said:parrot", 0.01)
    heard = watch_until(
        colour_library,
        [folder],
        lambda heard: heard.alerts,
        Told(lambda heard: heard.reports),
        lambda: (folder / "old.en.srt").write_text(
            "1\n00:00:00,500 --> 00:00:01,500\nThe parrot!\n"
        ),
    )
    # What the picture shows was there before the question stood.
    assert [(each.question, each.said) for each in heard.alerts] == [("said:parrot", "The parrot!")]


def test_a_question_that_cannot_be_asked_yet_keeps_none_of_the_others_back(
    colour_library: Library, folder: Path, film: Path
) -> None:
    add_question(colour_library.catalog, "magenta tag:front", 0.01)
    add_question(colour_library.catalog, "magenta", 0.01)
    shutil.copy(film, folder / "new.mp4")
    _, heard = watch_once(colour_library, folder)
    assert heard.said == [
        "standing question 1 is passed over: tag:front: no video has this tag; `vidsift tag` lists"
        " the tags, `vidsift tag VIDEO --add TAG` gives one"
    ]
    assert [alert.question for alert in heard.alerts] == ["magenta"]


_KILLED = """
import importlib, os, runpy, signal, sys
sys.path.insert(0, {root!r})
conftest = runpy.run_path({conftest!r})
from indexer import watch
from vidsift.library import Library
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(importlib.import_module({module!r}), {function!r}, die)
with Library.open({library!r}, alert_webhook={url!r}) as library:
    library.__dict__["encoder"] = conftest["ColourEncoder"]()
    listener = watch.Listener(print, print, print)
    watch.watch(library, [{folder!r}], listener, once=True, interval=0.1)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "function", "written"),
    [("indexer.standing", "standing_matches", 0), ("indexer.alerts", "alert_json", 2)],
)
def test_killed_between_indexing_and_alerting(
    colour_library: Library, folder: Path, film: Path, receiver, module, function, written: int
) -> None:
    url, posts = receiver
    configured(colour_library, alert_webhook=url)
    add_question(colour_library.catalog, "magenta", 0.01)
    brief = folder / "brief.mp4"
    brief.write_bytes(film.read_bytes() + b"\0" * 8)
    shutil.copy(film, folder / "new.mp4")
    conftest = Path(__file__).with_name("conftest.py")
    code = _KILLED.format(
        root=str(conftest.parent.parent),
        conftest=str(conftest),
        library=str(colour_library.root),
        url=url,
        folder=str(folder),
        module=module,
        function=function,
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(colour_library.catalog.videos("searchable")) == 2
    assert len(standing.alerts(colour_library.catalog)) == written
    assert posts.posted == []

    brief.unlink()  # asked of all the same: it was indexed
    well, heard = watch_once(colour_library, folder)
    assert well
    assert len(heard.alerts) == 2 - written
    kept = standing.alerts(colour_library.catalog)
    assert sorted(alert.video.name for alert in kept) == ["brief.mp4", "new.mp4"]
    assert sorted(post["alert_id"] for post in posts.posted) == [alert.id for alert in kept]
    watch_once(colour_library, folder)
    assert len(standing.alerts(colour_library.catalog)) == len(posts.posted) == 2
