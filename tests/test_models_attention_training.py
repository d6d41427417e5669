"""Training on arrays: the loss and the ranks by hand, early stopping, resume, and that it works."""

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks.pooler_training import synthetic_pairs, trained
from vidsift.errors import PoolerError
from vidsift.models.attention import MeanPool, SoftmaxPool
from vidsift.models.attention_training import fit, info_nce
from vidsift.models.training_pairs import Pairs, Recipe, ranks

SMALL = Recipe(epochs=3, batch_size=16, learning_rate=1e-3, device="cpu")


def hopeless(clips: int) -> Pairs:
    """Questions about other clips than their own."""
    pairs = synthetic_pairs(clips, 1)
    return dataclasses.replace(pairs, queries=pairs.queries[::-1].copy())


def same(one, other) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        np.array_equal(one.tensors[name], other.tensors[name]) for name in one.tensors
    )


def test_the_loss_is_cross_entropy_both_ways():
    similarities = torch.tensor([[0.9, 0.1, 0.3], [0.2, 0.8, 0.5], [0.4, 0.6, 0.7]])
    e = np.exp(2 * similarities.numpy())
    to_video = -np.log(np.diag(e) / e.sum(1)).mean()
    to_caption = -np.log(np.diag(e) / e.sum(0)).mean()
    alone = torch.eye(3, dtype=torch.bool)
    loss = info_nce(similarities, torch.tensor(2.0), alone)
    np.testing.assert_allclose(loss.item(), (to_video + to_caption) / 2, rtol=1e-6)


def test_captions_of_one_video_are_no_negatives_of_each_other():
    similarities = torch.tensor([[0.9, 0.1, 0.3], [0.2, 0.8, 0.5], [0.4, 0.6, 0.7]])
    together = torch.eye(3, dtype=torch.bool)
    together[0, 1] = together[1, 0] = True
    e = np.exp(similarities.numpy())
    e[0, 1] = e[1, 0] = 0
    expected = -(np.log(np.diag(e) / e.sum(1)) + np.log(np.diag(e) / e.sum(0))).mean() / 2
    loss = info_nce(similarities, torch.tensor(1.0), together)
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-6)


def test_ranks_count_the_items_of_other_videos_that_score_as_well():
    axes = np.eye(4, dtype=np.float32)
    pairs = Pairs(
        queries=axes[[0, 1, 2, 0]],
        items=np.array([0, 1, 3, 2]),
        frames=axes[[0, 1, 0, 1]][:, None].astype(np.float16),
        mask=np.ones((4, 1), bool),
        videos=np.array([7, 8, 9, 8]),
    )
    # 0: item 2 of another video ties. 1: only item 3 scores as well, of its own video. 2: nothing
    # of it is anywhere, so that the two items of other videos tie. 3: item 0 ties.
    assert ranks(MeanPool(), pairs).tolist() == [2, 1, 3, 2]


def test_taking_captions_takes_their_items_along():
    pairs = synthetic_pairs(6, seed=1)
    pairs = dataclasses.replace(pairs, items=np.array([5, 0, 3, 3, 1, 2]))
    taken = pairs.take(np.array([0, 2, 3]))
    assert taken.items.tolist() == [1, 0, 0]
    assert taken.videos.tolist() == [3, 5]
    assert np.array_equal(taken.queries, pairs.queries[[0, 2, 3]])
    assert np.array_equal(taken.frames, pairs.frames[[3, 5]])


@pytest.mark.parametrize("kind", ["additive", "dot", "multi-head"])
def test_training_is_the_same_twice_and_leaves_the_callers_random_numbers_alone(kind):
    train, validation = synthetic_pairs(40, 1), synthetic_pairs(20, 2)
    recipe = dataclasses.replace(SMALL, kind=kind)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one = [epoch.pool for epoch in fit(train, validation, recipe) if epoch.pool]
    assert torch.equal(torch.rand(3), expected)
    other = [epoch.pool for epoch in fit(train, validation, recipe) if epoch.pool]
    assert all(map(same, one, other))
    start = recipe.start(64)
    assert same(one[0], start)


def test_the_loss_falls_and_the_best_epoch_is_that_of_the_highest_recall():
    epochs = list(fit(synthetic_pairs(200, 1), synthetic_pairs(50, 2), SMALL))
    assert [epoch.number for epoch in epochs] == [0, 1, 2, 3]
    losses = [epoch.loss for epoch in epochs[1:]]
    assert losses == sorted(losses, reverse=True)
    best = [epoch for epoch in epochs if epoch.best]
    qualities = [(epoch.recall_at_1, epoch.mrr) for epoch in epochs]
    assert (best[-1].recall_at_1, best[-1].mrr) == max(qualities)
    assert [epoch.pool is not None for epoch in epochs] == [epoch.best for epoch in epochs]


def test_a_run_that_was_cut_off_ends_as_one_that_was_not(tmp_path):
    train, validation = synthetic_pairs(60, 1), synthetic_pairs(20, 2)
    state = tmp_path / "folder" / "pooler.state"
    whole = list(fit(train, validation, SMALL))
    cut = fit(train, validation, SMALL, state=state)
    # The third is yielded but not acknowledged: it is done again.
    first = [next(cut), next(cut), next(cut)]
    cut.close()
    rest = list(fit(train, validation, SMALL, state=state, resume=True))
    assert [epoch.number for epoch in rest] == [2, 3]
    for mine, expected in zip(first[:2] + rest, whole, strict=True):
        assert dataclasses.replace(mine, pool=None) == dataclasses.replace(expected, pool=None)
        assert (mine.pool is None) == (expected.pool is None)
        assert mine.pool is None or same(mine.pool, expected.pool)
    assert not state.exists()


def test_a_run_that_goes_on_still_counts_the_epochs_without_gain(tmp_path):
    train, validation = hopeless(64), synthetic_pairs(64, 2)
    recipe = dataclasses.replace(SMALL, epochs=50, patience=3, learning_rate=0.01)
    whole = list(fit(train, validation, recipe))
    cut = fit(train, validation, recipe, state=tmp_path / "state")
    for _ in range(len(whole) - 1):  # the last of these is not acknowledged
        next(cut)
    cut.close()
    rest = list(fit(train, validation, recipe, state=tmp_path / "state", resume=True))
    assert [epoch.number for epoch in rest] == [epoch.number for epoch in whole[-2:]]


@pytest.mark.parametrize("alike", ["videos", "queries"])
def test_what_is_no_negative_is_told_from_nothing(alike):
    """Pairs of one video, or of one text, alone: there is nothing to learn from."""
    train = synthetic_pairs(20, 1)
    one = np.zeros_like(train.videos) if alike == "videos" else train.queries[:1].repeat(20, 0)
    train = dataclasses.replace(train, **{alike: one})
    epochs = list(fit(train, synthetic_pairs(20, 2), SMALL))
    assert [epoch.loss for epoch in epochs[1:]] == [0.0, 0.0, 0.0]


def test_what_cannot_be_resumed_is_refused(tmp_path):
    train, validation = synthetic_pairs(40, 1), synthetic_pairs(20, 2)
    state = tmp_path / "pooler.state"
    with pytest.raises(PoolerError, match=r"pooler\.state: no training was cut off"):
        next(fit(train, validation, SMALL, state=state, resume=True))
    begun = fit(train, validation, SMALL, state=state)
    for _ in range(3):
        next(begun)
    begun.close()
    for others in (
        (synthetic_pairs(40, 9), validation, SMALL),
        (train, validation, dataclasses.replace(SMALL, seed=1)),
    ):
        with pytest.raises(PoolerError, match="other captions"):
            next(fit(*others, state=state, resume=True))
    for junk in (b"", b"junk", state.read_bytes()[:-300]):
        state.write_bytes(junk)
        with pytest.raises(PoolerError, match="cannot be read"):
            next(fit(train, validation, SMALL, state=state, resume=True))


def test_training_stops_when_validation_no_longer_gains():
    """Random labels: nothing can be learned, so the second epoch in a row without gain ends it."""
    train = hopeless(64)
    recipe = dataclasses.replace(SMALL, epochs=50, patience=2, learning_rate=0.01)
    epochs = list(fit(train, synthetic_pairs(64, 2), recipe))
    assert len(epochs) < 30
    assert [epoch.best for epoch in epochs[-3:]] == [True, False, False]


def test_a_fixed_temperature_stays():
    """The learned one moves the loss of later epochs; the fixed one does not depend on it."""
    train, validation = synthetic_pairs(40, 1), synthetic_pairs(20, 2)
    fixed = dataclasses.replace(SMALL, logit_temperature=0.07)
    learned, kept = (list(fit(train, validation, recipe)) for recipe in (SMALL, fixed))
    assert learned[1].loss == pytest.approx(kept[1].loss, rel=0.05)
    assert learned[3].loss != kept[3].loss


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "dot", "heads": 2}, "multi-head"),
        ({"kind": "additive", "positions": 4}, "multi-head"),
        ({"positions": 1}, "positions"),
        ({"epochs": 0}, "at least 1"),
        ({"batch_size": 1}, "at least 2"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(changes, words):
    with pytest.raises(PoolerError, match=words):
        Recipe(**changes)


def test_heads_that_do_not_divide_the_dimension_are_refused():
    with pytest.raises(PoolerError, match="--heads 5: 64 dimensions"):
        next(fit(synthetic_pairs(4, 1), synthetic_pairs(4, 2), Recipe(heads=5)))


@pytest.mark.slow
def test_trained_multi_head_beats_pooling_without_training_on_held_out_questions():
    train, validation = synthetic_pairs(1500, 1), synthetic_pairs(200, 2)
    held_out = synthetic_pairs(300, 3)

    def recall(pooler) -> float:
        return float((ranks(pooler, held_out) == 1).mean())

    pool = trained("multi-head", train, validation, epochs=6)
    mean = recall(MeanPool())
    softmax = max(recall(SoftmaxPool(temperature)) for temperature in (0.02, 0.05, 0.1, 0.2, 0.5))
    assert recall(pool) >= mean + 0.20
    assert recall(pool) >= softmax + 0.20


@pytest.mark.slow
def test_only_a_positional_term_learns_what_is_first():
    """Two subjects in every clip; the caption is of the one that comes first."""
    rng = np.random.default_rng(0)

    def pairs(clips: int) -> Pairs:
        subjects = rng.standard_normal((2 * clips, 32))
        subjects /= np.linalg.norm(subjects, axis=1, keepdims=True)
        first, second = subjects.reshape(2, clips, 1, 32).astype(np.float32)
        # Each pair of subjects stands in two clips, once in either order.
        frames = np.concatenate(
            [
                np.concatenate([a.repeat(3, 1), b.repeat(3, 1)], 1)
                for a, b in ((first, second), (second, first))
            ]
        )
        each = np.arange(2 * clips)
        queries = np.concatenate([first, second])[:, 0]
        return Pairs(queries, each, frames, np.ones((2 * clips, 6), bool), each)

    train, validation, held_out = pairs(200), pairs(50), pairs(50)
    found = {}
    for positions in (0, 6):
        recipe = Recipe(epochs=10, learning_rate=1e-3, positions=positions, dropout=0.0)
        pools = [epoch.pool for epoch in fit(train, validation, recipe) if epoch.pool]
        found[positions] = float((ranks(pools[-1], held_out) == 1).mean())
    assert found[0] <= 0.6  # the two clips of a pair are the same to it
    assert found[6] >= found[0] + 0.3


@pytest.mark.cuda
def test_training_on_cuda_comes_to_the_same():
    train, validation = synthetic_pairs(200, 1), synthetic_pairs(50, 2)
    recipe = dataclasses.replace(SMALL, dropout=0.0)
    on_cpu, on_cuda = (
        list(fit(train, validation, dataclasses.replace(recipe, device=device)))
        for device in ("cpu", "cuda")
    )
    for mine, expected in zip(on_cuda[1:], on_cpu[1:], strict=True):
        assert mine.loss == pytest.approx(expected.loss, rel=1e-2)
