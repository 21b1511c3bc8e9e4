"""Hooks of training: what `fit`, or a loop of your own, tells models and callbacks, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int, Shaped
from torch import Tensor

from duda.batches import Batch

__all__ = ["FitState", "Hooks", "Outputs", "overridden"]


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a model says of B training examples, in eval mode and by one draw.

    Attributes:
        index: the place of each example in the training data.
        y: their targets.
        log_probs: of the classes; None unless the targets are labels.
        losses: loss of each example in nats, by its name "loss"; None if there are classes.
    """

    index: Int[Tensor, "B"]
    y: Shaped[Tensor, "B *targets"]
    log_probs: Float[Tensor, "B C *positions"] | None = None
    losses: Mapping[str, Float[Tensor, "B"]] | None = None


@dataclass(frozen=True, eq=False)
class FitState:
    """Where a training stands when a hook is called; a loop of your own gives what it knows.

    Attributes:
        epoch: the one that starts, runs or has ended, counted from 0.
        epochs: how many there are, at most.
        step: how many steps the optimizer has made so far, in all epochs.
        examples: how many an epoch brings, if that is known; a stream is counted in the first one.
        steps: how many an epoch has, if that is known.
        places: how many examples there are to show, from whose places `Outputs.index` is, if known.
        member: which of the models that train one without the other, counted from 0.
        model: that model, or at the start and the end of `fit` the one that it was given.
        loss: mean loss of the step, or of the epoch, once it has ended.
        validation_loss: of the epoch, when callbacks are told of its end.
        metrics: by name, of the predictions for the validation data, then too, if asked for.
        lr: the learning rate of the next step, if that is known.
        outputs: what the model says of some examples, in `on_outputs` of a callback.
        batches: makes a new iterator over the training batches `(x, y)`, in order.
        validation: as `batches`, of the data that judge the training, if there are some.
        target_scale: the units in which numbers are to be learned; "auto" for those that fit the
            batches; None for the target's own.

    >>> FitState(epoch=3, epochs=10).examples is None
    True
    """

    epoch: int = 0
    epochs: int = 1
    step: int = 0
    examples: int | None = None
    steps: int | None = None
    places: int | None = None
    member: int = 0
    model: Any = None
    loss: float | None = None
    validation_loss: float | None = None
    metrics: Mapping[str, float] | None = None
    lr: float | None = None
    outputs: Outputs | None = None
    batches: Callable[[], Iterator[tuple[Batch, Tensor]]] | None = None
    validation: Callable[[], Iterator[tuple[Batch, Tensor]]] | None = None
    target_scale: Any = "auto"

    def training_batches(self) -> Iterator[tuple[Batch, Tensor]]:
        """Return a new iterator over the training batches, in order.

        Raises:
            ValueError: if the loop has given none.
        """
        if self.batches is None:
            raise ValueError(
                "`state` has no `batches`, expected the training data at the end of your own loop: "
                "call `model.on_fit_end(duda.training.FitState(batches=lambda: iter(loader)))`."
            )
        return self.batches()


class Hooks:
    """What is called in a training, in this order; here all do nothing.

    The start and the end are told to the model that `fit` was given. Epochs and steps are told to
    each model that trains by itself, such as the members of an ensemble. Callbacks are told of all,
    after the model.
    """

    def on_fit_start(self, state: FitState) -> None:
        """Take note that a training starts, or goes on from a checkpoint that is read next."""

    def on_epoch_start(self, state: FitState) -> None:
        """Take note that an epoch starts, in training mode."""

    def on_step_end(self, state: FitState) -> None:
        """Take note that the optimizer has made a step."""

    def on_epoch_end(self, state: FitState) -> None:
        """Take note that an epoch has ended: a model before the validation, callbacks after it."""

    def on_fit_end(self, state: FitState) -> None:
        """Do what is left to do with the training data, in eval mode."""


def overridden(listener: object, hook: str) -> Callable[[FitState], None] | None:
    """Return a hook of any object, or None if it has none, or one of `Hooks` that does nothing.

    >>> class Epochs(Hooks):
    ...     def on_epoch_end(self, state): ...
    >>> overridden(Epochs(), "on_epoch_end") is None, overridden(Epochs(), "on_step_end") is None
    (False, True)
    """
    found: Callable[[FitState], None] | None = getattr(listener, hook, None)
    idle = getattr(found, "__func__", None) is getattr(Hooks, hook, None) is not None
    return None if idle else found
