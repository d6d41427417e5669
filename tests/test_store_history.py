"""What people asked, on real databases."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from vidsift.store import history
from vidsift.store.catalog import Catalog
from vidsift.store.connection import make_engine, parse_url, writing


def _run(url: str, statement: str) -> None:
    engine = make_engine(parse_url(url))
    with writing(engine) as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


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


def test_a_question_is_one_row_however_often_it_is_asked(catalog):
    before = time.time()
    for question in ("a dog", "a cat", " a dog\n"):
        assert history.remember(catalog, question)
    found = history.asked(catalog)
    assert [(each.question, each.times) for each in found] == [("a dog", 2), ("a cat", 1)]
    assert before <= found[1].last_asked_at <= found[0].last_asked_at <= time.time()
    assert [each.question for each in history.asked(catalog, 1)] == ["a dog"]
    assert not history.remember(catalog, "  ")


def test_any_text_comes_back_as_it_was_asked(catalog):
    odd = ['said:"o\'clock" -"x"; DROP TABLE videos', "\\ \0 \udce4 🐕", "%_" * 500]
    for question in odd:
        assert history.remember(catalog, question)
    assert {each.question for each in history.asked(catalog)} == {each.strip() for each in odd}


def test_only_the_newest_are_kept(catalog, monkeypatch):
    monkeypatch.setattr(history, "MOST", 3)
    for question in ("one", "two", "three", "one", "four"):
        history.remember(catalog, question)
    assert [each.question for each in history.asked(catalog)] == ["four", "one", "three"]


def test_questions_that_name_something_are_forgotten(catalog):
    for question in ("a dog video:Holiday.mp4", "a dog", "50% of holiday"):
        history.remember(catalog, question)
    assert history.forget(catalog, "holiday.MP4", "nothing like it") == 1
    assert [each.question for each in history.asked(catalog)] == ["50% of holiday", "a dog"]
    assert history.forget(catalog) == 2
    assert history.asked(catalog) == []


def test_a_busy_catalog_is_not_waited_for(catalog):
    history.remember(catalog, "a dog")
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with writing(catalog._engine) as connection:
            connection.execute(sa.text("UPDATE asked_questions SET times = times"))
            locked.set()
            done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert locked.wait(20)
        began = time.monotonic()
        assert not history.remember(catalog, "a dog")
        assert time.monotonic() - began < 2  # the engine itself waits for 10 s
    finally:
        done.set()
        holder.join()
    assert history.remember(catalog, "a dog")


def test_its_haste_does_not_stay_with_the_connection(tmp_path):
    with Catalog.create(f"sqlite:///{tmp_path / 'catalog.sqlite3'}") as catalog:
        history.remember(catalog, "a dog")
        with catalog._engine.connect() as connection:
            for name, value in (("busy_timeout", 10_000), ("synchronous", 2)):
                assert connection.exec_driver_sql(f"PRAGMA {name}").scalar() == value


def test_a_catalog_that_may_only_be_read_is_left_as_it_is(tmp_path):
    url = f"sqlite:///{tmp_path / 'catalog.sqlite3'}"
    Catalog.create(url).close()
    with Catalog.open(url, read_only=True) as catalog:
        assert not history.remember(catalog, "a dog")
        assert history.asked(catalog) == []
