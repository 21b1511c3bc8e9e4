"""Likelihoods, the contract: a loss for training, and a reduction of draws that streams."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.func import vmap

from duda.checks import check_same_shape
from duda.doubts import waiting
from duda.likelihoods.learned import Learned
from duda.likelihoods.outputs import (
    CHANCE,
    CHANCE_IN_A_STEP,
    few_rows,
    one_column,
    outputs_first,
)
from duda.predictions import Prediction

__all__ = ["Likelihood", "Reduction"]


class Reduction(ABC):
    """Sufficient statistics of the draws seen so far; their size does not grow with the draws."""

    shape: tuple[int, ...] | None = None

    def check_draws(self, draws: Float[Tensor, "M N *outputs"]) -> None:
        """Raise a `ValueError` if there are no draws, or they do not fit those before."""
        if draws.ndim < 2 or len(draws) == 0:
            raise ValueError(
                f"`draws` has shape {tuple(draws.shape)}, expected (M, N, ...) with at least one "
                "draw."
            )
        if self.shape is not None:
            check_same_shape(draws, "draws", (len(draws), *self.shape), "the draws before")
        self.shape = tuple(draws.shape[1:])

    @abstractmethod
    def add(self, draws: Float[Tensor, "M N *outputs"]) -> None:
        """Take in M more draws of raw outputs for the same N examples."""

    @abstractmethod
    def result(self) -> Prediction:
        """Return the prediction that all draws so far make."""


class Likelihood(Learned, ABC):
    """The distribution of a target given a network's raw outputs `(N, ...)`.

    Attributes:
        of_classes: whether targets are labels, or shares of classes.
        by_label: whether several labels may hold together, each with a target of its own.
        annealing_epochs: epochs in which a term of the loss grows to its full weight, if one does.
        output_dim: the dimension of outputs, and of targets, that is not for positions: 1 or -1.
        heads: the names of a network's outputs, where it has several.
        learned_weights: the names of those whose weight in the loss a model learns.
    """

    of_classes: ClassVar[bool] = False
    by_label: ClassVar[bool] = False
    annealing_epochs: ClassVar[int] = 0
    heads: tuple[str, ...] = ()
    learned_weights: tuple[str, ...] = ()
    output_dim: int | None = None

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "anneal" in vars(cls):
            warnings.warn(
                f"{cls.__name__} defines `anneal`, which nobody calls now: set `annealing_epochs`, "
                "and take the weight of what grows in `annealed_loss`.",
                DeprecationWarning,
                stacklevel=2,
            )

    def whole(self, y: Any) -> Any:
        """Return targets of several outputs as one tensor; those of a single one as they are."""
        return y

    @abstractmethod
    def width(self, targets: int) -> int:
        """Return how many raw outputs the network needs for `targets` classes or target columns."""

    def width_of_classes(self, classes: int) -> int:
        """Return how many raw outputs the network needs where one of so many classes is right."""
        return self.width(classes)

    @abstractmethod
    def check_targets(
        self, outputs: Float[Tensor, "N *outputs"], y: Shaped[Tensor, "N *targets"]
    ) -> None:
        """Raise a `ValueError` that says what is wrong with `y`, or with the outputs' shape."""

    def check_units(self, y: Shaped[Tensor, "N *targets"]) -> None:
        """Raise a `ValueError` if `y` is far out in the outputs' units, once these are settled.

        `check_targets` is asked before a training has found them as well, a loss is not.
        """

    def look_at_targets(
        self, targets: Callable[[], Iterator[Shaped[Tensor, "N *targets"]]]
    ) -> None:
        """Tell what is odd about all targets of a training together, read batch by batch.

        It is not asked where units have just been found in them.
        """

    def harmless(
        self, outputs: Float[Tensor, "N *outputs"], y: Shaped[Tensor, "N *targets"]
    ) -> Shaped[Tensor, "N *targets"]:
        """Return targets without those that `check_targets` refuses and a GPU stumbles over.

        It is asked where nobody has read yet what the check has found.
        """
        return y

    def check_ready(self) -> None:
        """Raise a `ValueError` if the loss needs what only the training targets tell."""

    def check_outputs(self, outputs: Float[Tensor, "N *outputs"], chance: float = CHANCE) -> None:
        """Raise a `ValueError` if a network's outputs are something else than this takes.

        Args:
            outputs: raw outputs of the network.
            chance: how likely an error for outputs that are right may be.
        """

    @abstractmethod
    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N *outputs"], y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the mean over `terms` of -log p(y | outputs), unchecked, so that vmap runs it."""

    def terms(self, y: Shaped[Tensor, "N *targets"]) -> int | Int[Tensor, ""]:
        """Return over how many terms the loss is a mean: examples, times positions that count.

        As it is here, targets are `(N, D, *positions)`, with all D of a position in one term.
        """
        counted = self.counted(y)
        if counted is not None:
            return counted.sum()
        y = outputs_first(y, self.output_dim)
        return math.prod((len(y), *y.shape[2:]))

    def counted(self, y: Shaped[Tensor, "N *targets"]) -> Bool[Tensor, "N *positions"] | None:
        """Return which of the terms have a target that is known; None where all have to."""
        return None

    def loss_weight(self, y: Shaped[Tensor, "N *targets"]) -> int | Tensor:
        """Return how much the loss of a batch weighs beside others: `terms`, or their weights."""
        return self.terms(y)

    def annealed_loss(
        self,
        outputs: Float[Tensor, "N *outputs"],
        y: Shaped[Tensor, "N *targets"],
        annealed: float,
    ) -> Float[Tensor, ""]:
        """Return the loss while terms that grow have the weight `annealed`, unchecked as above."""
        return self.negative_log_likelihood(outputs, y)

    def losses_by_example(
        self,
        outputs: Float[Tensor, "N *outputs"],
        y: Shaped[Tensor, "N *targets"],
        annealed: float = 1.0,
    ) -> Float[Tensor, "N"]:
        """Return of each example what its terms add to the loss, which is the mean; unchecked."""

        def alone(outputs: Tensor, y: Tensor) -> Tensor:
            return self.annealed_loss(outputs.unsqueeze(0), y.unsqueeze(0), annealed)

        each: Tensor = vmap(alone, randomness="different")(outputs, y)
        weight = self.loss_weight(y)
        if not isinstance(weight, Tensor):
            return each
        weights = vmap(self.loss_weight)(y.unsqueeze(1))
        return each * weights * (len(y) / weight.where(weight > 0, 1))

    def prediction_loss(
        self, prediction: Prediction, y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the mean over `terms` of -log p(y) by a prediction, nats, unchecked.

        A validation goes by it. Of families without a density it is the mean of their `loss`.
        """
        as_predicted = self.as_predicted(prediction, y)
        if not prediction.can("log_prob"):
            return prediction.loss(as_predicted).mean()
        log_density: Tensor = prediction.log_prob(as_predicted)  # type: ignore[attr-defined] # it can
        return -log_density.sum() / self.terms(y)

    def as_predicted(
        self, prediction: Prediction, y: Shaped[Tensor, "N *targets"]
    ) -> Shaped[Tensor, "N *targets"]:
        """Return targets as metrics take them beside a prediction."""
        if self.of_classes and not y.is_floating_point():
            return y
        y = outputs_first(y, self.output_dim)
        return one_column(y, (len(y), *prediction.said_shape))

    @abstractmethod
    def reduction(self, keep_draws: bool = False) -> Reduction:
        """Return an empty reduction of draws, which also keeps them if asked to."""

    def loss(
        self,
        outputs: Float[Tensor, "N *outputs"],
        y: Shaped[Tensor, "N *targets"],
        annealed: float = 1.0,
        weight: Float[Tensor, "N"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the mean over examples, and positions, of -log p(y | outputs), in nats.

        Args:
            outputs: raw outputs of the network.
            y: targets.
            annealed: the weight, from 0 to 1, of terms that grow in the first `annealing_epochs`.
            weight: by which the loss of each example is multiplied.

        Raises:
            ValueError: if `y` does not fit the outputs, or holds what is no target.
        """
        self.check_ready()
        self.check_targets(outputs, y)
        self.check_units(y)
        if waiting():
            self.check_outputs(few_rows(outputs, self.output_dim), CHANCE_IN_A_STEP)
            y = self.harmless(outputs, y)
        else:
            self.check_outputs(outputs, CHANCE_IN_A_STEP)
        if weight is None:
            return self.annealed_loss(outputs, y, annealed)
        return (weight * self.losses_by_example(outputs, y, annealed)).mean()

    def reduce(self, draws: Float[Tensor, "M N *outputs"], keep_draws: bool = False) -> Prediction:
        """Return the prediction that M draws of raw outputs make.

        Raises:
            ValueError: if they are no draws, or something else than this takes.
        """
        if draws.ndim > 1 and len(draws):
            self.check_outputs(draws[0])
        reduction = self.reduction(keep_draws)
        reduction.add(draws)
        return reduction.result()
