"""One summary of many videos, on the Summaries view."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from html import unescape
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import ui
from indexer import index_videos
from ui import session
from vidsift.library import Library
from vidsift.media.probe import probe

APP = Path(ui.__file__).parent / "app.py"


@pytest.fixture
def served(colour_library, make_film, tmp_path) -> Iterator[Library]:
    """A library of three films, as the page has it open."""
    make_film(tmp_path / "films" / "flag.mp4", [("red", 4), ("green", 4), ("blue", 4)])
    make_film(tmp_path / "films" / "sea.mp4", [("cyan", 4), ("blue", 4)])
    make_film(tmp_path / "films" / "<b>rose.mp4", [("magenta", 4)])
    index_videos(colour_library, [tmp_path / "films"])
    session.workspace(str(tmp_path / "library"))._library = colour_library
    yield colour_library
    session.workspace.clear()


def opened(view: str = "view_summaries.py") -> AppTest:
    page = AppTest.from_file(str(APP), default_timeout=60).run()
    page.switch_page(view).run()
    assert not page.exception
    return page


def texts(page: AppTest) -> list[str]:
    bodies = [element.proto.body for element in page.get("html")]
    found = [re.sub(r"<[^>]*>", "\n", body) for body in bodies if "<style>" not in body]
    return [unescape(part) for body in found for part in body.split("\n") if part]


def ask(page: AppTest, question: str = "", seconds: float | None = None) -> AppTest:
    page.text_input(key="across-question").set_value(question)
    if seconds is not None:
        next(slider for slider in page.slider if slider.label == "Length").set_value(seconds)
    next(button for button in page.button if button.label == "Make one summary").click().run()
    assert not page.exception
    return page


def films(library: Library) -> list[Path]:
    return sorted(library.skims.glob("summaries/*/*.mp4"), key=lambda file: file.stat().st_mtime_ns)


def test_a_digest_of_all_is_made_watched_and_closed(served):
    page = ask(opened(), seconds=6.0)
    assert not page.error
    assert "sea.mp4, flag.mp4, <b>rose.mp4" in texts(page)
    assert any(text.startswith("6.0 s of 3 videos, 24.0 s, ") for text in texts(page))
    (film,) = films(served)
    assert probe(film).duration_seconds == pytest.approx(6.0, abs=0.2)
    assert page.get("video")
    taken = {button.label.split(":")[0].rstrip("\\") for button in page.get("download_button")}
    assert {"mp4", "html", "otio", "json"} <= taken
    held = {b.label.split(":")[0].rstrip("\\") for b in page.get("download_button") if b.disabled}
    assert {"chapters", "youtube", "ffmetadata"} <= held  # of one video each
    for element in page.get("html"):
        assert "<b>rose" not in element.proto.body
    page.button(key="across-close").click().run()
    assert not page.get("video")


def test_what_answers_a_question_is_taken_from_all(served):
    page = ask(opened(), "blue", 3.0)
    assert not page.error
    assert not page.info
    assert any(text.startswith("blue (") for text in texts(page))
    assert any("answers the question" in text or "near to" in text for text in texts(page))


def test_a_segment_opens_its_video_there_and_can_be_switched_off(served):
    page = ask(opened(), seconds=6.0)
    boxes = len(page.checkbox)
    page.checkbox[0].uncheck().run()
    assert any(f"{boxes - 1} of {boxes} segment" in text for text in texts(page))
    next(button for button in page.button if button.label.startswith("Render")).click().run()
    assert not page.error
    assert len(films(served)) == 2
    next(b for b in page.button if re.match(r":material/play_arrow: 0:", b.label)).click().run()
    assert not page.exception
    assert page.query_params["id"]
    assert 0 <= float(page.query_params["t"]) < 12


def test_only_the_videos_that_are_named_or_shown_are_in_it(served):
    page = opened()
    page.multiselect(key="across-videos").set_value([served.video("sea.mp4").id])
    page = ask(page, seconds=12.0)  # longer than that one: then all of it
    assert any(text.startswith("8.0 s of 8.0 s") for text in texts(page))
    page = opened()
    page.text_input(key="summaries-filter").set_value("flag").run()
    assert page.multiselect(key="across-videos").placeholder == "all 1 that are shown below"
    page = ask(page, seconds=3.0)
    assert "flag.mp4" in texts(page)
    assert any(text.startswith("3.0 s of 12.0 s") for text in texts(page))


def test_what_was_indexed_since_and_when_nothing_was(served):
    page = opened()
    page.date_input(key="across-since").set_value(date.today())
    assert not ask(page, seconds=3.0).error
    page = opened()
    page.date_input(key="across-since").set_value(date.today() + timedelta(days=2))
    page = ask(page, seconds=3.0)
    assert "no video of these was indexed since" in page.error[0].value.replace("\\", "")


def test_a_bad_question_is_one_line_and_the_form_stays(served):
    page = ask(opened(), '"red', 3.0)
    assert page.error
    assert page.text_input(key="across-question").value == '"red'
    assert not films(served)


def test_a_video_that_was_indexed_anew_makes_the_skim_one_to_make_again(served, make_film):
    page = ask(opened(), seconds=6.0)
    path = served.video("sea.mp4").path
    make_film(path, [("yellow", 5)])
    index_videos(served, [path.parent])
    page.run()
    assert not page.exception
    assert "Its videos have changed since it was made, or are gone; make it again." in texts(page)


def test_a_search_hands_its_question_to_the_form(served):
    page = opened("view_search.py")
    page.text_input(key="search-box").set_value("blue")
    page.button[0].click().run()
    label = "Make one summary of what answers this"
    next(button for button in page.button if button.label == label).click().run()
    assert not page.exception
    assert page.text_input(key="across-question").value == "blue"
