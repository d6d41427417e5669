"""Training a saliency on videos that people have summarised, in TVSum's and SumMe's h5 form.

Either on the features that the files bring, for use on such files, or, where a library has the
videos, on the library's own, for use as a term of its summaries. What is learned is the annotators'
mean importance (`gtscore`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float64

from summarizer.annotated import AnnotatedVideo, read_annotated
from summarizer.summary_metrics import rank_correlations
from summarizer.training_free import training_free_scores
from vidsift.errors import AnnotationError
from vidsift.library import Library
from vidsift.models.saliency_attention import SaliencyModel
from vidsift.models.saliency_checkpoint import (
    SaliencyCheckpoint,
    h5_stamp,
    read_saliency,
    write_saliency,
)
from vidsift.models.tensor_file import SUFFIX
from vidsift.types import VideoRecord

if TYPE_CHECKING:
    from vidsift.models.saliency_training import Recipe

__all__ = [
    "SaliencyReport",
    "TrainingProgress",
    "default_checkpoint",
    "train_saliency",
    "trained_name",
]

_VALIDATION_SHARE = 0.2  # of the videos
_LEAST_VIDEOS = 4
_SAME_LENGTH = (1.0, 0.02)  # seconds, and share of the length, by which a copy may differ


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far training is: `done` of `total` steps of all epochs; early stopping may end sooner.

    `kendall` is that of the last epoch on the validation videos, None before there is one.
    """

    done: int
    total: int
    epoch: int = 0
    kendall: float | None = None


@dataclass(frozen=True)
class SaliencyReport:
    """What came of training: the checkpoint, its figures, and what was left out.

    `figures` holds what the checkpoint holds: the `epoch` that was best, Kendall's tau with the
    annotators' mean importance over the validation videos (`kendall`, its `standard_error`, and as
    `untrained` that of saliency without training), the numbers of videos, their names
    (`trained_on`, which has those of validation too: they chose the epoch), and the recipe.
    `unknown_videos` are not in the library; `skipped` could not be used, each with its reason.
    """

    checkpoint: Path
    figures: Mapping[str, Any]
    epochs: int
    unknown_videos: tuple[str, ...] = ()
    skipped: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, eq=False)
class _Example:
    """A video under the name that checkpoints remember, with the features that are trained on."""

    name: str
    video: AnnotatedVideo
    pts_seconds: Float64[np.ndarray, "n"]


def train_saliency(
    files: Sequence[Path],
    out: Path,
    *,
    library: Library | None = None,
    recipe: Recipe | None = None,
    only: Collection[str] | None = None,
    resume: bool = False,
    on_progress: Callable[[TrainingProgress], None] = lambda progress: None,
) -> SaliencyReport:
    """Train a saliency on the videos of h5 files and write it to `out`.

    A fifth of the videos is kept for validation; `out` always holds the best saliency so far, the
    untrained one at first, so that a run may be cut off at any time. `resume` goes on with one
    that was, from the file `OUT.state` beside it.

    Args:
        library: train on this library's features of the videos that it has by the file's
            `video_name`, else by the key; None: on the features in the files.
        only: keys or names of the videos to train on; None: all.

    Raises:
        AnnotationError: a file cannot be read, or too few videos can be trained on.
        SaliencyModelError: the checkpoint cannot be written, or there is nothing to resume.
        EncoderError, LibraryError: the library's encoder or features cannot be used.
    """
    # Here, because it imports torch.
    from vidsift.models.saliency_training import Film, Recipe, fit

    recipe = recipe or Recipe()
    examples, unknown, skipped = _examples(files, library, only)
    if len(examples) < _LEAST_VIDEOS:
        why = f"; {len(unknown)} are not in {library.root}" if library and unknown else ""
        raise AnnotationError(
            f"{files[0]}: {len(examples)} videos can be trained on, at least {_LEAST_VIDEOS} are"
            f" needed{why}{f'; {skipped[0]}' if skipped else ''}"
        )
    dimensions = {example.video.features.shape[1] for example in examples}
    if len(dimensions) > 1:
        raise AnnotationError(
            f"{files[0]}: features have {' and '.join(map(str, sorted(dimensions)))} dimensions;"
            " train on files of the same features"
        )
    stamp = h5_stamp(dimensions.pop())
    if library is not None:
        stamp = library.catalog.stamp() or library.encoder.stamp
    order = np.random.default_rng(recipe.seed).permutation(len(examples))
    kept = max(1, round(_VALIDATION_SHARE * len(examples)))
    validation = [examples[i] for i in order[:kept]]
    training = [examples[i] for i in order[kept:]]

    taus: list[float] = []

    def kendall(model: SaliencyModel) -> float:
        taus[:] = [
            _kendall(model.scores(one.video.features, one.pts_seconds), one.video)
            for one in validation
        ]
        return float(np.mean(taus))

    figures = {
        "videos": len(training),
        "validation_videos": len(validation),
        "trained_on": sorted(example.name for example in examples),
        "untrained": float(
            np.mean([_kendall(training_free_scores(one.video), one.video) for one in validation])
        ),
        "recipe": asdict(recipe),
    }
    films = [
        Film(one.video.features, one.pts_seconds, one.video.gtscore.astype(np.float32))
        for one in training
    ]
    last = TrainingProgress(0, recipe.epochs)

    def on_step(epoch: int, step: int, steps: int) -> None:
        nonlocal last
        done, total = (epoch - 1) * steps + step, recipe.epochs * steps
        last = TrainingProgress(done, total, epoch, last.kendall)
        on_progress(last)

    epochs = 0
    state = out.with_name(f"{out.name}.state")
    for epoch in fit(films, kendall, recipe, state=state, resume=resume, on_step=on_step):
        epochs = epoch.number
        if epoch.model is not None:
            reached = {
                "epoch": epoch.number,
                "kendall": epoch.quality,
                "standard_error": _standard_error(taus),
            }
            write_saliency(out, SaliencyCheckpoint(epoch.model, stamp, {**figures, **reached}))
        last = replace(last, epoch=epoch.number, kendall=epoch.quality)
        on_progress(last)
    return SaliencyReport(
        checkpoint=out,
        figures=read_saliency(out).figures,
        epochs=epochs,
        unknown_videos=tuple(unknown),
        skipped=tuple(skipped),
    )


def trained_name(file: Path, video: AnnotatedVideo) -> str:
    """Under what name a checkpoint remembers that it was trained on this video of this file."""
    return f"{file.stem}/{video.key}"


def default_checkpoint(files: Sequence[Path], folder: Path) -> Path:
    """Where a saliency trained on these files is written unless told otherwise."""
    return folder / f"{files[0].stem}{SUFFIX}"


def _examples(
    files: Sequence[Path], library: Library | None, only: Collection[str] | None
) -> tuple[list[_Example], list[str], list[str]]:
    """The videos to train on, the names of those that the library lacks, and what was left out."""
    examples = []
    unknown = []
    skipped: list[str] = []
    for file in files:
        annotations = read_annotated(file)
        skipped += annotations.skipped
        videos = [
            video
            for video in annotations.videos
            if only is None or video.key in only or video.name in only
        ]
        for video in _in_unit_range(videos):
            name = trained_name(file, video)
            if library is None:
                examples.append(_Example(name, video, video.pts_seconds))
                continue
            records = _records(library, video)
            if not records:
                unknown.append(video.name)
                continue
            shown = video.num_frames / float(records[0].frame_rate)
            seconds = records[0].duration_seconds
            if abs(shown - seconds) > max(_SAME_LENGTH[0], _SAME_LENGTH[1] * seconds):
                skipped.append(
                    f"{file}: {video.key}: {video.num_frames} frames last {shown:.1f} s, but"
                    f" {records[0].path} lasts {seconds:.1f} s: not the same video"
                )
                continue
            examples.append(_of_library(library, records[0], name, video))
    return examples, unknown, skipped


def _records(library: Library, video: AnnotatedVideo) -> list[VideoRecord]:
    """The library's searchable videos of this name; several only if they are the same file."""
    for name in (video.name, video.key):
        found = [one for one in library.catalog.find_videos(name) if one.status == "searchable"]
        if len({one.fingerprint.sha256 for one in found}) == 1:
            return found
    return []


def _of_library(
    library: Library, record: VideoRecord, name: str, video: AnnotatedVideo
) -> _Example:
    """The video with the library's frames, and the importance of each between that of the picks."""
    features = np.asarray(library.features.open(record.feature_file), dtype=np.float32)
    clips = library.catalog.clips_of_video(record.id)
    seconds = np.concatenate([clip.pts_seconds for clip in clips])
    rate = float(record.frame_rate)
    importance = np.interp(seconds, video.picks / rate, video.gtscore)
    picks = np.clip(np.round(seconds * rate), 0, video.num_frames - 1).astype(np.int64)
    return _Example(
        name, replace(video, features=features, gtscore=importance, picks=picks), seconds
    )


def _in_unit_range(videos: Sequence[AnnotatedVideo]) -> list[AnnotatedVideo]:
    """The videos with importance in [0, 1]; files that rate from 1 to 5 are brought there whole."""
    if not videos:
        return []
    low = min(float(video.gtscore.min()) for video in videos)
    high = max(float(video.gtscore.max()) for video in videos)
    if low >= 0 and high <= 1:
        return list(videos)
    scale = max(high - low, 1e-12)
    return [replace(video, gtscore=(video.gtscore - low) / scale) for video in videos]


def _kendall(scores: Float[np.ndarray, "n"], video: AnnotatedVideo) -> float:
    """Kendall's tau with the mean importance; 0 where either is the same everywhere."""
    tau, _ = rank_correlations(
        scores.astype(np.float64)[None], video.gtscore[None], np.ones(len(scores))
    )
    return float(np.nan_to_num(tau[0, 0]))


def _standard_error(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))
