"""The player's short files, the timeline and the words of the page."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import index_videos
from summarizer import Skim, summarize
from summarizer.chapters import Chapter
from ui import preview
from ui.elements import plain, size_words, time_words
from ui.timeline import timeline_html
from vidsift.errors import MediaError
from vidsift.library import Library
from vidsift.media.probe import probe
from vidsift.types import Moment, Shot, Span


@given(
    duration=st.floats(0.04, 1e5),
    start=st.floats(0, 0.99),
    share=st.floats(1e-4, 1),
    peak=st.floats(0, 1),
)
def test_what_is_played_of_a_moment_is_neither_a_blink_nor_the_video(duration, start, share, peak):
    begin = start * duration
    span = Span(begin, begin + share * (duration - begin))
    peak_seconds = span.start + peak * span.duration
    played = preview.widened(span, peak_seconds, duration)
    assert played.end <= duration + 1e-6
    assert min(4.0, duration) - 1e-6 <= played.duration <= 60 + 1e-6
    assert played.start - 1e-6 <= peak_seconds <= played.end + 1e-6
    assert played.overlap(span) == pytest.approx(min(played.duration, span.duration))


def test_a_part_at_the_end_is_as_long_as_what_is_left(colour_library, make_film, tmp_path):
    index_videos(colour_library, [make_film(tmp_path / "a.mp4", [("red", 5), ("blue", 3)])])
    video = colour_library.video("a.mp4")
    clip = preview.part_clip(colour_library, video, 6.5)
    assert probe(clip).duration_seconds == pytest.approx(1.5, abs=0.11)


def moment_clip(library: Library, span: Span) -> Path:
    moment = Moment(video_id=1, clip_id=1, span=span, peak_seconds=span.start, score=0.5)
    return preview.moment_clip(library, library.video(1), moment)


def test_moments_are_cut_once_and_the_oldest_give_way(
    colour_library, make_film, tmp_path, monkeypatch
):
    monkeypatch.setattr(preview, "_MAX_MOMENTS", 2)
    index_videos(colour_library, [make_film(tmp_path / "a.mp4", [("red", 30)])])
    first = moment_clip(colour_library, Span(0.0, 5.0))
    second = moment_clip(colour_library, Span(5.0, 10.0))
    for age, clip in ((200, first), (100, second)):
        os.utime(clip, (clip.stat().st_mtime - age,) * 2)
    cut = first.stat().st_ino
    assert moment_clip(colour_library, Span(0.0, 5.0)).stat().st_ino == cut
    third = moment_clip(colour_library, Span(10.0, 15.0))
    # The second gives way: the first is older, but was asked for again.
    assert set(first.parent.iterdir()) == {first, third}


def test_a_summary_is_rendered_once_and_known_afterwards(colour_library, make_film, tmp_path):
    path = make_film(tmp_path / "a.mp4", [("red", 4), ("blue", 4)])
    index_videos(colour_library, [path])
    video = colour_library.video("a.mp4")
    generic = Skim.of(video, summarize(colour_library, video))
    assert preview.known_skim(colour_library, generic) == {}
    shares: list[float] = []
    files = preview.skim_files(colour_library, generic, progress=shares.append)
    assert shares[-1] == 1.0
    assert preview.known_skim(colour_library, generic) == files
    skim = Skim.of(video, summarize(colour_library, video, "blue"))
    assert preview.known_skim(colour_library, skim) == {}
    path.unlink()
    assert preview.skim_files(colour_library, generic) == files
    with pytest.raises(MediaError, match="is gone"):
        preview.skim_files(colour_library, skim)
    # What needs no video is made all the same, and is found there afterwards.
    made = preview.skim_files(colour_library, skim, ["html"])
    written = made["html"].stat().st_mtime_ns
    assert preview.skim_files(colour_library, skim, ["html"]) == made
    assert made["html"].stat().st_mtime_ns == written


def test_the_timeline_marks_shots_segments_chapters_and_what_plays():
    shots = [Shot(Span(0.0, 6.0)), Shot(Span(6.0, 10.0))]
    chapters = [
        Chapter(Span(0.0, 6.0), "<img src=y>", 0.5, "picture"),
        Chapter(Span(6.0, 10.0), "Chapter 2", 0.0, "none"),
    ]
    html = timeline_html(
        10.0,
        shots,
        [Span(2.0, 3.0)],
        Span(0.0, 5.0),
        query='<img src=x> "',
        chapters=chapters,
    )
    assert re.findall(
        r'class="(even|odd|segment|playing|chapter)" style="left:([\d.]+)%;width:([\d.]+)%', html
    ) == [
        ("even", "0.000", "60.000"),
        ("odd", "60.000", "40.000"),
        ("playing", "0.000", "50.000"),
        ("segment", "20.000", "10.000"),
        ("chapter", "0.000", "60.000"),
        ("chapter", "60.000", "40.000"),
    ]
    assert "<img" not in html
    assert "Summary about &lt;img src=x&gt; &quot;: 0:02.0 - 0:03.0" in html
    # One chapter alone is the video, and says nothing more.
    assert "chapter" not in timeline_html(10.0, shots, [], None, chapters=chapters[:1])


@pytest.mark.parametrize("duration", [0.04, 1.0, 59.0, 3600.0, 86_400.0, 1e6])
def test_the_timeline_has_few_ticks_however_long_the_video_is(duration):
    html = timeline_html(duration, [Shot(Span(0.0, duration))], [], None)
    assert 1 <= html.count("<span") <= 14


def test_markup_in_a_text_is_taken_as_it_stands():
    assert plain("a *b* [c](http://d)\n:red[e] $f$") == (
        r"a \*b\* \[c\]\(http\:\/\/d\) \:red\[e\] \$f\$"
    )


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (4_140_000, "4.1 MB"), (2.7e10, "27 GB")],
)
def test_sizes_in_words(size, words):
    assert size_words(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (185.0, "3 min 05 s"), (7620.0, "2 h 07 min")],
)
def test_lengths_in_words(seconds, words):
    assert time_words(seconds) == words
