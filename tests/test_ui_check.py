"""Check and repair, trying again, and the encoder: the sections of the Library view."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import ui
from indexer import index_videos
from ui import background, session
from vidsift.library import Library

APP = Path(ui.__file__).parent / "app.py"


@pytest.fixture
def served(colour_library, make_film, tmp_path) -> Iterator[Library]:
    """A library of three films, as the page has it open."""
    for name, colour in (("flag", "red"), ("lawn", "green"), ("sea", "blue")):
        make_film(tmp_path / "films" / f"{name}.mp4", [(colour, 2), ("yellow", 2)])
    index_videos(colour_library, [tmp_path / "films"])
    workspace = session.workspace(str(tmp_path / "library"))
    workspace._library = colour_library
    yield colour_library
    for kind in ("check", "repair"):
        if (job := background.newest(kind)) is not None:
            job.wait(60)
    session.workspace.clear()


def opened(section: str = "") -> AppTest:
    page = AppTest.from_file(str(APP), default_timeout=60).run()
    page.switch_page("view_library.py").run()
    if section:
        page.segmented_control(key="library-section").set_value(section).run()
    assert not page.exception
    return page


def bodies(page: AppTest) -> list[str]:
    found = [element.proto.body for element in page.get("html")]
    return [body for body in found if "<style>" not in body]


def texts(page: AppTest) -> str:
    return unescape(re.sub(r"<[^>]*>", "\n", "".join(bodies(page))))


def press(page: AppTest, key: str, *, until: str = "") -> AppTest:
    """Click, and wait for what that began in the background."""
    page.button(key=key).click().run()
    if until:
        background.newest(until).wait(60)
        page.run()
    assert not page.exception
    return page


def spoil(file: Path) -> None:
    """Change one byte in the middle of a file."""
    with file.open("r+b") as stream:  # in place, as a disk does it
        stream.seek(file.stat().st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(-1, 1)
        stream.write(bytes([byte ^ 0x40]))


def test_a_whole_library_is_checked_and_nothing_is_wrong(served):
    page = press(opened("Check and repair"), "check-now", until="check")
    assert page.success[0].value.startswith("Nothing is wrong")
    assert "repair-now" not in [button.key for button in page.button]


def test_what_is_damaged_is_named_said_beforehand_and_repaired(served):
    video = served.video("lawn.mp4")
    spoil(served.root / "features" / video.feature_file)
    spoil(served.thumbnail(served.video("sea.mp4"), 0))
    (served.root / "features" / "orphan.npy").write_bytes(b"left")
    page = press(opened("Check and repair"), "check-now", until="check")
    assert "3 gaps" in page.warning[0].value
    said = texts(page)
    assert "Features of videos (1)" in said
    assert "lawn.mp4" in said
    assert "index 2 videos anew from the file: lawn.mp4, sea.mp4" in said
    assert "remove 1 file that belongs to nothing" in said
    # From now on it answers no question of this page, which the head of every view says.
    assert "2 of 3 videos searchable" in said
    assert served.video("lawn.mp4").feature_file == video.feature_file  # nothing was changed
    page = press(page, "repair-now", until="repair")
    said = texts(page)
    assert f"indexed {video.path} anew" in said
    assert page.success[0].value.startswith("Nothing is wrong")
    assert "3 of 3 videos searchable" in said
    assert not (served.root / "features" / "orphan.npy").exists()


def test_a_repair_that_may_not_write_says_who_does_and_can_be_tried_again(served):
    spoil(served.root / "features" / served.video("lawn.mp4").feature_file)
    page = press(opened("Check and repair"), "check-now", until="check")
    with Library.open(served.root) as other, other.writing(command="vidsift index"):
        page = press(page, "repair-now", until="repair")
    (error,) = page.error
    assert "vidsift index, process" in error.value.replace("\\", "")
    assert "\n" not in error.value
    page = press(page, "repair-now", until="repair")
    assert page.success[0].value.startswith("Nothing is wrong")


def test_a_video_whose_file_is_away_is_taken_out_and_said_so(served):
    video = served.video("lawn.mp4")
    spoil(served.root / "features" / video.feature_file)
    video.path.rename(video.path.with_suffix(".away"))
    page = press(opened("Check and repair"), "check-now", until="check")
    assert "out of the search, damaged and with the file away: lawn.mp4" in texts(page)
    page = press(page, "repair-now", until="repair")
    assert "not searched: lawn.mp4" in texts(page)
    assert served.catalog.video(video.id).status != "searchable"
    assert [each.name for each in (v.path for v in served.catalog.videos("searchable"))] == [
        "flag.mp4",
        "sea.mp4",
    ]


def test_a_database_that_cannot_be_read_is_replaced_from_the_page(served, tmp_path):
    served.catalog.close()
    file = served.root / "catalog.sqlite3"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(file.read_bytes())
    content[:16] = b"no database here"
    file.write_bytes(content)
    session.current()._library = None
    page = opened()
    assert page.error  # and no traceback
    page = press(page, "check-now", until="check")
    assert "The database" in texts(page)
    page = press(page, "repair-now", until="repair")
    assert "3 of 3 videos searchable" in texts(page)
    (aside,) = served.root.glob("catalog.sqlite3.damaged-*")
    assert f"the damaged one is {aside}" in texts(page)
    assert page.success[0].value.startswith("Nothing is wrong")


def test_files_that_could_not_be_used_are_tried_again(served, make_film, tmp_path):
    broken = tmp_path / "films" / "broken.mp4"
    broken.write_text("no film")
    index_videos(served, [tmp_path / "films"])
    page = opened()
    assert "library-retry" in [button.key for button in page.button]
    page = press(page, "library-retry")
    session.current().job.wait(60)
    page.run()
    assert "1 not usable" in page.warning[0].value
    film = make_film(tmp_path / "good.mp4", [("red", 1)])
    shutil.copy(film, broken)
    page = press(page, "library-retry")
    session.current().job.wait(60)
    page.run()
    assert "1 indexed" in page.success[0].value
    assert "library-retry" not in [button.key for button in page.button]
