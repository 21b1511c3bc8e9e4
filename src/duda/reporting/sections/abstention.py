"""Abstention, the risk-coverage curve: what is gained by refusing the least sure examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from duda.evaluation import Selection, selective
from duda.reporting.evidence import Evidence
from duda.reporting.page import Chart, Section
from duda.reporting.theme import Style, axis, blank
from duda.thinning import thinned

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["risk_chart", "section"]


def section(evidence: Evidence) -> list[Section]:
    """Return the risk-coverage curves."""
    curves = {
        method: selective(score, evidence.losses[method])
        for method, score in evidence.scores.items()
    }
    risk, percent = evidence.loss_name, bool(evidence.of_classes)
    return [
        Section(
            "What does refusing gain?",
            "This is the risk-coverage curve: from right to left the method abstains from more and "
            f"more of the examples, the least sure first. The {risk} among the rest should fall, "
            "and the lower the line the better. At the far left, chance rules.",
            [Chart(risk_chart(curves, evidence.styles, risk, percent))],
        )
    ]


def risk_chart(
    curves: Mapping[str, Selection], styles: Mapping[str, Style], risk: str, percent: bool
) -> Figure:
    """Return the risk over the share accepted, a line for each method.

    Args:
        curves: by method.
        styles: by method.
        risk: what it is called.
        percent: whether to show it as a share of 100.
    """
    from plotly.graph_objects import Scatter

    digits = ".1%" if percent else ".3~g"
    figure = blank(
        axis("share accepted, the surest first", range=[0, 1.005], tickformat=".0%", dtick=0.2),
        axis(risk, rangemode="tozero", tickformat="~%" if percent else "~g"),
        height=380,
    )
    figure.update_layout(showlegend=False)
    for method, curve in curves.items():
        points = thinned(len(curve.coverages))
        figure.add_trace(
            Scatter(
                x=curve.coverages[points].tolist(),
                y=curve.risks[points].tolist(),
                name=method,
                mode="lines",
                line=styles[method].line,
                hovertemplate=f"{method}<br>%{{x:.1%}} accepted<br>{risk} %{{y:{digits}}}"
                "<extra></extra>",
            )
        )
    return figure
