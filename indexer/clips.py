"""Clips: shots cut into pieces of bounded length, each with its sampled frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, UInt8

from vidsift.media.frames import DecodedFrame
from vidsift.types import Span

__all__ = ["ClipDraft", "cut_clips"]


@dataclass(frozen=True)
class ClipDraft:
    """A clip whose frames are still pictures. `shot` counts the video's shots from 0."""

    span: Span
    shot: int
    images: UInt8[np.ndarray, "n h w 3"]
    pts_seconds: Float64[np.ndarray, "n"]


def cut_clips(
    frames: Iterable[tuple[DecodedFrame, bool]],
    *,
    min_seconds: float,
    max_seconds: float,
    max_frames: int,
) -> Iterator[ClipDraft]:
    """Cut marked frames into clips, in one pass and with memory for one clip.

    Every clip lies in one shot and lasts `min_seconds` to `max_seconds`, but for shots that are
    shorter than that. A shot in which no frame was sampled joins the shot after it, at the end of
    the video the clip before it. The last clip ends one frame interval after the last frame.
    Needs `2 * min_seconds <= max_seconds`, else a rest could not be halved.
    """
    shot = -1
    start = 0.0
    samples: list[DecodedFrame] = []
    last = 0.0
    interval = 0.04

    def draft(end: float, upto: int) -> ClipDraft:
        nonlocal start, samples
        kept = samples[:upto]
        # More samples than the cap: an even choice keeps the clip's first and last.
        if len(kept) > max_frames:
            picks = np.linspace(0, len(kept) - 1, max_frames).round().astype(int)
            kept = [kept[i] for i in picks]
        made = ClipDraft(
            span=Span(start, end),
            shot=shot,
            images=np.stack([frame.sample for frame in kept if frame.sample is not None]),
            pts_seconds=np.array([frame.pts_seconds for frame in kept]),
        )
        start, samples = end, samples[upto:]
        return made

    def close(end: float) -> Iterator[ClipDraft]:
        if end - start > max_seconds:
            middle = (start + end) / 2
            upto = sum(frame.pts_seconds < middle for frame in samples)
            if 0 < upto < len(samples):
                yield draft(middle, upto)
        yield draft(end, len(samples))

    done: list[ClipDraft] = []  # all but the last are final; the last may still grow
    for frame, begins in frames:
        if begins and (samples or shot < 0):
            if samples:
                done += close(frame.pts_seconds)
            shot += 1
        elif samples and frame.pts_seconds - samples[0].pts_seconds > max_seconds + min_seconds:
            middle = samples[0].pts_seconds + max_seconds
            upto = sum(sample.pts_seconds < middle for sample in samples)
            if upto < len(samples):
                done.append(draft(middle, upto))
            elif frame.sample is not None:
                # The last sample was on the screen until now: its clip is as long as that.
                done.append(draft(frame.pts_seconds, upto))
        yield from done[:-1]
        del done[:-1]
        if frame.sample is not None:
            samples.append(frame)
        if frame.pts_seconds > last:
            interval = frame.pts_seconds - last
        last = frame.pts_seconds
    if samples:
        done += close(last + interval)
    elif done:
        done[-1] = replace(done[-1], span=Span(done[-1].span.start, last + interval))
    yield from done
