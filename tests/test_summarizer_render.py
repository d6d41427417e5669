"""Written summaries: what they hold, and what they leave alone."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

from indexer import index_videos
from summarizer import summarize, write_summary
from summarizer.render import draw_storyboard
from vidsift.errors import MediaError, StorageError, SummaryError
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
@pytest.mark.parametrize("seconds", [0.04, 0.5, 1.0, 4.5, 9.0])
def test_a_summary_lasts_as_long_as_it_says(indexed, tmp_path, name, seconds):
    video = indexed.video(name)
    summary = summarize(indexed, video, seconds=seconds)
    files = write_summary(indexed, video, summary, tmp_path / "out")
    made = probe(files.video)
    assert made.duration_seconds == pytest.approx(max(seconds, 0.1), abs=0.2)
    assert summary.duration_seconds == pytest.approx(max(seconds, 0.1), abs=1e-6)
    assert made.has_audio == video.has_audio
    listing = json.loads(files.json.read_text())
    assert listing["files"] == {kind: str(path) for kind, path in vars(files).items()}


def test_a_summary_about_a_question_shows_its_colour(indexed, tmp_path):
    summary = summarize(indexed, "flag.mp4", "green", seconds=2.0)
    assert sum(s.span.overlap(Span(6.0, 9.0)) for s in summary.segments) == pytest.approx(2.0)


def test_nothing_of_the_user_is_overwritten(indexed, tmp_path):
    video = indexed.video("flag.mp4")
    summary = summarize(indexed, video)
    (tmp_path / "flag.summary.mp4").write_text("mine")
    first = write_summary(indexed, video, summary, tmp_path)
    assert first.video.name == "flag.summary-2.mp4"
    assert (tmp_path / "flag.summary.mp4").read_text() == "mine"
    # The same summary again takes its own place again, another one takes another.
    assert write_summary(indexed, video, summary, tmp_path) == first
    other = write_summary(indexed, video, summarize(indexed, video, seconds=2.0), tmp_path)
    assert other.video.name == "flag.summary-3.mp4"


def test_the_longest_name_a_file_can_have(indexed, tmp_path):
    video = indexed.video("flag.mp4")
    long = video.path.with_name("é" * 125 + ".mp4")
    video.path.rename(long)
    index_videos(indexed, [long.parent])
    summary = summarize(indexed, long, "red " * 200)
    files = write_summary(indexed, indexed.video(long), summary, tmp_path / "out")
    assert files.video.is_file()


def test_no_half_written_output_remains(indexed, tmp_path):
    video = indexed.video("flag.mp4")
    summary = summarize(indexed, video)
    video.path.unlink()
    with pytest.raises(MediaError, match="is gone"):
        write_summary(indexed, video, summary, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        write_summary(indexed, video, summary, tmp_path / "file")


@pytest.mark.parametrize(
    ("budget", "what"),
    [
        ({"seconds": 0.0}, "more than 0"),
        ({"seconds": float("nan")}, "more than 0"),
        ({"seconds": 10.0}, r"9\.0 s"),
        ({"ratio": 0.0}, "above 0"),
        ({"ratio": 1.01}, "up to 1"),
        ({"ratio": 0.5, "seconds": 1.0}, "one of them"),
    ],
)
def test_budgets_that_cannot_be_met(indexed, budget, what):
    with pytest.raises(SummaryError, match=what):
        summarize(indexed, "flag.mp4", **budget)


def test_a_storyboard_is_about_square_and_bounded():
    picture = io.BytesIO()
    Image.new("RGB", (64, 36), "red").save(picture, "JPEG")
    for number, size in [(1, (336, 222)), (5, (992, 436)), (200, (1976, 1078))]:
        spans = [Span(float(i), i + 1.0) for i in range(number)]
        sheet = Image.open(io.BytesIO(draw_storyboard([picture.getvalue()] * number, spans)))
        assert sheet.size == size
