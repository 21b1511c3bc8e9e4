"""Coverage of intervals: do they hold as many true values as they promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from duda.evaluation import Coverage, coverage
from duda.reporting.evidence import Evidence
from duda.reporting.page import Chart, Section
from duda.reporting.theme import INK, NEUTRAL, Style, axis, blank, translucent

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["coverage_chart", "section"]


def section(evidence: Evidence) -> list[Section]:
    """Return the chart of observed over promised coverage of numbers."""
    if not evidence.of_numbers:
        return []
    curves = {
        method: coverage(prediction, evidence.y, mask=evidence.counted)
        for method, prediction in evidence.of_numbers.items()
    }
    return [
        Section(
            "Do intervals keep their promise?",
            "An interval promised to hold a share of the true values should hold just that share: "
            "lines below the diagonal are too sure, above it too cautious. In the gray band chance "
            "explains the difference.",
            [Chart(coverage_chart(curves, evidence.styles))],
        )
    ]


def coverage_chart(curves: Mapping[str, Coverage], styles: Mapping[str, Style]) -> Figure:
    """Return the observed over the promised share inside intervals, a line for each method.

    A band about the diagonal holds 95 of 100 points of a calibrated method, whose targets are
    independent of each other.
    """
    from plotly.graph_objects import Scatter

    figure = blank(
        axis("share promised", range=[0, 1.005], tickformat=".0%", dtick=0.2),
        axis("share inside", range=[0, 1.02], tickformat=".0%"),
        height=380,
    )
    figure.update_layout(showlegend=False)
    levels = torch.linspace(0, 1, 101, dtype=torch.float64)
    total = next(iter(curves.values())).total
    low, high = Coverage(levels, torch.zeros(len(levels)).long(), total).null_band()
    figure.add_trace(
        Scatter(
            x=torch.cat([levels, levels.flip(0)]).tolist(),
            y=torch.cat([low, high.flip(0)]).tolist(),
            name="by chance",
            fill="toself",
            fillcolor=translucent(NEUTRAL, 0.25),
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
        )
    )
    figure.add_trace(
        Scatter(
            x=[0, 1],
            y=[0, 1],
            mode="lines",
            name="as promised",
            line={"color": NEUTRAL, "dash": "dash", "width": 2},
            hoverinfo="skip",
            meta=INK,
        )
    )
    for method, curve in curves.items():
        figure.add_trace(
            Scatter(
                x=curve.levels.tolist(),
                y=curve.observed.tolist(),
                name=method,
                mode="lines+markers",
                line=styles[method].line,
                marker={"size": 6},
                hovertemplate=f"{method}<br>promised %{{x:.0%}}<br>inside %{{y:.1%}}"
                "<extra></extra>",
            )
        )
    return figure
