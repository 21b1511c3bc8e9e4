"""Callbacks: whoever watches a training, told of its steps and epochs by the hooks of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.func import vmap

from duda.batches import Batch
from duda.hooks import FitState, Hooks, Outputs, overridden
from duda.likelihoods import Likelihood
from duda.methods import UncertainModel
from duda.sampling import preserved
from duda.training.data import LoaderData, TensorData
from duda.training.old_callbacks import OldCallback

__all__ = ["Audience", "Callback"]

_HOOKS = (*(name for name in vars(Hooks) if name.startswith("on_")), "on_outputs")


class Callback(Hooks):
    """A watcher of `fit`, such as a `duda.TrainingDynamics`; any object with some hooks is one.

    Its hooks come after the model's. One with a method `on_outputs(state)`, too, is shown before
    each `on_epoch_end` what the model says of every training example: it finds them in
    `state.outputs`, batch by batch and in the order of the data. That costs a forward pass for each
    epoch, however many callbacks look. A model in which something is random, also in eval mode, is
    seen by one draw, and heads that train as one by the first of them. Only a callback that draws
    random numbers in `on_epoch_start` or `on_step_end`, or writes to weights, changes the training.

    >>> class Losses(Callback):
    ...     def on_epoch_end(self, state):
    ...         print(f"epoch {state.epoch}, member {state.member}: {state.loss:.4g}")
    """

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint is to hold: dicts, lists, tuples, tensors, numbers, strings."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""


class Audience:
    """Callbacks, and the training data in the order in which they count the examples.

    Args:
        callbacks: objects with some of the hooks.
        data: the training data.
        batch_size: examples at a time, where a DataLoader has no number of its own.
        logs: callbacks that come last.
    """

    def __init__(
        self,
        callbacks: Sequence[object],
        data: TensorData | LoaderData,
        batch_size: int,
        logs: Sequence[object] = (),
    ) -> None:
        if not isinstance(callbacks, Sequence):
            raise TypeError(
                f"`callbacks` is a {type(callbacks).__name__}, expected a list, such as "
                "`[duda.TrainingDynamics(n)]`."
            )
        self.callbacks = [_checked(callback) for callback in (*callbacks, *logs)]
        self._looking = [each for each in self.callbacks if hasattr(each, "on_outputs")]
        if self._looking and isinstance(data, LoaderData):
            data = data.in_dataset_order(batch_size)
        self.data = data

    def hears(self, hook: str, model: UncertainModel) -> bool:
        """Return whether the model or a callback does something in a hook."""
        return any(overridden(each, hook) for each in (model, *self.callbacks))

    def tell(self, hook: str, state: FitState) -> None:
        """Call a hook of the model, then those of the callbacks."""
        for listener in (state.model, *self.callbacks):
            if found := overridden(listener, hook):
                found(state)

    def show(self, state: FitState) -> None:
        """Tell the callbacks that the model's epoch is over, and show it to those who look."""
        for outputs in self._outputs(state.model) if self._looking else ():
            for callback in self._looking:
                callback.on_outputs(replace(state, outputs=outputs))
        for callback in self.callbacks:
            if found := overridden(callback, "on_epoch_end"):
                found(state)

    def _outputs(self, part: UncertainModel) -> Iterator[Outputs]:
        """Yield what one draw of the model in eval mode says, and leave the model as it is."""
        for index, x, y in self._numbered():
            with preserved(part):
                outputs = part(x)
            yield _said(part.likelihood, index, outputs, y)

    def _numbered(self) -> Iterator[tuple[Tensor, Batch, Tensor]]:
        examples, start = self.data.places(), 0
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
        return [getattr(each, "state_dict", dict)() for each in self.callbacks]

    def load(self, states: list[dict[str, Any]]) -> None:
        """Give each callback the state that it had."""
        for callback, state in zip(self.callbacks, states, strict=True):
            if hasattr(callback, "load_state_dict"):
                callback.load_state_dict(state)


def _checked(callback: Any) -> Any:
    """Return an object with hooks, or what makes one of a callback of version 0.1."""
    if not isinstance(callback, type):
        if any(callable(getattr(callback, hook, None)) for hook in _HOOKS):
            return callback
        if OldCallback.fits(callback):
            return OldCallback(callback)
    raise TypeError(
        f"`callbacks` holds a {type(callback).__name__}, expected objects such as a "
        "`duda.TrainingDynamics(n)`, with some of the hooks of `duda.training.Callback`."
    )


def _said(
    likelihood: Likelihood, index: Tensor, outputs: Tensor, y: Shaped[Tensor, "N *targets"]
) -> Outputs:
    """Return log-probabilities of labels, or the loss of each example where there are none."""
    if not y.is_floating_point():
        log_probs = getattr(likelihood.reduce(outputs.unsqueeze(0)), "log_probs", None)
        if log_probs is not None:
            return Outputs(index, y, log_probs=log_probs)

    def loss(outputs: Tensor, y: Tensor) -> Tensor:
        return likelihood.negative_log_likelihood(outputs.unsqueeze(0), y.unsqueeze(0))

    losses = vmap(loss, randomness="different")(outputs, y)
    return Outputs(index, y, losses={"loss": losses})
