"""Manifests: they tell all, and the very same skim is made of them again."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer import index_videos
from summarizer import summarize, write_skim
from summarizer.manifest import read_manifest, skim_from_manifest, summary_json
from summarizer.skim import Skim, SkimPart
from vidsift.errors import SummaryError, VidsiftError
from vidsift.library import Library


@pytest.fixture
def indexed(colour_library, tmp_path, make_film):
    for name, shots in (("flag", [("red", 3), ("blue", 3), ("green", 3)]), ("wall", [("cyan", 4)])):
        make_film(tmp_path / "videos" / f"{name}.mp4", shots)
    index_videos(colour_library, [tmp_path / "videos"])
    return colour_library


@pytest.fixture
def skim(indexed) -> Skim:
    video = indexed.video("flag.mp4")
    return Skim.of(video, summarize(indexed, video, "a green one", seconds=2.7))


@pytest.fixture
def manifest(indexed, skim, tmp_path) -> Path:
    return write_skim(indexed, skim, tmp_path / "out", ["json"])["json"]


def spans(skim: Skim) -> list[tuple[str, float, float]]:
    return [
        (part.video.path.name, part.segment.span.start, part.segment.span.end)
        for part in skim.parts
    ]


def test_the_documented_keys(indexed, skim):
    told = summary_json(indexed, skim, {"mp4": Path("/a.mp4"), "png": Path("/a.png")})
    assert told["video_id"] == skim.videos[0].id
    assert told["video"] == str(skim.videos[0].path)
    assert (told["query"], told["matched"]) == ("a green one", skim.matched)
    assert told["duration_seconds"] == pytest.approx(2.7, abs=1e-3)
    assert told["files"] == {"video": "/a.mp4", "storyboard": "/a.png"}
    for segment in told["segments"]:
        assert segment["end_seconds"] > segment["start_seconds"]
        worth = sum(term["value"] * term["weight"] for term in segment["terms"])
        assert worth == pytest.approx(segment["saliency"])
        assert segment["reason"]


def test_the_same_skim_is_made_again_bit_by_bit(indexed, skim, manifest):
    again = skim_from_manifest(indexed, manifest)
    assert again == skim
    # Also by a library that would choose otherwise now.
    with Library.open(indexed.root, encoder="colour", summary_selection="knapsack") as other:
        assert skim_from_manifest(other, manifest) == skim


def test_a_skim_of_several_videos_is_made_again(indexed, skim, tmp_path):
    wall = indexed.video("wall.mp4")
    parts = (*skim.parts, *(SkimPart(wall, s) for s in summarize(indexed, wall).segments))
    several = Skim("two of them", "", parts, 3.3)
    file = write_skim(indexed, several, tmp_path / "out", ["json"])["json"]
    assert skim_from_manifest(indexed, file) == several
    assert json.loads(file.read_bytes())["video"] is None


def test_a_video_is_found_wherever_it_has_gone(indexed, skim, manifest, tmp_path):
    new = tmp_path / "videos" / "below" / "fahne.mp4"
    new.parent.mkdir()
    skim.videos[0].path.rename(new)
    # Still unknown where it went: what is known of it is enough for what needs no video.
    assert spans(skim_from_manifest(indexed, manifest)) == spans(skim)
    index_videos(indexed, [tmp_path / "videos"])
    again = skim_from_manifest(indexed, manifest)
    assert again.videos[0].path == new
    assert again.title == "fahne.mp4"
    assert [span[1:] for span in spans(again)] == [span[1:] for span in spans(skim)]


def test_another_library_that_has_the_video_will_do(
    indexed, skim, manifest, tmp_path, colour_encoder
):
    copied = tmp_path / "elsewhere" / "copy.mp4"
    copied.parent.mkdir()
    copied.write_bytes(skim.videos[0].path.read_bytes())
    with Library.open(tmp_path / "other", create=True, encoder="colour") as other:
        other.__dict__["encoder"] = colour_encoder
        with pytest.raises(SummaryError, match=r"flag\.mp4 is not in .*other, nor"):
            skim_from_manifest(other, manifest)
        index_videos(other, [copied.parent])
        assert skim_from_manifest(other, manifest).videos[0].path == copied


def test_a_video_that_changed_is_refused(indexed, skim, manifest, tmp_path, make_film):
    path = skim.videos[0].path
    make_film(path, [("yellow", 9)])
    with pytest.raises(SummaryError, match="has other content than when it was indexed"):
        skim_from_manifest(indexed, manifest)
    index_videos(indexed, [tmp_path / "videos"])
    with pytest.raises(SummaryError, match=r"flag\.mp4 has changed since the manifest"):
        skim_from_manifest(indexed, manifest)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"\xff\x00 no json", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[1]", "lacks vidsift, video, query"),
        (b'{"segments": []}', "lacks vidsift, video, query"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path, content, words):
    file = tmp_path / "a.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SummaryError, match=words) as caught:
        read_manifest(file)
    assert "\n" not in str(caught.value)


JUNK = st.none() | st.booleans() | st.integers(-5, 10**400) | st.floats() | st.text(max_size=3)
JUNK = JUNK | st.lists(JUNK, max_size=2) | st.dictionaries(st.text(max_size=2), JUNK, max_size=2)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.data())
def test_a_damaged_manifest_is_one_line(indexed, manifest, tmp_path, data):
    whole = json.loads(manifest.read_bytes())
    damaged = copy.deepcopy(whole)
    place = damaged
    while True:
        key = data.draw(
            st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))
        )
        if isinstance(place[key], (dict, list)) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        if data.draw(st.booleans()):
            del place[key]
        else:
            place[key] = data.draw(JUNK)
        break
    file = tmp_path / "damaged.json"
    file.write_text(json.dumps(damaged))
    try:
        made = skim_from_manifest(indexed, file)
    except VidsiftError as error:
        told = str(error)
    else:
        # What was damaged is not what makes the skim, or it is another skim of the same video.
        assert all(part.segment.span.end <= 9.01 for part in made.parts)
        told = f"{file}: {json.dumps(summary_json(indexed, made), allow_nan=False)}"
    assert told.startswith(f"{file}: ")
    assert "\n" not in told
