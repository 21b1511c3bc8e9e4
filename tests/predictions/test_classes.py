"""What follows from class probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from duda import ClassPrediction
from duda.predictions.classes import entropy

PROBS = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.4, 0.4, 0.2], [0.0, 1.0, 0.0]])


def test_labels_confidence_and_margin() -> None:
    answer = ClassPrediction.from_probs(PROBS)
    assert answer.labels.tolist() == [0, 2, 0, 1]
    torch.testing.assert_close(answer.probs, PROBS)
    torch.testing.assert_close(answer.confidence, torch.tensor([0.7, 0.8, 0.4, 1.0]))
    torch.testing.assert_close(answer.margin, torch.tensor([0.5, 0.7, 0.0, 1.0]))


def test_entropy_is_that_of_scipy() -> None:
    answer = ClassPrediction.from_probs(PROBS)
    np.testing.assert_allclose(answer.entropy, scipy.stats.entropy(PROBS, axis=1), atol=1e-6)
    assert answer.entropy[3] == 0
    assert torch.equal(answer.score, answer.entropy)


def test_one_network_has_no_epistemic_uncertainty() -> None:
    answer = ClassPrediction.from_probs(PROBS)
    assert torch.equal(answer.aleatoric, answer.entropy)
    assert not answer.epistemic.any()
    assert not answer.variation_ratio.any()


@pytest.mark.parametrize("positions", [(), (4,), (2, 3)])
def test_each_position_is_predicted_alone(positions: tuple[int, ...]) -> None:
    probs = torch.randn(5, 3, *positions, dtype=torch.float64).softmax(1)
    answer = ClassPrediction.from_probs(probs)
    flat = ClassPrediction.from_probs(probs.movedim(1, -1).reshape(-1, 3))
    for name in (*ClassPrediction.derived, "aleatoric"):
        value = getattr(answer, name)
        if name == "probs":
            value = value.movedim(1, -1).reshape(-1, 3)
        else:
            assert value.shape == (5, *positions), name
            value = value.reshape(-1)
        torch.testing.assert_close(value, getattr(flat, name), msg=name)


@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=8),
    st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=100, deadline=None)
def test_entropy_of_log_probabilities_lies_between_its_bounds(
    logits: list[float], dtype: torch.dtype
) -> None:
    log_probs = torch.tensor(logits, dtype=dtype).log_softmax(0)
    value = float(entropy(log_probs, dim=0))
    assert 0 <= value <= np.log(len(logits)) + 1e-6
    expected = scipy.stats.entropy(torch.tensor(logits, dtype=torch.float64).softmax(0))
    assert value == pytest.approx(expected, abs=1e-6)


def test_short_floats_are_scaled_to_sum_to_one() -> None:
    probs = torch.tensor([[0.333, 0.333, 0.334], [1.0, 0.0, 0.0]], dtype=torch.float16)
    answer = ClassPrediction.from_probs(probs)
    assert answer.log_probs.dtype == torch.float32
    torch.testing.assert_close(answer.probs.sum(1), torch.ones(2), rtol=0, atol=1e-6)
    assert answer.entropy[1] == 0


def test_sums_a_little_above_one_leave_no_negative_entropy() -> None:
    answer = ClassPrediction.from_probs([[1.0 + 5e-4, 0.0]])
    assert answer.entropy.tolist() == [0.0]
    assert answer.confidence.tolist() == [1.0]


def test_arrays_keep_their_precision() -> None:
    assert ClassPrediction.from_probs(PROBS.double().numpy()).probs.dtype == torch.float64
    assert ClassPrediction.from_probs(PROBS.half().numpy()).probs.dtype == torch.float32


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        ([0.5, 0.5], r"shape \(2,\), expected \(N, C\)"),
        ([[0.5], [0.2]], "stack `1 - probs` and `probs`"),
        ([[1.5, -0.5]], r"lies in \[-0.5, 1.5\].*Categorical\(\).reduce\(logits\[None\]\)"),
        ([[0.5, 0.3]], "0.2 away from 1.*raw outputs go into"),
        ([[0.5, torch.nan]], "1 NaN and 0 infinite"),
        ([[3, 1]], r"lies in \[1, 3\], expected \[0, 1\]"),
        (np.empty((0, 3)), "empty, expected at least one example"),
    ],
)
def test_what_is_no_distribution_is_told(probs: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassPrediction.from_probs(probs)  # type: ignore[arg-type]


@pytest.mark.parametrize("probs", [None, "high", [[0.5, 0.5], [1.0]]])
def test_what_holds_no_numbers_is_told(probs: object) -> None:
    with pytest.raises(TypeError, match=r"`probs` is a .*, expected a tensor or array of numbers"):
        ClassPrediction.from_probs(probs)  # type: ignore[arg-type]


LOG_PROBS, VOTES = torch.zeros(3, 2).log_softmax(1), torch.ones(3, 2, dtype=torch.int32)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ((LOG_PROBS[:, :1], torch.zeros(3), VOTES[:, :1]), "at least two classes"),
        ((LOG_PROBS, torch.zeros(2), VOTES), r"`aleatoric` has shape \(2,\), expected \(3,\)"),
        ((LOG_PROBS, torch.zeros(3), VOTES[:2]), r"`votes` has shape \(2, 2\)"),
        ((LOG_PROBS, torch.zeros(3), VOTES, LOG_PROBS), "`draws` has shape"),
        ((LOG_PROBS, torch.zeros(3), VOTES, torch.zeros(0, 3, 2)), "at least one draw"),
        ((LOG_PROBS, torch.zeros(3), VOTES, torch.full((1, 3, 2), torch.nan)), "`draws` has 6 NaN"),
        ((LOG_PROBS, torch.full((3,), torch.nan), VOTES), "`aleatoric` has 3 NaN of 3"),
        ((LOG_PROBS * torch.nan, torch.zeros(3), VOTES), "`log_probs` has 6 NaN of 6"),
    ],
)
def test_tensors_that_do_not_fit_are_told(tensors: tuple[Tensor, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassPrediction(*tensors)
