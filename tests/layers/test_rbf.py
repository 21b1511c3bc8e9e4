"""Kernels and centroids are those of van Amersfoort et al. 2020."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from duda.layers import RBF


def layer(**settings) -> RBF:
    made = RBF(features=4, classes=3, centroid_size=5, **settings).double()
    made.sums.normal_()
    made.counts.uniform_(1, 2)
    return made


def test_kernels_are_those_of_equation_1() -> None:
    rbf, features = layer(length_scale=0.7), torch.randn(6, 4, dtype=torch.float64)
    for i, row in enumerate(rbf(features).exp().tolist()):
        for c, kernel in enumerate(row):
            away = rbf.weight[c] @ features[i] - rbf.sums[c] / rbf.counts[c]
            square = sum(d**2 for d in away.tolist())
            expected = math.exp(-(square / 5) / (2 * 0.7**2))
            assert kernel == pytest.approx(expected, rel=1e-12)


def test_the_kernel_is_one_at_the_centroid() -> None:
    rbf = RBF(features=3, classes=2, centroid_size=3)
    with torch.no_grad():
        rbf.weight.copy_(torch.eye(3).expand(2, 3, 3))
    kernels = rbf(rbf.centroids).exp()
    torch.testing.assert_close(kernels.diagonal(), torch.ones(2))
    assert (kernels.fill_diagonal_(0) < 1).all()


def test_far_away_the_logarithm_does_not_underflow() -> None:
    rbf = layer()
    log_kernels = rbf(1e4 * torch.randn(2, 4, dtype=torch.float64))
    assert log_kernels.isfinite().all()
    assert (log_kernels < -1e6).all()


@given(momentum=st.floats(0.01, 0.999), batches=st.integers(1, 4))
def test_updates_are_those_of_equations_3_to_5(momentum: float, batches: int) -> None:
    rbf = layer(momentum=momentum)
    counts, sums = rbf.counts.clone(), rbf.sums.clone()
    for _ in range(batches):
        features, labels = torch.randn(7, 4, dtype=torch.float64), torch.randint(3, (7,))
        for c in range(3):
            places = [rbf.weight[c] @ f for f, y in zip(features, labels, strict=True) if y == c]
            total = torch.stack(places).sum(0) if places else torch.zeros(5)
            counts[c] = momentum * counts[c] + (1 - momentum) * len(places)
            sums[c] = momentum * sums[c] + (1 - momentum) * total.detach()
        rbf.update(features, torch.nn.functional.one_hot(labels, 3))
    torch.testing.assert_close(rbf.counts, counts)
    torch.testing.assert_close(rbf.sums, sums)
    torch.testing.assert_close(rbf.centroids, sums / counts[:, None])


def test_only_an_update_moves_the_centroids() -> None:
    rbf = layer()
    before = rbf.centroids
    rbf.train()(torch.randn(5, 4, dtype=torch.float64)).sum().backward()
    assert torch.equal(rbf.centroids, before)
    assert not rbf.centroids.requires_grad


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": 0}, "`features` is 0"),
        ({"classes": 1.5}, "`classes` is 1.5"),
        ({"centroid_size": -1}, "`centroid_size` is -1"),
        ({"length_scale": 0.0}, "`length_scale` is 0.0, expected a number above 0"),
        ({"length_scale": math.nan}, "`length_scale` is nan"),
        ({"momentum": 1.0}, "`momentum` is 1.0, expected a number above 0 and below 1"),
        ({"momentum": 0.0}, "`momentum` is 0.0"),
    ],
)
def test_bad_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RBF(**{"features": 4, "classes": 3, **settings})


@pytest.mark.parametrize("features", [torch.zeros(2, 7, 4), torch.zeros(2, 5), torch.zeros(4)])
def test_features_need_one_dimension(features: Tensor) -> None:
    with pytest.raises(ValueError, match=r"the features have shape .*expected \(N, 4\)"):
        RBF(4, 3)(features)
