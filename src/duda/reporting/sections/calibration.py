"""Reliability diagrams, calibration: is an answer given with 80 % right in 80 % of cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Bool
from torch import Tensor

from duda.evaluation import NullBand, Reliability, reliability
from duda.reporting.evidence import IGNORED, Evidence
from duda.reporting.page import Chart, Section
from duda.reporting.theme import INK, NEUTRAL, Style, axis, blank, translucent

if TYPE_CHECKING:
    from plotly.graph_objects import Bar, Figure

__all__ = ["reliability_diagram", "section"]

_FEW = 10  # examples, below which a bin's accuracy is mostly chance
_THIN = 0.006  # of the axis, the least height of a mark


def section(evidence: Evidence) -> list[Section]:
    """Return the reliability diagrams of classes, one for each method."""
    charts = []
    for method, prediction in evidence.of_classes.items():
        bins = reliability(prediction, evidence.labels, ignore_index=IGNORED)
        band = bins.null_band()
        figure = reliability_diagram(bins, band, evidence.styles[method])
        charts.append(Chart(figure, method, f"ECE {bins.ece:.3f}, chance ≤ {band.limit:.3f}"))
    if not charts:
        return []
    return [
        Section(
            "Is confidence deserved?",
            "Each bar is the share of right answers among examples of like confidence; on the "
            "dashed line confidence is deserved, below it the method is too sure. A bar that ends "
            "on its gray mark differs by no more than chance. Below are the numbers of examples; "
            "bars of fewer than 10 are pale.",
            charts,
        )
    ]


def reliability_diagram(bins: Reliability, band: NullBand, style: Style) -> Figure:
    """Return bars of accuracy over confidence, and below them the number of examples in each bin.

    Marks show where chance would put most bars of a method with nothing wrong. Bins of fewer than
    10 examples are pale, and have no mark.

    Args:
        bins: what was counted.
        band: what chance explains of it.
        style: of the method.
    """
    from plotly.graph_objects import Scatter

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
    figure.add_trace(_accuracies(bins, style))
    figure.add_trace(_chance(bins, band))
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
    figure.add_trace(_counts(bins))
    return figure


def _accuracies(bins: Reliability, style: Style) -> Bar:
    from plotly.graph_objects import Bar

    filled = bins.counts > 0
    counts = bins.counts[filled].tolist()
    return Bar(
        y=bins.accuracy[filled].tolist(),
        customdata=list(zip(bins.confidence[filled].tolist(), counts, strict=True)),
        marker={
            "color": style.color,
            "opacity": [1 if n >= _FEW else 0.35 for n in counts],
            "pattern": style.hatch,
        },
        hovertemplate="confidence %{customdata[0]:.1%}<br>right %{y:.1%}"
        "<br>%{customdata[1]} examples<extra></extra>",
        **_places(bins, filled, 0.92),
    )


def _chance(bins: Reliability, band: NullBand) -> Bar:
    from plotly.graph_objects import Bar

    told = bins.counts >= _FEW
    lower, upper = band.lower[told], band.upper[told]
    return Bar(
        base=lower.tolist(),
        y=(upper - lower).clamp(min=_THIN).tolist(),
        marker={"color": translucent(NEUTRAL, 0.45)},
        hovertemplate="by chance %{base:.1%} to %{customdata:.1%}<extra></extra>",
        customdata=upper.tolist(),
        **_places(bins, told, 0.4),
    )


def _counts(bins: Reliability) -> Bar:
    from plotly.graph_objects import Bar

    filled = bins.counts > 0
    return Bar(
        y=bins.counts[filled].tolist(),
        yaxis="y2",
        marker={"color": NEUTRAL},
        hovertemplate="%{y} examples<extra></extra>",
        **_places(bins, filled, 0.92),
    )


def _places(bins: Reliability, chosen: Bool[Tensor, "B"], share: float) -> dict[str, list[float]]:
    """Return the centres of the chosen bins, and a share of their widths."""
    centres = (bins.edges[1:] + bins.edges[:-1]) / 2
    return {
        "x": centres[chosen].tolist(),
        "width": (share * bins.edges.diff())[chosen].tolist(),
    }
