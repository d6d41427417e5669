"""What `vidsift evaluate` prints for people: tables, each figure beside its chance and interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from ui.terminal import out

if TYPE_CHECKING:
    from search.calibration import Calibration
    from search.evaluate import Evaluation
    from search.self_evaluation import Found, SelfEvaluation

__all__ = ["print_calibration", "print_evaluation", "print_history", "print_self"]


def print_evaluation(found: Evaluation) -> None:
    """Figures of retrieval or moments, their intervals and baselines."""
    title = f"{found.kind}: {found.n} questions, {found.videos} videos"
    table = _table("", "found", "95 %", *found.baselines, title=title)
    for name, value in found.figures.items():
        interval = found.interval95.get(name)
        baselines = [_number(figures[name]) for figures in found.baselines.values()]
        table.add_row(name, _number(value), _interval(interval), *baselines)
    out.print(table)


def print_calibration(found: Calibration) -> None:
    """What each setting does, and whether rates are what they say."""
    table = _table(
        *("setting", "false", "95 %", "claimed", "R@1", "95 %", "R@10", "coin R@1"),
        title=f"calibration: {found.n} questions with and without their answers,"
        f" {found.videos} videos",
    )
    for setting in found.settings:
        table.add_row(
            f"{setting.false_alarm_rate:.0%}",
            _number(setting.false_matches),
            _interval(setting.false_matches_interval95),
            _number(setting.claimed),
            _number(setting.recall_at_1),
            _interval(setting.recall_at_1_interval95),
            _number(setting.recall_at_10),
            _number(setting.recall_at_1_coin),
        )
    table.add_row(
        "none", "", "", "", _number(found.recall_at_1), "", _number(found.recall_at_10), ""
    )
    out.print(table)
    reliability = _table("rate says", "n", "first result right", "absent, up to here")
    for row in found.reliability:
        reliability.add_row(
            f"{row.above:.0%} - {row.up_to:.0%}",
            str(row.n),
            _number(row.right),
            _number(row.absent_up_to),
        )
    out.print(reliability)


def print_self(found: SelfEvaluation) -> None:
    """One measurement of a library on its own content."""
    table = _table(
        *("", "n", "R@1 (chance)", "R@5", "R@10", "first IoU", "IoU found"),
        title=f"{found.videos} videos, {found.hours:.2f} h, {found.clips} clips, {found.encoder}",
    )
    for name, part in (("line", found.lines), ("cut", found.cuts)):
        if part is None:
            table.add_row(name, "0", *[""] * 5)
        else:
            table.add_row(name, str(part.n), *_recalls(part), _number(part.first_iou),
                          _number(part.found_iou))  # fmt: skip
    out.print(table)
    sizes = "  ".join(f"{name} {size / 1e6:.1f}" for name, size in found.bytes_per_hour.items())
    out.print(
        f"search, warm    p50 {found.latency_ms['p50']:.1f} ms, p95 {found.latency_ms['p95']:.1f}"
        f" ms\nMB an hour      {sizes}"
    )


def _table(*columns: str, title: str | None = None) -> Table:
    """A table that fits 80 columns."""
    return Table(
        *columns,
        title=title,
        title_justify="left",
        box=box.SIMPLE,
        collapse_padding=True,
        pad_edge=False,
    )


def _recalls(part: Found) -> list[str]:
    return [f"{value:.1f} ({part.chance[name]:.1f})" for name, value in part.recall.items()]


def print_history(measured: Sequence[Mapping[str, Any]]) -> None:
    """All measurements of a library so far, a line each; what a line lacks stays empty."""
    columns = ("time", "videos", "lines", "cuts", "IoU", "p50 ms", "p95 ms", "MB/h")
    table = _table(*columns, title="R@1 of lines and of cuts, IoU of cuts")
    for one in measured:
        size = _at(one, "bytes_per_hour", "total")
        table.add_row(
            str(one["time"])[:16],
            str(one.get("videos", "")),
            _number(_at(one, "lines", "recall", "R@1")),
            _number(_at(one, "cuts", "recall", "R@1")),
            _number(_at(one, "cuts", "first_iou")),
            _number(_at(one, "latency_ms", "p50")),
            _number(_at(one, "latency_ms", "p95")),
            _number(None if size is None else size / 1e6),
        )
    out.print(table)


def _at(value: Any, *keys: str) -> float | None:
    """The number under these keys; None where another version wrote none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.1f} - {interval[1]:.1f}"
