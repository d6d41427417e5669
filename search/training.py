"""Training a pooler on a library's own videos and a file of captions.

The encoder stays as it is: captions are encoded once, frames are the stored features. What is
trained is how frames are attended to (`vidsift.models.attention_training`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16, Float32, Float64, Int64

from search.annotations import read_captions
from search.labelled import Labelled, match_captions
from vidsift.errors import AnnotationError
from vidsift.library import Library
from vidsift.models.attention import POOLERS, SoftmaxPool
from vidsift.models.pooler_checkpoint import PoolerCheckpoint, read_checkpoint, write_checkpoint
from vidsift.models.training_pairs import Pairs, Recipe, ranks
from vidsift.types import Span, VideoRecord

__all__ = ["TrainingProgress", "TrainingReport", "train_pooler"]

MAX_FRAMES = 16  # of an item, as of a clip by default
_VALIDATION_SHARE = 0.2  # of the videos
_LEAST_VIDEOS = 4  # two to tell apart in training and two in validation
_MOST_VALIDATED = 1000  # captions; more would cost time after every epoch and tell little more
_TEXT_BATCH = 256
_NAMED = 5  # unknown videos in a message


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far training is: `done` of `total` captions encoded or steps taken.

    `total` steps are those of all epochs; early stopping may end sooner. `recall_at_1` is that of
    the last epoch on the validation captions, None before there is one.
    """

    stage: str
    done: int
    total: int
    epoch: int = 0
    recall_at_1: float | None = None


@dataclass(frozen=True)
class TrainingReport:
    """What came of training: the checkpoint, its figures, and what was left out.

    `figures` holds what the checkpoint holds: `recall_at_1` (with its `standard_error`) and `mrr`
    of the best `epoch` on the validation captions, R@1 of the poolers that need no training as
    `untrained`, `chance`, the numbers of captions and videos, and the recipe. `unknown_videos` are
    the names of captions' videos that the library does not have; `skipped` are lines that could
    not be used, each with its reason.
    """

    checkpoint: Path
    figures: Mapping[str, Any]
    epochs: int
    unknown_videos: tuple[str, ...] = ()
    skipped: tuple[str, ...] = field(default=(), repr=False)


def train_pooler(
    library: Library,
    captions: Path,
    *,
    recipe: Recipe | None = None,
    out: Path | None = None,
    format: str = "auto",  # noqa: A002
    resume: bool = False,
    on_progress: Callable[[TrainingProgress], None] = lambda progress: None,
) -> TrainingReport:
    """Train a pooler for this library's encoder and write it to `out`.

    A caption of a whole video is about up to 16 frames spread over it; a caption of a span is about
    up to 8 frames of the span among as many of the rest of the video, which are there to distract.
    A fifth of the videos is kept for validation; `out` always holds the best pooler so far, the
    untrained one at first, so that a run may be cut off at any time. `resume` goes on with one
    that was, from the file `OUT.state` beside it.

    Args:
        captions: a file that `search.annotations.read_captions` reads, in `format`.
        out: default: `LIBRARY/poolers/KIND.safetensors`.

    Raises:
        AnnotationError: the file cannot be read, or too few of its videos are in the library.
        PoolerError: the checkpoint cannot be written, or there is nothing to resume.
        EncoderError, LibraryError: the library's encoder or features cannot be used.
    """
    # Here, because it imports torch.
    from vidsift.models.attention_training import fit

    recipe = recipe or Recipe()
    out = out or library.poolers / f"{recipe.kind}.safetensors"
    labelled = match_captions(library, read_captions(captions, format))
    items = _Items(library, labelled)
    if items.num_videos < _LEAST_VIDEOS:
        raise AnnotationError(
            f"{captions}: has captions of {items.num_videos} videos of {library.root}, training"
            f" takes at least {_LEAST_VIDEOS}{_unknown(labelled)}; index more of its videos"
        )
    pairs = items.pairs(_encode(library, items.texts, on_progress))
    train, validation = _split(pairs, recipe.seed)

    figures = {
        "captions": len(train.items),
        "videos": len(set(train.videos.tolist())),
        "validation_captions": len(validation.items),
        "validation_videos": len(set(validation.videos.tolist())),
        "chance": _chance(validation),
        "untrained": _untrained(validation, library.settings.temperature),
        "recipe": asdict(recipe),
    }
    last = TrainingProgress("training", 0, recipe.epochs)

    def on_step(epoch: int, step: int, steps: int) -> None:
        nonlocal last
        done, total = (epoch - 1) * steps + step, recipe.epochs * steps
        last = TrainingProgress("training", done, total, epoch, last.recall_at_1)
        on_progress(last)

    epochs = 0
    state = out.with_name(f"{out.name}.state")
    for epoch in fit(train, validation, recipe, state=state, resume=resume, on_step=on_step):
        epochs = epoch.number
        if epoch.pool is not None:
            reached = {
                "epoch": epoch.number,
                "recall_at_1": epoch.recall_at_1,
                "standard_error": _standard_error(epoch.recall_at_1, len(validation.items)),
                "mrr": epoch.mrr,
            }
            stamp = library.encoder.stamp
            write_checkpoint(out, PoolerCheckpoint(epoch.pool, stamp, {**figures, **reached}))
        last = TrainingProgress("training", last.done, last.total, epoch.number, epoch.recall_at_1)
        on_progress(last)
    return TrainingReport(
        checkpoint=out,
        figures=read_checkpoint(out).figures,
        epochs=epochs,
        unknown_videos=labelled.unknown_videos,
        skipped=labelled.skipped,
    )


def _unknown(labelled: Labelled) -> str:
    names = labelled.unknown_videos
    if not names:
        return ""
    more = ", ..." if len(names) > _NAMED else ""
    return f" ({len(names)} are not in the library: {', '.join(names[:_NAMED])}{more})"


class _Items:
    """The captions of a library's videos, and the frames that each is about."""

    def __init__(self, library: Library, labelled: Labelled) -> None:
        self._library = library
        self._captions: list[tuple[str, int]] = []  # text, item
        self._frames: list[Float16[np.ndarray, "n d"]] = []
        self._videos: list[int] = []  # of each item
        record_of = {video.id: video for video in library.catalog.videos("searchable")}
        items: dict[tuple[int, Span | None], int] = {}
        for query in labelled.queries:
            # One of several copies of a video, that one of which spans are known.
            ids = sorted(query.right, key=lambda video: video in query.spans)
            for video in {record_of[i].fingerprint.sha256: record_of[i] for i in ids}.values():
                for span in query.spans.get(video.id, (None,)):
                    if (video.id, span) not in items:
                        items[video.id, span] = self._add(video, span)
                    self._captions.append((query.text, items[video.id, span]))

    @property
    def texts(self) -> list[str]:
        """The text of each caption."""
        return [text for text, _ in self._captions]

    @property
    def num_videos(self) -> int:
        """How many videos have captions."""
        return len(set(self._videos))

    def pairs(self, vectors: Float32[np.ndarray, "m d"]) -> Pairs:
        """The captions with these vectors, in order, and their frames."""
        shape = (len(self._frames), max(map(len, self._frames)), vectors.shape[1])
        frames = np.zeros(shape, np.float16)
        mask = np.zeros(shape[:2], bool)
        for row, own in enumerate(self._frames):
            frames[row, : len(own)] = own
            mask[row, : len(own)] = True
        items = np.array([item for _, item in self._captions], np.int64)
        return Pairs(vectors, items, frames, mask, np.array(self._videos, np.int64))

    def _add(self, video: VideoRecord, span: Span | None) -> int:
        features = self._library.features.open(video.feature_file)
        if span is None:
            rows = _spread(np.arange(len(features)), MAX_FRAMES)
        else:
            rows = _rows_of_span(self._times(video, len(features)), span)
        self._frames.append(features[rows])
        self._videos.append(video.id)
        return len(self._frames) - 1

    def _times(self, video: VideoRecord, num_frames: int) -> Float64[np.ndarray, "n"]:
        """When each row of the video's features is shown; NaN for a row of no clip."""
        times = np.full(num_frames, np.nan)
        for record in self._library.catalog.clips_of_video(video.id):
            times[record.clip.frames] = record.pts_seconds
        return times


def _rows_of_span(times: Float64[np.ndarray, "n"], span: Span) -> Int64[np.ndarray, "k"]:
    """Rows of a span, and as many of the rest, in order of time.

    A span between two frames has the one that is shown meanwhile.
    """
    inside = np.flatnonzero((times >= span.start) & (times < span.end))
    if not len(inside):
        inside = np.flatnonzero(times <= span.start)[-1:]
    rest = np.setdiff1d(np.arange(len(times)), inside)
    chosen = (_spread(inside, MAX_FRAMES // 2), _spread(rest, MAX_FRAMES // 2))
    return np.sort(np.concatenate(chosen))


def _spread(rows: Int64[np.ndarray, "n"], most: int) -> Int64[np.ndarray, "k"]:
    """At most so many of the rows, evenly spread from the first to the last."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def _encode(
    library: Library, texts: Sequence[str], on_progress: Callable[[TrainingProgress], None]
) -> Float32[np.ndarray, "m d"]:
    # Many videos share captions ("a man is singing"): each text is encoded once.
    distinct, places = np.unique(np.array(texts, dtype=object), return_inverse=True)
    vectors = []
    for start in range(0, len(distinct), _TEXT_BATCH):
        on_progress(TrainingProgress("captions", start, len(distinct)))
        vectors.append(library.encoder.encode_texts(distinct[start : start + _TEXT_BATCH].tolist()))
    on_progress(TrainingProgress("captions", len(distinct), len(distinct)))
    return np.concatenate(vectors)[places]


def _split(pairs: Pairs, seed: int) -> tuple[Pairs, Pairs]:
    """Pairs for training and for validation, of different videos."""
    rng = np.random.default_rng(seed)
    videos = rng.permutation(np.unique(pairs.videos))
    kept = videos[: max(2, round(_VALIDATION_SHARE * len(videos)))]
    held_out = np.isin(pairs.videos[pairs.items], kept)
    validated = rng.permutation(np.flatnonzero(held_out))[:_MOST_VALIDATED]
    return pairs.take(np.flatnonzero(~held_out)), pairs.take(np.sort(validated))


def _standard_error(share: float, count: int) -> float:
    """Of a share of `count`, as if there were two more hits and two more misses.

    Agresti and Coull (1998): the plain formula calls two hits of two certain.
    """
    wider = (share * count + 2) / (count + 4)
    return math.sqrt(wider * (1 - wider) / (count + 4))


def _chance(pairs: Pairs) -> float:
    """R@1 of scores that are no more than luck."""
    items_of_video: Mapping[int, int] = dict(
        zip(*map(np.ndarray.tolist, np.unique(pairs.videos, return_counts=True)), strict=True)
    )
    own = pairs.videos[pairs.items].tolist()
    return float(np.mean([1 / (1 + len(pairs.videos) - items_of_video[video]) for video in own]))


def _untrained(pairs: Pairs, temperature: float) -> dict[str, float]:
    """R@1 of the poolers that need no training, on the same captions."""
    poolers = {name: make() for name, make in POOLERS.items()} | {
        "softmax": SoftmaxPool(temperature)
    }
    return {name: float((ranks(pooler, pairs) == 1).mean()) for name, pooler in poolers.items()}
