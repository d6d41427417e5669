"""Near-duplicates on footage that is made to be alike, or only of the same kind."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.duplicates import SAME_FOOTAGE, Whitening, fold, footage_similarity, whitening_of
from vidsift.library import Library

DIMENSION = 32
RANDOM = np.random.default_rng(0)
# All frames share much and differ in little, as the pictures of one kind of thing do.
KIND = 3 * RANDOM.standard_normal(DIMENSION)


def unit(drawn: np.ndarray) -> np.ndarray:
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(np.float32)


def film(seed: int, num_frames: int = 12) -> np.ndarray:
    """A film whose pictures change slowly."""
    steps = np.random.default_rng(seed).standard_normal((num_frames + 1, DIMENSION))
    return unit(KIND + steps[0] + np.cumsum(0.4 * steps[1:], axis=0))


def encoded_again(frames: np.ndarray, seed: int = 99) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(frames.shape)
    return unit(frames + 0.02 * noise)


@dataclass(frozen=True)
class Shown:
    video: int
    frames: np.ndarray | None


WHITENING = Whitening.of(np.concatenate([film(seed) for seed in range(100, 160)]))


def folds(shown: list[Shown], wanted: int = 10) -> list[tuple[int, list[int]]]:
    places = {id(each): place for place, each in enumerate(shown)}
    return [
        (places[id(each.best)], [places[id(other)] for other in each.duplicates])
        for each in fold(shown, wanted, lambda s: s.frames, lambda s: s.video, lambda: WHITENING)
    ]


def test_the_same_footage_is_shown_once() -> None:
    first, second = film(1), film(2)
    shown = [
        Shown(1, first),
        Shown(2, second),
        Shown(3, encoded_again(first)),
        Shown(4, encoded_again(first)[3:9]),  # an excerpt
        Shown(5, film(3)),
        Shown(6, encoded_again(second)),
    ]
    assert folds(shown) == [(0, [2, 3]), (1, [5]), (4, [])]
    # The best is shown, also where it is the excerpt.
    assert folds([shown[3], shown[0]]) == [(0, [1])]


def test_films_of_one_kind_are_no_duplicates() -> None:
    shown = [Shown(seed, film(seed)) for seed in range(1, 8)]
    cosines = [float((a.frames @ b.frames.T).mean()) for a, b in itertools.combinations(shown, 2)]
    assert min(cosines) > SAME_FOOTAGE  # which is why plain cosines would not do
    assert folds(shown) == [(place, []) for place in range(7)]


def test_moments_of_one_video_are_not_folded() -> None:
    still = np.repeat(film(1, 1), 6, axis=0)
    assert folds([Shown(1, still), Shown(1, encoded_again(still))]) == [(0, []), (1, [])]
    assert folds([Shown(1, still), Shown(2, encoded_again(still))]) == [(0, [1])]


def test_footage_backwards_is_not_the_same() -> None:
    frames = unit(np.random.default_rng(1).standard_normal((24, DIMENSION)))
    assert footage_similarity(frames, frames) == pytest.approx(1, abs=1e-5)
    assert footage_similarity(frames, frames[::-1]) < 0.6


def test_what_has_no_frames_is_nobodys_duplicate() -> None:
    none = np.empty((0, DIMENSION), np.float32)
    shown = [Shown(1, None), Shown(2, None), Shown(3, none), Shown(4, film(1)), Shown(5, none)]
    assert folds(shown) == [(place, []) for place in range(5)]


def test_no_more_are_taken_than_needed() -> None:
    source = iter([Shown(video, film(video)) for video in range(100)])
    found = fold(source, 3, lambda s: s.frames, lambda s: s.video, lambda: WHITENING)
    assert [each.best.video for each in found] == [0, 1, 2]
    assert next(source).video == 3 + 10 + 1  # the one that told it to stop is gone too
    assert fold([], 3, lambda s: s.frames, lambda s: s.video, lambda: WHITENING) == []


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=12),
    st.integers(1, 12),
)
def test_pages_do_not_depend_on_how_much_is_asked(items, wanted) -> None:
    shown = [Shown(video, encoded_again(film(seed), i)) for i, (video, seed) in enumerate(items)]
    best = [place for place, _ in folds(shown, 100)]
    assert [place for place, _ in folds(shown, wanted)] == best[:wanted]


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32))
def test_similarity_is_the_best_matching_in_order(n: int, m: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b = (unit(random.standard_normal((count, 4))) for count in (n, m))
    best = -1.0
    for shorter, longer in ((a, b), (b, a)):
        if len(shorter) <= len(longer):
            products = shorter @ longer.T
            every = itertools.combinations_with_replacement(range(len(longer)), len(shorter))
            rows = np.arange(len(shorter))
            best = max(best, *(float(products[rows, list(path)].mean()) for path in every))
    assert footage_similarity(a, b) == pytest.approx(best, abs=1e-5)
    assert footage_similarity(a, b) == pytest.approx(footage_similarity(b, a), abs=1e-6)


def test_whitened_frames_point_everywhere_alike() -> None:
    frames = np.concatenate([film(seed) for seed in range(400)])
    white = Whitening.of(frames)(frames)
    assert np.linalg.norm(white, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.linalg.eigvalsh(frames.T @ frames / len(frames)).max() > 0.7
    assert np.linalg.eigvalsh(white.T @ white / len(white)).max() < 0.2


def test_a_librarys_whitening_follows_it(colour_library: Library) -> None:
    library = colour_library
    library.catalog.set_stamp(library.encoder.stamp)
    before = whitening_of(library)
    assert whitening_of(library) is before
    assert before(np.eye(3, dtype=np.float32)) == pytest.approx(np.eye(3))  # nothing is known yet
