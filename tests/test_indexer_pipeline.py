"""Indexing real files with an encoder whose answers are known."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexer import index_videos
from indexer.scan import find_files
from indexer.video import run_ahead
from search import SearchEngine
from summarizer import summarize
from vidsift.errors import LibraryBusyError, StorageError, VidsiftError
from vidsift.library import Library


@pytest.fixture
def videos(tmp_path, make_film) -> Path:
    folder = tmp_path / "videos"
    make_film(folder / "flag.mp4", [("red", 3), ("blue", 3)], sound=True)
    make_film(folder / "deep" / "lawn.mkv", [("green", 4)])
    return folder


def found(library: Library, colour: str) -> tuple[str, float, float]:
    best = SearchEngine(library).search(colour, 1)[0]
    return best.video.name, best.moment.span.start, best.moment.span.end


def test_what_is_indexed_is_found_where_it_is(colour_library, videos):
    report = index_videos(colour_library, [videos])
    assert sorted(path.name for path in report.indexed) == ["flag.mp4", "lawn.mkv"]
    assert report.failed == []
    assert found(colour_library, "red") == ("flag.mp4", 0.0, pytest.approx(3.0, abs=0.11))
    name, start, end = found(colour_library, "blue")
    assert (name, start, end) == ("flag.mp4", pytest.approx(3.0), pytest.approx(6.0, abs=0.11))
    assert found(colour_library, "green")[0] == "lawn.mkv"


def test_every_video_has_thumbnails_a_storyboard_and_a_summary(colour_library, videos):
    index_videos(colour_library, [videos])
    for video in colour_library.catalog.videos():
        assert colour_library.storyboard(video).stat().st_size > 1000
        for clip in colour_library.catalog.clips_of_video(video.id):
            assert colour_library.thumbnail(video, clip.ordinal).is_file()
        (summary,) = colour_library.catalog.summaries(video.id)
        assert summary.query == ""
        assert summary.duration_seconds == pytest.approx(0.15 * video.duration_seconds, abs=0.01)
        # Looked up, not made again: the encoder and the features are not needed.
        assert summarize(colour_library, video) == summary


def test_what_is_indexed_does_not_depend_on_how_questions_are_pooled(
    colour_library, colour_encoder, tmp_path, make_film
):
    # Cuts half a second apart make no shots: a clip shows several colours.
    colours = ["red", "blue", "green"] * 3
    make_film(tmp_path / "mixed.mp4", [(colour, 0.5) for colour in colours])
    index_videos(colour_library, [tmp_path / "mixed.mp4"])
    ((_, expected),) = colour_library.catalog.iter_vectors()
    assert len(expected) > colour_library.catalog.videos()[0].num_clips
    other = Library.open(tmp_path / "other", create=True, encoder="colour", pooler="mean")
    with other:
        other.__dict__["encoder"] = colour_encoder
        index_videos(other, [tmp_path / "mixed.mp4"])
        ((_, vectors),) = other.catalog.iter_vectors()
    assert np.array_equal(vectors, expected)


def test_a_second_run_does_nothing(colour_library, colour_encoder, videos):
    index_videos(colour_library, [videos])
    encoded = colour_encoder.frames_encoded
    generation = colour_library.catalog.generation()
    report = index_videos(colour_library, [videos])
    assert (len(report.unchanged), report.indexed, report.failed) == (2, [], [])
    assert colour_encoder.frames_encoded == encoded
    assert colour_library.catalog.generation() == generation


def test_a_renamed_file_keeps_its_vectors(colour_library, colour_encoder, videos):
    index_videos(colour_library, [videos])
    encoded = colour_encoder.frames_encoded
    before = colour_library.video("flag.mp4").id
    (videos / "flag.mp4").rename(videos / "deep" / "banner.mp4")
    report = index_videos(colour_library, [videos])
    assert [(a.name, b.name) for a, b in report.renamed] == [("flag.mp4", "banner.mp4")]
    assert report.missing == []
    assert colour_encoder.frames_encoded == encoded
    assert colour_library.video("banner.mp4").id == before
    assert found(colour_library, "red")[0] == "banner.mp4"


def test_a_touched_file_is_recognised_by_its_content(colour_library, colour_encoder, videos):
    index_videos(colour_library, [videos])
    encoded = colour_encoder.frames_encoded
    os.utime(videos / "flag.mp4", (1, 1))
    report = index_videos(colour_library, [videos])
    assert len(report.unchanged) == 2
    assert colour_encoder.frames_encoded == encoded
    index_videos(colour_library, [videos])
    assert colour_library.video("flag.mp4").fingerprint.mtime_ns == 1_000_000_000


def test_changed_content_replaces_the_old(colour_library, videos, make_film):
    index_videos(colour_library, [videos])
    make_film(videos / "flag.mp4", [("yellow", 5)])
    report = index_videos(colour_library, [videos])
    assert [path.name for path in report.indexed] == ["flag.mp4"]
    assert found(colour_library, "yellow")[0] == "flag.mp4"
    assert found(colour_library, "red")[0] == "flag.mp4"
    assert len(colour_library.catalog.videos()) == 2
    # Nothing of the old version is left behind once the next run has swept.
    index_videos(colour_library, [videos])
    assert len(list((colour_library.root / "features").glob("*.npy"))) == 2
    assert len(list((colour_library.root / "pictures").iterdir())) == 2


def test_what_is_gone_is_not_found_and_comes_back(colour_library, colour_encoder, videos):
    index_videos(colour_library, [videos])
    encoded = colour_encoder.frames_encoded
    away = shutil.move(videos / "deep" / "lawn.mkv", videos.parent / "lawn.mkv")
    report = index_videos(colour_library, [videos])
    assert [path.name for path in report.missing] == ["lawn.mkv"]
    assert found(colour_library, "green")[0] == "flag.mp4"
    shutil.move(away, videos / "deep" / "lawn.mkv")
    index_videos(colour_library, [videos])
    assert found(colour_library, "green")[0] == "lawn.mkv"
    assert colour_encoder.frames_encoded == encoded


def test_bad_files_are_named_and_end_nothing(colour_library, videos):
    (videos / "notes.mp4").write_text("this is no video\n" * 50)
    (videos / "empty.mp4").touch()
    report = index_videos(colour_library, [videos])
    assert len(report.indexed) == 2
    assert sorted(path.name for path, _ in report.failed) == ["empty.mp4", "notes.mp4"]
    assert all(reason and "\n" not in reason for _, reason in report.failed)
    failed = colour_library.catalog.videos("failed")
    assert {video.path.name: video.reason for video in failed} == {
        path.name: reason for path, reason in report.failed
    }


def test_a_bad_file_is_not_tried_for_ever(colour_library, videos, make_film, monkeypatch):
    bad = videos / "notes.mp4"
    bad.write_text("this is no video\n" * 50)
    index_videos(colour_library, [videos])
    tried = []
    original = __import__("indexer.video", fromlist=["probe"]).probe
    monkeypatch.setattr(
        "indexer.video.probe", lambda path, **limits: tried.append(path) or original(path, **limits)
    )
    report = index_videos(colour_library, [videos])
    assert tried == []
    assert [path for path, _ in report.failed] == [bad]
    index_videos(colour_library, [videos], retry=True)
    assert tried == [bad]
    make_film(bad, [("cyan", 2)])
    assert index_videos(colour_library, [videos]).indexed == [bad]
    assert found(colour_library, "cyan")[0] == "notes.mp4"


def test_a_truncated_video_is_used_as_far_as_it_goes(colour_library, videos, make_film):
    whole = make_film(videos / "long.mkv", [("red", 6), ("blue", 6)])
    content = whole.read_bytes()
    whole.write_bytes(content[: int(len(content) * 0.7)])
    report = index_videos(colour_library, [whole])
    assert report.indexed == [whole]
    assert [path for path, _ in report.notes] == [whole]


def test_an_interruption_keeps_what_is_done_and_the_next_run_goes_on(colour_library, videos):
    class Pulled(KeyboardInterrupt):
        pass

    def pull(progress) -> None:
        if progress.done_files == 1:
            raise Pulled

    colour_library.settings.__dict__["workers"] = 1
    with pytest.raises(Pulled):
        index_videos(colour_library, [videos], on_progress=pull)
    assert len(colour_library.catalog.videos("searchable")) == 1
    assert found(colour_library, "green")[0] == "lawn.mkv"
    report = index_videos(colour_library, [videos])
    assert (len(report.indexed), len(report.unchanged)) == (1, 1)


def test_a_video_that_lost_its_features_is_named_and_indexed_anew(colour_library, videos, caplog):
    index_videos(colour_library, [videos])
    flag = colour_library.video("flag.mp4")
    file = colour_library.root / "features" / flag.feature_file
    file.write_bytes(file.read_bytes()[:-10])
    colour_library.features.close()
    assert flag.feature_file in colour_library.damage(flag)
    # The other video still answers, and what is missing from the answer is said.
    assert found(colour_library, "red")[0] == "lawn.mkv"
    assert "flag.mp4 is not searched" in caplog.text
    assert "vidsift index" in caplog.text
    report = index_videos(colour_library, [videos])
    assert ([path.name for path in report.indexed], len(report.unchanged)) == (["flag.mp4"], 1)
    assert found(colour_library, "red")[0] == "flag.mp4"


def test_a_video_that_lost_a_thumbnail_is_indexed_anew(colour_library, videos):
    index_videos(colour_library, [videos])
    colour_library.thumbnail(colour_library.video("flag.mp4"), 0).unlink()
    report = index_videos(colour_library, [videos])
    assert [path.name for path in report.indexed] == ["flag.mp4"]
    assert colour_library.thumbnail(colour_library.video("flag.mp4"), 0).is_file()


def test_readers_see_what_another_process_indexes(
    colour_library, colour_encoder, videos, make_film
):
    index_videos(colour_library, [videos])
    with Library.open(colour_library.root) as reader:
        reader.__dict__["encoder"] = colour_encoder
        assert found(reader, "magenta")[0] == "flag.mp4"
        make_film(videos / "lilac.mp4", [("magenta", 3)])
        index_videos(colour_library, [videos])
        assert found(reader, "magenta")[0] == "lilac.mp4"


def test_one_writer_at_a_time(colour_library, videos):
    with (
        colour_library.writing(),
        Library.open(colour_library.root) as other,
        pytest.raises(LibraryBusyError, match="another vidsift"),
    ):
        index_videos(other, [videos])


def test_features_on_disk_are_those_of_the_frames(colour_library, colour_encoder, videos):
    index_videos(colour_library, [videos])
    video = colour_library.video("flag.mp4")
    stored = colour_library.features.open(video.feature_file)
    assert stored.shape == (video.num_frames, 3)
    assert np.linalg.norm(stored.astype(np.float32), axis=1) == pytest.approx(1.0, abs=1e-3)
    first = colour_library.catalog.clips_of_video(video.id)[0]
    red = colour_encoder.encode_texts(["red"])[0]
    assert stored[first.clip.frames].astype(np.float32) @ red == pytest.approx(1.0, abs=0.01)


def test_paths_that_are_not_there_are_all_named(colour_library, tmp_path):
    with pytest.raises(VidsiftError) as raised:
        index_videos(colour_library, [tmp_path / "nowhere", tmp_path / "neither"])
    assert "nowhere: no such file" in str(raised.value)
    assert "neither: no such file" in str(raised.value)


def test_an_empty_folder_says_so(colour_library, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(VidsiftError, match="no video files"):
        index_videos(colour_library, [tmp_path / "empty"])


def test_an_unreadable_file_is_named(colour_library, videos):
    # A link to nowhere is unreadable for root too, for whom permissions do not count.
    (videos / "gone.mp4").symlink_to(videos / "never.mp4")
    report = index_videos(colour_library, [videos])
    assert [(path.name, "cannot be read" in why) for path, why in report.failed] == [
        ("gone.mp4", True)
    ]


def test_one_file_is_one_video_however_it_is_reached(colour_library, videos, monkeypatch):
    (videos.parent / "link").symlink_to(videos)
    (videos / "again.mp4").symlink_to(videos / "flag.mp4")
    monkeypatch.chdir(videos / "deep")
    index_videos(colour_library, ["..", videos, videos.parent / "link", "../deep/../flag.mp4"])
    assert len(colour_library.catalog.videos()) == 2
    assert colour_library.video("../flag.mp4") == colour_library.video("flag.mp4")


def test_a_pipe_is_skipped_with_its_reason(colour_library, videos):
    os.mkfifo(videos / "pipe.mp4")
    report = index_videos(colour_library, [videos])
    assert [(path.name, why) for path, why in report.failed] == [
        ("pipe.mp4", "is not a regular file")
    ]
    assert len(report.indexed) == 2


def test_the_librarys_own_skims_are_not_indexed(colour_library, videos, make_film):
    make_film(colour_library.root / "skims" / "flag.mp4", [("red", 2)])
    index_videos(colour_library, [videos.parent])
    assert len(colour_library.catalog.videos()) == 2


def test_find_files_takes_what_is_named_and_videos_below_folders(tmp_path):
    for name in ["a.mp4", "b.TXT", ".hidden.mp4", "sub/c.MKV", ".git/d.mp4", "odd.name"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [path.relative_to(tmp_path).as_posix() for path in find_files([tmp_path])[0]]
    assert names == ["a.mp4", "sub/c.MKV"]
    assert find_files([tmp_path / "odd.name", tmp_path / "a.mp4", tmp_path])[0] == [
        tmp_path / "a.mp4",
        tmp_path / "odd.name",
        tmp_path / "sub" / "c.MKV",
    ]


@pytest.fixture
def tiny_disk(tmp_path):
    """A real file system of a few hundred kilobytes, where this machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_clear_line_and_the_library_stays_usable(
    tiny_disk, colour_encoder, videos, make_film
):
    with Library.open(tiny_disk / "library", create=True, encoder="colour", workers=1) as library:
        library.__dict__["encoder"] = colour_encoder
        index_videos(library, [videos / "deep"])
        filler = tiny_disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        with pytest.raises(StorageError, match=r"space|full") as raised:
            index_videos(library, [videos])
        assert "\n" not in str(raised.value)
        assert found(library, "green")[0] == "lawn.mkv"
        filler.unlink()
        assert [path.name for path in index_videos(library, [videos]).indexed] == ["flag.mp4"]
        assert found(library, "red")[0] == "flag.mp4"


def test_videos_are_decoded_in_the_same_threads() -> None:
    """OpenCV keeps something of every thread that ever looked for cuts."""
    seen = set()

    def items() -> Iterator[int]:
        seen.add(threading.get_ident())
        yield from range(5)

    assert list(run_ahead(items(), 2)) == [0, 1, 2, 3, 4]
    threads = set(threading.enumerate())
    for _ in range(10):
        assert list(run_ahead(items(), 2)) == [0, 1, 2, 3, 4]
    left_early = run_ahead(items(), 2)
    assert next(left_early) == 0
    left_early.close()
    assert list(run_ahead(items(), 2)) == [0, 1, 2, 3, 4]
    assert set(threading.enumerate()) == threads
    assert seen <= {thread.ident for thread in threads}
