"""Uncertainty bands over a function of one input: what is known inside and outside of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from duda.reporting.evidence import Evidence
from duda.reporting.one_input import OneInput
from duda.reporting.page import Chart, Section
from duda.reporting.scores import by_words, listed
from duda.reporting.theme import INK, NEUTRAL, Style, axis, blank, translucent
from duda.thinning import thinned

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["band_chart", "band_range", "section"]


def section(evidence: Evidence) -> list[Section]:
    """Return the bands over a function of one input, a chart for each method."""
    problem = evidence.one_input
    if problem is None:
        return []
    bands = {method: each.bands() for method, each in problem.predictions.items()}
    kinds = by_words({m: f"{each.centre}, the bands {each.meaning}" for m, each in bands.items()})
    (first, _), *others = kinds.items()
    told = "".join(f"; for {listed(methods)} it is the {saying}" for saying, methods in others)
    return [
        Section(
            "What is known, and where does it end?",
            f"The line is the predicted {first}{told}; dotted is the true function, dots are "
            "training data. On gray ground there were none, so the bands should widen there.",
            [
                Chart(band_chart(problem, method, evidence.styles[method]), method)
                for method in bands
            ],
        )
    ]


def band_range(problem: OneInput) -> tuple[float, float]:
    """Return what to show of the vertical axis: the truth and the data, and half as much again."""
    known = [problem.train[1], *([] if problem.truth is None else [problem.truth])]
    values = torch.cat([value.double().flatten().cpu() for value in known])
    low, high = float(values.min()), float(values.max())
    margin = (high - low) / 4
    return low - margin, high + margin


def band_chart(problem: OneInput, method: str, style: Style) -> Figure:
    """Return the predicted line in its bands; the ground is gray outside of the training data."""
    from plotly.graph_objects import Scatter

    prediction = problem.predictions[method]
    x = problem.x.flatten().tolist()
    bands = prediction.bands().ends
    figure = blank(
        axis("input", range=[x[0], x[-1]]), axis("output", range=list(band_range(problem)))
    )
    figure.update_layout(height=340, showlegend=False)
    _shade_outside(figure, problem)
    for lower, upper in bands:
        ends = torch.cat([lower.flatten(), upper.flatten().flip(0)]).double()
        figure.add_trace(
            Scatter(
                x=x + x[::-1],
                y=ends.tolist(),
                fill="toself",
                fillcolor=translucent(style.color, 0.2),
                line={"width": 0},
                mode="lines",
                hoverinfo="skip",
            )
        )
    figure.add_trace(
        Scatter(
            x=x,
            y=prediction.centre.flatten().double().tolist(),
            customdata=torch.cat(bands[-1], dim=1).double().tolist(),
            mode="lines",
            line=style.line,
            hovertemplate="%{y:.3~g}, from %{customdata[0]:.3~g} to %{customdata[1]:.3~g}"
            "<extra></extra>",
        )
    )
    _add_known(figure, problem)
    return figure


def _shade_outside(figure: Figure, problem: OneInput) -> None:
    low, high = float(problem.train[0].min()), float(problem.train[0].max())
    for start, end in ((float(problem.x[0]), low), (high, float(problem.x[-1]))):
        if start < end:
            figure.add_vrect(
                x0=start, x1=end, fillcolor=NEUTRAL, opacity=0.13, line_width=0, layer="below"
            )


def _add_known(figure: Figure, problem: OneInput) -> None:
    """Add the training data, some of it where it is much, and the true function."""
    from plotly.graph_objects import Scatter

    inputs, targets = problem.train
    some = thinned(len(inputs))
    figure.add_trace(
        Scatter(
            x=inputs[some].flatten().tolist(),
            y=targets[some].flatten().tolist(),
            mode="markers",
            marker={"color": NEUTRAL, "size": 3, "opacity": 0.55},
            hoverinfo="skip",
        )
    )
    if problem.truth is not None:
        figure.add_trace(
            Scatter(
                x=problem.x.flatten().tolist(),
                y=problem.truth.flatten().tolist(),
                mode="lines",
                line={"color": NEUTRAL, "dash": "dot", "width": 1.5},
                meta=INK,
                hovertemplate="truth %{y:.3~g}<extra></extra>",
            )
        )
