"""What a likelihood learns from a training's targets: units of the outputs, and noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Self

from jaxtyping import Float, Int, Shaped
from torch import Tensor

from duda.likelihoods.target_scale import TargetScale

__all__ = ["Learned"]


class Learned:
    """Units and noise that no output of the network tells; here there are none.

    Attributes:
        target_scale: the units of the outputs, where these are not the target's.
        learned_std: the noise that a model has learned, in units of the outputs, if it has.
    """

    of_classes: ClassVar[bool]
    output_dim: int | None
    learned_std: float | Tensor | None = None
    target_scale: TargetScale | None = None

    @property
    def takes_scale(self) -> bool:
        """Whether targets are numbers, which outputs may tell in units of their own."""
        return False

    def with_target_scale(self, scale: TargetScale | None) -> Self:
        """Return the likelihood of outputs in other units."""
        if scale is None:
            return self
        raise TypeError(
            f"`target_scale` is {scale}, but the targets of a {type(self).__name__} have no "
            "units: leave it out."
        )

    def scale_of(self, batches: Iterator[Tensor]) -> TargetScale:
        """Return units for the outputs, from batches of targets, which are read once.

        Raises:
            ValueError: if there are none, or some are no targets.
        """
        return TargetScale.of(batches, self.output_dim)

    def find_scale(self, batches: Callable[[], Iterator[Any]]) -> TargetScale:
        """Return units for the outputs, from batches of targets that can be read again."""
        return self.scale_of(batches())

    def with_log_variances(self, values: Tensor | None) -> Self:
        """Return the likelihood with what a model has learned of the noise of several outputs."""
        return self

    @property
    def weighable(self) -> bool:
        """Whether its weight among others can be learned: the outputs tell no noise of numbers."""
        return self.of_classes or self.learns_noise

    def log_unit(self) -> Tensor | float:
        """Return by how much -log p of a target is more than in the outputs' units, nats."""
        return 0.0

    @property
    def learns_noise(self) -> bool:
        """Whether a training is to find the noise of the targets, which no output tells."""
        return False

    def noise(self) -> Tensor:
        """Return the standard deviation of the noise, as far as it is known."""
        raise TypeError(f"a {type(self).__name__} has no noise of its own.")

    def with_noise(self, std: float | Tensor | None) -> Self:
        """Return the likelihood with noise that was learned, or with that of before."""
        raise TypeError(f"a {type(self).__name__} has no noise of its own.")

    def squared_error(
        self, outputs: Float[Tensor, "N *outputs"], y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the mean squared error of the predicted mean, by which noise is learned."""
        raise TypeError(f"a {type(self).__name__} has no noise of its own.")

    def numbers_in(self, y: Shaped[Tensor, "N *targets"]) -> int | Int[Tensor, ""]:
        """Return over how many numbers that error is a mean."""
        return y.numel()
