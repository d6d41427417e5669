"""Composed films as videos: rendered by ffmpeg and indexed, or put into a library as they are."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.feature_videos import mute_probe
from benchmarks.summary_films import Film, Part
from indexer import index_videos
from vidsift.library import Library
from vidsift.media.binary import ffmpeg_binary
from vidsift.types import (
    ClipVectors,
    Fingerprint,
    FrameFeatures,
    IndexedVideo,
    Segment,
    Span,
    Summary,
    VideoRecord,
)

_FIT = "scale=320:240:force_original_aspect_ratio=decrease,pad=320:240:-1:-1,setsar=1,fps=20"
_RATE = 20


def render_film(library: Library, film: Film, folder: Path) -> Film:
    """The same film, rendered and indexed: features, shots and clips are the file's own."""
    folder.mkdir(parents=True)
    files = []
    seconds = []
    for number, part in enumerate(film.parts):
        files.append(folder / f"{number:03d}.mp4")
        seconds.append(_render(part, files[-1]))
    listed = folder / "parts.txt"
    listed.write_text("".join(f"file '{file}'\n" for file in files))
    whole = folder / "film" / "film.mp4"
    whole.parent.mkdir()
    _ffmpeg("-f", "concat", "-safe", "0", "-i", str(listed), "-c", "copy", str(whole))
    with Library.open(folder / "library", create=True, encoder=library.encoder_name) as own:
        index_videos(own, [whole.parent])
        (record,) = own.catalog.videos("searchable")
        clips = own.catalog.clips_of_video(record.id)
        parts = tuple(
            replace(part, seconds=long) for part, long in zip(film.parts, seconds, strict=True)
        )
        features = np.array(own.features.open(record.feature_file), dtype=np.float32)
        return Film(
            parts,
            FrameFeatures(features, np.concatenate([clip.pts_seconds for clip in clips])),
            tuple(clip.clip for clip in clips),
            tuple(own.catalog.shots_of_video(record.id)),
        )


def _render(part: Part, out: Path) -> float:
    """Write a part without sound; returns how long it is, a whole number of frames."""
    frames = round(part.seconds * _RATE)
    _ffmpeg(
        *["-ss", f"{part.start:.3f}", "-t", f"{part.seconds / part.slowed + 0.2:.3f}"],
        *["-i", str(part.source.path)],
        *["-vf", f"setpts={part.slowed:.6f}*(PTS-STARTPTS),{_FIT},tpad=stop=-1:stop_mode=clone"],
        *["-frames:v", str(frames), "-an", "-preset", "veryfast", "-pix_fmt", "yuv420p", str(out)],
    )
    return frames / _RATE


def _ffmpeg(*arguments: str) -> None:
    command = [ffmpeg_binary(), "-hide_banner", "-loglevel", "error", "-nostdin", "-y", *arguments]
    subprocess.run(command, check=True)


def commit_film(
    library: Library, film: Film, number: int, summary: Summary | None = None
) -> VideoRecord:
    """Put a composed film into a library as if it had been indexed, without thumbnails."""
    frames = film.features.features
    means = [frames[clip.frames].mean(axis=0) for clip in film.clips]
    video = IndexedVideo(
        probe=mute_probe(Path(f"/composed/{number}.mp4"), film.seconds),
        fingerprint=Fingerprint(1, 1, f"{number:064x}"),
        duration_seconds=film.seconds,
        shots=film.shots,
        clips=film.clips,
        features=FrameFeatures(frames.astype(np.float16), film.features.pts_seconds),
        vectors=tuple(
            ClipVectors((mean / np.linalg.norm(mean))[np.newaxis].astype(np.float32))
            for mean in means
        ),
        thumbnails=(b"",) * len(film.clips),
        summary=summary or Summary("", (Segment(Span(0.0, 1.0), 1.0),), 1.0),
    )
    name = f"{number}.npy"
    sha256 = library.features.write(name, video.features.features)
    return library.video(library.catalog.commit_video(video, name, sha256))
