"""The verdict says what the numbers say, and leaves to chance what is chance."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from duda import ClassPrediction, GaussianPrediction
from duda.reporting.evidence import Evidence
from duda.reporting.verdict import removed_by_refusing, verdicts


def answers(confidence: float, right: int, of: int) -> tuple[ClassPrediction, torch.Tensor]:
    probs = torch.tensor([[confidence, 1 - confidence]], dtype=torch.float64).repeat(of, 1)
    return ClassPrediction.from_probs(probs), (torch.arange(of) >= right).long()


@pytest.mark.parametrize(
    ("confidence", "right", "headline", "says"),
    [
        (0.97, 460, "over-confident", "Says 97 %, is right 92 % of the time."),
        (0.80, 460, "under-confident", "Says 80 %, is right 92 % of the time."),
        (0.92, 461, "as sure as it should be", "Says 92.0 %, is right 92.2 % of the time; "),
    ],
)
def test_confidence_is_set_against_accuracy_and_chance(confidence, right, headline, says):
    prediction, y = answers(confidence, right, 500)
    found = verdicts(Evidence.of({"net": prediction}, y))["net"]
    assert found.headline == headline
    assert found.sentences[0].startswith(says)
    assert found.good == (headline == "as sure as it should be")


def test_a_difference_that_is_told_can_be_seen():
    prediction, y = answers(0.95, 1_899_000, 2_000_000)
    found = verdicts(Evidence.of({"net": prediction}, y))["net"]
    assert found.sentences[0] == "Says 95.00 %, is right 94.95 % of the time."


def test_intervals_of_one_level_alone_are_not_enough():
    random = torch.Generator().manual_seed(0)
    wide = torch.rand(2000, 1, generator=random) < 0.1
    y = torch.randn(2000, 1, generator=random) * torch.where(wide, 2.2, 0.3)
    prediction = GaussianPrediction(torch.zeros(2000, 1), torch.full((2000, 1), 0.81))
    found = verdicts(Evidence.of({"net": prediction}, y))["net"]
    assert found.headline == "right at 95 % only"
    assert not found.good
    assert found.sentences[0].endswith("but those that should hold 35 % hold 77.9 %.")


@pytest.mark.parametrize(("confidence", "of"), [(0.9, 1), (0.99, 10), (0.9995, 200)])
def test_one_error_where_few_are_expected_is_no_verdict(confidence, of):
    prediction, y = answers(confidence, of - 1, of)
    assert verdicts(Evidence.of({"net": prediction}, y))["net"].good


def test_being_right_on_average_alone_is_not_enough():
    sure, wrong = answers(0.95, 170, 200)
    unsure, right = answers(0.65, 150, 200)
    both = ClassPrediction.concatenate([sure, unsure])
    found = verdicts(Evidence.of({"net": both}, torch.cat([wrong, right])))["net"]
    assert found.headline == "right on average only"
    assert "ECE 0.100" in found.sentences[0]


def test_few_examples_prove_nothing():
    prediction, y = answers(0.9, 8, 10)
    assert verdicts(Evidence.of({"net": prediction}, y))["net"].good


def test_refusing_takes_the_errors_that_are_among_the_least_sure():
    score = torch.arange(100.0)
    loss = torch.zeros(100)
    loss[[3, 95, 96, 99]] = 1
    assert removed_by_refusing(score, loss, 0.05) == pytest.approx(3 / 4)
    assert removed_by_refusing(score, torch.zeros(100), 0.05) is None


@given(st.permutations(range(12)), st.floats(0.01, 0.99))
def test_ties_are_refused_at_random_whatever_their_order(order, share):
    loss = torch.tensor([1.0] * 5 + [0.0] * 7)
    tied = torch.zeros(12)
    assert removed_by_refusing(tied, loss[list(order)], share) == pytest.approx(share)


def test_out_of_distribution_inputs_are_noticed_at_five_per_cent_false_alarms():
    known = ClassPrediction.from_probs(torch.tensor([[0.9, 0.1]] * 96 + [[0.5, 0.5]] * 4))
    other = ClassPrediction.from_probs(torch.tensor([[0.5, 0.5]] * 3 + [[0.95, 0.05]]))
    evidence = Evidence.of({"net": known}, torch.zeros(100).long(), ood={"far": other})
    assert (
        verdicts(evidence)["net"].sentences[-1]
        == "At 5 % false alarms it notices 75 % of out-of-distribution inputs."
    )


@pytest.mark.parametrize(
    ("std", "headline"),
    [(1.0, "as sure as it should be"), (0.5, "over-confident"), (2.5, "under-confident")],
)
def test_intervals_of_numbers_are_set_against_what_they_promise(std, headline):
    y = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
    prediction = GaussianPrediction(torch.zeros(1000, 1), torch.full((1000, 1), std**2))
    found = verdicts(Evidence.of({"net": prediction}, y))["net"]
    assert found.headline == headline
    assert found.sentences[0].startswith("Its 95 % intervals hold ")
    assert "of the squared error" in found.sentences[1]


def test_too_sure_at_one_level_and_too_cautious_at_another():
    generator = torch.Generator().manual_seed(0)
    far = 0.55 + torch.rand(2000, generator=generator)
    y = (torch.where(torch.rand(2000, generator=generator) < 0.5, -far, far)).unsqueeze(1)
    answer = GaussianPrediction(torch.zeros(2000, 1), torch.ones(2000, 1))
    found = verdicts(Evidence.of({"net": answer}, y))["net"]
    assert found.headline.startswith("too cautious at 95 %, too sure at ")
    assert "hold 100.0 % of the values, but those that should hold" in found.sentences[0]
    narrow = GaussianPrediction(torch.zeros(2000, 1), torch.full((2000, 1), 1e-4))
    assert verdicts(Evidence.of({"net": narrow}, y))["net"].headline == "over-confident"
    wide = GaussianPrediction(torch.zeros(2000, 1), torch.full((2000, 1), 100.0))
    assert verdicts(Evidence.of({"net": wide}, y))["net"].headline == "under-confident"


def test_the_headline_of_numbers_that_are_large_beside_their_spread():
    generator = torch.Generator().manual_seed(0)
    mean = torch.full((2000, 1), 5e6)
    answer = GaussianPrediction(mean, torch.full((2000, 1), 0.04))
    y = mean.double() + 0.2 * torch.randn(2000, 1, generator=generator).double()
    assert verdicts(Evidence.of({"net": answer}, y))["net"].good
    y = mean.double() + 0.4 * torch.randn(2000, 1, generator=generator).double()
    assert verdicts(Evidence.of({"net": answer}, y))["net"].headline == "over-confident"
