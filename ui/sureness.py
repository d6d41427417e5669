"""How sure a result is, in words for a person who knows nothing of statistics."""

from __future__ import annotations

from ui.answers import likelihood

__all__ = ["sure_in_short", "sure_in_words"]

_NEARLY_ALL = 0.995  # from here on the rounded percentage says nothing


def sure_in_short(rate: float | None, limit: float) -> str:
    """A few words for a card: whether it is a match; empty where that cannot be told.

    `rate` is the result's false-alarm rate, `limit` the setting up to which it is a match.
    """
    if rate is None:
        return ""
    if rate <= limit:
        return f"match, {likelihood(rate)} by chance"
    return "no match" if rate >= _NEARLY_ALL else f"no match, {likelihood(rate)} by chance"


def sure_in_words(rate: float | None, limit: float) -> str:
    """The same in whole sentences."""
    if rate is None:
        return "How sure this is cannot be told for such a question."
    if rate >= _NEARLY_ALL:
        return "Nearly every question without an answer here finds one as good: this is no match."
    verdict = "a match" if rate <= limit else "no match"
    return (
        f"Of questions without an answer here {likelihood(rate)} would find one as good by chance;"
        f" up to {likelihood(limit)} counts as a match, so this is {verdict}."
    )
