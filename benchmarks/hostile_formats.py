"""Small writers of containers and pictures, which write what no honest program would."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

__all__ = [
    "apng",
    "appended",
    "atom",
    "atoms",
    "ebml",
    "gif",
    "h264_headers",
    "ivf",
    "mkv",
    "overwritten",
    "png_chunk",
    "rebuilt",
    "resized_jpegs",
    "track",
    "uint",
    "with_atom",
    "y4m",
]


def atom(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


_HOLDERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"udta"}


def rebuilt(data: bytes, change: Callable[[bytes, bytes], bytes | None]) -> bytes:
    """An mp4 in which `change(kind, body)` put another atom in place of each, or None left it."""
    out, place = [], 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        size = size if 8 <= size <= len(data) - place else len(data) - place
        body = data[place + 8 : place + size]
        if kind in _HOLDERS:
            body = rebuilt(body, change)
        changed = change(kind, body)
        out.append(atom(kind, body) if changed is None else changed)
        place += size
    return b"".join(out)


def with_atom(film: bytes, kind: bytes, patch: Callable[[bytes], bytes]) -> bytes:
    """The film with the body of every atom of a kind replaced by what `patch` makes of it."""
    return rebuilt(film, lambda k, body: atom(kind, patch(body)) if k == kind else None)


def overwritten(at: int, new: bytes) -> Callable[[bytes], bytes]:
    """A patch for `with_atom`: other bytes at one place, and after them what was there."""
    return lambda body: body[:at] + new + body[at + len(new) :]


def appended(more: bytes) -> Callable[[bytes], bytes]:
    """A patch for `with_atom`: more bytes at the end."""
    return lambda body: body + more


def atoms(film: bytes, kind: bytes) -> list[bytes]:
    """All atoms of a kind, inner ones first."""
    found: list[bytes] = []

    def look(this: bytes, body: bytes) -> None:
        if this == kind:
            found.append(atom(kind, body))

    rebuilt(film, look)
    return found


def ebml(number: int, *parts: bytes) -> bytes:
    """An element of Matroska; its size always takes 8 bytes."""
    body = b"".join(parts)
    name = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return name + (len(body) | 1 << 56).to_bytes(8, "big") + body


def uint(number: int, value: int, size: int = 8) -> bytes:
    return ebml(number, value.to_bytes(size, "big"))


def track(number: int, codec: bytes, width: int, height: int, *more: bytes) -> bytes:
    picture = ebml(0xE0, uint(0xB0, width), uint(0xBA, height))
    return ebml(
        0xAE, uint(0xD7, number), uint(0x73C5, number), uint(0x83, 1), ebml(0x86, codec),
        picture, *more,
    )  # fmt: skip


_EBML_HEADER = ebml(0x1A45DFA3, ebml(0x4282, b"matroska"), uint(0x4287, 4, 1))


def mkv(
    tracks: bytes, frames: list[tuple[int, bytes]], *more: bytes, duration: float = 1e3
) -> bytes:
    """A Matroska file of frames of track 1, each with its time in ms."""
    info = ebml(0x1549A966, uint(0x2AD7B1, 1_000_000), ebml(0x4489, struct.pack(">d", duration)))
    clusters = [
        ebml(0x1F43B675, uint(0xE7, time), ebml(0xA3, b"\x81\0\0\x80", frame))
        for time, frame in frames
    ]
    return _EBML_HEADER + ebml(0x18538067, info, ebml(0x1654AE6B, tracks), *more, *clusters)


# Pictures.


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def apng(width: int, height: int, frames: int) -> bytes:
    """An animated PNG in which every frame is the same few bytes of black."""
    packer = zlib.compressobj(9)
    row = bytes(width + 1)
    black = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    out = [b"\x89PNG\r\n\x1a\n", png_chunk(b"IHDR", header)]
    out.append(png_chunk(b"acTL", struct.pack(">II", frames, 0)))
    number = 0
    for frame in range(frames):
        control = struct.pack(">IIIIIHHBB", number, width, height, 0, 0, 1, 25, 0, 0)
        out.append(png_chunk(b"fcTL", control))
        number += 1
        if frame == 0:
            out.append(png_chunk(b"IDAT", black))
        else:
            out.append(png_chunk(b"fdAT", struct.pack(">I", number) + black))
            number += 1
    return b"".join([*out, png_chunk(b"IEND", b"")])


def gif(
    width: int, height: int, frames: int, size: tuple[int, int] = (1, 1), delay: int = 0
) -> bytes:
    control = b"\x21\xf9\x04\0" + struct.pack("<H", delay) + b"\0\0"
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, *size, 0) + b"\x02\x02\x44\x01\0"
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    loop = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    return head + loop + (control + image) * frames + b"\x3b"


def resized_jpegs(film: bytes, width: int, height: int) -> bytes:
    """A stream of JPEGs whose headers claim another size."""
    out = bytearray(film)
    place = out.find(b"\xff\xc0")
    while place >= 0:
        out[place + 5 : place + 9] = struct.pack(">HH", height, width)
        place = out.find(b"\xff\xc0", place + 9)
    return bytes(out)


class _Bits:
    def __init__(self) -> None:
        self.text = ""

    def fixed(self, value: int, bits: int) -> _Bits:
        self.text += format(value, f"0{bits}b")
        return self

    def golomb(self, value: int) -> _Bits:
        coded = format(value + 1, "b")
        self.text += "0" * (len(coded) - 1) + coded
        return self

    def bytes(self) -> bytes:
        text = self.text + "1"
        text += "0" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")


def h264_headers(blocks_wide: int, blocks_high: int) -> bytes:
    """Parameter sets of H.264 for frames of so many macroblocks, of 16 x 16 pixels each."""
    sps = _Bits().fixed(66, 8).fixed(0, 8).fixed(52, 8).golomb(0).golomb(0).golomb(2).golomb(1)
    sps.fixed(0, 1).golomb(blocks_wide - 1).golomb(blocks_high - 1).fixed(0b1100, 4)
    pps = _Bits().golomb(0).golomb(0).fixed(0, 2).golomb(0).golomb(0).golomb(0)
    pps.fixed(0, 3).golomb(0).golomb(0).golomb(0).fixed(0, 3)
    start = b"\0\0\0\1"
    return start + b"\x67" + sps.bytes() + start + b"\x68" + pps.bytes()


def ivf(codec: bytes, frames: list[bytes], rate: tuple[int, int] = (25, 1)) -> bytes:
    head = struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, codec, 16, 16, *rate, len(frames), 0)
    return head + b"".join(
        struct.pack("<IQ", len(frame), n) + frame for n, frame in enumerate(frames)
    )


def y4m(width: int, height: int, rate: str, frames: int) -> bytes:
    head = f"YUV4MPEG2 W{width} H{height} F{rate} Ip A1:1 C420\n".encode()
    picture = b"FRAME\n" + bytes(
        min(width * height, 1 << 20) + 2 * (-(-min(width, 1024) // 2) * -(-min(height, 1024) // 2))
    )
    return head + picture * frames
