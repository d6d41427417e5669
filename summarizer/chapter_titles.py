"""What a chapter shows, in the words of the prototype texts, and how sure that is.

A frame's cosine with a text tells little by itself: some texts lie near to everything (hubs), and
of a thousand one is nearest by luck. So a chapter attends to all prototypes at once,

    s_p = attention-pooled cosine of the chapter's frames with prototype p,
    x_p = s_p - h_p / 2,    w = softmax(x / (0.4 std(x))),    title = argmax_i sum_p w_p cos(p, i)

with h_p, the hubness, the mean of the highest tenth of p's scores among other footage (the
correction of CSLS, Conneau et al. 2018, as in `search.null`). The title is thus the text nearest to
what the prototypes that the chapter attends to say together, not the one that happens to be first.
Its confidence is the share of the attention that goes to prototypes which say the same: those
whose cosine with it only one in a hundred pairs of unrelated questions (`search.bank`) reaches.

Axes: k chapters, n frames, p prototypes, b pieces of other footage, d dimensions.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float32, Float64, Int64

from search.bank import bank_vectors, prototype_texts, prototype_vectors
from vidsift.library import Library
from vidsift.models.attention import SoftmaxPool
from vidsift.models.encoder import Encoder
from vidsift.store.records import Generation
from vidsift.types import ClipRecord, EncoderStamp, VideoRecord

__all__ = ["SURE", "PictureTitle", "Prototypes", "other_footage", "picture_titles"]

SURE = 0.5  # a title that is less sure than this is not given
_TEMPERATURE = 0.4  # standard deviations of a chapter's scores
_HUB_WEIGHT = np.float32(0.5)
_HUB_SHARE = 0.1
_LEAST_OTHERS = 10  # pieces of other footage; of fewer no hub can be told
_SAME_CHANCE = 0.01
_ROUNDING = 1e-4  # of cosines kept with half precision
_MOST_FRAMES = 400  # of a chapter that its scores are pooled over
_VIDEOS = 100
_CLIPS_OF_EACH = 3


@dataclass(frozen=True, slots=True)
class PictureTitle:
    """A prototype text, and the share of the chapter's attention that bears it out, in [0, 1]."""

    text: str
    confidence: float


@dataclass(frozen=True)
class Prototypes:
    """Texts with their unit-length vectors (p, d); of two cosines from `same` on say the same."""

    texts: tuple[str, ...]
    vectors: Float32[np.ndarray, "p d"]
    same: float

    @classmethod
    def for_encoder(cls, encoder: Encoder) -> Prototypes:
        """Those that ship with vidsift, in the space of `encoder`."""
        bank = bank_vectors(encoder)
        apart = (bank @ bank.T)[np.triu_indices(len(bank), 1)]
        same = float(np.quantile(apart, 1 - _SAME_CHANCE)) - _ROUNDING
        return cls(prototype_texts(), prototype_vectors(encoder), same)

    def scores(
        self, footage: Sequence[Float32[np.ndarray, "_ d"]], temperature: float
    ) -> Float32[np.ndarray, "k p"]:
        """The attention-pooled cosine of each piece of footage, given as its frames, with each
        text: softmax pooling at `temperature`. Of a long piece 400 frames stand for all."""
        pool = SoftmaxPool(temperature)
        scores = np.empty((len(footage), len(self.texts)), np.float32)
        for row, frames in zip(scores, footage, strict=True):
            chosen = frames[:: -(-len(frames) // _MOST_FRAMES)]
            pooled, _ = pool(self.vectors, chosen[np.newaxis], np.ones((1, len(chosen)), bool))
            row[:] = np.einsum("pd,pd->p", self.vectors, pooled[:, 0])
        return scores


def picture_titles(
    prototypes: Prototypes,
    chapters: Float32[np.ndarray, "k p"],
    others: Float32[np.ndarray, "b p"],
) -> list[PictureTitle]:
    """The most fitting text of each chapter from the scores of its footage; no text twice.

    `others` are the scores of footage of other videos; a chapter's other footage is that and the
    other chapters. The surest chapter has the first choice. A title's confidence may be anything:
    what is below `SURE` should not be said.

    On 67 videos with descriptions of their own (benchmarks/chapters.py) the confidence is a
    careful one: of titles of at least `SURE` nine in ten are among the 20 prototypes of 973 that
    lie nearest to the description.
    """
    if not len(chapters):
        return []
    attention = np.stack(
        [
            _attention(own, np.concatenate([others, np.delete(chapters, k, axis=0)]))
            for k, own in enumerate(chapters)
        ]
    )  # (k, p)
    alike = prototypes.vectors @ prototypes.vectors.T  # (p, p)
    fitting = attention @ alike
    confidence = attention @ (alike >= prototypes.same)
    taken = np.zeros(len(prototypes.texts), dtype=bool)
    titles: dict[int, PictureTitle] = {}
    for k in np.argsort(-confidence[np.arange(len(fitting)), fitting.argmax(1)], kind="stable"):
        best = int(np.argmax(np.where(taken, -np.inf, fitting[k])))
        taken[best] = True
        titles[int(k)] = PictureTitle(prototypes.texts[best], min(1.0, float(confidence[k, best])))
    return [titles[k] for k in range(len(chapters))]


def _attention(
    own: Float32[np.ndarray, "p"], others: Float32[np.ndarray, "b p"]
) -> Float64[np.ndarray, "p"]:
    """A chapter's attention to the prototypes: weights that sum to 1."""
    scores = own
    if len(others) >= _LEAST_OTHERS:
        highest = max(1, round(_HUB_SHARE * len(others)))
        hubness = np.partition(others, len(others) - highest, axis=0)[-highest:].mean(0)
        scores = own - _HUB_WEIGHT * hubness
    standard = (scores - scores.max()).astype(np.float64) / max(float(scores.std()), 1e-6)
    weights = np.exp(standard / _TEMPERATURE)
    return np.asarray(weights / weights.sum())


def other_footage(
    library: Library, video: VideoRecord, prototypes: Prototypes
) -> Float32[np.ndarray, "b p"]:
    """The scores of clips of other videos: of at most 100 videos three each, evenly chosen.

    They are kept in memory while the library stays as it is.
    """
    with _opening:
        known = _kept.get(library)
        now = library.catalog.generation()
        if known is None or known.generation != now or known.encoder != library.encoder.stamp:
            chosen = _sample(library)
            known = _Sample(
                now,
                library.encoder.stamp,
                np.array([record.video_id for record in chosen], dtype=np.int64),
                prototypes.scores(_frames(library, chosen), library.settings.temperature),
            )
            _kept[library] = known
    return np.asarray(known.scores[known.videos != video.id])


@dataclass(frozen=True)
class _Sample:
    """Scores of clips, and the video of each, for one state of a library."""

    generation: Generation
    encoder: EncoderStamp
    videos: Int64[np.ndarray, "b"]
    scores: Float32[np.ndarray, "b p"]


_opening = threading.Lock()
_kept: WeakKeyDictionary[Library, _Sample] = WeakKeyDictionary()


def _sample(library: Library) -> list[ClipRecord]:
    videos = library.catalog.videos("searchable")
    chosen: list[ClipRecord] = []
    for video in videos[:: max(1, -(-len(videos) // _VIDEOS))]:
        clips = library.catalog.clips_of_video(video.id)
        chosen += clips[:: max(1, -(-len(clips) // _CLIPS_OF_EACH))]
    return chosen


def _frames(library: Library, clips: Sequence[ClipRecord]) -> list[Float32[np.ndarray, "_ d"]]:
    dimension = library.encoder.stamp.dimension
    return [
        library.features.read(
            each.feature_file, each.clip.first_frame, each.clip.num_frames, dimension
        )
        for each in clips
    ]
