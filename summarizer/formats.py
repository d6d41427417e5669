"""The forms in which a skim comes out, and the writing of several of them as one.

A format is a row of the table below: what it is called, what its files end in, what it needs, and
what writes it. All files of a call appear together, at the end, or none does.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from summarizer import editing_lists, skim_subtitles
from summarizer.manifest import summary_json
from summarizer.render import render_skim
from summarizer.skim import Skim
from summarizer.skim_reasons import skim_reasons
from summarizer.sources import source_problem
from summarizer.storyboard import storyboard
from summarizer.storyboard_page import storyboard_page
from vidsift.errors import MediaError, StorageError, SummaryError
from vidsift.library import Library
from vidsift.paths import expanded
from vidsift.types import Cue, Summary, VideoRecord

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "Format",
    "Options",
    "formats_named",
    "possible_formats",
    "skim_name",
    "write_skim",
    "write_summary",
]

DEFAULT_FORMATS = ("mp4", "png", "json")


@dataclass(frozen=True)
class Options:
    """What the writers of formats may be told: which subtitles, whom to tell the share done.

    `files` are those that a manifest is to name, by format.
    """

    track: str = ""
    progress: Callable[[float], None] | None = None
    files: Mapping[str, Path] = field(default_factory=dict)


Writer = Callable[[Library, Skim, Path, Options], None]
Check = Callable[[Library, Skim, Options], None]


def _nothing_needed(_library: Library, _skim: Skim, _options: Options) -> None:
    pass


@dataclass(frozen=True)
class Format:
    """One form of a skim. `check` raises where it cannot hold what it is asked to."""

    name: str
    suffix: str
    description: str
    write: Writer
    check: Check = _nothing_needed


def _text(make: Callable[[Library, Skim, Options], str]) -> Writer:
    def write(library: Library, skim: Skim, path: Path, options: Options) -> None:
        # A file name may hold bytes that are no text.
        path.write_bytes(make(library, skim, options).encode("utf-8", "backslashreplace"))

    return write


def _write_video(library: Library, skim: Skim, path: Path, options: Options) -> None:
    render_skim(library, skim, path, progress=options.progress)


def _write_storyboard(library: Library, skim: Skim, path: Path, _options: Options) -> None:
    path.write_bytes(storyboard(library, skim))


def _manifest(library: Library, skim: Skim, options: Options) -> str:
    return json.dumps(summary_json(library, skim, options.files), indent=2) + "\n"


def _check_sources(_library: Library, skim: Skim, _options: Options) -> None:
    for video in skim.videos:
        if problem := source_problem(video):
            raise MediaError(video.path, problem)


def _check_subtitles(library: Library, skim: Skim, options: Options) -> None:
    skim_subtitles.check_subtitles(library, skim, options.track)


def _check_edl(_library: Library, skim: Skim, _options: Options) -> None:
    editing_lists.check_edl(skim)


def _subtitles(form: Callable[[Sequence[Cue]], str]) -> Writer:
    return _text(
        lambda library, skim, options: form(skim_subtitles.skim_cues(library, skim, options.track))
    )


FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        Format("mp4", ".mp4", "the skim itself, with sound", _write_video, _check_sources),
        Format("png", ".png", "storyboard: a picture of each segment", _write_storyboard),
        Format(
            "html",
            ".html",
            "storyboard as a page of its own, with reasons",
            _text(lambda library, skim, _: storyboard_page(library, skim)),
        ),
        Format(
            "srt",
            ".srt",
            "subtitles, re-timed to the skim",
            _subtitles(skim_subtitles.as_srt),
            _check_subtitles,
        ),
        Format(
            "vtt",
            ".vtt",
            "the same as WebVTT",
            _subtitles(skim_subtitles.as_vtt),
            _check_subtitles,
        ),
        Format(
            "edl",
            ".edl",
            "edit decision list (CMX3600)",
            _text(lambda library, skim, _: editing_lists.as_edl(skim, skim_reasons(library, skim))),
            _check_edl,
        ),
        Format(
            "otio",
            ".otio",
            "OpenTimelineIO",
            _text(
                lambda library, skim, _: editing_lists.as_otio(skim, skim_reasons(library, skim))
            ),
        ),
        Format("json", ".json", "manifest, for --from", _text(_manifest)),
    )
}


def formats_named(names: Iterable[str]) -> list[Format]:
    """The formats of these names, each once.

    Raises:
        SummaryError: one is unknown, or none is named.
    """
    wanted = list(dict.fromkeys(names))
    known = ", ".join(FORMATS)
    for name in wanted:
        if name not in FORMATS:
            raise SummaryError(f"{name!r}: no such format; there are {known}")
    if not wanted:
        raise SummaryError(f"no format is named; there are {known}")
    return [FORMATS[name] for name in wanted]


def possible_formats(
    library: Library, skim: Skim, *, track: str = ""
) -> tuple[list[str], dict[str, str]]:
    """The formats that can hold this skim, and why the others cannot, by name."""
    possible, reasons = [], {}
    for form in FORMATS.values():
        try:
            form.check(library, skim, Options(track))
            possible.append(form.name)
        except (MediaError, SummaryError) as error:
            reasons[form.name] = str(error)
    return possible, reasons


def write_skim(
    library: Library,
    skim: Skim,
    out: Path,
    formats: Sequence[str] = DEFAULT_FORMATS,
    *,
    track: str = "",
    progress: Callable[[float], None] | None = None,
) -> dict[str, Path]:
    """Write the skim into the folder `out` in each of the formats; returns where each lies.

    The files of one call have one name, which is free, or that of this very skim written before.
    They appear together when all are finished; on an error none does.

    Args:
        library: the library that the skim is of.
        skim: what to write.
        out: a folder; made where it is not there.
        formats: names in FORMATS.
        track: of several subtitles those of this name or language; empty: each video's first.
        progress: called with the share that is done, 0 to 1.

    Raises:
        SummaryError: a format is unknown, or cannot hold this skim.
        StorageError: `out` cannot be written.
        MediaError: a video is gone or has changed, or ffmpeg cannot render it.
    """
    chosen = formats_named(formats)
    options = Options(track, progress)
    for form in chosen:
        form.check(library, skim, options)
    out = expanded(out).absolute()
    if out.exists() and not out.is_dir():
        raise StorageError(f"{out}: is a file; name a folder to write into")
    is_new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".vidsift-", dir=out) as folder:
            return _write_all(library, skim, out, chosen, Path(folder), options)
    except StorageError as error:
        # What it could not write lay in the folder of unfinished files, which is no more.
        told = re.sub(r"/\.vidsift-[^/:]+(?=[/:])", "", str(error))
        raise StorageError(told) from error
    except OSError as error:
        raise StorageError(
            f"{out}: cannot be written: {error.strerror}; name another folder"
        ) from error
    finally:
        if is_new and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def write_summary(
    library: Library,
    record: VideoRecord,
    summary: Summary,
    out: Path,
    formats: Sequence[str] = DEFAULT_FORMATS,
    *,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Path]:
    """Write the summary of one video as `write_skim` does."""
    return write_skim(library, Skim.of(record, summary), out, formats, progress=progress)


def _write_all(
    library: Library,
    skim: Skim,
    out: Path,
    formats: Sequence[Format],
    folder: Path,
    options: Options,
) -> dict[str, Path]:
    name = skim_name(skim)
    parts = {form.name: folder / f"{name}{form.suffix}" for form in formats}
    for form in formats:
        if form.name != "json":
            form.write(library, skim, parts[form.name], options)
    files = _free_names(library, skim, out, formats, parts)
    if "json" in files:  # last, since it names the others
        kept = _files_before(files["json"])
        FORMATS["json"].write(library, skim, parts["json"], replace(options, files=kept | files))
    placed: list[Path] = []
    try:
        for format_name, file in files.items():
            if not os.path.lexists(file):
                placed.append(file)
            parts[format_name].replace(file)
    except BaseException:
        for file in placed:
            file.unlink(missing_ok=True)
        raise
    return files


def skim_name(skim: Skim) -> str:
    """A file name without suffix: the video's (or how many), and `summary` or the question's words.

    It is short enough for file systems that count bytes.
    """
    about = re.sub(r"\W+", "-", skim.query.lower()).strip("-")
    videos = skim.videos
    of = videos[0].path.stem if len(videos) == 1 else f"{len(videos)}-videos"
    return f"{_shortened(of, 120)}.{_shortened(about, 60) or 'summary'}"


def _shortened(name: str, most_bytes: int) -> str:
    return os.fsencode(name)[:most_bytes].decode("utf-8", "ignore")


def _free_names(
    library: Library,
    skim: Skim,
    out: Path,
    formats: Sequence[Format],
    parts: Mapping[str, Path],
) -> dict[str, Path]:
    """Names in `out` that are free, or taken by an earlier copy of this very skim.

    What lies there is an earlier copy if the manifest beside it says so, or if it is the same.
    """
    mine = _unnamed(json.loads(json.dumps(summary_json(library, skim))))
    free: dict[str, Path] = {}
    for number in itertools.count(1):
        name = skim_name(skim) + (f"-{number}" if number > 1 else "")
        files = {form.name: out / f"{name}{form.suffix}" for form in formats}
        manifest = out / f"{name}{FORMATS['json'].suffix}"
        if _unnamed(_read(manifest)) == mine:
            return files
        if not free and not os.path.lexists(manifest):
            there = [form for form, file in files.items() if os.path.lexists(file)]
            if all(_is_same(files[form], parts[form]) for form in there):
                free = files
        if not any(os.path.lexists(out / f"{name}{form.suffix}") for form in FORMATS.values()):
            break
    return free or files


def _read(manifest: Path) -> dict[str, object]:
    try:
        read = json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return {}  # not ours
    return read if isinstance(read, dict) else {}


def _unnamed(manifest: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in manifest.items() if key != "files"}


def _files_before(manifest: Path) -> dict[str, Path]:
    """The files that an earlier manifest of this skim names and that are still there."""
    named = _read(manifest).get("files") if os.path.lexists(manifest) else None
    if not isinstance(named, dict):
        return {}
    kept = {str(name): Path(str(path)) for name, path in named.items()}
    return {name: path for name, path in kept.items() if path.exists()}


def _is_same(file: Path, part: Path) -> bool:
    return file.is_file() and file.read_bytes() == part.read_bytes()
