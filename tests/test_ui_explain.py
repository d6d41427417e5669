"""`vidsift explain`: the sentences, the JSON and the picture, on films whose answers are known."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from indexer import index_videos
from search import SearchEngine, duplicates
from search.explain import LookedAt, Without, explain, look_at
from search.query import encode_query
from ui.cli import app
from ui.explanation_picture import draw_explanation, draw_heat
from ui.explanation_text import looked_sentence, said_sentences, term_sentences
from vidsift.errors import QueryError, StorageError
from vidsift.library import Library
from vidsift.models.regions import HeatMap
from vidsift.types import Cue, Span


@pytest.fixture
def library(colour_library: Library, colour_encoder, make_film, make, tmp_path, monkeypatch):
    """Two films; every library that the command line opens has the colour encoder, too."""
    monkeypatch.setattr("vidsift.library.open_encoder", lambda *_, **__: colour_encoder)
    make_film(tmp_path / "videos" / "flag.mp4", [("blue", 3), ("red", 3), ("green", 3)])
    fading = make(
        "fading.mp4",
        *["-f", "lavfi", "-i", "color=red:s=96x64:r=10:d=6"],
        *["-vf", "fade=t=out:st=1:d=4:color=blue", "-pix_fmt", "yuv420p"],
    )
    (tmp_path / "videos" / "fading.mp4").write_bytes(fading.read_bytes())
    index_videos(colour_library, [tmp_path / "videos"])
    return colour_library


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["explain", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_sentences_and_the_picture(library, tmp_path):
    out = tmp_path / "why" / "flag.png"
    said = run("red", "flag.mp4@4", "--out", out)
    lines = said.splitlines()
    assert lines[0] == "flag.mp4  0:03.0 - 0:06.0"
    assert lines[1] == "red"
    assert "score 1.00, best at 0:0" in lines[2]
    assert "without 0:03.0 - 0:06.0 nothing of it is left" in said
    assert "elsewhere in this video the best is 0.0" in said
    assert "in the frame at 0:0" in said
    assert lines[-1] == f"picture  {out}"
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        assert picture.width == 1080
        assert 500 < picture.height < 1200


def test_a_result_is_explained_by_its_rank(library, monkeypatch):
    monkeypatch.setattr(duplicates, "SAME_FOOTAGE", 2.0)  # all that is red is to be listed
    first = json.loads(run("red", "--json", "--no-heat-map"))
    assert json.loads(run("red", "--rank", 1, "--json", "--no-heat-map")) == first
    second = json.loads(run("red", "--rank", 2, "--json", "--no-heat-map"))
    (one,), (two,) = first["explanations"], second["explanations"]
    assert {Path(one["video"]).name, Path(two["video"]).name} == {"flag.mp4", "fading.mp4"}
    assert one["terms"][0]["score"] >= two["terms"][0]["score"]
    assert one["terms"][0]["heat_map"] is None
    assert first["picture"] is None


def test_ranks_are_those_of_the_list(library, make_film, tmp_path, monkeypatch):
    monkeypatch.setattr(duplicates, "SAME_FOOTAGE", 2.0)  # all that is red is to be listed
    make_film(tmp_path / "more" / "twice.mp4", [("red", 3), ("blue", 3), ("red", 3)])
    make_film(tmp_path / "more" / "nearly.mp4", [("magenta", 3)])
    index_videos(library, [tmp_path / "more"])
    listed = SearchEngine(library).ask("red").results
    # The turn of `nearly` comes before that of the other half of `twice`, which is better.
    names = [each.video.stem for each in listed]
    assert names.count("twice") == 2 < names.index("nearly")
    for rank, result in enumerate(listed, 1):
        command = ["red", "--rank", rank, "--json", "--no-heat-map"]
        (found,) = json.loads(run(*command))["explanations"]
        assert found["video_id"] == result.moment.video_id
        assert found["start_seconds"] == pytest.approx(result.moment.span.start, abs=1e-3)


def test_the_json_has_the_curve_and_the_map(library):
    (found,) = json.loads(run("red", "fading.mp4@0:01", "--json"))["explanations"]
    (term,) = found["terms"]
    assert found["start_seconds"] <= 1.0 < found["end_seconds"]
    curve = term["curve"]
    assert len(curve["similarity"]) == len(curve["weight"]) == len(curve["start_seconds"]) == 12
    assert sum(curve["weight"]) == pytest.approx(1, abs=1e-4)
    assert curve["similarity"][0] > 0.99 > 0.2 > curve["similarity"][-1]
    assert term["heat_map"]["seconds"] == term["best_seconds"]
    assert np.array(term["heat_map"]["values"]).shape == (4, 4)
    assert term["heat_map"]["covered"] == {"left": 0, "top": 0, "right": 1, "bottom": 1}


def test_every_term_and_every_step_is_explained(library):
    both = json.loads(run('"red" AND "blue" -"green"', "fading.mp4@1", "--json"))["explanations"]
    assert [[term["text"] for term in each["terms"]] for each in both] == [["red", "blue"]]
    order = json.loads(run('"blue" then "red"', "--json", "--no-heat-map"))["explanations"]
    assert [[term["text"] for term in each["terms"]] for each in order] == [["blue"], ["red"]]
    assert Path(order[0]["video"]).name == "flag.mp4"
    assert order[0]["end_seconds"] <= order[1]["start_seconds"] + 1e-6


def test_without_the_video_file_the_curve_still_explains(library, tmp_path):
    library.video("flag.mp4").path.unlink()
    done = CliRunner().invoke(app, ["explain", "red", "flag.mp4@4"], catch_exceptions=False)
    assert "no heat map" in done.stderr
    assert "flag.mp4: no such file" in done.stderr
    assert "score 1.00" in done.stdout
    with Image.open(library.skims / "explanation.png") as picture:
        assert picture.height > 300


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["red", "flag.mp4@4", "--rank", "2"], QueryError, "a moment or a rank, not both"),
        (["red", "--rank", "0"], QueryError, "the first result has rank 1"),
        (["red", "--rank", "90"], QueryError, "--rank 90: the answer has fewer results"),
        (["red", "flag.mp4@90"], QueryError, "beyond the end of flag.mp4"),
        (["red", "flag.mp4"], QueryError, "expected a video and a time in it"),
        (['said:"red"', "flag.mp4@4"], QueryError, "names nothing to be seen"),
        (["red", "flag.mp4@4", "--out", "/proc/no/such.png"], StorageError, "with --out"),
    ],
)
def test_a_mistake_is_one_clear_line(library, arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)


def _red(library: Library, span: Span):
    query = encode_query("red", library.encoder)
    return explain(library, [query], library.video("flag.mp4"), span)


def test_lines_of_subtitles_are_told(library):
    cue = Cue(Span(4.0, 5.0), "Red is [bold]this[/bold] flag")
    vectors = library.encoder.encode_texts([cue.text])
    video = library.video("flag.mp4")
    with library.writing():
        library.catalog.renew_cues(video.id, [cue], vectors, subtitles="stamp", note="")
    told = 'said at 0:04.0: "Red is [bold]this[/bold] flag" (shares red)'
    assert said_sentences(_red(library, Span(3.0, 6.0))) == [told]
    assert told in run("red", "flag.mp4@4", "--no-heat-map")


def _looked(values: list[list[float]], covered=(0.0, 0.0, 1.0, 1.0)) -> LookedAt:
    image = np.full((60, 120, 3), 128, np.uint8)
    return LookedAt(2.0, image, HeatMap(np.array(values, np.float32), covered, exact=True))


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ([[0, 0, 0], [0, 5, 0], [0, 0, 0]], "the middle"),
        ([[5, 0, 0], [0, 1, 0], [0, 0, 0]], "the top left"),
        ([[0, 0, 0], [0, 1, 5], [0, 0, 0]], "the right"),
        ([[0, 0, 0], [0, 0, 0], [0, 5, 0]], "the bottom"),
    ],
)
def test_the_place_in_the_frame_has_a_name(values, place):
    assert looked_sentence(_looked(values)) == f"in the frame at 0:02.0 {place} speaks most for it"
    cut = looked_sentence(_looked(values, (0.25, 0.0, 0.75, 1.0)))
    assert cut.endswith("; the encoder looks at the middle 50% of its width")


def test_what_speaks_for_it_is_warm_and_what_is_not_seen_is_dark():
    heat = np.array(draw_heat(_looked([[5.0, -5.0]], (0.25, 0.0, 0.75, 1.0)))).astype(int)
    assert heat.shape == (60, 120, 3)
    warm, cold, unseen = heat[30, 35], heat[30, 85], heat[30, 5]
    assert warm[0] > warm[2] + 60
    assert cold[2] > cold[0] + 60
    assert unseen.max() < 60
    assert np.ptp(unseen) == 0


def test_without_a_heat_map_the_curve_alone_is_drawn(library):
    explained = _red(library, Span(3.0, 6.0))
    looked = look_at(library, explained.video, explained.terms[0].query, 4.0)
    alone, both = draw_explanation(explained, [None]), draw_explanation(explained, [looked])
    assert alone.width == both.width
    assert both.height > alone.height + 200
    pixels = np.array(alone).reshape(-1, 3)
    for colour in ((24, 92, 180), (255, 238, 206), (244, 162, 60), (200, 70, 20)):
        near = np.abs(pixels.astype(int) - colour).max(1) < 12
        assert near.sum() > 20, colour  # curve, moment, attention, what is lost


def test_what_falls_is_said_to_fall_and_what_stays_to_stay(library):
    term = _red(library, Span(3.0, 6.0)).terms[0]

    def said(*scores: float) -> list[str]:
        parts = tuple(Without(Span(3.0 + place, 4.0 + place), s) for place, s in enumerate(scores))
        return term_sentences(dataclasses.replace(term, score=0.31, without=parts))[1:-1]

    assert said(0.22, 0.306) == ["without 0:03.0 - 0:04.0 the score falls from 0.31 to 0.22"]
    assert said(0.4) == ["without 0:03.0 - 0:04.0 the score rises from 0.31 to 0.40"]
    stays = "no stretch alone carries it: without any one the score stays 0.31"
    assert said(0.309, 0.312) == [stays]


@pytest.mark.slow
def test_the_built_in_encoder_explains_without_torch(tmp_path, make_film):
    """In a process of its own: once its networks are converted nothing heavy is imported."""
    make_film(tmp_path / "videos" / "one.mp4", [("red", 3), ("blue", 3)])
    library = tmp_path / "library"
    with Library.open(library, create=True) as opened:
        index_videos(opened, [tmp_path / "videos"])
        (video,) = opened.catalog.videos()
        look_at(opened, video, encode_query("red", opened.encoder), 0.0)  # converts, if need be
    code = (
        "import sys; from ui.cli import app;"
        f"app(['explain', 'a red wall', '--library', {str(library)!r}, '--out', 'why.png'],"
        " standalone_mode=False);"
        "print([name for name in ('torch', 'timm', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "why.png").stat().st_size > 10_000
