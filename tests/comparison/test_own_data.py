"""`compare` on data of one's own: pairs, Datasets, DataLoaders, named inputs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import duda
from duda import Categorical, Gaussian, MCDropout, Quantiles, compare
from duda.comparison.networks import Recipe
from duda.comparison.options import fit_options
from duda.comparison.task import tasks
from duda.reporting import measure

RANDOM = torch.Generator().manual_seed(0)
X = torch.randn(90, 4, generator=RANDOM)
LABELS = (X[:, 0] > 0).long() + (X[:, 1] > 1).long()
NUMBERS = torch.stack([X[:, 0] ** 2, X.sum(1)], 1)
FAR = X + 20
TWO = ["deterministic", "mc-dropout"]


def network(outputs: int = 3, p: float = 0.2) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(p), nn.Linear(8, outputs))


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, left, right):
        return self.net(torch.cat([left, right], 1))


class Examples(Dataset):
    """Examples that are made one by one."""

    def __len__(self):
        return len(X)

    def __getitem__(self, place):
        return X[place], LABELS[place]


def numbers_of(comparison):
    return {
        method: {name: v for name, v in each.items() if not name.startswith("seconds")}
        for method, each in comparison.measured.items()
    }


@pytest.mark.parametrize(
    "data",
    [(X, LABELS), (X.numpy(), LABELS.tolist()), TensorDataset(X, LABELS), Examples()],
    ids=["tensors", "arrays", "TensorDataset", "Dataset"],
)
def test_a_fifth_of_the_data_is_kept_for_the_test_and_this_is_said(data):
    found = compare(data, TWO, network=network, epochs=2)
    assert found.methods == TWO
    assert len(found.task.test[1]) == 18
    assert found.task.examples == 72
    said = "a fifth of the data, drawn by the seed, is kept for the test"
    assert said in found.results()["chosen"]
    about = found.report().about
    assert said in about
    assert "72 training and 18 test examples" in about
    assert "likelihood: categorical; " in about
    assert "this likelihood because the targets are whole numbers" in about


def test_train_and_test_share_no_example_and_each_seed_draws_its_own():
    x = torch.arange(50.0)[:, None]
    task = tasks((x, x))
    for seed in (0, 1):
        (train, _), (test, y) = task(seed).train, task(seed).test
        assert torch.equal(test, y)
        assert sorted(torch.cat([train, test]).flatten().tolist()) == x.flatten().tolist()
    assert not torch.equal(task(0).test[0], task(1).test[0])
    assert torch.equal(task(0).test[0], task(0).test[0])


def test_a_pair_a_dataset_and_a_loader_give_the_same_numbers():
    pair, held_out = (X[:60], LABELS[:60]), (X[60:], LABELS[60:])

    def numbers(data, test=held_out):
        found = compare(
            data,
            ["deterministic"],
            network=lambda: network(p=0),  # masks would be for other examples in another order
            test=test,
            fit={"epochs": 2, "batch_size": 60},
        )
        assert found.chosen == ["this likelihood because the targets are whole numbers"]
        return numbers_of(found)["deterministic"]

    known = numbers(pair)
    # One that shuffles is read once, so that targets stay with their inputs.
    shuffled = DataLoader(TensorDataset(*held_out), batch_size=7, shuffle=True)
    in_order = DataLoader(TensorDataset(*pair), batch_size=60)
    for other in (numbers(TensorDataset(*pair)), numbers(in_order), numbers(pair, shuffled)):
        assert all(other[name] == pytest.approx(known[name], rel=1e-3) for name in known)


def test_named_inputs():
    data = ({"left": X[:, :2], "right": X[:, 2:]}, LABELS)
    far = {"left": FAR[:, :2], "right": FAR[:, 2:]}
    found = compare(data, TWO, network=Named, ood={"far": far}, epochs=2)
    assert len(found.runs[0].test) == 18
    assert len(found.runs[0].ood["far"]) == 90
    assert found.report().sections


def test_regression_with_two_outputs(tmp_path):
    found = compare((X, NUMBERS), TWO, network=lambda: network(4), ood={"far": FAR}, epochs=3)
    assert found.likelihood == "gaussian"
    assert found.runs[0].test.mean.shape == (18, 2)
    assert (
        measure(found.runs[0].test, found.task.targets)["rmse"]
        == (found.measured["deterministic"]["rmse"][0])
    )
    page = found.save(tmp_path).read_text()
    assert "this likelihood because the targets are floats" in page
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["data"] == "own data"
    assert results["training"] == {"epochs": 3}


def test_one_number_for_each_example_may_be_a_row():
    one, other = (
        compare(
            (X, y), ["deterministic"], network=lambda: network(2), likelihood="gaussian", epochs=2
        )
        for y in (NUMBERS[:, 0], NUMBERS[:, :1])
    )
    assert numbers_of(one) == numbers_of(other)


def test_each_set_of_ood_inputs_has_its_numbers(tmp_path):
    ood = {"far": FAR, "with targets": (X[:9], LABELS[:9]), "loader": DataLoader(FAR, 30)}
    found = compare((X, LABELS), TWO, network=network, ood=ood, seeds=2, epochs=2)
    assert list(found.separation) == ["far", "with targets", "loader"]
    far, near = found.separation["far"], found.separation["with targets"]
    assert found.measured["mc-dropout"]["auroc_ood"] == far["mc-dropout"]
    assert far["deterministic"] == found.separation["loader"]["deterministic"] != near
    report = found.report(ood="with targets")
    assert "9 out-of-distribution inputs (with targets)" in report.about
    [row] = [row for row in report.table if row.metric.label == "AUROC OOD"]
    assert row.cells[0].mean == f"{sum(near['deterministic']) / 2:.3f}"
    found.save(tmp_path)
    assert len(list((tmp_path / "predictions").glob("*-ood3.safetensors"))) == 4
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["auroc_ood"]["far"]["mc-dropout"]["values"] == far["mc-dropout"]
    with pytest.raises(ValueError, match=r"unknown set of inputs 'near': .* Known: far, with"):
        found.report(ood="near")


def test_methods_by_label_differ_in_what_they_are_made_with(tmp_path):
    found = compare(
        (X, LABELS),
        {
            "plain": "deterministic",
            "p = 0.5": lambda make, meaning: MCDropout(network(p=0.5), meaning, samples=5),
            "3 members": lambda make, meaning: duda.DeepEnsemble(make, meaning, members=3),
            "class": duda.SWAG,
        },
        network=network,
        epochs=4,
    )
    assert found.methods == ["plain", "p = 0.5", "3 members", "class"]
    sizes = [found.measured[label]["parameters"][0] for label in found.methods]
    assert sizes[2] == 3 * sizes[0]
    found.save(tmp_path)
    names = {path.name for path in (tmp_path / "predictions").iterdir()}
    assert "p-=-0.5-seed0-test.safetensors" in names


def test_a_method_registered_by_the_user_is_known_by_its_name(monkeypatch):
    class Mine(duda.Deterministic):
        """Registered while the program runs."""

    monkeypatch.setitem(duda.METHODS, "mine", Mine)
    assert compare((X, LABELS), ["mine"], network=network, epochs=1).methods == ["mine"]


def test_options_of_fit_pass_through(tmp_path):
    seen = []

    def optimizer(weights, lr):
        seen.append(lr)
        return torch.optim.SGD(weights, lr=lr)

    found = compare(
        (X, LABELS),
        TWO,
        network=network,
        validation=(X[:20], LABELS[:20]),
        fit={
            "epochs": 5,
            "lr": 0.03,
            "optimizer": optimizer,
            "patience": 2,
            "checkpoint": tmp_path / "states",
        },
    )
    assert set(seen) == {0.03}
    assert found.results()["training"]["lr"] == 0.03
    assert found.results()["training"]["optimizer"] == "optimizer"
    states = {path.name for path in (tmp_path / "states").iterdir()}
    assert states == {"deterministic-seed0", "mc-dropout-seed0"}


@pytest.mark.parametrize("likelihood", ["quantiles", Quantiles(levels=(0.1, 0.5, 0.9))])
def test_a_likelihood_by_name_or_as_it_is(likelihood):
    meaning = Quantiles() if isinstance(likelihood, str) else likelihood
    found = compare(
        (X, NUMBERS),
        ["deterministic"],
        network=lambda: network(meaning.width(2)),
        likelihood=likelihood,
        epochs=1,
    )
    assert found.runs[0].test.levels.tolist() == pytest.approx(list(meaning.levels))
    assert found.likelihood == ("quantiles" if isinstance(likelihood, str) else repr(meaning))


def test_by_default_what_the_network_cannot_serve_is_left_out_and_told():
    told: list[str] = []
    plain = lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))  # noqa: E731
    found = compare((X, LABELS), network=plain, epochs=6, tell=told.append)
    assert "mc-dropout" not in found.methods
    assert {"deterministic", "deep-ensemble", "swag"} < set(found.methods)
    assert "random" in found.left_out["mc-dropout"]
    assert any(line.startswith("left out mc-dropout: ") for line in told)
    assert "without mc-dropout (" in found.report().about
    assert "mc-dropout" in found.results()["left_out"]
    with pytest.raises(ValueError, match="random"):
        compare((X, LABELS), TWO, network=plain, epochs=6)


def test_pictures_beyond_the_range_of_pictures_are_not_shown():
    x = torch.randn(40, 1, 8, 8, generator=RANDOM)
    make = lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3))  # noqa: E731
    shown = []
    for pictures in (x, x.sigmoid()):
        found = compare((pictures, LABELS[:40]), ["deterministic"], network=make, epochs=1)
        shown.append(found.report().html().count("data:image/png"))
    assert shown[0] < shown[1]


def test_labels_may_be_words():
    names = ("ant", "bee", "cat")
    words = [names[number] for number in LABELS]
    options = {"network": network, "epochs": 2}
    expected = compare((X[:60], LABELS[:60]), TWO, test=(X[60:], LABELS[60:]), **options)
    found = compare((X[:60], words[:60]), TWO, test=(X[60:], words[60:]), **options)
    assert numbers_of(found) == numbers_of(expected)
    assert found.task.classes == names
    assert compare((X, words), TWO, **options).task.classes == names


def test_names_of_classes_are_shown():
    names = ("cat", "dog", "ship")
    found = compare((X, LABELS), ["deterministic"], network=network, epochs=1, classes=names)
    assert "ship" in found.report().html()


class Endless(IterableDataset):
    def __iter__(self):
        return iter(zip(X, LABELS, strict=True))


def only_one():
    return SHARED


SHARED = network()
GOOD = {"data": (X, LABELS), "methods": TWO, "network": network, "fit": {"epochs": 1}}
BAD = {
    "no network": ({"network": None}, "`network` is missing, expected for data of your own a fun"),
    "a module": ({"network": SHARED}, "`network` is a Sequential, expected a function that makes"),
    "no modules": ({"network": list}, "`network` made a list, expected a torch.nn.Module"),
    "one module": ({"network": only_one}, "`network` gives the same module each time"),
    "no epochs": ({"fit": {}}, "`epochs` is missing, .*`epochs=20`, or `steps`"),
    "both": ({"epochs": 2, "steps": 3, "fit": {}}, "`epochs` and `steps` are both given"),
    "steps twice": ({"steps": 2, "fit": {"steps": 2}}, "`steps` is given and in `fit`"),
    "no steps": ({"steps": 0, "fit": {}}, "`steps` is 0"),
    "log": ({"fit": {"epochs": 1, "log": "a.csv"}}, "`fit` holds 'log' as a path"),
    "two epochs": ({"epochs": 3}, "`epochs` is given and in `fit`"),
    "zero epochs": ({"fit": {"epochs": 0}}, "`epochs` is 0"),
    "unknown option": ({"fit": {"epoch": 1}}, "unknown option of `duda.fit` 'epoch': did you mean"),
    "seed": ({"fit": {"epochs": 1, "seed": 2}}, "`fit` holds 'seed', expected among .*`seeds`"),
    "unknown method": ({"methods": ["mc-dropot"]}, "unknown method 'mc-dropot': did you mean"),
    "one name": ({"methods": "mc-dropout"}, "`methods` is 'mc-dropout', expected a list of names"),
    "no function": ({"methods": {"a": 3}}, r"`methods\['a'\]` is a int, expected a method's name"),
    "no arguments": (
        {"methods": {"a": lambda: 1}},
        r"`methods\['a'\]` is a function, .*network fac",
    ),
    "a model": (
        {"methods": {"a": MCDropout(network(3), Categorical())}},
        r"`methods\['a'\]` is a MCDropout, .* that returns a new model",
    ),
    "a list of classes": ({"methods": [MCDropout]}, r"`methods` holds <class .*'label': method"),
    "no brackets": ({"likelihood": Gaussian}, r"`likelihood` is a ABCMeta, .*with its brackets"),
    "same files": ({"methods": {"a b": "swag", "a/b": "swag"}}, "labels that differ in letters"),
    "no model": ({"methods": {"a": lambda make, _: make()}}, r"`methods\['a'\]` made a Sequential"),
    "other likelihood": (
        {"methods": {"a": lambda make, _: MCDropout(make(), Categorical(ignore_index=7))}},
        "made a model with the likelihood Categorical.*ignore_index=7",
    ),
    "unknown likelihood": ({"likelihood": "categoricl"}, "unknown likelihood 'categoricl'"),
    "wrong likelihood": ({"likelihood": "gaussian"}, "own data, which is a classification, one of"),
    "wrong instance": (
        {"likelihood": Gaussian()},
        r"`likelihood` is 'Gaussian\(.*floor=.*one of cat",
    ),
    "unserved": ({"methods": ["duq"], "likelihood": "dirichlet"}, "'duq', which does not take"),
    "ood by name": ({"ood": "digits"}, "`ood` is 'digits', the name of a data set, expected for"),
    "ood as tensor": ({"ood": FAR}, "`ood` is a Tensor, expected inputs by their name"),
    "ood of another width": (
        {"ood": {"wide": torch.zeros(5, 7)}},
        r"cannot take the inputs of `ood\['wide'\]`, x \(2, 7\): ",
    ),
    "test of another width": (
        {"test": (torch.zeros(5, 7), LABELS[:5])},
        r"cannot take the inputs of `test`, x \(2, 7\): ",
    ),
    "too few": ({"data": (X[:4], LABELS[:4])}, "`data` has 4 examples, expected at least 5 to"),
    "lengths": ({"data": (X[:40], LABELS)}, "`data` has 40 inputs but 90 targets"),
    "iterable": ({"data": Endless()}, "`test` is missing, expected with a Endless, of which none"),
    "loader": ({"data": DataLoader(Examples())}, "`test` is missing, expected with a DataLoader"),
    "nothing known": ({"data": 7}, "`data` is a int, expected the name of a data set, a pair"),
    "labels": ({"network": lambda: network(2)}, "the label 2, expected 0 to 1"),
    "outputs": (
        {"data": (X, NUMBERS), "network": lambda: network(3)},
        r"`network` puts out \(3,\) numbers .* expected \(4,\) for targets of 2 columns",
    ),
    "flat targets": (
        {"data": (X, X[:, 0])},
        r"`network` puts out \(3,\) numbers .* expected \(2,\) for targets of 1 columns",
    ),
    "a name with a test": ({"data": "two-moons", "test": (X, LABELS)}, "`test` is given, but the"),
    "a name with classes": ({"data": "two-moons", "classes": "ab"}, "`classes` is given, but the"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_get_a_sentence_before_training(case):
    changed, message = BAD[case]
    told: list[str] = []
    with pytest.raises((TypeError, ValueError), match=message):
        compare(**(GOOD | changed), tell=told.append)
    assert told == []


def test_a_method_that_fails_does_so_before_any_is_trained():
    told: list[str] = []
    broken = {"good": "deterministic", "bad": lambda make, meaning: duda.SWAG(make(), meaning)}
    with pytest.raises(ValueError, match="SWAG"):
        compare((X, LABELS), broken, network=network, fit={"epochs": 1}, tell=told.append)
    assert told == []


def test_numpy_numbers_are_numbers():
    found = compare(
        (X, LABELS), TWO, network=network, fit={"epochs": np.int64(2)}, seeds=np.int64(1)
    )
    assert found.results()["training"] == {"epochs": 2}
    json.dumps(found.results())


def test_a_built_in_set_takes_a_network_and_inputs_of_ones_own():
    x = torch.full((30, 2), 9.0)
    make = lambda: nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))  # noqa: E731
    found = compare("two-moons", ["deterministic"], network=make, ood={"far": x}, epochs=1)
    assert found.measured["deterministic"]["parameters"] == [42]
    assert list(found.separation) == ["far"]


def test_steps_and_a_training_are_arguments_too() -> None:
    told: list[dict[str, Any]] = []
    mine = duda.Training(lr=0.5, batch_size=10)
    found = compare(
        (X, LABELS), TWO, network=network, steps=3, training=mine, fit={"log": told.append}
    )
    assert {each["step"] for each in told} == {3}
    assert "3 steps of training each" in found.report().html()
    assert fit_options(None, Recipe(epochs=3, lr=0.01, batch_size=8), steps=2) == {
        "lr": 0.01,
        "batch_size": 8,
        "steps": 2,
    }


def test_a_training_of_ones_own_takes_the_place_of_the_usual_settings() -> None:
    mine = duda.Training(lr=0.5)
    found = fit_options({"training": mine}, Recipe(epochs=3, lr=0.01, batch_size=8))
    assert found == {"training": mine, "epochs": 3}


@pytest.mark.parametrize("kind", [torch.long, torch.float32])
def test_whole_numbers_may_be_counts(kind: torch.dtype) -> None:
    y = torch.poisson((X[:, 0] / 2).exp(), generator=torch.Generator().manual_seed(0)).to(kind)
    options = {"methods": TWO, "network": lambda: network(1), "fit": {"epochs": 2}}
    found = compare((X, y), likelihood="poisson", **options)
    assert found.measured["mc-dropout"].keys() >= {"nll", "rmse", "coverage"}
    with pytest.raises(ValueError, match=r"`likelihood` is 'poisson', expected for own data"):
        compare((X, y - 3), likelihood="poisson", **options)
