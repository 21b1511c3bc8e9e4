"""Threads that use one model, or models that share a network, get what they would get alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

import duda

CLASSES = duda.Categorical()
X, Y = torch.randn(32, 8), torch.arange(32) % 3


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3)
    )


MODELS: dict[str, Callable[[], duda.UncertainModel]] = {
    "deterministic": lambda: duda.Deterministic(network(), CLASSES),
    "deep ensemble": lambda: duda.DeepEnsemble(network, CLASSES, members=3),
    "sub-ensemble": lambda: duda.SubEnsemble(network, CLASSES, members=3),
    "mc-dropout": lambda: duda.MCDropout(network(), CLASSES, samples=10),
    "mc-dropconnect": lambda: duda.MCDropConnect(network(), CLASSES, samples=10),
    "swag": lambda: duda.SWAG(network(), CLASSES, samples=5),
    "variational": lambda: duda.Variational(network(), CLASSES, samples=5),
    "batch-ensemble": lambda: duda.BatchEnsemble(network(), CLASSES),
    "laplace": lambda: duda.Laplace(network(), CLASSES, samples=10),
    "sde-net": lambda: duda.SDENet(network(), CLASSES, samples=5),
    "duq": lambda: duda.DUQ(network(), CLASSES),
    "test-time augmentation": lambda: duda.TestTimeAugmentation(
        duda.MCDropout(network(), CLASSES, samples=2), None, [lambda x: x, torch.neg]
    ),
    "gradient confidence": lambda: duda.GradientConfidence(network(), CLASSES),
    "hidden dropout": lambda: duda.MCDropout(nn.Sequential(Hiding(), network()), CLASSES),
}


class Hiding(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5) if self.training else x


def trained(name: str) -> duda.UncertainModel:
    torch.manual_seed(0)
    model = MODELS[name]()
    duda.fit(model, (X, Y), epochs=3, seed=0)
    return model


def score(model: duda.UncertainModel, seed: int) -> Tensor:
    return model.predict(X, seed=seed).score


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_threads_get_the_answers_of_one(name: str, training: bool) -> None:
    model = trained(name).train(training)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    expected = [score(model, seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: score(model, number % 4), range(24)))
    for number, answer in enumerate(found):
        torch.testing.assert_close(answer, expected[number % 4])
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert not any("_compiled_call_impl" in vars(module) for module in model.modules())


def test_seeds_hold_beside_other_models_and_a_training() -> None:
    models = [trained(name) for name in ("mc-dropout", "swag", "hidden dropout")]
    expected = [score(model, 1) for model in models]
    alone = duda.Variational(network(), CLASSES)
    beside = duda.Variational(network(), CLASSES)
    beside.load_state_dict(alone.state_dict())
    duda.fit(alone, (X, Y), epochs=5, seed=3)
    with ThreadPoolExecutor(4) as pool:
        training = pool.submit(duda.fit, beside, (X, Y), epochs=5, seed=3)
        for _ in range(5):
            for found, answer in zip(
                pool.map(lambda m: score(m, 1), models), expected, strict=True
            ):
                torch.testing.assert_close(found, answer)
        training.result()
    for one, other in zip(alone.parameters(), beside.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_network_that_another_thread_calls_answers_as_always() -> None:
    net = network().eval()
    model, expected = duda.MCDropout(net, CLASSES), net(X)
    with ThreadPoolExecutor(2) as pool:
        predicting = pool.submit(lambda: [score(model, 0) for _ in range(10)])
        while not predicting.done():
            torch.testing.assert_close(net(X), expected)
        predicting.result()


def test_who_holds_the_lock_may_ask_again() -> None:
    outer, inner = trained("mc-dropout"), trained("swag")
    expected = score(inner, 0)

    class Asking(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, i: int) -> Tensor:
            torch.testing.assert_close(score(inner, 0), expected)
            return X[i]

    assert len(outer.predict(Asking(), seed=0).probs) == 4
