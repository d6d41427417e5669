"""Checksums of rows: the same in both databases, renewed by any change, broken by any damage."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from vidsift.store import seals
from vidsift.store.catalog import Catalog
from vidsift.store.connection import make_engine, reading, writing
from vidsift.store.tags import change_tags
from vidsift.types import (
    Clip,
    ClipVectors,
    Cue,
    Fingerprint,
    FrameFeatures,
    IndexedVideo,
    Segment,
    Shot,
    Span,
    Summary,
    VideoProbe,
)

SHA = "f" * 64


def video(path: str, seed: int = 0, num_clips: int = 3) -> IndexedVideo:
    rng = np.random.default_rng(seed)

    def unit(*shape: int) -> np.ndarray:
        # Of no unit length, but the same to the last bit on every machine.
        return (rng.integers(-99, 100, size=shape) / 128).astype(np.float32)

    spans = [Span(4.1 * i, 4.1 * i + 4.1) for i in range(num_clips)]
    return IndexedVideo(
        VideoProbe(
            Path(path), "mp4", "h264", "yuv420p", 64, 48, 0, Fraction(30000, 1001), 9.0, 0.0, True,
            False,
        ),
        Fingerprint(1000 + seed, 10**18 + seed, f"{seed:064x}"),
        4.1 * num_clips,
        tuple(Shot(span) for span in spans),
        tuple(Clip(span, i, 8 * i, 8) for i, span in enumerate(spans)),
        FrameFeatures(unit(8 * num_clips, 6), np.arange(8 * num_clips) / 3),
        tuple(ClipVectors(unit(2, 6)) for _ in spans),
        tuple(b"jpeg" for _ in spans),
        Summary("", (Segment(Span(0.5, 1.5), 0.1),), 1.0),
        note="its end is missing",
        cues=(Cue(Span(0.1, 1.7), "a \\ line \U0001f600", "en"), Cue(Span(2.0, 3.0), "two", "en")),
        cue_vectors=unit(2, 6),
        subtitles="x" * 64,
    )  # fmt: skip


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    if request.param == "sqlite":
        with Catalog.create(f"sqlite:///{tmp_path / 'catalog.sqlite3'}") as catalog:
            yield catalog
        return
    server = sa.make_url(os.environ["VIDSIFT_TEST_POSTGRES_URL"])
    schema = f"test_{uuid.uuid4().hex}"
    engine = make_engine(server)
    with writing(engine) as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    own = server.update_query_dict({"options": f"-csearch_path={schema}"})
    with Catalog.create(own.render_as_string(hide_password=False)) as catalog:
        yield catalog
    with writing(engine) as connection:
        connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


def wrong(catalog: Catalog, *ids: int) -> list[str]:
    with reading(catalog._engine) as connection:
        found = seals.unfit(connection, ids)
        assert all(seals.fit(connection, each) == (not found[each]) for each in found)
    return [found[each] for each in ids]


def change(catalog: Catalog, statement: str) -> None:
    with writing(catalog._engine) as connection:
        assert connection.execute(sa.text(statement)).rowcount >= 1


def taken(catalog: Catalog, video_id: int) -> tuple[str, str]:
    with reading(catalog._engine) as connection:
        query = sa.text(f"SELECT parts_sha256, seal FROM videos WHERE id = {video_id}")
        return tuple(connection.execute(query).one())


def test_checksums_do_not_depend_on_the_database(catalog: Catalog, monkeypatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.123456)
    catalog.commit_video(video("/v/other.mp4", 1), "other.npy", SHA)
    own = catalog.commit_video(video("/v/\udcff \x00 ü.mp4", 2), "a.npy", SHA, "e" * 64)
    change_tags(catalog, [own], add=["über", "ab", "Zoo"])
    # Of both databases, on any machine: a stored library must be readable by the next version.
    assert taken(catalog, own) == (
        "ca97f9c30b76fd8f46b91664bdb83cbe11c18c69cb9028ba6e04f18378670597",
        "da7375ef581f00f849b1def28d23ca3366bb6f109161b8c761a95c86f17c8c9a",
    )


def test_every_change_renews_the_seal_and_the_parts_stay(catalog: Catalog) -> None:
    own = catalog.commit_video(video("/v/a.mp4"), "a.npy", SHA)
    seen = {taken(catalog, own)[1]}
    parts = taken(catalog, own)[0]

    def changed() -> None:
        assert wrong(catalog, own) == [""]
        now, seal = taken(catalog, own)
        assert seal not in seen
        assert now == parts
        seen.add(seal)

    change_tags(catalog, [own], add=["holiday"])
    changed()
    change_tags(catalog, [own], remove=["holiday"], add=["work"])
    changed()
    catalog.save_summary(own, Summary("dog", (Segment(Span(0.0, 2.0), 0.5),), 2.0, True))
    changed()
    heard = [Cue(Span(0.0, 1.0), "hello", "speech en")]
    catalog.save_speech(own, heard, np.eye(6, dtype=np.float32)[:1], model="small")
    changed()
    catalog.renew_cues(own, [], None, subtitles="y", note="cannot be read")
    changed()
    catalog.mark_missing([own])
    changed()
    catalog.move_video(own, Path("/v/b.mp4"), Fingerprint(1, 2, "a" * 64))
    changed()
    catalog.restore_video(own, Fingerprint(1, 3, "a" * 64))
    changed()
    other = catalog.mark_failed(Path("/v/bad.mp4"), None, "is no video")
    assert wrong(catalog, other) == [""]
    assert taken(catalog, other)[1]


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE shots SET end_seconds = end_seconds + 1e-9 WHERE ordinal = 1", "shots"),
        ("UPDATE clips SET first_frame = 9 WHERE ordinal = 1", "shots"),
        ("UPDATE clips SET pts_seconds = (SELECT pts_seconds FROM clips WHERE ordinal = 2"
         " AND video_id = 1) WHERE ordinal = 1", "shots"),
        ("DELETE FROM clips WHERE ordinal = 2", "shots"),
        ("DELETE FROM clip_vectors WHERE id = 2", "shots"),
        ("UPDATE clip_vectors SET vector = (SELECT vector FROM clip_vectors WHERE id = 1)"
         " WHERE id = 3", "shots"),
        ("UPDATE clip_vectors SET clip_id = 1 WHERE id = 3", "shots"),
        ("UPDATE videos SET duration_seconds = 13", "entry"),
        ("UPDATE videos SET feature_sha256 = 'a'", "entry"),
        ("UPDATE videos SET path = '/v/z.mp4'", "entry"),
        ("UPDATE cues SET text = 'on' WHERE ordinal = 1", "entry"),
        ("UPDATE cues SET words = 'on' WHERE ordinal = 1", "entry"),
        ("DELETE FROM cues WHERE ordinal = 1", "entry"),
        ("UPDATE summaries SET segments = '[[0.5, 1.5, 0.2, []]]'", "entry"),
        ("DELETE FROM summaries", "entry"),
        ("DELETE FROM tags", "entry"),
        ("UPDATE tags SET tag = 'holidaz'", "entry"),
        ("UPDATE videos SET parts_sha256 = 'a'", " and "),
    ],
)  # fmt: skip
def test_damage_is_seen_and_no_change_hides_it(catalog: Catalog, statement: str, what: str) -> None:
    own = catalog.commit_video(video("/v/a.mp4", 1), "a.npy", SHA)
    change_tags(catalog, [own], add=["holiday"])
    assert wrong(catalog, own) == [""]
    change(catalog, statement)
    (found,) = wrong(catalog, own)
    assert what in found
    change_tags(catalog, [own], add=["work"])
    catalog.restore_video(own, Fingerprint(1, 3, "a" * 64))
    assert wrong(catalog, own)[0]
    # Indexed anew, all of it is what was just written.
    assert catalog.commit_video(video("/v/a.mp4", 1), "b.npy", SHA) in (own, own + 1)
    now = catalog.video_by_path(Path("/v/a.mp4"))
    assert now is not None
    assert wrong(catalog, now.id) == [""]


def test_checksums_that_are_not_taken_say_nothing_until_they_are(catalog: Catalog) -> None:
    own = catalog.commit_video(video("/v/a.mp4"), "a.npy", SHA)
    before = taken(catalog, own)
    change(catalog, "UPDATE videos SET parts_sha256 = '', seal = ''")
    change_tags(catalog, [own], add=["work"])
    change_tags(catalog, [own], remove=["work"])
    assert taken(catalog, own) == ("", "")
    assert wrong(catalog, own) == [""]
    with writing(catalog._engine) as connection:
        seals.take(connection, [own])
    assert taken(catalog, own) == before


def test_bytes_that_are_no_text_or_number_are_damage_and_not_an_error(tmp_path: Path) -> None:
    with Catalog.create(f"sqlite:///{tmp_path / 'catalog.sqlite3'}") as catalog:
        ids = [catalog.commit_video(video(f"/v/{n}.mp4", n), f"{n}.npy", SHA) for n in range(6)]
        for statement in (
            "UPDATE videos SET path = CAST(x'2fff' AS TEXT) WHERE id = 1",
            "UPDATE clips SET pts_seconds = 'text' WHERE video_id = 2 AND ordinal = 1",
            "UPDATE clips SET start_seconds = x'00' WHERE video_id = 3 AND ordinal = 1",
            "UPDATE summaries SET segments = CAST(x'ff5b' AS TEXT) WHERE video_id = 4",
            "UPDATE videos SET duration_seconds = 9e999 WHERE id = 5",
        ):
            change(catalog, statement)
        assert [bool(each) for each in wrong(catalog, *ids)] == [True] * 5 + [False]


def test_a_folder_is_its_files_by_name_and_content(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "0.jpg").write_bytes(b"one")
    (folder / "1.jpg").write_bytes(b"two")
    before = seals.folder_sha256(folder)
    (folder / "1.jpg").rename(folder / "2.jpg")
    assert seals.folder_sha256(folder) != before
    (folder / "2.jpg").rename(folder / "1.jpg")
    assert seals.folder_sha256(folder) == before
    (folder / "1.jpg").write_bytes(b"twp")
    assert seals.folder_sha256(folder) != before
