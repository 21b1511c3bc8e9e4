"""Aleatoric against epistemic: is an example noisy, or unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.predictions import ClassPrediction, LocationScalePrediction, Prediction
from duda.reporting.theme import NEUTRAL, Style, axis, blank, translucent
from duda.thinning import thinned

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["Parts", "parts_chart", "parts_of"]

_MOST_POINTS = 400  # of a kind
_BAD = "#D55E00"
_NOTHING = 1e-5  # entropies of the same draw differ by as much in the last digit

Parts = tuple[Float[Tensor, "N"], Float[Tensor, "N"]]  # aleatoric, epistemic


def parts_of(prediction: Prediction) -> Parts | None:
    """Return both parts of each example's uncertainty, or None where one of them is missing.

    Of classes they are in nats. Of numbers they are standard deviations in units of the target.

    >>> parts_of(ClassPrediction.from_probs([[0.5, 0.5]])) is None  # one draw knows no second part
    True
    """
    if isinstance(prediction, ClassPrediction):
        pair = (prediction.aleatoric, prediction.epistemic)
    elif isinstance(prediction, LocationScalePrediction):
        pair = (prediction.aleatoric.sqrt(), prediction.epistemic.sqrt())
    else:
        return None
    aleatoric, epistemic = (part.detach().cpu().double() for part in pair)
    if aleatoric.numel() != len(prediction) or not bool((epistemic > _NOTHING).any()):
        return None
    return aleatoric.flatten(), epistemic.flatten()


def parts_chart(
    parts: Parts, bad: Bool[Tensor, "N"] | None, foreign: Parts | None, style: Style, unit: str
) -> Figure:
    """Return a dot for each example, evenly chosen where they are many.

    Args:
        parts: of the test examples.
        bad: which answers are wrong, if that is known.
        foreign: of inputs from elsewhere.
        style: of the method.
        unit: of both parts.
    """
    from plotly.graph_objects import Scatter

    figure = blank(
        axis(f"aleatoric: noise ({unit})", rangemode="tozero", nticks=6),
        axis(f"epistemic: ignorance ({unit})", rangemode="tozero", nticks=6),
        height=340,
    )
    right = torch.ones(len(parts[0]), dtype=torch.bool) if bad is None else ~bad
    groups = [("test" if bad is None else "right", parts, right, style.colour, "circle", 0.35)]
    if foreign is not None:
        everything = torch.ones(len(foreign[0]), dtype=torch.bool)
        groups.insert(0, ("from elsewhere", foreign, everything, NEUTRAL, "circle", 0.35))
    if bad is not None:
        groups.append(("wrong", parts, bad, _BAD, "x", 0.9))
    for name, (x, y), chosen, colour, symbol, opacity in groups:
        at = chosen.nonzero().flatten()
        at = at[thinned(len(at), _MOST_POINTS)]
        figure.add_trace(
            Scatter(
                x=_rounded(x[at]),
                y=_rounded(y[at]),
                name=name,
                mode="markers",
                marker={"color": translucent(colour, opacity), "size": 6, "symbol": symbol},
                hovertemplate=f"{name}<br>aleatoric %{{x:.3f}}<br>epistemic %{{y:.3f}}"
                "<extra></extra>",
            )
        )
    return figure


def _rounded(values: Tensor) -> list[float]:
    """Return values to four digits, which is what a dot shows, in a third of the bytes."""
    return [float(f"{value:.4g}") for value in values.tolist()]
