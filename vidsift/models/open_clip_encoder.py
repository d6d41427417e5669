"""Any model of open_clip: a tag that it knows, a local checkpoint, a local folder or a hub id.

Weights are looked for where open_clip and the hub keep them. Nothing is asked of the network unless
the caller says `fetch`; weights that are not here are one clear error at once.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vidsift.errors import EncoderError
from vidsift.models.conversion import use_converted
from vidsift.models.encoder import Encoder, EncoderStatus
from vidsift.models.geometry import Geometry
from vidsift.models.known_weights import check_weights
from vidsift.models.runtime import (
    CudaTower,
    OpenVinoTower,
    Tower,
    describe_runtime,
    packages_of,
    pick_device,
    save_for_openvino,
)
from vidsift.models.two_tower import TwoTowerEncoder
from vidsift.paths import expanded
from vidsift.types import EncoderStamp

__all__ = ["Source", "list_variants", "needs_preparation", "open_variant", "without_downloads"]

# Named by `vidsift encoders` even where their weights are not here.
_RECOMMENDED = ("ViT-B-32/laion2b_s34b_b79k", "MobileCLIP2-S0/dfndr2b", "ViT-B-16-SigLIP2/webli")
_HUB_FILES = ("*.json", "*.txt", "*.model", "open_clip_*.safetensors", "open_clip_*.bin")


@dataclass(frozen=True, slots=True)
class Source:
    """Where an encoder's model is: in open_clip's words, and on this disk.

    `model` is what open_clip's factory takes (`ViT-B-32` or `local-dir:PATH`); `preprocess` is what
    the tag says of it beyond the model's own configuration.
    """

    name: str
    model: str
    checkpoint: Path
    preprocess: dict[str, Any] = field(default_factory=dict)

    @property
    def is_folder(self) -> bool:
        """Whether open_clip reads the configuration, too, from beside the checkpoint."""
        return self.model.startswith("local-dir:")


@dataclass(frozen=True, slots=True)
class _Description:
    """What is known of a model once it was loaded: kept beside its conversion."""

    dimension: int
    geometry: Geometry
    mean: tuple[float, ...]
    std: tuple[float, ...]


def open_variant(variant: str, device: str, batch_size: int, fetch: bool) -> Encoder:
    """Open `MODEL/PRETRAINED`, `hf-hub:ORG/NAME` or `local-dir:PATH`; see `open_encoder`."""
    if not variant:
        raise EncoderError(
            "encoder 'open_clip' needs a model: write open_clip:MODEL/PRETRAINED, such as "
            f"open_clip:{_RECOMMENDED[0]}"
        )
    name = f"open_clip:{variant}"
    chosen = pick_device(device)
    with packages_of(name):
        import open_clip
    source = _locate(variant, fetch)
    with source.checkpoint.open("rb") as content:
        weights_sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    check_weights(name, weights_sha256, fetched=fetch)
    key = f"open_clip-{weights_sha256[:16]}-{_configuration_hash(source)[:16]}"

    def convert_regions(folder: Path) -> None:
        _convert_regions(source, folder, fetch)

    def load_regions() -> Tower:
        return use_converted(
            f"{key}-regions",
            convert_regions,
            "regions",
            lambda made: OpenVinoTower(made / "regions.xml", "f32"),
        )

    if chosen == "cpu":

        def convert(folder: Path) -> None:
            _convert(source, folder, fetch)

        described = use_converted(key, convert, "encoder", _read_description)

        def load_frames() -> Tower:
            return use_converted(
                key, convert, "frames", lambda made: OpenVinoTower(made / "frames.xml", "bf16")
            )

        def load_texts() -> Tower:
            return use_converted(
                key, convert, "texts", lambda made: OpenVinoTower(made / "texts.xml", "f32")
            )
    else:
        from vidsift.models.open_clip_network import build_networks

        frames, texts, dimension = build_networks(source, fetch)
        described = _Description(dimension, *_preprocessing(frames.preprocess))

        def load_frames() -> Tower:
            return CudaTower(frames)

        def load_texts() -> Tower:
            return CudaTower(texts)

    with without_downloads(source, fetch):
        tokenizer = open_clip.get_tokenizer(source.model)

    def tokenize(batch: Sequence[str]) -> tuple[np.ndarray, ...]:
        return (tokenizer(list(batch)).numpy(),)

    preprocessing = f"{described.geometry}; mean {described.mean}, std {described.std}"
    return TwoTowerEncoder(
        EncoderStamp(name, weights_sha256, described.dimension, preprocessing),
        described.geometry,
        batch_size,
        tokenize=tokenize,
        load_frame_tower=load_frames,
        load_text_tower=load_texts,
        load_region_tower=load_regions,
    )


def list_variants(device: str) -> tuple[EncoderStatus, ...]:
    """Every tag of open_clip whose weights are here, and the recommended ones."""
    try:
        runtime = describe_runtime(pick_device(device))
        with packages_of("open_clip"):
            import open_clip
    except EncoderError as error:
        return (EncoderStatus("open_clip:MODEL/PRETRAINED", False, "", str(error)),)
    found = []
    for variant in dict.fromkeys((*_RECOMMENDED, *open_clip.list_pretrained(as_str=False))):
        named = variant if isinstance(variant, str) else "/".join(variant)
        try:
            _locate(named, fetch=False)
        except EncoderError as error:
            if named in _RECOMMENDED:
                found.append(EncoderStatus(f"open_clip:{named}", False, "", str(error)))
        else:
            found.append(EncoderStatus(f"open_clip:{named}", True, runtime))
    # A recommended tag is named twice: once by us, once by open_clip.
    return tuple(dict.fromkeys(found))


def needs_preparation(variant: str, device: str) -> bool:
    """Not known: what a conversion is kept under takes a hash of the weights."""
    return False


@contextmanager
def without_downloads(source: Source, fetch: bool) -> Iterator[None]:
    """Keep the hub's client off the network unless `fetch`, and say clearly what it then lacks."""
    from huggingface_hub import constants
    from safetensors import SafetensorError

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not fetch
    try:
        yield
    except pickle.UnpicklingError as error:
        # torch's own words advise to load the file all the same.
        raise EncoderError(
            f"{source.name}: {source.checkpoint} is no checkpoint of tensors alone, and code in it "
            "is not run; save its state_dict with safetensors"
        ) from error
    except (
        AttributeError,
        EOFError,
        LookupError,
        OSError,
        RuntimeError,
        SafetensorError,
        ValueError,
    ) as error:
        # What open_clip, torch, safetensors and the hub's client raise on files that do not fit.
        reason = str(error).strip().partition("\n")[0]
        if not reason or isinstance(error, LookupError):  # a bare key, or nothing at all
            reason = "it holds something else"
        raise EncoderError(
            f"{source.name}: the model cannot be loaded from {source.checkpoint} ({reason}); "
            f"check that the file belongs to the model, or fetch it anew: {_fetch(source.name)}"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = before


def _locate(variant: str, fetch: bool) -> Source:
    schema, _, rest = variant.partition(":")
    if schema == "local-dir" and rest:
        return _folder(f"open_clip:{variant}", Path(rest))
    if schema == "hf-hub" and rest:
        return _hub(variant, rest, fetch)
    return _built_in(variant, fetch)


def _built_in(variant: str, fetch: bool) -> Source:
    import open_clip

    name = f"open_clip:{variant}"
    model, _, pretrained = variant.partition("/")
    if model not in open_clip.list_models():
        raise EncoderError(
            f"{name}: open_clip has no model {model!r}; write open_clip:MODEL/PRETRAINED, such as "
            f"open_clip:{_RECOMMENDED[0]}"
        )
    if open_clip.is_pretrained_cfg(model, pretrained):
        tag = open_clip.get_pretrained_cfg(model, pretrained)
        checkpoint = _fetched(name, tag) if fetch else _cached(name, tag)
        return Source(name, model, checkpoint, _preprocess_of_tag(tag))
    if pretrained and Path(pretrained).is_file():
        return Source(name, model, Path(pretrained).resolve())
    tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
    raise EncoderError(
        f"{name}: {pretrained!r} is neither a checkpoint file nor a tag of {model} (tags: {tags})"
    )


def _preprocess_of_tag(tag: dict[str, Any]) -> dict[str, Any]:
    keys = ("mean", "std", "interpolation", "resize_mode", "size")
    return {key: tag[key] for key in keys if tag.get(key) is not None}


def _cached(name: str, tag: dict[str, Any]) -> Path:
    """The weights of a tag where open_clip would have put them."""
    from huggingface_hub import constants, try_to_load_from_cache
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    if tag.get("hf_hub"):
        repository, _, file = tag["hf_hub"].rpartition("/")
        file = file or HF_WEIGHTS_NAME
        safe = HF_SAFE_WEIGHTS_NAME if file == HF_WEIGHTS_NAME else f"{file[:-4]}.safetensors"
        for candidate in (safe, file):
            found = try_to_load_from_cache(repository, candidate)
            if isinstance(found, str):
                return Path(found)
        where = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    else:
        where = expanded("~/.cache/clip") / str(tag["url"]).rpartition("/")[2]
        if where.is_file():
            return where
    raise _absent(name, where)


def _fetched(name: str, tag: dict[str, Any]) -> Path:
    from open_clip.pretrained import download_pretrained

    try:
        return Path(download_pretrained(tag))
    except (OSError, RuntimeError) as error:
        raise EncoderError(f"{name}: the weights could not be fetched: {error}") from error


def _hub(variant: str, repository: str, fetch: bool) -> Source:
    from huggingface_hub import constants, snapshot_download, try_to_load_from_cache

    name = f"open_clip:{variant}"
    if fetch:
        try:
            folder = Path(snapshot_download(repository, allow_patterns=list(_HUB_FILES)))
        except (OSError, ValueError) as error:
            raise EncoderError(f"{name}: it could not be fetched: {error}") from error
        return _folder(name, folder)
    try:
        found = try_to_load_from_cache(repository, "open_clip_config.json")
    except ValueError as error:
        raise EncoderError(f"{name}: write open_clip:hf-hub:ORG/NAME ({error})") from error
    if not isinstance(found, str):
        where = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
        raise _absent(name, where)
    return _folder(name, Path(found).parent)


def _folder(name: str, folder: Path) -> Source:
    # open_clip's own choice of file: the stamp must be of what is loaded.
    from open_clip.factory import _find_checkpoint_in_dir

    configured = (folder / "open_clip_config.json").is_file()
    checkpoint = _find_checkpoint_in_dir(folder) if configured else None
    if checkpoint is None:
        raise EncoderError(
            f"{name}: {folder} needs open_clip_config.json and a checkpoint such as "
            "open_clip_model.safetensors; copy both there"
        )
    return Source(name, f"local-dir:{folder.resolve()}", Path(checkpoint))


def _absent(name: str, where: Path) -> EncoderError:
    return EncoderError(
        f"{name}: its weights are not on this machine; fetch them with `{_fetch(name)}`, "
        f"or copy them from another machine to {where}"
    )


def _fetch(name: str) -> str:
    return f"vidsift encoders --fetch {shlex.quote(name)}"


def _configuration_hash(source: Source) -> str:
    """Of all but the weights that shapes the features: one checkpoint can serve two models."""
    import open_clip

    if source.is_folder:
        described = (source.checkpoint.parent / "open_clip_config.json").read_bytes()
    else:
        configuration = [open_clip.get_model_config(source.model), source.preprocess]
        described = json.dumps(configuration, sort_keys=True).encode()
    return hashlib.sha256(described + open_clip.__version__.encode()).hexdigest()


def _preprocessing(
    config: dict[str, Any],
) -> tuple[Geometry, tuple[float, ...], tuple[float, ...]]:
    """Geometry, mean and deviation from open_clip's preprocess configuration."""
    size = config["size"]
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise EncoderError(f"open_clip models of oblong pictures are not supported, got {size}")
    (side,) = sides
    # open_clip reads `random` as bicubic where it does not train.
    interpolation: Literal["bilinear", "bicubic"] = (
        "bilinear" if config["interpolation"] == "bilinear" else "bicubic"
    )
    geometry = Geometry(side, side, config["resize_mode"], interpolation, config["fill_color"])
    mean, std = (
        (value,) * 3 if isinstance(value, float | int) else tuple(value)
        for value in (config["mean"], config["std"])
    )
    return geometry, mean, std


def _convert(source: Source, folder: Path, fetch: bool) -> None:
    import torch

    from vidsift.models.open_clip_network import build_networks

    frames, texts, dimension = build_networks(source, fetch)
    geometry, mean, std = _preprocessing(frames.preprocess)
    side = geometry.crop
    pictures = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    save_for_openvino(frames, [pictures], [(-1, side, side, 3)], folder / "frames.xml")
    save_for_openvino(texts, [texts.example], [(-1, texts.example.shape[1])], folder / "texts.xml")
    described = asdict(_Description(dimension, geometry, mean, std))
    (folder / "encoder.json").write_text(json.dumps(described), encoding="utf-8")


def _convert_regions(source: Source, folder: Path, fetch: bool) -> None:
    import torch

    from vidsift.models.open_clip_network import build_networks
    from vidsift.models.open_clip_regions import RegionNetwork

    frames, _, _ = build_networks(source, fetch)
    side = _preprocessing(frames.preprocess)[0].crop
    pictures = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    regions = RegionNetwork(frames, source.name).eval()
    save_for_openvino(regions, [pictures], [(-1, side, side, 3)], folder / "regions.xml")


def _read_description(folder: Path) -> _Description:
    described = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    return _Description(
        described["dimension"],
        Geometry(**described["geometry"]),
        tuple(described["mean"]),
        tuple(described["std"]),
    )
