"""Evidence of a report: predictions of all methods for the same examples, checked once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import ArrayLike, check_not_empty, check_same_shape, counted
from duda.predictions import ClassPrediction, NumberPrediction, Prediction
from duda.predictions.given import prediction_given, targets_counted
from duda.reporting.images import as_pictures
from duda.reporting.one_input import OneInput
from duda.reporting.theme import Style, palette

__all__ = ["IGNORED", "Evidence", "Other", "check_alike", "check_methods", "checked"]

IGNORED = -1  # the label of what does not count
Other = Mapping[str, Prediction | Mapping[str, Prediction]]  # by the name of the inputs


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the sections of a report are made from; `of` makes and checks it.

    Args:
        predictions: for the test examples by method, all of classes or all of numbers.
        y: labels `(N, *positions)`, or targets of the shape of the centre.
        counted: of the same shape, which of them count; others are as the first method predicts.
        ood: predictions for out-of-distribution inputs by method; empty without any.
        ood_name: where these come from.
        inputs: the test pictures `(N, 1 or 3, H, W)`, if there are some to show.
        ood_inputs: the out-of-distribution pictures, if there are some to show.
        classes: the names of the classes; empty for numbers.
        one_input: the curve to draw, for numbers that depend on one input.
    """

    predictions: Mapping[str, Prediction]
    y: Tensor
    counted: Bool[Tensor, "N *rest"]
    ood: Mapping[str, Prediction]
    ood_name: str
    inputs: Tensor | None
    ood_inputs: Tensor | None
    classes: tuple[str, ...]
    one_input: OneInput | None

    @classmethod
    def of(
        cls,
        predictions: Mapping[str, Prediction],
        y: ArrayLike,
        ood: Other | None = None,
        inputs: ArrayLike | None = None,
        ood_inputs: ArrayLike | None = None,
        classes: Iterable[str] = (),
        one_input: OneInput | None = None,
        ignore_index: int | None = None,
        mask: ArrayLike | None = None,
    ) -> Self:
        """Return the evidence on the CPU, if all of it fits; see `report`.

        Raises:
            TypeError: if something is no prediction, or one that cannot be reported.
            ValueError: if something does not fit.
        """
        known = _of_one_kind(predictions)
        name, other = _out_of_distribution(known, ood)
        if ood_inputs is not None and not other:
            raise ValueError(
                "`ood_inputs` is given without `ood`, expected predictions for them too: pass "
                "`ood={'their name': prediction}`."
            )
        if one_input is not None:
            _check_curve(known, one_input)
        pictures = _pictures(known, inputs, "inputs")
        first = next(iter(known.values()))
        targets, kept = targets_counted(first, y, ignore_index, mask)
        if kept is not None and kept.numel() == len(first):
            rows = kept.flatten()  # an example has nothing else that counts
            known = {method: prediction[rows] for method, prediction in known.items()}
            targets, kept = targets[rows], None
            pictures = None if pictures is None else pictures[rows]
        found = cls(
            predictions=known,
            y=targets,
            counted=torch.ones_like(targets, dtype=torch.bool) if kept is None else kept,
            ood=other,
            ood_name=name,
            inputs=pictures,
            ood_inputs=_pictures(other, ood_inputs, "ood_inputs"),
            classes=_class_names(known, tuple(str(each) for each in classes)),
            one_input=one_input,
        )
        check_not_empty(found.y, "y")
        found.losses  # noqa: B018 # raises if `y` does not fit
        return found

    @cached_property
    def styles(self) -> Mapping[str, Style]:
        """How each method is drawn."""
        return palette(self.predictions)

    @property
    def of_classes(self) -> Mapping[str, ClassPrediction]:
        """The predictions if they are of classes; else none."""
        return _of_classes(self.predictions)

    @property
    def of_numbers(self) -> Mapping[str, NumberPrediction]:
        """The predictions if they are of numbers; else none."""
        numbers = {} if self.of_classes else self.predictions
        return cast("Mapping[str, NumberPrediction]", numbers)

    @property
    def ood_of_classes(self) -> Mapping[str, ClassPrediction]:
        """The predictions for out-of-distribution inputs if they are of classes; else none."""
        return _of_classes(self.ood)

    @property
    def labels(self) -> Int[Tensor, "N *positions"]:
        """The labels, with `IGNORED` where they do not count."""
        return torch.where(self.counted, self.y.long(), IGNORED)

    @cached_property
    def scores(self) -> Mapping[str, Float[Tensor, "S"]]:
        """The scores of what counts, by method."""
        return {m: each.score[self.counted] for m, each in self.predictions.items()}

    @cached_property
    def losses(self) -> Mapping[str, Float[Tensor, "S"]]:
        """What each score's answer costs, by method: 0 or 1, or a squared error."""
        return {m: each.loss(self.y)[self.counted] for m, each in self.predictions.items()}

    @property
    def loss_name(self) -> str:
        """What the mean loss is called."""
        return next(iter(self.predictions.values())).loss_name

    def wrong(self, method: str) -> Bool[Tensor, "S"] | None:
        """Return which answers are wrong; None for numbers: who knows how large an error is bad."""
        return self.losses[method] > 0 if self.of_classes else None


def checked(prediction: Prediction, name: str) -> Prediction:
    """Return the prediction on the CPU.

    Raises:
        TypeError: if it is none.
    """
    found = prediction_given(prediction, Prediction, name)
    if found is None:
        raise TypeError(
            f"`{name}` is a {type(prediction).__name__}, expected a ClassPrediction, a "
            "GaussianPrediction or another prediction."
        )
    return found.to("cpu")


def check_alike(given: Prediction, name: str, known: Prediction, of: str) -> None:
    """Raise a `ValueError` unless both are of one kind, for the same classes or outputs."""
    found, wanted = (f"a {type(each).__name__} of {each.outputs}" for each in (given, known))
    if found != wanted:
        raise ValueError(
            f"`{name}` holds {found}, expected {wanted}, as for {of}: ask one model about both."
        )


def check_methods(
    predictions: Mapping[str, Prediction], given: Mapping[str, object], name: str
) -> None:
    """Raise a `ValueError` unless something is given for each method, and for no other."""
    if set(given) != set(predictions):
        raise ValueError(
            f"`{name}` is for {sorted(given)}, expected the methods of `predictions`: "
            f"{sorted(predictions)}."
        )


def _of_classes(predictions: Mapping[str, Prediction]) -> Mapping[str, ClassPrediction]:
    classes = predictions if all(p.can("log_probs") for p in predictions.values()) else {}
    return cast("Mapping[str, ClassPrediction]", classes)


def _of_one_kind(predictions: Mapping[str, Prediction]) -> dict[str, Prediction]:
    if not isinstance(predictions, Mapping):
        raise TypeError(
            f"`predictions` is a {type(predictions).__name__}, expected predictions by the name of "
            "their method, such as `{'mc-dropout': answer}`."
        )
    if not predictions:
        raise ValueError("`predictions` is empty, expected a prediction for each method.")
    known = {m: checked(each, f"predictions[{m!r}]") for m, each in predictions.items()}
    for method, prediction in known.items():
        if not prediction.can("log_probs"):
            name = f"predictions[{method!r}]"
            prediction_given(prediction, NumberPrediction, name, "a ClassPrediction")
    kinds = sorted({each.loss_name for each in known.values()})
    if len(kinds) > 1:
        raise ValueError(
            f"`predictions` holds {len(kinds)} kinds of prediction, judged by "
            f"{' and by '.join(kinds)}, expected one: make a report for each."
        )
    _check_same_examples(known, "predictions")
    first, *others = known
    for method in others:
        found, wanted = known[method].outputs, known[first].outputs
        if found != wanted:
            raise ValueError(
                f"`predictions[{method!r}]` is of {found}, expected {wanted} as of "
                f"`predictions[{first!r}]`: compare methods on one task."
            )
    return known


def _check_same_examples(predictions: Mapping[str, Prediction], name: str) -> None:
    sizes = {method: len(prediction) for method, prediction in predictions.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{method!r}: {size}" for method, size in sizes.items())
        raise ValueError(
            f"`{name}` holds predictions for different numbers of examples ({listed}), expected "
            "all for the same examples: ask each method about the same inputs."
        )


def _out_of_distribution(
    predictions: Mapping[str, Prediction], ood: Other | None
) -> tuple[str, dict[str, Prediction]]:
    """Return the name of the out-of-distribution inputs, and their predictions by method."""
    if not ood:
        return "", {}
    if len(ood) > 1:
        raise ValueError(f"`ood` names {len(ood)} sets, expected one: make a report for each.")
    [(name, other)] = ood.items()
    if not isinstance(other, Mapping):
        other = dict.fromkeys(predictions, other) if len(predictions) == 1 else {}
    if set(other) != set(predictions):
        raise ValueError(
            f"`ood[{name!r}]` has predictions of {sorted(other)}, expected one for each of "
            f"{sorted(predictions)}."
        )
    found = {}
    for method, known in predictions.items():
        place = f"ood[{name!r}][{method!r}]"
        found[method] = checked(other[method], place)
        check_alike(found[method], place, known, "the test examples")
    _check_same_examples(found, f"ood[{name!r}]")
    return name, found


def _pictures(
    predictions: Mapping[str, Prediction], x: ArrayLike | None, name: str
) -> Tensor | None:
    """Return the inputs if they are pictures to show, which they are for classes only."""
    first = next(iter(_of_classes(predictions).values()), None)
    return None if first is None else as_pictures(x, name, first)


def _class_names(
    predictions: Mapping[str, Prediction], classes: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the names of the classes, by default their numbers; of numbers none."""
    first = next(iter(_of_classes(predictions).values()), None)
    if first is None:
        return ()
    count = first.log_probs.shape[1]
    if classes and len(classes) != count:
        raise ValueError(f"`classes` has {counted(len(classes), 'name')}, expected {count}.")
    return classes or first.classes or tuple(map(str, range(count)))


def _check_curve(predictions: Mapping[str, Prediction], one_input: OneInput) -> None:
    check_methods(predictions, one_input.predictions, "one_input.predictions")
    for method, prediction in one_input.predictions.items():
        name = f"one_input.predictions[{method!r}]"
        check_alike(prediction, name, predictions[method], "the test examples")
        if not prediction.can("bands"):
            raise ValueError(
                f"`{name}` is a {type(prediction).__name__}, expected a prediction of numbers: a "
                "curve has bands."
            )
        check_same_shape(prediction.centre, name, (len(one_input.x), 1), "`one_input.x`")
