"""The subtitles of a video: files that lie beside it, and tracks of text inside it."""

from __future__ import annotations

import bisect
import errno
import hashlib
import itertools
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from vidsift.errors import MediaError
from vidsift.media.cues import parse_cues, place_cues
from vidsift.media.limits import DEFAULT_LIMITS, MediaLimits
from vidsift.media.process import run_ffmpeg
from vidsift.media.source import file_url, input_file
from vidsift.types import Cue, Span, VideoProbe

__all__ = ["SIDECAR_SUFFIXES", "Sidecars", "Subtitles", "read_subtitles"]

SIDECAR_SUFFIXES = frozenset([".ass", ".srt", ".ssa", ".vtt"])
_MOST_BYTES = 20 << 20
_MOST_TRACKS = 50  # of a kind: files beside a video, tracks inside it
_MOST_TRACK_BYTES = 200 << 20  # of all tracks together, while they are read
_MOST_CUES = 100_000
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
    said = _Said()
    for track, name, data in _sources(probe, sidecars, notes, limits):
        inside = name != track
        shift = -probe.delay_seconds
        if inside:
            shift -= probe.start_seconds + _AHEAD_SECONDS
        parsed = parse_cues(data, Path(name).suffix.lower())
        placed, problems = place_cues(parsed, shift=shift, duration=duration_seconds, track=track)
        label = track if inside else f"{probe.path.stem}.{track}"
        notes += [f"{label}: {problem}" for problem in problems]
        new = [cue for cue in placed if not said.holds(cue)]
        said.add(new)
        cues += new
    if len(cues) > _MOST_CUES:
        notes.append(f"has {len(cues):,} cues, of which the first {_MOST_CUES:,} are used")
    return Subtitles(tuple(cues[:_MOST_CUES]), stamp, "; ".join(notes))


class _Said:
    """The lines of earlier tracks by their text, in order of time.

    Looking one up takes no longer where the same words are said thousands of times.
    """

    def __init__(self) -> None:
        self._spans: dict[str, list[list[Span]]] = {}

    def add(self, cues: Sequence[Cue]) -> None:
        """Remember the cues of one more track, which are in order of time."""
        own: dict[str, list[Span]] = {}
        for cue in cues:
            own.setdefault(cue.text.casefold(), []).append(cue.span)
        for text, spans in own.items():
            self._spans.setdefault(text, []).append(spans)

    def holds(self, cue: Cue) -> bool:
        """Whether an earlier track says this for at least half of the cue's time."""
        for spans in self._spans.get(cue.text.casefold(), ()):
            # What is said for half of that time is said in its middle: only the neighbours are.
            middle = (cue.span.start + cue.span.end) / 2
            place = bisect.bisect_right(spans, middle, key=lambda span: span.start)
            near = spans[max(0, place - 2) : place + 1]
            if any(span.overlap(cue.span) * 2 >= cue.span.duration for span in near):
                return True
        return False


def _sources(
    probe: VideoProbe, sidecars: Sidecars, notes: list[str], limits: MediaLimits
) -> Iterator[tuple[str, str, bytes]]:
    """The track, the file name and the bytes of each set of subtitles that can be read."""
    beside = sidecars.of(probe.path)
    if len(beside) > _MOST_TRACKS:
        notes.append(f"{len(beside)} files lie beside it, the first {_MOST_TRACKS} were read")
    for path in beside[:_MOST_TRACKS]:
        try:
            data = _read_beside(path)
        except OSError as error:
            notes.append(f"{path.name}: cannot be read: {error.strerror}")
            continue
        if data is None:
            notes.append(f"{path.name}: leads out of the folder and was not read")
            continue
        if len(data) > _MOST_BYTES:
            notes.append(f"{path.name}: has more than {_MOST_BYTES >> 20} MB and was not read")
            continue
        track = _tail(path, probe.path)
        yield track, track, data
    yield from _embedded(probe, notes, limits)


def _read_beside(path: Path) -> bytes | None:
    """As much of a file as is wanted and a byte more; None for a link out of its folder.

    Such a link could make any text that this user may read searchable for others.
    """
    real = Path(os.path.realpath(path))
    if real.parent != Path(os.path.realpath(path.parent)):
        return None
    # It may have become something else meanwhile: a pipe is not waited for, nor a link followed.
    descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return file.read(_MOST_BYTES + 1)


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
    if len(names) > _MOST_TRACKS:
        notes.append(f"{len(names)} tracks of text are in it, the first {_MOST_TRACKS} were read")
        names = dict(itertools.islice(names.items(), _MOST_TRACKS))
    most = min(_MOST_BYTES, _MOST_TRACK_BYTES // len(names))
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
                    **{"format": kind, "c:s": kind, "fs": most},
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
            if file.stat().st_size >= most:
                notes.append(f"{names[number]}: only its first {most >> 20} MB were read")
            yield names[number], file.name, file.read_bytes()
