"""What is read and served: files of the library alone, whatever its rows and its links say."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import streamlit as st

from indexer import index_videos
from search import SearchEngine
from summarizer import Skim, summarize, write_skim
from ui import elements, preview
from vidsift.errors import DamagedLibraryError, LibraryError, MediaError, VidsiftError
from vidsift.library import Library
from vidsift.store.inside import open_inside, read_inside
from vidsift.types import Moment, Span

SECRET = b"\xff\xd8\xff a secret of another folder"


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """What hangs fails: opening a FIFO would."""

    def late(*_: object) -> None:
        raise AssertionError(f"still busy after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def secret(tmp_path) -> Path:
    path = tmp_path / "elsewhere" / "secret.jpg"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    return path


@pytest.fixture
def library(tmp_path, make_film, colour_library) -> Library:
    """One film of two shots, indexed."""
    make_film(tmp_path / "films" / "flag.mp4", [("red", 3), ("blue", 3)])
    index_videos(colour_library, [tmp_path / "films"])
    return colour_library


def craft(library: Library, **values: object) -> None:
    """Change the row of the one video behind the catalog's back."""
    with sqlite3.connect(library.root / "catalog.sqlite3") as connection:
        for column, value in values.items():
            connection.execute(f"UPDATE videos SET {column} = ?", (value,))
    connection.close()


def make_link(at: Path, to: Path) -> None:
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(to)


def make_folder_link(at: Path, to: Path) -> None:
    at.parent.parent.mkdir(parents=True, exist_ok=True)
    at.parent.symlink_to(to.parent)


def make_fifo(at: Path, _to: Path) -> None:
    at.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(at)


def make_folder(at: Path, _to: Path) -> None:
    at.mkdir(parents=True)


KINDS: list[Callable[[Path, Path], None]] = [make_link, make_folder_link, make_fifo, make_folder]


@pytest.mark.parametrize("make", KINDS)
def test_only_a_regular_file_below_the_library_is_read(tmp_path, secret, make):
    at = tmp_path / "library" / "pictures" / "key" / "secret.jpg"
    make(at, secret)
    with within(10), pytest.raises((DamagedLibraryError, IsADirectoryError)):
        read_inside(tmp_path / "library", at)


@pytest.mark.parametrize(
    "name", ["../elsewhere/secret.jpg", "a/../../elsewhere/secret.jpg", ".", ""]
)
def test_a_path_that_leads_out_is_not_read(tmp_path, secret, name):
    (tmp_path / "library" / "a").mkdir(parents=True)
    with pytest.raises(DamagedLibraryError, match="outside"):
        open_inside(tmp_path / "library", tmp_path / "library" / name)
    with pytest.raises(DamagedLibraryError, match="outside"):
        open_inside(tmp_path / "library", secret)


def test_a_whole_library_may_lie_behind_a_link(tmp_path, secret):
    (tmp_path / "link").symlink_to(secret.parent)
    assert read_inside(tmp_path / "link", tmp_path / "link" / "secret.jpg") == SECRET


@pytest.mark.parametrize(
    "name", ["../../elsewhere/secret.jpg", "/etc/passwd", "..", ".", "", "a\0b", "x" * 300, "a\nb"]
)
def test_a_row_names_no_feature_file_elsewhere(library, name):
    craft(library, feature_file=name)
    video = library.catalog.videos()[0]
    assert library.damage(video)
    for read in (
        lambda: library.features.open(video.feature_file),
        lambda: library.features.sha256(video.feature_file),
        lambda: library.features.read(video.feature_file, 0, 1, 3),
    ):
        with pytest.raises(DamagedLibraryError):
            read()
    try:
        found = SearchEngine(library).search("red", k=3)
    except VidsiftError:
        return
    assert found == []


@pytest.mark.parametrize("make", [make_link, make_fifo, make_folder])
def test_a_feature_file_that_is_a_link_or_never_ends_is_damaged(library, secret, make):
    file = library.root / "features" / library.catalog.videos()[0].feature_file
    library.features.close()
    file.unlink()
    make(file, secret)
    with within(20), pytest.raises(DamagedLibraryError):
        library.features.read(file.name, 0, 1, 3)


@pytest.mark.parametrize("make", [make_link, make_folder_link, make_fifo])
def test_the_page_shows_no_picture_from_elsewhere(library, secret, monkeypatch, make):
    video = library.catalog.videos()[0]
    folder = library.pictures(video)
    folder.rename(folder.with_name("away"))
    (secret.parent / "00000.jpg").write_bytes(SECRET)
    thumbnail = library.thumbnail(video, 0)
    make(thumbnail, secret.with_name("00000.jpg"))
    served = []
    monkeypatch.setattr(st, "image", lambda image, **_: served.append(image))
    with within(20):
        elements.tile(thumbnail, "a moment", "k")
        assert served == []
        skim = Skim.of(video, summarize(library, video))
        with pytest.raises(DamagedLibraryError):
            write_skim(library, skim, secret.parent / "out", ["png"])


def test_the_page_shows_a_picture_of_the_library_and_only_a_picture(library, monkeypatch):
    video = library.catalog.videos()[0]
    served = []
    monkeypatch.setattr(st, "image", lambda image, **_: served.append(image))
    elements.tile(library.thumbnail(video, 0), "a moment", "k")
    assert served == [library.thumbnail(video, 0).read_bytes()]
    library.thumbnail(video, 0).write_bytes(b"<svg onload='alert(1)'/>")
    elements.tile(library.thumbnail(video, 0), "a moment", "l")
    assert len(served) == 1


def test_the_player_gets_no_file_from_elsewhere(library, secret, monkeypatch):
    served = []
    monkeypatch.setattr(st, "video", lambda video, **_: served.append(video))
    moment = Moment(library.catalog.videos()[0].id, 1, Span(0.0, 2.0), 1.0, 0.9)
    clip = preview.moment_clip(library, library.catalog.videos()[0], moment)
    elements.play(clip)
    assert served == [clip.read_bytes()]
    clip.unlink()
    clip.symlink_to(secret)
    with pytest.raises(DamagedLibraryError, match="a link in a library is not followed"):
        elements.play(clip)
    assert len(served) == 1


@pytest.mark.parametrize("folder", ["features", "pictures", "skims", "index", "skims/moments"])
def test_a_library_whose_folder_leads_elsewhere_is_refused_and_nothing_swept_there(
    library, secret, folder
):
    at = library.root / folder
    at.parent.mkdir(exist_ok=True)
    if at.exists():
        at.rename(library.root.with_name("was"))
    at.symlink_to(secret.parent)
    with pytest.raises(LibraryError, match="is a link to"):
        Library.open(library.root, create=True)
    assert secret.read_bytes() == SECRET


PATHS = ["/etc/passwd", "/dev/zero", "/", "pipe:0", "concat:/etc/passwd|/etc/hosts", "-i", "a\0b"]
PATHS += [
    "http://127.0.0.1:1/x.mp4",
    "file:/etc/passwd",
    "x" * 5000,
    "subfile,,start,0,,:/etc/passwd",
]


@pytest.mark.slow
@pytest.mark.parametrize("path", [*PATHS, "FIFO"])
def test_a_row_that_names_no_video_is_neither_played_nor_rendered(library, tmp_path, path):
    if path == "FIFO":
        os.mkfifo(tmp_path / "fifo")
        path = str(tmp_path / "fifo")
    summary = summarize(library, library.catalog.videos()[0])
    craft(library, path=path)
    video = library.catalog.videos()[0]
    moment = Moment(video.id, 1, Span(0.0, 2.0), 1.0, 0.9)
    with within(60):
        with pytest.raises(MediaError):
            preview.moment_clip(library, video, moment)
        with pytest.raises(MediaError):
            write_skim(library, Skim.of(video, summary), tmp_path / "out", ["mp4"])
    assert not list((tmp_path / "out").glob("*.mp4"))
    assert not (library.skims / "moments").exists() or not list(library.skims.glob("moments/*"))
