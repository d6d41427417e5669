"""Summaries: which segments of a video stand for it, or for its answer to a question."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from summarizer.saliency import attention_over_time, piece_saliency
from summarizer.select import fill_budget, knapsack
from vidsift.errors import StorageError, SummaryError
from vidsift.library import Library
from vidsift.types import Clip, FrameFeatures, Segment, Shot, Span, Summary, VideoRecord

__all__ = ["budget_for", "choose_segments", "summarize"]

_PIECE_SECONDS = (1.0, 4.0)  # shortest and longest piece that is chosen or left as a whole
_MOST_PIECES = 2000


def summarize(
    library: Library,
    video: str | Path | int | VideoRecord,
    query: str = "",
    *,
    seconds: float | None = None,
    ratio: float | None = None,
) -> Summary:
    """Summarise one indexed video, generically or about a question, and remember the result.

    The budget is `seconds`, or `ratio` of the video's length (default: the setting
    `summary_ratio`). The generic summary under the default budget was made when the video was
    indexed and is only looked up.

    Raises:
        SummaryError: the budget is not positive or longer than the video, or the video cannot be
            summarised because it is not searchable.
        VideoNotFoundError: no video of the library answers to `video`.
    """
    record = video if isinstance(video, VideoRecord) else library.video(video)
    if record.status == "failed":
        raise SummaryError(
            f"{record.path}: was not indexed ({record.reason}); nothing to summarise"
        )
    budget = budget_for(
        record, seconds=seconds, ratio=ratio, default_ratio=library.settings.summary_ratio
    )
    query = query.strip()
    for known in library.catalog.summaries(record.id):
        if known.query == query and math.isclose(known.budget_seconds, budget, abs_tol=1e-3):
            return known
    records = library.catalog.clips_of_video(record.id)
    features = FrameFeatures(
        np.asarray(library.features.open(record.feature_file), dtype=np.float32),
        np.concatenate([clip.pts_seconds for clip in records]),
    )
    vector = library.encoder.encode_texts([query])[0] if query else None
    summary = choose_segments(
        features,
        [clip.clip for clip in records],
        library.catalog.shots_of_video(record.id),
        budget,
        query=query,
        vector=vector,
    )
    with contextlib.suppress(StorageError):  # remembering it is a convenience, not the answer
        library.catalog.save_summary(record.id, summary)
    return summary


def budget_for(
    record: VideoRecord, *, seconds: float | None, ratio: float | None, default_ratio: float
) -> float:
    """The budget in seconds, never less than one frame.

    Raises:
        SummaryError: it is not positive, or longer than the video.
    """
    least = float(1 / record.frame_rate)
    if seconds is not None and ratio is not None:
        raise SummaryError("a budget is either --seconds or --ratio; give one of them")
    if seconds is not None:
        if not (math.isfinite(seconds) and seconds > 0):
            raise SummaryError(f"--seconds {seconds:g}: a summary needs more than 0 seconds")
        if seconds > record.duration_seconds + 1e-6:
            raise SummaryError(
                f"--seconds {seconds:g}: {record.path.name} lasts only"
                f" {record.duration_seconds:.1f} s; ask for less than that"
            )
        return min(record.duration_seconds, max(seconds, least))
    ratio = default_ratio if ratio is None else ratio
    if not 0 < ratio <= 1:
        raise SummaryError(f"--ratio {ratio:g}: give a share of the video above 0 and up to 1")
    return min(record.duration_seconds, max(ratio * record.duration_seconds, least))


def choose_segments(
    features: FrameFeatures,
    clips: Sequence[Clip],
    shots: Sequence[Shot],
    budget_seconds: float,
    *,
    query: str = "",
    vector: Float32[np.ndarray, "d"] | None = None,
) -> Summary:
    """Choose the segments of one video under a budget; `vector` is the question's, if there is one.

    Clips are cut into pieces; attention over the film's frames gives each piece its saliency; the
    knapsack takes the best set that fits; the rest of the budget lengthens what was taken.
    """
    frames = np.asarray(features.features, dtype=np.float32)
    end = clips[-1].span.end
    pieces = _cut_pieces(clips, budget_seconds)
    starts = np.array([piece.start for piece in pieces])
    owner = np.maximum(np.searchsorted(starts, features.pts_seconds, side="right") - 1, 0)
    shown = np.diff(features.pts_seconds, append=max(end, float(features.pts_seconds[-1]) + 1e-3))
    weights = attention_over_time(frames, shown, vector)
    seconds = np.array([piece.duration for piece in pieces])
    least = min(_piece_length(budget_seconds), float(seconds.max()))
    saliency = piece_saliency(frames, weights, owner, pieces, budget_seconds, least)
    chosen = [
        Segment(pieces[i], float(saliency[i]))
        for i in knapsack(saliency * seconds, seconds, budget_seconds)
    ]
    segments = fill_budget(chosen, [shot.span for shot in shots], budget_seconds, end)
    return Summary(query=query, segments=segments, budget_seconds=budget_seconds)


def _piece_length(budget_seconds: float) -> float:
    # A sixth of the budget a piece, so that a summary shows several places.
    shortest, longest = _PIECE_SECONDS
    return min(max(budget_seconds / 6, shortest), longest, budget_seconds)


def _cut_pieces(clips: Sequence[Clip], budget_seconds: float) -> list[Span]:
    total = sum(clip.span.duration for clip in clips)
    length = max(_piece_length(budget_seconds), total / _MOST_PIECES)
    pieces = []
    for clip in clips:
        count = max(1, math.ceil(clip.span.duration / length - 1e-6))
        edges = np.linspace(clip.span.start, clip.span.end, count + 1)
        pieces += [Span(float(a), float(b)) for a, b in pairwise(edges)]
    return pieces
