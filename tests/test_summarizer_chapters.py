"""Chapters: where they begin, what they are called, and the files that players read."""

from __future__ import annotations

import itertools
import re
import subprocess
from itertools import pairwise

import imageio_ffmpeg
import numpy as np
import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import index_videos
from summarizer.chapter_edges import LEAST_SECONDS, candidate_edges, divide, least_scatter
from summarizer.chapter_files import as_ffmetadata, as_vtt, as_youtube
from summarizer.chapter_titles import SURE, Prototypes, picture_titles
from summarizer.chapters import Chapter, chapters_of
from summarizer.key_phrases import KeyPhrase, key_phrases, lines_with
from summarizer.sentences import Sentence
from vidsift.errors import SummaryError
from vidsift.types import Cue, Shot, Span

FFMPEG = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]


def shots_of(*edges: float) -> list[Shot]:
    return [Shot(Span(float(a), float(b))) for a, b in pairwise(edges)]


def cue(start: float, end: float, text: str = "words") -> Cue:
    return Cue(Span(float(start), float(end)), text)


def film_of(lengths: list[int], noise: float = 0.3, seed: int = 0) -> np.ndarray:
    """Vectors of atoms: scenes about a mean of their own, with noise about it."""
    random = np.random.default_rng(seed)
    scenes = random.normal(size=(len(lengths), 24))
    vectors = np.repeat(scenes, lengths, axis=0)
    return vectors + noise * random.normal(size=vectors.shape)


@pytest.mark.parametrize("lengths", [[8, 8, 8], [4, 12, 5, 9, 6], [20, 3], [3] * 12])
def test_scenes_are_found(lengths):
    vectors = film_of(lengths)
    found = divide(vectors, np.full(len(vectors), 4.0), np.ones(len(vectors), bool))
    assert found == [0, *np.cumsum(lengths)[:-1].tolist()]


def test_what_is_alike_or_changes_all_the_time_stays_whole():
    ever = np.ones(40, bool)
    whole = 0
    for seed in range(12):
        random = np.random.default_rng(seed)
        alike = np.tile(random.normal(size=24), (40, 1))
        assert divide(alike, np.full(40, 4.0), ever) == [0]
        changing = random.normal(size=(40, 24))
        whole += divide(changing, np.full(40, 4.0), ever) == [0]
    assert whole >= 9  # chance goes beyond two standard deviations now and then
    # Also where there are more edges than compete.
    random = np.random.default_rng(0)
    assert len(divide(random.normal(size=(900, 24)), np.full(900, 4.0), np.ones(900, bool))) < 5


@given(st.data())
def test_divisions_respect_where_and_how_long(data):
    count = data.draw(st.integers(1, 40))
    seconds = np.array(data.draw(st.lists(st.floats(0.3, 20), min_size=count, max_size=count)))
    may_begin = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    vectors = np.random.default_rng(count).normal(size=(count, 4))
    found = divide(vectors, seconds, may_begin)
    assert found[0] == 0
    assert found == sorted(set(found))
    assert all(may_begin[place] for place in found[1:])
    if len(found) > 1:
        assert np.add.reduceat(seconds, found).min() >= LEAST_SECONDS - 1e-6
    assert divide(vectors, seconds, may_begin) == found


@given(st.integers(2, 8), st.integers(0, 1000))
def test_least_scatter_is_the_least(edges, seed):
    random = np.random.default_rng(seed)
    costs = np.where(random.random((edges, edges)) < 0.2, np.inf, random.random((edges, edges)))
    costs[np.tril_indices(edges)] = np.inf
    costs[0, -1] = 1.0
    found = least_scatter(costs)[:, -1]
    for chapters in range(1, edges):
        least = min(
            sum(costs[a, b] for a, b in pairwise([0, *inner, edges - 1]))
            for inner in itertools.combinations(range(1, edges - 1), chapters - 1)
        )
        if chapters > len(found):
            assert np.isinf(least)
            break
        assert found[chapters - 1] == pytest.approx(least)


def test_two_hours_are_divided_at_once():
    vectors = film_of([60] * 25)
    found = divide(vectors, np.full(1500, 4.8), np.ones(1500, bool))
    assert found == list(range(0, 1500, 60))


@pytest.mark.parametrize(
    ("shots", "cues", "edges"),
    [
        ([0, 5, 9], [], [5]),
        ([0, 20], [cue(0, 5), cue(7, 9)], [7]),
        ([0, 20], [cue(0, 5, "It ends."), cue(5, 9, "and goes on"), cue(9, 12)], [5]),
        # A clean cut near a pause is the edge; a cut within a line gives way to a pause near it.
        ([0, 6.5, 20], [cue(0, 6), cue(7.5, 9)], [6.5]),
        ([0, 8, 20], [cue(0, 5), cue(7, 9)], [7]),
        # A cut within a line is an edge where nothing better is near.
        ([0, 8, 20], [cue(0, 15)], [8]),
    ],
)
def test_chapters_may_begin_at_cuts_and_pauses(shots, cues, edges):
    assert candidate_edges(shots_of(*shots), cues) == edges


def prototypes_of(*texts: str, same: float = 0.9) -> Prototypes:
    return Prototypes(texts, np.eye(len(texts), dtype=np.float32), same)


def test_a_title_near_to_everything_is_not_taken():
    prototypes = prototypes_of("a hub", "a dog", *(f"thing {n}" for n in range(40)))
    own = np.full((1, 42), 0.1, np.float32)
    own[0, :2] = 0.5, 0.45
    [title] = picture_titles(prototypes, own, np.empty((0, 42), np.float32))
    assert title.text == "a hub"
    others = np.full((20, 42), 0.1, np.float32)
    others[:, 0] = 0.5
    [title] = picture_titles(prototypes, own, others)
    assert title.text == "a dog"
    assert title.confidence > SURE


def test_nothing_is_sure_where_nothing_stands_out():
    prototypes = prototypes_of(*(f"thing {n}" for n in range(900)))
    scores = np.random.default_rng(0).normal(0.2, 0.05, (4, 900)).astype(np.float32)
    titles = picture_titles(prototypes, scores, np.empty((0, 900), np.float32))
    assert max(title.confidence for title in titles) < SURE
    assert len({title.text for title in titles}) == 4


def test_one_subject_titles_one_chapter():
    prototypes = prototypes_of("a dog", *(f"thing {n}" for n in range(60)))
    scores = np.full((2, 61), 0.1, np.float32)
    scores[:, 0] = 0.5
    scores[0, 1] = 0.45
    first, second = picture_titles(prototypes, scores, np.empty((0, 61), np.float32))
    assert second.text == "a dog"
    assert second.confidence > SURE > first.confidence
    assert picture_titles(prototypes, scores[:0], scores) == []


def sentences(*texts: str) -> list[Sentence]:
    vectors = np.eye(len(texts), dtype=np.float32)
    return [Sentence(Span(float(n), n + 1.0), text, vectors[n]) for n, text in enumerate(texts)]


def phrases_of(lines: list[Sentence], elsewhere: list[str]) -> list[KeyPhrase]:
    texts = [*(line.text for line in lines), *elsewhere]
    return key_phrases(lines, lines_with(texts), len(texts))


def test_the_phrase_that_tells_is_taken():
    lines = sentences(
        "And now, the solar panels are on the roof.",
        "You see that the solar panels need light",
        "you see how it is",
    )
    elsewhere = [f"you see how it is on the roof {n}" for n in range(20)]
    best, *_ = phrases_of(lines, elsewhere)
    assert "solar panels" in best.text
    assert best.confidence > 0.9
    spoken_all_over = phrases_of(sentences("on the roof"), elsewhere)
    assert all(phrase.confidence <= SURE for phrase in spoken_all_over)
    assert phrases_of(sentences("it is on the ... 42!"), []) == []
    assert phrases_of([], elsewhere) == []


@given(st.lists(st.text(max_size=120), min_size=1, max_size=6), st.lists(st.text(max_size=40)))
def test_phrases_are_as_spoken(texts, elsewhere):
    spoken = [" ".join(text.split()) for text in texts]
    for phrase in phrases_of(sentences(*texts), elsewhere):
        assert any(phrase.text in text for text in spoken)
        assert 0 <= phrase.confidence <= 1
        assert 0 < len(phrase.text) <= 60


@pytest.fixture(scope="module")
def films(tmp_path_factory, make_film):
    """Four scenes of two colours in turns, and a film in one colour."""
    folder = tmp_path_factory.mktemp("films")
    scenes = [("red", "blue"), ("green", "yellow"), ("blue", "cyan"), ("magenta", "white")]
    make_film(folder / "scenes.mp4", [(c, 2.5) for pair in scenes for c in pair * 3])
    make_film(folder / "one.mp4", [("red", 14)])
    return folder


def test_a_film_is_divided_and_titled(colour_library, films):
    index_videos(colour_library, [films])
    video = colour_library.video("scenes.mp4")
    chapters = chapters_of(colour_library, video)
    assert [c.span.start for c in chapters] == pytest.approx([0, 15, 30, 45], abs=0.11)
    assert chapters[0].span.start == 0
    assert chapters[-1].span.end == pytest.approx(video.duration_seconds)
    assert all(a.span.end == b.span.start for a, b in pairwise(chapters))
    cuts = {shot.span.start for shot in colour_library.catalog.shots_of_video(video.id)}
    assert {c.span.start for c in chapters} <= cuts
    assert len({c.title for c in chapters}) == len(chapters)
    for number, chapter in enumerate(chapters, 1):
        if chapter.source == "none":
            assert (chapter.title, chapter.confidence) == (f"Chapter {number}", 0.0)
        else:
            assert chapter.confidence >= SURE
    [one] = chapters_of(colour_library, colour_library.video("one.mp4"))
    assert one.span == Span(0.0, colour_library.video("one.mp4").duration_seconds)
    assert (one.source, "red" in one.title.split()) == ("picture", True)


def test_speech_divides_and_titles_a_single_shot(colour_library, make_film, tmp_path):
    make_film(tmp_path / "talk.mp4", [("white", 60)])
    said = [(start, "our red wagon rolls") for start in range(0, 30, 3)]
    said += [(start, "some green frogs jump") for start in range(30, 60, 3)]
    (tmp_path / "talk.srt").write_text(
        "".join(
            f"{n}\n00:00:{start:02d},000 --> 00:00:{start + 2:02d},000\n{text}.\n\n"
            for n, (start, text) in enumerate(said, 1)
        )
    )
    index_videos(colour_library, [tmp_path])
    first, second = chapters_of(colour_library, colour_library.video("talk.mp4"))
    assert second.span.start == pytest.approx(30, abs=0.11)
    assert (first.title, first.source) == ("red wagon rolls", "speech")
    assert (second.title, second.source) == ("green frogs jump", "speech")
    assert first.confidence > 0.9


def test_a_failed_video_has_no_chapters(colour_library, tmp_path):
    (tmp_path / "no.mp4").write_bytes(b"no video")
    index_videos(colour_library, [tmp_path])
    with pytest.raises(SummaryError, match=r"no\.mp4: was not indexed"):
        chapters_of(colour_library, colour_library.video("no.mp4"))


HOSTILE = ["a = b; c # d \\ e", "two\nlines\x00\x1b[31m <b>&amp; --> x\u2028y", "Über Ünïcode 日本"]


@pytest.fixture
def hostile() -> list[Chapter]:
    spans = [Span(0.0, 10.5), Span(10.5, 3700.25), Span(3700.25, 7300.0)]
    return [Chapter(s, t, 0.9, "speech") for s, t in zip(spans, HOSTILE, strict=True)]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_ffmetadata_is_read_back_by_ffmpeg(make, hostile, tmp_path, suffix):
    metadata = tmp_path / "chapters.txt"
    metadata.write_text(as_ffmetadata(hostile), encoding="utf-8")
    film = make(f"film.{suffix}", "-f", "lavfi", "-i", "color=red:s=32x32:r=1/20:d=7300")
    out = tmp_path / f"out.{suffix}"
    subprocess.run(
        [*FFMPEG, "-i", film, "-i", metadata, "-map", "0", "-map_chapters", "1", "-c", "copy", out],
        check=True,
    )
    shown = subprocess.run(
        [FFMPEG[0], "-hide_banner", "-i", out], capture_output=True, text=True, check=False
    ).stderr
    times = re.findall(r"Chapter #0:\d+: start ([\d.]+), end ([\d.]+)", shown)
    assert [(float(a), float(b)) for a, b in times] == [
        (0.0, 10.5), (10.5, 3700.25), (3700.25, 7300.0),
    ]  # fmt: skip
    titles = re.findall(r"Chapter #.*\n +Metadata:\n +title +: (.*)\n", shown)
    assert titles == [HOSTILE[0], "two lines [31m <b>&amp; --> x y", HOSTILE[2]]


def test_vtt_is_read_back(hostile):
    text = as_vtt(hostile)
    assert text.startswith("WEBVTT\n\n1\n00:00:00.000 --> 00:00:10.500\na = b; c # d \\ e\n\n2\n")
    assert "&lt;b&gt;&amp;amp; --&gt; x y\n" in text
    read = pysubs2.SSAFile.from_string(text, format_="vtt")
    assert [(each.start, each.end) for each in read] == [
        (0, 10_500), (10_500, 3_700_250), (3_700_250, 7_300_000),
    ]  # fmt: skip


def test_youtube_lines(hostile):
    assert as_youtube(hostile) == (
        "0:00 a = b; c # d \\ e\n"
        "0:10 two lines [31m ‹b›&amp; --› x y\n"  # noqa: RUF001
        "1:01:40 Über Ünïcode 日本\n"
    )


@given(st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_titles_take_one_line(titles):
    chapters = [Chapter(Span(10.0 * n, 10.0 * n + 10), t, 0.9, "speech") for n, t in
                enumerate(titles)]  # fmt: skip
    assert len(as_youtube(chapters).splitlines()) == len(titles)
    assert len(as_ffmetadata(chapters).splitlines()) == 1 + 5 * len(titles)
    assert len(as_vtt(chapters).splitlines()) == 1 + 4 * len(titles)
