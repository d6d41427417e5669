"""Real files of many containers and codecs, and what becomes of them when they are damaged."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vidsift.media.binary import ffmpeg_binary, has_encoder

__all__ = ["make_films", "mutated"]

_PICTURE = "testsrc2=size=160x120:rate=15:duration=1.6"
_SOUND = "sine=frequency=440:duration=1.6:sample_rate=44100"
_SUBTITLES = "1\n00:00:00,200 --> 00:00:01,000\nso very red\n"

# Name -> encoder of the picture, what else ffmpeg is told.
_FILMS: dict[str, tuple[str, str]] = {
    "h264.mp4": ("libx264", "-g 8 -c:a aac"),
    "h264-fragments.mp4": ("libx264", "-g 8 -c:a aac -movflags frag_keyframe+empty_moov"),
    "hevc.mp4": ("libx265", "-x265-params log-level=none -an"),
    "mpeg4.mov": ("mpeg4", "-c:a aac"),
    "prores.mov": ("prores_ks", "-c:a pcm_s16le"),
    "h263.3gp": ("h263", "-s 176x144 -an"),
    "vp9.mkv": ("libvpx-vp9", "-deadline realtime -cpu-used 8 -c:a libopus"),
    "av1.mkv": ("libaom-av1", "-cpu-used 8 -usage realtime -an"),
    "ffv1.mkv": ("ffv1", "-c:a flac"),
    "h264-subtitles.mkv": ("libx264", "-c:a aac -c:s srt"),
    "h264-styled.mkv": ("libx264", "-an -c:s ass"),
    "vp8.webm": ("libvpx", "-deadline realtime -c:a libvorbis"),
    "mpeg4.avi": ("mpeg4", "-c:a mp3"),
    "mjpeg.avi": ("mjpeg", "-pix_fmt yuvj420p -an"),
    "raw.avi": ("rawvideo", "-pix_fmt bgr24 -s 64x48 -an"),
    "h264.ts": ("libx264", "-g 8 -c:a aac"),
    "mpeg2.ts": ("mpeg2video", "-c:a mp2 -r 25"),
    "mpeg2.mpg": ("mpeg2video", "-c:a mp2 -r 25"),
    "mpeg2.vob": ("mpeg2video", "-c:a ac3 -r 25"),
    "mpeg1.m1v": ("mpeg1video", "-an -r 25"),
    "flv1.flv": ("flv", "-c:a mp3"),
    "h264.flv": ("libx264", "-c:a aac"),
    "theora.ogv": ("libtheora", "-c:a libvorbis"),
    "wmv2.wmv": ("wmv2", "-c:a wmav2"),
    "mpeg2.mxf": ("mpeg2video", "-r 25 -c:a pcm_s16le -ar 48000"),
    "picture.gif": ("gif", "-an"),
    "plain.y4m": ("wrapped_avframe", "-pix_fmt yuv420p -s 64x48 -an"),
    "rv10.rm": ("rv10", "-c:a ac3 -s 176x144"),
    "motion.mjpeg": ("mjpeg", "-pix_fmt yuvj420p -an"),
}


def make_films(folder: Path) -> list[Path]:
    """A film of each kind that this ffmpeg can write, 1.6 s of a moving test picture."""
    folder.mkdir(parents=True, exist_ok=True)
    subtitles = folder / "subtitles.srt"
    subtitles.write_text(_SUBTITLES)
    made = []
    for name, (encoder, options) in _FILMS.items():
        path = folder / name
        if not path.exists() and (has_encoder(encoder) or encoder == "wrapped_avframe"):
            inputs = ["-f", "lavfi", "-i", _PICTURE, "-f", "lavfi", "-i", _SOUND]
            mapped = ["-map", "0:v", "-map", "1:a"]
            if "-an" in options:
                mapped = mapped[:2]
            if "-c:s" in options:
                inputs += ["-i", str(subtitles)]
                mapped += ["-map", "2"]
            command = [ffmpeg_binary(), "-v", "error", "-nostdin", "-y", *inputs, *mapped]
            command += ["-c:v", encoder, "-threads", "1", *options.split(), str(path)]
            subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
        if path.exists() and path.stat().st_size:
            made.append(path)
    return made


Random = np.random.Generator


def _flipped(data: bytearray, random: Random, first: float, last: float) -> bytearray:
    low = int(len(data) * first)
    high = max(low + 1, int(len(data) * last))
    for place in random.integers(low, high, int(random.integers(1, 65))):
        data[place] ^= 1 << int(random.integers(8))
    return data


def _flipped_header(data: bytearray, random: Random) -> bytearray:
    return _flipped(data, random, 0.0, min(1.0, 1500 / len(data)))


def _flipped_middle(data: bytearray, random: Random) -> bytearray:
    return _flipped(data, random, 0.2, 0.8)


def _flipped_end(data: bytearray, random: Random) -> bytearray:
    return _flipped(data, random, 0.85, 1.0)


def _truncated(data: bytearray, random: Random) -> bytearray:
    return data[: int(random.integers(1, len(data)))]


def _beheaded(data: bytearray, random: Random) -> bytearray:
    return data[int(random.integers(1, len(data) // 2)) :]


def _chunk(data: bytearray, random: Random) -> tuple[int, int]:
    size = int(random.integers(1, max(2, len(data) // 4)))
    first = int(random.integers(0, len(data) - size))
    return first, first + size


def _cut(data: bytearray, random: Random) -> bytearray:
    first, last = _chunk(data, random)
    return data[:first] + data[last:]


def _repeated(data: bytearray, random: Random) -> bytearray:
    first, last = _chunk(data, random)
    return data[:last] + data[first:last] * int(random.integers(1, 20)) + data[last:]


def _exchanged(data: bytearray, random: Random) -> bytearray:
    first, last = _chunk(data, random)
    other = int(random.integers(0, max(1, first)))
    return data[:other] + data[first:last] + data[other:first] + data[last:]


def _noisy(data: bytearray, random: Random) -> bytearray:
    first, last = _chunk(data, random)
    data[first:last] = random.bytes(last - first)
    return data


def _hollow(data: bytearray, random: Random) -> bytearray:
    first, last = _chunk(data, random)
    data[first:last] = bytes(last - first)
    return data


_SIZES = [0, 1, 7, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF8, 0x10000000, 0x40000000]


def _absurd_sizes(data: bytearray, random: Random) -> bytearray:
    """Numbers of four bytes where names of four letters are: sizes of atoms, chunks and headers."""
    names = [
        place
        for place in range(4, len(data) - 8)
        if all(chr(byte).isalnum() or byte == 32 for byte in data[place : place + 4])
    ][:400]
    for name in random.choice(names, min(len(names), int(random.integers(1, 6)))) if names else []:
        size = _SIZES[int(random.integers(len(_SIZES)))]
        place = int(name) + int(random.choice([-4, 4]))  # before it in mp4, after it in RIFF
        data[place : place + 4] = size.to_bytes(4, "big" if random.integers(2) else "little")
    return data


def _absurd_numbers(data: bytearray, random: Random) -> bytearray:
    for place in random.integers(0, min(len(data) - 8, 4000), int(random.integers(1, 8))):
        width = int(random.choice([2, 4, 8]))
        value = int(random.choice([0, 1, 0x7F, 0x80, 0xFF]))
        data[place : place + width] = (
            bytes([value]) + b"\xff" * (width - 1) if value else bytes(width)
        )
    return data


_MUTATIONS: Sequence[Callable[[bytearray, Random], bytearray]] = (
    _flipped_header, _flipped_middle, _flipped_end, _truncated, _beheaded, _cut, _repeated,
    _exchanged, _noisy, _hollow, _absurd_sizes, _absurd_numbers,
)  # fmt: skip


def mutated(films: Sequence[Path], number: int, seed: int) -> tuple[str, bytes]:
    """The `number`-th damaged file: its name, which tells what was done to it, and its bytes."""
    random = np.random.default_rng([seed, number])
    film = films[number % len(films)]
    data = bytearray(film.read_bytes())
    what = number // len(films) % (len(_MUTATIONS) + 1)
    if what == len(_MUTATIONS):  # the head of one file and the tail of another
        other = films[int(random.integers(len(films)))].read_bytes()
        share = float(random.uniform(0.02, 0.98))
        spliced = bytes(data[: int(len(data) * share)]) + other[int(len(other) * share) :]
        return f"{number:04d}-spliced-{film.name}", spliced
    mutate = _MUTATIONS[what]
    return f"{number:04d}{mutate.__name__.replace('_', '-')}-{film.name}", bytes(
        mutate(data, random)
    )
