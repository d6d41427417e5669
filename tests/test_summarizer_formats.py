"""Sets of files: whole or not at all, never over somebody else's, refused before any work."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess

import pytest

from indexer import index_videos
from summarizer import FORMATS, summarize, write_skim, write_summary
from summarizer.formats import Format, possible_formats
from summarizer.skim import Skim, SkimPart
from summarizer.write import skim_name
from vidsift.errors import MediaError, StorageError, SummaryError
from vidsift.library import Library
from vidsift.types import Segment, Span

QUICK = ("png", "html", "otio", "json")


@pytest.fixture(scope="module")
def home(tmp_path_factory, make_film):
    folder = tmp_path_factory.mktemp("formats")
    shots = [("red", 3), ("blue", 3), ("green", 3)]
    make_film(folder / "videos" / "flag.mp4", shots, sound=True, rate=25)
    return folder


@pytest.fixture
def indexed(home, colour_encoder):
    """A library of one film, both for tests that change neither."""
    made = (home / "library").exists()
    with Library.open(home / "library", create=True, encoder="colour") as library:
        library.__dict__["encoder"] = colour_encoder
        if not made:
            assert not index_videos(library, [home / "videos"]).failed
        yield library


@pytest.fixture
def own(home, colour_library, tmp_path):
    """The same for tests that change them."""
    shutil.copytree(home / "videos", tmp_path / "videos")
    index_videos(colour_library, [tmp_path / "videos"])
    return colour_library


def skim_of(library):
    video = library.video("flag.mp4")
    return Skim.of(video, summarize(library, video))


@pytest.fixture
def skim(indexed):
    return skim_of(indexed)


def test_every_possible_format_is_written(indexed, skim, tmp_path):
    possible, reasons = possible_formats(indexed, skim)
    assert set(possible) | set(reasons) == set(FORMATS)
    assert {"srt", "vtt"} <= set(reasons)
    assert "vidsift transcribe" in reasons["srt"]
    files = write_skim(indexed, skim, tmp_path / "out", possible)
    assert list(files) == possible
    assert sorted(files.values()) == sorted((tmp_path / "out").iterdir())
    assert all(file.name == f"flag.summary{FORMATS[name].suffix}" for name, file in files.items())
    assert all(file.stat().st_size > 30 for file in files.values())
    listed = json.loads(files["json"].read_text())["files"]
    keys = {"mp4": "video", "png": "storyboard"}
    assert listed == {keys.get(name, name): str(file) for name, file in files.items()}


def test_no_two_formats_share_a_suffix():
    assert len({form.suffix for form in FORMATS.values()}) == len(FORMATS)


@pytest.mark.parametrize(
    ("formats", "words"),
    [(["mp3"], r"'mp3': no such format; there are mp4, png, "), ([], "no format is named")],
)
def test_an_unknown_format_is_refused(indexed, skim, tmp_path, formats, words):
    with pytest.raises(SummaryError, match=words):
        write_skim(indexed, skim, tmp_path / "out", formats)
    assert not (tmp_path / "out").exists()


def test_what_a_format_cannot_hold_is_refused_before_anything_is_done(indexed, skim, tmp_path):
    with pytest.raises(SummaryError, match="no subtitles"):
        write_skim(indexed, skim, tmp_path / "out", ["mp4", "srt"])
    assert not (tmp_path / "out").exists()


def test_nothing_of_the_user_is_overwritten(indexed, skim, tmp_path):
    (tmp_path / "flag.summary.otio").write_text("mine")
    first = write_skim(indexed, skim, tmp_path, QUICK)
    assert {file.name.partition(".")[2].partition(".")[0] for file in first.values()} == {
        "summary-2"
    }
    assert (tmp_path / "flag.summary.otio").read_text() == "mine"
    # The same skim again takes its own place again, and so do further formats of it.
    assert write_skim(indexed, skim, tmp_path, QUICK) == first
    assert write_skim(indexed, skim, tmp_path, ["edl", "json"])["edl"].name == "flag.summary-2.edl"
    assert set(json.loads(first["json"].read_text())["files"]) == {
        "storyboard",
        "html",
        "otio",
        "edl",
        "json",
    }
    video = indexed.video("flag.mp4")
    other = write_summary(indexed, video, summarize(indexed, video, seconds=2.0), tmp_path, QUICK)
    assert other["json"].name == "flag.summary-3.json"


def test_the_same_again_without_a_manifest_takes_its_place(indexed, skim, tmp_path):
    for form in ("otio", "html", "mp4"):
        first = write_skim(indexed, skim, tmp_path, [form])
        assert write_skim(indexed, skim, tmp_path, [form]) == first
    video = indexed.video("flag.mp4")
    other = write_summary(
        indexed, video, summarize(indexed, video, seconds=2.0), tmp_path, ["otio"]
    )
    assert other["otio"].name == "flag.summary-2.otio"


def test_beside_somebody_elses_manifest_nothing_is_written(indexed, skim, tmp_path):
    for theirs in ('{"segments": 3}', "no json"):
        (tmp_path / "flag.summary.json").write_text(theirs)
        for form in ("otio", "json"):
            files = write_skim(indexed, skim, tmp_path, [form])
            assert files[form].name == f"flag.summary-2.{form}"
        assert (tmp_path / "flag.summary.json").read_text() == theirs


def test_a_link_that_leads_nowhere_is_not_written_through(indexed, skim, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "flag.summary.otio").symlink_to(tmp_path / "elsewhere")
    files = write_skim(indexed, skim, tmp_path / "out", ["otio"])
    assert files["otio"].name == "flag.summary-2.otio"
    assert not (tmp_path / "elsewhere").exists()


def test_an_error_in_the_last_format_takes_the_others_with_it(indexed, skim, tmp_path):
    def fail(*_):
        raise MediaError(skim.videos[0].path, "broke")

    broken = Format("html", ".html", "", fail)
    out = tmp_path / "deep" / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FORMATS, "html", broken)
        with pytest.raises(MediaError, match="broke"):
            write_skim(indexed, skim, out, ["otio", "json", "html"])
        assert not out.exists()
        out.mkdir(parents=True)
        with pytest.raises(MediaError, match="broke"):
            write_skim(indexed, skim, out, ["otio", "json", "html"])
    assert list(out.iterdir()) == []


def test_a_name_that_cannot_be_taken_takes_back_the_others(indexed, skim, tmp_path, monkeypatch):
    files = write_skim(indexed, skim, tmp_path, ["json"])
    (tmp_path / "flag.summary.html").mkdir()  # a folder cannot be replaced by a file
    with pytest.raises(StorageError, match=f"{tmp_path}: cannot be written"):
        write_skim(indexed, skim, tmp_path, ["otio", "html", "json"])
    assert sorted(file.name for file in tmp_path.glob("flag.*")) == [
        "flag.summary.html",
        files["json"].name,
    ]


def test_an_output_that_is_a_file_or_below_one(indexed, skim, tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match="name a") as caught:
            write_skim(indexed, skim, out, ["otio"])
        assert "\n" not in str(caught.value)


@pytest.fixture
def tiny_disk(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("formats", [["png", "html"], ["mp4"], ["otio", "mp4", "json"]])
def test_a_disk_that_is_full_leaves_nothing(indexed, skim, tiny_disk, formats):
    (tiny_disk / "theirs").write_bytes(b"x" * 4000)
    with pytest.raises(StorageError) as caught:
        write_skim(indexed, skim, tiny_disk, formats)
    assert [file.name for file in tiny_disk.iterdir()] == ["theirs"]
    assert re.fullmatch(rf"{tiny_disk}: [^\n]*", str(caught.value))
    assert " space" in str(caught.value)


def test_a_video_that_has_moved_costs_only_what_needs_it(own, tmp_path):
    skim = skim_of(own)
    path = skim.videos[0].path
    path.rename(path.with_name("elsewhere.mp4"))
    with pytest.raises(MediaError, match="is gone since it was indexed"):
        write_skim(own, skim, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    files = write_skim(own, skim, tmp_path / "out", ["png", "html", "edl", "otio", "json"])
    assert len(files) == 5


def test_a_video_that_was_replaced_is_not_cut(own, tmp_path, make_film):
    skim = skim_of(own)
    path = skim.videos[0].path
    content = path.read_bytes()
    os.utime(path, (1, 1))  # only touched: the same content
    assert write_skim(own, skim, tmp_path / "out", ["mp4"])
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(MediaError, match="other content than when it was indexed"):
        write_skim(own, skim, tmp_path / "out")
    make_film(path, [("yellow", 9)])
    with pytest.raises(MediaError, match="other content than when it was indexed"):
        write_skim(own, skim, tmp_path / "out")


def test_a_skim_of_several_videos_in_every_form(own, tmp_path, make_film):
    make_film(tmp_path / "videos" / "wall.mp4", [("yellow", 4)], rate=25)
    index_videos(own, [tmp_path / "videos"])
    parts = tuple(
        SkimPart(own.video(name), Segment(Span(1.0, 2.0), 0.5))
        for name in ("flag.mp4", "wall.mp4", "flag.mp4")
    )
    several = Skim("the library", "walls & flags", parts, 3.0)
    possible, _ = possible_formats(own, several)
    assert {"mp4", "png", "html", "edl", "otio", "json"} <= set(possible)
    files = write_skim(own, several, tmp_path / "out", possible)
    assert files["mp4"].name == "2-videos.walls-flags.mp4"
    page = files["html"].read_text()
    assert page.count("wall.mp4") == 2
    assert "walls &amp; flags" in page


def test_names_fit_into_file_systems(indexed, skim):
    video = dataclasses.replace(skim.videos[0], path=skim.videos[0].path.with_name("é" * 125))
    part = SkimPart(video, skim.parts[0].segment)
    name = skim_name(Skim("", "red/../walls " * 50, (part,), 1.0))
    assert len(os.fsencode(name)) <= 181
    assert not {"/", "\0"} & set(name)
