"""The pieces of many videos that compete for one summary: see `summarizer.across`."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from summarizer.select import cut_pieces
from vidsift.library import Library
from vidsift.types import ClipRecord, SearchResult, Segment, Span, VideoRecord

__all__ = ["Piece", "around", "digest_pieces", "moment_pieces"]

_TEMPERATURE = 0.5  # of attention over moments, in standard deviations of their scores
_RANK_CONSTANT = 60  # of reciprocal ranks, where scores of pictures and words do not compare
_ALL = 4_000  # pieces; if there are more, only those of the videos' summaries compete
_MOST_PIECES = 20_000
_VIDEOS = 500  # whose clips are in memory at a time
_NOTHING = 1e-6  # seconds


@dataclass(frozen=True, slots=True)
class Piece:
    """What may be taken: one span of a video, or the spans of an order of moments, all or none.

    `peak_seconds` is what stays if it must be cut. `weight` is its share of what is looked for, all
    pieces' together 1. `rows` are the frames in each span: first row of the feature file, number.
    """

    video: VideoRecord
    spans: tuple[Span, ...]
    peak_seconds: float
    weight: float
    rows: tuple[tuple[int, int], ...]

    @property
    def duration(self) -> float:
        return sum(span.duration for span in self.spans)


def moment_pieces(
    library: Library,
    videos: Sequence[VideoRecord],
    results: Sequence[SearchResult],
    length: float,
    least: float,
) -> list[Piece]:
    """Pieces of at most about `length` seconds of what a search found, none shorter than `least`.

    The weight is attention over the moments to the question: softmax of their standardised
    scores. Where words had a part in the ranking, ranks stand for scores. What is shown of one
    moment counts by the square root of its pieces, the peak's first, so that several moments are
    worth more than all of one (a concave function over each: Lin and Bilmes 2011).
    """
    by_id = {video.id: video for video in videos}
    in_words = any("words" in result.found_by for result in results)
    pieces: list[Piece] = []
    values: list[float] = []
    times: dict[int, _Frames] = {}
    used: dict[int, list[Span]] = defaultdict(list)
    for rank, result in enumerate(results, 1):
        number = result.moment.video_id
        if number not in by_id:  # indexed while we searched
            continue
        if number not in times:
            times[number] = _Frames(library.catalog.clips_of_video(number))
        value = 1 / (_RANK_CONSTANT + rank) if in_words else result.moment.score
        pieces_of = _cut(result, length, least, times[number].end, used[number])
        for place, (spans, peak) in enumerate(pieces_of):
            used[number] += spans
            rows = tuple(times[number].rows(span) for span in spans)
            pieces.append(
                Piece(by_id[number], spans, peak, math.sqrt(place + 1) - math.sqrt(place), rows)
            )
            values.append(value)
    if not pieces:
        return []
    scores = np.array(values)
    standard = (scores - scores.max()) / max(float(scores.std()), 1e-6)
    weights = np.exp(standard / _TEMPERATURE) * [piece.weight for piece in pieces]
    weights /= weights.sum()
    return [
        replace(piece, weight=weight)
        for piece, weight in zip(pieces, weights.tolist(), strict=True)
    ]


def digest_pieces(
    library: Library, videos: Sequence[VideoRecord], length: float, least: float
) -> list[Piece]:
    """Pieces of at most `length` seconds, and never less than `least`, of all videos.

    All of each video, where that is at most 4,000 pieces, else of its generic summary: its most
    salient pieces first, one of each video in turn, up to 20,000. Every video weighs the same,
    whatever its length.
    """
    pieces: list[Piece] = []
    total = sum(video.duration_seconds for video in videos)
    chosen = _of_summaries(library, videos, length, least) if total > _ALL * length else None
    for start in range(0, len(videos), _VIDEOS):
        batch = videos[start : start + _VIDEOS]
        clips = _clips_of(library, batch)
        for video in batch:
            if video.id not in clips:  # it went while we looked
                continue
            frames = _Frames(clips[video.id])
            spans = _all_of(clips[video.id], length, least) if chosen is None else chosen[video.id]
            seconds = sum(span.duration for span in spans)
            for span in sorted(spans):
                share = span.duration / seconds / len(videos)
                middle = (span.start + span.end) / 2
                pieces.append(Piece(video, (span,), middle, share, (frames.rows(span),)))
    return pieces


def _all_of(records: Sequence[ClipRecord], length: float, least: float) -> list[Span]:
    """The whole of a video in pieces; what is shorter than `least` only if there is no other."""
    spans = cut_pieces([record.clip for record in records], length, least)
    long_enough = [span for span in spans if span.duration >= least - _NOTHING]
    return [
        around(span, (span.start + span.end) / 2, length)
        for span in long_enough or [max(spans, key=lambda span: span.duration)]
    ]


def _of_summaries(
    library: Library, videos: Sequence[VideoRecord], length: float, least: float
) -> dict[int, list[Span]]:
    summaries = library.catalog.generic_summaries()
    cut = [
        [
            (video.id, span)
            for span in _cut_summary(
                summaries[video.id].segments, length, least, video.duration_seconds
            )
        ]
        for video in videos
        if video.id in summaries
    ]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*cut))
    kept: dict[int, list[Span]] = defaultdict(list)
    for number, span in itertools.islice(filter(None, turns), _MOST_PIECES):
        kept[number].append(span)
    return kept


class _Frames:
    """When each frame of a video is shown: from a span to rows of its feature file."""

    def __init__(self, records: Sequence[ClipRecord]) -> None:
        """Takes all clips of the video, in order."""
        self._first = records[0].clip.first_frame
        self._pts = np.concatenate([record.pts_seconds for record in records])
        self.end = records[-1].clip.span.end

    def rows(self, span: Span) -> tuple[int, int]:
        """First row and number of the frames in a span, else of the one before it."""
        low, high = np.searchsorted(self._pts, [span.start - _NOTHING, span.end - _NOTHING])
        low = min(int(low), len(self._pts) - 1)
        return (self._first + low, int(high) - low) if high > low else (
            self._first + max(low - 1, 0), 1)  # fmt: skip


def _clips_of(library: Library, videos: Sequence[VideoRecord]) -> dict[int, list[ClipRecord]]:
    """The clips of each video in order of time."""
    ids = library.catalog.clip_frames(of_videos=[video.id for video in videos])[:, 0]
    clips: dict[int, list[ClipRecord]] = defaultdict(list)
    for record in library.catalog.clips(ids).values():
        clips[record.video_id].append(record)
    return {
        number: sorted(records, key=lambda record: record.ordinal)
        for number, records in clips.items()
    }


def _cut(
    result: SearchResult, length: float, least: float, end: float, used: Sequence[Span]
) -> Iterator[tuple[tuple[Span, ...], float]]:
    """The spans and the peak of each piece of a moment, that of the moment's own peak first."""
    moment = result.moment
    if result.parts:
        share = max(length / len(result.parts), least)
        spans = [around(part.span, part.peak_seconds, share) for part in result.parts]
        if not any(span.overlap(other) > _NOTHING for span in spans for other in used):
            yield tuple(spans), moment.peak_seconds
        return
    whole = _at_least(moment.span, least, end)
    peak = min(max(moment.peak_seconds, whole.start), whole.end)
    first = around(whole, peak, length)
    spans = [first]
    for low, high in ((whole.start, first.start), (first.end, whole.end)):
        count = int((high - low) / length + _NOTHING) or int(high - low >= least)
        edges = np.linspace(low, high, count + 1).tolist()
        spans += [Span(a, b) for a, b in itertools.pairwise(edges)]
    for span in spans:
        # Moments may overlap a little; nothing is to be shown twice.
        for free in _free(span, used):
            if free.duration >= least - _NOTHING:
                yield (free,), min(max(peak, free.start), free.end)


def _free(span: Span, used: Sequence[Span]) -> list[Span]:
    """What is left of a span without those."""
    edges = [span.start]
    for other in sorted(used):
        if span.overlap(other) > _NOTHING:
            edges += [max(other.start, span.start), min(other.end, span.end)]
    edges.append(span.end)
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [Span(low, high) for low, high in pairs if high - low > _NOTHING]


def _cut_summary(
    segments: Sequence[Segment], length: float, least: float, end: float
) -> Iterator[Span]:
    """Pieces of at most `length` seconds of a summary, the most salient segment's first."""
    used: list[Span] = []
    for segment in sorted(segments, key=lambda segment: -segment.saliency):
        count = max(1, int(segment.span.duration / length + _NOTHING))
        wanted = _at_least(segment.span, length if len(segments) == 1 else least, end)
        edges = np.linspace(wanted.start, wanted.end, count + 1).tolist()
        for span in (Span(a, b) for a, b in itertools.pairwise(edges)):
            for free in _free(span, used):
                if free.duration >= min(least, end) - _NOTHING:
                    used.append(free)
                    yield around(free, (free.start + free.end) / 2, length)


def _at_least(span: Span, seconds: float, end: float) -> Span:
    """The span, lengthened about its middle to so many seconds, within the video."""
    if span.duration >= seconds:
        return span
    start = min(max((span.start + span.end - seconds) / 2, 0.0), max(end - seconds, 0.0))
    return Span(start, min(start + seconds, end))


def around(span: Span, peak_seconds: float, seconds: float) -> Span:
    """At most so many seconds of a span, about its peak."""
    if span.duration <= seconds:
        return span
    start = min(max(peak_seconds - seconds / 2, span.start), span.end - seconds)
    return Span(start, start + seconds)
