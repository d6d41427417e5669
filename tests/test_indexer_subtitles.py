"""Subtitles through the whole of indexing, with real films and the colour encoder."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import pytest
from typer.testing import CliRunner

from indexer.pipeline import IndexReport, index_videos
from ui.cli import app
from ui.report import index_json, print_index
from vidsift.library import Library
from vidsift.types import Span

MakeFilm = Callable[..., Path]

RED = "1\n00:00:00,200 --> 00:00:01,800\nall red here\n\n"
BLUE = "2\n00:00:02,000 --> 00:00:04,000\nit is blue now\n"


@pytest.fixture
def films(tmp_path: Path, make_film: MakeFilm) -> Path:
    folder = tmp_path / "films"
    make_film(folder / "a.mp4", [("red", 2.0), ("blue", 2.0)])
    return folder


def said(library: Library, *words: str) -> list[list[Span]]:
    return [
        [hit.span for hit in library.catalog.search_words(word, 9)] for word in (words or ["blue"])
    ]


def index(library: Library, folder: Path) -> IndexReport:
    library.encoder.frames_encoded = 0  # type: ignore[attr-defined]
    return index_videos(library, [folder])


def decoded(library: Library) -> bool:
    return bool(library.encoder.frames_encoded)  # type: ignore[attr-defined]


def test_cues_are_kept_with_vectors_of_their_texts(colour_library: Library, films: Path) -> None:
    (films / "a.srt").write_text(RED + BLUE)
    report = index(colour_library, films)
    assert report.notes == []
    catalog = colour_library.catalog
    assert said(colour_library, "red", "blue") == [[Span(0.2, 1.8)], [Span(2.0, 4.0)]]
    assert catalog.num_cues() == 2
    _, vectors = catalog.cue_vectors()
    texts = colour_library.encoder.encode_texts(["red", "blue"])
    assert vectors == pytest.approx(texts, abs=1e-3)


@pytest.mark.parametrize("options", [["-c:s", "srt"], ["-c:s", "ass", "-output_ts_offset", "7"]])
def test_words_inside_the_video_meet_their_pictures(
    colour_library: Library, films: Path, options: list[str]
) -> None:
    (films / "source.txt").write_text(RED + BLUE)
    source = ["-itsoffset", "1.5", "-f", "srt", "-i", str(films / "source.txt")]
    subprocess.run(
        [
            *[imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error"],
            *["-itsoffset", "1.5", "-i", str(films / "a.mp4"), *source],
            *["-f", "lavfi", "-i", "sine=d=5", "-map", "0", "-map", "1", "-map", "2"],
            *[*options, str(films / "b.mkv")],
        ],
        check=True,
    )
    (films / "a.mp4").unlink()
    index(colour_library, films)
    [video] = colour_library.catalog.videos()
    cut = colour_library.catalog.shots_of_video(video.id)[1].span.start
    assert cut == pytest.approx(2.0, abs=0.15)
    [[blue]] = said(colour_library)
    assert blue.start == pytest.approx(cut, abs=0.15)
    assert blue.end == pytest.approx(video.duration_seconds, abs=0.15)


def test_sidecar_that_comes_changes_and_goes(colour_library: Library, films: Path) -> None:
    index(colour_library, films)
    assert decoded(colour_library)
    assert said(colour_library) == [[]]

    sidecar = films / "a.en.srt"
    sidecar.write_text(BLUE)
    before = colour_library.catalog.generation()
    report = index(colour_library, films)
    assert (report.indexed, report.subtitles) == ([], [films / "a.mp4"])
    assert report.unchanged == [films / "a.mp4"]
    assert not decoded(colour_library)
    assert said(colour_library) == [[Span(2.0, 4.0)]]
    assert colour_library.catalog.generation() != before

    sidecar.write_text(BLUE.replace("02,000", "03,000"))
    index(colour_library, films)
    assert said(colour_library) == [[Span(3.0, 4.0)]]

    report = index(colour_library, films)
    assert report.subtitles == []

    sidecar.unlink()
    report = index(colour_library, films)
    assert report.subtitles == [films / "a.mp4"]
    assert said(colour_library) == [[]]
    assert not decoded(colour_library)
    assert [run.report["subtitles"] for run in colour_library.catalog.runs()] == [
        [str(films / "a.mp4")], [], [str(films / "a.mp4")], [str(films / "a.mp4")], [],
    ]  # fmt: skip


def test_film_that_is_touched_or_moved_with_its_sidecar_keeps_its_words(
    colour_library: Library, films: Path
) -> None:
    (films / "a.srt").write_text(BLUE)
    index(colour_library, films)
    os.utime(films / "a.mp4", (1, 1))
    assert index(colour_library, films).subtitles == []
    for suffix in (".mp4", ".srt"):
        (films / f"a{suffix}").rename(films / f"b{suffix}")
    report = index(colour_library, films)
    assert report.renamed == [(films / "a.mp4", films / "b.mp4")]
    assert report.subtitles == []
    assert said(colour_library) == [[Span(2.0, 4.0)]]
    (films / "b.mp4").rename(films / "c.mp4")
    report = index(colour_library, films)
    assert report.subtitles == [films / "c.mp4"]
    assert said(colour_library) == [[]]
    assert not decoded(colour_library)


def test_new_content_of_a_film_has_the_words_of_its_sidecar(
    colour_library: Library, films: Path, make_film: MakeFilm
) -> None:
    (films / "a.srt").write_text(BLUE)
    index(colour_library, films)
    make_film(films / "a.mp4", [("green", 3.0)])
    index(colour_library, films)
    assert decoded(colour_library)
    assert said(colour_library) == [[Span(2.0, 3.0)]]
    assert colour_library.catalog.num_cues() == 1


def test_what_is_odd_is_noted_and_ends_nothing(colour_library: Library, films: Path) -> None:
    (films / "a.srt").write_text(BLUE + BLUE.replace("00:00:0", "00:01:0"))
    (films / "a.de.srt").write_text("")
    report = index(colour_library, films)
    note = "a.de.srt: is empty; a.srt: 1 of 2 cues lie beyond the video's end (4.0 s)"
    assert report.notes == [(films / "a.mp4", note)]
    assert colour_library.catalog.videos()[0].note == note
    (films / "a.de.srt").unlink()
    report = index(colour_library, films)
    [(_, note)] = report.notes
    assert note == "a.srt: 1 of 2 cues lie beyond the video's end (4.0 s)"
    (films / "a.srt").write_text(BLUE)
    assert index(colour_library, films).notes == []
    assert colour_library.catalog.videos()[0].note == ""


def test_older_library_gains_the_words_it_could_not_keep(
    colour_library: Library, films: Path
) -> None:
    (films / "a.srt").write_text(BLUE)
    index(colour_library, films)
    [video] = colour_library.catalog.videos()
    colour_library.catalog.renew_cues(video.id, [], None, subtitles="", note="")  # as upgraded
    assert index(colour_library, films).subtitles == [films / "a.mp4"]
    assert said(colour_library) == [[Span(2.0, 4.0)]]
    assert not decoded(colour_library)


def test_run_in_which_nothing_is_new_asks_for_no_encoder(
    colour_library: Library, films: Path
) -> None:
    (films / "a.srt").write_text(BLUE)
    index(colour_library, films)
    del colour_library.__dict__["encoder"]
    assert index_videos(colour_library, [films]).unchanged == [films / "a.mp4"]
    (films / "a.srt").unlink()
    assert index_videos(colour_library, [films]).subtitles == [films / "a.mp4"]


def test_video_that_became_unreadable_keeps_its_words(colour_library: Library, films: Path) -> None:
    (films / "a.srt").write_text(BLUE)
    index(colour_library, films)
    [video] = colour_library.catalog.videos()
    status = video.path.stat()
    video.path.write_bytes(b"x" * status.st_size)
    os.utime(video.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    (films / "a.srt").write_text(RED)
    report = index(colour_library, films)
    [(path, note)] = report.notes
    assert path == video.path
    assert note.startswith("its subtitles cannot be read: is not a video")
    assert said(colour_library) == [[Span(2.0, 4.0)]]


def test_command_line_counts_cues_and_names_what_changed(
    colour_library: Library, films: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index(colour_library, films)
    (films / "a.srt").write_text(RED + BLUE)
    report = index(colour_library, films)
    print_index(report, [], 1, 1)
    assert f"new subtitles: {films / 'a.mp4'}" in capsys.readouterr().err.replace("\n", "")
    assert index_json(report, [], 1, 1)["subtitles"] == [str(films / "a.mp4")]
    arguments = ["status", "--library", str(colour_library.root)]
    shown = CliRunner().invoke(app, [*arguments, "--json"])
    assert json.loads(shown.stdout)["cues"] == 2
    assert "2 lines of subtitles" in CliRunner().invoke(app, arguments).stdout


def test_words_survive_that_the_file_is_away(colour_library: Library, films: Path) -> None:
    (films / "a.srt").write_text(BLUE)
    index(colour_library, films)
    (films / "a.mp4").rename(films / "a.away")
    index(colour_library, films)
    assert said(colour_library) == [[]]
    (films / "a.away").rename(films / "a.mp4")
    index(colour_library, films)
    assert said(colour_library) == [[Span(2.0, 4.0)]]
