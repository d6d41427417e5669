"""Verifying: what does not fit is named with its cause; what fits is not."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from indexer import index_videos
from indexer.verify import Gap, Verification, verify, verify_at
from search import SearchEngine
from ui.cli import app
from vidsift.errors import DamagedLibraryError
from vidsift.library import Library
from vidsift.store.files import PART


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, make_film) -> Path:
    folder = tmp_path_factory.mktemp("films")
    make_film(folder / "flag.mp4", [("red", 3), ("blue", 3)])
    make_film(folder / "lawn.mp4", [("green", 4)])
    srt = "1\n00:00:00,000 --> 00:00:02,000\ngood morning to you\n"
    (folder / "lawn.srt").write_text(srt)
    return folder


@pytest.fixture
def library(colour_library: Library, films: Path, tmp_path: Path) -> Iterator[Library]:
    shutil.copytree(films, tmp_path / "videos")
    index_videos(colour_library, [tmp_path / "videos"])
    return colour_library


def change(library: Library, statement: str) -> None:
    with closing(sqlite3.connect(library.root / "catalog.sqlite3")) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        assert connection.execute(statement).rowcount >= 1
        connection.commit()


def only_gap(library: Library) -> Gap:
    found = verify(library)
    assert len(found.gaps) == 1, found.gaps
    assert found.gaps[0].cause
    assert "run `vidsift" in found.gaps[0].remedy
    return found.gaps[0]


def test_a_whole_library_has_no_gap(library: Library) -> None:
    shares: list[float] = []
    assert verify(library, on_progress=shares.append) == Verification(2, 2, ())
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_an_empty_library_has_no_gap(colour_library: Library) -> None:
    assert verify(colour_library) == Verification(0, 0, ())


def test_it_changes_nothing(library: Library, tmp_path: Path) -> None:
    (library.root / "features" / "stray.npy").write_bytes(b"")
    library.close()
    files = {path: path.read_bytes() for path in library.root.rglob("*") if path.is_file()}
    verify_at(library.root)
    assert {path: path.read_bytes() for path in library.root.rglob("*") if path.is_file()} == files


def test_what_failed_or_is_away_is_named_by_status_and_no_gap(
    library: Library, tmp_path: Path
) -> None:
    (tmp_path / "videos" / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "videos" / "lawn.mp4").unlink()
    index_videos(library, [tmp_path / "videos"])
    assert verify(library) == Verification(3, 1, ())


def test_source_files_are_compared(library: Library, tmp_path: Path, make_film) -> None:
    film = tmp_path / "videos" / "lawn.mp4"
    os.utime(film, (1, 1))  # its content is still the same
    assert verify(library).gaps == ()
    make_film(film, [("yellow", 2)])
    gap = only_gap(library)
    assert (gap.kind, gap.video) == ("source", film)
    assert "has changed" in gap.cause
    film.unlink()
    assert "is gone" in only_gap(library).cause
    library.catalog.mark_missing([gap.video_id])
    assert verify(library).gaps == ()
    make_film(film, [("yellow", 2)])
    assert "there again" in only_gap(library).cause


@pytest.mark.parametrize(
    ("statement", "kind", "cause"),
    [
        ("DELETE FROM shots WHERE ordinal = 1", "rows", "shots, clips or vectors"),
        ("UPDATE clips SET start_seconds = 0.25 WHERE ordinal = 0", "rows", "shots, clips"),
        ("UPDATE videos SET duration_seconds = 1", "rows", "entry"),
        ("UPDATE cues SET text = 'good evening to you'", "rows", "entry, subtitles"),
        ("UPDATE videos SET status = 'searchablf' WHERE id = 1", "rows", "entry"),
        ("DELETE FROM videos WHERE id = 1", "database", "that are not there"),
        ("INSERT INTO cues_words(cues_words) VALUES ('delete-all')", "words", "index of words"),
    ],
)
def test_rows_are_compared_with_their_checksums(
    library: Library, statement: str, kind: str, cause: str
) -> None:
    with closing(sqlite3.connect(library.root / "catalog.sqlite3")) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement)
        connection.commit()
    gaps = [gap for gap in verify(library).gaps if gap.kind == kind]
    assert gaps
    assert cause in gaps[0].cause


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("UPDATE videos SET num_clips = num_clips + 1", "clips, not"),
        ("UPDATE videos SET num_vectors = 99", "vectors, not"),
        ("UPDATE clips SET first_frame = first_frame + 1 WHERE ordinal = 1", "do not follow"),
        ("UPDATE clips SET pts_seconds = zeroblob(length(pts_seconds))", "do not increase"),
        ("UPDATE clips SET end_seconds = start_seconds + 0.01", "outside of it"),
        ("UPDATE clips SET shot_ordinal = 9", "shot"),
        ("UPDATE clip_vectors SET vector = zeroblob(6)", "length 1"),
        ("UPDATE clip_vectors SET vector = zeroblob(4)", "dimensions"),
        ("UPDATE clips SET num_frames = 'x'", "do not follow"),
        ("UPDATE clips SET start_seconds = x'00'", "what it cannot"),
    ],
)
def test_rows_without_checksums_must_still_fit_together(
    library: Library, statement: str, cause: str
) -> None:
    change(library, "UPDATE videos SET seal = '', parts_sha256 = '', pictures_sha256 = ''")
    assert {gap.kind for gap in verify(library).gaps} == {"no checksum"}
    change(library, statement)
    assert any(cause in gap.cause for gap in verify(library).gaps if gap.kind == "rows")


def test_features_and_pictures_are_compared(library: Library) -> None:
    video = library.video("flag.mp4")
    file = library.root / "features" / video.feature_file
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    found = verify(library)
    assert (found.videos, found.searchable) == (2, 1)
    (gap,) = found.gaps
    assert (gap.kind, gap.video) == ("features", video.path)
    file.unlink()
    assert "cannot be read" in only_gap(library).cause
    file.write_bytes(whole)
    picture = library.thumbnail(video, 0)
    content = picture.read_bytes()
    picture.write_bytes(content[:-1])
    assert (only_gap(library).kind, verify(library).searchable) == ("pictures", 1)
    picture.unlink()
    assert "1 of" in only_gap(library).cause


def test_a_row_may_name_files_as_none_can_be_called(library: Library) -> None:
    change(library, "UPDATE videos SET feature_file = char(0) || feature_file WHERE id = 1")
    assert {"features", "pictures"} <= {gap.kind for gap in verify(library).gaps}


def test_the_index_must_be_of_these_vectors_but_may_lag(
    library: Library, tmp_path: Path, make_film, colour_encoder
) -> None:
    file = library.root / "index" / "vectors.faiss"
    whole = file.read_bytes()
    make_film(tmp_path / "videos" / "sea.mp4", [("cyan", 2)])
    index_videos(library, [tmp_path / "videos"])
    file.write_bytes(whole)  # of before: it catches up by itself
    assert verify(library).gaps == ()
    file.write_bytes(whole[:-5] + b"12345")
    assert (only_gap(library).kind, only_gap(library).cause) == ("index", "damaged")
    file.unlink()
    assert only_gap(library).cause == "is not there"
    with Library.open(tmp_path / "other", create=True, encoder="colour") as other:
        other.__dict__["encoder"] = colour_encoder
        index_videos(other, [tmp_path / "videos" / "sea.mp4"])
    shutil.copy(tmp_path / "other" / "index" / "vectors.faiss", file)
    assert "of another library" in only_gap(library).cause


def test_an_index_that_says_it_is_of_now_must_hold_all(library: Library) -> None:
    file = library.root / "index" / "vectors.faiss"
    line, _, rest = file.read_bytes().partition(b"\n")
    now = library.catalog.generation().generation
    change(library, "DELETE FROM clip_vectors WHERE id = 1")
    header = json.loads(line) | {"generation": now, "own_sha256": ""}
    file.write_bytes(json.dumps(header).encode() + b"\n" + rest)
    gaps = {gap.kind: gap.cause for gap in verify(library).gaps}
    assert gaps["index"] == "lacks 0 vectors and holds 1 that are not there"


def test_what_the_index_says_of_itself_accuses_nobody_else(library: Library) -> None:
    file = library.root / "index" / "vectors.faiss"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"colour"', b'"colous"', 1))
    assert (only_gap(library).kind, only_gap(library).cause) == (
        "index",
        "damaged in its first line",
    )
    file.write_bytes(whole)
    change(library, "UPDATE library SET encoder_name = 'colous'")
    kinds = {gap.kind: gap.cause for gap in verify(library).gaps}
    assert "another encoder" in kinds["database"]


def test_the_null_distribution_is_read(library: Library) -> None:
    file = library.root / "index" / "null.npz"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(bytes(content))
    assert only_gap(library).kind == "null"


def test_leftovers_are_found_but_not_what_somebody_is_writing(library: Library) -> None:
    strays = [
        library.root / "features" / "stray.npy",
        library.root / "pictures" / f"stray{PART}",
        library.root / "index" / f"vectors.faiss{PART}",
    ]
    for path in strays:
        path.write_bytes(b"")
    assert {gap.kind for gap in verify(library).gaps} == {"leftover"}
    assert {library.root / gap.what for gap in verify(library).gaps} == set(strays)
    with library.writing():
        for path in strays:
            os.utime(path)
        assert verify(library).gaps == ()


def test_a_version_that_was_replaced_waits_for_the_next_run(
    library: Library, make_film: Callable[..., Path]
) -> None:
    path = library.video("lawn.mp4").path
    make_film(path, [("blue", 2)])
    index_videos(library, [path.parent])
    assert len(library.features.names()) == len(library.catalog.named_files()) + 1
    assert verify(library).gaps == ()


def test_a_catalog_that_cannot_be_read_is_a_gap(library: Library) -> None:
    library.close()
    file = library.root / "catalog.sqlite3"
    file.write_bytes(b"rubbish" + file.read_bytes()[7:])
    found = verify_at(library.root)
    assert (found.videos, found.searchable) == (0, 0)
    assert [gap.kind for gap in found.gaps] == ["database"]


# --- the command


@pytest.fixture
def run(library: Library) -> Callable[..., tuple[int, str]]:
    def run_command(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*arguments, "--library", str(library.root)])
        return result.exit_code, result.stdout

    return run_command


def test_verify_says_what_it_found(run, library: Library) -> None:
    code, text = run("verify")
    assert (code, text.strip()) == (0, "2 of 2 videos are searchable, no gap")
    video = library.video("flag.mp4")
    (library.root / "features" / video.feature_file).unlink()
    code, text = run("verify")
    assert code == 1
    assert str(video.path) in text
    assert "run `vidsift repair`" in text
    assert text.splitlines()[-1] == "1 of 2 videos are searchable, 1 gap"
    code, text = run("verify", "--json")
    found = json.loads(text)
    assert (code, found["videos"], found["searchable"]) == (1, 2, 1)
    (gap,) = found["gaps"]
    assert set(gap) == {"kind", "what", "cause", "remedy", "video_id", "video"}
    code, text = run("status")
    assert code == 0
    assert "1 of 2 videos are searchable" in text
    assert f"damaged: {video.path}: " in text


# --- what is served


def test_a_damaged_video_is_left_out_and_the_answer_says_so(library: Library) -> None:
    flag = library.video("flag.mp4")
    before = SearchEngine(library).ask("green", 5).results
    file = library.root / "features" / flag.feature_file
    content = bytearray(file.read_bytes())
    content[-1] ^= 1  # a sign, which nothing but the checksum could tell
    library.close()
    file.write_bytes(bytes(content))
    with Library.open(library.root, encoder="colour") as again:
        again.__dict__["encoder"] = library.__dict__.get("encoder") or _encoder()
        answer = SearchEngine(again).ask("red", 5)
        assert [each.video_id for each in answer.left_out] == [flag.id]
        assert "features are not what was stored" in answer.left_out[0].reason
        assert {each.moment.video_id for each in answer.results} == {before[0].moment.video_id}
        assert again.damage(flag) == answer.left_out[0].reason
        assert [(each[0].id, each[1]) for each in again.not_searchable()] == [(flag.id, "damaged")]
        assert [video.video_id for video in SearchEngine(again).rank_videos("red")] != [flag.id]
        # Indexed anew, it answers again in the same process.
        index_videos(again, [flag.path])
        answer = SearchEngine(again).ask("red", 5)
        assert answer.left_out == ()
        assert answer.results[0].moment.video_id == flag.id


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE clips SET start_seconds = 1.0 WHERE video_id = 1 AND ordinal = 0",
        "UPDATE clips SET pts_seconds = x'00' WHERE video_id = 1 AND ordinal = 0",
        "UPDATE videos SET frame_rate_denominator = 0 WHERE id = 1",
        "UPDATE videos SET feature_file = '../../etc/passwd' WHERE id = 1",
        "UPDATE clip_vectors SET vector = x'00' WHERE id = 1",
    ],
)
@pytest.mark.parametrize("exact_clips", [10_000, 0])
def test_damaged_rows_do_not_answer_in_small_or_large_libraries(
    library: Library, statement: str, exact_clips: int
) -> None:
    library.close()
    change(library, statement)
    with Library.open(library.root, encoder="colour", exact_clips=exact_clips) as again:
        again.__dict__["encoder"] = _encoder()
        for _ in range(2):
            answer = SearchEngine(again).ask("red", 5)
            assert 1 not in {each.moment.video_id for each in answer.results}
            assert [each.video_id for each in answer.left_out] == [1]


def test_a_video_whose_entry_is_gone_is_not_silently_lacking(library: Library) -> None:
    library.close()
    change(library, "DELETE FROM videos WHERE id = 1")
    with Library.open(library.root, encoder="colour") as again:
        again.__dict__["encoder"] = _encoder()
        (left_out,) = SearchEngine(again).ask("red", 5).left_out
        assert (left_out.video_id, "entry" in left_out.reason) == (1, True)


def test_an_entry_that_says_neither_searched_nor_why_not_is_not_silently_lacking(
    library: Library,
) -> None:
    library.close()
    change(library, "UPDATE videos SET status = CAST(x'0000' AS TEXT) WHERE id = 1")
    with Library.open(library.root, encoder="colour") as again:
        again.__dict__["encoder"] = _encoder()
        answer = SearchEngine(again).ask("red", 5)
        assert 1 not in {each.moment.video_id for each in answer.results}
        (left_out,) = answer.left_out
        assert (left_out.video_id, "entry" in left_out.reason) == (1, True)


def test_a_failure_in_a_damaged_catalog_is_called_what_it_is(library: Library) -> None:
    def fail() -> None:
        raise TypeError("a value that is none")

    with pytest.raises(TypeError):  # a fault of this program stays one
        library.in_one_state(fail)
    library.close()
    with closing(sqlite3.connect(library.root / "catalog.sqlite3")) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = 'CREATE INDEX ix_videos_sha256 ON videos (path)'"
            " WHERE name = 'ix_videos_sha256'"
        )
        connection.commit()
    with (
        Library.open(library.root) as again,
        pytest.raises(DamagedLibraryError, match=r"the catalog is damaged .*vidsift repair"),
    ):
        again.in_one_state(fail)


def test_an_index_is_not_saved_without_what_is_left_out(library: Library) -> None:
    file = library.root / "index" / "vectors.faiss"
    before = file.read_bytes()
    library.close()
    change(library, "UPDATE clips SET start_seconds = 1.0 WHERE video_id = 1 AND ordinal = 0")
    with Library.open(library.root, encoder="colour", exact_clips=0) as again:
        again.__dict__["encoder"] = _encoder()
        SearchEngine(again).ask("red", 5)
        assert len(again.index(write=True)) == len(again.catalog.vector_ids())
        assert again.catalog.left_out
    assert file.read_bytes() == before


def _encoder() -> object:
    from benchmarks.colour_films import ColourEncoder

    return ColourEncoder()


def test_search_json_names_what_is_left_out(run, library: Library, monkeypatch) -> None:
    monkeypatch.setattr("vidsift.library.open_encoder", lambda *_, **__: _encoder())
    flag = library.video("flag.mp4")
    library.close()
    (library.root / "features" / flag.feature_file).unlink()
    for options in ((), ("--videos",)):
        code, text = run("search", "red", "--json", *options)
        assert code == 0
        (left_out,) = json.loads(text)["left_out"]
        assert left_out["video"] == str(flag.path)
        assert "run `vidsift repair`" in left_out["reason"]


def test_what_is_deleted_is_not_remembered_as_looked_at(library: Library) -> None:
    library.inspection.inspect()
    assert len(library.inspection._whole) == len(library.catalog.videos()) > 1
    library.catalog.delete_video(1)
    library.inspection.inspect()
    assert len(library.inspection._whole) == len(library.catalog.videos())


def test_inspection_costs_nothing_the_second_time(library: Library, monkeypatch) -> None:
    library.inspection.inspect()
    read: list[str] = []
    monkeypatch.setattr(library.features, "sha256", lambda name: read.append(name))
    assert not library.inspection.inspect()
    assert not library.inspection.inspect(np.array([1, 2]))
    assert read == []
