"""The saliency that needs no training, of annotated videos: what `vidsift evaluate summary` scores.

The same attention that chooses the segments of a summary, on the features that the file brings.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float64

from summarizer.annotated import FRAME_RATE, AnnotatedVideo
from summarizer.greedy import Worth
from summarizer.saliency import film_worth, frame_saliency, shown_seconds
from vidsift.models.saliency_attention import unit_rows
from vidsift.types import FrameFeatures, Span

__all__ = ["METHODS", "Method", "training_free_scores"]

Method = Literal["attention", "representativeness", "diversity"]
METHODS: tuple[Method, ...] = ("attention", "representativeness", "diversity")


def training_free_scores(
    video: AnnotatedVideo, method: Method = "attention"
) -> Float64[np.ndarray, "p"]:
    """How salient each of the p picked frames is; pieces are the file's shots.

    `attention` has all terms that need no question and no speech, weighted as summaries weigh
    them; the other methods one term alone.
    """
    shots = video.change_points / FRAME_RATE
    owner = np.maximum(np.searchsorted(shots[:, 0], video.pts_seconds, side="right") - 1, 0)
    pieces = [Span(start, end + 1 / FRAME_RATE) for start, end in shots.tolist()]
    features = FrameFeatures(unit_rows(video.features), video.pts_seconds)
    seconds = shown_seconds(video.pts_seconds, video.num_frames / FRAME_RATE)
    worth = film_worth(features.features, seconds, owner, pieces)
    if method != "attention":
        worth = Worth(worth.kernel, tuple(term for term in worth.terms if term.name == method))
    return frame_saliency(features, owner, worth, pieces)
