"""Reasons say what the terms tell, and nothing else."""

from __future__ import annotations

import pytest

from summarizer.reasons import reason
from vidsift.types import Cue, SaliencyTerm, Segment, Span


def segment(**values: float) -> Segment:
    terms = tuple(SaliencyTerm(name, value, 1.0) for name, value in values.items())
    return Segment(Span(2.0, 6.0), sum(values.values()), terms)


def test_a_segment_without_terms_has_no_reason():
    assert reason(Segment(Span(0.0, 1.0), 0.5)) == ""
    assert reason(segment(representativeness=0.0, diversity=0.0)) == ""


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"representativeness": 0.31, "diversity": 0.1}, "stands for 31 % of the film"),
        ({"representativeness": 0.1, "diversity": 0.2}, "shows 20 % of the kinds of thing"),
        ({"representativeness": 0.004, "diversity": 0.0}, "adds little"),
        ({"representativeness": 0.0, "relevance": 0.004}, "less than 1 %"),
        ({"representativeness": 0.1, "learned": 0.2}, "what people found important"),
    ],
)
def test_the_term_that_counts_most_is_told(values, said):
    assert said in reason(segment(**values))


def test_only_of_a_match_is_said_that_it_answers():
    asked = segment(representativeness=0.1, relevance=0.5)
    assert reason(asked, matched=True) == "answers the question: 50 % of the attention to it"
    assert "without a match" in reason(asked, matched=False)
    assert "answers" not in reason(asked, matched=False)
    assert "answers" not in reason(asked)


def test_speech_is_told_only_where_someone_speaks():
    cues = [Cue(Span(0.0, 1.5), "before"), Cue(Span(3.0, 4.0), "in \n it")]
    spoken = segment(representativeness=0.2, speech=0.1)
    assert reason(spoken).endswith("; someone speaks")
    assert reason(spoken, cues=cues).endswith("; someone speaks: “in it”")
    assert "speaks" not in reason(segment(representativeness=0.2, speech=0.0), cues=cues)
    around = [Cue(Span(0.0, 2.0), "before"), Cue(Span(6.0, 7.0), "after")]
    assert "speaks" not in reason(spoken, cues=around)
    assert reason(spoken, cues=[Cue(Span(1.0, 3.0), "into")]).endswith("; someone speaks")
    long = [Cue(Span(3.0, 4.0), "word " * 50)]
    assert len(reason(spoken, cues=long)) < 130
