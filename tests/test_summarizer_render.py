"""Written summaries: what they hold, and what they leave alone."""

from __future__ import annotations

import pytest

from indexer import index_videos
from summarizer import summarize, write_summary
from vidsift.errors import SummaryError
from vidsift.media.probe import probe
from vidsift.types import Span


@pytest.fixture
def indexed(colour_library, tmp_path, make_film):
    shots = [("red", 3), ("blue", 3), ("green", 3)]
    make_film(tmp_path / "videos" / "flag.mp4", shots, sound=True)
    make_film(tmp_path / "videos" / "mute.mkv", shots)
    index_videos(colour_library, [tmp_path / "videos"])
    return colour_library


@pytest.mark.parametrize("name", ["flag.mp4", "mute.mkv"])
def test_a_summary_lasts_as_long_as_it_says(indexed, tmp_path, name):
    video = indexed.video(name)
    for seconds in (0.04, 0.5, 1.0, 4.5, 9.0):
        summary = summarize(indexed, video, seconds=seconds)
        files = write_summary(indexed, video, summary, tmp_path / "out")
        made = probe(files["mp4"])
        assert made.duration_seconds == pytest.approx(max(seconds, 0.1), abs=0.2)
        assert summary.duration_seconds == pytest.approx(max(seconds, 0.1), abs=1e-6)
        assert made.has_audio == video.has_audio


def test_a_summary_about_a_question_shows_its_colour(indexed, tmp_path):
    summary = summarize(indexed, "flag.mp4", "green", seconds=2.0)
    assert sum(s.span.overlap(Span(6.0, 9.0)) for s in summary.segments) == pytest.approx(2.0)


def test_the_longest_name_a_file_can_have(indexed, tmp_path):
    video = indexed.video("flag.mp4")
    long = video.path.with_name("é" * 125 + ".mp4")
    video.path.rename(long)
    index_videos(indexed, [long.parent])
    summary = summarize(indexed, long, "red " * 200)
    files = write_summary(indexed, indexed.video(long), summary, tmp_path / "out")
    assert files["mp4"].is_file()


def test_budgets_that_cannot_be_met(indexed):
    for budget, what in (
        ({"seconds": 0.0}, "more than 0"),
        ({"seconds": float("nan")}, "more than 0"),
        ({"seconds": 10.0}, r"9\.0 s"),
        ({"ratio": 0.0}, "above 0"),
        ({"ratio": 1.01}, "up to 1"),
        ({"ratio": 0.5, "seconds": 1.0}, "one of them"),
    ):
        with pytest.raises(SummaryError, match=what):
            summarize(indexed, "flag.mp4", **budget)
