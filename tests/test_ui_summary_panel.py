"""Summaries on the Video view: segments, curve, files, chapters and what is unusual."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from streamlit.runtime.scriptrunner_utils.exceptions import StopException
from streamlit.testing.v1 import AppTest

import ui
from indexer import index_videos
from summarizer import Skim, summarize
from summarizer.skim import SkimPart
from ui import preview, rendering, session, skim_downloads, skim_panel, summary_panel
from ui.saliency_chart import saliency_html
from vidsift.errors import MediaError
from vidsift.library import Library
from vidsift.media.probe import probe
from vidsift.types import Segment, Span

APP = Path(ui.__file__).parent / "app.py"
SRT = "1\n00:00:04,000 --> 00:00:06,000\nThe sea is blue.\n"


@pytest.fixture
def served(colour_library, make_film, tmp_path) -> Iterator[Library]:
    """A library of four films of plain colours, one of which says something, as the page has it."""
    shots = [("red", 4), ("green", 4), ("blue", 4), ("yellow", 4), ("magenta", 4)]
    make_film(tmp_path / "films" / "flag.mp4", shots, sound=True, rate=25)
    make_film(tmp_path / "films" / "lawn.mp4", [("green", 4), ("cyan", 4)])
    make_film(tmp_path / "films" / "blink.mp4", [("red", 1)])
    make_film(tmp_path / "films" / "sea.mp4", [("red", 4), ("blue", 4)], rate=25)
    (tmp_path / "films" / "sea.srt").write_text(SRT)
    index_videos(colour_library, [tmp_path / "films"])
    workspace = session.workspace(str(tmp_path / "library"))
    workspace._library = colour_library
    yield colour_library
    session.workspace.clear()


def opened(view: str = "view_video.py", **address: str) -> AppTest:
    page = AppTest.from_file(str(APP), default_timeout=60).run()
    for key, value in address.items():
        page.query_params[key] = value
    page.switch_page(view)
    page.run()
    assert not page.exception
    return page


def texts(page: AppTest) -> list[str]:
    bodies = [element.proto.body for element in page.get("html")]
    found = [re.sub(r"<[^>]*>", "\n", body) for body in bodies if "<style>" not in body]
    return [unescape(part) for body in found for part in body.split("\n") if part]


def markup(page: AppTest, kind: str) -> str:
    return "".join(e.proto.body for e in page.get("html") if f'class="vs-{kind}"' in e.proto.body)


def press(page: AppTest, label: str) -> AppTest:
    next(button for button in page.button if button.label.startswith(label)).click().run()
    assert not page.exception
    return page


def make(page: AppTest, video_id: int, *, about: str = "", seconds: float | None = None) -> AppTest:
    page.text_input(key=f"summary-question-{video_id}").set_value(about)
    if seconds is not None:
        page.slider(key=f"summary-length-{video_id}").set_value(seconds)
    return press(page, "Make summary")


def section(page: AppTest, name: str) -> AppTest:
    page.segmented_control(key="video-section").set_value(name).run()
    assert not page.exception
    return page


def films(library: Library) -> list[Path]:
    return sorted(library.skims.glob("summaries/*/*.mp4"), key=lambda file: file.stat().st_mtime_ns)


def test_segments_are_switched_off_and_the_rest_is_rendered(served):
    video = served.video("flag.mp4")
    page = make(opened(id=str(video.id)), video.id, seconds=10.0)
    assert not page.error
    (whole,) = films(served)
    assert probe(whole).duration_seconds == pytest.approx(10.0, abs=0.2)
    boxes = page.checkbox
    assert len(boxes) == 5
    assert sum(float(box.label.removesuffix(" s")) for box in boxes) == pytest.approx(10.0, abs=0.3)
    assert any("of the kinds of thing" in text or "stands for" in text for text in texts(page))
    page.checkbox[1].uncheck().run()
    page.checkbox[3].uncheck().run()
    (left,) = [text for text in texts(page) if "left," in text]
    assert left.endswith("left, 3 of 5 segments on")
    seconds = float(left.split(" s of ")[0])
    assert seconds < 7.0
    # The first stays to be watched until the second is there.
    assert len(films(served)) == 1
    assert len(page.get("video")) == 2
    page = press(page, "Render the changed summary")
    assert not page.error
    assert len(films(served)) == 2
    assert probe(films(served)[-1]).duration_seconds == pytest.approx(seconds, abs=0.2)
    assert not [b for b in page.button if b.label.startswith("Render")]
    page = press(page, "Switch all on")
    assert "10.0 s of 20.0 s, 5 segments" in texts(page)
    for box in range(5):
        page.checkbox[box].uncheck().run()
    assert not page.exception
    assert "Every segment is switched off" in page.info[0].value
    assert not page.get("download_button")
    assert not page.exception


def test_what_is_switched_off_outlives_a_look_at_another_view(served):
    page = opened(id=str(served.video("flag.mp4").id))
    page.checkbox[0].uncheck().run()
    before = [box.value for box in page.checkbox]
    page.switch_page("view_library.py").run()
    page.switch_page("view_video.py").run()
    assert [box.value for box in page.checkbox] == before
    assert before.count(False) == 1


def test_the_curve_and_the_timeline_mark_what_is_chosen_on_one_axis(served):
    video = served.video("flag.mp4")
    page = make(opened(id=str(video.id)), video.id, about="blue", seconds=3.0)

    def places(kind: str, part: str) -> list[str]:
        return re.findall(rf'class="{part}" style="(left:[^"]*)"', markup(page, kind))

    chosen = places("curve", "on")
    assert chosen == places("timeline", "segment")
    assert chosen
    page.checkbox[0].uncheck().run()
    assert places("curve", "off") == chosen[:1]
    assert places("timeline", "segment") == chosen[1:]
    # Blue is what was asked for, and lies between 8 and 12 s.
    values = re.findall(r"0:(\d\d\.\d): saliency ([\d.]+) a second", markup(page, "curve"))
    assert 8 <= float(max(values, key=lambda pair: float(pair[1]))[0]) < 12


def test_the_curve_is_drawn_of_the_highest_values_and_says_each():
    pts = np.arange(1000, dtype=np.float64)
    values = np.zeros(1000)
    values[700] = 2.0
    html = saliency_html(pts, values, 1000.0, [Span(699.0, 702.0)], [Span(0.0, 5.0)])
    points = re.findall(r'class="point"[^>]*title="([^"]*)"', html)
    assert len(points) <= 360
    assert [point for point in points if "2.0000" in point] == ["11:39.0: saliency 2.0000 a second"]
    assert 'class="on" style="left:69.900%;width:0.300%"' in html
    assert 'class="off" style="left:0.000%;width:0.500%"' in html
    assert "69.90% 6.0%,70.20% 6.0%" in html


def test_a_question_that_nothing_matches_offers_the_whole_video(served, monkeypatch):
    video = served.video("lawn.mp4")
    page = make(opened(id=str(video.id)), video.id, about="red", seconds=2.0)
    (summary,) = [each for each in served.catalog.summaries(video.id) if each.query == "red"]
    served.catalog.save_summary(video.id, dataclasses.replace(summary, matched=False))
    page = opened(id=str(video.id))
    page.session_state[f"summary-next-{video.id}"] = ("red", 2.0)
    page.run()
    assert "Nothing in this video matches “red”" in page.info[0].value
    page = press(page, "Summary of the whole video")
    assert not page.info
    assert ("", 2.0) in [(s.query, s.budget_seconds) for s in served.catalog.summaries(video.id)]
    assert page.session_state[f"summary-of-{video.id}"] == ("", 2.0)


def test_chapters_words_and_unusual_moments_play_from_where_they_are(served):
    video = served.video("sea.mp4")
    page = section(opened(id=str(video.id)), "Chapters")
    assert page.button(key=f"chapter-{video.id}-0").label == "0:00"
    page = make(page, video.id, about="blue", seconds=3.0)
    page = section(page, "In words")
    assert "The sea is blue." in texts(page)
    page.button(key=f"written-{video.id}-0").click().run()
    assert page.query_params["t"] == "4.00"
    assert "0:04.0 - 0:08.0 of 0:08.0" in texts(page)

    video = served.video("flag.mp4")
    page = section(opened(id=str(video.id)), "Unusual moments")
    page = press(page, "Look for unusual moments")
    assert any("Compared with the rest of the video" in text for text in texts(page))
    assert not page.error


def test_too_short_a_video_says_so_in_one_line_and_has_a_summary(served):
    video = served.video("blink.mp4")
    page = section(opened(id=str(video.id)), "Unusual moments")
    page = press(page, "Look for unusual moments")
    assert "too few clips" in page.error[0].value
    page = section(page, "Summary")
    assert len(page.checkbox) == 1
    page = press(page, "Play the summary")
    assert not page.error
    assert len(films(served)) == 1


def test_a_format_that_cannot_hold_the_summary_says_why(served):
    page = opened(id=str(served.video("flag.mp4").id))
    buttons = {b.label.split(":")[0].rstrip("\\"): b for b in page.get("download_button")}
    assert set(buttons) | {"mp4"} == {
        "mp4", "png", "html", "srt", "vtt", "edl", "otio", "ffmetadata", "chapters", "youtube",
        "text", "json",
    }  # fmt: skip
    off = {name for name, button in buttons.items() if button.disabled}
    assert off == {"srt", "vtt"}
    assert "no subtitles" in buttons["srt"].help
    page = press(page, r"mp4")  # is rendered before it can be downloaded
    assert "mp4" in {b.label.split(":")[0].rstrip("\\") for b in page.get("download_button")}
    assert len(films(served)) == 1


def test_files_are_made_when_asked_for_and_hold_the_segments_that_are_on(served):
    video = served.video("sea.mp4")
    skim = Skim.of(video, summarize(served, video, seconds=6.0))
    for name, sign in (
        ("srt", b"The sea is blue."),
        ("json", b'"budget_seconds"'),
        ("edl", b"TITLE"),
    ):
        assert sign in skim_downloads._made(served, skim, name)()
    assert not list(served.skims.glob("summaries/*/*"))


def test_a_rendering_that_is_interrupted_goes_on_and_one_that_fails_is_forgotten(
    served, monkeypatch
):
    video = served.video("flag.mp4")
    real = preview.skim_files

    def leave(*_args, **_options):
        raise StopException  # as Streamlit ends a script whose view was left

    page = opened(id=str(video.id))
    monkeypatch.setattr(preview, "skim_files", leave)
    next(button for button in page.button if button.label == "Play the summary").click().run()
    assert not films(served)
    monkeypatch.setattr(preview, "skim_files", real)
    page.run()
    assert not page.exception
    assert len(films(served)) == 1

    def fail(*_args, **_options):
        raise MediaError(video.path, "cannot be rendered")

    monkeypatch.setattr(preview, "skim_files", fail)
    page.checkbox[0].uncheck().run()
    page = press(page, "Render the changed summary")
    assert "cannot be rendered" in page.error[0].value
    page.run()
    assert not page.error  # it is not tried again and again


def test_a_library_that_cannot_be_written_is_one_line(served):
    (served.skims / "moments").mkdir(parents=True, exist_ok=True)
    (served.skims / "summaries").write_text("no folder")
    page = press(opened(id=str(served.video("flag.mp4").id)), "Play the summary")
    (error,) = page.error
    assert "cannot be written" in error.value.replace("\\", "")
    assert page.get("video")  # the video itself
    # What is small is made elsewhere, and can be taken away all the same.
    skim = Skim.of(video := served.video("sea.mp4"), summarize(served, video))
    assert b"<html" in skim_downloads._made(served, skim, "html")()


def test_a_blurred_film_is_made_anew_and_the_sharp_one_is_never_shown_for_it(served):
    video = served.video("flag.mp4")
    place = summary_panel.place_of(video)
    page = press(opened(id=str(video.id)), "Play the summary")
    (sharp,) = films(served)
    assert len(page.get("video")) == 2
    page.toggle(key=f"blur-{place}").set_value(True).run()
    assert not page.exception
    assert len(page.get("video")) == 1  # the video itself
    takes = [each.label for each in page.get("download_button")]
    assert not [label for label in takes if label.startswith("mp4")]
    page = press(page, "Play the summary")
    assert not page.error
    _, blurred = films(served)
    assert blurred.parent != sharp.parent
    assert len(page.get("video")) == 2
    # What is switched off now leaves the blurred one there, never the sharp one.
    page.checkbox[0].uncheck().run()
    assert len(page.get("video")) == 2
    page.toggle(key=f"blur-{place}").set_value(False).run()
    page = press(page, "Switch all on")
    assert len(page.get("video")) == 2
    assert len(films(served)) == 2


def test_another_skim_begins_with_all_segments_on(served):
    video = served.video("flag.mp4")

    def skim(*starts: float) -> Skim:
        parts = [SkimPart(video, Segment(Span(s, s + 1), 1.0)) for s in starts]
        return Skim("flag.mp4", "", tuple(parts), float(len(parts)))

    first, second = skim(0.0, 4.0, 8.0), skim(1.0, 4.0, 8.0)
    skim_panel._switch(first, "here", 1)
    assert skim_panel.is_off(first, "here") == [False, True, False]
    assert skim_panel.kept(first, "here").budget_seconds == pytest.approx(2.0)
    assert skim_panel.is_off(second, "here") == [False] * 3
    assert skim_panel.kept(second, "here") is second
    assert skim_panel.is_off(first, "there") == [False] * 3
    assert rendering.last_played("here") is None
