"""From predictions to a page: which questions can be asked of them, and the answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_same_shape, counted, nearest
from duda.predictions import (
    ClassPrediction,
    LocationScalePrediction,
    Prediction,
    QuantilePrediction,
)
from duda.reporting.bands import OneInput
from duda.reporting.explorer import explorer
from duda.reporting.metrics import METRICS, measure
from duda.reporting.page import Report
from duda.reporting.pictures import as_pictures
from duda.reporting.resampling import Intervals
from duda.reporting.scores import score_meaning
from duda.reporting.sections import (
    bands_section,
    calibration_section,
    class_section,
    coverage_section,
    galleries,
    parts_section,
    refusal_section,
    separation_section,
)
from duda.reporting.table import Measured, rows
from duda.reporting.theme import palette
from duda.reporting.verdict import verdicts

__all__ = ["check_alike", "report"]

_KINDS: tuple[type[Prediction], ...] = (
    ClassPrediction,
    LocationScalePrediction,
    QuantilePrediction,
)

Foreign = Mapping[str, Prediction | Mapping[str, Prediction]]


def report(
    predictions: Mapping[str, Prediction],
    y: ArrayLike,
    *,
    ood: Foreign | None = None,
    inputs: ArrayLike | None = None,
    ood_inputs: ArrayLike | None = None,
    classes: Iterable[str] = (),
    one_input: OneInput | None = None,
    measured: Measured | None = None,
    ends: Mapping[str, Intervals] | None = None,
    title: str = "How sure, and how right?",
    about: str = "",
) -> Report:
    """Return a page on predictions of one or more methods for the same test examples.

    Args:
        predictions: by the name of the method.
        y: labels `(N, *positions)`, or targets of the shape of the mean.
        ood: for inputs from elsewhere: their name, and a prediction, one by method where there are
            several.
        inputs: the test pictures `(N, 1 or 3, H, W)` in [0, 1], to show some: for classes only,
            as other inputs `(N, D)` are not shown.
        ood_inputs: the pictures from elsewhere.
        classes: their names; numbers by default.
        one_input: the curve to draw, for regression on one input.
        measured: `measured[method][metric]`, a number for each seed, for the table; by default what
            `measure` finds.
        ends: `ends[method][metric]`, a 95 % interval for the table, as `intervals` finds them.
        title: the page's headline.
        about: a line below it.

    Raises:
        TypeError: if the predictions are not all of one kind that can be reported.
        ValueError: if something does not fit.

    >>> answer = ClassPrediction.from_probs([[0.9, 0.1], [0.2, 0.8]])
    >>> [section.title for section in report({"net": answer}, [0, 1]).sections]
    ['Is confidence deserved?', 'What does refusing gain?', 'Class by class']
    """
    classes = tuple(str(name) for name in classes)
    kind = _kind(predictions)
    foreign_name, foreign = _foreign(predictions, ood)
    if ood_inputs is not None and not foreign:
        raise ValueError(
            "`ood_inputs` is given without `ood`, expected predictions for them too: pass "
            "`ood={'their name': prediction}`."
        )
    shown = _pictures(predictions, inputs, "inputs")
    foreign_shown = _pictures(foreign, ood_inputs, "ood_inputs")
    if measured is None:
        found = {m: measure(p, y, foreign.get(m)) for m, p in predictions.items()}
        measured = {m: {name: [v] for name, v in each.items()} for m, each in found.items()}
    measured = _measured(predictions, measured)
    _check_classes(predictions, classes)
    if one_input is not None:
        _check_curve(predictions, one_input)
    styles = palette(predictions)
    if kind is ClassPrediction:
        sections = [calibration_section(predictions, y, styles)]  # type: ignore[arg-type]
    else:
        sections = [bands_section(one_input, styles)] if one_input is not None else []
        sections.append(coverage_section(predictions, y, styles))  # type: ignore[arg-type]
    sections.append(refusal_section(predictions, y, styles))
    if foreign:
        sections.append(separation_section(predictions, foreign, foreign_name, styles))
    sections += parts_section(predictions, y, foreign, foreign_name, styles)
    if kind is ClassPrediction:
        of_classes: Mapping[str, ClassPrediction] = predictions  # type: ignore[assignment]
        sections.append(class_section(of_classes, y, classes))
        sections += galleries(of_classes, as_tensor(y, "y"), shown, "test pictures", classes)
        sections += galleries(foreign, None, foreign_shown, foreign_name, classes)  # type: ignore[arg-type]
    return Report(
        title=title,
        about=about,
        styles=styles,
        verdicts=verdicts(predictions, y, foreign),
        table=rows(measured, ends, _unranked(predictions)),
        seeds=max(len(values) for each in measured.values() for values in each.values()),
        uncertainty=score_meaning(predictions),
        sections=sections,
        explorer=explorer(predictions, y, foreign, foreign_name, shown, classes),
    )


def _kind(predictions: Mapping[str, Prediction]) -> type[Prediction]:
    if not isinstance(predictions, Mapping):
        raise TypeError(
            f"`predictions` is a {type(predictions).__name__}, expected predictions by the name of "
            "their method, such as `{'mc-dropout': answer}`."
        )
    if not predictions:
        raise ValueError("`predictions` is empty, expected a prediction for each method.")
    kinds = set()
    for method, prediction in predictions.items():
        kind = next((kind for kind in _KINDS if isinstance(prediction, kind)), None)
        if kind is None:
            raise TypeError(
                f"`predictions[{method!r}]` is a {type(prediction).__name__}, expected a "
                "ClassPrediction, a GaussianPrediction, a LaplacianPrediction or a "
                "QuantilePrediction."
            )
        kinds.add(kind)
    if len(kinds) > 1:
        raise ValueError(
            f"`predictions` holds {len(kinds)} kinds of prediction, expected one: make a report "
            "for each."
        )
    _check_same_examples(predictions, "predictions")
    first, *others = predictions
    for method in others:
        found, wanted = _outputs(predictions[method]), _outputs(predictions[first])
        if found != wanted:
            raise ValueError(
                f"`predictions[{method!r}]` is of {found}, expected {wanted} as of "
                f"`predictions[{first!r}]`: compare methods on one task."
            )
    return kinds.pop()


def _check_same_examples(predictions: Mapping[str, Prediction], name: str) -> None:
    sizes = {method: len(prediction) for method, prediction in predictions.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{method!r}: {size}" for method, size in sizes.items())
        raise ValueError(
            f"`{name}` holds predictions for different numbers of examples ({listed}), expected "
            "all for the same examples: ask each method about the same inputs."
        )


def _outputs(prediction: Prediction) -> str:
    """Return what is predicted for each example, in words."""
    if isinstance(prediction, ClassPrediction):
        values, what = prediction.log_probs, f"{prediction.log_probs.shape[1]} classes"
    elif isinstance(prediction, LocationScalePrediction | QuantilePrediction):
        values, what = prediction.centre, counted(prediction.centre.shape[1], "output")
    else:
        return "an unknown kind"
    return f"{what} at each position" if values.ndim > 2 else what


def check_alike(given: Prediction, name: str, known: Prediction, of: str) -> None:
    """Raise a `ValueError` unless both are of one kind, for the same classes or outputs."""
    found, wanted = (f"a {type(each).__name__} of {_outputs(each)}" for each in (given, known))
    if found != wanted:
        raise ValueError(
            f"`{name}` holds {found}, expected {wanted}, as for {of}: ask one model about both."
        )


def _foreign(
    predictions: Mapping[str, Prediction], ood: Foreign | None
) -> tuple[str, dict[str, Prediction]]:
    """Return the name of the inputs from elsewhere, and their predictions by method."""
    if not ood:
        return "", {}
    if len(ood) > 1:
        raise ValueError(f"`ood` names {len(ood)} sets, expected one: make a report for each.")
    [(name, given)] = ood.items()
    if isinstance(given, Prediction):
        given = dict.fromkeys(predictions, given) if len(predictions) == 1 else {}
    if set(given) != set(predictions):
        raise ValueError(
            f"`ood[{name!r}]` has predictions of {sorted(given)}, expected one for each of "
            f"{sorted(predictions)}."
        )
    for method, prediction in given.items():
        place = f"ood[{name!r}][{method!r}]"
        check_alike(prediction, place, predictions[method], "the test examples")
    _check_same_examples(given, f"ood[{name!r}]")
    return name, {method: given[method] for method in predictions}


def _unranked(predictions: Mapping[str, Prediction]) -> tuple[str, ...]:
    """Return the metrics that mean another thing for each method: over levels that differ."""
    quantiles = [each for each in predictions.values() if isinstance(each, QuantilePrediction)]
    alike = len({tuple(each.levels.tolist()) for each in quantiles}) <= 1
    return () if alike else ("pinball", "width")


def _pictures(
    predictions: Mapping[str, Prediction], x: ArrayLike | None, name: str
) -> Tensor | None:
    """Return the inputs if they are pictures to show, which they are for classes only."""
    first = next(iter(predictions.values()), None)
    return as_pictures(x, name, first) if isinstance(first, ClassPrediction) else None


def _measured(predictions: Mapping[str, Prediction], measured: Measured) -> Measured:
    """Return the numbers in the order of the predictions, if they are of the same methods."""
    _check_methods(predictions, measured, "measured")
    for method, numbers in measured.items():
        for name, values in numbers.items():
            if name not in METRICS:
                raise ValueError(f"`measured[{method!r}]`: {nearest(name, METRICS, 'metric')}")
            if not values:
                raise ValueError(
                    f"`measured[{method!r}][{name!r}]` is empty, expected a number for each seed."
                )
    if not any(measured.values()):
        raise ValueError("`measured` has no numbers, expected at least one metric.")
    return {method: measured[method] for method in predictions}


def _check_curve(predictions: Mapping[str, Prediction], one_input: OneInput) -> None:
    _check_methods(predictions, one_input.predictions, "one_input.predictions")
    for method, prediction in one_input.predictions.items():
        name = f"one_input.predictions[{method!r}]"
        check_alike(prediction, name, predictions[method], "the test examples")
        check_same_shape(prediction.centre, name, (len(one_input.x), 1), "`one_input.x`")


def _check_methods(
    predictions: Mapping[str, Prediction], given: Mapping[str, object], name: str
) -> None:
    if set(given) != set(predictions):
        raise ValueError(
            f"`{name}` is for {sorted(given)}, expected the methods of `predictions`: "
            f"{sorted(predictions)}."
        )


def _check_classes(predictions: Mapping[str, Prediction], classes: tuple[str, ...]) -> None:
    first = next(iter(predictions.values()))
    if not classes or not isinstance(first, ClassPrediction):
        return
    count = first.log_probs.shape[1]
    if len(classes) != count:
        raise ValueError(f"`classes` has {counted(len(classes), 'name')}, expected {count}.")
