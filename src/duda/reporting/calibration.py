"""The reliability diagram: does a confidence of 80 % mean right in 80 % of cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from duda.evaluation import Reliability
from duda.reporting.theme import INK, NEUTRAL, Style, axis, blank, translucent

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["reliability_diagram"]

_FEW = 10  # examples, below which a bin's accuracy is mostly chance
_THIN = 0.006  # of the axis, the least height of a mark


def reliability_diagram(bins: Reliability, style: Style) -> Figure:
    """Return bars of accuracy over confidence, and below them the number of examples in each bin.

    Marks show where chance would put 95 % of the bars of a method with nothing wrong. Bins of fewer
    than 10 examples are pale, and have no mark.
    """
    from plotly.graph_objects import Bar, Scatter

    figure = blank(
        axis("confidence", range=[0, 1.005], tickformat=".0%", anchor="y2", dtick=0.25),
        axis("share right", range=[0, 1.02], tickformat=".0%", domain=[0.34, 1], dtick=0.25),
        height=360,
    )
    figure.update_layout(
        yaxis2=axis("examples", domain=[0, 0.22], nticks=3, rangemode="tozero"),
        showlegend=False,
        barmode="overlay",
    )
    filled = bins.counts > 0
    centres = (bins.edges[1:] + bins.edges[:-1]) / 2
    counts = bins.counts[filled].tolist()
    shared = {
        "x": centres[filled].tolist(),
        "width": (0.92 * bins.edges.diff())[filled].tolist(),
    }
    figure.add_trace(
        Bar(
            y=bins.accuracy[filled].tolist(),
            customdata=list(zip(bins.confidence[filled].tolist(), counts, strict=True)),
            marker={
                "color": style.colour,
                "opacity": [1 if n >= _FEW else 0.35 for n in counts],
                "pattern": style.hatch,
            },
            hovertemplate="confidence %{customdata[0]:.1%}<br>right %{y:.1%}"
            "<br>%{customdata[1]} examples<extra></extra>",
            **shared,
        )
    )
    band = bins.null_band()
    told = bins.counts >= _FEW
    lower, upper = band.lower[told], band.upper[told]
    figure.add_trace(
        Bar(
            base=lower.tolist(),
            y=(upper - lower).clamp(min=_THIN).tolist(),
            marker={"color": translucent(NEUTRAL, 0.45)},
            hovertemplate="by chance %{base:.1%} to %{customdata:.1%}<extra></extra>",
            customdata=upper.tolist(),
            x=centres[told].tolist(),
            width=(0.4 * bins.edges.diff())[told].tolist(),
        )
    )
    figure.add_trace(
        Scatter(
            x=[0, 1],
            y=[0, 1],
            mode="lines",
            line={"color": NEUTRAL, "dash": "dash", "width": 2},
            hoverinfo="skip",
            meta=INK,
        )
    )
    figure.add_trace(
        Bar(
            y=counts,
            yaxis="y2",
            marker={"color": NEUTRAL},
            hovertemplate="%{y} examples<extra></extra>",
            **shared,
        )
    )
    return figure
