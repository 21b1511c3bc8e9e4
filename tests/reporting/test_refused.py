"""What a report cannot show is refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from duda import ClassPrediction, GaussianPrediction
from duda.reporting import OneInput, report

N = 12
Y = torch.arange(N) % 3
TARGETS = torch.linspace(-1, 1, N)[:, None]


def of_classes(seed: int = 0) -> ClassPrediction:
    random = torch.Generator().manual_seed(seed)
    return ClassPrediction.from_probs(torch.randn(N, 3, generator=random).softmax(1))


def of_numbers() -> GaussianPrediction:
    return GaussianPrediction(TARGETS + 0.1, torch.ones(N, 1))


def test_measured_numbers_stand_below_their_own_method() -> None:
    given = {"b": {"nll": [1.0]}, "a": {"nll": [2.0]}}
    found = report({"a": of_classes(0), "b": of_classes(1)}, Y, measured=given)
    assert list(found.styles) == ["a", "b"]  # the page's rows
    assert [cell.mean for cell in found.table[0].cells] == ["2.00", "1.00"]


@pytest.mark.parametrize(
    "measured",
    [{}, {"a": {}}, {"z": {"nll": [1.0]}}, {"a": {"nlll": [1.0]}}, {"a": {"nll": []}}],
)
def test_measured_numbers_that_do_not_fit(measured: dict[str, dict[str, list[float]]]) -> None:
    with pytest.raises(ValueError, match="`measured"):
        report({"a": of_classes()}, Y, measured=measured)


def test_pictures_of_predictions_for_each_position() -> None:
    random = torch.Generator().manual_seed(0)
    probs = torch.rand(6, 4, 3, 3, generator=random).softmax(1)
    with pytest.raises(ValueError, match=r"shape \(6, 4, 3, 3\), expected \(N, C\)"):
        report(
            {"a": ClassPrediction.from_probs(probs)},
            torch.zeros(6, 3, 3, dtype=torch.long),
            inputs=torch.zeros(6, 1, 8, 8),
        )


def test_pictures_may_be_arrays() -> None:
    page = report({"a": of_classes()}, Y, inputs=np.zeros((N, 1, 8, 8)))
    assert any(section.strips for section in page.sections)


@pytest.mark.parametrize(
    ("value", "message"), [(torch.nan, "NaN"), (9.0, r"lie in \[9, 9\]"), (-1.0, r"lie in \[-1")]
)
def test_pictures_out_of_range(value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        report({"a": of_classes()}, Y, inputs=torch.full((N, 1, 8, 8), value))


def test_class_names_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="`classes` has 1 names, expected 3"):
        report({"a": of_classes()}, Y, classes=["only one"])


@pytest.mark.parametrize("case", ["other method", "one missing", "length", "kind"])
def test_curves_that_do_not_fit(case: str) -> None:
    answer = of_numbers()
    shown = {
        "other method": {"a": answer, "z": answer},
        "one missing": {"a": answer},
        "kind": {"a": answer, "b": of_classes()},
    }.get(case, {"a": answer, "b": answer})
    x = TARGETS[:5] if case == "length" else TARGETS
    with pytest.raises(ValueError, match="one_input"):
        report(
            {"a": answer, "b": answer}, TARGETS, one_input=OneInput(x, shown, (TARGETS, TARGETS))
        )


def test_a_prediction_alone() -> None:
    with pytest.raises(TypeError, match="`predictions` is a ClassPrediction"):
        report(of_classes(), Y)
