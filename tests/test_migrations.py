"""The shipped migrations, on real databases."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from vidsift.errors import SchemaError, StorageError
from vidsift.store import schema, upgrade
from vidsift.store.catalog import Catalog
from vidsift.store.connection import make_engine, parse_url, reading, writing


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'catalog.sqlite3'}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'catalog.sqlite3'}"
        return
    server = os.environ["VIDSIFT_TEST_POSTGRES_URL"]
    name = f"test_{uuid.uuid4().hex}"
    _run(server, f"CREATE SCHEMA {name}")
    own = sa.make_url(server).update_query_dict({"options": f"-csearch_path={name}"})
    yield own.render_as_string(hide_password=False)
    _run(server, f"DROP SCHEMA {name} CASCADE")


def _run(url: str, statement: str) -> None:
    engine = make_engine(parse_url(url))
    with writing(engine) as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def _ask(url: str, statement: str) -> list[tuple[object, ...]]:
    engine = make_engine(parse_url(url), read_only=True)
    with reading(engine) as connection:
        rows = [tuple(row) for row in connection.execute(sa.text(statement))]
    engine.dispose()
    return rows


def test_head_of_the_program_is_head_of_the_migrations() -> None:
    assert upgrade.head() == schema.HEAD
    assert re.fullmatch(r"\d{4}", schema.HEAD)  # older and newer are told by comparing text


def test_migrations_lead_to_the_tables_of_the_program(either: str) -> None:
    assert upgrade.upgrade(either) == schema.HEAD
    upgrade.check(either)


def test_check_sees_a_missing_migration(url: str) -> None:
    upgrade.upgrade(url)
    _run(url, "ALTER TABLE videos DROP COLUMN note")
    with pytest.raises(Exception, match=r"New upgrade operations detected.*note"):
        upgrade.check(url)


def test_down_and_up_again(either: str) -> None:
    upgrade.upgrade(either)
    upgrade.downgrade(either)
    assert upgrade.current(either) is None
    upgrade.upgrade(either)
    with Catalog.open(either) as catalog:
        assert catalog.generation().generation == 0


_VIDEO = (
    "INSERT INTO videos (id, path, status, reason, note, size_bytes, mtime_ns, sha256, "
    "duration_seconds, width, height, frame_rate_numerator, frame_rate_denominator, codec, "
    "has_audio, num_frames, num_clips, num_vectors, feature_file, feature_sha256, indexed_at) "
    "VALUES (7, '/v/a.mp4', 'searchable', '', '', 1, 1, 'ab', 9.0, 64, 48, 25, 1, 'h264', "
    "false, 8, 1, 2, 'a.npy', 'ab', 0.0)"
)


def test_words_come_to_an_older_library_and_go_again(either: str) -> None:
    upgrade.upgrade(either, "0001")
    _run(either, _VIDEO)
    assert upgrade.upgrade(either) == schema.HEAD
    with Catalog.open(either) as catalog:
        [video] = catalog.videos()
        assert (video.id, video.duration_seconds) == (7, 9.0)
    assert _ask(either, "SELECT subtitles FROM videos") == [("",)]
    _run(
        either,
        "INSERT INTO cues (video_id, ordinal, track, start_seconds, end_seconds, text, words, "
        "vector) VALUES (7, 0, '', 0.0, 1.0, 'A Café', 'a cafe', '')",
    )
    upgrade.downgrade(either, "0001")
    assert _ask(either, "SELECT id, path FROM videos") == [(7, "/v/a.mp4")]
    upgrade.upgrade(either)
    upgrade.check(either)


_STANDING = (
    "INSERT INTO standing_questions (id, question, false_alarm_rate, created_at) "
    "VALUES (1, 'a dog', 0.01, 0.0)",
    "INSERT INTO standing_asked (standing_question_id, sha256, words) VALUES (1, 'ab', '/')",
    "INSERT INTO alerts (standing_question_id, video_id, sha256, start_seconds, end_seconds, "
    "peak_seconds, score, said, found_at, waiting_for, seen) "
    "VALUES (1, 7, 'ab', 0.0, 1.0, 0.5, 0.3, '', 0.0, '', false)",
)


def test_standing_questions_come_to_an_older_library_and_go_again(either: str) -> None:
    upgrade.upgrade(either, "0002")
    _run(either, _VIDEO)
    _run(
        either,
        "INSERT INTO summaries (id, video_id, query, query_sha256, budget_seconds, created_at, "
        "segments) VALUES (3, 7, '', 'cd', 2.0, 0.0, '[[0.0, 2.0, 0.5]]')",
    )
    assert upgrade.upgrade(either) == schema.HEAD
    with Catalog.open(either) as catalog:
        [summary] = catalog.summaries(7)
        assert summary.matched is None
        assert [(each.span.end, each.terms) for each in summary.segments] == [(2.0, ())]
    assert _ask(either, "SELECT speech FROM videos") == [("",)]
    for statement in _STANDING:
        _run(either, statement)
    upgrade.downgrade(either, "0002")
    assert _ask(either, "SELECT id, path FROM videos") == [(7, "/v/a.mp4")]
    assert _ask(either, "SELECT id, budget_seconds FROM summaries") == [(3, 2.0)]
    upgrade.upgrade(either)
    upgrade.check(either)


def test_alerts_go_with_their_question_and_their_video(either: str) -> None:
    upgrade.upgrade(either)
    _run(either, _VIDEO)
    for statement in _STANDING:
        _run(either, statement)
    _run(either, "DELETE FROM videos WHERE id = 7")
    assert _ask(either, "SELECT id FROM alerts") == []
    assert len(_ask(either, "SELECT * FROM standing_asked")) == 1  # the content may come back
    _run(either, "DELETE FROM standing_questions WHERE id = 1")
    assert _ask(either, "SELECT * FROM standing_asked") == []


def test_full_text_index_follows_the_cues(url: str) -> None:
    upgrade.upgrade(url)
    _run(url, _VIDEO)
    for number, words in enumerate(("a cat", "a dog", "a cat and a dog")):
        _run(
            url,
            "INSERT INTO cues (video_id, ordinal, track, start_seconds, end_seconds, text, words, "
            f"vector) VALUES (7, {number}, '', 0.0, 1.0, 'x', '{words}', '')",
        )
    cats = "SELECT rowid FROM cues_words WHERE cues_words MATCH '\"cat\"' ORDER BY rowid"
    assert _ask(url, cats) == [(1,), (3,)]
    _run(url, "UPDATE cues SET words = 'a hen' WHERE ordinal = 0")
    assert _ask(url, cats) == [(3,)]
    _run(url, "DELETE FROM videos WHERE id = 7")
    assert _ask(url, cats) == []
    _run(url, "INSERT INTO cues_words(cues_words, rank) VALUES ('integrity-check', 1)")


def test_older_schema_names_the_command(url: str) -> None:
    upgrade.upgrade(url)
    _run(url, "UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(SchemaError, match=r"0000 is older .*vidsift db upgrade --library"):
        Catalog.open(url)
    with pytest.raises(SchemaError, match="older"):
        Catalog.create(url)


def test_newer_schema_is_refused(url: str) -> None:
    upgrade.upgrade(url)
    _run(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaError, match=r"9999 is newer .*upgrade vidsift"):
        Catalog.open(url)
    with pytest.raises(SchemaError, match="9999 is newer"):
        upgrade.upgrade(url)


def test_failed_migration_leaves_nothing(url: str) -> None:
    upgrade.upgrade(url)
    upgrade.downgrade(url)
    _run(url, "CREATE TABLE summaries (mine INTEGER)")
    with pytest.raises(sa.exc.OperationalError, match="already exists"):
        upgrade.upgrade(url)
    engine = make_engine(parse_url(url))
    with engine.connect() as connection:
        assert "videos" not in sa.inspect(connection).get_table_names()
    engine.dispose()


def test_file_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"absent.*cannot be created"):
        upgrade.upgrade(f"sqlite:///{tmp_path / 'absent' / 'catalog.sqlite3'}")


@pytest.mark.slow
def test_opening_imports_no_alembic(url: str) -> None:
    upgrade.upgrade(url)
    code = (
        "import sys; from vidsift.store.catalog import Catalog; "
        f"Catalog.open({url!r}).close(); "
        "assert not {'alembic', 'faiss'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
