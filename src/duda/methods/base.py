"""What every method is: an `nn.Module` with two more verbs, `loss` and `predict`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Self

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from duda.batches import Inputs, input_batches
from duda.likelihoods import Likelihood
from duda.predictions import Prediction
from duda.progress import progress
from duda.sampling import preserved

__all__ = ["UncertainModel", "check_count", "check_network"]


class UncertainModel(nn.Module, ABC):
    """A network, and what is random in it.

    Args:
        likelihood: what the network's raw outputs mean.
        samples: how many draws `predict` takes unless told otherwise.
    """

    def __init__(self, likelihood: Likelihood, samples: int) -> None:
        super().__init__()
        if not isinstance(likelihood, Likelihood):
            raise TypeError(
                f"`likelihood` is a {type(likelihood).__name__}, expected one of duda's, such as "
                "`duda.Categorical()` (with its brackets)."
            )
        self.likelihood = likelihood
        self.samples = check_count(samples, "samples")

    @classmethod
    def from_factory(cls, factory: Callable[[], nn.Module], likelihood: Likelihood) -> Self:
        """Return the method with its defaults around as many new networks as it needs."""
        return cls(factory(), likelihood)  # type: ignore[arg-type] # a subclass takes these two

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return one draw of raw outputs."""

    @abstractmethod
    def draws(self, x: Tensor, samples: int, chunk: int | None) -> Iterator[Float[Tensor, "m N *"]]:
        """Yield `samples` draws of raw outputs for the batch `x`, some at a time."""

    def loss(self, x: Tensor, y: Shaped[Tensor, "N *targets"]) -> Float[Tensor, ""]:
        """Return what to minimise on a batch: -log p(y | x), nats, the mean over examples."""
        return self.likelihood.loss(self(x), y)

    def independent(self) -> list[UncertainModel]:
        """Return the models that are trained one without the other: itself, or its members."""
        return [self]

    def predict(
        self,
        x: Inputs,
        *,
        samples: int | None = None,
        seed: int | None = None,
        keep_draws: bool = False,
        batch_size: int = 256,
        chunk: int | None = None,
    ) -> Prediction:
        """Return what the model knows of the targets of `x`, and leave the model as it was.

        Args:
            x: inputs `(N, ...)`, as a tensor, array, Dataset or DataLoader.
            samples: number of draws.
            seed: of the draws; the global random state then stays as it was. Without one the draws
                come from torch's global generator.
            keep_draws: keep every draw in the prediction, which then grows with their number.
            batch_size: examples at a time (a DataLoader keeps its own batches).
            chunk: draws at a time; chosen by memory if not given.

        Raises:
            ValueError: if `x` is empty or not finite, or nothing in the network is random.
        """
        samples = self.samples if samples is None else check_count(samples, "samples")
        batches, count = input_batches(x, check_count(batch_size, "batch_size"))
        if chunk is not None:
            check_count(chunk, "chunk")
        example = next(self.parameters(), torch.empty(0))
        parts = []
        with preserved(self, seed):
            for batch in progress(batches, "predict", count):
                batch = batch.to(example.device)
                if batch.is_floating_point():
                    batch = batch.to(example.dtype)
                reduction = self.likelihood.reduction(keep_draws)
                for draws in self.draws(batch, samples, chunk):
                    reduction.add(draws)
                parts.append(reduction.result())
        if not parts:
            raise ValueError("`x` has no examples, expected at least one.")
        return type(parts[0]).concatenate(parts)


def check_count(value: int, name: str) -> int:
    """Return `value` if it is a whole number of at least 1, else raise a `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"`{name}` is {value!r}, expected a whole number of at least 1.")
    return value


def check_network(network: nn.Module) -> nn.Module:
    """Return `network` if it is a module, else raise a `TypeError` that says what it is."""
    if isinstance(network, nn.Module):
        return network
    raise TypeError(
        f"`network` is a {type(network).__name__}, expected a torch.nn.Module; a method that needs "
        "several networks takes a function that makes them."
    )
