"""How cuts lie in a film: on its grid of frames and samples, with what they lend to cross-fades."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from vidsift.types import Span, VideoProbe

__all__ = ["SAMPLE_RATE", "Cut", "Piece", "lay_out", "split_into_runs"]

SAMPLE_RATE = 48_000
_SAME_SECONDS = 1e-6


@dataclass(frozen=True)
class Cut:
    """What is shown of one video.

    A cross-fade needs footage from outside `span`: pictures come from `room`, and what that lacks
    stands still; sound comes from wherever the video has it, else it is silence. Without a room
    the whole video is one. `label` is a PNG, drawn for a picture of 720 lines, that lies over the
    lower left corner at the beginning.
    """

    probe: VideoProbe
    span: Span
    room: Span | None = None
    label: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.room and not self.room.start <= self.span.start < self.span.end <= self.room.end:
            raise ValueError(f"the room {self.room} does not hold {self.span}")

    def shown_slots(self, rate: Fraction) -> tuple[int, int]:
        """First and end of the frames at `rate`, counted from the span's start, that may be seen.

        A frame goes to the slot that is nearest to its time; the one that begins at the end of the
        room is not of the room.
        """
        earliest = self.room.start if self.room else 0.0
        latest = self.room.end if self.room else math.inf
        before = math.floor(float((self.span.start - earliest) * rate) + 1e-3)
        if latest == math.inf:
            return -before, 1 << 31
        return -before, max(1, math.floor(float((latest - self.span.start) * rate) + 0.49))


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one cut as it is rendered.

    `first` and `end` are output frames counted from the start of the cut's span, `first_sample`
    and `end_sample` likewise samples of sound; what lies outside of the span is shared with the
    neighbours in cross-fades. `fade` and `fade_samples` are shared with the piece before.
    """

    cut: Cut
    first: int
    end: int
    first_sample: int
    end_sample: int
    fade: int = 0
    fade_samples: int = 0

    @property
    def frames(self) -> int:
        return self.end - self.first

    @property
    def samples(self) -> int:
        return self.end_sample - self.first_sample


def lay_out(cuts: Sequence[Cut], rate: Fraction, crossfade_seconds: float) -> list[Piece]:
    """The pieces of a film in which the cuts follow each other.

    Edges are rounded to the frames of the film as sums, so its length is right within half a frame
    however many cuts there are. A cross-fade has its middle where the hard cut would be, and takes
    at most half of the shorter neighbour. Cuts that touch in the same video are one.
    """
    bodies: list[tuple[Cut, int, int]] = []
    seconds, frame = 0.0, 0
    for cut in _whole(cuts):
        seconds += cut.span.duration
        # The very first piece has a frame, however short it is.
        following = max(round(seconds * rate), 1)
        if following > frame:
            bodies.append((cut, frame, following))
        frame = following

    widest = round(crossfade_seconds * rate / 2)
    lengths = [end - first for _, first, end in bodies]
    halves = [0, *(min(widest, a // 4, b // 4) for a, b in itertools.pairwise(lengths)), 0]

    def sample(frame: int) -> int:
        return round(frame * SAMPLE_RATE / rate)

    return [
        Piece(
            cut,
            -before,
            end - first + after,
            sample(first - before) - sample(first),
            sample(end + after) - sample(first),
            2 * before,
            sample(first + before) - sample(first - before),
        )
        for (cut, first, end), (before, after) in zip(
            bodies, itertools.pairwise(halves), strict=True
        )
    ]


def _whole(cuts: Sequence[Cut]) -> list[Cut]:
    joined: list[Cut] = []
    for cut in cuts:
        last = joined[-1] if joined else None
        if (
            last is None
            or last.probe != cut.probe
            or abs(cut.span.start - last.span.end) >= _SAME_SECONDS
        ):
            joined.append(cut)
            continue
        room = last.room.hull(cut.room) if last.room and cut.room else None
        joined[-1] = dataclasses.replace(last, span=last.span.hull(cut.span), room=room)
    return joined


def split_into_runs(pieces: Sequence[Piece], most: int, rate: Fraction) -> list[list[Piece]]:
    """The pieces in runs of at most `most` (2 or more), which can be rendered one after the other.

    No cross-fade lies where a run ends: the piece that would have had one is divided, right after
    the fade at its beginning, and goes on in the next run with the very next frame and sample.
    """
    runs: list[list[Piece]] = [[]]
    for place, piece in enumerate(pieces):
        runs[-1].append(piece)
        if len(runs[-1]) < most or place + 1 == len(pieces):
            continue
        if not pieces[place + 1].fade:
            runs.append([])
            continue
        frames = piece.fade + 1
        sample = piece.first_sample + round(frames * SAMPLE_RATE / rate)
        runs[-1][-1] = dataclasses.replace(piece, end=piece.first + frames, end_sample=sample)
        rest = dataclasses.replace(
            piece, first=piece.first + frames, first_sample=sample, fade=0, fade_samples=0
        )
        runs.append([rest])
    return runs
