"""The composition root: a library opens its catalog, features, index and encoder, once each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from vidsift.config import Settings, default_library, load_settings
from vidsift.errors import (
    DamagedLibraryError,
    EncoderMismatchError,
    LibraryChangedError,
    LibraryNotFoundError,
    StorageError,
    VideoNotFoundError,
    VidsiftError,
)
from vidsift.models.attention import Pooler
from vidsift.models.encoder import Encoder, full_name, open_encoder
from vidsift.models.learned_saliency import SaliencyModel, open_saliency
from vidsift.models.memory import set_limit
from vidsift.models.pooler_checkpoint import open_pooler
from vidsift.paths import expanded
from vidsift.store.catalog import Catalog
from vidsift.store.features import FeatureStore
from vidsift.store.files import make_folder
from vidsift.store.inside import check_folders
from vidsift.store.locks import write_lock
from vidsift.store.reconcile import database_problems
from vidsift.store.serving import Inspection
from vidsift.types import ClipRecord, EncoderStamp, VideoRecord

if TYPE_CHECKING:
    from vidsift.store.vectors import FaissIndex

__all__ = ["Library"]

# A file that is gone while it is read makes a search begin again: more often than this in a row it
# is not the library's growth.
_READINGS = 5
_PATIENCE_SECONDS = 1.0  # with a writer that commits one video and goes on, as `migrate` does
_Read = TypeVar("_Read")


class Library:
    """A folder that holds what is known of a set of videos; the videos stay where they are.

    ```
    catalog.sqlite3     SQL, the truth (or elsewhere, by `database_url`)
    features/KEY.npy    float16 frame features of one video
    pictures/KEY/       thumbnails of its clips, and its storyboard
    poolers/            trained poolers, if any
    saliency/           trained saliencies, if any
    index/              FAISS index, a cache that is rebuilt from SQL when it does not fit
    skims/              rendered summaries and cut moments, a cache
    vidsift.toml        settings, if any
    ```
    """

    def __init__(
        self, root: Path, settings: Settings, catalog: Catalog, *, features: Path | None = None
    ) -> None:
        """Put together what `open` opens; `features` is the folder of them if not the usual one."""
        self.root = root
        self.settings = settings
        self.catalog = catalog
        self.features = FeatureStore(features or root / "features", catalog.has_changed)
        self.inspection = Inspection(catalog, self.features)
        self._index: FaissIndex | None = None
        self._deletions: int | None = None  # of the catalog, when features were last let go
        self._stamp: EncoderStamp | None = None  # of the catalog, when last compared
        self._patience = _PATIENCE_SECONDS
        self._on_wait: Callable[[str], None] | None = None

    @classmethod
    def open(cls, root: Path | str | None = None, *, create: bool = False, **flags: Any) -> Library:
        """Open the library in `root` (default: see `default_library`), or make one there.

        Raises:
            LibraryNotFoundError: there is none and `create` is false.
            LibraryError: one of its folders is a link to elsewhere.
            ConfigError, SchemaError, StorageError: as they say.
        """
        folder, settings = _settings(root, flags)
        url = _url(folder, settings)
        file = folder / "catalog.sqlite3"
        if not create and not settings.database_url and not file.exists():
            raise LibraryNotFoundError(
                f"{folder}: no library here; make one with `vidsift index FOLDER`"
                " or name another with --library"
            )
        if create:
            try:
                make_folder(folder)
            except OSError as error:
                raise StorageError(f"{folder}: cannot be made: {error.strerror}") from error
        check_folders(folder)
        catalog = Catalog.create(url) if create else Catalog.open(url)
        return cls(folder, settings, catalog)

    @staticmethod
    def place(root: Path | str | None = None, **flags: Any) -> tuple[Path, str]:
        """The folder and the database URL of a library, which need not be there or whole.

        Raises:
            ConfigError: as it says.
        """
        folder, settings = _settings(root, flags)
        return folder, _url(folder, settings)

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the encoder, the features and the database. Safe to call twice."""
        if "encoder" in self.__dict__:
            self.encoder.close()
            del self.encoder
        self.features.close()
        self.catalog.close()

    @property
    def encoder_name(self) -> str:
        """The encoder that was asked for, else the library's own, else `builtin`."""
        stamp = self.catalog.stamp()
        return full_name(self.settings.encoder) or (stamp.name if stamp else "builtin")

    def check_encoder(self) -> None:
        """Refuse another encoder than the library's by its name alone, which costs nothing.

        Raises:
            EncoderMismatchError: the one asked for is not the one that the library was made with.
        """
        stamp = self.catalog.stamp()
        if stamp is not None and stamp.name != self.encoder_name:
            raise EncoderMismatchError(
                f"{self.root}: this library was made with encoder {stamp.name!r}, not"
                f" {self.encoder_name!r}; leave --encoder out, change over with `vidsift migrate"
                f" --encoder {self.encoder_name}`, or index into another --library"
            )

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder, checked against the one that the library was made with.

        Raises:
            EncoderMismatchError: they differ in name, weights, dimension or preprocessing.
            EncoderError: it cannot run here.
        """
        self.check_encoder()
        stamp = self.catalog.stamp()
        name = self.encoder_name
        set_limit(self.settings.gpu_memory_mb)
        encoder = open_encoder(
            name, device=self.settings.device, batch_size=self.settings.batch_size
        )
        if stamp is not None and stamp != encoder.stamp:
            encoder.close()
            raise EncoderMismatchError(
                f"{self.root}: the weights or preprocessing of encoder {name!r} are not those that"
                " this library was made with; restore them, or change over to these with"
                f" `vidsift migrate --encoder {name}`"
            )
        return encoder

    @cached_property
    def pooler(self) -> Pooler:
        """What pools a clip's frames under a question, as the setting `pooler` says.

        Raises:
            PoolerError: it is unknown, cannot be read, or was trained for another encoder.
        """
        stamp = self.catalog.stamp() or self.encoder.stamp
        settings = self.settings
        return open_pooler(settings.pooler, settings.temperature, stamp, self.poolers)

    @property
    def poolers(self) -> Path:
        """The folder of poolers that were trained on this library."""
        return self.root / "poolers"

    @cached_property
    def saliency(self) -> SaliencyModel | None:
        """The trained saliency that the setting `saliency` names; None where it names none.

        Raises:
            SaliencyModelError: it is unknown, cannot be read, or was trained on other features.
        """
        if not self.settings.saliency:
            return None
        stamp = self.catalog.stamp() or self.encoder.stamp
        return open_saliency(self.settings.saliency, stamp, self.saliency_models)

    @property
    def saliency_models(self) -> Path:
        """The folder of saliencies that were trained on this library."""
        return self.root / "saliency"

    def index(self, *, write: bool = False) -> FaissIndex:
        """The vector index, caught up with the catalog. `write` also saves it."""
        from vidsift.store.vectors import open_index

        stamp = self.catalog.stamp() or self.encoder.stamp
        if self._index is None or write or self._index.stamp != stamp:
            self._index = open_index(
                self.root / "index",
                self.catalog,
                stamp,
                write=write,
                gpu_memory_mb=self.settings.gpu_memory_mb,
            )
        else:
            self._index.sync()
        return self._index

    def wait_for_writers(self, seconds: float, on_wait: Callable[[str], None] | None) -> None:
        """From now on `writing` waits so long for another writer, and tells `on_wait` who it is."""
        self._patience = seconds
        self._on_wait = on_wait

    @contextmanager
    def writing(self, wait: float | None = None, *, command: str = "") -> Iterator[None]:
        """Hold the write lock, which the operating system frees should the process die.

        Args:
            wait: seconds to wait for another writer at least; `wait_for_writers` may say longer.
            command: what is being done, for those who find the library busy to read.

        Raises:
            LibraryBusyError: another process holds it; says which, and since when.
            StorageError: the folder may not be written.
        """
        with write_lock(
            self.root,
            _url(self.root, self.settings),
            wait=max(wait or 0.0, self._patience),
            command=command,
            on_wait=self._on_wait,
        ):
            self._follow_switch()
            yield

    def in_one_state(self, read: Callable[[], _Read]) -> _Read:
        """`read()`, all of which sees one state of the library, whatever is written meanwhile.

        It is called again, a few times at most, where a file of that state is gone by then.

        Raises:
            DamagedLibraryError: `read` came upon what no catalog holds, and this one is damaged.
        """
        if self.catalog.in_snapshot():
            return read()  # whoever began reads again
        try:
            for _ in range(_READINGS):
                with suppress(LibraryChangedError), self.catalog.snapshot():
                    self._let_go()
                    return read()
            return read()
        except VidsiftError:
            raise
        except Exception as error:
            # Either a fault of this program or a value that only damage can leave: ask which.
            if not (found := database_problems(self.catalog)):
                raise
            raise DamagedLibraryError(
                f"{self.root}: the catalog is damaged ({found[0]}); run `vidsift repair`"
            ) from error

    def _let_go(self) -> None:
        """Close the feature files that the catalog names no more: open, they take their room.

        So does an encoder that the library is no longer searched with.
        """
        deletions = self.catalog.generation().deletions
        if deletions != self._deletions:
            self.features.close_others(self.catalog.feature_files())
            self._follow_switch()
            self._deletions = deletions

    def _follow_switch(self) -> None:
        """Forget an encoder that another has taken the place of, and what was trained for it."""
        stamp = self.catalog.stamp()
        opened = self.__dict__.get("encoder")
        known = opened.stamp if opened is not None else self._stamp
        if None not in (stamp, known) and stamp != known:
            for name in ("encoder", "pooler", "saliency"):
                # Not closed: another thread may be at work with it.
                self.__dict__.pop(name, None)
        self._stamp = stamp

    def video(self, name: str | Path | int) -> VideoRecord:
        """The video with this id, path, file name or stem.

        Raises:
            VideoNotFoundError: none or several answer to it.
        """
        text = str(name)
        if text.isdecimal() and (found := self.catalog.video(int(text))) is not None:
            return found
        matches = self.catalog.find_videos(text) or self.catalog.find_videos(
            os.path.realpath(expanded(text))
        )
        if len(matches) == 1:
            return matches[0]
        if not matches:
            raise VideoNotFoundError(
                f"{text}: no such video in {self.root}; `vidsift status` lists what is indexed"
            )
        listed = ", ".join(f"{match.id} = {match.path}" for match in matches[:5])
        raise VideoNotFoundError(f"{text}: several videos are called so; use an id: {listed}")

    def require_whole(self, video: VideoRecord) -> None:
        """Look at a video before it is shown as a whole; each version of it once.

        Raises:
            DamagedLibraryError: its rows or features are not what was stored.
        """
        self.inspection.inspect([video.id])
        for left_out in self.catalog.left_out:
            if left_out.video_id == video.id:
                raise DamagedLibraryError(f"{video.path}: {left_out.reason}")

    def damage(self, video: VideoRecord) -> str:
        """What is wrong with a searchable video, as far as is seen at a glance; empty if nothing.

        Looks whether its files are there, and whole by their lengths and numbers; what an
        `inspection` has found counts, too. Reads no file.
        """
        for left_out in self.catalog.left_out:
            if left_out.video_id == video.id:
                return left_out.reason
        again = "; run `vidsift index` on the video's folder"
        try:
            num_frames = self.features.num_frames(video.feature_file)
            pictures = sum(1 for _ in self.pictures(video).iterdir())
        except DamagedLibraryError as error:
            return str(error)
        except OSError as error:
            return f"{error.filename}: {error.strerror}{again}"
        if num_frames != video.num_frames:
            return f"{video.feature_file}: has {num_frames} frames, not {video.num_frames}{again}"
        if pictures != video.num_clips + 1:
            return f"{self.pictures(video)}: not whole{again}"
        return ""

    def not_searchable(self) -> list[tuple[VideoRecord, str, str]]:
        """Each video that cannot be searched, its state (failed, missing, damaged) and why.

        All others of `catalog.videos()` can. At a glance: see `damage`.
        """
        found = []
        for video in self.catalog.videos():
            if video.status != "searchable":
                found.append((video, str(video.status), video.reason))
            elif damage := self.damage(video):
                found.append((video, "damaged", damage))
        return found

    def pictures(self, video: VideoRecord | ClipRecord) -> Path:
        """The folder of the video's thumbnails and storyboard."""
        return self.root / "pictures" / Path(video.feature_file).stem

    def thumbnail(self, video: VideoRecord | ClipRecord, ordinal: int) -> Path:
        """The JPEG of the clip with this place in the video."""
        return self.pictures(video) / f"{ordinal:05d}.jpg"

    def storyboard(self, video: VideoRecord) -> Path:
        """The storyboard of the video's generic summary, made when it was indexed."""
        return self.pictures(video) / "storyboard.jpg"

    @property
    def skims(self) -> Path:
        """The folder of rendered summaries and cut moments."""
        return self.root / "skims"


def _settings(root: Path | str | None, flags: dict[str, Any]) -> tuple[Path, Settings]:
    folder = expanded(Path(root) if root is not None else default_library()).absolute()
    return folder, load_settings(folder, **flags)


def _url(folder: Path, settings: Settings) -> str:
    return settings.database_url or f"sqlite:///{folder / 'catalog.sqlite3'}"
