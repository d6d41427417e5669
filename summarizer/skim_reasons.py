"""Why each part of a skim was chosen, as every form of the skim tells it."""

from __future__ import annotations

from summarizer.reasons import reason
from summarizer.skim import Skim
from vidsift.library import Library

__all__ = ["skim_reasons"]


def skim_reasons(library: Library, skim: Skim) -> list[str]:
    """A sentence for each part, in order; empty where its reasons are not known."""
    cues = {
        video.id: [record.cue for record in library.catalog.cues_of_video(video.id)]
        for video in skim.videos
    }
    of_one = len(skim.videos) == 1 and skim.title == skim.videos[0].path.name
    whole = "the film" if of_one else "all that was there to choose from"
    return [
        reason(part.segment, matched=skim.matched, cues=cues[part.video.id], whole=whole)
        for part in skim.parts
    ]
