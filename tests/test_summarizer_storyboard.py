"""Storyboards: pictures that anyone can open, and a page that runs and fetches nothing."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from indexer import index_videos
from summarizer.skim import Skim, SkimPart
from summarizer.skim_reasons import skim_reasons
from summarizer.storyboard import draw_storyboard, storyboard
from summarizer.storyboard_page import storyboard_page
from vidsift.errors import DamagedLibraryError
from vidsift.types import SaliencyTerm, Segment, Span

NASTY = "<script>alert('a')</script> & \"x\" 日本 \u202e"


@pytest.fixture
def skim(colour_library, tmp_path, make_film):
    make_film(tmp_path / "videos" / "a <b> & 'c'.mp4", [("red", 3), ("blue", 3)])
    index_videos(colour_library, [tmp_path / "videos"])
    (video,) = colour_library.catalog.videos()
    terms = (SaliencyTerm("representativeness", 0.5, 1.0),)
    parts = (
        SkimPart(video, Segment(Span(0.5, 2.0), 0.5, terms)),
        SkimPart(video, Segment(Span(3.5, 5.0), 0.25)),
    )
    return Skim(video.path.name, NASTY, parts, 3.0, matched=False)


def test_a_storyboard_is_about_square_and_bounded():
    picture = io.BytesIO()
    Image.new("RGB", (64, 36), "red").save(picture, "JPEG")
    for number, size in [(1, (336, 222)), (5, (992, 436)), (200, (1976, 1078))]:
        spans = [Span(float(i), i + 1.0) for i in range(number)]
        sheet = Image.open(io.BytesIO(draw_storyboard([picture.getvalue()] * number, spans)))
        assert sheet.size == size
        noted = draw_storyboard([picture.getvalue()] * number, spans, "PNG", notes=["why"] * number)
        assert Image.open(io.BytesIO(noted)).height > sheet.height


def test_a_storyboard_shows_each_segment_of_its_own_picture(colour_library, skim):
    sheet = Image.open(io.BytesIO(storyboard(colour_library, skim))).convert("RGB")
    red, blue = sheet.getpixel((168, 98)), sheet.getpixel((496, 98))
    assert red[0] > 200 > red[2]
    assert blue[2] > 200 > blue[0]


def test_a_note_of_any_length_stays_in_its_cell():
    picture = io.BytesIO()
    Image.new("RGB", (64, 36), "black").save(picture, "JPEG")
    spans = [Span(0.0, 1.0), Span(1.0, 2.0)]
    for note in ("word " * 100, "\n" * 50 + "x" * 500):
        sheet = draw_storyboard([picture.getvalue()] * 2, spans, "PNG", notes=[note, ""])
        image = Image.open(io.BytesIO(sheet)).convert("L")
        assert max(image.crop((330, 215, 664, image.height)).tobytes()) < 40


def test_a_lost_thumbnail_says_what_to_do(colour_library, skim):
    for picture in colour_library.pictures(skim.videos[0]).glob("0*.jpg"):
        picture.unlink()
    for make in (storyboard, storyboard_page):
        with pytest.raises(DamagedLibraryError, match="run `vidsift index`"):
            make(colour_library, skim)


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_the_page_holds_all_and_needs_nothing(colour_library, skim):
    text = storyboard_page(colour_library, skim)
    page = Page(text)
    pictures = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    assert len(pictures) == 2
    for source, channel in zip(pictures, (0, 2), strict=True):
        kind, _, data = str(source).partition(",")
        assert kind == "data:image/jpeg;base64"
        pixel = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB").getpixel((40, 30))
        assert pixel[channel] > 200
    assert "0:00.5 - 0:02.0" in page.text
    assert "1.5 s, at 0:01.5 of the summary" in page.text
    assert "0:03.0 of 0:06.0, 2 segments" in page.text
    why = skim_reasons(colour_library, skim)
    assert why[0]
    assert not why[1]
    assert why[0] in page.text
    assert "Nothing here matches that" in page.text
    assert not re.search(r"https?:|//", re.sub(r"base64,[^\"]+", "", text))


def test_nothing_of_a_stranger_becomes_markup(colour_library, skim):
    page = Page(storyboard_page(colour_library, skim))
    assert NASTY in page.text
    assert "a <b> & 'c'.mp4" in page.text
    known = {"html", "head", "meta", "title", "style", "body", "main", "h1", "p", "q", "svg"}
    assert {tag for tag, _ in page.tags} == known | {"rect", "ol", "li", "img", "div", "footer"}
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


def test_the_pages_policy_lets_its_own_style_and_nothing_else(colour_library, skim):
    text = storyboard_page(colour_library, skim)
    page = Page(text)
    (policy,) = (a["content"] for tag, a in page.tags if a.get("http-equiv"))
    style = text.partition("<style>")[2].partition("</style>")[0]
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{allowed}';"
        " base-uri 'none'; form-action 'none'"
    )
    assert not any("style" in attrs for _, attrs in page.tags)


def test_a_part_of_a_skim_of_many_does_not_claim_to_stand_for_one_film(colour_library, skim):
    assert "of the film" in skim_reasons(colour_library, skim)[0]
    many = dataclasses.replace(skim, title="67 videos")
    assert "of all that was there to choose from" in skim_reasons(colour_library, many)[0]
