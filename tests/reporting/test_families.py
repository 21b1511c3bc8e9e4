"""Families of numbers, also those of one's own, are reported completely and side by side."""

from __future__ import annotations

import pytest
import torch

from duda import NumberPrediction, StudentTPrediction
from duda.predictions import AffinePrediction
from duda.reporting import OneInput, intervals, measure, report
from tests.reporting.conftest import number_prediction, quantile_prediction
from tests.reporting.families import BarePrediction, LogisticPrediction, family

BANDS = "What is known, and where does it end?"
PARTS = "Noise, or ignorance?"
SECTIONS = [
    BANDS,
    "Do intervals keep their promise?",
    "What does refusing gain?",
    "Is the unfamiliar noticed?",
]


def student_t(seed: int) -> StudentTPrediction:
    gaussian = number_prediction(seed)
    return StudentTPrediction(
        gaussian.mean, gaussian.aleatoric, gaussian.epistemic, df=3 + 9 * gaussian.mean
    )


def affine(seed: int) -> AffinePrediction:
    moved = NumberPrediction.affine(student_t(seed), torch.tensor(2.0), torch.tensor(1.0))
    assert isinstance(moved, AffinePrediction)
    return moved


KINDS = {
    "bare": lambda seed: family(BarePrediction, seed),
    "logistic": lambda seed: family(LogisticPrediction, seed),
    "student t": student_t,
    "affine": affine,
    "affine of its own": lambda seed: family(LogisticPrediction, seed).rescaled(factor=3.0),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_section_is_there(name: str, targets: torch.Tensor) -> None:
    answer, far, curve = (KINDS[name](seed) for seed in (0, 1, 2))
    targets = 9 * targets - 4  # some of them lie outside of every interval
    x = torch.linspace(-1, 1, 60)[:, None]
    page = report(
        {"own": answer},
        targets,
        ood={"far": far},
        one_input=OneInput(x, {"own": curve}, (x, targets)),
        ends={"own": intervals(answer, targets, far)},
    )
    two_parts = name in ("student t", "affine")
    assert [section.title for section in page.sections] == [*SECTIONS, *[PARTS] * two_parts]
    metrics = ["RMSE", *["NLL"] * answer.can("log_prob"), "Coverage", "AUROC OOD"]
    assert [row.metric.label for row in page.table] == metrics
    assert all(row.cells[0].interval for row in page.table)
    assert page.uncertainty.startswith("Uncertainty is the predicted standard deviation")
    first, second, third = page.verdicts["own"].sentences
    assert first.startswith("Its 95 % intervals hold ")
    assert "of the squared error" in second
    assert third.endswith("of out-of-distribution inputs.")
    assert page.explorer is not None
    assert page.explorer.presets == ["keep 95 %", "1 % false alarms"]
    assert "the bands are 1, 2 and 3 standard deviations about it" in page.html()


def test_the_numbers_are_those_of_the_family(targets: torch.Tensor) -> None:
    answer = family(LogisticPrediction, 0)
    lower, upper = answer.quantile(0.025), answer.quantile(0.975)
    assert measure(answer, targets) == {
        "rmse": pytest.approx(float((answer.mean - targets).square().mean().sqrt())),
        "nll": pytest.approx(-float(answer.log_prob(targets).mean())),
        "coverage": pytest.approx(float(((lower <= targets) & (targets <= upper)).double().mean())),
    }
    bare = measure(BarePrediction(answer.mean, answer.std), targets)
    assert bare == {name: measure(answer, targets)[name] for name in ("rmse", "coverage")}


def test_families_stand_side_by_side(targets: torch.Tensor) -> None:
    answers = {"gaussian": number_prediction(0), "quantiles": quantile_prediction(1)}
    answers |= {name: kind(2) for name, kind in KINDS.items()}
    x = torch.linspace(-1, 1, 60)[:, None]
    page = report(
        answers,
        targets,
        ood={"far": answers},
        one_input=OneInput(x, answers, (x, targets)),
    )
    cells = {row.metric.label: dict(zip(answers, row.cells, strict=True)) for row in page.table}
    assert all(cells["RMSE"][name].mean != "–" for name in answers)
    assert all(cells["Coverage"][name].mean != "–" for name in answers)
    lacking = {name for name, cell in cells["NLL"].items() if cell.mean == "–"}
    assert lacking == {"quantiles", "bare"}
    assert cells["Pinball loss"]["quantiles"].mean != "–"
    assert not cells["Pinball loss"]["quantiles"].best  # there is no other
    assert set(page.verdicts) == set(answers)
    [bands] = [section for section in page.sections if section.title == BANDS]
    assert "; for quantiles it is the median, the bands should hold" in bands.reading
    assert page.uncertainty == (
        "Uncertainty is the predicted standard deviation, in units of the target. For quantiles, "
        "uncertainty is the width of the widest interval between two predicted quantiles, in units "
        "of the target."
    )


def test_scores_that_are_called_the_same_share_their_axis(targets: torch.Tensor) -> None:
    answers = {"t": student_t(0), "own": family(BarePrediction, 1), "q": quantile_prediction(1)}
    page = report(answers, targets, ood={"far": answers})
    [section] = [each for each in page.sections if each.title == "Is the unfamiliar noticed?"]
    axes = [chart.figure.layout.xaxis for chart in section.charts]
    assert axes[0].title.text == axes[1].title.text == "standard deviation<br>(units of the target)"
    assert axes[2].title.text == "width of the 95 % interval<br>(units of the target)"
    assert axes[0].range == axes[1].range != axes[2].range


def test_families_of_other_outputs_do_not_stand_side_by_side(targets: torch.Tensor) -> None:
    answers = {"t": student_t(0), "own": family(BarePrediction, 1, (60, 2))}
    with pytest.raises(ValueError, match=r"predictions\['own'\]` is of 2 outputs, expected 1 out"):
        report(answers, targets)
