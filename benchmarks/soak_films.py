"""A folder of films that never stays as it is: what `benchmarks.soak` indexes."""

from __future__ import annotations

import itertools
import random
import tempfile
import uuid
from pathlib import Path

from benchmarks.colour_films import COLOURS, make_colour_film

__all__ = ["Films"]

_KINDS = 24
_LIVE = 80  # films that are there at a time
_NEW = 20  # in each change
_SAID = 0.3  # of the films have subtitles beside them


class Films:
    """At most 80 films; `change` adds 20, changes two, renames two and takes away the oldest."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self._rng = rng
        self._number = itertools.count()
        self._sources: list[bytes] = []
        folder.mkdir(parents=True, exist_ok=True)

    def paths(self) -> list[Path]:
        """The films that are there, oldest first."""
        return sorted(self.folder.glob("*.mp4"))

    def change(self) -> None:
        """Leave the folder as nobody has seen it yet."""
        for _ in range(_NEW):
            self._put(self.folder / f"{next(self._number):09d}.mp4")
        for path in self._rng.sample(self.paths(), 2):
            self._put(path)
        for path in self._rng.sample(self.paths(), 2):
            name = f"{next(self._number):09d}"
            if (subtitles := path.with_suffix(".srt")).exists():
                subtitles.rename(self.folder / f"{name}.srt")
            path.rename(self.folder / f"{name}.mp4")
        for path in self.paths()[:-_LIVE]:
            path.unlink()
            path.with_suffix(".srt").unlink(missing_ok=True)

    def _put(self, path: Path) -> None:
        """A film that is new in content, in place of what is there."""
        part = path.with_name(f".{path.name}")
        # A box that players pass over: another content, the same pictures.
        number = uuid.uuid4().bytes
        box = (8 + len(number)).to_bytes(4, "big") + b"free" + number
        part.write_bytes(self._source() + box)
        if self._rng.random() < _SAID:
            said = " and ".join(self._rng.sample(list(COLOURS), 2))
            path.with_suffix(".srt").write_text(f"1\n00:00:00,200 --> 00:00:01,500\n{said}\n")
        part.replace(path)

    def _source(self) -> bytes:
        if len(self._sources) < _KINDS:
            with tempfile.TemporaryDirectory() as folder:
                film = Path(folder) / "film.mp4"
                colours = self._rng.sample(list(COLOURS), 2)
                seconds = self._rng.choice(([2.0], [2.5, 2.5], [3.0, 2.0]))
                make_colour_film(film, list(zip(colours, seconds, strict=False)))
                self._sources.append(film.read_bytes())
        return self._rng.choice(self._sources)
