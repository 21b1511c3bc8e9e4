"""The page on Lightning, with it where it is installed, and with its order of hooks everywhere."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import duda
from duda.methods import METHODS, UncertainModel
from duda.training import FitState
from tests.docs.test_pages import code
from tests.methods.test_contract import centre
from tests.pairs import PAIRS

KIND = {method: duda.LIKELIHOODS[likelihood] for method, likelihood in reversed(PAIRS)}
LATE = {"laplace", "swag"}  # have no draws before their training is over, or half over


class LightningModule(nn.Module):
    """What the page uses of Lightning's module."""

    trainer: Any
    current_epoch = global_step = 0

    def log(self, name: str, value: Any) -> None:
        self.trainer.logged.append((name, float(value)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("on_"):
            return lambda *args: None
        return super().__getattr__(name)


class Trainer:
    """Calls what `fit` of Lightning 2 calls, in its order, modes and contexts."""

    def __init__(self, max_epochs: int, num_sanity_val_steps: int = 2, **ignored: Any) -> None:
        self.max_epochs, self.sanity = max_epochs, num_sanity_val_steps
        self.logged: list[tuple[str, float]] = []

    def fit(self, module: Any, loader: Any, validation: Any) -> None:
        module.trainer, self.train_dataloader = self, loader
        optimizer = module.configure_optimizers()
        module.on_fit_start()
        self.validate(module, validation, self.sanity)
        module.train()
        module.on_train_start()
        for epoch in range(self.max_epochs):
            module.current_epoch = epoch
            module.on_train_epoch_start()
            for number, batch in enumerate(loader):
                loss = module.training_step(batch, number)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                module.global_step += 1
                module.on_train_batch_end(loss, batch, number)
            self.validate(module, validation, None)
            module.train()
            module.on_train_epoch_end()
        module.on_train_end()
        module.on_fit_end()

    def validate(self, module: Any, validation: Any, most: int | None) -> None:
        module.eval()
        with torch.inference_mode():
            module.on_validation_epoch_start()
            for number, batch in enumerate(validation):
                if most is None or number < most:
                    module.validation_step(batch, number)
            module.on_validation_epoch_end()


def page(lightning: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the names of the page, run with this package in the place of Lightning."""
    monkeypatch.setitem(sys.modules, "lightning", lightning)
    names: dict[str, Any] = {}
    torch.manual_seed(0)
    exec(compile(code("lightning.md"), "lightning.md", "exec"), names)
    return names


STAND_IN = types.SimpleNamespace(LightningModule=LightningModule, Trainer=Trainer)


def data(likelihood: duda.likelihoods.Likelihood) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long() if takes_classes(likelihood) else x[:, :1] + 0.1 * x[:, 1:2]


def takes_classes(likelihood: duda.likelihoods.Likelihood) -> bool:
    outputs = torch.zeros(1, 1, likelihood.width(2))
    return isinstance(likelihood.reduce(outputs), duda.ClassPrediction)


def model_of(method: str) -> UncertainModel:
    likelihood = KIND[method]()
    width = likelihood.width(2 if takes_classes(likelihood) else 1)

    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, width))

    torch.manual_seed(0)
    return METHODS[method].from_factory(network, likelihood)


def trained(
    model: UncertainModel, module: Callable[[UncertainModel], Any], **options: Any
) -> tuple[Any, list[str]]:
    """Train by the page's module, and return it, and what was warned of."""
    pair = TensorDataset(*data(model.likelihood))
    each = module(model)
    each.validation_step = lambda batch, number: each.log(
        "size", centre(model.predict(batch[0], seed=0)).abs().mean()
    )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        Trainer(4, **options).fit(each, DataLoader(pair, 10, shuffle=True), DataLoader(pair, 10))
    return each, [str(each.message) for each in told]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[UncertainModel], Any]:
    return page(STAND_IN, monkeypatch)["Trained"]


def test_the_page_trains_and_validates(monkeypatch: pytest.MonkeyPatch) -> None:
    found = page(STAND_IN, monkeypatch)
    logged = found["trainer"].logged
    assert {name for name, _ in logged} == {"accuracy"}
    assert logged[-1][1] > 0.8
    assert bool((found["answer"].epistemic > 0).all())


def test_the_page_does_so_with_lightning_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies
        lightning = pytest.importorskip("lightning")
        found = page(lightning, monkeypatch)
        assert found["trainer"].callback_metrics["accuracy"] > 0.8
        for make in (duda.SWAG, duda.Laplace, duda.Variational, duda.DeepEnsemble):
            network = found["make_network"]
            model = make.from_factory(network, duda.Categorical())
            trainer = lightning.Trainer(
                max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False
            )
            trainer.fit(found["Trained"](model), found["loader"], found["validation"])
            answer = model.predict(found["data"].test[0], seed=0)
            assert bool((answer.epistemic > 0).any())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_in_lightning(
    method: str, module: Callable[[UncertainModel], Any]
) -> None:
    model = model_of(method)
    each, told = trained(model, module)
    assert len(each.trainer.logged) == 2 + 4 * 5
    early = [
        text for text in told if "until then, in its training, it answers as the plain" in text
    ]
    assert bool(early) == (method in LATE)
    assert len(early) == len(told)
    assert not model.in_training
    answer = model.predict(data(model.likelihood)[0], seed=0)
    assert len(answer) == 50


@pytest.mark.parametrize("method", METHODS)
def test_lightning_trains_as_the_own_loop_does(
    method: str, module: Callable[[UncertainModel], Any]
) -> None:
    """That is, validating changes nothing, whatever a method has to answer with."""
    found = []
    for sanity in (0, 2):
        model = model_of(method)
        torch.manual_seed(3)
        trained(model, module, num_sanity_val_steps=sanity)
        found.append(model.state_dict())
    torch.testing.assert_close(*found, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (duda.SWAG, {}),
        (duda.Laplace, {"approximation": "draws"}),
        (duda.Laplace, {"approximation": "closed-form"}),
    ],
)
def test_in_training_the_plain_network_answers_until_there_are_draws(
    kind: Callable[..., UncertainModel], options: dict[str, Any]
) -> None:
    model = kind(nn.Linear(4, 2), duda.Categorical(), **options)
    x = data(model.likelihood)[0]
    model.on_fit_start(FitState())
    with pytest.warns(UserWarning, match="until then, in its training"):
        answer = model.predict(x, samples=7, seed=0)
    plain = duda.Deterministic(model.network, model.likelihood).predict(x)
    assert torch.equal(answer.probs, plain.probs)
    assert not bool(answer.epistemic.any())


def test_inside_another_model_too() -> None:
    inner = model_of("laplace")
    model = duda.TestTimeAugmentation(inner, transforms=[lambda x: x])
    x = data(inner.likelihood)[0]
    model.on_fit_start(FitState())
    with pytest.warns(UserWarning, match="until then, in its training"):
        answer = model.predict(x, samples=1)
    expected = duda.Deterministic(inner.network, inner.likelihood).predict(x)
    torch.testing.assert_close(centre(answer), centre(expected))


@pytest.mark.parametrize("method", sorted(LATE))
def test_without_a_training_the_error_says_how_to_validate_before_it(method: str) -> None:
    model = model_of(method)
    x, y = data(model.likelihood)
    with pytest.raises(ValueError, match=r"on_fit_start.*or skip.*`num_sanity_val_steps=0`"):
        model.predict(x)
    duda.fit(model, (x, y), epochs=4, seed=0)
    model.predict(x)  # and no warning


@pytest.mark.parametrize("method", sorted(LATE))
def test_a_callback_of_fit_may_predict_from_the_first_epoch_on(method: str) -> None:
    model = model_of(method)
    x, y = data(model.likelihood)
    sizes: list[int] = []

    class Asking(duda.training.Callback):
        def on_epoch_end(self, state: FitState) -> None:
            sizes.append(len(state.model.predict(x, seed=0)))

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        duda.fit(model, (x, y), epochs=4, callbacks=[Asking()], seed=0)
    assert sizes == [50] * 4
    assert told
