"""Which videos a question is narrowed to: filters to ids, in SQL."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from vidsift.errors import QueryError
from vidsift.paths import expanded
from vidsift.store import schema
from vidsift.store.connection import reading
from vidsift.store.reader import CatalogReader
from vidsift.store.tags import normalise_tag

__all__ = ["video_ids"]

_VIDEOS = schema.videos.c
_IS_SEARCHABLE = _VIDEOS.status == "searchable"
_ESCAPE = "!"  # no backslash: EscapedText doubles those
_ID_DIGITS = 18  # more might not fit into 64 bits
_LAST_TIME = 2**63 - 1  # in nanoseconds: the year 2262

Condition = sa.ColumnElement[bool]


def video_ids(
    catalog: CatalogReader,
    *,
    videos: Sequence[str] = (),
    paths: Sequence[str] = (),
    after: float | None = None,
    before: float | None = None,
    longer: float | None = None,
    shorter: float | None = None,
    tags: Sequence[str] = (),
) -> frozenset[int]:
    """The ids of the searchable videos that meet every condition; all of them without any.

    Args:
        catalog: the library's.
        videos: ids, paths, file names, stems, or else parts of file names: any of them.
        paths: parts of the absolute path; or, with the wildcards `*` and `?`, patterns of its end
            (of all of it where they begin with a slash): any of them.
        after: seconds of the epoch at or after which the file was last written.
        before: seconds of the epoch before which it was.
        longer: the least duration in seconds.
        shorter: the greatest duration in seconds.
        tags: tags that must all be there.

    Small and capital letters are alike.

    Raises:
        QueryError: no video has such a name, path or tag; names the nearest name or tag.
    """
    conditions = [_IS_SEARCHABLE, *_bounds(after, before, longer, shorter)]
    with reading(catalog._engine) as connection:
        if paths:
            conditions.append(sa.or_(*(_path_condition(connection, part) for part in paths)))
        conditions += [_tag_condition(connection, normalise_tag(tag)) for tag in tags]
        ids = frozenset(connection.execute(sa.select(_VIDEOS.id).where(*conditions)).scalars())
        if not videos:
            return ids
        return ids & {each for name in videos for each in _ids_of_name(connection, name)}


def _bounds(
    after: float | None, before: float | None, longer: float | None, shorter: float | None
) -> Iterator[Condition]:
    if after is not None:
        yield _VIDEOS.mtime_ns >= _nanoseconds(after)
    if before is not None:
        yield _VIDEOS.mtime_ns < _nanoseconds(before)
    if longer is not None:
        yield _VIDEOS.duration_seconds >= longer
    if shorter is not None:
        yield _VIDEOS.duration_seconds <= shorter


def _nanoseconds(seconds: float) -> int:
    return max(-_LAST_TIME, min(math.ceil(seconds * 1e9), _LAST_TIME))


def _ids_of_name(connection: Connection, name: str) -> list[int]:
    columns = (_VIDEOS.id, _VIDEOS.path, _VIDEOS.status, _VIDEOS.reason)
    if name.isdecimal() and len(name) <= _ID_DIGITS:
        by_id = connection.execute(sa.select(*columns).where(_VIDEOS.id == int(name))).all()
        if by_id and by_id[0].status == "searchable":
            return [by_id[0].id]
    sought = name.casefold()
    last = Path(name).name
    like = _VIDEOS.path.ilike(_contains(last), escape=_ESCAPE)
    found = [
        (Path(row.path), row)
        for row in connection.execute(sa.select(*columns).where(like).order_by(_VIDEOS.path))
    ]
    exact = {os.path.realpath(expanded(name)), name}
    meanings = (
        [row for path, row in found if str(path) in exact],
        [row for path, row in found if sought in (path.name.casefold(), path.stem.casefold())],
        [row for path, row in found if str(path).casefold().endswith(f"/{sought}")],
        [row for path, row in found if sought in path.name.casefold()],
    )
    meant = next((rows for rows in meanings if rows), [])
    if searchable := [row.id for row in meant if row.status == "searchable"]:
        return searchable
    if meant:
        why = meant[0].reason or meant[0].status
        raise QueryError(f"video:{name}: {meant[0].path} cannot be searched: {why}")
    paths = connection.execute(sa.select(_VIDEOS.path).where(_IS_SEARCHABLE)).scalars()
    names = [Path(path) for path in paths]
    nearest = _nearest(sought, [path.name for path in names], [path.stem for path in names])
    raise QueryError(
        f"video:{name}: no video is called so{nearest}; `vidsift status` lists what is indexed"
    )


def _path_condition(connection: Connection, part: str) -> Condition:
    if any(wildcard in part for wildcard in "*?"):
        whole = part if part.startswith(("/", "*")) else f"*{part}"
        patterns = {_escaped(whole).replace("*", "%").replace("?", "_")}
    else:
        patterns = {_contains(part)}
        if part.startswith(("/", "~")):  # the catalog holds paths without links
            end = "/" if part.endswith("/") else ""
            patterns.add(_contains(os.path.realpath(expanded(part)).rstrip("/") + end))
    like = sa.or_(*(_VIDEOS.path.ilike(each, escape=_ESCAPE) for each in sorted(patterns)))
    lying_there = sa.select(_VIDEOS.id).where(_IS_SEARCHABLE, like).limit(1)
    if connection.execute(lying_there).first() is None:
        raise QueryError(
            f"path:{part}: no video that can be searched lies there; "
            "`vidsift status` lists what is indexed"
        )
    return like


def _tag_condition(connection: Connection, tag: str) -> Condition:
    of_tag = sa.select(schema.tags.c.video_id).where(schema.tags.c.tag == tag)
    if connection.execute(of_tag.limit(1)).first() is None:
        known = connection.execute(sa.select(schema.tags.c.tag).distinct()).scalars().all()
        raise QueryError(
            f"tag:{tag}: no video has this tag{_nearest(tag, known)};"
            " `vidsift tag` lists the tags, `vidsift tag VIDEO --add TAG` gives one"
        )
    return _VIDEOS.id.in_(of_tag)


def _contains(part: str) -> str:
    return f"%{_escaped(part)}%"


def _escaped(text: str) -> str:
    for special in (_ESCAPE, "%", "_"):
        text = text.replace(special, _ESCAPE + special)
    return text


def _nearest(sought: str, *names: Sequence[str]) -> str:
    by_case = {name.casefold(): name for group in names for name in group}
    near = difflib.get_close_matches(sought, by_case, 1, cutoff=0.5)
    return f", the nearest is {by_case[near[0]]!r}" if near else ""
