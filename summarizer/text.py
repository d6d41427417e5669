"""The written summary: what is said where the summary plays, else what is seen there.

**Where somebody speaks** it is extractive. Sentences t weigh as much as the chosen segments attend
to them: the seconds that they share, and with a question times softmax of their cosine to it. A set
S of sentences is worth the facility location

    sum_t w_t max_{i in S} max(0, cos(t, i)) + 0.1 sum_{i in S} w_i,

so that what repeats something already taken adds hardly anything. It is filled greedily (at least
1 - 1/e of the best: Nemhauser, Wolsey and Fisher 1978) and put in order of time. Sentences are
verbatim.

**Where nobody does**, each chapter that the summary plays a part of gives a line, if its title is
sure (`summarizer.chapters`); else it is passed over in silence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64

from search.asking import understand
from summarizer.chapters import chapters_of
from summarizer.key_phrases import attention_to_lines
from summarizer.sentences import sentences_of, spoken_lines
from summarizer.skim import Skim
from vidsift.library import Library
from vidsift.times import whole_clock
from vidsift.types import Segment, Span, VideoRecord

__all__ = ["WrittenLine", "WrittenSummary", "as_markdown", "written_summary"]

_SECONDS_A_SENTENCE = 6.0  # of the skim; people speak about as fast
_MOST_SENTENCES = 40
_OWN_WEIGHT = 0.1
_LEAST_GAIN = 0.02  # of the whole weight; what adds less is not worth reading
_LEAST_SHARED_SECONDS = 0.3
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&])")

_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

_NOTHING = "Nothing is said in it, and what is seen is not sure enough to be named."
_NOT_MATCHED = "Nothing matches the question for sure; these are the nearest places."


@dataclass(frozen=True, slots=True)
class WrittenLine:
    """A sentence that is said (`speech`, verbatim), or a prototype text for what is seen.

    `span` is when, in the video itself. `confidence`, in [0, 1], is 1 for what is said, and of a
    picture what `Chapter` says.
    """

    video: VideoRecord
    span: Span
    text: str
    source: Literal["speech", "picture"]
    confidence: float

    @property
    def words(self) -> str:
        """The line as a person reads it: what is seen is only what it looks like."""
        text = _one_line(self.text)
        return text if self.source == "speech" else f"looks like {text} ({self.confidence:.0%})"


@dataclass(frozen=True, slots=True)
class WrittenSummary:
    """The lines of a skim, video by video in its order, each in order of time.

    `title`, `query` and `matched` are those of the skim.
    """

    title: str
    query: str
    matched: bool | None
    lines: tuple[WrittenLine, ...]


def written_summary(library: Library, skim: Skim) -> WrittenSummary:
    """Write down what a skim comes down to; about a sentence for each 6 s of it.

    Every line is a sentence of a video's cues or a prototype text. There may be none.

    Raises:
        SummaryError, EncoderError: as chapters_of.
        QueryError: the skim's question cannot be asked.
    """
    question = _question(library, skim.query)
    lines: list[WrittenLine] = []
    for video in skim.videos:
        segments = [part.segment for part in skim.parts if part.video.id == video.id]
        said = _said(library, video, segments, question)
        seen = [
            line
            for line in _seen(library, video, segments)
            if not any(line.span.overlap(sentence.span) for sentence in said)
        ]
        lines += sorted([*said, *seen], key=lambda line: line.span)
    return WrittenSummary(skim.title, skim.query, skim.matched, tuple(lines))


def _question(library: Library, query: str) -> Float32[np.ndarray, "w d"] | None:
    """The vectors of what is asked for; None where nothing is."""
    if not query.strip():
        return None
    asked = understand(library, query)
    wanted = [step.wanted for step in asked.steps]
    if asked.spoken:
        wanted.append(library.encoder.encode_texts(list(asked.spoken)))
    return np.concatenate(wanted)


def _said(
    library: Library,
    video: VideoRecord,
    segments: Sequence[Segment],
    question: Float32[np.ndarray, "w d"] | None,
) -> list[WrittenLine]:
    weighed = [
        (sentence, weight)
        for sentence in sentences_of(spoken_lines(library, video))
        if (weight := _weight(sentence.span, segments)) > 0
    ]
    if not weighed:
        return []
    sentences = [sentence for sentence, _ in weighed]
    weights = np.array([weight for _, weight in weighed])
    vectors = np.stack([sentence.vector for sentence in sentences])
    if question is not None:
        # Of several things asked for, each has its own attention.
        weights *= np.mean([attention_to_lines(vectors, one) for one in question], axis=0)
    seconds = sum(segment.span.duration for segment in segments)
    most = min(_MOST_SENTENCES, max(1, round(seconds / _SECONDS_A_SENTENCE)))
    return [
        WrittenLine(video, sentences[i].span, sentences[i].text, "speech", 1.0)
        for i in _most_telling(vectors, weights / weights.sum(), most)
    ]


def _weight(span: Span, segments: Sequence[Segment]) -> float:
    """The seconds of a sentence that the segments play; 0 where it is too little to follow."""
    played = sum(segment.span.overlap(span) for segment in segments)
    return played if played >= min(_LEAST_SHARED_SECONDS, span.duration / 2) else 0.0


def _most_telling(
    vectors: Float32[np.ndarray, "t d"], weights: Float64[np.ndarray, "t"], most: int
) -> list[int]:
    """The sentences to take, in order of time."""
    likeness = np.maximum(vectors @ vectors.T, 0.0)
    covered = np.zeros(len(weights))
    left = weights.copy()
    chosen: list[int] = []
    while len(chosen) < min(most, len(weights)):
        gains = weights @ np.maximum(likeness - covered[:, np.newaxis], 0.0)
        best = int(np.argmax(gains + _OWN_WEIGHT * left))
        if chosen and gains[best] < _LEAST_GAIN:
            break
        chosen.append(best)
        left[best] = 0.0
        covered = np.maximum(covered, likeness[:, best])
    return sorted(chosen)


def _seen(
    library: Library, video: VideoRecord, segments: Sequence[Segment]
) -> Iterator[WrittenLine]:
    for chapter in chapters_of(library, video):
        if chapter.source == "picture" and any(
            segment.span.overlap(chapter.span) >= _LEAST_SHARED_SECONDS for segment in segments
        ):
            yield WrittenLine(video, chapter.span, chapter.title, "picture", chapter.confidence)


def as_markdown(written: WrittenSummary) -> str:
    """Markdown, in which all that comes from a file or a person stands for itself."""
    parts = [f"# {_escaped(written.title)}"]
    for note in _notes(written):
        parts += ["", _escaped(note)]
    for name, lines in _by_video(written):
        parts += ["", *([f"## {_escaped(name)}", ""] if name else [])]
        parts += [f"- **{_when(line)}** {_escaped(line.words)}" for line in lines]
    return "\n".join(parts) + "\n"


def _notes(written: WrittenSummary) -> Iterator[str]:
    if written.query:
        yield f"Question: {written.query}"
    if written.matched is False:
        yield _NOT_MATCHED
    if not written.lines:
        yield _NOTHING


def _by_video(written: WrittenSummary) -> Iterator[tuple[str, list[WrittenLine]]]:
    """The lines of each video, and its name where there are several."""
    several = len({line.video.id for line in written.lines}) > 1
    for _, group in groupby(written.lines, key=lambda line: line.video.id):
        lines = list(group)
        yield (lines[0].video.path.name if several else ""), lines


def _when(line: WrittenLine) -> str:
    start = whole_clock(line.span.start)
    return start if line.source == "speech" else f"{start}-{whole_clock(line.span.end)}"


def _one_line(text: str) -> str:
    """Without orders to a terminal, and without marks that turn the direction of what follows."""
    shown = (" " if unicodedata.category(c) == "Cc" or c in _TURNING else c for c in text)
    return " ".join("".join(shown).split())


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", _one_line(text))
