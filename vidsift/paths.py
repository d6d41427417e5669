"""Paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["expanded"]


def expanded(path: str | Path) -> Path:
    """The path with `~` or `~USER` at its start replaced; where there is no such user, as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's raises for an unknown user
