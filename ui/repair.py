"""`vidsift repair`: mend what `vidsift verify` finds wrong, and say what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from ui.options import DeviceOption, JsonOption, LibraryOption, WaitOption, say_waiting
from ui.terminal import err, one_line, out, print_json
from ui.verify import print_gaps, verification_json

if TYPE_CHECKING:
    from indexer import IndexProgress
    from indexer.repair import Repair

__all__ = ["repair"]


def repair(
    context: typer.Context,
    library: LibraryOption = None,
    device: DeviceOption = None,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Mend the library: index damaged videos anew, rebuild what can be, remove what is of no use.

    A video that is damaged and whose file is away is taken out of the search, with the reason. Exit
    code 1 if anything is left that could not be mended.
    """
    from indexer.repair import repair_at
    from ui.progress import share_shown

    with share_shown("mending", "reading all that is stored", err) as show:

        def indexing(progress: IndexProgress) -> None:
            show(progress.done_bytes / max(progress.total_bytes, 1))

        done = repair_at(
            library or context.obj,
            on_progress=show,
            on_index=indexing,
            wait=say_waiting if wait else None,
            device=device,
        )
    if as_json:
        print_json(_json(done))
    else:
        for line in done.done:
            out.print(one_line(line))
        for path, reason in done.taken_out:
            err.print(f"not searched: {one_line(path)}: {one_line(reason)}", style="yellow")
        print_gaps(done.left)
    if done.left.gaps:
        raise typer.Exit(1)


def _json(done: Repair) -> dict[str, Any]:
    return {
        "done": done.done,
        "taken_out": [{"video": str(path), "reason": reason} for path, reason in done.taken_out],
        **verification_json(done.left),
    }
