from __future__ import annotations

import json

import pytest
import torch

from duda import METHODS, load_prediction
from duda.comparison import compare, writable
from duda.comparison.experiment import targets
from duda.reporting import measure, rows


@pytest.fixture(scope="module")
def moons():
    return compare("two-moons", seeds=2, epochs=1)


@pytest.fixture(scope="module")
def cubic():
    return compare("cubic", ["deterministic", "mc-dropout"], epochs=1)


def without_seconds(comparison):
    return {
        method: {name: v for name, v in each.items() if not name.startswith("seconds")}
        for method, each in comparison.measured.items()
    }


def test_all_methods_run_with_all_seeds(moons):
    assert moons.methods == list(METHODS)
    assert [(each.seed, each.method) for each in moons.runs] == [
        (seed, method) for seed in (0, 1) for method in METHODS
    ]
    assert {each.method for each in moons.runs} == set(METHODS)


def test_the_same_seed_gives_the_same_numbers_and_leaves_the_random_state(moons):
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    again = compare("two-moons", seeds=2, epochs=1)
    assert without_seconds(again) == without_seconds(moons)
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
    assert results["ood"] == "a ring about the moons"
    nll = results["methods"]["deterministic"]["nll"]
    assert nll["mean"] == pytest.approx(sum(nll["values"]) / 2)


def test_saved_predictions_are_those_of_the_table(moons, tmp_path):
    moons.save(tmp_path)
    names = {path.name for path in (tmp_path / "predictions").iterdir()}
    assert names == {
        f"{method}-seed{seed}-{part}.safetensors"
        for method in METHODS
        for seed in (0, 1)
        for part in ("test", "ood")
    }
    test, ood = (
        load_prediction(tmp_path / "predictions" / f"deep-ensemble-seed0-{part}.safetensors")
        for part in ("test", "ood")
    )
    found = measure(test, targets(moons.split), ood)
    assert found == {name: moons.measured["deep-ensemble"][name][0] for name in found}


def test_the_report_shows_all_seeds_in_the_table_and_says_what_was_done(moons):
    report = moons.report()
    assert report.seeds == 2
    assert "±" in str(report.table[0].cells[0])
    assert "1 epoch of training" in report.about
    assert "the first seed" in report.about


def test_numbers_are_in_the_units_of_the_target(cubic):
    y = targets(cubic.split)
    assert float(y.std()) == pytest.approx(cubic.split.y_std, rel=0.2)
    [row] = [row for row in cubic.table if row.metric.label == "RMSE"]
    constant = float((y - cubic.split.y_mean).square().mean().sqrt())
    assert cubic.measured["deterministic"]["rmse"][0] < 1.1 * constant
    assert cubic.measured["deterministic"]["rmse"][0] > 0.05 * constant
    assert len(row.cells) == 2


def test_one_input_is_drawn_as_a_curve(cubic, tmp_path):
    report = cubic.report()
    assert report.sections[0].title == "What is known, and where does it end?"
    assert [chart.method for chart in report.sections[0].charts] == ["deterministic", "mc-dropout"]
    assert cubic.save(tmp_path) == tmp_path / "report.html"


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
