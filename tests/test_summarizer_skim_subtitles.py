"""Subtitles of a skim: cut at its edges, moved to its clock, read back by other readers."""

from __future__ import annotations

import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import index_videos
from summarizer.skim import Skim
from summarizer.skim_subtitles import as_srt, as_vtt, check_subtitles, skim_cues
from vidsift.errors import SummaryError
from vidsift.media.cues import parse_cues
from vidsift.types import Cue, Segment, Span, Summary

SRT = """1
00:00:00,500 --> 00:00:02,000
A red wall.

2
00:00:02,800 --> 00:00:03,400
Over the cut.

3
00:00:04,000 --> 00:00:04,200
Hm.

4
00:00:05,900 --> 00:00:08,000
The green one, <i>at last</i>.
"""


@pytest.fixture
def spoken(colour_library, tmp_path, make_film):
    folder = tmp_path / "videos"
    make_film(folder / "said.mp4", [("red", 3), ("blue", 3), ("green", 3)], sound=True)
    (folder / "said.en.srt").write_text(SRT)
    (folder / "said.fr.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nUn mur rouge.\n")
    make_film(folder / "quiet.mp4", [("red", 3)], sound=True)
    make_film(folder / "mute.mp4", [("blue", 3)])
    index_videos(colour_library, [folder])
    return colour_library


def skim(library, name, *spans) -> Skim:
    segments = tuple(Segment(Span(a, b), 1.0) for a, b in spans)
    return Skim.of(library.video(name), Summary("", segments, 9.0))


def told(library, of, track=""):
    return [
        (cue.text, round(cue.span.start, 6), round(cue.span.end, 6))
        for cue in skim_cues(library, of, track)
    ]


def test_cues_are_cut_at_edges_and_moved(spoken):
    of = skim(spoken, "said.mp4", (1.0, 3.0), (4.0, 5.0), (7.5, 9.0))
    # 0.2 s of the second cue are left by the edge: nobody reads that. The third is as short itself.
    assert told(spoken, of) == [
        ("A red wall.", 0.0, 1.0),
        ("Hm.", 2.0, 2.2),
        ("The green one, at last.", 3.0, 3.5),
    ]


def test_a_cue_over_two_segments_stays_one(spoken):
    assert told(spoken, skim(spoken, "said.mp4", (2.5, 3.0), (3.0, 3.5))) == [
        ("Over the cut.", 0.3, 0.9)
    ]
    # Also where what lies between them is left out: it goes on in the skim.
    assert told(spoken, skim(spoken, "said.mp4", (2.5, 3.1), (3.2, 3.5))) == [
        ("Over the cut.", 0.3, 0.8)
    ]


def test_a_language_can_be_named(spoken):
    of = skim(spoken, "said.mp4", (0.0, 9.0))
    assert told(spoken, of, "fr") == told(spoken, of, "fr.srt") == [("Un mur rouge.", 1.0, 2.0)]
    assert len(told(spoken, of)) == len(told(spoken, of, "EN")) == 4
    with pytest.raises(SummaryError, match=r"called 'de'; there are en\.srt, fr\.srt"):
        check_subtitles(spoken, of, "de")


def test_where_nothing_is_said_it_is_told_what_to_do(spoken):
    with pytest.raises(SummaryError, match=r"quiet\.mp4: no subtitles .*`vidsift transcribe`"):
        check_subtitles(spoken, skim(spoken, "quiet.mp4", (0.0, 1.0)))
    with pytest.raises(SummaryError, match=r"mute\.mp4: no subtitles .*no sound to transcribe"):
        check_subtitles(spoken, skim(spoken, "mute.mp4", (0.0, 1.0)))
    # Among several videos one that speaks is enough.
    parts = tuple(
        skim(spoken, name, (0.0, 2.0)).parts[0] for name in ("mute.mp4", "said.mp4", "quiet.mp4")
    )
    both = Skim("three", "", parts, 6.0)
    check_subtitles(spoken, both)
    assert told(spoken, both) == [("A red wall.", 2.5, 4.0)]


TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Cf")), min_size=1, max_size=40)


@given(st.lists(st.tuples(st.floats(0, 3e4), st.floats(0.001, 10), TEXTS), max_size=8))
def test_other_readers_find_the_same_times(drawn):
    cues = [Cue(Span(a, a + d), f"x {text}") for a, d, text in sorted(drawn)]
    for form, text in (("srt", as_srt(cues)), ("vtt", as_vtt(cues))):
        if not cues:
            continue
        read = pysubs2.SSAFile.from_string(text, form)
        assert len(read) == len(cues)
        for event, cue in zip(sorted(read, key=lambda e: e.start), cues, strict=True):
            assert abs(event.start - cue.span.start * 1000) <= 1
            assert abs(event.end - cue.span.end * 1000) <= 1.5


def test_no_text_is_taken_for_markup_or_time():
    cues = [
        Cue(Span(0.0, 1.0), "a < b & <script>alert(1)</script>"),
        Cue(Span(1.0, 2.0), "one\n\n00:00:09,000 --> 00:00:10,000\ntwo"),
    ]
    assert "&lt;script&gt;" in as_vtt(cues)
    assert "<script>" not in as_vtt(cues)
    assert "a &lt; b &amp; " in as_vtt(cues)
    for text, suffix in ((as_srt(cues), ".srt"), (as_vtt(cues), ".vtt")):
        assert [(cue.start, cue.end) for cue in parse_cues(text.encode(), suffix).cues] == [
            (0.0, 1.0),
            (1.0, 2.0),
        ]
    assert as_srt(cues[:1]) == (
        "1\n00:00:00,000 --> 00:00:01,000\na < b & <script>alert(1)</script>\n"
    )
    assert as_vtt([]) == "WEBVTT\n"
