"""The grammar of questions: text to a `Question`, with errors that point at the character.

`docs/questions.md` holds the grammar as EBNF. Plain text stays plain: only quotes, words in
capitals, `-word`, `word^2`, `name:value` and `then<20s` mean more than themselves. Filters may
stand anywhere and are transparent: the words around them run together.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, replace

from search.filter_values import (
    FILTERS,
    FilterDraft,
    format_filters,
    format_number,
    parse_duration,
)
from search.query import parse_query
from search.question import Question, Step, Term
from vidsift.errors import QuestionSyntaxError

__all__ = ["MAX_TERMS", "MAX_WEIGHT", "format_question", "parse_question"]

MAX_TERMS = 12
MAX_WEIGHT = 10.0

_QUOTES = '"“”„‟«»'
_OPERATOR = re.compile(rf"(AND|NOT|THEN|and|then)(?=[\s<{_QUOTES}]|$)")
_LIMIT = re.compile(rf"\s*<\s*([^\s{_QUOTES}]*)")
_FILTER = re.compile(r"([^\W\d_]\w*):")
_WEIGHTED = re.compile(r"(.+?)\^([-+]?[.\d].*)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+", re.ASCII)
# Commas between quoted terms part them and are no term.
_GAP = {True: re.compile(r"[\s,;]*"), False: re.compile(r"\s*")}


def parse_question(text: str) -> Question:
    """Understand a question.

    Raises:
        QuestionSyntaxError: it breaks the grammar; points at the character.
        QueryError: it is empty, too long, or no text at all.
    """
    clean = parse_query(text)
    return replace(_Parser(text).parse(), text=clean)


def format_question(question: Question) -> str:
    """The question in the grammar's own words: parsing this gives the same question again."""
    parts: list[str] = []
    for place, step in enumerate(question.steps):
        if place:
            limit = step.within_seconds
            parts.append("THEN" if limit is None else f"THEN<{format_number(limit)}s")
        parts += [_format_term(term) for term in step.wanted]
        parts += [f"-{_format_term(term)}" for term in step.excluded]
    parts += [f"said:{_quote(words)}" for words in question.spoken]
    parts += [f"{name}:{_quote(value)}" for name, value in format_filters(question.filters)]
    return " ".join(parts)


def _format_term(term: Term) -> str:
    weight = "" if term.weight == 1.0 else f"^{format_number(term.weight)}"
    return _quote(term.text) + weight


def _quote(text: str) -> str:
    return '"' + re.sub(f"([{_QUOTES}])", r"\1\1", text) + '"'


@dataclass
class _StepDraft:
    """A step whose terms are still coming; `start` is where in the text it begins."""

    start: int
    within_seconds: float | None = None
    wanted: list[Term] = field(default_factory=list)
    excluded: list[Term] = field(default_factory=list)


class _Parser:
    """One pass over the text from left to right; `_at` is the next character to read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._steps = [_StepDraft(0)]
        self._num_terms = 0
        self._filters = FilterDraft()
        self._spoken: list[str] = []
        # Bare words that run together, and where the first stands.
        self._run: list[str] = []
        self._run_start = 0
        # An operator that waits for its right side, and where it stands.
        self._pending: tuple[str, int] | None = None
        self._after_quote = False

    def parse(self) -> Question:
        while self._skip_gap():
            if self._at_quote(self._at):
                self._take_quoted()
            elif self._text[self._at] == "-" and self._excludes(self._at + 1):
                self._take_excluded()
            elif not (self._take_operator() or self._take_filter()):
                self._take_word()
        self._end_run()
        if self._pending is not None:
            name, at = self._pending
            raise self._error(at, f"expected something to look for after {name}, the question ends")
        steps = self._finished_steps()
        return Question("", steps, self._filters.finish(self._error), tuple(self._spoken))

    def _skip_gap(self) -> bool:
        gap = _GAP[self._after_quote].match(self._text, self._at)
        self._at = gap.end() if gap else self._at
        return self._at < len(self._text)

    def _at_quote(self, at: int) -> bool:
        return at < len(self._text) and self._text[at] in _QUOTES

    def _excludes(self, at: int) -> bool:
        # A dash before a space, a digit or a dash is a dash: "- 5", "-5 degrees", "--".
        return self._at_quote(at) or self._text[at : at + 1].isalpha()

    # What the text consists of.

    def _take_quoted(self, *, excluded: bool = False) -> None:
        self._end_run()
        start = self._at
        text = " ".join(self._quoted().split())
        if not text:
            raise self._error(start, "the quotes are empty, expected words between them")
        weight = 1.0
        if self._text.startswith("^", self._at):
            at = self._at + 1
            self._at = at + len(self._until_gap(at))
            weight = self._weight(self._text[at : self._at], at)
        self._add_term(Term(text, weight), start, excluded=excluded)
        self._after_quote = True

    def _take_excluded(self) -> None:
        self._end_run()
        start = self._at
        if self._pending is not None and self._pending[0] == "NOT":
            raise self._error(start, "excluded twice, by NOT and by -; leave one of them out")
        self._at += 1
        if self._at_quote(self._at):
            self._take_quoted(excluded=True)
            return
        if found := _FILTER.match(self._text, self._at):
            self._require_known(found[1], start)
            raise self._error(start, f"{found[1]}: is a filter, which cannot be excluded")
        self._add_word(self._word(), start, excluded=True)

    def _take_operator(self) -> bool:
        start = self._at
        if self._text[start] == "+" and (
            not self._text[start + 1 : start + 2].strip() or self._at_quote(start + 1)
        ):
            self._at += 1
            self._operator("+", start)
            return True
        found = _OPERATOR.match(self._text, start)
        if found is None:
            return False
        word, limited = found[1], self._text.startswith("<", found.end())
        after_and = self._pending is not None and self._pending[0].upper() == "AND"
        if limited and word not in ("then", "THEN"):
            return False
        if word.islower() and not (self._after_quote or limited or (word == "then" and after_and)):
            return False
        self._at = found.end()
        if word.upper() == "THEN":
            self._then(word, start)
        else:
            self._operator(word, start)
        return True

    def _take_filter(self) -> bool:
        start = self._at
        found = _FILTER.match(self._text, start)
        if found is None:
            return False
        name, value_at = found[1].casefold(), found.end()
        known = name == "said" or name in FILTERS
        following = self._text[value_at : value_at + 1]
        if not known and not (self._at_quote(value_at) or following.isalnum() or following == "/"):
            return False
        self._require_known(found[1], start)
        if self._pending is not None and self._pending[0] == "NOT":
            raise self._error(start, f"{name}: is a filter, which cannot be excluded")
        self._at = value_at
        value = self._quoted() if self._at_quote(value_at) else self._word()
        if not value.strip():
            raise self._error(value_at, f"expected a value right after {name}:")
        if name != "said":
            self._filters.add(name, value, start, value_at, self._error)
        elif any(character.isalnum() for character in value):
            self._spoken.append(" ".join(value.split()))
        else:
            raise self._error(value_at, "expected words that are spoken or shown in subtitles")
        return True

    def _take_word(self) -> None:
        start = self._at
        self._add_word(self._word(), start, excluded=False)

    def _add_word(self, word: str, start: int, *, excluded: bool) -> None:
        weighted = _WEIGHTED.fullmatch(word)
        if weighted is None and not excluded:
            self._run_start = self._run_start if self._run else start
            self._run.append(word)
            self._after_quote = False
            return
        weight = 1.0
        if weighted is not None:
            at = self._at - len(weighted[2])
            if self._run and self._pending is not None and self._pending[0] == "NOT":
                raise self._error(
                    at - 1, "a weight counts for one word; put the words after NOT in quotes"
                )
            word, weight = weighted[1], self._weight(weighted[2], at)
        self._end_run()
        self._add_term(Term(word, weight), start, excluded=excluded)
        self._after_quote = False

    # What it is made into.

    def _end_run(self) -> None:
        if self._run:
            term, self._run = Term(" ".join(self._run)), []
            self._add_term(term, self._run_start, excluded=False)

    def _add_term(self, term: Term, at: int, *, excluded: bool) -> None:
        negated = self._pending is not None and self._pending[0] == "NOT"
        if negated and excluded:
            raise self._error(at, "excluded twice, by NOT and by -; leave one of them out")
        self._pending = None
        self._num_terms += 1
        if self._num_terms > MAX_TERMS:
            raise self._error(at, f"this is one term too many, {MAX_TERMS} are the most")
        step = self._steps[-1]
        (step.excluded if excluded or negated else step.wanted).append(term)

    def _operator(self, name: str, at: int) -> None:
        self._end_run()
        step = self._steps[-1]
        if name == "NOT":
            if self._pending is not None and self._pending[0] == "NOT":
                raise self._error(at, "expected something to look for after NOT, not another NOT")
        elif self._pending is not None:
            raise self._error(at, f"expected something to look for after {self._pending[0]}")
        elif not (step.wanted or step.excluded):
            raise self._error(at, f"expected something to look for before {name}")
        self._pending = (name, at)
        self._after_quote = False

    def _then(self, word: str, at: int) -> None:
        self._end_run()
        within = None
        if limit := _LIMIT.match(self._text, self._at):
            within = parse_duration(limit[1], limit.start(1), self._error)
            self._at = limit.end()
        step = self._steps[-1]
        if self._pending is not None and self._pending[0].upper() != "AND":
            raise self._error(at, f"expected something to look for after {self._pending[0]}")
        if not (step.wanted or step.excluded):
            raise self._error(at, f"expected something to look for before {word}")
        self._pending = (word, at)
        self._after_quote = False
        self._steps.append(_StepDraft(self._at, within))

    def _finished_steps(self) -> tuple[Step, ...]:
        if not self._num_terms:
            return ()
        for step in self._steps:
            if not step.wanted:
                start = step.start + len(self._text[step.start :])
                start -= len(self._text[step.start :].lstrip())
                raise self._error(
                    start, "only things to exclude here; say also what must be in the moment"
                )
        return tuple(
            Step(tuple(step.wanted), tuple(step.excluded), step.within_seconds)
            for step in self._steps
        )

    # Pieces of text.

    def _quoted(self) -> str:
        """What stands between the quotes that begin here; a quote inside is written twice."""
        start = self._at
        characters: list[str] = []
        at = start + 1
        while at < len(self._text):
            character = self._text[at]
            if character not in _QUOTES:
                characters.append(character)
            elif self._text[at + 1 : at + 2] == character:
                characters.append(character)
                at += 1
            else:
                self._at = at + 1
                return "".join(characters)
            at += 1
        raise self._error(start, "expected a closing quote for this one, the question ends")

    def _until_gap(self, at: int) -> str:
        found = re.compile(rf"[^\s,;{_QUOTES}]*").match(self._text, at)
        return found[0] if found else ""

    def _word(self) -> str:
        found = re.compile(r"\S*").match(self._text, self._at)
        word = found[0] if found else ""
        self._at += len(word)
        return word

    def _weight(self, digits: str, at: int) -> float:
        expected = f"expected a weight above 0 and at most {MAX_WEIGHT:g}, such as 2 or 0.5"
        if not _NUMBER.fullmatch(digits) or not 0 < float(digits) <= MAX_WEIGHT:
            raise self._error(at, f"{expected}, found {digits!r}" if digits else expected)
        return float(digits)

    def _require_known(self, name: str, at: int) -> None:
        known = ("said", *FILTERS)
        if name.casefold() in known:
            return
        near = difflib.get_close_matches(name.casefold(), known, 1)
        hint = f"did you mean {near[0]}:" if near else f"known are {': '.join(known)}:"
        raise self._error(
            at, f"unknown filter {name}: ({hint}); put it in quotes to look for the words"
        )

    def _error(self, at: int, reason: str) -> QuestionSyntaxError:
        return QuestionSyntaxError(self._text, at, reason)
