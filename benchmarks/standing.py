"""Standing questions: how often do they alert, where there is reason to and where there is none?

    python -m benchmarks.standing DATA_FOLDER --library DIR

DATA_FOLDER as for `quality_videos`; DIR holds its videos, indexed. Each video in turn is the one
that has just come in, all others are the library that it came into. It is asked

- its own questions: the share that alerts is the recall;
- the 306 questions of `absent_questions.txt`, which no video answers: the share of videos that
  alert must be at most the rate that was chosen. By chance an own question would alert as often;
- the questions of the other videos, some of which it fairly answers.

Beside it the same rate as other null distributions would tell it, from the same scores: that of the
search within the one video, that of the search in the library, and what less of a question's level
in the library is taken off.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.calibration import ABSENT, interval, rates
from benchmarks.quality_videos import groups_of
from search.bank import bank_vectors
from search.exact import frame_matrix
from search.null import BEST, SHOWN, best_places, directions_from, hubness, rivals
from search.standing import standing_matches
from search.trust import mean_frames, scores_in_one_pass
from vidsift.library import Library

SETTINGS = (0.01, 0.02, 0.05)

# The lowest rate of each question in one video (q,), from the scores of the clips of the library
# under the bank and the questions (c, b), (c, q), their mean frames (c, d), and which are its own.
Rate = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def in_video(hub_weight: float, level_weight: float) -> Rate:
    """The bank's best values in the video, less what a text finds in all of the library."""

    def rate(bank: np.ndarray, asked: np.ndarray, means: np.ndarray, own: np.ndarray) -> np.ndarray:
        near, without = hubness(bank[own])
        ways = directions_from(means.mean(0), means)

        def peaks(scores: np.ndarray, its_near: np.ndarray) -> np.ndarray:
            found = []
            for text, of_text in enumerate(scores.T):
                best = best_places(of_text, BEST)
                level = rivals(of_text[best], ways[best], ways[own])
                values = of_text[own] - hub_weight * its_near[:, text] - level_weight * level
                found.append(values.max())
            return np.array(found)

        of_asked = np.broadcast_to(near[:, np.newaxis], (len(near), asked.shape[1]))
        return rates(peaks(bank, without), peaks(asked, of_asked))

    return rate


def search_in(everything: bool) -> Rate:
    """As a search tells it, in all of the library or with the one video as its scope."""

    def rate(bank: np.ndarray, asked: np.ndarray, means: np.ndarray, own: np.ndarray) -> np.ndarray:
        scope = np.ones_like(own) if everything else own
        near, without = hubness(bank[scope])
        ways = directions_from(means[scope].mean(0), means[scope])
        counted = own[scope]

        def peaks(scores: np.ndarray, its_near: np.ndarray, looked_at: np.ndarray) -> np.ndarray:
            found = []
            for text, of_text in enumerate(scores[scope].T):
                best = best_places(of_text, BEST)
                level = rivals(of_text[best], ways[best], ways[best[:SHOWN]])
                best = best[:SHOWN]
                values = of_text[best] - its_near[best, text] / 2 - level / 2
                found.append(np.where(looked_at[best], values, -np.inf).max())
            return np.array(found)

        of_asked = np.broadcast_to(near[:, np.newaxis], (len(near), asked.shape[1]))
        return rates(peaks(bank, without, np.ones_like(counted)), peaks(asked, of_asked, counted))

    return rate


NULLS = {
    "as shipped": in_video(0.5, 1.0),
    "half of the level": in_video(0.5, 0.5),
    "score alone, in the video": in_video(0, 0),
    "search within the video": search_in(everything=False),
    "search in the library": search_in(everything=True),
}


def lowest_rate(library: Library, question: str, video: int) -> float:
    """What `standing_matches` tells; infinite above the largest setting."""
    quoted = '"' + question.replace('"', '""') + '"'
    matches = standing_matches(library, quoted, max(SETTINGS), [video])
    told = [each.false_alarm_rate for each in matches if each.false_alarm_rate is not None]
    return min(told, default=np.inf)


def table(name: str, own: np.ndarray, absent: np.ndarray, others: np.ndarray | None) -> None:
    """Own and others' lowest rates (n,), and those of absent questions (v, q)."""
    for setting in SETTINGS:
        alarms = absent <= setting
        print(
            f"{name:26} {setting:4.2f}  {interval(own, setting)}"
            f"  {interval(absent.ravel(), setting)}"
            f"   {alarms.mean(0).max():.3f}  {alarms.mean(1).max():.3f}"
            f"   {'' if others is None else format(np.mean(others <= setting), '.3f')}"
        )


def main() -> None:
    """Print the tables for the folder and library that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--every", type=int, default=10, help="ask standing_matches every nth of"
                        " the absent questions (0: none, which takes seconds)")  # fmt: skip
    options = parser.parse_args()
    entries = json.loads((options.data / "videos.json").read_text())
    lines = ABSENT.read_text().splitlines()
    absent = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    pairs = [(query, entry["file"]) for entry in entries for query in entry["queries"]]
    asked = [query for query, _ in pairs]
    group = groups_of(entries)
    with Library.open(options.library) as library:
        names = {video.id: video.path.name for video in library.catalog.videos("searchable")}
        videos = [each for each in names if names[each] in group]
        right = np.array(
            [[group[names[video]] == group[file] for _, file in pairs] for video in videos]
        )
        print(f"{len(videos)} videos, each as the new one; {right.sum()} own questions,"
              f" {len(absent)} absent ones, {(~right).sum()} of others")  # fmt: skip
        print("null                       rate  own alert             absent alert          "
              "  worst question, video   others")  # fmt: skip
        matrix = frame_matrix(library)
        temperature = library.settings.temperature
        encoder = library.encoder
        bank, known, unknown = (
            scores_in_one_pass(matrix, vectors, library.pooler, temperature)
            for vectors in (
                bank_vectors(encoder), encoder.encode_texts(asked), encoder.encode_texts(absent)
            )
        )  # fmt: skip
        means = mean_frames(matrix)
        for name, null in NULLS.items():
            both = np.concatenate([known, unknown], axis=1)
            told = np.stack([null(bank, both, means, matrix.video_ids == each) for each in videos])
            of_known, of_absent = told[:, : len(asked)], told[:, len(asked) :]
            table(name, of_known[right], of_absent, of_known[~right])
        if not options.every:
            return
        began = time.monotonic()
        asked_absent = absent[:: options.every]
        pairs_asked = np.argwhere(right)
        # Video after video: what unrelated questions find in a video is kept until the next one.
        of_absent = np.array(
            [[lowest_rate(library, each, video) for each in asked_absent] for video in videos]
        )
        own = np.array([lowest_rate(library, asked[q], videos[v]) for v, q in pairs_asked])
        seconds = time.monotonic() - began
        table("standing_matches itself", own, of_absent, None)
        n = len(own) + of_absent.size
        print(f"{n} questions asked, {1000 * seconds / n:.1f} ms a question and video")


if __name__ == "__main__":
    main()
