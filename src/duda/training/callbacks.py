"""Whoever watches a training: told after each epoch what the model says of each example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.func import vmap

from duda.batches import Batch
from duda.likelihoods import Likelihood
from duda.methods import UncertainModel
from duda.predictions import ClassPrediction
from duda.sampling import preserved
from duda.training.data import LoaderData, TensorData

__all__ = ["Audience", "Callback"]


@runtime_checkable
class Callback(Protocol):
    """What `fit` asks of a callback, such as a `duda.TrainingDynamics`.

    After each epoch of a member come `update` for each batch, in the order of the data, then
    `end_epoch`. A model in which something is random, also in eval mode, is seen by one draw, and
    heads that train as one by the first of them. What `state_dict` returns goes into the
    checkpoint: dicts, lists, tuples, tensors, numbers, strings and None.
    """

    def starts_fit(self, examples: int) -> None:
        """Raise an error if this cannot watch a training on so many examples."""

    def update(
        self,
        index: Int[Tensor, "B"],
        outputs: Float[Tensor, "B C *positions"] | None = None,
        y: Int[Tensor, "B *positions"] | None = None,
        *,
        losses: Mapping[str, Float[Tensor, "B"]] | None = None,
        member: int = 0,
    ) -> None:
        """Take in log-probabilities and integer labels, or else the losses of the examples."""

    def end_epoch(self, member: int = 0) -> None:
        """Take note that a member's epoch is over."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that is to be remembered."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""


@dataclass(frozen=True)
class Audience:
    """Callbacks, and the training data in the order in which they count the examples."""

    callbacks: Sequence[Callback]
    data: TensorData | LoaderData

    def __post_init__(self) -> None:
        examples = self.data.examples()
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(
                    f"`callbacks` holds a {type(callback).__name__}, expected objects such as a "
                    "`duda.TrainingDynamics`."
                )
            callback.starts_fit(examples)  # type: ignore[arg-type] # known in a fixed order

    def watch(self, part: UncertainModel, member: int) -> None:
        """Show the callbacks one draw of the model in eval mode, and leave the model as it is."""
        # As in a validation: what grows with training counts in full.
        part.starts_epoch(None, self.data.examples())
        for index, x, y in self._numbered():
            with preserved(part):
                outputs = part(x)
            said = _said(part.likelihood, outputs, y)
            for callback in self.callbacks:
                callback.update(index, member=member, **said)
        for callback in self.callbacks:
            callback.end_epoch(member)

    def _numbered(self) -> Iterator[tuple[Tensor, Batch, Tensor]]:
        examples, start = self.data.examples(), 0
        for x, y in self.data.in_order():
            yield torch.arange(start, start + len(y)), x, y
            start += len(y)
        if start != examples:
            raise ValueError(
                f"`data` gave {start} of its {examples} examples, so that `callbacks` cannot know "
                "which is which: let its `collate_fn` keep all of them."
            )

    def state(self) -> list[dict[str, Any]]:
        """Return the states of all callbacks."""
        return [callback.state_dict() for callback in self.callbacks]

    def load(self, states: list[dict[str, Any]]) -> None:
        """Give each callback the state that it had."""
        for callback, state in zip(self.callbacks, states, strict=True):
            callback.load_state_dict(state)


def _said(
    likelihood: Likelihood, outputs: Tensor, y: Shaped[Tensor, "N *targets"]
) -> dict[str, Any]:
    """Return log-probabilities and labels, or the loss of each example where there are none."""
    if not y.is_floating_point():
        prediction = likelihood.reduce(outputs.unsqueeze(0))
        if isinstance(prediction, ClassPrediction):
            return {"outputs": prediction.log_probs, "y": y}

    def loss(outputs: Tensor, y: Tensor) -> Tensor:
        return likelihood.negative_log_likelihood(outputs.unsqueeze(0), y.unsqueeze(0))

    return {"losses": {"loss": vmap(loss, randomness="different")(outputs, y)}}
