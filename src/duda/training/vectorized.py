"""Training the members of an ensemble as one step over stacked weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from duda.batches import Batch
from duda.methods import UncertainModel
from duda.training.data import LoaderData, TensorData
from duda.training.history import Record
from duda.training.loop import not_finite
from duda.training.optimizers import OptimizerFactory, make_optimizer
from duda.training.seeds import epoch_seed

__all__ = ["StackedTrainer", "stack", "stacked_losses"]


def stack(parts: list[UncertainModel]) -> dict[str, Tensor]:
    """Return each weight of all members as one tensor that can be trained."""
    each = [dict(part.named_parameters()) for part in parts]
    return {
        name: torch.stack([weights[name].detach() for weights in each]).requires_grad_()
        for name in each[0]
    }


def stacked_losses(
    part: UncertainModel, weights: dict[str, Tensor], x: Batch, y: Tensor, shared: bool = False
) -> Tensor:
    """Return the loss of each member on its own batch, or on one that all share."""

    def loss(weights: dict[str, Tensor], x: Batch, y: Tensor) -> Tensor:
        outputs = functional_call(part, weights, (x,))
        return part.likelihood.negative_log_likelihood(outputs, y)

    rows = None if shared else 0
    losses: Tensor = vmap(loss, in_dims=(0, rows, rows), randomness="error")(weights, x, y)
    return losses


class StackedTrainer:
    """Members of equal structure, one optimizer over their stacked weights, the best of each.

    A member that has stopped is carried along, its best weights kept.
    """

    first = 0

    def __init__(
        self,
        parts: list[UncertainModel],
        optimizer: OptimizerFactory | None,
        lr: float | None,
    ) -> None:
        self.parts = parts
        self.records = [Record() for _ in parts]
        self.weights = stack(parts)
        self.optimizer = make_optimizer(optimizer, lr, self.weights.values())
        self.best: dict[str, Tensor] | None = None

    def train(
        self, data: TensorData | LoaderData, seed: int, epoch: int, tick: Callable[[int], None]
    ) -> list[float]:
        """Train for an epoch, and return each member's mean loss over its examples."""
        if not isinstance(data, TensorData) or isinstance(data.x, dict):
            raise TypeError("a vectorised step needs `data` as tensors.")
        self._starts_epoch(epoch - 1, data)
        members = len(self.parts)
        self.parts[0].train()
        going = torch.tensor([not record.stopped for record in self.records])
        orders = torch.stack([data.order(epoch_seed(seed, i, epoch)) for i in range(members)])
        total = torch.zeros(members, dtype=torch.float64)
        for batch, rows in enumerate(torch.split(orders, data.batch_size, dim=1), 1):
            flat = rows.reshape(-1)
            x, y = (
                part.index_select(0, flat).view(*rows.shape, *part.shape[1:])
                for part in (data.x, data.y)
            )
            losses = stacked_losses(self.parts[0], self.weights, x, y)
            values = losses.detach().double().cpu()
            wrong = going & ~values.isfinite()
            if bool(wrong.any()):
                member = int(wrong.nonzero()[0])
                raise not_finite(float(values[member]), epoch, batch, member)
            self.optimizer.zero_grad()
            losses.sum().backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total += values * rows.shape[1]
            tick(batch)
        return (total / len(data.y)).tolist()

    def validate(self, data: TensorData | LoaderData) -> list[float]:
        """Return each member's mean loss in eval mode."""
        self.parts[0].eval()
        self._starts_epoch(None, data)
        total, count = torch.zeros(len(self.parts), dtype=torch.float64), 0
        with torch.no_grad():
            for x, y in data.in_order():
                losses = stacked_losses(self.parts[0], self.weights, x, y, shared=True)
                total, count = total + losses.double().cpu() * len(y), count + len(y)
        return (total / count).tolist()

    def _starts_epoch(self, epoch: int | None, data: TensorData | LoaderData) -> None:
        for part in self.parts:
            part.starts_epoch(epoch, data.examples())

    def remember(self, improved: list[bool]) -> None:
        """Keep the weights of the members that have improved as their best so far."""
        if self.best is None:
            self.best = {name: weight.detach().clone() for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            rows = torch.tensor(improved, device=weight.device)
            self.best[name][rows] = weight.detach()[rows]

    def finish(self) -> None:
        """Give the members their best weights, and drop what only training needs."""
        if self.best is not None:
            with torch.no_grad():
                for name, weight in self.weights.items():
                    weight.copy_(self.best[name])
        self.best = None
        self.optimizer.zero_grad()
        self.optimizer.state.clear()
        self.write_back()

    @torch.no_grad()
    def write_back(self) -> None:
        """Give the members the weights that they have now."""
        for i, part in enumerate(self.parts):
            for name, weight in part.named_parameters():
                weight.copy_(self.weights[name][i])

    def finite(self) -> list[bool]:
        """Return for each member whether its weights are all finite."""
        each = [
            weight.isfinite().reshape(len(weight), -1).all(1) for weight in self.weights.values()
        ]
        return torch.stack(each).all(0).tolist()

    def state(self) -> dict[str, Any]:
        """Return all that decides how training goes on."""
        return {
            "records": [record.state() for record in self.records],
            "values": self.weights,
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.records = [Record(**record) for record in state["records"]]
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(state["values"][name])
        device = next(iter(self.weights.values())).device
        best = state["best"]
        self.best = best and {name: value.to(device) for name, value in best.items()}
        self.optimizer.load_state_dict(state["optimizer"])
