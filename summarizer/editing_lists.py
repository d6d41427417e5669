"""Editing lists of a skim, to go on with in an editing program: OpenTimelineIO and CMX3600.

Both count in whole frames of each video: edges are rounded as sums, so that a list is as long as
its skim within half a frame however many segments there are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from summarizer.skim import Skim, SkimPart
from vidsift.errors import SummaryError
from vidsift.types import VideoRecord

if TYPE_CHECKING:
    import opentimelineio as otio

__all__ = ["as_edl", "as_otio", "check_edl", "timeline"]

# The rates that timecodes of SMPTE 12 count; 29.97 and 59.94 with dropped frame numbers.
_TIMECODE_RATES = (
    *(Fraction(rate) for rate in (24, 25, 30, 48, 50, 60)),
    *(Fraction(rate * 1000, 1001) for rate in (24, 30, 60)),
)
_DROPPING = (Fraction(30_000, 1001), Fraction(60_000, 1001))
_MOST_EVENTS = 999  # the event's number has three digits
_DAY_SECONDS = 86_400
_REEL_LETTERS = 8
_TITLE_LETTERS = 70


def timeline(skim: Skim, reasons: Sequence[str]) -> otio.schema.Timeline:
    """The skim as a timeline: a track of pictures, and one of sound where a video has any.

    Source ranges are whole frames of each video, counted from its first; the exact seconds, the
    saliency and its terms stand in the metadata `vidsift` of each clip, its reason (one a part of
    the skim) on a marker.
    """
    import opentimelineio as otio

    made = otio.schema.Timeline(_one_line(skim.title))
    made.metadata["vidsift"] = {"query": skim.query, "budget_seconds": skim.budget_seconds}
    pictures = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    sounds = otio.schema.Track("A1", kind=otio.schema.TrackKind.Audio)
    for part, (first, frames), why in zip(skim.parts, _frames(skim), reasons, strict=True):
        if frames:
            pictures.append(_clip(part, first, frames, why))
            length = pictures[-1].source_range
            sounds.append(
                _clip(part, first, frames, why)
                if part.video.has_audio
                else otio.schema.Gap(source_range=otio.opentime.TimeRange(duration=length.duration))
            )
    made.tracks.append(pictures)
    if any(video.has_audio for video in skim.videos):
        made.tracks.append(sounds)
    return made


def as_otio(skim: Skim, reasons: Sequence[str]) -> str:
    """The timeline as OpenTimelineIO's own JSON."""
    import opentimelineio as otio

    return str(otio.adapters.write_to_string(timeline(skim, reasons), "otio_json"))


def check_edl(skim: Skim) -> None:
    """See that a CMX3600 list can hold the skim.

    Raises:
        SummaryError: it has more events than there are numbers, frames that no timecode counts,
            several frame rates, or times beyond a day.
    """
    rates = {video.frame_rate: video.path for video in skim.videos}
    for rate, path in rates.items():
        if rate not in _TIMECODE_RATES:
            raise SummaryError(
                f"{path}: edl: {float(rate):.6g} frames a second have no timecode; choose otio"
            )
    if len(rates) > 1:
        listed = " and ".join(f"{float(rate):.6g} ({path.name})" for rate, path in rates.items())
        raise SummaryError(f"edl: one list has one frame rate, not {listed}; choose otio")
    if len(skim.parts) > _MOST_EVENTS:
        raise SummaryError(
            f"edl: {len(skim.parts)} segments, but a list numbers at most {_MOST_EVENTS};"
            " choose otio, or a smaller budget"
        )
    if max(part.segment.span.end for part in skim.parts) >= _DAY_SECONDS:
        raise SummaryError("edl: a timecode ends after 24 hours, which a segment is beyond")


def as_edl(skim: Skim, reasons: Sequence[str]) -> str:
    """The skim as a CMX3600 edit decision list with cuts; see `check_edl` for what it can hold.

    Timecodes count from 00:00:00:00 at a video's first frame, drop-frame at 29.97 and 59.94.
    """
    import opentimelineio as otio

    rate = skim.parts[0].video.frame_rate
    made = timeline(skim, reasons)
    made.name = ""  # the adapter writes no FCM line, which belongs below the title
    reels = _reels(skim.videos)
    for clip in made.tracks[0]:
        why = [marker.name for marker in clip.markers if marker.metadata["vidsift"]["reason"]]
        reel = reels[clip.metadata["vidsift"]["video_id"]]
        clip.metadata["cmx_3600"] = {"reel": reel, "comments": why}
        url = clip.media_reference.target_url
        clip.media_reference.target_url = _one_line(unquote(urlsplit(url).path))
        clip.markers.clear()  # the adapter would place them by the time of their source
    del made.tracks[1:]
    events = str(otio.adapters.write_to_string(made, "cmx_3600", rate=float(rate), style="nucoda"))
    sounding = iter([clip.metadata["vidsift"]["has_audio"] for clip in made.tracks[0]])
    # The adapter writes one track; sound goes along with the picture on both channels.
    events = re.sub(
        rf"^(\d{{3}}  .{{{_REEL_LETTERS}}}) V    ",
        lambda event: f"{event[1]} {'AA/V' if next(sounding) else 'V   '} ",
        events,
        flags=re.MULTILINE,
    )
    title = _one_line(skim.title)[:_TITLE_LETTERS].strip()
    drop = "DROP FRAME" if rate in _DROPPING else "NON-DROP FRAME"
    return f"TITLE: {title}\nFCM: {drop}\n\n{events.lstrip()}"


def _frames(skim: Skim) -> list[tuple[int, int]]:
    """The first frame of each part in its video, and how many frames it lasts."""
    found = []
    seconds = 0.0  # of the parts in one run of the same frame rate
    told = 0
    rate = Fraction(0)
    for part in skim.parts:
        if part.video.frame_rate != rate:
            rate, seconds, told = part.video.frame_rate, 0.0, 0
        seconds += part.segment.span.duration
        # However short it is, the first has a frame.
        until = max(1, round(seconds * rate))
        found.append((round(part.segment.span.start * rate), until - told))
        told = until
    return found


def _clip(part: SkimPart, first: int, frames: int, why: str) -> Any:
    import opentimelineio as otio

    video, segment = part.video, part.segment
    rate = float(video.frame_rate)

    def span(start: int, length: int) -> Any:
        return otio.opentime.TimeRange(
            otio.opentime.RationalTime(start, rate), otio.opentime.RationalTime(length, rate)
        )

    # Rounding may show one frame more than the length says.
    whole = max(round(video.duration_seconds * video.frame_rate), first + frames)
    clip = otio.schema.Clip(
        _one_line(video.path.name),
        otio.schema.ExternalReference(video.path.as_uri(), span(0, whole)),
        span(first, frames),
    )
    why = _one_line(why)
    clip.metadata["vidsift"] = {
        "video_id": video.id,
        "has_audio": video.has_audio,
        "sha256": video.fingerprint.sha256,
        "start_seconds": segment.span.start,
        "end_seconds": segment.span.end,
        "saliency": segment.saliency,
        "terms": [
            {"name": term.name, "value": term.value, "weight": term.weight}
            for term in segment.terms
        ],
    }
    clip.markers.append(
        otio.schema.Marker(
            why or "segment", span(first, frames), metadata={"vidsift": {"reason": why}}
        )
    )
    return clip


def _reels(videos: Sequence[VideoRecord]) -> dict[int, str]:
    """A reel name of each video: up to 8 of A-Z and 0-9, no two alike."""
    reels: dict[int, str] = {}
    for video in videos:
        stem = re.sub(r"[^A-Z0-9]", "", video.path.stem.upper())[:_REEL_LETTERS] or "REEL"
        number, name = 1, stem
        while name in reels.values() or name in ("AX", "BL"):  # these two mean no reel at all
            number += 1
            name = f"{stem[: _REEL_LETTERS - len(str(number))]}{number}"
        reels[video.id] = name
    return reels


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
