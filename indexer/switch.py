"""Which space is searched: what spaces there are, the switch, the way back, letting one go."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from indexer.commit import sweep
from indexer.migrate import damaged_videos
from search.trust import prepare
from vidsift.errors import ConfigError, EncoderMismatchError, SpaceError
from vidsift.library import Library
from vidsift.models.encoder import full_name, open_encoder
from vidsift.models.learned_saliency import open_saliency
from vidsift.models.pooler_checkpoint import open_pooler
from vidsift.store import spaces
from vidsift.store.spaces import Space
from vidsift.store.switching import Switched, switch
from vidsift.store.vectors import drop_index
from vidsift.types import EncoderStamp

__all__ = ["SpaceStatus", "discard_space", "find_space", "space_statuses", "switch_space"]


@dataclass(frozen=True, slots=True)
class SpaceStatus:
    """One space: whose, how complete, how large.

    `space` is None for the one that is searched. `videos` of the `wanted` (those that can be
    searched) are in it, `missing_cues` lines of subtitles have no vector in it. `num_bytes` counts
    feature files, pictures and vectors.
    """

    stamp: EncoderStamp
    space: Space | None
    videos: int
    wanted: int
    missing_cues: int
    num_bytes: int

    @property
    def is_whole(self) -> bool:
        """Whether it can be searched without leaving anything out."""
        return self.videos == self.wanted and self.missing_cues == 0


def space_statuses(library: Library) -> list[SpaceStatus]:
    """The space that is searched first, then the others, the oldest first."""
    catalog = library.catalog
    stamp = catalog.stamp()
    if stamp is None:
        return []
    searchable = {video.id: video.feature_file for video in catalog.videos("searchable")}
    wanted = len(searchable)
    size = _num_bytes(library, stamp, list(searchable.values()), catalog.num_vectors())
    found = [SpaceStatus(stamp, None, wanted, wanted, 0, size)]
    for space in spaces.all_spaces(catalog):
        held = spaces.videos_of_space(catalog, space.id)
        vectors = spaces.num_vectors(catalog, space.id)
        found.append(
            SpaceStatus(
                space.stamp,
                space,
                len(held.keys() & searchable.keys()),
                wanted,
                len(spaces.lacking_cues(catalog, space.id)),
                _num_bytes(library, space.stamp, list(held.values()), vectors),
            )
        )
    return found


def find_space(library: Library, encoder_name: str = "", *, left: bool | None = None) -> Space:
    """The space of the encoder of this name, or else the only one there is.

    With `left` only spaces count that were searched before a switch (true) or never were (false);
    of those that were the one that was searched last is meant.

    Raises:
        SpaceError: there is none, or several may be meant.
    """
    found = spaces.all_spaces(library.catalog)
    if encoder_name:
        name = full_name(encoder_name)
        if (space := spaces.space_named(library.catalog, name)) is None:
            known = ", ".join(each.stamp.name for each in found) or "none"
            raise SpaceError(
                f"{name}: this library has no space of that encoder beside the one that is"
                f" searched (it has: {known}); build it with `vidsift migrate --encoder {name}`"
            )
        return space
    if left is not None:
        found = [each for each in found if (each.left_at is not None) == left]
    if left:
        found = sorted(found, key=lambda each: each.left_at or 0.0)[-1:]
    if len(found) > 1:
        named = ", ".join(each.stamp.name for each in found)
        raise SpaceError(f"there are spaces of several encoders: {named}; name one with --encoder")
    if not found:
        raise SpaceError(
            f"{library.root}: "
            + (
                "no other encoder was searched with before"
                if left
                else "there is no space of another encoder; build one with"
                " `vidsift migrate --encoder ENCODER`"
            )
        )
    return found[0]


def switch_space(library: Library, space: Space, *, without_missing: bool = False) -> Switched:
    """Search this space from now on; see `vidsift.store.switching.switch`.

    Questions that are asked meanwhile are answered from one space or the other, never from both.

    Raises:
        SpaceError: it lacks videos that are searched, or has damaged ones.
        ConfigError: a setting names another encoder: nothing could be searched any more.
        EncoderError, EncoderMismatchError: its encoder cannot be used here and now.
        PoolerError, SaliencyModelError: what the settings name was trained for another encoder.
    """
    _check_usable(library, space)
    with _writing(library):
        if damaged := damaged_videos(library, space):
            named = ", ".join(str(video.path) for video, _ in damaged[:3])
            raise SpaceError(
                f"{space.stamp.name}: {len(damaged)} videos in its space are damaged"
                f" ({named}): {damaged[0][1]}; run `vidsift migrate --encoder {space.stamp.name}`"
                " to make them again"
            )
        done = switch(library.catalog, space.id, without_missing=without_missing)
        drop_index(library.root / "index")
        library.index(write=True)
        prepare(library)
    return done


def discard_space(library: Library, space: Space) -> None:
    """Drop a space that is not searched, with its files."""
    with _writing(library):
        spaces.discard(library.catalog, space.id)
        sweep(library)


def _writing(library: Library) -> AbstractContextManager[None]:
    return library.writing(math.inf, command="vidsift migrate")


def _check_usable(library: Library, space: Space) -> None:
    settings, stamp = library.settings, space.stamp
    if settings.encoder and full_name(settings.encoder) != stamp.name:
        raise ConfigError(
            f"encoder: the setting names {settings.encoder}, so that nothing could be searched"
            f" after a switch to {stamp.name}; take it out of vidsift.toml, or VIDSIFT_ENCODER out"
            " of the environment"
        )
    encoder = open_encoder(stamp.name, device=settings.device, batch_size=settings.batch_size)
    found = encoder.stamp
    encoder.close()
    if found != stamp:
        raise EncoderMismatchError(
            f"{stamp.name}: its weights or preprocessing are not those any more that the space was"
            f" made with; run `vidsift migrate --encoder {stamp.name}` to build it anew"
        )
    open_pooler(settings.pooler, settings.temperature, stamp, library.poolers)
    if settings.saliency:
        open_saliency(settings.saliency, stamp, library.saliency_models)


def _num_bytes(library: Library, stamp: EncoderStamp, files: list[str], num_vectors: int) -> int:
    size = 2 * stamp.dimension * num_vectors
    for name in files:
        folder = library.root / "pictures" / Path(name).stem
        with suppress(OSError):  # a file that is gone takes no room
            size += (library.root / "features" / name).stat().st_size
            size += sum(each.stat().st_size for each in folder.iterdir())
    return size
