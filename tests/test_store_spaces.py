"""Spaces of other encoders beside the one that is searched, on real databases."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from vidsift.errors import LibraryChangedError, SpaceError
from vidsift.store import seals, spaces, switching
from vidsift.store.catalog import Catalog
from vidsift.store.connection import make_engine, reading, writing
from vidsift.types import (
    Clip,
    ClipVectors,
    Cue,
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

FIRST = EncoderStamp("first", "a" * 64, 4, "none")
SECOND = EncoderStamp("second", "b" * 64, 6, "none")
SHA = "f" * 64


def unit(seed: int, *shape: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=shape)
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(np.float32)


def indexed(name: str, seed: int, num_clips: int = 2) -> IndexedVideo:
    spans = [Span(4.0 * i, 4.0 * i + 4.0) for i in range(num_clips)]
    return IndexedVideo(
        VideoProbe(
            Path("/v") / name, "mp4", "h264", "yuv420p", 64, 48, 0, Fraction(25), 8.0, 0.0, False,
            False,
        ),
        Fingerprint(1000 + seed, 10**18 + seed, f"{seed:064x}"),
        4.0 * num_clips,
        tuple(Shot(span) for span in spans),
        tuple(Clip(span, i, 8 * i, 8) for i, span in enumerate(spans)),
        FrameFeatures(unit(seed, 8 * num_clips, 4), np.arange(8 * num_clips) / 2),
        tuple(ClipVectors(unit(seed + i, 2, 4)) for i in range(num_clips)),
        tuple(b"jpeg" for _ in spans),
        Summary("", (Segment(Span(0.0, 1.0), 0.5),), 1.0),
        cues=(Cue(Span(1.0, 2.0), f"said in {name}"),),
        cue_vectors=unit(seed, 1, 4),
    )  # fmt: skip


def seen_by_second(catalog: Catalog, video_id: int, seed: int, k: int = 3) -> spaces.SpaceVideo:
    clips = catalog.clips_of_video(video_id)
    return spaces.SpaceVideo(
        video_id,
        spaces.clips_of(catalog, video_id),
        f"second-{seed}.npy",
        "e" * 64,
        "d" * 64,
        Summary("", (Segment(Span(2.0, 3.0), 0.75),), 1.0),
        [ClipVectors(unit(100 * seed + i, k, 6)) for i in range(len(clips))],
    )


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    if request.param == "sqlite":
        with Catalog.create(f"sqlite:///{tmp_path / 'catalog.sqlite3'}") as opened:
            yield opened
        return
    server = sa.make_url(os.environ["VIDSIFT_TEST_POSTGRES_URL"])
    name = f"test_{uuid.uuid4().hex}"
    engine = make_engine(server)
    with writing(engine) as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {name}"))
    own = server.update_query_dict({"options": f"-csearch_path={name}"})
    with Catalog.create(own.render_as_string(hide_password=False)) as opened:
        yield opened
    with writing(engine) as connection:
        connection.execute(sa.text(f"DROP SCHEMA {name} CASCADE"))
    engine.dispose()


@pytest.fixture
def ids(catalog: Catalog) -> list[int]:
    """Two videos in the first encoder's space."""
    catalog.set_stamp(FIRST)
    return [
        catalog.commit_video(indexed(name, seed), f"first-{seed}.npy", SHA, SHA)
        for seed, name in enumerate(("one.mp4", "two.mp4"), 1)
    ]


@pytest.fixture
def second(catalog: Catalog, ids: list[int]) -> spaces.Space:
    """The second encoder's space, whole."""
    space = spaces.begin_space(catalog, SECOND)
    for seed, video_id in enumerate(ids, 1):
        spaces.put_video(catalog, space.id, seen_by_second(catalog, video_id, seed))
    lines = spaces.lacking_cues(catalog, space.id)
    vectors = unit(9, len(lines), 6)
    spaces.put_cues(catalog, space.id, [cue_id for cue_id, _ in lines], vectors)
    return space


def content(catalog: Catalog) -> dict[str, object]:
    """All that a search is answered from, but for the ids of vectors."""
    found: dict[str, object] = {"stamp": catalog.stamp(), "summaries": catalog.generic_summaries()}
    for video in catalog.videos():
        clips = catalog.clips_of_video(video.id)
        with reading(catalog._engine) as connection:
            vectors = connection.execute(
                sa.text(
                    "SELECT c.id, v.vector FROM clip_vectors v JOIN clips c ON c.id = v.clip_id"
                    f" WHERE c.video_id = {video.id} ORDER BY v.id"
                )
            ).all()
            lines = connection.execute(
                sa.text(f"SELECT id, text, vector FROM cues WHERE video_id = {video.id}")
            ).all()
        found[str(video.path)] = (
            video,
            [(clip.id, clip.clip) for clip in clips],
            [(clip_id, bytes(vector)) for clip_id, vector in vectors],
            [(cue_id, text, bytes(vector)) for cue_id, text, vector in lines],
        )
    return found


def unfit(catalog: Catalog) -> dict[int, str]:
    with reading(catalog._engine) as connection:
        wrong = seals.unfit(connection, [video.id for video in catalog.videos()])
    return {video_id: why for video_id, why in wrong.items() if why}


def rows(catalog: Catalog, table: str) -> int:
    with reading(catalog._engine) as connection:
        return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_a_space_is_begun_once_and_anew_for_other_weights(catalog, ids):
    space = spaces.begin_space(catalog, SECOND)
    assert (space.stamp, space.left_at) == (SECOND, None)
    assert spaces.begin_space(catalog, SECOND) == space
    spaces.put_video(catalog, space.id, seen_by_second(catalog, ids[0], 1))
    newer = spaces.begin_space(catalog, EncoderStamp("second", "c" * 64, 6, "none"))
    assert newer.id != space.id
    assert spaces.all_spaces(catalog) == [newer]
    assert rows(catalog, "space_videos") == rows(catalog, "space_clip_vectors") == 0
    with pytest.raises(SpaceError, match="searched with this encoder already"):
        spaces.begin_space(catalog, FIRST)


def test_what_a_space_lacks_is_known(catalog, ids):
    space = spaces.begin_space(catalog, SECOND)
    assert [video.id for video in spaces.lacking_videos(catalog, space.id)] == ids
    assert [text for _, text in spaces.lacking_cues(catalog, space.id)] == [
        "said in one.mp4",
        "said in two.mp4",
    ]
    spaces.put_video(catalog, space.id, seen_by_second(catalog, ids[0], 1))
    assert [video.id for video in spaces.lacking_videos(catalog, space.id)] == ids[1:]
    assert spaces.videos_of_space(catalog, space.id) == {ids[0]: "second-1.npy"}
    assert spaces.feature_files(catalog) == {"second-1.npy": "e" * 64}
    # Indexed anew, even if nothing about it changed, its clips have other ids.
    catalog.commit_video(indexed("one.mp4", 1), "first-1b.npy", SHA)
    assert [video.id for video in spaces.lacking_videos(catalog, space.id)] == ids
    assert spaces.videos_of_space(catalog, space.id) == {}


def test_a_video_that_was_indexed_anew_meanwhile_is_refused(catalog, ids):
    space = spaces.begin_space(catalog, SECOND)
    made = seen_by_second(catalog, ids[0], 1)
    catalog.commit_video(indexed("one.mp4", 5, num_clips=3), "first-5.npy", SHA)
    with pytest.raises(LibraryChangedError):
        spaces.put_video(catalog, space.id, made)
    assert spaces.feature_files(catalog) == {}


def test_a_space_that_was_dropped_meanwhile_is_refused(catalog, ids):
    space = spaces.begin_space(catalog, SECOND)
    made = seen_by_second(catalog, ids[0], 1)
    spaces.discard(catalog, space.id)
    with pytest.raises(SpaceError, match="dropped"):
        spaces.put_video(catalog, space.id, made)
    with pytest.raises(SpaceError, match="dropped"):
        spaces.put_cues(catalog, space.id, [1], unit(0, 1, 6))


def test_a_video_is_put_in_place_of_what_the_space_held_of_it(catalog, ids, second):
    spaces.put_video(catalog, second.id, seen_by_second(catalog, ids[0], 7, k=1))
    assert spaces.videos_of_space(catalog, second.id)[ids[0]] == "second-7.npy"
    assert rows(catalog, "space_clip_vectors") == 2 * 1 + 2 * 3
    # Lines that are there, or are gone by now, are passed over.
    spaces.put_cues(catalog, second.id, [1, 99], unit(0, 2, 6))
    assert rows(catalog, "space_cue_vectors") == 2


def test_nothing_that_is_searched_changes_while_a_space_is_built(catalog, ids):
    before, generation = content(catalog), catalog.generation()
    space = spaces.begin_space(catalog, SECOND)
    for seed, video_id in enumerate(ids, 1):
        spaces.put_video(catalog, space.id, seen_by_second(catalog, video_id, seed))
    assert (content(catalog), catalog.generation()) == (before, generation)
    assert unfit(catalog) == {}


def test_a_switch_and_a_switch_back_leave_all_as_it_was(catalog, ids, second):
    before, generation = content(catalog), catalog.generation()
    old_vectors = set(catalog.vector_ids())
    assert switching.switch(catalog, second.id) == switching.Switched((), ())

    now = content(catalog)
    assert now["stamp"] == SECOND
    video, clips, vectors, lines = now["/v/one.mp4"]
    assert clips == before["/v/one.mp4"][1]
    wanted = np.concatenate([unit(100 + i, 3, 6) for i in range(2)]).astype("<f2")
    assert [vector for _, vector in vectors] == [each.tobytes() for each in wanted]
    assert lines[0][2] == unit(9, 2, 6)[0].astype("<f2").tobytes()
    assert (video.status, video.feature_file) == ("searchable", "second-1.npy")
    assert now["summaries"][ids[0]].segments == (Segment(Span(2.0, 3.0), 0.75),)
    assert not old_vectors & set(catalog.vector_ids())
    assert catalog.num_vectors() == 2 * 2 * 3
    after = catalog.generation()
    assert (after.generation, after.deletions) > (generation.generation, generation.deletions)
    assert after.deletions > generation.deletions
    assert unfit(catalog) == {}

    (left,) = spaces.all_spaces(catalog)
    assert left.stamp == FIRST
    assert left.left_at is not None
    assert spaces.feature_files(catalog) == {"first-1.npy": SHA, "first-2.npy": SHA}
    assert spaces.lacking_videos(catalog, left.id) == spaces.lacking_cues(catalog, left.id) == []
    switching.switch(catalog, left.id)
    assert content(catalog) == before
    assert [space.stamp for space in spaces.all_spaces(catalog)] == [SECOND]
    assert unfit(catalog) == {}


def test_a_switch_refuses_a_space_that_lacks_something(catalog, ids, second):
    catalog.commit_video(indexed("three.mp4", 3), "first-3.npy", SHA)
    before = content(catalog)
    with pytest.raises(SpaceError, match="lines of subtitles"):
        switching.switch(catalog, second.id)
    ((line, _),) = spaces.lacking_cues(catalog, second.id)
    spaces.put_cues(catalog, second.id, [line], unit(3, 1, 6))
    with pytest.raises(SpaceError, match=r"lacks 1 of .*/v/three\.mp4.*--without-missing"):
        switching.switch(catalog, second.id)
    with pytest.raises(SpaceError, match="no such space"):
        switching.switch(catalog, second.id + 1)
    assert content(catalog) == before


def test_videos_that_a_space_lacks_can_be_left_out_and_come_back(catalog, ids, second):
    third = catalog.commit_video(indexed("three.mp4", 3), "first-3.npy", SHA)
    catalog.mark_missing([ids[1]])
    ((line, _),) = spaces.lacking_cues(catalog, second.id)
    spaces.put_cues(catalog, second.id, [line], unit(3, 1, 6))
    before = content(catalog)
    done = switching.switch(catalog, second.id, without_missing=True)
    assert (done.left_out, done.back) == ((third,), ())
    status = {video.path.name: (video.status, video.reason) for video in catalog.videos()}
    assert status == {
        "one.mp4": ("searchable", ""),
        "two.mp4": ("missing", "the file is gone"),
        "three.mp4": ("missing", switching.LEFT_OUT),
    }
    # A video whose file comes back is of the space that is searched now.
    assert catalog.video(ids[1]).feature_file == "second-2.npy"
    assert catalog.video(third).feature_file == ""
    assert unfit(catalog) == {}
    (left,) = spaces.all_spaces(catalog)
    assert switching.switch(catalog, left.id).back == (third,)
    assert content(catalog) == before
    assert unfit(catalog) == {}


def test_a_switch_between_two_versions_of_one_encoder(catalog, ids):
    newer = EncoderStamp("first", "c" * 64, 6, "none")
    space = spaces.begin_space(catalog, newer)
    for seed, video_id in enumerate(ids, 1):
        spaces.put_video(catalog, space.id, seen_by_second(catalog, video_id, seed))
    lines = [cue_id for cue_id, _ in spaces.lacking_cues(catalog, space.id)]
    spaces.put_cues(catalog, space.id, lines, unit(9, 2, 6))
    switching.switch(catalog, space.id)
    assert catalog.stamp() == newer
    assert [space.stamp for space in spaces.all_spaces(catalog)] == [FIRST]


def test_a_switch_does_not_make_damage_look_whole(catalog, ids, second):
    with writing(catalog._engine) as connection:
        connection.execute(sa.text(f"UPDATE videos SET codec = 'av1' WHERE id = {ids[0]}"))
    assert set(unfit(catalog)) == {ids[0]}
    switching.switch(catalog, second.id)
    assert set(unfit(catalog)) == {ids[0]}


def test_damaged_vectors_of_a_space_are_known_and_stay_so_after_a_switch(catalog, ids, second):
    assert spaces.damaged_parts(catalog, second.id) == []
    flipped = unit(55, 1, 6)[0].astype("<f2").tobytes()
    with writing(catalog._engine) as connection:
        first = sa.text("UPDATE space_clip_vectors SET vector = :v WHERE id = 1")
        connection.execute(first, {"v": flipped})
    assert spaces.damaged_parts(catalog, second.id) == [ids[0]]
    switching.switch(catalog, second.id)
    assert set(unfit(catalog)) == {ids[0]}
    (left,) = spaces.all_spaces(catalog)
    assert spaces.damaged_parts(catalog, left.id) == []
    switching.switch(catalog, left.id)
    assert unfit(catalog) == {}


def test_a_switch_that_fails_in_the_middle_changes_nothing(catalog, ids, second, monkeypatch):
    before, generation = content(catalog), catalog.generation()

    def fail(*_: object) -> None:
        raise OSError("pulled")

    monkeypatch.setattr(switching.seals, "renew", fail)
    with pytest.raises(OSError, match="pulled"):
        switching.switch(catalog, second.id)
    assert (content(catalog), catalog.generation()) == (before, generation)
    assert [space.stamp for space in spaces.all_spaces(catalog)] == [SECOND]


def test_readers_see_one_whole_space_during_switches(catalog, ids, second):
    """Whatever moment a snapshot is of, stamp, files and vectors are of one encoder."""
    wrong: list[object] = []
    enough, looks = threading.Event(), [0]

    def look() -> None:
        while not enough.is_set():
            with catalog.snapshot():
                stamp = catalog.stamp()
                files = {video.feature_file.split("-")[0] for video in catalog.videos()}
                ((_, vectors),) = catalog.iter_vectors()
            looks[0] += 1
            if (files, vectors.shape[1]) != ({stamp.name}, stamp.dimension):
                wrong.append((stamp, files, vectors.shape))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for _ in range(6):
            (other,) = spaces.all_spaces(catalog)
            switching.switch(catalog, other.id)
    finally:
        enough.set()
        reader.join()
    assert looks[0] > 1
    assert wrong == []


def test_a_copy_is_searched_in_the_other_space(catalog, ids, second, tmp_path):
    before = content(catalog)
    url = f"sqlite:///{tmp_path / 'copy.sqlite3'}"
    switching.copy_switched(catalog, second.id, url)
    with Catalog.open(url) as copy:
        copied = content(copy)
        assert copy.generation().library_id == catalog.generation().library_id
    switching.switch(catalog, second.id)
    switched = content(catalog)
    assert copied["stamp"] == SECOND
    for path in ("/v/one.mp4", "/v/two.mp4"):
        assert copied[path][1:] == switched[path][1:]
        assert copied[path][0].feature_file == switched[path][0].feature_file
    assert before != switched


def test_dropping_a_space_leaves_the_searched_one(catalog, ids, second):
    before = content(catalog)
    spaces.discard(catalog, second.id)
    assert content(catalog) == before
    tables = ("spaces", "space_videos", "space_clip_vectors", "space_cue_vectors")
    assert [rows(catalog, table) for table in tables] == [0, 0, 0, 0]
