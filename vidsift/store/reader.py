"""The questions that can be asked of a catalog; none of them changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, SupportsIndex, TypeVar

import numpy as np
import sqlalchemy as sa
from jaxtyping import Float32, Int64
from sqlalchemy.engine import Engine

from vidsift.errors import DamagedLibraryError, LibraryNotFoundError, SchemaError
from vidsift.store import records
from vidsift.store.connection import is_writable, make_engine, parse_url, reading, sqlite_file
from vidsift.store.records import Generation, RunRecord
from vidsift.store.schema import (
    HEAD,
    clip_vectors,
    clips,
    library,
    runs,
    shots,
    space_videos,
    summaries,
    videos,
)
from vidsift.store.snapshots import Snapshots, generation_of
from vidsift.store.words import WordsReader
from vidsift.types import (
    ClipRecord,
    EncoderStamp,
    LeftOut,
    Shot,
    Span,
    Summary,
    VideoRecord,
    VideoStatus,
)

__all__ = ["CatalogReader", "chunks"]

# Not typing.Self: the checks of shapes in tests decorate methods, and Self needs the class.
_Opened = TypeVar("_Opened", bound="CatalogReader")

# Values in one IN list; older builds of SQLite stop at 999.
_IN_LIST = 900

_IDS: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
_CLIPS_OF_VIDEO = (
    sa.select(*records.CLIP_COLUMNS)
    .select_from(clips.join(videos))
    .where(clips.c.video_id == sa.bindparam("video"))
    .order_by(clips.c.ordinal)
)
_SEARCHABLE_VECTORS = clip_vectors.join(clips).join(videos)
_IS_SEARCHABLE = videos.c.status == "searchable"
_CLIPS_OF_VECTORS = (
    sa.select(clip_vectors.c.id, *records.CLIP_COLUMNS)
    .select_from(_SEARCHABLE_VECTORS)
    .where(clip_vectors.c.id.in_(_IDS), _IS_SEARCHABLE)
)
_VECTORS = (
    sa.select(clip_vectors.c.id, clip_vectors.c.vector)
    .select_from(_SEARCHABLE_VECTORS)
    .where(clip_vectors.c.id > sa.bindparam("after"), _IS_SEARCHABLE)
    .order_by(clip_vectors.c.id)
    .limit(sa.bindparam("batch"))
)
_VECTORS_BY_ID = (
    sa.select(clip_vectors.c.vector)
    .select_from(_SEARCHABLE_VECTORS)
    .where(clip_vectors.c.id.in_(_IDS), _IS_SEARCHABLE)
    .order_by(clip_vectors.c.id)
)
_VECTOR_IDS = (
    sa.select(clip_vectors.c.id)
    .select_from(_SEARCHABLE_VECTORS)
    .where(_IS_SEARCHABLE)
    .order_by(clip_vectors.c.id)
)
_CLIPS = (
    sa.select(*records.CLIP_COLUMNS).select_from(clips.join(videos)).where(clips.c.id.in_(_IDS))
)
_CLIP_FRAMES = (
    sa.select(clips.c.id, clips.c.video_id, clips.c.first_frame, clips.c.num_frames)
    .select_from(clips.join(videos))
    .where(clips.c.id > sa.bindparam("after"), _IS_SEARCHABLE)
    .order_by(clips.c.video_id, clips.c.id)
)

# Not typing.Self: the runtime checks of the tests decorate methods, where Self has no meaning.
_Reader = TypeVar("_Reader", bound="CatalogReader")


class CatalogReader(WordsReader):
    """One open catalog, for reading; safe to use from several threads.

    Every method may raise the errors of the database in vidsift's words: StorageError,
    LibraryBusyError (locked by another process), DamagedLibraryError (no database), LibraryError
    (the server cannot be reached).
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._snapshots = Snapshots(engine)
        self._left_out: dict[int, LeftOut] = {}

    @classmethod
    def open(cls: type[_Opened], url: str, *, read_only: bool = False) -> _Opened:
        """Open a catalog that exists; for reading only, too, where it may not be written.

        Raises:
            LibraryNotFoundError: there is none at that URL.
            SchemaError: its schema is older or newer than this program's.
        """
        parsed = parse_url(url)
        engine = make_engine(parsed, read_only=read_only or not is_writable(parsed))
        try:
            _check_schema(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def close(self) -> None:
        """Give back every connection."""
        self._engine.dispose()

    def __enter__(self: _Opened) -> _Opened:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def stamp(self) -> EncoderStamp | None:
        """The encoder that made the library, None while it is empty."""
        with reading(self._engine) as connection:
            row = connection.execute(sa.select(library)).one_or_none()
        if row is not None and row.encoder_name is None:
            return None
        if row is None or not isinstance(row.encoder_dimension, int):
            raise DamagedLibraryError(
                "the catalog is damaged: it does not say which encoder made it;"
                " run `vidsift repair`"
            )
        return EncoderStamp(
            row.encoder_name,
            row.encoder_weights_sha256,
            row.encoder_dimension,
            row.encoder_preprocessing,
        )

    def generation(self) -> Generation:
        """Which state of the searchable vectors the catalog holds now, less what is left out."""
        with reading(self._engine) as connection:
            return replace(generation_of(connection), left_out=tuple(sorted(self._left_out)))

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The searchable videos that this process takes as not searchable; see `leave_out`."""
        return tuple(self._left_out.values())

    def leave_out(self, damaged: Iterable[LeftOut]) -> None:
        """From now on pass over these videos, and no others, wherever the searchable are meant."""
        self._left_out = {each.video_id: each for each in damaged}

    def snapshot(self) -> AbstractContextManager[None]:
        """What this thread asks inside is answered from one state of the catalog; see `Snapshots`.

        What it writes meanwhile is not seen.
        """
        return self._snapshots.held()

    def in_snapshot(self) -> bool:
        """Whether this thread is in a `snapshot`."""
        return self._snapshots.are_held()

    def has_changed(self) -> bool:
        """Whether this thread is in a `snapshot` and the catalog has changed since."""
        return self._snapshots.are_old()

    def videos(self, status: VideoStatus | None = None) -> list[VideoRecord]:
        """All videos, or those of one status, by path."""
        query = sa.select(videos).order_by(videos.c.path)
        if status is None:
            return self._videos(query)
        if status == "searchable":
            query = query.where(self._may_answer())
        # Once more, since of a damaged row the status is another than it says.
        found = self._videos(query.where(videos.c.status == status))
        return [video for video in found if video.status == status]

    def video(self, video_id: int) -> VideoRecord | None:
        """The video with this id."""
        found = self._videos(sa.select(videos).where(videos.c.id == int(video_id)))
        return found[0] if found else None

    def video_by_path(self, path: Path) -> VideoRecord | None:
        """The video at exactly this path."""
        found = self._videos(sa.select(videos).where(videos.c.path == str(path)))
        return found[0] if found else None

    def find_videos(self, name: str) -> list[VideoRecord]:
        """The videos that a person may mean: by path, else by file name, else by stem."""
        path = Path(name)
        exact = [str(path.absolute()), str(path.resolve())]
        alike = videos.c.path.in_(exact) | videos.c.path.contains(path.name, autoescape=True)
        found = self._videos(sa.select(videos).where(alike).order_by(videos.c.path))
        meanings: tuple[Callable[[VideoRecord], bool], ...] = (
            lambda video: str(video.path) in exact,
            lambda video: video.path.name == name,
            lambda video: video.path.stem == name,
        )
        for meant in meanings:
            if chosen := [video for video in found if meant(video)]:
                return chosen
        return []

    def videos_by_sha256(self, sha256: str) -> list[VideoRecord]:
        """The videos of this content, by path."""
        return self._videos(
            sa.select(videos).where(videos.c.sha256 == sha256).order_by(videos.c.path)
        )

    def _videos(self, query: sa.Select[Any]) -> list[VideoRecord]:
        with reading(self._engine) as connection:
            return [records.video_record(row) for row in connection.execute(query)]

    def _searchable(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """A query of searchable videos, less those that are left out."""
        return query.where(self._may_answer()) if self._left_out else query

    def speech_models(self) -> dict[int, str]:
        """The speech model that transcribed each video, by the video's id; empty: none has."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(videos.c.id, videos.c.speech))
            return {row.id: row.speech for row in rows}

    def feature_files(self) -> dict[str, str]:
        """The SHA-256 of every feature file that a video needs, by name; others are orphans."""
        query = sa.select(videos.c.feature_file, videos.c.feature_sha256)
        with reading(self._engine) as connection:
            rows = connection.execute(query.where(videos.c.feature_file != ""))
            return {row.feature_file: row.feature_sha256 for row in rows}

    def named_files(self) -> frozenset[str]:
        """Every feature file that a row names, of any space; all others are orphans."""
        columns = (videos.c.feature_file, space_videos.c.feature_file)
        with reading(self._engine) as connection:
            found = [connection.execute(sa.select(each)).scalars().all() for each in columns]
        return frozenset(name for names in found for name in names if name)

    def shots_of_video(self, video_id: int) -> list[Shot]:
        """A video's shots in order of time."""
        query = sa.select(shots.c.start_seconds, shots.c.end_seconds).order_by(shots.c.ordinal)
        with reading(self._engine) as connection:
            rows = connection.execute(query.where(shots.c.video_id == int(video_id)))
            return [Shot(Span(start, end)) for start, end in rows]

    def clips_of_video(self, video_id: int) -> list[ClipRecord]:
        """A video's clips in order of time."""
        with reading(self._engine) as connection:
            rows = connection.execute(_CLIPS_OF_VIDEO, {"video": int(video_id)}).all()
        return [records.clip_record(row) for row in rows]

    def clips_of_vectors(self, vector_ids: Iterable[SupportsIndex]) -> dict[int, ClipRecord]:
        """The clip of each vector; a vector that is not of a searchable video is left out."""
        found: dict[int, ClipRecord] = {}
        made: dict[int, ClipRecord] = {}  # a clip has several vectors
        with reading(self._engine) as connection:
            query = self._searchable(_CLIPS_OF_VECTORS)
            for chunk in chunks(vector_ids):
                for vector_id, *row in connection.execute(query, {"ids": chunk}).all():
                    if row[0] not in made:
                        made[row[0]] = records.clip_record(row)
                    found[vector_id] = made[row[0]]
        return found

    def clips(self, clip_ids: Iterable[SupportsIndex]) -> dict[int, ClipRecord]:
        """The clips with these ids, by id; a clip that is no more is left out."""
        found: dict[int, ClipRecord] = {}
        with reading(self._engine) as connection:
            for chunk in chunks(clip_ids):
                for row in connection.execute(_CLIPS, {"ids": chunk}).all():
                    found[row[0]] = records.clip_record(row)
        return found

    def clip_frames(
        self, after_id: int = 0, of_videos: Iterable[SupportsIndex] | None = None
    ) -> Int64[np.ndarray, "c 4"]:
        """Where the frames of clips lie: clip id, video id, first frame, number of frames.

        Of every clip that can be searched and has an id above `after_id`; a video's clips are
        together and in order of time.
        """
        with reading(self._engine) as connection:
            rows = [
                tuple(row)
                for query in _each_of_videos(self._searchable(_CLIP_FRAMES), of_videos)
                for row in connection.execute(query, {"after": int(after_id)})
            ]
        return _integers(rows).reshape(-1, 4)

    def num_clips(self, of_videos: Iterable[SupportsIndex] | None = None) -> tuple[int, int]:
        """How many clips can be searched, of these videos or of all, and their videos' frames."""
        query = sa.select(sa.func.sum(videos.c.num_clips), sa.func.sum(videos.c.num_frames))
        query = query.where(self._may_answer())
        with reading(self._engine) as connection:
            sums = [connection.execute(each).one() for each in _each_of_videos(query, of_videos)]
        return sum(int(row[0] or 0) for row in sums), sum(int(row[1] or 0) for row in sums)

    def num_vectors(self) -> int:
        """How many vectors can be searched."""
        query = sa.select(sa.func.coalesce(sa.func.sum(videos.c.num_vectors), 0))
        query = query.where(self._may_answer())
        with reading(self._engine) as connection:
            return int(connection.execute(query).scalar_one())

    def vector_ids(
        self, of_videos: Iterable[SupportsIndex] | None = None
    ) -> Int64[np.ndarray, "n"]:
        """The ids of all vectors that can be searched, of these videos or of all, in order."""
        with reading(self._engine) as connection:
            ids = [
                vector_id
                for query in _each_of_videos(self._searchable(_VECTOR_IDS), of_videos)
                for vector_id in connection.execute(query).scalars()
            ]
        return np.sort(np.array(ids, dtype=np.int64))

    def iter_vectors(
        self, after_id: int = 0, batch: int = 20_000
    ) -> Iterator[tuple[Int64[np.ndarray, "n"], Float32[np.ndarray, "n d"]]]:
        """All vectors that can be searched and have an id above `after_id`, in order of id.

        A batch is read in one go, the next one later: no lock is held while the caller works.
        """
        query = self._searchable(_VECTORS)
        while True:
            with reading(self._engine) as connection:
                rows = connection.execute(query, {"after": int(after_id), "batch": batch}).all()
            if not rows:
                return
            ids = np.array([row[0] for row in rows], dtype=np.int64)
            yield ids, records.vectors_of([row[1] for row in rows])
            after_id = int(ids[-1])

    def sample_vectors(self, most: int) -> Float32[np.ndarray, "n d"]:
        """About `most` vectors that can be searched, evenly from oldest to newest."""
        with reading(self._engine) as connection:
            newest = connection.execute(sa.select(sa.func.max(clip_vectors.c.id))).scalar() or 0
        found = self._vectors(range(1, newest + 1, max(1, newest // most)))
        if len(found) < most / 2:  # little is left of what was indexed: choose from what is
            ids = self.vector_ids()
            found = self._vectors(ids[:: max(1, len(ids) // most)])
        return records.vectors_of(found) if found else np.empty((0, 0), np.float32)

    def vectors_by_id(self, ids: Iterable[SupportsIndex]) -> Float32[np.ndarray, "n d"]:
        """Those of these vectors that can be searched, in order of id."""
        found = self._vectors(sorted(int(each) for each in ids))
        return records.vectors_of(found) if found else np.empty((0, 0), np.float32)

    def _vectors(self, ids: Iterable[SupportsIndex]) -> list[bytes]:
        query = self._searchable(_VECTORS_BY_ID)
        with reading(self._engine) as connection:
            return [
                vector
                for chunk in chunks(ids)
                for vector in connection.execute(query, {"ids": chunk}).scalars()
            ]

    def summaries(self, video_id: int) -> list[Summary]:
        """A video's summaries in the order in which they were first made."""
        query = summaries.select().where(summaries.c.video_id == int(video_id))
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(summaries.c.id))
            return [records.summary_of(row) for row in rows]

    def generic_summaries(self) -> dict[int, Summary]:
        """The summary that indexing made of each searchable video, by the video's id."""
        first = (
            sa.select(sa.func.min(summaries.c.id))
            .join(videos)
            .where(summaries.c.query == "", self._may_answer())
            .group_by(summaries.c.video_id)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(summaries.select().where(summaries.c.id.in_(first)))
            return {row.video_id: records.summary_of(row) for row in rows}

    def runs(self) -> list[RunRecord]:
        """All runs, newest first."""
        with reading(self._engine) as connection:
            rows = connection.execute(runs.select().order_by(runs.c.id.desc()))
            return [
                RunRecord(row.id, row.started_at, row.finished_at, row.report or {}) for row in rows
            ]


def _check_schema(engine: Engine) -> None:
    where = sqlite_file(engine.url) or engine.url.render_as_string(hide_password=True)
    with reading(engine) as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            raise LibraryNotFoundError(
                f"{where}: holds no vidsift catalog; `vidsift index FOLDER` makes one"
            )
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        lost = not str(found).isdigit() and sa.inspect(connection).has_table(videos.name)
    if found == HEAD:
        return
    if lost:
        raise DamagedLibraryError(
            f"{where}: damaged, it does not say of which schema it is; run `vidsift repair`"
        )
    if found is None or found < HEAD:
        raise SchemaError(
            f"{where}: its schema {found or 'base'} is older than this program's {HEAD}; "
            "run `vidsift db upgrade --library LIBRARY`"
        )
    raise SchemaError(
        f"{where}: its schema {found} is newer than this program's {HEAD}; upgrade vidsift"
    )


def _integers(rows: Sequence[tuple[Any, ...]]) -> Int64[np.ndarray, "..."]:
    try:
        return np.array(rows, dtype=np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DamagedLibraryError(
            "the catalog is damaged: a number of it is none; run `vidsift repair`"
        ) from error


def _each_of_videos(
    query: sa.Select[Any], of_videos: Iterable[SupportsIndex] | None
) -> Iterator[sa.Select[Any]]:
    """The query itself, or for each part of the videos that is short enough for IN one of it."""
    if of_videos is None:
        yield query
        return
    for chunk in chunks(of_videos):
        yield query.where(videos.c.id.in_(chunk))


def chunks(ids: Iterable[SupportsIndex]) -> Iterator[list[int]]:
    """Plain integers in lists that are short enough for IN."""
    # int(): sqlite3 would store a numpy integer as bytes and find nothing.
    listed = [int(each) for each in ids]
    for start in range(0, len(listed), _IN_LIST):
        yield listed[start : start + _IN_LIST]
