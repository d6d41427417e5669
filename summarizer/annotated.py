"""Videos that people have summarised: the h5 files in which TVSum and SumMe are passed around.

One group a video, with the keys (T picked frames of n, m shots, u annotators, d dimensions)

    features (T, d)           of the picked frames
    gtscore (T,)              their importance, the annotators' mean
    user_summary (u, n)       which frames each annotator's summary shows, 0 or 1
    change_points (m, 2)      first and last frame of each shot, both inclusive
    n_frame_per_seg (m,)      how many frames each shot has
    n_frames ()               n
    picks (T,)                the places of the picked frames, from 0

and, where the file has them, `video_name` and what each annotator gave the frames, as
`user_scores`, `user_score` or `user_anno`: (u, n) or (u, T), or either transposed. The files say
nothing of frame rates.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from vidsift.errors import AnnotationError

if TYPE_CHECKING:
    import h5py

__all__ = [
    "FRAME_RATE",
    "REQUIRED",
    "AnnotatedVideo",
    "Annotations",
    "read_annotated",
    "read_scores",
    "read_splits",
]

REQUIRED = (
    *("features", "gtscore", "user_summary", "change_points", "n_frames", "picks"),
    "n_frame_per_seg",
)
_USER_SCORES = ("user_scores", "user_score", "user_anno")
FRAME_RATE = 30.0  # that is assumed: the sets' videos have 24 to 30 frames a second
_MOST_NUMBERS = 500_000_000  # in one array; more is no annotation but a mistake


@dataclass(frozen=True, eq=False)
class AnnotatedVideo:
    """One video of the file; arrays as in the module. `key` is its group, `name` what it is called.

    `user_scores` runs along all frames or along the picks; None where the file has none.
    """

    key: str
    name: str
    features: Float32[np.ndarray, "T d"]
    gtscore: Float64[np.ndarray, "T"]
    user_summary: Bool[np.ndarray, "u n"]
    change_points: Int64[np.ndarray, "m 2"]
    shot_lengths: Int64[np.ndarray, "m"]
    num_frames: int
    picks: Int64[np.ndarray, "T"]
    user_scores: Float64[np.ndarray, "v k"] | None = None

    @property
    def pts_seconds(self) -> Float64[np.ndarray, "T"]:
        """When the picked frames are shown, as if there were 30 a second."""
        return self.picks / FRAME_RATE

    def __repr__(self) -> str:
        return f"AnnotatedVideo({self.key!r}, {self.num_frames} frames, {len(self.picks)} picks)"


@dataclass(frozen=True)
class Annotations:
    """The videos of a file that can be used, and of the others one line each why not."""

    file: Path
    videos: tuple[AnnotatedVideo, ...]
    skipped: tuple[str, ...] = field(default=())


def read_annotated(file: Path) -> Annotations:
    """Read the videos of an h5 file. One that lacks a key or does not fit together is left out.

    Raises:
        AnnotationError: the file cannot be read, is no HDF5, or no video of it can be used.
    """
    videos = []
    skipped = []

    def read(content: h5py.File) -> None:
        for key in content:
            try:
                videos.append(_video(content, key))
            except _UnusableError as problem:
                skipped.append(f"{file}: {key}: {problem}")

    _with_h5(file, read)
    if not videos:
        reason = skipped[0] if skipped else f"{file}: holds no videos"
        more = f" (and {len(skipped) - 1} more like it)" if len(skipped) > 1 else ""
        raise AnnotationError(f"{reason}{more}; an h5 of TVSum's or SumMe's form is expected")
    videos.sort(key=lambda video: _natural(video.key))
    return Annotations(file, tuple(videos), tuple(skipped))


def read_scores(file: Path) -> dict[str, Float64[np.ndarray, "..."]]:
    """Any system's scores of picked frames, by video: JSON `{video: [...]}` or h5.

    In an h5, a video is a dataset, or a group with the dataset `scores`. Lengths are not checked.

    Raises:
        AnnotationError: the file cannot be read, or its values are no numbers.
    """
    found: dict[str, Any] = {}
    if file.suffix.lower() == ".json":
        found = _json(file)
        if not isinstance(found, dict):
            raise AnnotationError(f'{file}: must be an object, {{"VIDEO": [score, ...], ...}}')
    else:

        def read(content: h5py.File) -> None:
            for key in content:
                item = content.get(key)
                group = hasattr(item, "keys")
                if group and "scores" not in item:
                    raise AnnotationError(f"{file}: {key}: lacks the dataset 'scores'")
                found[key] = (item["scores"] if group else item)[()]

        _with_h5(file, read)
    scores = {}
    for key, values in found.items():
        try:
            scores[key] = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise AnnotationError(f"{file}: {key}: scores must be a list of numbers") from None
    return scores


def read_splits(file: Path) -> list[dict[str, tuple[str, ...]]]:
    """The splits of a JSON file: a list of `{"train_keys": [...], "test_keys": [...]}`.

    A key may be written as a path, as the published files do; its last part counts.

    Raises:
        AnnotationError: the file cannot be read or is no such list.
    """
    content = _json(file)
    content = content if isinstance(content, list) else [content]
    splits = []
    for number, split in enumerate(content):
        try:
            splits.append(
                {
                    name: tuple(str(key).rsplit("/", 1)[-1] for key in split[name])
                    for name in ("train_keys", "test_keys")
                }
            )
        except (KeyError, TypeError):
            raise AnnotationError(
                f"{file}: split {number}: must have the lists train_keys and test_keys"
            ) from None
    if not splits:
        raise AnnotationError(f"{file}: holds no splits")
    return splits


class _UnusableError(Exception):
    """Why one video cannot be used."""


def _with_h5(file: Path, read: Callable[[Any], None]) -> None:
    import h5py

    if not file.is_file():
        raise AnnotationError(f"{file}: no such file")
    try:
        with h5py.File(file, "r") as content:
            read(content)
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise AnnotationError(f"{file}: is no HDF5 file, or damaged ({reason})") from error


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise AnnotationError(f"{file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{file}: is no JSON ({error})") from error


def _video(content: h5py.File, key: str) -> AnnotatedVideo:
    group = content.get(key)  # None where a link leads nowhere
    if not hasattr(group, "keys"):
        raise _UnusableError("is no group of datasets; a video has a group of its own")
    lacking = [name for name in REQUIRED if name not in group]
    if lacking:
        raise _UnusableError(f"lacks the key {', '.join(map(repr, lacking))}")
    n = int(_array(group, "n_frames", ()))
    if n < 1:
        raise _UnusableError(f"'n_frames' is {n}")
    picks = _whole(group, "picks", (None,))
    t = len(picks)
    # A last pick at n_frames is found in published files; it has no frame.
    if not t or picks[0] < 0 or picks[-1] > n or (np.diff(picks) <= 0).any():
        raise _UnusableError(f"'picks' must ascend from 0 or more to below n_frames, {n}")
    change_points = _whole(group, "change_points", (None, 2))
    starts, ends = change_points[:, 0], change_points[:, 1]
    in_order = (starts <= ends).all() and (starts[1:] > ends[:-1]).all()
    if not len(starts) or not in_order or starts[0] < 0 or ends[-1] >= n:
        raise _UnusableError(
            f"'change_points' must be first and last frames of shots, in order, below {n}"
        )
    lengths = _whole(group, "n_frame_per_seg", (len(starts),))
    if (lengths != ends - starts + 1).any():
        raise _UnusableError("'n_frame_per_seg' is not what 'change_points' say (last - first + 1)")
    name = group.get("video_name")
    return AnnotatedVideo(
        key=key,
        name=_text(name[()]) if name is not None else key,
        features=_array(group, "features", (t, None)).astype(np.float32),
        gtscore=_array(group, "gtscore", (t,)),
        user_summary=_array(group, "user_summary", (None, n)) > 0,
        change_points=change_points,
        shot_lengths=lengths,
        num_frames=n,
        picks=picks,
        user_scores=_user_scores(group, n, t),
    )


def _user_scores(group: Mapping[str, Any], n: int, t: int) -> Float64[np.ndarray, "v k"] | None:
    for name in _USER_SCORES:
        if name in group:
            values = _array(group, name, (None, None))
            for candidate in (values, values.T):
                if candidate.shape[1] in (n, t):
                    return np.ascontiguousarray(candidate)
            raise _UnusableError(
                f"{name!r} has shape {values.shape}; it must be (annotators, {n}) or"
                f" (annotators, {t})"
            )
    return None


def _array(
    group: Mapping[str, Any], name: str, shape: tuple[int | None, ...]
) -> Float64[np.ndarray, "..."]:
    """The dataset as numbers; None stands for any length but 0."""
    dataset = group[name]
    found = tuple(getattr(dataset, "shape", None) or ())
    found = () if shape == () and found == (1,) else found  # a number alone in a row
    wanted = ", ".join("any" if length is None else str(length) for length in shape)
    if len(found) != len(shape) or any(
        (length is None and not have) or (length is not None and have != length)
        for have, length in zip(found, shape, strict=True)
    ):
        raise _UnusableError(f"{name!r} has shape {found}; it must be ({wanted})")
    if np.prod(found, dtype=float) > _MOST_NUMBERS:
        raise _UnusableError(f"{name!r} has shape {found}, which is too large")
    try:
        values = np.asarray(dataset[()], dtype=np.float64).reshape(found)
    except (TypeError, ValueError):
        raise _UnusableError(f"{name!r} holds no numbers") from None
    except OSError as error:
        raise _UnusableError(f"{name!r} cannot be read: {str(error).splitlines()[0]}") from error
    if not np.isfinite(values).all():
        raise _UnusableError(f"{name!r} holds values that are no numbers")
    return values


def _whole(
    group: Mapping[str, Any], name: str, shape: tuple[int | None, ...]
) -> Int64[np.ndarray, "..."]:
    values = _array(group, name, shape)
    if (values != np.round(values)).any() or np.abs(values).max(initial=0) > 2**53:
        raise _UnusableError(f"{name!r} must be whole numbers")
    return values.astype(np.int64)


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0] if value.size else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _natural(key: str) -> tuple[str, int, str]:
    """So that video_10 comes after video_9."""
    digits = key[len(key.rstrip("0123456789")) :]
    return key.removesuffix(digits) if digits else key, int(digits or 0), key
