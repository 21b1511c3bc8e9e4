"""What holds for every likelihood: its draws stream in any chunks, its loss is one number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import duda
from duda import ClassPrediction
from duda.likelihoods import LIKELIHOODS, Likelihood
from duda.likelihoods.drawn import DrawnLikelihood
from duda.predictions import Prediction
from tests.pairs import as_targets

D = 3
STILL = [name for name in LIKELIHOODS if name != "sampled-softmax"]  # without noise of their own


@pytest.fixture(params=LIKELIHOODS)
def likelihood(request: pytest.FixtureRequest) -> Likelihood:
    return LIKELIHOODS[request.param]()


def some_draws(likelihood: Likelihood, *shape: int, seed: int = 0) -> Tensor:
    """Return draws `(M, N, outputs, *positions)`, from `shape` without the outputs."""
    generator = torch.Generator().manual_seed(seed)
    size = (*shape[:2], likelihood.width(D), *shape[2:])
    return 2 * torch.randn(size, generator=generator, dtype=torch.float64)


def some_targets(likelihood: Likelihood, outputs: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    rest = outputs.shape[2:]
    if isinstance(likelihood.reduce(outputs[None]), ClassPrediction):
        return torch.randint(D, (len(outputs), *rest), generator=generator)
    y = torch.randn(len(outputs), D, *rest, generator=generator, dtype=torch.float64)
    return as_targets(likelihood, y)


def assert_close(one: Prediction, other: Prediction) -> None:
    a, b = (ordered(each) for each in (one, other))
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-9, atol=1e-9, err_msg=name)


def ordered(answer: Prediction) -> dict[str, np.ndarray]:
    """Return all arrays, draws in an order that does not depend on that in which they came."""
    found = answer.numpy()
    if "draws" in found:
        found["draws"] = np.sort(found["draws"], axis=0)
    return found


@pytest.mark.parametrize("name", LIKELIHOODS)
@given(members=st.integers(1, 7), seed=st.integers(0, 2**32), data=st.data())
@settings(max_examples=15)
def test_chunks_and_order_of_the_draws_do_not_matter(
    name: str, members: int, seed: int, data: st.DataObject
) -> None:
    likelihood = LIKELIHOODS[name]()
    draws = some_draws(likelihood, members, 2, 2, seed=seed)
    torch.manual_seed(0)  # for the likelihood's own noise, the same in both reductions
    whole = likelihood.reduce(draws)
    order = data.draw(st.permutations(range(members)))
    cuts = sorted(data.draw(st.sets(st.integers(1, members))) - {members})
    torch.manual_seed(0)
    reduction = likelihood.reduction()
    for chunk in draws[list(order)].tensor_split(cuts):
        reduction.add(chunk)
    assert_close(reduction.result(), whole)


def test_draws_that_agree_say_what_one_says(likelihood: Likelihood) -> None:
    draws = some_draws(likelihood, 1, 4)
    torch.manual_seed(0)
    one = likelihood.reduce(draws).numpy()
    torch.manual_seed(0)
    many = likelihood.reduce(draws.expand(30, *draws.shape[1:])).numpy()
    for name in one.keys() - {"votes", "draws"}:
        np.testing.assert_allclose(many[name], one[name], rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", STILL)
def test_positions_are_predicted_alone(name: str) -> None:
    likelihood = LIKELIHOODS[name]()
    draws = some_draws(likelihood, 3, 2, 4)
    whole = likelihood.reduce(draws, keep_draws=True)
    answer = whole.numpy()
    for place in range(4):
        alone = likelihood.reduce(draws[..., place], keep_draws=True).numpy()
        for field in answer.keys() - set(whole.shared):
            found = answer[field][..., place]
            np.testing.assert_allclose(found, alone[field], rtol=1e-12, err_msg=field)


def test_kept_draws_come_in_order(likelihood: Likelihood) -> None:
    draws = some_draws(likelihood, 5, 4)
    torch.manual_seed(0)
    reduction = likelihood.reduction(keep_draws=True)
    for chunk in draws.split(2):
        reduction.add(chunk)
    torch.manual_seed(0)
    third = likelihood.reduce(draws[2:3], keep_draws=True)
    torch.testing.assert_close(reduction.result().draws[2:3], third.draws)
    # Who keeps draws unasked cannot tell their mixture by less.
    kept = isinstance(likelihood, DrawnLikelihood)
    assert (likelihood.reduce(draws).draws is not None) == kept


@pytest.mark.parametrize("name", STILL)
def test_loss_is_a_mean_over_examples_and_positions(name: str) -> None:
    likelihood = LIKELIHOODS[name]()
    outputs = some_draws(likelihood, 1, 4, 2)[0]
    y = some_targets(likelihood, outputs)
    each = [
        float(likelihood.loss(outputs[n : n + 1, :, place], y[n : n + 1, ..., place]))
        for n in range(4)
        for place in range(2)
    ]
    assert float(likelihood.loss(outputs, y)) == pytest.approx(np.mean(each), rel=1e-9)


@pytest.mark.parametrize("name", STILL)
def test_vmap_runs_the_unchecked_loss(name: str) -> None:
    likelihood = LIKELIHOODS[name]()
    outputs = some_draws(likelihood, 3, 5)
    y = torch.stack([some_targets(likelihood, each) for each in outputs])
    losses = torch.func.vmap(likelihood.negative_log_likelihood)(outputs, y)
    looped = torch.stack([likelihood.loss(a, b) for a, b in zip(outputs, y, strict=True)])
    torch.testing.assert_close(losses, looped)


def test_gradient_is_that_of_the_loss(likelihood: Likelihood) -> None:
    outputs = some_draws(likelihood, 1, 3)[0].requires_grad_()
    y = some_targets(likelihood, outputs.detach())

    def loss(outputs: Tensor) -> Tensor:
        torch.manual_seed(0)
        return likelihood.loss(outputs, y)

    if likelihood != duda.BetaGaussian():  # which hides its weight from the gradient
        assert torch.autograd.gradcheck(loss, outputs)
    assert bool((torch.autograd.grad(loss(outputs), outputs)[0] != 0).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_floats_are_widened(likelihood: Likelihood, dtype: torch.dtype) -> None:
    draws = some_draws(likelihood, 2, 4).to(dtype)
    y = some_targets(likelihood, draws[0].double())
    assert likelihood.loss(draws[0], y).dtype == torch.float32
    assert likelihood.reduce(draws).score.dtype == torch.float32


@pytest.mark.parametrize("size", [1e3, 1e4])
def test_extreme_outputs_have_a_finite_loss_and_prediction(
    likelihood: Likelihood, size: float
) -> None:
    outputs = (size * some_draws(likelihood, 1, 20)[0].sign()).float().requires_grad_()
    y = some_targets(likelihood, outputs.detach().double())
    loss = likelihood.loss(outputs, y)
    loss.backward()
    assert bool(loss.isfinite())
    assert bool(outputs.grad.isfinite().all())
    score = likelihood.reduce(outputs.detach()[None]).score
    beyond = likelihood == duda.LogNormal()  # all floats, as exp(1000) is
    assert bool((score.isfinite() | (beyond & score.isposinf())).all())


def test_bad_draws_are_told(likelihood: Likelihood) -> None:
    draws = some_draws(likelihood, 2, 4)
    with pytest.raises(ValueError, match="at least one draw"):
        likelihood.reduce(draws[:0])
    with pytest.raises(ValueError, match="there are no draws to reduce"):
        likelihood.reduction().result()
    with pytest.raises(ValueError, match="NaN"):
        likelihood.reduce(draws * torch.nan)
    reduction = likelihood.reduction()
    reduction.add(draws)
    with pytest.raises(ValueError, match="the draws before"):
        reduction.add(draws[:, :1])


def test_bad_targets_are_told(likelihood: Likelihood) -> None:
    outputs = some_draws(likelihood, 1, 4)[0]
    y = some_targets(likelihood, outputs)
    with pytest.raises(ValueError, match="`y` has shape"):
        likelihood.loss(outputs, y[:3])
    with pytest.raises(ValueError, match=r"`y` has \d+ NaN|`y` holds the label|`y` holds NaN"):
        likelihood.loss(outputs, torch.full_like(y, torch.nan if y.ndim == 2 else 7))
    with pytest.raises(ValueError, match="empty, expected at least one example"):
        likelihood.loss(outputs[:0], y[:0])
