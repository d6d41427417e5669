"""Questions whose answers are known: captions matched with the videos of a library."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from search.annotations import Annotations
from search.grammar import format_question
from search.question import Filters, Question, Step, Term
from vidsift.errors import AnnotationError
from vidsift.library import Library
from vidsift.types import Span, VideoRecord

__all__ = ["Labelled", "LabelledQuery", "ask_literally", "match_captions"]


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A question, the ids of all videos that answer it, and its true spans in some of them.

    Copies of a right video, which have the same content, are right too.
    """

    text: str
    right: frozenset[int]
    spans: Mapping[int, tuple[Span, ...]]


@dataclass(frozen=True, slots=True)
class Labelled:
    """The questions of a file of captions that a library can be asked.

    `unknown_videos` are the names that no searchable video answers to, `skipped` says of each line
    and span that could not be used why. `num_captions` counts those that were used.
    """

    queries: tuple[LabelledQuery, ...]
    num_captions: int
    unknown_videos: tuple[str, ...]
    skipped: tuple[str, ...]


def match_captions(library: Library, annotations: Annotations) -> Labelled:
    """Find the videos that captions name, and gather equal texts to one question each.

    A name is a path, a file name, a stem or an id; a name whose suffix differs from the file's is
    found too. Spans reach no further than their video.

    Raises:
        AnnotationError: not one caption is of a searchable video.
    """
    videos = library.catalog.videos("searchable")
    by_name = _by_name(videos)
    record_of = {video.id: video for video in videos}
    copies: dict[str, set[int]] = defaultdict(set)
    for video in videos:
        copies[video.fingerprint.sha256].add(video.id)
    unknown: dict[str, None] = {}
    skipped = list(annotations.skipped)
    right: dict[str, set[int]] = defaultdict(set)
    spans: dict[str, dict[int, list[Span]]] = defaultdict(lambda: defaultdict(list))
    used = 0
    for caption in annotations.items:
        found = by_name.get(caption.video) or by_name.get(caption.video.rpartition(".")[0], ())
        if len({record_of[video].fingerprint.sha256 for video in found}) != 1:
            unknown[caption.video] = None  # no video at all, or different ones of this name
            continue
        video = record_of[min(found)]
        if caption.span is not None:
            span = _within(caption.span, video.duration_seconds)
            if span is None:
                skipped.append(
                    f"{caption.video}: {caption.text[:60]!r} begins at {caption.span.start:.1f} s,"
                    f" after the video's end at {video.duration_seconds:.1f} s"
                )
                continue
            spans[caption.text][video.id].append(span)
        right[caption.text] |= copies[video.fingerprint.sha256]
        used += 1
    if not right:
        named = ", ".join(list(unknown)[:3])
        raise AnnotationError(
            f"no caption is of a video in {library.root} (captions name {named} ...);"
            " index the videos first, under the names that the captions use"
            if unknown
            else f"no caption can be used: {skipped[0]}"
        )
    queries = tuple(
        LabelledQuery(
            text,
            frozenset(ids),
            {video: tuple(dict.fromkeys(times)) for video, times in spans[text].items()},
        )
        for text, ids in right.items()
    )
    return Labelled(queries, used, tuple(unknown), tuple(skipped))


def ask_literally(text: str, videos: Iterable[int] = ()) -> str:
    """The question, in the grammar's words, for exactly this text among these videos (none: all).

    A caption is what a person said of a video; quotes or `name:` in it mean nothing more.
    """
    filters = Filters(videos=tuple(str(video) for video in videos))
    return format_question(Question(text, (Step((Term(text),)),), filters))


def _by_name(videos: Iterable[VideoRecord]) -> dict[str, tuple[int, ...]]:
    """The ids under each name; a path goes before a file name, that before a stem, that before ids.

    A name that several videos bear at one rank has several ids.
    """
    names: dict[str, tuple[int, ...]] = {}
    for rank in (
        lambda video: str(video.path),
        lambda video: video.path.name,
        lambda video: video.path.stem,
        lambda video: str(video.id),
    ):
        here: dict[str, tuple[int, ...]] = {}
        for video in videos:
            here[rank(video)] = (*here.get(rank(video), ()), video.id)
        names = here | names
    return names


def _within(span: Span, duration: float) -> Span | None:
    end = min(span.end, duration)
    return Span(span.start, end) if span.start < end else None
