"""Numbers that are large beside their spread: all that is said of them is as if they were not.

A prediction shifted by c says of y + c what the other says of y, in whatever dtype the mean came:
here means and shifts are whole numbers, which float32 holds up to 2^24.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from duda import (
    GaussianPrediction,
    LaplacianPrediction,
    NumberPrediction,
    QuantilePrediction,
    StudentTPrediction,
    evaluation,
)
from duda.decisions import ConformalRegressor, Gate, QuantileRecalibration, StdScale
from duda.reporting import measure
from tests.families import LogisticPrediction

N, D = 40, 2
LEVELS = [0.1, 0.25, 0.5, 0.75, 0.9]

Family = Callable[[float, torch.dtype], NumberPrediction]


def whole(*shape: int) -> Tensor:
    return torch.randint(-8, 9, shape, generator=torch.Generator().manual_seed(1)).double()


def spreads(*shape: int) -> Tensor:
    found = torch.rand(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return (found + 0.5).float().double()


def moments(kind: type, draws: int, **shape: float) -> Family:
    def family(shift: float, dtype: torch.dtype) -> NumberPrediction:
        mean = (whole(N, D) + shift).to(dtype)
        own = {name: torch.full((N, D), value) for name, value in shape.items()}
        kept = None
        if draws:
            parts = [whole(draws, N, D) + shift, spreads(draws, N, D)]
            parts += [torch.full((draws, N, D), value) for value in shape.values()]
            kept = torch.cat(parts, dim=2).to(dtype)
        variance = spreads(N, D).to(dtype)
        answer: NumberPrediction = kind(mean, variance, variance / 2, kept, **own)
        return answer.with_joint(bool(draws))

    return family


def quantiles(shift: float, dtype: torch.dtype) -> NumberPrediction:
    steps = torch.tensor([-4.0, -1.0, 0.0, 2.0, 5.0]).view(1, 5, 1)
    return QuantilePrediction((whole(N, 1, D) + steps + shift).to(dtype), LEVELS)


def logistic(shift: float, dtype: torch.dtype) -> NumberPrediction:
    return LogisticPrediction((whole(N, D) + shift).to(dtype), spreads(N, D).to(dtype))


def affine(shift: float, dtype: torch.dtype) -> NumberPrediction:
    return logistic(0.0, dtype).rescaled(factor=1.0, offset=shift)


def rescaled(shift: float, dtype: torch.dtype) -> NumberPrediction:
    return moments(GaussianPrediction, 3)(0.0, dtype).rescaled(factor=1.0, offset=shift)


FAMILIES: dict[str, Family] = {
    "gaussian": moments(GaussianPrediction, 0),
    "gaussian mixture": moments(GaussianPrediction, 3),
    "laplacian": moments(LaplacianPrediction, 0),
    "laplacian mixture": moments(LaplacianPrediction, 3),
    "student t": moments(StudentTPrediction, 0, df=4.0),
    "student t mixture": moments(StudentTPrediction, 3, df=4.0),
    "quantiles": quantiles,
    "logistic": logistic,
    "affine logistic": affine,
    "rescaled mixture": rescaled,
}


def conformal(score: str) -> Callable[[Any, Tensor], Any]:
    return lambda p, y: ConformalRegressor(0.2, score=score).fit(p, y).thresholds


# What it needs, what it finds, and whether that is a place, which moves with the numbers.
FOUND: dict[str, tuple[str, Callable[[Any, Tensor], Any], bool]] = {
    "coverage": ("quantile", lambda p, y: evaluation.coverage(p, y, [0.2, 0.5, 0.8]).inside, False),
    "density_nll": ("log_prob", evaluation.density_nll, False),
    "crps": ("quantile", evaluation.crps, False),
    "pit": ("cdf", lambda p, y: evaluation.pit(p, y).counts, False),
    "pinball": ("quantile", lambda p, y: evaluation.pinball(p, y, LEVELS), False),
    "rmse": ("centre", evaluation.rmse, False),
    "mae": ("centre", evaluation.mae, False),
    "interval_score": ("quantile", lambda p, y: evaluation.interval_score(p, y, level=0.5), False),
    "interval_width": ("quantile", lambda p, y: evaluation.interval_width(p, level=0.5), False),
    "interval_coverage": (
        "quantile",
        lambda p, y: evaluation.interval_coverage(p, y, level=0.5),
        False,
    ),
    "spread": ("std", lambda p, y: evaluation.spread(p, y).ence, False),
    "sparsification": ("score", lambda p, y: evaluation.sparsification(p, y).ause, False),
    "selective": ("score", lambda p, y: evaluation.selective(p, y).aurc, False),
    "joint_nll": ("components", lambda p, y: evaluation.joint_nll(p, y), False),
    "report": ("score", lambda p, y: list(measure(p, y).values()), False),
    "absolute": ("centre", conformal("absolute"), False),
    "normalized": ("std", conformal("normalized"), False),
    "cqr": ("quantile", conformal("cqr"), False),
    "StdScale": ("std", lambda p, y: StdScale().fit(p, y).scale, False),
    "stretched": ("std", lambda p, y: StdScale().fit(p, y)(p).quantile(0.7), True),
    "QuantileRecalibration": (
        "cdf",
        lambda p, y: QuantileRecalibration([0.3, 0.5, 0.7]).fit(p, y)(p).quantiles,
        True,
    ),
    "risk": ("score", lambda p, y: p.is_bad(y, tolerance=2.0), False),
    "quantile": ("quantile", lambda p, y: p.quantile(0.3), True),
    "interval": ("quantile", lambda p, y: torch.stack(p.interval(0.6)), True),
    "cdf": ("cdf", lambda p, y: p.cdf(y), False),
    "log_prob": ("log_prob", lambda p, y: p.log_prob(y), False),
    "sample": ("sample", lambda p, y: p.sample(4, seed=0), True),
    "bands": ("std", lambda p, y: torch.stack([torch.stack(e) for e in p.bands().ends]), True),
}


def able(family: str, found: str) -> bool:
    answer, ability = FAMILIES[family](0.0, torch.float64), FOUND[found][0]
    return answer.can(ability) and (ability != "components" or answer.draws is not None)


@pytest.mark.parametrize(("shift", "dtype"), [(1e7, torch.float32), (-1e7, torch.float64)])
@pytest.mark.parametrize(
    ("family", "found"), [each for each in itertools.product(FAMILIES, FOUND) if able(*each)]
)
def test_shifted_numbers_are_judged_as_the_others(
    family: str, found: str, shift: float, dtype: torch.dtype
) -> None:
    _, measured, moves = FOUND[found]
    near, far = FAMILIES[family](0.0, torch.float64), FAMILIES[family](shift, dtype)
    y = near.centre + 3 * torch.randn(N, D, generator=torch.Generator().manual_seed(3)).double()
    expected = torch.as_tensor(measured(near, y)).double()
    shifted = torch.as_tensor(measured(far, y + shift)).double()
    # As many digits as a float64 of this size has.
    tolerance = 1e-6 if dtype == torch.float32 or moves else 1e-7
    torch.testing.assert_close(shifted, expected + shift * moves, rtol=1e-6, atol=tolerance)


def test_metres_in_utm() -> None:
    mean, variance = np.float32([[5_000_000.0]]), np.float32([[0.04]])
    answer, y = GaussianPrediction(mean, variance), [[5_000_000.25]]  # 1.25 standard deviations
    assert float(evaluation.coverage(answer, y, [0.5]).observed) == 0
    assert float(evaluation.coverage(answer, np.float32([[5_000_000.5]]), [0.95]).observed) == 0
    lower, upper = answer.interval(0.95)
    assert float(upper - lower) == pytest.approx(2 * 1.96 * 0.2, rel=1e-4)
    moved = GaussianPrediction(np.float32([[0.0123456]]), np.float32([[1e-4]]))
    moved = moved.rescaled(factor=20.0, offset=5e6)
    assert float(moved.mean) == 5e6 + 20 * float(np.float32(0.0123456))
    known = QuantilePrediction(np.float32([[[5e6 - 0.5], [5e6], [5e6 + 0.5]]]), [0.05, 0.5, 0.95])
    assert float(evaluation.coverage(known, [[5e6 + 0.6]]).observed) == 0


def test_integers_are_the_numbers_that_they_are() -> None:
    large = 2**24 + 1  # which float32 has not
    answer = GaussianPrediction([[large]], [[1]])
    assert float(answer.mean) == large
    assert evaluation.rmse(answer, [[large]]) == 0
    found = evaluation.density_nll([large], [large], std=[1])
    assert found == pytest.approx(0.5 * np.log(2 * np.pi))


def test_gates_by_a_tolerance_see_small_errors_of_large_numbers() -> None:
    mean = torch.full((200, 1), 1e7)
    answer = GaussianPrediction(mean, torch.arange(1.0, 201.0).unsqueeze(1))
    y = mean.double() + torch.where(torch.arange(200) < 150, 0.1, 0.3).unsqueeze(1).double()
    gate = Gate.risk(0.1, confidence=0.9).fit(answer, y, tolerance=0.2)
    assert 0 < gate(answer).counts["refuse"] < 100
