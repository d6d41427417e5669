"""The phrase that tells one stretch of speech from the rest, as it was said.

A word weighs as the attention that its sentences get (softmax over the sentences of their cosine to
the chapter's mean, so that asides count little) times its rarity elsewhere. A phrase is a run of
words of one sentence, between marks of punctuation, that neither begins nor ends with a function
word or a filler; it is worth the weights of its words over the square root of their number. Nothing
is put together that was not said together.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from summarizer.sentences import Sentence
from vidsift.store.folding import FUNCTION_WORDS, fold_words

__all__ = ["KeyPhrase", "attention_to_lines", "key_phrases", "lines_with"]

_TEMPERATURE = 0.5  # standard deviations of the lines' cosines
_MOST_WORDS = 6
_LONGEST = 60  # characters
_MOST_PHRASES = 10
# What people say of anything, in English, besides function words.
_ENGLISH = """
also anything back begin come comes does everybody everyone everything get gets go goes going got
here just know let lets like little look lot made make makes many maybe much need never new nothing
now okay one people put really right said say says see should start take talk talking thank thanks
thing things think three time today two use used very want way week welcome well work yes
"""
_IDLE = FUNCTION_WORDS | frozenset(_ENGLISH.split())
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


def lines_with(texts: Iterable[str]) -> Counter[str]:
    """Of each folded word, how many of the texts hold it."""
    return Counter(word for text in texts for word in set(fold_words(text)))


def key_phrases(lines: Sequence[Sentence], holding: Counter[str], total: int) -> list[KeyPhrase]:
    """The most telling phrases of a stretch of speech, best first, at most 10, no word twice.

    Args:
        lines: what is said in it, sentence by sentence.
        holding: how many lines hold each word (`lines_with`), of these and of other chapters and
            videos.
        total: how many lines there are in all.
    """
    if not lines:
        return []
    vectors = np.stack([line.vector for line in lines])
    weights = attention_to_lines(vectors, vectors.mean(0))
    here: Counter[str] = Counter()
    attention: Counter[str] = Counter()
    for line, weight in zip(lines, weights, strict=True):
        for word in set(fold_words(line.text)):
            here[word] += 1
            attention[word] += weight * len(lines)
    elsewhere = total - len(lines)

    def telling(word: str) -> float:
        # Shares of lines that hold the word, with half a line added to tell from none.
        inside = (here[word] + 0.5) / (len(lines) + 1)
        outside = (holding[word] - here[word] + 0.5) / (elsewhere + 1)
        return inside / (inside + outside)

    def worth(word: str) -> float:
        rarity = math.log(1 + (elsewhere + 1) / (holding[word] - here[word] + 0.5))
        return attention[word] * rarity * telling(word)

    worth_of = {word: worth(word) for word in here}
    found: dict[str, tuple[float, list[str]]] = {}
    for line in lines:
        for phrase, words in _phrases(line.text):
            content = [word for word in dict.fromkeys(words) if word not in _IDLE]
            value = sum(worth_of.get(word, 0.0) for word in content) / math.sqrt(len(words))
            found.setdefault(phrase, (value, content))
    chosen: list[KeyPhrase] = []
    used: set[str] = set()
    for phrase, (_, content) in sorted(found.items(), key=lambda each: -each[1][0]):
        if used.isdisjoint(content):
            chosen.append(KeyPhrase(phrase, max(telling(word) for word in content)))
            used.update(content)
        if len(chosen) == _MOST_PHRASES:
            break
    return chosen


def _phrases(text: str) -> Iterator[tuple[str, list[str]]]:
    """The runs of words of a line that could be a title, as they stand in it, and folded."""
    for part in _BREAK.split(text):
        written = part.split()
        folded = [fold_words(word) for word in written]
        tells = [any(w not in _IDLE and not w.isdigit() for w in each) for each in folded]
        for first in range(len(written)):
            for last in range(first, min(first + _MOST_WORDS, len(written))):
                phrase = " ".join(written[first : last + 1])
                if tells[first] and tells[last] and len(phrase) <= _LONGEST:
                    yield phrase, [word for each in folded[first : last + 1] for word in each]
