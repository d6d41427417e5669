"""Files made to hurt: bombs of frames and of streams, endless ones, ones that lead elsewhere."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.hostile_formats import (
    apng,
    appended,
    atom,
    atoms,
    ebml,
    gif,
    h264_headers,
    ivf,
    mkv,
    overwritten,
    png_chunk,
    resized_jpegs,
    track,
    uint,
    with_atom,
    y4m,
)

__all__ = ["Canary", "crafted", "names", "special"]


@dataclass(frozen=True)
class Canary:
    """What no input may reach: a film, a text, and a port of this machine on which we listen."""

    film: Path
    text: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/canary.mp4"


# The lists. Each yields a name, whose suffix need not fit, and the bytes.


def crafted(films: dict[str, bytes], canary: Canary) -> Iterator[tuple[str, bytes]]:
    """Every crafted file; `films` are good ones by their names (see benchmarks.hostile_mutated)."""
    yield from _bombs_of_frames(films)
    yield from _endless(films)
    yield from _absurd_rates(films)
    yield from _bombs_of_parts(films)
    yield from _leading_elsewhere(films, canary)


def _bombs_of_frames(films: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for side in (12_000, 16_384, 32_767, 65_535, 2_000_000_000):
        yield f"apng-{side}.mp4", apng(side, side, 2) if side < 20_000 else _png_head(side)
        yield f"y4m-{side}.y4m", y4m(side, side, "25:1", 2)
        picture = track(1, b"V_UNCOMPRESSED", side, side)
        yield f"raw-{side}.mkv", mkv(picture, [(0, b"x" * 1000)])
        yield f"ffv1-{side}.mkv", mkv(track(1, b"V_FFV1", side, side), [(0, b"x" * 1000)])
    for side in (12_000, 16_384, 65_535):
        yield f"gif-{side}.gif", gif(side, side, 50, (side, side))
        yield f"mjpeg-{side}.mjpeg", resized_jpegs(films["motion.mjpeg"], side, side)
        yield f"mjpeg-{side}.avi", resized_jpegs(films["mjpeg.avi"], side, side)
    yield "gif-thin.gif", gif(65_535, 1, 50)
    for wide, high in ((750, 750), (1024, 1024), (4096, 4096), (8192, 8192), (1, 65_536)):
        stream = h264_headers(wide, high) + b"\0\0\0\1\x65" + b"\x88\x84" * 200
        yield f"h264-{wide * 16}x{high * 16}.ts", stream
        yield f"h264-{wide * 16}x{high * 16}.mp4", stream * 50
    vp8 = b"\x10\x02\0\x9d\x01\x2a" + struct.pack("<HH", 16_383, 16_383) + bytes(500)
    yield "vp8-16383.webm", ivf(b"VP80", [vp8] * 30)
    vp9 = b"\x82\x49\x83\x42\x00" + b"\xff" * 40
    yield "vp9-65536.webm", ivf(b"VP90", [vp9] * 30)
    # Within what is allowed, and yet 2.6 GB of pixels in 2.5 MB.
    yield "apng-8000-many.mp4", apng(8_000, 8_000, 40)


def _png_head(side: int) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    parts = [
        (b"IHDR", header),
        (b"acTL", struct.pack(">II", 9, 0)),
        (b"IDAT", zlib.compress(bytes(99))),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def _endless(films: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    film = films["h264.mp4"]
    for name, value in {"max": 0xFFFFFFFF, "half": 0x7FFFFFFF, "zero": 0}.items():
        for kind in (b"mvhd", b"mdhd", b"tkhd"):
            at = 20 if kind == b"tkhd" else 16
            patched = with_atom(film, kind, overwritten(at, struct.pack(">I", value)))
            yield f"{kind.decode()}-{name}.mp4", patched
        stretched = with_atom(film, b"stts", overwritten(12, struct.pack(">I", value)))
        yield f"stts-{name}.mp4", stretched
    picture = track(1, b"V_MJPEG", 160, 120)
    shot = _first_jpeg(films["motion.mjpeg"])
    for name, seconds in {
        "long": 1e12,
        "inf": float("inf"),
        "nan": float("nan"),
        "minus": -1e9,
    }.items():
        yield f"duration-{name}.mkv", mkv(picture, [(0, shot), (40, shot)], duration=seconds)
    for name, last in {"year": 31_536_000_000, "ages": 1 << 60, "wrap": (1 << 63) - 1}.items():
        yield f"gap-{name}.mkv", mkv(picture, [(0, shot), (40, shot), (last, shot)])
    yield "growing.mkv", mkv(picture, [(n * 60_000, shot) for n in range(3_000)])
    flv = films["h264.flv"]
    place = flv.find(b"duration\0") + 9
    yield "duration.flv", flv[:place] + struct.pack(">d", 1e18) + flv[place + 8 :]
    avi = bytearray(films["mpeg4.avi"])
    avi[48:52] = b"\xff\xff\xff\x7f"  # number of frames
    yield "frames.avi", bytes(avi)
    ogg = bytearray(films["theora.ogv"])
    place = ogg.rfind(b"OggS")
    ogg[place + 6 : place + 14] = b"\xff" * 7 + b"\x7f"
    yield "granule.ogv", bytes(ogg)


def _first_jpeg(stream: bytes) -> bytes:
    return stream[: stream.index(b"\xff\xd9") + 2]


def _absurd_rates(films: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for name, rate in {
        "giga": "1000000000:1",
        "nano": "1:1000000000",
        "zero": "0:0",
        "odd": "-1:-7",
    }.items():
        yield f"rate-{name}.y4m", y4m(16, 16, rate, 20)
        avi = bytearray(films["mpeg4.avi"])
        place = avi.find(b"strh") + 8 + 20
        over, under = (int(part) & 0xFFFFFFFF for part in rate.split(":"))
        avi[place : place + 8] = struct.pack("<II", under, over)
        yield f"rate-{name}.avi", bytes(avi)
        scale = with_atom(films["h264.mp4"], b"mdhd", overwritten(12, struct.pack(">I", over or 1)))
        yield f"timescale-{name}.mp4", scale
    for name, rate in {"25": "25:1", "giga": "1000000000:1"}.items():
        yield f"million-{name}.y4m", y4m(2, 2, rate, 1_000_000)
    yield "hundred-thousand.gif", gif(8, 8, 100_000, delay=0)
    shot = _first_jpeg(films["motion.mjpeg"])
    picture = track(1, b"V_MJPEG", 160, 120, uint(0x23E383, 1))
    yield "nanoseconds.mkv", mkv(picture, [(0, shot)] * 4_000)
    yield "backwards.mkv", mkv(picture, [(9_000 - n, shot) for n in range(900)])


def _bombs_of_parts(films: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    shot = _first_jpeg(films["motion.mjpeg"])
    picture = track(1, b"V_MJPEG", 160, 120)
    frames = [(n * 40, shot) for n in range(10)]

    def attached(size: int, number: int) -> bytes:
        file = ebml(
            0x61A7,
            ebml(0x466E, b"font.ttf"),
            ebml(0x4660, b"font/ttf"),
            uint(0x46AE, 9),
            ebml(0x465C, bytes(size)),
        )
        return ebml(0x1941A469, file * number)

    yield "attachments.mkv", mkv(picture, frames, attached(100, 20_000))
    yield "attachment.mkv", mkv(picture, frames, attached(40_000_000, 1))
    yield (
        "tracks.mkv",
        mkv(b"".join(track(n, b"V_MJPEG", 160, 120) for n in range(1, 5_000)), frames),
    )
    texts = b"".join(
        ebml(0xAE, uint(0xD7, n), uint(0x73C5, n), uint(0x83, 0x11), ebml(0x86, b"S_TEXT/UTF8"))
        for n in range(2, 400)
    )
    yield "subtitle-tracks.mkv", mkv(picture + texts, frames)
    chapters = b"".join(
        ebml(0xB6, uint(0x73C4, n), uint(0x91, n * 10**6), ebml(0x80, ebml(0x85, b"x" * 90)))
        for n in range(1, 20_000)
    )
    yield "chapters.mkv", mkv(picture, frames, ebml(0x1043A770, ebml(0x45B9, chapters)))
    tag = ebml(0x67C8, ebml(0x45A3, b"COMMENT"), ebml(0x4487, b"x\n" * 10_000_000))
    yield "tag.mkv", mkv(picture, frames, ebml(0x1254C367, ebml(0x7373, ebml(0x63C0), tag)))
    nested = b""
    for _ in range(2_000):
        nested = ebml(0xB6, nested)
    yield "nested.mkv", mkv(picture, frames, ebml(0x1043A770, ebml(0x45B9, nested)))
    film = films["h264.mp4"]
    one = atoms(film, b"trak")[0]
    yield "traks.mp4", with_atom(film, b"moov", lambda body: body + one * 2_000)
    deep = b""
    for _ in range(20_000):
        deep = atom(b"udta", deep) if len(deep) < 1 << 20 else deep
    yield "nested.mp4", with_atom(film, b"moov", lambda body: body + deep)
    for name, entry in {
        "loop": (90_000, 0, 1 << 16),
        "back": (1, 0x7FFFFFFF, 1 << 16),
        "still": (90_000, 0, 0),
    }.items():
        edits = atom(b"elst", struct.pack(">II", 0, 100_000), struct.pack(">IiI", *entry) * 100_000)
        edited = with_atom(film, b"trak", appended(atom(b"edts", edits)))
        yield f"edits-{name}.mp4", edited
    for kind in (b"stts", b"ctts", b"stsz", b"stco", b"stsc", b"stss"):
        claimed = with_atom(film, kind, overwritten(4, b"\x7f\xff\xff\xff" * 2))
        yield f"entries-{kind.decode()}.mp4", claimed
    sample = b"".join(struct.pack("<I", 8) + b"JUNK" + struct.pack("<I", 0) for _ in range(100_000))
    yield "junk.avi", films["mpeg4.avi"][:12] + sample + films["mpeg4.avi"][12:]


def _leading_elsewhere(films: dict[str, bytes], canary: Canary) -> Iterator[tuple[str, bytes]]:
    film, text, url = canary.film, canary.text, canary.url
    host = f"127.0.0.1:{canary.port}"
    for number, target in enumerate(
        [
            f"file://{film}", str(film), f"../{film.name}", url, f"tcp://{host}",
            f"concat:{film}|{film}",
            f"subfile,,start,0,end,0,,:{film}", f"crypto:{film}", f"async:{url}", f"cache:{url}",
            f"data:video/mp4;base64,AAAA,{film}", f"rtmp://{host}/x", f"rtsp://{host}/x", f"ftp://{host}/x",
            f"hls+{url}", f"tee:{film}", f"unix:{film}", f"udp://{host}", f"gopher://{host}/",
            f"md5:{film}",
            "/etc/passwd", "file:///etc/passwd", f"pipe:0|{film}", f"ffrtmphttp://{host}/", f"srt://{host}",
        ]
    ):  # fmt: skip
        head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n"
        playlist = f"{head}#EXTINF:2.0,\n{target}\n#EXT-X-ENDLIST\n"
        yield f"playlist-{number}.mp4", playlist.encode()
        yield f"concat-{number}.mp4", f"ffconcat version 1.0\nfile '{target}'\n".encode()
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF:2.0,\n{film}\n'
    yield "key.m3u8", f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n{key}".encode()
    # Without the whitelists ffmpeg does follow these two and `key.m3u8`.
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n"
    yield "playlist-film.m3u8", f"{head}{film}\n#EXT-X-ENDLIST\n".encode()
    yield "playlist-url.m3u8", f"{head}{url}\n#EXT-X-ENDLIST\n".encode()
    yield "master.mkv", f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}\n".encode()
    yield "list.ffconcat", f"ffconcat version 1.0\nfile {film}\noption safe 0\n".encode()
    yield "plain.txt", f"file '{film}'\n".encode()
    mpd = (
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY t SYSTEM "file://%s">]><MPD type="static"'
        ' mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp4">'
        '<Representation id="1" bandwidth="1"><BaseURL>%s&t;</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>"
    )
    for name, target in {"file": str(film), "http": url}.items():
        yield f"dash-{name}.mp4", (mpd % (text, target)).encode()
        yield f"dash-{name}.mpd", (mpd % (text, target)).encode()
    session = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    session += f"m=video {canary.port} RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    yield "session.sdp", session.encode()
    yield "session.mp4", session.encode()
    yield "redirect.mov", f"rtsptext\nrtsp://{host}/x\n".encode()
    yield "smil.mp4", f'<smil><body><video src="{url}"/></body></smil>'.encode()
    yield "asx.wmv", f'<ASX version="3.0"><Entry><Ref href="{url}"/></Entry></ASX>'.encode()
    yield "ref.wmv", f"[Reference]\nRef1={url}\n".encode()
    yield "graph.mp4", f"movie={film}".encode()
    yield "avisynth.avs", f'DirectShowSource("{film}")'.encode()
    yield "avisynth.avi", f'DirectShowSource("{film}")'.encode()
    yield "metadata.mp4", f";FFMETADATA1\ntitle=x\n[STREAM]\nfile={film}\n".encode()
    yield "cue.mp4", f'FILE "{film}" BINARY\n TRACK 01 MODE1/2048\n'.encode()
    yield (
        "imf.mp4",
        b'<?xml version="1.0"?><AssetMap xmlns="http://www.smpte-ra.org/schemas/429-9/2007/AM"/>',
    )
    yield (
        "vobsub.mp4",
        f"# VobSub index file, v7\nid: en\ntimestamp: 00:00:00:000, filepos: 0\n{film}".encode(),
    )
    yield (
        "svg.mp4",
        f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{film}"/></svg>'.encode(),
    )
    yield "rar.rm", f".RMVIDEO {url}\n".encode()
    yield "ram.rm", f"{url}\n".encode()
    for name, path in {"file": os.fspath(film), "http": url}.items():
        entry = struct.pack(">I", 0) + path.encode() + b"\0"
        alias = struct.pack(">I", 0) + bytes(10) + bytes([len(film.name)]) + film.name.encode()
        alias = (
            alias.ljust(154, b"\0")
            + struct.pack(">HH", 2, len(path))
            + path.encode()
            + b"\0" * (len(path) % 2)
            + b"\xff\xff\0\0"
        )
        for kind, body in {b"url ": entry, b"alis": alias}.items():
            reference = struct.pack(">II", 0, 1) + atom(kind, body)
            linked = with_atom(films["mpeg4.mov"], b"dref", overwritten(0, reference))
            yield f"reference-{name}-{kind.decode().strip()}.mov", linked
    film_id = ebml(0x73A4, b"\1" * 16)
    linked = ebml(
        0x1549A966, film_id, ebml(0x3EB923, b"\2" * 16), ebml(0x3E83BB, film.name.encode())
    )
    shot = _first_jpeg(films["motion.mjpeg"])
    yield "linked.mkv", mkv(track(1, b"V_MJPEG", 160, 120), [(0, shot), (40, shot)], linked)
    styled = f"[Script Info]\n[Fonts]\nfontname: {film}\n[Events]\n"
    styled += f"Dialogue: 0,0:00:00.00,0:00:01.00,,,0,0,0,,{{\\fn{film}\\1img({url})}}x\n"
    yield "styled.mkv", mkv(track(1, b"V_MJPEG", 160, 120) + ebml(
        0xAE, uint(0xD7, 2), uint(0x73C5, 2), uint(0x83, 0x11), ebml(0x86, b"S_TEXT/ASS"),
        ebml(0x63A2, styled.encode())), [(0, shot), (40, shot)])  # fmt: skip


def names() -> list[bytes]:
    """Names, as the system has them, under which a good film must be indexed as under any other."""
    return [
        b"-i.mp4", b"--help.mp4", b"%d.mp4", b"%03d-[0-9]*.mp4", b"a:b.mp4", b"pipe:0.mp4",
        b"concat:x|y.mp4", b"http:127.0.0.1.mp4", b"subfile,,start,0,end,9,,:x.mp4",
        b"new\nline.mp4", b"'; touch x; '.mp4", b"$(touch x).mp4", b"\"quoted\" 'too'.mp4",
        b"back\\slash.mp4", b"\xf0\x9f\x8e\xac.mp4", b"not-utf8-\xff\xfe.mp4",
        b"x" * 250 + b".mp4", b" leading and trailing .mp4", b"[v];movie=x.mp4",
        b"a\rb\x1b[31m.mp4", b"x\n  Stream #0:0: Video: h264, yuv420p, 9x9.mp4",
        b"<script>alert(1)<-script>.mp4",
    ]  # fmt: skip


def special(folder: Path, canary: Canary, film: bytes, *, num_cues: int = 400_000) -> list[Path]:
    """What is no file, or a file of holes, or one with hostile subtitles beside it."""
    os.mkfifo(folder / "fifo.mp4")
    (folder / "zero.mp4").symlink_to("/dev/zero")
    (folder / "random.mp4").symlink_to("/dev/urandom")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "nowhere.mp4").symlink_to("nowhere-at-all")
    (folder / "folder.mp4").mkdir()
    for name, size in {"holes.mp4": 1 << 42, "holes.ts": 1 << 40, "holes.mpg": 1 << 39}.items():
        with (folder / name).open("wb") as file:
            file.write(film[:4000])
            file.truncate(size)
    for name in ("secret", "pipe", "large", "many", "fonts"):
        (folder / f"beside-{name}.mp4").write_bytes(film)
    (folder / "beside-secret.srt").symlink_to(canary.text)
    os.mkfifo(folder / "beside-pipe.srt")
    with (folder / "beside-large.srt").open("wb") as file:
        file.truncate(1 << 40)
    cue = b"1\n00:00:00,%03d --> 00:00:01,000\nx%d\n\n"
    (folder / "beside-many.srt").write_bytes(b"".join(cue % (n % 999, n) for n in range(num_cues)))
    bomb = (
        "{" * 1_900
        + "\n"
        + "Dialogue: 0,0:00:00.00,0:00:01.00,,,0,0,0,,"
        + "{\\p1}m 0 0" * 150
        + "\n"
    )
    (folder / "beside-fonts.ass").write_text("[Events]\n" + bomb * (num_cues // 100))
    return sorted(folder.iterdir())
