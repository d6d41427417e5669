"""One library and one run of indexing for all sessions of the page."""

from __future__ import annotations

import threading
import time

import pytest

from ui import session
from vidsift.errors import LibraryBusyError, LibraryNotFoundError


@pytest.fixture
def workspace(tmp_path):
    workspace = session.Workspace(tmp_path / "library")
    yield workspace
    if workspace.job is not None:
        workspace.job.stop()
        workspace.job.wait(60)
    workspace.close()


class SlowEncoder:
    """The colour encoder, which waits to be let go before each batch."""

    def __init__(self, encoder) -> None:
        self._encoder = encoder
        self.stamp = encoder.stamp
        self.picture_size = encoder.picture_size
        self.let_go = threading.Event()
        self.waiting = threading.Event()

    def encode_frames(self, images):
        self.waiting.set()
        assert self.let_go.wait(60)
        return self._encoder.encode_frames(images)

    def encode_texts(self, texts):
        return self._encoder.encode_texts(texts)

    def close(self) -> None:
        pass


@pytest.fixture
def slow(workspace, colour_encoder) -> SlowEncoder:
    encoder = SlowEncoder(colour_encoder)
    workspace.library(create=True).__dict__["encoder"] = encoder
    return encoder


def test_looking_makes_no_library(workspace):
    with pytest.raises(LibraryNotFoundError):
        workspace.library()
    assert not workspace.root.exists()


def test_all_threads_get_the_same_library(workspace):
    workspace.library(create=True)
    found = []
    threads = [threading.Thread(target=lambda: found.append(workspace.library())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(map(id, found)) == {id(workspace.library())}
    workspace.library().close()


def test_one_run_at_a_time_and_the_library_is_read_meanwhile(workspace, slow, make_film, tmp_path):
    make_film(tmp_path / "films" / "a.mp4", [("red", 4)])
    job = workspace.start_indexing([str(tmp_path / "films")])
    assert slow.waiting.wait(60)
    assert job.running
    with pytest.raises(LibraryBusyError, match="is indexing already"):
        workspace.start_indexing([str(tmp_path / "films")])
    assert workspace.ask("red", 3).results == ()
    slow.let_go.set()
    job.wait(60)
    assert (job.running, job.error) == (False, "")
    assert [path.name for path in job.report.indexed] == ["a.mp4"]
    assert workspace.ask("red", 3).results[0].video.name == "a.mp4"
    assert job.progress.done_files == 1
    assert job.seconds_left == pytest.approx(0.0)


def test_a_run_that_is_stopped_keeps_what_was_finished(workspace, slow, make_film, tmp_path):
    for name in "abcd":
        make_film(tmp_path / "films" / f"{name}.mp4", [("red", 2)])
    job = workspace.start_indexing([str(tmp_path / "films")])
    assert slow.waiting.wait(60)
    job.stop()
    slow.let_go.set()
    job.wait(60)
    assert not job.running
    assert job.error.startswith("stopped")
    again = workspace.start_indexing([str(tmp_path / "films")])
    again.wait(60)
    assert len(again.report.indexed) + len(again.report.unchanged) == 4


def test_an_error_of_the_run_is_kept_for_whoever_looks(workspace, slow):
    job = workspace.start_indexing(["/no/such/folder"])
    job.wait(60)
    assert job.error == "/no/such/folder: no such file or folder; check the path"
    assert job.report is None


class ReleasedEncoder(SlowEncoder):
    """Counts how often it is let go; its models are there from a question on."""

    def __init__(self, encoder) -> None:
        super().__init__(encoder)
        self.let_go.set()
        self.is_loaded = False
        self.released = threading.Event()

    def encode_frames(self, images):
        self.is_loaded = True
        return super().encode_frames(images)

    def encode_texts(self, texts):
        self.is_loaded = True
        return super().encode_texts(texts)

    def release(self, idle_seconds: float = 0.0) -> bool:
        was_there, self.is_loaded = self.is_loaded, False
        if was_there:
            self.released.set()
        return was_there


def test_models_are_let_go_when_nobody_asks_and_loaded_again(
    workspace, colour_encoder, make_film, tmp_path, monkeypatch
):
    monkeypatch.setenv("VIDSIFT_IDLE_MINUTES", "0.004")  # 0.24 s
    encoder = ReleasedEncoder(colour_encoder)
    workspace.library(create=True).__dict__["encoder"] = encoder
    before = set(threading.enumerate())  # with those of workspaces that other tests left open
    make_film(tmp_path / "films" / "a.mp4", [("red", 4)])
    workspace.start_indexing([str(tmp_path / "films")]).wait(60)
    assert encoder.released.is_set()  # indexing is over
    for _ in range(2):
        encoder.released.clear()
        assert workspace.ask("red", 3).results[0].video.name == "a.mp4"
        assert encoder.released.wait(30)
        assert not encoder.is_loaded
    workspace.close()
    assert "idle" not in {thread.name for thread in set(threading.enumerate()) - before}


def test_many_sessions_ask_at_once_and_few_are_answered_at_a_time(
    workspace, colour_encoder, make_film, tmp_path
):
    make_film(tmp_path / "films" / "a.mp4", [("red", 4)])
    library = workspace.library(create=True)
    library.__dict__["encoder"] = colour_encoder
    workspace.start_indexing([str(tmp_path / "films")]).wait(60)
    at_once, most, lock = 0, 0, threading.Lock()
    found = []

    class Counted(SlowEncoder):
        def encode_texts(self, texts):
            nonlocal at_once, most
            with lock:
                at_once += 1
                most = max(most, at_once)
            time.sleep(0.02)
            with lock:
                at_once -= 1
            return super().encode_texts(texts)

    library.__dict__["encoder"] = Counted(colour_encoder)
    threads = [
        threading.Thread(target=lambda: found.append(workspace.ask("red", 3).results[0].video.name))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["a.mp4"] * 20
    assert 1 <= most <= session._AT_ONCE
