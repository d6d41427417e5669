"""Pictures and moments as questions, and feedback, on films of plain colours."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer import index_videos
from search.examples import moment_query, parse_moment, picture_query
from search.feedback import refine, without_rejected
from vidsift.errors import QueryError, VideoNotFoundError
from vidsift.library import Library
from vidsift.types import Moment, Span, TextQuery


@pytest.fixture
def films(colour_library: Library, make_film, tmp_path: Path) -> Library:
    """one.mp4: red 4 s, blue 4 s; two@home.mp4: blue 4 s; again.mp4: the red of one.mp4."""
    make_film(tmp_path / "one.mp4", [("red", 4), ("blue", 4)])
    make_film(tmp_path / "two@home.mp4", [("blue", 4)])
    make_film(tmp_path / "again.mp4", [("red", 4)])
    report = index_videos(colour_library, [tmp_path])
    assert not report.failed
    return colour_library


def colour(query: TextQuery) -> str:
    assert np.linalg.norm(query.vector) == pytest.approx(1.0, abs=1e-3)
    return ("red", "green", "blue")[int(np.argmax(query.vector))]


def test_a_moment_is_a_video_and_a_time(films: Library):
    for text, name, seconds in (
        ("one.mp4@5", "one.mp4", 5.0),
        ("one@0:05.5", "one.mp4", 5.5),
        ("one@00:00:07", "one.mp4", 7.0),
        (" two@home.mp4 @ 1.25 ", "two@home.mp4", 1.25),
    ):
        video, at = parse_moment(text, films)
        assert (video.path.name, at) == (name, seconds)
    for text in ("one.mp4", "one.mp4@", "@5", "one@-1", "one@nan", "one@1e3"):
        with pytest.raises(QueryError, match=f"^{text}: expected a video and a time"):
            parse_moment(text, films)
    with pytest.raises(QueryError, match=r"one@8.5: lies beyond .* one\.mp4, which is 0:08\.0"):
        parse_moment("one@8.5", films)
    with pytest.raises(QueryError, match="beyond the end"):
        parse_moment("one@1:00:00", films)


def test_a_moment_of_a_video_that_is_not_there(films: Library):
    with pytest.raises(VideoNotFoundError, match="three"):
        parse_moment("three@1", films)
    films.catalog.mark_missing([films.video("one").id])
    with pytest.raises(QueryError, match="cannot be searched: the file is gone"):
        parse_moment("one@1", films)


def test_a_moment_as_a_question_is_what_is_seen_there(films: Library):
    video = films.video("one.mp4")
    red = moment_query(films, video, 3.9)  # of its own shot, not of the next
    assert red.text == "one.mp4@0:03.9"
    assert [colour(moment_query(films, video, at)) for at in (0.0, 4.1, 7.99)] == [
        "red", "blue", "blue",
    ]  # fmt: skip
    assert red.vector @ moment_query(films, video, 0.0).vector == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("suffix", "mode", "size"),
    [
        (".jpg", "RGB", (900, 600)),
        (".png", "RGBA", (20, 30)),
        (".png", "P", (64, 64)),
        (".webp", "RGB", (40, 40)),
        (".gif", "P", (40, 40)),
        (".tiff", "RGB", (40, 40)),
    ],
)
def test_a_picture_as_a_question(colour_encoder, tmp_path: Path, suffix, mode, size):
    path = tmp_path / f"a{suffix}"
    Image.new("RGB", size, "blue").convert(mode).save(path)
    query = picture_query(path, colour_encoder)
    assert (query.text, colour(query)) == (path.name, "blue")


def test_a_picture_is_seen_upright_and_on_white(colour_encoder, tmp_path: Path, monkeypatch):
    seen: list[np.ndarray] = []
    encode = colour_encoder.encode_frames
    monkeypatch.setattr(
        colour_encoder, "encode_frames", lambda images: seen.append(images[0]) or encode(images)
    )
    turned = Image.new("RGB", (640, 320), "red")
    turned.paste("blue", (0, 0, 320, 320))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise: the left becomes the top
    turned.save(tmp_path / "turned.jpg", exif=exif)
    picture_query(tmp_path / "turned.jpg", colour_encoder)
    assert seen[0].shape == (64, 32, 3)
    assert seen[0][5, 16].argmax() == 2
    assert seen[0][60, 16].argmax() == 0

    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "deep.png")
    picture_query(tmp_path / "clear.png", colour_encoder)
    picture_query(tmp_path / "deep.png", colour_encoder)
    assert seen[1].min() == 255
    assert seen[2].min() == seen[2].max() == 156


def test_what_is_no_picture(colour_encoder, tmp_path: Path):
    whole = tmp_path / "whole.jpg"
    Image.effect_noise((200, 200), 90).save(whole)
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    Image.new("L", (10, 4000)).save(tmp_path / "narrow.png")
    Image.new("1", (20_000, 6_000)).save(tmp_path / "large.png")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    for name, expected in {
        "gone.png": "cannot be read: No such file",
        ".": "cannot be read: Is a directory",
        "pipe.png": "is no picture but a pipe",
        "text.png": "is no picture that can be read; use JPEG, PNG",
        "empty.png": "is no picture",
        "cut.jpg": "cannot be read: .*truncated",
        "narrow.png": "one side more than 20 times",
        "large.png": "20000 x 6000 pixels, 100 million are the most",
        "huge.png": "too many pixels",
    }.items():
        with pytest.raises(QueryError, match=expected) as caught:
            picture_query(tmp_path / name, colour_encoder)
        assert str(tmp_path) in str(caught.value)


def test_feedback_moves_a_question_towards_and_away(films: Library):
    one, grey = films.video("one"), TextQuery("a thing", np.full(3, 3**-0.5, np.float32))
    red, blue = (one, 1.0), (one, 5.0)
    liked = refine(grey, films, [red], [])
    assert (liked.text, colour(liked)) == ("a thing", "red")
    both = refine(grey, films, [red], [blue])
    assert both.vector[2] < liked.vector[2]
    disliked = refine(grey, films, [], [red])
    assert disliked.vector[0] < grey.vector[0] < disliked.vector[2]
    unmoved = refine(grey, films, [], [])
    np.testing.assert_allclose(unmoved.vector, grey.vector, atol=1e-6)


def moment(films: Library, name: str, start: float, end: float) -> Moment:
    video = films.video(name)
    clip = next(
        each
        for each in films.catalog.clips_of_video(video.id)
        if each.clip.span.start <= start < each.clip.span.end
    )
    return Moment(video.id, clip.id, Span(start, end), start, 0.5)


def test_what_was_rejected_and_what_looks_the_same_is_left_out(films: Library):
    moments = [
        moment(films, "one", 0.0, 4.0),
        moment(films, "one", 4.0, 8.0),
        moment(films, "again", 0.0, 4.0),
        moment(films, "two@home", 0.0, 4.0),
    ]
    assert list(without_rejected(moments, films, [])) == moments
    left = list(without_rejected(moments, films, [(films.video("one"), 2.0)]))
    assert left == [moments[1], moments[3]]
