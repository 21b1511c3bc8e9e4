"""Temperature, vector and matrix scaling: the minimum that each of them claims to find."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, minimize, minimize_scalar

from duda.decisions import MatrixScaling, Temperature, VectorScaling
from tests.decisions.learned import learned
from tests.decisions.test_recalibration import nll, overconfident


def cross_entropy(logits, y):
    logits = logits - logits.max(1, keepdims=True)
    return float((np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]).mean())


problems = st.integers(2, 4).flatmap(
    lambda classes: st.lists(
        st.tuples(
            st.lists(st.floats(-3, 3), min_size=classes, max_size=classes),
            st.integers(0, classes - 1),
        ),
        min_size=8,
        max_size=30,
    )
)


@pytest.mark.filterwarnings("ignore:no temperature was found")
@settings(max_examples=50)
@given(problems)
def test_no_temperature_of_a_fine_grid_is_better(points):
    logits, y = map(np.array, zip(*points, strict=True))
    found = Temperature().fit(logits=logits, y=y).temperature
    least = min(cross_entropy(logits / t, y) for t in np.geomspace(0.01, 100, 500))
    assert 0.01 <= found <= 100
    assert cross_entropy(logits / found, y) <= least + 1e-12
    assert cross_entropy(logits / found, y) <= cross_entropy(logits, y) + 1e-12


def test_temperature_of_scipy():
    logits, y = overconfident()
    found = Temperature().fit(logits=logits, y=y).temperature
    expected = minimize_scalar(
        lambda log_t: cross_entropy(logits / np.exp(log_t), y),
        bounds=(-3, 3),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert found == pytest.approx(np.exp(expected.x), rel=1e-6)


def test_the_temperature_that_the_labels_were_drawn_with():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(100_000, 3))
    y = (z + rng.gumbel(size=z.shape)).argmax(1)
    assert Temperature().fit(logits=2.5 * z, y=y).temperature == pytest.approx(2.5, rel=0.02)


def test_order_of_classes_never_changes():
    logits, y = overconfident()
    found = Temperature().fit(logits=logits, y=y)(logits=logits)
    assert np.array_equal(found.numpy().argsort(1), logits.argsort(1))


def test_temperature_1_changes_nothing():
    logits, _ = overconfident()
    unchanged = learned(Temperature(), classes=3, temperature=1.0)
    expected = torch.tensor(logits).softmax(1)
    torch.testing.assert_close(unchanged(expected), expected, atol=1e-15, rtol=0)


@pytest.mark.parametrize("gap", [1.0, 700.0])
def test_all_right(gap):
    with pytest.warns(UserWarning, match=r"lowest allowed, 0.01: \(almost\) all are right"):
        found = Temperature().fit(logits=[[gap, 0.0], [0.0, gap]], y=[0, 1])
    assert found.temperature == 0.01


@pytest.mark.parametrize("gap", [1.0, 700.0])
def test_all_wrong(gap):
    with pytest.warns(UserWarning, match="highest allowed, 100.0: no better than chance"):
        found = Temperature().fit(logits=[[gap, 0.0], [0.0, gap]], y=[1, 0])
    assert found.temperature == 100


def test_nothing_to_tell_temperatures_apart():
    with pytest.warns(UserWarning, match="every row is uniform"):
        assert Temperature().fit([[0.5, 0.5], [0.5, 0.5]], [0, 1]).temperature == 1


def test_impossible_labels():
    with pytest.raises(ValueError, match="gives 1 of 2 labels the probability 0"):
        Temperature().fit([[1.0, 0.0], [0.6, 0.4]], [1, 0])


def test_impossible_classes_stay_impossible():
    probs = [[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.3, 0.7, 0.0]]
    found = Temperature().fit(probs, [0, 1, 1])
    finite = Temperature().fit(np.array(probs)[:, :2], [0, 1, 1])
    assert found.temperature == pytest.approx(finite.temperature)
    assert found(probs)[:, 2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("kind", [VectorScaling, MatrixScaling])
@pytest.mark.parametrize("penalty", [0.0, 0.01, 10.0])
def test_never_worse_than_before(kind, penalty):
    logits, y = overconfident(200)
    found = kind(penalty).fit(logits=logits, y=y)
    assert nll(found(logits=logits), y) < cross_entropy(logits, y)


def test_each_scaling_includes_the_one_before():
    logits, y = overconfident(200)
    losses = [
        nll(kind.fit(logits=logits, y=y)(logits=logits), y)
        for kind in (Temperature(), VectorScaling(), MatrixScaling(penalty=0.0))
    ]
    assert losses == sorted(losses, reverse=True)


def test_equal_factors_are_a_temperature():
    logits, y = overconfident()
    cooled = Temperature().fit(logits=logits, y=y)
    weight = torch.full((3,), 1 / cooled.temperature).double()
    vector = learned(VectorScaling(), classes=3, weight=weight, bias=torch.zeros(3).double())
    torch.testing.assert_close(vector(logits=logits), cooled(logits=logits))


@pytest.mark.parametrize("kind", [VectorScaling, MatrixScaling])
def test_a_constant_added_to_logits_changes_nothing(kind):
    logits, y = overconfident(200)
    found = kind().fit(logits=logits, y=y)
    torch.testing.assert_close(found(logits=logits), found(logits=logits + 7))


@pytest.mark.parametrize(("kind", "penalty"), [(VectorScaling, 0.3), (MatrixScaling, 0.3)])
def test_gradient(kind, penalty):
    logits, y = overconfident(50)
    log_probs, labels = torch.tensor(logits).log_softmax(1), torch.tensor(y)
    scaling = kind(penalty)
    shape = scaling._identity(3).shape
    size = scaling._identity(3).numel()

    def loss(parameters):
        values = torch.tensor(parameters)
        return scaling._loss(values[:size].view(shape), values[size:], log_probs, labels)

    at = np.random.default_rng(0).normal(size=size + 3)
    slopes = np.concatenate([slope.flatten() for slope in loss(at)[1:]])
    numeric = approx_fprime(at, lambda parameters: loss(parameters)[0], 1e-7)
    np.testing.assert_allclose(slopes, numeric, atol=1e-5)


def test_matrix_of_scipy():
    logits, y = overconfident(200)
    z = torch.tensor(logits).log_softmax(1).numpy()

    def loss(parameters):
        weight, bias = parameters[:9].reshape(3, 3), parameters[9:]
        off = weight[~np.eye(3, dtype=bool)]
        return cross_entropy(z @ weight.T + bias, y) + 0.1 * ((off**2).mean() + (bias**2).mean())

    expected = minimize(loss, np.r_[np.eye(3).ravel(), 0, 0, 0], tol=1e-10, options={"gtol": 1e-7})
    found = MatrixScaling(0.1).fit(logits=logits, y=y)
    parameters = np.r_[found.weight.ravel(), found.bias]
    assert loss(parameters) <= expected.fun + 1e-10
    np.testing.assert_allclose(parameters, expected.x, atol=1e-3)


def test_a_large_penalty_leaves_a_diagonal():
    logits, y = overconfident(200)
    found = MatrixScaling(1e6).fit(logits=logits, y=y)
    assert (found.weight - found.weight.diag().diag()).abs().max() < 1e-4
    assert found.bias.abs().max() < 1e-4
    assert (found.weight.diag() - 1).abs().max() > 0.1


@pytest.mark.parametrize("kind", [VectorScaling, MatrixScaling])
def test_what_has_no_minimum(kind):
    with pytest.raises(ValueError, match="`y` has no example of class 1"):
        kind().fit([[0.6, 0.4], [0.3, 0.7]], [0, 0])
    with pytest.raises(ValueError, match="`probs` has 1 zeros, whose logs are infinite"):
        kind().fit([[1.0, 0.0], [0.3, 0.7]], [0, 1])
    with pytest.warns(UserWarning, match="gets every held-out label right"):
        kind().fit([[0.6, 0.4], [0.3, 0.7]], [0, 1])


@pytest.mark.parametrize("penalty", [-1.0, np.nan, np.inf, "much", True])
def test_bad_penalty(penalty):
    with pytest.raises(ValueError, match="`penalty` is"):
        MatrixScaling(penalty)
