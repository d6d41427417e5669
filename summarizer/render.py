"""The skim as a film that a person watches."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

from summarizer.label import draw_label
from summarizer.skim import Skim
from vidsift.errors import MediaError
from vidsift.library import Library
from vidsift.media.cut import Cut, render_cuts
from vidsift.media.limits import MediaLimits
from vidsift.media.probe import probe
from vidsift.times import clock
from vidsift.types import Span, VideoProbe

__all__ = ["render_skim"]


def render_skim(
    library: Library,
    skim: Skim,
    out: Path,
    *,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Render the skim with its sound to `out` (mp4), as long as it says.

    Segments that do not touch are cross-faded as the library's settings say, with footage of their
    own shots. Where the skim is of several videos, each segment is labelled with its source.

    Raises:
        MediaError: a video is gone, or ffmpeg cannot render it.
        StorageError: `out` cannot be written.
    """
    limits = MediaLimits.of(library.settings)
    probes: dict[int, VideoProbe] = {}
    rooms: dict[int, list[Span]] = {}
    for video in skim.videos:
        if not os.path.exists(video.path):  # noqa: PTH110 - False too where it may not be looked at
            raise MediaError(
                video.path,
                "is gone since it was indexed; put it back, or run `vidsift index` again",
            )
        probes[video.id] = probe(video.path, limits=limits)
        rooms[video.id] = [shot.span for shot in library.catalog.shots_of_video(video.id)]
    cuts = []
    for part in skim.parts:
        span, shots = part.segment.span, rooms[part.video.id]
        room = shots[span.nearest(shots)].hull(span)
        source = f"{part.video.path.name}  {clock(span.start)}"
        label = draw_label(source) if len(probes) > 1 else None
        cuts.append(Cut(probes[part.video.id], span, room, label))
    render_cuts(
        cuts,
        out,
        crossfade_seconds=library.settings.crossfade_seconds,
        blur_people=skim.blur_people,
        progress=progress,
        limits=dataclasses.replace(
            limits, time_limit=limits.time_limit or 120 + 20 * skim.duration_seconds
        ),
    )
