"""Runs of ffmpeg: limits, process groups, and errors in one line."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import ffmpeg
import pytest

from vidsift.errors import MediaError, MediaTimeoutError, MediaToolError, StorageError
from vidsift.media import binary
from vidsift.media.binary import ffmpeg_binary, has_encoder, has_filter
from vidsift.media.process import FfmpegRun, run_ffmpeg
from vidsift.media.source import input_file


def _pattern(seconds: float) -> object:
    return ffmpeg.input(f"testsrc=size=64x48:rate=10:duration={seconds}", format="lavfi")


def test_runs_to_the_end_and_reports_progress(tmp_path: Path) -> None:
    out = tmp_path / "a 'name' with \"quotes\".mkv"
    told: list[float] = []
    run_ffmpeg(_pattern(2).output(str(out)), subject=out, time_limit=60.0, progress=told.append)
    assert out.stat().st_size > 0
    assert told == sorted(told)
    assert told[-1] == pytest.approx(2.0, abs=0.25)


def test_failure_speaks_ffmpegs_last_meaningful_words(tmp_path: Path) -> None:
    stream = _pattern(1).filter("no_such_filter").output(str(tmp_path / "a.mkv"))
    with pytest.raises(
        MediaError, match=r"subject\.mp4: .*(no_such_filter|Filter not found|Invalid)"
    ) as caught:
        run_ffmpeg(stream, subject=Path("subject.mp4"), time_limit=60.0)
    assert "\n" not in str(caught.value)


def test_time_limit_kills_the_whole_group(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    stubborn = 'sleep 600 & echo $! > "$0"; wait'
    started = time.monotonic()
    with FfmpegRun(subject=Path("hangs.mp4"), time_limit=0.5) as run:
        run.start(["/bin/sh", "-c", stubborn, str(pid_file)])
        with pytest.raises(MediaTimeoutError, match=r"hangs\.mp4: .*0\.5 s"):
            run.returncode()
    assert time.monotonic() - started < 10
    assert _gone(int(pid_file.read_text())), "the child of ffmpeg outlived its group"


def test_time_limit_of_a_real_run(tmp_path: Path) -> None:
    endless = ffmpeg.input("testsrc=size=640x480", format="lavfi", re=None)
    with pytest.raises(MediaTimeoutError):
        run_ffmpeg(endless.output(str(tmp_path / "a.mkv")), subject=tmp_path, time_limit=0.3)


def test_an_interrupt_ends_ffmpeg(tmp_path: Path) -> None:
    def interrupted(pids: list[int]) -> None:
        with FfmpegRun(subject=tmp_path, time_limit=60.0) as run:
            run.start(["/bin/sleep", "600"])
            pids.append(run.pid)
            raise KeyboardInterrupt

    pids: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(pids)
    assert _gone(pids[0])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_a_storage_error() -> None:
    stream = _pattern(5).output("/dev/full", format="matroska")
    with pytest.raises(StorageError, match=r"^/dev: the disk filled up while full"):
        run_ffmpeg(stream, subject=Path("film.mp4"), output=Path("/dev/full"), time_limit=60.0)


def test_a_playlist_cannot_reach_other_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret.mkv"
    run_ffmpeg(_pattern(1).output(str(secret)), subject=secret, time_limit=60.0)
    for name, text in {
        "list.ffconcat": f"ffconcat version 1.0\nfile {secret.name}\n",
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret.name}\n",
    }.items():
        playlist = tmp_path / name
        playlist.write_text(text)
        stream = input_file(playlist).output(str(tmp_path / "copy.mkv"))
        with pytest.raises(MediaError):
            run_ffmpeg(stream, subject=playlist, time_limit=60.0)


def test_what_the_binary_can() -> None:
    assert has_filter("showinfo")
    assert not has_filter("no_such_filter")
    assert has_encoder("mpeg4")


def test_an_old_ffmpeg_on_path_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "ffmpeg"
    old.write_text("#!/bin/sh\necho ffmpeg version 5.1.6-0+deb12u1 Copyright\n")
    old.chmod(old.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    ffmpeg_binary.cache_clear()
    try:
        assert ffmpeg_binary() != str(old)
        old.write_text("#!/bin/sh\necho ffmpeg version 8.1-1 Copyright\n")
        ffmpeg_binary.cache_clear()
        assert ffmpeg_binary() == str(old)
        old.unlink()
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(binary.imageio_ffmpeg, "get_ffmpeg_exe", _no_wheel)
        ffmpeg_binary.cache_clear()
        with pytest.raises(MediaToolError, match=r"8\.0 or newer"):
            ffmpeg_binary()
    finally:
        ffmpeg_binary.cache_clear()


def _no_wheel() -> str:
    raise RuntimeError("No ffmpeg exe could be found")


def _gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False
