"""Editing lists, read back by OpenTimelineIO's own readers."""

from __future__ import annotations

import dataclasses
import itertools
import re
from fractions import Fraction
from pathlib import Path
from urllib.parse import unquote, urlparse

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer import editing_lists
from summarizer.editing_lists import check_edl
from summarizer.skim import Skim, SkimPart
from vidsift.errors import SummaryError
from vidsift.types import Fingerprint, SaliencyTerm, Segment, Span, VideoRecord

VIDEO = VideoRecord(
    id=1,
    path=Path("/films/Überfahrt #3 (1).mp4"),
    status="searchable",
    reason="",
    note="",
    fingerprint=Fingerprint(1, 1, "ab" * 32),
    duration_seconds=100_000.0,
    width=640,
    height=360,
    frame_rate=Fraction(25),
    codec="h264",
    has_audio=True,
    num_frames=9,
    num_clips=1,
    feature_file="x.npy",
    indexed_at=0.0,
)
NTSC = Fraction(30_000, 1001)


def skim(*spans: tuple[float, float], video: VideoRecord = VIDEO, title: str = "a title") -> Skim:
    terms = (SaliencyTerm("diversity", 0.5, 1.0),)
    parts = tuple(SkimPart(video, Segment(Span(a, b), 0.5, terms)) for a, b in spans)
    return Skim(title, "a question", parts, 1.0)


WHY = "because\nof its colour"


def as_edl(of: Skim) -> str:
    return editing_lists.as_edl(of, [WHY] * len(of.parts))


def as_otio(of: Skim) -> str:
    return editing_lists.as_otio(of, [WHY] * len(of.parts))


def read_edl(text: str, rate: float) -> otio.schema.Track:
    return otio.adapters.read_from_string(text, "cmx_3600", rate=rate).tracks[0]


RATES = [Fraction(24), Fraction(25), NTSC, Fraction(60_000, 1001), Fraction(50), Fraction(60)]


@given(
    st.sampled_from(RATES),
    st.lists(st.tuples(st.floats(0.05, 5.0), st.floats(0.0, 700.0)), min_size=1, max_size=30),
)
def test_an_edl_reads_back_as_the_same_frames(rate, drawn):
    spans, at = [], 0.0
    for length, gap in drawn:
        spans.append((at + gap, at + gap + length))
        at += gap + length
    of = skim(*spans, video=dataclasses.replace(VIDEO, frame_rate=rate))
    check_edl(of)
    text = as_edl(of)
    events = re.findall(r"^\d{3}  (\S+) +(\S+) +C +(\S+) (\S+) (\S+) (\S+)$", text, re.MULTILINE)
    assert len(events) == len(spans)
    assert {event[:2] for event in events} == {("BERFAHRT", "AA/V")}
    separator = ";" if rate.denominator == 1001 else ":"
    assert all(time[-3] == separator for event in events for time in event[2:])
    read = list(read_edl(text, float(rate)))
    frames = 0
    for clip, (start, end) in zip(read, spans, strict=True):
        shown = clip.source_range
        assert abs(float(shown.start_time.value) - start * rate) <= 0.5 + 1e-6
        assert abs(float(shown.duration.value) - (end - start) * rate) <= 1 + 1e-6
        frames += int(shown.duration.value)
    # Rounded as sums: the list is as long as the skim however many segments there are.
    assert abs(frames - of.duration_seconds * rate) <= 0.5 + 1e-6
    recorded = [(event[4], event[5]) for event in events]
    assert all(a[1] == b[0] for a, b in itertools.pairwise(recorded))


def test_times_of_drop_frame_are_those_of_the_clock():
    of = skim((3600.0, 3602.0), video=dataclasses.replace(VIDEO, frame_rate=NTSC))
    text = as_edl(of)
    assert text.startswith("TITLE: a title\nFCM: DROP FRAME\n\n001  ")
    # By SMPTE 12M an hour of 29.97 is 107,892 frames; ours is 107,892.1.
    assert "01:00:00;00 01:00:02;00 00:00:00;00 00:00:02;00" in text


def test_an_edl_says_where_its_material_lies_and_why():
    text = as_edl(skim((1.0, 2.4), title="two\nlines\x07 here"))
    assert text.startswith("TITLE: two lines here\nFCM: NON-DROP FRAME\n\n")
    assert "00:00:01:00 00:00:02:10 00:00:00:00 00:00:01:10" in text
    assert "* FROM CLIP NAME:  Überfahrt #3 (1).mp4" in text
    assert f"* FROM FILE: {VIDEO.path}" in text
    assert "* because of its colour" in text
    assert "A2" not in as_edl(skim((1.0, 2.0), video=dataclasses.replace(VIDEO, has_audio=False)))
    mute = as_edl(skim((1.0, 2.0), video=dataclasses.replace(VIDEO, has_audio=False)))
    assert re.search(r"^001  BERFAHRT V     C ", mute, re.MULTILINE)


def test_reels_of_several_videos_are_told_apart():
    names = ["holidays-in-rome.mp4", "holidays-in-oslo.mp4", "日本.mp4", "ax.mp4", "HOLIDAYS2.mov"]
    videos = [
        dataclasses.replace(VIDEO, id=n, path=Path("/v") / name) for n, name in enumerate(names)
    ]
    segment = Segment(Span(1.0, 2.0), 1.0)
    of = Skim("many", "", tuple(SkimPart(video, segment) for video in videos), 5.0)
    reels = re.findall(r"^\d{3}  (\S+)", as_edl(of), re.MULTILINE)
    assert reels == ["HOLIDAYS", "HOLIDAY2", "REEL", "AX2", "HOLIDAY3"]


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (skim((1.0, 2.0), video=dataclasses.replace(VIDEO, frame_rate=Fraction(25, 2))), "12.5 fr"),
        (skim(*[(float(n), n + 0.5) for n in range(1000)]), "999"),
        (skim((1.0, 2.0), (86_399.0, 86_400.5)), "24 hours"),
    ],
)
def test_what_no_edl_can_hold_is_refused(of, words):
    with pytest.raises(SummaryError, match=words):
        check_edl(of)


def test_one_edl_has_one_frame_rate():
    other = dataclasses.replace(VIDEO, id=2, frame_rate=NTSC, path=Path("/films/b.mp4"))
    parts = skim((1.0, 2.0)).parts + skim((1.0, 2.0), video=other).parts
    both = Skim("two", "", parts, 2.0)
    with pytest.raises(SummaryError, match=r"25 .* and 29\.97 \(b\.mp4\); choose otio"):
        check_edl(both)
    read = otio.adapters.read_from_string(as_otio(both), "otio_json")
    assert [clip.source_range.duration.rate for clip in read.tracks[0]] == [25, float(NTSC)]


def test_otio_reads_back_as_the_same_spans():
    of = skim((0.0, 0.013), (1.26, 2.5), (2.5, 4.987))
    read = otio.adapters.read_from_string(as_otio(of), "otio_json")
    pictures, sounds = read.tracks
    assert (pictures.kind, sounds.kind) == ("Video", "Audio")
    assert read.metadata["vidsift"]["query"] == "a question"
    for clip, part in zip(pictures, of.parts, strict=True):
        told = clip.metadata["vidsift"]
        assert Span(told["start_seconds"], told["end_seconds"]) == part.segment.span
        assert told["terms"][0]["name"] == "diversity"
        assert clip.markers[0].name == "because of its colour"
        shown = clip.source_range
        assert abs(shown.start_time.to_seconds() - part.segment.span.start) <= 0.02 + 1e-9
        reference = clip.media_reference
        assert unquote(urlparse(reference.target_url).path) == str(VIDEO.path)
        assert reference.available_range.start_time.value == 0
        assert reference.available_range.end_time_exclusive() >= shown.end_time_exclusive()
    assert read.duration().value == round(of.duration_seconds * 25)


def test_where_a_video_is_mute_the_track_of_sound_has_a_gap():
    mute = dataclasses.replace(VIDEO, id=2, has_audio=False)
    parts = skim((1.0, 2.0)).parts + skim((1.0, 2.0), video=mute).parts
    read = otio.adapters.read_from_string(as_otio(Skim("two", "", parts, 2.0)), "otio_json")
    assert [type(item).__name__ for item in read.tracks[1]] == ["Clip", "Gap"]
    assert read.tracks[1].duration() == read.tracks[0].duration()
    alone = Skim("mute", "", skim((1.0, 2.0), video=mute).parts, 1.0)
    assert len(otio.adapters.read_from_string(as_otio(alone), "otio_json").tracks) == 1
