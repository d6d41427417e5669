"""The spatial level: where heat maps point, and what attention to regions finds.

    python -m benchmarks.regions PHOTOS [--encoder NAME] [--prefix coco_] [--pairs 200]

PHOTOS is a folder of photographs; beside it lies PHOTOS.json, a list of
`{"file": "...", "captions": ["...", ...]}`.

Pointing: two photographs are cut to one square frame, side by side, and asked for the first caption
of either. Compared are the heat map (`heat_map`; for the built-in encoder shares of the frame's
score) and the plain cosine of each region (`encode_regions`): which half is warmer on average, and
in which half the warmest region lies. Chance is 0.5.

Finding: the rank of each photograph among all for each of its captions, by the frame's feature, by
the mean of its regions, by attention to its regions, and by frame and attention together.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from vidsift.models.attention import MeanPool, Pooler, SoftmaxPool
from vidsift.models.encoder import Encoder, RegionEncoder, open_encoder, with_regions
from vidsift.models.regions import pool_regions

RANKS = (1, 5, 10)
TEMPERATURE = 0.1
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--encoder", default="builtin")
    parser.add_argument("--prefix", default="coco_")
    parser.add_argument("--pairs", type=int, default=200)
    arguments = parser.parse_args()

    listed = json.loads(arguments.photos.with_suffix(".json").read_text(encoding="utf-8"))
    photos = [photo for photo in listed if photo["file"].startswith(arguments.prefix)]
    encoder = open_encoder(arguments.encoder, device="cpu")
    print(encoder.stamp.name)
    point(encoder, with_regions(encoder), arguments.photos, photos, arguments.pairs)
    find(encoder, with_regions(encoder), arguments.photos, photos)


def point(
    encoder: Encoder, spatial: RegionEncoder, folder: Path, photos: list[Any], pairs: int
) -> None:
    hits: dict[str, list[bool]] = defaultdict(list)
    seconds = []
    rng = random.Random(0)
    for _ in range(pairs):
        pair = rng.sample(photos, 2)
        halves = [_half(folder / photo["file"], encoder.picture_size) for photo in pair]
        frame = np.concatenate(halves, axis=1)
        regions = spatial.encode_regions(frame[None])[0]
        for place, photo in enumerate(pair):
            query = encoder.encode_texts(photo["captions"][:1])[0]
            started = time.perf_counter()
            heat = spatial.heat_map(frame, query).values
            seconds.append(time.perf_counter() - started)
            for name, values in (("heat map", heat), ("region cosine", regions @ query)):
                columns = values.shape[1]
                left, right = values[:, : columns // 2], values[:, -(columns // 2) :]
                hits[f"{name}, mean of the half"].append(
                    bool(left.mean() > right.mean()) == (place == 0)
                )
                hits[f"{name}, warmest region"].append(
                    bool(left.max() > right.max()) == (place == 0)
                )
    print(f"\npointing to the right one of two: {2 * pairs} captions, chance 0.500")
    for name, found in hits.items():
        share = float(np.mean(found))
        print(f"{name:34}{share:.3f} +- {(share * (1 - share) / len(found)) ** 0.5:.3f}")
    print(f"heat map of one frame, warm: {1000 * float(np.median(seconds)):.0f} ms")


def find(encoder: Encoder, spatial: RegionEncoder, folder: Path, photos: list[Any]) -> None:
    frames, regions = [], []
    for photo in photos:
        with Image.open(folder / photo["file"]) as picture:
            image = np.asarray(picture.convert("RGB"))[None]
        frames.append(encoder.encode_frames(image))
        regions.append(spatial.encode_regions(image))
    captions = [caption for photo in photos for caption in photo["captions"]]
    owner = np.repeat(np.arange(len(photos)), [len(photo["captions"]) for photo in photos])
    queries = encoder.encode_texts(captions)
    whole = queries @ np.concatenate(frames).T  # (captions, photos)
    every = np.concatenate(regions)  # (photos, r, c, d)
    attended = _pooled(queries, every, SoftmaxPool(TEMPERATURE))
    chance = "/".join(f"{k / len(photos):.3f}" for k in RANKS)
    print(f"\nfinding: {len(captions)} captions, {len(photos)} photographs, chance {chance}")
    for name, scores in (
        ("frame", whole),
        ("mean of its regions", _pooled(queries, every, MeanPool())),
        (f"attention to its regions, {TEMPERATURE}", attended),
        ("frame and half the attention", whole + attended / 2),
    ):
        own = np.take_along_axis(scores, owner[:, None], axis=1)
        rank = (scores >= own).sum(1)  # a tie counts against the answer
        print(f"{name:34}{'/'.join(f'{(rank <= k).mean():.3f}' for k in RANKS)}")


def _pooled(queries: np.ndarray, regions: np.ndarray, pooler: Pooler) -> np.ndarray:
    parts: Sequence[np.ndarray] = [
        np.einsum("qnd,qd->qn", pool_regions(pooler, batch, regions)[0], batch)
        for batch in np.split(queries, range(BATCH, len(queries), BATCH))
    ]
    return np.concatenate(parts)


def _half(path: Path, side: int) -> np.ndarray:
    """The middle of a photograph as the left or right half of a square."""
    with Image.open(path) as photo:
        return np.asarray(ImageOps.fit(photo.convert("RGB"), (side // 2, side)))


if __name__ == "__main__":
    main()
