"""Scores of classes, and the sets that they make."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from duda import ClassPrediction
from duda.decisions import APS, LAC, RAPS, ConformalClassifier, PredictionSets
from tests.decisions.test_conformal_coverage import classified

rows = st.lists(st.integers(0, 5), min_size=2, max_size=6).filter(any)


def by_hand(p, uniform, penalty=0.0, free_ranks=0):
    """Return APS or RAPS, class by class."""
    scores = []
    for own in p:
        above = p[p > own].sum()
        tied = p[p == own].sum()
        rank = (p >= own).sum()
        scores.append(above + uniform * tied + penalty * max(0, rank - free_ranks))
    return np.array(scores)


@settings(max_examples=60)
@given(rows, st.floats(0, 1))
def test_scores_by_hand(counts, uniform):
    p = np.array(counts) / sum(counts)
    probs, drawn = torch.tensor(p)[None], torch.tensor([uniform], dtype=torch.float64)
    close = {"rtol": 0, "atol": 1e-12}
    np.testing.assert_allclose(LAC()(probs)[0], 1 - p, **close)
    np.testing.assert_allclose(APS()(probs)[0], by_hand(p, 1.0), **close)
    np.testing.assert_allclose(APS()(probs, drawn)[0], by_hand(p, uniform), **close)
    raps = RAPS(penalty=0.2, free_ranks=2)
    np.testing.assert_allclose(raps(probs, drawn)[0], by_hand(p, uniform, 0.2, 2), **close)


@settings(max_examples=30)
@given(rows, st.randoms(use_true_random=False))
def test_order_of_classes_means_nothing(counts, random):
    p = torch.tensor(counts) / sum(counts)
    order = random.sample(range(len(p)), len(p))
    for score in (LAC(), APS(), RAPS()):
        torch.testing.assert_close(score(p[None])[0, order], score(p[order][None])[0])


def test_randomised_aps_is_uniform_where_the_probabilities_are_true():
    probs, y = classified(20_000)
    own = APS()(probs, torch.rand(20_000, dtype=torch.float64)).gather(1, y.unsqueeze(1))
    shares = np.histogram(own.numpy(), bins=10, range=(0, 1))[0] / 20_000
    np.testing.assert_allclose(shares, 0.1, atol=0.01)


def test_sets_are_what_scores_at_most_the_threshold():
    probs, y = classified(300)
    for score in (LAC(), APS(randomized=False), RAPS(randomized=False)):
        conformal = ConformalClassifier(0.2, score).fit(probs, y)
        expected = score(probs) <= conformal.thresholds
        assert torch.equal(conformal(probs).sets, expected)
        own = np.sort(score(probs).numpy()[np.arange(300), y])
        assert float(conformal.thresholds) == own[math.ceil(301 * 0.8) - 1]


def test_probs_and_predictions_and_logits_agree():
    probs, y = classified(200)
    one = ConformalClassifier(0.2).fit(probs, y)(probs)
    two = ConformalClassifier(0.2).fit(logits=probs.log(), y=y)(logits=probs.log())
    answer = ClassPrediction.from_probs(probs)
    three = ConformalClassifier(0.2).fit(answer, y)(answer)
    assert torch.equal(one.sets, two.sets)
    assert torch.equal(one.sets, three.sets)


def test_every_set_is_full_when_there_are_too_few():
    probs, y = classified(8)
    conformal = ConformalClassifier(0.1).fit(probs, y)
    assert conformal.thresholds.tolist() == [math.inf]
    assert conformal(probs).sets.all()


def test_a_class_without_held_out_examples_is_in_every_set():
    probs, y = classified(200)
    y = y.masked_fill(y == 2, 1)
    conformal = ConformalClassifier(0.2, per_class=True).fit(probs, y)
    assert conformal.calibration.tolist() == [int((y == k).sum()) for k in range(4)]
    assert conformal.thresholds[2] == math.inf
    assert conformal(probs).sets[:, 2].all()


def test_no_class_may_be_probable_enough():
    probs = [[0.9, 0.1], [0.1, 0.9]] * 10
    found = ConformalClassifier(0.1).fit(probs, [0, 1] * 10)([[0.5, 0.5], [0.9, 0.1]])
    assert found.sizes.tolist() == [0, 1]


def test_seeds():
    probs, y = classified(200)

    def sets(seed):
        return ConformalClassifier(0.2, "aps", seed=seed).fit(probs, y)(probs).sets

    state = torch.get_rng_state()
    one = sets(1)
    assert torch.equal(one, sets(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(one, sets(2))
    torch.manual_seed(3)
    from_global = sets(None)
    torch.manual_seed(3)
    assert torch.equal(from_global, sets(None))


def test_a_new_example_never_gets_the_number_of_a_held_out_one():
    conformal = ConformalClassifier(score="aps", seed=0)
    assert not np.isin(conformal._uniform(1000, 0), conformal._uniform(1000, 1)).any()


def test_order_of_held_out_examples_means_nothing():
    probs, y = classified(100)
    order = torch.randperm(100)
    one = ConformalClassifier(0.2).fit(probs, y)
    other = ConformalClassifier(0.2).fit(probs[order], y[order])
    assert torch.equal(one.thresholds, other.thresholds)


SETS = PredictionSets(
    torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 1]]) == 1, 0.1, torch.tensor([99])
)


def test_summary():
    found = SETS.summary([0, 2, 1, 1])
    assert found.guaranteed.hits.tolist() == [2]
    assert found.by_class.hits.tolist() == [1, 1, 0]
    assert found.by_class.counts.tolist() == [1, 2, 1]
    assert found.by_size.hits.tolist() == [0, 1, 1, 0]
    assert found.by_size.counts.tolist() == [1, 1, 2, 0]
    assert found.mean_size == 1.25
    assert SETS.coverage([0, 2, 1, 1]) == 0.5


def test_a_class_without_examples_does_not_count_as_missed():
    # torchcp 1.2.1 takes it for coverage 0, and says 0.667
    sets = PredictionSets(torch.eye(3)[:2] == 1, 0.1, torch.tensor([99]))
    found = sets.summary([0, 1])
    assert found.mean_of_classes == 1
    assert math.isnan(found.by_class.observed[2])


def test_printed_summary():
    text = str(SETS.summary([0, 2, 1, 1]))
    assert "coverage 0.5 of 4, guaranteed at least 0.9, calibrated on 99 examples" in text
    assert "     0         1     0.000" in text
    many = PredictionSets(torch.eye(30) == 1, 0.1, torch.tensor([99] * 30))
    text = str(many.summary([0, *range(29)]))
    assert "(the lowest of 29)" in text
    assert text.count("\n") < 20


def test_plots():
    found = SETS.summary([0, 2, 1, 1])
    ax = found.plot()
    assert ax.get_xlabel() == "class"
    shown = [child for child in ax.containers if len(child)]
    assert sum(len(container[0].get_xdata()) for container in shown) == 3
    assert found.plot("size").get_xlabel() == "classes in the set"
    with pytest.raises(ValueError, match="`by` is 'colour'"):
        found.plot("colour")


@pytest.mark.parametrize(
    ("probs", "y", "message"),
    [
        ([[math.nan, 1.0]], [0], "`probs` has 1 NaN"),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "`probs` .* is empty"),
        ([[0.5, 0.4]], [0], "expected 1: pass raw outputs as `logits=`"),
        ([[0.5, 0.5]], [2], "`y` holds the label 2, expected 0 to 1"),
        ([[0.5, 0.5]], [0, 1], r"`y` has shape \(2,\), expected \(1,\)"),
        (np.full((2, 2, 3), 0.5), np.zeros((2, 3), dtype=int), r"expected \(N, C\): positions of"),
    ],
)
def test_bad_input(probs, y, message):
    with pytest.raises(ValueError, match=message):
        ConformalClassifier().fit(probs, y)


def test_other_width_and_not_fitted():
    conformal = ConformalClassifier()
    with pytest.raises(ValueError, match="this ConformalClassifier is not fitted"):
        conformal([[0.5, 0.5]])
    conformal.fit(*classified(30))
    with pytest.raises(ValueError, match="have 2 classes, expected 4, as `fit` saw"):
        conformal([[0.5, 0.5]])
    with pytest.raises(ValueError, match=r"`y` has shape \(3,\), expected \(4,\)"):
        SETS.coverage([0, 1, 2])


@pytest.mark.parametrize("seed", [-1, 0.5, "a"])
def test_bad_seed(seed):
    with pytest.raises(ValueError, match=r"`seed` is .*, expected a whole number of at least 0"):
        ConformalClassifier(seed=seed)


def test_unknown_score():
    with pytest.raises(ValueError, match="unknown score 'aspp': did you mean"):
        ConformalClassifier(score="aspp")
    with pytest.raises(TypeError, match=r"or such as `APS\(randomized=False\)`"):
        ConformalClassifier(score=APS)


@pytest.mark.parametrize("options", [{"penalty": -1}, {"free_ranks": -1}, {"penalty": math.nan}])
def test_bad_penalty(options):
    with pytest.raises(ValueError, match=r"expected a (finite|whole) number of at least 0"):
        RAPS(**options)
