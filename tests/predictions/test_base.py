"""Slicing, joining and moving predictions of every kind, with draws and without."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from duda import (
    Categorical,
    ClassPrediction,
    Gaussian,
    GaussianPrediction,
    Histogram,
    Laplacian,
    NormalInverseGamma,
    Ordinal,
    QuantilePrediction,
    Quantiles,
    ScoredClassPrediction,
)
from duda.predictions import AffinePrediction, Prediction


def scored(*shape: int) -> ScoredClassPrediction:
    answer = Categorical().reduce(torch.randn(shape), keep_draws=True)
    return ScoredClassPrediction.from_prediction(answer, torch.randn(shape[1], *shape[3:]))


MAKERS = {
    "classes": lambda: Categorical().reduce(torch.randn(4, 6, 3)),
    "classes with draws": lambda: Categorical().reduce(torch.randn(4, 6, 3), keep_draws=True),
    "pixels with draws": lambda: Categorical().reduce(torch.randn(4, 6, 3, 2, 5), keep_draws=True),
    "scored classes": lambda: scored(4, 6, 3),
    "scored pixels": lambda: scored(4, 6, 3, 2, 5),
    "ordinal": lambda: Ordinal().reduce(torch.randn(4, 6, 3)),
    "ordinal with draws": lambda: Ordinal().reduce(torch.randn(4, 6, 3, 2), keep_draws=True),
    "numbers": lambda: Gaussian().reduce(torch.randn(4, 6, 4)),
    "histogram": lambda: Histogram(4).reduce(torch.randn(4, 6, 8)),
    "histogram with draws": lambda: Histogram(4).reduce(torch.randn(4, 6, 8, 2), keep_draws=True),
    "Laplacian": lambda: Laplacian().reduce(torch.randn(4, 6, 4), keep_draws=True),
    "quantiles": lambda: Quantiles((0.1, 0.5, 0.9)).reduce(torch.randn(4, 6, 6)),
    "quantiles with draws": lambda: Quantiles((0.1, 0.6)).reduce(torch.randn(4, 6, 2, 3), True),
    "numbers with draws": lambda: Gaussian().reduce(torch.randn(4, 6, 4), keep_draws=True),
    "Student t": lambda: NormalInverseGamma().reduce(torch.randn(4, 6, 8)),
    "Student t with draws": lambda: NormalInverseGamma().reduce(torch.randn(4, 6, 8), True),
    "affine": lambda: affine(),
}


def affine() -> AffinePrediction:
    base = Gaussian().reduce(torch.randn(4, 6, 4), keep_draws=True)
    return AffinePrediction(base, torch.rand(6, 2) + 1, torch.randn(6, 2))


@pytest.fixture(params=MAKERS)
def answer(request: pytest.FixtureRequest) -> Prediction:
    return MAKERS[request.param]()


def assert_equal(one: Prediction, other: Prediction) -> None:
    assert type(one) is type(other)
    a, b = one.numpy(), other.numpy()
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


CHOSEN = [
    (slice(None), [0, 1, 2, 3, 4, 5]),
    (slice(1, 4), [1, 2, 3]),
    (slice(None, None, 4), [0, 4]),
    (slice(None, None, -1), [5, 4, 3, 2, 1, 0]),
    (slice(4, 1, -2), [4, 2]),
    (slice(-2, None), [4, 5]),
    (slice(4, 99), [4, 5]),
    (slice(3, 3), []),
    ([0, 5, 5, -1], [0, 5, 5, 5]),
    (range(2), [0, 1]),
    ((2, 1), [2, 1]),
    ([], []),
    (np.array([3, -6]), [3, 0]),
    (np.array([3, 1], dtype=np.uint8), [3, 1]),
    (torch.tensor([3, 1], dtype=torch.int32), [3, 1]),
    ([True, False, True, True, False, False], [0, 2, 3]),
    (np.array([False, False, False, False, False, True]), [5]),
    (torch.zeros(6, dtype=torch.bool), []),
]


@pytest.mark.parametrize(("index", "places"), CHOSEN)
def test_chosen_examples_keep_all_that_belongs_to_them(
    answer: Prediction, index: Any, places: list[int]
) -> None:
    chosen, whole = answer[index], answer.numpy()
    assert len(chosen) == len(places)
    where = np.array(places, dtype=int)
    for name, value in chosen.numpy().items():
        expected = whole[name]
        if name not in answer.shared:
            expected = expected[:, where] if name == "draws" else expected[where]
        np.testing.assert_array_equal(value, expected, err_msg=name)


@pytest.mark.parametrize("number", [0, 5, -1, -6, np.int64(2), torch.tensor(2)])
def test_one_number_gives_a_prediction_of_length_one(answer: Prediction, number: Any) -> None:
    assert_equal(answer[number], answer[[int(number)]])
    assert len(answer[number]) == 1


def test_iteration_gives_every_example_once(answer: Prediction) -> None:
    parts = list(answer)
    assert [len(part) for part in parts] == [1] * 6
    assert_equal(type(answer).concatenate(parts), answer)


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (6, IndexError, "asks for example 6 of a prediction for 6, expected -6 to 5"),
        (-7, IndexError, "asks for example -7"),
        ([0, 6], IndexError, "asks for example 6"),
        (torch.tensor([-7]), IndexError, "asks for example -7"),
        ([True, False], IndexError, r"a mask of shape \(2,\), expected \(6,\)"),
        (True, IndexError, r"a mask of shape \(\), expected \(6,\)"),
        ([[0, 1]], IndexError, r"shape \(1, 2\).*expected one dimension"),
        ([0.5], IndexError, "dtype torch.float64, expected one dimension of numbers"),
        (None, TypeError, "`index` is a NoneType"),
        ("first", TypeError, "`index` is a str"),
    ],
)
def test_examples_that_do_not_exist_are_told(
    answer: Prediction, index: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        answer[index]


@pytest.mark.parametrize("cuts", [[], [3], [1, 1, 5]])
def test_parts_join_to_the_whole(answer: Prediction, cuts: list[int]) -> None:
    edges = [0, *cuts, 6]
    parts = [answer[a:b] for a, b in itertools.pairwise(edges)]
    assert_equal(type(answer).concatenate(parts), answer)


def numbers(outputs: int = 2, draws: int | None = None) -> GaussianPrediction:
    return Gaussian().reduce(torch.randn(draws or 4, 6, 2 * outputs), keep_draws=draws is not None)


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ([], ValueError, "`predictions` is empty"),
        ([numbers(), numbers(draws=4)], ValueError, "the same `keep_draws` and `samples`"),
        ([numbers(draws=3), numbers(draws=4)], ValueError, "the same `keep_draws` and `samples`"),
        ([numbers(2), numbers(3)], ValueError, "differ in their classes, outputs"),
        ([numbers(), MAKERS["classes"]()], TypeError, "holds a ClassPrediction"),
        ([numbers(), torch.zeros(3, 2)], TypeError, "holds a Tensor"),
    ],
)
def test_parts_that_do_not_fit_are_told(
    parts: list[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        GaussianPrediction.concatenate(parts)


def test_what_all_examples_share_must_be_the_same() -> None:
    parts = [Quantiles(levels).reduce(torch.randn(1, 3, 2)) for levels in ((0.1, 0.9), (0.2, 0.9))]
    assert QuantilePrediction.concatenate(parts[:1] * 2).quantiles.shape == (6, 2, 1)
    with pytest.raises(ValueError, match="differ in their `levels`: predict all with one model"):
        QuantilePrediction.concatenate(parts)


def test_numpy_holds_all_that_follows(answer: Prediction) -> None:
    arrays = answer.numpy()
    settings = {"joint", "base", "classes"}
    fields = {field.name for field in dataclasses.fields(answer)} - settings  # type: ignore[arg-type]
    kept = fields - {"draws"} if answer.draws is None else fields
    assert arrays.keys() == kept | set(answer.derived)
    for name, value in arrays.items():
        assert isinstance(value, np.ndarray)
        np.testing.assert_array_equal(value, getattr(answer, name).numpy())


def test_predictions_of_a_training_pass_have_arrays_too() -> None:
    answer = Categorical().reduce(torch.randn(2, 3, 4, requires_grad=True))
    assert answer.numpy()["probs"].shape == (3, 4)


def test_to_moves_every_tensor(answer: Prediction) -> None:
    assert_equal(answer.to("cpu"), answer)
    assert_equal(answer.to(torch.device("cpu")), answer)
    if torch.cuda.is_available():
        there = answer.to("cuda")
        assert there.score.is_cuda
        assert there[[0, 2]].score.is_cuda
        assert_equal(there.to("cpu"), answer)


def test_repr_shows_shapes_and_no_numbers() -> None:
    answer = ClassPrediction.from_probs([[0.5, 0.5]])
    assert repr(answer) == "ClassPrediction(log_probs=(1, 2), aleatoric=(1,), votes=(1, 2))"
