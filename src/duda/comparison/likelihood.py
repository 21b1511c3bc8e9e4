"""Likelihoods for a comparison: by name, as they are, or by a rule from the targets."""

from __future__ import annotations

import torch
from torch import Tensor

from duda.checks import nearest
from duda.likelihoods import LIKELIHOODS, Likelihood
from duda.packing import in_words

__all__ = ["check_single", "default_likelihood", "find_likelihood", "takes_counts"]


def check_single(given: object) -> None:
    """Raise a `TypeError` if a likelihood is of several outputs, whose metrics are many."""
    if isinstance(given, Likelihood) and given.heads:
        raise TypeError(
            f"`likelihood` is a {type(given).__name__} of {in_words(given.heads)}, expected that "
            "of one output: compare by each, `duda.layers.Outputs(network, name)` takes it."
        )


def default_likelihood(y: Tensor) -> str:
    """Return the rule's answer: categorical for whole numbers, gaussian for others.

    >>> default_likelihood(torch.tensor([0, 2])), default_likelihood(torch.tensor([[0.5]]))
    ('categorical', 'gaussian')
    """
    return "gaussian" if y.is_floating_point() else "categorical"


def takes_counts(given: object) -> bool:
    """Return whether a likelihood, or that of this name, is of counts: whole numbers, no labels.

    >>> takes_counts("poisson"), takes_counts(None)
    (True, False)
    """
    found = LIKELIHOODS.get(given) if isinstance(given, str) else given
    return getattr(found, "support", None) == "counts"


def find_likelihood(
    given: str | Likelihood | None, y: Tensor, of: str, classes: int = 0
) -> tuple[str, Likelihood]:
    """Return what the outputs mean, with its name.

    Args:
        given: the name, the likelihood itself, or None for the rule.
        y: some targets.
        of: whose they are, for the message.
        classes: how many there are, if that is known.

    Raises:
        TypeError: if it is neither a name nor a likelihood.
        ValueError: if there is no likelihood of this name, or it does not fit the targets.
    """
    if not isinstance(given, Likelihood | str | None):
        raise TypeError(
            f"`likelihood` is a {type(given).__name__}, expected a name such as 'gaussian' or one "
            "of duda's, such as `duda.Gaussian()` (with its brackets)."
        )
    if isinstance(given, Likelihood):
        name, found = repr(given), given
    else:
        name = default_likelihood(y) if given is None else given
        if name not in LIKELIHOODS:
            raise ValueError(nearest(name, LIKELIHOODS, "likelihood"))
        found = LIKELIHOODS[name]()
    misfit = _misfit(found, y, classes)
    if misfit is not None:
        others = [n for n, kind in LIKELIHOODS.items() if _misfit(kind(), y, classes) is None]
        if not others:
            raise misfit
        raise ValueError(
            f"`likelihood` is {name!r}, expected for {of}, one of {', '.join(others)}."
        )
    return name, found


def _misfit(likelihood: Likelihood, y: Tensor, classes: int) -> ValueError | None:
    """Return what is wrong with the targets as targets for the likelihood, if anything."""
    if y.is_floating_point() or (likelihood.by_label and y.ndim > 1):
        width, positions = likelihood.width(y.shape[1] if y.ndim > 1 else 1), y.shape[2:]
    else:
        width = likelihood.width_of_classes(classes or int(y.max()) + 1)
        positions = y.shape[1:]
    outputs = torch.zeros(1, width, *positions)
    try:
        likelihood.check_targets(outputs.expand(len(y), *outputs.shape[1:]), y)
    except ValueError as error:
        return error
    return None
