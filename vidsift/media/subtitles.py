"""The subtitles of a video: files that lie beside it, and tracks of text inside it."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from vidsift.errors import MediaError
from vidsift.media.cues import parse_cues, place_cues
from vidsift.media.limits import DEFAULT_LIMITS, MediaLimits
from vidsift.media.process import run_ffmpeg
from vidsift.media.source import file_url, input_file
from vidsift.types import Cue, VideoProbe

__all__ = ["SIDECAR_SUFFIXES", "Sidecars", "Subtitles", "read_subtitles"]

SIDECAR_SUFFIXES = frozenset([".ass", ".srt", ".ssa", ".vtt"])
_MOST_BYTES = 20 << 20
# `NAME.en.srt`, `NAME.pt-BR.forced.srt`: a language and what players write beside it.
_LANGUAGE = re.compile(
    r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*|auto|cc|default|forced|full|hi|orig|sdh", re.IGNORECASE
)
_DRAWN = frozenset(["dvb_subtitle", "dvd_subtitle", "hdmv_pgs_subtitle", "xsub"])
# Tracks are written so much later: no format of text has times before 0, as containers may.
_AHEAD_SECONDS = 3600.0
# Raised when subtitles are read in another way, so that all are read again.
_READING = "1"


@dataclass(frozen=True, slots=True)
class Subtitles:
    """The cues of a video, track by track and in order of time, on the clock of its frames.

    `stamp` tells what they were read from (see Sidecars.stamp); `note` has what was odd, each file
    named, and is empty when nothing was.
    """

    cues: tuple[Cue, ...]
    stamp: str
    note: str = ""


class Sidecars:
    """Finds the subtitle files beside videos; each folder is listed once in its life."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, list[Path]]] = {}

    def of(self, video: Path) -> list[Path]:
        """`NAME.srt` and `NAME.LANGUAGE.srt` (also .vtt, .ass, .ssa) beside `NAME.mp4`, sorted."""
        if video.parent not in self._folders:
            self._folders[video.parent] = _sidecars(video.parent)
        return self._folders[video.parent].get(video.stem, [])

    def stamp(self, video: Path) -> str:
        """Which sidecars there are, by size and time of writing: a SHA-256 in hex.

        It changes when one appears, changes or vanishes, and stays when the video is renamed
        together with them.
        """
        digest = hashlib.sha256(_READING.encode())
        for path in self.of(video):
            try:
                status = path.stat()
            except OSError:
                continue
            readable = os.access(path, os.R_OK)
            told = (_tail(path, video), status.st_size, status.st_mtime_ns, readable)
            digest.update(repr(told).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def _sidecars(folder: Path) -> dict[str, list[Path]]:
    """The subtitle files of a folder by the stem of the video that each may belong to."""
    found: dict[str, list[Path]] = {}
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return {}
    for entry in entries:
        name = Path(entry.name)
        if name.suffix.lower() not in SIDECAR_SUFFIXES or not _is_regular(entry):
            continue
        stem = name.stem
        found.setdefault(stem, []).append(folder / name)
        while _LANGUAGE.fullmatch(Path(stem).suffix[1:]):
            stem = Path(stem).stem
            found.setdefault(stem, []).append(folder / name)
    return found


def _is_regular(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _tail(sidecar: Path, video: Path) -> str:
    return sidecar.name[len(video.stem) + 1 :]


def read_subtitles(
    probe: VideoProbe,
    duration_seconds: float,
    sidecars: Sidecars,
    *,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> Subtitles:
    """Read what is said in a video from the files beside it and the tracks of text inside it.

    Times count from the first frame, as those of frames do: a sidecar's from the start of the file
    (as players take them), which sound may make earlier. A track is named by what stands behind
    the video's name (`en.srt`), or by its place and language (`track 1 eng`). A line that an
    earlier track has at the same time is left out. What cannot be read is noted and left out.

    Args:
        probe: the video.
        duration_seconds: of its frames; no cue lasts longer.
        sidecars: the finder of sidecars.
        limits: what the run of ffmpeg may take.
    """
    stamp = sidecars.stamp(probe.path)
    cues: list[Cue] = []
    notes: list[str] = []
    seen: dict[str, list[Cue]] = {}
    for track, name, data in _sources(probe, sidecars, notes, limits):
        inside = name != track
        shift = -probe.delay_seconds
        if inside:
            shift -= probe.start_seconds + _AHEAD_SECONDS
        parsed = parse_cues(data, Path(name).suffix.lower())
        placed, problems = place_cues(parsed, shift=shift, duration=duration_seconds, track=track)
        label = track if inside else f"{probe.path.stem}.{track}"
        notes += [f"{label}: {problem}" for problem in problems]
        new = [cue for cue in placed if not _is_said(cue, seen)]
        for cue in new:
            seen.setdefault(cue.text.casefold(), []).append(cue)
        cues += new
    return Subtitles(tuple(cues), stamp, "; ".join(notes))


def _is_said(cue: Cue, seen: dict[str, list[Cue]]) -> bool:
    return any(
        other.track != cue.track and other.span.overlap(cue.span) * 2 >= cue.span.duration
        for other in seen.get(cue.text.casefold(), ())
    )


def _sources(
    probe: VideoProbe, sidecars: Sidecars, notes: list[str], limits: MediaLimits
) -> Iterator[tuple[str, str, bytes]]:
    """The track, the file name and the bytes of each set of subtitles that can be read."""
    for path in sidecars.of(probe.path):
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                continue
            with path.open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
        except OSError as error:
            notes.append(f"{path.name}: cannot be read: {error.strerror}")
            continue
        if len(data) > _MOST_BYTES:
            notes.append(f"{path.name}: has more than {_MOST_BYTES >> 20} MB and was not read")
            continue
        track = _tail(path, probe.path)
        yield track, track, data
    yield from _embedded(probe, notes, limits)


def _embedded(
    probe: VideoProbe, notes: list[str], limits: MediaLimits
) -> Iterator[tuple[str, str, bytes]]:
    """The text tracks inside the video, by one run of ffmpeg, with the container's own times."""
    names = {}
    for number, track in enumerate(probe.subtitle_tracks):
        name = f"track {number + 1} {track.language}".rstrip()
        if track.codec in _DRAWN:
            notes.append(f"{name}: holds pictures ({track.codec}), not text, and was left out")
        else:
            names[number] = name
    if not names:
        return
    with tempfile.TemporaryDirectory(prefix="vidsift-") as folder:
        source = input_file(probe.path, limits=limits)
        files, outputs = {}, []
        for number in names:
            styled = probe.subtitle_tracks[number].codec in ("ass", "ssa")
            kind = "ass" if styled else "srt"
            files[number] = Path(folder) / f"{number}.{kind}"
            outputs.append(
                ffmpeg.output(
                    source[f"s:{number}"],
                    file_url(files[number]),
                    **{"format": kind, "c:s": kind, "fs": _MOST_BYTES},
                    output_ts_offset=_AHEAD_SECONDS,
                )
            )
        try:
            run_ffmpeg(
                ffmpeg.merge_outputs(*outputs).global_args("-copyts"),
                subject=probe.path,
                time_limit=limits.seconds_for(probe.duration_seconds),
                limits=limits,
            )
        except MediaError as error:
            notes.append(f"its subtitle tracks cannot be read: {error.reason}")
            return
        for number, file in files.items():
            yield names[number], file.name, file.read_bytes()
