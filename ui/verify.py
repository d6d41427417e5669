"""`vidsift verify`: is everything that the library says of itself true?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from ui.options import JsonOption, LibraryOption
from ui.terminal import err, one_line, out, print_json

if TYPE_CHECKING:
    from indexer.verify import Verification

__all__ = ["print_gaps", "verification_json", "verify"]


def verify(
    context: typer.Context, library: LibraryOption = None, as_json: JsonOption = False
) -> None:
    """Hold the library against itself and against the video files; nothing is changed.

    Exit code 1 if there is any gap; each is named with its cause and what to do.
    """
    from indexer.verify import verify_at
    from ui.progress import share_shown

    with share_shown("verifying", "reading all that is stored", err) as show:
        found = verify_at(library or context.obj, on_progress=show)
    if as_json:
        print_json(verification_json(found))
    else:
        print_gaps(found)
    if found.gaps:
        raise typer.Exit(1)


def verification_json(found: Verification) -> dict[str, Any]:
    """What was found, as `--json` prints it."""
    return {
        "videos": found.videos,
        "searchable": found.searchable,
        "gaps": [
            {**asdict(gap), "video": None if gap.video is None else str(gap.video)}
            for gap in found.gaps
        ],
    }


def print_gaps(found: Verification) -> None:
    """Each gap on a line, and how many videos can be searched."""
    for gap in found.gaps:
        named = gap.what if gap.video is None else f"{gap.video}: {gap.what}"
        if gap.video is not None and str(gap.video) == gap.what:
            named = gap.what
        # Some causes are errors, which say themselves what to do.
        remedy = "" if gap.remedy in gap.cause else f"; {gap.remedy}"
        out.print(f"{gap.kind}: {one_line(named)}: {one_line(gap.cause)}{remedy}")
    count = len(found.gaps)
    gaps = "no gap" if not count else "1 gap" if count == 1 else f"{count} gaps"
    out.print(f"{found.searchable} of {found.videos} videos are searchable, {gaps}")
