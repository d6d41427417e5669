"""the first tables."""

from __future__ import annotations

import time
import uuid

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    library = op.create_table(
        "library",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("library_id", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("encoder_name", sa.Text()),
        sa.Column("encoder_weights_sha256", sa.Text()),
        sa.Column("encoder_dimension", sa.Integer()),
        sa.Column("encoder_preprocessing", sa.Text()),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("deletions", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_library_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_library")),
    )
    op.bulk_insert(
        library,
        [
            {
                "id": 1,
                "library_id": uuid.uuid4().hex,
                "created_at": time.time(),
                "generation": 0,
                "deletions": 0,
            }
        ],
    )
    op.create_table(
        "runs",
        sa.Column("id", _ID, nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double()),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "videos",
        sa.Column("id", _ID, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("duration_seconds", sa.Double(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("frame_rate_numerator", sa.BigInteger(), nullable=False),
        sa.Column("frame_rate_denominator", sa.BigInteger(), nullable=False),
        sa.Column("codec", sa.Text(), nullable=False),
        sa.Column("has_audio", sa.Boolean(), nullable=False),
        sa.Column("num_frames", sa.Integer(), nullable=False),
        sa.Column("num_clips", sa.Integer(), nullable=False),
        sa.Column("num_vectors", sa.Integer(), nullable=False),
        sa.Column("feature_file", sa.Text(), nullable=False),
        sa.Column("feature_sha256", sa.String(length=64), nullable=False),
        sa.Column("indexed_at", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "status IN ('searchable', 'failed', 'missing')", name=op.f("ck_videos_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_videos")),
        sa.UniqueConstraint("path", name=op.f("uq_videos_path")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_videos_sha256"), "videos", ["sha256"])

    op.create_table(
        "clips",
        sa.Column("id", _ID, nullable=False),
        sa.Column("video_id", _ID, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("shot_ordinal", sa.Integer(), nullable=False),
        sa.Column("start_seconds", sa.Double(), nullable=False),
        sa.Column("end_seconds", sa.Double(), nullable=False),
        sa.Column("first_frame", sa.Integer(), nullable=False),
        sa.Column("num_frames", sa.Integer(), nullable=False),
        sa.Column(
            "pts_seconds", sa.LargeBinary(), nullable=False, comment="float64, little endian"
        ),
        sa.ForeignKeyConstraint(
            ["video_id"], ["videos.id"], name=op.f("fk_clips_video_id_videos"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clips")),
        sa.UniqueConstraint("video_id", "ordinal", name=op.f("uq_clips_video_id_ordinal")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "shots",
        sa.Column("video_id", _ID, autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start_seconds", sa.Double(), nullable=False),
        sa.Column("end_seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["video_id"], ["videos.id"], name=op.f("fk_shots_video_id_videos"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("video_id", "ordinal", name=op.f("pk_shots")),
    )
    op.create_table(
        "summaries",
        sa.Column("id", _ID, nullable=False),
        sa.Column("video_id", _ID, nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("query_sha256", sa.String(length=64), nullable=False),
        sa.Column("budget_seconds", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("segments", sa.JSON(), nullable=False, comment="[[start, end, saliency], ...]"),
        sa.ForeignKeyConstraint(
            ["video_id"],
            ["videos.id"],
            name=op.f("fk_summaries_video_id_videos"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_summaries")),
        sa.UniqueConstraint(
            "video_id",
            "query_sha256",
            "budget_seconds",
            name=op.f("uq_summaries_video_id_query_sha256_budget_seconds"),
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "clip_vectors",
        sa.Column("id", _ID, nullable=False),
        sa.Column("clip_id", _ID, nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False, comment="float16, little endian"),
        sa.ForeignKeyConstraint(
            ["clip_id"],
            ["clips.id"],
            name=op.f("fk_clip_vectors_clip_id_clips"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clip_vectors")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_clip_vectors_clip_id"), "clip_vectors", ["clip_id"])


def downgrade() -> None:
    op.drop_table("clip_vectors")
    op.drop_table("summaries")
    op.drop_table("shots")
    op.drop_table("clips")
    op.drop_table("videos")
    op.drop_table("runs")
    op.drop_table("library")
