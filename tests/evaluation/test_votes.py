import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from duda.evaluation import brier, nll, vote_distance

PROBS = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.34, 0.33, 0.33], [0.05, 0.05, 0.9]])
VOTES = np.array([[6, 3, 1], [2, 7, 1], [0, 5, 5], [0, 0, 10]])
SHARES = VOTES / 10


@st.composite
def laws(draw, classes=3):
    weights = draw(st.lists(st.integers(0, 20), min_size=classes, max_size=classes).filter(any))
    return np.array(weights) / sum(weights)


def every_outcome(law, voters):
    """Return all counts that so many votes from `law` may give, and the probability of each."""
    counts = np.array(
        [(i, j, voters - i - j) for i in range(voters + 1) for j in range(voters + 1)]
    )
    counts = counts[counts.min(1) >= 0]
    return counts, stats.multinomial(voters, law).pmf(counts)


def test_total_variation_and_divergence_of_scipy():
    found = vote_distance(PROBS, VOTES)
    np.testing.assert_allclose(found.total_variation, np.abs(PROBS - SHARES).sum(1) / 2)
    np.testing.assert_allclose(found.kl, stats.entropy(SHARES, PROBS, axis=1), atol=1e-15)


def test_divergence_is_cross_entropy_less_the_entropy_of_votes():
    expected = nll(PROBS, SHARES) - stats.entropy(SHARES, axis=1).mean()
    assert float(vote_distance(PROBS, VOTES).kl.mean()) == pytest.approx(expected, abs=1e-12)


def test_people_are_at_no_distance_from_themselves():
    found = vote_distance(SHARES, VOTES)
    assert float(found.total_variation.max()) < 1e-15
    assert float(found.kl.abs().max()) < 1e-15
    assert bool((found.squared <= 0).all())  # by what their number leaves open


def test_unanimous_votes_against_certainty():
    found = vote_distance([[1.0, 0.0], [0.0, 1.0]], [[10, 0], [10, 0]])
    assert found.total_variation.tolist() == [0, 1]
    assert found.by_chance.tolist() == [0, 0]
    assert found.kl.tolist() == [0, math.inf]
    assert found.squared.tolist() == [0, 2]


@given(laws(), st.integers(1, 12))
def test_chance_is_the_mean_over_all_votes_that_there_may_be(law, voters):
    counts, weights = every_outcome(law, voters)
    found = vote_distance(np.tile(law, (len(counts), 1)), counts)
    expected = float(weights @ found.total_variation.numpy())
    assert float(found.by_chance[0]) == pytest.approx(expected, abs=1e-9)


@given(laws(), laws(), st.integers(2, 12))
def test_squared_distance_is_right_in_the_mean(law, probs, voters):
    counts, weights = every_outcome(law, voters)
    found = vote_distance(np.tile(probs, (len(counts), 1)), counts)
    expected = np.square(probs - law).sum()
    assert float(weights @ found.squared.numpy()) == pytest.approx(expected, abs=1e-9)


def test_squared_distance_is_the_brier_score_less_chance():
    chance = (1 - np.square(SHARES).sum(1)) / 9
    found = float(vote_distance(PROBS, VOTES).squared.mean())
    assert found == pytest.approx(brier(PROBS, SHARES) - chance.mean(), abs=1e-12)


def test_one_vote_has_no_spread():
    assert math.isnan(float(vote_distance([[0.5, 0.5]], [[1, 0]]).squared))


def test_logits_and_positions():
    logits = torch.randn(2, 3, 4, dtype=torch.float64)
    votes = torch.randint(1, 5, (2, 3, 4))
    found = vote_distance(votes=votes, logits=logits)
    flat = vote_distance(logits.softmax(1).movedim(1, 2).flatten(0, 1), votes.mT.flatten(0, 1))
    for name in ("total_variation", "by_chance", "kl", "squared"):
        assert getattr(found, name).shape == (2, 4)
        torch.testing.assert_close(getattr(found, name).flatten(), getattr(flat, name))


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        ([[0.6, 0.4]], "`votes` holds 0.6, expected whole numbers from 0 up: give counts"),
        ([[-1, 3]], "`votes` holds -1"),
        ([[0, 0]], "`votes` has no vote for 1 examples"),
        ([[1, 1, 1]], r"`votes` has shape \(1, 3\), expected \(1, 2\)"),
        ([[math.nan, 1.0]], "`votes` has 1 NaN"),
    ],
)
def test_bad_votes(votes, message):
    with pytest.raises(ValueError, match=message):
        vote_distance([[0.5, 0.5]], votes)


def test_missing_arguments():
    with pytest.raises(TypeError, match="`votes` is missing"):
        vote_distance([[0.5, 0.5]])
    with pytest.raises(TypeError, match="either `probs` or `logits=`"):
        vote_distance(votes=[[1, 0]])


def test_real_votes(real_data):
    votes = np.load(real_data / "cifar-10h" / "cifar10h-counts.npy")
    flat = np.full(votes.shape, 0.1)
    expected = math.log(10) - stats.entropy(votes, axis=1).mean()
    assert float(vote_distance(flat, votes).kl.mean()) == pytest.approx(expected, rel=1e-12)
