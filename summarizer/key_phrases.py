"""The phrase that tells one stretch of speech from the rest, as it was said.

A word weighs as the attention that its lines get (softmax over the lines of their cosine to the
chapter's mean, so that asides count little) times its rarity elsewhere. A phrase is a run of words
of one line, between marks of punctuation, that neither begins nor ends with a function word; it is
worth the weights of its words over the square root of their number. Nothing is put together that
was not said together.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from vidsift.store.folding import FUNCTION_WORDS, fold_words
from vidsift.types import Cue

__all__ = ["KeyPhrase", "attention_to_lines", "key_phrases"]

_TEMPERATURE = 0.5  # standard deviations of the lines' cosines
_MOST_WORDS = 6
_LONGEST = 60  # characters
_MOST_PHRASES = 10
_BREAK = re.compile(r"[.,;:!?…。、，！？؟()\[\]{}\"“”«»♪♫|/]+|\s[-–—]+\s")  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class KeyPhrase:
    """A phrase as it was said, and how likely a line that says it is of this chapter, in [0, 1].

    The likelihood is that of its most telling word, at even odds between the chapter and the rest.
    """

    text: str
    confidence: float


def attention_to_lines(
    vectors: Float32[np.ndarray, "m d"], towards: Float32[np.ndarray, "d"]
) -> Float64[np.ndarray, "m"]:
    """Weights of lines by their cosine to what they are about; they sum to 1."""
    near = (vectors @ towards).astype(np.float64)
    standard = (near - near.max()) / max(float(near.std()), 1e-6)
    weights = np.exp(standard / _TEMPERATURE)
    return np.asarray(weights / weights.sum())


def key_phrases(
    lines: Sequence[Cue],
    vectors: Float32[np.ndarray, "m d"],
    elsewhere: Collection[str],
) -> list[KeyPhrase]:
    """The most telling phrases of a stretch of speech, best first, at most 10, no word twice.

    Args:
        lines: what is said in it, m lines.
        vectors: the unit-length vectors of these lines.
        elsewhere: what is said in other chapters and videos, line by line.
    """
    if not lines:
        return []
    weights = attention_to_lines(vectors, vectors.mean(0))
    here: Counter[str] = Counter()
    attention: Counter[str] = Counter()
    for line, weight in zip(lines, weights, strict=True):
        for word in set(fold_words(line.text)):
            here[word] += 1
            attention[word] += weight * len(lines)
    rest = Counter(word for text in elsewhere for word in set(fold_words(text)) & here.keys())

    def rarity(word: str) -> float:
        return math.log(1 + len(elsewhere) / (rest[word] + 0.5)) + math.log(
            1 + len(lines) / (here[word] + 0.5)
        )

    def telling(word: str) -> float:
        # Shares of lines that hold the word, with half a line added to tell from none.
        inside = (here[word] + 0.5) / (len(lines) + 1)
        outside = (rest[word] + 0.5) / (len(elsewhere) + 1)
        return inside / (inside + outside)

    worth: dict[str, tuple[float, frozenset[str]]] = {}
    for line in lines:
        for phrase in _phrases(line.text):
            words = fold_words(phrase)
            content = frozenset(words) - FUNCTION_WORDS
            value = sum(attention[word] * rarity(word) * telling(word) for word in content)
            known = worth.get(phrase, (0.0, content))[0]
            worth[phrase] = max(known, value / math.sqrt(len(words))), content
    chosen: list[KeyPhrase] = []
    used: set[str] = set()
    for phrase, (_, content) in sorted(worth.items(), key=lambda each: -each[1][0]):
        if content.isdisjoint(used):
            chosen.append(KeyPhrase(phrase, max(telling(word) for word in content)))
            used |= content
        if len(chosen) == _MOST_PHRASES:
            break
    return chosen


def _phrases(text: str) -> Iterator[str]:
    """The runs of words of a line that could be a title, as they stand in it."""
    for part in _BREAK.split(text):
        words = part.split()
        bare = [fold_words(word) for word in words]
        tells = [any(w not in FUNCTION_WORDS and not w.isdigit() for w in each) for each in bare]
        for first in range(len(words)):
            for last in range(first, min(first + _MOST_WORDS, len(words))):
                phrase = " ".join(words[first : last + 1])
                if tells[first] and tells[last] and len(phrase) <= _LONGEST:
                    yield phrase
