"""Predictions of numbers drawn: bands, coverage, PIT, sparsification, spread of errors."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from duda.plots.canvas import BAD, GOOD, INK, MUTED, canvas
from duda.thinning import thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "bands",
    "coverage_curve",
    "coverage_curves",
    "pit_histogram",
    "sparsification_curve",
    "spread_curve",
]

_SHADES = ((3, 0.12), (2, 0.24), (1, 0.42))  # standard deviations and opacity, the widest below
# Distinct for the color-blind (Okabe & Ito 2008), and by their markers.
_STYLES = ((BAD, "o"), (GOOD, "s"), ("#009E73", "D"), ("#CC79A7", "^"), ("#E69F00", "v"))
_FEW = 20  # points that can be told apart


def bands(
    x: Float[Tensor, "K *"],
    mean: Float[Tensor, "K *"],
    std: Float[Tensor, "K *"],
    *,
    train: tuple[Float[Tensor, "N *"], Float[Tensor, "N *"]] | None = None,
    truth: Float[Tensor, "K *"] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a mean over one input, in bands of 1, 2 and 3 standard deviations.

    Args:
        x: `(K)` or `(K, 1)`, ascending; the others have its shape.
        mean: in units of the target, as `std` and `truth`.
        std: standard deviations.
        train: inputs and targets seen in training; the ground beyond these inputs is grey.
        truth: the true function at `x`. It and the targets set the limits of the vertical axis.
        ax: where to draw; by default on a new figure.

    >>> import torch
    >>> x = torch.linspace(0, 1, 5)
    >>> bands(x, x, 0.1 + x, truth=x).get_legend_handles_labels()[1]
    ['3 std', '2 std', '1 std', 'truth', 'mean']
    """
    ax = canvas(ax, "Mean and standard deviation", "input", "target")
    inputs, middle, spread = (value.flatten().numpy() for value in (x, mean, std))
    for width, alpha in _SHADES:
        low, high = middle - width * spread, middle + width * spread
        ax.fill_between(inputs, low, high, color=GOOD, alpha=alpha, lw=0, label=f"{width} std")
    known = []
    if train is not None:
        seen, targets = (value.flatten() for value in train)
        known.append(targets)
        shown = thinned(len(seen))
        points = (seen[shown].numpy(), targets[shown].numpy())
        size = 7 if len(seen) <= _FEW else 3
        ax.plot(*points, ".", ms=size, color=INK, alpha=0.5, mew=0, label="training data")
        for start, end in ((inputs[0], float(seen.min())), (float(seen.max()), inputs[-1])):
            if start < end:
                ax.axvspan(start, end, color=MUTED, alpha=0.15, lw=0, zorder=0)
    if truth is not None:
        known.append(truth.flatten())
        ax.plot(inputs, known[-1].numpy(), "--", color=INK, lw=1, label="truth")
    ax.plot(inputs, middle, color=GOOD, lw=1.5, label="mean")
    ax.set(xlim=(inputs[0], inputs[-1]))
    if known:
        low, high = (float(end) for end in torch.cat(known).aminmax())
        margin = (high - low) / 4 or 1.0
        ax.set(ylim=(low - margin, high + margin))
    return ax


def coverage_curve(
    levels: Float[Tensor, "L"],
    observed: Float[Tensor, "L"],
    low: Float[Tensor, "L"],
    high: Float[Tensor, "L"],
    *,
    central: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of targets inside intervals over the share promised, levels ascending.

    `low` and `high` bound what a calibrated model would show. Intervals that are not `central`
    reach from below all numbers up to a quantile.

    >>> import torch
    >>> levels = torch.tensor([0.5, 0.9])
    >>> coverage_curve(levels, levels, levels - 0.1, levels + 0.1).get_xlabel()
    'share promised'
    """
    ax = _calibrated(levels, low, high, ax)
    marker = "o" if len(levels) <= _FEW else ""
    ax.plot(
        levels.numpy(), observed.numpy(), marker=marker, ms=4, color=GOOD, lw=2, label="observed"
    )
    if central:  # of others the lower half of the curve has these the other way round
        ax.text(0.97, 0.05, "too sure", ha="right", color=INK, style="italic")
        ax.text(0.03, 0.74, "too cautious", color=INK, style="italic")
    else:
        ax.set_ylabel("share of targets up to the quantile")
    ax.legend(frameon=False, loc="upper left")
    return ax


def coverage_curves(
    levels: Float[Tensor, "L"],
    observed: Mapping[str, Float[Tensor, "L"]],
    low: Float[Tensor, "L"],
    high: Float[Tensor, "L"],
    ax: Axes | None = None,
) -> Axes:
    """Draw the shares that several methods observe over the same promised ones, by name.

    The rest is as for `coverage_curve`; colors and markers follow the order of the methods.

    >>> import torch
    >>> levels = torch.tensor([0.5, 0.9])
    >>> ax = coverage_curves(levels, {"a": levels, "b": 1 - levels}, levels - 0.1, levels + 0.1)
    >>> ax.get_legend_handles_labels()[1]
    ['95 % band if calibrated', 'a', 'b']
    """
    ax = _calibrated(levels, low, high, ax)
    for (name, shares), style in zip(observed.items(), cycle(_STYLES)):
        color, marker = style
        ax.plot(levels.numpy(), shares.numpy(), marker, ls="-", ms=4, color=color, label=name)
    return ax


def _calibrated(
    levels: Float[Tensor, "L"],
    low: Float[Tensor, "L"],
    high: Float[Tensor, "L"],
    ax: Axes | None,
) -> Axes:
    """Draw where a calibrated model lies: on the diagonal, but for chance."""
    ax = canvas(ax, "Coverage", "share promised", "share of targets inside")
    band = (low.numpy(), high.numpy())
    label = "95 % band if calibrated"
    ax.fill_between(levels.numpy(), *band, color=MUTED, alpha=0.35, lw=0, label=label)
    ax.plot([0, 1], [0, 1], "--", color=INK, lw=1)
    ax.set(xlim=(0, 1), ylim=(0, 1.005), aspect="equal")
    return ax


def pit_histogram(
    edges: Float[Tensor, "K+1"],
    shares: Float[Tensor, "K"],
    low: Float[Tensor, "K"],
    high: Float[Tensor, "K"],
    ax: Axes | None = None,
) -> Axes:
    """Draw how often PIT values fell between `edges`, as a density: 1 if calibrated.

    `low` and `high` bound the shares that a calibrated model would show.

    >>> import torch
    >>> half = torch.tensor([0.5, 0.5])
    >>> pit_histogram(torch.tensor([0.0, 0.5, 1.0]), half, half - 0.1, half + 0.1).get_ylabel()
    'density'
    """
    ax = canvas(
        ax, "PIT histogram", "PIT: probability given to numbers up to the target", "density"
    )
    width = edges.diff()
    ax.stairs((shares / width).numpy(), edges.numpy(), fill=True, color=GOOD, alpha=0.8)
    ax.stairs(
        (high / width).numpy(),
        edges.numpy(),
        baseline=(low / width).numpy(),
        fill=True,
        color=MUTED,
        alpha=0.5,
        label="95 % band if calibrated",
        zorder=2,
    )
    ax.axhline(1, color=INK, ls="--", lw=1)
    top = float(torch.maximum(shares, high).div(width).max())
    ax.set(xlim=(0, 1), ylim=(0, 1.2 * top))
    ax.legend(frameon=False, loc="upper center")
    return ax


def sparsification_curve(
    by_score: Float[Tensor, "N"], by_error: Float[Tensor, "N"], ax: Axes | None = None
) -> Axes:
    """Draw the error of what is left over the share removed; 1 is the error of all.

    >>> import torch
    >>> sparsification_curve(torch.tensor([1.0, 0.5]), torch.tensor([1.0, 0.2])).get_xlabel()
    'share of examples removed'
    """
    ax = canvas(ax, "Sparsification", "share of examples removed", "mean error of the rest")
    count = len(by_score)
    places = thinned(count)
    removed = (places / count).numpy()
    score, oracle = by_score[places].numpy(), by_error[places].numpy()
    ax.fill_between(removed, oracle, score, color=MUTED, alpha=0.35, lw=0)
    ax.plot(removed, score, color=GOOD, lw=2, label="most uncertain first")
    ax.plot(removed, oracle, color=BAD, lw=2, label="largest error first: oracle")
    ax.axhline(1, color=INK, ls="--", lw=1, label="at random")
    ax.set(xlim=(0, 1), ylim=(0, None))
    ax.legend(frameon=False)
    return ax


def spread_curve(
    promised: Float[Tensor, "B"], observed: Float[Tensor, "B"], ax: Axes | None = None
) -> Axes:
    """Draw the size of errors over the size that their standard deviations promised.

    >>> import torch
    >>> spread_curve(torch.tensor([1.0, 2.0]), torch.tensor([1.1, 1.8])).get_ylabel()
    'observed: root mean squared error'
    """
    ax = canvas(
        ax,
        "Size of errors",
        "promised: root mean variance",
        "observed: root mean squared error",
    )
    top = 1.05 * float(torch.maximum(promised, observed).max())
    ax.plot([0, top], [0, top], "--", color=INK, lw=1)
    ax.plot(promised.numpy(), observed.numpy(), "o-", color=GOOD, lw=2, ms=4)
    ax.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    ax.text(
        0.97, 0.05, "too cautious", ha="right", color=INK, style="italic", transform=ax.transAxes
    )
    ax.text(0.03, 0.93, "too sure", color=INK, style="italic", transform=ax.transAxes)
    return ax
