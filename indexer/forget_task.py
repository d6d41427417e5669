"""What is being forgotten, as it is written down until nothing of it is left.

The file tells of the videos what must be known to go on after a crash, when half of them is gone:
their ids, all names that they ever had, how the names of their files begin, and the needles by
which a trace of them is recognised. It goes last.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from indexer.traces import Needle, needles_of
from vidsift.errors import DamagedLibraryError, StorageError
from vidsift.library import Library
from vidsift.store.files import write_atomically
from vidsift.store.folding import fold
from vidsift.store.forgetting import space_files, stored_of_video
from vidsift.types import VideoRecord

__all__ = ["Task"]


@dataclass(frozen=True)
class Task:
    """What is being forgotten, as `forgetting.json` holds it until nothing of it is left.

    `names` are all paths that the videos ever had, and those of their file names and stems that no
    other video has; `keys` begin the names of their files, `words` are said in them.
    """

    ids: tuple[int, ...]
    paths: tuple[str, ...]
    names: tuple[str, ...]
    stems: tuple[str, ...]
    keys: tuple[str, ...]
    vector_ids: tuple[int, ...]
    words: tuple[str, ...]
    needles: tuple[tuple[str, str], ...]
    kept_out: tuple[tuple[int, int, str], ...]
    also_trained: bool

    @classmethod
    def of(
        cls,
        library: Library,
        videos: Sequence[VideoRecord],
        *,
        also_trained: bool = False,
        kept_out: bool = False,
    ) -> Task:
        needles: dict[Needle, None] = {}
        paths: dict[str, None] = {}
        keys: dict[str, None] = {}
        words: set[str] = set()
        for video in videos:
            known_as = _paths_of(library, video)
            paths |= dict.fromkeys(known_as)
            keys |= dict.fromkeys(_keys_of(library, video))
            needles |= dict.fromkeys(needles_of(library, video, known_as))
            for stored in stored_of_video(library.catalog, video.id):
                if stored.kind == "line":
                    words.update(fold(stored.content.decode("utf-8", "surrogateescape")).split())
        ids = [video.id for video in videos]
        others = [other.path for other in library.catalog.videos() if other.id not in ids]
        names = {Path(path).name for path in paths} - {other.name for other in others}
        stems = {Path(path).stem for path in paths} - {other.stem for other in others}
        prints = [video.fingerprint for video in videos] if kept_out else []
        return cls(
            ids=tuple(ids),
            paths=tuple(str(video.path) for video in videos),
            names=(*paths, *sorted(names)),
            stems=tuple(sorted(stems)),
            keys=tuple(keys),
            vector_ids=tuple(library.catalog.vector_ids(ids).tolist()),
            words=tuple(sorted(words)),
            needles=tuple((n.kind, base64.b64encode(n.content).decode()) for n in needles),
            kept_out=tuple((p.size_bytes, p.mtime_ns, p.sha256) for p in prints),
            also_trained=also_trained,
        )

    @classmethod
    def read(cls, file: Path) -> Task | None:
        try:
            read = json.loads(file.read_bytes())
            lists = {key: tuple(value) for key, value in read.items() if isinstance(value, list)}
            pairs = {key: tuple(map(tuple, lists[key])) for key in ("needles", "kept_out")}
            return cls(**(read | lists | pairs))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{file}: cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedLibraryError(
                f"{file}: damaged ({error}); delete it, index the video again and forget it anew"
            ) from error

    def write(self, file: Path) -> None:
        # Names may hold bytes that are no text; JSON keeps them as escapes.
        write_atomically(file, [json.dumps(asdict(self)).encode()])

    def names_it(self, text: str) -> bool:
        """Whether a text means one of the videos: by its path or file name, or as VIDEO@TIME."""
        return self._naming.search(text) is not None

    def may_mean(self, text: str) -> bool:
        """Whether it means one of them, or holds a file name without its suffix."""
        return self.names_it(text) or self._stem.search(text) is not None

    @cached_property
    def _naming(self) -> re.Pattern[str]:
        before_time = "|".join(map(re.escape, [*map(str, self.ids), *self.stems]))
        return re.compile(
            rf"(?<![\w.\-])(?:(?:{before_time})@\d|{_any_of(self.names)})", re.IGNORECASE
        )

    @cached_property
    def _stem(self) -> re.Pattern[str]:
        return re.compile(rf"(?<!\w){_any_of(self.stems)}", re.IGNORECASE)


def _any_of(words: Sequence[str]) -> str:
    """A pattern of any of these words, whole; of none if there are none."""
    if not words:
        return r"(?!)"
    # The longest first: a part must not be taken for the whole.
    listed = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    return rf"(?:{listed})(?!\w)"


def _paths_of(library: Library, video: VideoRecord) -> list[str]:
    """The video's path, and those that it had before it was renamed, newest first."""
    names = [str(video.path)]
    for run in library.catalog.runs():  # newest first
        for pair in run.report.get("renamed", ()):
            if len(pair) == 2 and pair[1] in names and pair[0] not in names:
                names.append(pair[0])
    return names


def _keys_of(library: Library, video: VideoRecord) -> list[str]:
    """What the names of its files begin with; of older versions of the same content, too."""
    files = [video.feature_file, *space_files(library.catalog, video.id)]
    keys = [Path(name).stem for name in files if name]
    sha256 = video.fingerprint.sha256
    if sha256 and len(library.catalog.videos_by_sha256(sha256)) == 1:
        keys.append(sha256[:16])
    return keys
