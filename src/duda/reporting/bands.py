"""Bands over a function of one input: what the method knows inside and outside of its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import as_tensor
from duda.predictions import LocationScalePrediction, QuantilePrediction
from duda.reporting.theme import INK, NEUTRAL, Style, axis, blank, translucent
from duda.thinning import thinned

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["OneInput", "band_chart", "band_range"]

_WIDTHS = (3, 2, 1)  # standard deviations, the widest below


@dataclass(frozen=True, eq=False)
class OneInput:
    """A problem with one input and one output, to be shown as a curve.

    Args:
        x: inputs to show, ascending.
        predictions: for these inputs, by method.
        train: inputs and targets that the methods were trained on.
        truth: the true function at `x`, where it is known.
    """

    x: Float[Tensor, "K 1"]
    predictions: Mapping[str, LocationScalePrediction | QuantilePrediction]
    train: tuple[Float[Tensor, "N 1"], Float[Tensor, "N 1"]]
    truth: Float[Tensor, "K 1"] | None = None

    def __post_init__(self) -> None:
        inputs, outputs = self.train
        object.__setattr__(self, "x", as_tensor(self.x, "x"))
        object.__setattr__(self, "train", (as_tensor(inputs, "train"), as_tensor(outputs, "train")))
        if self.truth is not None:
            object.__setattr__(self, "truth", as_tensor(self.truth, "truth"))


def band_range(problem: OneInput) -> tuple[float, float]:
    """Return what to show of the vertical axis: the truth and the data, and half as much again."""
    known = [problem.train[1], *([] if problem.truth is None else [problem.truth])]
    values = torch.cat([value.double().flatten().cpu() for value in known])
    low, high = float(values.min()), float(values.max())
    margin = (high - low) / 4
    return low - margin, high + margin


def band_chart(problem: OneInput, method: str, style: Style) -> Figure:
    """Return the predicted mean with bands of 1, 2 and 3 standard deviations, or the quantiles.

    The ground is grey outside of the training data.
    """
    from plotly.graph_objects import Scatter

    prediction = problem.predictions[method]
    x = problem.x.flatten().tolist()
    bands = _bands(prediction)
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
                fillcolor=translucent(style.colour, 0.2),
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


def _bands(
    prediction: LocationScalePrediction | QuantilePrediction,
) -> list[tuple[Tensor, Tensor]]:
    """Return the ends of the bands, the widest first."""
    if isinstance(prediction, QuantilePrediction):
        return [prediction.interval(level) for level in reversed(prediction.central_levels)]
    mean, std = prediction.mean, prediction.std
    return [(mean - width * std, mean + width * std) for width in _WIDTHS]


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
