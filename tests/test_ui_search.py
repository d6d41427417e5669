"""The Search view and the tags of the Video view, run by Streamlit's own test runner."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

import ui
from indexer import index_videos
from ui import session
from ui.sureness import sure_in_short, sure_in_words
from vidsift.library import Library
from vidsift.store.tags import change_tags, tags_of_videos

APP = Path(ui.__file__).parent / "app.py"
HOSTILE = "<b>[x](http:evil) `_&amp;_`.mp4"
ALIKE = (HOSTILE, "copy.mp4")  # which of them stands for both depends on who was first
CUES = "1\n00:00:00,500 --> 00:00:02,500\nGood morning, <b>everybody</b> *there*\n"


@pytest.fixture(scope="module")
def films(tmp_path_factory, make_film) -> Path:
    """Films of plain colours, two of them alike, one with subtitles beside it."""
    folder = tmp_path_factory.mktemp("films") / "videos"
    make_film(folder / "flag.mp4", [("red", 3), ("green", 2), ("blue", 3)])
    make_film(folder / HOSTILE, [("magenta", 2), ("cyan", 2)])
    shutil.copy(folder / HOSTILE, folder / "copy.mp4")
    with (folder / "copy.mp4").open("ab") as copy:
        copy.write(b"x")  # another content, for all that ffmpeg cares the same
    make_film(folder / "talk.mp4", [("yellow", 3)])
    (folder / "talk.srt").write_text(CUES)
    return folder


@pytest.fixture
def served(tmp_path, films, colour_encoder) -> Iterator[Library]:
    """The library of those films, as the page has it open."""
    indexed = films.parent / "library"
    if not indexed.exists():
        with Library.open(indexed, create=True, encoder="colour") as library:
            library.__dict__["encoder"] = colour_encoder
            index_videos(library, [films])
    workspace = session.workspace(str(tmp_path / "library"))
    shutil.copytree(indexed, workspace.root)
    library = workspace.library()
    library.__dict__["encoder"] = colour_encoder
    yield library
    library.close()
    session.workspace.clear()


def searched(**address: str) -> AppTest:
    page = AppTest.from_file(str(APP), default_timeout=60).run()
    for key, value in address.items():
        page.query_params[key] = value
    page.switch_page("view_search.py").run()
    assert not page.exception
    return page


def texts(page: AppTest) -> list[str]:
    """What the page's own elements say, line by line, without the style sheet."""
    bodies = [element.proto.body for element in page.get("html")]
    found = [re.sub(r"<[^>]*>", "\n", body) for body in bodies if "<style>" not in body]
    return [unescape(part) for body in found for part in body.split("\n") if part]


def names(page: AppTest) -> list[str]:
    """The videos that cards show; those that the head of the view lacks have no card."""
    bodies = [element.proto.body for element in page.get("html")]
    shown = [
        each for body in bodies for each in re.findall(r'<div class="vs-name"[^>]*>(.*?)<', body)
    ]
    return [name for name in map(unescape, shown) if name.endswith(".mp4")]


def errors(page: AppTest) -> list[str]:
    return [error.value.replace("\\", "") for error in page.error]


def press(page: AppTest, key: str) -> AppTest:
    page.button(key=key).click().run()
    assert not page.exception
    return page


def labelled(page: AppTest, label: str) -> AppTest:
    """Press the one button that says this."""
    (button,) = [button for button in page.button if button.label == label]
    return press(page, button.key)


def png(colour: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(content, "PNG")
    return content.getvalue()


def upload(page: AppTest, name: str, content: bytes) -> AppTest:
    page.file_uploader[0].upload(name, content, "image/png").run()
    assert not page.exception
    return page


def test_before_a_question_there_is_the_form_alone(served):
    page = searched()
    assert page.text_input(key="search-box").value == ""
    assert names(page) == []
    assert not page.error


def test_a_card_says_how_sure_it_is_and_what_does_not_match_is_dimmed(served):
    page = searched(q="yellow")
    said = texts(page)
    assert said[said.index("talk.mp4") + 1].startswith("match, ")
    other = next(name for name in names(page) if name in ALIKE)
    assert said[said.index(other) + 1].startswith("no match")
    assert not page.info
    assert page.get_by_key("tile-clip-m0")
    assert page.get_by_key("tile-weak-m1")


def test_where_nothing_matches_the_nearest_are_shown(served):
    page = searched(q="a giraffe")  # grey: as near to one colour as to another
    assert page.info[0].value.startswith("Nothing here matches.")
    assert names(page)
    assert page.get_by_key("tile-clip-m0")  # if all were dimmed, that would say nothing


@pytest.mark.parametrize(
    ("rate", "short", "words"),
    [
        (None, "", "cannot be told"),
        (0.0, "match, < 1 in 1,000 by chance", "so this is a match"),
        (0.05, "match, 1 in 20 by chance", "so this is a match"),
        (0.06, "no match, 1 in 17 by chance", "so this is no match"),
        (0.4, "no match, 40% by chance", "up to 1 in 20 counts as a match"),
        (0.999, "no match", "Nearly every question"),
    ],
)
def test_how_sure_in_words(rate, short, words):
    assert sure_in_short(rate, 0.05) == short
    assert words in sure_in_words(rate, 0.05)


def test_a_question_that_breaks_the_grammar_points_at_the_character(served):
    page = searched(q='red "blue')
    (error,) = errors(page)
    assert error.startswith("question, character 5: ")
    assert page.code[0].value == 'red "blue\n    ^'


def test_an_order_shows_a_time_for_each_part_and_takes_no_likes(served):
    page = searched(q='"red" then<20s "blue"')
    assert names(page)[0] == "flag.mp4"
    assert "at 0:00.0, then 0:05.0" in texts(page)
    assert "yes-0" not in [button.key for button in page.button]


def test_several_terms_and_what_is_excluded(served):
    assert names(searched(q='"magenta" "cyan"'))[0] in ALIKE
    with_green = names(searched(q="green video:flag"))
    assert set(with_green) == {"flag.mp4"}


def test_likes_are_seen_change_the_answer_and_are_taken_back(served):
    page = searched(q="yellow")
    before = texts(page)
    assert names(page)[0] == "talk.mp4"
    liked = names(page)[1]
    assert liked in ALIKE
    page = press(page, "yes-1")
    assert "more like 1" in texts(page)
    assert texts(page) != before
    (chosen,) = [b for b in page.button if b.label == "Take back: more like this one"]
    assert names(page)[int(chosen.key[-1])] == liked
    page = press(page, f"no-{chosen.key[-1]}")  # from one judgement to the other
    assert "less like 1" in texts(page)
    page = labelled(page, "Take back")
    assert texts(page) == before
    page = press(press(page, "yes-0"), "yes-0")  # a second click takes it back, too
    assert texts(page) == before


def test_another_question_forgets_what_was_liked(served):
    page = press(searched(q="red"), "yes-0")
    assert "more like 1" in texts(page)
    page.query_params["q"] = "blue"  # a link, or a step back in the browser
    page.run()
    assert "more like 1" not in texts(page)
    assert page.text_input(key="search-box").value == "blue"


def test_moments_like_one_stand_in_the_address(served):
    page = press(searched(q="blue"), "like-0")
    video = served.video("flag.mp4").id
    assert page.query_params["like"].startswith(f"{video}@")
    assert any(text.startswith("moments like flag.mp4 at ") for text in texts(page))
    assert names(page)[0] == "flag.mp4"
    shared = searched(like=page.query_params["like"])
    assert names(shared) == names(page)
    page = labelled(page, "Leave the moment out")
    assert names(page) == []


@pytest.mark.parametrize("like", ["4711@3", "flag.mp4@soon", "1@1e9", "@", "<b>@2"])
def test_an_address_that_names_no_moment_is_one_line(served, like):
    (error,) = errors(searched(like=like))
    assert "\n" not in error


def test_a_picture_is_searched_with_shown_and_left_out(served):
    page = upload(searched(), "<i>blue sky.png", png("blue"))
    assert names(page)[0] == "flag.mp4"
    assert "what <i>blue sky.png shows" in texts(page)
    page = press(page, "yes-0")  # it goes together with likes
    assert "more like 1" in texts(page)
    page = labelled(page, "Leave the picture out")
    assert names(page) == []
    page = upload(page, "sky.png", png("blue"))
    page = press(page, "like-0")  # asks for that moment alone
    assert "what sky.png shows" not in texts(page)


def test_a_picture_that_is_none_is_one_line_that_names_it(served):
    page = upload(searched(), "notes.png", b"just text")
    (error,) = errors(page)
    assert error.startswith("notes.png: is no picture that can be read")
    assert names(labelled(page, "Leave the picture out")) == []


def test_whole_videos_are_ranked_by_words_alone(served):
    page = searched(q="yellow")
    page.segmented_control(key="search-show").set_value("Whole videos").run()
    assert names(page)[0] == "talk.mp4"
    assert len(names(page)) == 4
    page = upload(page, "blue.png", png("blue"))
    assert "whole videos are ranked by words alone" in errors(page)[0]


def test_what_looks_the_same_is_folded_and_can_be_opened(served):
    page = searched(q="magenta")
    assert names(page)[0] in ALIKE
    other = "copy.mp4" if names(page)[0] == HOSTILE else HOSTILE
    page = press(page, "alike-0-0")
    assert page.query_params["id"] == str(served.video(other).id)


def test_what_is_said_is_found_shown_and_explained(served):
    page = searched(q='said:"good morning"')
    said = texts(page)
    assert names(page) == ["talk.mp4"]
    assert "found in what is said" in said
    assert any(text.startswith("“Good morning") for text in said)
    page = press(page, "why-0")
    assert any(text.startswith("said at 0:00.5: ") for text in texts(page))


def test_why_shows_the_curve_what_it_rests_on_and_the_heat_map(served):
    page = press(searched(q="red"), "why-0")
    said = " | ".join(texts(page))
    assert "counts as a match, so this is a match" in said
    assert "“red”" in said
    assert "usual in this library" in said
    assert "speaks most for it" in said
    (chart,) = page.get("vega_lite_chart")
    assert '"rect"' in chart.proto.spec
    assert len(page.image) == len([b for b in page.button if (b.key or "").startswith("hit-m")]) + 1


def test_why_explains_each_part_of_an_order(served):
    page = press(searched(q='"red" then "blue"'), "why-0")
    assert "part 1, 0:00.0 - 0:03.0: “red”" in texts(page)
    assert "part 2, 0:05.0 - 0:08.0: “blue”" in texts(page)
    assert len(page.get("vega_lite_chart")) == 2


def test_without_the_file_the_curve_is_left(served, films):
    away = films / "flag.away"
    (films / "flag.mp4").rename(away)
    try:
        page = press(searched(q="red"), "why-0")
        played = press(searched(q="red"), "hit-m0")
    finally:
        away.rename(films / "flag.mp4")
    assert any(text.startswith("no heat map: ") for text in texts(page))
    assert page.get("vega_lite_chart")
    assert "is gone since it was indexed" in errors(played)[0]


def test_damaged_features_are_one_line_and_the_rest_is_found(served):
    video = served.video("flag.mp4")
    page = searched(q="red")
    served.features.close()
    (served.root / "features" / video.feature_file).write_bytes(b"no features")
    page = press(page, "why-0")
    assert all("\n" not in error for error in errors(page))
    assert "flag.mp4" not in names(searched(q="red"))


def test_a_lost_or_damaged_thumbnail_does_not_end_the_page(served):
    video = served.video("flag.mp4")
    for damage in (b"no picture", None):
        thumbnail = served.thumbnail(video, 0)
        thumbnail.unlink() if damage is None else thumbnail.write_bytes(damage)
        assert names(searched(q="red"))[0] == "flag.mp4"


def test_more_is_shown_when_asked_for(served):
    page = searched(q="yellow")
    page.session_state["search-wanted"] = 2
    page.run()
    assert len(names(page)) == 2
    assert "The 2 best moments; every clip was compared" in texts(page)
    page = labelled(page, "Show more")
    assert len(names(page)) > 2
    assert "Show more" not in [button.label for button in page.button]


def test_tags_are_shown_added_and_removed(served):
    video = served.video("flag.mp4").id
    change_tags(served.catalog, [video], add=["flags"])
    change_tags(served.catalog, [served.video("talk.mp4").id], add=["people"])
    page = AppTest.from_file(str(APP), default_timeout=60).run()
    page.query_params["id"] = str(video)
    page.switch_page("view_video.py").run()
    box = page.multiselect(key=f"tags-{video}")
    assert box.value == ["flags"]
    assert box.options == ["flags", "people"]
    box.set_value(["people", "Red  Things"]).run()
    assert not page.exception
    assert tags_of_videos(served.catalog)[video] == ("people", "red things")
    assert page.multiselect(key=f"tags-{video}").value == ["people", "red things"]
    page.multiselect(key=f"tags-{video}").set_value(["people", "x" * 101]).run()
    assert "100 are the most" in errors(page)[0]
    assert page.multiselect(key=f"tags-{video}").value == ["people", "red things"]
    assert names(searched(q="red tag:people"))[0] == "flag.mp4"
