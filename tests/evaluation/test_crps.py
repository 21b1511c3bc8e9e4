import itertools
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

import duda
from duda import GaussianPrediction, LaplacianPrediction, QuantilePrediction
from duda.evaluation import (
    crps,
    crps_of_draws,
    crps_of_gaussian,
    crps_of_laplacian,
    crps_of_mixture,
    crps_of_quantiles,
    pinball,
)

FAMILIES = [
    (GaussianPrediction, lambda mean, std: stats.norm(mean, std)),
    (LaplacianPrediction, lambda mean, std: stats.laplace(mean, std / math.sqrt(2))),
]
WHOLE = st.floats(-5, 5, allow_subnormal=False)
POSITIVE = st.floats(0.05, 3)


def integral(cdf, y, points):
    """Return the CRPS by its definition: the integral of (F(x) - [x >= y])²."""
    ends = [-60.0, *sorted({*points, y}), 60.0]
    parts = [
        integrate.quad(lambda x: (cdf(x) - (x > y)) ** 2, low, high, epsabs=1e-11, limit=200)[0]
        for low, high in itertools.pairwise(ends)
    ]
    return sum(parts)


def mixture(kind, means, stds):
    """Return a prediction for one example that kept its draws."""
    mean, std = (torch.tensor(v, dtype=torch.float64) for v in (means, stds))
    draws = torch.stack([mean, std.square()], 1).unsqueeze(1)
    moments = mean.mean(), std.square().mean(), mean.var(correction=0)
    return kind(*(moment.view(1, 1) for moment in moments), draws)


@pytest.mark.parametrize(("kind", "law"), FAMILIES)
@settings(max_examples=10)
@given(members=st.lists(st.tuples(WHOLE, POSITIVE), min_size=1, max_size=4), y=WHOLE)
def test_closed_forms_are_the_integral(kind, law, members, y):
    means, stds = zip(*members, strict=True)
    laws = [law(mean, std) for mean, std in members]
    expected = integral(lambda x: np.mean([one.cdf(x) for one in laws]), y, means)
    assert crps(mixture(kind, means, stds), [[y]]) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("kind", "one"), [
    (GaussianPrediction, crps_of_gaussian), (LaplacianPrediction, crps_of_laplacian)
])  # fmt: skip
def test_without_draws_it_is_that_of_the_moments(kind, one):
    mean, y = torch.randn(2, 40, 3, dtype=torch.float64)
    std = torch.rand(40, 3, dtype=torch.float64)
    expected = one(mean, std, y)
    assert expected.shape == (40, 3)
    assert crps(kind(mean, std.square()), y) == pytest.approx(float(expected.mean()), rel=1e-12)


@settings(max_examples=30)
@given(mean=WHOLE, std=POSITIVE, y=WHOLE, factor=st.floats(0.1, 10))
def test_it_has_the_units_of_y(mean, std, y, factor):
    for one in (crps_of_gaussian, crps_of_laplacian):
        scaled = one([factor * mean], [factor * std], [factor * y])
        torch.testing.assert_close(scaled, factor * one([mean], [std], [y]), rtol=1e-9, atol=1e-9)


def test_no_spread_is_the_distance():
    # uncertainty-toolbox 0.1.1 says NaN
    for one in (crps_of_gaussian, crps_of_laplacian):
        assert one([0.0, 2.0], [0.0, 0.0], [1.0, 2.0]).tolist() == [1.0, 0.0]
    # Two points: E|X - y| - E|X - X'| / 2 = 1 - 1 / 2.
    for kind, _ in FAMILIES:
        assert crps(mixture(kind, [-1.0, 1.0], [0.0, 0.0]), [[0.0]]) == pytest.approx(0.5)
        near = crps(mixture(kind, [-1.0, 1.0], [1e-7, 0.3]), [[0.2]])
        assert crps(mixture(kind, [-1.0, 1.0], [0.0, 0.3]), [[0.2]]) == pytest.approx(near)
        near = crps(mixture(kind, [1.0, 1.0], [1e-7, 0.3]), [[0.2]])
        assert crps(mixture(kind, [1.0, 1.0], [0.0, 0.3]), [[0.2]]) == pytest.approx(near)


@pytest.mark.parametrize("gap", [0.0, 1e-9, 0.3, 20.0])
def test_laplacians_of_almost_equal_scales(gap):
    equal = crps(mixture(LaplacianPrediction, [0.0, gap], [0.7, 0.7]), [[0.1]])
    for more in (1e-15, 1e-12, 1e-9, 1e-8):
        close = mixture(LaplacianPrediction, [0.0, gap], [0.7, 0.7 * (1 + more)])
        assert crps(close, [[0.1]]) == pytest.approx(equal, abs=2 * more + 1e-14)


def test_a_mixture_of_equals_is_its_member():
    mean, std = torch.randn(5), torch.rand(5)
    y = torch.randn(5)
    found = crps_of_mixture(mean.expand(7, 5), std.expand(7, 5), y)
    torch.testing.assert_close(found, crps_of_gaussian(mean, std, y), rtol=1e-9, atol=1e-9)


@given(
    draws=st.lists(st.integers(-3, 3), min_size=2, max_size=12),
    y=st.integers(-3, 3),
)
def test_draws_are_the_sum_over_pairs(draws, y):
    values = np.array(draws, dtype=float)
    near = np.abs(values - y).mean()
    apart = np.abs(values[:, None] - values).sum() / 2
    count = len(values)
    plain, fair = (crps_of_draws(values[:, None], [y], fair=fair) for fair in (False, True))
    assert float(plain) == pytest.approx(near - apart / count**2)
    assert float(fair) == pytest.approx(near - apart / (count * (count - 1)))
    shuffled = np.random.default_rng(0).permutation(values)
    assert torch.equal(crps_of_draws(shuffled[:, None], [y]), plain)


def test_draws_approach_their_law():
    draws = torch.randn(200_000, 1, dtype=torch.float64)
    for y in (0.0, 1.3):
        expected = float(crps_of_gaussian([0.0], [1.0], [y]))
        assert float(crps_of_draws(draws, [y])) == pytest.approx(expected, abs=0.005)


def test_fair_draws_are_unbiased():
    # E over y ~ N(0, 1) of the CRPS of N(0, 1) is 1 / √π.
    draws, y = torch.randn(3, 100_000), torch.randn(100_000)
    expected = 1 / math.sqrt(math.pi)
    assert float(crps_of_draws(draws, y, fair=True).mean()) == pytest.approx(expected, abs=0.01)
    assert float(crps_of_draws(draws, y).mean()) > expected + 0.1


def test_draws_on_a_large_offset():
    draws, y = torch.randn(9, 5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    far = crps_of_draws(draws + 2.0**30, y + 2.0**30)
    torch.testing.assert_close(far, crps_of_draws(draws, y), rtol=0, atol=1e-5)


def test_draws_in_blocks(monkeypatch):
    draws, y = torch.randn(6, 4, 5), torch.randn(4, 5)
    whole = crps_of_draws(draws, y)
    monkeypatch.setattr(sys.modules[crps.__module__], "_AT_ONCE", 18)
    assert torch.equal(crps_of_draws(draws, y), whole)
    assert whole.shape == (4, 5)


def test_one_draw_is_a_point():
    assert crps_of_draws([[1.0]], [2.0]).tolist() == [1.0]
    with pytest.raises(ValueError, match="1 draw, expected at least 2 for `fair=True`"):
        crps_of_draws([[1.0]], [2.0], fair=True)


def test_quantiles_at_even_levels_are_twice_the_pinball_loss():
    levels = [(2 * k + 1) / 20 for k in range(10)]
    quantiles = torch.randn(30, 10, 2, dtype=torch.float64).sort(dim=1).values
    y = torch.randn(30, 2, dtype=torch.float64)
    answer = QuantilePrediction(quantiles, levels)
    assert crps(answer, y) == pytest.approx(2 * pinball(answer, y), rel=1e-12)
    assert crps_of_quantiles(quantiles, levels, y).shape == (30, 2)


def test_uneven_levels_weigh_what_they_stand_for():
    # With a pinball loss of 1 at each level alone: cells of 0.2, 0.5 and 0.3.
    levels, y = [0.1, 0.3, 0.8], [0.0]
    found = []
    for place, level in enumerate(levels):
        quantiles = [0.0, 0.0, 0.0]
        quantiles[place] = 1 / (1 - level)
        found.append(float(crps_of_quantiles([quantiles], levels, y)) / 2)
    assert found == pytest.approx([0.2, 0.35, 0.45])


def test_dense_uneven_quantiles_approach_the_closed_form():
    levels = np.sort(np.random.default_rng(0).uniform(0.0005, 0.9995, 2000))
    quantiles = stats.norm.ppf(levels)[None]
    expected = float(crps_of_gaussian([0.0], [1.0], [0.7]))
    assert float(crps_of_quantiles(quantiles, levels, [0.7])) == pytest.approx(expected, abs=2e-3)


def test_positions_that_are_masked_out():
    mean, y = torch.zeros(2, 1, 3, 3), torch.randn(2, 1, 3, 3)
    mask = torch.rand(2, 1, 3, 3) > 0.4
    answer = GaussianPrediction(mean, torch.ones_like(mean))
    expected = float(crps_of_gaussian(mean[mask], torch.ones_like(mean)[mask], y[mask]).mean())
    y[~mask] = torch.nan
    assert crps(answer, y, mask=mask) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match=r"`y` has .* NaN .* leave them out by `mask`"):
        crps(answer, y)
    with pytest.raises(ValueError, match="`mask` is False everywhere"):
        crps(answer, y, mask=torch.zeros_like(mask))


def test_a_family_without_closed_form_is_integrated():
    class Uniform(duda.predictions.LocationScalePrediction):
        _standard_cdf = _standard_log_density = staticmethod(lambda z: z)
        _standard_quantile = staticmethod(lambda q: math.sqrt(12) * (q - 0.5))

    found = crps(Uniform([[0.0]], [[1.0]]), [[0.0]])
    assert found == pytest.approx(math.sqrt(3) / 6, rel=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        # uncertainty-toolbox 0.1.1 says NaN
        (lambda: crps_of_gaussian([0.0, 0.0], [1.0, 1.0], [math.nan, 0.0]), "`y` has 1 NaN"),
        (lambda: crps_of_gaussian([0.0], [-1.0], [0.0]), "`std` holds -1"),
        (lambda: crps_of_gaussian([0.0], [[1.0]], [0.0]), r"call `std.squeeze\(1\)`"),
        (lambda: crps_of_laplacian([0.0], [math.inf], [0.0]), "`std` has 0 NaN and 1 infinite"),
        (lambda: crps_of_gaussian([], [], []), "`mean` has shape .* is empty"),
        (lambda: crps_of_mixture([[0.0]], [[1.0]], [0.0, 0.0]), "`means` has shape"),
        (lambda: crps_of_draws([[0.0, math.nan]], [0.0, 0.0]), "`draws` has 1 NaN"),
        (lambda: crps_of_draws([0.0, 1.0], [0.0, 0.0]), r"`draws` has shape \(2,\)"),
        (lambda: crps_of_draws(torch.empty(0, 2), [0.0, 0.0]), "M at least 1"),
        (lambda: crps_of_quantiles([[0.0, 1.0]], [0.9, 0.1], [0.0]), "do not ascend"),
        (lambda: crps_of_quantiles([[0.0, 1.0]], [0.1, 0.5, 0.9], [0.0]), r"expected \(1, 3\)"),
        (lambda: crps(GaussianPrediction([[0.0]], [[1.0]]), [0.0]), r"y.unsqueeze\(1\)"),
    ],
)  # fmt: skip
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_one_target_alone():
    assert float(crps_of_draws([1.0, 2.0], 1.5)) == pytest.approx(0.25)
