"""One summary of many videos: the best moments for a question, or a fair digest, under one budget.

What competes are pieces of 1 to 4 s. With a question they are cut from the moments that the search
finds in these videos, the one around a moment's peak first; near-duplicates are folded already.
Without one they are cut from all footage, in a large library from the generic summaries that
indexing made of each video. A set of pieces is worth the sum of the terms of
`summarizer.saliency`, taken over all pieces that compete in place of those of one film: what it
stands for (facility location), the kinds of thing that it stands for, and with a question its share
of the attention to it. There a moment counts by how well it answers; without a question every video
counts the same, so that a long one does not crowd out the others, and is shown before any is shown
again. Pieces are taken greedily by gain a second (`summarizer.across_choice`). They are compared
after whitening by the library (`search.duplicates`), in which only what is the same footage or
nearly so is alike; footage that is shown already, of another video, is passed over.

**Order.** Videos follow one another, inside a video time does: jumping to and fro between videos is
hard to follow. With a question the video that holds the best moment comes first; a digest begins
with the newest recording, since that is what somebody who catches up asks for first.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from search.engine import SearchEngine
from search.query import parse_query
from summarizer.across_choice import best_pieces
from summarizer.across_pieces import digest_pieces, moment_pieces
from summarizer.edges import fill_budget
from summarizer.skim import Skim, SkimPart
from vidsift.errors import SummaryError
from vidsift.library import Library
from vidsift.types import SearchResult, Segment, Span, VideoRecord

__all__ = ["summarize_videos"]

_LONGEST_SECONDS = 4.0  # of a piece
_PLACES = 6  # a summary about a question shows so many places at least
_PLACES_A_VIDEO = 2  # a digest has time for, if these need not be shorter than they may be
_MOMENTS = (20, 200)  # fewest and most that are asked of the search
_NAMED = 3  # so many videos are named in the title
_LAST = 10**9
_NOTHING = 1e-6  # seconds


def summarize_videos(
    library: Library,
    videos: Sequence[VideoRecord] | None,
    query: str = "",
    *,
    seconds: float | None,
    ratio: float | None = None,
    since: float | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Skim:
    """One skim of the best moments of many videos, exactly as long as the budget says.

    Args:
        library: holds them.
        videos: which; None: all that can be searched.
        query: the question, in the grammar of docs/questions.md; empty: a digest.
        seconds: the budget, of all together.
        ratio: the budget as a share of all footage, instead (default: setting `summary_ratio`).
        since: only videos that were indexed at or after this time, in seconds of the epoch.
        on_progress: called with the share of the work that is done.

    `title` says of how many videos it is, how many of them a digest does not show because they
    repeat others, and how many for want of time: a video has `min_segment_seconds` or nothing.
    Where nothing answers the question at all, not even badly, it is the digest, `matched` False.

    Raises:
        SummaryError: the budget is not positive or longer than all footage, a video cannot be
            searched, or there is none.
        QueryError: the question cannot be asked.
        LibraryError, EncoderError: as the search.
    """
    report = on_progress or (lambda _share: None)
    chosen = _which(library, videos, since)
    budget = _budget(library, chosen, seconds, ratio)
    least = min(library.settings.min_segment_seconds, budget)
    query = parse_query(query) if query.strip() else ""
    matched = None
    results: tuple[SearchResult, ...] = ()
    if query:
        length = min(budget, max(least, min(budget / _PLACES, _LONGEST_SECONDS)))
        wanted = min(max(math.ceil(2 * budget / length), _MOMENTS[0]), _MOMENTS[1])
        ids = frozenset(video.id for video in chosen)
        answer = SearchEngine(library).ask(query, wanted, among=ids)
        results, matched = answer.results, answer.matched
    report(0.3)
    if results:
        pieces = moment_pieces(library, chosen, results, length, least)
    else:
        places = _PLACES_A_VIDEO * len(chosen)
        length = min(budget, max(least, min(budget / places, _LONGEST_SECONDS)))
        pieces = digest_pieces(library, chosen, length, least)
    report(0.5)
    taken, repeated = best_pieces(library, pieces, budget, least, about=bool(results))
    report(0.9)
    segments = _filled(library, chosen, taken, budget, least)
    rank: dict[int, int] = {}
    for place, result in enumerate(results):
        rank.setdefault(result.moment.video_id, place)
    parts = tuple(
        SkimPart(video, segment)
        for video in sorted(segments, key=lambda video: _place(video, rank))
        for segment in segments[video]
    )
    report(1.0)
    left_out = set(chosen) - set(segments)
    repeats = len(left_out & repeated)
    title = _title(chosen, query, since, videos, repeats, len(left_out) - repeats)
    return Skim(title, query, parts, budget, matched)


def _which(
    library: Library, videos: Sequence[VideoRecord] | None, since: float | None
) -> list[VideoRecord]:
    if since is not None and since > time.time():
        raise SummaryError(f"since {_date(since)}: lies in the future; name a time that has been")
    if videos is None:
        chosen = library.catalog.videos("searchable")
        if not chosen:
            raise SummaryError(
                f"{library.root}: holds no video that can be summarised; see `vidsift status`"
            )
    else:
        chosen = list({video.id: video for video in videos}.values())
        if not chosen:
            raise SummaryError("no video is named; name some, or take the whole library")
    for video in chosen:
        if video.status != "searchable":
            why = f": {video.reason}" if video.reason else ""
            raise SummaryError(
                f"{video.path}: cannot be summarised with others, it is {video.status}{why}"
            )
    if since is None:
        return chosen
    recent = [video for video in chosen if video.indexed_at >= since]
    if not recent:
        newest = max(video.indexed_at for video in chosen)
        raise SummaryError(
            f"since {_date(since)}: no video was indexed; the latest was on {_date(newest)}"
        )
    return recent


def _budget(
    library: Library, videos: Sequence[VideoRecord], seconds: float | None, ratio: float | None
) -> float:
    total = sum(video.duration_seconds for video in videos)
    if seconds is not None and ratio is not None:
        raise SummaryError("a budget is either --seconds or --ratio; give one of them")
    if seconds is not None:
        if not (math.isfinite(seconds) and seconds > 0):
            raise SummaryError(f"--seconds {seconds:g}: a summary needs more than 0 seconds")
        if seconds > total + 1e-6:
            raise SummaryError(
                f"--seconds {seconds:g}: the {len(videos)} videos last only {total:.1f} s"
                " together; ask for less than that"
            )
        wanted = seconds
    else:
        share = library.settings.summary_ratio if ratio is None else ratio
        if not 0 < share <= 1:
            raise SummaryError(f"--ratio {share:g}: give a share of the videos above 0 and up to 1")
        wanted = share * total
    return min(total, max(wanted, max(float(1 / video.frame_rate) for video in videos)))


def _filled(
    library: Library,
    videos: Sequence[VideoRecord],
    taken: Mapping[VideoRecord, Sequence[Segment]],
    budget_seconds: float,
    least: float,
) -> dict[VideoRecord, tuple[Segment, ...]]:
    """The segments of each video, lengthened until they last `budget_seconds` together.

    What is left is shared evenly over the videos, first inside the shots that are shown already.
    Where all of these do not last so long, further videos are shown, the longest first.
    """
    chosen = {video: list(segments) for video, segments in taken.items()}
    spent = {video: sum(each.span.duration for each in chosen[video]) for video in chosen}
    rest = budget_seconds - sum(spent.values())
    for video in sorted(videos, key=lambda video: -video.duration_seconds):
        if rest <= sum(each.duration_seconds - spent[each] for each in chosen) + _NOTHING:
            break
        if video not in chosen:
            chosen[video] = [Segment(Span(0.0, min(rest, video.duration_seconds)), 0.0)]
            spent[video] = chosen[video][0].span.duration
            rest -= spent[video]
    shots = {
        video: [shot.span for shot in library.catalog.shots_of_video(video.id)] for video in chosen
    }
    wanted = dict(spent)
    for room in (
        {video: _shown_shots(shots[video], chosen[video]) for video in chosen},
        {video: video.duration_seconds for video in chosen},
    ):
        shares = _shared([room[video] - wanted[video] for video in chosen], rest)
        for video, seconds in zip(chosen, shares, strict=True):
            wanted[video] += seconds
            rest -= seconds
    return {
        video: fill_budget(
            segments,
            shots[video],
            min(wanted[video], video.duration_seconds),
            video.duration_seconds,
            cues=_spoken(library, video),
            least_seconds=least,
        )
        for video, segments in chosen.items()
    }


def _spoken(library: Library, video: VideoRecord) -> list[Span]:
    """When someone speaks: the cues of the first track, since tracks are of one speech."""
    cues = [each.cue for each in library.catalog.cues_of_video(video.id)]
    return [cue.span for cue in cues if cue.track == cues[0].track]


def _shown_shots(shots: Sequence[Span], segments: Sequence[Segment]) -> float:
    """How long the shots last together that hold the middle of a segment."""
    middles = [(segment.span.start + segment.span.end) / 2 for segment in segments]
    homes = {bisect_right(shots, middle, key=lambda shot: shot.start) - 1 for middle in middles}
    return sum(shots[home].duration for home in homes)


def _shared(room: Sequence[float], seconds: float) -> list[float]:
    """As even shares of so many seconds as there is room for."""
    shares = [0.0] * len(room)
    smallest_first = sorted(range(len(room)), key=lambda place: room[place])
    for done, place in enumerate(smallest_first):
        shares[place] = min(max(room[place], 0.0), seconds / (len(room) - done))
        seconds -= shares[place]
    return shares


def _place(video: VideoRecord, rank: Mapping[int, int]) -> tuple[int, int, str]:
    """Where it comes: by its best moment, else the newest recording first."""
    return rank.get(video.id, _LAST), -video.fingerprint.mtime_ns, str(video.path)


def _title(
    chosen: Sequence[VideoRecord],
    query: str,
    since: float | None,
    named: Sequence[VideoRecord] | None,
    repeats: int,
    left_out: int,
) -> str:
    if named is not None and len(chosen) <= _NAMED:
        what = ", ".join(video.path.name for video in chosen)
    else:
        what = f"{len(chosen)} video{'s' if len(chosen) != 1 else ''}"
    if since is not None:
        what += f" since {_date(since)}"
    if query:
        return f"{query} ({what})"
    if repeats:
        what += f", {repeats} not shown that repeat{'s' if repeats == 1 else ''} others"
    if left_out:
        what += f", {left_out} left out for want of time"
    return what


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
