"""Training a projection: what is planted is found, what is held out is told apart, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidsift.errors import EncoderError
from vidsift.models.projection import Projection, read_projection, write_projection
from vidsift.models.projection_training import (
    STRENGTHS,
    Captioned,
    choose_strength,
    fit,
    rank_captions,
    split,
)

ITEMS, CLASSES, DIMENSION = 100, 20, 8


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def planted(*, learnable: bool = True, seed: int = 0, frames: int = 1) -> Captioned:
    """Captions that are half ConSE, half another linear map of the roots (or noise), twice each."""
    rng = np.random.default_rng(seed)
    roots = np.sqrt(rng.dirichlet(np.full(CLASSES, 0.3), ITEMS)).astype(np.float32)
    shown = unit((roots**2) @ rng.normal(size=(CLASSES, DIMENSION)))
    hidden = unit((roots - roots.mean(0)) @ rng.normal(size=(CLASSES, DIMENSION)))
    if not learnable:
        hidden = unit(rng.normal(size=hidden.shape))
    captions = np.repeat(shown + 1.5 * hidden, 2, axis=0)
    captions = unit(captions + 0.3 * rng.normal(size=captions.shape))
    return Captioned(
        conse=np.repeat(shown, frames, axis=0),
        roots=np.repeat(roots, frames, axis=0),
        item_of_frame=np.repeat(np.arange(ITEMS), frames),
        captions=captions,
        item_of_caption=np.repeat(np.arange(ITEMS), 2),
        groups=np.arange(ITEMS) // 2,
    )


def found(pairs: Captioned, projection: Projection | None) -> float:
    return float((rank_captions(pairs, projection) <= 1).mean())


def test_what_can_be_learned_is_learned_for_what_was_not_seen():
    pairs = planted()
    held = split(pairs, 0)[0]
    rest = pairs.part(np.setdiff1d(np.arange(ITEMS), held))
    strength, reached = choose_strength(rest, 0)
    tested = pairs.part(held)
    assert set(reached) == set(STRENGTHS)
    assert found(tested, fit(rest, strength)) > found(tested, None) + 0.2


def test_what_cannot_be_learned_gets_the_strongest_regression():
    """The one-standard-error rule stays near ConSE where nothing tells the strengths apart."""
    assert choose_strength(planted(learnable=False), 0)[0] == max(STRENGTHS)


def test_a_regression_of_any_strength_tends_to_conse():
    pairs = planted()
    projection = fit(pairs, 1e9)
    assert np.array_equal(rank_captions(pairs, projection), rank_captions(pairs, None))


def test_frames_that_say_the_same_count_once():
    one, three = fit(planted(), 2.0), fit(planted(frames=3), 2.0)
    np.testing.assert_allclose(three.left @ three.right, one.left @ one.right, atol=1e-4)
    assert np.array_equal(rank_captions(planted(), one), rank_captions(planted(frames=3), one))


@pytest.mark.parametrize("items", [10, ITEMS])
def test_the_regression_on_the_smaller_side_is_least_squares(items: int):
    """Fewer items than classes or more: its gradient vanishes."""
    pairs = planted().part(np.arange(items))
    projection = fit(pairs, 3.0)
    assert projection.left.shape[1] <= DIMENSION
    inputs = unit(pairs.roots - projection.centre)
    inputs = inputs - inputs.mean(0)
    targets = (pairs.captions[::2] + pairs.captions[1::2]) / 2
    scale = max((targets * pairs.conse).sum() / (pairs.conse**2).sum(), 0.1)
    residual = targets - scale * pairs.conse
    residual = residual - residual.mean(0)
    weights = projection.left @ projection.right * scale
    gradient = inputs.T @ (inputs @ weights - residual) + 3.0 * weights
    np.testing.assert_allclose(gradient, 0, atol=1e-4)


def test_a_split_divides_no_group():
    pairs = planted()
    parts = split(pairs, 3)
    assert sorted(np.concatenate(parts).tolist()) == list(range(ITEMS))
    assert {len(part) for part in parts} == {20}
    groups = [set(pairs.groups[part].tolist()) for part in parts]
    assert sum(len(group) for group in groups) == len(set(pairs.groups.tolist()))
    assert not np.array_equal(parts[0], split(pairs, 4)[0])


def test_a_part_keeps_what_belongs_together():
    pairs = planted(frames=2)
    part = pairs.part(np.array([7, 3]))
    assert part.item_of_frame.tolist() == [0, 0, 1, 1]
    assert np.array_equal(part.captions, pairs.captions[[6, 7, 14, 15]])


def test_a_tie_counts_against_the_caption():
    pairs = replace(planted(), conse=np.ones((ITEMS, DIMENSION), np.float32))
    assert (rank_captions(pairs, None) == ITEMS).all()


def test_the_network_computes_what_was_trained():
    """The encoder's own arithmetic, from logits, against the formula of the training."""
    import torch

    from vidsift.models.builtin_network import FrameNetwork

    rng = np.random.default_rng(2)
    logits = 3 * rng.normal(size=(6, CLASSES)).astype(np.float32)
    classes = rng.normal(size=(CLASSES, DIMENSION)).astype(np.float32)
    projection = fit(planted(), 2.0)
    network = FrameNetwork(torch.nn.Identity(), torch.from_numpy(classes), projection)
    probabilities = np.exp(logits / network.temperature)
    probabilities /= probabilities.sum(1, keepdims=True)
    learned = unit(np.sqrt(probabilities) - projection.centre) @ projection.left
    expected = unit(probabilities @ classes) + learned @ projection.right
    ours = network.embed(torch.from_numpy(logits)).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    bare = FrameNetwork(torch.nn.Identity(), torch.from_numpy(classes))
    np.testing.assert_allclose(
        bare.embed(torch.from_numpy(logits)).numpy(), probabilities @ classes, atol=1e-5
    )


def test_a_file_gives_back_what_was_written(tmp_path: Path):
    projection = replace(fit(planted(), 2.0, "these"), figures={"captions": 200})
    path = tmp_path / "new folder" / "own.safetensors"
    write_projection(path, projection)
    back = read_projection(path, "these", (CLASSES, DIMENSION))
    assert back.figures == {"captions": 200}
    np.testing.assert_allclose(back.left, projection.left, atol=2e-3)
    np.testing.assert_allclose(back.centre, projection.centre, atol=1e-3)
    for networks, shape in (("others", (CLASSES, DIMENSION)), ("these", (CLASSES, 9))):
        with pytest.raises(EncoderError, match="trained for other weights"):
            read_projection(path, networks, shape)
    assert [file.name for file in path.parent.iterdir()] == ["own.safetensors"]


def test_values_that_are_no_numbers_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="no numbers"):
        replace(fit(planted(), 2.0), centre=np.full(CLASSES, np.nan, np.float32))
    (tmp_path / "file").write_text("")
    with pytest.raises(EncoderError, match="cannot be written"):
        write_projection(tmp_path / "file" / "own.safetensors", fit(planted(), 2.0))
