"""Probabilities: what is one, what rounding did to it, and the remedies for what is none."""

from typing import Any

import numpy as np
import pytest
import torch

from duda import ClassPrediction
from duda.decisions import ConformalClassifier, Temperature
from duda.evaluation import accuracy, brier, nll
from duda.probabilities import check_probs, log_probs_from


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_softmax_of_any_length_is_a_distribution(dtype: torch.dtype) -> None:
    for classes in (2, 10, 1000):
        check_probs(torch.randn(50, classes).softmax(1).to(dtype))
        check_probs(torch.randn(5, classes, 2, 2).softmax(1).to(dtype))


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        (torch.tensor([0.5, 0.5]), r"expected \(N, C\) or \(N, C, \*positions\)"),
        (torch.ones(3, 1), "two classes given as one column, stack `1 - probs` and `probs`"),
        (torch.zeros(0, 2), "empty"),
        (torch.tensor([[3, 1]]), r"lies in \[1, 3\], expected \[0, 1\]: pass raw outputs"),
        (torch.tensor([[torch.nan, 1.0]]), "1 NaN"),
        (torch.tensor([[-0.1, 1.1]]), r"lies in \[-0.1, 1.1\]"),
        (torch.tensor([[0.5, 0.4]]), "0.1 away from 1"),
        (torch.tensor([[0.3, 0.7], [0.7, 0.3], [0.2, 0.8]]).T, "sums over dimension 1"),
    ],
)
def test_no_distributions_are_told(probs: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_probs(probs)
    with pytest.raises(ValueError, match=message):
        log_probs_from(probs, None)


def test_probs_and_logits_give_the_same_log_probabilities() -> None:
    logits = torch.randn(6, 4, 3, dtype=torch.float64)
    expected = logits - logits.logsumexp(1, keepdim=True)
    torch.testing.assert_close(log_probs_from(None, logits), expected)
    torch.testing.assert_close(log_probs_from(logits.softmax(1), None), expected)
    assert log_probs_from([[1.0, 0.0]], None).tolist() == [[0, -np.inf]]
    assert log_probs_from(None, [[1000, 0]]).tolist() == [[0, -1000]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_logits_are_reduced_in_float32(dtype: torch.dtype) -> None:
    logits = torch.tensor([[3, 1, 2]], dtype=dtype)
    expected = torch.tensor([[3.0, 1.0, 2.0]]).log_softmax(1)
    torch.testing.assert_close(log_probs_from(None, logits), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ([0.0, 1.0], r"`logits` has shape \(2,\), expected \(N, C\)"),
        ([[0.0], [1.0]], "stack zeros and `logits`"),
        (np.zeros((0, 2)), "empty"),
        ([[np.nan, 0.0]], "NaN or"),
        ([[np.inf, 0.0]], r"\+infinite"),
        ([[-np.inf, -np.inf]], "-infinite ones for all classes"),
    ],
)
def test_bad_logits_are_told(logits: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        log_probs_from(None, logits)


def test_just_one_of_probs_and_logits_is_taken() -> None:
    for both in ((None, None), ([[0.5, 0.5]], [[0.0, 0.0]])):
        with pytest.raises(TypeError, match="either `probs` or `logits=`"):
            log_probs_from(*both)


def test_a_softmax_in_bfloat16_counts_as_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    probs = torch.randn(500, 10, generator=generator).bfloat16().softmax(1)
    assert float((probs.double().sum(1) - 1).abs().max()) > 1e-3
    check_probs(probs)


@pytest.mark.parametrize(
    ("probs", "mended"),
    [
        ([[1.0, -1e-17, 0.0], [0.2, 0.3, 0.5]], [[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]]),
        ([[0.7, 0.3004, -4e-4]], [[0.7 / 1.0004, 0.3004 / 1.0004, 0.0]]),
        ([[0.4002, 0.6002]], [[0.4002 / 1.0004, 0.6002 / 1.0004]]),
        ([[0.3333, 0.3333, 0.3333]], [[1 / 3, 1 / 3, 1 / 3]]),
        ([[0.1 + 0.2, 0.7]], [[0.1 + 0.2, 0.7]]),  # bit by bit
        ([[1, 0], [0, 1]], [[1.0, 0.0], [0.0, 1.0]]),
        ([[True, False]], [[1.0, 0.0]]),
    ],
)
def test_what_rounding_did_is_mended(probs: Any, mended: Any) -> None:
    found, wanted = check_probs(torch.tensor(probs)), torch.tensor(mended, dtype=torch.float64)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-7, atol=1e-9)
    exact = torch.tensor(probs, dtype=torch.float64)
    if torch.equal(exact, wanted):
        assert torch.equal(check_probs(exact), exact)
    labels = [0] * len(probs)
    assert nll(exact, labels) == pytest.approx(nll(wanted, labels), rel=1e-9)
    assert nll(ClassPrediction.from_probs(exact), labels) == pytest.approx(nll(wanted, labels))
    assert brier(exact, labels) == pytest.approx(brier(wanted, labels))
    torch.testing.assert_close(
        Temperature().fit(PROBS, [0, 1, 0, 1, 1]).temperature,
        Temperature().fit(1.0004 * PROBS, [0, 1, 0, 1, 1]).temperature,
    )


PROBS = torch.tensor(
    [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3], [0.3, 0.7]], dtype=torch.float64
)


@pytest.mark.parametrize(
    "probs",
    [
        [[0.01, 0.99, 0.01], [0.33, 0.33, 0.33]],
        [[0.99, 0.0], [0.5, 0.5]],
        [[0.5, 0.51], [0.5, 0.5]],
        [[0.5, 0.495, -5e-4], [0.5, 0.5, 0.0]],
    ],
)
def test_probabilities_of_few_digits_are_to_be_divided_by_their_sum(probs: Any) -> None:
    for metric in (nll, brier, accuracy, Temperature().fit, ConformalClassifier().fit):
        with pytest.raises(ValueError, match=r"rounded: divide by their sum") as told:
            metric(probs, [1, 0])
        assert "logits" not in str(told.value)
    divided = np.array(probs) / np.array(probs).sum(1, keepdims=True)
    assert np.isfinite(accuracy(divided, [1, 0]))


@pytest.mark.parametrize(
    "outputs", [[[2.0, -1.0]], [[0.3, 0.9]], [[-0.02, 1.02]], [[0.2, 0.2, 0.2]], [[-5.0, 6.0]]]
)
def test_raw_outputs_are_to_be_passed_as_logits(outputs: Any) -> None:
    with pytest.raises(ValueError, match="pass raw outputs as `logits=`"):
        nll(outputs, [0])


def test_one_hot_rows_are_shares_of_votes_and_no_class_numbers() -> None:
    y, rows = [0, 1, 0, 1, 1], np.eye(2, dtype=int)[[0, 1, 0, 1, 1]]
    for metric in (nll, brier):
        for kind in (int, float, bool, np.uint8):
            assert metric(PROBS, rows.astype(kind)) == pytest.approx(metric(PROBS, y))
    for metric in (accuracy, Temperature().fit, ConformalClassifier().fit):
        with pytest.raises(ValueError, match=r"call `y.argmax\(1\)`"):
            metric(PROBS, rows)
    with pytest.raises(ValueError, match="divide votes by their sum"):
        nll(PROBS, 3 * rows)
