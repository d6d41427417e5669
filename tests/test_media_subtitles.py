"""Subtitles beside videos and inside them, in the forms that real files have and hostile ones."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsift.media import subtitles
from vidsift.media.cues import decode_text, parse_cues, place_cues
from vidsift.media.probe import probe
from vidsift.media.subtitles import Sidecars, read_subtitles
from vidsift.types import Cue, Span, SubtitleTrack

MakeFile = Callable[..., Path]

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>so very</i> red

2
00:00:04,000 --> 00:00:05,000
all &amp; blue
"""


def texts(content: str | bytes, suffix: str = ".srt") -> list[str]:
    data = content if isinstance(content, bytes) else content.encode()
    return [" ".join(cue.lines) for cue in parse_cues(data, suffix).cues]


def times(content: str, suffix: str = ".srt") -> list[tuple[float, float]]:
    return [(cue.start, cue.end) for cue in parse_cues(content.encode(), suffix).cues]


# --- formats


def test_subrip() -> None:
    assert texts(SRT) == ["so very red", "all & blue"]
    assert times(SRT) == [(1.0, 2.5), (4.0, 5.0)]
    assert texts(SRT.replace("\n", "\r\n")) == texts(SRT.replace("\n", "\r")) == texts(SRT)


def test_webvtt_without_names_notes_settings_and_tags() -> None:
    content = """WEBVTT - a title

NOTE this is
no cue

STYLE
::cue { color: red }

intro
00:01.000 --> 00:02.500 align:start position:10%
<v Roger Bingham>We are in <c.yellow.bg>New York</c> &lt;City&gt;

second
01:00:04.000 --> 01:00:05.000
one<00:00:04.200> word<00:00:04.500> after
the&nbsp;other
"""
    assert texts(content, ".vtt") == ["We are in New York <City>", "one word after the other"]
    assert times(content, ".vtt") == [(1.0, 2.5), (3604.0, 3605.0)]


def test_substation_without_styling_karaoke_drawings_and_comments() -> None:
    content = r"""[Script Info]
Title: x
[V4+ Styles]
Style: Default,Arial,broken
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\an8\k20}Hello,{\k30} there\Nyou\hall
Dialogue: 0,nonsense,0:00:02.50,Default,,0,0,0,,lost
Comment: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,not this
Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,{\p1}m 0 0 l 100 0 100 100{\p0}
Dialogue: 1,0:00:05.00,0:00:06.00,Sign,,0000,0000,0000,,EXIT
Dialogue: 0,0:00:05.00,0:00:06.00,Sign,,0000,0000,0000,,{\blur2}EXIT
"""
    assert texts(content, ".ass") == ["Hello, there you all", "EXIT"]
    assert times(content, ".ass") == [(1.0, 2.5), (5.0, 6.0)]
    assert texts(content, ".srt") == texts(content, ".ass")  # named wrongly
    old = content.replace("Dialogue: 0,", "Dialogue: Marked=0,").replace("V4+", "V4")
    assert texts(old, ".ssa") == texts(content, ".ass")


def test_rolling_captions_say_each_line_once() -> None:
    content = """WEBVTT

00:00:00.000 --> 00:00:02.000 align:start position:0%
 
hello<00:00:00.500><c> and</c><00:00:01.000><c> welcome</c>

00:00:02.000 --> 00:00:02.010 align:start position:0%
hello and welcome
 

00:00:02.010 --> 00:00:04.000 align:start position:0%
hello and welcome
to<00:00:02.500><c> the</c><00:00:03.000><c> show</c>

00:00:04.000 --> 00:00:04.010 align:start position:0%
to the show
 

00:00:04.010 --> 00:00:06.000 align:start position:0%
to the show
tonight

00:00:09.000 --> 00:00:10.000
tonight
"""  # noqa: W293 - as YouTube writes it
    assert texts(content, ".vtt") == ["hello and welcome", "to the show", "tonight", "tonight"]
    assert times(content, ".vtt") == [(0.0, 2.01), (2.01, 4.01), (4.01, 6.0), (9.0, 10.0)]


def test_two_speakers_at_once_and_words_said_again_stay() -> None:
    content = """1
00:00:01,000 --> 00:00:04,000
No!

2
00:00:02,000 --> 00:00:03,000
Why not?

3
00:00:06,000 --> 00:00:07,000
No!
"""
    assert texts(content) == ["No!", "Why not?", "No!"]


def test_sloppy_subrip() -> None:
    content = """00:00:05.5 --> 00:00:06,5   X1:10 X2:20
no number, and out of order

7
0:00:01,000-->0:00:02,000
{\\an8}I <3 you - at 00:00:01,000 or 00:00:02,000?

9
00:00:03,000 --> 00:00:04,000

10
00:00:08,000 --> 00:00:09,000
a gap

in it
"""
    assert texts(content) == ["no number, and out of order", "a gap in it"]
    assert times(content) == [(5.5, 6.5), (8.0, 9.0)]


# --- encodings

FRENCH = "Où êtes-vous allé hier soir?\nÇa va très bien, merci.\nIl était une forêt.\n"
RUSSIAN = "Привет, как дела?\nЯ вчера был в кино.\n"
POLISH = "Proszę bardzo, dziękuję.\nGdzie jest mój brat? Już idę.\nTo był piękny dzień.\n"
JAPANESE = "昨日は東京で寿司を食べました。\nとてもおいしかったです。\n"
CHINESE = "我们昨天去了北京大学\n天气很好\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *[(FRENCH, name) for name in ("utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1")],
        *[(FRENCH, name) for name in ("utf-16-le", "utf-16-be")],
        *[(RUSSIAN, name) for name in ("cp1251", "koi8-r", "utf-16")],
        *[(POLISH, "cp1250"), (JAPANESE, "cp932"), (CHINESE, "gb18030")],
    ],
)
def test_encodings(text: str, encoding: str) -> None:
    content = "".join(
        f"{n}\n00:00:0{n},000 --> 00:00:0{n},900\n{line}\n\n"
        for n, line in enumerate(text.splitlines())
    )
    assert decode_text(content.encode(encoding))[0].removeprefix("\ufeff") == content
    assert texts(content.encode(encoding)) == text.splitlines()


def test_broken_utf8_is_still_utf8() -> None:
    data = (RUSSIAN * 5).encode()[:-1]
    text, certain = decode_text(data)
    assert certain
    assert text.startswith(RUSSIAN)


# --- what is odd


def placed(content: str, duration: float = 10.0, shift: float = 0.0) -> tuple[list[Cue], list[str]]:
    parsed = parse_cues(content.encode(), ".srt")
    return place_cues(parsed, shift=shift, duration=duration, track="srt")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n ", "is empty"),
        (b"hello", "holds no subtitles"),
        (b"WEBVTT\n\n", "holds no subtitles"),
        (b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40, "holds no subtitles"),
    ],
)
def test_files_without_cues(content: bytes, problem: str) -> None:
    parsed = parse_cues(content, ".srt")
    assert parsed.cues == ()
    assert problem in parsed.problems


def test_times_beyond_the_video() -> None:
    cues, problems = placed(SRT, duration=4.5)
    assert [cue.span for cue in cues] == [Span(1.0, 2.5), Span(4.0, 4.5)]
    assert problems == []
    cues, problems = placed(SRT, duration=2.0)
    assert [cue.span for cue in cues] == [Span(1.0, 2.0)]
    assert problems == ["1 of 2 cues lie beyond the video's end (2.0 s)"]
    cues, problems = placed(SRT, shift=-2.0)
    assert [cue.span for cue in cues] == [Span(0.0, 0.5), Span(2.0, 3.0)]


def test_times_that_go_backward() -> None:
    content = SRT.replace("00:00:02,500", "00:00:00,500").replace("05,000", "04,000")
    assert placed(content) == ([], ["2 of 2 cues end before they begin"])


@pytest.mark.slow
def test_too_many_cues() -> None:
    line = "00:{:02}:{:02},{:03} --> 00:59:59,000\ncue {}\n\n"
    content = "".join(line.format(n // 6000, n // 100 % 60, n % 100 * 10, n) for n in range(20_001))
    parsed = parse_cues(content.encode(), ".srt")
    assert len(parsed.cues) == 20_000
    assert parsed.problems == ("holds 20,001 cues, of which the first 20,000 are used",)


STAMP = "00:00:01,000 --> 00:00:02,000\n"
BOMBS = {
    "tags": STAMP + "<a" * 400_000,
    "braces": STAMP + "{" * 800_000,
    "overrides": "[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,,,0,0,0,," + "{}" * 400_000,
    "newlines": STAMP + "x" + "\n" * 800_000 + "x",
    "spaces": STAMP + "1\n" + " " * 800_000 + "x",
    "digits": STAMP + "\n" + "1" * 800_000 + "x",
    "brackets": "[Script Info]\n" + "[a" * 400_000,
    "arrows": "-->" * 300_000,
    "stamps": "00:00:01,000" * 60_000 + "-->",
    "entities": STAMP + "&" * 800_000,
    "times": "WEBVTT\n\n" + STAMP.replace(",", ".") + "<00:00" * 100_000,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", BOMBS)
def test_nothing_takes_long(name: str) -> None:
    began = time.process_time()
    parse_cues(BOMBS[name].encode(), ".srt")
    parse_cues(BOMBS[name].encode(), ".ass")
    assert time.process_time() - began < 5.0


_PIECES = st.sampled_from(
    [
        *["WEBVTT\n\n", "[Script Info]\n", "[Events]\n", "[Fonts]\nfontname: a\n", "Style: a,b\n"],
        *["Dialogue: 0,0:00:01.00,0:00:02.00,,,0,0,0,,", "Dialogue: x,1,2\n", "{\\p1}", "{\\k10}"],
        *[STAMP, "99:99:99,999 --> 00:00:00.5\n", "-->", "<i>", "<00:00:01.000>", "&#x110000;"],
        *["\n", "\r", "\x00", "\ufeff", "\u0661:\u0662:\u0663,\u0664", "1\n", "&amp", "\\N"],
        *["\ud7ff", "é", "🎵"],
    ]
)  # fmt: skip


@given(
    st.binary(max_size=300)
    | st.lists(_PIECES | st.text(max_size=8), max_size=20).map(
        lambda parts: "".join(parts).encode("utf-8", "surrogatepass")
    ),
    st.sampled_from([".srt", ".vtt", ".ass", ".ssa"]),
)
def test_anything_may_stand_in_a_file(data: bytes, suffix: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parsed = parse_cues(data, suffix)
    assert all(cue.lines and all(cue.lines) for cue in parsed.cues)
    cues, _ = place_cues(parsed, shift=-0.5, duration=3.0, track="x")
    assert all(cue.span.end <= 3.0 and cue.text for cue in cues)


# --- beside the video


def test_sidecars_are_found_by_name(tmp_path: Path) -> None:
    mine = ["Film.srt", "Film.en.SRT", "Film.pt-BR.vtt", "Film.zh_Hans.forced.ass", "Film.ssa"]
    other = ["Film2.srt", "Film.txt", "film.srt", "Film.2.srt", "Film.part1.srt", "srt", ".srt"]
    for name in (*mine, *other):
        (tmp_path / name).write_text(SRT)
    (tmp_path / "Film.de.srt").mkdir()
    (tmp_path / "Film.fr.srt").symlink_to(tmp_path / "nowhere")
    found = Sidecars().of(tmp_path / "Film.mp4")
    assert sorted(path.name for path in found) == sorted(mine)
    assert Sidecars().of(tmp_path / "absent" / "Film.mp4") == []


def test_stamp_follows_the_sidecars_and_not_the_name(tmp_path: Path) -> None:
    def stamp(name: str = "a.mp4") -> str:
        return Sidecars().stamp(tmp_path / name)

    none = stamp()
    sidecar = tmp_path / "a.en.srt"
    sidecar.write_text(SRT)
    first = stamp()
    assert len({none, first}) == 2
    assert len(first) == 64
    sidecar.write_text(SRT + "\n")
    second = stamp()
    assert second not in (none, first)
    os.utime(sidecar, ns=(1, 1))
    assert stamp() not in (none, first, second)
    third = stamp()
    sidecar.rename(tmp_path / "b.en.srt")
    assert stamp("b.mp4") == third
    assert stamp() == none


@pytest.fixture(scope="module")
def film(make: MakeFile) -> Path:
    return make("film.mp4", "-f", "lavfi", "-i", "color=red:s=96x64:r=10:d=6")


@pytest.fixture
def beside(film: Path, tmp_path: Path) -> Path:
    copy = tmp_path / film.name
    copy.write_bytes(film.read_bytes())
    return copy


def test_sidecars_are_read_with_their_tracks(beside: Path) -> None:
    beside.with_suffix(".en.srt").write_text(SRT)
    beside.with_suffix(".fr.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\ntrès rouge\n")
    found = read_subtitles(probe(beside), 6.0, Sidecars())
    assert found.cues == (
        Cue(Span(1.0, 2.5), "so very red", "en.srt"),
        Cue(Span(4.0, 5.0), "all & blue", "en.srt"),
        Cue(Span(1.0, 2.0), "très rouge", "fr.vtt"),
    )
    assert found.note == ""
    assert found.stamp == Sidecars().stamp(beside)


def test_same_line_of_another_track_counts_once(beside: Path) -> None:
    beside.with_suffix(".srt").write_text(SRT)
    beside.with_suffix(".en.srt").write_text(SRT.replace("01,000", "01,100").upper())
    found = read_subtitles(probe(beside), 6.0, Sidecars())
    assert [cue.track for cue in found.cues] == ["en.srt", "en.srt"]


def test_problems_name_the_file_and_spare_the_rest(
    beside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside.with_suffix(".srt").write_text(SRT)
    beside.with_suffix(".en.srt").write_bytes(b"")
    beside.with_suffix(".de.srt").write_text(SRT.replace("00:00:04", "00:00:07"))
    monkeypatch.setattr("vidsift.media.subtitles._MOST_BYTES", 2 << 20)
    beside.with_suffix(".fr.srt").write_bytes(b"x" * ((2 << 20) + 1))
    found = read_subtitles(probe(beside), 6.0, Sidecars())
    assert [cue.track for cue in found.cues] == ["de.srt", "srt"]
    assert found.note == (
        "film.de.srt: 1 of 2 cues end before they begin; film.en.srt: is empty; "
        "film.fr.srt: has more than 2 MB and was not read"
    )


def test_link_out_of_the_folder_is_not_followed(beside: Path, tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere" / "secret.srt"
    secret.parent.mkdir()
    secret.write_text(SRT.replace("red", "password"))
    beside.with_suffix(".xx.srt").symlink_to(secret)
    beside.with_suffix(".yy.srt").symlink_to("/etc/passwd")
    (beside.parent / "own.txt").write_text(SRT.replace("red", "green"))
    beside.with_suffix(".zz.srt").symlink_to("own.txt")
    found = read_subtitles(probe(beside), 5.0, Sidecars())
    said = " ".join(cue.text for cue in found.cues)
    assert "password" not in said
    assert "so very green" in said
    assert f"{beside.stem}.xx.srt: leads out of the folder and was not read" in found.note
    assert f"{beside.stem}.yy.srt: leads out of the folder" in found.note


def test_sidecar_that_became_a_pipe_is_not_waited_for(beside: Path) -> None:
    path = beside.with_suffix(".xx.srt")
    path.write_text(SRT)
    sidecars = Sidecars()
    assert path in sidecars.of(beside)
    path.unlink()
    os.mkfifo(path)
    assert "xx.srt: cannot be read: not a regular file" in _note(beside, sidecars)


def _note(video: Path, sidecars: Sidecars) -> str:
    return read_subtitles(probe(video), 5.0, sidecars).note


def test_huge_sidecar_is_not_read(beside: Path) -> None:
    with beside.with_suffix(".xx.srt").open("wb") as file:
        file.truncate(1 << 40)  # of holes, but nobody can tell
    assert f"{beside.stem}.xx.srt: has more than 20 MB" in _note(beside, Sidecars())


def test_only_so_many_tracks_are_read(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subtitles, "_MOST_TRACKS", 3)
    monkeypatch.setattr(subtitles, "_MOST_CUES", 4)
    for language in ("aa", "bb", "cc", "dd", "ee"):
        own = SRT.replace("red", language).replace("blue", language)
        beside.with_suffix(f".{language}.srt").write_text(own)
    found = read_subtitles(probe(beside), 5.0, Sidecars())
    assert [cue.track for cue in found.cues] == ["aa.srt", "aa.srt", "bb.srt", "bb.srt"]
    assert "5 files lie beside it, the first 3 were read" in found.note
    assert "has 6 cues, of which the first 4 are used" in found.note


def test_track_that_goes_on_is_read_in_part(
    make: MakeFile, srt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subtitles, "_MOST_BYTES", 40)
    film = make("long-track.mkv", *COLOUR, "-i", srt, "-map", "0", "-map", "1", "-c:s", "srt")
    assert "track 1: only its first 0 MB were read" in _note(film, Sidecars())


@pytest.mark.slow
def test_same_words_in_many_tracks_take_no_time(beside: Path) -> None:
    spread = "".join(
        f"{n}\n{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02},000 --> "
        f"{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02},500\nyes\n\n"
        for n in range(5000)
    )
    for track in "abc":
        beside.with_suffix(f".{track}{track}.srt").write_text(spread)
    found = read_subtitles(probe(beside), 5000.0, Sidecars())
    assert sum(cue.text == "yes" for cue in found.cues) == 5000


def test_vanished_sidecar_is_noted(beside: Path) -> None:
    sidecar = beside.with_suffix(".srt")
    sidecar.write_text(SRT)
    sidecars = Sidecars()
    assert sidecars.of(beside) == [sidecar]
    sidecar.unlink()
    found = read_subtitles(probe(beside), 6.0, sidecars)
    assert (found.cues, found.note) == ((), "film.srt: cannot be read: No such file or directory")


# --- inside the video


@pytest.fixture
def srt(tmp_path: Path) -> str:
    path = tmp_path / "source.srt"
    path.write_text(SRT)
    return str(path)


COLOUR = ["-f", "lavfi", "-i", "color=red:s=96x64:r=10:d=6"]


def test_text_tracks_are_read(make: MakeFile, srt: str) -> None:
    path = make(
        "tracks.mkv", *COLOUR, "-i", srt, "-map", "0", *["-map", "1"] * 3,
        *["-c:s:0", "srt", "-c:s:1", "ass", "-c:s:2", "webvtt"],
        *["-metadata:s:s:0", "language=eng", "-metadata:s:s:2", "language=fre"],
    )  # fmt: skip
    video = probe(path)
    assert video.subtitle_tracks == (
        SubtitleTrack("eng", "subrip"), SubtitleTrack("", "ass"), SubtitleTrack("fre", "webvtt"),
    )  # fmt: skip
    found = read_subtitles(video, 6.0, Sidecars())
    assert found.cues == (
        Cue(Span(1.0, 2.5), "so very red", "track 1 eng"),
        Cue(Span(4.0, 5.0), "all & blue", "track 1 eng"),
    )
    one = replace(video, subtitle_tracks=(SubtitleTrack("", "x"), video.subtitle_tracks[1]))
    styled = read_subtitles(one, 6.0, Sidecars())
    assert [cue.text for cue in styled.cues] == ["so very red", "all & blue"]


def test_bitmap_tracks_are_noted(make: MakeFile, srt: str) -> None:
    video = probe(make("text.mkv", *COLOUR, "-i", srt, "-c:s", "srt"))
    drawn = SubtitleTrack("eng", "hdmv_pgs_subtitle")
    found = read_subtitles(
        replace(video, subtitle_tracks=(*video.subtitle_tracks, drawn)), 6.0, Sidecars()
    )
    assert len(found.cues) == 2
    assert found.note == (
        "track 2 eng: holds pictures (hdmv_pgs_subtitle), not text, and was left out"
    )


def test_track_that_cannot_be_read_is_noted(make: MakeFile, srt: str) -> None:
    video = probe(make("text.mkv", *COLOUR, "-i", srt, "-c:s", "srt"))
    absent = replace(video, subtitle_tracks=(SubtitleTrack("", "subrip"),) * 2)
    found = read_subtitles(absent, 6.0, Sidecars())
    assert found.cues == ()
    assert found.note.startswith("its subtitle tracks cannot be read: ")


LATE = ["-itsoffset", "1.5", *COLOUR, "-f", "lavfi", "-i", "sine=d=7"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mov_text.mp4", ["-c:s", "mov_text"]),
        ("late.mp4", ["-c:s", "mov_text"]),
        ("late.mkv", ["-c:s", "srt"]),
        ("later.mkv", ["-c:s", "ass", "-output_ts_offset", "10"]),
        ("late.mov", ["-c:s", "mov_text"]),
        ("later.mp4", ["-c:s", "mov_text", "-output_ts_offset", "10"]),
    ],
)
def test_times_of_tracks_count_from_the_first_frame(
    make: MakeFile, srt: str, name: str, options: list[str]
) -> None:
    late = name.startswith("late")
    inputs = [*LATE, "-itsoffset", "1.5", "-i", srt] if late else [*COLOUR, "-i", srt]
    path = make(name, *inputs, *(["-map", "0", "-map", "1", "-map", "2"] if late else []), *options)
    video = probe(path)
    assert video.delay_seconds == pytest.approx(1.5 if late else 0.0, abs=0.03)
    found = read_subtitles(video, 6.0, Sidecars())
    starts = [edge for cue in found.cues for edge in (cue.span.start, cue.span.end)]
    assert starts == pytest.approx([1.0, 2.5, 4.0, 5.0], abs=0.03)


def test_sidecar_counts_from_the_start_of_the_file(make: MakeFile, tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    path.write_bytes(make("late_alone.mkv", *LATE).read_bytes())
    path.with_suffix(".srt").write_text(SRT)
    found = read_subtitles(probe(path), 6.0, Sidecars())
    starts = [edge for cue in found.cues for edge in (cue.span.start, cue.span.end)]
    assert starts == pytest.approx([0.0, 1.0, 2.5, 3.5], abs=0.03)


def test_ffmpeg_is_given_names_as_they_are(make: MakeFile, srt: str, tmp_path: Path) -> None:
    odd = tmp_path / "a'b %d: [x],y.mkv"
    odd.write_bytes(make("plain.mkv", *COLOUR, "-i", srt, "-c:s", "srt").read_bytes())
    assert len(read_subtitles(probe(odd), 6.0, Sidecars()).cues) == 2


@pytest.mark.slow
def test_reading_subtitles_is_not_needed_to_search() -> None:
    code = (
        "import sys, search.engine; "
        "assert not {'pysubs2', 'charset_normalizer', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
