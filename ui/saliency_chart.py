"""The curve of saliency over a video's time, as wide as its timeline and on the same axis."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Float64

from vidsift.times import clock
from vidsift.types import Span

__all__ = ["saliency_html"]

_MOST_POINTS = 360  # one can still be pointed at


def saliency_html(
    pts_seconds: Float64[np.ndarray, "n"],
    saliency: Float64[np.ndarray, "n"],
    duration_seconds: float,
    segments: Sequence[Span],
    off: Sequence[Span] = (),
) -> str:
    """HTML as wide as its place: the curve, the chosen `segments` lit, those switched `off` dashed.

    Pointing at a place tells its time and value. A frame counts until the next; where there are
    more than can be told apart, the highest of several is drawn. The style sheet of ui.elements
    gives the classes (`vs-curve` and those inside it) their looks.
    """
    step = -(-len(pts_seconds) // _MOST_POINTS)
    firsts = np.arange(0, len(pts_seconds), step)
    starts = pts_seconds[firsts]
    ends = np.append(starts[1:], max(duration_seconds, float(starts[-1])))
    values = np.maximum.reduceat(saliency, firsts)
    highest = max(float(values.max()), 1e-12)

    def part(seconds: float) -> float:
        return 100 * min(max(seconds, 0.0), duration_seconds) / duration_seconds

    def box(kind: str, span: Span, title: str = "") -> str:
        left = part(span.start)
        width = max(part(span.end) - left, 0.15)
        return (
            f'<div class="{kind}" style="left:{left:.3f}%;width:{width:.3f}%"'
            f' title="{escape(title)}"></div>'
        )

    # Each frame's value stands over all the time for which it is shown. An outline and not a
    # drawing, since the page lets no SVG through.
    shown = list(zip(starts.tolist(), ends.tolist(), values.tolist(), strict=True))
    corners = [f"{part(shown[0][0]):.2f}% 100%"]
    for start, end, value in shown:
        height = 100 - 94 * max(value, 0.0) / highest
        corners += [f"{part(start):.2f}% {height:.1f}%", f"{part(end):.2f}% {height:.1f}%"]
    corners.append(f"{part(shown[-1][1]):.2f}% 100%")
    marked = [box("on", span) for span in segments] + [box("off", span) for span in off]
    pointed = [
        box("point", Span(start, end), f"{clock(start)}: saliency {value:.4f} a second")
        for start, end, value in shown
        if end > start
    ]
    return (
        '<div class="vs-curve" role="img" aria-label="Saliency over time">'
        f'{"".join(marked)}<div class="area" style="clip-path:polygon({",".join(corners)})"></div>'
        f"{''.join(pointed)}</div>"
    )
