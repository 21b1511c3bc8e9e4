"""Normal weights in three ways: covariances of what layers put out, against the closed form."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from duda.methods.variational.normal_weights import Flipout, LocalNoise, NormalWeight, WholeWeights
from duda.sampling import random_draws
from tests.sampling.networks import Counter

ESTIMATORS = {"weight": WholeWeights, "local": LocalNoise, "flipout": Flipout}
SAMPLES = {True: 4000, False: 800}  # a loop takes its time

# A layer, and the shape of an input with 2 examples.
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(3, 2), (2, 3)),
    "Linear without bias": (lambda: nn.Linear(3, 2, bias=False), (2, 3)),
    "Linear with positions": (lambda: nn.Linear(3, 2), (2, 3, 3)),
    "Conv1d": (lambda: nn.Conv1d(2, 3, 2), (2, 2, 4)),
    "Conv1d with groups": (lambda: nn.Conv1d(4, 2, 2, groups=2, bias=False), (2, 4, 3)),
    "Conv2d": (lambda: nn.Conv2d(2, 2, 2, stride=2, padding=1), (2, 2, 3, 3)),
    "Conv2d, circular": (
        lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"),
        (2, 1, 2, 2),
    ),
    "Conv2d, same": (lambda: nn.Conv2d(1, 2, 3, padding="same", dilation=2), (2, 1, 2, 2)),
    "Conv3d": (lambda: nn.Conv3d(1, 2, 2), (2, 1, 2, 3, 2)),
}


def normals(layer: nn.Module, std: float | None = None) -> dict[str, NormalWeight]:
    """Return a distribution for each weight; its standard deviations are random by default."""
    return {
        name: NormalWeight(weight, torch.rand_like(weight) if std is None else weight * 0 + std)
        for name, weight in layer.named_parameters()
    }


def drawn(
    estimator: str, network: nn.Module, weights: dict[str, NormalWeight], x: Tensor, vmapped: bool
) -> Tensor:
    way, samples = ESTIMATORS[estimator], SAMPLES[vmapped]
    with torch.no_grad():
        draws = random_draws(
            network, x, samples, samples, lambda: way(network, weights), seed=0, vmapped=vmapped
        )
        return torch.cat(list(draws))


def check_covariance(draws: Tensor, mean: Tensor, covariance: Tensor) -> None:
    """Check the draws `(M, K)` within 5 standard errors."""
    errors = draws - mean
    assert (errors.mean(0).abs() <= 5 * (covariance.diag() / len(draws)).sqrt()).all()
    products = errors.unsqueeze(1) * errors.unsqueeze(2)
    spread = products.std(0) / len(draws) ** 0.5
    assert ((products.mean(0) - covariance).abs() <= 5 * spread + 1e-12).all()


def weight_space_covariance(
    layer: nn.Module, weights: dict[str, NormalWeight], x: Tensor
) -> Tensor:
    """Return J diag(σ²) Jᵀ, J being the slopes of all outputs in all weights."""
    means = {name: normal.mean.detach() for name, normal in weights.items()}
    slopes = jacrev(lambda each: functional_call(layer, each, x).flatten())(means)
    return sum(
        (slopes[name].flatten(1) * normal.std.flatten() ** 2) @ slopes[name].flatten(1).T
        for name, normal in weights.items()
    )


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    ("name", "vmapped"), [*((name, True) for name in LAYERS), ("Linear", False), ("Conv1d", False)]
)
def test_covariance_of_a_layer(estimator: str, name: str, vmapped: bool) -> None:
    make, shape = LAYERS[name]
    layer, x = make().double(), torch.randn(*shape).double()
    weights = normals(layer)
    covariance = weight_space_covariance(layer, weights, x)
    half = len(covariance) // 2
    if estimator == "flipout":  # within an example all is as with weights, between them nothing
        covariance[:half, half:] = covariance[half:, :half] = 0
    if estimator == "local":  # each output by itself
        covariance = covariance.diag().diag()
    draws = drawn(estimator, layer, weights, x, vmapped)
    with torch.no_grad():
        check_covariance(draws.flatten(1), layer(x).flatten(), covariance)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("vmapped", [True, False])
def test_without_noise_nothing_changes(estimator: str, vmapped: bool) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).double()
    x = torch.randn(4, 1, 3, 3).double()
    way = ESTIMATORS[estimator]
    with torch.no_grad():
        draws = random_draws(
            network,
            x,
            3,
            3,
            lambda: way(network, normals(network, std=0.0)),
            seed=0,
            vmapped=vmapped,
        )
        for each in torch.cat(list(draws)):
            torch.testing.assert_close(each, network(x))


@pytest.mark.parametrize("name", ["Linear", "Conv1d", "Conv2d"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_example_alone_needs_no_batch(name: str, estimator: str) -> None:
    make, shape = LAYERS[name]
    layer, x = make().double(), torch.randn(*shape[1:]).double()
    weights = normals(layer)
    mode = ESTIMATORS[estimator](layer, weights)
    with torch.no_grad(), mode:
        draws = torch.stack([mode.call(layer, x)])
    assert draws.shape[1:] == layer(x).shape
    variance = weight_space_covariance(layer, weights, x).diag()
    assert ((draws[0] - layer(x)).detach().flatten().abs() <= 6 * variance.sqrt()).all()


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) - self.layer(x)


@pytest.mark.parametrize("vmapped", [True, False])
def test_a_layer_called_twice_has_one_weight(vmapped: bool) -> None:
    network, x = Twice(), torch.randn(4, 3)
    weights = normals(network)
    for estimator in ("weight", "flipout"):
        draws = drawn(estimator, network, weights, x, vmapped)
        torch.testing.assert_close(draws, torch.zeros_like(draws), atol=1e-5, rtol=0)
    # Local noise is that of outputs, and each call has its own.
    assert (drawn("local", network, weights, x, vmapped).var(0) > 0).all()


class Tied(nn.Module):
    """An autoencoder whose decoder has the encoder's weight, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x[:, :2], self.encoder.weight.t())


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("vmapped", [True, False])
def test_weights_used_otherwise_are_drawn_for_the_batch(estimator: str, vmapped: bool) -> None:
    network, x = Tied().double(), torch.randn(2, 2).double()
    weights = normals(network)
    draws = drawn(estimator, network, weights, x, vmapped)
    covariance = weight_space_covariance(network, weights, x)
    with torch.no_grad():
        check_covariance(draws.flatten(1), network(x).flatten(), covariance)


class Reused(nn.Module):
    """Uses an input and a weight again, where a loop's later calls need no random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = self.layer(x)
        return torch.cat([first, self.layer(x), x @ self.layer.weight, self.layer.weight @ x.T], 1)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_draw_is_taken_for_another_in_a_loop(estimator: str) -> None:
    network = Reused()
    way = ESTIMATORS[estimator]
    weights = normals(network, std=0.5)
    with torch.no_grad():
        draws = random_draws(
            network, torch.randn(3, 3), 6, 1, lambda: way(network, weights), seed=0, vmapped=False
        )
        draws = torch.cat(list(draws))
    assert all((one != other).all() for i, one in enumerate(draws) for other in draws[:i])


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("vmapped", [True, False])
@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_what_comes_before_runs_once(estimator: str, vmapped: bool, chunk: int | None) -> None:
    counter, last = Counter(), nn.Linear(8, 3)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), counter, last)
    way = ESTIMATORS[estimator]
    weights = {f"3.{name}": normal for name, normal in normals(last).items()}
    with torch.no_grad():
        draws = random_draws(
            network,
            torch.randn(5, 4),
            20,
            chunk,
            lambda: way(network, weights),
            seed=0,
            vmapped=vmapped,
        )
        assert (torch.cat(list(draws)).var(0) > 0).all()
    assert counter.rows == [5]
