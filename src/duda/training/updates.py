"""Updates: from losses to steps of an optimizer, accumulated, clipped, scheduled and averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from duda.training.averages import Averages
from duda.training.optimizers import make_optimizer
from duda.training.options import Options
from duda.training.precision import Scaling
from duda.training.schedules import check_rates, make_schedule

__all__ = ["Updates"]


class Updates:
    """An optimizer, and all that happens about its steps.

    Args:
        options: the settings of the training, and after how many steps to stop, if it says so.
        weights: what is trained.
        averaged: returns the tensors that an EMA follows, by name.
        total: how many steps the whole training has, if known.
        stacked: whether dimension 0 of each weight is of members that train as one.

    Attributes:
        steps: how many the optimizer has made so far.
    """

    def __init__(
        self,
        options: Options,
        weights: Iterable[Tensor],
        averaged: Callable[[], dict[str, Tensor]],
        total: int | None,
        *,
        stacked: bool = False,
    ) -> None:
        training = options.training
        self.optimizer = make_optimizer(
            training.optimizer,
            training.lr,
            weights,
            decay_biases=training.decay_biases,
            stacked=stacked,
        )
        self.schedule = make_schedule(training.schedule, training.warmup, self.optimizer, total)
        self.clip, self.accumulate, self.stacked = training.clip, training.accumulate, stacked
        self.averages = None if training.ema is None else Averages(training.ema, averaged)
        device = self.optimizer.param_groups[0]["params"][0].device
        self.scaling = Scaling(device) if training.precision == "fp16" else None
        self.steps, self._most = 0, options.steps
        self._batches: int = 0  # of gradients that wait, and their weights
        self._share: Tensor | float = 0.0
        self._first: Tensor | int = 1  # of the gradients that wait

    @property
    def over(self) -> bool:
        """Whether there are to be no more steps."""
        return self._most is not None and self.steps >= self._most

    @property
    def lr(self) -> float:
        """The learning rate of the next step, of the first group of weights."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def skipped(self) -> int:
        """How many steps were left out, as they overflowed."""
        return 0 if self.scaling is None else self.scaling.skipped

    def start(self) -> None:
        """Forget the gradients of the last step, before the loss of the next batch."""
        if self._batches == 0:
            self.optimizer.zero_grad()

    def take(self, losses: Tensor, weight: Callable[[], Tensor | int]) -> bool:
        """Take in the gradients of a batch's mean losses, and return whether they made a step.

        Args:
            losses: of the members.
            weight: how much the batch weighs beside others; for each member, if not for all.
        """
        share: Tensor | float = 1.0
        if self.accumulate > 1:
            found = weight()
            if self._batches == 0:
                self._first = found.where(found > 0, 1) if isinstance(found, Tensor) else found
            share = found / self._first
        loss = (losses * share).sum()
        (self.scaling.scaled(loss) if self.scaling else loss).backward()  # type: ignore[no-untyped-call]
        self._batches += 1
        self._share += share
        return self._batches == self.accumulate and self._step()

    def finish(self) -> bool:
        """Make a step of the gradients that still wait at an epoch's end, if there are some."""
        return self._batches > 0 and self._step()

    def _step(self) -> bool:
        if self.scaling is not None:
            self.scaling.unscale(self.optimizer)
        if self._batches > 1:
            self._divide(self._share)
        self._batches, self._share = 0, 0.0
        if self.clip is not None:
            _clip(self._gradients(), self.clip, stacked=self.stacked)
        if self.scaling is None:
            self.optimizer.step()
        elif not self.scaling.step(self.optimizer):
            return False
        self.steps += 1
        if self.schedule is not None:
            self.schedule.step()
            check_rates(self.optimizer, self.steps)
        if self.averages is not None:
            self.averages.follow(self.steps)
        return True

    def _divide(self, share: Tensor | float) -> None:
        """Divide the gradients by the weight of all batches; without any they are 0."""
        if not isinstance(share, Tensor):
            torch._foreach_div_(self._gradients(), share)
            return
        share = share.where(share > 0, 1)
        for gradient in self._gradients():
            gradient.div_(share.reshape(-1, *[1] * (gradient.ndim - 1)) if share.ndim else share)

    def _gradients(self) -> list[Tensor]:
        weights = (weight for group in self.optimizer.param_groups for weight in group["params"])
        return [weight.grad for weight in weights if weight.grad is not None]

    def state(self) -> dict[str, Any]:
        """Return all that decides the next steps, at the end of an epoch."""
        return {
            "step": self.steps,
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "averages": None if self.averages is None else self.averages.values(),
            "scaling": None if self.scaling is None else self.scaling.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, and other things."""
        self.steps = state["step"]
        self.optimizer.load_state_dict(state["optimizer"])
        self._lay_out()
        if self.scaling is not None:
            self.scaling.load(state["scaling"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        if state["averages"] is None:  # as after the end
            self.averages = None
        elif self.averages is not None:
            self.averages.load(state["averages"])

    def _lay_out(self) -> None:
        """Let what the optimizer keeps lie as the weights do, as kernels in one piece need it."""
        for weight, kept in self.optimizer.state.items():
            for name, value in kept.items():
                if isinstance(value, Tensor) and value.shape == weight.shape:
                    kept[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)

    def forget(self) -> None:
        """Drop what only training needs."""
        self.averages = None
        self.optimizer.zero_grad()
        self.optimizer.state.clear()


def _clip(gradients: list[Tensor], most: float, *, stacked: bool) -> None:
    """Shrink gradients to the norm `most`, those of each member by themselves; nobody waits.

    Source: Pascanu et al. 2013, algorithm 1.
    """
    if not gradients:
        return
    if stacked:
        each = [torch.linalg.vector_norm(g.reshape(len(g), -1), dim=1) for g in gradients]
    else:
        each = [*torch._foreach_norm(gradients)]
    norm = torch.linalg.vector_norm(torch.stack(each), dim=0)
    factor = (most / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor.reshape(-1, *[1] * (gradient.ndim - 1)) if stacked else factor)
