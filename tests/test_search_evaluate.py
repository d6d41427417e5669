"""Evaluation of a library whose answers are known: plain colours, real films, the real engine."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from indexer import index_videos
from search import SearchEngine
from search.annotations import Annotations, Caption
from search.calibration import SETTINGS, evaluate_calibration
from search.evaluate import evaluate_moments, evaluate_retrieval
from search.evaluation_history import HISTORY_FILE, append_to_history, read_history
from search.grammar import parse_question
from search.labelled import ask_literally, match_captions
from search.question import Filters, Step, Term
from search.self_evaluation import evaluate_self
from vidsift.errors import AnnotationError, StorageError
from vidsift.library import Library
from vidsift.types import Span

FILMS = {
    "red.mp4": [("red", 3.0)],
    "green.mp4": [("green", 3.0)],
    "two.mp4": [("blue", 3.0), ("yellow", 3.0)],
    "cyan.mkv": [("cyan", 3.0)],
}


@pytest.fixture(scope="module")
def made(make_film, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name, shots in FILMS.items():
        make_film(folder / name, shots)
    return folder


@pytest.fixture
def films(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "films"))


@pytest.fixture
def library(colour_library: Library, films: Path) -> Library:
    index_videos(colour_library, [films])
    return colour_library


def _captions(*items: Caption, skipped: tuple[str, ...] = ()) -> Annotations:
    return Annotations("plain", items, skipped)


# Which videos a caption is of.


def test_names_of_any_kind_find_their_video(library: Library) -> None:
    ids = {video.path.name: video.id for video in library.catalog.videos()}
    path = str(library.video("red.mp4").path)
    names = ["red.mp4", "red", path, str(ids["red.mp4"]), "red.avi"]
    matched = match_captions(library, _captions(*(Caption(name, name) for name in names)))
    assert [query.right for query in matched.queries] == [{ids["red.mp4"]}] * len(names)


def test_unknown_videos_and_spans_beyond_the_end_are_named(library: Library) -> None:
    matched = match_captions(
        library,
        _captions(
            Caption("red.mp4", "red", Span(1.0, 99.0)),
            Caption("gone.mp4", "red"),
            Caption("gone.mp4", "a dog"),
            Caption("green.mp4", "green", Span(50.0, 60.0)),
            skipped=("x:1: bad",),
        ),
    )
    (query,) = matched.queries
    ((span,),) = query.spans.values()
    assert span.start == 1.0
    assert span.end == pytest.approx(3.0, abs=0.2)
    assert matched.unknown_videos == ("gone.mp4",)
    assert matched.skipped[0] == "x:1: bad"
    assert "begins at 50.0 s, after the video's end at 3.0 s" in matched.skipped[1]
    assert matched.num_captions == 1


def test_equal_texts_are_one_question_and_copies_are_right_too(
    library: Library, films: Path
) -> None:
    shutil.copy(films / "red.mp4", films / "copy of red.mp4")
    index_videos(library, [films])
    matched = match_captions(
        library, _captions(Caption("red.mp4", "colour"), Caption("green.mp4", "colour"))
    )
    (query,) = matched.queries
    names = {video.path.name for video in library.catalog.videos() if video.id in query.right}
    assert names == {"red.mp4", "copy of red.mp4", "green.mp4"}


def test_a_name_that_different_videos_bear_is_unknown(
    library: Library, films: Path, make_film
) -> None:
    make_film(films / "other" / "red.mp4", [("magenta", 2.0)])
    index_videos(library, [films])
    matched = match_captions(library, _captions(Caption("red", "red"), Caption("green", "green")))
    assert matched.unknown_videos == ("red",)


def test_captions_of_other_videos_alone_are_refused_in_one_line(library: Library) -> None:
    with pytest.raises(AnnotationError, match="no caption is of a video in") as caught:
        match_captions(library, _captions(Caption("gone.mp4", "red")))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ['he says "no"', "a -b", "video:x", "a AND b", "then<2s", "“x”"])
def test_captions_mean_what_they_say(text: str) -> None:
    question = parse_question(ask_literally(text, [3]))
    assert question.steps == (Step((Term(text),)),)
    assert question.filters == Filters(videos=("3",))


# Retrieval.


def test_every_colour_finds_its_video(library: Library) -> None:
    captions = [Caption("red", "red"), Caption("green", "green"), Caption("two", "yellow")]
    shares: list[float] = []
    found = evaluate_retrieval(
        SearchEngine(library),
        match_captions(library, _captions(*captions)),
        on_progress=shares.append,
    )
    assert found.figures["R@1"] == 100.0
    assert found.figures["MedR"] == 1.0
    assert found.baselines["chance"]["R@1"] == 25.0
    assert (found.n, found.videos) == (3, 4)
    assert found.interval95["R@1"] == (100.0, 100.0)
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])
    json.dumps(asdict(found), allow_nan=False)


def test_whole_videos_are_ranked_too(library: Library) -> None:
    captions = [Caption("red", "red"), Caption("green", "green"), Caption("two", "yellow")]
    labelled = match_captions(library, _captions(*captions))
    found = evaluate_retrieval(SearchEngine(library), labelled, whole_videos=True)
    assert found.kind == "retrieval of whole videos"
    assert found.figures["R@1"] == 100.0


def test_a_video_that_is_folded_into_another_is_found(
    library: Library, films: Path, make_film
) -> None:
    make_film(films / "small red.mp4", [("red", 3.0)], size="64x48")
    index_videos(library, [films])
    answer = SearchEngine(library).ask("red", 1)
    assert len(answer.results[0].duplicates) == 1
    captions = _captions(Caption("red", "red"), Caption("small red", "red"))
    found = evaluate_retrieval(SearchEngine(library), match_captions(library, captions))
    assert found.figures["mAP"] == 100.0


def test_wrong_captions_cost_what_they_should(library: Library) -> None:
    captions = [Caption("red", "red"), Caption("green", "red green"), Caption("cyan", "yellow")]
    found = evaluate_retrieval(SearchEngine(library), match_captions(library, _captions(*captions)))
    assert found.figures["R@1"] == 33.33  # "red green" is yellow too, which two.mp4 shows
    assert found.figures["R@5"] == 100.0  # every video has its place


def test_questions_that_cannot_be_asked_are_named(library: Library) -> None:
    captions = [Caption("red", "red"), Caption("green", "green " * 300)]
    found = evaluate_retrieval(SearchEngine(library), match_captions(library, _captions(*captions)))
    assert found.n == 1
    assert len(found.skipped) == 1
    assert "1,000 are the most" in found.skipped[0]
    with pytest.raises(AnnotationError, match="no question can be asked"):
        evaluate_retrieval(SearchEngine(library), match_captions(library, _captions(*captions[1:])))


# Moments.


def test_moments_are_judged_inside_their_video(library: Library) -> None:
    captions = [Caption("two", "blue", Span(0.0, 3.0)), Caption("two", "yellow", Span(3.0, 6.0))]
    found = evaluate_moments(SearchEngine(library), match_captions(library, _captions(*captions)))
    assert found.figures["R1@0.7"] == 100.0
    assert found.figures["mIoU"] > 90
    assert found.figures["mAP@0.5"] == 100.0
    assert found.baselines["whole video"]["mIoU"] == pytest.approx(50, abs=2)
    assert 20 < found.baselines["random"]["mIoU"] < 70
    assert (found.n, found.videos) == (2, 1)


def test_captions_without_times_judge_no_moments(library: Library) -> None:
    with pytest.raises(AnnotationError, match="no caption has a start and an end"):
        evaluate_moments(
            SearchEngine(library), match_captions(library, _captions(Caption("red", "red")))
        )


# Calibration.


def test_calibration_hides_the_right_videos(library: Library) -> None:
    captions = [Caption("red", "red"), Caption("green", "green"), Caption("cyan", "cyan")]
    found = evaluate_calibration(
        SearchEngine(library), match_captions(library, _captions(*captions))
    )
    assert [setting.false_alarm_rate for setting in found.settings] == list(SETTINGS)
    assert found.recall_at_1 == 100.0
    false = [setting.false_matches for setting in found.settings]
    claimed = [setting.claimed for setting in found.settings]
    assert false == sorted(false)
    assert claimed == sorted(claimed)
    assert all(f <= c for f, c in zip(false, claimed, strict=True))
    for setting in found.settings:
        low, high = setting.false_matches_interval95
        assert low <= setting.false_matches <= high
        assert high > 0  # three questions prove nothing
        assert setting.recall_at_1 <= setting.recall_at_10 <= setting.claimed
    assert sum(row.n for row in found.reliability) == 3
    assert found.reliability[-1].absent_up_to == 100.0


def test_calibration_needs_other_videos(library: Library) -> None:
    everywhere = [Caption(name, "colour") for name in FILMS]
    with pytest.raises(AnnotationError, match="calibration needs other videos"):
        evaluate_calibration(SearchEngine(library), match_captions(library, _captions(*everywhere)))


def test_near_duplicates_of_the_answer_are_no_other_videos(
    colour_library: Library, tmp_path: Path, make_film
) -> None:
    make_film(tmp_path / "films" / "red.mp4", [("red", 3.0)])
    make_film(tmp_path / "films" / "small red.mp4", [("red", 3.0)], size="64x48")
    index_videos(colour_library, [tmp_path / "films"])
    labelled = match_captions(colour_library, _captions(Caption("red.mp4", "red")))
    with pytest.raises(AnnotationError, match="calibration needs other videos"):
        evaluate_calibration(SearchEngine(colour_library), labelled)


# The library on itself.


@pytest.mark.slow
def test_a_library_finds_its_own_cuts_and_lines(library: Library, films: Path) -> None:
    (films / "red.srt").write_text("1\n00:00:00,500 --> 00:00:02,500\nHello out there, captain\n")
    index_videos(library, [films])
    found = evaluate_self(SearchEngine(library), n=3, seed=1)
    assert found.cuts is not None
    assert found.cuts.n == 3
    assert found.cuts.recall["R@1"] == 100.0
    assert found.cuts.chance["R@1"] == 20.0  # one of five clips
    assert found.cuts.first_iou > 90
    assert found.lines is not None
    assert (found.lines.n, found.lines.recall["R@1"]) == (1, 100.0)
    assert 0 < found.latency_ms["p50"] <= found.latency_ms["p95"]
    sizes = found.bytes_per_hour
    assert sizes["total"] == pytest.approx(sum(sizes.values()) - sizes["total"], abs=4)
    assert sizes["features"] > 0
    assert found.skipped == ()
    append_to_history(library.root, found)
    assert read_history(library.root) == ([json.loads(json.dumps(asdict(found)))], 0)


@pytest.mark.slow
def test_videos_whose_files_are_gone_are_left_out_of_the_cuts(
    library: Library, films: Path
) -> None:
    for name in ("red.mp4", "green.mp4", "two.mp4"):
        (films / name).unlink()
    found = evaluate_self(SearchEngine(library), n=10)
    assert found.cuts is not None
    assert found.cuts.n == 1
    assert len(found.skipped) == 4
    assert found.lines is None


def test_the_history_survives_what_was_cut_off(library: Library, tmp_path: Path) -> None:
    found = evaluate_self(SearchEngine(library), n=1)
    append_to_history(tmp_path, found)
    with (tmp_path / HISTORY_FILE).open("a") as stream:
        stream.write('{"time": "2026-')
    append_to_history(tmp_path, found)
    measured, broken = read_history(tmp_path)
    assert len(measured) == 2
    assert broken == 1


def test_a_history_that_is_absent_or_cannot_be_written_is_one_line(
    library: Library, tmp_path: Path
) -> None:
    with pytest.raises(AnnotationError, match="no measurement yet"):
        read_history(tmp_path)
    (tmp_path / HISTORY_FILE).mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        append_to_history(tmp_path, evaluate_self(SearchEngine(library), n=1))


def test_an_empty_library_has_nothing_to_measure(colour_library: Library) -> None:
    with pytest.raises(AnnotationError, match="nothing to measure"):
        evaluate_self(SearchEngine(colour_library))
