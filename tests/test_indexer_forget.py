"""Forgetting, on libraries that hold all that a video leaves behind, on both databases."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from indexer import forget, index_videos
from indexer.forget import FORGETTING, finish_forgetting, forget_videos
from indexer.kept_out import KEPT_OUT, KeptOut
from indexer.trying import TRYING
from search import SearchEngine
from search.evaluation_history import HISTORY_FILE
from summarizer import Skim, summarize
from summarizer.across import summarize_videos
from ui import preview
from vidsift.errors import DamagedLibraryError, StorageError, VideoNotFoundError
from vidsift.library import Library
from vidsift.store import forgetting, history, standing
from vidsift.store.connection import make_engine, parse_url, reading, writing
from vidsift.store.seals import fit
from vidsift.store.tags import change_tags, tags_of_videos
from vidsift.types import Cue, EncoderStamp, Fingerprint, Moment, SearchResult, Span

SECRET_LINE = "the password of the vault is swordfish"
HEARD_LINE = "nobody must hear of the xylophones"
OPEN_LINE = "welcome to the open day of the museum"


class TilesEncoder:
    """A frame is the mean colours of 16 tiles; a text lies somewhere, always in the same place."""

    stamp = EncoderStamp("tiles", "0" * 64, 48, "tiles")
    picture_size = 32

    def encode_frames(self, images: np.ndarray) -> np.ndarray:
        n, h, w, _ = images.shape
        cut = images[:, : h // 4 * 4, : w // 4 * 4].astype(np.float32)
        tiles = cut.reshape(n, 4, h // 4, 4, w // 4, 3).mean(axis=(2, 4)).reshape(n, 48)
        return tiles / np.linalg.norm(tiles + 1e-3, axis=1, keepdims=True)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        drawn = [np.random.default_rng(list(t.encode())).standard_normal(48) for t in texts]
        vectors = np.array(drawn, np.float32).reshape(-1, 48)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    encode_regions = heat_map = None

    def close(self) -> None:
        pass


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield ""
        return
    server = os.environ["VIDSIFT_TEST_POSTGRES_URL"]
    name = f"test_{uuid.uuid4().hex}"
    engine = make_engine(parse_url(server))
    with writing(engine) as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {name}"))
    own = sa.make_url(server).update_query_dict({"options": f"-csearch_path={name}"})
    yield own.render_as_string(hide_password=False)
    with writing(engine) as connection:
        connection.execute(sa.text(f"DROP SCHEMA {name} CASCADE"))
    engine.dispose()


@pytest.fixture
def films(make: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    """The one to be forgotten, and the one that stays, each with its subtitles."""
    folder = tmp_path / "films"
    folder.mkdir()
    found = []
    for name, source, line in (
        ("secret_meeting.mp4", "mandelbrot=s=160x120:r=10:start_scale=0.5", SECRET_LINE),
        ("open_day.mp4", "testsrc2=s=160x120:r=10", OPEN_LINE),
    ):
        path = folder / name
        made = make(f"{uuid.uuid4().hex}.mp4", "-f", "lavfi", "-i", source, "-t", "4")
        path.write_bytes(made.read_bytes())
        srt = f"1\n00:00:01,000 --> 00:00:03,000\n{line}\n"
        path.with_suffix(".srt").write_text(srt, encoding="utf-8")
        found.append(path)
    return found[0], found[1]


def opened(root: Path, url: str) -> Library:
    flags = {"database_url": url} if url else {}
    root.mkdir(exist_ok=True)
    library = Library.open(root, create=True, encoder="tiles", **flags)
    library.__dict__["encoder"] = TilesEncoder()
    return library


@pytest.fixture
def library(tmp_path: Path, url: str) -> Iterator[Library]:
    with opened(tmp_path / "library", url) as made:
        yield made


def fill(library: Library, films: tuple[Path, Path]) -> None:
    """Index the films under another name first, and leave every trace that a use can leave."""
    secret, other = films
    old = secret.with_name("vault_visit.mp4")
    secret.rename(old)
    index_videos(library, [old.parent])
    old.rename(secret)
    index_videos(library, [secret.parent])
    video, stays = library.video(secret), library.video(other)
    cue = Cue(Span(0.5, 1.5), HEARD_LINE, "speech en")
    library.catalog.save_speech(
        video.id, [cue], library.encoder.encode_texts([HEARD_LINE]), model="small"
    )
    change_tags(library.catalog, [video.id], add=["whistle-blower"])
    change_tags(library.catalog, [stays.id], add=["public"])
    standing.add_question(library.catalog, "a red door", 0.01)
    standing.add_question(library.catalog, 'a red door video:"secret_meeting.mp4"', 0.01)
    for due in standing.due(library.catalog) or _due_of(library, video):
        moment = Moment(due.video_id, 1, Span(0.0, 2.0), 1.0, 0.5)
        said = SearchResult(moment, secret, secret, None, ("words",), cue)
        standing.record_answer(library.catalog, due, [said])
    for question in (
        "a red door", "what happens in secret_meeting", f"{video.id}@1.5", "vault_visit.mp4@0:01"
    ):  # fmt: skip
        history.remember(library.catalog, question)
    for each in (video, stays):
        summary = summarize(library, each, "the password", seconds=2.0)
        library.catalog.save_summary(each.id, summary)
        preview.skim_files(library, Skim.of(each, summary), ("mp4", "png", "html", "json"))
        moment = Moment(each.id, 1, Span(0.0, 2.0), 1.0, 0.5)
        preview.moment_clip(library, each, moment)
    both = summarize_videos(library, [video, stays], seconds=3.0)
    preview.skim_files(library, both, ("png", "json"))
    preview.skim_files(library, both, ("html",))
    named = summarize(library, stays, "as in secret_meeting.mp4", seconds=2.0)
    library.catalog.save_summary(stays.id, named)
    (library.skims / "explanation.png").write_bytes(secret.read_bytes()[:4000])
    lines = [{"time": 1.0, "skipped": [f"{secret}: was busy", f"{other}: was busy"]}]
    (library.root / HISTORY_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    tries = {each.fingerprint.sha256: 1 for each in (video, stays)}
    (library.root / TRYING).write_text(json.dumps(tries))
    SearchEngine(library).ask("the password", 2)  # makes the null distribution


def _due_of(library: Library, video: object) -> list[standing.Due]:
    asked = standing.questions(library.catalog)
    return [standing.Due(q, video.id, video.fingerprint.sha256, "later", False) for q in asked]


def everything(library: Library) -> dict[str, bytes]:
    """All files of the library, and every row of every table, as bytes."""
    found = {
        str(path.relative_to(library.root)): path.read_bytes()
        for path in sorted(library.root.rglob("*"))
        if path.is_file()
    }
    with reading(library.catalog._engine) as connection:
        inspector = sa.inspect(connection)
        for table in inspector.get_table_names():
            rows = connection.execute(sa.text(f'SELECT * FROM "{table}"')).all()
            values = (value for row in rows for value in row)
            found[f"table {table}"] = b"\0".join(
                bytes(value)
                if isinstance(value, bytes | memoryview)
                else str(value).encode("utf-8", "surrogateescape")
                for value in values
            )
    return found


def traces_of(library: Library, video_id: int) -> dict[str, bytes]:
    """What only the forgotten video has, taken while it is there."""
    video = library.video(video_id)
    picture = library.thumbnail(video, 0).read_bytes()
    features = np.asarray(library.features.open(video.feature_file))
    ids = library.catalog.vector_ids([video_id])
    vectors = next(library.catalog.iter_vectors(int(ids[0]) - 1, 1))[1]
    return {
        "path": str(video.path).encode(),
        "old name": b"vault_visit",
        "name": b"secret_meeting",
        "hash": video.fingerprint.sha256[:16].encode(),
        "line": b"swordfish",
        "heard": b"xylophones",
        "tag": b"whistle-blower",
        "features": features[0].tobytes()[:32],
        "vector": vectors[0].astype("<f2").tobytes(),
        "vector in the index": vectors[0].astype("<f4").tobytes(),
        "thumbnail": picture[-60:-30],  # before that are tables, the same in every JPEG
    }


def found_in(library: Library, traces: dict[str, bytes]) -> list[tuple[str, str]]:
    return [
        (what, where)
        for where, content in everything(library).items()
        for what, trace in traces.items()
        if trace in content
    ]


def test_nothing_is_left_and_the_other_video_is_as_it_was(library, films) -> None:
    fill(library, films)
    secret, other = films
    video, stays = library.video(secret), library.video(other)
    traces = traces_of(library, video.id)
    before = {what for what, _ in found_in(library, traces)}
    assert before == set(traces)  # the search for traces can find each
    kept = {path: path.read_bytes() for path in library.pictures(stays).iterdir()}
    summaries = {s.query for s in library.catalog.summaries(stays.id)}

    done = forget_videos(library, [video])

    assert done.proof is not None
    assert done.proof.traces == []
    assert found_in(library, traces) == []
    assert done.videos == (secret,)
    assert done.rows["videos"] == 1
    assert done.rows["alerts"] == 2
    assert done.rows["asked_questions"] == 3
    assert done.rows["standing_questions"] == 1
    assert done.rows["runs"] == 2
    assert not (library.root / FORGETTING).exists()
    looked_for = done.proof.looked_for
    assert all(
        looked_for[kind] for kind in ("path", "line", "vector", "feature", "picture", "skim")
    )

    # The source is not touched, and what stays is whole and found.
    assert secret.exists()
    assert [each.id for each in library.catalog.videos()] == [stays.id]
    assert {path: path.read_bytes() for path in library.pictures(stays).iterdir()} == kept
    assert library.damage(stays) == ""
    with reading(library.catalog._engine) as connection:
        assert fit(connection, stays.id)
    assert {s.query for s in library.catalog.summaries(stays.id)} == {
        query for query in summaries if "secret" not in query
    }
    assert tags_of_videos(library.catalog) == {stays.id: ("public",)}
    assert [asked.question for asked in history.asked(library.catalog)] == ["a red door"]
    assert len(standing.questions(library.catalog)) == 1
    skims = [path.name for path in library.skims.rglob("*") if path.is_file()]
    assert len(skims) == 5
    assert all(
        "open_day" in name or name.startswith(stays.fingerprint.sha256[:16]) for name in skims
    )
    answer = SearchEngine(library).ask("museum", 5)
    assert {result.moment.video_id for result in answer.results} == {stays.id}
    assert answer.results[0].cue is not None
    assert SearchEngine(library).ask("swordfish", 5).results[0].cue is None
    assert json.loads((library.root / TRYING).read_text()) == {stays.fingerprint.sha256: 1}
    with pytest.raises(VideoNotFoundError):
        library.video(secret)


def test_a_trace_that_is_left_on_purpose_is_found(library, films, monkeypatch) -> None:
    fill(library, films)
    video = library.video(films[0])
    picture = library.thumbnail(video, 0).read_bytes()
    (library.root / "notes.txt").write_text(f"seen: {films[0]}")
    (library.root / "poolers").mkdir()
    (library.root / "poolers" / "strange.bin").write_bytes(b"\1" * 9000 + picture)
    copy = library.features.open(video.feature_file).tobytes()
    (library.root / "features.backup").write_bytes(b"12345" + copy)
    with writing(library.catalog._engine) as connection:
        connection.execute(
            sa.text("INSERT INTO runs (started_at, report) VALUES (1, :report)"),
            {"report": json.dumps({"by": "0" + video.fingerprint.sha256})},
        )
    done = forget_videos(library, [video])
    assert done.proof is not None
    found = {(trace.where, trace.what) for trace in done.proof.traces}
    assert ("notes.txt", "path") in found
    assert ("poolers/strange.bin", "picture") in found
    assert ("features.backup", "feature") in found
    assert ("table runs", "content hash") in found
    assert done.learned == (library.root / "poolers" / "strange.bin",)


@pytest.mark.parametrize("what", ["rows", "free pages", "words", "index"])
def test_each_step_is_what_removes_its_traces(tmp_path, films, monkeypatch, what) -> None:
    """Left out, the proof says so: it does not take the work for the result."""
    library = opened(tmp_path / "library", "")
    fill(library, films)
    video = library.video(films[0])
    if what == "rows":
        monkeypatch.setattr(forget, "delete_videos", lambda *_, **__: {})
    elif what == "free pages":
        # As builds of SQLite are that do not overwrite what is deleted.
        monkeypatch.setattr(forget, "scrub", lambda _: None)
        with reading(library.catalog._engine) as connection:
            connection.exec_driver_sql("PRAGMA secure_delete = OFF")
    elif what == "words":
        # Rows that go without their triggers, as by a damaged schema.
        with writing(library.catalog._engine) as connection:
            connection.exec_driver_sql("DROP TRIGGER cues_words_delete")
        monkeypatch.setattr(forget, "scrub", lambda _: None)
    else:
        index = (library.root / "index" / "vectors.faiss").read_bytes()
        scrub = forgetting.scrub

        def put_back(catalog: object) -> None:
            scrub(catalog)
            (library.root / "index" / "vectors.faiss").write_bytes(index)

        monkeypatch.setattr(forget, "scrub", put_back)
    done = forget_videos(library, [video])
    library.close()
    assert done.proof is not None
    found = {trace.where for trace in done.proof.traces}
    expected = {
        "rows": "table videos",
        "free pages": "catalog.sqlite3-wal",
        "words": "full text index",
        "index": "index",
    }
    assert expected[what] in found


def test_videos_of_one_name_or_content_are_told_apart(library, films, tmp_path) -> None:
    secret, other = films
    folder = tmp_path / "second"
    folder.mkdir()
    twin = folder / secret.name  # the same content under the same name
    twin.write_bytes(secret.read_bytes())
    index_videos(library, [secret.parent, folder])
    standing.add_question(library.catalog, "a door video:secret_meeting.mp4", 0.01)
    done = forget_videos(library, [library.video(secret)])
    assert done.proof is not None
    assert done.proof.traces == []
    assert done.copies == (twin,)
    assert done.proof.shared["file name"] == 1
    assert done.proof.shared["content hash"] == 1
    # It may mean the twin.
    assert len(standing.questions(library.catalog)) == 1
    assert library.damage(library.video(twin)) == ""
    assert {video.path for video in library.catalog.videos()} == {twin, other}


def test_what_failed_is_forgotten_too(library, films, tmp_path) -> None:
    broken = films[0].with_name("broken_tape.mp4")
    broken.write_bytes(b"no video at all" * 100)
    index_videos(library, [broken.parent])
    assert library.video(broken).status == "failed"
    done = forget_videos(library, [library.video(broken)])
    assert done.proof is not None
    assert done.proof.traces == []
    assert found_in(library, {"name": b"broken_tape"}) == []


def test_what_is_kept_out_does_not_come_back(library, films) -> None:
    secret = films[0]
    index_videos(library, [secret.parent])
    done = forget_videos(library, [library.video(secret)], kept_out=True)
    assert done.proof is not None
    assert done.proof.traces == []
    report = index_videos(library, [secret.parent])
    assert report.kept_out == [secret]
    assert report.indexed == []
    # Neither under another name, nor with another time.
    moved = secret.with_name("brought_back.mp4")
    secret.rename(moved)
    os.utime(moved, (1, 1))
    assert index_videos(library, [secret.parent]).kept_out == [moved]
    assert found_in(library, {"name": b"secret_meeting", "new name": b"brought_back"}) == []
    # Whoever deletes the line lets it in again.
    (library.root / KEPT_OUT).unlink()
    assert index_videos(library, [secret.parent]).indexed == [moved]


def test_without_keeping_out_it_is_indexed_again(library, films) -> None:
    index_videos(library, [films[0].parent])
    video = library.video(films[0])
    forget_videos(library, [video])
    report = index_videos(library, [films[0].parent])
    assert report.indexed == [films[0]]
    assert library.video(films[0]).id > video.id


def test_a_damaged_list_of_what_is_kept_out_lets_nothing_in(tmp_path) -> None:
    (tmp_path / KEPT_OUT).write_text("ab" * 32 + " 12 34\nsomething else\n")
    with pytest.raises(DamagedLibraryError, match="line 2"):
        KeptOut.of(tmp_path)
    (tmp_path / KEPT_OUT).write_text("ab" * 32 + " 12 34\n\n")
    assert KeptOut.of(tmp_path).fingerprints == {Fingerprint(12, 34, "ab" * 32)}


def test_nothing_is_forgotten_where_there_is_no_room(library, films, monkeypatch, url) -> None:
    if url:
        pytest.skip("the room of a server is not ours to know")
    index_videos(library, [films[0].parent])
    monkeypatch.setattr(
        forgetting.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})
    )
    with pytest.raises(StorageError, match="MB free"):
        forget_videos(library, [library.video(films[0])])
    assert library.damage(library.video(films[0])) == ""
    assert not (library.root / FORGETTING).exists()


_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from indexer import forget, forget_files
from vidsift.library import Library

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

module, name, when = {step!r}
module = {{"forget": forget, "forget_files": forget_files, "library": Library}}[module]
real = getattr(module, name)
def after(*args, **options):
    real(*args, **options)
    die()
setattr(module, name, die if when == "before" else after)
with Library.open({root!r}, **{flags!r}) as library:
    forget.forget_videos(library, [library.video({video!r})])
"""

STEPS = [
    ("forget", "delete_videos", "before"),
    ("forget", "delete_videos", "after"),
    ("forget_files", "_remove", "after"),
    ("library", "index", "before"),
    ("forget", "scrub", "before"),
    ("forget", "scrub", "after"),
]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.slow
def test_killed_in_the_middle_the_next_run_finishes(step, films, tmp_path, url) -> None:
    if url and step[1] != "delete_videos":
        pytest.skip("the same on either database")
    with opened(tmp_path / "library", url) as library:
        fill(library, films)
        video = library.video(films[0])
        traces = traces_of(library, video.id)
    flags = {"database_url": url} if url else {}
    root = str(tmp_path / "library")
    script = _KILLED.format(
        tests=str(Path(__file__).parent), step=step, root=root, flags=flags, video=str(films[0])
    )
    child = subprocess.run([sys.executable, "-c", script], check=False, timeout=120)
    assert child.returncode == -signal.SIGKILL
    with opened(tmp_path / "library", url) as library:
        assert (library.root / FORGETTING).exists()
        if step[2] == "after" or step[1] != "delete_videos":
            # Gone from the search at once, whatever is still to be done.
            answer = SearchEngine(library).ask("swordfish", 5)
            assert video.id not in {result.moment.video_id for result in answer.results}
        if step == STEPS[0]:
            # The next run of anything that indexes finishes it, before it looks at the folder.
            index_videos(library, [films[1]])
            assert found_in(library, traces) == []
            assert forget_videos(library, []).proof is None
            return
        done = forget_videos(library, [])
        assert done.videos == (films[0],)
        assert done.proof is not None
        assert done.proof.traces == []
        assert found_in(library, traces) == []
        assert library.damage(library.video(films[1])) == ""


def test_a_list_of_what_is_forgotten_that_is_damaged_is_refused(library) -> None:
    (library.root / FORGETTING).write_text('{"ids": [1]')
    with pytest.raises(DamagedLibraryError, match=r"forgetting\.json"), library.writing():
        finish_forgetting(library)


def test_names_are_recognised_whole() -> None:
    from indexer.forget_task import Task

    task = Task((3,), (), ("/v/red.mp4", "red.mp4"), ("red",), (), (), (), (), (), False)
    assert task.names_it("like /v/red.mp4 and more")
    assert task.names_it('video:"RED.mp4"')
    assert task.names_it("3@1.5")
    assert task.names_it("red@0:12")
    for text in ("a red car", "/v/red.mp4v", "infra-red.mp4", "13@1", "3 @ 4", "1.3@2"):
        assert not task.names_it(text), text
    assert task.may_mean("a red car")
    assert not task.may_mean("a redder car")
