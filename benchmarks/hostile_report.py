"""What the runs of benchmarks.hostile come to."""

from __future__ import annotations

from collections import Counter
from typing import Any

__all__ = ["SECONDS_OF_A_FILE", "report"]

# To probe, decode and read the subtitles of one file, with a third more on a busy machine.
SECONDS_OF_A_FILE = (60 + 20 + 20) * 4 / 3
_REASONS = (
    ("media_max_pixels", "too many pixels"), ("media_max_hours", "too long"),
    ("media_memory_mb", "too much memory"), ("media_time_limit", "out of time"),
    ("media_stall_seconds", "stalled"), ("more than a video can have", "too many frames"),
    ("lines about itself", "too much metadata"), ("playlist or pattern", "leads elsewhere"),
    ("not a regular file", "no regular file"), ("holes", "mostly holes"),
    ("no video stream", "no video stream"), ("size cannot be read", "no picture size"),
    ("index (moov) is missing", "no index"), ("is not a video", "not a video"),
    ("no frame could be decoded", "no frame"), ("left out", "left out"),
)  # fmt: skip


def report(done: list[dict[str, Any]], has_atime: bool) -> int:
    """Print it; 1 where anything hung, escaped or was affected, else 0."""
    tried = {name: file["reason"] for result in done for name, file in result["files"].items()}
    reasons: Counter[str] = Counter()
    for reason in tried.values():
        kind = next((kind for word, kind in _REASONS if word in reason), "other")
        reasons[kind if reason else "indexed"] += 1
    indexed = reasons.pop("indexed", 0)
    again = sum(len(result["files"]) for result in done) - len(tried)
    hung = [
        f"{result['name']}/{name}"
        for result in done
        for name, file in result["files"].items()
        if file["seconds"] > SECONDS_OF_A_FILE
    ] + [result["name"] for result in done if "died" in result]
    escaped = [
        f"{result['name']}: {what} {result[what]}"
        for result in done
        for what in ("called", "read", "reached", "left")
        if result.get(what)
    ]
    expected: list[str] = next((r["features"] for r in done if "features" in r), [])
    affected = [
        result["name"]
        for result in done
        if "died" in result
        or not all(result["good"])
        or result["features"] != expected
        or result["unnamed"]
    ]
    print(
        f"tried     {indexed + reasons.total()} files; {again} of them alone or unconfined as well"
    )
    print(f"indexed   {indexed}")
    print(
        f"refused   {reasons.total()}: "
        + ", ".join(f"{n} {kind}" for kind, n in reasons.most_common())
    )
    print(f"hung      {len(hung)} {hung or ''}")
    print(
        f"escaped   {len(escaped)} {escaped or ''}"
        + ("" if has_atime else " (atime is not kept here)")
    )
    print(f"affected  {len(affected)} runs of {len(done)} {affected or ''}")
    print(f"tried again when unchanged: {sum(len(r.get('again', [])) for r in done)}")
    print(f"left running: {sum(len(r.get('children', [])) for r in done)}")
    slowest = max((file["seconds"], name) for r in done for name, file in r["files"].items())
    print(f"slowest   {slowest[0]:.1f} s: {slowest[1]}")
    ffmpeg, python = (max(r.get(f"{who}_mb", 0) for r in done) for who in ("ffmpeg", "python"))
    print(f"peak MB   ffmpeg {ffmpeg}, Python {python}")
    print(f"time      {sum(r['seconds'] for r in done):.0f} s")
    return 1 if hung or escaped or affected else 0
