"""A video at a glance: its shots in a row, what a summary takes of them, and what is playing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from vidsift.times import clock
from vidsift.types import Shot, Span, Summary

__all__ = ["timeline_html"]

_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
_MOST_TICKS = 12


def timeline_html(
    duration_seconds: float, shots: Sequence[Shot], summary: Summary | None, playing: Span | None
) -> str:
    """HTML as wide as its place: shots by turns in two shades, segments lit, what plays framed.

    Every part says on hovering what it is. Text is escaped; the style sheet of ui.elements gives
    the classes (`vs-timeline` and those inside it) their looks.
    """

    def bar(kind: str, span: Span, label: str) -> str:
        # Parts of the width in percent; never so thin that it cannot be seen.
        width = max(0.15, 100 * span.duration / duration_seconds)
        left = min(100 * span.start / duration_seconds, 100 - width)
        title = escape(f"{label}: {clock(span.start)} - {clock(span.end)}")
        return (
            f'<div class="{kind}" style="left:{left:.3f}%;width:{width:.3f}%" title="{title}">'
            "</div>"
        )

    parts = [
        bar("odd" if number % 2 else "even", shot.span, f"Shot {number + 1}")
        for number, shot in enumerate(shots)
    ]
    if playing is not None:
        parts.append(bar("playing", playing, "In the player"))
    if summary is not None:
        about = f"Summary about {summary.query}" if summary.query else "Summary"
        parts += [bar("segment", segment.span, about) for segment in summary.segments]
    ticks = "".join(
        f'<span style="left:{100 * seconds / duration_seconds:.3f}%">{_label(seconds)}</span>'
        for seconds in _ticks(duration_seconds)
    )
    return (
        '<div class="vs-timeline" role="img" aria-label="Timeline of shots">'
        f'<div class="bars">{"".join(parts)}</div><div class="ticks">{ticks}</div></div>'
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
