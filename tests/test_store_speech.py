"""What was transcribed stays beside subtitles: in the catalog, whatever is renewed around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexer.pipeline import index_videos
from summarizer.skim_subtitles import as_srt
from vidsift.errors import VideoNotFoundError
from vidsift.library import Library
from vidsift.store.records import is_speech
from vidsift.types import Cue, Span, VideoRecord

READ = [Cue(Span(0.0, 1.0), "read first", "en.srt"), Cue(Span(2.0, 3.0), "read last", "en.srt")]
HEARD = [
    Cue(Span(0.5, 1.5), "heard in red", "speech en"),
    Cue(Span(1.5, 2.5), "blue", "speech en"),
]


@pytest.fixture
def video(colour_library: Library, tmp_path: Path, make_film: Callable[..., Path]) -> VideoRecord:
    make_film(tmp_path / "films" / "a.mp4", [("red", 2.0), ("blue", 2.0)])
    index_videos(colour_library, [tmp_path / "films"])
    return colour_library.catalog.videos()[0]


def save(library: Library, video: VideoRecord, cues: Sequence[Cue], model: str = "tiny") -> None:
    vectors = library.encoder.encode_texts([cue.text for cue in cues]) if cues else None
    library.catalog.save_speech(video.id, cues, vectors, model=model)


def renew(library: Library, video: VideoRecord, cues: Sequence[Cue]) -> None:
    vectors = library.encoder.encode_texts([cue.text for cue in cues]) if cues else None
    library.catalog.renew_cues(video.id, cues, vectors, subtitles="stamp", note="")


def kept(library: Library, video: VideoRecord) -> list[Cue]:
    found = library.catalog.cues_of_video(video.id)
    assert [record.ordinal for record in found] == list(range(len(found)))
    return [record.cue for record in found]


def test_speech_is_found_by_words_and_by_meaning(
    colour_library: Library, video: VideoRecord
) -> None:
    catalog = colour_library.catalog
    before = catalog.generation()
    assert catalog.speech_models() == {video.id: ""}
    save(colour_library, video, HEARD)
    assert catalog.generation() != before
    assert catalog.generation().deletions == before.deletions  # no vector of a clip went
    assert catalog.speech_models() == {video.id: "tiny"}
    assert [hit.span for hit in catalog.search_words("heard", 9)] == [Span(0.5, 1.5)]
    assert [hit.span for hit in catalog.search_phrase("red blue", 9)] == [Span(0.5, 2.5)]
    ids, vectors = catalog.cue_vectors()
    red, blue = colour_library.encoder.encode_texts(["red", "blue"])
    assert np.allclose(vectors, [red, blue], atol=1e-3)
    assert [record.cue.text for record in catalog.cues_by_id(ids)] == ["heard in red", "blue"]


def test_speech_and_subtitles_give_way_only_to_their_own(
    colour_library: Library, video: VideoRecord
) -> None:
    save(colour_library, video, HEARD)
    renew(colour_library, video, READ)
    assert kept(colour_library, video) == [*READ, *HEARD]
    save(colour_library, video, HEARD[1:], "small")
    assert kept(colour_library, video) == [*READ, HEARD[1]]
    renew(colour_library, video, READ[:1])
    assert kept(colour_library, video) == [READ[0], HEARD[1]]
    renew(colour_library, video, [])
    assert kept(colour_library, video) == [HEARD[1]]
    save(colour_library, video, [], "medium")
    assert kept(colour_library, video) == []
    assert colour_library.catalog.speech_models() == {video.id: "medium"}
    assert colour_library.catalog.search_words("heard", 9) == []


def test_subtitles_that_are_a_transcript_stand_in_place_of_what_was_heard(
    colour_library: Library, video: VideoRecord
) -> None:
    save(colour_library, video, HEARD)
    # Another line at that time, and the same words at another time, are no transcript.
    renew(colour_library, video, [replace(HEARD[0], span=Span(2.0, 3.0), track="en.srt"), READ[0]])
    assert kept(colour_library, video)[2:] == HEARD
    # One of two lines was corrected by hand; times are rounded, letters and dots others.
    corrected = [
        Cue(Span(0.501, 1.499), "Heard in red.", "en.srt"),
        Cue(Span(1.5, 2.5), "cyan", "en.srt"),
    ]
    renew(colour_library, video, corrected)
    assert kept(colour_library, video) == corrected
    assert colour_library.catalog.speech_models() == {video.id: ""}
    renew(colour_library, video, [])
    assert kept(colour_library, video) == []


def test_same_content_indexed_again_with_a_transcript_has_each_line_once(
    colour_library: Library, video: VideoRecord
) -> None:
    save(colour_library, video, HEARD)
    colour_library.features.remove(video.feature_file)  # so that it is indexed anew
    (video.path.parent / "a.en.srt").write_text(as_srt(HEARD))
    assert index_videos(colour_library, [video.path]).indexed == [video.path]
    assert kept(colour_library, video) == [replace(cue, track="en.srt") for cue in HEARD]
    assert colour_library.catalog.speech_models() == {video.id: ""}


def test_same_content_indexed_again_keeps_what_was_heard(
    colour_library: Library, video: VideoRecord
) -> None:
    save(colour_library, video, HEARD)
    colour_library.features.remove(video.feature_file)  # so that it is indexed anew
    (video.path.parent / "a.en.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nread first\n")
    report = index_videos(colour_library, [video.path])
    assert report.indexed == [video.path]
    assert kept(colour_library, video) == [READ[0], *HEARD]
    assert colour_library.catalog.speech_models() == {video.id: "tiny"}
    _, vectors = colour_library.catalog.cue_vectors()
    assert np.allclose(vectors[1:], colour_library.encoder.encode_texts(["red", "blue"]), atol=1e-3)


def test_new_content_drops_what_was_heard(
    colour_library: Library, video: VideoRecord, make_film: Callable[..., Path]
) -> None:
    save(colour_library, video, HEARD)
    make_film(video.path, [("green", 3.0)])
    assert index_videos(colour_library, [video.path]).indexed == [video.path]
    assert kept(colour_library, video) == []
    assert colour_library.catalog.speech_models() == {video.id: ""}


def test_file_that_became_unusable_drops_what_was_heard(
    colour_library: Library, video: VideoRecord
) -> None:
    save(colour_library, video, HEARD)
    video.path.write_bytes(b"no video at all")
    assert index_videos(colour_library, [video.path]).failed
    assert kept(colour_library, video) == []
    assert colour_library.catalog.speech_models() == {video.id: ""}


def test_moved_and_missing_files_keep_what_was_heard(
    colour_library: Library, video: VideoRecord
) -> None:
    save(colour_library, video, HEARD)
    moved = video.path.rename(video.path.with_name("b.mp4"))
    report = index_videos(colour_library, [video.path.parent])
    assert report.renamed == [(video.path, moved)]
    assert kept(colour_library, video) == HEARD
    moved.rename(video.path.parent.parent / "away.mp4")
    index_videos(colour_library, [video.path.parent])
    assert colour_library.catalog.search_words("heard", 9) == []
    (video.path.parent.parent / "away.mp4").rename(moved)
    index_videos(colour_library, [video.path.parent])
    assert len(colour_library.catalog.search_words("heard", 9)) == 1


def test_what_cannot_be_kept_is_refused(colour_library: Library, video: VideoRecord) -> None:
    with pytest.raises(ValueError, match=r"no tracks of speech: \['en.srt'\]"):
        save(colour_library, video, READ)
    with pytest.raises(VideoNotFoundError, match="999"):
        save(colour_library, replace(video, id=999), HEARD)
    assert kept(colour_library, video) == []


@pytest.mark.parametrize(
    ("track", "expected"),
    [("speech", True), ("speech de", True), ("speech.srt", False), ("en.srt", False), ("", False)],
)
def test_tracks_of_speech_are_told_by_their_name(track: str, expected: bool) -> None:
    assert is_speech(track) is expected
