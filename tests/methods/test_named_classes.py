"""Labels that are words, with every method: learned, kept, and said again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import duda
from duda.likelihoods import LIKELIHOODS
from duda.methods import METHODS, UncertainModel
from tests.pairs import PAIRS, takes_labels
from tests.tables import Table

N, NAMES = 12, ("ant", "bee", "cat")
X = torch.randn(N, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % 3
WORDS = [NAMES[number] for number in Y]


def network(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, width))


def trained(method: str, data: Any, **arguments: Any) -> UncertainModel:
    torch.manual_seed(0)
    model = METHODS[method].from_factory(network, duda.Categorical())
    duda.fit(model, data, epochs=4, seed=0, **arguments)
    return model


@pytest.mark.parametrize("method", [m for m, likelihood in PAIRS if likelihood == "categorical"])
def test_words_are_learned_as_their_numbers(method: str, tmp_path: Path) -> None:
    y = np.array(WORDS, dtype=object)
    model = trained(method, (X, y), validation=None, checkpoint=tmp_path / "checkpoint")
    plain = trained(method, (X, Y))
    answer, expected = model.predict(X, seed=0), plain.predict(X, seed=0)
    assert torch.equal(answer.probs, expected.probs)
    assert (model.classes, answer.classes) == (NAMES, NAMES)
    assert (plain.classes, expected.classes) == (None, None)
    again = trained(method, (X, y), checkpoint=tmp_path / "checkpoint")
    loaded = duda.load(duda.save(model, tmp_path / "model"), network)
    for other in (again, loaded):
        assert other.predict(X, seed=0).classes == NAMES
    with pytest.raises(ValueError, match="of another run: its classes is"):
        trained(method, (X, [word.upper() for word in WORDS]), checkpoint=tmp_path / "checkpoint")


DATA = {
    "list": (X, WORDS),
    "array": (X, np.array(WORDS)),
    "table": (Table(X.numpy()), Table(np.array(WORDS, dtype=object))),
    "within": {"input": X, "labels": WORDS},
}


@pytest.mark.parametrize("kind", DATA)
def test_words_come_in_all_forms(kind: str) -> None:
    expected = trained("deterministic", (X, Y), validation=(X, Y)).predict(X)
    data = DATA[kind]
    model = trained("deterministic", data, validation=data)
    answer = model.predict(X)
    assert torch.equal(answer.probs, expected.probs)
    assert answer.label_names.tolist() == [NAMES[number] for number in answer.labels]
    assert len(model.predict(data if isinstance(data, dict) else data[0])) == N


def test_a_loader_needs_the_order_of_the_classes() -> None:
    def loader() -> DataLoader[Any]:
        return DataLoader([{"input": X[i], "label": WORDS[i]} for i in range(N)], 5)  # type: ignore[arg-type]

    model = duda.Deterministic(network(), duda.Categorical())
    with pytest.raises(ValueError, match=r"name them before, `model.classes = "):
        duda.fit(model, loader(), epochs=1)
    model.classes = NAMES
    duda.fit(model, loader(), epochs=1)
    assert model.predict(loader()).classes == NAMES


def test_names_of_classes_fit_the_network() -> None:
    with pytest.raises(ValueError, match=r"the network has 5 outputs, expected 3 for the classes"):
        duda.fit(duda.Deterministic(network(5), duda.Categorical()), (X, WORDS), epochs=1)
    model = duda.Deterministic(network(5), duda.Categorical())
    model.classes = ("ant", "bee", "cat", "dog", "eel")
    duda.fit(model, (X, WORDS), epochs=1)
    assert model.predict(X).classes == model.classes
    with pytest.raises(ValueError, match="`y of data` holds an unknown class 'fox'"):
        duda.fit(model, (X, ["fox"] * N), epochs=1)
    with pytest.raises(TypeError, match="expected a tensor or array of numbers"):
        duda.fit(duda.Deterministic(network(2), duda.Gaussian()), (X, WORDS), epochs=1)


def test_methods_around_a_model_say_its_names() -> None:
    model = trained("mc-dropout", (X, WORDS))
    around = duda.TestTimeAugmentation(model, transforms=[lambda x: x, torch.neg])
    assert around.predict(X).classes == NAMES
    laplace = duda.Laplace(network(), duda.Categorical())
    laplace.fit_posterior((X, WORDS))
    assert laplace.predict(X).classes == NAMES


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_likelihood_knows_whether_it_is_of_classes(likelihood: str) -> None:
    meaning = LIKELIHOODS[likelihood]()
    assert meaning.of_classes == (takes_labels(meaning) or likelihood == "bernoulli")


def consumers(answer: Any, y: Any) -> list[Any]:
    from duda import decisions, evaluation

    results: list[Any] = [
        evaluation.accuracy(answer, y),
        evaluation.nll(answer, y),
        evaluation.reliability(answer, y).ece,
        evaluation.brier(answer, y),
        answer.is_bad(y).tolist(),
        answer.loss(y).tolist(),
        decisions.ConformalClassifier(alpha=0.3).fit(answer, y)(answer).sets.tolist(),
        str(decisions.Gate.risk(0.9, confidence=0.5).fit(answer, y)),
        evaluation.rank(answer, answer.is_bad(y)).auroc,
        decisions.Temperature().fit(answer, y).temperature,
        duda.report({"one": answer}, y).table,
    ]
    return results


def test_metrics_decisions_and_the_report_take_words() -> None:
    answer = trained("mc-dropout", (X, WORDS)).predict(X, seed=0)
    assert consumers(answer, WORDS) == consumers(answer, Y)
    page = duda.report({"one": answer}, WORDS)
    table = next(part for part in page.sections if part.title == "Class by class").tables[0]
    assert [row[0] for row in table.rows] == list(NAMES)


def test_predictions_keep_names(tmp_path: Path) -> None:
    answer = trained("duq", (X, WORDS)).predict(X)
    for other in (
        answer[:3],
        type(answer).concatenate([answer, answer]),
        duda.load_prediction(answer.save(tmp_path / "answer")),
        answer.to("cpu", torch.float64),
        answer.with_joint(False),
    ):
        assert other.classes == NAMES
    assert "classes=('ant', 'bee', 'cat')" in repr(answer)
    for other in (answer.with_classes(["a", "b", "c"]), dataclasses.replace(answer, classes=None)):
        with pytest.raises(ValueError, match="`predictions` differ in their `classes`"):
            type(answer).concatenate([other, answer])
    with pytest.raises(ValueError, match="`classes` has 2 names, expected 3"):
        answer.with_classes(["a", "b"])
    with pytest.raises(ValueError, match="`y` holds an unknown class 'bees'"):
        answer.is_bad(["bees"] * N)
