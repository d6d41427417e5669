"""Runs of ffmpeg: limits, process groups, and errors in one line."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ffmpeg
import pytest

from vidsift.errors import (
    MediaError,
    MediaLimitError,
    MediaTimeoutError,
    MediaToolError,
    StorageError,
)
from vidsift.media import binary
from vidsift.media.binary import ffmpeg_binary, has_encoder, has_filter
from vidsift.media.limits import DEFAULT_LIMITS
from vidsift.media.process import FfmpegRun, compile_stream, run_ffmpeg
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


# Limits. Each of these tests fails when its limit is taken out.


def test_what_does_nothing_has_stalled(tmp_path: Path) -> None:
    limits = replace(DEFAULT_LIMITS, stall_seconds=0.4)
    started = time.monotonic()
    with FfmpegRun(subject=Path("idle.mp4"), time_limit=60.0, limits=limits) as run:
        run.start(["/bin/sleep", "600"])
        with pytest.raises(MediaLimitError, match=r"idle\.mp4: .*0\.4 s; raise media_stall_secon"):
            run.returncode()
    assert time.monotonic() - started < 20


def test_an_ffmpeg_that_stands_still_has_stalled(tmp_path: Path) -> None:
    limits = replace(DEFAULT_LIMITS, stall_seconds=0.6)
    told: list[bytes] = []

    def stop_at_once(fd: int) -> bool:
        told.append(os.read(fd, 1 << 16))
        os.kill(run.pid, signal.SIGSTOP)
        return True

    endless = ffmpeg.input("testsrc=size=64x48", format="lavfi").output(str(tmp_path / "a.mkv"))
    with FfmpegRun(subject=tmp_path, time_limit=60.0, limits=limits) as run:
        command = compile_stream(endless)
        command[1:1] = ["-progress", f"pipe:{run.open_pipe(stop_at_once)}"]
        run.start(command)
        with pytest.raises(MediaLimitError, match="did nothing at all"):
            run.returncode()
    assert told


def test_what_works_without_a_word_has_not_stalled() -> None:
    limits = replace(DEFAULT_LIMITS, stall_seconds=0.4)
    with FfmpegRun(subject=Path("busy.mp4"), time_limit=3.0, limits=limits) as run:
        run.start(["/bin/sh", "-c", "while :; do :; done"])
        with pytest.raises(MediaTimeoutError):
            run.returncode()


def test_memory_is_limited(tmp_path: Path) -> None:
    limits = replace(DEFAULT_LIMITS, memory_mb=700)
    hoarding = ffmpeg.input("testsrc=size=2048x2048:rate=100:duration=10", format="lavfi")
    out = tmp_path / "a.mkv"
    with pytest.raises(MediaLimitError, match=r"film\.mp4: .*700 MB; raise media_memory_mb"):
        run_ffmpeg(
            hoarding.filter("reverse").output(str(out), vframes=1),
            subject=Path("film.mp4"),
            time_limit=60.0,
            limits=limits,
        )


def test_output_is_limited(tmp_path: Path) -> None:
    limits = replace(DEFAULT_LIMITS, output_mb=1)
    out = tmp_path / "a.yuv"
    large = ffmpeg.input("testsrc=size=640x480:duration=5", format="lavfi")
    with pytest.raises(MediaLimitError, match=r"a file of 1 MB; raise media_output_mb"):
        run_ffmpeg(
            large.output(str(out), format="rawvideo"), subject=out, time_limit=60.0, limits=limits
        )
    assert out.stat().st_size <= 1 << 20


def test_the_process_has_its_limits_before_it_begins() -> None:
    limits = replace(DEFAULT_LIMITS, memory_mb=512, output_mb=3)
    core, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    try:
        with FfmpegRun(subject=Path("film.mp4"), time_limit=4000.0, limits=limits) as run:
            run.start(["/bin/sh", "-c", "(ulimit -c; ulimit -f; ulimit -v; ulimit -t) >&2"])
            assert run.returncode() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (core, most))
    dump, blocks, kilobytes, seconds = run.lines
    assert (dump, int(blocks) * 512, int(kilobytes)) == ("0", 3 << 20, 512 << 10)
    assert int(seconds) == 2 * 4 * 3600 * (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can raise it")
def test_cpu_time_is_raised_with_the_time_limit() -> None:
    with FfmpegRun(subject=Path("film.mp4"), time_limit=60.0) as run:
        run.start(["/bin/sleep", "600"])
        _until(lambda: resource.prlimit(run.pid, resource.RLIMIT_CPU)[0] > 0)
        hour = 4 * 3600 * (os.cpu_count() or 1)
        assert resource.prlimit(run.pid, resource.RLIMIT_CPU)[0] == hour
        run.allow(30.0)
        run.allow(7200.0)
        assert run.time_limit == 7200.0
        assert resource.prlimit(run.pid, resource.RLIMIT_CPU)[0] == 4 * hour


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tell a process to")
def test_ffmpeg_dies_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\n"
        "from vidsift.media.process import FfmpegRun\n"
        "run = FfmpegRun(subject=Path('film.mp4'), time_limit=600.0)\n"
        "run.start(['/bin/sleep', '600'])\n"
        "print(run.pid, flush=True)\ntime.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    _until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert _gone(pid)


def _has_landlock(version: int) -> bool:
    if sys.platform != "linux":
        return False
    return int(ctypes.CDLL(None).syscall(444, None, 0, 1)) >= version


@pytest.mark.skipif(not _has_landlock(1), reason="this kernel has no Landlock")
def test_only_what_is_named_can_be_opened(tmp_path: Path) -> None:
    secret, other = tmp_path / "secret", tmp_path / "other"
    secret.write_text("pass")
    other.write_text("word")
    with FfmpegRun(subject=Path("film.mp4"), time_limit=60.0) as run:
        command = f"cat {other} >&2; echo >&2; cat {secret} >&2; echo x > {tmp_path}/new"
        run.start(["/bin/sh", "-c", command], reads=[other])
        assert run.returncode() != 0
    assert not (tmp_path / "new").exists()
    word, *refused = run.lines
    assert word == "word"
    assert len(refused) == 2
    assert all("denied" in line for line in refused)


@pytest.mark.skipif(not _has_landlock(1), reason="this kernel has no Landlock")
def test_ffmpeg_itself_can_open_only_what_is_named(tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere" / "secret.mkv"
    secret.parent.mkdir()
    run_ffmpeg(_pattern(1).output(str(secret)), subject=secret, time_limit=60.0)
    script = tmp_path / "list.ffconcat"
    script.write_text(f"ffconcat version 1.0\nfile {secret}\n")
    # Whatever else might keep it away is taken out.
    source = ffmpeg.input(f"file:{script}", format="concat", safe=0)
    out = tmp_path / "copy.mkv"
    with pytest.raises(MediaError, match=r"Permission denied|Impossible to open"):
        run_ffmpeg(source.output(str(out)), subject=script, time_limit=60.0)
    run_ffmpeg(source.output(str(out)), subject=script, reads=[secret], time_limit=60.0)


@pytest.mark.skipif(not _has_landlock(4), reason="this kernel's Landlock knows nothing of TCP")
def test_nothing_can_be_reached_by_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        stream = ffmpeg.input(f"tcp://127.0.0.1:{port}", format="mpegts").output("-", format="null")
        with pytest.raises(MediaError, match="Permission denied"):
            run_ffmpeg(stream, subject=Path("film.mp4"), time_limit=20.0)


def _until(happened: Callable[[], bool]) -> None:
    for _ in range(500):
        if happened():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen in 10 s")
