"""Schedules of the learning rate, which change it after each step of an optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from duda.checks import nearest, plain_number

__all__ = ["Schedule", "check_rates", "check_schedule", "make_schedule"]

Schedule = str | Callable[[Optimizer], LRScheduler]

_NAMES = ("cosine", "one-cycle")
_FIRST = 0.3  # the share of one cycle in which the rate grows, as in torch and fastai


@dataclass
class _Factor:
    """By what the rate is multiplied: a line up to 1, then 1, or half a cosine down to 0."""

    warmup: int
    steps: int | None

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.steps is None:
            return 1.0
        over = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.5 + 0.5 * math.cos(math.pi * min(1.0, over))


def check_schedule(schedule: Any, warmup: Any) -> float:
    """Return the warm-up as a number of Python, if these can be a schedule and its warm-up."""
    if isinstance(schedule, str):
        if schedule not in _NAMES:
            raise ValueError(nearest(schedule, _NAMES, "`schedule`"))
    elif isinstance(schedule, LRScheduler) or not (schedule is None or callable(schedule)):
        raise TypeError(
            f"`schedule` is a {type(schedule).__name__}, expected 'cosine', 'one-cycle', or a "
            "function from an optimizer to a scheduler, such as "
            "`lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1000)`."
        )
    number = plain_number(warmup)
    if number is None:
        raise TypeError(f"`warmup` is {warmup!r}, expected a number of steps, or a share of all.")
    if number < 0 or not (number < 1 or isinstance(number, int)):
        raise ValueError(
            f"`warmup` is {warmup}, expected a whole number of steps, or a share of all steps "
            "from 0.0 to below 1.0."
        )
    if number and not (schedule is None or isinstance(schedule, str)):
        raise ValueError(
            f"`warmup` is {warmup}, but `schedule` is a function, which knows its own: let it "
            "make the warm-up, too, as `torch.optim.lr_scheduler.SequentialLR` does."
        )
    return number


def make_schedule(
    schedule: Schedule | None, warmup: float, optimizer: Optimizer, steps: int | None
) -> LRScheduler | None:
    """Return what changes the rate of an optimizer in a training of so many steps, if known.

    Raises:
        ValueError: if the number of steps is needed but not known, or too small, or the first rate
            is none.
        TypeError: if the function makes no scheduler that is asked step by step.
    """
    if schedule is None and not warmup:
        return None
    if schedule is None or isinstance(schedule, str):
        return _named(schedule, warmup, optimizer, steps)
    made = schedule(optimizer)
    if not isinstance(made, LRScheduler) or isinstance(made, ReduceLROnPlateau):
        raise TypeError(
            f"`schedule` made a {type(made).__name__}, expected a scheduler of "
            "`torch.optim.lr_scheduler` that knows the rate of each step by itself."
        )
    check_rates(optimizer, 0)
    return made


def _named(
    schedule: str | None, warmup: float, optimizer: Optimizer, steps: int | None
) -> LRScheduler:
    share = isinstance(warmup, float) and 0 < warmup < 1
    if steps is None and (schedule is not None or share):
        what = f"`schedule` is {schedule!r}" if schedule else f"`warmup` is {warmup}"
        raise ValueError(
            f"{what}, but `data` does not know how many batches an epoch has, and so nobody how "
            "many steps there are: give `steps` in place of `epochs`."
        )
    first = math.ceil(warmup * steps) if share and steps is not None else int(warmup)
    if steps is not None and first >= steps:
        raise ValueError(
            f"`warmup` is {warmup}, expected fewer than the {steps} steps of this training."
        )
    if schedule != "one-cycle" or steps is None:
        return LambdaLR(optimizer, _Factor(first, steps if schedule else None))
    return OneCycleLR(
        optimizer,
        [float(group["lr"]) for group in optimizer.param_groups],
        total_steps=steps,
        pct_start=first / steps if first else _FIRST,
        cycle_momentum=all("betas" in g or g.get("momentum") for g in optimizer.param_groups),
    )


def check_rates(optimizer: Optimizer, steps: int) -> None:
    """Raise a `ValueError` if a schedule has set a rate that is none, after so many steps."""
    for group in optimizer.param_groups:
        rate = group["lr"]
        if not isinstance(rate, Tensor) and not 0 <= rate < math.inf:
            raise ValueError(
                f"`schedule` sets the learning rate to {rate} after {steps} steps, expected a "
                "number of at least 0."
            )
