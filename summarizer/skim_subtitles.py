"""The subtitles of a skim: the cues of its videos, cut at its edges and moved to its own clock."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from summarizer.skim import Skim
from vidsift.errors import SummaryError
from vidsift.library import Library
from vidsift.types import Cue, CueRecord, Span, VideoRecord

__all__ = ["as_srt", "as_vtt", "check_subtitles", "skim_cues"]

# What an edge leaves of a cue is not read when it is shorter than this.
_SHORTEST_REST = 0.3
_TOUCHING = 1e-6


def check_subtitles(library: Library, skim: Skim, track: str = "") -> None:
    """See that there are subtitles to be had, of that track if one is named.

    Raises:
        SummaryError: none of the videos has any, or none that `track` names.
    """
    tracks: list[str] = []
    for video in skim.videos:
        tracks += [name for name in _tracks(library, video) if name not in tracks]
    of = skim.videos[0].path if len(skim.videos) == 1 else f"the {len(skim.videos)} videos"
    if not tracks:
        heard = any(video.has_audio for video in skim.videos)
        hint = "run `vidsift transcribe` to make them" if heard else "and no sound to transcribe"
        joint = "; " if heard else " "
        raise SummaryError(f"{of}: no subtitles to re-time{joint}{hint}")
    if track and not any(_is_called(name, track) for name in tracks):
        listed = ", ".join(name or "(unnamed)" for name in tracks)
        raise SummaryError(f"{of}: no subtitles are called {track!r}; there are {listed}")


def skim_cues(library: Library, skim: Skim, track: str = "") -> list[Cue]:
    """The cues that fall into the skim, in its own time.

    A cue is cut at the edges of segments; where less than 0.3 s of it is left by that it is
    dropped. Of several tracks of a video the one that `track` names counts (`en` names `en.srt`),
    else its first.
    """
    cues: dict[int, list[CueRecord]] = {}
    for video in skim.videos:
        chosen = _chosen(_tracks(library, video), track)
        cues[video.id] = [
            record
            for record in library.catalog.cues_of_video(video.id)
            if record.cue.track == chosen
        ]
    placed: list[tuple[CueRecord, Span]] = []
    last: dict[int, int] = {}  # where a cue was placed last
    for start, part in zip(skim.starts, skim.parts, strict=True):
        shown = part.segment.span
        for record in cues[part.video.id]:
            said = record.cue.span
            if said.overlap(shown) <= _TOUCHING:
                continue
            begin = start + max(said.start, shown.start) - shown.start
            span = Span(begin, begin + said.overlap(shown))
            # A cue that goes on in the next segment stays one.
            place = last.get(record.id)
            if place is not None and abs(placed[place][1].end - span.start) < _TOUCHING:
                placed[place] = (record, placed[place][1].hull(span))
            else:
                last[record.id] = len(placed)
                placed.append((record, span))
    return [
        Cue(span, record.cue.text, record.cue.track)
        for record, span in sorted(placed, key=lambda each: each[1])
        if span.duration >= min(_SHORTEST_REST, record.cue.span.duration - _TOUCHING)
    ]


def _tracks(library: Library, video: VideoRecord) -> list[str]:
    """The names of the video's tracks, each once, in order."""
    records = library.catalog.cues_of_video(video.id)
    return list(dict.fromkeys(record.cue.track for record in records))


def _is_called(name: str, asked: str) -> bool:
    words = re.split(r"[\W_]+", name.casefold())
    return asked.casefold() in (name.casefold(), *words)


def _chosen(tracks: Sequence[str], asked: str) -> str | None:
    if not asked:
        return tracks[0] if tracks else None
    return next((name for name in tracks if _is_called(name, asked)), None)


def as_srt(cues: Sequence[Cue]) -> str:
    """The cues as SubRip."""
    blocks = []
    for number, cue in enumerate(cues, 1):
        # An arrow would make the line one of times.
        text = _lines(cue.text).replace("-->", "->")
        blocks.append(f"{number}\n{_times(cue.span, ',')}\n{text}\n")
    return "\n".join(blocks)


def as_vtt(cues: Sequence[Cue]) -> str:
    """The cues as WebVTT, in which no text is markup."""
    blocks = [
        f"{_times(cue.span, '.')}\n{html.escape(_lines(cue.text), quote=False)}\n" for cue in cues
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def _lines(text: str) -> str:
    """The text without empty lines, which end a cue."""
    return "\n".join(line for line in text.splitlines() if line.strip())


def _times(span: Span, point: str) -> str:
    start = round(span.start * 1000)
    return f"{_time(start, point)} --> {_time(max(start + 1, round(span.end * 1000)), point)}"


def _time(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"
