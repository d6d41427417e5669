"""A file that cannot be used is not tried for ever, whatever it does to who tries."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from indexer import index_videos
from indexer.scan import fingerprint
from indexer.trying import MOST_DEATHS, Trying
from vidsift.errors import MediaError
from vidsift.library import Library

MakeFilm = Callable[..., Path]

_NOT_A_FILM = b"This is not a film.\n" * 50


def _frames(library: Library) -> int:
    return int(library.encoder.frames_encoded)  # type: ignore[attr-defined]


def test_the_same_content_is_not_tried_by_another_time_or_name(
    colour_library: Library, tmp_path: Path
) -> None:
    bad = tmp_path / "videos" / "bad.mp4"
    bad.parent.mkdir()
    bad.write_bytes(_NOT_A_FILM)
    first = index_videos(colour_library, [bad.parent])
    assert [reason for _, reason in first.failed if "as before" in reason] == []
    os.utime(bad, (1, 1))
    copy = shutil.copy(bad, bad.with_name("copy.mp4"))
    other = shutil.copy(bad, bad.with_name("other.avi"))
    second = dict(index_videos(colour_library, [bad.parent]).failed)
    assert second[bad].endswith("(as before; --retry tries again)")
    assert second[copy].endswith("(as before; --retry tries again)")
    assert "as before" not in second[other]  # a suffix may tell the format
    third = dict(index_videos(colour_library, [bad.parent]).failed)
    assert all(reason.count("as before") == 1 for reason in third.values())
    again = dict(index_videos(colour_library, [bad.parent], retry=True).failed)
    assert not any("as before" in reason for reason in again.values())


def test_a_file_that_changes_meanwhile_is_tried_again(
    colour_library: Library, make_film: MakeFilm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = make_film(tmp_path / "videos" / "film.mp4", [("red", 2.0)])
    encode = colour_library.encoder.encode_frames

    def encode_and_append(images: np.ndarray) -> np.ndarray:
        with film.open("ab") as file:
            file.write(b"more")
        return encode(images)

    monkeypatch.setattr(colour_library.encoder, "encode_frames", encode_and_append)
    report = index_videos(colour_library, [film])
    assert report.failed == [
        (film, "changed while it was indexed; run `vidsift index` on it again")
    ]
    monkeypatch.undo()
    assert index_videos(colour_library, [film]).indexed == [film]


def test_a_file_of_holes_is_not_hashed(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with path.open("wb") as file:
        file.write(b"x" * 5000)
        file.truncate(1 << 42)
    if path.stat().st_blocks * 512 > 1 << 30:
        pytest.skip("this file system keeps no holes")
    with pytest.raises(MediaError, match=r"is mostly holes: 0\.0 of its 4,398\.0 GB"):
        fingerprint(path)


def test_what_the_process_died_of_is_given_up(
    colour_library: Library, make_film: MakeFilm, tmp_path: Path
) -> None:
    film = make_film(tmp_path / "videos" / "film.mp4", [("red", 2.0)])
    note = colour_library.root / "trying.json"
    sha256 = fingerprint(film).sha256
    note.write_text(json.dumps({sha256: MOST_DEATHS}))
    report = index_videos(colour_library, [film])
    assert report.failed == [(film, "the process died 3 times while it was being indexed")]
    assert _frames(colour_library) == 0
    assert not note.exists()
    assert "as before" in index_videos(colour_library, [film]).failed[0][1]
    assert index_videos(colour_library, [film], retry=True).indexed == [film]
    assert not note.exists()


def test_a_suspect_is_tried_alone_and_cleared(
    colour_library: Library, make_film: MakeFilm, tmp_path: Path
) -> None:
    films = [make_film(tmp_path / "videos" / f"{c}.mp4", [(c, 1.0)]) for c in ("blue", "red")]
    note = colour_library.root / "trying.json"
    note.write_text(json.dumps({fingerprint(film).sha256: 2 for film in films}))
    assert sorted(index_videos(colour_library, films).indexed) == films
    assert not note.exists()


def test_an_orderly_end_is_held_against_nobody(
    colour_library: Library, make_film: MakeFilm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = make_film(tmp_path / "videos" / "film.mp4", [("red", 2.0)])
    monkeypatch.setattr(colour_library.encoder, "encode_frames", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        index_videos(colour_library, [film])
    assert not (colour_library.root / "trying.json").exists()


def _interrupt(images: np.ndarray) -> np.ndarray:
    raise KeyboardInterrupt


_DYING = """
import os, signal, sys
from benchmarks.colour_films import ColourEncoder, open_colour_library
from indexer import index_videos
ColourEncoder.encode_frames = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with open_colour_library(sys.argv[1]) as library:
    print(index_videos(library, sys.argv[2:]).failed)
"""


@pytest.mark.slow
def test_a_file_that_kills_the_process_is_given_up_after_three_times(
    colour_library: Library, make_film: MakeFilm, tmp_path: Path
) -> None:
    film = make_film(tmp_path / "videos" / "film.mp4", [("red", 1.0)])
    command = [sys.executable, "-c", _DYING, str(colour_library.root), str(film)]
    root = Path(__file__).parents[1]
    for _ in range(MOST_DEATHS):
        died = subprocess.run(command, check=False, cwd=root)
        assert died.returncode == -signal.SIGKILL
    done = subprocess.run(command, check=True, cwd=root, capture_output=True, text=True)
    assert "the process died 3 times" in done.stdout
    assert colour_library.catalog.videos()[0].status == "failed"


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": "b", "c": -1, "d": true}', "\0\xff"])
def test_a_note_that_cannot_be_read_says_nothing(tmp_path: Path, content: str) -> None:
    note = tmp_path / "trying.json"
    note.write_text(content)
    trying = Trying(note)
    assert [trying.deaths(key) for key in "acd"] == [0, 0, 0]
    trying.begin("x")
    assert json.loads(note.read_text()) == {"x": 1}
    assert Trying(note).deaths("x") == 1
    trying.begin("y")
    trying.end("x")
    trying.close()
    assert not note.exists()


def test_a_library_that_cannot_be_written_needs_no_note(tmp_path: Path) -> None:
    trying = Trying(tmp_path / "nowhere" / "trying.json")
    trying.begin("x")
    trying.end("x")
