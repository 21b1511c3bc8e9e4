"""Annealing: terms of a loss that grow with training, and how far a model is in it."""

from __future__ import annotations

import torch

from duda.hooks import FitState
from duda.likelihoods import Likelihood
from duda.methods.old_hooks import OldHooks

__all__ = ["Annealing"]


class Annealing(OldHooks):
    """What a model knows of the training that it is in: told by hooks, or counted by itself.

    Attributes:
        training_epoch: the epoch, counted from 0, of the training that goes on; None if no hook has
            told of one.
        in_training: whether a hook has told that a training starts, and none that it has ended.
    """

    given_likelihood: Likelihood  # as it was given, which no learned number changes
    training: bool
    training_epoch: int | None = None
    in_training: bool = False
    _told_examples: int | None = None  # in an epoch, and how many batches they make
    _told_steps: int | None = None
    _seen_examples = 0  # since the epoch began, or the training, if nobody tells of epochs
    _seen_batches = 0
    _informed = False  # whether a training was told of and is over, or the error has asked for it

    @property
    def annealed(self) -> float:
        """The weight of those terms of the likelihood's loss that grow in the first epochs."""
        return self.grown(self.given_likelihood.annealing_epochs)

    def grown(self, epochs: int, ahead: int = 0) -> float:
        """Return the weight now of a term of the loss that grows over `epochs`, linearly to 1.

        It is min(1, (epoch + ahead) / epochs) in training mode until the training ends, where the
        epoch is known, and 1 otherwise, as in a validation.
        """
        epoch = self._epoch() if self.training and epochs else None
        return 1.0 if epoch is None else min(1.0, (epoch + ahead) / epochs)

    def epoch_examples(self) -> int | None:
        """Return how many examples an epoch has, as far as that is known.

        Where nobody has told, it is what the batches of this epoch so far make likely, and at its
        end their number.
        """
        if self._told_examples is not None or self.training_epoch is None or not self._seen_batches:
            return self._told_examples
        batches = max(self._told_steps or 0, self._seen_batches)
        return round(self._seen_examples * batches / self._seen_batches)

    def count(self, examples: int) -> None:
        """Take note of the examples of a batch that the model trains on.

        Raises:
            ValueError: once, if the likelihood's loss has a term that grows, and nothing tells how
                far the training is.
        """
        if not (self.training and torch.is_grad_enabled()):
            return
        likelihood = self.given_likelihood
        if likelihood.annealing_epochs and self._epoch() is None and not self._informed:
            self._informed = True
            raise ValueError(
                f"the loss of a {type(likelihood).__name__} has a term that grows over "
                f"{likelihood.annealing_epochs} epochs, but nothing tells the model which "
                "epoch this is: call `model.on_epoch_start(duda.training.FitState(epoch=epoch))` "
                "at the start of each, or `model.on_fit_start(duda.training.FitState(examples="
                "len(data)))` once, so that it counts by itself. This is said once: from here on "
                "the term has its full weight."
            )
        self._seen_examples += examples
        self._seen_batches += 1

    def _epoch(self) -> int | None:
        if self.training_epoch is not None:
            return self.training_epoch
        examples = self.epoch_examples()
        return None if examples is None else self._seen_examples // examples

    def on_fit_start(self, state: FitState) -> None:
        """Take note of how many examples an epoch has, by which the model counts epochs."""
        super().on_fit_start(state)
        self._informed, self.in_training = False, True
        self._begin(state.examples, state)

    def on_epoch_start(self, state: FitState) -> None:
        """Take note of the epoch, from which terms of the loss that grow have their weight."""
        super().on_epoch_start(state)
        before = self._seen_examples or None if self.training_epoch is not None else None
        self.training_epoch = state.epoch
        self._begin(before if state.examples is None and state.epoch else state.examples, state)

    def on_fit_end(self, state: FitState) -> None:
        """Take note that the training is over."""
        super().on_fit_end(state)
        self.forget_epoch()

    def forget_epoch(self) -> None:
        """Let the loss be as it is outside of a training, with all of its terms full-grown."""
        self.training_epoch = self._told_examples = None
        self._informed, self.in_training = True, False

    def _begin(self, examples: int | None, state: FitState) -> None:
        self._told_examples, self._told_steps = examples, state.steps
        self._seen_examples = self._seen_batches = 0
