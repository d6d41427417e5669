"""Sentences out of cues: what is said, verbatim, with when."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from vidsift.library import Library
from vidsift.types import Cue, Span, VideoRecord

__all__ = ["Sentence", "SpokenLines", "sentences_of", "spoken_lines"]

_PAUSE_SECONDS = 2.0
_LONGEST = 240  # characters; where nothing ends a sentence, it ends with the line that reaches this
_END = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s)|[。！？][」』”’]*")  # noqa: RUF001


@dataclass(frozen=True)
class SpokenLines:
    """The cues of one track of a video in order of time, and their unit-length vectors (m, d)."""

    cues: tuple[Cue, ...]
    vectors: Float32[np.ndarray, "m d"]


def spoken_lines(library: Library, video: VideoRecord) -> SpokenLines:
    """What is said in a video: the cues of its first track."""
    found = library.catalog.cues_of_video(video.id)
    records = [record for record in found if record.cue.track == found[0].cue.track]
    ids, vectors = library.catalog.cue_vectors([video.id])
    place = {int(cue_id): row for row, cue_id in enumerate(ids)}
    records = [record for record in records if record.id in place]  # gone in the meantime
    return SpokenLines(
        tuple(record.cue for record in records), vectors[[place[each.id] for each in records]]
    )


@dataclass(frozen=True)
class Sentence:
    """A sentence as it is said, from the start of its first cue to the end of its last.

    `vector` (d,) has unit length: the mean of its cues' by how much of it stands in each.
    """

    span: Span
    text: str
    vector: Float32[np.ndarray, "d"]


def sentences_of(spoken: SpokenLines) -> list[Sentence]:
    """The sentences of a track in order of time.

    Lines are joined where a sentence runs over several, and parted where one holds several; a
    pause of 2 s ends it in any case. A line that is shown twice at once, as in captions that roll,
    counts once.
    """
    found = []
    for speech in _speeches(spoken.cues):
        text, owners = "", np.empty(0, dtype=np.int64)
        for place in speech:
            line = " ".join(spoken.cues[place].text.split())
            joint = " " if text else ""
            text += joint + line
            owners = np.append(owners, np.full(len(joint) + len(line), place))
        for start, end in _cut(text, owners):
            counts = np.bincount(owners[start:end], minlength=len(spoken.cues))
            used = np.flatnonzero(counts)
            vector = counts[used].astype(np.float32) @ spoken.vectors[used]
            length = max(float(np.linalg.norm(vector)), 1e-12)
            first, last = spoken.cues[used[0]].span, spoken.cues[used[-1]].span
            found.append(Sentence(first.hull(last), text[start:end], vector / np.float32(length)))
    return found


def _speeches(cues: Sequence[Cue]) -> Iterator[list[int]]:
    """The places of cues that follow each other without a pause."""
    speech: list[int] = []
    for place, cue in enumerate(cues):
        before = cues[speech[-1]] if speech else None
        if before and cue.text.strip() == before.text.strip() and cue.span.overlap(before.span):
            continue
        if speech and cue.span.start - cues[speech[-1]].span.end >= _PAUSE_SECONDS:
            yield speech
            speech = []
        if cue.text.strip():
            speech.append(place)
    if speech:
        yield speech


def _cut(text: str, owners: np.ndarray) -> Iterator[tuple[int, int]]:
    """From which character to which each sentence stands, without the space around it."""
    ends = [match.end() for match in _END.finditer(text)]
    lines = (np.flatnonzero(np.diff(owners)) + 1).tolist()  # where a line ends
    start = 0
    for end in [*ends, len(text)]:
        while end - start > _LONGEST:
            reached = [line for line in lines if start < line < end]
            enough = [line for line in reached if line - start >= _LONGEST / 2]
            if not reached:
                break
            cut = enough[0] if enough else reached[-1]
            yield from _stripped(text, start, cut)
            start = cut
        yield from _stripped(text, start, end)
        start = end


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    if piece.strip():
        left = start + len(piece) - len(piece.lstrip())
        yield left, left + len(piece.strip())
