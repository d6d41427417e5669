"""What a library must be like after a process that wrote to it was killed: an oracle of its own.

It reads the tables and the files itself and leaves `vidsift verify` out, which may be wrong in the
same way as the code that wrote them. What is asked of a library:

- every searchable video has its feature file, clips, vectors, cues and pictures, all of one
  version, with the checksums and shapes that its row says, and they show the colours of the very
  content whose hash the row holds: the old version whole or the new version whole;
- the index gives back exactly the searchable vectors, each at its place;
- a search for a colour finds a video that shows it first, and no video that is not searchable;
- each video is as it was before, or as it is after the work; nothing in between.
"""

from __future__ import annotations

import hashlib
import sqlite3
import sys
import types
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.colour_films import COLOURS, ColourEncoder
from search import SearchEngine
from vidsift.errors import LibraryNotFoundError
from vidsift.library import Library
from vidsift.models import encoder
from vidsift.types import EncoderStamp

__all__ = [
    "Place",
    "State",
    "Truth",
    "TwinEncoder",
    "left_over",
    "rows",
    "state_of",
    "what_is_wrong",
]

# Of each video path: all that must be as before or as after.
State = dict[str, dict[str, Any]]
# The colours that each film shows, by the SHA-256 of its content.
Truth = Mapping[str, frozenset[str]]

_UNIT = ColourEncoder().encode_texts(list(COLOURS))
_SAME = 0.98  # cosine: nothing but compression is between a colour and itself


@dataclass(frozen=True)
class Place:
    """Where a trial happens: `videos` and `library` below `folder`; a server's `url` or empty."""

    folder: Path
    url: str = ""

    @property
    def videos(self) -> Path:
        return self.folder / "videos"

    @property
    def library(self) -> Path:
        return self.folder / "library"

    def open(self, *, create: bool = True) -> Library:
        """The library, with the encoder that it was made with.

        Raises:
            LibraryNotFoundError: it is not there, and `create` is false.
        """
        url = self.url or None
        library = Library.open(self.library, create=create, database_url=url)
        if library.catalog.stamp() is None:
            library.close()
            name = ColourEncoder.stamp.name
            library = Library.open(self.library, encoder=name, database_url=url)
        return library


class TwinEncoder(ColourEncoder):
    """Sees what the colour encoder sees, and is another."""

    stamp = EncoderStamp("twin", "1" * 64, 3, "mean colour")


def _register(kind: type[ColourEncoder]) -> None:
    """Let vidsift open it by name, as it does its own encoders."""
    module = types.ModuleType(f"encoder_{kind.stamp.name}")
    vars(module)["open_variant"] = lambda *_arguments: kind()
    vars(module)["list_variants"] = lambda _device: ()
    vars(module)["needs_preparation"] = lambda _variant, _device: False
    sys.modules[module.__name__] = module
    encoder._FAMILIES[kind.stamp.name] = module.__name__


_register(ColourEncoder)
_register(TwinEncoder)


def rows(place: Place, query: str) -> list[dict[str, Any]]:
    """What the database answers, asked without vidsift."""
    if place.url:
        import psycopg
        from psycopg.rows import dict_row

        plain = place.url.replace("+psycopg", "")
        with psycopg.connect(plain, row_factory=dict_row) as server:
            cursor = server.execute(query.encode())
            return list(cursor.fetchall()) if cursor.description else []
    file = place.library / "catalog.sqlite3"
    if not file.exists():
        return []
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


def _tables(place: Place) -> set[str]:
    query = "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
    if not place.url:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
    return {row["name"] for row in rows(place, query)}


def state_of(place: Place) -> State:
    """Each video as the database has it: what must be as before or as after."""
    tables = _tables(place)
    if "videos" not in tables:
        return {}
    found: State = {}
    for video in rows(place, "SELECT * FROM videos"):
        of_it = f"WHERE video_id = {video['id']}"
        lines: list[Any] = []
        if "cues" in tables:
            cues = rows(place, f"SELECT track, text FROM cues {of_it} ORDER BY ordinal")
            lines = [[cue["track"], cue["text"]] for cue in cues]
        summaries = rows(
            place, f"SELECT query, budget_seconds FROM summaries {of_it} ORDER BY 1, 2"
        )
        found[video["path"]] = {
            "id": video["id"],
            "status": video["status"],
            "content": video["sha256"],
            "clips": video["num_clips"],
            "frames": video["num_frames"],
            "vectors": video["num_vectors"],
            "cues": lines,
            "speech": video.get("speech", ""),
            "summaries": [[row["query"], row["budget_seconds"]] for row in summaries],
        }
    return found


def what_is_wrong(
    place: Place, versions: Sequence[State], kept: frozenset[int], truth: Truth
) -> list[str]:
    """All that contradicts the promises, in words; empty where there is nothing.

    Each video must be as one of `versions` has it, and the rows of those with ids in `kept` there.
    """
    if not place.url:
        for pragma in ("integrity_check", "foreign_key_check"):
            answer = [tuple(row.values()) for row in rows(place, f"PRAGMA {pragma}")]
            if answer not in ([], [("ok",)]):
                return [f"PRAGMA {pragma}: {answer[:3]}"]
    now = state_of(place)
    wrong = [
        f"{path}: neither as before nor as after: {video}"
        for path, video in now.items()
        if not _is_one_of(video, *(version.get(path) for version in versions))
    ]
    lost = kept - {video["id"] for video in now.values()}
    wrong += [f"video {video_id}: its row is lost" for video_id in sorted(lost)]
    for video in rows(place, "SELECT * FROM videos") if now else []:
        if video["status"] == "searchable":
            wrong += _video_wrong(place, video, truth)
    return wrong or _serving_wrong(place, truth)


def _is_one_of(video: dict[str, Any], *versions: dict[str, Any] | None) -> bool:
    for version in versions:
        if version is None:
            continue
        same = {key for key in video if video[key] == version[key]}
        # A video that is new has an id of its own each time. A file that is away takes its video
        # out of the search first, and what is found elsewhere comes back by a step of its own.
        if video.keys() - same <= {"id", "status"} and video["status"] in (
            version["status"],
            "missing",
        ):
            return True
    return False


def _video_wrong(place: Place, video: dict[str, Any], truth: Truth) -> list[str]:
    """What is wrong with the rows and files of one searchable video."""
    name, path = video["feature_file"], video["path"]
    file = place.library / "features" / name
    if video["sha256"] not in truth:
        return [f"{path}: its hash is that of no film"]
    if not file.is_file():
        return [f"{path}: {name} is absent"]
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != video["feature_sha256"]:
        return [f"{path}: {name} has another checksum"]
    features = np.load(file).astype(np.float32)
    if features.shape != (video["num_frames"], 3):
        return [f"{path}: features of shape {features.shape}"]
    wrong = []
    if _colours(features) != truth[video["sha256"]]:
        wrong.append(f"{path}: features of {sorted(_colours(features))}")
    clips = rows(place, f"SELECT * FROM clips WHERE video_id = {video['id']} ORDER BY ordinal")
    vectors = rows(
        place,
        "SELECT clip_vectors.* FROM clip_vectors JOIN clips ON clips.id = clip_id"
        f" WHERE video_id = {video['id']}",
    )
    if [clip["ordinal"] for clip in clips] != list(range(video["num_clips"])):
        wrong.append(f"{path}: {len(clips)} clips of {video['num_clips']}")
    if len(vectors) != video["num_vectors"]:
        wrong.append(f"{path}: {len(vectors)} vectors of {video['num_vectors']}")
    pictures = place.library / "pictures" / Path(name).stem
    named = [f"{clip['ordinal']:05d}.jpg" for clip in clips] + ["storyboard.jpg"]
    there = sorted(each.name for each in pictures.iterdir()) if pictures.is_dir() else []
    if there != named:
        return [*wrong, f"{path}: pictures {there}"]
    for clip in clips:
        frames = features[clip["first_frame"] : clip["first_frame"] + clip["num_frames"]]
        times = np.frombuffer(clip["pts_seconds"], "<f8")
        if len(frames) != clip["num_frames"] or len(times) != len(frames):
            wrong.append(f"{path}: clip {clip['ordinal']} lacks frames")
            continue
        shown = _colours(frames)
        own = [np.frombuffer(v["vector"], "<f2") for v in vectors if v["clip_id"] == clip["id"]]
        if not own or any(_colours(vector[np.newaxis]) - shown for vector in own):
            wrong.append(f"{path}: clip {clip['ordinal']} has vectors of another colour")
        if _picture_colours(pictures / f"{clip['ordinal']:05d}.jpg") - shown:
            wrong.append(f"{path}: clip {clip['ordinal']} has a picture of another colour")
    _picture_colours(pictures / "storyboard.jpg")
    if not rows(place, f"SELECT id FROM summaries WHERE video_id = {video['id']} AND query = ''"):
        wrong.append(f"{path}: has no summary")
    return wrong


def _colours(vectors: np.ndarray) -> frozenset[str]:
    """The colours that rows of unit length show; `none` for one that is near to no colour."""
    cosines = vectors.astype(np.float32) @ _UNIT.T
    names = list(COLOURS)
    return frozenset(
        names[best] if row[best] > _SAME else "none"
        for row, best in zip(cosines, cosines.argmax(1), strict=True)
    )


def _picture_colours(file: Path) -> frozenset[str]:
    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    return _colours(ColourEncoder().encode_frames(pixels[np.newaxis]))


def _serving_wrong(place: Place, truth: Truth) -> list[str]:
    """What is wrong with what the index and a search answer."""
    try:
        library = place.open(create=False)
    except LibraryNotFoundError:
        return []
    with library:
        searchable = {video.id: video for video in library.catalog.videos("searchable")}
        stored = list(library.catalog.iter_vectors())
        if not stored:
            return [f"{len(searchable)} videos without vectors"] if searchable else []
        ids = np.concatenate([batch[0] for batch in stored])
        vectors = np.concatenate([batch[1] for batch in stored])
        index = library.index()
        scores, found = index.search(vectors, len(ids))
        wrong = []
        if any(set(row.tolist()) != set(ids.tolist()) for row in found):
            wrong.append("the index holds other vectors than the catalog")
        elif np.abs(scores[:, 0] - np.einsum("nd,nd->n", vectors, vectors)).max() > 0.01:
            wrong.append("a vector of the index is not the one of the catalog")
        engine = SearchEngine(library)
        colours = {video_id: truth[v.fingerprint.sha256] for video_id, v in searchable.items()}
        for colour in sorted(frozenset().union(*colours.values())):
            results = engine.ask(colour, 50).results
            shown = [result.moment.video_id for result in results]
            folded = {moment.video_id for result in results for moment in result.duplicates}
            if not shown or colour not in colours.get(shown[0], frozenset()):
                wrong.append(f"a search for {colour} finds {results[:1]} first")
            if {i for i in colours if colour in colours[i]} - {*shown, *folded}:
                wrong.append(f"a search for {colour} does not find all that shows it")
            if {*shown, *folded} - searchable.keys():
                wrong.append(f"a search for {colour} finds what is not searchable")
    return wrong


def left_over(place: Place) -> list[str]:
    """Files and folders that nothing names, when all is finished."""
    named = {
        row["feature_file"]
        for table in ("videos", "space_videos")
        for row in rows(place, f"SELECT feature_file FROM {table}")
    } - {""}
    expected = {f"features/{name}" for name in named}
    expected |= {f"pictures/{Path(name).stem}" for name in named}
    found = {
        str(entry.relative_to(place.library))
        for folder in ("features", "pictures")
        if (place.library / folder).is_dir()
        for entry in (place.library / folder).iterdir()
    }
    unfinished = [
        str(entry.relative_to(place.library))
        for pattern in ("*.part", ".vidsift-*")
        for entry in place.library.rglob(pattern)
    ]
    return sorted(found ^ expected) + unfinished
