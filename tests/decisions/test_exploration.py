import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import duda
from duda.decisions import Gate, action_uncertainty, cautious, greedy, thompson
from duda.predictions import ClassPrediction, GaussianPrediction, QuantilePrediction


def draws_of(seed, draws=50, size=7, actions=3):
    return np.random.default_rng(seed).standard_normal((draws, size, actions))


def prediction_of(values):
    """Return a prediction whose draws have these means, and noise that is no matter here."""
    means = torch.from_numpy(values)
    noise = torch.rand_like(means)
    return GaussianPrediction(
        means.mean(0), noise.mean(0), means.var(0, correction=0), torch.cat([means, noise], 2)
    )


@given(st.integers(0, 1000))
def test_arrays_and_predictions_alike(seed):
    values = draws_of(seed)
    answer = prediction_of(values)
    assert greedy(answer).tolist() == values.mean(0).argmax(1).tolist()
    assert greedy(values).tolist() == greedy(answer).tolist()
    assert thompson(values, seed=seed).tolist() == thompson(answer, seed=seed).tolist()
    best = values.mean(0).argmax(1)
    expected = values.std(0)[np.arange(7), best]
    np.testing.assert_allclose(action_uncertainty(values), expected, atol=1e-12)
    np.testing.assert_allclose(action_uncertainty(answer), expected, atol=1e-12)


def test_moments_are_enough_but_for_thompson():
    values = draws_of(0)
    whole = prediction_of(values)
    moments = GaussianPrediction(whole.mean, whole.aleatoric, whole.epistemic)
    assert greedy(moments).tolist() == greedy(whole).tolist()
    np.testing.assert_allclose(action_uncertainty(moments), action_uncertainty(whole))
    with pytest.raises(ValueError, match="no draws to pick from"):
        thompson(moments)


def test_thompson_takes_an_action_as_often_as_it_is_best():
    values = draws_of(0, draws=10, size=1)
    shares = np.bincount(values[:, 0].argmax(1), minlength=3) / 10
    actions = thompson(np.repeat(values, 20_000, axis=1), seed=0)
    found = np.bincount(actions, minlength=3) / 20_000
    np.testing.assert_allclose(found, shares, atol=0.02)


def test_a_batch_follows_one_draw():
    values = draws_of(0, draws=5, size=40)
    plans = {tuple(plan) for plan in values.argmax(2).tolist()}
    for seed in range(20):
        assert tuple(thompson(values, per="batch", seed=seed).tolist()) in plans
    assert tuple(thompson(values, seed=0).tolist()) not in plans


def test_seeds():
    values = draws_of(0, size=100)
    before = torch.get_rng_state()
    assert torch.equal(thompson(values, seed=3), thompson(values, seed=np.int64(3)))
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(thompson(values), thompson(values))


def test_one_draw_is_greedy():
    values = draws_of(0, draws=1)
    assert torch.equal(thompson(values), greedy(values))


def test_any_model_explores():
    network = torch.nn.Sequential(
        torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(16, 4)
    )
    model = duda.MCDropout(network, duda.FixedGaussian(), samples=30)
    answer = model.predict(torch.randn(200, 2), keep_draws=True, seed=0)
    means = answer.draws.chunk(2, dim=2)[0]
    assert means.shape == (30, 200, 4)
    found = thompson(answer, seed=0)
    assert (means.argmax(2) == found).any(0).all()
    assert not torch.equal(found, greedy(answer))


def test_the_unknown_gets_the_safe_action():
    values = np.zeros((2, 4, 3))
    values[:, :, 2] = 1
    values[1, 3, 2] = 9
    gate = Gate.keep(0.5).fit([0.0, 1.0, 2.0])
    assert cautious(values, gate, safe=0).tolist() == [2, 2, 2, 0]
    assert cautious(values, gate, safe=[0, 0, 0, 1]).tolist() == [2, 2, 2, 1]


ONE = np.array([[[0.0, 1.0]], [[0.5, 1.0]]])
OPEN = Gate.keep(0.5).fit([1.0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: greedy(np.zeros((2, 3))), r"`values` has shape \(2, 3\), expected \(M, N, A\)"),
        (lambda: greedy(np.zeros((0, 1, 2))), "is empty"),
        (lambda: greedy(np.full((1, 1, 2), math.nan)), "`values` has 2 NaN"),
        (lambda: thompson(np.full((1, 1, 2), math.inf)), "2 infinite"),
        (lambda: thompson(ONE, per="step"), "`per` is 'step', expected 'decision' or 'batch'"),
        (lambda: thompson(ONE, seed=0.5), "`seed` is 0.5, expected a whole number"),
        (lambda: greedy(GaussianPrediction(np.zeros((1, 2, 2)), np.ones((1, 2, 2)))), "expected"),
        (lambda: action_uncertainty(np.zeros((1, 1, 2))), "just one draw"),
        (
            lambda: action_uncertainty(GaussianPrediction([[0.0, 1.0]], [[1.0, 1.0]])),
            "no epistemic part",
        ),
        (
            lambda: cautious(ONE, OPEN, safe=2),
            "`safe` holds 2, expected the number of an action: 0 to 1",
        ),
        (lambda: cautious(ONE, OPEN, safe=0.5), "expected the number of an action"),
        (lambda: cautious(ONE, OPEN, safe=[0, 1]), r"or \(1,\) of them"),
        (lambda: cautious(ONE, Gate.keep(0.5), safe=0), "not fitted"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("choose", [greedy, thompson, action_uncertainty])
def test_values_are_numbers_with_means(choose):
    with pytest.raises(TypeError, match="`values` is a ClassPrediction, expected a NumberPred"):
        choose(ClassPrediction.from_probs([[0.5, 0.5]]))
    draws = torch.tensor([[[[0.0], [1.0]]]])
    quantiles = QuantilePrediction([[[0.0], [1.0]]], [0.1, 0.9], draws=draws)
    with pytest.raises(TypeError, match="a QuantilePrediction has no `mean`, which this needs"):
        choose(quantiles)


def test_a_plan_needs_joint_draws():
    answer = prediction_of(draws_of(0))
    with pytest.raises(ValueError, match=r"per='batch' needs: call .*joint=True"):
        thompson(answer, per="batch")
    found = thompson(answer.with_joint(True), per="batch", seed=0)
    assert torch.equal(found, thompson(draws_of(0), per="batch", seed=0))
