"""Saliency: how much of the film, or of its answer to a question, each piece stands for.

Attention on two levels, nothing trained. Within a piece its frames x_t are pooled by attention to
what the piece shows (or to the question): c = sum_t a_t x_t, a = softmax(s_t / T). Between pieces
k(j, i) = max(0, cos(c_j, c_i)) tells how far piece i stands for piece j, less for a piece that is
too short to be taken in. With these a set of pieces is worth the sum of its terms
(`summarizer.greedy`), each a share of the film:

- representativeness: the share p of the film that it stands for, by time; with a question by the
  attention to it, so that the film's answer is stood for;
- diversity: the kinds of thing in the film, or in its answer, that it stands for. A second counts
  here for the less, the more there is like it: u_j = p_j / sum_s p_s k(j, s), over their sum, which
  is the effective number of kinds (diversity of order 0; Leinster and Cobbold 2012);
- relevance, with a question: the share of the attention to it, over the whole film, that it holds;
- speech: its share of all seconds in which someone speaks;
- learned: its share of what a trained network finds important.

The first two count only once what several pieces stand for. A piece's saliency is its share of what
the summary is worth, a second; of each term its share is what it stands for better than the others.

Axes: n frames, m pieces, d dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int

from summarizer.edges import join_lines
from summarizer.greedy import Term, Worth
from vidsift.types import FrameFeatures, Span

__all__ = ["attention_over_time", "film_worth", "frame_saliency", "pool_pieces", "shown_seconds"]

FILM_TEMPERATURE = 0.5  # of attention over a film, in standard deviations of its relevance
PIECE_TEMPERATURE = 0.1  # of attention within a piece, in units of cosine
_COSINE = 0.1  # that a deviation of relevance comes to within a piece
# Of the terms; without a question, and with one, which then decides before all else.
GENERIC = {"representativeness": 0.5, "diversity": 0.5, "speech": 0.1, "learned": 1.0}
ABOUT = {"representativeness": 0.1, "diversity": 0.1, "relevance": 1.0, "speech": 0.05,
         "learned": 0.2}  # fmt: skip


def attention_over_time(
    relevance: Float64[np.ndarray, "n"], seconds: Float64[np.ndarray, "n"]
) -> Float64[np.ndarray, "n"]:
    """Attention over the frames of a film, summing to 1: softmax over time of their relevance.

    A frame counts for the `seconds` that it is shown. Relevance is standardised over the film
    first, so that the weights say where in this film the answer lies, not whether the film as a
    whole is near the question.
    """
    deviation = max(float(relevance.std()), 1e-6)
    weights = seconds * np.exp((relevance - relevance.max()) / deviation / FILM_TEMPERATURE)
    return np.asarray(weights / weights.sum())


def shown_seconds(
    pts_seconds: Float64[np.ndarray, "n"], end_seconds: float
) -> Float64[np.ndarray, "n"]:
    """How long each frame is shown: until the next one is."""
    last = max(end_seconds, float(pts_seconds[-1]) + 1e-3)
    return np.diff(pts_seconds, append=last)


def pool_pieces(
    frames: Float32[np.ndarray, "n d"],
    owner: Int[np.ndarray, "n"],
    pieces: int,
    relevance: Float64[np.ndarray, "n"] | None = None,
) -> tuple[Float32[np.ndarray, "m d"], Float64[np.ndarray, "n"]]:
    """Each piece's unit vector, pooled by attention, and the attention (it sums to 1 in a piece).

    Frames attend to the piece's mean, or to the question by their `relevance`. A piece without
    frames has the zero vector.
    """
    if relevance is None:
        means = _summed(frames, owner, pieces)
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        scores = np.einsum("nd,nd->n", frames, means[owner]).astype(np.float64)
    else:
        scores = _COSINE * relevance
    highest = np.full(pieces, -np.inf)
    np.maximum.at(highest, owner, scores)
    attention = np.exp((scores - highest[owner]) / PIECE_TEMPERATURE)
    attention /= np.bincount(owner, attention, pieces)[owner]
    pooled = _summed(frames * attention[:, np.newaxis].astype(np.float32), owner, pieces)
    pooled /= np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
    return pooled, attention


def film_worth(
    frames: Float32[np.ndarray, "n d"],
    seconds: Float64[np.ndarray, "n"],
    owner: Int[np.ndarray, "n"],
    pieces: Sequence[Span],
    *,
    look_seconds: float = 0.0,
    relevance: Float64[np.ndarray, "n"] | None = None,
    spoken: Sequence[Span] = (),
    learned: Float64[np.ndarray, "n"] | None = None,
) -> Worth:
    """What sets of pieces are worth in this film; `owner[t]` is the piece that frame t lies in.

    Args:
        frames: unit-length features.
        seconds: how long each frame is shown.
        owner: increasing; every piece is the owner of the frames in it.
        pieces: in order, and apart.
        look_seconds: how long a piece must be shown to be taken in; of a shorter one counts as
            much less what it stands for.
        relevance: how near each frame is to the question, in any unit; None: no question.
        spoken: when someone speaks.
        learned: how important a trained network finds each frame, in [0, 1]; None: none.
    """
    m = len(pieces)
    pooled, _ = pool_pieces(frames, owner, m, relevance)
    kernel = np.maximum(pooled @ pooled.T, 0)  # (m, m)
    weights = GENERIC if relevance is None else ABOUT
    attention = (
        seconds / seconds.sum() if relevance is None else attention_over_time(relevance, seconds)
    )
    mass = np.bincount(owner, attention, m)  # each piece's share of the film, or of its answer
    kinds = mass / np.maximum(kernel @ mass, 1e-12)
    durations = np.array([piece.duration for piece in pieces])
    if look_seconds > 0:
        kernel *= np.minimum(durations / look_seconds, 1).astype(np.float32)[:, np.newaxis]
    terms = [
        Term("representativeness", weights["representativeness"], mass, covers=True),
        Term("diversity", weights["diversity"], kinds / kinds.sum(), covers=True),
    ]
    if relevance is not None:
        terms.append(Term("relevance", weights["relevance"], mass, covers=False))
    said = _spoken_seconds(pieces, spoken)
    if said.any():
        terms.append(Term("speech", weights["speech"], said / said.sum(), covers=False))
    if learned is not None and learned.any():
        important = np.bincount(owner, learned * seconds, m)
        terms.append(Term("learned", weights["learned"], important / important.sum(), covers=False))
    return Worth(kernel, tuple(terms))


def frame_saliency(
    features: FrameFeatures,
    owner: Int[np.ndarray, "n"],
    worth: Worth,
    pieces: Sequence[Span],
    relevance: Float64[np.ndarray, "n"] | None = None,
) -> Float64[np.ndarray, "n"]:
    """The curve of saliency over the frames, a second: both levels of attention multiplied.

    A piece's saliency, before anything is taken, times the attention within it (mean 1). It is
    highest where the first segment would be chosen; what is like a chosen segment stays as high.
    """
    frames = np.asarray(features.features, dtype=np.float32)
    _, attention = pool_pieces(frames, owner, len(pieces), relevance)
    counts = np.bincount(owner, minlength=len(pieces))
    durations = np.array([piece.duration for piece in pieces])
    saliency = worth.gains(worth.nothing_yet()) / durations
    return np.asarray(saliency[owner] * attention * counts[owner])


def _spoken_seconds(pieces: Sequence[Span], spoken: Sequence[Span]) -> Float64[np.ndarray, "m"]:
    """The seconds of each piece in which someone speaks."""
    lines = join_lines(spoken)
    edges = np.array([edge for line in lines for edge in (line.start, line.end)] or [0.0])
    durations = [seconds for line in lines for seconds in (0.0, line.duration)] or [0.0]
    so_far = np.cumsum(durations)  # seconds of speech up to each edge
    ends = np.interp([piece.end for piece in pieces], edges, so_far)
    return np.asarray(ends - np.interp([piece.start for piece in pieces], edges, so_far))


def _summed(
    frames: Float32[np.ndarray, "n d"], owner: Int[np.ndarray, "n"], pieces: int
) -> Float32[np.ndarray, "m d"]:
    sums = np.zeros((pieces, frames.shape[1]), dtype=np.float32)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))  # owners increase: each one's first frame
    sums[owner[starts]] = np.add.reduceat(frames, starts, axis=0)
    return sums
