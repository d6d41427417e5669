"""Each view of the page on a small library, run by Streamlit's own test runner."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import ui
from indexer import index_videos
from ui import background, coverage, session
from vidsift.library import Library
from vidsift.media.probe import probe

APP = Path(ui.__file__).parent / "app.py"
HOSTILE = "<b>[x](http:evil) `_&amp;_`.mp4"


@pytest.fixture
def own_workspace(tmp_path) -> Iterator[session.Workspace]:
    """The workspace of the library that the environment names, which need not exist yet."""
    workspace = session.workspace(str(tmp_path / "library"))
    yield workspace
    if workspace.job is not None:
        workspace.job.stop()
        workspace.job.wait(60)
    session.workspace.clear()


@pytest.fixture(scope="module")
def films(tmp_path_factory, make_film) -> Path:
    """Three films and a file that is none, for all tests; what they move they put back."""
    folder = tmp_path_factory.mktemp("films") / "videos"
    make_film(folder / "flag.mp4", [("red", 3), ("green", 2), ("blue", 3)], sound=True)
    make_film(folder / "lawn.mkv", [("green", 4)])
    make_film(folder / HOSTILE, [("magenta", 1), ("cyan", 1)])
    (folder / "notes.mp4").write_text("no film at all")
    return folder


@pytest.fixture
def served(own_workspace, films, colour_encoder) -> Iterator[Library]:
    """The library of those films, as the page has it open."""
    indexed = films.parent / "library"
    if not indexed.exists():
        with Library.open(indexed, create=True, encoder="colour") as library:
            library.__dict__["encoder"] = colour_encoder
            index_videos(library, [films])
    shutil.copytree(indexed, own_workspace.root)
    library = own_workspace.library()
    library.__dict__["encoder"] = colour_encoder
    yield library
    library.close()


@contextmanager
def gone(path: Path) -> Iterator[None]:
    """The file is not there for a while."""
    away = path.with_suffix(".away")
    path.rename(away)
    try:
        yield
    finally:
        away.rename(path)


def opened(view: str = "", **address: str) -> AppTest:
    page = AppTest.from_file(str(APP), default_timeout=60).run()
    if view or address:
        for key, value in address.items():
            page.query_params[key] = value
        if view:
            page.switch_page(view)
        page.run()
    assert not page.exception
    return page


def bodies(page: AppTest) -> list[str]:
    return [element.proto.body for element in page.get("html")]


def lines(body: str) -> list[str]:
    return [unescape(part) for part in re.sub(r"<[^>]*>", "\n", body).split("\n") if part]


def texts(page: AppTest) -> list[str]:
    """What the page's own elements say, line by line, without style sheet and reasons."""
    found = [body for body in bodies(page) if "<style>" not in body and "vs-reason" not in body]
    return [part for body in found for part in lines(body)]


def headers(page: AppTest) -> list[str]:
    return [each.proto.popover.label for each in page.get("popover")]


def reasons(page: AppTest) -> dict[str, str]:
    """What is wrong with something, by what it is called."""
    pairs = [lines(body) for body in bodies(page) if "vs-reason" in body and "<style>" not in body]
    return {name: "".join(why) for name, *why in pairs}


def labels(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def press(page: AppTest, key: str) -> AppTest:
    page.button(key=key).click().run()
    assert not page.exception
    return page


def ask(page: AppTest) -> AppTest:
    """Press the button of the view's first form."""
    next(button for button in page.button if button.form_id).click().run()
    assert not page.exception
    return page


def test_without_a_library_every_view_leads_to_the_library_page(own_workspace):
    for view in ("", "view_search.py", "view_video.py"):
        page = opened(view)
        assert "Welcome to vidsift" in texts(page)
        page.button[0].click().run()
        assert page.text_input(key="index-path").label == "Folder or video file to index"
    assert not (own_workspace.root).exists()  # looking makes no library


def test_summaries_are_sorted_and_filtered(served):
    names = {"flag.mp4", "lawn.mkv", HOSTILE}
    page = opened()
    assert "3 videos, 14.0 s in all" in texts(page)
    page.segmented_control(key="summaries-order").set_value("Longest").run()
    assert [text for text in texts(page) if text in names][:2] == ["flag.mp4", "lawn.mkv"]
    page.segmented_control(key="summaries-order").set_value("Name").run()
    assert next(text for text in texts(page) if text in names).startswith("<b>")
    page.text_input(key="summaries-filter").set_value("LAWN").run()
    assert [text for text in texts(page) if text in names] == ["lawn.mkv"]
    page.text_input(key="summaries-filter").set_value("nothing").run()
    assert "No video is called so." in texts(page)


def test_a_click_on_a_storyboard_renders_the_skim_once(served):
    video = served.video("flag.mp4")
    page = press(opened(), f"hit-s{video.id}")
    (skim,) = served.skims.glob("summaries/*/*.mp4")
    assert probe(skim).duration_seconds == pytest.approx(0.15 * 8, abs=0.2)
    assert page.get("video")
    before = skim.stat().st_ino
    press(opened(), f"hit-s{video.id}")
    assert skim.stat().st_ino == before


def test_a_search_shows_the_moment_and_plays_it(served):
    page = opened("view_search.py")
    page.text_input(key="search-box").set_value("red")
    ask(page)
    assert page.query_params["q"] == "red"
    assert (
        next(label for label in labels(page) if "play_arrow" in label)
        == ":material/play_arrow: 0:00.0 - 0:03.0"
    )
    assert "by chance" in texts(page)[texts(page).index("flag.mp4") + 1]
    page = press(page, "hit-m0")
    (clip,) = served.skims.glob("moments/*.mp4")
    assert probe(clip).duration_seconds == pytest.approx(4.0, abs=0.11)
    assert page.get("video")


def test_a_search_can_be_shared_by_its_address(served):
    page = opened("view_search.py", q="green")
    assert page.text_input(key="search-box").value == "green"
    # Both have a green shot, and one stands for the other: it is the same footage.
    assert {"flag.mp4", "lawn.mkv"} & set(texts(page))
    page.text_input(key="search-box").set_value("magenta")
    ask(page)
    assert page.query_params["q"] == "magenta"
    assert page.text_input(key="search-box").value == "magenta"
    assert next(text for text in texts(page) if text.endswith((".mp4", ".mkv"))) == HOSTILE


@pytest.mark.parametrize(
    ("query", "said"), [("  ", "the question is empty"), ("a " * 5000, "9,999 characters")]
)
def test_a_bad_question_is_one_line(served, query, said):
    page = opened("view_search.py", q=query)
    (error,) = page.error
    assert said in error.value.replace("\\", "")
    assert "\n" not in error.value


def test_a_result_opens_the_video_at_its_moment(served):
    page = press(opened("view_search.py", q="blue"), "open-0")
    assert page.query_params["id"] == str(served.video("flag.mp4").id)
    assert float(page.query_params["t"]) == pytest.approx(5.0, abs=0.11)
    assert "0:05.0 - 0:08.0 of 0:08.0" in texts(page)


def test_a_video_shows_its_facts_and_shots_and_plays_from_each(served):
    video = served.video("flag.mp4")
    page = opened("view_video.py", id=str(video.id))
    said = texts(page)
    assert said[said.index("Length") + 1] == "8.0 s"
    assert said[said.index("Picture") + 1] == "96 x 64"
    assert [label for label in labels(page) if label.startswith("0:")] == [
        "0:00.0",
        "0:03.0",
        "0:05.0",
    ]
    page = press(page, f"hit-shot-{video.id}-1")
    assert "0:03.0 - 0:08.0 of 0:08.0" in texts(page)
    lengths = [probe(clip).duration_seconds for clip in served.skims.glob("moments/*.mp4")]
    assert sorted(lengths) == pytest.approx([5.0, 8.0], abs=0.11)


@pytest.mark.parametrize("seconds", ["-5", "nan", "inf", "1e9", "soon"])
def test_an_odd_time_in_the_address_is_kept_within_the_video(served, seconds):
    page = opened("view_video.py", id=str(served.video("lawn.mkv").id), t=seconds)
    assert page.get("video")
    assert not page.error


def test_an_unknown_video_in_the_address_is_one_line(served):
    page = opened("view_video.py", id="4711")
    assert page.error[0].value.replace("\\", "").startswith("no video with the id 4711")


def test_a_summary_about_a_question_is_made_and_shown(served):
    video = served.video("flag.mp4")
    page = opened("view_video.py", id=str(video.id))
    length = page.slider(key=f"summary-length-{video.id}")
    assert (length.min, length.max) == (pytest.approx(0.1), pytest.approx(8.0))
    assert length.value == pytest.approx(1.2)
    length.set_value(2.0)
    page.text_input(key=f"summary-question-{video.id}").set_value("blue")
    next(button for button in page.button if button.label == "Make summary").click().run()
    assert not page.exception
    assert not page.error
    (summary,) = [known for known in served.catalog.summaries(video.id) if known.query == "blue"]
    assert all(segment.span.start >= 4.9 for segment in summary.segments)
    (skim,) = served.skims.glob("summaries/*/*.mp4")
    assert probe(skim).duration_seconds == pytest.approx(2.0, abs=0.2)
    assert "about blue" in texts(page)
    assert len(page.get("video")) == 2


def test_a_video_that_is_gone_keeps_its_pictures(served):
    video = served.video("flag.mp4")
    with gone(video.path):
        page = opened("view_video.py", id=str(video.id))
        assert "is gone" in page.warning[0].value
        assert not page.get("video")
        assert len(page.image) == 4  # three shots and the segment of the summary
        assert not page.error
        page = press(opened(), f"hit-s{video.id}")
    assert "is gone since it was indexed" in page.error[0].value.replace("\\", "")


def test_a_picture_that_is_lost_leaves_its_place(served):
    video = served.video("lawn.mkv")
    served.thumbnail(video, 0).unlink()
    page = opened("view_video.py", id=str(video.id))
    assert not page.error
    assert page.get("video")
    assert not page.image
    (storyboard,) = [
        button for button in page.get("download_button") if button.label.startswith("png")
    ]
    assert storyboard.disabled
    assert r"00000\.jpg is lost" in storyboard.help


def test_the_library_says_what_is_searchable_and_why_the_rest_is_not(served):
    page = opened("view_library.py")
    assert "3 of 4 videos searchable" in texts(page)
    table = page.dataframe[0].value
    row = table[table["Video"] == "notes.mp4"].iloc[0]
    assert row["State"] == "not usable"
    assert row["Why"]
    assert set(table["State"]) == {"searchable", "not usable"}


def test_a_folder_is_indexed_in_the_background(served, own_workspace, make_film, tmp_path):
    make_film(tmp_path / "more" / "sea.mp4", [("cyan", 3)])
    page = opened("view_library.py")
    page.text_input(key="index-path").set_value(str(tmp_path / "more"))
    ask(page)
    own_workspace.job.wait(60)
    page = opened("view_library.py")
    assert page.success[0].value.startswith("Indexing is done: 1 indexed")
    assert "4 of 5 videos searchable" in texts(page)


@pytest.mark.parametrize(
    ("path", "said"), [(" ", "The path is empty"), ("/no/such/folder", "no such file or folder")]
)
def test_a_bad_folder_is_one_line(served, own_workspace, path, said):
    page = opened("view_library.py")
    page.text_input(key="index-path").set_value(path)
    ask(page)
    if own_workspace.job is not None:
        own_workspace.job.wait(60)
        page.run()
    assert said in page.error[0].value.replace("\\", "")
    assert "\n" not in page.error[0].value


def test_a_library_that_another_process_writes_to_is_one_line(served, own_workspace, films):
    with Library.open(own_workspace.root) as other, other.writing():
        own_workspace.start_indexing([str(films)]).wait(60)
    assert "another vidsift is writing" in opened("view_library.py").error[0].value


def test_names_of_files_are_never_markup(served):
    for view, address in (
        ("", {}),
        ("view_search.py", {"q": "magenta"}),
        ("view_library.py", {}),
    ):
        page = opened(view, **address)
        for element in page.get("html"):
            assert "<b>[" not in element.proto.body
        for element in page.markdown:
            assert "[x](" not in element.value
    video = served.video(HOSTILE)
    with gone(video.path):
        page = press(opened(), f"hit-s{video.id}")
    assert r"\<b\>\[x\]\(http\:evil\)" in page.error[0].value


def test_every_view_says_how_many_videos_are_searchable_and_why_not_all(served):
    for view in ("", "view_search.py", "view_video.py", "view_alerts.py", "view_library.py"):
        page = opened(view)
        assert "3 of 4 videos searchable" in headers(page)
        assert reasons(page).keys() == {"notes.mp4"}
    served.thumbnail(served.video("lawn.mkv"), 0).unlink()
    served.catalog.mark_missing([served.video("flag.mp4").id])
    page = opened()
    assert "1 of 4 videos searchable" in headers(page)
    found = reasons(page)
    assert found.keys() == {"notes.mp4", "lawn.mkv", "flag.mp4"}
    assert found["lawn.mkv"].endswith("not whole")  # and no command, where there is a button


def test_an_answer_that_lacks_what_is_damaged_says_so_and_leads_to_the_repair(served):
    features = served.root / "features" / served.video("lawn.mkv").feature_file
    content = bytearray(features.read_bytes())
    content[-1] ^= 0x40
    features.write_bytes(content)
    page = opened("view_search.py", q="green")
    (left_out,) = [each for each in page.expander if "not searched" in each.label]
    assert left_out.label == "1 video is damaged and was not searched: run a repair"
    assert "not what was stored" in reasons(page)["lawn.mkv"]
    assert "2 of 4 videos searchable" in headers(page)  # found out only by this very answer
    assert "lawn.mkv" not in texts(page)  # the rest is answered
    assert "flag.mp4" in texts(page)
    page = press(page, "left-out-repair")
    assert page.button(key="check-now").label == "Check now"


def test_a_moment_is_taken_away_with_people_blurred(served):
    page = opened("view_search.py", q="red")
    page = press(page, "hit-m0")
    (sharp,) = served.skims.glob("moments/*.mp4")
    assert not sharp.stem.endswith("-blurred")
    page.session_state["moment-blur"] = True
    page = press(page, "hit-m0")
    assert {film.stem.endswith("-blurred") for film in served.skims.glob("moments/*.mp4")} == {
        True,
        False,
    }
    assert [each.label for each in page.get("download_button")] == ["Download this clip"]


def test_one_look_at_the_library_serves_all_sessions(served, monkeypatch):
    looks = []
    look = Library.not_searchable
    monkeypatch.setattr(Library, "not_searchable", lambda self: looks.append(1) or look(self))
    for _ in range(5):
        assert coverage.coverage(served).searchable == 3
    assert len(looks) == 1
    served.catalog.mark_missing([served.video("lawn.mkv").id])  # the catalog has changed
    assert coverage.coverage(served).searchable == 2
    assert len(looks) == 2
    # Of this library: another one has its own, and jobs of its own.
    assert coverage._look("elsewhere") is not coverage._look(str(served.root))
    assert background._jobs("elsewhere") is not background._jobs(str(served.root))


def test_a_video_is_forgotten_and_the_proof_is_shown(served, films):
    video = served.video("flag.mp4")
    page = press(opened("view_video.py", id=str(video.id)), f"forget-{video.id}")
    said = " ".join(texts(page))
    assert f"Stays: the video file itself, {video.path}" in said
    assert served.catalog.video(video.id) is not None  # nothing has been done yet
    page = press(page, "forget-yes")
    forgotten = page.success[0].value.replace("\\", "")
    assert re.match(
        r"flag.mp4 is forgotten: searched [\d,]+ files .* pieces of it; no trace", forgotten
    )
    assert served.catalog.video(video.id) is None
    assert video.path.exists()
    assert str(video.path) not in " ".join(texts(opened("view_library.py")))
    # It was asked for: its folder may be indexed again, without it.
    assert index_videos(served, [films]).kept_out == [video.path]
    page = press(page, "forgotten-away")
    assert not page.success


def test_a_trace_that_is_left_of_a_forgotten_video_is_named(served):
    video = served.video("flag.mp4")
    (served.root / "note.txt").write_text(f"copied from {video.path}")
    page = press(opened("view_video.py", id=str(video.id)), f"forget-{video.id}")
    page = press(page, "forget-yes")
    assert "traces are left" in page.error[0].value
    assert "path" in reasons(page)["note.txt"]


def test_a_video_is_not_forgotten_while_another_writes(served, own_workspace):
    video = served.video("flag.mp4")
    page = press(opened("view_video.py", id=str(video.id)), f"forget-{video.id}")
    with Library.open(own_workspace.root) as other, other.writing(command="vidsift index"):
        page = press(page, "forget-yes")
    assert "vidsift index, process" in page.error[0].value.replace("\\", "")
    assert served.catalog.video(video.id) is not None


@pytest.mark.slow
def test_a_large_library_and_a_video_of_many_shots_are_paged(
    own_workspace, colour_library, make_film, tmp_path
):
    film = make_film(tmp_path / "many" / "v00.mp4", [("red", 1.0), ("blue", 1.0)] * 6)
    for number in range(1, 26):
        shutil.copy(film, film.with_name(f"v{number:02}.mp4"))
        with film.with_name(f"v{number:02}.mp4").open("ab") as copy:
            copy.write(bytes(number))  # another content, for all that ffmpeg cares the same
    index_videos(colour_library, [film.parent])
    page = opened()
    page.segmented_control(key="summaries-order").set_value("Name").run()
    assert len(page.image) == 24
    page.pagination(key="summaries-page").set_value(2).run()
    assert [text for text in texts(page) if text.endswith(".mp4")] == ["v24.mp4", "v25.mp4"]
    page.text_input(key="summaries-filter").set_value("v0").run()
    assert len(page.image) == 10

    video = colour_library.video("v03.mp4")
    page = opened("view_video.py", id=str(video.id), t="10.5")
    shown = [label for label in labels(page) if label.startswith("0:")]
    assert shown == ["0:08.0", "0:09.0", "0:10.0", "0:11.0"]
    page.pagination(key=f"shots-of-{video.id}").set_value(1).run()
    assert next(label for label in labels(page) if label.startswith("0:")) == "0:00.0"
    own_workspace.library().close()
