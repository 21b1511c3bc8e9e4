"""Evidence is checked once, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from duda import ClassPrediction
from duda.evaluation import rmse
from duda.predictions import Prediction
from duda.predictions.terms import Terms
from duda.reporting import OneInput, report
from duda.reporting.evidence import Evidence
from tests.reporting.conftest import class_prediction, number_prediction


def test_targets_are_checked_also_where_the_table_is_given(labels: torch.Tensor) -> None:
    answer = {"net": class_prediction(0)}
    with pytest.raises(ValueError, match=r"`y` holds the label 9, expected 0 to 3"):
        report(answer, labels.where(labels > 0, 9), measured={"net": {"nll": [1.0]}})


def test_nothing_is_no_evidence() -> None:
    empty = ClassPrediction(torch.zeros(0, 3), torch.zeros(0), torch.zeros(0, 3).int())
    with pytest.raises(ValueError, match=r"`y` has shape .* and is empty"):
        Evidence.of({"net": empty}, torch.zeros(0).long())


def test_losses_and_names_are_those_of_the_predictions(
    labels: torch.Tensor, targets: torch.Tensor
) -> None:
    classes, numbers = class_prediction(0), number_prediction(0)
    found = Evidence.of({"net": classes}, labels.numpy(), classes=np.array(["a", "b", "c", "d"]))
    assert torch.equal(found.losses["net"], (classes.labels != labels).double())
    assert torch.equal(found.wrong("net"), classes.labels != labels)
    assert found.classes == ("a", "b", "c", "d")
    assert Evidence.of({"net": classes}, labels).classes == ("0", "1", "2", "3")
    assert found.loss_name == "share of wrong answers"
    assert (list(found.of_classes), list(found.of_numbers)) == (["net"], [])
    found = Evidence.of({"net": numbers}, targets)
    torch.testing.assert_close(found.losses["net"], (numbers.mean - targets).square().flatten())
    assert found.wrong("net") is None
    assert found.classes == ()
    assert (list(found.of_classes), list(found.of_numbers)) == ([], ["net"])


def test_classes_have_no_curve(labels: torch.Tensor) -> None:
    answer = {"net": class_prediction(0)}
    x = torch.linspace(-1, 1, 60)[:, None]
    with pytest.raises(ValueError, match="a ClassPrediction, expected a prediction of numbers"):
        report(answer, labels, one_input=OneInput(x, answer, (x, x)))


@dataclass(frozen=True, eq=False, repr=False)
class Ranks(Prediction):
    """What has a score, and neither classes nor quantiles."""

    ranks: torch.Tensor

    loss_name = "rank"
    outputs = "ranks"

    @property
    def score(self) -> torch.Tensor:
        return self.ranks

    def loss(self, y: torch.Tensor) -> torch.Tensor:
        return self.ranks

    def is_bad(self, y: torch.Tensor, tolerance: float | None = None) -> torch.Tensor:
        return self.ranks > 0

    def contributions(self, y: torch.Tensor) -> dict[str, Terms]:
        return {}


class RanksWithQuantiles(Ranks):
    """What can say what numbers can, but is none of duda's."""

    mean = std = property(lambda self: self.ranks[:, None])

    def quantile(self, q: float) -> torch.Tensor:
        return self.mean


@pytest.mark.parametrize("kind", [Ranks, RanksWithQuantiles])
def test_what_is_neither_of_classes_nor_of_numbers_is_refused(kind: type[Ranks]) -> None:
    answer = kind(torch.zeros(3))
    message = f"is a {kind.__name__}, expected a NumberPrediction or a ClassPrediction"
    with pytest.raises(TypeError, match=message):
        report({"net": answer}, [0, 0, 0])
    with pytest.raises(TypeError, match=rf"is a {kind.__name__}, .* or means\.$"):
        rmse(answer, [[0.0]] * 3)  # without advice for predictions of classes
