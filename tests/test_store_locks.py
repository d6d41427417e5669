"""One writer at a time, with real processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from vidsift.errors import LibraryBusyError, StorageError
from vidsift.store import locks
from vidsift.store.connection import make_engine, parse_url, writing
from vidsift.store.locks import holder_of, write_lock


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'catalog.sqlite3'}"
        return
    server = os.environ["VIDSIFT_TEST_POSTGRES_URL"]
    name = f"test_{uuid.uuid4().hex}"
    _run(server, f"CREATE SCHEMA {name}")
    own = sa.make_url(server).update_query_dict({"options": f"-csearch_path={name}"})
    yield own.render_as_string(hide_password=False)
    _run(server, f"DROP SCHEMA {name} CASCADE")


def _run(url: str, statement: str) -> None:
    engine = make_engine(parse_url(url))
    with writing(engine) as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def _hold(folder: Path, url: str) -> subprocess.Popen[str]:
    """A process that holds the lock until it is killed; returns when it has it."""
    code = f"""
        import time
        from pathlib import Path
        from vidsift.store.locks import write_lock
        with write_lock(Path({str(folder)!r}), {url!r}, command="vidsift index"):
            print("held", flush=True)
            time.sleep(60)
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def _kill(holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert holder.stdout is not None
    holder.stdout.close()


@pytest.mark.slow
def test_who_holds_the_lock_is_said_and_its_death_frees_it(tmp_path: Path, url: str) -> None:
    holder = _hold(tmp_path, url)
    try:
        who = rf"vidsift index, process {holder.pid} on {re.escape(socket.gethostname())}, since 2"
        with pytest.raises(LibraryBusyError, match=who) as raised, write_lock(tmp_path, url):
            pytest.fail("two hold it")
        assert "--wait" in str(raised.value)
        with (
            pytest.raises(LibraryBusyError, match="another vidsift"),
            write_lock(tmp_path, url, wait=0.5),
        ):
            pytest.fail("two hold it")
    finally:
        _kill(holder)
    # The server notices as soon as the socket is closed, but not in no time.
    with write_lock(tmp_path, url, wait=10.0):
        said = holder_of(tmp_path)
        assert said is not None
        assert said.pid == os.getpid()
    assert (tmp_path / "write.lock").read_bytes() == b""


@pytest.mark.slow
def test_waiting_says_for_whom_and_ends_when_he_does(tmp_path: Path, url: str) -> None:
    holder = _hold(tmp_path, url)
    told: list[str] = []
    killer = threading.Timer(1.0, _kill, [holder])
    killer.start()
    began = time.monotonic()
    with write_lock(tmp_path, url, wait=60.0, on_wait=told.append):
        assert time.monotonic() - began > 0.9
    killer.join()
    assert len(told) == 1
    assert f"process {holder.pid}" in told[0]


def test_one_process_does_not_hold_it_twice(tmp_path: Path, url: str) -> None:
    with (
        write_lock(tmp_path, url),
        pytest.raises(LibraryBusyError),
        write_lock(tmp_path, url),
    ):
        pytest.fail("held twice")
    with write_lock(tmp_path, url):
        pass


@pytest.mark.postgres
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_machines_that_share_a_server_but_no_folder(tmp_path: Path, url: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    with write_lock(here, url, command="vidsift watch"):
        me = rf"vidsift watch {os.getpid()}@\S+ through the server \S+, since 2"
        with pytest.raises(LibraryBusyError, match=me), write_lock(there, url):
            pytest.fail("two hold it")
        # Another catalog of the same database is another library.
        name = f"test_{uuid.uuid4().hex}"
        _run(url, f"CREATE SCHEMA {name}")
        other = sa.make_url(url).update_query_dict({"options": f"-csearch_path={name}"})
        with write_lock(there, other.render_as_string(hide_password=False)):
            pass
        _run(url, f"DROP SCHEMA {name}")
    with write_lock(there, url):
        pass


def test_an_error_inside_frees_the_lock(tmp_path: Path, url: str) -> None:
    with pytest.raises(KeyError), write_lock(tmp_path, url):
        raise KeyError
    with write_lock(tmp_path, url):
        pass


def test_folder_that_may_not_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"absent: cannot be written: No such file"),
        write_lock(tmp_path / "absent", "sqlite:///x.sqlite3"),
    ):
        pytest.fail("nothing to lock")


def test_a_full_disk_is_no_reason_to_go_without_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(locks.os, "pwrite", full)
    url = f"sqlite:///{tmp_path / 'catalog.sqlite3'}"
    with (
        write_lock(tmp_path, url),
        pytest.raises(LibraryBusyError, match="does not say who it is"),
        write_lock(tmp_path, url),
    ):
        pytest.fail("two hold it")
