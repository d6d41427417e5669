"""Captions and moments of the standard sets and of the user's own files, read into one shape.

| format | files | a caption is |
|---|---|---|
| `msrvtt` | `MSRVTT_data.json`, 1k-A's `MSRVTT_JSFUSION_test.csv` | a sentence |
| `msvd` | `video_corpus.csv`, `AllVideoDescriptions.txt` | an English description |
| `didemo` | `train_data.json` ... | a description and the span most annotators agree on |
| `activitynet` | ActivityNet Captions' `train.json` ... | a sentence and its timestamps |
| `qvhighlights` | `highlight_val_release.jsonl` ... | a query and one of its windows |
| `thumos14` | `NAME_val.txt`, their folder, or JSON with `database` | a class name and its span |
| `kinetics` | CSV with `youtube_id`, JSON by id, or lists `class/video.mp4 0` | a class name |
| `plain` | JSONL, a JSON list or CSV: `video`, `text`, perhaps `start` and `end` | an entry |

Which it is shows in the content. An entry that breaks its format is left out and named with file
and line; the rest is used.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from search.annotation_formats import (
    DRAFTS,
    VIDEO_KEYS,
    Draft,
    Entry,
    MalformedError,
    first_of,
    format_of,
    span_of,
)
from vidsift.errors import AnnotationError
from vidsift.types import Span

__all__ = ["FORMATS", "Annotations", "Caption", "json_lines", "read_captions", "read_text"]

FORMATS = tuple(DRAFTS)
_CSV_COLUMNS = {*VIDEO_KEYS, "VideoID", "youtube_id"}


@dataclass(frozen=True, slots=True)
class Caption:
    """What is said of a video, or of one span of it. `video` is a name, stem or id."""

    video: str
    text: str
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Annotations:
    """The captions of a file in its order, and what was left out: `FILE:LINE: reason`."""

    format: str
    items: tuple[Caption, ...]
    skipped: tuple[str, ...] = ()


def read_captions(path: Path, format: str = "auto") -> Annotations:  # noqa: A002
    """Read a file of captions, or the folder of THUMOS14's lists.

    `format` is one of FORMATS, or `auto` to tell by the content.

    Raises:
        AnnotationError: the file cannot be read, is of no known format, or nothing in it can be
            used.
    """
    if format != "auto" and format not in FORMATS:
        raise AnnotationError(f"format {format!r} is unknown; known: auto, {', '.join(FORMATS)}")
    skipped: list[str] = []
    entries = _folder(path) if path.is_dir() else _entries(path, read_text(path), skipped)
    chosen = _detect(path, entries) if format == "auto" else format
    items: list[Caption] = []
    for entry in entries:
        where = f"{entry.file}:{entry.line}"
        try:
            for draft in DRAFTS[chosen](entry):
                try:
                    items.append(_caption(draft))
                except MalformedError as error:
                    skipped.append(f"{where}: {error}")
        except MalformedError as error:
            skipped.append(f"{where}: {error}")
    if not items:
        why = f"; {skipped[0]}" if skipped else ""
        raise AnnotationError(f"{path}: holds no caption that can be used as {chosen}{why}")
    return Annotations(chosen, tuple(items), tuple(skipped))


def read_text(path: Path) -> str:
    """The text of a file of annotations. Bytes that are no UTF-8 come as lone surrogates.

    Raises:
        AnnotationError: the file is absent, unreadable or empty.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read: {error.strerror}; name a file") from error
    if not text.strip():
        raise AnnotationError(f"{path}: is empty; name a file of captions")
    return text


def json_lines(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """The objects of a JSONL file with their line numbers; a `str` says why a line is none."""
    # Not splitlines(), which would also cut at separators that may stand inside a JSON string.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, f"{path}:{number}: no JSON: {_oneline(error)}"
            continue
        if isinstance(value, dict):
            yield number, value
        else:
            yield number, f"{path}:{number}: a JSON object is needed, not {type(value).__name__}"


def _caption(draft: Draft) -> Caption:
    video = str(draft.video).strip() if isinstance(draft.video, str | int) else ""
    if not video or isinstance(draft.video, bool):
        raise MalformedError("names no video")
    text = " ".join(draft.text.split()) if isinstance(draft.text, str) else ""
    if not text:
        raise MalformedError("has no text")
    try:
        (video + text).encode()
    except UnicodeEncodeError as error:
        raise MalformedError("is not valid UTF-8") from error
    return Caption(video, text, span_of(draft.start, draft.end, draft.duration))


# Containers: JSON, JSONL, CSV, lines.


def _folder(path: Path) -> list[Entry]:
    # THUMOS14 has one list a class, and one of spans that nobody should be judged by.
    files = sorted(f for f in path.glob("*.txt") if not f.name.startswith("Ambiguous"))
    if not files:
        raise AnnotationError(f"{path}: a folder without .txt lists; name a file of captions")
    return [entry for file in files for entry in _text_lines(file, read_text(file))]


def _entries(path: Path, text: str, skipped: list[str]) -> list[Entry]:
    if _is_jsonl(text):
        entries = []
        for number, value in json_lines(path, text):
            if isinstance(value, str):
                skipped.append(value)
            else:
                entries.append(Entry(path, number, "", value))
        return entries
    if text.lstrip()[0] in "[{":
        try:
            return list(_json_entries(path, text))
        except (ValueError, RecursionError) as error:
            raise AnnotationError(f"{path}: is not valid JSON: {_oneline(error)}") from error
    rows = csv.DictReader(text.splitlines())
    try:
        if _CSV_COLUMNS & set(rows.fieldnames or ()) and len(rows.fieldnames or ()) > 1:
            return [Entry(path, rows.line_num, "", row) for row in rows]
    except csv.Error as error:
        raise AnnotationError(f"{path}:{rows.line_num}: is not valid CSV: {error}") from error
    return list(_text_lines(path, text))


def _is_jsonl(text: str) -> bool:
    """Whether lines are JSON objects each by itself, though some may be broken."""
    found = 0
    for line in islice((line for line in text.split("\n") if line.strip()), 20):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found += 1
            if found == 2 or first_of(value, VIDEO_KEYS) is not None:
                return True
    return False


def _text_lines(path: Path, text: str) -> Iterator[Entry]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield Entry(path, number, "", line.strip())


def _json_entries(path: Path, text: str) -> Iterator[Entry]:
    """The items of a list, or the members of an object, with the lines at which they stand.

    Of MSR-VTT's object the `sentences` are taken, of one with a `database` that.
    """
    whole = json.loads(text)
    start = len(text) - len(text.lstrip())
    if isinstance(whole, dict):
        inner = next((name for name in ("sentences", "database") if name in whole), None)
        start = next((at for name, at, _ in _members(text, start) if name == inner), start)
    line, counted = 1, 0
    for key, at, value in _members(text, start):
        line, counted = line + text.count("\n", counted, at), at
        yield Entry(path, line, key, value)


_JSON = json.JSONDecoder()
_BLANK = re.compile(r"[\s,:]*")


def _members(text: str, start: int) -> Iterator[tuple[str, int, Any]]:
    """Key, place and value of each item of the valid JSON list or object that begins at `start`."""
    closing = {"[": "]", "{": "}"}.get(text[start])
    if closing is None:
        return

    def skip(at: int) -> int:
        blank = _BLANK.match(text, at)
        return blank.end() if blank else at

    at = skip(start + 1)
    while text[at] != closing:
        key = ""
        if closing == "}":
            key, at = _JSON.raw_decode(text, at)
            at = skip(at)
        value, end = _JSON.raw_decode(text, at)
        yield key, at, value
        at = skip(end)


def _detect(path: Path, entries: list[Entry]) -> str:
    votes = Counter(name for entry in entries[:50] if (name := format_of(entry)))
    if not votes:
        raise AnnotationError(
            f"{path}: of no known format; known: {', '.join(FORMATS)}. The simplest is a line of"
            ' JSON a caption: {"video": "a.mp4", "text": "a dog runs"}'
        )
    return votes.most_common(1)[0][0]


def _oneline(error: Exception) -> str:
    return " ".join(str(error).split())
