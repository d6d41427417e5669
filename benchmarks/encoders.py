"""Frames a second: vidsift's runtime on the CPU against plain torch, in one run, in turns.

    python -m benchmarks.encoders [--rounds N] [--batch N]

The networks are those of `builtin` and of open_clip's ViT-B-32. The latter has random weights,
which take as long as trained ones; torch runs eagerly in float32 on as many threads as it likes.
Medians are printed; each round times both sides one after the other, so that a machine that is busy
with other things is as busy for both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import torch

from vidsift.models import builtin_network, open_clip_network
from vidsift.models.builtin_encoder import DIMENSION, NETWORKS_SHA256, PROJECTION
from vidsift.models.encoder import Encoder, open_encoder
from vidsift.models.open_clip_encoder import Source
from vidsift.models.projection import read_projection

TARGETS = {"builtin": 5.0, "ViT-B-32": 2.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads of torch")
    shipped = read_projection(PROJECTION, NETWORKS_SHA256, (1000, DIMENSION))
    frames, _ = builtin_network.build_networks(shipped)
    encoder = open_encoder("builtin", device="cpu", batch_size=arguments.batch)
    report("builtin", encoder, frames, arguments.rounds, arguments.batch)
    with tempfile.TemporaryDirectory() as folder:
        # Its conversion is kept in a cache of its own: random weights are of no later use.
        os.environ["VIDSIFT_CACHE"] = folder
        checkpoint = Path(folder) / "random.pt"
        torch.manual_seed(0)
        torch.save(open_clip.create_model("ViT-B-32").state_dict(), checkpoint)
        name = f"open_clip:ViT-B-32/{checkpoint}"
        encoder = open_encoder(name, device="cpu", batch_size=arguments.batch)
        network = open_clip_network.build_networks(Source(name, "ViT-B-32", checkpoint), False)[0]
        report("ViT-B-32", encoder, network, arguments.rounds, arguments.batch)


def report(name: str, encoder: Encoder, network: torch.nn.Module, rounds: int, batch: int) -> None:
    """Time both sides in turns and print frames a second, their ratio and their agreement."""
    side = encoder.picture_size
    # Coarse colours rather than noise, so that the agreement is that of pictures.
    coarse = np.random.default_rng(0).integers(0, 256, (batch, 8, 8, 3), dtype=np.uint8)
    images = coarse.repeat(-(-side // 8), axis=1).repeat(-(-side // 8), axis=2)[:, :side, :side]
    images = np.ascontiguousarray(images)
    crop = (side - 260) // 2 if name == "builtin" else 0
    channels_last = torch.from_numpy(images[:, crop : side - crop, crop : side - crop].copy())
    # The same pixels in the layout that torch has unless it is told otherwise.
    plain_layout = channels_last.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)

    def ours() -> np.ndarray:
        return encoder.encode_frames(images)

    def theirs(pixels: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            features: np.ndarray = torch.nn.functional.normalize(network(pixels), dim=-1).numpy()
        return features

    cosine = (ours() * theirs(plain_layout)).sum(1).min()
    theirs(channels_last)
    times = [
        (
            seconds(ours),
            seconds(lambda: theirs(plain_layout)),
            seconds(lambda: theirs(channels_last)),
        )
        for _ in range(rounds)
    ]
    mine, plain, tuned = (batch / statistics.median(side) for side in zip(*times, strict=True))
    ratio = statistics.median(time[1] / time[0] for time in times)
    tuned_ratio = statistics.median(time[2] / time[0] for time in times)
    print(
        f"{name}: vidsift {mine:.1f}/s, least cosine to torch {cosine:.5f}\n"
        f"  torch as it comes    {plain:6.1f}/s  ratio {ratio:5.1f}  (target {TARGETS[name]})\n"
        f"  torch, channels last {tuned:6.1f}/s  ratio {tuned_ratio:5.1f}"
    )


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
