"""`vidsift transcribe`: write down what is said in videos that have no subtitles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.options import DeviceOption, JsonOption, LibraryOption, WaitOption, open_library
from ui.terminal import err, out, print_json
from vidsift.errors import QueryError
from vidsift.paths import expanded

if TYPE_CHECKING:
    from indexer.transcribe import TranscribeProgress, TranscribeReport

__all__ = ["transcribe"]


def transcribe(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="VIDEO", help="Path, file name or id of indexed videos"),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All videos of the library")] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Size (small ...), ORG/NAME, or a folder of a Whisper"),
    ] = None,
    language: Annotated[
        str | None, typer.Option("--language", help="Spoken language (en, de ...); else told")
    ] = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Also what has subtitles or was transcribed before"),
    ] = False,
    srt: Annotated[
        Path | None,
        typer.Option("--srt", metavar="DIR", help="Write what was heard as SRT files, too"),
    ] = None,
    fetch: Annotated[
        str | None,
        typer.Option("--fetch", metavar="NAME", help="Download a model, which needs a network"),
    ] = None,
    device: DeviceOption = None,
    library: LibraryOption = None,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write down what is said in videos without subtitles; it is then searched like these.

    Exit code 1 if some videos could not be used; each is named with its reason.
    """
    from indexer.transcribe import transcribe_videos, write_transcripts
    from ui.progress import share_shown
    from vidsift.models.speech import fetch_speech, open_speech

    if fetch is not None:
        err.print(f"fetching the speech model {fetch}")
        err.print(f"{fetch} can be used now: {fetch_speech(fetch)}")
        if not names and not every:
            return
    if bool(names) == every:
        raise QueryError("name the videos to transcribe, or --all")
    folder = expanded(srt).absolute() if srt is not None else None
    with open_library(context, library, wait=wait, device=device) as opened:
        chosen = (
            opened.catalog.videos("searchable") if every else [opened.video(n) for n in names or ()]
        )
        settings = opened.settings
        speech = open_speech(model or fetch or settings.speech_model, device=settings.device)
        try:
            with share_shown("transcribing", f"{len(chosen)} videos", err) as show:

                def tell(progress: TranscribeProgress) -> None:
                    show(progress.done_seconds / max(progress.total_seconds, 1e-9))

                report = transcribe_videos(
                    opened, chosen, model=speech, language=language, again=again, on_progress=tell
                )
        finally:
            speech.close()
        written = [] if folder is None else write_transcripts(opened, chosen, folder)
    if as_json:
        print_json(_json(report, speech.name, written))
    else:
        _print(report, written)
    if report.failed:
        raise typer.Exit(1)


def _json(report: TranscribeReport, model: str, written: list[Path]) -> dict[str, Any]:
    return {
        "model": model,
        "transcribed": [
            {
                "video_id": each.video.id,
                "video": str(each.video.path),
                "lines": each.num_lines,
                "language": each.language,
            }
            for each in report.transcribed
        ],
        "skipped": _named(report.skipped),
        "failed": _named(report.failed),
        "srt": [str(path) for path in written],
        "seconds": round(report.seconds, 3),
        "video_seconds": round(report.video_seconds, 3),
    }


def _named(videos: list[Any]) -> list[dict[str, Any]]:
    return [
        {"video_id": video.id, "video": str(video.path), "reason": reason}
        for video, reason in videos
    ]


def _print(report: TranscribeReport, written: list[Path]) -> None:
    for video, reason in report.skipped:
        err.print(f"left as it is: {video.path}: {reason}")
    for video, reason in report.failed:
        err.print(f"skipped: {video.path}: {reason}", style="red")
    for each in report.transcribed:
        said = f"{each.num_lines} lines, {each.language}" if each.num_lines else "nothing is said"
        out.print(f"{each.video.path}: {said}")
    for path in written:
        out.print(f"wrote {path}")
    took = ""
    if report.transcribed:
        speed = report.video_seconds / report.seconds
        took = (
            f" ({report.video_seconds:.0f} s of video in {report.seconds:.1f} s,"
            f" {speed:.1f}x real time)"
        )
    out.print(
        f"{len(report.transcribed)} transcribed{took}, {len(report.skipped)} left as they are,"
        f" {len(report.failed)} skipped."
    )
