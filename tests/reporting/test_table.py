from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duda.reporting import METRICS, rows, spread


def best(measured, metric):
    [row] = [row for row in rows(measured) if row.metric is METRICS[metric]]
    return [cell.best for cell in row.cells]


def one(metric, *values):
    return {f"method {index}": {metric: [value]} for index, value in enumerate(values)}


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        ("accuracy", (0.9, 0.95, 0.8), [False, True, False]),
        ("nll", (0.3, 0.2, 0.4), [False, True, False]),
        ("nll", (-0.3, 0.2, -0.4), [False, False, True]),
        ("coverage", (0.99, 0.90, 0.96), [False, False, True]),
        ("auroc_ood", (0.9, 0.9000001, 0.8), [True, True, False]),
        ("auroc_errors", (math.nan, 0.6, 0.5), [False, True, False]),
        ("auroc_errors", (math.nan, math.nan, math.nan), [False, False, False]),
        ("nll", (math.inf, 0.6, 0.5), [False, False, True]),
        ("nll", (0.3,), [False]),
        ("nll", (0.3, math.nan), [False, False]),
        ("coverage_surplus", (-1e-6, 0.0), [True, True]),
        ("rmse", (2e-6, 9e-6), [True, False]),
    ],
)
def test_the_best_is_marked(metric, values, expected):
    assert best(one(metric, *values), metric) == expected


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        ("accuracy", (0.97868, 1.0), ["97.87 %", "100.00 %"]),
        ("nll", (0.0198, 0.5), ["0.0198", "0.5000"]),
        ("rmse", (123.456, 98.7654), ["123.5", "98.8"]),
        ("nll", (-0.25, 1.5), ["−0.250", "1.500"]),
        ("nll", (math.inf, 0.6), ["∞", "0.600"]),
        ("auroc_errors", (math.nan, 0.6), ["–", "0.600"]),
        ("seconds_predict", (0.0, 0.0), ["0.00", "0.00"]),
        ("rmse", (2e-6, 9.1e-6), ["2.00e−06", "9.10e−06"]),
        ("rmse", (1e24, 9.1e25), ["1.00e+24", "9.10e+25"]),
        ("seconds_train", (12345.6, 0.0123), ["12346", "0.0123"]),
        ("rmse", (0.0, 2e-6), ["0.00", "2.00e−06"]),
        ("nll", (-0.0, 0.5), ["0.000", "0.500"]),
    ],
)
def test_numbers_are_rounded_alike_within_a_row(metric, values, expected):
    [row] = rows(one(metric, *values))
    assert [str(cell) for cell in row.cells] == expected


def test_what_means_another_thing_for_each_has_no_best():
    [row] = rows(one("width", 3.4, 4.1), unranked=("width",))
    assert [cell.best for cell in row.cells] == [False, False]


def test_seeds_give_mean_and_sample_deviation():
    [row] = rows({"a": {"rmse": [1.0, 2.0, 3.0]}, "b": {"rmse": [2.5, 2.5, 2.5]}})
    assert [str(cell) for cell in row.cells] == ["2.00 ± 1.00", "2.50 ± 0.00"]
    assert [cell.best for cell in row.cells] == [True, False]


def test_a_method_without_the_metric_gets_a_dash():
    [row] = rows({"a": {"nll": [1.0]}, "b": {}})
    assert [str(cell) for cell in row.cells] == ["1.00", "–"]


def test_rows_come_in_the_order_of_the_metrics():
    measured = {"a": {"seconds_train": [1.0], "nll": [1.0], "accuracy": [0.5]}}
    assert [row.metric.label for row in rows(measured)] == ["Accuracy", "NLL", "Seconds to train"]


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8), st.floats(-1e3, 1e3))
def test_a_shift_moves_the_mean_and_keeps_the_deviation(values, shift):
    mean, deviation = spread(values)
    moved, same = spread([value + shift for value in values])
    assert moved == pytest.approx(mean + shift, abs=1e-6)
    assert same == pytest.approx(deviation, abs=1e-6)


def test_a_single_seed_has_no_deviation():
    assert spread([3.0]) == (3.0, None)
    assert math.isnan(spread([math.inf, 1.0])[1])
