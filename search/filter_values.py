"""Values of a question's filters: dates, durations and names, checked one by one and together."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from search.question import Filters
from vidsift.errors import QuestionSyntaxError

__all__ = [
    "FILTERS",
    "ErrorAt",
    "FilterDraft",
    "format_filters",
    "format_number",
    "parse_date",
    "parse_duration",
]

_MANY = ("video", "path", "tag")
_DATES = ("after", "before")
_DURATIONS = ("longer", "shorter")
FILTERS = ("video", "path", *_DATES, *_DURATIONS, "tag")

_DATE = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d)?)?)?)?", re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)([smh]?)", re.ASCII)
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_MOST_SECONDS = 1e9  # 31 years

# Makes the exception for a place in the text, from its reason.
ErrorAt = Callable[[int, str], QuestionSyntaxError]


class FilterDraft:
    """Collects the filters of a question as they are read."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {name: [] for name in _MANY}
        self._bounds: dict[str, float] = {}
        self._places: dict[str, int] = {}

    def add(self, name: str, value: str, start: int, value_at: int, error: ErrorAt) -> None:
        """Take `name:value`, which stands at `start`, its value at `value_at`.

        Raises:
            QuestionSyntaxError: it is no date or duration, or a bound that is given twice.
        """
        if name in _MANY:
            self._names[name].append(value)
            return
        if name in self._bounds:
            raise error(start, f"{name}: stands here for the second time; leave one out")
        parse = parse_date if name in _DATES else parse_duration
        self._bounds[name] = parse(value, value_at, error)
        self._places[name] = start

    def finish(self, error: ErrorAt) -> Filters:
        """All that was taken.

        Raises:
            QuestionSyntaxError: bounds contradict each other, so that no video could answer.
        """
        bounds = self._bounds
        if bounds.get("after", -math.inf) >= bounds.get("before", math.inf):
            raise error(self._later(_DATES), "no time is left: after: must lie before before:")
        if bounds.get("longer", 0.0) > bounds.get("shorter", math.inf):
            raise error(self._later(_DURATIONS), "no video is longer: and shorter: than that")
        return Filters(
            videos=tuple(self._names["video"]),
            paths=tuple(self._names["path"]),
            after=bounds.get("after"),
            before=bounds.get("before"),
            longer=bounds.get("longer"),
            shorter=bounds.get("shorter"),
            tags=tuple(self._names["tag"]),
        )

    def _later(self, names: tuple[str, ...]) -> int:
        return max(self._places[name] for name in names)


def format_filters(filters: Filters) -> list[tuple[str, str]]:
    """Names and values as a question gives them; reading these gives the same filters again."""
    named = [("video", name) for name in filters.videos]
    named += [("path", part) for part in filters.paths]
    for name, seconds in zip(_DATES, (filters.after, filters.before), strict=True):
        if seconds is not None:
            named.append((name, datetime.fromtimestamp(seconds).isoformat()))
    for name, seconds in zip(_DURATIONS, (filters.longer, filters.shorter), strict=True):
        if seconds is not None:
            named.append((name, f"{format_number(seconds)}s"))
    return named + [("tag", tag) for tag in filters.tags]


def format_number(number: float) -> str:
    """The shortest decimal number that reads as this one, never with an exponent."""
    return f"{Decimal(repr(number)):f}".removesuffix(".0")


def parse_date(value: str, at: int, error: ErrorAt) -> float:
    """Seconds of the epoch at which this year, month, day or minute begins, in local time."""
    try:
        if not _DATE.fullmatch(value):
            raise ValueError("not of the form")
        missing = "-01-01"[3 * value.count("-", 0, 10) :]
        seconds = datetime.fromisoformat(value + missing).timestamp()
        datetime.fromtimestamp(seconds)  # what cannot be shown again is refused
    except (ValueError, OverflowError, OSError) as reason:
        raise error(
            at, f"expected a date such as 2024-05, 2024-05-01 or 2024-05-01T10:30, found {value!r}"
        ) from reason
    return seconds


def parse_duration(value: str, at: int, error: ErrorAt) -> float:
    """Seconds, from `90`, `90s`, `1.5m` or `1h`."""
    found = _DURATION.fullmatch(value)
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not 0 < seconds <= _MOST_SECONDS:
        raise error(at, f"expected a duration above 0 such as 90, 90s, 1.5m or 1h, found {value!r}")
    return seconds
