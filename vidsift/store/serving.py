"""What is searched is what was stored: checksums, held against rows and files before they answer.

A bit that flips on a disk makes no noise. So a video is looked at before it answers the first time
in a process: the SHA-256 of its feature file and both checksums of its rows. One that fails is left
out from then on (`CatalogReader.leave_out`), with the reason, until it is indexed anew; the others
go on answering. Once looked at, a video costs nothing more.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, SupportsIndex, get_args

import sqlalchemy as sa

from vidsift.errors import DamagedLibraryError
from vidsift.store import seals
from vidsift.store.connection import reading
from vidsift.store.features import FeatureStore
from vidsift.store.reader import CatalogReader, chunks
from vidsift.store.records import Generation
from vidsift.store.schema import clips, videos
from vidsift.types import LeftOut, VideoStatus

__all__ = ["Inspection"]


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Entry:
    """What tells one version of a video from another, and where its file lies."""

    feature_file: str
    feature_sha256: str
    parts_sha256: str
    seal: str
    path: str


_ENTRY = (
    videos.c.id,
    videos.c.feature_file,
    videos.c.feature_sha256,
    videos.c.parts_sha256,
    videos.c.seal,
    videos.c.path,
)
_ENTRIES = sa.select(*_ENTRY).where(videos.c.status == "searchable")
# The same columns of those whose row is gone, in order to be treated alike, and of those whose row
# says neither that they are searched nor why not.
_LOST = (
    sa.select(clips.c.video_id, *(sa.literal("") for _ in range(4)), sa.literal("(unknown)"))
    .distinct()
    .where(clips.c.video_id.is_not(None), clips.c.video_id.not_in(sa.select(videos.c.id)))
)
_STATUSES: tuple[VideoStatus, ...] = get_args(VideoStatus)
_UNTOLD = sa.select(*_ENTRY).where(
    sa.or_(videos.c.status.is_(None), videos.c.status.not_in(_STATUSES))
)


class Inspection:
    """Which videos of one library were looked at; safe to use from several threads."""

    def __init__(self, catalog: CatalogReader, features: FeatureStore) -> None:
        self._catalog = catalog
        self._features = features
        self._lock = threading.Lock()
        self._state: Generation | None = None  # of which the entries are
        self._lost_of: Generation | None = None  # for which videos without entries were looked for
        self._entries: dict[int, _Entry] = {}
        self._whole: dict[int, _Entry] = {}
        self._damaged: dict[int, tuple[_Entry, LeftOut]] = {}

    def inspect(self, video_ids: Iterable[SupportsIndex] | None = None) -> bool:
        """Look at these videos, or at all that are searchable, as far as it was not done before.

        Returns whether other videos are left out now than before.

        Raises:
            DamagedLibraryError: the catalog cannot be read.
        """
        with self._lock:
            before = frozenset(self._damaged)
            self._follow()
            wanted = self._entries if video_ids is None else [int(each) for each in video_ids]
            due = {
                video_id: self._entries[video_id]
                for video_id in wanted
                if video_id in self._entries
                and video_id not in self._damaged
                and self._whole.get(video_id) != self._entries[video_id]
            }
            found = self._reasons(due) if due else {}
            if video_ids is None:
                self._note_lost()
            for video_id, reason in found.items():
                entry = due[video_id]
                if reason:
                    left_out = LeftOut(video_id, Path(str(entry.path)), reason)
                    self._damaged[video_id] = (entry, left_out)
                    # An answer that lacks it must not look complete.
                    _log.warning("%s is not searched: %s", left_out.video, reason)
                else:
                    self._whole[video_id] = entry
            if before == self._damaged.keys():
                return False
            self._catalog.leave_out(left_out for _, left_out in self._damaged.values())
            return True

    def inspect_again(self, video_ids: Iterable[SupportsIndex]) -> bool:
        """Look at these videos as if it had not been done before; see `inspect`."""
        doubted = [int(each) for each in video_ids]
        with self._lock:
            for video_id in doubted:
                self._whole.pop(video_id, None)
        return self.inspect(doubted)

    def _follow(self) -> None:
        """Forget what was found of videos that are others by now."""
        state = replace(self._catalog.generation(), left_out=())
        if state == self._state:
            return
        self._entries = self._read(_ENTRIES)
        self._whole = {
            video_id: entry
            for video_id, entry in self._whole.items()
            if self._entries.get(video_id) == entry
        }
        self._damaged = {
            video_id: (entry, left_out)
            for video_id, (entry, left_out) in self._damaged.items()
            if self._entries.get(video_id) == entry
        }
        self._state = state

    def _note_lost(self) -> None:
        """Leave out, by name, videos without an entry that says what they are: somebody is told."""
        if self._lost_of == self._state:
            return
        for query, what in ((_LOST, "gone"), (_UNTOLD, "not what was stored")):
            for video_id, entry in self._read(query).items():
                reason = f"its entry in the catalog is {what}; run `vidsift repair`"
                self._damaged[video_id] = (entry, LeftOut(video_id, Path(str(entry.path)), reason))
                _log.warning("video %d is not searched: %s", video_id, reason)
        self._lost_of = self._state

    def _read(self, query: sa.Select[Any], *, live: bool = False) -> dict[int, _Entry]:
        with reading(self._catalog._engine, live=live) as connection:
            return {row[0]: _Entry(*row[1:]) for row in connection.execute(query)}

    def _reasons(self, due: Mapping[int, _Entry]) -> dict[int, str]:
        """What is wrong with each video, empty where nothing is; without those that are gone."""
        with reading(self._catalog._engine) as connection:
            found = seals.unfit(connection, due)
        for video_id in found:
            found[video_id] = found[video_id] or self._of_features(due[video_id])
        if bad := [video_id for video_id, reason in found.items() if reason]:
            # What was indexed anew in this very moment is not damaged.
            for chunk in chunks(bad):
                now = self._read(_ENTRIES.where(videos.c.id.in_(chunk)), live=True)
                for video_id in chunk:
                    if now.get(video_id) != due[video_id]:
                        del found[video_id]
        return {
            video_id: f"{reason}; run `vidsift repair`" if reason else ""
            for video_id, reason in found.items()
        }

    def _of_features(self, entry: _Entry) -> str:
        try:
            if self._features.sha256(entry.feature_file) != entry.feature_sha256:
                return "its features are not what was stored"
        except (DamagedLibraryError, ValueError):
            return "its features cannot be read"
        return ""
