"""Targets that are missing: numbers that nobody knows add nothing, whatever the likelihood."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import duda
from duda import FixedGaussian, Gaussian
from duda.likelihoods import LIKELIHOODS
from duda.likelihoods.numbers import NumberLikelihood
from tests.pairs import as_targets

JOINT = ("multivariate-gaussian",)
NAMES = [
    name
    for name, kind in LIKELIHOODS.items()
    if issubclass(kind, NumberLikelihood) and name not in JOINT
]
N, OUTPUTS = 8, 2


def holes(likelihood: Any, *positions: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return outputs, targets, and which of these are known: one example has none."""
    generator = torch.Generator().manual_seed(0)
    width = likelihood.width(OUTPUTS)
    outputs = torch.randn(N, width, *positions, generator=generator).double()
    y = torch.randn(N, OUTPUTS, *positions, generator=generator).double()
    known = torch.rand(y.shape, generator=generator) < 0.6
    known[0], known[1] = False, True
    return outputs, as_targets(likelihood, y), known


def scaled(likelihood: Any) -> list[Any]:
    if not likelihood.takes_scale:
        return [likelihood]
    scale = duda.TargetScale([3.0, -1.0], [2.0, 5.0])
    return [likelihood, likelihood.with_target_scale(scale)]


@pytest.mark.parametrize("missing", ["nan", -9999])
@pytest.mark.parametrize("positions", [(), (3,)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_that_of_known_numbers(
    name: str, positions: tuple[int, ...], missing: Any
) -> None:
    for likelihood in scaled(LIKELIHOODS[name](missing=missing)):
        outputs, y, known = holes(likelihood, *positions)
        marker = math.nan if missing == "nan" else missing
        marked = y.masked_fill(~known, marker)
        outputs.requires_grad_()
        loss = likelihood.loss(outputs, marked)
        (slope,) = torch.autograd.grad(loss, outputs)
        assert bool(slope.isfinite().all())
        assert bool((slope[0] == 0).all())
        # Each position by itself, with what is known of it: sums by another way.
        rows = [each.movedim(1, -1).flatten(0, -2) for each in (outputs.detach(), y, known)]
        total, terms = 0.0, 0
        for row, target, there in zip(*rows, strict=True):
            parts = row.view(-1, OUTPUTS)  # each name, or level, of all outputs
            total += sum(
                float(only(likelihood, d).loss(parts[:, d][None], target[d : d + 1][None]))
                for d in range(OUTPUTS)
                if there[d]
            )
            terms += bool(there.any())
        assert float(loss.detach()) == pytest.approx(total / terms, rel=1e-6)
        assert int(likelihood.terms(marked)) == terms
        whole = y.where(known.any(1, keepdim=True), y[1])
        torch.testing.assert_close(
            likelihood.loss(outputs, whole),
            type(likelihood)(target_scale=likelihood.target_scale).loss(outputs, whole),
        )


def only(likelihood: Any, output: int) -> Any:
    """Return the likelihood of one of the outputs."""
    if likelihood.target_scale is None:
        return likelihood
    scale = likelihood.target_scale
    place = slice(output, output + 1)
    return likelihood.with_target_scale(duda.TargetScale(scale.mean[place], scale.std[place]))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_known_costs_nothing(name: str) -> None:
    likelihood = LIKELIHOODS[name](missing="nan")
    outputs, y, _ = holes(likelihood)
    outputs.requires_grad_()
    loss = likelihood.loss(outputs, torch.full_like(y, torch.nan))
    (slope,) = torch.autograd.grad(loss, outputs)
    assert float(loss.detach()) == 0
    assert bool((slope == 0).all())


@pytest.mark.parametrize("name", NAMES)
def test_a_prediction_is_judged_by_known_numbers(name: str) -> None:
    likelihood, plain = LIKELIHOODS[name](missing="nan"), LIKELIHOODS[name]()
    outputs, y, known = holes(likelihood)
    answer = likelihood.reduce(outputs[None])
    rows = known.all(1)
    some = torch.full_like(y, torch.nan).where(~rows[:, None], y)
    found = likelihood.prediction_loss(answer, some)
    torch.testing.assert_close(found, plain.prediction_loss(answer[rows], y[rows]))


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_examples_count_beside_holes(name: str) -> None:
    likelihood = LIKELIHOODS[name](missing="nan")
    outputs, y, known = holes(likelihood)
    marked = y.masked_fill(~known, math.nan)
    loss = likelihood.loss(outputs, marked)
    torch.testing.assert_close(likelihood.loss(outputs, marked, weight=torch.ones(N)), loss)


def test_holes_are_never_silent() -> None:
    y = torch.tensor([[1.0], [math.nan]])
    with pytest.raises(ValueError, match="`y` has 1 NaN"):
        Gaussian().loss(torch.zeros(2, 2), y)
    with pytest.raises(ValueError, match=r"`y` has 1 NaN.*missing='nan'"):
        Gaussian(missing=-1).loss(torch.zeros(2, 2), y)
    with pytest.raises(ValueError, match="`y` has 0 NaN and 1 infinite"):
        Gaussian(missing="nan").loss(torch.zeros(2, 2), torch.tensor([[math.inf], [math.nan]]))
    for odd in ("none", math.inf, [1.0]):
        with pytest.raises(ValueError, match=r"`missing` is .*, expected 'nan', a number"):
            Gaussian(missing=odd)
    with pytest.raises(ValueError, match="predicted together have to be known together"):
        duda.MultivariateGaussian(missing="nan")
    assert Gaussian(missing=math.nan) == Gaussian(missing="nan")


def test_units_are_those_of_known_targets() -> None:
    y = torch.tensor([[1.0, math.nan], [3.0, 5.0], [math.nan, 9.0]])
    found = Gaussian(missing="nan").scale_of(iter([y[:1], y[1:]]))
    assert found == duda.TargetScale([2.0, 7.0], [1.0, 2.0])
    logs = duda.LogNormal(missing=0).scale_of(iter([torch.tensor([1.0, 0.0, math.e**2])]))
    torch.testing.assert_close(logs.mean, torch.tensor([1.0]).double(), rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match="holds no target"):
        Gaussian(missing="nan").scale_of(iter([torch.full((3, 1), math.nan)]))


@pytest.mark.parametrize("vectorize", [False, True])
def test_maps_with_holes_are_learned(vectorize: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(24, 1, 4, 4)
    y = 100 + 5 * x
    y[torch.rand(y.shape) < 0.5] = 0
    make = lambda: nn.Conv2d(1, 2, 1)  # noqa: E731
    model = duda.DeepEnsemble(make, Gaussian(missing=0.0), members=2)
    options = {"epochs": 60, "lr": 0.05, "batch_size": 8, "seed": 0, "vectorize": vectorize}
    duda.fit(model, (x, y), validation=(x, y), **options)
    answer = model.predict(x)
    assert model.target_scale.mean[0] == pytest.approx(float(y[y != 0].mean()), rel=1e-5)
    assert duda.evaluation.rmse(answer, y, mask=y != 0) < 1
    other = duda.load(duda.save(model, tmp_path / "model"), make)
    assert other.likelihood == model.likelihood


@pytest.mark.parametrize("loader", [False, True])
def test_noise_follows_known_targets(loader: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(60, 2)
    y = x.sum(1, keepdim=True) + 0.3 * torch.randn(60, 1)
    known = torch.rand(60) < 0.7
    holed = y.masked_fill(~known[:, None], math.nan)
    stds = []
    for data, missing in (((x, holed), "nan"), ((x[known], y[known]), None)):
        model = duda.Deterministic(nn.Linear(2, 1), FixedGaussian(missing=missing))
        given = data
        if loader:
            pairs = torch.utils.data.TensorDataset(*data)
            given = torch.utils.data.DataLoader(pairs, batch_size=len(data[1]))
        duda.fit(
            model, given, epochs=1, lr=1e-9, seed=0, batch_size=len(data[1]), target_scale=None
        )
        with torch.no_grad():
            for weight in model.network.parameters():
                weight.fill_(0.5)
        model.fit_noise([data])
        stds.append(float(model.likelihood.noise()))
    assert stds[0] == pytest.approx(stds[1], rel=1e-6)


def test_laplace_leaves_out_examples_without_targets() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(20, 2), torch.randn(20, 2)
    network = nn.Linear(2, 4)
    found = []
    holed = y.clone()
    holed[::3] = math.nan
    known = ~holed.isnan().any(1)
    for data, missing in (((x, holed), "nan"), ((x[known], y[known]), None)):
        model = duda.Laplace(network, Gaussian(missing=missing), prior_precision=1.0)
        model.fit_posterior(data)
        found.append(model)
    torch.testing.assert_close(*(each.curvature.eigenvalues() for each in found))
    torch.testing.assert_close(*(each.log_likelihood for each in found))
    holed[1, 0] = math.nan
    with pytest.raises(ValueError, match="holds 1 missing number beside known ones"):
        found[0].fit_posterior((x, holed))
