"""The curve of a term over a video's time, as a chart that takes the page's colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vidsift.times import clock
from vidsift.types import Span

if TYPE_CHECKING:
    from search.explain import Explanation, TermExplanation

__all__ = ["curve_chart"]

_MOST_POINTS = 1500  # more than the chart has pixels
_CURVE, _ATTENTION, _MOMENT, _USUAL, _LOST = "#4fb3a5", "#f0b35a", "#f0b35a", "#98a2b0", "#e5735c"
_CLOCK = (
    "(datum.value < 3600 ? '' : floor(datum.value / 3600) + ':')"
    " + (datum.value < 3600 ? floor(datum.value / 60)"
    " : pad(floor(datum.value / 60) % 60, 2, '0', 'left'))"
    " + ':' + pad(datum.value % 60 < 59.95 ? (round(datum.value % 60 * 10) / 10) : 59.9, 2, '0',"
    " 'left')"
)


def curve_chart(explanation: Explanation, term: TermExplanation) -> dict[str, Any]:
    """A Vega-Lite specification: similarity as a line, attention as bars below it, the moment as
    a band, what is usual in the library as a dashed line, and in red the stretch that is missed
    most.
    """
    rows = _rows(explanation, term)
    lowest = min(0.0, term.background, *(row["similarity"] for row in rows))
    highest = max(term.background, *(row["similarity"] for row in rows))
    heaviest = max(max(row["weight"] for row in rows), 1e-9)
    for row in rows:  # bars reach up to a third of the height
        row["bar"] = lowest + (highest - lowest) * 0.3 * row["weight"] / heaviest
    time = {
        "type": "quantitative",
        "scale": {"domain": [0, float(explanation.ends[-1])], "nice": False},
        "axis": {"title": None, "labelExpr": _CLOCK, "grid": False},
    }
    height = {
        "type": "quantitative",
        "scale": {"domain": [lowest, highest + 0.04 * (highest - lowest)], "nice": False},
        "axis": {"title": "similarity", "format": ".2f", "tickCount": 5},
    }
    moment = {"start": explanation.moment.start, "end": explanation.moment.end}
    band = {"x": {"field": "start", **time}, "x2": {"field": "end"}}
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": [moment]},
            "mark": {"type": "rect", "color": _MOMENT, "opacity": 0.14},
            "encoding": band,
        },
        {
            "mark": {"type": "rect", "color": _ATTENTION, "opacity": 0.75},
            "transform": [{"filter": "datum.weight > 0"}],
            "encoding": {**band, "y": {"field": "bar", **height}, "y2": {"datum": lowest}},
        },
        {
            "data": {"values": [{"usual": term.background}]},
            "mark": {"type": "rule", "color": _USUAL, "strokeDash": [4, 4]},
            "encoding": {"y": {"field": "usual", **height}},
        },
        {
            "mark": {"type": "line", "color": _CURVE, "point": {"size": 8, "color": _CURVE}},
            "encoding": {
                "x": {"field": "middle", **time},
                "y": {"field": "similarity", **height},
                "tooltip": [
                    {"field": "time", "type": "nominal"},
                    {"field": "similarity", "type": "quantitative", "format": ".3f"},
                    {
                        "field": "weight",
                        "type": "quantitative",
                        "format": ".1%",
                        "title": "attention",
                    },
                ],
            },
        },
    ]
    if (missed := _missed_most(term)) is not None:
        layers.append(
            {
                "data": {"values": [{"start": missed.start, "end": missed.end}]},
                "mark": {"type": "rule", "color": _LOST, "strokeWidth": 4},
                "encoding": {**band, "y": {"value": 2}},
            }
        )
    return {"data": {"values": rows}, "height": 230, "layer": layers}


def _missed_most(term: TermExplanation) -> Span | None:
    """The stretch without which the score falls most, if it changes as it is written."""
    for part in term.without[:1]:
        if part.score is None or f"{part.score:.2f}" != f"{term.score:.2f}":
            return part.span
    return None


def _rows(explanation: Explanation, term: TermExplanation) -> list[dict[str, Any]]:
    """A row a frame; of a long video, one for several: their best similarity, all their weight."""
    starts = np.arange(0, len(explanation.starts), -(-len(explanation.starts) // _MOST_POINTS))
    lasts = np.append(starts[1:], len(explanation.starts)) - 1
    columns = zip(
        explanation.starts[starts].tolist(),
        explanation.ends[lasts].tolist(),
        np.maximum.reduceat(term.similarities, starts).tolist(),
        np.add.reduceat(term.weights, starts).tolist(),
        strict=True,
    )
    return [
        {
            "start": start,
            "end": end,
            "middle": (start + end) / 2,
            "time": clock((start + end) / 2),
            "similarity": similarity,
            "weight": weight,
        }
        for start, end, similarity, weight in columns
    ]
