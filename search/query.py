"""From what a person typed to a vector in the space of the frames."""

from __future__ import annotations

from vidsift.errors import QueryError
from vidsift.models.encoder import Encoder
from vidsift.types import TextQuery

__all__ = ["MAX_QUERY_CHARACTERS", "encode_query", "parse_query"]

MAX_QUERY_CHARACTERS = 1000
_MOST_TYPED = 10_000  # white space that is not in order included


def parse_query(text: str) -> str:
    """The question with its white space in order.

    Raises:
        QueryError: it is empty, longer than 1,000 characters, or no text at all.
    """
    if len(text) > _MOST_TYPED:
        raise QueryError(
            f"the question has {len(text):,} characters, {MAX_QUERY_CHARACTERS:,} are the most;"
            " shorten it"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise QueryError("the question is not valid UTF-8; type it anew") from error
    if "\0" in text:
        raise QueryError("the question holds a NUL character; leave it out")
    clean = " ".join(text.split())
    if not clean:
        raise QueryError("the question is empty; say in words what to look for")
    if len(clean) > MAX_QUERY_CHARACTERS:
        raise QueryError(
            f"the question has {len(clean):,} characters, {MAX_QUERY_CHARACTERS:,} are the most;"
            " shorten it"
        )
    return clean


def encode_query(text: str, encoder: Encoder) -> TextQuery:
    """Parse and encode one question."""
    clean = parse_query(text)
    return TextQuery(clean, encoder.encode_texts([clean])[0])
