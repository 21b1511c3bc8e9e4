"""Training one model by itself, batch after batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from duda.methods import UncertainModel
from duda.training.data import LoaderData, TensorData
from duda.training.history import Record
from duda.training.optimizers import OptimizerFactory, make_optimizer

__all__ = ["LoopTrainer", "not_finite"]


class LoopTrainer:
    """One model, its optimizer, and its best weights so far.

    Args:
        part: the model, whose `loss` is called on each batch.
        member: its index, which decides its order of the data.
        optimizer: a function from parameters to an optimizer, or None for Adam.
        lr: the learning rate, or None for the optimizer's own.
    """

    def __init__(
        self,
        part: UncertainModel,
        member: int,
        optimizer: OptimizerFactory | None,
        lr: float | None,
    ) -> None:
        self.part, self.first = part, member
        self.parts = [part]
        self.records = [Record()]
        self.optimizer = make_optimizer(optimizer, lr, part.parameters())
        self.best: dict[str, Tensor] | None = None
        self.examples: int | None = None  # in the training data, also during a validation

    def train(
        self, data: TensorData | LoaderData, seed: int, epoch: int, tick: Callable[[int], None]
    ) -> list[float]:
        """Train for an epoch, and return the mean loss over its examples."""
        self.part.train()
        self.examples = data.examples()
        self.part.starts_epoch(epoch - 1, self.examples)
        total, count = 0.0, 0
        for batch, (x, y) in enumerate(data.shuffled(seed, self.first, epoch), 1):
            self.optimizer.zero_grad()
            loss = self.part.loss(x, y)
            value = loss.item()
            if not math.isfinite(value):
                raise not_finite(value, epoch, batch, self.first)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total, count = total + value * len(y), count + len(y)
            tick(batch)
        return [total / count]

    def validate(self, data: TensorData | LoaderData) -> list[float]:
        """Return the mean loss in eval mode."""
        self.part.eval()
        self.part.starts_epoch(None, self.examples)
        total, count = 0.0, 0
        with torch.no_grad():
            for x, y in data.in_order():
                total, count = total + self.part.loss(x, y).item() * len(y), count + len(y)
        return [total / count]

    def remember(self, improved: list[bool]) -> None:
        """Keep the weights and buffers as the best so far."""
        if improved[0]:
            self.best = {name: value.clone() for name, value in self._values().items()}

    def finish(self) -> None:
        """Put the best weights and buffers back, and drop what only training needs."""
        if self.best is not None:
            self._put(self.best)
        self.best = None
        self.optimizer.zero_grad()
        self.optimizer.state.clear()

    def write_back(self) -> None:
        """Leave the model as it is now: its own weights were trained."""
        self.optimizer.zero_grad()

    def finite(self) -> list[bool]:
        """Return whether the weights are all finite."""
        return [all(bool(weight.isfinite().all()) for weight in self.part.parameters())]

    def state(self) -> dict[str, Any]:
        """Return all that decides how training goes on."""
        return {
            "records": [record.state() for record in self.records],
            "values": self._values(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.records = [Record(**record) for record in state["records"]]
        self._put(state["values"])
        device = next(self.part.parameters()).device
        best = state["best"]
        self.best = best and {name: value.to(device) for name, value in best.items()}
        self.optimizer.load_state_dict(state["optimizer"])

    def _values(self) -> dict[str, Tensor]:
        """Return weights and buffers, also buffers that a state dict leaves out."""
        return {
            **{name: weight.detach() for name, weight in self.part.named_parameters()},
            **dict(self.part.named_buffers()),
        }

    def _put(self, values: dict[str, Tensor]) -> None:
        for name, value in self._values().items():
            value.copy_(values[name])


def not_finite(value: float, epoch: int, batch: int, member: int) -> FloatingPointError:
    """Return the error for a loss that is NaN or infinite; the step was not made."""
    return FloatingPointError(
        f"the loss is {value} in epoch {epoch}, batch {batch} of member {member + 1} (counted from "
        "1): lower `lr`, or look for extreme inputs; the weights are left as before that batch."
    )
