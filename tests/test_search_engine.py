"""The engine on films of plain colours: every answer can be told by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer import index_videos
from search import SearchEngine, duplicates, paging
from vidsift.errors import QueryError, VideoNotFoundError
from vidsift.library import Library
from vidsift.types import TextQuery

FILMS = {
    "flag": [("red", 4), ("green", 4), ("blue", 4)],
    "galf": [("blue", 4), ("green", 4), ("red", 4)],
    "rose": [("red", 6)],
    "lawn": [("green", 6)],
    "sky": [("cyan", 4), ("blue", 4)],
}
SAID = {"flag": "Good morning, everybody!", "lawn": "The keeper of the green lighthouse waved."}


@pytest.fixture(scope="module")
def home(tmp_path_factory, make_film) -> Path:
    """The films, and a place for the library that is made of them once."""
    folder = tmp_path_factory.mktemp("engine")
    for name, shots in FILMS.items():
        make_film(folder / "videos" / f"{name}.mp4", shots)
    for name, line in SAID.items():
        subtitles = f"1\n00:00:01,000 --> 00:00:03,000\n{line}\n"
        (folder / "videos" / f"{name}.en.srt").write_text(subtitles)
    return folder


@pytest.fixture
def engine(home, colour_encoder, monkeypatch) -> Iterator[SearchEngine]:
    # All shots of one colour are the same footage; most tests want to see each of them.
    monkeypatch.setattr(duplicates, "SAME_FOOTAGE", 2.0)
    made = (home / "library").exists()
    with Library.open(home / "library", create=True, encoder="colour") as library:
        library.__dict__["encoder"] = colour_encoder
        if not made:
            assert not index_videos(library, [home / "videos"]).failed
        yield SearchEngine(library)


def names(answer) -> list[str]:
    return [result.video.stem for result in answer.results]


def test_a_plain_question_finds_every_moment_of_it(engine):
    answer = engine.ask("red", 3)
    assert set(names(answer)) == {"flag", "galf", "rose"}
    assert answer.exact
    spans = {result.video.stem: result.moment.span for result in answer.results}
    assert (spans["flag"].start, spans["flag"].end) == (0, pytest.approx(4, abs=0.6))
    assert (spans["galf"].start, spans["galf"].end) == (pytest.approx(8, abs=0.6), 12)
    assert list(answer.results) == engine.search("red", 3)
    for result in answer.results:
        assert result.found_by == ("picture",)
        with Image.open(result.thumbnail) as picture:  # of the moment, not of a time beside it
            red, green, blue = picture.convert("RGB").resize((1, 1)).getpixel((0, 0))
        assert red > 200 > 60 > max(green, blue)


def test_terms_must_hold_in_one_moment_and_what_is_excluded_must_not(engine):
    assert names(engine.ask('"cyan" "blue"', 1)) == ["sky"]
    first = engine.ask('"blue" -"cyan"', 2)
    assert set(names(first)) == {"flag", "galf"}


def test_order_is_the_order_of_time(engine):
    answer = engine.ask('"red" then "blue"', 1)
    assert names(answer) == ["flag"]
    red, blue = answer.results[0].parts
    assert red.span.end <= blue.span.start
    assert blue.span.start == pytest.approx(8, abs=0.6)
    assert answer.results[0].moment.span.end == blue.span.end
    assert names(engine.ask('"blue" then "red"', 1)) == ["galf"]
    # Four seconds of green lie between the two.
    strict = engine.ask('"red" then<2s "blue"', 5)
    assert all(
        later.span.start - earlier.span.end <= 2
        for result in strict.results
        for earlier, later in [result.parts]
    )


def test_filters_narrow_the_search(engine):
    assert set(names(engine.ask("red video:lawn", 5))) == {"lawn"}
    assert set(names(engine.ask("red longer:10s", 9))) == {"flag", "galf"}
    with pytest.raises(QueryError, match="nowhere"):
        engine.ask("red video:nowhere")
    with pytest.raises(QueryError, match="only says which videos"):
        engine.ask("video:lawn")


def test_only_the_videos_given_may_answer(engine):
    ids = {video.path.stem: video.id for video in engine.library.catalog.videos()}
    both = frozenset([ids["rose"], ids["flag"]])
    assert set(names(engine.ask("red", 9, among=both))) == {"rose", "flag"}
    assert names(engine.ask("red longer:10s", 9, among=both)) == ["flag"] * 2
    assert engine.ask("red", 9, among=frozenset()).results == ()


def test_a_picture_or_a_moment_is_a_question(engine, tmp_path):
    picture = tmp_path / "green.png"
    Image.new("RGB", (80, 60), (0, 128, 0)).save(picture)
    assert set(names(engine.ask(image=picture, k=3))) == {"flag", "galf", "lawn"}
    assert set(names(engine.ask(like="flag@10", k=3))) >= {"flag", "galf", "sky"}
    assert names(engine.ask("cyan", like="flag@10", k=1)) == ["sky"]
    (tmp_path / "no.png").write_text("no picture")
    with pytest.raises(QueryError, match=r"no\.png"):
        engine.ask(image=tmp_path / "no.png")
    with pytest.raises(VideoNotFoundError, match="elsewhere"):
        engine.ask(like="elsewhere@3")
    with pytest.raises(QueryError, match="12"):
        engine.ask(like="flag@99")
    with pytest.raises(QueryError, match="order"):
        engine.ask('"red" then "blue"', image=picture)


def test_feedback_moves_the_question(engine):
    assert names(engine.ask("something", 1)) == ["sky"]
    liked = engine.ask("something", 3, yes=["rose@3"])
    assert set(names(liked)) == {"flag", "galf", "rose"}
    assert names(engine.ask("something", 1, no=["sky@1"])) != ["sky"]
    assert "rose" not in names(engine.ask("something", 9, no=["rose@3"]))
    # What is disliked leaves the question in words, of which it can be told how sure they are.
    assert liked.results[0].false_alarm_rate is None
    assert engine.ask("something", 1, no=["rose@3"]).results[0].false_alarm_rate is not None
    with pytest.raises(QueryError, match="then"):
        engine.ask('"red" then "blue"', yes=["flag@1"])


def test_pages_are_cut_from_one_ranking(engine):
    whole = engine.ask("red", 8)
    pages = [engine.ask("red", 2, offset=offset).results for offset in range(0, 8, 2)]
    assert [each for page in pages for each in page] == list(whole.results)
    with pytest.raises(QueryError, match="offset"):
        engine.ask("red", offset=-1)


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("question", ["red", '"blue" -"cyan"', "green lighthouse", "a video:flag"])
def test_further_candidates_change_no_page_before(engine, monkeypatch, question, flat):
    def ask(k: int, offset: int = 0):
        # Within a page the best comes first; its place in the ranking is what is compared.
        found = engine.ask(question, k, offset=offset, flat=flat).results
        return [(each.moment.video_id, each.moment.span) for each in found]

    monkeypatch.setattr(paging, "candidate_count", lambda settings, results: 2)
    whole = ask(99)
    pages = [ask(2, offset) for offset in range(0, len(whole), 2)]
    assert sorted(each for page in pages for each in page) == sorted(whole)
    assert len(whole) == len(set(whole))
    for page, rank in zip(pages, range(2, 99, 2), strict=False):
        assert set(page) <= set(ask(rank))
    assert len({video for video, _ in whole}) == (1 if "video:" in question else 5)
    assert engine.ask(question, 99).exact


def test_what_words_alone_found_has_no_rate(engine):
    (result,) = (r for r in engine.ask("keeper waved", 9).results if r.found_by == ("words",))
    assert result.false_alarm_rate is None


def test_the_same_footage_in_several_files_is_one_result(engine, monkeypatch):
    monkeypatch.setattr(duplicates, "SAME_FOOTAGE", 0.9)
    (first, *others) = engine.ask("red", 9).results
    assert len({each.video_id for each in (first.moment, *first.duplicates)}) == 3
    assert all(each.moment.score < 0.5 for each in others)


def test_what_is_said_is_found_beside_what_is_seen(engine):
    spoken = engine.ask("lighthouse waved", 1)
    assert (names(spoken), spoken.matched) == (["lawn"], True)
    (result,) = spoken.results
    assert "words" in result.found_by
    assert result.cue.text == "The keeper of the green lighthouse waved."
    assert result.moment.span.overlap(result.cue.span) > 1
    both = engine.ask("green lighthouse", 1).results[0]
    assert (both.video.stem, both.found_by) == ("lawn", ("picture", "words"))


def test_words_that_must_be_said_are_said(engine):
    answer = engine.ask('said:"LIGHTHOUSE waved"')
    assert (names(answer), answer.matched, answer.exact) == (["lawn"], True, True)
    assert names(engine.ask('red said:"good morning"')) == ["flag"]
    red = engine.ask('red said:"good morning"').results[0]
    assert red.found_by == ("picture", "words")
    assert red.cue.text == "Good morning, everybody!"
    nothing = engine.ask('said:"never said"')
    assert (nothing.results, nothing.matched) == ((), False)
    assert engine.ask('red said:"good morning" video:rose').results == ()


def test_videos_are_ranked_as_a_whole(engine):
    first, second, *others = engine.rank_videos("green", 5)
    assert first.path.stem == "lawn"  # nothing but green, though others have as green a shot
    assert {video.path.stem for video in [second, *others]} == set(FILMS) - {"lawn"}
    assert first.clips[0].record.video_id == first.video_id
    with pytest.raises(QueryError, match="whole videos"):
        engine.rank_videos('"red" then "blue"')


def test_a_vector_is_a_question(engine):
    answer = engine.answer(TextQuery("blue", np.array([0, 0, 1], np.float32)), 3)
    assert set(names(answer)) == {"flag", "galf", "sky"}
    assert answer.results[0].false_alarm_rate is None


def test_an_empty_library_matches_nothing(colour_library: Library, tmp_path: Path):
    answer = SearchEngine(colour_library).ask("red")
    assert (answer.results, answer.matched) == ((), False)
    assert SearchEngine(colour_library).ask('"red" then "blue"').results == ()
