"""Skims of several videos: one film, its segments labelled with where they come from."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from indexer import index_videos
from summarizer.label import draw_label
from summarizer.render import render_skim
from summarizer.skim import Skim, SkimPart
from vidsift.errors import MediaError
from vidsift.media.frames import decode
from vidsift.media.probe import probe
from vidsift.types import Segment, Span


@pytest.fixture
def several(colour_library, tmp_path, make_film):
    shots = [("red", 3), ("blue", 3), ("green", 3)]
    make_film(tmp_path / "videos" / "flag.mp4", shots, sound=True, size="320x180")
    make_film(tmp_path / "videos" / "mute.mkv", shots, size="180x320")
    index_videos(colour_library, [tmp_path / "videos"])
    return colour_library


def _skim(library, *places) -> Skim:
    parts = tuple(
        SkimPart(library.video(name), Segment(Span(start, end), 1.0)) for name, start, end in places
    )
    return Skim("several", "", parts, 10.0)


def _frames(path):
    with decode(probe(path), sample_rate=10.0, short_side=180) as frames:
        return np.stack([frame.sample for frame in frames])


def test_segments_of_several_videos_are_labelled(several, tmp_path):
    places = [("flag.mp4", 3.0, 6.0), ("mute.mkv", 0.0, 3.0), ("flag.mp4", 6.0, 7.0)]
    skim = _skim(several, *places)
    told: list[float] = []
    render_skim(several, skim, tmp_path / "out.mp4", progress=told.append)
    made = probe(tmp_path / "out.mp4")
    assert (made.width, made.height, made.has_audio) == (320, 180, True)
    frames = _frames(tmp_path / "out.mp4")
    assert len(frames) == 70
    assert told[-1] == 1.0
    corner = frames[:, 165:175, 10:60].min(axis=3).max(axis=(1, 2)) > 150  # white letters
    shown = [bool(lit) for lit in corner[[5, 20, 27, 35, 50, 58, 65]]]
    assert shown == [True, True, False, True, True, False, True]
    # At the joint of blue and red nothing of the next shot, green, is seen.
    middle = frames[28:33, 60:120, 150:170].mean(axis=(1, 2))
    assert middle[:, 1].max() < 20


def test_a_skim_of_one_video_has_no_labels(several, tmp_path):
    skim = _skim(several, ("flag.mp4", 3.0, 5.0), ("flag.mp4", 6.0, 8.0))
    render_skim(several, skim, tmp_path / "out.mp4")
    frames = _frames(tmp_path / "out.mp4")
    assert len(frames) == 40
    assert frames[:, 165:175, 10:60].min(axis=3).max() < 60


def test_each_video_is_looked_for(several, tmp_path):
    skim = _skim(several, ("flag.mp4", 3.0, 5.0), ("mute.mkv", 6.0, 8.0))
    several.video("mute.mkv").path.unlink()
    with pytest.raises(MediaError, match=r"mute\.mkv: is gone"):
        render_skim(several, skim, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_a_long_name_loses_its_middle():
    short, long = (Image.open(io.BytesIO(draw_label(text))) for text in ("a.mp4", "n" * 200))
    assert short.mode == long.mode == "RGBA"
    assert short.width < long.width < 1280
    assert abs(short.height - long.height) < 20
