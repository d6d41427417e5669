"""What the one writer leaves behind, and what it takes away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from indexer import index_videos
from indexer.commit import sweep
from search import SearchEngine
from vidsift.errors import StorageError
from vidsift.library import Library
from vidsift.store import files
from vidsift.store.catalog import Catalog
from vidsift.store.files import (
    PART,
    remove_file,
    write_atomically,
    write_folder_atomically,
)


@pytest.fixture
def indexed(colour_library: Library, tmp_path: Path, make_film) -> Library:
    make_film(tmp_path / "videos" / "flag.mp4", [("red", 2)])
    index_videos(colour_library, [tmp_path / "videos"])
    return colour_library


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_sweep_takes_what_nothing_names_and_leaves_what_is_at_work(indexed: Library) -> None:
    root = indexed.root
    before = {name: _names(root / name) for name in ("features", "pictures", "index")}
    (root / "features" / "old.npy").touch()
    (root / "features" / f"half.npy{PART}").touch()
    (root / "features" / "folder.npy").mkdir()
    (root / "pictures" / "old").mkdir()
    (root / "pictures" / "old" / "00000.jpg").touch()
    (root / "pictures" / f"half{PART}").mkdir()
    (root / "index" / f"vectors.faiss{PART}").touch()
    (root / f"note.json{PART}").touch()
    at_work, given_up = root / "skims" / ".vidsift-a", root / "skims" / "clips" / ".vidsift-b"
    for folder in (at_work, given_up):
        folder.mkdir(parents=True)
        (folder / "half.mp4").touch()
        for entry in (folder / "half.mp4", folder):
            os.utime(entry, (1, 1))
    os.utime(at_work / "half.mp4")  # its folder is old, what is written in it is not
    with indexed.writing():
        sweep(indexed)
    assert {name: _names(root / name) for name in before} == before
    assert at_work.is_dir()
    assert not given_up.exists()
    assert not (root / f"note.json{PART}").exists()
    assert indexed.damage(indexed.video("flag.mp4")) == ""


def test_old_version_stays_until_the_next_run(indexed: Library, tmp_path: Path, make_film) -> None:
    old = indexed.video("flag.mp4")
    make_film(tmp_path / "videos" / "flag.mp4", [("blue", 2)])
    index_videos(indexed, [tmp_path / "videos"])
    assert indexed.damage(old) == ""  # for whoever still reads it
    index_videos(indexed, [tmp_path / "videos"])
    assert indexed.damage(old) != ""


@pytest.mark.parametrize("took_effect", [False, True])
def test_a_commit_of_which_nobody_knows_whether_it_took_effect(
    indexed: Library,
    tmp_path: Path,
    make_film,
    monkeypatch: pytest.MonkeyPatch,
    took_effect: bool,
) -> None:
    original = Catalog.commit_video

    def cut_off(*arguments: object) -> int:
        if took_effect:
            original(*arguments)
        raise StorageError("the server has gone in the middle of the commit")

    make_film(tmp_path / "videos" / "sky.mp4", [("blue", 2)])
    monkeypatch.setattr(Catalog, "commit_video", cut_off)
    with pytest.raises(StorageError, match="has gone"):
        index_videos(indexed, [tmp_path / "videos"])
    monkeypatch.undo()
    assert all(not indexed.damage(video) for video in indexed.catalog.videos())
    report = index_videos(indexed, [tmp_path / "videos"])
    assert len(report.indexed) == (0 if took_effect else 1)
    assert SearchEngine(indexed).search("blue", 1)[0].video.name == "sky.mp4"
    assert len(_names(indexed.root / "features")) == 2
    assert len(_names(indexed.root / "pictures")) == 2


def test_full_disk_leaves_the_library_as_it_was(
    indexed: Library, tmp_path: Path, make_film, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: _names(indexed.root / name) for name in ("features", "pictures")}
    make_film(tmp_path / "videos" / "sky.mp4", [("blue", 2)])
    original = files._write

    def full(path: Path, chunks: list[bytes]) -> None:
        if path.name == "storyboard.jpg":
            raise OSError(28, "No space left on device")
        original(path, chunks)

    monkeypatch.setattr(files, "_write", full)
    with pytest.raises(StorageError, match="No space left on device; free some space") as raised:
        index_videos(indexed, [tmp_path / "videos"])
    assert "\n" not in str(raised.value)
    assert {name: _names(indexed.root / name) for name in before} == before


def test_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    write_folder_atomically(tmp_path / "deep" / "new", {"a": b"1", "b": b"2"})
    assert _names(tmp_path / "deep" / "new") == ["a", "b"]
    with pytest.raises(StorageError, match="new: cannot be written"):
        write_folder_atomically(tmp_path / "deep" / "new", {"a": b"3"})
    assert (tmp_path / "deep" / "new" / "a").read_bytes() == b"1"
    assert _names(tmp_path / "deep") == ["new"]


def test_file_and_folder_are_forced_to_disk_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        steps.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    write_atomically(tmp_path / "new" / "a.npy", [b"1"])
    # The folder of the new folder, the file, and after the rename the folder.
    assert steps == [tmp_path.name, f"a.npy{PART}", "rename", "new"]


def test_what_lies_in_the_way_of_the_sweep_is_no_reason_not_to_index(
    indexed: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (indexed.root / "features" / "old.npy").touch()

    def refuse(*_arguments: object, **_named: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert len(index_videos(indexed, [tmp_path / "videos"]).unchanged) == 1
    monkeypatch.undo()
    index_videos(indexed, [tmp_path / "videos"])
    assert "old.npy" not in _names(indexed.root / "features")


def test_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    remove_file(tmp_path / "absent")
    (tmp_path / "index").mkdir()
    with pytest.raises(StorageError, match=r"index: cannot be removed: .*; mend the permissions"):
        remove_file(tmp_path / "index")
