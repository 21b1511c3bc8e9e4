"""What a report cannot show is refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from duda import ClassPrediction, GaussianPrediction
from duda.reporting import OneInput, report
from duda.reporting.images import data_uri

N = 12
Y = torch.arange(N) % 3
TARGETS = torch.linspace(-1, 1, N)[:, None]


def of_classes(seed: int = 0, examples: int = N, classes: int = 3) -> ClassPrediction:
    random = torch.Generator().manual_seed(seed)
    return ClassPrediction.from_probs(torch.randn(examples, classes, generator=random).softmax(1))


def of_numbers(outputs: int = 1) -> GaussianPrediction:
    return GaussianPrediction(TARGETS.expand(N, outputs) + 0.1, torch.ones(N, outputs))


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
    ("value", "message"), [(torch.nan, "NaN"), (9.0, r"lies in \[9, 9\]"), (-1.0, r"lies in \[-1")]
)
def test_pictures_out_of_range(value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        report({"a": of_classes()}, Y, inputs=torch.full((N, 1, 8, 8), value))


def test_pictures_that_left_the_range_by_rounding_are_shown_as_its_ends() -> None:
    page = report({"a": of_classes()}, Y, inputs=torch.full((N, 1, 8, 8), -9e-9))
    assert page.html() == report({"a": of_classes()}, Y, inputs=torch.zeros(N, 1, 8, 8)).html()
    assert data_uri(torch.full((3, 4, 4), 1.001)) == data_uri(torch.ones(3, 4, 4))
    assert data_uri(torch.full((3, 4, 4), -0.001)) == data_uri(torch.zeros(3, 4, 4))


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((N, 8, 8, 3), r"call `inputs.permute\(0, 3, 1, 2\)`"),
        ((N, 8, 8, 1), r"call `inputs.permute\(0, 3, 1, 2\)`"),
        ((N, 8, 8), r"call `inputs.unsqueeze\(1\)` if they are gray"),
        ((N, 4, 8, 8), r"pass `inputs\[:, :3\]`"),
        ((N, 2, 8, 8), "leave `inputs` out"),
        ((N, 3, 5, 8, 8), "leave `inputs` out"),
    ],
)
def test_pictures_in_another_layout(shape: tuple[int, ...], remedy: str) -> None:
    with pytest.raises(ValueError, match=rf"`inputs` has shape .*\(N, 1 or 3, H, W\).*{remedy}"):
        report({"a": of_classes()}, Y, inputs=torch.zeros(shape))


def test_out_of_distribution_pictures_are_told_by_their_name() -> None:
    far = {"far": of_classes(1)}
    with pytest.raises(ValueError, match=r"call `ood_inputs.unsqueeze\(1\)`"):
        report({"a": of_classes()}, Y, ood=far, ood_inputs=torch.zeros(N, 8, 8))
    with pytest.raises(ValueError, match="`ood_inputs` holds 3 pictures for a prediction of 12"):
        report({"a": of_classes()}, Y, ood=far, ood_inputs=torch.zeros(3, 1, 8, 8))


def test_integers_that_have_no_order_are_told_like_others() -> None:
    with pytest.raises(ValueError, match=r"`inputs` lies in \[900, 900\]"):
        report({"a": of_classes()}, Y, inputs=np.full((N, 1, 8, 8), 900, np.uint16))


def test_out_of_distribution_pictures_need_predictions() -> None:
    with pytest.raises(ValueError, match="`ood_inputs` is given without `ood`"):
        report({"a": of_classes()}, Y, ood_inputs=torch.zeros(N, 1, 8, 8))


def test_inputs_that_are_no_pictures_are_not_shown() -> None:
    plain = report({"a": of_classes()}, Y, ood={"far": of_classes(1)})
    given = report(
        {"a": of_classes()},
        Y,
        ood={"far": of_classes(1)},
        inputs=torch.full((N, 2), 7.0),
        ood_inputs=torch.full((N, 2), 7.0),
    )
    assert given.html() == plain.html()
    numbers = report({"a": of_numbers()}, TARGETS, inputs=torch.zeros(N, 8, 8, 3))
    assert not any(section.strips for section in numbers.sections)


def test_class_names_may_be_an_array() -> None:
    names = np.array(["ant", "bee", "cat"])
    page = report({"a": of_classes()}, Y, classes=names)
    assert page.html() == report({"a": of_classes()}, Y, classes=list(names)).html()
    assert "bee" in page.html()


def test_out_of_distribution_predictions_of_different_examples() -> None:
    known = {"a": of_classes(0), "b": of_classes(1)}
    ood = {"a": of_classes(2, 50), "b": of_classes(3, 20)}
    with pytest.raises(ValueError, match=r"`ood\['x'\]` holds .* \('a': 50, 'b': 20\)"):
        report(known, Y, ood={"x": ood})


def test_predictions_of_different_classes_or_outputs() -> None:
    with pytest.raises(ValueError, match=r"`predictions\['b'\]` is of 4 classes, expected 3 cl"):
        report({"a": of_classes(), "b": of_classes(classes=4)}, Y)
    with pytest.raises(ValueError, match=r"`ood\['x'\]\['a'\]` holds .* 4 classes, .* 3 classes"):
        report({"a": of_classes()}, Y, ood={"x": of_classes(classes=4)})
    with pytest.raises(ValueError, match=r"`predictions\['b'\]` is of 2 outputs, expected 1 out"):
        report({"a": of_numbers(), "b": of_numbers(2)}, TARGETS)
    with pytest.raises(ValueError, match=r"`ood\['x'\]\['a'\]` holds .* 2 outputs, .* 1 output,"):
        report({"a": of_numbers()}, TARGETS, ood={"x": of_numbers(2)})


def test_out_of_distribution_predictions_of_each_position() -> None:
    probs = torch.full((N, 3, 2, 2), 1 / 3)
    with pytest.raises(ValueError, match=r"3 classes at each position, expected .* 3 classes,"):
        report({"a": of_classes()}, Y, ood={"x": ClassPrediction.from_probs(probs)})


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_labels_may_be_unsigned_integers(dtype: type) -> None:
    page = report({"a": of_classes()}, Y.numpy().astype(dtype), inputs=torch.zeros(N, 1, 8, 8))
    same = report({"a": of_classes()}, Y, inputs=torch.zeros(N, 1, 8, 8))
    assert page.html() == same.html()


def test_curves_may_be_arrays() -> None:
    answer = {"a": of_numbers()}
    x, y = TARGETS.numpy(), TARGETS.numpy() ** 2
    page = report(answer, TARGETS, one_input=OneInput(x, answer, (x, y), y.tolist()))
    problem = OneInput(TARGETS, answer, (TARGETS, TARGETS**2), TARGETS**2)
    assert page.html() == report(answer, TARGETS, one_input=problem).html()


def test_class_names_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="`classes` has 1 name, expected 3"):
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
