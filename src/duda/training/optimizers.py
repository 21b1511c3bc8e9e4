"""Optimizers made from what a user gives, and those that treat each weight alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from duda.checks import plain_number

__all__ = ["ELEMENTWISE", "OptimizerFactory", "make_optimizer"]

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
    optimizer: OptimizerFactory | None, lr: float | None, parameters: Iterable[Tensor]
) -> Optimizer:
    """Return an optimizer over the parameters that are to be trained; by default Adam.

    Raises:
        ValueError: if `lr` is not above 0, or nothing is to be trained.
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
    made = build(trained) if lr is None else build(trained, lr=lr)
    if not isinstance(made, Optimizer):
        raise TypeError(
            f"`optimizer` made a {type(made).__name__}, expected a torch.optim.Optimizer."
        )
    return made


def _may_fuse(weights: Iterable[Tensor]) -> bool:
    """Return whether torch has Adam in one piece for all weights, which reads no number back."""
    return all(
        weight.is_floating_point() and weight.device.type in ("cpu", "cuda") for weight in weights
    )
