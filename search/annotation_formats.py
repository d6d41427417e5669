"""The published formats of annotations: how each looks, and the captions in one of its entries."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidsift.types import Span

__all__ = [
    "DRAFTS",
    "VIDEO_KEYS",
    "Draft",
    "Entry",
    "MalformedError",
    "first_of",
    "format_of",
    "span_of",
]


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of a file: a dict, or a line of text. `key` is its name in a JSON object."""

    file: Path
    line: int
    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class Draft:
    """A caption as it stands in the file: nothing is checked yet."""

    video: Any
    text: Any
    start: Any = None
    end: Any = None
    duration: Any = None


class MalformedError(ValueError):
    """An entry breaks its format."""


def span_of(start: Any, end: Any, duration: Any = None) -> Span | None:
    """The span in seconds, cut to the video's duration where that is known; None without times.

    Raises:
        MalformedError: a time is absent or no number, or they are not in order within the video.
    """
    if start in (None, "") and end in (None, ""):
        return None
    first, last = _number(start, "start"), _number(end, "end")
    if duration is not None:
        # Some published spans end after their video, by rounding.
        last = min(last, _number(duration, "duration"))
    if not 0 <= first < last:
        raise MalformedError(
            f"needs 0 <= start < end, within the video; got {start!s:.30} to {end!s:.30}"
        )
    return Span(first, last)


def _number(value: Any, what: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise MalformedError(f"{what} is no number: {value!r:.60}")
    return number


VIDEO_KEYS = ("video", "video_id", "vid")
_TEXT_KEYS = ("text", "query", "caption", "sentence", "description")
_DIDEMO_SEGMENT_SECONDS = 5.0
_THUMOS_LINE = re.compile(r"(video_\w+?_\d+)\s+(\S+)\s+(\S+)")
_MSVD_LINE = re.compile(r"(\S+_\d+_\d+)\s+(.+)")
_KINETICS_LINE = re.compile(r"(?:.*/)?([^/]+)/([^/]+?)\s+\d+")


def first_of(entry: dict[str, Any], keys: tuple[str, ...]) -> Any:
    """The value under the first of `keys` that the entry has; None without any."""
    return next((entry[key] for key in keys if entry.get(key) is not None), None)


def _record(entry: Entry) -> dict[str, Any]:
    if not isinstance(entry.value, dict):
        raise MalformedError(f"an object is needed, got {str(entry.value)[:40]!r}")
    return entry.value


def _list(record: dict[str, Any], key: str) -> list[Any]:
    value = record.get(key)
    if not isinstance(value, list):
        raise MalformedError(f"{key} is no list: {value!r:.60}")
    return value


def _pair(value: Any, what: str) -> tuple[Any, Any]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise MalformedError(f"{what} needs a start and an end, got {value!r:.60}")
    return value[0], value[1]


def _plain(entry: Entry) -> Iterator[Draft]:
    record = _record(entry)
    text = first_of(record, _TEXT_KEYS)
    for one in text if isinstance(text, list) else [text]:
        yield Draft(first_of(record, VIDEO_KEYS), one, record.get("start"), record.get("end"))


def _msvd(entry: Entry) -> Iterator[Draft]:
    if isinstance(entry.value, str):
        found = _MSVD_LINE.fullmatch(entry.value)
        if found is None:
            raise MalformedError("needs VIDEO_START_END and a description")
        yield Draft(found[1], found[2])
        return
    record = _record(entry)
    if record.get("Language") in ("English", None):  # as the published splits do
        name = "_".join(str(record.get(key)) for key in ("VideoID", "Start", "End"))
        yield Draft(name, record.get("Description"))


def _didemo(entry: Entry) -> Iterator[Draft]:
    record = _record(entry)
    spans = []
    for time in _list(record, "times"):
        first, last = _pair(time, "times")
        start = _number(first, "segment") * _DIDEMO_SEGMENT_SECONDS
        end = (_number(last, "segment") + 1) * _DIDEMO_SEGMENT_SECONDS
        spans.append(span_of(start, end))
    marked = [span for span in spans if span is not None]
    if not marked:
        raise MalformedError("times holds no segment")
    # Four people marked each; the span that agrees best with all others stands for them.
    best = max(marked, key=lambda span: sum(span.tiou(other) for other in marked))
    yield Draft(record.get("video"), record.get("description"), best.start, best.end)


def _activitynet(entry: Entry) -> Iterator[Draft]:
    record = _record(entry)
    times, sentences = _list(record, "timestamps"), _list(record, "sentences")
    if len(times) != len(sentences):
        raise MalformedError(f"{len(sentences)} sentences have {len(times)} timestamps")
    for time, sentence in zip(times, sentences, strict=True):
        # A pair that is none is a bad sentence, and the video's others are not to blame.
        start, end = time if isinstance(time, list) and len(time) == 2 else (time, None)
        yield Draft(entry.key, sentence, start, end, record.get("duration"))


def _qvhighlights(entry: Entry) -> Iterator[Draft]:
    record = _record(entry)
    if record.get("relevant_windows") is None:  # the test split hides them
        yield Draft(record.get("vid"), record.get("query"))
        return
    for window in _list(record, "relevant_windows"):
        start, end = _pair(window, "relevant_windows")
        yield Draft(record.get("vid"), record.get("query"), start, end, record.get("duration"))


def _thumos14(entry: Entry) -> Iterator[Draft]:
    if isinstance(entry.value, str):
        found = _THUMOS_LINE.fullmatch(entry.value)
        if found is None:
            raise MalformedError("needs a video, a start and an end")
        label = re.sub(r"_(val|test)$", "", entry.file.stem)
        yield Draft(found[1], _class_name(label), found[2], found[3])
        return
    record = _record(entry)
    for annotation in _list(record, "annotations"):
        if not isinstance(annotation, dict):
            raise MalformedError(f"annotations holds {annotation!r:.60}, no object")
        start, end = _pair(annotation.get("segment"), "segment")
        name = _class_name(annotation.get("label"))
        yield Draft(entry.key, name, start, end, record.get("duration"))


def _kinetics(entry: Entry) -> Iterator[Draft]:
    if isinstance(entry.value, str):
        found = _KINETICS_LINE.fullmatch(entry.value)
        if found is None:
            raise MalformedError("needs CLASS/VIDEO and a number")
        yield Draft(found[2], _class_name(found[1]))
        return
    record = _record(entry)
    annotation = record.get("annotations", record)
    if not isinstance(annotation, dict):
        raise MalformedError(f"annotations is no object: {annotation!r:.60}")
    times = annotation.get("segment", [annotation.get("time_start"), annotation.get("time_end")])
    start, end = _pair(times, "segment")
    first, last = _number(start, "start"), _number(end, "end")
    # The videos are cut to their annotation, and named so by the published downloader.
    name = f"{entry.key or record.get('youtube_id')}_{first:06.0f}_{last:06.0f}"
    yield Draft(name, _class_name(annotation.get("label")))


def _class_name(label: Any) -> Any:
    """`BaseballPitch` and `baseball_pitch` in words."""
    if not isinstance(label, str):
        return label
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label).replace("_", " ").lower()


DRAFTS: dict[str, Callable[[Entry], Iterator[Draft]]] = {
    "qvhighlights": _qvhighlights,
    "didemo": _didemo,
    "activitynet": _activitynet,
    "thumos14": _thumos14,
    "kinetics": _kinetics,
    "msvd": _msvd,
    "msrvtt": _plain,
    "plain": _plain,
}


def format_of(entry: Entry) -> str | None:
    """The format that an entry shows by its keys, or as a line by its form."""
    value = entry.value
    if isinstance(value, str):
        lines = {"thumos14": _THUMOS_LINE, "msvd": _MSVD_LINE, "kinetics": _KINETICS_LINE}
        return next((form for form, line in lines.items() if line.fullmatch(value)), None)
    if not isinstance(value, dict):
        return None
    keys = set(value)
    signs = {
        "qvhighlights": {"vid", "query"},
        "didemo": {"times", "description", "video"},
        "activitynet": {"timestamps", "sentences"},
        "msvd": {"VideoID", "Description"},
    }
    for name, sign in signs.items():
        if sign <= keys:
            return name
    if "youtube_id" in keys or isinstance(value.get("annotations"), dict):
        return "kinetics"
    if isinstance(value.get("annotations"), list):
        return "thumos14"
    if first_of(value, VIDEO_KEYS) is None or first_of(value, _TEXT_KEYS) is None:
        return None
    return "msrvtt" if keys & {"sen_id", "vid_key"} else "plain"
