"""The catalog on a real SQLite file and, where there is a server, on PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from vidsift.errors import (
    ConfigError,
    DamagedLibraryError,
    EncoderMismatchError,
    LibraryBusyError,
    LibraryError,
    LibraryNotFoundError,
    StorageError,
    VideoNotFoundError,
)
from vidsift.store import reconcile
from vidsift.store.catalog import Catalog
from vidsift.store.connection import make_engine, parse_url, reading, writing
from vidsift.store.schema import EscapedText
from vidsift.types import (
    Clip,
    ClipVectors,
    EncoderStamp,
    Fingerprint,
    FrameFeatures,
    IndexedVideo,
    Segment,
    Shot,
    Span,
    Summary,
    VideoProbe,
)

STAMP = EncoderStamp("colour", "ab" * 32, 6, "none")
SHA = "f" * 64


def _unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    drawn = rng.normal(size=shape)
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(np.float32)


def video(path: str, num_clips: int = 3, seed: int = 0, k: int = 2) -> IndexedVideo:
    rng = np.random.default_rng(seed)
    spans = [Span(4.0 * i, 4.0 * i + 4.0) for i in range(num_clips)]
    return IndexedVideo(
        VideoProbe(
            Path(path), "mp4", "h264", "yuv420p", 64, 48, 0, Fraction(30000, 1001), 9.0, 0.0, True,
            False,
        ),
        Fingerprint(1000 + seed, 10**18 + seed, f"{seed:064x}"),
        4.0 * num_clips,
        tuple(Shot(span) for span in spans),
        tuple(Clip(span, i, 8 * i, 8) for i, span in enumerate(spans)),
        FrameFeatures(_unit(rng, 8 * num_clips, 6), np.arange(8 * num_clips) / 3),
        tuple(ClipVectors(_unit(rng, k, 6)) for _ in spans),
        tuple(b"jpeg" for _ in spans),
        Summary("", (Segment(Span(0.5, 1.5), 0.25),), 1.0),
        note="its end is missing",
    )  # fmt: skip


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'catalog.sqlite3'}"
        return
    server = sa.make_url(os.environ["VIDSIFT_TEST_POSTGRES_URL"])
    schema = f"test_{uuid.uuid4().hex}"
    engine = make_engine(server)
    with writing(engine) as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    own = server.update_query_dict({"options": f"-csearch_path={schema}"})
    yield own.render_as_string(hide_password=False)
    with writing(engine) as connection:
        connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    with Catalog.create(url) as catalog:
        yield catalog


def _commit(catalog: Catalog, *names: str, **options: int) -> list[int]:
    return [
        catalog.commit_video(video(f"/v/{name}", seed=seed, **options), f"{name}-{seed}.npy", SHA)
        for seed, name in enumerate(names, 1)
    ]


def _rows(catalog: Catalog, table: str) -> int:
    with reading(catalog._engine) as connection:
        return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_video_comes_back_as_it_was_committed(catalog: Catalog) -> None:
    given_video = video("/v/a b.mp4", seed=5)
    video_id = catalog.commit_video(given_video, "a.npy", SHA)
    record = catalog.video(video_id)
    assert record is not None
    assert record == catalog.video_by_path(Path("/v/a b.mp4"))
    assert (record.status, record.reason, record.note) == ("searchable", "", "its end is missing")
    assert record.fingerprint == given_video.fingerprint
    assert record.frame_rate == Fraction(30000, 1001)
    assert (record.width, record.height, record.codec, record.has_audio) == (64, 48, "h264", True)
    assert (record.num_frames, record.num_clips, record.feature_file) == (24, 3, "a.npy")
    assert catalog.shots_of_video(video_id) == list(given_video.shots)
    assert catalog.summaries(video_id) == [given_video.summary]
    assert catalog.feature_files() == {"a.npy": SHA}
    clips = catalog.clips_of_video(video_id)
    assert [clip.clip for clip in clips] == list(given_video.clips)
    assert [clip.ordinal for clip in clips] == [0, 1, 2]
    pts = np.concatenate([clip.pts_seconds for clip in clips])
    np.testing.assert_array_equal(pts, given_video.features.pts_seconds)
    ((ids, vectors),) = catalog.iter_vectors()
    wanted = np.concatenate([each.vectors for each in given_video.vectors])
    np.testing.assert_array_equal(vectors, wanted.astype(np.float16).astype(np.float32))
    clip_of = catalog.clips_of_vectors(ids)
    assert [clip_of[int(i)].id for i in ids] == [clip.id for clip in clips for _ in range(2)]
    assert [clip_of[int(i)].clip for i in ids[::2]] == list(given_video.clips)


def test_stamp_is_kept_and_guarded(catalog: Catalog, url: str) -> None:
    assert catalog.stamp() is None
    catalog.set_stamp(EncoderStamp("first choice", "00", 8, ""))
    catalog.set_stamp(STAMP)  # nothing was indexed yet
    _commit(catalog, "a.mp4")
    catalog.set_stamp(STAMP)
    with pytest.raises(EncoderMismatchError, match=r"made by colour .* not by other"):
        catalog.set_stamp(EncoderStamp("other", "cd" * 32, 6, ""))
    with Catalog.open(url, read_only=True) as again:
        assert again.stamp() == STAMP
    catalog.close()


def test_vectors_of_another_dimension_are_refused(catalog: Catalog) -> None:
    catalog.set_stamp(EncoderStamp("wide", "ab", 512, ""))
    with pytest.raises(ValueError, match=r"of \[6\] dimensions, not of 512"):
        _commit(catalog, "a.mp4")
    assert catalog.videos() == []


def test_new_content_keeps_the_id_and_drops_what_was_computed(catalog: Catalog) -> None:
    (video_id,) = _commit(catalog, "a.mp4", num_clips=5)
    catalog.save_summary(video_id, Summary("a dog", (), 3.0))
    old = set(catalog.vector_ids().tolist())
    before = catalog.generation()
    assert catalog.commit_video(video("/v/a.mp4", seed=9), "new.npy", SHA) == video_id
    after = catalog.generation()
    assert after.generation > before.generation
    assert after.deletions > before.deletions
    assert len(catalog.vector_ids()) == catalog.num_vectors() == 6
    assert min(catalog.vector_ids()) > max(old)  # ids are never used again
    assert catalog.summaries(video_id) == [video("/v/a.mp4").summary]
    assert catalog.feature_files() == {"new.npy": SHA}


def test_ids_are_not_used_again_after_deletion(catalog: Catalog) -> None:
    first, second = _commit(catalog, "a.mp4", "b.mp4")
    highest = max(catalog.vector_ids())
    catalog.delete_video(second)
    (third,) = _commit(catalog, "c.mp4")
    assert third > second > first
    assert max(catalog.vector_ids()) == highest + 6


def test_adding_is_no_deletion(catalog: Catalog) -> None:
    _commit(catalog, "a.mp4")
    before = catalog.generation()
    _commit(catalog, "b.mp4")
    after = catalog.generation()
    assert (after.generation, after.deletions) == (before.generation + 1, before.deletions)
    assert after.library_id == before.library_id


def test_delete_takes_all_parts_along(catalog: Catalog) -> None:
    (video_id,) = _commit(catalog, "a.mp4")
    catalog.delete_video(video_id)
    assert catalog.video(video_id) is None
    for table in ("videos", "shots", "clips", "clip_vectors", "summaries"):
        assert _rows(catalog, table) == 0
    with pytest.raises(VideoNotFoundError, match=f"id {video_id}"):
        catalog.delete_video(video_id)


def test_missing_videos_are_kept_but_not_searchable(catalog: Catalog) -> None:
    gone, here = _commit(catalog, "a.mp4", "b.mp4")
    everything = catalog.vector_ids()
    before = catalog.generation()
    catalog.mark_missing([gone])
    assert catalog.generation().deletions == before.deletions + 1
    assert [record.id for record in catalog.videos("missing")] == [gone]
    found = catalog.clips_of_vectors(everything)
    assert {clip.video_id for clip in found.values()} == {here}
    assert len(catalog.vector_ids()) == catalog.num_vectors() == 6
    assert sum(len(ids) for ids, _ in catalog.iter_vectors(batch=4)) == 6
    assert set(catalog.generic_summaries()) == {here}

    catalog.restore_video(gone, Fingerprint(1, 2, "e" * 64))
    record = catalog.video(gone)
    assert record is not None
    assert (record.status, record.reason, record.fingerprint.size_bytes) == ("searchable", "", 1)
    np.testing.assert_array_equal(catalog.vector_ids(), everything)
    assert catalog.generation().deletions == before.deletions + 2


def test_touching_a_searchable_video_leaves_the_index_alone(catalog: Catalog) -> None:
    (video_id,) = _commit(catalog, "a.mp4")
    before = catalog.generation()
    catalog.restore_video(video_id, Fingerprint(1, 2, "e" * 64))
    catalog.move_video(video_id, Path("/v/moved.mp4"), Fingerprint(1, 3, "e" * 64))
    assert catalog.generation() == before
    assert catalog.video_by_path(Path("/v/a.mp4")) is None
    with pytest.raises(VideoNotFoundError):
        catalog.restore_video(999, Fingerprint(1, 2, "e" * 64))


def test_move_drops_what_stood_there(catalog: Catalog) -> None:
    moved, replaced = _commit(catalog, "a.mp4", "b.mp4")
    catalog.mark_missing([moved])
    catalog.move_video(moved, Path("/v/b.mp4"), Fingerprint(1, 2, "e" * 64))
    assert [record.id for record in catalog.videos()] == [moved]
    assert catalog.video(replaced) is None
    assert catalog.num_vectors() == 6


def test_failed_file_has_a_row_and_its_reason(catalog: Catalog) -> None:
    (video_id,) = _commit(catalog, "a.mp4")
    before = catalog.generation()
    assert catalog.mark_failed(Path("/v/a.mp4"), Fingerprint(1, 2, SHA), "no stream") == video_id
    assert catalog.generation().deletions == before.deletions + 1
    catalog.mark_failed(Path("/v/b.txt"), None, "not a video")
    assert [(v.path.name, v.reason) for v in catalog.videos("failed")] == [
        ("a.mp4", "no stream"),
        ("b.txt", "not a video"),
    ]
    assert catalog.num_vectors() == _rows(catalog, "clips") == 0
    assert catalog.feature_files() == {}
    catalog.mark_missing([video.id for video in catalog.videos()])
    assert catalog.videos() == []  # nothing of a failed file is worth keeping


def test_find_videos(catalog: Catalog) -> None:
    _commit(catalog, "one/dog.mp4", "two/dog.mp4", "dog.mp4.mkv", "50%_cat.mp4")
    paths = {name: [str(v.path) for v in catalog.find_videos(name)] for name in (
        "/v/one/dog.mp4", "/v/one/../one/dog.mp4", "dog.mp4", "dog", "50%_cat", "%", "", "og.mp4"
    )}  # fmt: skip
    both = ["/v/one/dog.mp4", "/v/two/dog.mp4"]
    assert paths == {
        "/v/one/dog.mp4": both[:1],
        "/v/one/../one/dog.mp4": both[:1],
        "dog.mp4": both,
        "dog": both,
        "50%_cat": ["/v/50%_cat.mp4"],
        "%": [],
        "": [],
        "og.mp4": [],
    }
    assert [v.path.name for v in catalog.videos_by_sha256(f"{3:064x}")] == ["dog.mp4.mkv"]


def test_names_that_are_no_unicode(catalog: Catalog) -> None:
    path = Path(os.fsdecode(b"/v/caf\xe9\\.mp4"))
    catalog.mark_failed(path, None, f"{path}: \x00 unreadable")
    record = catalog.video_by_path(path)
    assert record is not None
    assert (record.path, record.reason) == (path, f"{path}: \x00 unreadable")
    assert catalog.find_videos(path.name) == [record]


@given(st.text(st.characters(codec=None)))
def test_escaped_text_round_trip(text: str) -> None:
    dialect = sa.create_engine("sqlite://").dialect
    stored = EscapedText().process_bind_param(text, dialect)
    assert stored is not None
    stored.encode()
    assert "\x00" not in stored
    assert EscapedText().process_result_value(stored, dialect) == text


def test_thousands_of_ids_in_one_question(catalog: Catalog) -> None:
    _commit(catalog, "a.mp4", num_clips=1200)
    ids = catalog.vector_ids()
    found = catalog.clips_of_vectors(ids)
    assert len(found) == 2400
    assert len({clip.id for clip in found.values()}) == 1200
    assert catalog.clips_of_vectors([]) == catalog.clips_of_vectors([-1]) == {}
    batches = list(catalog.iter_vectors(after_id=int(ids[99]), batch=1000))
    np.testing.assert_array_equal(np.concatenate([each for each, _ in batches]), ids[100:])


def test_what_a_search_among_some_videos_asks(catalog: Catalog) -> None:
    first, second, third = _commit(catalog, "a.mp4", "b.mp4", "c.mp4", num_clips=4)
    catalog.mark_missing([second])
    frames = catalog.clip_frames()
    assert frames[:, 1].tolist() == [first] * 4 + [third] * 4
    assert frames[:, 2].tolist() == [0, 8, 16, 24] * 2
    assert set(frames[:, 3]) == {8}
    clips = catalog.clips(frames[:, 0])
    every = catalog.clips_of_video(first) + catalog.clips_of_video(third)
    assert {clip.id: clip.clip for clip in every} == {i: c.clip for i, c in clips.items()}
    assert catalog.clip_frames(after_id=int(frames[3, 0]))[:, 1].tolist() == [third] * 4
    assert np.array_equal(catalog.clip_frames(of_videos=[second, third]), frames[4:])
    assert catalog.num_clips() == (8, 64)
    assert catalog.num_clips([first, second]) == (4, 32)
    assert catalog.num_clips([]) == (0, 0)
    ids = catalog.vector_ids()
    assert np.array_equal(catalog.vector_ids([third, second]), ids[8:])
    assert len(catalog.vector_ids([])) == 0


def test_a_sample_of_vectors(catalog: Catalog) -> None:
    assert len(catalog.sample_vectors(5)) == 0
    _commit(catalog, "a.mp4", "b.mp4", num_clips=10)
    ((_, stored),) = catalog.iter_vectors()
    assert np.array_equal(catalog.sample_vectors(1000), stored)
    some = catalog.sample_vectors(10)
    assert len(some) == 10
    assert all((stored == vector).all(1).any() for vector in some)
    assert (some[-1] == stored[20:]).all(1).any()  # from all over the library
    for _ in range(30):  # ids are not used again: few of them are left
        _commit(catalog, "a.mp4", "b.mp4", num_clips=10)
    assert len(catalog.sample_vectors(10)) >= 5


def test_summaries_of_one_question_and_budget_replace_each_other(catalog: Catalog) -> None:
    (video_id,) = _commit(catalog, "a.mp4")
    query = "what is it? " * 800  # longer than PostgreSQL can index
    for end in (2.0, 3.0):
        catalog.save_summary(video_id, Summary(query, (Segment(Span(1.0, end), 0.5),), 2.0))
    catalog.save_summary(video_id, Summary(query, (), 4.0))
    catalog.save_summary(video_id, Summary("", (), 4.0))
    found = catalog.summaries(video_id)
    assert [(s.query, s.budget_seconds) for s in found] == [
        ("", 1.0), (query, 2.0), (query, 4.0), ("", 4.0)
    ]  # fmt: skip
    assert found[1].segments[0].span.end == 3.0
    assert catalog.generic_summaries() == {video_id: found[0]}  # the one of indexing
    with pytest.raises(VideoNotFoundError):
        catalog.save_summary(999, Summary("", (), 4.0))


def test_runs(catalog: Catalog) -> None:
    first, second = catalog.start_run(), catalog.start_run()
    catalog.finish_run(first, {"indexed": ["/v/caf\udce9.mp4"], "seconds": 1.5})
    newest, oldest = catalog.runs()
    assert (newest.id, newest.finished_at) == (second, None)
    assert oldest.report == {"indexed": ["/v/caf\udce9.mp4"], "seconds": 1.5}
    assert oldest.finished_at is not None
    assert oldest.finished_at >= oldest.started_at


def test_commit_is_all_or_nothing(catalog: Catalog) -> None:
    _commit(catalog, "a.mp4")
    before = catalog.generation(), catalog.videos()
    torn = video("/v/a.mp4", seed=2)
    # Fails at the very end of the transaction, when all else is written.
    object.__setattr__(torn.summary.segments[0], "saliency", {"no": "JSON"}.keys())
    with pytest.raises((sa.exc.StatementError, TypeError)):
        catalog.commit_video(torn, "torn.npy", SHA)
    assert (catalog.generation(), catalog.videos()) == before
    assert catalog.num_vectors() == len(catalog.vector_ids()) == 6


def test_readers_and_a_writer_at_once(catalog: Catalog) -> None:
    """Every state that a reader sees is one that a commit left."""
    failures: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            ids = catalog.vector_ids()
            if len(ids) % 6 or len(catalog.clips_of_vectors(ids)) < len(ids):
                failures.append(f"{len(ids)} vectors")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    _commit(catalog, *(f"{i}.mp4" for i in range(20)))
    done.set()
    for reader in readers:
        reader.join()
    assert failures == []


def test_read_only_catalog_refuses_to_write(catalog: Catalog, url: str) -> None:
    _commit(catalog, "a.mp4")
    with Catalog.open(url, read_only=True) as reader:
        assert len(reader.videos()) == 1
        with pytest.raises(StorageError, match="may not be written"):
            reader.start_run()


def test_create_keeps_what_is_there(catalog: Catalog, url: str) -> None:
    _commit(catalog, "a.mp4")
    with Catalog.create(url) as again:
        assert len(again.videos()) == 1


# What goes wrong with SQLite files.


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "catalog.sqlite3"


def test_no_catalog(file: Path) -> None:
    with pytest.raises(LibraryNotFoundError, match=r"catalog.sqlite3: no such catalog"):
        Catalog.open(f"sqlite:///{file}")
    assert not file.exists()
    file.touch()
    with pytest.raises(LibraryNotFoundError, match="holds no vidsift catalog"):
        Catalog.open(f"sqlite:///{file}")


def test_file_that_is_no_database(file: Path) -> None:
    file.write_text("these are not the rows that you are looking for " * 100)
    with pytest.raises(DamagedLibraryError, match="not an SQLite database"):
        Catalog.open(f"sqlite:///{file}")


def test_a_disk_without_a_single_block_left_is_read_all_the_same(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount")
    try:
        url = f"sqlite:///{tmp_path / 'catalog.sqlite3'}"
        with Catalog.create(url) as catalog:
            _commit(catalog, "a.mp4")
        with pytest.raises(OSError, match="No space"):
            (tmp_path / "fill").write_bytes(bytes(2 << 20))
        with Catalog.open(url) as catalog:
            assert [video.path.name for video in catalog.videos()] == ["a.mp4"]
            with pytest.raises(StorageError, match="disk is full; free some space"):
                catalog.start_run()
            (tmp_path / "fill").unlink()
            # What was open for reading alone is not kept.
            _commit(catalog, "b.mp4")
            assert len(catalog.videos()) == 2
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_full_disk(file: Path) -> None:
    with Catalog.create(f"sqlite:///{file}") as catalog:
        _commit(catalog, "a.mp4")
        engine = catalog._engine
        with reading(engine) as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            # Of this one pooled connection, which the next statement uses again.
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageError, match="disk is full; free some space"):
            _commit(catalog, "b.mp4", num_clips=500)
        assert [v.path.name for v in catalog.videos()] == ["a.mp4"]


def test_locked_database(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidsift.store.connection._BUSY_SECONDS", 0.1)
    with Catalog.create(f"sqlite:///{file}") as catalog:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert catalog.videos() == []  # readers go on
        with pytest.raises(LibraryBusyError, match="another process is writing"):
            catalog.start_run()
        other.close()


@pytest.mark.parametrize(
    ("bad", "what"),
    [("nonsense", "not a database URL"), ("mysql://h/d", "not supported"), ("sqlite://", "a file")],
)
def test_url_that_cannot_be_used(bad: str, what: str) -> None:
    with pytest.raises(ConfigError, match=f"database_url: .*{what}"):
        parse_url(bad)


def test_server_that_does_not_answer() -> None:
    with pytest.raises(LibraryError, match=r"me:\*\*\*@127.0.0.1:1/none: cannot connect: .*check"):
        Catalog.open("postgresql://me:secret@127.0.0.1:1/none")


@pytest.fixture(params=["bind mount", "another user"])
def unwritable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The catalog of a folder that this process may read and not write."""
    folder = tmp_path / "library"
    folder.mkdir()
    file = folder / "catalog.sqlite3"
    with Catalog.create(f"sqlite:///{file}") as catalog:
        _commit(catalog, "a", "b")
    if request.param == "another user":
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        file.chmod(0o400)
        folder.chmod(0o500)
        yield file
        folder.chmod(0o700)
        return
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    bind = ["mount", "--bind", "-o", "ro", str(folder), str(mounted)]
    if os.geteuid() or subprocess.run(bind, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount")
    try:
        yield mounted / file.name
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_a_catalog_that_may_not_be_written_is_read(unwritable: Path) -> None:
    with Catalog.open(f"sqlite:///{unwritable}") as catalog:
        assert len(catalog.videos()) == 2
        with pytest.raises(StorageError, match="may not be written"):
            catalog.start_run()
        with pytest.raises(StorageError, match="may not be written"):
            _commit(catalog, "c")
        assert len(catalog.videos()) == 2
        assert reconcile.words_problem(catalog) == ""  # what verifying reads, it may read here too
    assert [entry.name for entry in unwritable.parent.iterdir()] == [unwritable.name]


_AS_ANOTHER_USER = """
import os, sys
from vidsift.errors import StorageError
from vidsift.store.catalog import Catalog
os.setuid(65534)
with Catalog.open(f"sqlite:///{sys.argv[1]}") as catalog:
    print(len(catalog.videos()), flush=True)
    sys.stdin.readline()
    print(len(catalog.videos()), flush=True)
    try:
        catalog.start_run()
    except StorageError as error:
        print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_user_reads_what_the_owner_goes_on_to_write() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        file = Path(folder) / "catalog.sqlite3"
        with Catalog.create(f"sqlite:///{file}") as catalog:
            _commit(catalog, "a")
        with subprocess.Popen(
            [sys.executable, "-c", _AS_ANOTHER_USER, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as reader:
            assert reader.stdin is not None
            assert reader.stdout is not None
            assert reader.stdout.readline() == "1\n"
            with Catalog.open(f"sqlite:///{file}") as catalog:
                _commit(catalog, "b", "c", "d")
                said, _ = reader.communicate("on\n", timeout=60)
        seen, refused, *_ = said.splitlines()
        assert seen == "4"
        assert "may not be written" in refused
