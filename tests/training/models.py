"""Small models and data to train on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))


def noisy() -> nn.Module:
    """Return a network with all that an epoch can change: weights, buffers, random numbers."""
    return nn.Sequential(
        nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)
    )


class Residual(nn.Module):
    """A network with a forward pass of its own, which uses a layer twice."""

    def __init__(self, scale: float = 0.5) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 2)
        self.norm, self.scale = nn.LayerNorm(3), scale

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x + self.scale * F.relu(self.first(self.norm(self.first(x)))))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)
    )


def regression(n: int = 50, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, 3, generator=generator, dtype=dtype)
    noise = torch.randn(n, 1, generator=generator, dtype=dtype)
    return x, x[:, :1] - x[:, 1:2] ** 2 + 0.1 * noise


def classes(n: int = 50, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    x, y = regression(n, dtype)
    return x, (y[:, 0] > 0).long()


def seeded_model(
    make: Callable[[], duda.UncertainModel], seed: int = 0, dtype: torch.dtype = torch.float32
) -> duda.UncertainModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().to(dtype)


def plain(network: Callable[[], nn.Module] = mlp) -> duda.UncertainModel:
    return seeded_model(lambda: duda.Deterministic(network(), duda.Gaussian()))


def dropping() -> duda.UncertainModel:
    return seeded_model(lambda: duda.MCDropout(noisy(), duda.Gaussian()))


def ensemble(network: Callable[[], nn.Module] = mlp, members: int = 3) -> duda.UncertainModel:
    return seeded_model(lambda: duda.DeepEnsemble(network, duda.Gaussian(), members))


def double_ensemble(
    network: Callable[[], nn.Module], likelihood: Any = None, members: int = 4
) -> duda.UncertainModel:
    """Return an ensemble in float64."""
    likelihood = likelihood or duda.Gaussian()
    make = functools.partial(duda.DeepEnsemble, network, likelihood, members)
    return seeded_model(make, dtype=torch.float64)


def values(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
