"""The spatial level: features of the regions of a frame, and which of them speak for a question.

Regions are the cells of the encoder's last map (its positions before pooling, or its patches). They
live in the space of frames and texts, so that the poolers of `vidsift.models.attention` attend to
the regions of a frame as they attend to the frames of a clip.

Axes: q queries, n frames, r rows and c columns of regions, d dimensions, h rows and w columns of
pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from vidsift.models.attention import Pooler

__all__ = ["HeatMap", "pool_regions"]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """How much each region of one frame speaks for a question; below 0: against it.

    `covered` is what of the frame the encoder looks at, as left, top, right and bottom in shares of
    width and height: an encoder that takes a square from the middle of a wide frame does not see
    its sides. Where the encoder pads a frame it reaches beyond 0 and 1.

    `exact` tells what the values are. True: shares of the frame's own score, which add up to
    `score - baseline`, the cosine of the frame minus that of a frame without any evidence
    (`baseline`). False: each region's own cosine with the question, in [-1, 1].
    """

    values: Float32[np.ndarray, "r c"]
    covered: tuple[float, float, float, float]
    exact: bool
    baseline: float = 0.0

    def __post_init__(self) -> None:
        left, top, right, bottom = self.covered
        if not (left < right and top < bottom):
            raise ValueError(f"a heat map covers a part of the frame, got {self.covered}")

    def over(self, height: int, width: int) -> Float32[np.ndarray, "{height} {width}"]:
        """The map over a frame of this size, smoothly; NaN where the encoder does not look."""
        from PIL import Image  # here, so that a search does not wait for it

        left, top, right, bottom = self.covered
        edges = (round(left * width), round(top * height))
        size = (
            max(1, round(right * width) - edges[0]),
            max(1, round(bottom * height) - edges[1]),
        )
        heat = Image.fromarray(self.values).resize(size, Image.Resampling.BICUBIC)
        whole = Image.fromarray(np.full((height, width), np.nan, np.float32))
        whole.paste(heat, edges)
        return np.array(whole)


def pool_regions(
    pooler: Pooler, queries: Float32[np.ndarray, "q d"], regions: Float32[np.ndarray, "n r c d"]
) -> tuple[Float32[np.ndarray, "q n d"], Float32[np.ndarray, "q n r c"]]:
    """Spatial attention: pool the regions of each frame under each query.

    A frame takes the place of a clip and its regions that of the clip's frames. Returns vectors
    (q, n, d) and the weights of the regions (q, n, r, c), which sum to 1 over a frame; whatever
    holds for the pooler (see `vidsift.models.attention.Pooler`) holds here.
    """
    n, r, c, d = regions.shape
    cells = regions.reshape(n, r * c, d)
    vectors, weights = pooler(queries, cells, np.ones((n, r * c), np.bool_))
    return vectors, weights.reshape(len(queries), n, r, c)
