"""Standing questions: what alerts in a new video, and that what has no reason to seldom does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.feature_videos import put_video
from search.rerank import score_clips
from search.standing import check_question, check_rate, standing_matches
from search.trust import false_alarm_rates
from vidsift.errors import QueryError, QuestionSyntaxError
from vidsift.library import Library
from vidsift.models.learned_attention import MultiHeadPool
from vidsift.store.tags import change_tags
from vidsift.types import Cue, Span

DIMENSION = 32


@pytest.fixture
def library(axes_library: Library) -> Library:
    """30 videos of one clip each that show something at random, but axis 31 in all of them."""
    for number in range(30):
        put_video(axes_library, f"old{number}", alike(number))
    return axes_library


def alike(seed: int, frames: int = 4) -> np.ndarray:
    """Frames that show one thing, and all films the same in part."""
    random = np.random.default_rng(seed)
    shown = random.standard_normal(DIMENSION) + 2 * np.eye(DIMENSION)[31]
    return shown + random.standard_normal((frames, DIMENSION)) * 0.1


def axis(number: int, frames: int = 4, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.eye(DIMENSION)[number] * 5 + random.standard_normal((frames, DIMENSION)) * 0.3


def found(library: Library, question: str, video: int, rate: float = 0.01) -> list[Span]:
    return [each.moment.span for each in standing_matches(library, question, rate, [video])]


def test_a_new_video_answers_what_it_shows_and_nothing_else(library: Library) -> None:
    frames = np.concatenate([alike(100, 16), axis(3), alike(101, 16)])
    new = put_video(library, "new", frames)
    [match] = standing_matches(library, "axis 3", 0.01, [new])
    assert match.moment.span.overlap(Span(16.0, 20.0)) > 2.0
    assert (match.moment.video_id, match.video) == (new, Path("/videos/new.mp4"))
    assert match.false_alarm_rate == pytest.approx(0.0034, abs=1e-4)
    assert match.thumbnail.name == "00004.jpg"
    assert found(library, "axis 4", new) == []
    assert standing_matches(library, "axis 3", 0.01, [1, 2, 3]) == []


@pytest.mark.slow
def test_at_most_the_chosen_share_of_questions_without_an_answer_alerts(library: Library) -> None:
    rates = [
        min((each.false_alarm_rate for each in answer), default=1.0)
        for video in (1, 2, 3, 4)
        for question in range(120)
        for answer in [standing_matches(library, f"unheard of {question}", 0.2, [video])]
    ]
    # Of 480 draws 5 % are 24, with a standard deviation of 4.8.
    assert 5 <= sum(rate <= 0.05 for rate in rates) <= 36
    assert sum(rate <= 0.2 for rate in rates) <= 120


@pytest.mark.slow
def test_what_all_videos_show_raises_no_alert(library: Library) -> None:
    videos = list(range(1, 11))
    assert len(standing_matches(library, "axis 31", 0.05, videos)) <= 2
    # By the null distribution of a search that has one video as its scope, most would alert.
    vector = library.encoder.encode_texts(["axis 31"])
    lowest = []
    for video in videos:
        records = library.catalog.clips_of_video(video)
        scored = score_clips(vector, records, library.features, library.pooler)
        rates = false_alarm_rates(library, records, scored.scores, frozenset({video}))
        assert rates is not None
        lowest.append(rates.min())
    assert sum(rate <= 0.05 for rate in lowest) >= 5


def test_the_first_video_of_a_library(axes_library: Library) -> None:
    new = put_video(axes_library, "new", axis(3, 8))
    assert len(found(axes_library, "axis 3", new)) == 1
    assert found(axes_library, "axis 4", new) == []


def test_a_library_too_large_to_be_scored_exactly(library: Library) -> None:
    new = put_video(library, "new", np.concatenate([axis(5, 8), axis(3, 8, 1)]))
    exact = standing_matches(library, "axis 3", 0.01, [new])
    settings = library.settings.model_copy(update={"exact_clips": 8})
    library.settings = settings
    [indexed] = standing_matches(library, "axis 3", 0.01, [new])
    assert indexed == exact[0]
    library.settings = settings.model_copy(update={"exact_clips": 0})
    [match] = standing_matches(library, "axis 3", 0.05, [new])  # a video of a day or more
    assert match.moment.span.overlap(Span(8.0, 16.0)) > 4.0


def test_a_learned_pooler_is_judged_by_its_own_scores(library: Library) -> None:
    new = put_video(library, "new", np.concatenate([axis(5, 8), axis(3, 8, 1)]))
    library.__dict__["pooler"] = MultiHeadPool.identity(DIMENSION)
    [match] = standing_matches(library, "axis 3", 0.01, [new])
    assert match.moment.span.overlap(Span(8.0, 16.0)) > 4.0
    assert found(library, "axis 9", new) == []


def test_the_whole_grammar(library: Library) -> None:
    new = put_video(library, "new", np.concatenate([axis(3, 8), axis(4, 8, 1), axis(5, 8, 2)]))
    [match] = standing_matches(library, '"axis 3" THEN "axis 5"', 0.01, [new])
    assert [part.span.start for part in match.parts] == [0.0, 16.0]
    assert found(library, '"axis 3" THEN "axis 9"', new) == []
    assert found(library, '"axis 3" AND "axis 9"', new) == []
    assert found(library, "axis 3 video:new", new) != []
    assert found(library, "axis 3 video:old7", new) == []
    with pytest.raises(QueryError, match="no video has this tag"):
        found(library, "axis 3 tag:front", new)
    change_tags(library.catalog, [new], add=["front"])
    assert found(library, "axis 3 tag:front", new) != []
    with pytest.raises(QuestionSyntaxError):
        found(library, '"axis 3', new)


def test_spoken_words_count(library: Library) -> None:
    cues = (Cue(Span(2.0, 4.0), "Help, the parrot is gone!"), Cue(Span(9.0, 11.0), "A dog."))
    new = put_video(library, "new", alike(100, 24), *cues)
    [said] = standing_matches(library, 'said:"the parrot"', 0.01, [new])
    assert (said.moment.span, said.false_alarm_rate) == (Span(2.0, 4.0), None)
    assert said.cue == cues[0]
    assert found(library, 'said:"a parrot"', new) == []
    [said] = standing_matches(library, "the dog", 0.01, [new])  # all words that count are said
    assert said.cue is not None
    assert said.cue.text == "A dog."
    assert found(library, "a dog on a red carpet", new) == []
    assert found(library, 'said:"the parrot" axis 3', new) == []  # and must be seen, too


def test_a_damaged_video_does_not_keep_others_from_being_asked(library: Library) -> None:
    new = put_video(library, "new", axis(3, 8))
    (library.root / "features" / "old3.npy").write_bytes(b"no features")
    assert len(found(library, "axis 3", new)) == 1
    (library.root / "features" / "new.npy").write_bytes(b"no features")
    library.features.close()
    library.catalog.mark_missing([1])
    assert found(library, "axis 3", new) == []


@pytest.mark.parametrize("rate", [0.0, 0.003, 1.0, float("nan")])
def test_a_rate_that_cannot_be_told(rate: float) -> None:
    check_rate(0.0035)
    with pytest.raises(QueryError, match=r"must be from 0\.0035, the lowest that can be told"):
        check_rate(rate)


def test_a_question_that_can_never_be_asked() -> None:
    check_question('"a dog" THEN<20s "a cat" said:help tag:front')
    with pytest.raises(QueryError, match="only says which videos"):
        check_question("tag:front")
    with pytest.raises(QuestionSyntaxError) as caught:
        check_question('a dog "at the door')
    assert caught.value.pointer().splitlines()[1] == "      ^"
