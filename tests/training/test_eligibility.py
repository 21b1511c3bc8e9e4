"""The rule takes one vectorised step where it does the same as the loop, and is faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import duda
from tests.training.models import Residual, convolutional, double_ensemble, mlp, noisy, regression


class Tied(Residual):
    """A network with a layer that has two names."""

    def __init__(self) -> None:
        super().__init__()
        self.again = self.first


class Hidden(nn.Module):
    """A network with functional dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.layer(x), 0.5, self.training)


class Branching(nn.Module):
    """A network that looks at its data."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum() > 0 else -self.layer(x)


class Regularized(duda.Gaussian):
    """A likelihood with more in its loss than the likelihood."""

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        return super().loss(outputs, y) + outputs.square().mean()


def shrunk(gradient: Tensor) -> Tensor:
    return 0.1 * gradient


def shrink(weight: Tensor) -> None:
    if weight.grad is not None:
        weight.grad.mul_(0.1)


def hooked(kind: str) -> Callable[[], duda.UncertainModel]:
    """Return a factory of an ensemble, one member of which shrinks its gradients or outputs."""

    def make() -> duda.UncertainModel:
        model = double_ensemble(mlp)
        member, weight = model.members[1], model.members[1][0].weight
        if kind == "gradient":
            weight.register_hook(shrunk)
        elif kind == "gradient that is ready":
            weight.register_post_accumulate_grad_hook(shrink)
        elif kind == "forward":
            member[0].register_forward_hook(lambda module, inputs, outputs: 0.1 * outputs)
        else:
            member[1].register_full_backward_hook(lambda module, ins, outs: (0.1 * ins[0],))
        return model

    return make


def clipping(weights: Any) -> torch.optim.Optimizer:
    """Return an optimizer that looks at all gradients together before a step."""
    weights = list(weights)
    made = torch.optim.SGD(weights, lr=0.1)

    def clip(*_: Any) -> None:
        nn.utils.clip_grad_norm_(weights, 0.1)

    made.register_step_pre_hook(clip)
    return made


class Centered(nn.Module):
    """A network that keeps the mean of its inputs in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.network = mlp()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        outputs: Tensor = self.network(x - self.mean)
        return outputs


class Averaging(nn.Sequential):
    """A network whose BatchNorm asks for its number of batches."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=None), nn.Linear(4, 2))


def without_biases(weights: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD([weight for weight in weights if weight.ndim > 1], lr=0.1)


def rate_by_shape(weights: Any) -> torch.optim.Optimizer:
    weights = list(weights)
    return torch.optim.SGD(weights, lr=0.1 / weights[0].ndim)


@pytest.mark.parametrize(
    ("make", "arguments", "why"),
    [
        (lambda: double_ensemble(noisy), {}, "does not run under torch.vmap"),
        (lambda: double_ensemble(Centered), {}, "has buffers of a Centered, as only BatchNorm may"),
        (lambda: double_ensemble(Averaging), {}, "does not run under torch.vmap"),
        (lambda: double_ensemble(Hidden), {}, "does not run under torch.vmap"),
        (lambda: double_ensemble(Branching), {}, "does not run under torch.vmap"),
        (lambda: double_ensemble(Tied), {}, "has two names"),
        (lambda: double_ensemble(mlp, members=1), {}, "has no members"),
        (lambda: duda.MCDropout(noisy(), duda.Gaussian()), {}, "has no members"),
        (
            lambda: duda.DeepEnsemble([mlp(), nn.Linear(3, 2)], duda.Gaussian()),
            {},
            "differ in structure",
        ),
        (
            lambda: duda.DeepEnsemble([Residual(0.5), Residual(0.6)], duda.Gaussian()),
            {},
            "differ in structure",
        ),
        (
            lambda: double_ensemble(lambda: mlp().requires_grad_(True)),
            {"loader": True},
            "no pair of tensors",
        ),
        (
            lambda: double_ensemble(mlp),
            {"optimizer": torch.optim.Adafactor},
            "Adafactor is not known",
        ),
        (lambda: double_ensemble(mlp), {"optimizer": clipping}, "SGD is not known"),
        (lambda: double_ensemble(mlp), {"optimizer": without_biases}, "SGD is not known"),
        (lambda: double_ensemble(mlp), {"optimizer": rate_by_shape}, "SGD is not known"),
        (lambda: double_ensemble(mlp, Regularized()), {}, "Regularized has a loss of its own"),
        (hooked("gradient"), {}, "has hooks"),
        (hooked("gradient that is ready"), {}, "has hooks"),
        (hooked("forward"), {}, "has hooks"),
        (hooked("backward"), {}, "has hooks"),
        (
            lambda: double_ensemble(mlp),
            {
                "optimizer": lambda weights: torch.optim.SGD(
                    [{"params": [weight], "lr": 0.1 / weight.ndim} for weight in weights]
                )
            },
            "SGD is not known",
        ),
    ],
)
def test_what_cannot_be_one_step_says_why_and_is_trained_in_turn(
    make: Callable[[], duda.UncertainModel], arguments: dict[str, Any], why: str
) -> None:
    arguments = dict(arguments)
    data: Any = regression()
    if arguments.pop("loader", False):
        data = DataLoader(TensorDataset(*data), 16)
    with pytest.raises(ValueError, match=f"`vectorize` is True, but .*{why}"):
        duda.fit(make(), data, epochs=1, vectorize=True, **arguments)
    history = duda.fit(make(), data, epochs=1, **arguments)
    assert not history.vectorized


def test_members_that_share_weights_are_trained_in_turn() -> None:
    first, second = mlp(), mlp()
    second[0] = first[0]
    model = duda.DeepEnsemble([first, second], duda.Gaussian())
    assert not duda.fit(model, regression(), epochs=1).vectorized


def test_frozen_weights_are_trained_in_turn() -> None:
    model = double_ensemble(mlp)
    model.members[1][0].requires_grad_(False)
    before = model.members[1][0].weight.clone()
    assert not duda.fit(model, regression(), epochs=1).vectorized
    assert torch.equal(model.members[1][0].weight, before)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (mlp, True),
        (convolutional, False),
        (lambda: nn.Sequential(nn.Linear(3, 60_000), nn.Flatten(), nn.Linear(60_000, 2)), False),
    ],
    ids=["small", "convolutions", "large"],
)
def test_the_faster_way_is_chosen(network: Callable[[], nn.Module], expected: bool) -> None:
    x, y = regression(10)
    assert duda.fit(double_ensemble(network, members=2), (x, y), epochs=1).vectorized is expected
