"""Trainers: what one for a member by itself and one for all as a step have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from duda.hooks import FitState
from duda.methods import UncertainModel
from duda.training.callbacks import Audience
from duda.training.data import LoaderData, TensorData
from duda.training.history import Record
from duda.training.updates import Updates

__all__ = ["Trainer"]


class Trainer(ABC):
    """Some members, the updates of their weights, and the best weights so far.

    Args:
        parts: the members that train here.
        first: the number of the first of them, which decides its order of the data.
        updates: of the weights.
    """

    def __init__(self, parts: list[UncertainModel], first: int, updates: Updates) -> None:
        self.parts, self.first, self.updates = parts, first, updates
        self.records = [Record() for _ in parts]
        self.best: dict[str, Tensor] | None = None
        self.examples: int | None = None  # how many the last epoch has brought
        self.first_step = True  # whether the next step is the first of this training
        self.ruined: list[bool] = []  # whether weights of members are, after the last epoch

    @property
    def step(self) -> int:
        """How many the optimizer has made."""
        return self.updates.steps

    @abstractmethod
    def train(
        self,
        data: TensorData | LoaderData,
        seed: int,
        state: FitState,
        audience: Audience,
        tick: Callable[[int], None],
    ) -> list[float]:
        """Train for an epoch, and return each member's mean loss over its examples."""

    @abstractmethod
    def validate(self, data: TensorData | LoaderData) -> list[float]:
        """Return each member's mean loss in eval mode."""

    @abstractmethod
    def values(self) -> dict[str, Tensor]:
        """Return the tensors that are trained and kept, without gradients, to read and write."""

    @abstractmethod
    def remember(self, improved: list[bool]) -> None:
        """Keep the judged values of the members that have improved as their best so far."""

    def judged_values(self) -> dict[str, Tensor]:
        """Return the values by which the members are judged: their averages, where there are."""
        averages = self.updates.averages
        return self.values() if averages is None else self.values() | averages.values()

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Let the members have the values by which they are judged."""
        averages = self.updates.averages
        if averages is None:
            yield
            return
        averages.swap()
        try:
            yield
        finally:
            averages.swap()

    @abstractmethod
    def ruined_weights(self) -> Bool[Tensor, "M"]:
        """Return for each member whether some of its weights are not finite, on their device."""

    @abstractmethod
    def write_back(self) -> None:
        """Give the members the weights that they have now."""

    @abstractmethod
    def take_over(self) -> None:
        """Train on with the weights that the members have, which a hook may have changed."""

    def tell(self, hook: Callable[[FitState], None], states: Sequence[FitState]) -> None:
        """Call a hook with each state, and train on with the weights that it leaves."""
        self.write_back()
        for state in states:
            hook(state)
        self.take_over()

    def states(
        self,
        state: FitState,
        losses: Sequence[float] | None = None,
        validations: Sequence[float] | None = None,
        metrics: Sequence[Mapping[str, float]] | None = None,
    ) -> list[FitState]:
        """Return `state` for each member that has not stopped, with its figures, if known."""
        return [
            replace(
                state,
                member=self.first + i,
                model=part,
                step=self.step,
                loss=None if losses is None else losses[i],
                validation_loss=None if validations is None else validations[i],
                metrics=None if metrics is None else metrics[i],
                lr=self.updates.lr,
            )
            for i, part in enumerate(self.parts)
            if not self.records[i].stopped
        ]

    def forget_epoch(self) -> None:
        """Let the members' losses be as they are outside of a training."""
        for part in self.parts:
            part.forget_epoch()

    def finish(self) -> None:
        """Give the members their best values, and drop what only training needs."""
        if self.best is not None:
            self._put(self.best)
        elif self.updates.averages is not None:
            self._put(self.judged_values())
        self.best = None
        self.updates.forget()
        self.write_back()

    def state(self) -> dict[str, Any]:
        """Return all that decides how training goes on."""
        return {
            "records": [record.state() for record in self.records],
            "values": self.values(),
            "best": self.best,
            "examples": self.examples,
            **self.updates.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.records = [Record(**record) for record in state["records"]]
        self._put(state["values"])
        device = next(iter(self.values().values())).device
        best = state["best"]
        self.best = best and {name: value.to(device) for name, value in best.items()}
        self.updates.load(state)
        self.examples = state["examples"]

    def _put(self, values: dict[str, Tensor]) -> None:
        for name, value in self.values().items():
            value.copy_(values[name])
