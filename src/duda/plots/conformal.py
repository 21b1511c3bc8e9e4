"""Coverage of conformal sets and intervals, by group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float, Int
from torch import Tensor

from duda.plots.canvas import BAD, GOOD, INK, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["coverage_by_group"]

_LABELS = {
    "class": "class",
    "size": "classes in the set",
    "width": "quarter of intervals, from 0 (narrow) to 3 (wide)",
}


def coverage_by_group(
    groups: Int[Tensor, "G"],
    covered: Float[Tensor, "G"],
    low: Float[Tensor, "G"],
    high: Float[Tensor, "G"],
    promised: float,
    by: str,
    ax: Axes | None = None,
) -> Axes:
    """Draw the coverage of each group beside the promise; what is surely lower stands out.

    Args:
        groups: their numbers.
        covered: the share of each that is covered.
        low: the least that the share may be, but for chance.
        high: the most.
        promised: the share promised in all.
        by: what the groups are: "class", "size" or "width".
        ax: where to draw; by default on a new figure.

    >>> import torch
    >>> shares = torch.tensor([0.6]), torch.tensor([0.4]), torch.tensor([0.8])
    >>> coverage_by_group(torch.tensor([0]), *shares, promised=0.9, by="class").get_ylabel()
    'share covered'
    """
    from matplotlib.ticker import MaxNLocator

    ax = canvas(ax, f"Coverage by {by}", _LABELS[by], "share covered")
    for chosen, color, label in (
        (high >= promised, GOOD, "share covered, and chance"),
        (high < promised, BAD, "below, beyond chance"),
    ):
        if bool(chosen.any()):
            share = covered[chosen].numpy()
            ax.errorbar(
                groups[chosen].numpy(),
                share,
                [share - low[chosen].numpy(), high[chosen].numpy() - share],
                fmt="o",
                color=color,
                capsize=3,
                label=label,
            )
    ax.axhline(promised, color=INK, linestyle="--", linewidth=1, label=f"promised {promised:.4g}")
    ax.set_ylim(top=1.02)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False, fontsize="small")
    return ax
