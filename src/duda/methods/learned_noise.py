"""Noise of the targets that a training learns, for likelihoods that are not told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from torch import Tensor

from duda.batches import Batch, suited
from duda.doubts import doubts_together
from duda.hooks import FitState
from duda.likelihoods import Likelihood
from duda.methods.sampler import Sampler
from duda.methods.several_outputs import SeveralOutputs
from duda.preservation import preserved
from duda.transfer import number_in

__all__ = ["LearnedNoise"]

_KEPT = 0.98  # of the errors so far, at each step: the noise follows the last fifty
_LEAST = 1e-6  # of the standard deviation, which a network that fits all targets would put at 0


class LearnedNoise(SeveralOutputs):
    """Holds a likelihood, and in a buffer its noise in units of the outputs, if that is learned.

    In training the noise follows the errors of the batches; the end of it finds the one with the
    greatest likelihood of the training data. `likelihood` has the noise of now.

    Attributes:
        noise_in_loss: whether the loss needs the noise, as where it is weighed against a penalty;
            elsewhere it has no part in what the network learns, and is 1 in the loss.
    """

    noise_in_loss: ClassVar[bool] = False

    target_noise: Tensor
    _errors: Tensor
    validation_sampler: Callable[[], Sampler]

    @property
    def likelihood(self) -> Likelihood:
        """What the network's raw outputs mean."""
        scaled = self.scaled_likelihood
        return scaled.with_noise(number_in(self.target_noise)) if scaled.learns_noise else scaled

    @likelihood.setter
    def likelihood(self, likelihood: Likelihood) -> None:
        self.hold(likelihood.with_noise(None) if likelihood.learns_noise else likelihood)
        if likelihood.learns_noise:
            start = torch.tensor(likelihood.learned_std or 1.0, dtype=torch.float64)
            self.register_buffer("target_noise", start)
            # Sum and number of the squared errors of late; a file of the model does without them.
            self.register_buffer("_errors", torch.zeros(2).double(), persistent=False)

    @property
    def training_likelihood(self) -> Likelihood:
        """What the loss goes by: the likelihood, with noise 1 if it may be any."""
        likelihood = self.scaled_likelihood
        if self.noise_in_loss and likelihood.learns_noise:
            return likelihood.with_noise(self.target_noise)  # of now, which nobody reads
        return likelihood

    def note_errors(self, outputs: Tensor, y: Tensor) -> None:
        """Let the noise follow the errors of a batch, in training."""
        if self.given_likelihood.learns_noise and self.training and torch.is_grad_enabled():
            likelihood = self.scaled_likelihood
            likelihood.check_targets(outputs, y)
            self.add_errors(likelihood.squared_error(outputs.detach(), y), likelihood.numbers_in(y))

    def add_errors(self, mean: Tensor, count: int | Tensor) -> None:
        """Let the noise follow the mean squared error of so many numbers."""
        self._errors.mul_(_KEPT).add_(torch.stack([mean.double(), torch.ones_like(mean)]) * count)
        total, numbers = self._errors
        found = (total / numbers).sqrt().clamp(min=_LEAST)
        self.target_noise.copy_(found.where(numbers > 0, self.target_noise))

    def on_epoch_start(self, state: FitState) -> None:
        """Forget the errors of earlier epochs, unless the loss needs a steady noise."""
        super().on_epoch_start(state)
        if self.given_likelihood.learns_noise and (state.epoch == 0 or not self.noise_in_loss):
            self._errors.zero_()

    def on_fit_end(self, state: FitState) -> None:
        """Find the noise, if it is to be learned and the data are there."""
        super().on_fit_end(state)
        if self.given_likelihood.learns_noise and state.batches is not None:
            self.fit_noise(state.training_batches())

    def fit_noise(self, batches: Iterable[tuple[Batch, Tensor]]) -> None:
        """Find the noise with the greatest likelihood: the mean squared error, over all draws."""
        likelihood, total = self.scaled_likelihood, torch.zeros_like(self.target_noise)
        count: int | Tensor = 0
        with preserved(self, seed=0), doubts_together():
            sampler = self.validation_sampler()
            for x, y in batches:
                for draws in sampler(suited(x, self)):
                    likelihood.check_targets(draws[0], y)
                    means = torch.stack([likelihood.squared_error(each, y) for each in draws])
                    numbers = likelihood.numbers_in(y)
                    total = total + means.to(total).sum() * numbers
                    count = count + len(draws) * numbers
        self.target_noise.copy_((total / count).sqrt().clamp(min=_LEAST))
