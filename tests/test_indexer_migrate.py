"""Changing the encoder of real libraries of real films, with encoders whose answers are known."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import sys
import types
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from indexer import index_videos, migrate
from indexer.migrate import MigrateProgress, build_space, damaged_videos
from indexer.switch import discard_space, find_space, space_statuses, switch_space
from search import SearchEngine
from search.compare import compare_spaces, in_other_space, questions_of, read_questions
from vidsift.errors import (
    ConfigError,
    EncoderMismatchError,
    PoolerError,
    QueryError,
    SpaceError,
)
from vidsift.library import Library
from vidsift.models import encoder as encoders
from vidsift.store import history, spaces
from vidsift.store.connection import make_engine, writing
from vidsift.store.switching import LEFT_OUT
from vidsift.types import Answer, EncoderStamp


@pytest.fixture(autouse=True)
def families(monkeypatch, colour_encoder, tmp_path):
    """Encoders that can be opened by name: `colour`, and `turned` that sees red as blue is, and
    grey beside."""
    colour = type(colour_encoder)

    class Turned(colour):
        stamp = EncoderStamp("turned", "1" * 64, 4, "mean colour, turned")

        def encode_frames(self, images: np.ndarray) -> np.ndarray:
            return self._turn(super().encode_frames(images))

        def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
            return self._turn(super().encode_texts(texts))

        def _turn(self, vectors: np.ndarray) -> np.ndarray:
            grey = vectors.mean(axis=1, keepdims=True) / 2
            return self._unit(np.concatenate([vectors[:, ::-1], grey], axis=1))

    for kind in (colour, Turned):
        module = types.ModuleType(f"family_{kind.stamp.name}")
        module.open_variant = lambda *_, kind=kind: kind()
        module.needs_preparation = lambda *_: False
        module.list_variants = lambda *_: ()
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(encoders._FAMILIES, kind.stamp.name, module.__name__)
    monkeypatch.setenv("VIDSIFT_CACHE", str(tmp_path / "cache"))
    return {"colour": colour, "turned": Turned}


@pytest.fixture
def videos(tmp_path: Path, make_film: Callable[..., Path]) -> Path:
    folder = tmp_path / "videos"
    make_film(folder / "flag.mp4", [("red", 3), ("blue", 4)])
    make_film(folder / "lawn.mkv", [("green", 3), ("yellow", 3)])
    (folder / "lawn.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nthe green grass\n")
    make_film(folder / "sky.mp4", [("cyan", 9)])
    return folder


def opened(root: Path, **settings: object) -> Library:
    return Library.open(root, **settings)


@pytest.fixture
def library(tmp_path: Path, videos: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True, encoder="colour") as made:
        index_videos(made, [videos])
    with opened(tmp_path / "library") as again:
        yield again


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def either(
    request: pytest.FixtureRequest, tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Library]:
    """The library of `library`, in each kind of database."""
    if request.param == "postgresql":
        server = sa.make_url(os.environ["VIDSIFT_TEST_POSTGRES_URL"])
        name = f"test_{uuid.uuid4().hex}"
        engine = make_engine(server)
        with writing(engine) as connection:
            connection.execute(sa.text(f"CREATE SCHEMA {name}"))
        own = server.update_query_dict({"options": f"-csearch_path={name}"})
        url = own.render_as_string(hide_password=False)
        monkeypatch.setenv("VIDSIFT_DATABASE_URL", url)
        (tmp_path / "library").mkdir()
    with Library.open(tmp_path / "library", create=True, encoder="colour") as made:
        index_videos(made, [videos])
    with opened(tmp_path / "library") as again:
        yield again
    if request.param == "postgresql":
        with writing(engine) as connection:
            connection.execute(sa.text(f"DROP SCHEMA {name} CASCADE"))
        engine.dispose()


QUESTIONS = ("red", "green grass", "cyan", "a yellow wall", 'said:"grass"')


def answers(library: Library) -> list[Answer]:
    engine = SearchEngine(library)
    return [engine.ask(question) for question in QUESTIONS]


def stored(library: Library) -> dict[str, object]:
    """What a library holds of each of its videos, but for ids and names of files."""
    found = {}
    for video in library.catalog.videos():
        clips = library.catalog.clips_of_video(video.id)
        ids = library.catalog.vector_ids([video.id])
        vectors = [
            each
            for known, each in library.catalog.iter_vectors()
            for each in each[np.isin(known, ids)].tolist()
        ]
        found[video.path.name] = (
            library.features.open(video.feature_file).tobytes(),
            [clip.clip for clip in clips],
            library.catalog.summaries(video.id)[0].segments,
            sorted(path.name for path in library.pictures(video).iterdir()),
            library.storyboard(video).read_bytes(),
            vectors,
        )
    return found


def orphans(library: Library) -> set[str]:
    """Files and folders of pictures that no row names."""
    named = library.catalog.named_files()
    pictures = {f"{entry.name}.npy" for entry in (library.root / "pictures").iterdir()}
    return (set(library.features.names()) | pictures) - named


def test_a_space_is_what_indexing_with_its_encoder_would_have_made(library, videos, tmp_path):
    before, index = stored(library), (library.root / "index" / "vectors.faiss").read_bytes()
    told: list[MigrateProgress] = []
    report = build_space(library, "turned", on_progress=told.append)
    assert sorted(path.name for path in report.built) == ["flag.mp4", "lawn.mkv", "sky.mp4"]
    assert (report.encoder, report.unchanged, report.failed, report.cues) == ("turned", 0, [], 1)
    assert told[-1].done_seconds == pytest.approx(told[-1].total_seconds)
    assert (told[-1].done_videos, told[-1].total_videos) == (3, 3)
    # Nothing of what is searched has changed.
    assert stored(library) == before
    assert (library.root / "index" / "vectors.faiss").read_bytes() == index
    switch_space(library, find_space(library, "turned"))
    with Library.open(tmp_path / "fresh", create=True, encoder="turned") as fresh:
        index_videos(fresh, [videos])
        assert stored(library) == stored(fresh)
        assert [hits(each) for each in answers(library)] == [hits(each) for each in answers(fresh)]


def hits(answer: Answer) -> list[tuple[object, ...]]:
    """An answer's results without ids."""
    return [
        (each.video.name, each.moment.span, each.moment.score, each.false_alarm_rate, each.cue)
        for each in answer.results
    ]


def test_search_roll_back_and_forth(either):
    library = either
    library.index(write=True)
    before = answers(library)
    build_space(library, "turned")
    assert answers(library) == before
    switch_space(library, find_space(library, left=False))
    turned = answers(library)
    assert library.encoder.stamp.name == "turned"
    assert [each.results[0].video.name for each in turned][:3] == [
        "flag.mp4",
        "lawn.mkv",
        "sky.mp4",
    ]
    assert [hits(each) for each in turned] != [hits(each) for each in before]
    switch_space(library, find_space(library, left=True))
    assert answers(library) == before
    assert orphans(library) == set()
    switch_space(library, find_space(library, "turned"))
    assert answers(library) == turned
    discard_space(library, find_space(library))
    assert answers(library) == turned
    assert orphans(library) == set()
    assert len(library.features.names()) == 3
    assert [status.stamp.name for status in space_statuses(library)] == ["turned"]


def test_an_interruption_keeps_what_is_done_and_the_next_run_goes_on(library):
    class Pulled(KeyboardInterrupt):
        pass

    def pull(progress: MigrateProgress) -> None:
        if progress.done_videos == 1:
            raise Pulled

    library.settings.__dict__["workers"] = 1
    before = answers(library)
    with pytest.raises(Pulled):
        build_space(library, "turned", on_progress=pull)
    assert answers(library) == before
    searched, turned = space_statuses(library)
    assert (turned.videos, turned.wanted, turned.is_whole, turned.missing_cues) == (1, 3, False, 0)
    assert (searched.videos, searched.is_whole) == (3, True)
    assert searched.num_bytes > turned.num_bytes > 0
    with pytest.raises(SpaceError, match="lacks 2 of the videos"):
        switch_space(library, find_space(library))
    report = build_space(library, "turned")
    assert (len(report.built), report.unchanged) == (2, 1)
    report = build_space(library, "turned")
    assert (report.built, report.unchanged) == ([], 3)


@pytest.mark.parametrize("moment", ["store_files", "put_video", "after put_video", "sweep"])
def test_a_kill_at_any_write_is_survived(library, moment):
    """The run is killed as it writes its second video, or as it begins."""
    before = answers(library)
    root = library.root
    context = multiprocessing.get_context("fork")
    killed = context.Process(target=_killed, args=(root, moment))
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    assert answers(library) == before
    report = build_space(library, "turned")
    assert report.unchanged == {"sweep": 0, "after put_video": 2}.get(moment, 1)
    assert len(report.built) + report.unchanged == 3
    assert orphans(library) == set()
    switch_space(library, find_space(library))
    assert SearchEngine(library).ask("cyan").results[0].video.name == "sky.mp4"


def _killed(root: Path, moment: str) -> None:
    calls = 0
    name = moment.removeprefix("after ")
    real = getattr(migrate, name)

    def deadly(*args: object) -> object:
        nonlocal calls
        calls += 1
        last = name == "sweep" or calls == 2
        if last and not moment.startswith("after"):
            os.kill(os.getpid(), signal.SIGKILL)
        done = real(*args)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    setattr(migrate, name, deadly)
    with opened(root, workers=1) as own:
        build_space(own, "turned")


def test_what_is_indexed_meanwhile_is_taken_in(library, videos, make_film):
    def meanwhile(progress: MigrateProgress) -> None:
        if progress.done_videos == 1 and not (videos / "new.mp4").exists():
            make_film(videos / "new.mp4", [("magenta", 4)])
            make_film(videos / "flag.mp4", [("yellow", 5)])  # done already, or in flight
            make_film(videos / "sky.mp4", [("green", 5)])
            with opened(library.root) as other:
                other.wait_for_writers(60.0, None)  # this is told while others are committed
                report = index_videos(other, [videos])
            assert sorted(path.name for path in report.indexed) == [
                "flag.mp4",
                "new.mp4",
                "sky.mp4",
            ]

    report = build_space(library, "turned", on_progress=meanwhile)
    assert report.failed == []
    (_, turned) = space_statuses(library)
    assert (turned.videos, turned.wanted, turned.is_whole) == (4, 4, True)
    switch_space(library, find_space(library))
    assert SearchEngine(library).ask("magenta").results[0].video.name == "new.mp4"
    assert damaged_videos(library, find_space(library)) == []
    index_videos(library, [videos])  # sweeps
    assert orphans(library) == set()


def test_a_run_of_indexing_that_goes_on_is_waited_for(library):
    """The lock is held for moments only, and another holder is no error."""
    told: list[str] = []
    library.wait_for_writers(0.0, told.append)
    with opened(library.root) as other, other.writing(command="a long run"):
        import threading

        run = threading.Thread(target=build_space, args=(library, "turned"))
        run.start()
        run.join(1.0)
        assert run.is_alive()
    run.join(60)
    assert not run.is_alive()
    assert "a long run" in told[0]
    assert space_statuses(library)[1].is_whole


def test_a_video_whose_file_is_gone_is_named_left_out_and_brought_back(library, videos):
    flag = videos / "flag.mp4"
    content, times = flag.read_bytes(), flag.stat()
    flag.unlink()
    before = answers(library)
    report = build_space(library, "turned")
    assert [(path.name, "No such file" in why) for path, why in report.failed] == [
        ("flag.mp4", True)
    ]
    space = find_space(library)
    with pytest.raises(SpaceError, match=r"lacks 1 of .*flag\.mp4.*--without-missing"):
        switch_space(library, space)
    done = switch_space(library, space, without_missing=True)
    gone = library.video("flag.mp4")
    assert done.left_out == (gone.id,)
    assert (gone.status, gone.reason) == ("missing", LEFT_OUT)
    assert "flag.mp4" not in {each.video.name for each in SearchEngine(library).ask("red").results}

    switch_space(library, find_space(library, left=True))
    assert answers(library) == before
    switch_space(library, find_space(library, left=True), without_missing=True)
    flag.write_bytes(content)
    os.utime(flag, ns=(times.st_atime_ns, times.st_mtime_ns))
    report = index_videos(library, [videos])
    assert [path.name for path in report.indexed] == ["flag.mp4"]
    best = SearchEngine(library).ask("red").results[0]
    assert best.video.name == "flag.mp4"
    assert library.features.open(library.video("flag.mp4").feature_file).shape[1] == 4
    with pytest.raises(SpaceError, match="lacks"):
        switch_space(library, find_space(library, left=True))
    build_space(library, "colour")
    switch_space(library, find_space(library, left=True))
    assert [hits(each) for each in answers(library)] == [hits(each) for each in before]


def test_a_left_out_video_that_was_moved_is_indexed_at_its_new_place(library, videos):
    content = (videos / "flag.mp4").read_bytes()
    (videos / "flag.mp4").unlink()
    build_space(library, "turned")
    switch_space(library, find_space(library), without_missing=True)
    (videos / "banner.mp4").write_bytes(content)
    report = index_videos(library, [videos])
    assert [path.name for path in report.indexed] == ["banner.mp4"]
    assert SearchEngine(library).ask("red").results[0].video.name == "banner.mp4"


def test_a_video_that_has_changed_or_was_cut_otherwise_is_named(library, videos, make_film):
    make_film(videos / "flag.mp4", [("green", 4)])
    report = build_space(library, "turned")
    assert [(path.name, "has changed" in why) for path, why in report.failed] == [
        ("flag.mp4", True)
    ]
    discard_space(library, find_space(library))
    with opened(library.root, sample_rate=3.0) as other:
        report = build_space(other, "turned")
    reasons = {path.name: why for path, why in report.failed}
    assert set(reasons) == {"flag.mp4", "lawn.mkv", "sky.mp4"}
    assert "another sample_rate" in reasons["sky.mp4"]
    assert report.built == []


def test_damaged_files_of_a_space_are_made_again(library):
    build_space(library, "turned")
    space = find_space(library)
    file = next(iter(spaces.videos_of_space(library.catalog, space.id).values()))
    path = library.root / "features" / file
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(
        SpaceError, match=r"turned: 1 videos in its space are damaged .*vidsift migrate"
    ):
        switch_space(library, space)
    report = build_space(library, "turned")
    assert (len(report.built), report.unchanged) == (1, 2)
    assert orphans(library) == {file} or orphans(library) == set()
    switch_space(library, space)


def test_an_open_page_and_a_waiting_indexer_follow_a_switch(library, videos, make_film):
    with opened(library.root) as page, opened(library.root) as watcher:
        assert SearchEngine(page).ask("red").results[0].video.name == "flag.mp4"
        assert watcher.encoder.stamp.name == "colour"
        build_space(library, "turned")
        switch_space(library, find_space(library))
        best = SearchEngine(page).ask("cyan").results[0]
        assert (best.video.name, page.encoder.stamp.name) == ("sky.mp4", "turned")
        assert page.index().stamp.name == "turned"
        make_film(videos / "new.mp4", [("magenta", 4)])
        index_videos(watcher, [videos])
        assert SearchEngine(page).ask("magenta").results[0].video.name == "new.mp4"
    dimensions = {vectors.shape[1] for _, vectors in library.catalog.iter_vectors()}
    assert dimensions == {4}


def test_a_switch_that_would_leave_nothing_to_search_is_refused(library, families, monkeypatch):
    build_space(library, "turned")
    space = find_space(library)
    with (
        opened(library.root, encoder="colour") as fixed,
        pytest.raises(ConfigError, match="colour"),
    ):
        switch_space(fixed, space)
    with opened(library.root, pooler="nowhere.safetensors") as trained, pytest.raises(PoolerError):
        switch_space(trained, space)
    newer = dataclasses.replace(space.stamp, weights_sha256="2" * 64)
    monkeypatch.setattr(families["turned"], "stamp", newer)
    with pytest.raises(EncoderMismatchError, match="build it anew"):
        switch_space(library, space)
    assert library.catalog.stamp().name == "colour"


def test_spaces_are_found_by_what_is_said_of_them(library):
    with pytest.raises(SpaceError, match="no space of another encoder"):
        find_space(library)
    with pytest.raises(SpaceError, match="no other encoder was searched"):
        find_space(library, left=True)
    with pytest.raises(SpaceError, match="searched with this encoder already"):
        build_space(library, "colour")
    build_space(library, "turned")
    assert find_space(library) == find_space(library, "turned") == find_space(library, left=False)
    with pytest.raises(SpaceError, match="has: turned"):
        find_space(library, "another")


def test_an_empty_library_has_nothing_to_migrate(tmp_path):
    with (
        Library.open(tmp_path / "empty", create=True) as empty,
        pytest.raises(SpaceError, match="nothing is indexed yet"),
    ):
        build_space(empty, "turned")


def test_other_encoders_are_refused_with_the_way_to_change(library):
    with opened(library.root, encoder="turned") as other:
        with pytest.raises(EncoderMismatchError, match="vidsift migrate --encoder turned"):
            other.check_encoder()
        with pytest.raises(EncoderMismatchError, match="vidsift migrate --encoder turned"):
            _ = other.encoder


def test_a_comparison_shows_what_a_switch_would_give(either):
    library = either
    before = answers(library)
    build_space(library, "turned")
    files = {path: path.read_bytes() for path in (library.root / "index").iterdir()}
    compared = compare_spaces(
        library, find_space(library), [*QUESTIONS, '"red', "video:nowhere red"]
    )
    assert compared.encoders == ("colour", "turned")
    assert [each.question for each in compared.differences] == list(QUESTIONS)
    assert [text for text, _ in compared.skipped] == ['"red', "video:nowhere red"]
    # Of three videos both find all; and one question in five has one video for an answer.
    assert compared.videos == 1.0
    assert 1 / 3 < compared.videos_by_chance < 1.0
    assert 0 < compared.moments <= 1
    assert compared.pooler == ""
    with in_other_space(library, find_space(library)) as other:
        shown = [hits(each) for each in answers(other)]
    assert answers(library) == before
    assert {path: path.read_bytes() for path in (library.root / "index").iterdir()} == files
    assert list(library.root.glob("compare-*")) == []
    switch_space(library, find_space(library))
    assert [hits(each) for each in answers(library)] == shown
    bests = [each.results[0].video if each.results else None for each in answers(library)]
    assert [each.best[1] and each.best[1].video for each in compared.differences] == bests


def test_copies_of_killed_comparisons_are_removed(library):
    build_space(library, "turned")
    old, new = library.root / "compare-old.part", library.root / "compare-new.part"
    for folder in (old, new):
        folder.mkdir()
        (folder / "catalog.sqlite3").write_bytes(b"copy")
    os.utime(old, (0, 0))
    with in_other_space(library, find_space(library)):
        assert (old.exists(), new.exists()) == (False, True)


def test_overlap_is_of_equal_videos_and_overlapping_moments(library):
    """A space compared with itself in a copy is the same; one question has no chance level."""
    build_space(library, "turned")
    switch_space(library, find_space(library))
    compared = compare_spaces(library, find_space(library), ["red"])
    assert compared.videos == 1.0
    assert compared.videos_by_chance is compared.moments_by_chance is None
    assert compared.matched[0] in (0.0, 1.0)
    with pytest.raises(QueryError, match="none of the questions"):
        compare_spaces(library, find_space(library), ['"red'])


def test_questions_to_compare_on(library, tmp_path):
    texts, shipped = questions_of(library)
    assert (shipped, len(texts)) == (50, 50)
    for number in range(6):
        history.remember(library.catalog, f"question {number}")
    texts, shipped = questions_of(library)
    assert (shipped, texts[0], len(texts)) == (0, "question 5", 6)
    file = tmp_path / "questions.txt"
    file.write_text("red\n\n blue \nred\n")
    assert read_questions(file) == ["red", "blue"]
    file.write_text("\n")
    with pytest.raises(QueryError, match="holds no question"):
        read_questions(file)
    with pytest.raises(QueryError, match="No such file"):
        read_questions(tmp_path / "nowhere.txt")
