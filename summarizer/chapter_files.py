"""Chapters in the forms that players take: ffmetadata, WebVTT and the lines of YouTube."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence

from summarizer.chapters import Chapter
from vidsift.times import whole_clock

__all__ = ["CHAPTER_FORMATS", "as_ffmetadata", "as_vtt", "as_youtube"]


def as_ffmetadata(chapters: Sequence[Chapter]) -> str:
    """What `ffmpeg -i VIDEO -i FILE -map 0 -map_chapters 1 -c copy OUT` puts into a video.

    Format: https://ffmpeg.org/ffmpeg-formats.html#Metadata-1
    """
    parts = [";FFMETADATA1\n"]
    for chapter in chapters:
        title = _one_line(chapter.title)
        for special in "\\=;#":  # the backslash first: it escapes the others
            title = title.replace(special, f"\\{special}")
        parts.append(
            "[CHAPTER]\nTIMEBASE=1/1000\n"
            f"START={round(chapter.span.start * 1000)}\nEND={round(chapter.span.end * 1000)}\n"
            f"title={title}\n"
        )
    return "".join(parts)


def as_vtt(chapters: Sequence[Chapter]) -> str:
    """A WebVTT file for `<track kind="chapters">`."""
    cues = [
        f"{number}\n{_vtt_time(chapter.span.start)} --> {_vtt_time(chapter.span.end)}\n"
        f"{html.escape(_one_line(chapter.title), quote=False)}\n"
        for number, chapter in enumerate(chapters, 1)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def as_youtube(chapters: Sequence[Chapter]) -> str:
    """Lines `0:00 Title` for a video's description.

    YouTube shows them as chapters where there are at least three; angle brackets, which it does not
    take, become others.
    """
    brackets = str.maketrans("<>", "‹›")  # noqa: RUF001
    return "".join(
        f"{whole_clock(chapter.span.start)} {_one_line(chapter.title).translate(brackets)}\n"
        for chapter in chapters
    )


CHAPTER_FORMATS = {"ffmetadata": as_ffmetadata, "vtt": as_vtt, "youtube": as_youtube}


def _one_line(title: str) -> str:
    """Without control characters and line separators, which end a line or worse."""
    shown = "".join(
        " " if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") else character
        for character in title
    )
    return " ".join(shown.split())


def _vtt_time(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    whole = milliseconds // 1000
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}.{milliseconds % 1000:03d}"
