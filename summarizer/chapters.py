"""Chapters: a whole video divided, and titled by the words that attend to each part.

Where they begin is decided in `chapter_edges`. A title is a phrase that is said in the chapter
and hardly elsewhere (`key_phrases`), else the prototype text that what is seen attends to
(`chapter_titles`), else only a number: a title that nothing in the video bears out is not given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Float64

from summarizer.chapter_edges import LEAST_SECONDS, candidate_edges, divide
from summarizer.chapter_titles import (
    SURE,
    PictureTitle,
    Prototypes,
    other_footage,
    picture_titles,
)
from summarizer.key_phrases import KeyPhrase, key_phrases, lines_with
from summarizer.sentences import Sentence, SpokenLines, sentences_of, spoken_lines
from vidsift.errors import SummaryError
from vidsift.library import Library
from vidsift.types import Span, VideoRecord

__all__ = ["Chapter", "chapter_spans", "chapters_of"]

_LEAST_ATOM_SECONDS = 0.25
_LINES_ELSEWHERE = 2_000


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of a video. `confidence`, in [0, 1], says how sure the title is; 0 of a number.

    `source` tells what the title was taken from: what is said, what is seen, or neither.
    """

    span: Span
    title: str
    confidence: float
    source: Literal["speech", "picture", "none"]


def chapters_of(library: Library, video: VideoRecord) -> tuple[Chapter, ...]:
    """Divide and title a whole video: the first chapter begins at 0, the last ends with it.

    Edges lie on cuts, and on pauses where somebody speaks. No chapter of several is shorter than
    10 s; titles are distinct. Everything is computed from what the library holds: the video itself
    is not read.

    Raises:
        SummaryError: the video could not be indexed, so that nothing is known of it.
        EncoderError: the prototype texts must be encoded, and the encoder cannot run.
    """
    return library.in_one_state(
        lambda: _chapters_of(library, library.catalog.video(video.id) or video)
    )


def _chapters_of(library: Library, video: VideoRecord) -> tuple[Chapter, ...]:
    records = library.catalog.clips_of_video(video.id)
    if video.status == "failed" or not records:
        reason = video.reason or "nothing of it is in the library"
        raise SummaryError(f"{video.path}: was not indexed ({reason}); no chapters can be told")
    frames = np.asarray(library.features.open(video.feature_file), dtype=np.float32)
    pts = np.concatenate([record.pts_seconds for record in records])
    spoken = spoken_lines(library, video)
    end = max(video.duration_seconds, records[-1].clip.span.end)
    shots = library.catalog.shots_of_video(video.id)
    spans = chapter_spans(
        frames,
        pts,
        [record.clip.span.start for record in records],
        candidate_edges(shots, spoken.cues),
        spoken,
        end,
    )
    first = [int(np.searchsorted(pts, span.start - 1e-6)) for span in spans]
    footage = [
        frames[a : max(a + 1, b)] if a < len(frames) else frames[-1:]
        for a, b in pairwise([*first, len(frames)])
    ]
    prototypes = Prototypes.for_encoder(library.encoder)
    seen = picture_titles(
        prototypes,
        prototypes.scores(footage, library.settings.temperature),
        other_footage(library, video, prototypes),
    )
    said = _said(library, video, spans, spoken)
    return _titled(spans, said, seen)


def chapter_spans(
    frames: Float32[np.ndarray, "n d"],
    pts: Float64[np.ndarray, "n"],
    clip_starts: Sequence[float],
    edges: Sequence[float],
    spoken: SpokenLines,
    end: float,
) -> list[Span]:
    """The spans of the chapters: atoms are clips, cut once more at candidate edges."""
    inner = [edge for edge in edges if 0 < edge < end]
    times = np.array([0.0, *inner])
    apart = [start for start in clip_starts if np.abs(times - start).min() >= _LEAST_ATOM_SECONDS]
    starts = np.array(sorted({*times.tolist(), *apart}))
    vectors = _means(frames, pts, starts)
    if spoken.cues:
        vectors = np.concatenate([vectors, _said_in(spoken, starts, end)], axis=1)
    seconds = np.diff(starts, append=end)
    begins = divide(vectors, seconds, np.isin(starts, times), LEAST_SECONDS)
    return [Span(a, b) for a, b in pairwise([*starts[begins].tolist(), end])]


def _means(
    frames: Float32[np.ndarray, "n d"],
    pts: Float64[np.ndarray, "n"],
    starts: Float64[np.ndarray, "a"],
) -> Float64[np.ndarray, "a d"]:
    """The mean frame of each atom; of one too short to hold a frame, the next frame."""
    sums = np.concatenate([np.zeros((1, frames.shape[1])), np.cumsum(frames, 0, dtype=np.float64)])
    low = np.searchsorted(pts, starts - 1e-6).clip(max=len(frames) - 1)
    high = np.maximum(np.append(low[1:], len(frames)), low + 1)
    return np.asarray((sums[high] - sums[low]) / (high - low)[:, None])


def _said_in(
    spoken: SpokenLines, starts: Float64[np.ndarray, "a"], end: float
) -> Float[np.ndarray, "a d"]:
    """The mean vector of what is said in each atom; the film's own mean where nothing is."""
    sums = np.zeros((len(starts), spoken.vectors.shape[1]))
    shares = np.zeros(len(starts))
    ends = np.append(starts[1:], end)
    for cue, vector in zip(spoken.cues, spoken.vectors, strict=True):
        low = int(np.searchsorted(ends, cue.span.start, side="right"))
        for atom in range(low, int(np.searchsorted(starts, cue.span.end))):
            seconds = Span(float(starts[atom]), float(ends[atom])).overlap(cue.span)
            sums[atom] += seconds * vector
            shares[atom] += seconds
    quiet = shares <= 0
    sums[quiet], shares[quiet] = spoken.vectors.mean(0), 1.0
    return sums / shares[:, None]


def _said(
    library: Library, video: VideoRecord, spans: Sequence[Span], spoken: SpokenLines
) -> list[list[KeyPhrase]]:
    """The key phrases of each chapter, against the other chapters and other videos."""
    if not spoken.cues:
        return [[] for _ in spans]
    videos = [each.id for each in library.catalog.videos("searchable") if each.id != video.id]
    ids = library.catalog.cue_ids(videos)
    sample = library.catalog.cues_by_id(ids[:: max(1, -(-len(ids) // _LINES_ELSEWHERE))])
    sentences = sentences_of(spoken)
    texts = [*(record.cue.text for record in sample), *(each.text for each in sentences)]
    holding = lines_with(texts)
    parts: list[list[Sentence]] = [[] for _ in spans]
    for sentence in sentences:
        parts[sentence.span.nearest(spans)].append(sentence)
    return [key_phrases(part, holding, len(texts)) for part in parts]


def _titled(
    spans: Sequence[Span],
    said: Sequence[Sequence[KeyPhrase]],
    seen: Sequence[PictureTitle],
) -> tuple[Chapter, ...]:
    taken: set[str] = set()
    chapters = []
    for number, (span, phrases, picture) in enumerate(zip(spans, said, seen, strict=True), 1):
        chapter = Chapter(span, f"Chapter {number}", 0.0, "none")
        phrase = next(
            (each for each in phrases
             if each.confidence >= SURE and each.text.casefold() not in taken),
            None,
        )  # fmt: skip
        if phrase is not None:
            chapter = Chapter(span, phrase.text, phrase.confidence, "speech")
        elif picture.confidence >= SURE:
            chapter = Chapter(span, picture.text, picture.confidence, "picture")
        taken.add(chapter.title.casefold())
        chapters.append(chapter)
    return tuple(chapters)
