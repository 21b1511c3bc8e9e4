"""Aleatoric and epistemic uncertainty: is an example noisy, or unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from torch import Tensor

from duda.predictions import Prediction
from duda.predictions.terms import Parts
from duda.reporting.evidence import Evidence
from duda.reporting.page import Chart, Section
from duda.reporting.theme import NEUTRAL, Style, axis, blank, translucent
from duda.thinning import thinned

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["parts_chart", "parts_of", "section"]

_MOST_POINTS = 400  # of a kind
_BAD = "#D55E00"
_NOTHING = 1e-5  # entropies of the same draw differ by as much in the last digit


def section(evidence: Evidence) -> list[Section]:
    """Return the dots of both parts of uncertainty, of methods that tell them apart."""
    charts = []
    for method, prediction in evidence.predictions.items():
        parts = parts_of(prediction)
        if parts is None:
            continue
        other = parts_of(evidence.ood[method]) if evidence.ood else None
        figure = parts_chart(parts, evidence.wrong(method), other, evidence.styles[method])
        charts.append(Chart(figure, method))
    if not charts:
        return []
    other_name = (
        f" Gray are out-of-distribution inputs (OOD: {evidence.ood_name})." if evidence.ood else ""
    )
    return [
        Section(
            "Noise, or ignorance?",
            "Each dot is an example. To the right are those that are noisy by themselves "
            "(aleatoric), which more data would not mend; further up those that the method does "
            f"not know (epistemic), which it would.{other_name}",
            charts,
        )
    ]


def parts_of(prediction: Prediction) -> Parts | None:
    """Return both parts of each example's uncertainty, or None where one of them is missing.

    >>> from duda import ClassPrediction
    >>> parts_of(ClassPrediction.from_probs([[0.5, 0.5]])) is None  # one draw knows no second part
    True
    """
    parts = prediction.parts()
    if parts is None or parts.aleatoric.numel() != len(prediction):
        return None
    aleatoric, epistemic = (
        part.detach().cpu().double().flatten() for part in (parts.aleatoric, parts.epistemic)
    )
    return Parts(aleatoric, epistemic, parts.unit) if bool((epistemic > _NOTHING).any()) else None


def parts_chart(
    parts: Parts, bad: Bool[Tensor, "N"] | None, ood: Parts | None, style: Style
) -> Figure:
    """Return a dot for each example, evenly chosen where they are many.

    Args:
        parts: of the test examples.
        bad: which answers are wrong, if that is known.
        ood: of out-of-distribution inputs.
        style: of the method.
    """
    from plotly.graph_objects import Scatter

    figure = blank(
        axis(f"aleatoric: noise ({parts.unit})", rangemode="tozero", nticks=6),
        axis(f"epistemic: ignorance ({parts.unit})", rangemode="tozero", nticks=6),
        height=340,
    )
    everything = torch.ones(len(parts.aleatoric), dtype=torch.bool)
    right = everything if bad is None else ~bad
    groups = [("test" if bad is None else "right", parts, right, style.color, "circle", 0.35)]
    if ood is not None:
        others = torch.ones(len(ood.aleatoric), dtype=torch.bool)
        groups.insert(0, ("OOD", ood, others, NEUTRAL, "circle", 0.35))
    if bad is not None:
        groups.append(("wrong", parts, bad, _BAD, "x", 0.9))
    for name, of, chosen, color, symbol, opacity in groups:
        at = chosen.nonzero().flatten()
        at = at[thinned(len(at), _MOST_POINTS)]
        figure.add_trace(
            Scatter(
                x=_rounded(of.aleatoric[at]),
                y=_rounded(of.epistemic[at]),
                name=name,
                mode="markers",
                marker={"color": translucent(color, opacity), "size": 6, "symbol": symbol},
                hovertemplate=f"{name}<br>aleatoric %{{x:.3f}}<br>epistemic %{{y:.3f}}"
                "<extra></extra>",
            )
        )
    return figure


def _rounded(values: Tensor) -> list[float]:
    """Return values to four digits, which is what a dot shows, in a third of the bytes."""
    return [float(f"{value:.4g}") for value in values.tolist()]
