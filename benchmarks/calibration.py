"""Trust on captioned videos: do questions without an answer claim one, and what does it cost?

    python -m benchmarks.calibration DATA_FOLDER [--library DIR]

DATA_FOLDER as for `quality_videos`. Three sets of questions have no answer:

- listed: `absent_questions.txt`, about things that none of the videos shows;
- removed: the data's own questions, each with its right videos taken out of the library;
- halves: random halves of the videos, asked the questions about the other half. Unlike the first
  set, the last two hold questions that videos left in the library answer fairly.

At each setting the share of these that claim a match is printed with its 95 % interval (Wilson;
for the halves over 20 that overlap, the mean alone), and beside it the recall that it costs: the
share of questions whose right video is among the results that match. By luck alone both would be
as large as the setting. Then the same with other values than the one in use, the bank against
itself, and what correction for hubs does to the ranking.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality_videos import groups_of
from indexer import index_videos
from search.bank import bank_vectors
from search.exact import frame_matrix
from search.null import (
    BEST,
    HUB_WEIGHT,
    RIVALS_WEIGHT,
    SHOWN,
    Null,
    best_places,
    directions_from,
    hubness,
    rivals,
)
from search.trust import mean_frames, scores_in_one_pass
from vidsift.library import Library

SETTINGS = (0.01, 0.02, 0.05, 0.10, 0.20)
HALVES = 20
SAMPLES = 1000  # of the bootstrap
ABSENT = Path(__file__).with_name("absent_questions.txt")

# Scores of the bank and of questions at clips (c, b), (c, q), and the clips' mean frames (c, d)
# -> the best value of each text (b,), values of questions (c, q), -inf where not looked at.
Value = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Scores:
    """What every clip scores (c, ...) under the bank, the questions and those that have no answer.

    `means` (c, d) are the clips' mean frames; `clips` (c,) and `right` (q,) are names of groups of
    duplicates: a clip's own, and the one that answers a question.
    """

    bank: np.ndarray
    questions: np.ndarray
    absent: np.ndarray
    means: np.ndarray
    clips: np.ndarray
    right: np.ndarray

    def under(
        self, value: Value, clips: np.ndarray | None = None, *, absent: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """The bank's best values (b,), and what (some) clips are worth under the questions."""
        chosen = np.ones(len(self.clips), bool) if clips is None else clips
        asked = self.absent if absent else self.questions
        return value(self.bank[chosen], asked[chosen], self.means[chosen])

    def halves(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Random halves of the groups: which clips are in it, and which questions are about it."""
        random = np.random.default_rng(0)
        for _ in range(HALVES // 2):
            groups = random.permutation(np.unique(self.clips))
            for half in np.array_split(groups, 2):
                yield np.isin(self.clips, half), np.isin(self.right, half)


def less(hub_weight: float, rivals_weight: float, *, alike: bool = False) -> Value:
    """Scores less hubness and rivals, so weighted; `alike`: clips that show the same are rivals."""

    def values(scores: np.ndarray, near: np.ndarray, directions: np.ndarray) -> np.ndarray:
        found = np.full(scores.shape, -np.inf)
        for of_text, into, near_it in zip(scores.T, found.T, near.T, strict=True):
            best = best_places(of_text, BEST)
            ways = directions[best] * (not alike)
            level = rivals(of_text[best], ways, ways[:SHOWN])
            best = best[: len(level)]
            into[best] = of_text[best] - hub_weight * near_it[best] - rivals_weight * level
        return found

    def value(
        bank: np.ndarray, asked: np.ndarray, means: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        near, without = hubness(bank)
        ways = directions_from(means.mean(0), means)
        of_asked = np.broadcast_to(near[:, np.newaxis], asked.shape)
        return values(bank, without, ways).max(0), values(asked, of_asked, ways)

    return value


SHIPPED = less(float(HUB_WEIGHT), float(RIVALS_WEIGHT))


def standardised(
    bank: np.ndarray, asked: np.ndarray, _means: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """In standard deviations of a question's own scores over the library."""
    return ((bank - bank.mean(0)) / bank.std(0)).max(0), (asked - asked.mean(0)) / asked.std(0)


def rates(peaks: np.ndarray, values: np.ndarray) -> np.ndarray:
    """False-alarm rates of values (q,), given the bank's best values (b,)."""
    none = np.empty(0, np.float32)
    null = Null(np.sort(peaks.astype(np.float32)), none, none.astype(np.int64), none)
    return np.asarray(null.rates(values.astype(np.float32)))


def best_right(values: np.ndarray, clips: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The best value of each question's right clips: (c, q) -> (q,)."""
    return np.asarray(np.where(clips[:, np.newaxis] == right, values, -np.inf).max(0))


def removed(scores: Scores, value: Value) -> np.ndarray:
    """Each question's lowest rate in the library without its right videos."""
    lowest = np.empty(len(scores.right))
    for group in np.unique(scores.right):
        left, asked = scores.clips != group, scores.right == group
        peaks, values = value(
            scores.bank[left], scores.questions[left][:, asked], scores.means[left]
        )
        lowest[asked] = rates(peaks, values.max(0))
    return lowest


def in_halves(scores: Scores, value: Value) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each half, the lowest rates of the other half's questions, and its right videos'."""
    found = []
    for clips, asked in scores.halves():
        peaks, values = scores.under(value, clips)
        own = best_right(values[:, asked], scores.clips[clips], scores.right[asked])
        found.append((rates(peaks, values[:, ~asked].max(0)), rates(peaks, own)))
    return found


def crowded(scores: Scores, value: Value, setting: float, copies: int = 20) -> float:
    """Recall where the clips of a question's right videos stand in the library many times."""
    found = []
    for group in np.unique(scores.right)[::3]:
        own = scores.clips == group
        clips = np.r_[np.arange(len(own)), np.repeat(np.flatnonzero(own), copies - 1)]
        asked = scores.questions[clips][:, scores.right == group]
        peaks, values = value(scores.bank[clips], asked, scores.means[clips])
        found.append(share_at(rates(peaks, values[own[clips]].max(0)), setting))
    return float(np.mean(found))


def share_at(found: np.ndarray, setting: float) -> float:
    """The share of rates at which a match is claimed."""
    return float(np.mean(found <= setting))


def interval(found: np.ndarray, setting: float) -> str:
    """That share with its 95 % interval (Wilson)."""
    share, n = share_at(found, setting), len(found)
    z2 = 1.96**2 / n
    middle, reach = share + z2 / 2, np.sqrt(share * (1 - share) * z2 + z2**2 / 4)
    return f"{share:.3f} [{(middle - reach) / (1 + z2):.3f}, {(middle + reach) / (1 + z2):.3f}]"


def auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """How often a positive stands above a negative."""
    above = positives[:, np.newaxis] - negatives
    return float(np.mean(above > 0) + np.mean(above == 0) / 2)


def settings_table(scores: Scores) -> None:
    """False matches and recall at each setting, for the value in use."""
    peaks, values = scores.under(SHIPPED)
    present = rates(peaks, values.max(0))
    right = rates(peaks, best_right(values, scores.clips, scores.right))
    listed = rates(peaks, scores.under(SHIPPED, absent=True)[1].max(0))
    without = removed(scores, SHIPPED)
    halves = in_halves(scores, SHIPPED)
    print(f"claims of a match, n = {len(listed)} listed, {len(without)} removed, {HALVES} halves;"
          f" recall, n = {len(right)}")  # fmt: skip
    print("setting  listed                removed               halves"
          "  recall right          matched  recall in halves")  # fmt: skip
    for setting in SETTINGS:
        others = np.mean([share_at(other, setting) for other, _ in halves])
        owns = np.mean([share_at(own, setting) for _, own in halves])
        print(f"{setting:6.2f}   {interval(listed, setting)}  {interval(without, setting)}"
              f"  {others:.3f}   {interval(right, setting)}  {share_at(present, setting):.3f}"
              f"    {owns:.3f}")  # fmt: skip
    print("area under the curve (chance 0.5): right video against listed"
          f" {auc(-right, -listed):.3f}, against removed {auc(-right, -without):.3f}")  # fmt: skip


def values_table(scores: Scores, setting: float = 0.05) -> None:
    """Other values at one setting, and how well they could do with the best threshold."""
    print(f"values at {setting:.0%}: false matches listed / removed / halves; recall, in halves;"
          " recall where exactly 5 % of listed match")  # fmt: skip
    candidates: dict[str, Value] = {
        "score alone": less(0, 0),
        "less 0.5 hubness": less(0.5, 0),
        "less 0.75 hubness": less(0.75, 0),
        "less 0.5 rivals": less(0, 0.5),
        "less both, as shipped": SHIPPED,
        "CSLS, all are rivals": less(0.5, 0.5, alike=True),
        "less 0.75 and 0.5": less(0.75, 0.5),
        "less 1.0 and 0.5": less(1.0, 0.5),
        "standardised score": standardised,
    }
    for name, value in candidates.items():
        peaks, values = scores.under(value)
        absent = scores.under(value, absent=True)[1].max(0)
        right = best_right(values, scores.clips, scores.right)
        halves = in_halves(scores, value)
        others, owns = np.mean(
            [[share_at(other, setting), share_at(own, setting)] for other, own in halves], axis=0
        )
        best = np.mean(right >= np.quantile(absent, 1 - setting))
        listed, without = rates(peaks, absent), removed(scores, value)
        print(f"  {name:24} {share_at(listed, setting):.3f} / {share_at(without, setting):.3f}"
              f" / {others:.3f}   {share_at(rates(peaks, right), setting):.3f}, {owns:.3f}"
              f"   {best:.3f}")  # fmt: skip


def crowded_table(scores: Scores, setting: float = 0.05) -> None:
    """What it does to count clips that show the same among the rivals."""
    print("recall where the right video stands in the library 20 times, every third video:"
          f" as shipped {crowded(scores, SHIPPED, setting):.3f}, all are rivals"
          f" {crowded(scores, less(0.5, 0.5, alike=True), setting):.3f}")  # fmt: skip


def bank_against_itself(scores: Scores) -> None:
    """One random half of the bank as the bank, the other as questions without an answer."""
    random = np.random.default_rng(0)
    claims = []
    for _ in range(HALVES):
        order = random.permutation(scores.bank.shape[1])
        first, second = np.array_split(order, 2)
        peaks, values = SHIPPED(scores.bank[:, first], scores.bank[:, second], scores.means)
        claims.append([share_at(rates(peaks, values.max(0)), setting) for setting in SETTINGS])
    means = "  ".join(
        f"{s:.2f}: {x:.3f}" for s, x in zip(SETTINGS, np.mean(claims, 0), strict=True)
    )
    print(f"one half of the bank as bank, the other asked, mean of {HALVES}: {means}")


def ranking_table(scores: Scores) -> None:
    """R@1/5/10 of videos with scores corrected for hubs; paired bootstrap over videos."""
    near, bank = hubness(scores.bank)[0][:, np.newaxis], scores.bank
    corrected = {"none": scores.questions}
    corrected |= {f"score - {w} hubness": scores.questions - w * near for w in (0.25, 0.5, 1.0)}
    for beta in (5, 10, 20):
        inverted = scores.questions - np.log(np.exp(beta * bank).sum(1, keepdims=True)) / beta
        # Dynamic: only for questions whose best clip is the best of some text of the bank.
        is_hub = np.isin(np.arange(len(bank)), bank.argmax(0))[scores.questions.argmax(0)]
        corrected[f"QB-Norm, beta {beta}"] = np.where(is_hub, inverted, scores.questions)
    random = np.random.default_rng(0)
    groups = np.unique(scores.right)
    members = [np.flatnonzero(scores.right == group) for group in groups]
    samples = [
        np.concatenate([members[i] for i in random.integers(len(groups), size=len(groups))])
        for _ in range(SAMPLES)
    ]
    plain = np.empty(0)
    print("ranking corrected for hubs, R@1 / R@5 / R@10, and the difference [95 %] to none")
    for name, values in corrected.items():
        videos = np.stack([values[scores.clips == group].max(0) for group in groups])
        rank = (videos > best_right(values, scores.clips, scores.right)).sum(0)
        hits = np.stack([rank < k for k in (1, 5, 10)], axis=1).astype(float)
        plain = plain if len(plain) else hits
        differences = np.array([(hits[s] - plain[s]).mean(0) for s in samples])
        low, high = np.quantile(differences, [0.025, 0.975], axis=0)
        columns = zip(hits.mean(0), (hits - plain).mean(0), low, high, strict=True)
        shown = "  ".join(f"{h:.3f} ({m:+.3f} [{a:+.3f}, {b:+.3f}])" for h, m, a, b in columns)
        print(f"  {name:18} {shown}")


def scores_of(library: Library, entries: list[dict[str, Any]]) -> Scores:
    """Encode all questions and score them at every clip, as a search of a small library does."""
    group = groups_of(entries)
    name_of = {video.id: video.path.name for video in library.catalog.videos("searchable")}
    questions = [(text, group[entry["file"]]) for entry in entries for text in entry["queries"]]
    lines = ABSENT.read_text("utf-8").splitlines()
    absent = [line for line in lines if line and not line.startswith("#")]
    bank = bank_vectors(library.encoder)
    matrix = frame_matrix(library)
    started = time.perf_counter()
    pooler, temperature = library.pooler, library.settings.temperature
    of_bank = scores_in_one_pass(matrix, bank, pooler, temperature)
    means = mean_frames(matrix)
    Null.of(of_bank, means, matrix.clip_ids)
    seconds = time.perf_counter() - started
    print(f"{len(name_of)} videos, {len(matrix)} clips, {len(matrix.rows)} frames;"
          f" null distribution of {len(bank)} texts made in {seconds * 1000:.0f} ms")  # fmt: skip
    encode = library.encoder.encode_texts
    return Scores(
        bank=of_bank,
        questions=scores_in_one_pass(
            matrix, encode([q for q, _ in questions]), pooler, temperature
        ),
        absent=scores_in_one_pass(matrix, encode(absent), pooler, temperature),
        means=means,
        clips=np.array([group[name_of[video]] for video in matrix.video_ids.tolist()]),
        right=np.array([right for _, right in questions]),
    )


def main() -> None:
    """Index unless the library is there already, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("--library", type=Path)
    arguments = parser.parse_args()
    entries = json.loads((arguments.data / "videos.json").read_text())
    with (
        tempfile.TemporaryDirectory() as scratch,
        Library.open(arguments.library or Path(scratch), create=True) as library,
    ):
        index_videos(library, [arguments.data / "videos"])
        scores = scores_of(library, entries)
        settings_table(scores)
        values_table(scores)
        crowded_table(scores)
        bank_against_itself(scores)
        ranking_table(scores)


if __name__ == "__main__":
    main()
