"""One skim of many videos: films of plain colours, whose answers can be told by hand."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import index_videos
from search import duplicates
from summarizer import across_choice
from summarizer.across import _shared, summarize_videos
from summarizer.across_pieces import _free
from vidsift.errors import QueryError, QuestionSyntaxError, SummaryError
from vidsift.library import Library
from vidsift.types import Span

FILMS = {
    "flag": [("red", 4), ("green", 4), ("blue", 4)],
    "rose": [("red", 6)],
    "lawn": [("green", 30)],
    "sky": [("cyan", 4), ("blue", 4)],
}
SAID = {
    "rose": "00:00:01,000 --> 00:00:05,000\nA rose.",
    "flag": "00:00:02,000 --> 00:00:04,500\nA tree.",
}
TOTAL = 56.0


@pytest.fixture(scope="module")
def home(tmp_path_factory, make_film) -> Path:
    folder = tmp_path_factory.mktemp("across")
    for age, (name, shots) in enumerate(FILMS.items()):
        path = make_film(folder / "videos" / f"{name}.mp4", shots)
        os.utime(path, (1e9 - age, 1e9 - age))  # flag is the newest
    for name, line in SAID.items():
        (folder / "videos" / f"{name}.en.srt").write_text(f"1\n{line}\n")
    return folder


@pytest.fixture
def library(home, colour_encoder, monkeypatch) -> Iterator[Library]:
    # All shots of one colour are the same footage; most tests want to see each of them.
    monkeypatch.setattr(duplicates, "SAME_FOOTAGE", 2.0)
    monkeypatch.setattr(across_choice, "SAME_FOOTAGE", 2.0)
    made = (home / "library").exists()
    with Library.open(home / "library", create=True, encoder="colour") as library:
        library.__dict__["encoder"] = colour_encoder
        if not made:
            assert not index_videos(library, [home / "videos"]).failed
        yield library


def stems(skim) -> list[str]:
    return [video.path.stem for video in skim.videos]


def check(skim, budget: float) -> None:
    """What holds for every skim: its length, and segments inside their videos, in order, apart."""
    assert skim.duration_seconds == pytest.approx(budget, abs=0.01)
    assert skim.budget_seconds == pytest.approx(budget)
    for video, parts in itertools.groupby(skim.parts, key=lambda part: part.video):
        spans = [part.segment.span for part in parts]
        assert spans[0].start >= 0
        assert spans[-1].end <= video.duration_seconds + 1e-6
        assert all(a.end <= b.start + 1e-6 for a, b in itertools.pairwise(spans))
    runs = [video.id for video, _ in itertools.groupby(skim.parts, key=lambda part: part.video)]
    assert len(runs) == len(set(runs))  # a video's segments follow each other


def seconds_of(skim, colour: str) -> float:
    """How long a colour is shown, by the films' own shots."""
    shown = 0.0
    for part in skim.parts:
        start = 0.0
        for name, length in FILMS[part.video.path.stem]:
            span = part.segment.span
            if name == colour:
                shown += max(0.0, min(span.end, start + length) - max(span.start, start))
            start += length
    return shown


def test_a_question_is_answered_from_all_videos(library):
    skim = summarize_videos(library, None, "red", seconds=8.0)
    check(skim, 8.0)
    assert set(stems(skim)) == {"flag", "rose"}
    assert seconds_of(skim, "red") > 7.9
    assert skim.title == "red (4 videos)"
    assert (skim.query, type(skim.matched)) == ("red", bool)
    for part in skim.parts:
        terms = part.segment.terms
        assert {term.name for term in terms} == {"representativeness", "diversity", "relevance"}
        total = sum(term.value * term.weight for term in terms)
        assert part.segment.saliency == pytest.approx(total)


def test_only_the_videos_that_are_named_are_shown(library):
    named = [library.video("flag"), library.video("lawn"), library.video("flag")]
    skim = summarize_videos(library, named, "red", seconds=4.0)
    check(skim, 4.0)
    assert stems(skim)[0] == "flag"
    assert set(stems(skim)) <= {"flag", "lawn"}
    assert skim.title == "red (flag.mp4, lawn.mp4)"


def test_the_whole_grammar_can_be_asked(library):
    assert stems(summarize_videos(library, None, "red longer:10s", seconds=3.0)) == ["flag"]
    chain = summarize_videos(library, None, '"red" then "blue"', seconds=4.0)
    check(chain, 4.0)
    assert stems(chain)[0] == "flag"
    assert seconds_of(chain, "red") >= 1
    assert seconds_of(chain, "blue") >= 1
    said = summarize_videos(library, None, 'said:"a rose"', seconds=3.0)
    assert (stems(said), said.matched) == (["rose"], True)
    with pytest.raises(QuestionSyntaxError):
        summarize_videos(library, None, '"red', seconds=3.0)
    with pytest.raises(QueryError, match="nowhere"):
        summarize_videos(library, None, "red video:nowhere", seconds=3.0)


def test_what_nothing_answers_becomes_the_digest(library):
    skim = summarize_videos(library, None, 'said:"never said"', seconds=8.0)
    check(skim, 8.0)
    assert (skim.matched, set(stems(skim))) == (False, set(FILMS))


def test_a_digest_is_fair_and_begins_with_the_newest(library):
    skim = summarize_videos(library, None, seconds=8.0)
    check(skim, 8.0)
    assert stems(skim) == ["flag", "rose", "lawn", "sky"]
    assert skim.title == "4 videos"
    assert skim.matched is None
    for video in skim.videos:
        own = sum(part.segment.span.duration for part in skim.parts if part.video == video)
        assert own >= 1 - 1e-6
        if video.path.stem == "lawn":  # long, and all of one colour
            assert own <= 2


def test_a_short_digest_tells_how_many_are_left_out(library):
    skim = summarize_videos(library, None, seconds=2.0)
    check(skim, 2.0)
    assert len(skim.videos) == 2
    assert skim.title == "4 videos, 2 left out for want of time"
    assert all(part.segment.span.duration >= 1 - 1e-6 for part in skim.parts)


@pytest.mark.parametrize("seconds", [4.5, 5.0, 6.0, 7.0])
def test_spoken_lines_are_not_cut_where_that_can_be(library, seconds):
    skim = summarize_videos(library, [library.video("flag")], seconds=seconds)
    check(skim, seconds)
    for part in skim.parts:
        for edge in (part.segment.span.start, part.segment.span.end):
            assert not 2 + 1e-6 < edge < 4.5 - 1e-6


@pytest.mark.parametrize("query", ["", "red", "said:rose"])
@pytest.mark.parametrize("seconds", [0.3, 1.0, 7.77, 30.0, TOTAL - 0.05, TOTAL])
def test_it_is_as_long_as_was_promised(library, query, seconds):
    check(summarize_videos(library, None, query, seconds=seconds), seconds)


def test_a_budget_may_be_a_share(library):
    check(summarize_videos(library, None, seconds=None, ratio=0.25), TOTAL / 4)
    default = library.settings.summary_ratio
    check(summarize_videos(library, None, seconds=None), default * TOTAL)


def test_a_digest_of_what_is_new(library):
    assert stems(summarize_videos(library, None, seconds=8.0, since=0.0))[0] == "flag"
    skim = summarize_videos(library, None, seconds=8.0, since=0.0)
    assert skim.title.startswith("4 videos since 1970")
    newest = max(video.indexed_at for video in library.catalog.videos())
    latest = summarize_videos(library, None, seconds=1.0, since=newest)
    assert len(latest.videos) == 1
    with pytest.raises(SummaryError, match=r"no video was indexed; the latest was on 20"):
        summarize_videos(library, None, seconds=8.0, since=newest + 1e-3)
    with pytest.raises(SummaryError, match="future"):
        summarize_videos(library, None, seconds=8.0, since=time.time() + 1e4)


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        ({"seconds": 0.0}, "more than 0"),
        ({"seconds": -1.0}, "more than 0"),
        ({"seconds": float("nan")}, "more than 0"),
        ({"seconds": 57.0}, "last only 56.0 s"),
        ({"seconds": None, "ratio": 0.0}, "above 0"),
        ({"seconds": None, "ratio": 1.5}, "up to 1"),
        ({"seconds": 3.0, "ratio": 0.5}, "one of them"),
    ],
)
def test_budgets_that_cannot_be_kept_are_refused(library, budget, says):
    with pytest.raises(SummaryError, match=says):
        summarize_videos(library, None, **budget)


def test_videos_that_cannot_be_searched_are_named(home, colour_library, make_film):
    with pytest.raises(SummaryError, match="no video that can be summarised"):
        summarize_videos(colour_library, None, seconds=3.0)
    with pytest.raises(SummaryError, match="no video is named"):
        summarize_videos(colour_library, [], seconds=3.0)
    broken = home / "broken.mp4"
    broken.write_bytes(b"no video")
    assert index_videos(colour_library, [broken]).failed
    with pytest.raises(SummaryError, match=r"broken\.mp4: .* it is failed"):
        summarize_videos(colour_library, colour_library.catalog.videos(), seconds=3.0)


def test_the_same_footage_is_shown_once(home, colour_library):
    films = home / "twice"
    films.mkdir()
    for name in ("first", "second"):
        shutil.copy(home / "videos" / "flag.mp4", films / f"{name}.mp4")
    shutil.copy(home / "videos" / "sky.mp4", films)
    with (films / "second.mp4").open("ab") as file:
        file.write(b"\0\0\0\x08free")  # another file, of the same content
    assert not index_videos(colour_library, [films]).failed
    for seconds in (8.0, 19.0):  # 20 s are left without the copy
        skim = summarize_videos(colour_library, None, seconds=seconds)
        check(skim, seconds)
        shown = {
            name: [part.segment.span for part in skim.parts if part.video.path.stem == name]
            for name in ("first", "second")
        }
        twice = sum(a.overlap(b) for a in shown["first"] for b in shown["second"])
        assert twice < 0.1


def test_a_video_that_repeats_another_is_not_shown(home, colour_library):
    films = home / "copied"
    films.mkdir()
    shutil.copy(home / "videos" / "rose.mp4", films / "first.mp4")
    (films / "second.mp4").write_bytes((films / "first.mp4").read_bytes() + b"\0\0\0\x08free")
    assert not index_videos(colour_library, [films]).failed
    skim = summarize_videos(colour_library, colour_library.catalog.videos(), seconds=3.0)
    check(skim, 3.0)
    assert skim.title == "first.mp4, second.mp4, 1 not shown that repeats others"


def test_a_video_whose_features_are_damaged_is_left_out(home, colour_library, caplog):
    assert not index_videos(colour_library, [home / "videos"]).failed
    lawn = colour_library.video("lawn")
    colour_library.features.remove(lawn.feature_file)
    skim = summarize_videos(colour_library, None, seconds=6.0)
    check(skim, 6.0)
    assert "lawn" not in stems(skim)
    assert "lawn.mp4 is left out" in caplog.text


SPAN = st.tuples(st.integers(0, 30), st.integers(1, 10)).map(
    lambda pair: Span(float(pair[0]), float(pair[0] + pair[1]))
)


@given(SPAN, st.lists(SPAN, max_size=4))
def test_what_is_used_is_not_free(span, used):
    apart = [a for i, a in enumerate(used) if not any(a.overlap(b) > 0 for b in used[:i])]
    free = _free(span, apart)
    assert not any(each.overlap(other) > 0 for each in free for other in apart)
    left = span.duration - sum(span.overlap(other) for other in apart)
    assert sum(each.duration for each in free) == pytest.approx(left)


@given(st.lists(st.floats(-1, 100), min_size=1, max_size=8), st.floats(0, 300))
def test_what_is_left_is_shared_evenly(room, seconds):
    shares = _shared(room, seconds)
    positive = [max(each, 0.0) for each in room]
    assert sum(shares) == pytest.approx(min(seconds, sum(positive)), abs=1e-6)
    assert all(-1e-9 <= shares[i] <= each + 1e-9 for i, each in enumerate(positive))
    most = max(shares)
    # Who has less than another has no more room.
    assert all(shares[i] >= most - 1e-6 or shares[i] == each for i, each in enumerate(positive))
