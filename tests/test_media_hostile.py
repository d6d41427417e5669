"""A sample of benchmarks.hostile: damaged and crafted files among good ones, through indexing."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.hostile_crafted import Canary, crafted, names, special
from benchmarks.hostile_mutated import make_films, mutated
from indexer import index_videos
from vidsift.library import Library
from vidsift.media import launch

MakeFilm = Callable[..., Path]

_LIMITS = {
    "media_time_limit": 15.0,
    "media_stall_seconds": 10.0,
    "media_memory_mb": 2048,
    "media_max_hours": 0.05,
}
# Of the crafted files, some of each kind; all of them take a quarter of an hour.
_BOMBS = (
    "apng-65535.mp4", "y4m-65535.y4m", "ffv1-32767.mkv", "gif-65535.gif", "mjpeg-65535.mjpeg",
    "h264-65536x65536.mp4", "duration-long.mkv", "duration-inf.mkv", "gap-ages.mkv", "growing.mkv",
    "rate-giga.y4m", "million-giga.y4m", "attachments.mkv", "chapters.mkv", "tracks.mkv",
    "traks.mp4", "entries-stsz.mp4",
)  # fmt: skip
_LEADING = (
    "playlist-0.mp4", "playlist-3.mp4", "playlist-21.mp4", "playlist-film.m3u8",
    "playlist-url.m3u8", "key.m3u8", "concat-1.mp4", "concat-4.mp4", "concat-5.mp4",
    "list.ffconcat", "dash-http.mpd", "dash-file.mp4", "session.sdp", "reference-file-alis.mov",
    "reference-http-url.mov", "linked.mkv", "styled.mkv", "graph.mp4",
)  # fmt: skip


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_films(tmp_path_factory.mktemp("films"))


@pytest.fixture
def films(paths: list[Path]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths}


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.fixture
def canary(tmp_path: Path, server: socket.socket, make_film: MakeFilm) -> Canary:
    film = make_film(tmp_path / "canary" / "canary.mp4", [("magenta", 1.0)])
    text = film.with_suffix(".srt")
    text.write_text("1\n00:00:00,000 --> 00:00:01,000\ncanary\n")
    return Canary(film, text, server.getsockname()[1])


@pytest.fixture
def library(colour_library: Library) -> Library:
    object.__setattr__(
        colour_library, "settings", colour_library.settings.model_copy(update=_LIMITS)
    )
    return colour_library


def _check_untouched(library: Library, server: socket.socket) -> None:
    with pytest.raises(BlockingIOError):
        server.accept()
    magenta = library.encoder.encode_texts(["magenta"])[0]
    for video in library.catalog.videos():
        if video.feature_file:
            features = np.asarray(library.features.open(video.feature_file), np.float32)
            assert (features @ magenta < 0.99).all(), video.path
        assert all("canary" not in cue.cue.text for cue in library.catalog.cues_of_video(video.id))


@pytest.mark.slow
@pytest.mark.parametrize("is_confined", [True, False])
def test_what_leads_elsewhere_leads_nowhere(
    library: Library,
    films: dict[str, bytes],
    canary: Canary,
    server: socket.socket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_confined: bool,
) -> None:
    # Without the confinement to named files ffmpeg's own whitelists must hold.
    monkeypatch.setattr(launch, "_can_be_confined", lambda: is_confined)
    folder = tmp_path / "videos"
    folder.mkdir()
    for name, data in crafted(films, canary):
        if name in _LEADING:
            (folder / name).write_bytes(data)
    files = sorted(folder.iterdir())
    assert len(files) == len(_LEADING)
    report = index_videos(library, files)  # named, so that the suffix does not matter
    assert len(report.indexed) + len(report.failed) == len(files)
    assert all(reason for _, reason in report.failed)
    _check_untouched(library, server)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_damaged_files_and_bombs_leave_the_rest_of_a_run_alone(
    library: Library,
    paths: list[Path],
    films: dict[str, bytes],
    canary: Canary,
    server: socket.socket,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    good = folder / "good.mp4"
    good.write_bytes(films["h264.mp4"])
    for number in range(3, 13 * len(paths), 29):
        name, data = mutated(paths, number, seed=5)
        (folder / name).write_bytes(data)
    for name, data in crafted(films, canary):
        if name in _BOMBS:
            (folder / name).write_bytes(data)
    files = set(folder.iterdir())
    assert len(files) >= 1 + 12 + len(_BOMBS)
    report = index_videos(library, [folder])
    assert good in report.indexed
    assert good not in dict(report.notes)
    assert set(report.indexed) | set(dict(report.failed)) == files
    reasons = {path.name: reason for path, reason in report.failed}
    for name, setting in {
        "ffv1-32767.mkv": "media_max_pixels",
        "gif-65535.gif": "media_max_pixels",
        "duration-long.mkv": "media_max_hours",
        "growing.mkv": "media_max_hours",
        "million-giga.y4m": "frames",
    }.items():
        assert setting in reasons[name], name
    again = index_videos(library, [folder])
    assert not again.indexed
    assert all("as before" in reason for _, reason in again.failed)
    _check_untouched(library, server)


def test_odd_names_are_names(library: Library, make_film: MakeFilm, tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", [("red", 1.0)]).read_bytes()
    folder = tmp_path / "videos"
    folder.mkdir()
    odd = list(itertools.islice(names(), 0, None, 3))
    for number, name in enumerate(odd):
        # Not the same content twice, which might be taken for a renamed file.
        (folder / os.fsdecode(name)).write_bytes(film + bytes(number))
    report = index_videos(library, [folder])
    assert report.failed == []
    assert len(report.indexed) == len(odd)


@pytest.mark.slow
def test_what_is_no_file_and_what_lies_beside(
    library: Library, films: dict[str, bytes], canary: Canary, server: socket.socket, tmp_path: Path
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    special(folder, canary, films["h264.mp4"], num_cues=1_000)
    report = index_videos(library, [folder])
    assert {path.name for path in report.indexed} == {
        f"beside-{what}.mp4" for what in ("secret", "pipe", "large", "many", "fonts")
    }
    assert len(report.failed) == 8
    _check_untouched(library, server)
