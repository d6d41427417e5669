"""The Alerts view: questions that stand, and what they found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import ui
from indexer import index_videos
from search.standing import standing_matches
from ui import session
from vidsift.library import Library
from vidsift.store import standing

APP = Path(ui.__file__).parent / "app.py"


@pytest.fixture
def served(colour_library, tmp_path) -> Iterator[Library]:
    session.workspace(str(tmp_path / "library"))._library = colour_library
    yield colour_library
    session.workspace.clear()


@pytest.fixture
def alerted(served, make_film, tmp_path) -> Library:
    """A library in which two questions found two films each."""
    for question in ("red <b>", "blue"):
        standing.add_question(served.catalog, question, 0.05)
    make_film(tmp_path / "films" / "flag.mp4", [("red", 4), ("green", 4), ("blue", 4)])
    make_film(tmp_path / "films" / "sea.mp4", [("blue", 4), ("cyan", 4), ("red", 4)])
    index_videos(served, [tmp_path / "films"])
    for due in standing.due(served.catalog):
        found = standing_matches(served, due.question.question, 0.999, [due.video_id])
        standing.record_answer(served.catalog, due, found[:1])
    assert len(standing.alerts(served.catalog)) == 4
    return served


def opened() -> AppTest:
    page = AppTest.from_file(str(APP), default_timeout=60).run()
    page.switch_page("view_alerts.py").run()
    assert not page.exception
    return page


def texts(page: AppTest) -> list[str]:
    bodies = [element.proto.body for element in page.get("html")]
    found = [re.sub(r"<[^>]*>", "\n", body) for body in bodies if "<style>" not in body]
    return [unescape(part) for body in found for part in body.split("\n") if part]


def add(page: AppTest, question: str, rate: float | None = None) -> AppTest:
    page.text_input(key="standing-question").set_value(question)
    if rate is not None:
        page.select_slider(key="standing-rate").set_value(rate)
    next(b for b in page.button if b.label == "Ask every new video").click().run()
    assert not page.exception
    return page


def test_a_question_is_added_and_removed(served):
    page = add(opened(), "a <i>red</i> car", 0.02)
    assert not page.error
    (question,) = standing.questions(served.catalog)
    assert (question.question, question.false_alarm_rate) == ("a <i>red</i> car", 0.02)
    assert "a <i>red</i> car" in texts(page)
    assert any(text.startswith("at most 1 video in 50 falsely") for text in texts(page))
    assert f"vidsift watch FOLDER --library {served.root}" in page.code[0].value
    assert "No question has found anything yet." in texts(page)
    page.button(key=f"removed-{question.id}").click().run()
    assert not page.exception
    assert not standing.questions(served.catalog)
    assert not page.code


@pytest.mark.parametrize(
    ("question", "said"), [("  ", "empty"), ('"red', "character"), ("tag:x", "only says which")]
)
def test_a_question_that_cannot_stand_is_one_line(served, question, said):
    page = add(opened(), question)
    assert said in page.error[0].value.replace("\\", "")
    assert not standing.questions(served.catalog)


def test_alerts_come_newest_first_with_picture_time_and_question(alerted):
    page = opened()
    newest = standing.alerts(alerted.catalog)[::-1]
    assert "4 alerts, 4 not seen" in texts(page)
    shown = [b.key for b in page.button if (b.key or "").startswith("seen-")]
    assert shown == [f"seen-{alert.id}" for alert in newest]
    assert len(page.image) == 4
    assert any("by chance" in text for text in texts(page))
    for element in page.get("html"):
        assert "red <b>" not in element.proto.body


def test_an_alert_is_played_and_then_seen(alerted):
    alert = standing.alerts(alerted.catalog)[0]
    page = opened()
    page.button(key=f"hit-alert-{alert.id}").click().run()
    assert not page.exception
    assert page.get("video")
    assert f"{alert.question}: {alert.video.name}" in texts(page)
    assert [each.seen for each in standing.alerts(alerted.catalog)] == [True, False, False, False]
    assert "4 alerts, 3 not seen" in texts(page)
    page.button(key=f"seen-{alert.id}").click().run()
    assert not any(each.seen for each in standing.alerts(alerted.catalog))
    page.button(key="alerts-all-seen").click().run()
    assert all(each.seen for each in standing.alerts(alerted.catalog))
    assert page.button(key="alerts-all-seen").disabled
    page.button(key="alert-close").click().run()
    assert not page.get("video")
    page.button(key=f"hit-alert-{alert.id}").click().run()
    page.button(key="alert-open").click().run()
    assert page.query_params["id"] == str(alert.video_id)


def test_an_alert_whose_video_is_gone_or_changed_says_so(alerted, make_film):
    first, *_ = standing.alerts(alerted.catalog)
    page = opened()
    first.video.unlink()
    page.button(key=f"hit-alert-{first.id}").click().run()
    assert not page.exception
    assert "is gone" in page.error[0].value.replace("\\", "")
    make_film(first.video, [("yellow", 5)])
    index_videos(alerted, [first.video.parent])
    page = opened()
    earlier = [text for text in texts(page) if "of an earlier version of the video" in text]
    assert len(earlier) == sum(a.video == first.video for a in standing.alerts(alerted.catalog))
    assert earlier
