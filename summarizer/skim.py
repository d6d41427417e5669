"""The skim: what a summary plays, segment by segment, out of one video or of many.

All that is written of a summary (films, storyboards, subtitles, editing lists) is written of a
skim, so that a summary across videos can be had in every form that one of a single video has.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from vidsift.types import Segment, Summary, VideoRecord

__all__ = ["Skim", "SkimPart"]


@dataclass(frozen=True)
class SkimPart:
    """A segment and the video that it is taken from."""

    video: VideoRecord
    segment: Segment


@dataclass(frozen=True)
class Skim:
    """Segments in the order in which they are played.

    `title` says what it is of: the video's name, or what brings several together. `query` and
    `matched` are those of Summary. With `blur_people` every picture that is written of it has its
    people blurred, as far as they are found.
    """

    title: str
    query: str
    parts: tuple[SkimPart, ...]
    budget_seconds: float
    matched: bool | None = None
    blur_people: bool = False

    @classmethod
    def of(cls, video: VideoRecord, summary: Summary) -> Skim:
        """The skim of one video's summary."""
        parts = tuple(SkimPart(video, segment) for segment in summary.segments)
        return cls(video.path.name, summary.query, parts, summary.budget_seconds, summary.matched)

    @property
    def duration_seconds(self) -> float:
        return sum((part.segment.span.duration for part in self.parts), 0.0)

    @property
    def videos(self) -> tuple[VideoRecord, ...]:
        """The videos that it is taken from, each once, in order of their first segment."""
        return tuple({part.video.id: part.video for part in self.parts}.values())

    @property
    def starts(self) -> tuple[float, ...]:
        """When each part begins in the skim, in seconds."""
        durations = (part.segment.span.duration for part in self.parts[:-1])
        return tuple(itertools.accumulate(durations, initial=0.0)) if self.parts else ()
