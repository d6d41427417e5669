"""The trained saliency that a setting or an option names."""

from __future__ import annotations

from pathlib import Path

from vidsift.errors import SaliencyModelError
from vidsift.models.saliency_attention import SaliencyModel
from vidsift.models.saliency_checkpoint import H5_ENCODER, read_saliency
from vidsift.models.tensor_file import SUFFIX
from vidsift.paths import expanded
from vidsift.types import EncoderStamp

__all__ = ["SaliencyModel", "open_saliency"]


def open_saliency(name: str, stamp: EncoderStamp, folder: Path | None = None) -> SaliencyModel:
    """The trained saliency of this name, for features of the encoder with this stamp.

    Args:
        name: the path of a checkpoint, or the name of one in `folder`, with or without its suffix.
        stamp: the encoder of the features that will be scored.
        folder: where checkpoints are looked for by name: the library's `saliency`.

    Raises:
        SaliencyModelError: nothing has this name, the checkpoint cannot be read, or it was trained
            on other features.
    """
    path = _find(name, folder)
    checkpoint = read_saliency(path)
    if checkpoint.stamp != stamp:
        raise SaliencyModelError(f"{path}: {_difference(checkpoint.stamp, stamp)}")
    return checkpoint.model


def _find(name: str, folder: Path | None) -> Path:
    places = [expanded(name)]
    if folder is not None:
        places += [folder / name, folder / f"{name}{SUFFIX}"]
    for place in places:
        if place.is_file():
            return place
    there = sorted(path.stem for path in folder.glob(f"*{SUFFIX}")) if folder is not None else []
    known = f"; known are {', '.join(there)}" if there else ""
    raise SaliencyModelError(
        f"saliency {name!r} is unknown and no such file is here{known}; name the file of one that"
        " `vidsift train saliency` made"
    )


def _difference(trained: EncoderStamp, here: EncoderStamp) -> str:
    trained_on, asked = (
        f"features of {stamp.dimension} dimensions from an h5 file"
        if stamp.name == H5_ENCODER
        else f"features of encoder {stamp.name!r}"
        for stamp in (trained, here)
    )
    if trained_on == asked:
        asked = "another version of it"
    remedy = "without --videos" if here.name == H5_ENCODER else "with --videos on this library"
    return (
        f"trained on {trained_on}, not on {asked}; train one with `vidsift train saliency` {remedy}"
    )
