"""Rows of the catalog as values, and values as rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from jaxtyping import Float32

from vidsift.errors import DamagedLibraryError
from vidsift.store import schema
from vidsift.store.folding import fold
from vidsift.types import (
    Clip,
    ClipRecord,
    ClipVectors,
    Cue,
    CueRecord,
    Fingerprint,
    IndexedVideo,
    SaliencyTerm,
    Segment,
    Span,
    Summary,
    VideoProbe,
    VideoRecord,
)

__all__ = [
    "CLIP_COLUMNS",
    "SPEECH_TRACK",
    "Generation",
    "RunRecord",
    "clip_record",
    "cue_record",
    "cue_rows",
    "failed_row",
    "fingerprint_row",
    "is_speech",
    "summary_of",
    "summary_row",
    "vector_blobs",
    "vectors_of",
    "video_record",
    "video_row",
]

SPEECH_TRACK = "speech"
"""Tracks of what a speech model heard: this, a space and the language. No subtitles have it."""


@dataclass(frozen=True, slots=True)
class Generation:
    """Which state of the searchable vectors this is.

    `generation` counts every commit that changed them, `deletions` those of it after which a copy
    is wrong in more than lacking the newest ids: something was removed, or came back. `left_out`
    are the ids of videos that this process does not search, since they are damaged.
    """

    library_id: str
    generation: int
    deletions: int
    left_out: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of indexing; `finished_at` is None while it runs or where it was cut off."""

    id: int
    started_at: float
    finished_at: float | None
    report: dict[str, Any]


CLIP_COLUMNS = (
    schema.clips.c.id,
    schema.clips.c.video_id,
    schema.videos.c.path,
    schema.clips.c.ordinal,
    schema.clips.c.shot_ordinal,
    schema.clips.c.start_seconds,
    schema.clips.c.end_seconds,
    schema.clips.c.first_frame,
    schema.clips.c.num_frames,
    schema.clips.c.pts_seconds,
    schema.videos.c.feature_file,
)


_CUE_COLUMNS = tuple(
    schema.cues.c[name]
    for name in ("id", "video_id", "ordinal", "start_seconds", "end_seconds", "text", "track")
)
_KINDS: dict[str, type] = {
    "BigInteger": int,
    "Boolean": bool,
    "Double": float,
    "EscapedText": str,
    "Integer": int,
    "LargeBinary": bytes,
    "String": str,
    "Text": str,
}


def clip_record(row: Any) -> ClipRecord:
    """A row of CLIP_COLUMNS as a value.

    Raises:
        DamagedLibraryError: it holds what no clip has.
    """
    _check(CLIP_COLUMNS, row)
    clip_id, video_id, path, ordinal, shot, start, end, first_frame, num_frames, pts, file = row
    try:
        clip = Clip(Span(start, end), shot, first_frame, num_frames)
        times = np.frombuffer(pts, "<f8")
    except ValueError as error:
        raise _damaged("clips", error) from error
    if len(times) != num_frames:
        raise _damaged("clips", f"{len(times)} times of {num_frames} frames")
    return ClipRecord(clip_id, video_id, Path(path), ordinal, clip, times, file)


def video_record(row: Any) -> VideoRecord:
    """A row of `videos` as a value; a failed video where it holds what no video has."""
    try:
        _check(tuple(schema.videos.c), row)
        return _video_record(row)
    except (DamagedLibraryError, ZeroDivisionError):
        return VideoRecord(
            id=row.id,
            path=Path(str(row.path)),
            status="failed",
            reason="its entry in the catalog is damaged; run `vidsift repair`",
            note="",
            fingerprint=Fingerprint(0, 0, ""),
            duration_seconds=0.0,
            width=0,
            height=0,
            frame_rate=Fraction(0),
            codec="",
            has_audio=False,
            num_frames=0,
            num_clips=0,
            feature_file="",
            indexed_at=0.0,
        )


def _video_record(row: Any) -> VideoRecord:
    return VideoRecord(
        id=row.id,
        path=Path(row.path),
        status=row.status,
        reason=row.reason,
        note="; ".join(filter(None, (row.note, row.subtitles_note))),
        fingerprint=Fingerprint(row.size_bytes, row.mtime_ns, row.sha256),
        duration_seconds=row.duration_seconds,
        width=row.width,
        height=row.height,
        frame_rate=Fraction(row.frame_rate_numerator, row.frame_rate_denominator),
        codec=row.codec,
        has_audio=row.has_audio,
        num_frames=row.num_frames,
        num_clips=row.num_clips,
        feature_file=row.feature_file,
        indexed_at=row.indexed_at,
    )


def video_row(
    indexed: IndexedVideo, feature_file: str, feature_sha256: str, now: float
) -> dict[str, Any]:
    """The columns of `videos`, all but the id, for a video that can be searched."""
    return (
        {"path": str(indexed.probe.path), "status": "searchable", "reason": ""}
        | {"note": indexed.note, "indexed_at": now}
        | fingerprint_row(indexed.fingerprint)
        | _probe_row(indexed.probe)
        | {
            "duration_seconds": indexed.duration_seconds,
            "num_frames": len(indexed.features),
            "num_clips": len(indexed.clips),
            "num_vectors": sum(len(vectors.vectors) for vectors in indexed.vectors),
            "feature_file": feature_file,
            "feature_sha256": feature_sha256,
            "subtitles": indexed.subtitles,
            "subtitles_note": indexed.subtitles_note,
            "speech": "",
            "pictures_sha256": "",
            "parts_sha256": "",
            "seal": "",
        }
    )


def failed_row(
    path: Path, fingerprint: Fingerprint | None, reason: str, now: float
) -> dict[str, Any]:
    """The columns of `videos`, all but the id, for a file that could not be indexed."""
    return (
        {"path": str(path), "status": "failed", "reason": reason, "note": "", "indexed_at": now}
        | fingerprint_row(fingerprint or Fingerprint(0, 0, ""))
        | {"width": 0, "height": 0, "frame_rate_numerator": 0, "frame_rate_denominator": 1}
        | {"codec": "", "has_audio": False, "duration_seconds": 0.0}
        | {"num_frames": 0, "num_clips": 0, "num_vectors": 0}
        | {"feature_file": "", "feature_sha256": "", "subtitles": "", "subtitles_note": ""}
        | {"speech": "", "pictures_sha256": "", "parts_sha256": "", "seal": ""}
    )


def fingerprint_row(fingerprint: Fingerprint) -> dict[str, Any]:
    """The columns that tell one version of a file from another."""
    return {
        "size_bytes": fingerprint.size_bytes,
        "mtime_ns": fingerprint.mtime_ns,
        "sha256": fingerprint.sha256,
    }


def _probe_row(probe: VideoProbe) -> dict[str, Any]:
    return {
        "width": probe.width,
        "height": probe.height,
        "frame_rate_numerator": probe.frame_rate.numerator,
        "frame_rate_denominator": probe.frame_rate.denominator,
        "codec": probe.codec,
        "has_audio": probe.has_audio,
    }


def summary_row(video_id: int, summary: Summary, now: float) -> dict[str, Any]:
    """The columns of `summaries`, all but the id."""
    return {
        "video_id": video_id,
        "query": summary.query,
        "query_sha256": sha256(summary.query.encode("utf-8", "surrogatepass")).hexdigest(),
        "budget_seconds": summary.budget_seconds,
        "created_at": now,
        "matched": summary.matched,
        "segments": [
            [s.span.start, s.span.end, s.saliency, [[t.name, t.value, t.weight] for t in s.terms]]
            for s in summary.segments
        ],
    }


def summary_of(row: Any) -> Summary:
    """A row of `summaries` as a value.

    Raises:
        DamagedLibraryError: it holds what no summary has.
    """
    _check(
        (schema.summaries.c.query, schema.summaries.c.budget_seconds),
        (row.query, row.budget_seconds),
    )
    try:
        segments = tuple(_segment(*each) for each in row.segments)
        return Summary(row.query, segments, row.budget_seconds, row.matched)
    except (TypeError, ValueError) as error:
        raise _damaged("summaries", error) from error


def _segment(start: float, end: float, saliency: float, terms: Sequence[Any] = ()) -> Segment:
    # Summaries of schema 0002 have no terms.
    return Segment(Span(start, end), saliency, tuple(SaliencyTerm(*term) for term in terms))


def cue_rows(
    video_id: int, cues: Sequence[Cue], vectors: Float32[np.ndarray, "m d"] | None
) -> list[dict[str, Any]]:
    """The columns of `cues`, all but the id, for each cue of a video with its vector."""
    blobs = [] if vectors is None else [vector.tobytes() for vector in vectors.astype("<f2")]
    return [
        {
            "video_id": video_id,
            "ordinal": ordinal,
            "track": cue.track,
            "start_seconds": cue.span.start,
            "end_seconds": cue.span.end,
            "text": cue.text,
            "words": fold(cue.text),
            "vector": blob,
        }
        for ordinal, (cue, blob) in enumerate(zip(cues, blobs, strict=True))
    ]


def is_speech(track: str) -> bool:
    """Whether cues of this track were heard by a speech model, not read from subtitles."""
    return track.partition(" ")[0] == SPEECH_TRACK


def cue_record(row: Any) -> CueRecord:
    """A row of `cues` as a value.

    Raises:
        DamagedLibraryError: it holds what no cue has.
    """
    values = row.id, row.video_id, row.ordinal, row.start_seconds, row.end_seconds
    _check(_CUE_COLUMNS, (*values, row.text, row.track))
    try:
        span = Span(row.start_seconds, row.end_seconds)
        return CueRecord(row.id, row.video_id, row.ordinal, Cue(span, row.text, row.track))
    except ValueError as error:
        raise _damaged("cues", error) from error


def vector_blobs(vectors: ClipVectors) -> list[bytes]:
    """Each of the k vectors as little-endian float16, as the catalog keeps it."""
    return [vector.tobytes() for vector in vectors.vectors.astype("<f2")]


def vectors_of(blobs: list[bytes]) -> Float32[np.ndarray, "n d"]:
    """What `vector_blobs` wrote; all of one dimension.

    Raises:
        DamagedLibraryError: they are not.
    """
    if any(not isinstance(blob, bytes) or len(blob) != len(blobs[0]) for blob in blobs):
        raise _damaged("vectors", "they are not of one length")
    return np.frombuffer(b"".join(blobs), "<f2").reshape(len(blobs), -1).astype(np.float32)


def _check(columns: Sequence[sa.Column[Any]], values: Sequence[Any]) -> None:
    """What a database gives back is what was stored, unless it is damaged: SQLite takes any."""
    for column, value in zip(columns, values, strict=True):
        kind = _KINDS.get(type(column.type).__name__, object)
        if not isinstance(value, kind) or (isinstance(value, float) and not math.isfinite(value)):
            raise _damaged(column.table.name, f"{value!r} as {column.name}"[:80])


def _damaged(table: str, what: object) -> DamagedLibraryError:
    return DamagedLibraryError(
        f"the catalog is damaged: a row of {table} holds {what}; run `vidsift repair`"
    )
