"""Text to image: the rank of each photograph among all of its source for each of its captions.

    python -m benchmarks.quality_photos PHOTOS [--encoder NAME] [--prefix PREFIX]

PHOTOS is a folder of photographs; beside it lies PHOTOS.json, a list of
`{"file": "...", "captions": ["...", ...]}`, of which those whose name begins with PREFIX count.
Intervals are of 95 %, by a bootstrap over photographs. The projection of `builtin` was trained on
photographs of COCO: of these only `builtin:conse` tells anything.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.quality_videos import clustered_interval
from vidsift.models.encoder import open_encoder

RANKS = (1, 5, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--encoder", default="builtin")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--prefix", default="flickr_")
    arguments = parser.parse_args()

    listed = json.loads(arguments.photos.with_suffix(".json").read_text(encoding="utf-8"))
    photos = [photo for photo in listed if photo["file"].startswith(arguments.prefix)]
    encoder = open_encoder(arguments.encoder, device=arguments.device)
    images = np.concatenate(
        [
            encoder.encode_frames(np.asarray(Image.open(path).convert("RGB"))[None])
            for path in (arguments.photos / photo["file"] for photo in photos)
        ]
    )
    captions = [caption for photo in photos for caption in photo["captions"]]
    owner = np.repeat(np.arange(len(photos)), [len(photo["captions"]) for photo in photos])
    scores = encoder.encode_texts(captions) @ images.T  # (captions, photos)
    own = np.take_along_axis(scores, owner[:, None], axis=1)
    # A tie counts against the answer, so that equal features find nothing.
    rank = (scores >= own).sum(1)

    print(f"{encoder.stamp.name}: {len(captions)} captions, {len(photos)} photographs")
    for k in RANKS:
        found = (rank <= k).astype(float)
        low, high = clustered_interval(found, owner)
        chance = k / len(photos)
        print(f"R@{k:<3} {found.mean():.3f} [{low:.3f}, {high:.3f}]   chance {chance:.3f}")


if __name__ == "__main__":
    main()
