"""The block solves its equation, whoever solves it, and with right gradients."""

from __future__ import annotations

import copy
import logging
import math

import pytest
import torch
from scipy.linalg import expm
from torch import Tensor, nn
from torchdiffeq import odeint

import duda
from duda.layers import ODEBlock
from duda.layers.ode import _ADAPTIVE, _FIXED

PRECISE = {"rtol": 1e-8, "atol": 1e-9, "steps": 100}


class Forced(nn.Module):
    """dh/dt = cos t - h, which depends on the time."""

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        return torch.cos(t) - h


def linear(size: int = 3) -> nn.Linear:
    return nn.Linear(size, size, bias=False).double()


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("solver", sorted({*_ADAPTIVE, *_FIXED} - {"euler", "adaptive_heun"}))
def test_linear_dynamics_end_in_the_matrix_exponential(solver: str, adjoint: bool) -> None:
    dynamics, h = linear(), torch.randn(5, 3, dtype=torch.float64)
    block = ODEBlock(dynamics, solver, t1=0.7, adjoint=adjoint, **PRECISE)
    expected = h @ torch.from_numpy(expm(0.7 * dynamics.weight.detach().numpy())).T
    torch.testing.assert_close(block(h), expected, rtol=1e-4, atol=1e-5)


def test_euler_is_a_residual_network_with_one_layer() -> None:
    dynamics, h = linear(), torch.randn(5, 3, dtype=torch.float64)
    expected = h
    for _ in range(4):
        expected = expected + 0.25 * dynamics(expected)
    torch.testing.assert_close(ODEBlock(dynamics, "euler", steps=4)(h), expected)


def test_time_reaches_dynamics_that_take_it() -> None:
    h = torch.randn(4, 2, dtype=torch.float64)
    t1 = 1.3
    expected = (math.cos(t1) + math.sin(t1)) / 2 + (h - 0.5) * math.exp(-t1)
    torch.testing.assert_close(ODEBlock(Forced(), t1=t1, **PRECISE)(h), expected)


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("solver", ["dopri5", "rk4"])
def test_gradients_are_those_of_finite_differences(solver: str, adjoint: bool) -> None:
    dynamics = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    block = ODEBlock(dynamics, solver, rtol=1e-9, atol=1e-10, steps=20, adjoint=adjoint)

    def solved(h: Tensor, *weights: Tensor) -> Tensor:
        names = [name for name, _ in block.named_parameters()]
        return torch.func.functional_call(block, dict(zip(names, weights, strict=True)), (h,))

    if adjoint:  # which finds the weights by name: compare with the gradients through the solver
        plain = ODEBlock(dynamics, solver, rtol=1e-9, atol=1e-10, steps=20)
        h = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
        wanted = (h, *dynamics.parameters())
        expected = torch.autograd.grad(plain(h).square().sum(), wanted)
        found = torch.autograd.grad(block(h).square().sum(), wanted)
        # Backwards, Runge and Kutta's steps are another approximation than the steps' derivative.
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    else:
        weights = [weight.detach().requires_grad_() for weight in block.parameters()]
        h = torch.randn(1, 2, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(solved, (h, *weights))


def test_any_shape_and_a_copy_of_its_own() -> None:
    block = ODEBlock(nn.Conv2d(3, 3, 3, padding=1), "rk4", steps=2)
    assert block(torch.zeros(2, 3, 5, 5)).shape == (2, 3, 5, 5)
    other = copy.deepcopy(block)
    with torch.no_grad():
        other.dynamics.bias.fill_(1.0)
    assert not torch.equal(block(torch.zeros(2, 3, 5, 5)), other(torch.zeros(2, 3, 5, 5)))


class AfterDropout(nn.Module):
    """Dropout before the block, and inside it where its steps are fixed."""

    def __init__(self, solver: str) -> None:
        super().__init__()
        inside = nn.Dropout(0.2 if solver in _FIXED else 0.0)
        self.first = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.3))
        self.block = ODEBlock(nn.Sequential(nn.Linear(6, 6), inside, nn.Tanh()), solver, steps=3)
        self.last = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.block(self.first(x)))


@pytest.mark.parametrize("solver", ["dopri5", "euler", "rk4"])
def test_dropout_around_and_inside(solver: str, caplog: pytest.LogCaptureFixture) -> None:
    """Draws of the engine have the law of passes in training mode."""
    network, x, count = AfterDropout(solver).eval(), torch.randn(3, 4), 100
    model = duda.MCDropout(network, duda.FixedGaussian(), samples=count)
    with caplog.at_level(logging.WARNING):
        answer = model.predict(x, seed=0, keep_draws=True)
    assert "one by one" in caplog.text
    with torch.no_grad():
        expected = torch.stack([network.train()(x) for _ in range(count)])
    draws = answer.draws[:, :, :2]
    error = ((draws.var(0) + expected.var(0)) / count).sqrt()
    assert (answer.epistemic > 0).all()
    assert ((draws.mean(0) - expected.mean(0)).abs() <= 5 * error).all()
    spread = ((draws - draws.mean(0)) ** 2).var(0) + ((expected - expected.mean(0)) ** 2).var(0)
    assert ((draws.var(0) - expected.var(0)).abs() <= 5 * (spread / count).sqrt()).all()


def test_every_solver_is_one_of_torchdiffeq() -> None:
    with pytest.raises(ValueError, match="Invalid method") as error:
        odeint(nn.Identity(), torch.ones(1), torch.tensor([0.0, 1.0]), method="none")
    assert all(f'"{solver}"' in str(error.value) for solver in _ADAPTIVE + _FIXED)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ODEBlock(linear(), "dopri"), ValueError, "unknown solver 'dopri'.*dopri5"),
        (lambda: ODEBlock(linear(), rtol=0.0), ValueError, "`rtol` is 0.0"),
        (lambda: ODEBlock(linear(), atol=math.inf), ValueError, "`atol` is inf"),
        (lambda: ODEBlock(linear(), t1=-1.0), ValueError, "`t1` is -1.0"),
        (lambda: ODEBlock(linear(), "rk4", steps=0), ValueError, "`steps` is 0"),
        (lambda: ODEBlock(torch.tanh), TypeError, "`dynamics` is a builtin.*expected a torch.nn"),
        (lambda: ODEBlock(nn.Bilinear(2, 2, 2)), None, ""),
        (lambda: ODEBlock(nn.Module()), TypeError, r"needs 0 arguments, expected `forward\("),
    ],
)
def test_bad_settings(call, error: type[Exception] | None, message: str) -> None:
    if error is None:
        assert call().takes_time
        return
    with pytest.raises(error, match=message):
        call()
