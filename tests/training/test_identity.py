"""A checkpoint goes on only with the same model, options and data: each setting is told."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import os
import subprocess
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from duda.likelihoods import LIKELIHOODS, Likelihood
from duda.methods import METHODS, UncertainModel
from duda.training.checkpoint import Checkpoint
from duda.training.descriptions import described
from duda.training.identity import model_identity
from tests.pairs import PAIRS
from tests.training.models import Residual, mlp, plain, regression

KIND = dict(reversed(PAIRS))  # one for each method


def network(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, width))


def model_of(method: str, likelihood: Likelihood, **arguments: Any) -> UncertainModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        factory = functools.partial(network, likelihood.width(2))
        return METHODS[method].from_factory(factory, likelihood, **arguments)


def flips(value: Any) -> Iterator[Any]:
    """Yield what might stand in the place of an argument."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, value / 2)
    elif isinstance(value, tuple):
        yield value[1:]
    yield from (1, 3, 0.5, -1, 3.0, True, "0", "1", ("0",), (0.0, 1.0, 2.0), [lambda x: x + 1])
    yield from (
        "local",
        "full",
        "closed-form",
        "all",
        "balanced",
        duda.GaussianPrior(0.3),
        network(2),
        network(4),
    )


def flipped(make: Callable[..., Any], name: str, value: Any) -> Any:
    for other in flips(value):
        try:
            made = make(**{name: other})
        except (ValueError, TypeError, AttributeError, RuntimeError):
            continue
        if type(other) is not type(value) or other != value:
            return made
    raise AssertionError(f"say in `flips` what `{name}` may be other than {value!r}")


ARGUMENTS = [
    (method, name)
    for method, kind in METHODS.items()
    for name in list(inspect.signature(kind).parameters)[1:]
    if name != "likelihood"
]


@pytest.mark.parametrize(("method", "name"), ARGUMENTS)
def test_each_argument_of_a_method_is_told(method: str, name: str) -> None:
    likelihood = LIKELIHOODS[KIND[method]]()
    make = functools.partial(model_of, method, likelihood)
    usual = make()
    assert model_identity(usual) == model_identity(make())
    other = flipped(make, name, usual.arguments()[name])
    assert model_identity(usual) != model_identity(other)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_each_argument_of_a_likelihood_is_told(name: str) -> None:
    kind = LIKELIHOODS[name]
    for argument, parameter in inspect.signature(kind).parameters.items():
        if argument in ("learned_std", "target_scale", "balance"):  # the model's state, as weights
            continue
        if (name, argument) == ("multivariate-gaussian", "missing"):  # takes none but None
            continue
        other = flipped(kind, argument, parameter.default)
        identities = [
            model_identity(duda.Deterministic(nn.Linear(3, 4), likelihood))
            for likelihood in (kind(), kind(), other)
        ]
        assert identities[0] == identities[1]
        assert identities[0]["likelihood"] != identities[2]["likelihood"]


def test_each_argument_of_fit_is_told_or_known_to_change_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        Checkpoint, "__init__", lambda self, path, settings: seen.update(settings) or exit_now()
    )

    def exit_now() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        duda.fit(plain(), regression(), epochs=1, checkpoint=tmp_path / "run")
    settings = {field.name for field in dataclasses.fields(duda.Training)}
    nothing = {"checkpoint", "training"}
    elsewhere = {"sample_weight": "data", "log": "callbacks"}
    assert set(inspect.signature(duda.fit).parameters) <= {*seen, *nothing, *elsewhere}
    assert settings <= set(seen)
    before = dict(seen)
    with pytest.raises(InterruptedError):
        duda.fit(
            plain(),
            regression(),
            epochs=1,
            checkpoint=tmp_path / "run",
            sample_weight=torch.ones(len(regression()[1])),
            log=lambda figures: None,
        )
    assert {name for name in seen if seen[name] != before[name]} == set(elsewhere.values())


SCALE = 1.0


def by_the_scale(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1 * SCALE)


def sgd(rate: float) -> Callable[..., torch.optim.Optimizer]:
    return lambda parameters: torch.optim.SGD(parameters, lr=rate)


class Rate:
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=self.rate)


class Slotted(Rate):
    __slots__ = ("momentum",)

    def __init__(self, momentum: float) -> None:
        super().__init__(0.1)
        self.momentum = momentum

    def __call__(self, parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=self.rate, momentum=self.momentum)


class Slow(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


class Slower(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        self.zero_grad()
        return super().step(closure)


Slower.__qualname__ = Slow.__qualname__

OPTIMIZERS: dict[str, tuple[Any, Any]] = {
    "lambdas": (
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: torch.optim.SGD(p, lr=0.2),
    ),
    "lambdas of two classes": (
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: torch.optim.Adam(p, lr=0.1),
    ),
    "closures": (sgd(0.1), sgd(0.2)),
    "defaults": (
        lambda p, lr=0.1: torch.optim.SGD(p, lr=lr),
        lambda p, lr=0.2: torch.optim.SGD(p, lr=lr),
    ),
    "partials": (
        functools.partial(torch.optim.SGD, lr=0.1),
        functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    ),
    "partials of lambdas": (functools.partial(sgd(0.1)), functools.partial(sgd(0.2))),
    "objects": (Rate(0.1), Rate(0.2)),
    "methods": (Rate(0.1).__call__, Rate(0.2).__call__),
    "objects with slots": (Slotted(0.1), Slotted(0.2)),
    "classes of one name": (Slow, Slower),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_optimizers_are_told_by_what_they_do(kind: str, tmp_path: Path) -> None:
    one, other = OPTIMIZERS[kind]
    go = functools.partial(duda.fit, epochs=1, seed=0, checkpoint=tmp_path / "run")
    go(plain(), regression(), optimizer=one)
    go(plain(), regression(), optimizer=one)
    with pytest.raises(ValueError, match="is of another run: its optimizer is"):
        go(plain(), regression(), optimizer=other)


def test_what_a_function_looks_up_outside_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    before = described(by_the_scale, "optimizer")
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    assert described(by_the_scale, "optimizer") != before


class Functional(nn.Module):
    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.activation = nn.Linear(3, 8), nn.Linear(8, 2), activation

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.activation(self.first(x)))


def written(activation: Callable[[Tensor], Tensor]) -> nn.Module:
    """Return a network whose class says what comes between its layers."""

    class Written(Functional):
        def forward(self, x: Tensor) -> Tensor:
            return self.last(activation(self.first(x)))

    return Written(F.relu)


def hooked(activation: Callable[[Tensor], Tensor]) -> nn.Module:
    made = mlp()
    made[0].register_forward_hook(lambda module, given, output: activation(output))
    return made


def frozen(trained: bool) -> nn.Module:
    made = mlp()
    made[0].requires_grad_(trained)
    return made


def scripted(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would have it gone, but people have it
        return nn.Sequential(nn.Linear(3, 2), torch.jit.script(layer))


NETWORKS: dict[str, tuple[Any, Any]] = {
    "functions": (Functional(F.relu), Functional(torch.tanh)),
    "lambdas": (Functional(lambda x: x * 2), Functional(lambda x: x * 3)),
    "partials": (
        Functional(functools.partial(F.leaky_relu, negative_slope=0.1)),
        Functional(functools.partial(F.leaky_relu, negative_slope=0.2)),
    ),
    "code": (written(F.relu), written(torch.tanh)),
    "hooks": (hooked(F.relu), hooked(torch.tanh)),
    "attributes": (Residual(0.5), Residual(0.6)),
    "attention": (
        nn.TransformerEncoderLayer(3, 1, 8, activation=F.relu),
        nn.TransformerEncoderLayer(3, 1, 8, activation=F.gelu),
    ),
    "what trains": (frozen(True), frozen(False)),
    "scripts": (scripted(nn.Tanh()), scripted(nn.ReLU())),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_networks_are_told_by_what_they_do(kind: str) -> None:
    one, other = (duda.Deterministic(each, duda.Gaussian()) for each in NETWORKS[kind])
    assert model_identity(one) == model_identity(one)
    assert model_identity(one) != model_identity(other)


def test_descriptions_are_the_same_in_another_process() -> None:
    source = (
        "import json; from tests.training import test_identity as t; print(json.dumps(["
        "*(t.described(o, 'o') for pair in t.OPTIMIZERS.values() for o in pair), "
        "*(t.described(n, 'n') for pair in t.NETWORKS.values() for n in pair)]))"
    )
    texts = set()
    for seed in "12":
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", source],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        texts.add(done.stdout)
    assert len(texts) == 1
    assert " at 0x" not in texts.pop()


def test_a_function_that_calls_itself_has_an_end() -> None:
    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    def odd(n: int) -> bool:
        return n != 0 and even(n - 1)

    around: list[Any] = [even]
    around.append(around)
    assert described(around, "list") == described(around, "list")


@pytest.mark.parametrize("hidden", [threading.Lock(), (i for i in range(3))])
def test_what_cannot_be_told_apart_is_refused(hidden: Any, tmp_path: Path) -> None:
    options = types.SimpleNamespace(hidden=hidden)

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.1 if options else 0.2)

    with pytest.raises(TypeError, match=r"`optimizer` is or holds a (lock|generator), which does"):
        duda.fit(plain(), regression(), epochs=1, optimizer=optimizer, checkpoint=tmp_path / "run")
    assert not list(tmp_path.iterdir())
    transforms = [functools.partial(lambda x, how: x, how=hidden)]
    model = duda.TestTimeAugmentation(mlp(), duda.Gaussian(), transforms)
    with pytest.raises(TypeError, match="`transforms` of the TestTimeAugmentation is or holds"):
        duda.fit(model, regression(), epochs=1, checkpoint=tmp_path / "run")


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_was_interrupted_goes_on_itself(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    likelihood = LIKELIHOODS[KIND[method]]()
    model, saved = model_of(method, likelihood), itertools.count()
    labels = KIND[method] in ("categorical", "dirichlet", "sampled-softmax")
    data = regression()[0], torch.arange(50) % 2 if labels else regression()[1]
    save = Checkpoint.save

    def interrupted(self: Checkpoint, state: dict[str, Any]) -> None:
        save(self, state)
        if next(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", interrupted)
    go = functools.partial(duda.fit, model, data, epochs=5, seed=0, checkpoint=tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        go()
    assert go().losses.isfinite().all()
