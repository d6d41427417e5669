"""Search in subtitles, on a real SQLite file and, where there is a server, on PostgreSQL."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsift.errors import VideoNotFoundError
from vidsift.store.catalog import Catalog
from vidsift.store.connection import make_engine, writing
from vidsift.store.folding import fold, fold_words, terms
from vidsift.store.words import WordHit
from vidsift.types import (
    Clip,
    ClipVectors,
    Cue,
    Fingerprint,
    FrameFeatures,
    IndexedVideo,
    Shot,
    Span,
    Summary,
    VideoProbe,
)

LINES = [
    "Good evening, and welcome to the kitchen.",
    "Tonight we cook spaghetti, with a lot of",
    "garlic and olive oil.",
    "Café Zürich: naïve façades, ΑΘΗΝΑ and Ёлка.",
    'He said: "the boiling water" -- NOT (cold) water!',
    "我们在北京大学学习",
    "Don't the dogs of the city bark at the moon?",
    "東京で寿司を食べる",
    "to be or not to be",
    "ฉันรักแมว 😀",
    "हिन्दी में समाचार",
]


def _video(path: str, cues: Sequence[Cue], seed: int = 0) -> IndexedVideo:
    vectors = np.eye(4, dtype=np.float32)[np.arange(len(cues)) % 4]
    features = np.eye(4, dtype=np.float32)[:2]
    return IndexedVideo(
        VideoProbe(
            Path(path), "mp4", "h264", "yuv420p", 64, 48, 0, Fraction(25), 90.0, 0.0, True, False
        ),
        Fingerprint(1000, 1, f"{seed:064x}"),
        90.0,
        (Shot(Span(0.0, 90.0)),),
        (Clip(Span(0.0, 90.0), 0, 0, 2),),
        FrameFeatures(features, np.array([0.0, 1.0])),
        (ClipVectors(features),),
        (b"jpeg",),
        Summary("", (), 1.0),
        cues=tuple(cues),
        cue_vectors=vectors if cues else None,
        subtitles="ab",
    )


def spoken(*lines: str, track: str = "srt", every: float = 3.0) -> list[Cue]:
    return [Cue(Span(every * n, every * n + 2.5), line, track) for n, line in enumerate(lines)]


DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@contextmanager
def _made(database: str, folder: Path) -> Iterator[Catalog]:
    if database == "sqlite":
        with Catalog.create(f"sqlite:///{folder / 'catalog.sqlite3'}") as made:
            yield made
        return
    server = sa.make_url(os.environ["VIDSIFT_TEST_POSTGRES_URL"])
    schema = f"test_{uuid.uuid4().hex}"
    engine = make_engine(server)
    with writing(engine) as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    own = server.update_query_dict({"options": f"-csearch_path={schema}"})
    with Catalog.create(own.render_as_string(hide_password=False)) as made:
        yield made
    with writing(engine) as connection:
        connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@pytest.fixture(params=DATABASES)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    with _made(request.param, tmp_path) as made:
        yield made


@pytest.fixture(scope="module", params=DATABASES)
def library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Catalog]:
    """A catalog of one video that says LINES, for reading."""
    with _made(request.param, tmp_path_factory.mktemp("library")) as made:
        made.commit_video(_video("/v/a.mp4", spoken(*LINES)), "a.npy", "f" * 64)
        yield made


def _lines(hits: list[WordHit]) -> list[str]:
    return [" / ".join(record.cue.text for record in hit.cues) for hit in hits]


# --- folding


def test_words_lose_case_and_accents_but_no_vowels() -> None:
    assert fold("Café ZÜRICH — naïve, Straße! İstanbul") == "cafe zurich naive strasse istanbul"
    assert fold("Ёлка ΑΘΗΝΑ Ἀθήνα") == "елка αθηνα αθηνα"
    assert fold("\uff46\uff55ll ﬁne ½") == "full fine 1 2"
    assert fold_words("हिन्दी") == ["हिन्दी"]
    assert fold_words("2024年abc東京") == ["2024", "年", "abc", "東", "京"]
    assert fold_words("rock'n'roll") == ["rock", "n", "roll"]
    assert fold("\x00\ud800😀 \n\t") == ""


@given(st.text(max_size=60))
def test_folding_is_stable_and_free_of_syntax(text: str) -> None:
    folded = fold(text)
    assert fold(folded) == folded
    assert folded == "" or all(
        word and all(c.isalnum() or not c.isascii() for c in word) for word in folded.split(" ")
    )


def test_terms_are_telling_words_and_pairs_of_characters() -> None:
    assert terms("Who cooks the Crème brûlée?") == [("cooks",), ("creme",), ("brulee",)]
    assert terms("to be or not to be") == [("to",), ("be",), ("or",), ("not",)]
    assert terms("北京大学") == [("北", "京"), ("京", "大"), ("大", "学")]
    assert terms("猫 cat") == [("猫",), ("cat",)]


# --- by words


@pytest.mark.parametrize(
    ("question", "line"),
    [
        ("cook spaghetti", 1),
        ("SPAGHETTI", 1),
        ("cafe zurich", 3),
        ("елка", 3),
        ("αθήνα", 3),
        ("北京", 5),
        ("北京大学", 5),
        ("寿司", 7),
        ("dogs barking at the moon", 6),
        ("แมว", 9),
        ("समाचार", 10),
    ],
)
def test_words_find_their_cue(library: Catalog, question: str, line: int) -> None:
    assert _lines(library.search_words(question, 5)) == [LINES[line]]


def test_common_words_do_not_match_everything(library: Catalog) -> None:
    assert library.search_words("a man and a woman in the street", 5) == []
    assert library.search_words("京北", 5) == []  # both are there, but not side by side
    [hit, *_] = library.search_words("to be or not to be", 5)
    assert _lines([hit]) == [LINES[8]]


def test_rare_words_count_more_than_common_ones(catalog: Catalog) -> None:
    lines = [*["water is here"] * 30, "water with saffron", "saffron alone"]
    catalog.commit_video(_video("/v/a.mp4", spoken(*lines)), "a.npy", "f" * 64)
    assert _lines(catalog.search_words("water saffron", 9)) == [lines[30], lines[31]]


def test_best_first_and_most(catalog: Catalog) -> None:
    lines = ["cat dog", "cat cat dog and many other words that make it long", "cat", "dog"]
    catalog.commit_video(_video("/v/a.mp4", spoken(*lines, *["hen"] * 9)), "a.npy", "f" * 64)
    hits = catalog.search_words("cat dog", 9)
    assert _lines(hits)[0] == "cat dog"
    assert set(_lines(hits)) == set(lines)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert catalog.search_words("cat dog", 2) == hits[:2]
    assert catalog.search_words("cat dog", 0) == []


def test_only_some_videos(catalog: Catalog) -> None:
    first, second = (
        catalog.commit_video(_video(f"/v/{n}.mp4", spoken("a cat"), n), f"{n}.npy", "f" * 64)
        for n in (1, 2)
    )
    assert {hit.video_id for hit in catalog.search_words("cat", 9)} == {first, second}
    assert [hit.video_id for hit in catalog.search_words("cat", 9, [second])] == [second]
    assert [hit.video_id for hit in catalog.search_phrase("cat", 9, [first])] == [first]
    assert catalog.search_words("cat", 9, []) == catalog.search_phrase("cat", 9, []) == []
    assert catalog.cue_vectors([second])[0].shape == (1,)
    catalog.mark_missing([first])
    assert [hit.video_id for hit in catalog.search_words("cat", 9)] == [second]
    assert [hit.video_id for hit in catalog.search_phrase("cat", 9)] == [second]
    assert catalog.num_cues() == len(catalog.cue_vectors()[0]) == 1


HOSTILE = [
    "", "  ", "\n", "...", '"', '""', "'", "a\x00b", "\ud800", "😀",
    "-cat", "cat OR", "NEAR(a b)",
    "words: cat", "cat*", "^cat", "(", ")", "cat AND (dog", "a:b & c | !d <-> e", "%_\\",
    "{a b}: c", "; DROP TABLE cues; --", "x" * 5000,
    "the " * 300, "१२३ ½ ²", "\u0301", "a\u0301" * 50,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_is_safe(library: Catalog, text: str) -> None:
    library.search_words(text, 5)
    library.search_phrase(text, 5)
    assert library.num_cues() == len(LINES)


@settings(max_examples=60)
@given(text=st.text(max_size=30) | st.sampled_from(LINES))
def test_a_text_finds_itself(library: Catalog, text: str) -> None:
    hits = library.search_words(text, len(LINES))
    for phrase in library.search_phrase(text, len(LINES)):
        assert fold(text) in fold(" ".join(record.cue.text for record in phrase.cues))
    if text in LINES:
        assert _lines(hits)[0] == text
        assert _lines(library.search_phrase(text, 5)) == [text]


# --- by phrase


@pytest.mark.parametrize(
    ("phrase", "found"),
    [
        ("boiling water", LINES[4]),
        ("THE BOILING, WATER!", LINES[4]),
        ("water boiling", None),
        ("lot of garlic", f"{LINES[1]} / {LINES[2]}"),
        ("cook spaghetti with a lot of garlic and olive", f"{LINES[1]} / {LINES[2]}"),
        ("lot garlic", None),
        ("京大学", LINES[5]),
        ("大学 学习", LINES[5]),
        ("京学", None),
        ("don't the", LINES[6]),
        ("olive oil cafe", f"{LINES[2]} / {LINES[3]}"),
        ("รัก", LINES[9]),
        ("nothing like it", None),
    ],
)
def test_phrase(library: Catalog, phrase: str, found: str | None) -> None:
    assert _lines(library.search_phrase(phrase, 5)) == ([found] if found else [])


def test_phrase_over_many_cues_has_their_span(catalog: Catalog) -> None:
    words = ["four", "score", "and", "seven", "years", "ago"]
    catalog.commit_video(_video("/v/a.mp4", spoken(*words, every=2.5)), "a.npy", "f" * 64)
    [hit] = catalog.search_phrase("score and seven years", 5)
    assert [record.ordinal for record in hit.cues] == [1, 2, 3, 4]
    assert hit.span == Span(2.5, 12.5)
    assert hit.score == 1.0


def test_phrase_ends_at_silences_and_tracks(catalog: Catalog) -> None:
    cues = [
        *spoken("the end", "of time", track="en", every=60.0),
        *spoken("of time", track="second"),
    ]
    catalog.commit_video(_video("/v/a.mp4", cues), "a.npy", "f" * 64)
    assert catalog.search_phrase("end of", 5) == []
    assert len(catalog.search_phrase("of time", 5)) == 2


def test_purest_phrase_first(catalog: Catalog) -> None:
    lines = ["well then good night to all of you", "good night", "good"]
    catalog.commit_video(_video("/v/a.mp4", spoken(*lines, every=9.0)), "a.npy", "f" * 64)
    assert _lines(catalog.search_phrase("good night", 5)) == [lines[1], lines[0]]


# --- what is kept


def test_cues_come_back_as_they_were(library: Catalog) -> None:
    [video] = library.videos()
    kept = library.cues_of_video(video.id)
    assert [record.cue for record in kept] == spoken(*LINES)
    assert [record.ordinal for record in kept] == list(range(len(LINES)))
    ids, vectors = library.cue_vectors()
    assert ids.tolist() == [record.id for record in kept]
    np.testing.assert_array_equal(vectors[:4], np.eye(4))
    assert library.cues_by_id([ids[3], 10**6, ids[0]]) == [kept[3], kept[0]]
    assert library.subtitle_stamps() == {video.id: "ab"}


def test_odd_text_comes_back_as_it_was(catalog: Catalog) -> None:
    odd = "back\\slash \x00 \ud800 nul"
    video_id = catalog.commit_video(_video("/v/a.mp4", spoken(odd)), "a.npy", "f" * 64)
    assert catalog.cues_of_video(video_id)[0].cue.text == odd
    assert _lines(catalog.search_words("slash nul", 1)) == [odd]


def test_cues_go_with_their_video_and_its_older_version(catalog: Catalog) -> None:
    catalog.commit_video(_video("/v/a.mp4", spoken(*LINES)), "a.npy", "f" * 64)
    [video] = catalog.videos()
    catalog.commit_video(_video("/v/a.mp4", spoken("a new line")), "b.npy", "f" * 64)
    assert catalog.search_words("spaghetti", 5) == []
    assert _lines(catalog.search_words("new line", 5)) == ["a new line"]
    catalog.delete_video(video.id)
    assert catalog.num_cues() == 0
    assert catalog.search_words("new line", 5) == catalog.search_phrase("new line", 5) == []
    _, none = catalog.cue_vectors()
    assert none.shape == (0, 0)


def test_renewed_cues_take_the_place_of_the_old(catalog: Catalog) -> None:
    catalog.commit_video(_video("/v/a.mp4", spoken(*LINES)), "a.npy", "f" * 64)
    [video] = catalog.videos()
    before = catalog.generation()
    vectors = np.eye(4, dtype=np.float32)[:1]
    catalog.renew_cues(
        video.id, spoken("other words"), vectors, subtitles="cd", note="sub.srt: odd"
    )
    [after] = catalog.videos()
    assert (after.note, catalog.subtitle_stamps()) == ("sub.srt: odd", {video.id: "cd"})
    assert catalog.search_words("spaghetti", 5) == []
    assert len(catalog.search_words("other words", 5)) == 1
    now = catalog.generation()
    assert (now.generation, now.deletions) == (before.generation + 1, before.deletions)
    catalog.renew_cues(video.id, [], None, subtitles="ef", note="")
    assert catalog.num_cues() == 0
    with pytest.raises(VideoNotFoundError):
        catalog.renew_cues(999, [], None, subtitles="", note="")
