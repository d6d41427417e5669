"""`vidsift forget`: every trace of a video out of the library, and a search for what is left."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.options import JsonOption, LibraryOption, WaitOption, open_library
from ui.terminal import err, out, print_json
from vidsift.errors import VidsiftError

if TYPE_CHECKING:
    from indexer.forget import Forgotten
    from vidsift.types import VideoRecord

__all__ = ["forget"]


def forget(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[VIDEO]...",
            help="Paths, file names or ids; none: only finish what was cut off before",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether to go on")] = False,
    keep_out: Annotated[
        bool,
        typer.Option(
            "--keep-out",
            help="Remember a hash of the content, so that indexing its folder leaves it out",
        ),
    ] = False,
    also_trained: Annotated[
        bool,
        typer.Option(
            "--also-trained", help="Remove the library's trained poolers and saliencies, too"
        ),
    ] = False,
    questions: Annotated[
        bool, typer.Option("--questions", help="Forget all questions that were asked, too")
    ] = False,
    wait: WaitOption = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove every trace of videos from the library, and prove it. The files themselves stay.

    Rows, words, features, vectors, thumbnails, previews, summaries, alerts, and what runs and
    questions say of them. Then every file and row of the library is searched for pieces of what was
    there: exit code 1 if any is found. What was written elsewhere with --out is not known.
    """
    from indexer.forget import forget_videos
    from ui.progress import share_shown
    from vidsift.store import history

    with open_library(context, library, wait=wait) as opened:
        chosen = list({video.id: video for video in map(opened.video, names or ())}.values())
        if chosen and not yes:
            _confirm(chosen)
        if questions:
            err.print(f"{history.forget(opened.catalog)} questions are forgotten")
        with share_shown("forgetting", str(opened.root), err) as show:
            done = forget_videos(
                opened, chosen, also_trained=also_trained, kept_out=keep_out, progress=show
            )
        root = opened.root
    if done.proof is None:
        if as_json:
            print_json(_json(done))
        elif not questions:
            out.print(f"nothing to forget: name a video of {root}")
        return
    notes = _notes(done, keep_out, also_trained)
    if as_json:
        print_json(_json(done) | {"notes": notes})
    else:
        _print(done)
        for note in notes:
            err.print(f"note: {note}", style="yellow")
    if done.proof.traces:
        raise typer.Exit(1)


def _confirm(videos: list[VideoRecord]) -> None:
    for video in videos:
        err.print(f"{video.id}  {video.path}")
    what = "this video" if len(videos) == 1 else f"these {len(videos)} videos"
    if not sys.stdin.isatty():
        raise VidsiftError(f"forgetting {what} cannot be undone; say so with --yes")
    typer.confirm(f"Forget {what}? It cannot be undone.", abort=True, err=True)


def _notes(done: Forgotten, kept_out: bool, also_trained: bool) -> list[str]:
    """What a person must know who wants a video to be forgotten."""
    there = [path for path in done.videos if os.path.lexists(path)]
    notes = []
    if there and not kept_out:
        notes.append(
            "still on the disk, and indexed again when their folder is:"
            f" {', '.join(map(str, there))}; move them away, or forget them with --keep-out"
        )
    elif there:
        notes.append(
            "still on the disk, and left out when their folder is indexed, by a hash in"
            f" kept-out.txt: {', '.join(map(str, there))}"
        )
    if done.copies:
        notes.append(
            "the same content is still indexed, and so its hash is known, as"
            f" {', '.join(map(str, done.copies))}; forget these too if you mean them"
        )
    if done.learned:
        notes.append(
            "trained models may have learned from it:"
            f" {', '.join(map(str, done.learned))}; train them again, or delete them"
        )
    elif also_trained:
        notes.append("models trained elsewhere (--out) may have learned from it")
    notes.append(
        "not known, and not touched: what was written elsewhere with --out, backups of the library"
        " or of a database server and its logs, and blocks of the disk that deleted files leave"
    )
    return notes


def _json(done: Forgotten) -> dict[str, Any]:
    proof = done.proof
    return {
        "forgotten": [str(path) for path in done.videos],
        "rows": done.rows,
        "files": done.files,
        "bytes": done.bytes_removed,
        "searched": None
        if proof is None
        else {
            "files": proof.files,
            "bytes": proof.bytes_read,
            "rows": proof.rows,
            "for": dict(proof.looked_for),
            "shared": dict(proof.shared),
        },
        "traces": []
        if proof is None
        else [{"where": trace.where, "what": trace.what} for trace in proof.traces],
    }


def _print(done: Forgotten) -> None:
    proof = done.proof
    assert proof is not None  # noqa: S101 - asked before
    for path in done.videos:
        out.print(f"forgotten: {path}")
    out.print(f"removed    {_listed(done.rows)} (rows); {done.files} files")
    out.print(
        f"searched   {proof.files} files ({proof.bytes_read / 1e6:.1f} MB) and {proof.rows} rows"
        f" for {_listed(proof.looked_for)}"
    )
    if proof.shared:
        out.print(f"shared     with other videos, and so no trace: {_listed(proof.shared)}")
    for trace in proof.traces:
        out.print(f"trace      {trace.where}: {trace.what}", style="red")
    if not proof.traces:
        out.print("no trace")


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
