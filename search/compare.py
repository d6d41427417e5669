"""Two encoders on the same questions: what both find, and where they differ.

The other space is searched in a copy of the catalog in which it is the one that is searched, so
that the comparison shows what a switch would give, and the library itself stays as it is.

Overlap at k of two answers is the share of their k best results that is in both: of videos, or of
moments (of one video, with a tIoU of at least 0.5). A figure alone says little where a library is
small or one video answers everything, so that it stands beside what comes of chance: the overlap
of one space's answers with the other's answers to other questions.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from search.bank import bank_texts
from search.engine import SearchEngine
from vidsift.errors import QueryError, VideoNotFoundError
from vidsift.library import Library
from vidsift.store import history
from vidsift.store.catalog import Catalog
from vidsift.store.spaces import Space
from vidsift.store.switching import copy_switched
from vidsift.types import Answer, SearchResult

__all__ = [
    "AT",
    "FEW",
    "Comparison",
    "Difference",
    "compare_spaces",
    "in_other_space",
    "questions_of",
    "read_questions",
]

AT = 10
"""Results of an answer that are compared."""

FEW = 5
"""Past questions below which texts of the bank are asked too."""

_BANK = 50  # texts of the bank that are asked then
_SAME_MOMENT = 0.5  # tIoU
_OTHERS = 10  # other questions that each is held against, to tell what comes of chance
_MOST_PAST = 200  # questions of the history: the latest
_COPY = "compare-"
_COPY_SUFFIX = ".part"
_GIVEN_UP_SECONDS = 24 * 3600.0
_TRAINING_FREE = ("mean", "max", "softmax")


@dataclass(frozen=True, slots=True)
class Difference:
    """One question in both spaces: overlaps in [0, 1], whether it matched, the best of each."""

    question: str
    videos: float
    moments: float
    matched: tuple[bool, bool]
    best: tuple[SearchResult | None, SearchResult | None]


@dataclass(frozen=True)
class Comparison:
    """What two spaces make of the same questions; pairs are the searched one's and the other's.

    Overlaps are means; those by chance are None where there is only one question. `matched` are
    the shares of questions that have an answer, as the settings have it. `skipped` are questions
    that cannot be asked, with the reason. `pooler` is the trained one that only the searched space
    could be asked with; empty if there is none.
    """

    encoders: tuple[str, str]
    differences: tuple[Difference, ...]
    videos: float
    moments: float
    videos_by_chance: float | None
    moments_by_chance: float | None
    matched: tuple[float, float]
    skipped: tuple[tuple[str, str], ...]
    pooler: str

    def most_different(self, count: int) -> list[Difference]:
        """The questions whose answers have least in common, least first."""
        return sorted(self.differences, key=lambda each: (each.moments, each.videos))[:count]


def questions_of(library: Library) -> tuple[list[str], int]:
    """The questions to compare on, the latest first, and how many at their end were not asked here.

    Where these are few, texts of the bank are added; most of those have no answer.
    """
    past = [each.question for each in history.asked(library.catalog, _MOST_PAST)]
    more = [text for text in bank_texts() if text not in past] if len(past) < FEW else []
    more = more[:_BANK]
    return [*past, *more], len(more)


def read_questions(file: Path) -> list[str]:
    """The questions of a text file, one a line.

    Raises:
        QueryError: it cannot be read, or holds none.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise QueryError(f"{file}: {why}; name a text file with one question a line") from error
    found = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not found:
        raise QueryError(f"{file}: holds no question; write one a line")
    return found


def compare_spaces(
    library: Library,
    space: Space,
    questions: Sequence[str],
    on_progress: Callable[[float], None] | None = None,
) -> Comparison:
    """Ask both spaces the same questions. `on_progress(share done)`.

    Raises:
        QueryError: not one of the questions can be asked.
        EncoderError, EncoderMismatchError: an encoder cannot be used here.
        StorageError: there is no room for a copy of the catalog in the library's folder.
    """
    asked: list[tuple[str, Answer, Answer]] = []
    skipped = []
    with in_other_space(library, space) as other:
        engines = SearchEngine(library), SearchEngine(other)
        for number, question in enumerate(questions, 1):
            try:
                ours, theirs = (engine.ask(question, AT) for engine in engines)
            except (QueryError, VideoNotFoundError) as error:
                skipped.append((question, str(error)))
            else:
                asked.append((question, ours, theirs))
            if on_progress is not None:
                on_progress(number / len(questions))
        stamp = library.encoder.stamp
    if not asked:
        why = skipped[0][1] if skipped else "there are none"
        raise QueryError(f"none of the questions to compare on can be asked: {why}")
    pooler = library.settings.pooler
    overlaps = [_overlap(ours, theirs) for _, ours, theirs in asked]
    videos, moments = np.mean(overlaps, axis=0).tolist()
    n = len(asked)
    others = [
        _overlap(ours, asked[(place + shift) % n][2])
        for shift in range(1, min(n, _OTHERS + 1))
        for place, (_, ours, _) in enumerate(asked)
    ]
    by_chance = np.mean(others, axis=0).tolist() if others else (None, None)
    return Comparison(
        encoders=(stamp.name, space.stamp.name),
        differences=tuple(
            Difference(
                question,
                *overlap,
                (ours.matched, theirs.matched),
                (_best(ours), _best(theirs)),
            )
            for overlap, (question, ours, theirs) in zip(overlaps, asked, strict=True)
        ),
        videos=videos,
        moments=moments,
        videos_by_chance=by_chance[0],
        moments_by_chance=by_chance[1],
        matched=(
            sum(ours.matched for _, ours, _ in asked) / len(asked),
            sum(theirs.matched for _, _, theirs in asked) / len(asked),
        ),
        skipped=tuple(skipped),
        pooler="" if pooler in _TRAINING_FREE else pooler,
    )


@contextmanager
def in_other_space(library: Library, space: Space) -> Iterator[Library]:
    """A library like this one in which the space is the one that is searched; gone afterwards.

    Its catalog is a copy in a folder of its own; the feature files are the library's own. A trained
    pooler or saliency, which is of the searched space, is left out of its settings.

    Raises:
        SpaceError: the space is not there.
        StorageError: there is no room.
    """
    _remove_given_up(library.root)
    training_free = library.settings.pooler in _TRAINING_FREE
    changes = {"encoder": "", "saliency": "", "database_url": ""}
    changes |= {} if training_free else {"pooler": "softmax"}
    with TemporaryDirectory(prefix=_COPY, suffix=_COPY_SUFFIX, dir=library.root) as folder:
        url = f"sqlite:///{Path(folder) / 'catalog.sqlite3'}"
        copy_switched(library.catalog, space.id, url)
        settings = library.settings.model_copy(update=changes)
        features = library.root / "features"
        with Library(Path(folder), settings, Catalog.open(url), features=features) as other:
            yield other


def _remove_given_up(root: Path) -> None:
    """Copies whose process was killed."""
    for folder in root.glob(f"{_COPY}*{_COPY_SUFFIX}"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _GIVEN_UP_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _best(answer: Answer) -> SearchResult | None:
    return answer.results[0] if answer.results else None


def _overlap(ours: Answer, theirs: Answer) -> tuple[float, float]:
    """The shares of videos and of moments that are in both of two answers; 1 of two empty ones."""
    first = {each.moment.video_id for each in ours.results}
    second = {each.moment.video_id for each in theirs.results}
    videos = len(first & second) / max(len(first), len(second), 1)
    left = [each.moment for each in theirs.results]
    shared = 0
    for result in ours.results:
        moment = result.moment
        same = (
            each
            for each in left
            if each.video_id == moment.video_id and each.span.tiou(moment.span) >= _SAME_MOMENT
        )
        if (found := next(same, None)) is not None:
            left.remove(found)
            shared += 1
    moments = shared / max(len(ours.results), len(theirs.results), 1)
    if not first and not second:
        return 1.0, 1.0
    return videos, moments
