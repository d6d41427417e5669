"""What a question consists of, once it is understood: values that the parser makes.

`search.grammar` reads text into these; `search.engine` answers them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Filters", "Question", "Step", "Term"]


@dataclass(frozen=True, slots=True)
class Term:
    """One thing to be seen, in words; `weight` is how much it counts among its step's terms."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Step:
    """What one moment must show, all of `wanted` at once, and what it must not.

    `within_seconds` is the longest time between the end of the step before and the start of this
    one; None: any. The first step has none.
    """

    wanted: tuple[Term, ...]
    excluded: tuple[Term, ...] = ()
    within_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Filters:
    """Which videos may answer: all conditions together, each field's values are alternatives.

    `videos` are ids, names or stems; `paths` parts of the path; `after` and `before` bound the time
    at which the file was last written, in seconds of the epoch; `longer` and `shorter` the
    duration in seconds; `tags` must all be there.
    """

    videos: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    after: float | None = None
    before: float | None = None
    longer: float | None = None
    shorter: float | None = None
    tags: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != Filters()


@dataclass(frozen=True, slots=True)
class Question:
    """A question: steps in order of time (mostly one), filters, and words that must be spoken.

    `text` is the question as it was typed, with its white space in order. `steps` is empty for a
    question of spoken words or filters alone.
    """

    text: str
    steps: tuple[Step, ...]
    filters: Filters = field(default_factory=Filters)
    spoken: tuple[str, ...] = ()
