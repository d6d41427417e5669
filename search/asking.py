"""From what a person asks to vectors: words, a picture, a moment, and what was liked so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from search.combine import step_terms
from search.examples import moment_query, parse_moment, picture_query
from search.feedback import refine
from search.grammar import parse_question
from search.question import Filters, Question, Step, Term
from vidsift.errors import QueryError
from vidsift.library import Library
from vidsift.store.scope import video_ids
from vidsift.types import TextQuery, VideoRecord

__all__ = ["Asked", "AskedStep", "asked_for", "understand"]


@dataclass(frozen=True, slots=True)
class AskedStep:
    """A step and the unit-length vectors of its `step_terms`, wanted before excluded."""

    step: Step
    vectors: Float32[np.ndarray, "m d"]

    @property
    def wanted(self) -> Float32[np.ndarray, "w d"]:
        return self.vectors[: len(self.step.wanted)]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that can be answered.

    `scope` are the ids of the videos that may answer, None: all. `in_words` tells that every term
    is as a person typed it, not a picture, nor moved towards what was liked. `words` is all that
    is to be seen, as words that might also be said. `rejected` are places, in seconds, that are not
    what is looked for.
    """

    text: str
    steps: tuple[AskedStep, ...]
    spoken: tuple[str, ...]
    scope: frozenset[int] | None
    in_words: bool
    words: str = ""
    rejected: tuple[tuple[VideoRecord, float], ...] = ()


def understand(
    library: Library,
    text: str,
    *,
    image: Path | None = None,
    like: str | None = None,
    yes: Sequence[str] = (),
    no: Sequence[str] = (),
) -> Asked:
    """Parse a question, find the videos that it is about, and encode what is to be seen.

    Raises:
        QueryError: it breaks the grammar, names nothing to look for, or a picture cannot be read.
        VideoNotFoundError: a moment names no video of the library.
        EncoderError: the encoder cannot run.
    """
    shown = _shown(library, image, like)
    question = parse_question(text) if text.strip() or not shown else Question("", ())
    steps = _encode(library, question.steps)
    if shown:
        steps = _with_shown(steps, shown)
    if not steps and not question.spoken:
        raise QueryError(
            f"{question.text}: this only says which videos; say also what to look for in them"
        )
    rejected = tuple(parse_moment(place, library) for place in no)
    if yes or no:
        liked = [parse_moment(place, library) for place in yes]
        steps = _refined(library, steps, liked, rejected)
    return Asked(
        text=" ".join(filter(None, [question.text, *(query.text for query in shown)])),
        steps=steps,
        spoken=question.spoken,
        scope=_scope(library, question.filters),
        in_words=not (shown or yes),  # what is disliked moves a question too little to matter
        words=" ".join(term.text for step in question.steps for term in step.wanted),
        rejected=rejected,
    )


def asked_for(query: TextQuery) -> Asked:
    """One thing to look for whose vector is known already."""
    step = AskedStep(Step((Term(query.text),)), query.vector[np.newaxis])
    return Asked(query.text, (step,), (), None, in_words=False)


def _scope(library: Library, filters: Filters) -> frozenset[int] | None:
    if not filters:
        return None
    return video_ids(
        library.catalog,
        videos=filters.videos,
        paths=filters.paths,
        after=filters.after,
        before=filters.before,
        longer=filters.longer,
        shorter=filters.shorter,
        tags=filters.tags,
    )


def _shown(library: Library, image: Path | None, like: str | None) -> list[TextQuery]:
    shown = []
    if image is not None:
        shown.append(picture_query(image, library.encoder))
    if like is not None:
        shown.append(moment_query(library, *parse_moment(like, library)))
    return shown


def _encode(library: Library, steps: Sequence[Step]) -> tuple[AskedStep, ...]:
    """All terms in one batch: a question of several costs hardly more than one."""
    if not steps:
        return ()
    vectors = library.encoder.encode_texts(
        [term.text for step in steps for term in step_terms(step)]
    )
    ends = np.cumsum([len(step_terms(step)) for step in steps])
    return tuple(map(AskedStep, steps, np.split(vectors, ends[:-1])))


def _with_shown(steps: tuple[AskedStep, ...], shown: Sequence[TextQuery]) -> tuple[AskedStep, ...]:
    if len(steps) > 1:
        raise QueryError(
            "a picture or a moment cannot be part of a question about order; ask without `then`"
        )
    terms = tuple(Term(query.text) for query in shown)
    vectors = np.stack([query.vector for query in shown])
    if not steps:
        return (AskedStep(Step(terms), vectors),)
    (own,) = steps
    step = replace(own.step, wanted=terms + own.step.wanted)
    return (AskedStep(step, np.concatenate([vectors, own.vectors])),)


def _refined(
    library: Library,
    steps: tuple[AskedStep, ...],
    liked: Sequence[tuple[VideoRecord, float]],
    rejected: Sequence[tuple[VideoRecord, float]],
) -> tuple[AskedStep, ...]:
    if not steps:
        raise QueryError("feedback needs something to be seen in the question; say it in words")
    if len(steps) > 1:
        raise QueryError("feedback needs a question about one moment; ask without `then`")
    (own,) = steps
    vectors = own.vectors.copy()
    for place, term in enumerate(own.step.wanted):
        query = TextQuery(term.text, vectors[place])
        vectors[place] = refine(query, library, liked, rejected).vector
    return (AskedStep(own.step, vectors),)
