"""Why a moment was found, on real films whose curves are known by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from indexer import index_videos
from search import SearchEngine
from search.explain import explain, look_at
from search.query import encode_query
from vidsift.errors import DamagedLibraryError, MediaError, QueryError
from vidsift.types import Cue, Span

# Red for a second, then slowly blue: one shot in which every frame answers another bit.
_FADING = [
    *["-f", "lavfi", "-i", "color=red:s=96x64:r=10:d=6"],
    *["-vf", "fade=t=out:st=1:d=4:color=blue", "-pix_fmt", "yuv420p"],
]


@pytest.fixture
def library(colour_library, make_film, make, tmp_path):
    make_film(tmp_path / "videos" / "flag.mp4", [("blue", 3), ("red", 3), ("green", 3)])
    (tmp_path / "videos" / "fading.mp4").write_bytes(make("fading.mp4", *_FADING).read_bytes())
    index_videos(colour_library, [tmp_path / "videos"])
    return colour_library


def ask(library, text):
    return encode_query(text, library.encoder)


def softmax_score(similarities):
    weights = np.exp(np.array(similarities, np.float64) / 0.1)
    return float((weights * similarities).sum() / weights.sum())


def best_in_context(by_clip):
    """The best clip of a video that is all one surroundings (under 15 s)."""
    around = softmax_score(np.concatenate(by_clip))
    return max(0.25 * own + 0.75 * min(own, around) for own in map(softmax_score, by_clip))


def test_the_moment_that_was_found_is_the_one_that_is_explained(library):
    result = SearchEngine(library).search("red", 2)[0]
    video = library.catalog.video(result.moment.video_id)
    explained = explain(library, [ask(library, "red")], video, result.moment.span)
    (term,) = explained.terms
    assert explained.moment == result.moment.span
    assert term.score == pytest.approx(result.moment.score, abs=1e-5)
    assert result.moment.span.start <= term.best_seconds < result.moment.span.end
    assert term.best_similarity == pytest.approx(term.similarities.max())


def test_the_curve_over_the_whole_video(library):
    explained = explain(library, [ask(library, "red")], library.video("flag.mp4"), 4.0)
    (term,) = explained.terms
    assert explained.moment == Span(3.0, 6.0)
    red = (explained.starts >= 3.0) & (explained.ends <= 6.0)
    assert term.similarities[red].min() > 0.95
    assert term.similarities[~red].max() < 0.1
    assert term.weights[~red].tolist() == [0.0] * int((~red).sum())
    np.testing.assert_allclose(term.weights[red], 1 / red.sum(), atol=1e-3)
    everything = [library.features.open(each.feature_file) for each in library.catalog.videos()]
    usual = np.concatenate(everything).astype(np.float32) @ term.query.vector
    assert term.background == pytest.approx(usual.mean(), abs=1e-5)
    assert explained.starts[0] == 0
    np.testing.assert_allclose(explained.starts[1:], explained.ends[:-1])
    # All of the moment answers alike: without it nothing of it is left.
    assert [(part.span, part.score) for part in term.without] == [(Span(3.0, 6.0), None)]
    assert term.elsewhere == pytest.approx(0, abs=0.1)


def test_what_the_score_falls_to_without_a_stretch(library):
    video = library.video("fading.mp4")
    explained = explain(library, [ask(library, "red")], video, Span(0.0, 6.0))
    (term,) = explained.terms
    clips = library.catalog.clips_of_video(video.id)
    curve = term.similarities
    assert curve[0] > 0.99 > 0.2 > curve[-1]
    by_clip = [curve[record.clip.frames] for record in clips]
    assert term.score == pytest.approx(best_in_context(by_clip), abs=1e-4)
    first = term.without[0]
    assert first.span.start == 0.0
    assert first.span.end < 4.0
    # By hand: the frames that begin in the stretch are struck out of their clips.
    left = [
        curve[record.clip.frames][record.pts_seconds >= first.span.end]
        for record in clips
        if (record.pts_seconds >= first.span.end).any()
    ]
    assert first.score == pytest.approx(best_in_context(left), abs=1e-4)
    assert first.score < term.score - 0.1


def test_every_term_has_its_own_curve(library):
    terms = [ask(library, "red"), ask(library, "blue")]
    explained = explain(library, terms, library.video("fading.mp4"), Span(0.0, 6.0))
    red, blue = explained.terms
    assert red.best_seconds < 2.0
    assert blue.best_seconds > 3.5
    assert np.argmax(red.weights) < np.argmax(blue.weights)
    alone = explain(library, terms[1:], library.video("fading.mp4"), Span(0.0, 6.0)).terms[0]
    assert np.array_equal(alone.weights, blue.weights)
    assert alone.without == blue.without


def test_a_time_alone_finds_its_moment(library):
    video = library.video("flag.mp4")
    for seconds in (3.0, 4.4, 5.9):
        assert explain(library, [ask(library, "red")], video, seconds).moment == Span(3.0, 6.0)
    # Where nothing stands up it is the clip.
    clip = explain(library, [ask(library, "red")], video, 7.0).moment
    assert clip.start >= 6.0


def test_the_best_frame_is_looked_at(library):
    video = library.video("flag.mp4")
    query = ask(library, "red")
    (term,) = explain(library, [query], video, 4.0).terms
    looked = look_at(library, video, query, term.best_seconds)
    again = library.encoder.encode_frames(looked.image[None])[0] @ query.vector
    assert again == pytest.approx(term.best_similarity, abs=2e-3)
    assert looked.heat.values.shape == (4, 4)
    assert looked.heat.values.min() > 0.95
    assert looked.heat.over(*looked.image.shape[:2]).shape == looked.image.shape[:2]


def test_the_lines_of_subtitles_that_count(library):
    video = library.video("flag.mp4")
    cues = [
        Cue(Span(0.5, 1.5), "A red flag, long before"),
        Cue(Span(3.2, 4.0), "Look at the flag"),
        Cue(Span(4.0, 5.0), "How RÉD it is!"),
        Cue(Span(5.0, 5.9), "blue blue blue"),
    ]
    vectors = library.encoder.encode_texts([cue.text for cue in cues])
    with library.writing():
        library.catalog.renew_cues(video.id, cues, vectors, subtitles="stamp", note="")
    explained = explain(library, [ask(library, "a red thing")], video, Span(3.0, 6.0))
    assert [(each.cue.text, each.words) for each in explained.said] == [
        ("How RÉD it is!", ("red",)),
        ("Look at the flag", ()),  # grey, as every text without a colour: near to red, 0.58
    ]
    assert explained.said[1].similarity == pytest.approx(0.58, abs=0.01)
    gate = explained.terms[0].cross_modal
    assert gate is not None
    assert gate.picture + gate.words == pytest.approx(1)
    assert gate.cue_weights[1] == gate.cue_weights.max()  # "How RÉD it is!", of three in the moment
    silent = explain(library, [ask(library, "red")], library.video("fading.mp4"), 1.0)
    assert silent.terms[0].cross_modal is None


def test_what_cannot_be_explained_is_one_clear_line(library, tmp_path):
    video = library.video("flag.mp4")
    red = ask(library, "red")
    with pytest.raises(QueryError, match=r"flag\.mp4: 40\.0 s is beyond its end \(9\.0 s\)"):
        explain(library, [red], video, 40.0)
    with pytest.raises(QueryError, match="names nothing to be seen"):
        explain(library, [], video, 4.0)
    unknown = dataclasses.replace(video, id=99, reason="the file is no media")
    with pytest.raises(QueryError, match="is not searchable: the file is no media"):
        explain(library, [red], unknown, 4.0)
    video.path.unlink()
    with pytest.raises(MediaError, match=r"flag\.mp4: no such file"):
        look_at(library, video, red, 4.0)
    library.features.remove(video.feature_file)
    with pytest.raises(DamagedLibraryError, match=video.feature_file):
        explain(library, [red], video, 4.0)
