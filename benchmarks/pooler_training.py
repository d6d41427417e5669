"""What training a pooler is worth where the truth is known: R@1 on held-out questions.

A clip has 12 frames, of which one or two show its subject; the others show subjects of a pool that
all clips share. Questions and frames also carry what has nothing to do with the subject (the
wording, the light): a subspace of 8 of 64 dimensions in which each is somewhere at random, so
that plain cosines mislead. Every clip has a subject of its own: what is learned must hold for
subjects never seen. Which frames are relevant is told to nobody.

    python -m benchmarks.pooler_training [--clips N] [--epochs N]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from jaxtyping import Float32, Int64

from vidsift.models.attention import MaxPool, MeanPool, Pooler, SoftmaxPool
from vidsift.models.attention_training import fit
from vidsift.models.learned_attention import LearnedPool
from vidsift.models.training_pairs import Kind, Pairs, Recipe, ranks

__all__ = ["main", "synthetic_pairs", "trained"]

DIMENSION = 64
NUISANCE = 8  # dimensions that say nothing of the subject
STRENGTH = 1.0  # length of that part where the subject's is 1
NOISE = 0.5  # length of what else differs between a subject and its picture, or its caption
FRAMES = 12
POOL = 200  # subjects of the frames that distract
TEMPERATURES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
RESAMPLES = 2000


def synthetic_pairs(clips: int, seed: int) -> Pairs:
    """Clips as the module says, one question each. The space is the same for every seed."""
    space = np.random.default_rng(0)
    basis = np.linalg.qr(space.standard_normal((DIMENSION, DIMENSION)))[0]
    subject, nuisance = basis[NUISANCE:], basis[:NUISANCE]  # rows: directions
    pool = _directions(space, POOL, subject)
    rng = np.random.default_rng(seed)

    def seen(subjects: np.ndarray) -> Float32[np.ndarray, "r d"]:
        noise = NOISE * _directions(rng, len(subjects), subject)
        vectors = subjects + noise + STRENGTH * _directions(rng, len(subjects), nuisance)
        unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit.astype(np.float32)

    subjects = _directions(rng, clips, subject)
    shown = pool[rng.integers(0, POOL, (clips, FRAMES))]  # (c, n, d)
    relevant = np.argsort(rng.random((clips, FRAMES)), axis=1)
    each = np.arange(clips)
    shown[each, relevant[:, 0]] = subjects
    shown[each[1::2], relevant[1::2, 1]] = subjects[1::2]  # every other clip shows it twice
    frames = seen(shown.reshape(-1, DIMENSION)).reshape(clips, FRAMES, DIMENSION)
    return Pairs(seen(subjects), each, frames, np.ones((clips, FRAMES), bool), each)


def _directions(rng: np.random.Generator, count: int, basis: np.ndarray) -> np.ndarray:
    vectors = rng.standard_normal((count, len(basis))) @ basis
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def trained(
    kind: Kind, train: Pairs, validation: Pairs, epochs: int, heads: int = 1
) -> LearnedPool:
    """The best pooler of a training."""
    recipe = Recipe(kind=kind, heads=heads, epochs=epochs, learning_rate=1e-3)
    pools = [epoch.pool for epoch in fit(train, validation, recipe) if epoch.pool is not None]
    return pools[-1]


def interval(hits: Int64[np.ndarray, "m"]) -> tuple[float, float]:
    """The bootstrap's 95 % interval of the mean."""
    rng = np.random.default_rng(0)
    means = [hits[rng.integers(0, len(hits), len(hits))].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    """Train each kind and hold all poolers against the same questions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clips", type=int, default=3000, help="for training")
    parser.add_argument("--questions", type=int, default=1000, help="held out, one a clip")
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    train, validation = synthetic_pairs(arguments.clips, 1), synthetic_pairs(500, 2)
    held_out = synthetic_pairs(arguments.questions, 3)

    def show(name: str, pooler: Pooler, seconds: float | None = None) -> None:
        hits = (ranks(pooler, held_out) == 1).astype(np.int64)
        low, high = interval(hits)
        took = "" if seconds is None else f"  trained in {seconds:.0f} s"
        print(f"  {name:<22} {hits.mean():.3f}  [{low:.3f}, {high:.3f}]{took}", flush=True)

    n = len(held_out.items)
    print(f"R@1, n = {n} questions over as many clips, chance {1 / n:.4f}")
    show("mean", MeanPool())
    show("max", MaxPool())
    # The best temperature is chosen on the questions themselves: as good as softmax can be.
    best = max(TEMPERATURES, key=lambda t: float((ranks(SoftmaxPool(t), held_out) == 1).mean()))
    show(f"softmax, best of {len(TEMPERATURES)}: {best:g}", SoftmaxPool(best))
    kinds: tuple[tuple[str, Kind, int], ...] = (
        ("additive", "additive", 1),
        ("dot-product", "dot", 1),
        ("multi-head, 1 head", "multi-head", 1),
        ("multi-head, 4 heads", "multi-head", 4),
    )
    for name, kind, heads in kinds:
        began = time.perf_counter()
        pool = trained(kind, train, validation, arguments.epochs, heads)
        show(name, pool, time.perf_counter() - began)


if __name__ == "__main__":
    main()
