"""The shipped migrations, on real databases."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from vidsift.errors import SchemaError, StorageError
from vidsift.store import schema, upgrade
from vidsift.store.catalog import Catalog
from vidsift.store.connection import make_engine, parse_url, writing


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'catalog.sqlite3'}"


def _run(url: str, statement: str) -> None:
    engine = make_engine(parse_url(url))
    with writing(engine) as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def test_head_of_the_program_is_head_of_the_migrations() -> None:
    assert upgrade.head() == schema.HEAD
    assert re.fullmatch(r"\d{4}", schema.HEAD)  # older and newer are told by comparing text


def test_migrations_lead_to_the_tables_of_the_program(url: str) -> None:
    assert upgrade.upgrade(url) == schema.HEAD
    upgrade.check(url)


def test_check_sees_a_missing_migration(url: str) -> None:
    upgrade.upgrade(url)
    _run(url, "ALTER TABLE videos DROP COLUMN note")
    with pytest.raises(Exception, match=r"New upgrade operations detected.*note"):
        upgrade.check(url)


def test_down_and_up_again(url: str) -> None:
    upgrade.upgrade(url)
    upgrade.downgrade(url)
    assert upgrade.current(url) is None
    upgrade.upgrade(url)
    with Catalog.open(url) as catalog:
        assert catalog.generation().generation == 0


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
