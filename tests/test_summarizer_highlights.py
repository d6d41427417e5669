"""What is unusual: planted frames, films of plain colours, and rates that keep their promise."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from indexer import index_videos
from summarizer.highlights import find_highlights
from summarizer.unusual import Footage, judge
from vidsift.errors import DamagedLibraryError, SummaryError
from vidsift.library import Library
from vidsift.types import Span

# Green once, for 3 s, in a minute that goes to and fro between red and blue.
ODD = [*[("red", 8), ("blue", 8)] * 2, ("green", 3), *[("red", 8), ("blue", 8)] * 2]
FILMS = {
    "odd": ODD,
    "plain": [("red", 40)],
    "dusk": [("red", 40), ("cyan", 6), ("red", 8)],
    "meadow": [("green", 20)],
    "short": [("red", 3)],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory, make_film) -> Path:
    folder = tmp_path_factory.mktemp("highlights")
    for name, shots in FILMS.items():
        make_film(folder / "videos" / f"{name}.mp4", shots)
    return folder


@pytest.fixture
def library(home, colour_encoder) -> Iterator[Library]:
    made = (home / "library").exists()
    with Library.open(home / "library", create=True, encoder="colour") as library:
        library.__dict__["encoder"] = colour_encoder
        if not made:
            assert not index_videos(library, [home / "videos"]).failed
        yield library


@pytest.mark.parametrize("method", ["knn", "lof"])
def test_what_is_there_once_is_found(library, method):
    video = library.video("odd")
    found = find_highlights(library, video, method=method)
    best = found.found[0]
    assert best.span.start == pytest.approx(32, abs=0.6)
    assert best.span.end == pytest.approx(35, abs=0.6)
    assert best.span.start <= best.peak_seconds < best.span.end
    assert best.as_unusual == 0
    assert best.rate == 1 / (best.num_normal + 1)
    assert best.num_normal < found.num_clips == video.num_clips  # its own clips are not counted
    assert best.nearest_video == video
    assert not best.span.start - 5 < best.nearest_seconds < best.span.end + 5
    assert best.distance > 0.5
    assert (found.compared_with, found.method) == ("the rest of the video", method)
    assert all(a.score >= b.score for a, b in itertools.pairwise(found.found))


def test_what_the_library_knows_is_not_unusual_there(library):
    video = library.video("odd")
    found = find_highlights(library, video, against="library")
    # Nothing else in the library is blue, and there are green and red films.
    (peaks,) = {round(each.peak_seconds // 8) % 2 for each in found.found[:1]}
    assert peaks == 1
    assert found.compared_with == "the library's other videos"
    assert all(each.nearest_video.id != video.id for each in found.found)
    assert not any(each.span.overlap(Span(32.0, 35.0)) > 1 for each in found.found)


def test_a_baseline_is_what_is_normal(library):
    found = find_highlights(library, library.video("dusk"), baseline=Span(0.0, 39.0))
    assert found.compared_with == "the baseline"
    (cyan,) = found.found
    assert cyan.span.start == pytest.approx(40, abs=0.6)
    assert cyan.span.end == pytest.approx(46, abs=0.6)
    assert cyan.nearest_seconds < 40
    assert (cyan.num_normal, cyan.as_unusual) == (found.num_clips, 0)
    odd = find_highlights(library, library.video("odd"), baseline=Span(0.0, 31.9))
    (green,) = odd.found
    assert green.span.start == pytest.approx(32, abs=0.6)


def test_nothing_stands_out_of_what_is_all_alike(library):
    found = find_highlights(library, library.video("plain"))
    assert found.found == ()
    assert "nothing stands out" in found.note


def test_no_more_than_are_asked_for(library):
    assert len(find_highlights(library, library.video("odd"), 1).found) == 1


def test_progress_goes_to_the_end(library):
    shares: list[float] = []
    find_highlights(library, library.video("odd"), on_progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize(
    ("name", "how", "says"),
    [
        ("short", {}, "too few clips"),
        ("odd", {"k": 0}, "at least one"),
        ("odd", {"baseline": Span(0.0, 2.0)}, "too few clips"),
        ("odd", {"baseline": Span(0.0, 100.0)}, "nothing left to judge"),
        ("odd", {"baseline": Span(200.0, 300.0)}, "lasts only 67.0 s"),
        ("odd", {"baseline": Span(0.0, 16.0), "against": "library"}, "part of the video"),
    ],
)
def test_what_cannot_be_told_is_said_in_a_line(library, name, how, says):
    with pytest.raises(SummaryError, match=says) as raised:
        find_highlights(library, library.video(name), **how)
    assert "\n" not in str(raised.value)


def test_a_library_of_one_video_has_nothing_to_compare_with(colour_library, home):
    assert not index_videos(colour_library, [home / "videos" / "odd.mp4"]).failed
    with pytest.raises(SummaryError, match="only video"):
        find_highlights(colour_library, colour_library.video("odd"), against="library")


def test_damaged_videos_are_not_compared_with(colour_library, home, caplog):
    assert not index_videos(colour_library, [home / "videos"]).failed
    odd, plain = colour_library.video("odd"), colour_library.video("plain")
    colour_library.features.remove(plain.feature_file)
    found = find_highlights(colour_library, odd, against="library")
    assert "plain.mp4 is not compared with" in caplog.text
    assert all(each.nearest_video.path.stem != "plain" for each in found.found)
    with pytest.raises(DamagedLibraryError):
        find_highlights(colour_library, plain, against="library")


def footage(random: np.random.Generator, count: int, dimension: int = 6) -> Footage:
    frames = random.standard_normal((count, dimension)).astype(np.float32)
    frames /= np.linalg.norm(frames, axis=1, keepdims=True)
    return Footage(frames, np.zeros(count, np.int64), np.arange(count) / 2)


def test_scores_are_those_of_scikit_learn_where_nothing_is_kept_apart():
    normal, shown = (footage(np.random.default_rng(seed), 60) for seed in (0, 1))
    shown = Footage(shown.frames, shown.videos + 1, shown.seconds)
    near = NearestNeighbors(n_neighbors=3, metric="cosine").fit(normal.frames)
    expected = near.kneighbors(shown.frames)[0].mean(1)
    found = judge(shown, normal, 1e-3, "knn")
    assert found.scores == pytest.approx(expected, abs=1e-5)
    assert found.usual == pytest.approx(near.kneighbors()[0].mean(1), abs=1e-5)
    factor = LocalOutlierFactor(n_neighbors=20, metric="cosine", novelty=True).fit(normal.frames)
    found = judge(shown, normal, 1e-3, "lof")
    assert found.scores == pytest.approx(-factor.score_samples(shown.frames), abs=1e-4)
    assert found.usual == pytest.approx(-factor.negative_outlier_factor_, abs=1e-4)


@given(st.integers(0, 2**32 - 1), st.integers(30, 60), st.floats(0.4, 6.0))
def test_what_lies_near_in_time_does_not_vouch(seed, count, apart):
    film = footage(np.random.default_rng(seed), count)
    found = judge(film, film, apart, "knn")
    assert (np.abs(film.seconds - film.seconds[found.nearest]) >= apart).all()
    away = 1 - film.frames @ film.frames.T
    away[np.abs(film.seconds[:, None] - film.seconds) < apart] = np.inf
    assert found.distances == pytest.approx(np.maximum(away.min(1), 1e-3), abs=1e-5)
    assert found.scores == pytest.approx(np.sort(away, axis=1)[:, :3].mean(1), abs=2e-3)


def test_nothing_can_be_told_where_no_frame_lies_apart():
    film = footage(np.random.default_rng(0), 10)
    with pytest.raises(ValueError, match="apart"):
        judge(film, film, np.inf, "knn")


def test_normal_footage_is_as_rare_as_its_rate_says():
    # 800 frames of the same kind as the 199 that judge them: the rate is uniform.
    random = np.random.default_rng(0)
    rates = []
    for _ in range(40):
        every = footage(random, 219)
        normal = Footage(every.frames[:199], every.videos[:199], every.seconds[:199])
        shown = Footage(every.frames[199:], every.videos[199:] + 1, every.seconds[199:])
        found = judge(shown, normal, 1e-3, "knn")
        as_high = (found.usual >= found.scores[:, None]).sum(1)
        rates += ((1 + as_high) / 200).tolist()
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(rates) <= level) == pytest.approx(level, abs=0.04)
