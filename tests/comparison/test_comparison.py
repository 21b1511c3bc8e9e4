from __future__ import annotations

import json

import pytest
import torch

from duda import METHODS, Categorical, Quantiles, load_prediction
from duda.comparison import compare, writable
from duda.reporting import measure, rows

TAKE_CLASSES = [name for name in METHODS if issubclass(Categorical, METHODS[name].likelihoods)]


@pytest.fixture(scope="module")
def moons():
    return compare("two-moons", seeds=2, epochs=2)  # SWAG needs two


@pytest.fixture(scope="module")
def cubic():
    return compare("cubic", ["deterministic", "mc-dropout"], epochs=1)


@pytest.fixture(scope="module")
def quantiles():
    return compare("cubic", ["deterministic", "mc-dropout"], likelihood="quantiles", epochs=1)


def without_seconds(comparison):
    return {
        method: {name: v for name, v in each.items() if not name.startswith("seconds")}
        for method, each in comparison.measured.items()
    }


def test_all_methods_run_with_all_seeds(moons):
    assert moons.methods == TAKE_CLASSES
    assert [(each.seed, each.method) for each in moons.runs] == [
        (seed, method) for seed in (0, 1) for method in TAKE_CLASSES
    ]


def test_the_same_seed_gives_the_same_numbers_and_leaves_the_random_state(moons):
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    again = without_seconds(compare("two-moons", seeds=1, epochs=2))
    assert again.keys() == set(TAKE_CLASSES)
    for method, each in without_seconds(moons).items():
        assert again[method] == {name: values[:1] for name, values in each.items()}
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_seeds_differ(moons):
    first, second = moons.measured["deterministic"]["nll"]
    assert first != second


def test_results_read_back_give_the_same_table(moons, tmp_path):
    moons.save(tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    measured = {
        method: {name: number["values"] for name, number in each.items()}
        for method, each in results["methods"].items()
    }
    assert rows(measured) == moons.table
    assert (results["data"], results["seeds"]) == ("two-moons", [0, 1])
    assert (results["ood"], results["likelihood"]) == ("a ring about the moons", "categorical")
    nll = results["methods"]["deterministic"]["nll"]
    assert nll["mean"] == pytest.approx(sum(nll["values"]) / 2)


def test_saved_predictions_are_those_of_the_table(moons, tmp_path):
    moons.save(tmp_path)
    names = {path.name for path in (tmp_path / "predictions").iterdir()}
    assert names == {
        f"{method}-seed{seed}-{part}.safetensors"
        for method in TAKE_CLASSES
        for seed in (0, 1)
        for part in ("test", "ood")
    }
    test, ood = (
        load_prediction(tmp_path / "predictions" / f"deep-ensemble-seed0-{part}.safetensors")
        for part in ("test", "ood")
    )
    found = measure(test, moons.task.targets, ood)
    assert found == {name: moons.measured["deep-ensemble"][name][0] for name in found}


def test_the_report_shows_all_seeds_in_the_table_and_says_what_was_done(moons):
    report = moons.report()
    assert report.seeds == 2
    assert "±" in str(report.table[0].cells[0])
    assert "2 epochs of training" in report.about
    assert "the first seed" in report.about


def test_numbers_are_in_the_units_of_the_target(cubic):
    y = cubic.task.targets
    assert float(y.std()) == pytest.approx(cubic.task.split.y_std, rel=0.2)
    [row] = [row for row in cubic.table if row.metric.label == "RMSE"]
    constant = float((y - cubic.task.split.y_mean).square().mean().sqrt())
    assert cubic.measured["deterministic"]["rmse"][0] < 1.1 * constant
    assert cubic.measured["deterministic"]["rmse"][0] > 0.05 * constant
    assert len(row.cells) == 2


def test_one_input_is_drawn_as_a_curve(cubic, tmp_path):
    report = cubic.report()
    assert report.sections[0].title == "What is known, and where does it end?"
    assert [chart.method for chart in report.sections[0].charts] == ["deterministic", "mc-dropout"]
    assert cubic.save(tmp_path) == tmp_path / "report.html"


def test_a_likelihood_may_be_chosen(quantiles, cubic, tmp_path):
    assert list(quantiles.measured["mc-dropout"])[:4] == ["rmse", "pinball", "coverage", "width"]
    assert quantiles.results()["likelihood"] == "quantiles"
    assert "likelihood: quantiles" in quantiles.report().about
    # In the units of the target, as those of the Gaussian.
    for name in ("deterministic", "mc-dropout"):
        ratio = quantiles.measured[name]["rmse"][0] / cubic.measured[name]["rmse"][0]
        assert 0.5 < ratio < 2
    quantiles.save(tmp_path)
    answer = load_prediction(tmp_path / "predictions" / "mc-dropout-seed0-test.safetensors")
    assert answer.levels.tolist() == list(Quantiles().levels)
    y = quantiles.task.targets
    assert measure(answer, y)["width"] == quantiles.measured["mc-dropout"]["width"][0]


@pytest.mark.parametrize("data", ["two-moons", "cubic"])
def test_methods_that_do_not_take_the_likelihood_are_left_out_with_a_line(data, monkeypatch):
    monkeypatch.setattr(METHODS["mc-dropout"], "likelihoods", (Categorical,))
    kept = {name: METHODS[name] for name in ("deterministic", "mc-dropout")}
    for module in ("side_by_side", "makers"):
        monkeypatch.setattr(f"duda.comparison.{module}.METHODS", kept)
    told: list[str] = []
    found = compare(data, epochs=1, tell=told.append)
    if data == "two-moons":
        assert found.methods == ["deterministic", "mc-dropout"]
        assert len(told) == 2
        return
    assert found.methods == ["deterministic"]
    assert told[0] == "left out, because they do not take the likelihood gaussian: mc-dropout"
    with pytest.raises(ValueError, match="names 'mc-dropout', which does not take the likelihood"):
        compare(data, ["mc-dropout"])


def test_what_has_no_number_is_null_in_the_results(cubic):
    cubic.runs[0].figures["nll"] = float("nan")
    cubic.runs[1].figures["nll"] = float("inf")
    methods = cubic.results()["methods"]
    assert methods["deterministic"]["nll"]["values"] == [None]
    assert methods["mc-dropout"]["nll"]["values"] == ["inf"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": "digit"}, "unknown data set 'digit': did you mean 'digits'"),
        ({"methods": ["mc-dropot"]}, "unknown method 'mc-dropot': did you mean 'mc-dropout'"),
        ({"methods": []}, "`methods` is empty"),
        ({"methods": ["mc-dropout", "mc-dropout"]}, "more than once"),
        ({"likelihood": "quantile"}, "unknown likelihood 'quantile': did you mean 'quantiles'"),
        ({"likelihood": "gaussian"}, "which is a classification, one of categorical, "),
        ({"data": "cubic", "likelihood": "dirichlet"}, "which is a regression, one of gaussian, "),
        ({"seeds": 0}, "`seeds` is 0"),
        ({"epochs": -1}, "`epochs` is -1"),
        ({"ood": "digits"}, "choose a data set of the same shape"),
        ({"ood": "two-moons"}, "what the network is trained on"),
    ],
)
def test_bad_arguments_get_a_sentence_before_training(arguments, message):
    told: list[str] = []
    with pytest.raises(ValueError, match=message):
        compare(**({"data": "two-moons"} | arguments), tell=told.append)
    assert told == []


def test_a_folder_is_unmade_if_nothing_was_written(tmp_path):
    with writable(tmp_path / "a" / "b") as folder:
        assert list(folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_stays(tmp_path):
    with writable(tmp_path / "a") as folder:
        (folder / "kept").touch()
    assert (tmp_path / "a" / "kept").exists()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot write"), writable(tmp_path / "file" / "a"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
