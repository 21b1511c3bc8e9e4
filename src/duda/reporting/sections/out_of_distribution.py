"""Out-of-distribution detection, histograms of the score: is the unfamiliar noticed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from duda.reporting.evidence import Evidence
from duda.reporting.page import Chart, Section
from duda.reporting.scores import score_label
from duda.reporting.theme import NEUTRAL, Style, axis, blank, translucent

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["score_edges", "score_histogram", "section", "shares"]

_BINS = 30
_BEYOND = 200  # one in so many scores may lie beyond an end
_HANDFUL = 20
_NEAR = 0.5  # of the range, from zero to where it begins


def section(evidence: Evidence) -> list[Section]:
    """Return the histograms of the score for test examples and out-of-distribution inputs."""
    if not evidence.ood:
        return []
    labels = {m: score_label(each, m) for m, each in evidence.predictions.items()}
    both = {m: (score, evidence.ood[m].score) for m, score in evidence.scores.items()}
    edges = {
        label: score_edges([score for m in labels if labels[m] == label for score in both[m]])
        for label in labels.values()
    }
    return [
        Section(
            "Is the unfamiliar noticed?",
            "Colored is the uncertainty of test examples, gray that of out-of-distribution inputs "
            f"(OOD: {evidence.ood_name}); the less they overlap, the better. The bins at both ends "
            "hold the few beyond. The vertical axis is stretched near zero, to show what is rare.",
            [
                Chart(
                    score_histogram(*both[method], edges[label], evidence.styles[method], label),
                    method,
                )
                for method, label in labels.items()
            ],
        )
    ]


def score_edges(scores: Sequence[Tensor]) -> Float[Tensor, "B+1"]:
    """Return the edges of bins of equal width that hold nearly all finite scores of each set.

    One in 200 may lie beyond either end, so that a single score far off does not push all others
    into one bin. They begin at zero where scores come near it.

    >>> score_edges([torch.tensor([0.0, 3.0])])[:3]
    tensor([0.0000, 0.1000, 0.2000], dtype=torch.float64)
    """
    finite = [score[score.isfinite()].flatten().double().cpu() for score in scores]
    ends = torch.cat([_ends(each) for each in finite if len(each)] or [torch.zeros(1)])
    low, high = (float(end) for end in ends.aminmax())
    if 0 < low < _NEAR * (high - low):
        low = 0.0
    if not low < high:
        low, high = min(low, 0.0), max(high, low + 1.0)
    return torch.linspace(low, high, _BINS + 1, dtype=torch.float64)


def _ends(scores: Float[Tensor, "N"]) -> Float[Tensor, "2"]:
    """Return the lowest and the highest of the scores but the few beyond; of a handful, of all."""
    beyond = math.ceil(len(scores) / _BEYOND) if len(scores) >= _HANDFUL else 0
    ascending = scores.sort().values
    return ascending[[beyond, len(scores) - 1 - beyond]]


def shares(score: Tensor, edges: Float[Tensor, "B+1"]) -> Float[Tensor, "B"]:
    """Return the share of scores in each bin, which sum to one; those at the ends hold the rest.

    >>> shares(torch.tensor([0.0, 0.1, 1.0]), torch.tensor([0.0, 0.5, 1.0]).double())
    tensor([0.6667, 0.3333], dtype=torch.float64)
    """
    values = score.flatten().double().cpu()
    index = torch.bucketize(values, edges[1:-1].contiguous(), right=True)
    return torch.bincount(index, minlength=len(edges) - 1).double() / values.numel()


def score_histogram(
    score: Tensor, ood: Tensor, edges: Float[Tensor, "B+1"], style: Style, label: str
) -> Figure:
    """Return bars for the score of test examples, and a gray outline for that of other inputs."""
    from plotly.graph_objects import Bar, Scatter

    own, other = shares(score, edges).tolist(), shares(ood, edges).tolist()
    # Most test examples are sure: the square root keeps the others in sight beside them.
    ticks = _ticks(max(own + other))
    figure = blank(
        axis(label, range=[float(edges[0]), float(edges[-1])], nticks=6),
        axis(
            "share of inputs",
            tickvals=[math.sqrt(tick) for tick in ticks],
            ticktext=[f"{100 * tick:g} %" for tick in ticks],
            range=[0, 1.04 * math.sqrt(max(own + other))],
        ),
        height=320,
    )
    figure.update_layout(bargap=0)
    figure.add_trace(
        Bar(
            x=((edges[1:] + edges[:-1]) / 2).tolist(),
            y=[math.sqrt(value) for value in own],
            customdata=own,
            name="test",
            marker={
                "color": translucent(style.color, 0.85),
                "line": {"width": 0},
                "pattern": style.hatch,
            },
            hovertemplate="%{customdata:.1%} of test examples<extra></extra>",
        )
    )
    figure.add_trace(
        Scatter(
            x=edges.tolist(),
            y=[math.sqrt(value) for value in [*other, other[-1]]],
            customdata=[*other, other[-1]],
            name="OOD",
            line={"color": NEUTRAL, "shape": "hv", "width": 2.5},
            fill="tozeroy",
            fillcolor=translucent(NEUTRAL, 0.2),
            mode="lines",
            hovertemplate="%{customdata:.1%} of out-of-distribution inputs<extra></extra>",
        )
    )
    return figure


def _ticks(highest: float) -> list[float]:
    """Return shares that are told apart on a square root's axis."""
    known = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    return [0.0, *(tick for tick in known if 0.01 * highest <= tick <= highest)]
