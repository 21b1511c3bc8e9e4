"""One adapter for predictions and plain arrays: what comes out, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from duda import (
    Categorical,
    ClassPrediction,
    Gaussian,
    GaussianPrediction,
    NumberPrediction,
    QuantilePrediction,
)
from duda.checks import as_tensor
from duda.predictions.given import (
    centres,
    class_arrays,
    number_prediction,
    prediction_given,
    score_of,
    scored,
)

CLASSES = ClassPrediction.from_probs([[0.5, 0.5]])
NUMBERS = GaussianPrediction([[0.0]], [[4.0]])
QUANTILES = QuantilePrediction([[[-1.0], [0.0], [1.0]]], [0.1, 0.5, 0.9])


def test_predictions_pass_as_they_are() -> None:
    assert prediction_given(QUANTILES, NumberPrediction, "mean") is QUANTILES
    assert prediction_given([0.0], NumberPrediction, "mean") is None
    assert class_arrays(CLASSES, None) == (None, CLASSES.log_probs)
    assert number_prediction(QUANTILES) == (QUANTILES, (1, 1))
    assert torch.equal(centres(QUANTILES), torch.zeros(1, 1).double())
    assert scored(NUMBERS).tolist() == [[2.0]]


def test_arrays_pass_too() -> None:
    assert class_arrays([[0.5, 0.5]], None) == ([[0.5, 0.5]], None)
    assert class_arrays(None, [[0.0, 0.0]]) == (None, [[0.0, 0.0]])
    assert centres([1.0]) == [1.0]
    assert scored([1.0]).dtype == torch.float64
    values = [1.0, 2.0]
    assert score_of(values) is values


def test_a_prediction_is_no_array() -> None:
    for make in (np.asarray, lambda value: as_tensor(value, "y")):
        with pytest.raises(TypeError, match=r"it is no array, but its `numpy\(\)` holds arrays"):
            make(NUMBERS)


def test_likelihoods_of_draws() -> None:
    answer = Categorical().reduce(torch.randn(4, 6, 3), keep_draws=True)
    y = torch.randint(3, (6,))
    found = torch.stack(list(answer.log_likelihoods(y)))
    torch.testing.assert_close(found, answer.draws[:, range(6), y].double().log())
    [own] = Categorical().reduce(torch.randn(4, 6, 3)).log_likelihoods(y)
    assert own.shape == (6,)
    numbers, target = Gaussian().reduce(torch.randn(4, 6, 4), keep_draws=True), torch.randn(6, 2)
    mixed = torch.stack(list(numbers.log_likelihoods(target))).logsumexp(0) - np.log(4)
    torch.testing.assert_close(mixed, numbers.log_prob(target).double(), rtol=1e-5, atol=1e-5)
    with pytest.raises(TypeError, match="has no `log_prob`"):
        list(QUANTILES.log_likelihoods([[0.0]]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: class_arrays(NUMBERS, None),
            "`probs` is a GaussianPrediction, expected a ClassPrediction or probabilities",
        ),
        (lambda: class_arrays(None, None), "either `probs` or `logits=`"),
        (lambda: class_arrays(CLASSES, [[0.0, 0.0]]), "either `probs` or `logits=`"),
        (
            lambda: number_prediction(CLASSES),
            "`mean` is a ClassPrediction, expected a NumberPrediction or means",
        ),
        (lambda: number_prediction(NUMBERS, [1.0]), "`std` comes with the GaussianPrediction"),
        (lambda: number_prediction([0.0]), "`std` is missing beside a list"),
        (lambda: number_prediction(None, [1.0]), "`mean` is missing"),
        (lambda: centres(CLASSES), "`mean` is a ClassPrediction"),
        (lambda: centres(None), "`mean` is missing"),
        (lambda: centres(CLASSES, instead="`accuracy`"), "or means: call `accuracy`"),
    ],
)
def test_what_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def test_abilities_are_asked_for_by_name() -> None:
    NUMBERS.check_can("std", "cdf", "log_prob")
    with pytest.raises(TypeError, match="a QuantilePrediction has no `std`, which this needs"):
        QUANTILES.check_can("quantile", "std", "cdf")
    with pytest.raises(TypeError, match="has no `mean`"):
        QUANTILES.stretched(torch.ones(1))
