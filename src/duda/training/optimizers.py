"""Optimizers made from what a user gives, and those that treat each weight alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from duda.checks import plain_number

__all__ = ["ELEMENTWISE", "OptimizerFactory", "decay_groups", "make_optimizer"]

OptimizerFactory = Callable[..., Optimizer]

# The update of a weight depends on its own gradients only, so that stacked weights learn alike.
ELEMENTWISE = (
    torch.optim.Adadelta,
    torch.optim.Adagrad,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.Rprop,
    torch.optim.SGD,
)


def make_optimizer(
    optimizer: OptimizerFactory | None,
    lr: float | None,
    parameters: Iterable[Tensor],
    *,
    decay_biases: bool = True,
    stacked: bool = False,
) -> Optimizer:
    """Return an optimizer over the parameters that are to be trained; by default Adam.

    Args:
        optimizer: a function from parameters, or groups of them, to an optimizer.
        lr: the learning rate, or None for the optimizer's own.
        parameters: of which some may be frozen.
        decay_biases: whether weight decay is also of parameters with one dimension.
        stacked: whether parameters have one more, of members.

    Raises:
        ValueError: if `lr` is not above 0, nothing is to be trained, or there is no weight decay
            to be left out.
        TypeError: if `optimizer` makes no optimizer.
    """
    if isinstance(optimizer, Optimizer) or not (optimizer is None or callable(optimizer)):
        raise TypeError(
            f"`optimizer` is a {type(optimizer).__name__}, expected a function from parameters to "
            "an optimizer, such as `torch.optim.SGD` or `functools.partial(torch.optim.SGD, lr=1)`."
        )
    if lr is not None:
        rate = plain_number(lr)
        if rate is None:
            raise TypeError(f"`lr` is a {type(lr).__name__}, expected a number.")
        if not 0 < rate < math.inf:
            raise ValueError(f"`lr` is {lr}, expected a number above 0.")
        lr = rate
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        raise ValueError("`model` has no parameter that requires a gradient: nothing to train.")
    build: OptimizerFactory = optimizer or partial(torch.optim.Adam, fused=_may_fuse(trained))
    groups = decay_groups(trained, decay_biases, stacked)
    given: Any = trained
    if not decay_biases:
        given = [{"params": groups[0]}, {"params": groups[1], "weight_decay": 0.0}]
    made = build(given) if lr is None else build(given, lr=lr)
    if not isinstance(made, Optimizer):
        raise TypeError(
            f"`optimizer` made a {type(made).__name__}, expected a torch.optim.Optimizer."
        )
    if not decay_biases and not any(group.get("weight_decay") for group in made.param_groups):
        raise ValueError(
            f"`decay_biases` is False, but the {type(made).__name__} has no weight decay: give it "
            "one, such as `functools.partial(torch.optim.SGD, weight_decay=5e-4)`."
        )
    return made


def decay_groups(
    weights: list[Tensor], decay_biases: bool, stacked: bool = False
) -> list[list[Tensor]]:
    """Return all weights as one group, or those that decay, and those of one dimension.

    >>> [len(group) for group in decay_groups([*torch.nn.Linear(2, 3).parameters()], False)]
    [1, 1]
    """
    if decay_biases:
        return [weights]
    few = [weight.ndim <= 1 + stacked for weight in weights]
    return [
        [weight for weight, is_few in zip(weights, few, strict=True) if is_few is kind]
        for kind in (False, True)
    ]


def _may_fuse(weights: Iterable[Tensor]) -> bool:
    """Return whether torch has Adam in one piece for all weights, which reads no number back."""
    return all(
        weight.is_floating_point() and weight.device.type in ("cpu", "cuda") for weight in weights
    )
