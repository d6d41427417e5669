"""The forms in which a skim comes out.

A format is a row of the table below: what it is called, what its files end in, what it needs, and
what writes it. `summarizer.write` writes several of them as one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from summarizer import editing_lists, skim_subtitles
from summarizer.chapter_files import CHAPTER_FORMATS
from summarizer.chapters import chapters_of
from summarizer.manifest import summary_json
from summarizer.render import render_skim
from summarizer.skim import Skim
from summarizer.skim_reasons import skim_reasons
from summarizer.sources import source_problem
from summarizer.storyboard import storyboard
from summarizer.storyboard_page import storyboard_page
from summarizer.text import as_markdown, written_summary
from vidsift.errors import MediaError, SummaryError
from vidsift.library import Library
from vidsift.types import Cue

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "Format",
    "Options",
    "formats_named",
    "possible_formats",
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


def _chapters(form: str, what: str) -> tuple[str, Writer, Check]:
    def make(library: Library, skim: Skim, _options: Options) -> str:
        return CHAPTER_FORMATS[form](chapters_of(library, skim.videos[0]))

    def check(_library: Library, skim: Skim, _options: Options) -> None:
        if len(skim.videos) > 1:
            raise SummaryError(
                f"chapters are of one video, and this summary is of {len(skim.videos)};"
                " ask for each video's by `vidsift chapters`"
            )

    return f"chapters of the whole video: {what}", _text(make), check


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
        Format("ffmetadata", ".ffmetadata", *_chapters("ffmetadata", "for ffmpeg -map_chapters")),
        Format("chapters", ".chapters.vtt", *_chapters("vtt", "WebVTT")),
        Format("youtube", ".youtube.txt", *_chapters("youtube", "lines of a description")),
        Format(
            "text",
            ".md",
            "written summary (Markdown)",
            _text(lambda library, skim, _: as_markdown(written_summary(library, skim))),
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
