import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from duda.decisions import acquire, epig
from duda.decisions import batch_bald as module
from duda.decisions.batch_bald import batch_bald
from duda.likelihoods import Categorical
from duda.predictions import ClassPrediction, GaussianPrediction

seeds = st.integers(0, 10_000)


def draws_of(seed, draws=5, size=6, classes=3):
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.dirichlet(np.full(classes, 0.5), (draws, size)))


def pool_of(draws):
    reduction = Categorical().reduction(keep_draws=True)
    reduction.add(draws.log())
    return reduction.result().with_joint(True)


def entropy(probs):
    probs = probs[probs > 0]
    return -float((probs * np.log(probs)).sum())


def joint_information(draws, chosen):
    """Return I(y₁ … yₙ; θ) from the table of all labels of the chosen examples."""
    table, expected = 0.0, 0.0
    for probs in draws.numpy():
        joint = np.ones(())
        for index in chosen:
            joint = np.multiply.outer(joint, probs[index])
            expected += entropy(probs[index]) / len(draws)
        table = table + joint / len(draws)
    return entropy(table) - expected


def greedy_by_table(draws, k):
    chosen = []
    for _ in range(k):
        rest = [index for index in range(draws.shape[1]) if index not in chosen]
        chosen.append(max(rest, key=lambda index: joint_information(draws, [*chosen, index])))
    return chosen


POOL = ClassPrediction(
    log_probs=torch.tensor([[0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [0.49, 0.5, 0.01]]).log(),
    aleatoric=torch.tensor([0.1, 1.0, 0.5]),
    votes=torch.tensor([[10, 0, 0], [4, 3, 3], [5, 5, 0]]),
)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("entropy", [1, 2, 0]),
        ("bald", [0, 2, 1]),
        ("variation-ratio", [1, 2, 0]),
        ("margin", [2, 1, 0]),
    ],
)
def test_scores(by, expected):
    assert acquire(POOL, 3, by=by).tolist() == expected
    assert acquire(POOL, 1, by=by).tolist() == expected[:1]
    assert acquire(POOL, 1, by=by).dtype == torch.int64


@pytest.mark.parametrize("by", ["entropy", "bald", "variation-ratio", "margin", "batch-bald"])
def test_of_equals_the_first_come_first(by):
    pool = pool_of(draws_of(0)[:, [0, 0, 0, 0]])
    chosen = acquire(pool, 4, by=by)
    assert chosen.tolist() == [0, 1, 2, 3]


def test_random_takes_each_example_once():
    chosen = acquire(POOL, np.int64(3), by="random", seed=np.int64(0))
    assert sorted(chosen.tolist()) == [0, 1, 2]
    many = [int(acquire(POOL, 1, by="random", seed=seed)) for seed in range(300)]
    assert min(np.bincount(many, minlength=3)) > 70


def test_random_without_a_seed_follows_torch():
    numbers = GaussianPrediction(torch.zeros(50, 1), torch.ones(50, 1))
    one, other = acquire(numbers, 9, by="random"), acquire(numbers, 9, by="random")
    torch.manual_seed(0)
    assert acquire(numbers, 9, by="random").tolist() == one.tolist() != other.tolist()


def test_a_seed_leaves_the_global_state():
    before = torch.get_rng_state()
    acquire(POOL, 2, by="random", seed=1)
    acquire(pool_of(draws_of(0, size=20, classes=10)), 8, by="batch-bald", seed=1)
    assert torch.equal(before, torch.get_rng_state())


@given(seeds, st.integers(2, 4))
def test_batch_bald_by_the_whole_table(seed, classes):
    draws = draws_of(seed, classes=classes)
    assert batch_bald(draws, 4).tolist() == greedy_by_table(draws, 4)


@given(seeds)
def test_batch_bald_of_one_is_bald(seed):
    pool = pool_of(draws_of(seed, size=30))
    assert acquire(pool, 1, by="batch-bald").tolist() == acquire(pool, 1, by="bald").tolist()


def test_batch_bald_takes_no_twins():
    draws = draws_of(1, draws=20, size=5)
    with_twins = torch.cat([draws, draws], 1)
    by_bald = acquire(pool_of(with_twins), 2, by="bald")
    assert by_bald[1] == by_bald[0] + 5
    # unlike members that agree on a twin, another example says something new
    by_batch = acquire(pool_of(with_twins), 2, by="batch-bald")
    assert int(by_batch[1]) % 5 != int(by_batch[0]) % 5


def test_batch_bald_beyond_the_table(monkeypatch):
    draws = draws_of(3, draws=8, size=12, classes=4)
    monkeypatch.setattr(module, "_CONFIGURATIONS", 4)
    drawn = batch_bald(draws, 5, torch.Generator().manual_seed(0)).tolist()
    monkeypatch.setattr(module, "_CONFIGURATIONS", 20_000)
    drawn_from_more = batch_bald(draws, 5, torch.Generator().manual_seed(0)).tolist()
    assert drawn_from_more == greedy_by_table(draws, 5)
    assert len(set(drawn)) == 5


@pytest.mark.parametrize("counted", [0, 1, 2, 3])
def test_gain_by_counted_and_by_drawn_labels(counted, monkeypatch):
    monkeypatch.setattr(module, "_CONFIGURATIONS", 30_000)
    random = torch.Generator().manual_seed(0)
    draws = draws_of(5, draws=6, size=8, classes=4)
    labels = module._Labels.none(6)
    for index in range(3):
        labels = labels._sampled(random) if index == counted else labels
        labels = labels.extended(draws[:, index], random)
    known = joint_information(draws, [0, 1, 2])
    gain = labels.conditional_entropy(draws) - torch.special.entr(draws).sum(2).mean(0)
    exact = [joint_information(draws, [0, 1, 2, other]) - known for other in range(3, 8)]
    assert (labels.origin is None) == (counted == 3)
    tolerance = 1e-9 if counted == 3 else 0.01
    assert gain[3:].tolist() == pytest.approx(exact, abs=tolerance)


def test_a_large_batch_stays_finite(monkeypatch):
    monkeypatch.setattr(module, "_CONFIGURATIONS", 100)
    chosen = batch_bald(draws_of(0, draws=10, size=120), 120, torch.Generator().manual_seed(0))
    assert sorted(chosen.tolist()) == list(range(120))


@given(seeds)
def test_epig_by_pairs(seed):
    pool, target = draws_of(seed).numpy(), draws_of(seed + 1, size=4).numpy()
    expected = np.zeros(6)
    for n in range(6):
        for t in range(4):
            joint = np.einsum("mc,md->cd", pool[:, n], target[:, t]) / 5
            parts = entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint)
            expected[n] += parts / 4
    found = epig(torch.from_numpy(pool), torch.from_numpy(target))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_epig_in_parts(monkeypatch):
    pool, target = draws_of(0, size=9), draws_of(1, size=4)
    whole = epig(pool, target)
    monkeypatch.setattr("duda.decisions.acquisition._ENTRIES", 1)
    np.testing.assert_allclose(epig(pool, target), whole, atol=1e-12)


def test_epig_is_at_most_what_bald_finds():
    pool = pool_of(draws_of(0))
    target = pool_of(draws_of(1, size=4))
    assert (epig(pool.draws, target.draws) <= pool.epistemic + 1e-9).all()
    best = int(epig(pool.draws, target.draws).argmax())
    assert acquire(pool, 1, by="epig", target=target).tolist() == [best]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: acquire(POOL, 4), "`k` is 4, expected at most 3, the size of the pool"),
        (lambda: acquire(POOL, 1, seed="a"), "`seed` is 'a', expected a whole number"),
        (lambda: acquire(POOL, 0), "`k` is 0, expected a whole number"),
        (lambda: acquire(POOL, 1, by="bold"), "did you mean 'bald'"),
        (lambda: acquire(POOL, 1, by="batch-bald"), "no draws, which 'batch-bald' needs"),
        (lambda: acquire(POOL, 1, by="epig"), "`target` is missing"),
        (lambda: acquire(POOL, 1, by="epig", target=POOL), "`prediction` has no draws"),
        (
            lambda: acquire(pool_of(draws_of(0)), 1, by="epig", target=POOL),
            "`target` has no draws",
        ),
        (
            lambda: acquire(
                pool_of(draws_of(0)), 1, by="epig", target=pool_of(draws_of(0, draws=4))
            ),
            "expected as many draws and classes",
        ),
        (lambda: acquire(POOL, 1, by="bald", target=POOL), "looks at the pool only"),
        (
            lambda: acquire(ClassPrediction.from_probs(torch.full((2, 2, 3), 0.5)), 1),
            "expected one label for each example",
        ),
        (
            lambda: acquire(pool_of(draws_of(0)).with_joint(False), 1, by="batch-bald"),
            "not one function for all examples, which 'batch-bald' needs: call .*joint=True",
        ),
        (
            lambda: acquire(
                pool_of(draws_of(0)),
                1,
                by="epig",
                target=pool_of(draws_of(0)).with_joint(False),
            ),
            "`target` has draws that are not one function",
        ),
        (lambda: epig(POOL, draws_of(0)), "`draws` has no draws, which 'epig' needs"),
        (
            lambda: epig(draws_of(0), torch.ones(5, 6)),
            r"`target_draws` has shape \(5, 6\), expected",
        ),
        (lambda: epig(draws_of(0), draws_of(1, classes=4)), "expected as many draws and classes"),
        (lambda: epig(draws_of(0), 2 * draws_of(1)), "`target_draws` lies in .* raw outputs"),
        (lambda: epig(math.nan * draws_of(0), draws_of(1)), "`draws` has 90 NaN"),
        (lambda: epig(torch.zeros(0, 2, 3), draws_of(0)), "`draws` .* is empty"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("ask", [acquire, lambda answer, k: epig(answer, draws_of(0))])
def test_labels_need_classes(ask):
    with pytest.raises(TypeError, match="is a GaussianPrediction, expected a ClassPrediction"):
        ask(GaussianPrediction([[0.0]], [[1.0]]), 1)


@pytest.mark.parametrize("by", ["entropy", "bald", "variation-ratio", "margin", "batch-bald"])
def test_arrays_of_draws_are_taken_at_their_word(by):
    draws = draws_of(2, draws=7)
    assert torch.equal(acquire(draws.numpy(), 3, by=by), acquire(pool_of(draws), 3, by=by))


def test_epig_of_predictions_and_of_arrays():
    draws, target = draws_of(0), draws_of(1, size=4)
    expected = epig(draws, target)
    torch.testing.assert_close(epig(pool_of(draws), pool_of(target)), expected)
    chosen = acquire(draws, 2, by="epig", target=target)
    assert torch.equal(chosen, acquire(pool_of(draws), 2, by="epig", target=pool_of(target)))


def test_no_information_where_the_draws_agree():
    draws = draws_of(0, draws=1).expand(4, -1, -1)
    assert epig(draws, draws).max() < 1e-9
    assert math.isclose(joint_information(draws, [0, 1]), 0, abs_tol=1e-9)
    assert sorted(batch_bald(draws, 6).tolist()) == list(range(6))


def test_a_way_that_is_no_name_is_told() -> None:
    with pytest.raises(ValueError, match=r"unknown .* None"):
        acquire(torch.rand(4, 3, 2).softmax(2), 1, by=None)
