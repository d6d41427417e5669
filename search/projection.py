"""Training a projection of the built-in encoder on captioned pictures or videos of one's own.

The networks stay as they are: every picture goes through them once, and what is trained is a
ridge regression (`vidsift.models.projection_training`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from search.annotations import Caption, read_captions
from search.examples import read_picture
from vidsift.errors import AnnotationError, MediaError, QueryError, VideoNotFoundError
from vidsift.library import Library
from vidsift.media.frames import decode
from vidsift.media.probe import probe
from vidsift.models.builtin_encoder import (
    NETWORKS_SHA256,
    complete_variant,
    encode_classes,
    open_class_tower,
)
from vidsift.models.encoder import open_encoder
from vidsift.models.projection import write_projection
from vidsift.models.projection_training import (
    Captioned,
    choose_strength,
    fit,
    rank_captions,
    split,
)
from vidsift.models.runtime import Tower
from vidsift.types import Span

__all__ = ["ProjectionProgress", "ProjectionReport", "train_projection"]

CUTOFFS = (1, 5, 10)
_LEAST_GROUPS = 20  # pictures or videos; a part of five has four then
_MOST_FRAMES = 8  # of an item
_NAMED = 3  # reasons in a message
_RATE = 2.0  # frames a second that are looked at
_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".avif"})


@dataclass(frozen=True, slots=True)
class ProjectionProgress:
    """How far training is: `done` of `total` of this stage."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class ProjectionReport:
    """What came of training: the file, its figures, and what was left out.

    `figures` holds what the file holds: `before` and `after`, R@k by k, ConSE alone and with the
    projection, over the captions of a fifth of the pictures or videos that was kept apart;
    `chance`; the strength and the numbers of what was used. `unknown` are names that neither the
    pictures nor the library have; `skipped` are lines and files that could not be used, each with
    its reason.
    """

    file: Path
    figures: Mapping[str, Any]
    unknown: tuple[str, ...] = ()
    skipped: tuple[str, ...] = field(default=(), repr=False)

    @property
    def improves(self) -> bool:
        """Whether captions find more of what was kept apart than without it."""
        before, after = (sum(self.figures[key].values()) for key in ("before", "after"))
        return bool(after > before)


def train_projection(
    captions: Path,
    out: Path,
    *,
    pictures: Path | None = None,
    library: Library | None = None,
    format: str = "auto",  # noqa: A002
    device: str = "auto",
    seed: int = 0,
    on_progress: Callable[[ProjectionProgress], None] = lambda progress: None,
) -> ProjectionReport:
    """Train a projection and write it to `out`; the encoder is then `builtin:OUT`.

    A fifth of the pictures or videos is kept apart; the strength of the regression is chosen by
    cross-validation on the rest, which is then measured on the fifth. What is written is fitted on
    all of them with that strength.

    Args:
        captions: a file that `search.annotations.read_captions` reads, in `format`.
        pictures: the folder of the pictures and videos that captions name.
        library: else (or also) captions name videos of this library. Of a caption with a span its
            frames count, else frames spread over the video.
        seed: decides which fifth is kept apart.

    Raises:
        AnnotationError: the captions cannot be read, or are of too few pictures and videos.
        EncoderError: the encoder cannot run, or `out` cannot be written.
    """
    annotations = read_captions(captions, format)
    encoder = open_encoder("builtin:conse", device=device)
    try:
        tower = open_class_tower(device)
        gathering = _Gathering(pictures, library, tower, encoder.picture_size)
        gathering.add(annotations.items, on_progress)
        skipped = (*annotations.skipped, *gathering.skipped)
        if gathering.num_groups < _LEAST_GROUPS:
            reasons = [f"{name} is not there" for name in gathering.unknown] + list(skipped)
            raise AnnotationError(
                f"{captions}: has captions of {gathering.num_groups} pictures and videos that can"
                f" be used, a projection takes at least {_LEAST_GROUPS}"
                + (f" ({'; '.join(reasons[:_NAMED])})" if reasons else "")
            )
        on_progress(ProjectionProgress("encoding captions", 0, 1))
        pairs = gathering.pairs(encoder.encode_texts(gathering.texts))
    finally:
        encoder.close()

    held = split(pairs, seed)[0]
    rest = pairs.part(np.setdiff1d(np.arange(len(pairs.groups)), held))
    strength, _ = choose_strength(
        rest, seed, lambda done, of: on_progress(ProjectionProgress("training", done, of))
    )
    tested = pairs.part(held)
    figures = {
        "captions": len(pairs.captions),
        "items": len(pairs.groups),
        "strength": strength,
        "held_captions": len(tested.captions),
        "held_items": len(held),
        "before": _recall(rank_captions(tested, None)),
        "after": _recall(rank_captions(tested, fit(rest, strength))),
        "chance": {str(k): min(1.0, k / len(held)) for k in CUTOFFS},
    }
    whole = fit(pairs, strength, NETWORKS_SHA256)
    write_projection(out, replace(whole, figures=figures))
    return ProjectionReport(
        Path(complete_variant(str(out))), figures, tuple(gathering.unknown), skipped
    )


def _recall(ranks: Int64[np.ndarray, "m"]) -> dict[str, float]:
    return {str(k): float((ranks <= k).mean()) for k in CUTOFFS}


class _Gathering:
    """The items that captions are about, and what the networks say of their frames."""

    def __init__(
        self, pictures: Path | None, library: Library | None, tower: Tower, short_side: int
    ) -> None:
        self._pictures = pictures
        self._library = library
        self._tower = tower
        self._short_side = short_side
        self._conse: list[Float32[np.ndarray, "f d"]] = []  # of each item
        self._roots: list[Float32[np.ndarray, "f k"]] = []
        self._groups: list[int] = []
        self._captions: list[tuple[int, str]] = []  # item, text
        self.unknown: list[str] = []
        self.skipped: list[str] = []

    @property
    def texts(self) -> list[str]:
        """The text of each caption."""
        return [text for _, text in self._captions]

    @property
    def num_groups(self) -> int:
        """How many pictures and videos can be used."""
        return len(set(self._groups))

    def add(
        self, captions: tuple[Caption, ...], on_progress: Callable[[ProjectionProgress], None]
    ) -> None:
        """Read and encode what captions name, each file once; what cannot be used is noted."""
        by_path: dict[Path, dict[Span | None, list[str]]] = defaultdict(lambda: defaultdict(list))
        path_of: dict[str, Path | None] = {}
        for caption in captions:
            if caption.video not in path_of:
                path_of[caption.video] = self._find(caption.video)
            if (path := path_of[caption.video]) is not None:
                by_path[path][caption.span].append(caption.text)
        self.unknown += [name for name, path in path_of.items() if path is None]
        for done, (path, texts_of) in enumerate(by_path.items()):
            on_progress(ProjectionProgress("encoding pictures", done, len(by_path)))
            try:
                for span, images in self._frames(path, list(texts_of)):
                    self._add(done, images, texts_of[span])
            except (MediaError, QueryError) as error:
                self.skipped.append(str(error))

    def pairs(self, vectors: Float32[np.ndarray, "m d"]) -> Captioned:
        """All that was added; `vectors` are those of `texts`."""
        lengths = [len(frames) for frames in self._conse]
        return Captioned(
            conse=np.concatenate(self._conse),
            roots=np.concatenate(self._roots),
            item_of_frame=np.repeat(np.arange(len(lengths)), lengths),
            captions=vectors,
            item_of_caption=np.array([item for item, _ in self._captions], np.int64),
            groups=np.array(self._groups, np.int64),
        )

    def _add(self, group: int, images: UInt8[np.ndarray, "f h w 3"], texts: list[str]) -> None:
        conse, roots = encode_classes(self._tower, images)
        self._captions += [(len(self._groups), text) for text in texts]
        self._conse.append(conse)
        self._roots.append(roots)
        self._groups.append(group)

    def _find(self, name: str) -> Path | None:
        if self._pictures is not None and (self._pictures / name).is_file():
            return self._pictures / name
        if self._library is None:
            return None
        try:
            return self._library.video(name).path
        except VideoNotFoundError:
            return None

    def _frames(
        self, path: Path, spans: list[Span | None]
    ) -> Iterator[tuple[Span | None, UInt8[np.ndarray, "f h w 3"]]]:
        """The frames that each span is about; of a picture it is the one."""
        if path.suffix.lower() in _PICTURES:
            picture = read_picture(path, self._short_side)[np.newaxis]
            yield from ((span, picture) for span in spans)
            return
        video = probe(path)
        wanted = {span: span or Span(0.0, max(video.duration_seconds, 1 / _RATE)) for span in spans}
        due = {span: _times(whole) for span, whole in wanted.items()}
        shown: dict[Span | None, list[np.ndarray]] = {span: [] for span in spans}
        with decode(video, sample_rate=_RATE, short_side=self._short_side) as frames:
            for frame in frames:
                if frame.sample is None:
                    continue
                for span, times in due.items():
                    # A span between two frames has the one after it.
                    is_in = frame.pts_seconds < wanted[span].end or not shown[span]
                    if times and frame.pts_seconds >= times[0] and is_in:
                        shown[span].append(frame.sample)
                        due[span] = [time for time in times if time > frame.pts_seconds]
        for span, own in shown.items():
            if own:
                yield span, np.stack(own)
            else:
                self.skipped.append(f"{path}: a caption is about what comes after its end")


def _times(span: Span) -> list[float]:
    """From when on a span's frames are taken: few, spread evenly."""
    count = max(1, min(_MOST_FRAMES, round(span.duration * _RATE)))
    return [span.start + i * span.duration / count for i in range(count)]
