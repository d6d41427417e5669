"""Readers of captions: every published format by its own shape, and what is ill-formed named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search.annotations import Caption, read_captions
from vidsift.errors import AnnotationError
from vidsift.types import Span


def _write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return path


def _lines(*values: object) -> str:
    return "".join((v if isinstance(v, str) else json.dumps(v)) + "\n" for v in values)


MSRVTT = {
    "info": {"year": "2016"},
    "videos": [{"video_id": "video0", "start time": 137.72, "end time": 149.44, "id": 0}],
    "sentences": [
        {"caption": "a car is shown", "video_id": "video0", "sen_id": 0},
        {"caption": "a man drives", "video_id": "video0", "sen_id": 1},
    ],
}
DIDEMO = [
    {
        "num_segments": 6,
        "description": "the dog jumps",
        "times": [[0, 0], [1, 1], [1, 1], [1, 2]],
        "video": "1234@N02_5678_abc.mov",
        "annotation_id": 7,
    }
]
ACTIVITYNET = {
    "v_QOlSCBRmfWY": {
        "duration": 82.73,
        "timestamps": [[0.83, 19.86], [17.37, 90]],
        "sentences": ["A woman is seen.", "The girl dances.  "],
    }
}
QVHIGHLIGHTS = {
    "qid": 8737,
    "query": "A family plays basketball",
    "duration": 126,
    "vid": "bP5KfdFJzC4_660.0_810.0",
    "relevant_windows": [[0, 16], [20, 24]],
    "relevant_clip_ids": [0],
    "saliency_scores": [[4, 1, 1]],
}
DATABASE = {
    "version": "Thumos14",
    "taxonomy": [],
    "database": {
        "video_test_0000004": {
            "subset": "Test",
            "duration": 33.4,
            "annotations": [{"segment": ["0.2", "1.1"], "label": "CricketBowling", "label_id": 5}],
        }
    },
}
KINETICS = {
    "---QUuC4vJs": {
        "annotations": {"label": "testifying", "segment": [84.0, 94.0]},
        "duration": 10.0,
        "subset": "validate",
    }
}

CASES = [
    (
        "msrvtt",
        "a.json",
        MSRVTT,
        [Caption("video0", "a car is shown"), Caption("video0", "a man drives")],
    ),
    (
        "msrvtt",
        "a.csv",
        "key,vid_key,video_id,sentence\nret0,msr9770,video9770,a person connects\n",
        [Caption("video9770", "a person connects")],
    ),
    (
        "msvd",
        "a.csv",
        "VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description\n"
        'mv89psg6zh4,33,46,588702,unverified,55,English,"A bird, in a sink"\n'
        "mv89psg6zh4,33,46,588703,unverified,55,Slovene,Papagaj\n",
        [Caption("mv89psg6zh4_33_46", "A bird, in a sink")],
    ),
    (
        "msvd",
        "a.txt",
        "# MSVD\n-4wsuPCjDBc_5_15 a squirrel is eating a peanut\n",
        [Caption("-4wsuPCjDBc_5_15", "a squirrel is eating a peanut")],
    ),
    (
        "didemo",
        "a.json",
        DIDEMO,
        [Caption("1234@N02_5678_abc.mov", "the dog jumps", Span(5.0, 10.0))],
    ),
    (
        "activitynet",
        "a.json",
        ACTIVITYNET,
        [
            Caption("v_QOlSCBRmfWY", "A woman is seen.", Span(0.83, 19.86)),
            Caption("v_QOlSCBRmfWY", "The girl dances.", Span(17.37, 82.73)),
        ],
    ),
    (
        "qvhighlights",
        "a.jsonl",
        _lines(QVHIGHLIGHTS),
        [
            Caption("bP5KfdFJzC4_660.0_810.0", "A family plays basketball", Span(0.0, 16.0)),
            Caption("bP5KfdFJzC4_660.0_810.0", "A family plays basketball", Span(20.0, 24.0)),
        ],
    ),
    (
        "thumos14",
        "BaseballPitch_val.txt",
        "video_validation_0000266  72.8 76.4\n",
        [Caption("video_validation_0000266", "baseball pitch", Span(72.8, 76.4))],
    ),
    (
        "thumos14",
        "a.json",
        DATABASE,
        [Caption("video_test_0000004", "cricket bowling", Span(0.2, 1.1))],
    ),
    (
        "kinetics",
        "a.csv",
        "label,youtube_id,time_start,time_end,split\ntestifying,---QUuC4vJs,84,94,validate\n",
        [Caption("---QUuC4vJs_000084_000094", "testifying")],
    ),
    (
        "kinetics",
        "a.json",
        KINETICS,
        [Caption("---QUuC4vJs_000084_000094", "testifying")],
    ),
    (
        "kinetics",
        "a.txt",
        "val/playing_harp/0wR5jVB_000417_000427.mp4 0\n",
        [Caption("0wR5jVB_000417_000427.mp4", "playing harp")],
    ),
    (
        "plain",
        "a.jsonl",
        _lines(
            {"video": "a.mp4", "text": "a dog"},
            {"video": "b", "query": "a cat", "start": 1, "end": 2.5},
            {"video": 3, "caption": ["one", "two"], "start": None, "end": None},
        ),
        [
            Caption("a.mp4", "a dog"),
            Caption("b", "a cat", Span(1.0, 2.5)),
            Caption("3", "one"),
            Caption("3", "two"),
        ],
    ),
    (
        "plain",
        "a.json",
        [{"video": "video7020.mp4", "caption": "a woman"}],
        [Caption("video7020.mp4", "a woman")],
    ),
    (
        "plain",
        "a.csv",
        "video,text,start,end\na.mp4,a dog,1,2\nb.mp4,a cat,,\n",
        [Caption("a.mp4", "a dog", Span(1.0, 2.0)), Caption("b.mp4", "a cat")],
    ),
]


@pytest.mark.parametrize(("format_", "name", "content", "expected"), CASES)
def test_each_published_shape_is_recognised_and_read(
    tmp_path: Path, format_: str, name: str, content: object, expected: list[Caption]
) -> None:
    read = read_captions(_write(tmp_path / name, content))
    assert list(read.items) == expected
    assert read.format == format_
    assert read.skipped == ()
    assert read_captions(tmp_path / name, format_).items == read.items


def test_ill_formed_lines_are_named_and_the_rest_is_used(tmp_path: Path) -> None:
    file = tmp_path / "captions.jsonl"
    good = b'{"video": "a.mp4", "text": "a dog"}\n'
    bad = [
        b'{"video": "a.mp4", "text": \n',
        b"[1, 2]\n",
        b'{"text": "nobody"}\n',
        b'{"video": "a.mp4", "text": "  "}\n',
        b'{"video": "a.mp4", "text": "a", "start": 5, "end": 4}\n',
        b'{"video": "a.mp4", "text": "a", "start": 5}\n',
        b'{"video": "a.mp4", "text": "a", "start": "x", "end": 9}\n',
        b'{"video": "a.mp4", "text": "a", "start": NaN, "end": 9}\n',
        b'{"video": "a.mp4", "text": "a", "start": true, "end": 9}\n',
        b'{"video": "a.mp4", "text": "a", "start": 0, "end": 1' + b"0" * 400 + b"}\n",
        b'{"video": "a.mp4", "text": "a", "start": 0, "end": 1' + b"0" * 5000 + b"}\n",
        b'{"video": "a.mp4", "text": "\xff\xfe"}\n',
        b'{"video": "a.mp4", "text": "\\ud800"}\n',
    ]
    file.write_bytes(bad[0] + b"\n" + good + b"".join(bad[1:]) + good)
    read = read_captions(file)
    assert [item.text for item in read.items] == ["a dog", "a dog"]
    numbers = [1, *range(4, 4 + len(bad) - 1)]
    assert {line.split(": ")[0] for line in read.skipped} == {f"{file}:{n}" for n in numbers}
    assert all("\n" not in line for line in read.skipped)


def test_lines_of_json_documents_are_counted(tmp_path: Path) -> None:
    broken = {**MSRVTT, "sentences": [*MSRVTT["sentences"], {"caption": 3, "video_id": "v"}, 7]}
    file = _write(tmp_path / "a.json", broken)
    lines = file.read_text().splitlines()
    read = read_captions(file)
    assert len(read.items) == 2
    where = next(i for i, line in enumerate(lines, 1) if '"caption": 3' in line) - 1
    assert read.skipped[0] == f"{file}:{where}: has no text"
    assert read.skipped[1].startswith(f"{file}:{lines.index('  7') + 1}: an object is needed")


def test_one_bad_sentence_leaves_the_videos_others(tmp_path: Path) -> None:
    video = {"duration": 10.0, "timestamps": [[5, 1], [1, 5], 3], "sentences": ["a", "b", "c"]}
    read = read_captions(_write(tmp_path / "a.json", {"v_1": video}))
    assert [item.text for item in read.items] == ["b"]
    assert len(read.skipped) == 2


def test_moments_beyond_the_end_are_refused_and_reach_no_further(tmp_path: Path) -> None:
    video = {"duration": 10.0, "timestamps": [[2, 12], [11, 12]], "sentences": ["a", "b"]}
    read = read_captions(_write(tmp_path / "a.json", {"v_1": video}))
    assert read.items == (Caption("v_1", "a", Span(2.0, 10.0)),)
    assert "within the video" in read.skipped[0]


def test_a_folder_of_thumos_lists_is_read_without_the_ambiguous(tmp_path: Path) -> None:
    _write(tmp_path / "Diving_val.txt", "video_validation_0000001 1 2\nvideo_validation_1 x\n")
    _write(tmp_path / "LongJump_val.txt", "video_validation_0000002 3.0 4.5\n")
    _write(tmp_path / "Ambiguous_val.txt", "video_validation_0000002 3.0 4.5\n")
    read = read_captions(tmp_path)
    assert [item.text for item in read.items] == ["diving", "long jump"]
    assert read.skipped == (f"{tmp_path / 'Diving_val.txt'}:2: needs a video, a start and an end",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello world\nthis is prose\n", "no known format"),
        (b"\x00\x01\x02\xff" * 50, "no known format"),
        (b'{"a": 1}', "no known format"),
        (b'{"videos": [', "not valid JSON"),
        (b"[]", "no known format"),
        (b"3", "no known format"),
        (b'{"video": "", "text": "x"}\n', "no caption that can be used"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_files_that_cannot_be_used_are_one_clear_line(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    file = tmp_path / "captions.jsonl"
    file.write_bytes(content)
    with pytest.raises(AnnotationError, match=reason) as caught:
        read_captions(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_files_and_unknown_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="cannot be read: No such file"):
        read_captions(tmp_path / "absent.jsonl")
    with pytest.raises(AnnotationError, match="format 'coco' is unknown"):
        read_captions(_write(tmp_path / "a.jsonl", "x"), "coco")
    with pytest.raises(AnnotationError, match="a folder without"):
        read_captions(tmp_path / "..", "thumos14")
