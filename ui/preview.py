"""Short files for the player, cut or rendered when first asked for and kept below `skims/`.

The caches are bounded: of each kind the entries that were used last are kept. A key of a cache
names the video's content (it changes whenever the video is indexed anew), never its path.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from summarizer.formats import DEFAULT_FORMATS, FORMATS, formats_named
from summarizer.manifest import summary_json
from summarizer.skim import Skim
from summarizer.write import skim_name, write_skim
from vidsift.errors import MediaError, StorageError
from vidsift.library import Library
from vidsift.media.cut import cut_clip
from vidsift.media.limits import MediaLimits
from vidsift.media.probe import probe
from vidsift.types import Moment, Span, VideoRecord

__all__ = [
    "PART_SECONDS",
    "known_skim",
    "moment_clip",
    "part_clip",
    "skim_files",
    "widened",
]

PART_SECONDS = 30.0
_MIN_MOMENT_SECONDS = 4.0
_MAX_MOMENT_SECONDS = 60.0
_MAX_MOMENTS = 200
_MAX_SUMMARIES = 100
_PLAYER_HEIGHT = 540


def widened(span: Span, peak_seconds: float, duration_seconds: float) -> Span:
    """What is played of a moment: at least 4 s where the video has them, at most 60 s.

    A short moment grows about its middle; of a long one the minute about its peak is taken.
    """
    if span.duration > _MAX_MOMENT_SECONDS:
        start = max(span.start, peak_seconds - _MAX_MOMENT_SECONDS / 2)
        start = min(start, span.end - _MAX_MOMENT_SECONDS)
        return Span(start, start + _MAX_MOMENT_SECONDS)
    lacking = _MIN_MOMENT_SECONDS - span.duration
    if lacking <= 0:
        return span
    start = max(0.0, span.start - lacking / 2)
    end = min(max(duration_seconds, span.end), start + _MIN_MOMENT_SECONDS)
    return Span(max(0.0, min(span.start, end - _MIN_MOMENT_SECONDS)), max(span.end, end))


def moment_clip(
    library: Library, video: VideoRecord, moment: Moment, *, blur_people: bool = False
) -> Path:
    """An mp4 of the moment; see `widened` for how much of it. People are blurred as far as found.

    Raises:
        MediaError: the video is gone, or cannot be cut there.
        StorageError: the library's folder cannot be written.
    """
    span = widened(moment.span, moment.peak_seconds, video.duration_seconds)
    return _clip(library, video, span, blur_people=blur_people)


def part_clip(
    library: Library, video: VideoRecord, start_seconds: float, *, blur_people: bool = False
) -> Path:
    """An mp4 of the 30 s from `start_seconds` on, or of what there is; raises as moment_clip."""
    end = min(start_seconds + PART_SECONDS, video.duration_seconds)
    return _clip(library, video, Span(start_seconds, end), blur_people=blur_people)


def _clip(library: Library, video: VideoRecord, span: Span, *, blur_people: bool) -> Path:
    folder = library.skims / "moments"
    blurred = "-blurred" if blur_people else ""
    name = f"{_key(video)}-{round(span.start * 1000)}-{round(span.end * 1000)}{blurred}.mp4"
    out = folder / name
    if not _used(out):
        _require(video)
        limits = MediaLimits.of(library.settings)
        cut_clip(
            probe(video.path, limits=limits),
            span,
            out,
            max_height=_PLAYER_HEIGHT,
            blur_people=blur_people,
            limits=limits,
        )
        _keep_newest(folder, _MAX_MOMENTS)
    return out


def skim_files(
    library: Library,
    skim: Skim,
    formats: Sequence[str] = DEFAULT_FORMATS,
    *,
    track: str = "",
    progress: Callable[[float], None] | None = None,
) -> dict[str, Path]:
    """The skim in each of the formats; what is not there yet is written; raises as write_skim."""
    folder = _skim_folder(library, skim, track)
    known = _known(folder, skim, formats)
    lacking = [name for name in formats if name not in known]
    if lacking:
        known |= write_skim(library, skim, folder, lacking, track=track, progress=progress)
        _keep_newest(folder.parent, _MAX_SUMMARIES)
    return {name: known[name] for name in formats}


def known_skim(library: Library, skim: Skim) -> dict[str, Path]:
    """The files of the skim that are in the cache, by format."""
    return _known(_skim_folder(library, skim, ""), skim, tuple(FORMATS))


def _known(folder: Path, skim: Skim, formats: Sequence[str]) -> dict[str, Path]:
    if not _used(folder):
        return {}
    formats_named(formats)
    files = {name: folder / f"{skim_name(skim)}{FORMATS[name].suffix}" for name in formats}
    return {name: file for name, file in files.items() if file.exists()}


def _skim_folder(library: Library, skim: Skim, track: str) -> Path:
    # Whatever would be written otherwise, the manifest says it.
    told = json.dumps([summary_json(library, skim), track])
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    first = _key(skim.videos[0]) if len(skim.videos) == 1 else f"{len(skim.videos)}-videos"
    return library.skims / "summaries" / f"{first}-{digest}"


def _key(video: VideoRecord) -> str:
    return Path(video.feature_file).stem


def _require(video: VideoRecord) -> None:
    try:
        is_there = video.path.exists()
    except (OSError, ValueError) as error:  # a name that no file can have
        raise MediaError(video.path, f"cannot be read: {error}") from error
    if not is_there:
        raise MediaError(
            video.path, "is gone since it was indexed; put it back, or index its folder again"
        )


def _used(path: Path) -> bool:
    """Whether the entry is there; if so it counts as used now."""
    with contextlib.suppress(OSError):  # a library that may only be read still serves what it has
        os.utime(path)
    return path.exists()


def _keep_newest(folder: Path, most: int) -> None:
    aged = []
    for entry in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another session has swept it
            if not entry.name.startswith("."):
                aged.append((entry.stat().st_mtime_ns, entry))
    for _, entry in sorted(aged, reverse=True)[most:]:
        try:
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{entry}: cannot be deleted: {error.strerror}") from error
