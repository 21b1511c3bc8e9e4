"""Each check lets good input through, and tells bad input in one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from duda.checks import (
    as_tensor,
    at_least_float32,
    check_count,
    check_finite,
    check_not_empty,
    check_same_shape,
    check_share,
    check_whole,
    nearest,
    plain_number,
)


@pytest.mark.parametrize(
    ("value", "dtype", "numbers"),
    [
        (0.5, torch.float64, 0.5),
        ([1, 2], torch.int64, [1, 2]),
        (np.ones(2, np.float32), torch.float32, [1, 1]),
        (np.ones(2, bool), torch.bool, [True, True]),
        (np.ones(2, ">f8"), torch.float64, [1, 1]),
        (np.arange(3, dtype=">i2"), torch.int16, [0, 1, 2]),
        (np.full(2, 0.5, np.longdouble), torch.float64, [0.5, 0.5]),
        (np.arange(3)[::-1], torch.int64, [2, 1, 0]),
        (torch.ones(2, dtype=torch.float16), torch.float16, [1, 1]),
        ([torch.zeros(1), torch.ones(1)], torch.float32, [[0], [1]]),
    ],
)
def test_arrays_become_tensors_of_their_dtype(value: Any, dtype: torch.dtype, numbers: Any) -> None:
    tensor = as_tensor(value, "value")
    assert tensor.dtype == dtype
    assert tensor.tolist() == numbers


def test_arrays_are_copied_and_tensors_are_detached() -> None:
    array = np.zeros(3)
    array.flags.writeable = False
    as_tensor(array, "x")[0] = 1
    assert not array.any()
    weight = torch.zeros(3, requires_grad=True)
    assert not as_tensor(weight, "x").requires_grad


@pytest.mark.parametrize("value", ["a", None, object(), [[1], [1, 2]], np.array(["a"])])
def test_what_holds_no_numbers_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^`y` is a \w+, expected a tensor or array of numbers: "):
        as_tensor(value, "y")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.int64, torch.float32),
        (torch.bool, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_short_numbers_are_widened(given: torch.dtype, expected: torch.dtype) -> None:
    assert at_least_float32(torch.ones(1, dtype=given)).dtype == expected


def test_finite_values_pass_and_others_are_counted() -> None:
    for fine in (torch.zeros(2), torch.zeros(0), torch.tensor([1]), torch.tensor([True])):
        check_finite(fine, "x")
    bad = torch.tensor([[0.0, torch.inf], [torch.nan, -torch.inf]])
    with pytest.raises(ValueError, match=r"`x` has 1 NaN and 2 infinite .* index \[0, 1\]: remove"):
        check_finite(bad, "x")
    with pytest.raises(ValueError, match=r": look again\.$"):
        check_finite(bad, "x", "look again")


def test_empty_values_are_told() -> None:
    check_not_empty(torch.zeros(1), "x")
    with pytest.raises(ValueError, match=r"`x` has shape \(0, 3\) and is empty"):
        check_not_empty(torch.zeros(0, 3), "x")


@pytest.mark.parametrize(
    ("found", "expected", "remedy"),
    [
        ((4, 1), (4,), r"call `y.squeeze\(1\)`"),
        ((4,), (4, 1), r"call `y.unsqueeze\(1\)`"),
        ((4, 3, 1), (4, 3), r"call `y.squeeze\(2\)`"),
        ((4,), (5,), "reshape it to match the outputs"),
        ((1, 4), (4,), "reshape it to match the outputs"),
        ((), (4,), "reshape it to match the outputs"),
    ],
)
def test_shapes_are_told_with_their_remedy(
    found: tuple[int, ...], expected: tuple[int, ...], remedy: str
) -> None:
    check_same_shape(torch.zeros(expected), "y", expected, "the outputs")
    with pytest.raises(ValueError, match=remedy):
        check_same_shape(torch.zeros(found), "y", expected, "the outputs")


def test_unknown_names_are_told_with_the_nearest() -> None:
    known = ["mnist", "fashion-mnist", "uci:NAME"]
    assert "did you mean 'mnist'" in nearest("MNIST", known, "data set")
    assert "did you mean 'fashion-mnist'" in nearest("fashion_mnist", known, "data set")
    assert "did you mean 'uci:NAME'" in nearest("uci:name", known, "data set")
    assert nearest("zzz", known, "data set") == (
        "unknown data set 'zzz': Known: mnist, fashion-mnist, uci:NAME."
    )


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array([1, 3]).max()])
def test_whole_numbers_of_numpy_count(value: Any) -> None:
    for found in (check_count(value, "k"), check_whole(value, "seed"), plain_number(value)):
        assert type(found) is int
        assert found == 3


@pytest.mark.parametrize("value", [0.1, np.float64(0.1), np.float32(0.1)])
def test_floats_of_numpy_are_shares_as_they_are_written(value: Any) -> None:
    share = check_share(value, "alpha")
    assert type(share) is float
    assert share == 0.1


@pytest.mark.parametrize("value", [True, np.bool_(True), 1.0, "1", None, np.nan, torch.tensor(1)])
def test_what_is_no_whole_number_is_told(value: Any) -> None:
    with pytest.raises(ValueError, match=r"`k` is .*, expected a whole number of at least 0\."):
        check_count(value, "k", least=0)
    with pytest.raises(ValueError, match=r"`seed` is .*, expected a whole number\."):
        check_whole(value, "seed")


@pytest.mark.parametrize("value", [True, 0, 1, 1.0, "0.1", None, np.float32(np.nan), -0.1])
def test_what_is_no_share_is_told(value: Any) -> None:
    with pytest.raises(ValueError, match=r"`alpha` is .*, expected a share between 0 and 1, such"):
        check_share(value, "alpha")


def test_objects_that_are_numbers_are_numbers():
    mixed = np.array([[1, 2.5], [np.float32(3), True]], dtype=object)
    assert as_tensor(mixed, "x").tolist() == [[1.0, 2.5], [3.0, 1.0]]
    for lost in (None, "1"):
        with pytest.raises(TypeError, match="`x` is a ndarray, expected a tensor or array of num"):
            as_tensor(np.array([1, lost], dtype=object), "x")
