"""The catalog: the only door to the database, which is the truth about a library.

A video keeps its id for as long as it stays in the library, whatever its path or content become, so
that what refers to it (a page, a script) goes on working; the ids of its clips and vectors are new
each time it is indexed. New content makes every summary of the old content void.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import sqlalchemy as sa
from jaxtyping import Float32
from sqlalchemy.engine import Connection

from vidsift.errors import (
    EncoderMismatchError,
    VideoNotFoundError,
)
from vidsift.store import records, seals, speech
from vidsift.store.connection import parse_url, sqlite_file, writing
from vidsift.store.reader import CatalogReader, chunks
from vidsift.store.schema import clip_vectors, clips, cues, library, runs, shots, summaries, videos
from vidsift.types import (
    Cue,
    EncoderStamp,
    Fingerprint,
    IndexedVideo,
    Summary,
)

__all__ = ["Catalog"]


class Catalog(CatalogReader):
    """One open catalog: every question of CatalogReader, and every change, each in a transaction.

    Every method may raise StorageError (disk full, read-only) and the other errors named there.
    """

    @classmethod
    def create(cls, url: str) -> Catalog:
        """Make the catalog unless it is there already, and open it.

        Raises:
            SchemaError: there is one, of another schema.
        """
        from vidsift.store.upgrade import current, upgrade  # alembic: not when merely opening

        file = sqlite_file(parse_url(url))
        if (file is not None and not file.exists()) or current(url) is None:
            upgrade(url)
        return cls.open(url)

    def set_stamp(self, stamp: EncoderStamp) -> None:
        """Remember the encoder.

        Raises:
            EncoderMismatchError: the library holds vectors of another one.
        """
        before = self.stamp()
        if before == stamp:
            return
        with writing(self._engine) as connection:
            holds_vectors = connection.execute(sa.select(clip_vectors.c.id).limit(1)).first()
            if before is not None and holds_vectors:
                raise EncoderMismatchError(
                    f"the library was made by {before.name} ({before.weights_sha256[:12]}), not by "
                    f"{stamp.name} ({stamp.weights_sha256[:12]}); use that encoder, or change over "
                    "with `vidsift migrate`"
                )
            connection.execute(
                library.update().values(
                    encoder_name=stamp.name,
                    encoder_weights_sha256=stamp.weights_sha256,
                    encoder_dimension=stamp.dimension,
                    encoder_preprocessing=stamp.preprocessing,
                )
            )

    def commit_video(
        self,
        indexed: IndexedVideo,
        feature_file: str,
        feature_sha256: str,
        pictures_sha256: str = seals.NOT_TAKEN,
    ) -> int:
        """Make a video searchable, in place of what stood at its path; all of it or nothing.

        `feature_file` must be on disk already: a reader may ask for it at once. What was
        transcribed of the same content at that path stays, as in `renew_cues`. `pictures_sha256`
        is that of its folder of pictures (`seals.folder_sha256`).

        Raises:
            ValueError: the vectors have another dimension than the library's encoder.
        """
        now = time.time()
        with writing(self._engine) as connection:
            self._check_dimension(connection, indexed)
            row = records.video_row(indexed, feature_file, feature_sha256, now)
            row["pictures_sha256"] = pictures_sha256
            model, heard = speech.heard_before(connection, row["path"], row["sha256"])
            video_id = _put_video(connection, row)
            parts = _insert_parts(connection, video_id, indexed)
            read = records.cue_rows(video_id, indexed.cues, indexed.cue_vectors)
            if speech.is_transcript(read, heard):
                model, heard = "", []
            _change(connection, video_id, {"speech": model, "parts_sha256": parts})
            speech.put_cues(connection, video_id, [*read, *heard])
            connection.execute(
                summaries.insert(), records.summary_row(video_id, indexed.summary, now)
            )
            seals.renew(connection, [video_id])
            _bump(connection)
        return video_id

    def renew_cues(
        self,
        video_id: int,
        found: Sequence[Cue],
        vectors: Float32[np.ndarray, "m d"] | None,
        *,
        subtitles: str,
        note: str,
    ) -> None:
        """Put these cues, each with its vector, in place of the video's; all else stays.

        So does what was transcribed, unless these cues are a transcript of it: then they stand in
        place of it. `subtitles` and `note` are those of IndexedVideo.

        Raises:
            VideoNotFoundError: none has this id.
        """
        with writing(self._engine) as connection, seals.resealed(connection, [video_id]):
            _change(connection, video_id, {"subtitles": subtitles, "subtitles_note": note})
            heard = speech.heard_rows(connection, video_id)
            read = records.cue_rows(int(video_id), found, vectors)
            if speech.is_transcript(read, heard):
                _change(connection, video_id, {"speech": ""})
                heard = []
            speech.put_cues(connection, video_id, [*read, *heard])
            _bump(connection)

    def save_speech(
        self,
        video_id: int,
        heard: Sequence[Cue],
        vectors: Float32[np.ndarray, "m d"] | None,
        *,
        model: str,
    ) -> None:
        """Put what a speech model heard in place of what was transcribed before.

        The cues of subtitles stay. `heard` is in order of time, its tracks as
        `records.SPEECH_TRACK` says; `vectors` (unit length) run parallel to it, None without any.

        Raises:
            VideoNotFoundError: none has this id.
            ValueError: a track is not one of speech.
        """
        if strange := {cue.track for cue in heard if not records.is_speech(cue.track)}:
            raise ValueError(f"no tracks of speech: {sorted(strange)}")
        with writing(self._engine) as connection, seals.resealed(connection, [video_id]):
            _change(connection, video_id, {"speech": model})
            read = speech.read_rows(connection, video_id)
            new = records.cue_rows(int(video_id), heard, vectors)
            speech.put_cues(connection, video_id, [*read, *new])
            _bump(connection)

    def _check_dimension(self, connection: Connection, indexed: IndexedVideo) -> None:
        wanted = connection.execute(sa.select(library.c.encoder_dimension)).scalar_one()
        found = {vectors.vectors.shape[1] for vectors in indexed.vectors}
        if wanted is not None and found - {wanted}:
            raise ValueError(
                f"{indexed.probe.path}: vectors of {sorted(found)} dimensions, not of {wanted}"
            )

    def mark_failed(self, path: Path, fingerprint: Fingerprint | None, reason: str) -> int:
        """Remember that the file cannot be indexed and why; what was known of it is dropped."""
        with writing(self._engine) as connection:
            row = records.failed_row(path, fingerprint, reason, time.time())
            video_id = _put_video(connection, row)
            seals.take(connection, [video_id])
        return video_id

    def mark_missing(self, ids: Iterable[SupportsIndex], reason: str = "the file is gone") -> None:
        """Take videos out of the search while their files are away, keeping all that was computed.

        Files that had failed are forgotten: there is nothing to keep.
        """
        with writing(self._engine) as connection:
            gone = 0
            for chunk in chunks(ids):
                chosen = videos.c.id.in_(chunk)
                connection.execute(videos.delete().where(chosen, videos.c.status == "failed"))
                with seals.resealed(connection, chunk):
                    gone += connection.execute(
                        videos.update()
                        .where(chosen, videos.c.status == "searchable")
                        .values(status="missing", reason=reason)
                    ).rowcount
            if gone:
                _bump(connection, deletions=True)

    def move_video(self, video_id: int, path: Path, fingerprint: Fingerprint) -> None:
        """The video's file lies at `path` now, its content unchanged; a missing one is back.

        What stood at `path` is dropped: its file has been replaced.

        Raises:
            VideoNotFoundError: none has this id.
        """
        with writing(self._engine) as connection:
            there = videos.c.path == str(path)
            _drop(connection, videos.select().where(there, videos.c.id != int(video_id)))
            self._found(connection, video_id, {"path": str(path)}, fingerprint)

    def restore_video(self, video_id: int, fingerprint: Fingerprint) -> None:
        """The video's file is where it was, its content unchanged; a missing one is back.

        Raises:
            VideoNotFoundError: none has this id.
        """
        with writing(self._engine) as connection:
            self._found(connection, video_id, {}, fingerprint)

    def _found(
        self,
        connection: Connection,
        video_id: int,
        changes: dict[str, Any],
        fingerprint: Fingerprint,
    ) -> None:
        chosen = videos.c.id == int(video_id)
        with seals.resealed(connection, [video_id]):
            _change(connection, video_id, changes | records.fingerprint_row(fingerprint))
            back = connection.execute(
                videos.update()
                .where(chosen, videos.c.status == "missing")
                .values(status="searchable", reason="")
            )
        if back.rowcount:
            _bump(connection, deletions=True)

    def delete_video(self, video_id: int) -> None:
        """Forget a video and all that was computed of it; its feature file becomes an orphan.

        Raises:
            VideoNotFoundError: none has this id.
        """
        with writing(self._engine) as connection:
            if not _drop(connection, videos.select().where(videos.c.id == int(video_id))):
                raise VideoNotFoundError(f"no video has the id {video_id}")

    def save_summary(
        self, video_id: int, summary: Summary, *, of_features: str | None = None
    ) -> None:
        """Keep a summary; one of the same question and budget gives way to it.

        With `of_features` nothing is kept where the video has other features by now: it was indexed
        anew while somebody summarised what it was before.

        Raises:
            VideoNotFoundError: none has this id.
        """
        row = records.summary_row(int(video_id), summary, time.time())
        key = ("video_id", "query_sha256", "budget_seconds")
        same = sa.and_(*(summaries.c[name] == row[name] for name in key))
        with writing(self._engine) as connection, seals.resealed(connection, [video_id]):
            chosen = sa.select(videos.c.feature_file).where(videos.c.id == int(video_id))
            features = connection.execute(chosen).scalar()
            if features is None:
                raise VideoNotFoundError(f"no video has the id {video_id}")
            if of_features not in (None, features):
                return
            if not connection.execute(summaries.update().where(same).values(row)).rowcount:
                connection.execute(summaries.insert(), row)

    def start_run(self) -> int:
        """Note that a run of indexing began; returns its id."""
        row = {"started_at": time.time(), "report": {}}
        with writing(self._engine) as connection:
            return _new_id(connection, runs, row)

    def finish_run(self, run_id: int, report: Mapping[str, Any]) -> None:
        """Note that a run ended and what came of it, as anything that JSON can hold."""
        row = {"finished_at": time.time(), "report": dict(report)}
        with writing(self._engine) as connection:
            connection.execute(runs.update().where(runs.c.id == int(run_id)).values(row))


def _put_video(connection: Connection, row: dict[str, Any]) -> int:
    """Write a row of `videos` over the one at its path, whose parts are dropped; returns its id."""
    old = connection.execute(
        sa.select(videos.c.id, videos.c.status).where(videos.c.path == row["path"])
    ).one_or_none()
    if old is None:
        return _new_id(connection, videos, row)
    for parts in (shots, clips, summaries, cues):
        connection.execute(parts.delete().where(parts.c.video_id == old.id))
    connection.execute(videos.update().where(videos.c.id == old.id).values(row))
    if old.status == "searchable":
        _bump(connection, deletions=True)
    return int(old.id)


def _change(connection: Connection, video_id: int, values: dict[str, Any]) -> None:
    chosen = videos.update().where(videos.c.id == int(video_id))
    if not connection.execute(chosen.values(values)).rowcount:
        raise VideoNotFoundError(f"no video has the id {video_id}")


def _insert_parts(connection: Connection, video_id: int, indexed: IndexedVideo) -> str:
    """Write shots, clips and vectors; returns their checksum."""
    pts = indexed.features.pts_seconds.astype("<f8")
    shot_rows = [
        {
            "video_id": video_id,
            "ordinal": ordinal,
            "start_seconds": shot.span.start,
            "end_seconds": shot.span.end,
        }
        for ordinal, shot in enumerate(indexed.shots)
    ]
    clip_rows = [
        {
            "video_id": video_id,
            "ordinal": ordinal,
            "shot_ordinal": clip.shot,
            "start_seconds": clip.span.start,
            "end_seconds": clip.span.end,
            "first_frame": clip.first_frame,
            "num_frames": clip.num_frames,
            "pts_seconds": pts[clip.frames].tobytes(),
        }
        for ordinal, clip in enumerate(indexed.clips)
    ]
    _insert(connection, shots, shot_rows)
    _insert(connection, clips, clip_rows)
    query = sa.select(clips.c.id).where(clips.c.video_id == video_id).order_by(clips.c.ordinal)
    clip_ids = connection.execute(query).scalars().all()
    vectors = [
        (ordinal, blob)
        for ordinal, of_clip in enumerate(indexed.vectors)
        for blob in records.vector_blobs(of_clip)
    ]
    rows = ({"clip_id": clip_ids[ordinal], "vector": blob} for ordinal, blob in vectors)
    _insert(connection, clip_vectors, rows)
    return seals.parts_sha256(shot_rows, clip_rows, vectors)


def _insert(connection: Connection, table: sa.Table, rows: Iterable[dict[str, Any]]) -> None:
    if listed := list(rows):
        connection.execute(table.insert(), listed)


def _new_id(connection: Connection, table: sa.Table, row: dict[str, Any]) -> int:
    return int(connection.execute(table.insert().values(row).returning(table.c.id)).scalar_one())


def _drop(connection: Connection, chosen: sa.Select[Any]) -> bool:
    """Delete the one video that is chosen, if there is one."""
    row = connection.execute(chosen).one_or_none()
    if row is None:
        return False
    connection.execute(videos.delete().where(videos.c.id == row.id))
    if row.status == "searchable":
        _bump(connection, deletions=True)
    return True


def _bump(connection: Connection, *, deletions: bool = False) -> None:
    values = {"generation": library.c.generation + 1}
    if deletions:
        values["deletions"] = library.c.deletions + 1
    connection.execute(library.update().values(values))
