"""Other spaces of features and vectors beside the one that is searched.

A space is what one encoder makes of the library's videos. Its clips are those of the space that is
searched, with the same ids; its own are the frames' features (a file a video), the vectors of clips
and of cues, and the segments of each video's generic summary. `vidsift.store.switching` lets the
searched space and another one change places.

Ids of clips are never used again, and the rows of a space go with the clips that they are of. So a
space holds a video if it has a row of it and a vector of each of its clips.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from jaxtyping import Float32
from sqlalchemy.engine import Connection

from vidsift.errors import LibraryChangedError, SpaceError
from vidsift.store import records, seals
from vidsift.store.catalog import Catalog
from vidsift.store.connection import reading, writing
from vidsift.store.reader import CatalogReader
from vidsift.store.schema import (
    clips,
    cues,
    shots,
    space_clip_vectors,
    space_cue_vectors,
    space_videos,
    spaces,
    videos,
)
from vidsift.types import ClipVectors, EncoderStamp, Summary, VideoRecord

__all__ = [
    "Space",
    "SpaceVideo",
    "all_spaces",
    "begin_space",
    "clips_of",
    "cues_without",
    "damaged_parts",
    "discard",
    "feature_files",
    "holds",
    "lacking_cues",
    "lacking_videos",
    "num_vectors",
    "put_cues",
    "put_video",
    "space_named",
    "space_of",
    "stamp_row",
    "videos_of_space",
]


# With nothing added, so that SQLite finds the vectors of a few clips by these, and does not look
# through all of the space's.
_of_space = space_clip_vectors.c.space_id + 0


@dataclass(frozen=True, slots=True)
class Space:
    """A space beside the one that is searched. Times are seconds of the epoch.

    `left_at` is when it was taken out of the search by a switch; None where it never was in it.
    """

    id: int
    stamp: EncoderStamp
    created_at: float
    left_at: float | None


@dataclass(frozen=True)
class SpaceVideo:
    """What a space holds of one video, its files being on disk already.

    `clips_sha256` (see `clips_of`) tells which clips `vectors` run parallel to; of the generic
    summary only the segments are kept.
    """

    video_id: int
    clips_sha256: str
    feature_file: str
    feature_sha256: str
    pictures_sha256: str
    summary: Summary
    vectors: Sequence[ClipVectors]


def all_spaces(catalog: CatalogReader) -> list[Space]:
    """All spaces but the one that is searched, the oldest first."""
    with reading(catalog._engine) as connection:
        return [space_of(row) for row in connection.execute(spaces.select().order_by(spaces.c.id))]


def begin_space(catalog: Catalog, stamp: EncoderStamp) -> Space:
    """The space of this encoder, made unless there is one.

    One that other weights of an encoder of this name made is of no more use and is dropped.

    Raises:
        SpaceError: the library is searched with this very encoder.
    """
    if catalog.stamp() == stamp:
        raise SpaceError(
            f"{stamp.name}: this library is searched with this encoder already;"
            " name another one with --encoder"
        )
    with writing(catalog._engine) as connection:
        same = connection.execute(
            spaces.select().where(spaces.c.encoder_name == stamp.name)
        ).first()
        if same is not None and space_of(same).stamp == stamp:
            return space_of(same)
        if same is not None:
            connection.execute(spaces.delete().where(spaces.c.id == same.id))
        row = stamp_row(stamp) | {"created_at": time.time(), "left_at": None}
        made = connection.execute(spaces.insert().values(row).returning(*spaces.c)).one()
        return space_of(made)


def discard(catalog: Catalog, space_id: int) -> None:
    """Drop a space; its files become orphans, which the next run that writes removes."""
    with writing(catalog._engine) as connection:
        connection.execute(spaces.delete().where(spaces.c.id == int(space_id)))


def clips_of(catalog: CatalogReader, video_id: int) -> str:
    """The checksum of a video's shots and clips as they are now; see `seals.clips_sha256`."""
    with reading(catalog._engine) as connection:
        return seals.clips_sha256(connection, video_id)


def put_video(catalog: Catalog, space_id: int, video: SpaceVideo) -> None:
    """Take a video into a space, in place of what that held of it.

    Raises:
        LibraryChangedError: its clips are not those any more that it was made of.
        SpaceError: the space was dropped.
    """
    chosen = sa.and_(
        space_videos.c.space_id == int(space_id), space_videos.c.video_id == int(video.video_id)
    )
    own = sa.select(clips.c.id).where(clips.c.video_id == int(video.video_id))
    with writing(catalog._engine) as connection:
        _require(connection, space_id)
        ids = connection.execute(own.order_by(clips.c.ordinal)).scalars().all()
        if (
            len(ids) != len(video.vectors)
            or seals.clips_sha256(connection, video.video_id) != video.clips_sha256
        ):
            raise LibraryChangedError("it was indexed anew meanwhile")
        connection.execute(space_videos.delete().where(chosen))
        connection.execute(
            space_clip_vectors.delete().where(
                _of_space == int(space_id), space_clip_vectors.c.clip_id.in_(own)
            )
        )
        rows = [
            {"space_id": int(space_id), "clip_id": clip_id, "vector": blob}
            for clip_id, vectors in zip(ids, video.vectors, strict=True)
            for blob in records.vector_blobs(vectors)
        ]
        connection.execute(space_clip_vectors.insert(), rows)
        row = {
            "space_id": int(space_id),
            "video_id": int(video.video_id),
            "clips_sha256": _parts_sha256(connection, int(space_id), int(video.video_id)),
            "feature_file": video.feature_file,
            "feature_sha256": video.feature_sha256,
            "pictures_sha256": video.pictures_sha256,
            "segments": records.summary_row(video.video_id, video.summary, 0.0)["segments"],
        }
        connection.execute(space_videos.insert(), row)


def lacking_videos(catalog: CatalogReader, space_id: int) -> list[VideoRecord]:
    """The videos that can be searched and that the space does not hold as they are, by path."""
    query = videos.select().where(videos.c.status == "searchable", ~holds(int(space_id)))
    with reading(catalog._engine) as connection:
        rows = connection.execute(query.order_by(videos.c.path))
        return [records.video_record(row) for row in rows]


def lacking_cues(catalog: CatalogReader, space_id: int) -> list[tuple[int, str]]:
    """The ids and texts of the cues of all videos that have no vector in the space."""
    with reading(catalog._engine) as connection:
        return [(row.id, row.text) for row in connection.execute(cues_without(int(space_id)))]


def put_cues(
    catalog: Catalog, space_id: int, ids: Sequence[int], vectors: Float32[np.ndarray, "m d"]
) -> None:
    """Keep the vectors (unit length) of those of these cues that are there and have none yet.

    Raises:
        SpaceError: the space was dropped.
    """
    blobs = [vector.tobytes() for vector in vectors.astype("<f2")]
    by_id = dict(zip(map(int, ids), blobs, strict=True))
    with writing(catalog._engine) as connection:
        _require(connection, space_id)
        lacking = connection.execute(cues_without(int(space_id)))
        rows = [
            {"space_id": int(space_id), "cue_id": row.id, "vector": by_id[row.id]}
            for row in lacking
            if row.id in by_id
        ]
        if rows:
            connection.execute(space_cue_vectors.insert(), rows)


def videos_of_space(catalog: CatalogReader, space_id: int) -> dict[int, str]:
    """The feature file of each video that the space holds as it is now, by the video's id."""
    query = sa.select(videos.c.id, space_videos.c.feature_file).join(
        space_videos, space_videos.c.video_id == videos.c.id
    )
    query = query.where(space_videos.c.space_id == int(space_id), holds(int(space_id)))
    with reading(catalog._engine) as connection:
        return {row.id: row.feature_file for row in connection.execute(query)}


def damaged_parts(catalog: CatalogReader, space_id: int) -> list[int]:
    """The videos that the space holds and whose vectors in it are not what was stored."""
    kept = sa.select(space_videos.c.video_id, space_videos.c.clips_sha256)
    kept = kept.where(space_videos.c.space_id == int(space_id))
    held = videos_of_space(catalog, space_id)
    with reading(catalog._engine) as connection:
        return [
            row.video_id
            for row in connection.execute(kept).all()
            if row.video_id in held
            and row.clips_sha256 != seals.NOT_TAKEN
            and row.clips_sha256 != _parts_sha256(connection, int(space_id), row.video_id)
        ]


def _parts_sha256(connection: Connection, space_id: int, video_id: int) -> str:
    """As `videos.parts_sha256`, with the vectors of the space."""
    vectors = (
        sa.select(clips.c.ordinal, space_clip_vectors.c.vector)
        .select_from(space_clip_vectors.join(clips))
        .where(clips.c.video_id == video_id, _of_space == space_id)
        .order_by(clips.c.ordinal, space_clip_vectors.c.id)
    )
    shot_rows, clip_rows = (
        connection.execute(
            table.select().where(table.c.video_id == video_id).order_by(table.c.ordinal)
        ).mappings()
        for table in (shots, clips)
    )
    of_clips = ((row.ordinal, row.vector) for row in connection.execute(vectors).all())
    return seals.parts_sha256(
        [dict(row) for row in shot_rows], [dict(row) for row in clip_rows], of_clips
    )


def num_vectors(catalog: CatalogReader, space_id: int) -> int:
    """How many vectors of clips the space holds."""
    chosen = space_clip_vectors.c.space_id == int(space_id)
    query = sa.select(sa.func.count()).select_from(space_clip_vectors).where(chosen)
    with reading(catalog._engine) as connection:
        return int(connection.execute(query).scalar_one())


def feature_files(catalog: CatalogReader) -> dict[str, str]:
    """The SHA-256 of every feature file that some space names, by the file's name."""
    query = sa.select(space_videos.c.feature_file, space_videos.c.feature_sha256)
    with reading(catalog._engine) as connection:
        return {row.feature_file: row.feature_sha256 for row in connection.execute(query)}


def space_named(catalog: CatalogReader, encoder_name: str) -> Space | None:
    """The space of the encoder of this name."""
    return next((each for each in all_spaces(catalog) if each.stamp.name == encoder_name), None)


def _require(connection: Connection, space_id: int) -> None:
    if connection.execute(spaces.select().where(spaces.c.id == int(space_id))).first() is None:
        raise SpaceError("the space was dropped meanwhile; run `vidsift migrate --encoder` again")


def holds(space_id: int) -> sa.ColumnElement[bool]:
    """Whether the space holds the video of the row of `videos` at hand, with its clips of now."""
    vector = sa.exists().where(
        space_clip_vectors.c.clip_id == clips.c.id, space_clip_vectors.c.space_id == space_id
    )
    without = sa.exists().where(clips.c.video_id == videos.c.id, ~vector)
    # Of a query that asks for the space's rows too, which are not the ones meant here.
    row = sa.exists().where(
        space_videos.c.video_id == videos.c.id, space_videos.c.space_id == space_id
    )
    row = row.correlate(videos)
    return sa.and_(row, videos.c.num_clips > 0, ~without)


def cues_without(space_id: int) -> sa.Select[Any]:
    """The cues that have no vector in the space: id and text."""
    vector = sa.exists().where(
        space_cue_vectors.c.cue_id == cues.c.id, space_cue_vectors.c.space_id == space_id
    )
    return sa.select(cues.c.id, cues.c.text).where(~vector).order_by(cues.c.id)


def stamp_row(stamp: EncoderStamp) -> dict[str, Any]:
    """The columns of `spaces` and `library` that tell the encoder."""
    return {f"encoder_{name}": value for name, value in asdict(stamp).items()}


def space_of(row: Any) -> Space:
    """A row of `spaces` as a value."""
    stamp = EncoderStamp(
        row.encoder_name,
        row.encoder_weights_sha256,
        row.encoder_dimension,
        row.encoder_preprocessing,
    )
    return Space(row.id, stamp, row.created_at, row.left_at)
