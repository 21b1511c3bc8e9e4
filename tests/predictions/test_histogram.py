"""Histogram predictions: what follows from bins of even density, exactly."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import rv_histogram
from torch import Tensor

from duda import GaussianPrediction, HistogramPrediction
from duda.predictions import AffinePrediction

EDGES = torch.tensor([-2.0, -1.0, 0.5, 1.0, 4.0]).double()


def some_probs(seed: int, rows: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    probs = (2 * torch.randn(rows, 4, 1, generator=generator, dtype=torch.float64)).softmax(1)
    probs = probs.where(torch.rand(rows, 4, 1, generator=generator) > 0.2, 0) + 1e-300
    return probs / probs.sum(1, keepdim=True)


@given(seed=st.integers(0, 2**31), y=st.floats(-3, 5), q=st.floats(0.001, 0.999))
@settings(max_examples=20, deadline=None)
def test_it_is_what_scipy_says(seed: int, y: float, q: float) -> None:
    probs = some_probs(seed)
    answer = HistogramPrediction.from_probs(probs, EDGES)
    law = rv_histogram((probs.flatten().numpy(), EDGES.numpy()), density=False)
    target = torch.tensor([[y]], dtype=torch.float64)
    assert float(answer.cdf(target)) == pytest.approx(law.cdf(y), abs=1e-12)
    assert float(answer.mean) == pytest.approx(law.mean())
    assert float(answer.std) == pytest.approx(law.std())
    assert float(answer.quantile(q)) == pytest.approx(law.ppf(q), abs=1e-9)
    if y not in EDGES:
        assert float(answer.log_prob(target).exp()) == pytest.approx(law.pdf(y), abs=1e-12)


@given(seed=st.integers(0, 2**31), y=st.floats(-5, 7))
@settings(max_examples=10, deadline=None)
def test_crps_is_the_integral(seed: int, y: float) -> None:
    answer = HistogramPrediction.from_probs(some_probs(seed), EDGES)
    target = torch.tensor([[y]], dtype=torch.float64)
    law = rv_histogram((answer.probs.flatten().numpy(), EDGES.numpy()), density=False)
    points = sorted({*EDGES.tolist(), y})
    parts = [
        quad(lambda x: (law.cdf(x) - (x >= y)) ** 2, low, high)[0]
        for low, high in itertools.pairwise(points)
    ]
    assert float(answer.crps(target)) == pytest.approx(sum(parts), abs=1e-9)


def test_samples_follow_the_law() -> None:
    answer = HistogramPrediction.from_probs(some_probs(1, rows=3), EDGES)
    drawn = answer.sample(20_000, seed=0)
    assert drawn.shape == (20_000, 3, 1)
    torch.testing.assert_close(drawn.mean(0), answer.mean, rtol=0, atol=0.05)
    torch.testing.assert_close(drawn.std(0), answer.std, rtol=0.05, atol=0)
    assert torch.equal(drawn, answer.sample(20_000, seed=0))


def test_outside_of_the_edges_nothing_is_probable() -> None:
    answer = HistogramPrediction.from_probs(torch.full((2, 4, 1), 0.25), EDGES)
    assert answer.log_prob([[-2.1], [4.1]]).isneginf().all()
    assert answer.log_prob([[-2.0], [4.0]]).isfinite().all()
    assert answer.cdf([[-9.0], [9.0]]).flatten().tolist() == [0, 1]


def test_fine_bins_come_near_to_a_normal_distribution() -> None:
    normal = GaussianPrediction([[1e6]], [[1.0]])
    edges = 1e6 + torch.linspace(-9, 9, 1801).double()
    below = normal[[0] * 1801].cdf(edges.unsqueeze(1))
    answer = HistogramPrediction.from_probs(below.diff(dim=0).view(1, -1, 1), edges)
    y = torch.tensor([[1e6 + 0.705]], dtype=torch.float64)
    for name in ("cdf", "log_prob", "crps"):
        one, other = (getattr(each, name)(y) for each in (answer, normal))
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    torch.testing.assert_close(answer.std, normal.std.double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(answer.quantile(0.9), normal.quantile(0.9), rtol=0, atol=1e-4)


def test_other_units_are_of_the_family_where_examples_share_them() -> None:
    probs = torch.rand(5, 4, 2, 3).double()
    answer = HistogramPrediction.from_probs(probs / probs.sum(1, keepdim=True), EDGES)
    y = torch.rand(5, 2, 3).double()
    moved = answer.rescaled(factor=3.0, offset=-1.0)
    assert isinstance(moved, HistogramPrediction)
    own = answer.affine(torch.tensor([[2.0], [3.0]]), torch.tensor([[0.0], [1.0]]))
    assert isinstance(own, HistogramPrediction)
    torch.testing.assert_close(own.edges, torch.stack([2 * EDGES, 1 + 3 * EDGES], 1))
    each = answer.affine(torch.tensor(3.0), torch.full((5, 2, 3), -1.0))
    assert isinstance(each, AffinePrediction)
    for name in ("cdf", "crps", "log_prob"):
        one, other = (getattr(a, name)(3 * y - 1) for a in (moved, each))
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(moved.std, 3 * answer.std)


def test_what_is_no_histogram_is_told() -> None:
    probs = torch.full((2, 4, 1), 0.25)
    with pytest.raises(ValueError, match=r"`edges` has shape \(4, 1\), expected \(5, 1\)"):
        HistogramPrediction.from_probs(probs, EDGES[1:])
    with pytest.raises(ValueError, match="`edges` has a step of 0, expected edges of bins"):
        HistogramPrediction.from_probs(probs, [0.0, 1.0, 1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"`log_probs` has shape \(2, 4\), expected \(N, K, D"):
        HistogramPrediction(probs[:, :, 0].log(), EDGES)
    with pytest.raises(ValueError, match="`epistemic` has a variance of -1"):
        HistogramPrediction(probs.log(), EDGES, -torch.ones(2, 1))
