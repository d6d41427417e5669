"""From cues that were found to moments, with a real catalog for what is read from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from indexer.pipeline import index_videos
from search.words import CueVectors, find_spoken, said_together, spoken_moments
from vidsift.library import Library
from vidsift.store.folding import terms
from vidsift.store.words import WordHit
from vidsift.types import Clip, ClipRecord, Cue, CueRecord, EncoderStamp, Span

MakeFilm = Callable[..., Path]


def clips(video: int, *edges: float) -> list[ClipRecord]:
    return [
        ClipRecord(
            100 * video + n, video, Path("/v"), n, Clip(Span(a, b), 0, n, 1), np.array([a]), "f"
        )
        for n, (a, b) in enumerate(pairwise(edges))
    ]


def hit(video: int, start: float, end: float, text: str = "hey", score: float = 0.8) -> WordHit:
    number = int(1000 * video + 10 * start)
    return WordHit((CueRecord(number, video, 0, Cue(Span(start, end), text, "en")),), score)


def test_moment_takes_the_span_and_clip_of_its_cue() -> None:
    asked = []

    def clips_of(video: int) -> Sequence[ClipRecord]:
        asked.append(video)
        return clips(video, 0.0, 4.0, 8.0)

    found = list(spoken_moments([hit(1, 3.0, 6.0), hit(2, 0.5, 2.0), hit(1, 6.5, 8.0)], clips_of))
    assert [(each.moment.video_id, each.moment.clip_id) for each in found] == [
        (1, 101), (2, 200), (1, 101),
    ]  # fmt: skip
    assert found[0].moment.span == found[0].cue.span == Span(3.0, 6.0)
    assert (found[0].moment.peak_seconds, found[0].moment.score) == (3.0, 0.8)
    assert asked == [1, 2]


@pytest.mark.parametrize(
    ("cue", "wide"),
    [
        (Span(2.0, 2.4), Span(1.7, 2.7)),
        (Span(0.1, 0.3), Span(0.0, 1.0)),
        (Span(7.8, 8.0), Span(7.0, 8.0)),
        (Span(3.0, 4.0), Span(3.0, 4.0)),
    ],
)
def test_moment_is_long_enough_to_be_seen(cue: Span, wide: Span) -> None:
    [found] = spoken_moments([hit(1, cue.start, cue.end)], lambda _: clips(1, 0.0, 4.0, 8.0))
    assert found.moment.span.start == pytest.approx(wide.start)
    assert found.moment.span.end == pytest.approx(wide.end)
    assert found.cue.span == cue


def test_short_video_has_short_moments() -> None:
    [found] = spoken_moments([hit(1, 0.1, 0.3)], lambda _: clips(1, 0.0, 0.6))
    assert found.moment.span == Span(0.0, 0.6)


def test_one_time_counts_once_and_lost_videos_not() -> None:
    hits = [
        hit(1, 1.0, 3.0, "hello"),
        hit(1, 1.1, 3.2, "bonjour"),
        hit(2, 1.0, 2.0),
        hit(1, 5.0, 6.0),
    ]
    found = list(spoken_moments(hits, lambda video: clips(1, 0.0, 8.0) if video == 1 else []))
    assert [each.cue.text for each in found] == ["hello", "hey"]


def test_phrases_said_together() -> None:
    first = [hit(1, 0.0, 2.0, "a"), hit(1, 100.0, 102.0, "a"), hit(2, 0.0, 2.0, "a", 0.5)]
    second = [hit(1, 11.0, 13.0, "b"), hit(1, 105.0, 106.0, "c"), hit(1, 60.0, 61.0, "d")]
    found = said_together([first, second])
    assert [[record.cue.text for record in each.cues] for each in found] == [["a", "b"], ["a", "c"]]
    assert found[0].span == Span(0.0, 13.0)
    assert said_together([first, [hit(1, 12.1, 13.0)]]) == []
    assert said_together([first]) == first
    assert said_together([]) == said_together([first, []]) == []


class Thesaurus:
    """Telling words of one meaning have one direction, others each their own, drawn at random."""

    stamp = EncoderStamp("thesaurus", "0" * 64, 256, "words")
    picture_size = 32
    SAME: ClassVar = {"feline": "cat", "kitten": "cat", "slumbers": "sleeps", "naps": "sleeps"}

    def encode_frames(self, images: np.ndarray) -> np.ndarray:
        return self.encode_texts(["frame"] * len(images))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        telling = [[word for [word] in terms(text)] for text in texts]
        rows = [sum(self._word(self.SAME.get(word, word)) for word in each) for each in telling]
        vectors = np.array(rows, dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def close(self) -> None:
        pass

    @staticmethod
    def _word(word: str) -> np.ndarray:
        return np.random.default_rng(list(word.encode())).normal(size=256)


def _speak(library: Library, film: Path, *lines: str) -> None:
    """The video says these lines, three seconds apart."""
    film.with_suffix(".srt").write_text(
        "".join(
            f"{n}\n00:00:{3 * n:02},000 --> 00:00:{3 * n + 2:02},000\n{line}\n\n"
            for n, line in enumerate(lines)
        )
    )
    index_videos(library, [film])


def _said(hits: Sequence[WordHit]) -> list[str]:
    return [hit.cues[0].cue.text for hit in hits]


@pytest.mark.slow
def test_words_and_meaning_find_what_is_said(
    tmp_path: Path, make_film: MakeFilm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDSIFT_CACHE", str(tmp_path / "cache"))
    lines = [
        "the kitten naps quietly",
        "a cat sleeps",
        "and now the weather",
        "an old engine",
        "engine of the old tram",
    ]
    with Library.open(tmp_path / "library", create=True, encoder="thesaurus") as library:
        library.__dict__["encoder"] = Thesaurus()
        film, other = (make_film(tmp_path / f"{name}.mp4", [("gray", 16.0)]) for name in ("a", "b"))
        assert find_spoken(library, "cat", 5) == []
        _speak(library, film, *lines)
        # Of both rankings first; then those of one.
        assert _said(find_spoken(library, "the feline sleeps", 5)) == [lines[1], lines[0]]
        assert library.catalog.search_words("the feline slumbers", 5) == []
        assert _said(find_spoken(library, "the feline slumbers", 5)) == [lines[1], lines[0]]
        assert _said(find_spoken(library, "the feline slumbers", 1)) == [lines[1]]
        cat = library.encoder.encode_texts(["cat sleeps"])[0]
        assert _said(find_spoken(library, "unheard of", 1, vector=cat)) == [lines[1]]
        assert _said(find_spoken(library, "old tram", 1)) == [lines[4]]
        assert _said(find_spoken(library, "old engine", 5)) == [lines[3], lines[4]]
        assert find_spoken(library, "two people who dance", 5) == []
        assert find_spoken(library, "?!", 5) == find_spoken(library, "cat", 0) == []
        _speak(library, other, "one feline")
        mine, others = (library.catalog.video_by_path(path) for path in (film, other))
        assert mine is not None
        assert others is not None
        assert _said(find_spoken(library, "cat", 5, [others.id])) == ["one feline"]
        assert "one feline" not in _said(find_spoken(library, "cat", 5, frozenset([mine.id])))
        assert find_spoken(library, "cat", 5, []) == []
        monkeypatch.setattr("search.words._MOST_CUES", 5)
        assert find_spoken(library, "the feline slumbers", 5) == []


def test_nearest_in_meaning_follow_the_library(
    colour_library: Library, make_film: MakeFilm, tmp_path: Path
) -> None:
    films = tmp_path / "films"
    make_film(films / "a.mp4", [("gray", 9.0)])
    sidecar = films / "a.srt"
    sidecar.write_text(
        "1\n00:00:01,000 --> 00:00:02,000\nso very red\n\n"
        "2\n00:00:04,000 --> 00:00:05,000\nall blue\n"
    )
    index_videos(colour_library, [films])
    nearest = CueVectors(colour_library.catalog)
    red = colour_library.encoder.encode_texts(["red"])[0]
    [best, other] = nearest.nearest(red, 5)
    assert best.cues[0].cue.text == "so very red"
    assert best.score == pytest.approx(1.0, abs=1e-3)
    assert other.score < 0.1
    assert nearest.nearest(red, 5, at_least=0.5) == [best]
    assert nearest.nearest(red, 1) == [best]
    sidecar.write_text("1\n00:00:01,000 --> 00:00:02,000\nred once more\n")
    index_videos(colour_library, [films])
    assert _said(nearest.nearest(red, 5)) == ["red once more"]
    sidecar.unlink()
    index_videos(colour_library, [films])
    assert nearest.nearest(red, 5) == []
