"""One library and one run of indexing for all sessions of the page."""

from __future__ import annotations

import threading

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
        workspace.library().close()


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
