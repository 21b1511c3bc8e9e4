"""The sections of the report: one question each, how to read the answer, and the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from duda import evaluation
from duda.checks import ArrayLike
from duda.predictions import (
    ClassPrediction,
    LocationScalePrediction,
    Prediction,
    QuantilePrediction,
)
from duda.reporting.bands import OneInput, band_chart
from duda.reporting.calibration import reliability_diagram
from duda.reporting.intervals import coverage_chart
from duda.reporting.losses import loss_of
from duda.reporting.page import Chart, ClassTable, Section, Strip
from duda.reporting.parts import parts_chart, parts_of
from duda.reporting.per_class import class_names, class_rows
from duda.reporting.pictures import extremes, pictures
from duda.reporting.refusal import risk_chart
from duda.reporting.scores import score_unit
from duda.reporting.separation import score_edges, score_histogram
from duda.reporting.theme import Style

__all__ = [
    "bands_section",
    "calibration_section",
    "class_section",
    "coverage_section",
    "galleries",
    "parts_section",
    "refusal_section",
    "separation_section",
]

_PICTURES = 8  # in a row


def calibration_section(
    predictions: Mapping[str, ClassPrediction], y: ArrayLike, styles: Mapping[str, Style]
) -> Section:
    """Return the reliability diagrams, one for each method."""
    charts = []
    for method, prediction in predictions.items():
        bins = evaluation.reliability(y=y, logits=prediction.log_probs)
        band = bins.null_band()
        figure = reliability_diagram(bins, band, styles[method])
        note = f"ECE {bins.ece:.3f}, chance ≤ {band.limit:.3f}"
        charts.append(Chart(figure, method, note))
    return Section(
        "Is confidence deserved?",
        "Each bar is the share of right answers among examples of like confidence; on the dashed "
        "line confidence is deserved, below it the method is too sure. A bar that ends on its grey "
        "mark differs by no more than chance. Below are the numbers of examples; bars of fewer "
        "than 10 are pale.",
        charts,
    )


def bands_section(problem: OneInput, styles: Mapping[str, Style]) -> Section:
    """Return the bands over a function of one input, a chart for each method."""
    shown = "mean, the bands are 1, 2 and 3 standard deviations about it"
    first = next(iter(problem.predictions.values()))
    if isinstance(first, QuantilePrediction):
        *others, last = (f"{100 * level:.3g} %" for level in first.central_levels)
        shares = f"{', '.join(others)} and {last}" if others else last
        shown = f"median, the bands should hold {shares} of the true values"
    return Section(
        "What is known, and where does it end?",
        f"The line is the predicted {shown}; dotted is the true function, dots are "
        "training data. On grey ground there were none, so the bands should widen there.",
        [
            Chart(band_chart(problem, method, styles[method]), method)
            for method in problem.predictions
        ],
    )


def coverage_section(
    predictions: Mapping[str, LocationScalePrediction | QuantilePrediction],
    y: ArrayLike,
    styles: Mapping[str, Style],
) -> Section:
    """Return the chart of observed over promised coverage."""
    curves = {m: evaluation.coverage(prediction, y) for m, prediction in predictions.items()}
    return Section(
        "Do intervals keep their promise?",
        "An interval promised to hold a share of the true values should hold just that share: "
        "lines below the diagonal are too sure, above it too cautious. In the grey band chance "
        "explains the difference.",
        [Chart(coverage_chart(curves, styles))],
    )


def separation_section(
    predictions: Mapping[str, Prediction],
    foreign: Mapping[str, Prediction],
    name: str,
    styles: Mapping[str, Style],
) -> Section:
    """Return the histograms of the score for test examples and inputs from elsewhere."""
    units = {method: score_unit(prediction, method) for method, prediction in predictions.items()}
    edges = {
        unit: score_edges(
            [each[m].score for m in units if units[m] == unit for each in (predictions, foreign)]
        )
        for unit in units.values()
    }
    return Section(
        "Is the unfamiliar noticed?",
        f"Coloured is the uncertainty of test examples, grey that of inputs from elsewhere ({name})"
        "; the less they overlap, the better. The bins at both ends hold the few beyond. The "
        "vertical axis is stretched near zero, to show what is rare.",
        [
            Chart(
                score_histogram(
                    predictions[method].score,
                    foreign[method].score,
                    edges[unit],
                    styles[method],
                    unit,
                ),
                method,
            )
            for method, unit in units.items()
        ],
    )


def refusal_section(
    predictions: Mapping[str, Prediction], y: ArrayLike, styles: Mapping[str, Style]
) -> Section:
    """Return the risk-coverage curves."""
    classes = isinstance(next(iter(predictions.values())), ClassPrediction)
    curves = {m: _selection(prediction, y) for m, prediction in predictions.items()}
    risk = "share of wrong answers" if classes else "mean squared error"
    return Section(
        "What does refusing gain?",
        f"From right to left, the least sure examples are refused; the {risk} among the rest "
        "should fall, and the lower the line the better. At the far left, chance rules.",
        [Chart(risk_chart(curves, styles, risk, percent=classes))],
    )


def parts_section(
    predictions: Mapping[str, Prediction],
    y: ArrayLike,
    foreign: Mapping[str, Prediction],
    name: str,
    styles: Mapping[str, Style],
) -> list[Section]:
    """Return the section of both parts of uncertainty, if a method tells them apart."""
    classes = isinstance(next(iter(predictions.values())), ClassPrediction)
    charts = []
    for method, prediction in predictions.items():
        parts = parts_of(prediction)
        if parts is None:
            continue
        bad = loss_of(prediction, y).flatten() > 0 if classes else None
        other = parts_of(foreign[method]) if foreign else None
        unit = "nats" if classes else "std"
        charts.append(Chart(parts_chart(parts, bad, other, styles[method], unit), method))
    if not charts:
        return []
    other_name = f" Grey are inputs from elsewhere ({name})." if foreign else ""
    return [
        Section(
            "Noise, or ignorance?",
            "Each dot is an example. To the right are those that are noisy by themselves "
            "(aleatoric), which more data would not mend; further up those that the method does "
            f"not know (epistemic), which it would.{other_name}",
            charts,
        )
    ]


def class_section(
    predictions: Mapping[str, ClassPrediction], y: ArrayLike, classes: Sequence[str]
) -> Section:
    """Return the table of classes, one for each method."""
    return Section(
        "Class by class",
        "How many of each class are recognised, and how sure the method is of its answers for "
        "them; where confidence exceeds accuracy it is too sure.",
        tables=[
            ClassTable(method, class_rows(prediction, y, classes))
            for method, prediction in predictions.items()
        ],
    )


def _selection(prediction: Prediction, y: ArrayLike) -> evaluation.Selection:
    return evaluation.selective(prediction.score, loss_of(prediction, y))


def galleries(
    predictions: Mapping[str, ClassPrediction],
    y: Tensor | None,
    x: Tensor | None,
    name: str,
    classes: Sequence[str],
) -> list[Section]:
    """Return the sections of most and least uncertain pictures, if there are any."""
    if x is None:
        return []
    names = class_names(next(iter(predictions.values())), classes)
    doubted, trusted = [], []
    for method, prediction in predictions.items():
        unsure, sure = extremes(prediction.score, _PICTURES)
        doubted.append(Strip(method, pictures(x, prediction, unsure, names, y)))
        trusted.append(Strip(method, pictures(x, prediction, sure, names, y)))
    below = "Below each picture are its two highest probabilities"
    own = y is not None
    failures = [] if y is None else _failures(predictions, y, x, names)
    return [
        Section(
            f"Most uncertain: {name}",
            f"{below}{'; a cross marks a wrong answer, with the right one' if own else ''}. "
            f"{'Would you be sure of these?' if own else 'No class is right here, so doubt is.'}",
            strips=doubted,
        ),
        Section(
            f"Least uncertain: {name}",
            f"{below}. "
            + (
                "These should be easy." if own else "No class is right here: confidence is a fault."
            ),
            strips=trusted,
        ),
        *failures,
    ]


def _failures(
    predictions: Mapping[str, ClassPrediction], y: Tensor, x: Tensor, names: Sequence[str]
) -> list[Section]:
    """Return the pictures that each method is wrong about for sure, and the hardest for all."""
    strips = []
    for method, prediction in predictions.items():
        wrong = loss_of(prediction, y).nonzero().flatten()
        sure = wrong[prediction.confidence.cpu()[wrong].argsort(descending=True, stable=True)]
        if len(sure):
            strips.append(Strip(method, pictures(x, prediction, sure[:_PICTURES], names, y)))
    log_probs = [each.log_probs.cpu().double() for each in predictions.values()]
    together = ClassPrediction.from_probs(torch.stack(log_probs).exp().mean(0))
    truth = y.cpu().long()[:, None]
    loss = -torch.stack([each.gather(1, truth)[:, 0] for each in log_probs]).mean(0)
    hardest = loss.argsort(descending=True, stable=True)[:_PICTURES]
    sections = [
        Section(
            "Hardest: test pictures",
            "The right class got the least probability here, on average over the methods (the mean "
            "log-likelihood). Some may be labelled wrongly.",
            strips=[Strip("", pictures(x, together, hardest, names, y))],
        )
    ]
    if strips:
        mistakes = Section(
            "Confident mistakes: test pictures",
            "Wrong answers given with the highest confidence: what no threshold will catch.",
            strips=strips,
        )
        sections.insert(0, mistakes)
    return sections
