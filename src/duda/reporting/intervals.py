"""The coverage chart: do intervals hold as many true values as they promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from duda.evaluation import Coverage
from duda.reporting.theme import INK, NEUTRAL, Style, axis, blank

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["coverage_chart"]


def coverage_chart(curves: Mapping[str, Coverage], styles: Mapping[str, Style]) -> Figure:
    """Return the observed over the promised share inside intervals, a line for each method."""
    from plotly.graph_objects import Scatter

    figure = blank(
        axis("share promised", range=[0, 1.005], tickformat=".0%", dtick=0.2),
        axis("share inside", range=[0, 1.02], tickformat=".0%"),
        height=380,
    )
    figure.update_layout(showlegend=False)
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
