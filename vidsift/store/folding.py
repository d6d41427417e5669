"""Text as full text search takes it: words without case and accents, in any script.

Both databases index what `fold` returns, and questions go through it too, so that they find the
same things. Scripts that put no spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese)
become one word a character; a question in them asks for pairs of characters that stand together.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

__all__ = ["FUNCTION_WORDS", "fold", "fold_words", "terms"]

# A lexeme of PostgreSQL has less than 2 KB; no word is as long as this.
_LONGEST = 100

_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)

# What nearly every English sentence holds, and so says nothing of it. Other languages rely on the
# library's own counts (see WordsReader.search_words), which do the same once it is large.
_ENGLISH = """
a about am an and any are as at be been being but by can could d did do does doing for from had has
have having he her him his how i if in into is it its just ll m me my no not of off on or our out re
s she so some somebody someone something t than that the their them then there these they this those
to up us ve was we were what when where which while who whom why will with would you your
"""
FUNCTION_WORDS = frozenset(_ENGLISH.split())


@lru_cache(maxsize=1 << 14)
def _kind(character: str) -> str:
    """`L` for a letter or digit, `M` for a mark that belongs to one, empty for all else."""
    return {"L": "L", "N": "L", "M": "M"}.get(unicodedata.category(character)[0], "")


def fold_words(text: str) -> list[str]:
    """The words of a text in order, folded: compatibility forms, case and accents are gone.

    Accents are the combining marks U+0300 to U+036F (as of Latin, Greek and Cyrillic); the marks of
    other scripts are vowels and stay.
    """
    opened = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    plain = re.sub("[\u0300-\u036f]", "", opened)
    words: list[str] = []
    joins = False  # whether the next letter continues the last word
    for character in unicodedata.normalize("NFC", plain):
        kind = _kind(character)
        if kind == "M" and words:
            words[-1] += character
        elif kind == "L":
            alone = _SPACELESS.match(character) is not None
            if joins and not alone:
                words[-1] += character
            else:
                words.append(character)
            joins = not alone
        else:
            joins = False
    return [word[:_LONGEST] for word in words]


def fold(text: str) -> str:
    """The folded words with one space between."""
    return " ".join(fold_words(text))


def terms(text: str) -> list[tuple[str, ...]]:
    """What to look for to find a text: each word, or each pair of characters that have no spaces.

    Each once, in order. Function words are left out where anything else is left.

    >>> terms("Who cooks the Crème brûlée?")
    [('cooks',), ('creme',), ('brulee',)]
    """
    found: dict[tuple[str, ...], None] = {}
    words = fold_words(text)
    for place, word in enumerate(words):
        if not _SPACELESS.match(word):
            found[word,] = None
            continue
        follows = place + 1 < len(words) and _SPACELESS.match(words[place + 1])
        if follows:
            found[word, words[place + 1]] = None
        elif not (place and _SPACELESS.match(words[place - 1])):
            found[word,] = None
    telling = [term for term in found if term[0] not in FUNCTION_WORDS]
    return telling or list(found)
