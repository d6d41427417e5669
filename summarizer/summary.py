"""Summaries: which segments of a video stand for it, or for its answer to a question."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int

from summarizer.asked import Answered, answer_in
from summarizer.edges import fill_budget
from summarizer.greedy import Worth
from summarizer.saliency import film_worth, frame_saliency, shown_seconds
from summarizer.select import cut_pieces, owners, piece_seconds, select
from vidsift.config import Settings
from vidsift.errors import LibraryBusyError, StorageError, SummaryError, VideoNotFoundError
from vidsift.library import Library
from vidsift.types import Clip, Cue, FrameFeatures, Shot, Span, Summary, VideoRecord

__all__ = [
    "Film",
    "budget_for",
    "choose_segments",
    "film_of",
    "saliency_curve",
    "summarize",
]

_SUMMARY_SETTINGS = ("summary_selection", "min_segment_seconds", "saliency")


@dataclass(frozen=True)
class Film:
    """What a summary is chosen from: a video's frames in order of time, its clips, shots, cues.

    `learned` is how important a trained network finds each frame, in [0, 1]; None: none is set.
    """

    features: FrameFeatures
    clips: Sequence[Clip]
    shots: Sequence[Shot]
    cues: Sequence[Cue] = ()
    learned: Float64[np.ndarray, "n"] | None = None

    @property
    def end(self) -> float:
        return self.clips[-1].span.end

    @property
    def spoken(self) -> list[Span]:
        """When someone speaks: the cues of the first track, since tracks are of one speech."""
        return [cue.span for cue in self.cues if cue.track == self.cues[0].track]


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
    `summary_ratio`). A question may say all that one to a search may (docs/questions.md); where
    nothing in the video matches it, the summary shows the nearest there is and is not `matched`.
    Summaries are remembered where the settings that choose them have their defaults.

    Raises:
        SummaryError: the budget is not positive or longer than the video, or the video cannot be
            summarised because it is not searchable.
        QueryError: the question cannot be asked.
        VideoNotFoundError: no video of the library answers to `video`.
    """
    record, summary = library.in_one_state(
        lambda: _summarize(library, video, query, seconds, ratio)
    )
    # After the reading, for which somebody may wait who writes. To remember it is a convenience,
    # not the answer.
    with contextlib.suppress(LibraryBusyError, StorageError, VideoNotFoundError):
        catalog = library.catalog
        if _is_default(library.settings) and summary not in catalog.summaries(record.id):
            catalog.save_summary(record.id, summary, of_features=record.feature_file)
    return summary


def _summarize(
    library: Library,
    video: str | Path | int | VideoRecord,
    query: str,
    seconds: float | None,
    ratio: float | None,
) -> tuple[VideoRecord, Summary]:
    record = _searchable(library, video)
    budget = budget_for(
        record, seconds=seconds, ratio=ratio, default_ratio=library.settings.summary_ratio
    )
    film = film_of(library, record)
    answered = _answered(library, record, film, query)
    settings = library.settings
    summary = choose_segments(
        film.features,
        film.clips,
        film.shots,
        budget,
        query=query.strip(),
        relevance=answered.relevance if answered else None,
        cues=film.cues,
        learned=film.learned,
        selection=settings.summary_selection,
        least_seconds=settings.min_segment_seconds,
    )
    summary = replace(summary, matched=answered.matched if answered else None)
    return record, summary


def saliency_curve(
    library: Library, video: str | Path | int | VideoRecord, query: str = ""
) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """The times of a video's frames and their saliency, a second: the numbers that choose.

    Raises:
        SummaryError, QueryError, VideoNotFoundError: as `summarize`.
    """
    return library.in_one_state(lambda: _saliency_curve(library, video, query))


def _saliency_curve(
    library: Library, video: str | Path | int | VideoRecord, query: str
) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    record = _searchable(library, video)
    film = film_of(library, record)
    answered = _answered(library, record, film, query)
    relevance = answered.relevance if answered else None
    budget = library.settings.summary_ratio * film.end
    pieces, owner, worth = _worth(film, budget, library.settings.min_segment_seconds, relevance)
    return film.features.pts_seconds, frame_saliency(film.features, owner, worth, pieces, relevance)


def film_of(library: Library, record: VideoRecord) -> Film:
    """What is known of an indexed video.

    Raises:
        DamagedLibraryError: its features cannot be read.
        SummaryError: it is not there any more.
        SaliencyModelError: the setting `saliency` names none that can be used.
    """
    records = library.catalog.clips_of_video(record.id)
    if not records:
        raise SummaryError(f"{record.path}: was taken out of the library; nothing to summarise")
    features = FrameFeatures(
        np.asarray(library.features.open(record.feature_file), dtype=np.float32),
        np.concatenate([clip.pts_seconds for clip in records]),
    )
    learned = None
    if (model := library.saliency) is not None:
        scores = model.scores(features.features, features.pts_seconds)
        learned = np.asarray(scores, dtype=np.float64)
    return Film(
        features,
        [clip.clip for clip in records],
        library.catalog.shots_of_video(record.id),
        [cue.cue for cue in library.catalog.cues_of_video(record.id)],
        learned,
    )


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
    relevance: Float64[np.ndarray, "n"] | None = None,
    cues: Sequence[Cue] = (),
    learned: Float64[np.ndarray, "n"] | None = None,
    selection: Literal["knapsack", "greedy"] = "greedy",
    least_seconds: float = 1.0,
) -> Summary:
    """Choose the segments of one video under a budget; they last as long to the frame.

    Shots are cut into pieces; attention over the film tells what sets of these are worth; the best
    that fits is taken, and its edges moved until the budget is filled.

    Args:
        features: of the frames, in order of time.
        clips: that the frames lie in; at least one.
        shots: in order.
        budget_seconds: of the summary, at most the video's length.
        query: the question, as the summary shall tell it.
        relevance: how near each frame is to the question, in any unit; None: no question.
        cues: what is said, which is not cut in half where the budget allows.
        learned: how important a trained network finds each frame; None: none does.
        selection: how: see `summarizer.select`.
        least_seconds: of a segment, where the budget has room for several.
    """
    film = Film(features, clips, shots, cues, learned)
    pieces, _, worth = _worth(film, budget_seconds, least_seconds, relevance)
    chosen = select(worth, pieces, budget_seconds, least_seconds, selection)
    segments = fill_budget(
        chosen,
        [shot.span for shot in shots],
        budget_seconds,
        film.end,
        cues=film.spoken,
        least_seconds=least_seconds,
    )
    return Summary(query=query, segments=segments, budget_seconds=budget_seconds)


def _worth(
    film: Film,
    budget_seconds: float,
    least_seconds: float,
    relevance: Float64[np.ndarray, "n"] | None,
) -> tuple[list[Span], Int[np.ndarray, "n"], Worth]:
    length = piece_seconds(budget_seconds, least_seconds)
    pieces = cut_pieces(film.clips, length, least_seconds)
    owner = owners(pieces, film.features.pts_seconds)
    worth = film_worth(
        np.asarray(film.features.features, dtype=np.float32),
        shown_seconds(film.features.pts_seconds, film.end),
        owner,
        pieces,
        look_seconds=length,
        relevance=relevance,
        spoken=film.spoken,
        learned=film.learned,
    )
    return pieces, owner, worth


def _searchable(library: Library, video: str | Path | int | VideoRecord) -> VideoRecord:
    # A record may have been read before the video was indexed anew.
    record = library.video(video.id if isinstance(video, VideoRecord) else video)
    if record.status == "failed":
        raise SummaryError(
            f"{record.path}: was not indexed ({record.reason}); nothing to summarise"
        )
    library.require_whole(record)
    return record


def _answered(library: Library, record: VideoRecord, film: Film, query: str) -> Answered | None:
    return answer_in(library, record, film.features, query) if query.strip() else None


def _is_default(settings: Settings) -> bool:
    fields = Settings.model_fields
    return all(getattr(settings, name) == fields[name].default for name in _SUMMARY_SETTINGS)
