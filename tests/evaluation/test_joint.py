"""The joint log-likelihood against the marginal one, a brute force, and what it is to find."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from duda import (
    Categorical,
    ClassPrediction,
    GaussianPrediction,
    LaplacianPrediction,
    Prediction,
    QuantilePrediction,
    StudentTPrediction,
)
from duda.evaluation import density_nll, joint_nll, joint_nll_of_draws, nll
from duda.predictions import AffinePrediction


def classes(*positions: int) -> tuple[ClassPrediction, torch.Tensor]:
    logits = 2 * torch.randn(5, 12, 3, *positions, dtype=torch.float64)
    answer = Categorical().reduce(logits, keep_draws=True).with_joint(True)
    return answer, torch.randint(3, (12, *positions))


def numbers(kind: type, outputs: int = 1) -> tuple[Prediction, torch.Tensor]:
    mean, variance = torch.randn(5, 12, outputs).double(), torch.rand(5, 12, outputs).double() + 0.1
    shape = {"df": torch.full((12, outputs), 5.0)} if kind is StudentTPrediction else {}
    df = [torch.full_like(mean, 5.0)] if shape else []
    draws = torch.cat([mean, variance, *df], 2)
    moments = mean.mean(0), variance.mean(0), mean.var(0, correction=0)
    return kind(*moments, draws, joint=True, **shape), torch.randn(12, outputs).double()


FAMILIES = [GaussianPrediction, LaplacianPrediction, StudentTPrediction]


def test_batches_of_one_are_the_marginal_likelihood() -> None:
    answer, y = classes()
    assert joint_nll(answer, y, size=1) == pytest.approx(nll(answer, y), rel=1e-12)


@pytest.mark.parametrize("kind", FAMILIES)
def test_batches_of_one_number_are_the_marginal_density(kind: type) -> None:
    answer, y = numbers(kind)
    assert joint_nll(answer, y, size=1) == pytest.approx(density_nll(answer, y), rel=1e-9)
    moved = AffinePrediction(answer, *torch.tensor([[2.0], [3.0]]).expand(2, 12).unsqueeze(2))
    shifted = joint_nll(moved.with_joint(True), 3 + 2 * y, size=4)
    assert shifted == pytest.approx(joint_nll(answer, y, size=4) + 4 * math.log(2), rel=1e-6)


@pytest.mark.parametrize("size", [1, 3, 12])
def test_brute_force(size: int) -> None:
    answer, y = classes()
    found = []
    for start in range(0, 12, size):
        batch = range(start, start + size)
        chances = [math.prod(float(draw[i, y[i]]) for i in batch) for draw in answer.draws]
        found.append(-math.log(np.mean(chances)))
    assert joint_nll(answer, y, size=size) == pytest.approx(np.mean(found), rel=1e-9)


def test_probabilities_of_all_labels_of_a_batch_add_up_to_one() -> None:
    answer = classes()[0][:3]
    every = itertools.product(range(3), repeat=3)
    assert sum(math.exp(-joint_nll(answer, list(y), size=3)) for y in every) == pytest.approx(1)


def test_an_example_is_all_its_outputs_and_positions() -> None:
    answer, y = classes(2, 2)
    each = torch.stack(list(answer.log_likelihoods(y)))
    assert joint_nll(answer, y, size=4) == pytest.approx(
        joint_nll_of_draws(each.sum((2, 3)), size=4), rel=1e-12
    )
    both, target = numbers(GaussianPrediction, outputs=2)
    each = torch.stack(list(both.log_likelihoods(target)))
    assert joint_nll(both, target, size=4) == pytest.approx(
        joint_nll_of_draws(each, size=4), rel=1e-12
    )
    assert joint_nll_of_draws(each, size=4) == pytest.approx(
        joint_nll_of_draws(each.sum(2), size=4), rel=1e-12
    )


def test_the_order_of_draws_means_nothing() -> None:
    answer, y = classes()
    turned = Categorical().reduce(answer.draws.flip(0).log(), keep_draws=True).with_joint(True)
    assert joint_nll(turned, y, size=4) == pytest.approx(joint_nll(answer, y, size=4), rel=1e-12)


def test_batches_by_order_or_by_seed() -> None:
    answer, y = classes()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    picked = joint_nll(answer[order], y[order], size=4)
    assert joint_nll(answer, y, size=4, seed=3) == pytest.approx(picked, rel=1e-12)
    assert joint_nll(answer, y, size=4) != pytest.approx(picked)
    assert joint_nll(answer, y, size=1, seed=3) == pytest.approx(joint_nll(answer, y, size=1))


def test_draws_that_hold_together_are_told_from_those_that_do_not() -> None:
    """Two coins of unknown bias, of which one marginal is that of a fair one."""
    together = torch.tensor([[[0.0, 5.0]] * 8, [[5.0, 0.0]] * 8])
    apart = together.clone()
    apart[:, ::2] = apart[:, ::2].flip(0)
    alike, mixed = (
        Categorical().reduce(draws, keep_draws=True).with_joint(True) for draws in (together, apart)
    )
    y = [1] * 8
    assert nll(alike, y) == pytest.approx(nll(mixed, y))
    assert joint_nll(alike, y, size=8) == pytest.approx(math.log(2), abs=0.06)
    assert joint_nll(mixed, y, size=8) > 10


def test_what_no_draw_allows_is_infinite() -> None:
    assert joint_nll_of_draws([[-math.inf, 0.0], [0.0, -math.inf]], size=2) == math.inf
    assert joint_nll_of_draws([[-math.inf, 0.0], [0.0, 0.0]], size=2) == pytest.approx(math.log(2))


def sure() -> GaussianPrediction:
    draws = torch.zeros(2, 2, 2)
    return GaussianPrediction(torch.zeros(2, 1), torch.zeros(2, 1), None, draws, joint=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: joint_nll(classes()[0].with_joint(False), [0] * 12), "predict.x, joint=True, ke"),
        (lambda: joint_nll(ClassPrediction.from_probs([[0.5, 0.5]]), [0]), "keep_draws=True"),
        (lambda: joint_nll(*classes(), size=5), "`size` is 5, .* divides the 12 .* leave out 2"),
        (lambda: joint_nll(*classes(), size=24), "`size` is 24"),
        (lambda: joint_nll(*classes(), size=0), "`size` is 0"),
        (lambda: joint_nll(classes()[0], [0] * 11, size=1), r"`y` has shape \(11,\)"),
        (lambda: joint_nll(sure(), [[0.0], [1.0]], size=2), "infinite density"),
        (lambda: joint_nll_of_draws([0.0, 1.0], size=1), r"expected \(M, N, \*rest\)"),
        (lambda: joint_nll_of_draws([[math.nan]], size=1), "`log_likelihoods` has 1 NaN"),
    ],
)
def test_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_quantiles_have_no_likelihood() -> None:
    quantiles = torch.tensor([[[-1.0], [1.0]]]).expand(4, 2, 1)
    answer = QuantilePrediction(quantiles, [0.1, 0.9], None, quantiles[None], joint=True)
    with pytest.raises(TypeError, match="has no `log_prob`"):
        joint_nll(answer, torch.zeros(4, 1), size=2)
