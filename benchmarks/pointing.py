"""Heat maps: of two photographs side by side, is the half that a caption describes the warmer one?

    python -m benchmarks.pointing PHOTOS [--encoder NAME] [--prefix coco_] [--pairs 200]

PHOTOS is a folder of photographs; beside it lies PHOTOS.json, a list of
`{"file": "...", "captions": ["...", ...]}`. Each pair of photographs is cut to one square frame and
asked for the first caption of either. Compared are the heat map (`heat_map`; for the built-in
encoder shares of the frame's score) and the plain cosine of each region (`encode_regions`): which
half is warmer on average, and in which half the warmest region lies. Chance is 0.5.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vidsift.models.encoder import open_encoder, with_regions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--encoder", default="builtin")
    parser.add_argument("--prefix", default="coco_")
    parser.add_argument("--pairs", type=int, default=200)
    arguments = parser.parse_args()

    listed = json.loads(arguments.photos.with_suffix(".json").read_text(encoding="utf-8"))
    photos = [photo for photo in listed if photo["file"].startswith(arguments.prefix)]
    plain = open_encoder(arguments.encoder, device="cpu")
    encoder, side = with_regions(plain), plain.picture_size
    hits: dict[str, list[bool]] = defaultdict(list)
    seconds = []
    rng = random.Random(0)
    for _ in range(arguments.pairs):
        pair = rng.sample(photos, 2)
        halves = [_half(arguments.photos / photo["file"], side) for photo in pair]
        frame = np.concatenate(halves, axis=1)
        regions = encoder.encode_regions(frame[None])[0]
        for place, photo in enumerate(pair):
            query = plain.encode_texts(photo["captions"][:1])[0]
            started = time.perf_counter()
            heat = encoder.heat_map(frame, query).values
            seconds.append(time.perf_counter() - started)
            for name, values in (("heat map", heat), ("region cosine", regions @ query)):
                columns = values.shape[1]
                left, right = values[:, : columns // 2], values[:, -(columns // 2) :]
                warmer = left.mean() > right.mean(), left.max() > right.max()
                hits[f"{name}, mean of the half"].append(warmer[0] == (place == 0))
                hits[f"{name}, warmest region"].append(warmer[1] == (place == 0))
    print(f"{plain.stamp.name}: {2 * arguments.pairs} captions, chance 0.500")
    for name, right_half in hits.items():
        share = float(np.mean(right_half))
        error = (share * (1 - share) / len(right_half)) ** 0.5
        print(f"{name:32} {share:.3f} +- {error:.3f}")
    print(f"heat map of one frame: {1000 * float(np.median(seconds)):.0f} ms")


def _half(path: Path, side: int) -> np.ndarray:
    """The middle of a photograph as the left or right half of a square."""
    with Image.open(path) as photo:
        return np.asarray(ImageOps.fit(photo.convert("RGB"), (side // 2, side)))


if __name__ == "__main__":
    main()
