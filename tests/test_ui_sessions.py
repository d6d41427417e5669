"""Twenty sessions of the real page at once, while another process indexes into its library.

The sessions speak Streamlit's protocol over its websocket: a browser each would be too many.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from benchmarks.colour_films import make_colour_film

pytestmark = pytest.mark.slow

SESSIONS = 20
# A page and its address: what a person who looks around opens.
ROUND = [
    ("", {}),
    ("search", {"q": "red"}),
    ("video", {"id": "1", "t": "1"}),
    ("search", {"q": "a dog then blue"}),
    ("library", {}),
    ("alerts", {}),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        _film(tmp_path, number)
    _vidsift(tmp_path, "index", str(tmp_path / "films"))
    return tmp_path


def _film(folder: Path, number: int) -> None:
    (folder / "films").mkdir(exist_ok=True)
    shots = [("red", 2.5), ("blue", 2.5), ("green", 2.0 + number % 3)]
    make_colour_film(folder / "films" / f"{number:03d}.mp4", shots[number % 2 :])


def _vidsift(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "ui.cli", *arguments, "--library", str(folder / "library")]
    subprocess.run(command, check=True, capture_output=True, timeout=200)


@pytest.fixture
def server(folder: Path) -> Iterator[tuple[int, int, Path]]:
    """`vidsift ui`: its port, its process and what it says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ui.cli", "ui", "--port", str(port), "--no-browser"]
    log = folder / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--library", str(folder / "library")],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        for _ in range(900):
            assert process.poll() is None, log.read_text()
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port, process.pid, log
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
    assert "Traceback" not in log.read_text(), log.read_text()


def _opened(port: int) -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{port}/_stcore/stream",
        origin=f"http://127.0.0.1:{port}",
        subprotocols=["streamlit"],
        max_size=None,
        open_timeout=120,
    )


def _shown(session: ClientConnection, page: str, address: dict[str, str]) -> list[str]:
    """Open a page; the errors that it shows."""
    wish = BackMsg()
    wish.rerun_script.query_string = urlencode(address)
    wish.rerun_script.page_name = page
    session.send(wish.SerializeToString())
    wrong: list[str] = []
    drawn = 0
    while True:
        message = ForwardMsg.FromString(session.recv(timeout=120))
        kind = message.WhichOneof("type")
        if kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            drawn += 1
            element = message.delta.new_element
            if element.WhichOneof("type") == "exception":
                wrong.append(element.exception.message)
            elif element.WhichOneof("type") == "alert" and element.alert.format == 1:
                wrong.append(element.alert.body)
        elif kind == "page_not_found":
            wrong.append(f"no page {page}")
        elif kind == "script_finished" and message.script_finished in (0, 1):
            return wrong if drawn else [*wrong, f"nothing on page {page!r}"]


def _look_around(port: int, first: int, rounds: int, wrong: list[object]) -> None:
    try:
        with _opened(port) as session:
            for step in range(first, first + rounds):
                wrong += _shown(session, *ROUND[step % len(ROUND)])
    except (ConnectionClosed, TimeoutError) as error:
        wrong.append(error)


def _together(port: int, rounds: int) -> list[object]:
    wrong: list[object] = []
    sessions = [
        threading.Thread(target=_look_around, args=(port, number, rounds, wrong))
        for number in range(SESSIONS)
    ]
    for session in sessions:
        session.start()
    for session in sessions:
        session.join()
    return wrong


def _held(pid: int) -> tuple[int, int]:
    """The files that a process has open, and its threads.

    Sockets are left out: Streamlit keeps a session's event loop for two minutes, in case its
    browser comes back.
    """
    process = Path(f"/proc/{pid}")
    files = []
    for descriptor in (process / "fd").iterdir():
        try:
            files.append(os.readlink(descriptor))  # noqa: PTH115 - it need not be a path
        except FileNotFoundError:
            continue
    assert [file for file in files if file.endswith("(deleted)")] == []
    return sum(file.startswith("/") for file in files), len(list((process / "task").iterdir()))


def test_twenty_sessions_look_around_while_videos_are_indexed(server, folder):
    port, pid, _ = server
    assert _together(port, 1) == []
    stop = threading.Event()

    def index() -> None:
        number = 0
        while not stop.is_set():
            _film(folder, number % 6)  # new ones, and others in place of old ones
            _vidsift(folder, "index", str(folder / "films"))
            number += 1

    indexer = threading.Thread(target=index)
    indexer.start()
    try:
        assert _together(port, 2) == []  # each begins elsewhere
    finally:
        stop.set()
        indexer.join()
    before = _held(pid)
    assert _together(port, 1) == []
    after = _held(pid)
    assert after[0] <= before[0] + 6  # of videos that had not been looked at
    assert after[1] <= before[1] + 4
