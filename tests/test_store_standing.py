"""Standing questions and alerts in the catalog, on SQLite and, where there is one, PostgreSQL."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from vidsift.errors import QueryError
from vidsift.store import standing
from vidsift.store.catalog import Catalog
from vidsift.store.connection import make_engine, parse_url, writing
from vidsift.store.standing import (
    Alert,
    add_question,
    alerts,
    due,
    mark_delivered,
    mark_seen,
    record_answer,
    remove_question,
)
from vidsift.types import (
    Clip,
    ClipVectors,
    Cue,
    Fingerprint,
    FrameFeatures,
    IndexedVideo,
    Moment,
    SearchResult,
    Shot,
    Span,
    Summary,
    VideoProbe,
)


def video(path: str, content: str) -> IndexedVideo:
    span = Span(0.0, 20.0)
    features = FrameFeatures(np.eye(2, dtype=np.float32)[:1], np.zeros(1))
    return IndexedVideo(
        probe=VideoProbe(
            Path(path), "mp4", "h264", "yuv420p", 64, 48, 0, Fraction(25), 20.0, 0.0, False, False
        ),
        fingerprint=Fingerprint(1, 1, content * 64),
        duration_seconds=20.0,
        shots=(Shot(span),),
        clips=(Clip(span, 0, 0, 1),),
        features=features,
        vectors=(ClipVectors(features.features),),
        thumbnails=(b"",),
        summary=Summary("", (), 1.0),
    )


def result(video_id: int, start: float, end: float, said: str = "") -> SearchResult:
    moment = Moment(video_id, 1, Span(start, end), start + 0.5, 0.4)
    cue = Cue(Span(start, end), said) if said else None
    return SearchResult(moment, Path("v"), Path("t"), None if said else 0.004, ("picture",), cue)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    if request.param == "sqlite":
        with Catalog.create(f"sqlite:///{tmp_path / 'catalog.sqlite3'}") as opened:
            yield opened
        return
    server = sa.make_url(os.environ["VIDSIFT_TEST_POSTGRES_URL"])
    schema = f"test_{uuid.uuid4().hex}"
    _run(server, f"CREATE SCHEMA {schema}")
    own = server.update_query_dict({"options": f"-csearch_path={schema}"})
    with Catalog.create(own.render_as_string(hide_password=False)) as opened:
        yield opened
    _run(server, f"DROP SCHEMA {schema} CASCADE")


def _run(url: sa.URL, statement: str) -> None:
    engine = make_engine(parse_url(url.render_as_string(hide_password=False)))
    with writing(engine) as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def commit(catalog: Catalog, path: str, content: str) -> int:
    return catalog.commit_video(video(path, content), f"{path[1:]}.npy", content * 64)


def asked(catalog: Catalog) -> list[tuple[int, int, bool]]:
    return [(each.question.id, each.video_id, each.words_only) for each in due(catalog)]


def answer(
    catalog: Catalog, *found: SearchResult, waiting_for: tuple[str, ...] = ()
) -> list[Alert]:
    """Write down what the first question that is due found."""
    return record_answer(catalog, due(catalog)[0], found, waiting_for)


def test_a_question_is_asked_of_every_content_that_comes_after_it(catalog: Catalog) -> None:
    commit(catalog, "/old.mp4", "1")
    first = add_question(catalog, 'a "dog" \\ cat', 0.01)
    assert standing.questions(catalog) == [first]
    assert asked(catalog) == []
    new = commit(catalog, "/new.mp4", "2")
    second = add_question(catalog, "later", 0.05)
    assert asked(catalog) == [(first.id, new, False)]
    assert answer(catalog) == []
    assert asked(catalog) == []

    commit(catalog, "/copy.mp4", "2")  # the same content elsewhere
    assert asked(catalog) == []
    other = commit(catalog, "/new.mp4", "3")  # other content in the same place
    assert other == new
    assert asked(catalog) == [(first.id, new, False), (second.id, new, False)]
    catalog.mark_missing([new])
    assert asked(catalog) == []
    catalog.restore_video(new, video("/new.mp4", "3").fingerprint)
    assert len(asked(catalog)) == 2


def test_a_moment_is_alerted_once(catalog: Catalog) -> None:
    question = add_question(catalog, "a dog", 0.01)
    new = commit(catalog, "/new.mp4", "1")
    [waiting] = due(catalog)
    found = [result(new, 1.0, 3.0), result(new, 1.5, 3.0), result(new, 9.0, 12.0)]
    [one, two] = record_answer(catalog, waiting, found, ("webhook", "command"))
    assert (one.span, two.span) == (Span(1.0, 3.0), Span(9.0, 12.0))
    assert one == alerts(catalog)[0]
    assert (one.question, one.video, one.false_alarm_rate) == ("a dog", Path("/new.mp4"), 0.004)
    assert record_answer(catalog, waiting, found) == []  # as another process may

    catalog.renew_cues(new, [], None, subtitles="s", note="")
    assert asked(catalog) == [(question.id, new, True)]
    [said] = answer(catalog, result(new, 1.0, 2.5, "a dog"), result(new, 15.0, 16.0, "dog \0"))
    assert (said.said, said.false_alarm_rate) == ("dog \0", None)
    assert asked(catalog) == []


def test_the_same_words_from_another_question_are_another_alert(catalog: Catalog) -> None:
    add_question(catalog, "a dog", 0.01)
    add_question(catalog, "an animal", 0.01)
    new = commit(catalog, "/new.mp4", "1")
    assert len(answer(catalog, result(new, 1.0, 3.0))) == 1
    assert len(answer(catalog, result(new, 1.0, 3.0))) == 1


def test_seen_delivered_and_since(catalog: Catalog) -> None:
    add_question(catalog, "a dog", 0.01)
    new = commit(catalog, "/new.mp4", "1")
    found = [result(new, 1.0, 3.0), result(new, 9.0, 12.0)]
    one, two = answer(catalog, *found, waiting_for=("webhook", "command"))
    mark_seen(catalog, [one.id])
    assert [each.id for each in alerts(catalog, unseen=True)] == [two.id]
    mark_seen(catalog, [one.id], seen=False)
    assert len(alerts(catalog, unseen=True)) == 2
    assert alerts(catalog, since=two.found_at + 1) == []
    assert len(alerts(catalog, since=one.found_at)) == 2

    mark_delivered(catalog, one.id, "webhook")
    [now] = alerts(catalog, ids=[one.id])
    assert (now.waiting_for, now.delivered_at is not None) == (("command",), True)
    mark_delivered(catalog, one.id, "command")
    assert [each.id for each in alerts(catalog, waiting=True)] == [two.id]

    commit(catalog, "/new.mp4", "2")
    assert [each.is_current for each in alerts(catalog)] == [False, False]


def test_a_question_that_is_removed_takes_its_alerts_along(catalog: Catalog) -> None:
    question = add_question(catalog, "a dog", 0.01)
    new = commit(catalog, "/new.mp4", "1")
    [waiting] = due(catalog)
    commit(catalog, "/second.mp4", "2")
    [alert] = answer(catalog, result(new, 1.0, 3.0), waiting_for=("webhook",))
    [left] = due(catalog)
    remove_question(catalog, question.id)
    assert alerts(catalog) == []
    assert due(catalog) == []
    mark_delivered(catalog, alert.id, "webhook")  # as watch does that was just at it
    assert record_answer(catalog, left, [result(left.video_id, 1.0, 3.0)]) == []
    assert record_answer(catalog, replace(waiting, sha256="9" * 64), []) == []
    with pytest.raises(QueryError, match=r"no standing question has the id 1; .*standing list"):
        remove_question(catalog, question.id)
