"""Code that predicts can be compiled, and is refused where it would be recorded for one input."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import duda
from duda.detectors import OnNetwork, features_of
from duda.methods import METHODS, UncertainModel
from tests.methods.test_contract import build, centre
from tests.pairs import PAIRS

KIND = dict(reversed(PAIRS))  # one likelihood for each method
X = torch.randn(300, 4, generator=torch.Generator().manual_seed(2))


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Let torch compile anew, and warn as it likes: what it says depends on its version."""
    import torch._dynamo

    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@functools.cache
def made(method: str) -> UncertainModel:
    return build(method, KIND[method])


def predicting(model: UncertainModel) -> Callable[[Tensor], Tensor]:
    def predict(x: Tensor) -> Tensor:
        return centre(model.predict(2 * x, seed=0)) * 2

    return predict


class Inside(nn.Module):
    """A module that predicts in its forward pass."""

    def __init__(self, model: UncertainModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return predicting(self.model)(x)


@pytest.mark.parametrize("method", METHODS)
def test_compiled_code_that_predicts_gives_the_same(method: str) -> None:
    model = made(method)
    expected = predicting(model)(X)
    found = torch.compile(predicting(model), backend="eager")(X)
    torch.testing.assert_close(found, expected)
    assert found.shape[0] == 300


@pytest.mark.parametrize("dynamic", [True, False])
def test_other_numbers_of_rows_are_read_anew(dynamic: bool) -> None:
    model = build("mc-dropout", "categorical")
    compiled = torch.compile(Inside(model), backend="eager", dynamic=dynamic)
    for rows in (300, 2, 257):
        torch.testing.assert_close(compiled(X[:rows]), Inside(model)(X[:rows]))


def test_a_model_compiled_as_a_module_predicts_and_trains() -> None:
    model = build("mc-dropout", "categorical")
    expected = model.predict(X, seed=0).probs
    compiled = torch.compile(model, backend="eager")
    assert torch.equal(compiled.predict(X, seed=0).probs, expected)
    model.compile(backend="eager")
    assert torch.equal(model.predict(X, seed=0).probs, expected)
    y = torch.arange(300) % 3
    loss = torch.compile(lambda x, y: model.train().loss(x, y), backend="eager")(X, y)
    loss.backward()
    assert all(weight.grad is not None for weight in model.parameters())
    judged = torch.compile(lambda x, y: model.validation_loss(x, y), backend="eager")(X, y)
    assert torch.equal(judged, model.validation_loss(X, y))


WAYS: dict[str, Callable[[nn.Module, Path], Any]] = {
    "torch.jit.trace": lambda module, folder: torch.jit.trace(module, X[:256]),
    "torch.export": lambda module, folder: torch.export.export(module, (X[:256],)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS)
def test_recording_a_prediction_is_refused(method: str, way: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=f"`predict` cannot be recorded by `{way}`, because"):
        WAYS[way](Inside(made(method)), tmp_path)


def test_whatever_reads_batches_is_refused() -> None:
    model = duda.Laplace(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)), duda.Categorical())
    y = torch.arange(300) % 3
    energy = OnNetwork(model.network, duda.detectors.Energy())
    for name, call in {
        "fit": lambda x: duda.fit(model, (x, y), epochs=1),
        "fit_posterior": lambda x: model.fit_posterior((x, y)),
        "validation_loss": lambda x: model.validation_loss(x, y),
        "features_of": lambda x: features_of(model.network, x),
        "score": energy.score,
    }.items():
        with pytest.raises(RuntimeError, match=f"`{name}` cannot be recorded"):
            torch.jit.trace(call, X)


def test_one_draw_can_be_recorded() -> None:
    model = build("deterministic", "categorical").eval()
    traced = torch.jit.trace(model, X[:256])
    torch.testing.assert_close(traced(X), model(X))
    exported = torch.export.export(model, (X,)).module()
    torch.testing.assert_close(exported(X), model(X))
