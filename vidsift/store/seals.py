"""Checksums of what the catalog holds of a video, so that damage is noticed before it is served.

Two a video, both SHA-256, the same whichever database holds the rows:

- `parts_sha256`, over its shots, its clips with the times of their frames, and their vectors. Taken
  when the video is committed, from what is written; these rows never change until it is indexed
  anew.
- `seal`, over its row of `videos` (all columns but the seal, so the other checksums too), its cues,
  summaries and tags. Renewed inside each transaction that changes any of these, by `resealed`; but
  not where the old one did not fit: a change must not make damage look whole.

Canonical form: numbers of a fixed width, floats bit by bit, for parts; JSON in ASCII for what has
text. Ids of clips, vectors and cues do not count: they say nothing of the content. Empty means not
yet taken, as in a library of before schema 0004: `take` does it.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, SupportsIndex

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from vidsift.store.schema import clip_vectors, clips, cues, shots, summaries, tags, videos

__all__ = [
    "NOT_TAKEN",
    "Parts",
    "batches",
    "clips_sha256",
    "files_sha256",
    "fit",
    "folder_sha256",
    "parts_sha256",
    "read_parts",
    "renew",
    "resealed",
    "take",
    "unfit",
]

NOT_TAKEN = ""
_IN_LIST = 900
# Vectors of the videos that are looked at in one go: about 16 MB.
_VECTORS_AT_A_TIME = 20_000

_SHOT = struct.Struct("<qdd")
_CLIP = struct.Struct("<qqddqqq")
_VECTOR = struct.Struct("<qq")


class Parts(NamedTuple):
    """Rows as the database gives them, whatever they hold: in a damaged one that may be anything.

    `vectors` have their clip's ordinal before them.
    """

    shots: list[dict[str, Any]]
    clips: list[dict[str, Any]]
    vectors: list[tuple[Any, Any]]

    def checksum(self) -> str:
        """Their `parts_sha256`; of what cannot have one, `damaged`."""
        try:
            return parts_sha256(self.shots, self.clips, self.vectors)
        except (struct.error, TypeError):  # a number that is none, bytes that are none
            return "damaged"


def raw(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """The column as the driver gives it: damaged values must not fail to be converted."""
    return sa.type_coerce(column, sa.types.NullType()).label(column.name)


def _columns(table: sa.Table, *without: str) -> tuple[sa.ColumnElement[Any], ...]:
    return tuple(raw(column) for column in table.c if column.name not in without)


_ROWS = {
    "shots": sa.select(*_columns(shots)).order_by(shots.c.video_id, shots.c.ordinal),
    "clips": sa.select(*_columns(clips)).order_by(clips.c.video_id, clips.c.ordinal, clips.c.id),
    "vectors": sa.select(clips.c.video_id, raw(clips.c.ordinal), raw(clip_vectors.c.vector))
    .select_from(clip_vectors.join(clips))
    .order_by(clips.c.video_id, clips.c.ordinal, clip_vectors.c.id),
    "videos": sa.select(*_columns(videos)).order_by(videos.c.id),
    "cues": sa.select(*_columns(cues, "id")).order_by(cues.c.video_id, cues.c.ordinal, cues.c.id),
    "summaries": sa.select(*_columns(summaries, "id")).order_by(
        summaries.c.video_id, summaries.c.id
    ),
    "tags": sa.select(*_columns(tags)).order_by(tags.c.video_id),
}
_VIDEO_OF = {
    "shots": shots.c.video_id,
    "clips": clips.c.video_id,
    "vectors": clips.c.video_id,
    "videos": videos.c.id,
    "cues": cues.c.video_id,
    "summaries": summaries.c.video_id,
    "tags": tags.c.video_id,
}


def parts_sha256(
    shot_rows: Iterable[Mapping[str, Any]],
    clip_rows: Iterable[Mapping[str, Any]],
    vectors_of_clips: Iterable[tuple[int, bytes]],
) -> str:
    """The checksum of a video's parts from their rows, in order.

    `vectors_of_clips` has, clip after clip, each vector's bytes behind its clip's ordinal.
    """
    digest = _clips_digest(shot_rows, clip_rows)
    for ordinal, vector in vectors_of_clips:
        digest.update(_VECTOR.pack(ordinal, len(vector)))
        digest.update(vector)
    return str(digest.hexdigest())


def clips_sha256(connection: Connection, video_id: int) -> str:
    """The checksum of a video's shots and clips alone: what features of its frames belong to."""
    own = [
        _dicts(connection, name, [int(video_id)]).get(int(video_id), ())
        for name in ("shots", "clips")
    ]
    return str(_clips_digest(*own).hexdigest())


def files_sha256(files: Mapping[str, bytes]) -> str:
    """The checksum of files by their names and contents."""
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name]
        digest.update(f"{name}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
        digest.update(content)
    return digest.hexdigest()


def folder_sha256(folder: Path) -> str:
    """`files_sha256` of all that lies in a folder.

    Raises:
        OSError: a file cannot be read.
    """
    return files_sha256({path.name: path.read_bytes() for path in folder.iterdir()})


def fit(connection: Connection, video_id: int) -> bool:
    """Whether both checksums of a video are taken and fit what is there."""
    return unfit(connection, [video_id])[int(video_id)] == ""


def unfit(
    connection: Connection, video_ids: Iterable[SupportsIndex], *, parts: bool = True
) -> dict[int, str]:
    """What does not fit its checksum, by video, in words; empty for those that are whole.

    A checksum that is not taken yet says nothing, and a video that is gone is not in the answer.
    Without `parts` only what is sealed is looked at.
    """
    found: dict[int, str] = {}
    for chunk in batches(connection, video_ids):
        rows = _dicts(connection, "videos", chunk)
        of_parts = _parts_of(connection, chunk) if parts else {}
        of_seals = _seals_of(connection, chunk, rows)
        for video_id, (row, *_) in rows.items():
            wrong = []
            if parts and row["parts_sha256"] not in (NOT_TAKEN, of_parts[video_id]):
                wrong.append("its shots, clips or vectors are not what was stored")
            if row["seal"] not in (NOT_TAKEN, of_seals[video_id]):
                wrong.append("its entry, subtitles, summaries or tags are not what was stored")
            found[video_id] = " and ".join(wrong)
    return found


@contextmanager
def resealed(connection: Connection, video_ids: Iterable[SupportsIndex]) -> Iterator[None]:
    """Change rows of these videos inside: their seals are renewed, of those that fitted before.

    Holds the videos' rows, so that of two changes at once the later sees the earlier.
    """
    ids = [int(each) for each in video_ids]
    for chunk in _chunks(ids):
        query = sa.select(videos.c.id).where(videos.c.id.in_(chunk)).order_by(videos.c.id)
        connection.execute(query.with_for_update()).all()
    fitted = [each for each, wrong in unfit(connection, ids, parts=False).items() if not wrong]
    taken = [
        row.id
        for chunk in _chunks(fitted)
        for row in connection.execute(
            sa.select(videos.c.id).where(videos.c.id.in_(chunk), videos.c.seal != NOT_TAKEN)
        )
    ]
    yield
    renew(connection, taken)


def renew(connection: Connection, video_ids: Iterable[SupportsIndex]) -> None:
    """Seal what these videos hold now, whatever their seals said before."""
    for chunk in _chunks(video_ids):
        rows = _dicts(connection, "videos", chunk)
        for video_id, seal in _seals_of(connection, chunk, rows).items():
            connection.execute(videos.update().where(videos.c.id == video_id).values(seal=seal))


def take(connection: Connection, video_ids: Iterable[SupportsIndex]) -> None:
    """Take both checksums of videos that were made before there were any, or that are proven whole.

    Renews the seal in any case, the checksum of the parts with it.
    """
    for chunk in batches(connection, video_ids):
        for video_id, parts in _parts_of(connection, chunk).items():
            connection.execute(
                videos.update().where(videos.c.id == video_id).values(parts_sha256=parts)
            )
        renew(connection, chunk)


def read_parts(connection: Connection, video_ids: Sequence[int]) -> dict[int, Parts]:
    """The rows of these videos' shots, clips and vectors; `batches` says of how many at a time."""
    shot_rows = _dicts(connection, "shots", video_ids)
    clip_rows = _dicts(connection, "clips", video_ids)
    vectors = _grouped(connection, "vectors", video_ids)
    return {
        video_id: Parts(
            shot_rows.get(video_id, []),
            clip_rows.get(video_id, []),
            [(ordinal, vector) for _, ordinal, vector in vectors.get(video_id, ())],
        )
        for video_id in video_ids
    }


def _clips_digest(
    shot_rows: Iterable[Mapping[str, Any]], clip_rows: Iterable[Mapping[str, Any]]
) -> Any:
    digest = hashlib.sha256(b"shots")
    for row in shot_rows:
        digest.update(_SHOT.pack(row["ordinal"], row["start_seconds"], row["end_seconds"]))
    digest.update(b"clips")
    for row in clip_rows:
        pts = row["pts_seconds"]
        digest.update(
            _CLIP.pack(
                row["ordinal"],
                row["shot_ordinal"],
                row["start_seconds"],
                row["end_seconds"],
                row["first_frame"],
                row["num_frames"],
                len(pts),
            )
        )
        digest.update(pts)
    digest.update(b"vectors")
    return digest


def _parts_of(connection: Connection, chunk: Sequence[int]) -> dict[int, str]:
    return {video_id: parts.checksum() for video_id, parts in read_parts(connection, chunk).items()}


def _seals_of(
    connection: Connection, chunk: Sequence[int], rows: Mapping[int, Sequence[Mapping[str, Any]]]
) -> dict[int, str]:
    own = {name: _grouped(connection, name, chunk) for name in ("cues", "summaries", "tags")}
    found = {}
    for video_id, (row, *_) in rows.items():
        digest = hashlib.sha256()
        digest.update(_line(value for name, value in row.items() if name != "seal"))
        for name, listed in own.items():
            lines = [_line(_plain(each)) for each in listed.get(video_id, ())]
            # Databases order text each in its own way.
            for line in sorted(lines) if name == "tags" else lines:
                digest.update(name.encode() + line)
        found[video_id] = digest.hexdigest()
    return found


def _plain(row: Any) -> list[Any]:
    """A row's values but the video's id; JSON as what it means, which one driver gives as text."""
    values = dict(row._mapping)
    del values["video_id"]
    if isinstance(segments := values.get("segments"), str):
        try:
            values["segments"] = json.loads(segments)
        except ValueError:
            values["segments"] = ["damaged", segments]
    return list(values.values())


def _line(values: Iterable[Any]) -> bytes:
    # One database keeps a yes as 1, and so do both here.
    plain = [int(value) if isinstance(value, bool) else value for value in values]
    return json.dumps(plain, default=_hexadecimal, separators=(",", ":")).encode() + b"\n"


def _hexadecimal(value: bytes) -> str:
    return bytes(value).hex()


def _dicts(
    connection: Connection, name: str, chunk: Sequence[int]
) -> dict[int, list[dict[str, Any]]]:
    """The rows of some videos as dicts, by video."""
    return {
        video_id: [dict(row._mapping) for row in rows]
        for video_id, rows in _grouped(connection, name, chunk).items()
    }


def _grouped(connection: Connection, name: str, chunk: Sequence[int]) -> dict[int, list[Any]]:
    query = _ROWS[name].where(_VIDEO_OF[name].in_(chunk))
    key = "id" if name == "videos" else "video_id"
    rows = connection.execute(query).all()
    return {
        video_id: list(own) for video_id, own in groupby(rows, key=lambda row: getattr(row, key))
    }


def batches(connection: Connection, ids: Iterable[SupportsIndex]) -> Iterator[list[int]]:
    """The ids that are there, in lists of videos whose vectors fit in memory together."""
    for chunk in _chunks(ids):
        counts = sa.select(videos.c.id, raw(videos.c.num_vectors)).where(videos.c.id.in_(chunk))
        batch: list[int] = []
        waiting = 0
        for video_id, num_vectors in connection.execute(counts.order_by(videos.c.id)).all():
            batch.append(int(video_id))
            waiting += num_vectors if isinstance(num_vectors, int) else 0
            if waiting >= _VECTORS_AT_A_TIME:
                yield batch
                batch, waiting = [], 0
        if batch:
            yield batch


def _chunks(ids: Iterable[SupportsIndex]) -> Iterator[list[int]]:
    listed = [int(each) for each in ids]
    for start in range(0, len(listed), _IN_LIST):
        yield listed[start : start + _IN_LIST]
