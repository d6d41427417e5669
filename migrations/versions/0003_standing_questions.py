"""standing questions and their alerts, who transcribed a video, whether a summary matched."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SEGMENTS = ("[[start, end, saliency], ...]", "[[start, end, saliency, terms], ...]")


def upgrade() -> None:
    op.add_column("videos", sa.Column("speech", sa.Text(), nullable=False, server_default=""))
    op.add_column("summaries", sa.Column("matched", sa.Boolean(), nullable=True))
    _comment_segments(*_SEGMENTS)
    op.create_table(
        "standing_questions",
        sa.Column("id", _ID, nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("false_alarm_rate", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_standing_questions")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "standing_asked",
        sa.Column("standing_question_id", _ID, autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["standing_question_id"],
            ["standing_questions.id"],
            name=op.f("fk_standing_asked_standing_question_id_standing_questions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "standing_question_id", "sha256", "words", name=op.f("pk_standing_asked")
        ),
    )
    op.create_table(
        "alerts",
        sa.Column("id", _ID, nullable=False),
        sa.Column("standing_question_id", _ID, nullable=False),
        sa.Column("video_id", _ID, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("start_seconds", sa.Double(), nullable=False),
        sa.Column("end_seconds", sa.Double(), nullable=False),
        sa.Column("peak_seconds", sa.Double(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("false_alarm_rate", sa.Double(), nullable=True),
        sa.Column("said", sa.Text(), nullable=False, comment="the words that were found, if any"),
        sa.Column("found_at", sa.Double(), nullable=False),
        sa.Column(
            "waiting_for",
            sa.Text(),
            nullable=False,
            comment="channels that still are to get it",
        ),
        sa.Column("delivered_at", sa.Double(), nullable=True),
        sa.Column("seen", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["standing_question_id"],
            ["standing_questions.id"],
            name=op.f("fk_alerts_standing_question_id_standing_questions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["video_id"], ["videos.id"], name=op.f("fk_alerts_video_id_videos"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_alerts_standing_question_id"), "alerts", ["standing_question_id"])
    op.create_index(op.f("ix_alerts_video_id"), "alerts", ["video_id"])


def downgrade() -> None:
    op.drop_table("alerts")
    op.drop_table("standing_asked")
    op.drop_table("standing_questions")
    op.drop_column("summaries", "matched")
    op.drop_column("videos", "speech")
    _comment_segments(*reversed(_SEGMENTS))


def _comment_segments(before: str, after: str) -> None:
    if op.get_context().dialect.name == "sqlite":  # keeps no comments
        return
    op.alter_column(
        "summaries",
        "segments",
        existing_type=sa.JSON(),
        existing_nullable=False,
        existing_comment=before,
        comment=after,
    )
