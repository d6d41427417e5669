"""Tags: short words that people give to videos, so that questions can be narrowed to them.

A tag belongs to the video, not to its content: it stays when the file is indexed again or moved.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from vidsift.errors import QueryError, VideoNotFoundError
from vidsift.store.catalog import Catalog
from vidsift.store.connection import reading, writing
from vidsift.store.reader import CatalogReader, chunks
from vidsift.store.schema import tags, videos
from vidsift.store.seals import resealed

__all__ = ["MAX_TAG_CHARACTERS", "change_tags", "normalise_tag", "tags_of_videos"]

MAX_TAG_CHARACTERS = 100


def normalise_tag(text: str) -> str:
    """The form in which a tag is stored and compared: small letters, white space in order.

    Raises:
        QueryError: nothing is left, or it is longer than 100 characters or no text at all.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise QueryError("the tag is not valid UTF-8; type it anew") from error
    tag = " ".join(unicodedata.normalize("NFC", text.casefold()).split())
    if not tag:
        raise QueryError("a tag is empty; give it a name")
    if len(tag) > MAX_TAG_CHARACTERS:
        raise QueryError(
            f"the tag {tag[:20]!r}... has {len(tag)} characters, {MAX_TAG_CHARACTERS} are the most"
        )
    return tag


def change_tags(
    catalog: Catalog,
    video_ids: Sequence[int],
    *,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
) -> None:
    """Give tags to videos and take tags from them; all of it or nothing.

    What is there already is not added twice, and what is not there need not be removed.

    Raises:
        QueryError: a tag cannot be used, or is to be added and removed at once.
        VideoNotFoundError: no video has one of the ids.
    """
    added = {normalise_tag(tag) for tag in add}
    removed = {normalise_tag(tag) for tag in remove}
    if both := sorted(added & removed):
        raise QueryError(f"the tag {both[0]!r} is to be added and removed; leave one of them out")
    with writing(catalog._engine) as connection:
        for chunk in chunks(dict.fromkeys(video_ids)):
            known = set(
                connection.execute(sa.select(videos.c.id).where(videos.c.id.in_(chunk))).scalars()
            )
            if unknown := sorted(set(chunk) - known):
                raise VideoNotFoundError(f"no video has the id {unknown[0]}")
            of_chunk = tags.c.video_id.in_(chunk)
            with resealed(connection, chunk):
                # Those to be added, too: inserting them anew is then no conflict.
                connection.execute(tags.delete().where(of_chunk, tags.c.tag.in_(added | removed)))
                if rows := [{"video_id": each, "tag": tag} for each in chunk for tag in added]:
                    connection.execute(tags.insert(), rows)


def tags_of_videos(catalog: CatalogReader) -> dict[int, tuple[str, ...]]:
    """The tags of every video that has any, by its id, in alphabetical order."""
    found: dict[int, list[str]] = {}
    with reading(catalog._engine) as connection:
        for video_id, tag in connection.execute(sa.select(tags.c.video_id, tags.c.tag)):
            found.setdefault(video_id, []).append(tag)
    return {video_id: tuple(sorted(listed)) for video_id, listed in found.items()}
