"""The written summary: nothing in it that is not said, or that no prototype text names."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import index_videos
from search.bank import prototype_texts
from summarizer import summarize
from summarizer.sentences import SpokenLines, sentences_of
from summarizer.skim import Skim, SkimPart
from summarizer.text import WrittenLine, WrittenSummary, as_markdown, written_summary
from vidsift.types import Cue, Segment, Span

# (start, end, text): two sentences of which each runs over lines, and lines of several sentences.
TALK = [
    (1, 3, "Red is the colour of the first"),
    (3, 5, "picture. It is red indeed."),
    (6, 8, "Nobody knows why it is red"),
    (21, 23, "Blue comes next, and blue it is."),
    (23, 25, "Blue stays. Then green indeed."),
    (41, 44, "Green is last!"),
]


def srt(lines) -> str:
    return "".join(
        f"{n}\n00:00:{start:02d},000 --> 00:00:{end:02d},000\n{text}\n\n"
        for n, (start, end, text) in enumerate(lines, 1)
    )


@pytest.fixture
def library(colour_library, make_film, tmp_path):
    shots = [("red", 20), ("blue", 20), ("green", 20)]
    make_film(tmp_path / "films" / "talk.mp4", shots)
    make_film(tmp_path / "films" / "silent.mp4", [("red", 30), ("white", 15)])
    (tmp_path / "films" / "talk.srt").write_text(srt(TALK))
    index_videos(colour_library, [tmp_path / "films"])
    return colour_library


def skim_of(library, name: str, *spans: tuple[float, float], query: str = "") -> list[SkimPart]:
    return [SkimPart(library.video(name), Segment(Span(a, b), 1.0)) for a, b in spans]


def spoken_of(*lines: tuple[float, float, str]) -> SpokenLines:
    cues = tuple(Cue(Span(float(a), float(b)), text) for a, b, text in lines)
    return SpokenLines(cues, np.eye(len(cues), dtype=np.float32))


def test_sentences_are_joined_and_parted():
    found = sentences_of(spoken_of(*TALK))
    assert [(each.span.start, each.span.end, each.text) for each in found] == [
        (1, 5, "Red is the colour of the first picture."),
        (3, 5, "It is red indeed."),
        (6, 8, "Nobody knows why it is red"),
        (21, 23, "Blue comes next, and blue it is."),
        (23, 25, "Blue stays."),
        (23, 25, "Then green indeed."),
        (41, 44, "Green is last!"),
    ]
    first = found[0].vector
    assert np.linalg.norm(first) == pytest.approx(1)
    assert first[0] > first[1] > 0 == first[2]


def test_speech_without_full_stops_is_cut_at_lines_and_rolling_captions_count_once():
    lines = [(n, n + 1, f"line number {n} goes on and on") for n in range(40)]
    found = sentences_of(spoken_of(*lines))
    assert all(100 < len(each.text) < 280 for each in found[:-1])
    assert all(re.match(r"line number \d+ goes", each.text) for each in found)
    rolling = sentences_of(spoken_of((0, 2, "so it rolls."), (1, 3, "so it rolls."), (3, 4, "on")))
    assert [each.text for each in rolling] == ["so it rolls.", "on"]


@given(st.lists(st.text(max_size=300), min_size=1, max_size=8), st.floats(0.0, 3.0))
def test_every_sentence_is_verbatim(texts, pause):
    spoken = spoken_of(*((n * (1 + pause), n * (1 + pause) + 1, t) for n, t in enumerate(texts)))
    whole = " ".join(" ".join(text.split()) for text in texts)
    rest = "".join(whole.split())
    for sentence in sentences_of(spoken):
        assert sentence.text == " ".join(sentence.text.split()) != ""
        assert sentence.text in " ".join(whole.split()) or "  " in whole
        assert "".join(sentence.text.split()) in rest


def test_what_is_said_where_the_skim_plays(library):
    parts = skim_of(library, "talk.mp4", (0.0, 6.0), (40.0, 46.0))
    written = written_summary(library, Skim("talk", "", tuple(parts), 12.0))
    said = [line for line in written.lines if line.source == "speech"]
    assert [line.text for line in said] == [
        "Red is the colour of the first picture.",
        "Green is last!",
    ]
    assert [line.span for line in said] == [Span(1.0, 5.0), Span(41.0, 44.0)]
    assert all(line.confidence == 1.0 for line in said)


def test_the_question_decides_which_sentence(library):
    parts = tuple(skim_of(library, "talk.mp4", (3.0, 5.0), (23.0, 25.0), (41.0, 43.0)))
    for query, start in (("red", 1.0), ("blue", 23.0), ("green", 41.0), ('said:"green"', 41.0)):
        [line] = written_summary(library, Skim("talk", query, parts, 6.0)).lines
        assert line.span.start == start, query


def test_without_speech_a_line_a_chapter(library):
    video = library.video("silent.mp4")
    written = written_summary(library, Skim.of(video, summarize(library, video, seconds=20.0)))
    assert written.lines
    for line in written.lines:
        assert line.source == "picture"
        assert line.text in prototype_texts()
        assert 0.5 <= line.confidence <= 1
    assert "red" in written.lines[0].text.split()
    # Of the part that the skim leaves out nothing is written.
    only_white = written_summary(
        library, Skim("s", "", tuple(skim_of(library, "silent.mp4", (31.0, 40.0))), 9.0)
    )
    assert not any("red" in line.text.split() for line in only_white.lines)


def test_every_line_is_said_or_a_prototype(library):
    parts = [
        *skim_of(library, "silent.mp4", (1.0, 9.0), (31.0, 44.0)),
        *skim_of(library, "talk.mp4", (1.0, 30.0)),
    ]
    written = written_summary(library, Skim("both", "", tuple(parts), 50.0))
    cues = " ".join(text for _, _, text in TALK)
    for line in written.lines:
        assert line.text in (cues if line.source == "speech" else prototype_texts())
    assert {line.video.path.name for line in written.lines} == {"silent.mp4", "talk.mp4"}
    text = as_markdown(written)
    assert text.index("## silent.mp4") < text.index("## talk.mp4")
    assert "- **0:01** Red is the colour of the first picture.\n" in text
    assert re.search(r"^- \*\*0:00-0:30\*\* looks like .*red.* \(\d+%\)$", text, re.MULTILINE)


def test_nothing_sure_is_said_to_be_so(library):
    written = WrittenSummary("a.mp4", "a dog", False, ())
    text = as_markdown(written)
    assert text.startswith("# a.mp4\n\nQuestion: a dog\n\nNothing matches the question for sure")
    assert "Nothing is said in it" in text


def test_markdown_is_escaped(library):
    video = library.video("talk.mp4")
    line = WrittenLine(video, Span(3700.0, 3705.0), "*a* [b](c) <i>_d_</i>\n# e", "speech", 1.0)
    shown = as_markdown(WrittenSummary("x#1", "", None, (line,)))
    assert shown == ("# x\\#1\n\n- **1:01:40** \\*a\\* \\[b\\](c) \\<i\\>\\_d\\_\\</i\\> \\# e\n")
