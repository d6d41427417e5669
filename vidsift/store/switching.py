"""The switch: the searched space and another one change places; or so in a copy of the catalog.

Nothing of either is lost, so that another switch takes it back. In the searched space vectors get
new ids, since a stored vector never changes under its id.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from vidsift.errors import SpaceError
from vidsift.store import seals
from vidsift.store.catalog import Catalog
from vidsift.store.connection import reading, writing
from vidsift.store.reader import CatalogReader
from vidsift.store.schema import (
    clip_vectors,
    clips,
    cues,
    library,
    metadata,
    space_clip_vectors,
    space_cue_vectors,
    space_videos,
    spaces,
    summaries,
    videos,
)
from vidsift.store.spaces import cues_without, holds, space_of, stamp_row

__all__ = ["LEFT_OUT", "Switched", "copy_switched", "switch"]

LEFT_OUT = "was left out when the encoder was changed; run `vidsift index` on it once more"
"""Reason of videos that were searched and are not in the space that is searched now."""

_ROWS = 1_000  # that are copied at a time
# What a search needs, but for the vectors, which are those of the other space.
_COPIED = ("library", "videos", "shots", "clips", "cues", "tags", "spaces")
_FILES = ("feature_file", "feature_sha256", "pictures_sha256")
_COPIED_OF_SPACE = (space_videos, space_clip_vectors, space_cue_vectors)


@dataclass(frozen=True, slots=True)
class Switched:
    """What a switch did: ids of videos that cannot be searched any more, and of those that can."""

    left_out: tuple[int, ...]
    back: tuple[int, ...]


def switch(catalog: Catalog, space_id: int, *, without_missing: bool = False) -> Switched:
    """Search a space from now on; the one that was searched takes its place. All of it or nothing.

    With `without_missing` videos that the space does not hold cannot be searched afterwards; what
    the other space has of them is kept, and a switch back brings them back.

    Raises:
        SpaceError: the space is not there, lacks lines of subtitles, or lacks videos that are
            searched without `without_missing`.
    """
    space_id = int(space_id)
    with writing(catalog._engine) as connection:
        _check_whole(connection, space_id, without_missing)
        # A switch must not make damage look whole: what did not fit its checksum still does not.
        # That of vectors goes with them; those of videos without any now are taken anew.
        ids = connection.execute(sa.select(videos.c.id).order_by(videos.c.id)).scalars().all()
        whole = _whole(connection, ids, parts=False)
        lacking = connection.execute(sa.select(videos.c.id).where(~holds(space_id))).scalars().all()
        emptied = whole & _whole(connection, lacking, parts=True)
        done = _exchange(connection, space_id, time.time())
        seals.take(connection, sorted(emptied))
        seals.renew(connection, sorted(whole - emptied))
    return done


def copy_switched(catalog: CatalogReader, space_id: int, url: str) -> None:
    """Make a catalog at `url`, which is empty, in which this space is the one that is searched.

    It holds what a search needs of the videos that are searched in both, and nothing else.
    """
    from vidsift.store.upgrade import upgrade  # alembic: not when merely searching

    upgrade(url)
    space_id = int(space_id)
    with (
        Catalog.open(url) as copy,
        catalog.snapshot(),
        reading(catalog._engine) as source,
        writing(copy._engine) as target,
    ):
        target.execute(library.delete())
        for name in _COPIED:
            table = metadata.tables[name]
            _copy(source, target, table, table.select())
        for table in _COPIED_OF_SPACE:
            _copy(source, target, table, table.select().where(table.c.space_id == space_id))
        _exchange(target, space_id, time.time())
        # What the checksums of rows were taken of is not all there.
        target.execute(videos.update().values(parts_sha256=seals.NOT_TAKEN, seal=seals.NOT_TAKEN))


def _copy(source: Connection, target: Connection, table: sa.Table, rows: sa.Select[Any]) -> None:
    streamed = source.execute(rows, execution_options={"yield_per": _ROWS})
    for part in streamed.mappings().partitions():
        target.execute(table.insert(), [dict(row) for row in part])


def _check_whole(connection: Connection, space_id: int, without_missing: bool) -> None:
    row = connection.execute(spaces.select().where(spaces.c.id == space_id)).one_or_none()
    if row is None:
        raise SpaceError("there is no such space; `vidsift migrate` lists those that there are")
    name = row.encoder_name
    again = f"run `vidsift migrate --encoder {name}` to add what is lacking"
    lines = connection.execute(cues_without(space_id).limit(1)).first()
    if lines is not None:
        raise SpaceError(f"{name}: its space lacks lines of subtitles; {again}")
    query = sa.select(videos.c.path).where(videos.c.status == "searchable", ~holds(space_id))
    paths = connection.execute(query.order_by(videos.c.path)).scalars().all()
    if paths and not without_missing:
        named = ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if paths[3:] else "")
        raise SpaceError(
            f"{name}: its space lacks {len(paths)} of the videos that are searched ({named});"
            f" {again}, or leave them out of the search with --without-missing"
        )


def _whole(connection: Connection, ids: Sequence[int], *, parts: bool) -> set[int]:
    found = seals.unfit(connection, ids, parts=parts)
    return {video_id for video_id, wrong in found.items() if not wrong}


def _exchange(connection: Connection, space_id: int, now: float) -> Switched:
    held = connection.execute(sa.select(videos.c.id).where(holds(space_id))).scalars()
    here = frozenset(held)
    entering = space_of(connection.execute(spaces.select().where(spaces.c.id == space_id)).one())
    leaving = connection.execute(sa.select(library)).one()
    # Both may be of one name, such as `builtin` before and after a new version of it.
    connection.execute(spaces.update().where(spaces.c.id == space_id).values(encoder_name=""))
    row = {name: leaving._mapping[name] for name in stamp_row(entering.stamp)}
    row |= {"created_at": now, "left_at": now}
    old_id = connection.execute(spaces.insert().values(row).returning(spaces.c.id)).scalar_one()
    _exchange_vectors(connection, space_id, old_id)
    done = _exchange_videos(connection, space_id, old_id, here)
    connection.execute(spaces.delete().where(spaces.c.id == space_id))
    connection.execute(
        library.update().values(
            **stamp_row(entering.stamp),
            generation=library.c.generation + 1,
            deletions=library.c.deletions + 1,
        )
    )
    return done


def _exchange_vectors(connection: Connection, space_id: int, old_id: int) -> None:
    newest = connection.execute(sa.select(sa.func.max(clip_vectors.c.id))).scalar() or 0
    aside, own = space_clip_vectors.c, clip_vectors.c
    entering = sa.select(aside.clip_id, aside.vector).where(aside.space_id == space_id)
    connection.execute(
        clip_vectors.insert().from_select(["clip_id", "vector"], entering.order_by(aside.id))
    )
    leaving = sa.select(sa.literal(old_id), own.clip_id, own.vector).where(own.id <= newest)
    columns = ["space_id", "clip_id", "vector"]
    connection.execute(space_clip_vectors.insert().from_select(columns, leaving.order_by(own.id)))
    connection.execute(clip_vectors.delete().where(own.id <= newest))

    lines = sa.select(sa.literal(old_id), cues.c.id, cues.c.vector)
    columns = ["space_id", "cue_id", "vector"]
    connection.execute(space_cue_vectors.insert().from_select(columns, lines))
    said = space_cue_vectors.c
    vector = sa.select(said.vector).where(said.space_id == space_id, said.cue_id == cues.c.id)
    connection.execute(cues.update().values(vector=vector.scalar_subquery()))


def _exchange_videos(
    connection: Connection, space_id: int, old_id: int, here: frozenset[int]
) -> Switched:
    chosen = space_videos.select().where(space_videos.c.space_id == space_id)
    entering = {row.video_id: row for row in connection.execute(chosen)}
    segments = _generic_segments(connection)
    counted = sa.select(clips.c.video_id, sa.func.count()).select_from(clip_vectors.join(clips))
    counts = {row[0]: row[1] for row in connection.execute(counted.group_by(clips.c.video_id))}
    left_out, back = [], []
    for video in connection.execute(videos.select().order_by(videos.c.id)).all():
        if video.feature_file:
            row = {
                "space_id": old_id,
                "video_id": video.id,
                "clips_sha256": video.parts_sha256,
                "segments": segments.get(video.id, (0, []))[1],
            }
            row |= {name: video._mapping[name] for name in _FILES}
            connection.execute(space_videos.insert(), row)
        values: dict[str, Any] = {"num_vectors": counts.get(video.id, 0)}
        if video.id in here:
            new = entering[video.id]
            values |= {name: new._mapping[name] for name in _FILES}
            values["parts_sha256"] = new.clips_sha256
            if video.id in segments:
                own = summaries.c.id == segments[video.id][0]
                connection.execute(summaries.update().where(own).values(segments=new.segments))
            if (video.status, video.reason) == ("missing", LEFT_OUT):
                values |= {"status": "searchable", "reason": ""}
                back.append(video.id)
        elif video.feature_file:
            values |= dict.fromkeys(_FILES, "") | {"parts_sha256": seals.NOT_TAKEN}
            if video.status == "searchable":
                values |= {"status": "missing", "reason": LEFT_OUT}
                left_out.append(video.id)
        connection.execute(videos.update().where(videos.c.id == video.id).values(values))
    return Switched(tuple(left_out), tuple(back))


def _generic_segments(connection: Connection) -> dict[int, tuple[int, list[Any]]]:
    """Of each video the id of the summary that indexing made, and its segments."""
    first = sa.select(sa.func.min(summaries.c.id)).where(summaries.c.query == "")
    query = summaries.select().where(summaries.c.id.in_(first.group_by(summaries.c.video_id)))
    return {row.video_id: (row.id, row.segments) for row in connection.execute(query)}
