"""Reports: from predictions to a page, by every section that has something to say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from duda.checks import ArrayLike, nearest
from duda.predictions import Prediction
from duda.reporting.contributions import measure
from duda.reporting.evidence import Evidence, Other, check_methods
from duda.reporting.explorer import explorer
from duda.reporting.metrics import METRICS
from duda.reporting.one_input import OneInput
from duda.reporting.page import Report
from duda.reporting.resampling import Intervals
from duda.reporting.scores import score_meaning
from duda.reporting.sections import SECTIONS
from duda.reporting.table import Measured, rows
from duda.reporting.verdict import verdicts

__all__ = ["report"]


def report(
    predictions: Mapping[str, Prediction],
    y: ArrayLike,
    *,
    ood: Other | None = None,
    inputs: ArrayLike | None = None,
    ood_inputs: ArrayLike | None = None,
    classes: Iterable[str] = (),
    one_input: OneInput | None = None,
    measured: Measured | None = None,
    ends: Mapping[str, Intervals] | None = None,
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
    title: str = "How sure, and how right?",
    about: str = "",
) -> Report:
    """Return a page on predictions of one or more methods for the same test examples.

    They are all of classes or all of numbers; a metric that one of them lacks is a dash.

    Args:
        predictions: by the name of the method.
        y: labels `(N, *positions)`, or targets of the shape of the centre.
        ood: of out-of-distribution inputs: their name, and a prediction, or one by method.
        inputs: the test pictures `(N, 1 or 3, H, W)` in [0, 1], to show some, for classes only.
        ood_inputs: the out-of-distribution pictures.
        classes: their names; numbers by default.
        one_input: the curve to draw, for regression on one input.
        measured: `measured[method][metric]`, a number for each seed; by default by `measure`.
        ends: `ends[method][metric]`, a 95 % interval for the table, as `intervals` finds them.
        ignore_index: the label of positions to leave out.
        mask: of the shape of `y`: what counts. Where it is False `y` may be NaN.
        title: the page's headline.
        about: a line below it.

    Raises:
        TypeError: if something is no prediction, or one that cannot be reported.
        ValueError: if something does not fit.

    >>> from duda import ClassPrediction
    >>> answer = ClassPrediction.from_probs([[0.9, 0.1], [0.2, 0.8]])
    >>> [section.title for section in report({"net": answer}, [0, 1]).sections]
    ['Is confidence deserved?', 'What does refusing gain?', 'Class by class']
    """
    evidence = Evidence.of(
        predictions, y, ood, inputs, ood_inputs, classes, one_input, ignore_index, mask
    )
    measured = _measured(evidence, measured)
    return Report(
        title=title,
        about=about,
        styles=evidence.styles,
        verdicts=verdicts(evidence),
        table=rows(measured, ends, _unranked(evidence.predictions)),
        seeds=max(len(values) for each in measured.values() for values in each.values()),
        uncertainty=score_meaning(evidence.predictions),
        sections=[part for section in SECTIONS.values() for part in section(evidence)],
        explorer=explorer(evidence),
    )


def _measured(evidence: Evidence, measured: Measured | None) -> Measured:
    """Return the numbers of the table, in the order of the predictions."""
    if measured is None:
        found = {
            method: measure(prediction, evidence.y, evidence.ood.get(method), mask=evidence.counted)
            for method, prediction in evidence.predictions.items()
        }
        return {m: {name: [value] for name, value in each.items()} for m, each in found.items()}
    check_methods(evidence.predictions, measured, "measured")
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
    return {method: measured[method] for method in evidence.predictions}


def _unranked(predictions: Mapping[str, Prediction]) -> tuple[str, ...]:
    """Return the metrics that mean another thing for each method: over levels that differ."""
    known = (getattr(prediction, "levels", None) for prediction in predictions.values())
    levels = {tuple(each.tolist()) for each in known if each is not None}
    return () if len(levels) <= 1 else ("pinball", "width")
