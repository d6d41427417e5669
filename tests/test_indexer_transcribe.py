"""Transcribing videos of a library: real films, a real Whisper, searched as any subtitles are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pysubs2
import pytest

import indexer.transcribe
from indexer.pipeline import index_videos
from indexer.transcribe import (
    TranscribeProgress,
    TranscribeReport,
    transcribe_videos,
    write_transcripts,
)
from search.engine import SearchEngine
from vidsift.errors import LibraryBusyError, SpeechError, StorageError
from vidsift.library import Library
from vidsift.models.speech import SpeechModel, SpokenLine, open_speech
from vidsift.types import Cue, VideoRecord

pytestmark = pytest.mark.slow

SAID = [(1.0, "red"), (5.0, "blue")]
MakeTalk = Callable[..., Path]
MakeFilm = Callable[..., Path]


@pytest.fixture(scope="module")
def model(speech_folder: Path) -> Iterator[SpeechModel]:
    model = open_speech(str(speech_folder), device="cpu")
    yield model
    model.close()


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory, make_talk: MakeTalk) -> bytes:
    return make_talk(tmp_path_factory.mktemp("talk") / "talk.mp4", 8.0, SAID).read_bytes()


@pytest.fixture
def films(tmp_path: Path, talk: bytes) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "talk.mp4").write_bytes(talk)
    return folder


def indexed(library: Library, films: Path) -> list[VideoRecord]:
    index_videos(library, [films])
    return library.catalog.videos()


def cues(library: Library, video: VideoRecord) -> list[Cue]:
    return [record.cue for record in library.catalog.cues_of_video(video.id)]


def test_what_is_said_is_found_where_it_is_said(
    colour_library: Library, films: Path, model: SpeechModel
) -> None:
    videos = indexed(colour_library, films)
    before = colour_library.catalog.generation()
    report = transcribe_videos(colour_library, videos, model=model)
    assert [(each.num_lines, each.language) for each in report.transcribed] == [(2, "en")]
    assert report.failed == report.skipped == []
    assert report.video_seconds == pytest.approx(8.0, abs=0.2)
    found = cues(colour_library, videos[0])
    assert [(cue.text, cue.track) for cue in found] == [("red", "speech en"), ("blue", "speech en")]
    assert [cue.span.start for cue in found] == pytest.approx([1.0, 5.0], abs=0.3)
    assert colour_library.catalog.speech_models() == {videos[0].id: model.name}
    assert colour_library.catalog.generation() != before
    _, vectors = colour_library.catalog.cue_vectors()
    assert np.allclose(vectors, colour_library.encoder.encode_texts(["red", "blue"]), atol=1e-3)
    [result] = SearchEngine(colour_library).search('said:"blue"')
    assert result.moment.span.overlap(found[1].span) > 0
    assert result.cue == found[1]


def test_who_has_subtitles_no_sound_or_was_heard_is_left_as_it_is(
    colour_library: Library, films: Path, make_film: MakeFilm, talk: bytes, model: SpeechModel
) -> None:
    make_film(films / "mute.mp4", [("green", 2.0)])
    (films / "titled.mp4").write_bytes(talk)
    (films / "titled.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nread\n")
    videos = indexed(colour_library, films)
    transcribe_videos(colour_library, videos[1:2], model=model)
    report = transcribe_videos(colour_library, videos, model=model)
    assert report.transcribed == []
    assert [(video.path.name, reason) for video, reason in report.skipped] == [
        ("mute.mp4", "has no sound"),
        ("talk.mp4", f"was transcribed by {model.name} before (--again does it anew)"),
        ("titled.mp4", "has subtitles (--again transcribes it beside them)"),
    ]
    report = transcribe_videos(colour_library, videos, model=model, language="de", again=True)
    assert [each.video.path.name for each in report.transcribed] == ["talk.mp4", "titled.mp4"]
    assert [(cue.text, cue.track) for cue in cues(colour_library, videos[1])] == [
        ("rot", "speech de"),
        ("blau", "speech de"),
    ]
    assert [cue.text for cue in cues(colour_library, videos[2])] == ["read", "rot", "blau"]


def test_subtitles_that_come_and_go_leave_what_was_heard(
    colour_library: Library, films: Path, model: SpeechModel
) -> None:
    [video] = indexed(colour_library, films)
    transcribe_videos(colour_library, [video], model=model)
    sidecar = films / "talk.en.srt"
    sidecar.write_text("1\n00:00:01,000 --> 00:00:02,000\nread\n")
    assert index_videos(colour_library, [films]).subtitles == [video.path]
    assert [cue.text for cue in cues(colour_library, video)] == ["read", "red", "blue"]
    sidecar.unlink()
    assert index_videos(colour_library, [films]).subtitles == [video.path]
    assert [cue.text for cue in cues(colour_library, video)] == ["red", "blue"]
    assert index_videos(colour_library, [films]).subtitles == []


def test_bad_file_is_named_and_the_rest_goes_on(
    colour_library: Library, films: Path, talk: bytes, model: SpeechModel
) -> None:
    for name in ("a", "b", "c"):
        (films / f"{name}.mp4").write_bytes(talk)
    videos = indexed(colour_library, films)
    os.utime(videos[3].path, (1, 1))  # touched, but the same
    videos[0].path.unlink()
    videos[1].path.write_bytes(talk + b"more")
    status = videos[2].path.stat()
    videos[2].path.write_bytes(b"x" * status.st_size)
    os.utime(videos[2].path, ns=(status.st_atime_ns, status.st_mtime_ns))
    report = transcribe_videos(colour_library, videos, model=model)
    assert [each.video.path.name for each in report.transcribed] == ["talk.mp4"]
    reasons = [(video.path.name, reason) for video, reason in report.failed]
    assert reasons[0] == ("a.mp4", "cannot be read: No such file or directory")
    assert reasons[1][1] == "has changed since it was indexed; run `vidsift index` on it first"
    assert reasons[2][1].startswith("is not a video")


def test_what_is_missing_is_skipped_with_its_reason(
    colour_library: Library, films: Path, model: SpeechModel
) -> None:
    [video] = indexed(colour_library, films)
    video.path.unlink()
    index_videos(colour_library, [films])
    report = transcribe_videos(colour_library, colour_library.catalog.videos(), model=model)
    assert [reason for _, reason in report.skipped] == ["is not searchable: the file is gone"]


class Interrupted:
    """The real model, until it is to hear the `calls`-th piece of sound."""

    def __init__(self, model: SpeechModel, calls: int, error: BaseException) -> None:
        self.name = model.name
        self._model, self._left, self._error = model, calls, error

    def check_language(self, language: str) -> None:
        self._model.check_language(language)

    def transcribe(self, samples: np.ndarray, language: str | None = None) -> Iterator[SpokenLine]:
        self._left -= 1
        if not self._left:
            raise self._error
        return self._model.transcribe(samples, language)

    def close(self) -> None:
        self._model.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SpeechError("out of memory")])
def test_interrupted_run_keeps_what_was_finished(
    colour_library: Library, films: Path, talk: bytes, model: SpeechModel, error: BaseException
) -> None:
    (films / "second.mp4").write_bytes(talk)
    videos = indexed(colour_library, films)
    with pytest.raises(type(error)):
        transcribe_videos(colour_library, videos, model=Interrupted(model, 2, error))
    done = colour_library.catalog.speech_models()
    assert [bool(done[video.id]) for video in videos] == [True, False]
    report = transcribe_videos(colour_library, videos, model=model)
    assert [each.video for each in report.transcribed] == [videos[1]]


def test_long_sound_is_heard_in_pieces_in_one_language(
    colour_library: Library,
    films: Path,
    make_talk: MakeTalk,
    model: SpeechModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (films / "talk.mp4").unlink()
    said = [(2.0, "red"), (30.0, "green"), (55.0, "blue")]
    make_talk(films / "long.mp4", 60.0, said)
    [video] = indexed(colour_library, films)
    real = indexer.transcribe.read_sound
    monkeypatch.setattr(
        indexer.transcribe,
        "read_sound",
        lambda probe, seconds, **options: real(probe, seconds, piece_seconds=25.0, **options),
    )
    shares: list[TranscribeProgress] = []
    transcribe_videos(colour_library, [video], model=model, on_progress=shares.append)
    found = cues(colour_library, video)
    assert [cue.text for cue in found] == [word for _, word in said]
    assert [cue.span.start for cue in found] == pytest.approx([at for at, _ in said], abs=0.35)
    done = [each.done_seconds for each in shares]
    assert done == sorted(done)
    assert len(set(done)) > 4
    assert (done[0], done[-1]) == (0.0, pytest.approx(shares[0].total_seconds))
    assert shares[-1].done_videos == shares[-1].total_videos == 1


def test_nothing_said_is_remembered(
    colour_library: Library, films: Path, make_film: MakeFilm, model: SpeechModel
) -> None:
    (films / "talk.mp4").unlink()
    make_film(films / "hum.mp4", [("red", 4.0)], sound=True)
    [video] = indexed(colour_library, films)
    report = transcribe_videos(colour_library, [video], model=model)
    assert [(each.num_lines, each.language) for each in report.transcribed] == [(0, "")]
    assert "before" in transcribe_videos(colour_library, [video], model=model).skipped[0][1]


def test_library_that_another_writes_to_is_waited_for_and_then_given_up(
    colour_library: Library, films: Path, model: SpeechModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    [video] = indexed(colour_library, films)
    monkeypatch.setattr(indexer.transcribe, "_PATIENCE_SECONDS", 0.5)
    with (
        Library.open(colour_library.root) as other,
        other.writing(),
        pytest.raises(LibraryBusyError),
    ):
        transcribe_videos(colour_library, [video], model=model)
    assert cues(colour_library, video) == []


def test_new_content_while_it_was_heard_is_not_given_old_words(
    colour_library: Library, films: Path, make_film: MakeFilm, model: SpeechModel
) -> None:
    [video] = indexed(colour_library, films)

    class Meanwhile(Interrupted):
        def transcribe(
            self, samples: np.ndarray, language: str | None = None
        ) -> Iterator[SpokenLine]:
            make_film(films / "talk.mp4", [("green", 3.0)])
            index_videos(colour_library, [films])
            return model.transcribe(samples, language)

    report = transcribe_videos(colour_library, [video], model=Meanwhile(model, 9, SpeechError()))
    assert [reason for _, reason in report.failed] == [
        "was indexed anew meanwhile; transcribe it once more"
    ]
    assert cues(colour_library, video) == []


def test_unknown_language_is_refused_before_anything_is_heard(
    colour_library: Library, films: Path, model: SpeechModel
) -> None:
    videos = indexed(colour_library, films)
    with pytest.raises(SpeechError, match="klingon"):
        transcribe_videos(colour_library, videos, model=model, language="klingon")


def test_transcripts_are_written_as_subtitles(
    colour_library: Library, films: Path, talk: bytes, model: SpeechModel, tmp_path: Path
) -> None:
    (films / "sub").mkdir()
    (films / "sub" / "talk.mp4").write_bytes(talk)
    videos = indexed(colour_library, films)
    transcribe_videos(colour_library, videos, model=model)
    out = tmp_path / "out"
    written = write_transcripts(colour_library, videos, out)
    assert [path.name for path in written] == ["talk.en.srt", f"talk-{videos[1].id}.en.srt"]
    read = pysubs2.load(str(written[0]))
    assert [event.text for event in read] == ["red", "blue"]
    assert [event.start / 1000 for event in read] == pytest.approx([1.0, 5.0], abs=0.3)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        write_transcripts(colour_library, videos, tmp_path / "file")


def test_transcripts_beside_their_videos_stand_in_place_of_what_was_heard(
    colour_library: Library, films: Path, talk: bytes, model: SpeechModel
) -> None:
    [video] = indexed(colour_library, films)
    transcribe_videos(colour_library, [video], model=model)
    heard = cues(colour_library, video)
    [written] = write_transcripts(colour_library, [video], films)
    assert index_videos(colour_library, [films]).subtitles == [video.path]
    read = cues(colour_library, video)
    assert [cue.text for cue in read] == [cue.text for cue in heard]
    assert {cue.track for cue in read} == {"en.srt"}
    [reason] = [why for _, why in transcribe_videos(colour_library, [video], model=model).skipped]
    assert reason == "has subtitles (--again transcribes it beside them)"

    colour_library.features.remove(video.feature_file)  # so that it is indexed anew
    assert index_videos(colour_library, [films]).indexed == [video.path]
    assert cues(colour_library, video) == read

    written.unlink()
    index_videos(colour_library, [films])
    report = transcribe_videos(colour_library, [video], model=model)
    assert [each.num_lines for each in report.transcribed] == [2]


def test_report_of_nothing(colour_library: Library, model: SpeechModel) -> None:
    report = transcribe_videos(colour_library, [], model=model)
    assert report == TranscribeReport(seconds=report.seconds)
