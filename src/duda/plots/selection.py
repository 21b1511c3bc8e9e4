"""Risk-coverage curves: what abstaining gains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from duda.plots.canvas import BAD, GOOD, INK, MUTED, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["accuracy_above", "patches", "risk_coverage"]


def risk_coverage(
    coverages: Float[Tensor, "K"], risks: Float[Tensor, "K"], aurc: float, ax: Axes | None = None
) -> Axes:
    """Draw the mean loss of the accepted examples, beside that of accepting all.

    >>> import torch
    >>> ax = risk_coverage(torch.tensor([0.0, 1.0]), torch.tensor([0.1, 0.2]), aurc=0.15)
    >>> ax.get_ylabel()
    'mean loss of the accepted'
    """
    ax = canvas(
        ax,
        "What refusing gains",
        "share accepted, the surest first",
        "mean loss of the accepted",
    )
    ax.axhline(float(risks[-1]), color=MUTED, linestyle="--", linewidth=1, label="all accepted")
    ax.plot(coverages.tolist(), risks.tolist(), color=GOOD, label=f"AURC {aurc:.3g}")
    ax.set(xlim=(0, 1.01))
    if float(risks.min()) >= 0:
        ax.set_ylim(bottom=0)
    ax.legend(frameon=False)
    return ax


def accuracy_above(
    levels: Float[Tensor, "L"], accuracy: Float[Tensor, "L"], ax: Axes | None = None
) -> Axes:
    """Draw the accuracy on the examples of at least each confidence; NaN leaves a gap.

    >>> import torch
    >>> ax = accuracy_above(torch.tensor([0.0, 0.5]), torch.tensor([0.8, 1.0]))
    >>> ax.get_xlabel()
    'confidence asked for'
    """
    ax = canvas(
        ax,
        "Accuracy of what is sure",
        "confidence asked for",
        "accuracy of what is at least so sure",
    )
    ax.plot(levels.tolist(), accuracy.tolist(), color=GOOD)
    return ax


def patches(
    thresholds: Float[Tensor, "T"],
    right_if_sure: Float[Tensor, "T"],
    unsure_if_wrong: Float[Tensor, "T"],
    both: Float[Tensor, "T"],
    ax: Axes | None = None,
) -> Axes:
    """Draw which patches are right where sure, unsure where wrong, and either; NaN leaves gaps.

    >>> import torch
    >>> ax = patches(*torch.tensor([[0.1, 0.5], [1.0, 0.8], [0.9, 0.4], [0.7, 0.8]]))
    >>> ax.get_ylabel()
    'share of patches'
    """
    ax = canvas(ax, "Patches of pixels", "mean score above which one is unsure", "share of patches")
    for shares, label, color, style in (
        (right_if_sure, "right, of the sure", GOOD, "-"),
        (unsure_if_wrong, "unsure, of the wrong", BAD, "-"),
        (both, "right and sure, or neither (PAvPU)", INK, "--"),
    ):
        ax.plot(thresholds.tolist(), shares.tolist(), color=color, linestyle=style, label=label)
    ax.set_ylim(0, 1.02)
    ax.legend(frameon=False, fontsize="small")
    return ax
