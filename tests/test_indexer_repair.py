"""Damage of every kind: nothing wrong is served, nothing crashes, it is found, and it is mended."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.damage import Subject, ask, colour_encoder, rows_of, run_trial, sectors
from benchmarks.damage_kinds import DAMAGES
from indexer import index_videos
from indexer.repair import repair_at
from indexer.verify import verify_at
from search import SearchEngine
from ui.cli import app
from vidsift.errors import DamagedLibraryError, LibraryBusyError, SchemaError, StorageError
from vidsift.library import Library
from vidsift.store.salvage import salvage
from vidsift.store.standing import add_question, questions
from vidsift.store.tags import tags_of_videos
from vidsift.store.upgrade import upgrade

# They go the way of another kind, which is tried here; `benchmarks.damage` tries all.
LIKE_OTHERS = (
    "log: a bit", "log: gone", "features: sector", "features: cut", "pictures: a bit",
    "pictures: gone", "index: cut", "index: gone", "null: cut",
)  # fmt: skip


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    with colour_encoder():
        made = Subject(tmp_path_factory.mktemp("damage") / "subject")
        made.make()
        yield made


@pytest.fixture
def root(subject: Subject, tmp_path: Path) -> Path:
    """A copy of the library, of films that lie in a folder of their own."""
    return subject.copy(tmp_path, "any")


def change(root: Path, statement: str) -> None:
    with closing(sqlite3.connect(root / "catalog.sqlite3")) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        assert connection.execute(statement).rowcount >= 1
        connection.commit()


def answers(root: Path) -> object:
    with Library.open(root) as library:
        return ask(library)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in DAMAGES if kind not in LIKE_OTHERS])
def test_damage(subject: Subject, kind: str, tmp_path: Path) -> None:
    trial = run_trial(subject, kind, 11, tmp_path)
    assert trial.crashed == ""
    assert trial.wrong == trial.lacking == []
    assert trial.gaps or trial.meaningless
    if kind == "newer version":
        assert "is newer" in trial.refused
        assert "is newer" in trial.mended
    elif kind in ("row: gone", "catalog: sector", "catalog: a bit"):
        # Where a video's own row was, only its folder tells what there was; what people added to
        # the row is lost with it. Where rows lie in the file is another in every run.
        assert trial.mended.startswith(("yes", "by indexing", "all but"))
    elif kind not in ("catalog: cut", "catalog: page", "catalog: bits"):
        # Of those too much may be lost, which is said.
        assert trial.mended == "yes"


def test_a_catalog_that_lost_its_version_is_mended_and_not_upgraded(root: Path) -> None:
    before = rows_of(root)
    change(root, "DELETE FROM alembic_version")
    with pytest.raises(DamagedLibraryError, match=r"of which schema it is; run `vidsift repair`"):
        Library.open(root)
    with pytest.raises(DamagedLibraryError, match="of which schema it is"):
        upgrade(f"sqlite:///{root / 'catalog.sqlite3'}")
    assert repair_at(root).left.gaps == ()
    after = rows_of(root)
    assert before | {"library": []} == after | {"library": []}


@pytest.mark.slow
def test_no_sector_of_the_catalog_can_be_zeroed_unnoticed(subject: Subject, tmp_path: Path) -> None:
    """Every 32nd here, others in every run; `benchmarks.damage --sectors` does all."""
    trials = list(sectors(subject, tmp_path, secrets.randbelow(32), 32))
    assert len(trials) > 8
    assert [each for each in trials if each.wrong or each.lacking or each.crashed] == []


def test_a_whole_library_is_left_as_it_is(root: Path) -> None:
    before = rows_of(root)
    done = repair_at(root)
    assert (done.done, done.taken_out, done.left.gaps) == ([], [], ())
    assert rows_of(root) == before


def test_a_video_whose_file_is_away_is_taken_out_until_it_is_back(
    subject: Subject, root: Path, tmp_path: Path
) -> None:
    with Library.open(root) as library:
        sky = library.video("sky.mp4")  # which was transcribed
        add_question(library.catalog, "a dog", 0.01)
        tagged = tags_of_videos(library.catalog)
    right = answers(root)
    change(root, f"UPDATE clips SET pts_seconds = x'00' WHERE video_id = {sky.id}")
    aside = tmp_path / "away.mp4"
    shutil.move(sky.path, aside)
    try:
        done = repair_at(root)
        assert done.left.gaps == ()
        assert (done.left.videos, done.left.searchable) == (5, 4)
        ((path, reason),) = done.taken_out
        assert path == sky.path
        assert "damaged" in reason
        assert "away" in reason
        with Library.open(root) as library:
            found = {each.video_id for each in SearchEngine(library).rank_videos("magenta")}
            assert sky.id not in found
            ((video, state, why),) = library.not_searchable()
            assert (video.id, state, why) == (sky.id, "missing", reason)
        assert repair_at(root).done == []  # nothing is done twice
    finally:
        shutil.move(aside, sky.path)
    with Library.open(root) as library:
        index_videos(library, [subject.videos])
        assert library.video("sky.mp4").id == sky.id
        assert tags_of_videos(library.catalog) == tagged
        assert [each.question for each in questions(library.catalog)] == ["a dog"]
    assert answers(root) == right  # what was transcribed, too
    assert verify_at(root).gaps == ()


def test_a_file_that_is_gone_is_marked_and_one_that_is_back_is_found(
    subject: Subject, root: Path, tmp_path: Path
) -> None:
    sky = subject.videos / "sky.mp4"
    aside = tmp_path / "away.mp4"
    shutil.move(sky, aside)
    try:
        done = repair_at(root)
        assert done.taken_out == [(sky, "the file is gone")]
        assert done.left.gaps == ()
    finally:
        shutil.move(aside, sky)
    assert [gap.kind for gap in verify_at(root).gaps] == ["source"]
    assert repair_at(root).left.searchable == 5


def test_checksums_are_taken_of_what_was_indexed_before_there_were_any(root: Path) -> None:
    before = rows_of(root)["videos"]
    change(root, "UPDATE videos SET seal = '', parts_sha256 = '', pictures_sha256 = ''")
    change(root, "UPDATE clips SET first_frame = 3 WHERE video_id = 1 AND ordinal = 0")
    found = verify_at(root)
    assert sum(gap.kind == "no checksum" for gap in found.gaps) == 5
    done = repair_at(root)
    assert done.left.gaps == ()
    # Those that fit together as they were; the one that does not is not sealed but indexed anew.
    assert [row for row in rows_of(root)["videos"] if row[0] != 1] == before[1:]
    assert sum("took the checksums" in line for line in done.done) == 4
    assert sum(line.startswith("indexed ") for line in done.done) == 1


def test_a_damaged_catalog_is_replaced_and_kept_beside(root: Path) -> None:
    file = root / "catalog.sqlite3"
    right = answers(root)
    content = bytearray(file.read_bytes())
    content[:16] = bytes(16)
    content[len(content) // 2 :: 4096] = bytes(len(content[len(content) // 2 :: 4096]))
    file.write_bytes(bytes(content))
    with pytest.raises(DamagedLibraryError, match="vidsift repair"):
        Library.open(root)
    done = repair_at(root)
    (kept,) = root.glob("catalog.sqlite3.damaged-*")
    assert kept.read_bytes() == bytes(content)
    assert str(kept) in done.done[0]
    assert done.left.gaps == ()
    assert answers(root) == right
    assert verify_at(root).gaps == ()


def test_what_can_be_read_is_salvaged_with_its_ids(root: Path) -> None:
    before = rows_of(root)
    url = f"sqlite:///{root / 'catalog.sqlite3'}"
    saved = salvage(url)
    assert saved is not None
    assert saved.unreadable == 0
    after = rows_of(root)
    for table in before.keys() - {"library"}:
        assert after[table] == before[table], table
    with Library.open(root) as library:
        library.catalog.mark_failed(Path("/v/new.mp4"), None, "is no video")
        new = library.catalog.video_by_path(Path("/v/new.mp4"))
        assert new is not None
        assert new.id > 1000  # an id that was lost is given to nobody
        assert library.catalog.search_words("good morning", 5)
    assert salvage("postgresql://localhost/none") is None


def test_nothing_is_touched_where_nothing_can_be_read_or_it_is_newer(root: Path) -> None:
    file = root / "catalog.sqlite3"
    change(root, "UPDATE alembic_version SET version_num = '9999'")
    before = file.read_bytes()
    with pytest.raises(SchemaError, match="newer"):
        verify_at(root)
    with pytest.raises(SchemaError, match="newer"):
        repair_at(root)
    with pytest.raises(SchemaError, match="newer"):
        salvage(f"sqlite:///{file}")
    assert file.read_bytes() == before
    content = os.urandom(1 << 16)
    file.write_bytes(content)
    with pytest.raises(DamagedLibraryError, match="nothing can be read"):
        repair_at(root)
    assert list(root.glob("catalog.sqlite3.*")) == []
    assert file.read_bytes() == content  # another program may still make something of it


def test_places_that_cannot_be_read_are_counted_and_not_the_ids_they_may_have_held(
    root: Path,
) -> None:
    file = root / "catalog.sqlite3"
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'cues'")
        page = int(found.fetchone()[0])
        size = int(connection.execute("PRAGMA page_size").fetchone()[0])
        connection.execute("UPDATE sqlite_sequence SET seq = 500 WHERE name = 'cues'")
        connection.commit()
    content = bytearray(file.read_bytes())
    content[(page - 1) * size : page * size] = bytes([255]) * size
    file.write_bytes(bytes(content))
    saved = salvage(f"sqlite:///{file}")
    assert saved is not None
    assert saved.unreadable == 1


def test_a_disk_that_is_full_leaves_the_catalog_as_it_was(root: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    file = root / "catalog.sqlite3"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    file.write_bytes(bytes(16) + file.read_bytes()[16:])
    size = file.stat().st_size
    # Too little for the copy that is kept, and for what is made of it.
    for room in (size // 2, size // 2 + size):
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size + room}", "tmpfs", str(small)]
        if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("only root may mount")
        try:
            shutil.copy(file, small)
            with pytest.raises(StorageError, match="free some space"):
                salvage(f"sqlite:///{small / file.name}")
            assert [each.name for each in small.iterdir()] == [file.name]
            assert (small / file.name).read_bytes() == file.read_bytes()
        finally:
            subprocess.run(["umount", str(small)], check=True)


def test_only_one_mends_at_a_time(root: Path) -> None:
    with Library.open(root) as library, library.writing(), pytest.raises(LibraryBusyError):
        repair_at(root)


@pytest.mark.slow
@pytest.mark.parametrize("at", [0.1, 0.6])
def test_killed_at_any_moment_the_next_repair_goes_on(
    subject: Subject, root: Path, at: float
) -> None:
    right = answers(root)
    change(root, "UPDATE clips SET first_frame = 3 WHERE ordinal = 0")
    file = root / "catalog.sqlite3"
    content = bytearray(file.read_bytes())
    content[:16] = bytes(16)
    file.write_bytes(bytes(content))
    program = textwrap.dedent(f"""
        import os, signal, threading
        from benchmarks.damage import colour_encoder
        from indexer.repair import repair_at
        with colour_encoder():
            print("ready", flush=True)
            threading.Timer({at}, os.kill, (os.getpid(), signal.SIGKILL)).start()
            repair_at({str(root)!r})
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120)
    assert repair_at(root).left.gaps == ()
    assert answers(root) == right


# --- the command


def test_repair_says_what_it_did(root: Path) -> None:
    change(root, "UPDATE videos SET duration_seconds = 1 WHERE id = 1")
    (root / "index" / "vectors.faiss").unlink()
    result = CliRunner().invoke(app, ["repair", "--library", str(root)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "made index/vectors.faiss anew" in lines
    assert any(line.startswith("indexed ") and line.endswith(" anew") for line in lines)
    assert lines[-1] == "5 of 5 videos are searchable, no gap"
    result = CliRunner().invoke(app, ["repair", "--library", str(root), "--json"])
    found = json.loads(result.stdout)
    assert found == {"done": [], "taken_out": [], "videos": 5, "searchable": 5, "gaps": []}
