"""Writing a skim in several formats as one: all its files appear together, or none does."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from summarizer.formats import DEFAULT_FORMATS, FORMATS, Format, Options, formats_named
from summarizer.manifest import summary_json
from summarizer.skim import Skim
from vidsift.errors import StorageError
from vidsift.library import Library
from vidsift.paths import expanded
from vidsift.store.files import put_in_place
from vidsift.types import Summary, VideoRecord

__all__ = ["skim_name", "write_skim", "write_summary"]


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
    # os.path: pathlib raises where it may not look.
    is_new = not os.path.lexists(out)
    if not is_new and not os.path.isdir(out):  # noqa: PTH112
        raise StorageError(f"{out}: is no folder; name a folder to write into")
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
        if is_new:
            with contextlib.suppress(OSError):  # it is not there, or it is not empty
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
            put_in_place(parts[format_name], file)
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
    return {name: path for name, path in kept.items() if os.path.exists(path)}  # noqa: PTH110


def _is_same(file: Path, part: Path) -> bool:
    return file.is_file() and file.read_bytes() == part.read_bytes()
