"""words and tags: the cues of subtitles with their full text index, and the tags of videos.

The full text index holds `cues.words`. On SQLite it is an FTS5 table of external content that
triggers keep in step inside the same transaction (also where a video's cues go with it); on
PostgreSQL a GIN index over the tsvector of the column.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_FTS5 = (
    # The words come folded already; marks belong to words (vowels of Hindi and Thai are marks).
    "CREATE VIRTUAL TABLE cues_words USING fts5(words, content='cues', content_rowid='id', "
    "tokenize=\"unicode61 remove_diacritics 0 categories 'L* N* M* Co'\")",
    "CREATE TRIGGER cues_words_insert AFTER INSERT ON cues BEGIN "
    "INSERT INTO cues_words(rowid, words) VALUES (new.id, new.words); END",
    "CREATE TRIGGER cues_words_delete AFTER DELETE ON cues BEGIN "
    "INSERT INTO cues_words(cues_words, rowid, words) VALUES ('delete', old.id, old.words); END",
    "CREATE TRIGGER cues_words_update AFTER UPDATE ON cues BEGIN "
    "INSERT INTO cues_words(cues_words, rowid, words) VALUES ('delete', old.id, old.words); "
    "INSERT INTO cues_words(rowid, words) VALUES (new.id, new.words); END",
)


def upgrade() -> None:
    op.add_column(
        "videos",
        sa.Column("subtitles", sa.String(length=64), nullable=False, server_default=""),
    )
    op.add_column(
        "videos", sa.Column("subtitles_note", sa.Text(), nullable=False, server_default="")
    )
    op.create_table(
        "cues",
        sa.Column("id", _ID, nullable=False),
        sa.Column("video_id", _ID, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("track", sa.Text(), nullable=False),
        sa.Column("start_seconds", sa.Double(), nullable=False),
        sa.Column("end_seconds", sa.Double(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False, comment="float16, little endian"),
        sa.ForeignKeyConstraint(
            ["video_id"], ["videos.id"], name=op.f("fk_cues_video_id_videos"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cues")),
        sa.UniqueConstraint("video_id", "ordinal", name=op.f("uq_cues_video_id_ordinal")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "tags",
        sa.Column("video_id", _ID, autoincrement=False, nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["video_id"], ["videos.id"], name=op.f("fk_tags_video_id_videos"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("video_id", "tag", name=op.f("pk_tags")),
    )
    op.create_index(op.f("ix_tags_tag"), "tags", ["tag"])
    if op.get_context().dialect.name == "sqlite":
        for statement in _FTS5:
            op.execute(statement)
    else:
        op.execute(
            "CREATE INDEX ix_cues_words ON cues USING gin (to_tsvector('simple'::regconfig, words))"
        )


def downgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        op.execute("DROP TABLE cues_words")
    op.drop_table("tags")
    op.drop_table("cues")
    op.drop_column("videos", "subtitles_note")
    op.drop_column("videos", "subtitles")
