"""checksums of what is stored, questions that were asked, spaces of other encoders."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_VECTOR = "float16, little endian"


def upgrade() -> None:
    for name in ("pictures_sha256", "parts_sha256", "seal"):
        op.add_column(
            "videos", sa.Column(name, sa.String(length=64), nullable=False, server_default="")
        )
    op.create_table(
        "asked_questions",
        sa.Column("id", _ID, nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("question_sha256", sa.String(length=64), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("last_asked_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asked_questions")),
        sa.UniqueConstraint("question_sha256", name=op.f("uq_asked_questions_question_sha256")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "spaces",
        sa.Column("id", _ID, nullable=False),
        sa.Column("encoder_name", sa.Text(), nullable=False),
        sa.Column("encoder_weights_sha256", sa.Text(), nullable=False),
        sa.Column("encoder_dimension", sa.Integer(), nullable=False),
        sa.Column("encoder_preprocessing", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("left_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_spaces")),
        sa.UniqueConstraint("encoder_name", name=op.f("uq_spaces_encoder_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "space_videos",
        sa.Column("space_id", _ID, autoincrement=False, nullable=False),
        sa.Column("video_id", _ID, autoincrement=False, nullable=False),
        sa.Column("clips_sha256", sa.String(length=64), nullable=False),
        sa.Column("feature_file", sa.Text(), nullable=False),
        sa.Column("feature_sha256", sa.String(length=64), nullable=False),
        sa.Column("pictures_sha256", sa.String(length=64), nullable=False),
        sa.Column("segments", sa.JSON(), nullable=False, comment="of its generic summary"),
        _foreign_key("space_videos", "space_id", "spaces"),
        _foreign_key("space_videos", "video_id", "videos"),
        sa.PrimaryKeyConstraint("space_id", "video_id", name=op.f("pk_space_videos")),
    )
    op.create_index(op.f("ix_space_videos_video_id"), "space_videos", ["video_id"])
    op.create_table(
        "space_clip_vectors",
        sa.Column("id", _ID, nullable=False),
        sa.Column("space_id", _ID, nullable=False),
        sa.Column("clip_id", _ID, nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False, comment=_VECTOR),
        _foreign_key("space_clip_vectors", "space_id", "spaces"),
        _foreign_key("space_clip_vectors", "clip_id", "clips"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_space_clip_vectors")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_space_clip_vectors_space_id"), "space_clip_vectors", ["space_id"])
    op.create_index(op.f("ix_space_clip_vectors_clip_id"), "space_clip_vectors", ["clip_id"])
    op.create_table(
        "space_cue_vectors",
        sa.Column("space_id", _ID, autoincrement=False, nullable=False),
        sa.Column("cue_id", _ID, autoincrement=False, nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False, comment=_VECTOR),
        _foreign_key("space_cue_vectors", "space_id", "spaces"),
        _foreign_key("space_cue_vectors", "cue_id", "cues"),
        sa.PrimaryKeyConstraint("space_id", "cue_id", name=op.f("pk_space_cue_vectors")),
    )
    op.create_index(op.f("ix_space_cue_vectors_cue_id"), "space_cue_vectors", ["cue_id"])


def downgrade() -> None:
    for table in (
        "space_cue_vectors",
        "space_clip_vectors",
        "space_videos",
        "spaces",
        "asked_questions",
    ):
        op.drop_table(table)
    for name in ("seal", "parts_sha256", "pictures_sha256"):
        op.drop_column("videos", name)


def _foreign_key(table: str, column: str, referred: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{referred}")
    return sa.ForeignKeyConstraint([column], [f"{referred}.id"], name=name, ondelete="CASCADE")
