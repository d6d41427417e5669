"""The tables of the catalog. Change them together with a new step under `migrations/versions`.

Ids are never used again after a deletion (AUTOINCREMENT; sequences on PostgreSQL), and a stored
vector never changes: so the set of vector ids alone says what a copy of the vectors must hold.
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

__all__ = [
    "HEAD",
    "EscapedText",
    "alerts",
    "asked_questions",
    "clip_vectors",
    "clips",
    "cues",
    "library",
    "metadata",
    "runs",
    "shots",
    "space_clip_vectors",
    "space_cue_vectors",
    "space_videos",
    "spaces",
    "standing_asked",
    "standing_questions",
    "summaries",
    "tags",
    "unescaped",
    "videos",
]

# The newest migration, repeated here so that opening a library need not import alembic.
HEAD = "0004"

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class EscapedText(sa.types.TypeDecorator[str]):
    """Text that may hold what databases refuse: NUL, and bytes of file names that are no UTF-8.

    Such characters (Python's surrogate escapes) and backslashes are stored behind a backslash, all
    else as it is; reading gives back the very string that was stored.
    """

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return re.sub(
            r"[\\\x00\ud800-\udfff]",
            lambda m: r"\\" if m[0] == "\\" else f"\\u{ord(m[0]):04x}",
            value,
        )

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        # SQLite gives back whatever a damaged row holds.
        return unescaped(value) if isinstance(value, str) else value


def unescaped(stored: str) -> str:
    """The string that an `EscapedText` stored so."""
    if "\\" not in stored:
        return stored
    return re.sub(
        r"\\(?:\\|u([0-9a-f]{4}))", lambda m: chr(int(m[1], 16)) if m[1] else "\\", stored
    )


# SQLite counts ids up by itself only in columns that are declared INTEGER.
_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")

library = sa.Table(
    "library",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("library_id", sa.String(32), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("encoder_name", sa.Text),
    sa.Column("encoder_weights_sha256", sa.Text),
    sa.Column("encoder_dimension", sa.Integer),
    sa.Column("encoder_preprocessing", sa.Text),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("deletions", sa.BigInteger, nullable=False),
    sa.CheckConstraint("id = 1", name="single_row"),
)

videos = sa.Table(
    "videos",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("path", EscapedText, nullable=False, unique=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("reason", EscapedText, nullable=False),
    sa.Column("note", EscapedText, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("mtime_ns", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False, index=True),
    sa.Column("duration_seconds", sa.Double, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("frame_rate_numerator", sa.BigInteger, nullable=False),
    sa.Column("frame_rate_denominator", sa.BigInteger, nullable=False),
    sa.Column("codec", sa.Text, nullable=False),
    sa.Column("has_audio", sa.Boolean, nullable=False),
    sa.Column("num_frames", sa.Integer, nullable=False),
    sa.Column("num_clips", sa.Integer, nullable=False),
    sa.Column("num_vectors", sa.Integer, nullable=False),
    sa.Column("feature_file", sa.Text, nullable=False),
    sa.Column("feature_sha256", sa.String(64), nullable=False),
    sa.Column("indexed_at", sa.Double, nullable=False),
    # What its subtitles were read from; empty where they have not been read yet.
    sa.Column("subtitles", sa.String(64), nullable=False, server_default=""),
    sa.Column("subtitles_note", EscapedText, nullable=False, server_default=""),
    # The speech model that transcribed it; empty where none has.
    sa.Column("speech", sa.Text, nullable=False, server_default=""),
    # Checksums that `vidsift verify` holds against what is there; empty where none was taken yet.
    # Of its thumbnails and storyboard:
    sa.Column("pictures_sha256", sa.String(64), nullable=False, server_default=""),
    # of its shots, clips and vectors, which stay as they are until it is indexed anew:
    sa.Column("parts_sha256", sa.String(64), nullable=False, server_default=""),
    # and of this row, its cues, summaries and tags.
    sa.Column("seal", sa.String(64), nullable=False, server_default=""),
    sa.CheckConstraint("status IN ('searchable', 'failed', 'missing')", name="status"),
    sqlite_autoincrement=True,
)


def _of_video() -> sa.ForeignKey:
    return sa.ForeignKey("videos.id", ondelete="CASCADE")


shots = sa.Table(
    "shots",
    metadata,
    sa.Column("video_id", _Id, _of_video(), primary_key=True, autoincrement=False),
    sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("start_seconds", sa.Double, nullable=False),
    sa.Column("end_seconds", sa.Double, nullable=False),
)

clips = sa.Table(
    "clips",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("video_id", _Id, _of_video(), nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("shot_ordinal", sa.Integer, nullable=False),
    sa.Column("start_seconds", sa.Double, nullable=False),
    sa.Column("end_seconds", sa.Double, nullable=False),
    sa.Column("first_frame", sa.Integer, nullable=False),
    sa.Column("num_frames", sa.Integer, nullable=False),
    sa.Column("pts_seconds", sa.LargeBinary, nullable=False, comment="float64, little endian"),
    sa.UniqueConstraint("video_id", "ordinal"),
    sqlite_autoincrement=True,
)

clip_vectors = sa.Table(
    "clip_vectors",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column(
        "clip_id", _Id, sa.ForeignKey("clips.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    sa.Column("vector", sa.LargeBinary, nullable=False, comment="float16, little endian"),
    sqlite_autoincrement=True,
)

summaries = sa.Table(
    "summaries",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("video_id", _Id, _of_video(), nullable=False),
    sa.Column("query", EscapedText, nullable=False),
    # In the unique key instead of the query, which may be longer than PostgreSQL can index.
    sa.Column("query_sha256", sa.String(64), nullable=False),
    sa.Column("budget_seconds", sa.Double, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("segments", sa.JSON, nullable=False, comment="[[start, end, saliency, terms], ...]"),
    sa.Column("matched", sa.Boolean),
    sa.UniqueConstraint("video_id", "query_sha256", "budget_seconds"),
    sqlite_autoincrement=True,
)

# `words` is `text` as the full text index takes it (see vidsift.store.folding). The index itself,
# `cues_words` on SQLite and `ix_cues_words` on PostgreSQL, is made by the migration.
cues = sa.Table(
    "cues",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("video_id", _Id, _of_video(), nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("track", EscapedText, nullable=False),
    sa.Column("start_seconds", sa.Double, nullable=False),
    sa.Column("end_seconds", sa.Double, nullable=False),
    sa.Column("text", EscapedText, nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("vector", sa.LargeBinary, nullable=False, comment="float16, little endian"),
    sa.UniqueConstraint("video_id", "ordinal"),
    sqlite_autoincrement=True,
)

tags = sa.Table(
    "tags",
    metadata,
    sa.Column("video_id", _Id, _of_video(), primary_key=True, autoincrement=False),
    sa.Column("tag", EscapedText, primary_key=True, index=True),
)

# Questions that every new video is asked, and what they found.
standing_questions = sa.Table(
    "standing_questions",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("question", EscapedText, nullable=False),
    sa.Column("false_alarm_rate", sa.Double, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sqlite_autoincrement=True,
)

# What each question has been asked of: contents, not files, so that a copy is not asked again; and
# `words`, which tells what the words that are said in it were read from.
standing_asked = sa.Table(
    "standing_asked",
    metadata,
    sa.Column(
        "standing_question_id",
        _Id,
        sa.ForeignKey("standing_questions.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("words", sa.Text, primary_key=True),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column(
        "standing_question_id",
        _Id,
        sa.ForeignKey("standing_questions.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("video_id", _Id, _of_video(), nullable=False, index=True),
    # Of the content in which it was found; the video may have another one by now.
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("start_seconds", sa.Double, nullable=False),
    sa.Column("end_seconds", sa.Double, nullable=False),
    sa.Column("peak_seconds", sa.Double, nullable=False),
    sa.Column("score", sa.Double, nullable=False),
    sa.Column("false_alarm_rate", sa.Double),
    sa.Column("said", EscapedText, nullable=False, comment="the words that were found, if any"),
    sa.Column("found_at", sa.Double, nullable=False),
    sa.Column("waiting_for", sa.Text, nullable=False, comment="channels that still are to get it"),
    # When the last channel got it; None where none has.
    sa.Column("delivered_at", sa.Double),
    sa.Column("seen", sa.Boolean, nullable=False),
    sqlite_autoincrement=True,
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("finished_at", sa.Double),
    sa.Column("report", sa.JSON, nullable=False),
    sqlite_autoincrement=True,
)

# What people asked, for the comparison of two encoders; one row a question, however often.
asked_questions = sa.Table(
    "asked_questions",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("question", EscapedText, nullable=False),
    sa.Column("question_sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("times", sa.Integer, nullable=False),
    sa.Column("last_asked_at", sa.Double, nullable=False),
    sqlite_autoincrement=True,
)

# Other spaces of features and vectors beside the one that is searched: one that is being built for
# another encoder, and the one that was searched before the last switch. Their clips are the same.
spaces = sa.Table(
    "spaces",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("encoder_name", sa.Text, nullable=False, unique=True),
    sa.Column("encoder_weights_sha256", sa.Text, nullable=False),
    sa.Column("encoder_dimension", sa.Integer, nullable=False),
    sa.Column("encoder_preprocessing", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    # When it was taken out of the search by a switch; None where it never was searched.
    sa.Column("left_at", sa.Double),
    sqlite_autoincrement=True,
)


def _of_space() -> sa.ForeignKey:
    return sa.ForeignKey("spaces.id", ondelete="CASCADE")


space_videos = sa.Table(
    "space_videos",
    metadata,
    sa.Column("space_id", _Id, _of_space(), primary_key=True, autoincrement=False),
    sa.Column("video_id", _Id, _of_video(), primary_key=True, autoincrement=False, index=True),
    # As `videos.parts_sha256`, of its shots, its clips and their vectors in this space.
    sa.Column("clips_sha256", sa.String(64), nullable=False),
    sa.Column("feature_file", sa.Text, nullable=False),
    sa.Column("feature_sha256", sa.String(64), nullable=False),
    sa.Column("pictures_sha256", sa.String(64), nullable=False),
    sa.Column("segments", sa.JSON, nullable=False, comment="of its generic summary"),
)

space_clip_vectors = sa.Table(
    "space_clip_vectors",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("space_id", _Id, _of_space(), nullable=False, index=True),
    sa.Column(
        "clip_id", _Id, sa.ForeignKey("clips.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    sa.Column("vector", sa.LargeBinary, nullable=False, comment="float16, little endian"),
    sqlite_autoincrement=True,
)

space_cue_vectors = sa.Table(
    "space_cue_vectors",
    metadata,
    sa.Column("space_id", _Id, _of_space(), primary_key=True, autoincrement=False),
    sa.Column(
        "cue_id",
        _Id,
        sa.ForeignKey("cues.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
        index=True,
    ),
    sa.Column("vector", sa.LargeBinary, nullable=False, comment="float16, little endian"),
)
