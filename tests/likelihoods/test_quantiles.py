"""The pinball loss against scikit-learn and its minimiser, sorting, and the mean over draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_pinball_loss
from torch import Tensor

from duda import Quantiles

LEVELS = (0.1, 0.5, 0.7)


@pytest.mark.parametrize("positions", [(), (4,)])
def test_loss_is_that_of_sklearn(positions: tuple[int, ...]) -> None:
    outputs = torch.randn(6, 3 * 2, *positions, dtype=torch.float64)
    y = torch.randn(6, 2, *positions, dtype=torch.float64)
    expected = sum(
        mean_pinball_loss(y[:, d].flatten(), outputs[:, 2 * q + d].flatten(), alpha=level)
        for q, level in enumerate(LEVELS)
        for d in range(2)
    )
    assert float(Quantiles(LEVELS).loss(outputs, y)) == pytest.approx(expected, rel=1e-12)


@given(st.integers(0, 2**32), st.integers(2, 40))
@settings(max_examples=40)
def test_loss_is_least_at_the_empirical_quantiles(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(count, 1, generator=generator, dtype=torch.float64)
    best = np.quantile(y, LEVELS, method="inverted_cdf")
    likelihood = Quantiles(LEVELS)

    def loss(quantiles: Tensor) -> float:
        return float(likelihood.loss(quantiles.expand(count, 3), y))

    least = loss(torch.from_numpy(best))
    for _ in range(10):
        other = torch.from_numpy(best) + torch.randn(3, generator=generator, dtype=torch.float64)
        assert loss(other) >= least - 1e-12


@given(st.integers(0, 2**32))
@settings(max_examples=40)
def test_sorting_never_increases_the_loss(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(5, 3, generator=generator)
    y = torch.randn(5, 1, generator=generator)
    likelihood = Quantiles(LEVELS)
    assert likelihood.loss(outputs.sort(1).values, y) <= likelihood.loss(outputs, y) + 1e-6


def test_draws_are_sorted_one_by_one() -> None:
    draws = torch.randn(9, 4, 6, dtype=torch.float64)
    each = draws.reshape(9, 4, 3, 2).sort(dim=2).values
    answer = Quantiles(LEVELS).reduce(draws, keep_draws=True)
    assert torch.equal(answer.draws, each)
    torch.testing.assert_close(answer.median, each[:, :, 1].mean(0))
    torch.testing.assert_close(answer.epistemic, each[:, :, 1].var(0, correction=0))
    assert answer.levels.tolist() == list(LEVELS)


def test_draws_that_differ_by_a_constant_are_averaged() -> None:
    one = torch.randn(1, 4, 3, dtype=torch.float64).sort(dim=2).values
    alike = Quantiles(LEVELS).reduce(one.expand(5, 4, 3))
    torch.testing.assert_close(alike.quantiles.flatten(1), one[0])
    moved = Quantiles(LEVELS).reduce(torch.cat([one - 2, one + 2]))
    middle, ends = moved.quantiles.flatten(1)[:, 1], moved.quantiles.flatten(1)[:, ::2]
    torch.testing.assert_close(middle, one[0, :, 1])
    z = torch.special.ndtri(torch.tensor([0.1, 0.7], dtype=torch.float64))
    torch.testing.assert_close(
        (ends - middle.unsqueeze(1)).square(), (one[0, :, ::2] - one[0, :, 1:2]) ** 2 + 4 * z**2
    )


def test_without_a_level_of_a_half_the_median_is_interpolated() -> None:
    draws = torch.randn(9, 4, 2, dtype=torch.float64)
    low, high = draws.sort(dim=2).values.unbind(2)
    answer = Quantiles((0.4, 0.8)).reduce(draws)
    medians = low + (high - low) / 4
    torch.testing.assert_close(answer.median, medians.mean(0).unsqueeze(1))
    torch.testing.assert_close(answer.epistemic, medians.var(0, correction=0).unsqueeze(1))


def test_training_finds_the_quantiles_of_the_noise() -> None:
    y = torch.randn(4000, 1)
    outputs = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Adam([outputs], lr=0.03)
    for _ in range(200):
        optimizer.zero_grad()
        Quantiles(LEVELS).loss(outputs.expand(4000, 3), y).backward()
        optimizer.step()
    expected = np.quantile(y, LEVELS)
    np.testing.assert_allclose(outputs.detach(), expected, atol=0.02)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((), "expected at least two"),
        ((0.0, 0.9), "between 0 and 1"),
        ((0.1, 1.5), "between 0 and 1"),
        ((0.9, 0.1), "ascending numbers"),
        ((0.5, 0.5, 0.9), "ascending numbers"),
        ((0.6, 0.9), "some below 0.5 and some above"),
        ((0.5,), "some below 0.5 and some above"),
    ],
)
def test_bad_levels_are_told(levels: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=rf"`levels` is \(.*{message}"):
        Quantiles(levels)


@pytest.mark.parametrize("shape", [(5, 4), (5, 0), (5,)])
def test_outputs_of_the_wrong_width_are_told(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match="expected 3 D numbers on dimension 1: D for each of the 3"
    ):
        Quantiles(LEVELS).loss(torch.zeros(shape), torch.zeros(5, 1))


def test_levels_are_kept_as_a_tuple_of_floats() -> None:
    assert Quantiles([0.25, 0.75]) == Quantiles((0.25, 0.75))  # type: ignore[arg-type]
    assert Quantiles().width(2) == 14
