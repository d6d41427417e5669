"""Trust: the null distribution by hand, and the same library searched in every way."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, strategies

from benchmarks.feature_videos import put_video
from search import trust
from search.bank import bank_texts, bank_vectors
from search.candidates import find_candidates, with_context
from search.null import Null, best_places, hubness, peak, rivals, value
from search.rerank import score_clips
from search.trust import false_alarm_rates, prepare
from vidsift.library import Library
from vidsift.models.learned_attention import MultiHeadPool

DIMENSION = 32
BANK = 200


@pytest.fixture
def library(axes_library: Library) -> Library:
    return axes_library


def noise(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((frames, DIMENSION))


def film_of(axis: int, frames: int = 8, seed: int = 0) -> np.ndarray:
    """Frames that show one thing, not quite alike."""
    return np.eye(DIMENSION)[axis] * 5 + noise(frames, seed) * 0.3


def lowest_rate(
    library: Library, text: str, scope: frozenset[int] | None = None
) -> tuple[float, int]:
    """The lowest false-alarm rate of a question's clips, and the video that has it."""
    vector = library.encoder.encode_texts([text])
    records = find_candidates(vector, library, scope).records
    scored = score_clips(vector, records, library.features, library.pooler)
    scored = with_context(vector, library, scope, scored)
    rates = false_alarm_rates(library, scored.records, scored.scores, scope)
    assert rates is not None
    best = int(rates[0].argmin())
    return float(rates[0, best]), scored.records[best].video_id


# The null distribution by hand


def null_of(scores: np.ndarray, seed: int = 0, ids: np.ndarray | None = None) -> Null:
    """The null of clips that all show something else."""
    means = np.eye(len(scores), max(DIMENSION, len(scores)), dtype=np.float32)
    return Null.of(scores.astype(np.float32), means, np.arange(len(scores)) if ids is None else ids)


def test_a_value_is_worth_the_share_of_the_bank_that_reaches_it() -> None:
    bank = np.linspace(0, 1, BANK, dtype=np.float32)
    null = dataclasses.replace(null_of(np.ones((1, BANK))), peaks=bank)
    found = null.rates(np.array([[-1.0], [0.75], [2.0]], np.float32))[:, 0]
    # The upper end of Wilson's interval of 200, 50 and 0 among 200, from z = 1.645.
    assert found == pytest.approx([1.0, 0.3033, 0.0133], abs=2e-4)


def test_the_best_value_of_a_text_by_hand() -> None:
    scores = np.array([0.9, 0.5, 0.1], np.float32)
    near = np.array([0.4, 0.0, 0.0], np.float32)
    directions = np.eye(3, dtype=np.float32)[[0, 0, 1]]  # the first two show the same
    # One rival at 0.1 for the first two, and 9 that lack; 0.9 and 0.5 for the third, and 8.
    levels = rivals(scores, directions, directions)
    assert levels == pytest.approx([0.1, 0.1, (0.9 + 0.5 + 8 * 0.1) / 10], abs=1e-6)
    values = value(scores, near, levels)
    assert values == pytest.approx([0.9 - 0.2 - 0.05, 0.5 - 0.05, 0.1 - 0.11], abs=1e-6)
    assert peak(scores, near, directions) == pytest.approx(0.65, abs=1e-6)


def test_only_the_ten_best_rivals_count() -> None:
    scores = np.linspace(1, 0, 40, dtype=np.float32)
    directions = np.eye(40, dtype=np.float32)
    (level,) = rivals(scores, directions, directions[:1])
    assert level == pytest.approx(scores[1:11].mean(), abs=1e-6)


def test_a_hub_must_score_more_than_another_clip() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(0.1, 0.05, (2, BANK)).astype(np.float32)
    scores[1] += 0.2  # near to whatever is asked
    near = null_of(scores).hubness_of(np.array([0, 1]))
    assert near[1] - near[0] == pytest.approx(0.2, abs=0.03)


def test_what_a_text_scores_is_left_out_of_the_hubness_that_corrects_it() -> None:
    scores = np.random.default_rng(1).normal(size=(3, 20)).astype(np.float32)
    near, without = hubness(scores)
    for c in range(3):
        assert near[c] == pytest.approx(np.sort(scores[c])[-2:].mean(), abs=1e-6)
        for b in range(20):
            others = np.sort(np.delete(scores[c], b))[-2:].mean()
            assert without[c, b] == pytest.approx(others, abs=1e-6)


def test_an_unknown_clip_matches_nothing() -> None:
    null = null_of(np.random.default_rng(0).normal(size=(2, BANK)), ids=np.array([9, 3]))
    near = null.hubness_of(np.array([9, 4, 3, 10]))
    assert np.isinf(near).tolist() == [False, True, False, True]
    assert null.rates((np.float32(9) - near)[np.newaxis])[0].tolist()[1::2] == [1.0, 1.0]


@given(
    hnp.arrays(np.float32, (3, 30), elements=strategies.floats(-1, 1, width=32)),
    hnp.arrays(np.float32, (1, 3), elements=strategies.floats(-1, 1, width=32)),
)
def test_rates_are_probabilities_and_fall_as_values_rise(
    bank: np.ndarray, values: np.ndarray
) -> None:
    null = null_of(bank)
    rates = null.rates(values)
    assert ((rates > 0) & (rates <= 1)).all()
    assert (null.rates(values + np.float32(0.1)) <= rates).all()


def test_the_best_places_are_those_of_a_whole_sort() -> None:
    scores = np.random.default_rng(0).normal(size=500).astype(np.float32)
    assert best_places(scores, 40).tolist() == np.argsort(-scores)[:40].tolist()
    assert best_places(scores[:7], 40).tolist() == np.argsort(-scores[:7]).tolist()


# Libraries


@pytest.mark.slow
@pytest.mark.parametrize(
    "searched", ["exactly", "by candidates", "by a learned pooler"], ids=str.split
)
def test_what_is_there_matches_and_what_is_not_does_not(
    library: Library, searched: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.trust._TEXTS_IN_STAGES", 100)
    if searched == "by candidates":
        library.settings = library.settings.model_copy(update={"exact_clips": 0})
    elif searched == "by a learned pooler":
        library.__dict__["pooler"] = MultiHeadPool.identity(DIMENSION)
    shown = [put_video(library, f"axis{i}", film_of(i, seed=i)) for i in range(6)]
    for i in range(6):
        put_video(library, f"noise{i}", noise(8, seed=50 + i))
    for axis, video in enumerate(shown):
        rate, found = lowest_rate(library, f"axis {axis}")
        assert rate <= 0.05
        assert found == video
    claims = [lowest_rate(library, f"axis {axis}")[0] <= 0.05 for axis in range(6, DIMENSION)]
    assert np.mean(claims) <= 0.1


@pytest.mark.slow
def test_questions_without_an_answer_claim_one_no_more_often_than_the_setting(
    library: Library,
) -> None:
    for i in range(10):
        put_video(library, f"noise{i}", noise(16, seed=i))
    rates = np.array([lowest_rate(library, f"question {i}")[0] for i in range(200)])
    for setting in (0.05, 0.2):
        assert 0.2 * setting < np.mean(rates <= setting) <= setting


@pytest.mark.slow
@pytest.mark.parametrize("videos", [1, 3])
def test_a_small_library_claims_no_more(library: Library, videos: int) -> None:
    for i in range(videos):
        put_video(library, f"noise{i}", noise(4, seed=i))
    absent = [lowest_rate(library, f"question {i}")[0] for i in range(200)]
    assert np.mean([rate <= 0.05 for rate in absent]) <= 0.05
    put_video(library, "shown", film_of(0))
    assert lowest_rate(library, "axis 0")[0] <= 0.05


def test_an_empty_library_cannot_tell(library: Library) -> None:
    assert false_alarm_rates(library, [], np.zeros((1, 0), np.float32)) is None
    video = put_video(library, "noise", noise(4))
    nobody = frozenset({video + 1})
    assert false_alarm_rates(library, [], np.zeros((1, 0), np.float32), nobody) is None


def test_a_filter_has_a_null_distribution_of_its_own(library: Library) -> None:
    few = frozenset({put_video(library, "like", np.eye(DIMENSION)[0] * 1.5 + noise(4, seed=3))})
    for i in range(40):
        put_video(library, f"noise{i}", film_of(1 + i % 30, seed=i))
    everywhere, _ = lowest_rate(library, "axis 0")
    here, found = lowest_rate(library, "axis 0", few)
    assert found in few
    assert here < everywhere  # fewer clips among which chance could find something


def test_all_terms_are_told_at_once(library: Library) -> None:
    put_video(library, "both", np.r_[film_of(0), film_of(1)])
    put_video(library, "noise", noise(8))
    vectors = library.encoder.encode_texts(["axis 0", "axis 9"])
    records = find_candidates(vectors, library).records
    scored = score_clips(vectors, records, library.features, library.pooler)
    scored = with_context(vectors, library, None, scored)
    rates = false_alarm_rates(library, scored.records, scored.scores)
    assert rates is not None
    assert rates.shape == (2, len(records))
    assert rates[0].min() <= 0.05 < rates[1].min()


@pytest.mark.parametrize("exact_clips", [10_000, 0])
def test_a_clip_near_to_the_whole_bank_must_score_more(
    library: Library, exact_clips: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.trust._TEXTS_IN_STAGES", 100)
    library.settings = library.settings.model_copy(update={"exact_clips": exact_clips})
    middle = bank_vectors(library.encoder)[:100].mean(0)
    hub, other = film_of(0, 4, seed=1) + 8 * middle / np.linalg.norm(middle), film_of(0, 4, seed=2)
    put_video(library, "hub", hub)
    put_video(library, "other", other)
    put_video(library, "noise", noise(40))
    vector = library.encoder.encode_texts(["axis 0"])
    records = sorted(find_candidates(vector, library).records, key=lambda record: record.id)[:2]
    rates = false_alarm_rates(library, records, np.full((1, 2), 0.4, np.float32))
    assert rates is not None
    assert rates[0, 0] > rates[0, 1]  # the same score is worth less


def test_a_damaged_file_is_told_of_once(
    library: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("search.trust._TEXTS_IN_STAGES", 20)
    library.settings = library.settings.model_copy(update={"exact_clips": 0})
    put_video(library, "lost", film_of(0))
    put_video(library, "whole", film_of(1))
    (library.root / "features" / "lost.npy").write_bytes(b"short")
    prepare(library)
    assert [record.getMessage().count("lost.mp4") for record in caplog.records] == [1]
    assert lowest_rate(library, "axis 1")[0] <= 0.2


def test_what_much_of_the_library_shows_still_matches(library: Library) -> None:
    for i in range(15):
        put_video(library, f"axis{i}", film_of(0, seed=i))
        put_video(library, f"noise{i}", noise(8, seed=50 + i))
    assert lowest_rate(library, "axis 0")[0] <= 0.05


def test_rates_of_those_shown_are_those_of_all(library: Library) -> None:
    for i in range(5):
        put_video(library, f"axis{i}", film_of(i, seed=i))
    vectors = library.encoder.encode_texts(["axis 0", "axis 9"])
    records = find_candidates(vectors, library).records
    scored = score_clips(vectors, records, library.features, library.pooler)
    every = false_alarm_rates(library, scored.records, scored.scores)
    shown = false_alarm_rates(library, scored.records, scored.scores, shown=[4, 1])
    assert every is not None
    assert shown is not None
    assert np.array_equal(shown, every[:, [4, 1]])


# Keeping


def test_the_null_is_kept_and_made_again_when_the_library_changes(library: Library) -> None:
    put_video(library, "axis0", film_of(0))
    prepare(library)
    file = library.root / "index" / "null.npz"
    kept = file.read_bytes()
    encoded = library.encoder.texts_encoded
    before = lowest_rate(library, "axis 0")
    with Library.open(library.root) as other:
        other.__dict__["encoder"] = library.encoder
        assert lowest_rate(other, "axis 0") == before
        assert file.read_bytes() == kept
        for i in range(5):
            put_video(library, f"again{i}", film_of(1, seed=i))
        rate, _ = lowest_rate(other, "axis 1")
        assert rate <= 0.05  # clips of which the file knows nothing
    assert file.read_bytes() != kept
    assert library.encoder.texts_encoded == encoded + 3  # the bank came from the cache


@pytest.mark.parametrize("change", ["pooler", "exact_clips", "encoder", "bank"])
def test_a_null_of_something_else_is_not_used(
    library: Library, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.trust._TEXTS_IN_STAGES", 20)
    put_video(library, "axis0", film_of(0))
    prepare(library)
    file = library.root / "index" / "null.npz"
    kept = file.read_bytes()
    with Library.open(library.root) as other:
        other.__dict__["encoder"] = library.encoder
        if change == "pooler":
            other.__dict__["pooler"] = MultiHeadPool.identity(DIMENSION)
        elif change == "exact_clips":
            other.settings = other.settings.model_copy(update={"exact_clips": 0})
        elif change == "bank":
            monkeypatch.setattr("search.trust._bank_sha256", lambda: "another")
        else:
            another = dataclasses.replace(library.encoder.stamp, weights_sha256="1" * 64)
            monkeypatch.setattr(type(other.catalog), "stamp", lambda _: another)
            monkeypatch.setattr(type(library.encoder), "stamp", another)
        prepare(other)
    assert file.read_bytes() != kept


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_null_is_made_again(library: Library, damage: str) -> None:
    put_video(library, "axis0", film_of(0))
    right = lowest_rate(library, "axis 0")
    file = library.root / "index" / "null.npz"
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(
        {
            "cut": whole[:middle],
            "flip": whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :],
            "empty": b"",
            "text": b"not an archive",
        }[damage]
    )
    with Library.open(library.root) as other:
        other.__dict__["encoder"] = library.encoder
        assert lowest_rate(other, "axis 0") == right


def test_a_null_that_cannot_be_kept_is_used_all_the_same(library: Library) -> None:
    put_video(library, "axis0", film_of(0))
    (library.root / "index").write_text("a file where a folder should be")
    assert lowest_rate(library, "axis 0")[0] <= 0.05


# The bank


def test_the_bank_holds_several_hundred_different_questions() -> None:
    texts = bank_texts()
    assert len(texts) == len(set(texts)) >= 500
    assert all(text == " ".join(text.split()) for text in texts)


def test_a_damaged_cache_of_the_bank_is_encoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axes_encoder
) -> None:
    monkeypatch.setenv("VIDSIFT_CACHE", str(tmp_path))
    encoder = axes_encoder
    right = bank_vectors(encoder)
    (file,) = tmp_path.rglob("*.npy")
    file.write_bytes(file.read_bytes()[:100])
    assert np.array_equal(bank_vectors(encoder), right)
    assert encoder.texts_encoded == 2 * len(bank_texts())
    assert np.array_equal(bank_vectors(encoder), right)
    assert encoder.texts_encoded == 2 * len(bank_texts())


def test_while_a_library_grows_its_null_serves_on_for_a_tenth(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = trust._make
    monkeypatch.setattr(trust, "_make", lambda *args: made.append(args[1]) or real(*args))
    for number in range(10):
        put_video(library, f"old{number}", noise(16, number))  # 4 clips each
    prepare(library)
    assert made == [None]
    added = put_video(library, "new", film_of(3))  # 2 clips
    rate, video = lowest_rate(library, "axis 3")
    assert made == [None]
    assert video == added  # what was added can match, too
    assert rate < 0.05
    with Library.open(library.root, encoder="axes") as other:  # nor is it made to ask once
        other.__dict__["encoder"] = library.encoder
        assert lowest_rate(other, "axis 3") == (rate, added)
    assert made == [None]

    prepare(library)  # at the end of a run
    assert made == [None] * 2
    assert lowest_rate(library, "axis 3")[1] == added
    for number in range(2):
        put_video(library, f"more{number}", noise(16, 90 + number))
    lowest_rate(library, "axis 3")
    assert made == [None] * 3
    library.catalog.delete_video(added)
    lowest_rate(library, "axis 3")
    assert made == [None] * 4
