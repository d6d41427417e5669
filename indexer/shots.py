"""Shots: PySceneDetect's adaptive detector, fed with the frames that are decoded anyway."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction

from scenedetect import FrameTimecode
from scenedetect.common import Timecode
from scenedetect.detectors import AdaptiveDetector

from vidsift.media.frames import DecodedFrame

__all__ = ["mark_shots"]

_WINDOW = 2  # frames before and after a cut that the adaptive detector compares it with
_TICK = Fraction(1, 1_000_000)


def mark_shots(
    frames: Iterable[DecodedFrame],
    *,
    frame_rate: Fraction,
    threshold: float,
    min_shot_seconds: float,
) -> Iterator[tuple[DecodedFrame, bool]]:
    """Yield every frame with whether a shot begins at it; the first frame always does.

    Frames are held back by the detector's window, so memory does not grow with the video. Cuts
    closer than `min_shot_seconds` to the one before are dropped. The detector works on
    presentation times, so a variable frame rate is no special case.

    Source: PySceneDetect, AdaptiveDetector (rolling average of HSV differences).
    """
    detector = AdaptiveDetector(
        adaptive_threshold=threshold,
        min_scene_len=float(min_shot_seconds),
        window_width=_WINDOW,
    )
    held: deque[tuple[int, DecodedFrame]] = deque()
    cuts: set[int] = set()
    first = True
    for frame in frames:
        tick = round(frame.pts_seconds / _TICK)
        cuts |= {
            cut.pts
            for cut in detector.process_frame(
                FrameTimecode(Timecode(tick, _TICK), fps=frame_rate), frame.small
            )
        }
        held.append((tick, frame))
        if len(held) > _WINDOW:
            tick, frame = held.popleft()
            yield frame, first or tick in cuts
            cuts.discard(tick)
            first = False
    for tick, frame in held:
        yield frame, first or tick in cuts
        first = False
