"""Networks with lazy layers: told by every method before torch has its say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import duda

X, Y = torch.randn(24, 4), torch.arange(24) % 3


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.Dropout(), nn.LazyLinear(3))


def seen() -> nn.Module:
    network = lazy()
    network(X)
    return network


@pytest.mark.parametrize("name", duda.METHODS)
def test_lazy_layers_are_told(name: str) -> None:
    with pytest.raises(ValueError, match=r"layer '0', a LazyLinear whose weights have no shape"):
        duda.METHODS[name].from_factory(lazy, duda.Categorical())


def test_lazy_buffers_alone_are_told() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.LazyBatchNorm1d(affine=False))
    with pytest.raises(ValueError, match=r"layer '1', a LazyBatchNorm1d whose weights have no"):
        duda.Deterministic(network, duda.Categorical())


@pytest.mark.parametrize("name", ["mc-dropout", "deep-ensemble"])
def test_once_they_have_seen_inputs_they_are_like_others(name: str) -> None:
    model = duda.METHODS[name].from_factory(seen, duda.Categorical())
    duda.fit(model, (X, Y), epochs=1, seed=0)
    assert len(model.predict(X)) == 24
