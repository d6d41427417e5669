"""vidsift: find the moment a sentence describes, see why, and summarise any video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Library", "__version__"]

if TYPE_CHECKING:
    from vidsift.library import Library


def __getattr__(name: str) -> Any:
    # Lazy, so that `import vidsift.types` does not pull in the database and the index.
    if name == "Library":
        from vidsift.library import Library

        return Library
    raise AttributeError(f"module 'vidsift' has no attribute {name!r}")
