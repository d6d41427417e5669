"""The work at which processes are killed: what people do, and the state before it.

`run` is both the work that is killed and what goes on with it afterwards: it must come to the same
end however far it got before.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.colour_films import make_colour_film
from benchmarks.kill_oracle import Place, TwinEncoder, rows
from indexer import index_videos
from indexer.commit import sweep
from indexer.forget import forget_videos
from indexer.migrate import build_space
from indexer.repair import repair
from indexer.switch import find_space, switch_space
from search.trust import prepare
from summarizer import summarize
from vidsift.errors import VideoNotFoundError
from vidsift.library import Library
from vidsift.store import upgrade
from vidsift.store.locks import write_lock
from vidsift.types import Cue, Span

__all__ = ["ALL_FILMS", "SCENARIOS", "Scenario", "make_base", "make_films"]

# What is in the library from the beginning, and what comes later.
_FILMS = {
    "red.mp4": (("red", 2.0), ("yellow", 2.0)),
    "green.mkv": (("green", 2.0),),
    "blue.mp4": (("blue", 2.0),),
}
_LATER = {
    "cyan.mp4": (("cyan", 2.0),),
    "magenta.mp4": (("magenta", 2.0), ("cyan", 2.0)),
}
ALL_FILMS = _FILMS | _LATER
_SRT = "1\n00:00:00,000 --> 00:00:01,000\n{}\n\n2\n00:00:01,000 --> 00:00:02,000\nto you\n"


@dataclass(frozen=True)
class Scenario:
    """`prepare` makes the state before from the base, `run` the work from there to its end.

    `is_whole`: whether the state before is a library without damage.
    """

    prepare: Callable[[Place], None]
    run: Callable[[Place], None]
    is_whole: bool = True


def make_films(folder: Path) -> None:
    """All films, in `folder`."""
    folder.mkdir(parents=True)
    for name, shots in ALL_FILMS.items():
        film = folder / f"{Path(name).stem}.mp4"
        make_colour_film(film, shots)
        film.rename(folder / name)


def make_base(place: Place) -> None:
    """The library that most scenarios begin with."""
    films = place.folder / "films"
    place.videos.mkdir()
    for name in _FILMS:
        shutil.copy2(films / name, place.videos / name)
    (place.videos / "red.srt").write_text(_SRT.format("good morning"))
    _index(place)


def _index(place: Place) -> None:
    with place.open() as library:
        index_videos(library, [place.videos])


def _nothing(_place: Place) -> None:
    pass


def _no_library(place: Place) -> None:
    shutil.rmtree(place.library)
    if place.url:
        rows(place, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    for name in ("red.srt", "green.mkv", "blue.mp4"):
        (place.videos / name).unlink()


def _bring(*names: str) -> Callable[[Place], None]:
    def bring(place: Place) -> None:
        for name in names:
            shutil.copy2(place.folder / "films" / name, place.videos / name)

    return bring


def _change_content(place: Place) -> None:
    shutil.copy2(place.folder / "films" / "cyan.mp4", place.videos / "red.mp4")


def _rename_and_remove(place: Place) -> None:
    (place.videos / "deep").mkdir()
    (place.videos / "green.mkv").rename(place.videos / "deep" / "lawn.mkv")
    (place.videos / "blue.mp4").unlink()


def _remove_film(place: Place) -> None:
    (place.videos / "green.mkv").unlink()


def _delete(place: Place) -> None:
    with place.open() as library, library.writing():
        with suppress(VideoNotFoundError):  # before it was killed, it had come so far
            library.catalog.delete_video(library.video("green.mkv").id)
        sweep(library)
        library.index(write=True)
        prepare(library)


def _rot_index(place: Place) -> None:
    file = place.library / "index" / "vectors.faiss"
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    (place.library / "index" / "null.npz").unlink()


def _lose_index(place: Place) -> None:
    shutil.rmtree(place.library / "index")


def _rebuild(place: Place) -> None:
    with place.open() as library, library.writing():
        library.index(write=True)
        prepare(library)


def _downgrade(revision: str) -> Callable[[Place], None]:
    def downgrade(place: Place) -> None:
        upgrade.downgrade(_url(place), revision)

    return downgrade


def _upgrade(place: Place) -> None:
    with write_lock(place.library, _url(place)):
        upgrade.upgrade(_url(place))
    _index(place)


def _url(place: Place) -> str:
    return place.url or f"sqlite:///{place.library / 'catalog.sqlite3'}"


def _new_subtitles(place: Place) -> None:
    (place.videos / "red.srt").write_text(_SRT.format("good evening"))
    (place.videos / "blue.srt").write_text(_SRT.format("good night"))


def _transcribe(place: Place) -> None:
    with place.open() as library, library.writing():
        video = library.video("green.mkv")
        heard = [Cue(Span(0.0, 1.0), "a clear sky", "speech en")]
        vectors = library.encoder.encode_texts([cue.text for cue in heard])
        library.catalog.save_speech(video.id, heard, vectors, model="heard")
        library.index(write=True)
        prepare(library)


def _summarise(place: Place) -> None:
    with place.open() as library:
        for name in _FILMS:
            summarize(library, library.video(name), query="yellow", seconds=1.0)


def _forget(place: Place) -> None:
    with place.open() as library:
        videos = [video for video in library.catalog.videos() if video.path.name == "green.mkv"]
        forget_videos(library, videos)


def _damage(place: Place) -> None:
    _rot_index(place)
    for number, file in enumerate(sorted((place.library / "features").iterdir())[:2]):
        content = bytearray(file.read_bytes())
        content[-1] ^= 0x40
        file.write_bytes(content if number else content[:-4])


def _repair(place: Place) -> None:
    with place.open() as library:
        repair(library)


def _migrate(place: Place) -> None:
    other = TwinEncoder.stamp.name
    with Library.open(place.library, database_url=place.url or None) as library:
        if library.encoder_name != other:
            build_space(library, other)
            switch_space(library, find_space(library, other))


SCENARIOS = {
    "first library": Scenario(_no_library, _index),
    "new files": Scenario(_bring("cyan.mp4", "magenta.mp4"), _index),
    "changed content": Scenario(_change_content, _index),
    "renamed and gone": Scenario(_rename_and_remove, _index),
    "deleted": Scenario(_remove_film, _delete),
    "forgotten": Scenario(_remove_film, _forget),
    "repaired": Scenario(_damage, _repair, is_whole=False),
    "other encoder": Scenario(_nothing, _migrate),
    "index rotten": Scenario(_rot_index, _rebuild),
    "index lost": Scenario(_lose_index, _rebuild),
    "upgrade from 0001": Scenario(_downgrade("0001"), _upgrade),
    "upgrade from 0003": Scenario(_downgrade("0003"), _upgrade),
    "new subtitles": Scenario(_new_subtitles, _index),
    "transcript": Scenario(_nothing, _transcribe),
    "summaries": Scenario(_nothing, _summarise),
}
