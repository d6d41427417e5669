"""Candidates: exact where the library is small, through the index where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from search import exact
from search.candidates import candidate_count, find_candidates, with_context
from search.rerank import rerank, score_clips
from vidsift.config import Settings
from vidsift.library import Library
from vidsift.models.attention import MeanPool, SoftmaxPool
from vidsift.types import (
    Clip,
    ClipVectors,
    Fingerprint,
    FrameFeatures,
    IndexedVideo,
    Shot,
    Span,
    Summary,
    TextQuery,
    VideoProbe,
)

FRAMES = 4
OpenLibrary = Callable[[int], Library]


def unit(drawn: np.ndarray) -> np.ndarray:
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(np.float32)


def add_video(library: Library, number: int, clips: int, same_as: int | None = None) -> int:
    """A video whose clips point in all directions; the index holds each clip's mean frame."""
    random = np.random.default_rng(number if same_as is None else same_as)
    centres = random.standard_normal((clips, 1, 3))
    frames = unit(centres + 0.1 * random.standard_normal((clips, FRAMES, 3)))
    spans = [Span(float(i * FRAMES), float((i + 1) * FRAMES)) for i in range(clips)]
    probe = VideoProbe(
        Path(f"/v/{number}.mp4"), "mp4", "h264", "yuv420p", 8, 8, 0, Fraction(1), 1.0, 0.0,
        False, False,
    )  # fmt: skip
    video = IndexedVideo(
        probe,
        Fingerprint(1, 1, f"{number:064x}"),
        spans[-1].end,
        tuple(Shot(span) for span in spans),
        tuple(Clip(span, i, i * FRAMES, FRAMES) for i, span in enumerate(spans)),
        FrameFeatures(frames.reshape(-1, 3), np.arange(clips * FRAMES, dtype=np.float64)),
        tuple(ClipVectors(unit(clip.mean(0, keepdims=True))) for clip in frames),
        (b"",) * clips,
        Summary("", (), 1.0),
    )
    library.catalog.set_stamp(library.encoder.stamp)
    name = f"{number}.npy"
    written = library.features.write(name, video.features.features)
    return library.catalog.commit_video(video, name, written)


@pytest.fixture
def open_library(tmp_path: Path, colour_encoder) -> Iterator[OpenLibrary]:
    """`open_library(exact_clips)`: one library of 5 videos of 60 clips, opened so."""
    opened = []

    def open_one(exact_clips: int) -> Library:
        library = Library.open(
            tmp_path / "many", create=True, encoder="colour", exact_clips=exact_clips
        )
        library.__dict__["encoder"] = colour_encoder
        opened.append(library)
        if not library.catalog.videos():
            for number in range(5):
                add_video(library, number, 60)
        return library

    yield open_one
    for library in opened:
        library.close()


QUERIES = unit(np.random.default_rng(9).standard_normal((20, 1, 3)))


def ranking(library: Library, vector: np.ndarray, records) -> list[int]:
    """The clips' ids, best first: each with its surroundings, where the library is scored so."""
    videos = frozenset(record.video_id for record in records)
    vectors = vector[np.newaxis]
    alone = score_clips(vectors, records, library.features, library.pooler)
    scored = with_context(vectors, library, videos, alone)
    return [scored.records[place].id for place in np.argsort(-scored.scores[0], kind="stable")]


def all_clips(library: Library, videos: set[int] | None = None):
    return [
        record
        for video in library.catalog.videos()
        if videos is None or video.id in videos
        for record in library.catalog.clips_of_video(video.id)
    ]


def test_a_small_library_is_ranked_whole(open_library: OpenLibrary) -> None:
    library = open_library(300)
    for query in QUERIES:
        found = find_candidates(query, library, most=20)
        assert found.exact
        assert [r.id for r in found.records] == ranking(library, query[0], all_clips(library))[:20]
    similarities = np.concatenate(
        [clip.similarities for clip in rerank(
            TextQuery("", query[0]), all_clips(library), library.features, library.pooler
        )]
    )  # fmt: skip
    assert found.background == pytest.approx([similarities.mean()], abs=1e-5)
    assert found.spread == pytest.approx([similarities.std()], abs=1e-5)


def test_one_clip_more_goes_through_the_index(open_library: OpenLibrary) -> None:
    library = open_library(299)
    held = []
    for query in QUERIES:
        found = find_candidates(query, library, most=20)
        assert not found.exact
        sims = np.concatenate([v for _, v in library.catalog.iter_vectors()]) @ query[0]
        assert found.background == pytest.approx([sims.mean()], abs=1e-5)
        assert found.spread == pytest.approx([sims.std()], abs=1e-5)
        assert len(found.records) == 20
        best = ranking(library, query[0], all_clips(library))[:5]
        held.append(np.isin(best, [record.id for record in found.records]).mean())
    assert np.mean(held) > 0.95


@pytest.mark.parametrize(("exact_clips", "exact"), [(300, True), (120, True), (119, False)])
def test_a_scope_keeps_to_its_videos(
    open_library: OpenLibrary, exact_clips: int, exact: bool
) -> None:
    library = open_library(exact_clips)
    videos = {video.id for video in library.catalog.videos()[1:3]}
    for query in QUERIES[:5]:
        found = find_candidates(query, library, frozenset(videos), most=30)
        assert found.exact == exact
        assert len(found.records) == 30
        assert {record.video_id for record in found.records} <= videos
        best = ranking(library, query[0], all_clips(library, videos))
        if exact:
            assert [record.id for record in found.records] == best[:30]
        else:
            assert set(best[:5]) <= {record.id for record in found.records}


@pytest.mark.parametrize("exact_clips", [300, 0])
def test_a_scope_without_videos_has_no_candidates(
    open_library: OpenLibrary, exact_clips: int
) -> None:
    library = open_library(exact_clips)
    assert find_candidates(QUERIES[0], library, frozenset()).records == ()
    assert find_candidates(QUERIES[0], library, frozenset({10_000})).records == ()


@pytest.mark.parametrize("exact_clips", [300, 0])
def test_every_term_brings_its_own(open_library: OpenLibrary, exact_clips: int) -> None:
    library = open_library(exact_clips)
    both = np.concatenate([QUERIES[0], -QUERIES[0]])  # no clip is good for both
    found = [record.id for record in find_candidates(both, library, most=10).records]
    assert len(found) == len(set(found))
    for query in both:
        alone = find_candidates(query[np.newaxis], library, most=10).records
        assert {record.id for record in alone} <= set(found)


def test_what_is_good_for_all_terms_is_found(open_library: OpenLibrary) -> None:
    library = open_library(300)
    terms = unit(np.array([[1.0, 0.0, 0.1], [0.0, 1.0, 0.1]]))
    found = [record.id for record in find_candidates(terms, library, most=3).records]
    every = all_clips(library)
    scores = np.array(
        [
            [clip.score for clip in sorted(
                rerank(TextQuery("", term), every, library.features, library.pooler),
                key=lambda clip: clip.record.id,
            )]
            for term in terms
        ]
    )  # fmt: skip
    together = scores.sum(0)  # both terms spread alike over directions drawn at random
    best = sorted(record.id for record in every)[int(together.argmax())]
    assert best in found


def test_a_learned_pooler_reranks_what_softmax_finds(open_library: OpenLibrary) -> None:
    class Learned:
        """Knows its own mind: the mean, but not by a class that is known as training-free."""

        def __call__(self, queries, frames, mask):
            return MeanPool()(queries, frames, mask)

    library = open_library(300)
    by_softmax = find_candidates(QUERIES[0], library, most=20)
    assert library.pooler == SoftmaxPool(0.1)
    library.pooler = Learned()
    found = find_candidates(QUERIES[0], library, most=20)
    assert [r.id for r in found.records] == [r.id for r in by_softmax.records]
    assert not found.exact
    assert find_candidates(QUERIES[0], library, most=300).exact  # each will be reranked


def test_equal_clips_all_come_once(open_library: OpenLibrary) -> None:
    library = open_library(10_000)
    copy = add_video(library, 101, 60, same_as=1)
    frames = library.features.read("1.npy", 0, 60 * FRAMES, 3)
    ids = [record.id for record in find_candidates(frames[:1], library, most=400).records]
    assert len(ids) == len(set(ids)) == 360
    few = find_candidates(frames[:1], library, most=2).records
    assert len({record.ordinal for record in few}) == 1  # the best clip and its copy
    assert copy in {record.video_id for record in few}


def test_candidates_come_in_hundreds() -> None:
    settings = Settings(candidates=100)
    counts = {results: candidate_count(settings, results) for results in (1, 33, 34, 66, 100)}
    assert counts == {1: 100, 33: 100, 34: 200, 66: 200, 100: 300}
    assert candidate_count(Settings(candidates=150), 10) == 200
    assert [candidate_count(settings, results) for results in (333, 900, 1234)] == [
        1000,
        1000,
        1300,
    ]
    assert candidate_count(Settings(candidates=5000), 10) == 5000


@pytest.mark.parametrize("exact_clips", [300, 0])
def test_an_empty_library(colour_library: Library, exact_clips: int) -> None:
    assert find_candidates(QUERIES[0], colour_library).records == ()


def test_a_library_that_has_grown_large_gives_its_frames_back(open_library: OpenLibrary) -> None:
    library = open_library(300)
    find_candidates(QUERIES[0], library)
    kept = exact._kept[library]
    assert len(kept._matrix) == 300
    add_video(library, 5, 60)
    assert not find_candidates(QUERIES[0], library).exact
    assert len(kept._matrix) == len(kept._buffer) == 0
    library.catalog.delete_video(library.catalog.videos()[-1].id)
    assert find_candidates(QUERIES[0], library, most=20).exact  # small again
