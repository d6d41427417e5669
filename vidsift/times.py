"""Times as a person reads them."""

from __future__ import annotations

__all__ = ["clock", "whole_clock"]


def clock(seconds: float) -> str:
    """`m:ss.s`, or `h:mm:ss` from one hour on."""
    tenths = round(seconds * 10)
    if tenths >= 36_000:
        whole = tenths // 10
        return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def whole_clock(seconds: float) -> str:
    """`m:ss`, or `h:mm:ss` from one hour on: the second that has begun."""
    whole = int(seconds + 1e-6)
    if whole >= 3600:
        return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
    return f"{whole // 60}:{whole % 60:02d}"
