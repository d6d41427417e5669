"""Sound on the clock of frames, from real files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidsift.errors import MediaError, MediaTimeoutError
from vidsift.media.limits import DEFAULT_LIMITS
from vidsift.media.probe import probe
from vidsift.media.sound import SOUND_RATE, SoundPiece, read_sound

Make = Callable[..., Path]

PICTURE = ["-f", "lavfi", "-i", "color=red:s=64x64:r=10:d=4"]


def tone(at: float, seconds: float, *, total: float, rate: int = 44_100) -> list[str]:
    """A tone of 440 Hz in `[at, at + seconds)` of `total` seconds of silence."""
    gate = f"volume='between(t,{at},{at + seconds})':eval=frame"
    return ["-f", "lavfi", "-i", f"sine=440:r={rate}:samples_per_frame=64:d={total},{gate}"]


def whole(path: Path) -> SoundPiece:
    video = probe(path)
    [piece] = read_sound(video, video.duration_seconds)
    return piece


def loud_from(piece: SoundPiece) -> float:
    """When the first loud sample is heard, on the clock of frames."""
    return piece.start_seconds + float(np.argmax(np.abs(piece.samples) > 0.05)) / SOUND_RATE


def test_sound_is_mono_at_its_rate_and_in_its_place(make: Make) -> None:
    path = make("a.mkv", *PICTURE, *tone(1.5, 1.0, total=4), "-c:a", "pcm_s16le")
    piece = whole(path)
    assert piece.samples.dtype == np.float32
    assert piece.start_seconds == 0.0
    assert piece.end_seconds == pytest.approx(4.0, abs=0.01)
    assert loud_from(piece) == pytest.approx(1.5, abs=0.01)
    heard = np.abs(piece.samples) > 0.01
    assert heard.sum() / SOUND_RATE == pytest.approx(1.0, abs=0.1)
    # ffmpeg's sine has an eighth of full scale.
    assert np.abs(piece.samples).max() == pytest.approx(1 / 8, abs=0.01)


def test_stereo_is_mixed_and_loudness_stays_within_bounds(make: Make) -> None:
    loud = "aevalsrc=2*sin(880*PI*t)|2*sin(880*PI*t):s=48000:d=4"
    path = make("loud.mkv", *PICTURE, "-f", "lavfi", "-i", loud, "-c:a", "pcm_f32le")
    piece = whole(path)
    assert np.abs(piece.samples).max() <= 1.0
    assert np.abs(piece.samples).max() > 0.9


@pytest.mark.parametrize("shift", ["1.25", "-0.75"])
@pytest.mark.parametrize("container", ["mkv", "mp4", "ts"])
def test_sound_that_starts_later_or_earlier_than_the_picture_keeps_its_time(
    make: Make, shift: str, container: str
) -> None:
    tone_at, delay = 1.5, float(shift)
    sound = ["-itsoffset", shift, *tone(tone_at, 0.5, total=3)]
    if delay < 0:  # the picture is what starts later
        command = ["-itsoffset", str(-delay), *PICTURE, *tone(tone_at, 0.5, total=3)]
    else:
        command = [*PICTURE, *sound]
    path = make(f"{container}{shift}.{container}", *command, "-c:a", "aac")
    assert loud_from(whole(path)) == pytest.approx(tone_at + delay, abs=0.06)


def test_gap_in_the_sound_is_silence_and_moves_nothing(make: Make, tmp_path: Path) -> None:
    path = make(
        "gap.mkv", *PICTURE, *tone(3.0, 0.5, total=4),
        "-af", "aselect='not(between(t,0.5,2))'", "-c:a", "pcm_s16le",
    )  # fmt: skip
    assert loud_from(whole(path)) == pytest.approx(3.0, abs=0.02)


def test_times_that_jump_by_hours_fill_no_memory(make: Make) -> None:
    path = make(
        "jump.mkv", *PICTURE, *tone(0.5, 0.5, total=4),
        "-af", "asetpts='PTS+if(gt(T,2),36000/TB,0)'", "-c:a", "pcm_s16le",
    )  # fmt: skip
    # In a process of its own: what children took at most counts all there ever were.
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from vidsift.media.probe import probe; from vidsift.media.sound import read_sound\n"
        "[piece] = read_sound(probe(Path(sys.argv[1])), 4.0)\n"
        "loud = (abs(piece.samples) > 0.05).argmax() / 16_000\n"
        "most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "print(loud, piece.end_seconds, most)"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loud, end, most = map(float, done.stdout.split())
    assert (loud, end) == (pytest.approx(0.5, abs=0.02), pytest.approx(2.0, abs=0.1))
    assert most < 300_000  # KiB


def test_sound_that_goes_on_after_the_picture_is_left_out(make: Make) -> None:
    path = make("on.mkv", *PICTURE, *tone(1, 5, total=7), "-c:a", "pcm_s16le")
    [piece] = read_sound(probe(path), 4.0)
    assert len(piece.samples) == 4 * SOUND_RATE


def test_pieces_follow_each_other_and_end_where_it_is_quiet(make: Make) -> None:
    # Noise all along, but for half a second at 33 s and one at 62 s.
    quiet = "volume='1-between(t,33,33.6)-between(t,62,62.6)':eval=frame"
    path = make(
        "long.mkv", "-f", "lavfi", "-i", "color=red:s=64x64:r=1:d=90",
        "-f", "lavfi", "-i", f"anoisesrc=r=16000:d=90:a=0.3:seed=1,{quiet}", "-c:a", "pcm_s16le",
    )  # fmt: skip
    pieces = list(read_sound(probe(path), 90.0, piece_seconds=40.0))
    assert [piece.start_seconds for piece in pieces[1:]] == pytest.approx(
        [piece.end_seconds for piece in pieces[:-1]]
    )
    assert [piece.end_seconds for piece in pieces] == pytest.approx([33.3, 62.3, 90.0], abs=0.1)
    together = np.concatenate([piece.samples for piece in pieces])
    assert np.array_equal(together, whole(path).samples)


def test_video_without_sound_says_so(make: Make) -> None:
    path = make("mute.mp4", *PICTURE)
    with pytest.raises(MediaError, match=r"mute\.mp4: has no sound"):
        next(iter(read_sound(probe(path), 4.0)))


def test_sound_that_cannot_be_decoded_says_why(make: Make) -> None:
    path = make("bad.mkv", *PICTURE, *tone(0, 4, total=4), "-c:a", "flac", "-c:v", "rawvideo")
    data = bytearray(path.read_bytes())
    known = probe(path)
    marker = data.find(b"fLaC")
    data[marker : marker + 64] = b"\xff" * 64
    for at in range(data.find(b"\xff\xf8"), len(data) - 2):
        if data[at : at + 2] == b"\xff\xf8":
            data[at : at + 2] = b"\0\0"
    path.write_bytes(data)
    with pytest.raises(MediaError, match="sound cannot be decoded"):
        list(read_sound(known, 4.0))


def test_time_limit_holds(make: Make) -> None:
    limits = replace(DEFAULT_LIMITS, time_limit=1e-9)
    path = make("slow.mkv", *PICTURE, *tone(0, 4, total=4), "-c:a", "pcm_s16le")
    with pytest.raises(MediaTimeoutError):
        list(read_sound(probe(path), 4.0, limits=limits))


def test_leaving_early_ends_ffmpeg(make: Make) -> None:
    path = make("left.mkv", *PICTURE, *tone(0, 4, total=4), "-c:a", "pcm_s16le")
    pieces = read_sound(probe(path), 4.0)
    next(iter(pieces))
    pieces.close()  # ResourceWarnings are errors


def test_piece_must_have_room_for_the_search_for_silence(make: Make) -> None:
    path = make("short.mkv", *PICTURE, *tone(0, 4, total=4), "-c:a", "pcm_s16le")
    with pytest.raises(ValueError, match="longer than"):
        list(read_sound(probe(path), 4.0, piece_seconds=5.0))
