"""The cues of a video: first those of its subtitles, then those that a speech model heard.

Each kind gives way to its own alone, but for one case: subtitles that are a transcript of what was
heard, such as `vidsift transcribe --srt` writes, stand in place of it. Else each line stood twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from vidsift.store import records
from vidsift.store.schema import cues, videos

__all__ = ["Rows", "heard_before", "heard_rows", "is_transcript", "put_cues", "read_rows"]

Rows: TypeAlias = list[dict[str, Any]]
"""Rows of `cues` without their ids, in order."""


def read_rows(connection: Connection, video_id: int) -> Rows:
    """Those of the video's subtitles."""
    return [row for row in _rows(connection, video_id) if not records.is_speech(row["track"])]


def heard_rows(connection: Connection, video_id: int) -> Rows:
    """Those that a speech model heard in the video."""
    return [row for row in _rows(connection, video_id) if records.is_speech(row["track"])]


def heard_before(connection: Connection, path: str, sha256: str) -> tuple[str, Rows]:
    """The speech model and what it heard, where this content was transcribed before."""
    same = sa.and_(videos.c.path == path, videos.c.sha256 == sha256, videos.c.speech != "")
    video = connection.execute(sa.select(videos.c.id, videos.c.speech).where(same)).one_or_none()
    return ("", []) if video is None else (video.speech, heard_rows(connection, video.id))


def is_transcript(read: Rows, heard: Rows) -> bool:
    """Whether subtitles say half of what was heard, or more, in the same words at the same time.

    Half, because people correct what they were given.
    """
    times: dict[str, list[tuple[float, float]]] = {}
    for row in read:
        times.setdefault(row["words"], []).append((row["start_seconds"], row["end_seconds"]))
    said = sum(
        any(
            2 * (min(end, row["end_seconds"]) - max(start, row["start_seconds"]))
            >= row["end_seconds"] - row["start_seconds"]
            for start, end in times.get(row["words"], ())
        )
        for row in heard
    )
    return bool(heard) and 2 * said >= len(heard)


def put_cues(connection: Connection, video_id: int, rows: Sequence[dict[str, Any]]) -> None:
    """Write these rows, in this order, in place of the video's cues."""
    connection.execute(cues.delete().where(cues.c.video_id == int(video_id)))
    if rows:
        numbered = [{**row, "ordinal": place} for place, row in enumerate(rows)]
        connection.execute(cues.insert(), numbered)


def _rows(connection: Connection, video_id: int) -> Rows:
    columns = [column for column in cues.c if column.name != "id"]
    query = sa.select(*columns).where(cues.c.video_id == int(video_id)).order_by(cues.c.ordinal)
    return [dict(row) for row in connection.execute(query).mappings()]
