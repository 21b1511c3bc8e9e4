"""Networks in half precision, or under autocast: as fast, and reduced in float32."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import duda
from duda.likelihoods import LIKELIHOODS, Likelihood
from duda.methods import METHODS
from duda.sampling.calls import drop
from duda.streams import Stream
from tests.methods.networks import Encoder, Recurrent, UNet
from tests.methods.test_contract import build, inputs
from tests.pairs import PAIRS

SHORT = (torch.bfloat16, torch.float16)
OF_METHODS = [next(pair for pair in PAIRS if pair[0] == method) for method in METHODS]
HOW = ("bfloat16", "float16", "autocast")


def shortened(model: nn.Module, x: Tensor, how: str) -> tuple[Tensor, AbstractContextManager]:
    """Return inputs for a model that is cast, and where it is to run."""
    if how == "autocast":
        return x, torch.autocast("cpu", dtype=torch.bfloat16)
    dtype = getattr(torch, how)
    model.to(dtype)
    return x.to(dtype), nullcontext()


def _reduced(likelihood: Likelihood, draws: Tensor) -> dict[str, np.ndarray]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return likelihood.reduce(draws, keep_draws=True).numpy()


@given(
    name=st.sampled_from(sorted(LIKELIHOODS)),
    dtype=st.sampled_from(SHORT),
    seed=st.integers(0, 2**31),
    size=st.sampled_from([0.1, 1.0, 8.0]),
    positions=st.sampled_from([(), (2,)]),
)
@settings(deadline=None, max_examples=60)
def test_short_draws_are_reduced_as_the_same_numbers_in_double(
    name: str, dtype: torch.dtype, seed: int, size: float, positions: tuple[int, ...]
) -> None:
    likelihood = LIKELIHOODS[name]()
    generator = torch.Generator().manual_seed(seed)
    shape = (6, 5, likelihood.width(3), *positions)
    draws = (size * torch.randn(shape, generator=generator)).to(dtype)
    # One likelihood draws noise, in numbers that are others in double precision.
    wide = draws.float() if name == "sampled-softmax" else draws.double()
    short, double = (_reduced(likelihood, each) for each in (draws, wide))
    assert short.keys() == double.keys()
    for key, values in short.items():
        assert values.dtype.itemsize >= 4
        with np.errstate(over="ignore"):  # what float32 has no number for is infinite in it
            expected = double[key].astype(values.dtype)
        largest = np.abs(expected[np.isfinite(expected)]).max(initial=1)
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5 * largest)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("method", "likelihood"), OF_METHODS)
def test_methods_predict_nearly_as_in_float32(
    method: str, likelihood: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    model, x = build(method, likelihood), inputs()
    expected = model.predict(x, seed=0)
    x, context = shortened(model, x, how)
    with context:
        answer = model.predict(x, seed=0)
    assert answer.probs.dtype is torch.float32
    torch.testing.assert_close(answer.probs.sum(1), torch.ones(len(x)))
    torch.testing.assert_close(answer.probs, expected.probs, rtol=0, atol=0.02)
    y = torch.arange(len(x)) % 3
    duda.evaluation.reliability(answer, y)
    assert math.isfinite(duda.evaluation.nll(answer, y))
    if method != "gradient-confidence":  # whose gradients autocast lets no vmap take
        assert not caplog.records  # of a loop


class Convolutions(nn.Module):
    """Linear layers, convolutions and normalizations one after the other, after dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.dropout = nn.Linear(8, 8), nn.Dropout(0.1)
        self.conv, self.norm = nn.Conv1d(5, 6, 3), nn.BatchNorm1d(6)
        self.up, self.last = nn.ConvTranspose1d(6, 4, 3), nn.Linear(8, 3)
        self.instance = nn.InstanceNorm1d(4, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.conv(self.dropout(self.first(x))))
        return self.last(self.instance(self.up(h.relu()))).mean(1)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "encoder": (Encoder, (5, 16)),
    "recurrent": (Recurrent, (5, 4)),
    "images": (UNet, (1, 8, 8)),
    "convolutions": (Convolutions, (5, 8)),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", [duda.MCDropout, duda.MCDropConnect])
def test_networks_run_their_draws_at_once(
    method: type[duda.UncertainModel], name: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    model, x = method(make(), duda.Categorical(), samples=10), torch.randn(4, *shape)
    expected = model.predict(x, seed=0)
    x, context = shortened(model, x, how)
    with context:
        found, one_by_one = (model.predict(x, seed=0, chunk=chunk) for chunk in (10, 1))
    assert not caplog.records
    torch.testing.assert_close(found.probs, expected.probs, rtol=0, atol=0.02)
    torch.testing.assert_close(found.probs, one_by_one.probs, rtol=0, atol=0.02)


def test_normalizations_may_keep_their_float32(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    network, x = Convolutions(), torch.randn(4, 5, 8)
    expected = duda.MCDropout(network, duda.Categorical()).predict(x, seed=0)
    network = network.to(torch.bfloat16)
    network.norm.float()
    answer = duda.MCDropout(network, duda.Categorical()).predict(x.bfloat16(), seed=0)
    torch.testing.assert_close(answer.probs, expected.probs, rtol=0, atol=0.02)
    assert not caplog.records


@pytest.mark.parametrize("dtype", SHORT)
@pytest.mark.parametrize("p", [0.5, 0.1, 0.9])
def test_masks_drop_as_often_and_scale_by_the_share_that_stays(
    dtype: torch.dtype, p: float
) -> None:
    wide, short = (
        drop(torch.ones(10_000, dtype=each), (10_000,), p, Stream(torch.tensor(3)))
        for each in (torch.float32, dtype)
    )
    assert torch.equal(short, wide.to(dtype))


def test_autocast_leaves_random_numbers_as_they_are() -> None:
    def numbers() -> list[Tensor]:
        stream = Stream(torch.tensor(7))
        return [stream.integers((9,), torch.int16), stream.uniform((9,)), stream.normal((9,))]

    expected = numbers()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = numbers()
    assert all(map(torch.equal, found, expected))
