"""Exposures: counts are in proportion to them, whatever the method and the form of the inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import duda
from duda.layers import Exposure
from duda.methods import METHODS

METHODS_OF_COUNTS = ["deterministic", "mc-dropout", "deep-ensemble", "swag", "variational"]


def network() -> nn.Module:
    hidden = nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.1)
    return Exposure(nn.Sequential(*hidden, nn.Linear(8, 2)))


def data(n: int = 200) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    x, exposure = torch.randn(n, 3, generator=g), torch.rand(n, generator=g) * 50 + 1
    return x, exposure, torch.poisson(exposure * (x[:, 0] / 2 - 1).exp(), generator=g)


@pytest.mark.parametrize("method", METHODS_OF_COUNTS)
def test_counts_are_in_proportion(method: str, tmp_path: Path) -> None:
    x, exposure, y = data()
    torch.manual_seed(0)
    model = METHODS[method].from_factory(network, duda.NegativeBinomial())
    duda.fit(model, ((x, exposure), y), epochs=4, seed=0)
    one = model.predict((x, exposure), seed=0)
    other = model.predict(
        (x, 3 * exposure), seed=0, batch_size=64 if method != "mc-dropout" else 512
    )
    torch.testing.assert_close(other.mean, 3 * one.mean, rtol=1e-4, atol=1e-4)
    dispersion = one.draws[:, :, 1], other.draws[:, :, 1]
    torch.testing.assert_close(*dispersion, rtol=1e-4, atol=1e-5)
    loaded = duda.load(duda.save(model, tmp_path / "model"), network)
    assert torch.equal(loaded.predict((x, exposure), seed=0).mean, one.mean)


def test_the_rate_is_found() -> None:
    x, exposure, y = data(2000)
    torch.manual_seed(0)
    model = duda.Deterministic(Exposure(nn.Linear(3, 1)), duda.Poisson())
    duda.fit(model, ((x, exposure), y), epochs=20, lr=0.03, seed=0)
    found = model.predict((x, torch.ones(2000))).mean[:, 0]
    torch.testing.assert_close(found, (x[:, 0] / 2 - 1).exp(), rtol=0.1, atol=0)


@pytest.mark.parametrize("shape", [(5,), (5, 2), (5, 2, 4), (5, 1, 4)])
def test_only_means_are_moved_at_all_positions(shape: tuple[int, ...]) -> None:
    inner, x = nn.Conv1d(3, 4, 1), torch.randn(5, 3, 4)
    exposure = torch.rand(shape) + 0.5
    found = Exposure(inner, targets=2)(x, exposure) - inner(x)
    if len(shape) < 3:
        exposure = exposure.view(5, -1, 1)
    torch.testing.assert_close(found[:, :2], exposure.log().expand(5, 2, 4))
    assert not found[:, 2:].any()


def test_outputs_may_be_last_and_exposures_named() -> None:
    inner, x = nn.Linear(3, 4), torch.randn(5, 7, 3)
    found = Exposure(inner, targets=2, output_dim=-1)(x, exposure=torch.full((5,), 2.0))
    moved = (found - inner(x)).exp()
    torch.testing.assert_close(moved[..., :2], torch.full((5, 7, 2), 2.0))
    torch.testing.assert_close(moved[..., 2:], torch.ones(5, 7, 2))


def test_bad_exposures_are_told() -> None:
    rates, x = Exposure(nn.Linear(3, 1)), torch.zeros(4, 3)
    with pytest.raises(ValueError, match=r"the exposure holds -2, expected numbers above 0"):
        rates(x, torch.tensor([1.0, -2.0, 3.0, 4.0]))
    with pytest.raises(TypeError, match=r"the exposure is missing.*give `\(x, exposure\)`"):
        rates(x)
    with pytest.raises(ValueError, match=r"expected at least 3 on dimension 1"):
        Exposure(nn.Linear(3, 1), targets=3)(x, torch.ones(4))
    with pytest.raises(TypeError, match=r"`network` is a int"):
        Exposure(3)
    with pytest.raises(ValueError, match=r"`output_dim` is 0"):
        Exposure(nn.Linear(3, 1), output_dim=0)
