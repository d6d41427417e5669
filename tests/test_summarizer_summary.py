"""Summaries of indexed videos: questions of the whole grammar, what is remembered, the curve."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexer import index_videos
from summarizer.summary import saliency_curve, summarize
from vidsift.errors import QuestionSyntaxError
from vidsift.library import Library
from vidsift.types import Span

CUES = """1
00:00:07,000 --> 00:00:09,500
the lights are green

2
00:00:11,500 --> 00:00:13,000
hello world
"""


@pytest.fixture
def library(tmp_path: Path, tmp_path_factory, colour_encoder, make_film) -> Iterator[Library]:
    """`flag.mp4`: red, green, blue, green, yellow of 4 s each, with two lines of subtitles.

    Indexed once; each test has a copy.
    """
    kept = tmp_path_factory.getbasetemp() / "summarised"
    if not kept.exists():
        film = kept / "films" / "flag.mp4"
        make_film(film, [(colour, 4.0) for colour in ("red", "green", "blue", "green", "yellow")])
        film.with_suffix(".srt").write_text(CUES)
        with Library.open(kept / "library", create=True, encoder="colour") as library:
            library.__dict__["encoder"] = colour_encoder
            index_videos(library, [film.parent])
    shutil.copytree(kept / "library", tmp_path / "library")
    with Library.open(tmp_path / "library", encoder="colour") as library:
        library.__dict__["encoder"] = colour_encoder
        yield library


def shown(summary, *spans: tuple[float, float]) -> float:
    """Seconds of these spans that a summary shows."""
    return sum(s.span.overlap(Span(*span)) for s in summary.segments for span in spans)


def test_a_question_of_one_thing(library):
    summary = summarize(library, "flag.mp4", "red", seconds=4.0)
    assert shown(summary, (0.0, 4.0)) == pytest.approx(4.0, abs=0.3)
    assert summary.duration_seconds == pytest.approx(4.0)


def test_what_is_excluded_is_not_shown(library):
    summary = summarize(library, "flag.mp4", "yellow -green", seconds=4.0)
    assert shown(summary, (4.0, 8.0), (12.0, 16.0)) < 0.3


def test_one_thing_after_another(library):
    # Only the second green comes after blue.
    summary = summarize(library, "flag.mp4", '"blue" then "green"', seconds=6.0)
    # It may begin with the line that runs into blue at 7 s.
    assert shown(summary, (7.0, 16.0)) == pytest.approx(6.0, abs=0.5)
    assert shown(summary, (12.0, 16.0)) >= 1.0
    assert shown(summary, (4.0, 7.0)) < 0.5


def test_what_is_said(library):
    summary = summarize(library, "flag.mp4", 'said:"hello world"', seconds=2.0)
    assert summary.matched
    assert shown(summary, (11.5, 13.0)) == pytest.approx(1.5, abs=0.1)
    absent = summarize(library, "flag.mp4", 'said:"good bye"', seconds=2.0)
    assert absent.matched is False
    assert absent.duration_seconds == pytest.approx(2.0)


def test_a_filter_that_leaves_the_video_out_matches_nothing(library):
    assert summarize(library, "flag.mp4", "hello world", seconds=4.0).matched
    elsewhere = summarize(library, "flag.mp4", "hello world longer:1h", seconds=4.0)
    assert elsewhere.matched is False
    assert elsewhere.duration_seconds == pytest.approx(4.0)


def test_words_of_the_question_that_are_said_count_beside_pictures(library):
    summary = summarize(library, "flag.mp4", "hello world", seconds=6.0)
    assert summary.matched
    assert shown(summary, (11.5, 13.0)) == pytest.approx(1.5, abs=0.1)


def test_a_syntax_error_points_at_its_place(library):
    with pytest.raises(QuestionSyntaxError) as error:
        summarize(library, "flag.mp4", 'blue "then', seconds=2.0)
    assert "^" in error.value.pointer()


def test_lines_are_not_cut(library):
    # The first line runs over a cut at 8 s, and two segments may meet there.
    for seconds in (5.0, 6.0, 8.0, 12.0):
        summary = summarize(library, "flag.mp4", seconds=seconds)
        assert summary.duration_seconds == pytest.approx(seconds)
        edges = Counter(
            round(time, 3) for s in summary.segments for time in (s.span.start, s.span.end)
        )
        cuts = [time for time, count in edges.items() if count == 1]
        assert not any(7.0 < time < 9.5 or 11.5 < time < 13.0 for time in cuts), seconds


def test_every_segment_says_why_and_the_reasons_come_back(library):
    summary = summarize(library, "flag.mp4", "green", seconds=5.0)
    for segment in summary.segments:
        assert {term.name for term in segment.terms} >= {"representativeness", "relevance"}
        total = sum(term.weight * term.value for term in segment.terms)
        assert total == pytest.approx(segment.saliency)
    record = library.video("flag.mp4")
    assert summary in library.catalog.summaries(record.id)


def test_only_the_defaults_are_remembered(library):
    record = library.video("flag.mp4")
    before = library.catalog.summaries(record.id)
    settings = library.settings
    other = "greedy" if settings.summary_selection == "knapsack" else "knapsack"
    library.settings = settings.model_copy(update={"summary_selection": other})
    summarize(library, record, seconds=7.0)
    assert library.catalog.summaries(record.id) == before
    library.settings = settings
    summary = summarize(library, record, seconds=7.0)
    assert library.catalog.summaries(record.id) == [*before, summary]


def test_indexing_and_summarising_choose_the_same(library):
    for record in library.catalog.videos():
        (generic,) = library.catalog.summaries(record.id)
        assert summarize(library, record) == generic


def test_the_curve_has_a_value_for_every_frame_and_peaks_at_the_answer(library):
    times, values = saliency_curve(library, "flag.mp4", "blue")
    assert times.shape == values.shape == (library.video("flag.mp4").num_frames,)
    assert np.all(values >= 0)
    assert 8.0 <= times[values.argmax()] < 12.0
    generic = saliency_curve(library, "flag.mp4")[1]
    assert np.all(generic >= 0)
    assert generic.max() > 0


def test_a_film_of_one_picture_has_a_summary(tmp_path, colour_library, make_film):
    make_film(tmp_path / "dull.mp4", [("blue", 6.0)])
    index_videos(colour_library, [tmp_path / "dull.mp4"])
    summary = summarize(colour_library, "dull.mp4", seconds=2.0)
    assert len(summary.segments) == 1
    assert summary.duration_seconds == pytest.approx(2.0)
