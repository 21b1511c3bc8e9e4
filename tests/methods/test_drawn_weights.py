"""Weights that differ by draw: all draws of a layer at once, or one by one where that is faster."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import duda
from duda.streams import Stream

DRAWS = 6

METHODS: dict[str, Callable[[nn.Module], duda.UncertainModel]] = {
    "dropconnect": lambda net: duda.MCDropConnect(net, duda.Categorical(), 0.5, samples=DRAWS),
    **{
        estimator: lambda net, estimator=estimator: duda.Variational(
            net, duda.Categorical(), estimator=estimator, samples=DRAWS, initial_std=0.5
        )
        for estimator in ("weight", "local", "flipout")
    },
}


class Convolutions(TorchDispatchMode):
    """Notes how many groups each convolution has."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution.default:
            self.groups.append(args[8])
        return func(*args, **(kwargs or {}))


def convolutional(count: int) -> nn.Module:
    layers = [nn.Conv2d(2 if i == 0 else 3, 3, 3, padding=1) for i in range(count)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(3 * 16, 3)).eval()


def groups_of(model: duda.UncertainModel, rows: int) -> list[int]:
    """Return the groups of the convolutions of a prediction, not the first, for all its draws."""
    x = torch.randn(rows, 2, 4, 4)
    model.predict(x, seed=0, chunk=DRAWS)
    with Convolutions() as calls:
        model.predict(x, seed=0, chunk=DRAWS)
    return calls.groups


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", [1, 4, 64])
def test_a_layers_numbers_are_drawn_by_one_call_where_draws_are_made_at_once(
    method: str, rows: int
) -> None:
    network = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).eval()
    model, x = METHODS[method](network), torch.randn(rows, 5)
    model.predict(x, seed=0, chunk=DRAWS)
    with patch.object(Stream, "numbers", autospec=True, side_effect=Stream.numbers) as drawn:
        model.predict(x, seed=0, chunk=DRAWS)
    # Masks of two weights; weights and biases of both; noise of two layers; or these and signs.
    calls = {"dropconnect": 2, "weight": 4, "local": 2, "flipout": 4 + 2 * 2}
    assert drawn.call_count == calls[method]


@pytest.mark.parametrize("method", ["dropconnect", "weight"])
def test_few_rows_are_grouped_convolutions_and_many_draw_by_draw(method: str) -> None:
    model = METHODS[method](convolutional(3))
    # The first meets one input with the channels of all draws.
    assert groups_of(model, 4) == [1, DRAWS, DRAWS]
    assert groups_of(model, 64) == [1] * 3 * DRAWS


@pytest.mark.parametrize("method", ["dropconnect", "weight"])
@pytest.mark.parametrize("rows", [4, 64])
def test_one_convolution_is_never_grouped(method: str, rows: int) -> None:
    assert groups_of(METHODS[method](convolutional(1)), rows) == [1]


@pytest.mark.parametrize("rows", [4, 64])
def test_noise_in_outputs_leaves_convolutions_with_one_weight(rows: int) -> None:
    # Of means and of variances, for the rows of all draws.
    assert groups_of(METHODS["local"](convolutional(3)), rows) == [1] * 6


@pytest.mark.parametrize("method", METHODS)
def test_many_rows_have_the_draws_of_few(method: str) -> None:
    model, x = METHODS[method](convolutional(3)), torch.randn(12, 2, 4, 4)

    def draws(rows: Tensor) -> Tensor:
        found = model.predict(rows, seed=0, keep_draws=True).draws
        assert found is not None
        return found

    torch.testing.assert_close(draws(x)[:, :4], draws(x[:4]))
