"""Changes to a catalog that mend it: what is damaged is set aside, what is whole is sealed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from vidsift.store import records, seals
from vidsift.store.catalog import Catalog
from vidsift.store.connection import writing
from vidsift.store.schema import (
    clips,
    cues,
    library,
    shots,
    space_clip_vectors,
    space_videos,
    summaries,
    unescaped,
    videos,
)
from vidsift.types import Fingerprint

__all__ = ["drop_from_spaces", "set_aside", "take_checksums"]

_KINDS = {"path": str, "speech": str, "size_bytes": int, "mtime_ns": int, "sha256": str}
_OF_FILE = {"size_bytes", "mtime_ns", "sha256"}


def set_aside(
    catalog: Catalog, video_id: int, reason: str, fingerprint: Fingerprint | None
) -> None:
    """Take a damaged video out of the search and drop what was computed from its pictures.

    It is then missing, for this reason, so that indexing its file computes all of it anew; its id,
    its tags and what was transcribed stay. `fingerprint` is that of its file, if it is there.
    """
    own = int(video_id)
    with writing(catalog._engine) as connection:
        for parts in (shots, clips, summaries):
            connection.execute(parts.delete().where(parts.c.video_id == own))
        track = cues.c.track
        heard = (track == records.SPEECH_TRACK) | track.startswith(f"{records.SPEECH_TRACK} ")
        connection.execute(cues.delete().where(cues.c.video_id == own, ~heard))
        row = records.failed_row(Path(), fingerprint, reason, time.time()) | {"status": "missing"}
        kept = _readable(connection, own)
        if fingerprint is not None:
            kept = {name: value for name, value in kept.items() if name not in _OF_FILE}
        connection.execute(videos.update().where(videos.c.id == own).values(row | kept))
        seals.take(connection, [own])
        _bump(connection)


def take_checksums(catalog: Catalog, video_id: int, pictures_sha256: str) -> None:
    """Take the checksums of a video that was indexed before there were any.

    Only of one that was found to fit together: what is there now counts as what was stored.
    """
    with writing(catalog._engine) as connection:
        chosen = videos.update().where(videos.c.id == int(video_id))
        connection.execute(chosen.values(pictures_sha256=pictures_sha256))
        seals.take(connection, [video_id])


def drop_from_spaces(catalog: Catalog, feature_file: str) -> None:
    """Forget what other spaces hold under this file; `vidsift migrate` makes it anew."""
    named = space_videos.c.feature_file == feature_file
    with writing(catalog._engine) as connection:
        for row in connection.execute(space_videos.select().where(named)).all():
            own = sa.select(clips.c.id).where(clips.c.video_id == row.video_id)
            connection.execute(
                space_clip_vectors.delete().where(
                    space_clip_vectors.c.space_id == row.space_id,
                    space_clip_vectors.c.clip_id.in_(own),
                )
            )
        connection.execute(space_videos.delete().where(named))


def _readable(connection: Connection, video_id: int) -> dict[str, Any]:
    """What a row says that is kept, as far as it can be what it says."""
    columns = (seals.raw(videos.c[name]) for name in _KINDS)
    row = connection.execute(sa.select(*columns).where(videos.c.id == video_id)).mappings().one()
    kept = {name: row[name] for name, kind in _KINDS.items() if isinstance(row[name], kind)}
    path = kept.get("path", "")
    return kept | {"path": unescaped(path) or f"unknown-{video_id}"}


def _bump(connection: Connection) -> None:
    connection.execute(
        library.update().values(
            generation=library.c.generation + 1, deletions=library.c.deletions + 1
        )
    )
