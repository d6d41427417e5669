"""The manifest of a skim: JSON that says what it holds and why, and from which it is made again."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from summarizer.skim import Skim, SkimPart
from summarizer.skim_reasons import skim_reasons
from summarizer.sources import source_problem
from vidsift import __version__
from vidsift.errors import SummaryError
from vidsift.library import Library
from vidsift.paths import expanded
from vidsift.types import SaliencyTerm, Segment, Span, VideoRecord

__all__ = ["read_manifest", "skim_from_manifest", "summary_json"]

# Settings that change what is chosen, or how it is rendered.
_SETTINGS = ("summary_selection", "min_segment_seconds", "saliency", "crossfade_seconds")
# The formats that were there first have names of their own among the files.
_FILE_KEYS = {"mp4": "video", "png": "storyboard"}
_BLURRED = "people, best effort"
_MOST_BYTES = 50_000_000
_SLACK_SECONDS = 1e-3


def summary_json(
    library: Library, skim: Skim, files: Mapping[str, Path] | None = None
) -> dict[str, Any]:
    """The skim as `vidsift summarize --json` prints it and as its manifest holds it.

    `video_id` and `video` are those of the only video, null where there are several. Times are
    not rounded, so that the spans of a skim that is made from it again are equal bit by bit.
    `blurred` is there where people are blurred, and says that this is best effort.
    """
    (video_id, video) = (None, None)
    if len(skim.videos) == 1:
        video_id, video = skim.videos[0].id, str(skim.videos[0].path)
    stamp = library.catalog.stamp()
    return {
        "vidsift": __version__,
        "video_id": video_id,
        "video": video,
        "title": skim.title,
        "query": skim.query,
        "matched": skim.matched,
        "budget_seconds": skim.budget_seconds,
        "duration_seconds": round(skim.duration_seconds, 3),
        "encoder": stamp.name if stamp else None,
        "settings": {key: getattr(library.settings, key) for key in _SETTINGS},
        "videos": [
            {
                "video_id": each.id,
                "video": str(each.path),
                "sha256": each.fingerprint.sha256,
                "size_bytes": each.fingerprint.size_bytes,
                "duration_seconds": each.duration_seconds,
            }
            for each in skim.videos
        ],
        "segments": [
            _segment_json(part, why)
            for part, why in zip(skim.parts, skim_reasons(library, skim), strict=True)
        ],
        **({"blurred": _BLURRED} if skim.blur_people else {}),
        "files": {_FILE_KEYS.get(name, name): str(path) for name, path in (files or {}).items()},
    }


def _segment_json(part: SkimPart, why: str) -> dict[str, Any]:
    segment = part.segment
    return {
        "video_id": part.video.id,
        "start_seconds": segment.span.start,
        "end_seconds": segment.span.end,
        "saliency": segment.saliency,
        "terms": [
            {"name": term.name, "value": term.value, "weight": term.weight}
            for term in segment.terms
        ],
        "reason": why,
    }


def read_manifest(path: Path) -> dict[str, Any]:
    """What `summary_json` wrote to `path`.

    Raises:
        SummaryError: it is not there, cannot be read, or is no manifest.
    """
    path = expanded(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SummaryError(f"{path}: is too large to be a manifest of vidsift")
        read = json.loads(path.read_bytes())
    except OSError as error:
        raise SummaryError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SummaryError(f"{path}: is no JSON, and so no manifest of vidsift") from error
    keys = ("vidsift", "video", "query", "budget_seconds", "settings", "videos", "segments")
    lacking = [key for key in keys if not isinstance(read, dict) or key not in read]
    if lacking:
        raise SummaryError(
            f"{path}: is no manifest of a summary: it lacks {', '.join(lacking)};"
            " name a file that `vidsift summarize --format json` wrote"
        )
    if not isinstance(read["settings"], dict):
        raise SummaryError(f"{path}: is a damaged manifest (settings); make it again")
    return dict(read)


def skim_from_manifest(library: Library, path: Path) -> Skim:
    """The very skim that a manifest describes, whatever would be chosen now.

    A video is known by its content, wherever it lies now and whatever it is called.

    Raises:
        SummaryError: it is no manifest, or one of its videos has changed or is not in the library.
    """
    read = read_manifest(path)
    try:
        videos = {int(each["video_id"]): _video(library, path, each) for each in read["videos"]}
        parts = tuple(
            SkimPart(videos[int(each["video_id"])], _segment(each)) for each in read["segments"]
        )
        matched = read.get("matched")
        budget = _number(read["budget_seconds"])
        if not parts or budget <= 0:
            raise ValueError("no segments, or no budget")
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise SummaryError(
            f"{path}: is a damaged manifest ({type(error).__name__}: {error}); make it again"
        ) from error
    for part in parts:
        if part.segment.span.end > part.video.duration_seconds + _SLACK_SECONDS:
            raise SummaryError(
                f"{path}: is a damaged manifest: {part.video.path.name} ends before"
                f" {part.segment.span.end:g} s; make it again"
            )
    title = str(read.get("title", ""))
    if title in ("", Path(str(read["video"])).name):  # of that one video, which may be called anew
        title = parts[0].video.path.name
    return Skim(
        title,
        str(read["query"]),
        parts,
        budget,
        matched if isinstance(matched, bool) else None,
        # Whatever else it may say there, nothing less is meant.
        blur_people=bool(read.get("blurred")),
    )


def _video(library: Library, manifest: Path, described: Mapping[str, Any]) -> VideoRecord:
    """The video of this content: at its old path, else wherever it is in the library."""
    sha256, old = str(described["sha256"]), str(described["video"])
    alike = [video for video in library.catalog.videos_by_sha256(sha256) if video.num_clips]
    if alike:
        found = min(alike, key=lambda video: (bool(source_problem(video)), str(video.path) != old))
        if os.path.lexists(found.path) and (problem := source_problem(found)):
            raise SummaryError(f"{manifest}: {found.path} {problem}, or put the old file back")
        return found
    if library.catalog.video_by_path(Path(old)) is not None:
        raise SummaryError(
            f"{manifest}: {old} has changed since the manifest was written;"
            " put the old file back and index it, or make a new summary"
        )
    raise SummaryError(
        f"{manifest}: {old} is not in {library.root}, nor is a video of its content;"
        " index it, or name the library with --library"
    )


def _segment(described: Mapping[str, Any]) -> Segment:
    terms = tuple(
        SaliencyTerm(str(term["name"]), _number(term["value"]), _number(term["weight"]))
        for term in described.get("terms", ())
    )
    span = Span(_number(described["start_seconds"]), _number(described["end_seconds"]))
    return Segment(span, _number(described["saliency"]), terms)


def _number(value: Any) -> float:
    if not math.isfinite(number := float(value)):
        raise ValueError(f"{value} is no number")
    return number
