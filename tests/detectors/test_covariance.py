import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import covariance

from duda.detectors.covariance import Scatter, check_shrinkage


def residuals(count=30, width=5, seed=0):
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(count, width)) @ generator.normal(size=(width, width))
    return torch.from_numpy(rows - rows.mean(0))


@given(st.integers(2, 40), st.integers(2, 8), st.integers(0, 99))
def test_ledoit_wolf_of_scikit_learn(count, width, seed):
    rows = residuals(count, width, seed)
    expected, share = covariance.ledoit_wolf(rows.numpy(), assume_centered=True)
    scatter = Scatter.of(rows)
    assert scatter.ledoit_wolf() == pytest.approx(share, abs=1e-9)
    if share > 1e-6 or count > width:
        factor = scatter.factor("ledoit-wolf", "here")
        np.testing.assert_allclose(factor @ factor.T, expected, atol=1e-9)


def test_parts_add_up():
    rows = residuals()
    whole, parts = Scatter.of(rows), Scatter.of(rows[:11]) + Scatter.of(rows[11:])
    torch.testing.assert_close(parts.products, whole.products)
    assert parts.fourth == pytest.approx(whole.fourth)
    assert parts.count == whole.count == 30


def test_the_shares_are_ends_of_a_line():
    rows = residuals()
    plain = Scatter.of(rows).factor(0, "here")
    torch.testing.assert_close(plain @ plain.T, rows.T @ rows / 30)
    round_ = Scatter.of(rows).factor(1.0, "here")
    torch.testing.assert_close(round_, torch.eye(5).double() * (rows.square().sum() / 150).sqrt())


def test_features_of_any_scale():
    scale = torch.tensor([1e-9, 1e9, 1.0, 1e-3, 1e5]).double()
    factor = Scatter.of(residuals() * scale).factor(0, "here")
    unscaled = Scatter.of(residuals()).factor(0, "here")
    torch.testing.assert_close(factor / scale[:, None], unscaled)


@pytest.mark.parametrize(
    "rows",
    [
        residuals(4, 5),
        torch.cat([residuals(), residuals()[:, :1]], dim=1),
        torch.cat([residuals(), residuals()[:, :2].sum(1, keepdim=True)], dim=1),
        torch.cat([residuals(), torch.zeros(30, 1).double()], dim=1),
        torch.zeros(3, 2).double(),
    ],
    ids=["few", "twice the same", "a sum", "constant", "all constant"],
)
def test_singular(rows):
    with pytest.raises(ValueError, match=r"singular covariance in class 3 .* raise `shrinkage`"):
        Scatter.of(rows).factor(0, "in class 3")


def test_a_little_shrinkage_mends_it():
    rows = torch.cat([residuals(), residuals()[:, :1]], dim=1)
    assert Scatter.of(rows).factor(1e-3, "here").isfinite().all()


@pytest.mark.parametrize("shrinkage", [-0.1, 1.1, math.nan, math.inf, "oas", None, True])
def test_bad_shrinkage(shrinkage):
    with pytest.raises(ValueError, match="`shrinkage` is"):
        check_shrinkage(shrinkage)
