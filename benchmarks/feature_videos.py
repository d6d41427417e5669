"""Videos of given features, put into a library without a film or an encoder."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vidsift.library import Library
from vidsift.types import (
    Clip,
    ClipVectors,
    Cue,
    Fingerprint,
    FrameFeatures,
    IndexedVideo,
    Segment,
    Shot,
    Span,
    Summary,
    VideoProbe,
)

__all__ = ["mute_probe", "put_video"]


def mute_probe(path: Path, seconds: float) -> VideoProbe:
    """What there is to know about a file that is not there."""
    return VideoProbe(
        path=path,
        container="mp4",
        codec="h264",
        pixel_format="yuv420p",
        width=640,
        height=360,
        rotation=0,
        frame_rate=Fraction(25),
        duration_seconds=seconds,
        start_seconds=0.0,
        has_audio=False,
        is_hdr=False,
    )


def put_video(
    library: Library,
    name: str,
    frames: Float[np.ndarray, "n d"],
    *cues: Cue,
    clip_frames: int = 4,
    seconds: float | None = None,
) -> int:
    """Commit `/videos/NAME.mp4`, one shot of these frames (of any length); returns its id.

    `seconds` is how long it lasts; None: a second a frame. A clip's vector is its first frame.
    """
    n = len(frames)
    step = 1.0 if seconds is None else seconds / n
    unit = (frames / np.linalg.norm(frames, axis=1, keepdims=True)).astype(np.float32)
    whole = Span(0.0, n * step)
    firsts = range(0, n, clip_frames)
    lengths = [min(clip_frames, n - first) for first in firsts]
    video = IndexedVideo(
        probe=mute_probe(Path(f"/videos/{name}.mp4"), whole.end),
        fingerprint=Fingerprint(1, 1, hashlib.sha256(name.encode()).hexdigest()),
        duration_seconds=whole.end,
        shots=(Shot(whole),),
        clips=tuple(
            Clip(Span(first * step, (first + length) * step), 0, first, length)
            for first, length in zip(firsts, lengths, strict=True)
        ),
        features=FrameFeatures(unit.astype(np.float16), np.arange(n) * step),
        vectors=tuple(ClipVectors(unit[first : first + 1]) for first in firsts),
        thumbnails=(b"",) * len(firsts),
        summary=Summary("", (Segment(whole, 1.0),), whole.end),
        cues=cues,
        cue_vectors=library.encoder.encode_texts([cue.text for cue in cues]) if cues else None,
    )
    sha256 = library.features.write(f"{name}.npy", video.features.features)
    return library.catalog.commit_video(video, f"{name}.npy", sha256)
