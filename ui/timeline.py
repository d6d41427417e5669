"""A video at a glance: its shots in a row, its chapters, what a summary takes, what is playing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from vidsift.times import clock
from vidsift.types import Shot, Span

if TYPE_CHECKING:
    from summarizer.chapters import Chapter

__all__ = ["timeline_html"]

_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
_MOST_TICKS = 12


def timeline_html(
    duration_seconds: float,
    shots: Sequence[Shot],
    segments: Sequence[Span],
    playing: Span | None,
    *,
    query: str = "",
    chapters: Sequence[Chapter] = (),
) -> str:
    """HTML as wide as its place: shots by turns in two shades, segments lit, what plays framed.

    Below them stand the chapters, where there are several. Every part says on hovering what it is.
    Text is escaped; the style sheet of ui.elements gives the classes (`vs-timeline` and those
    inside it) their looks.
    """

    def bar(kind: str, span: Span, label: str, text: str = "") -> str:
        # Parts of the width in percent; never so thin that it cannot be seen.
        width = max(0.15, 100 * span.duration / duration_seconds)
        left = min(100 * span.start / duration_seconds, 100 - width)
        title = escape(f"{label}: {clock(span.start)} - {clock(span.end)}")
        return (
            f'<div class="{kind}" style="left:{left:.3f}%;width:{width:.3f}%" title="{title}">'
            f"{escape(text)}</div>"
        )

    parts = [
        bar("odd" if number % 2 else "even", shot.span, f"Shot {number + 1}")
        for number, shot in enumerate(shots)
    ]
    if playing is not None:
        parts.append(bar("playing", playing, "In the player"))
    about = f"Summary about {query}" if query else "Summary"
    parts += [bar("segment", span, about) for span in segments]
    titled = ""
    if len(chapters) > 1:
        named = [bar("chapter", each.span, each.title, each.title) for each in chapters]
        titled = f'<div class="chapters">{"".join(named)}</div>'
    ticks = "".join(
        f'<span style="left:{100 * seconds / duration_seconds:.3f}%">{_label(seconds)}</span>'
        for seconds in _ticks(duration_seconds)
    )
    return (
        '<div class="vs-timeline" role="img" aria-label="Timeline of shots">'
        f'<div class="bars">{"".join(parts)}</div>{titled}<div class="ticks">{ticks}</div></div>'
    )


def _ticks(duration_seconds: float) -> list[int]:
    step = next((step for step in _TICKS if duration_seconds / step <= _MOST_TICKS), None)
    if step is None:
        longest = _TICKS[-1]
        step = longest * (int(duration_seconds / longest / _MOST_TICKS) + 1)
    # A label that would stick out at the end is left out.
    return list(range(0, int(duration_seconds * 0.98) + 1, step))


def _label(seconds: int) -> str:
    return clock(float(seconds)).removesuffix(".0")
