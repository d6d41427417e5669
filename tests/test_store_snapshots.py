"""One state of a catalog while it is read, for all threads of a process."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from vidsift.errors import DamagedLibraryError, LibraryChangedError
from vidsift.store.catalog import Catalog
from vidsift.store.connection import make_engine, parse_url, writing
from vidsift.store.features import FeatureStore
from vidsift.types import Fingerprint


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    if request.param == "sqlite":
        with Catalog.create(f"sqlite:///{tmp_path / 'catalog.sqlite3'}") as opened:
            yield opened
        return
    server = os.environ["VIDSIFT_TEST_POSTGRES_URL"]
    name = f"test_{uuid.uuid4().hex}"
    _run(server, f"CREATE SCHEMA {name}")
    own = sa.make_url(server).update_query_dict({"options": f"-csearch_path={name}"})
    with Catalog.create(own.render_as_string(hide_password=False)) as opened:
        yield opened
    _run(server, f"DROP SCHEMA {name} CASCADE")


def _run(url: str, statement: str) -> None:
    engine = make_engine(parse_url(url))
    with writing(engine) as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def _add(catalog: Catalog, name: str) -> None:
    catalog.mark_failed(Path(f"/v/{name}"), Fingerprint(1, 2, "0" * 64), "no video")


def _move_on(catalog: Catalog) -> None:
    """As a commit of a video does."""
    with writing(catalog._engine) as connection:
        connection.execute(sa.text("UPDATE library SET generation = generation + 1"))


def _names(catalog: Catalog) -> list[str]:
    return [video.path.name for video in catalog.videos()]


def test_a_snapshot_does_not_see_what_is_written_meanwhile(catalog):
    _add(catalog, "a")
    with catalog.snapshot():
        before = catalog.generation()
        assert not catalog.has_changed()
        with catalog.snapshot():  # the same one
            _add(catalog, "b")
            _move_on(catalog)
            assert _names(catalog) == ["a"]
        assert catalog.generation() == before
        assert catalog.has_changed()
    assert _names(catalog) == ["a", "b"]
    assert catalog.generation() != before
    assert not catalog.has_changed()


def test_a_snapshot_is_of_its_thread_alone(catalog):
    found = []
    with catalog.snapshot():
        _add(catalog, "a")
        other = threading.Thread(target=lambda: found.append(_names(catalog)))
        other.start()
        other.join()
        assert _names(catalog) == []
    assert found == [["a"]]


def test_snapshots_of_one_state_are_held_together_and_of_another_after_them(catalog):
    inside, told = threading.Barrier(2, timeout=30), []
    leave = threading.Event()

    def first() -> None:
        with catalog.snapshot():
            inside.wait()  # both at once
            inside.wait()
            assert leave.wait(30)
            told.append("first")

    def later() -> None:
        with catalog.snapshot():
            told.append(f"later {_names(catalog)}")

    one = threading.Thread(target=first)
    one.start()
    with catalog.snapshot():
        inside.wait()
    _add(catalog, "a")
    _move_on(catalog)
    inside.wait()
    two = threading.Thread(target=later)
    two.start()
    time.sleep(0.2)
    assert told == []
    leave.set()
    one.join(30)
    two.join(30)
    assert told == ["first", "later ['a']"]


def test_a_snapshot_that_fails_is_over(catalog):
    with pytest.raises(RuntimeError, match="mine"), catalog.snapshot():
        raise RuntimeError("mine")
    _add(catalog, "a")
    with catalog.snapshot():
        assert _names(catalog) == ["a"]


def test_a_file_that_is_gone_is_damage_only_where_the_catalog_stayed_as_it_is(catalog, tmp_path):
    store = FeatureStore(tmp_path / "features", catalog.has_changed)
    with catalog.snapshot():
        with pytest.raises(DamagedLibraryError):
            store.read("gone.npy", 0, 1, 3)
        _move_on(catalog)
        with pytest.raises(LibraryChangedError, match="ask again"):
            store.read("gone.npy", 0, 1, 3)
    with pytest.raises(DamagedLibraryError):
        store.open("gone.npy")
