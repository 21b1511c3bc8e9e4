"""The score is the norm of a gradient that a loop of backward calls finds too."""

from __future__ import annotations

import logging
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import duda
from duda.datasets import load
from duda.layers import ODEBlock
from duda.methods import gradient_confidence


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(8, 3),
    )


class Convolutions(nn.Module):
    """A convolution, attention, and a weight with two names."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(1, 4, 3, padding=1)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.one = nn.Linear(4, 4, bias=False)
        self.other = self.one
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.convolution(x[:, None]).mT
        h = self.attention(h, h, h, need_weights=False)[0].mean(1)
        return self.head(self.other(torch.tanh(self.one(h))))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, 6, 2, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x[..., None])[0][:, -1])


class Solved(nn.Sequential):
    """A differential equation, whose solver writes in place."""

    def __init__(self) -> None:
        super().__init__(ODEBlock(nn.Linear(4, 4), "rk4", steps=2), nn.Linear(4, 3))


class Square(torch.autograd.Function):
    """Written in the way that no transform of torch can run."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


class Numpy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.slope = 2 * x.detach().numpy()
        return torch.from_numpy(x.detach().numpy() ** 2)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient * torch.from_numpy(ctx.slope)


class WithoutARule(torch.autograd.Function):
    """Can be transformed, but not by vmap."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * x

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    backward = Square.backward


class OfFunction(nn.Sequential):
    def __init__(self, function: type[torch.autograd.Function]) -> None:
        super().__init__(nn.Linear(4, 6), nn.Linear(6, 3))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self[1](self.function.apply(self[0](x)))


class Checkpointed(nn.Sequential):
    """Computes its activations again in the backward pass."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self[2](checkpoint(lambda h: self[1](self[0](h)), x, use_reentrant=False))


NEED_A_LOOP = [
    Recurrent,
    Solved,
    Checkpointed,
    *(partial(OfFunction, function) for function in (Square, Numpy, WithoutARule)),
]


def by_backward(network: nn.Module, x: Tensor, *prefixes: str) -> Tensor:
    network.eval()
    norms = []
    for row in x:
        network.zero_grad()
        outputs = network(row[None])
        F.cross_entropy(outputs, outputs.argmax(1)).backward()
        chosen = [
            weight.grad.flatten()
            for name, weight in network.named_parameters()
            if not prefixes or name.startswith(prefixes)
        ]
        norms.append(torch.cat(chosen).norm())
    network.zero_grad()
    return torch.stack(norms)


@pytest.mark.parametrize("make", [perceptron, Convolutions, *NEED_A_LOOP])
@pytest.mark.parametrize("size", [2**27, 1])
def test_norms_are_those_of_a_loop(make, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_confidence, "_GRADIENT_BYTES", size)
    network, x = make().double(), torch.randn(6, 4, dtype=torch.float64)
    model = duda.GradientConfidence(network, duda.Categorical())
    answer = model.predict(x, batch_size=4)
    torch.testing.assert_close(answer.score, by_backward(network, x))
    torch.testing.assert_close(answer.probs, network(x).softmax(1).detach())
    assert all(weight.grad is None for weight in network.parameters())


@pytest.mark.parametrize("make", [perceptron, Convolutions])
def test_vmap_runs_what_it_can(make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        duda.GradientConfidence(make(), duda.Categorical()).predict(torch.randn(5, 4))
    assert not caplog.records


@pytest.mark.parametrize("make", NEED_A_LOOP)
def test_the_loop_says_so_once(make, caplog: pytest.LogCaptureFixture) -> None:
    model = duda.GradientConfidence(make(), duda.Categorical())
    with caplog.at_level(logging.WARNING):
        model.predict(torch.randn(5, 4), batch_size=2)
        model.predict(torch.randn(5, 4))
    assert len(caplog.records) == 1
    assert "gradients one by one" in caplog.text


@pytest.mark.parametrize("function", [Square, Numpy, WithoutARule])
def test_chosen_weights_alone_in_the_loop(function: type[torch.autograd.Function]) -> None:
    network, x = OfFunction(function).double(), torch.randn(6, 4, dtype=torch.float64)
    network[0].bias.requires_grad_(False)
    network[1].weight.grad = torch.ones_like(network[1].weight)
    score = duda.GradientConfidence(network, duda.Categorical(), layers="0").predict(x).score
    assert (network[1].weight.grad == 1).all()
    assert network[0].weight.grad is None
    assert not network[0].bias.requires_grad
    network.requires_grad_()
    torch.testing.assert_close(score, by_backward(network, x, "0"))


@pytest.mark.parametrize("prefixes", [("0",), ("4",), ("0", "1")])
def test_chosen_weights_alone(prefixes: tuple[str, ...]) -> None:
    network, x = perceptron().double(), torch.randn(6, 4, dtype=torch.float64)
    model = duda.GradientConfidence(network, duda.Categorical(), layers=prefixes)
    torch.testing.assert_close(model.predict(x).score, by_backward(network, x, *prefixes))


def test_the_last_layer_has_a_closed_form() -> None:
    """∇ W L = (p - e_ŷ) hᵀ and ∇ b L = p - e_ŷ."""
    network, x = perceptron().double().eval(), torch.randn(6, 4, dtype=torch.float64)
    answer = duda.GradientConfidence(network, duda.Categorical(), layers="4").predict(x)
    error = answer.probs - F.one_hot(answer.labels, 3)
    h = network[:4](x).detach()
    expected = error.norm(dim=1) * (1 + h.square().sum(1)).sqrt()
    torch.testing.assert_close(answer.score, expected)


def test_frozen_weights_and_named_inputs() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).requires_grad_(False).double()
    x = torch.randn(6, 4, dtype=torch.float64)

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.network(torch.cat([left, right], 1))

    whole = duda.GradientConfidence(network, duda.Categorical()).predict(x)
    halves = {"left": x[:, :2], "right": x[:, 2:]}
    named = duda.GradientConfidence(Named(), duda.Categorical()).predict(halves)
    torch.testing.assert_close(named.score, whole.score)
    assert (whole.score > 0).all()


def test_errors_and_the_unknown_have_larger_gradients() -> None:
    moons = load("two-moons")
    network = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 2))
    model = duda.GradientConfidence(network, duda.Categorical())
    duda.fit(model, moons.train, epochs=60, lr=1e-2, batch_size=64, seed=0)
    answer = model.predict(moons.test[0])
    wrong = answer.labels != moons.test[1]
    assert 0 < wrong.sum() < 50
    assert duda.evaluation.rank(answer.score, wrong).auroc > 0.8
    between = torch.tensor([[0.5, 0.25]]) + 0.1 * torch.randn(50, 2)
    assert model.predict(between).score.median() > 5 * answer.score.median()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: duda.GradientConfidence(perceptron(), duda.Categorical(), "head"),
            "`layers` names 'head', which fits no weight: expected some of '0.weight'",
        ),
        (
            lambda: duda.GradientConfidence(perceptron(), duda.Categorical(), []),
            "`layers` is empty",
        ),
        (
            lambda: duda.GradientConfidence(nn.ReLU(), duda.Categorical()),
            "a ReLU, has no weights",
        ),
        (
            lambda: duda.GradientConfidence(perceptron(), duda.Gaussian()),
            "expected for a GradientConfidence a Categorical",
        ),
        (
            lambda: duda.GradientConfidence(nn.Conv1d(2, 3, 1), duda.Categorical()).predict(
                torch.zeros(4, 2, 5)
            ),
            r"outputs have shape \(4, 3, 5\), expected \(N, C\)",
        ),
        (
            lambda: duda.GradientConfidence(perceptron(), duda.Categorical()).predict(
                torch.zeros(3, 4), samples=3
            ),
            "nothing is random in a GradientConfidence model",
        ),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
