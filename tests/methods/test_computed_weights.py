"""Layers that compute their weights from others: taken as they are used, or refused by name."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import utils
from torch.nn.utils import parametrizations, prune

import duda

KINDS: dict[str, Callable[[nn.Module], Any]] = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "old weight norm": lambda layer: utils.weight_norm(layer),
    "old spectral norm": lambda layer: utils.spectral_norm(layer),
    "pruning": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "pruning of both": lambda layer: prune.random_unstructured(
        prune.l1_unstructured(layer, "weight", 0.5), "bias", 0.5
    ),
}


def network(kind: str, last: bool = True) -> nn.Module:
    layers = [nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the old ones are deprecated
        KINDS[kind](layers[2 if last else 0])
    return nn.Sequential(*layers)


def data() -> tuple[Tensor, Tensor]:
    return torch.randn(30, 4), torch.arange(30) % 3


def plain(net: nn.Module) -> nn.Module:
    """Return a network of layers that have the weights which those of another one use."""
    layers = [nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)]
    for layer, other in zip(layers, net, strict=True):
        if isinstance(layer, nn.Linear):
            layer.weight, layer.bias = (
                nn.Parameter(each.detach().clone()) for each in (other.weight, other.bias)
            )
    return nn.Sequential(*layers)


@pytest.mark.parametrize("structure", ["kron", "full"])
@pytest.mark.parametrize("kind", KINDS)
def test_laplace_takes_the_weights_that_are_used(kind: str, structure: Any) -> None:
    x, y = data()
    net = network(kind).eval()
    net(x)  # the old ones compute their weights in a pass
    found, expected = (
        duda.Laplace(each, duda.Categorical(), structure) for each in (net, plain(net))
    )
    for model in (found, expected):
        model.fit_posterior((x, y))
    torch.testing.assert_close(found.squared_norm, expected.squared_norm)
    torch.testing.assert_close(found.prior_precision, expected.prior_precision)
    torch.testing.assert_close(found.predict(x, seed=0).probs, expected.predict(x, seed=0).probs)


@pytest.mark.parametrize("method", [duda.MCDropConnect, duda.Variational])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_methods_of_random_weights_say_which_layer_has_none(
    kind: str, last: bool, method: Any
) -> None:
    name = "2" if last else "0"
    with pytest.raises(ValueError, match=f"layer '{name}', .*computes its weight from others"):
        method(network(kind, last), duda.Categorical())
    other = "0" if last else "2"
    model = method(network(kind, last), duda.Categorical(), layers=other)
    duda.fit(model, data(), epochs=1, seed=0)
    assert model.predict(data()[0], seed=0).probs.isfinite().all()


@pytest.mark.parametrize("inside", ["a recurrent layer", "attention"])
def test_layers_of_many_weights(inside: str) -> None:
    layer: nn.Module
    if inside == "attention":
        layer = nn.MultiheadAttention(4, 2)
        parametrizations.weight_norm(layer.out_proj)
    else:
        layer = nn.LSTM(4, 4)
        with pytest.warns(FutureWarning):
            utils.weight_norm(layer, "weight_hh_l0")
    with pytest.raises(ValueError, match="computes its weight from others"):
        duda.MCDropConnect(nn.Sequential(layer, nn.Linear(4, 3)), duda.Categorical())


@pytest.mark.parametrize("method", [duda.DUQ, duda.SDENet])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_methods_that_copy_the_network_can(kind: str, last: bool, method: Any) -> None:
    net, (x, y) = network(kind, last), data()
    before = copy.deepcopy(net.state_dict())
    model = method(net, duda.Categorical())
    duda.fit(model, (x, y), epochs=1, seed=0)
    assert model.predict(x, seed=0).probs.isfinite().all()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("method", [duda.SWAG, duda.Laplace, duda.DeepEnsemble])
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_leave_the_weights_that_were_computed(kind: str, method: Any) -> None:
    model = method.from_factory(lambda: network(kind), duda.Categorical())
    duda.fit(model, data(), epochs=4, seed=0, lr=0.05)
    layer = (model.members[0] if isinstance(model, duda.DeepEnsemble) else model.network)[2]
    model.eval()
    layer(torch.ones(1, 8))
    before = layer.weight.detach().clone()
    model.predict(data()[0], seed=0)
    assert torch.equal(layer.weight, before)
