"""Losses: what is minimised in a training, and what judges it, of every method."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from duda.batches import Batch, suited
from duda.devices import uncast
from duda.methods.example_weights import example_weights, weighed
from duda.methods.learned_noise import LearnedNoise
from duda.methods.output_checks import check_dim_once, checked, note_outputs
from duda.methods.sampler import Sampler
from duda.predictions import Prediction
from duda.sampling import preserved
from duda.thread_lock import one_thread
from duda.uncompiled import uncompiled

__all__ = ["Losses"]


class Losses(LearnedNoise):
    """The losses of a model on batches, which go by its likelihood."""

    @abstractmethod
    def validation_sampler(self) -> Sampler:
        """Return the draws by which a training is judged."""

    def loss(
        self,
        x: Batch,
        y: Shaped[Tensor, "N *targets"],
        weight: Float[Tensor, "N"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return what to minimise on a batch, penalties included, in nats.

        In eval mode and without gradients it is `validation_loss`, which judges a training.

        Args:
            x: inputs.
            y: targets.
            weight: by which the loss of each example, but not a penalty, is multiplied.
        """
        y = self.given_likelihood.whole(y)
        with one_thread, weighed(weight):
            if self.training or torch.is_grad_enabled():
                return self.training_loss(x, y)
            return self.validation_loss(x, y)

    def training_loss(self, x: Batch, y: Shaped[Tensor, "N *targets"]) -> Float[Tensor, ""]:
        """Return what to minimise on a batch: -log p(y | x), nats, the mean over examples."""
        return self.data_loss(self(x), y)

    def loss_weight(self, y: Shaped[Tensor, "N *targets"]) -> int | Tensor:
        """Return how much the loss of a batch weighs beside those of others.

        The loss of several batches, or devices, is the mean of theirs with these weights: of
        examples, of labels that count, or of their weights.
        """
        return self.training_likelihood.loss_weight(y)

    @uncompiled
    def validation_loss(self, x: Batch, y: Shaped[Tensor, "N *targets"]) -> Float[Tensor, ""]:
        """Return the mean of -log p(y) by what would be predicted, nats, without any penalty.

        The prediction has the draws of `validation_sampler`, by the same seed at each call. Of
        quantiles it is the pinball loss. The model stays as it is.
        """
        y = self.given_likelihood.whole(y)
        with preserved(self, seed=0):
            return self.likelihood.prediction_loss(self._validation(x, y), y)

    @uncompiled
    def validation_prediction(self, x: Batch) -> Prediction:
        """Return what a validation judges: the prediction by fewer draws, always the same."""
        with preserved(self, seed=0):
            return self._validation(x)

    def _validation(self, x: Batch, y: Tensor | None = None) -> Prediction:
        reduction = self.likelihood.reduction()
        for draws in checked(self, self.validation_sampler())(suited(x, self)):
            if y is not None:
                self.likelihood.check_targets(draws[0], y)
            reduction.add(draws)
        return reduction.result()

    def data_loss(
        self, outputs: Float[Tensor, "N *outputs"], y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the likelihood's loss, in which terms that grow have the weight of this epoch."""
        return self.data_losses([outputs], y)[0]

    def data_losses(
        self, outputs: Iterable[Float[Tensor, "N *outputs"]], y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, "M"]:
        """Return the loss of each of several members on one batch, which counts once."""
        check_dim_once(self)
        annealed, weights = self.annealed, example_weights(len(y))
        self.count(len(y))
        # Most likelihoods know of no growth.
        grows: tuple[Any, ...] = () if annealed == 1.0 else (annealed,)
        if weights is not None:
            grows = annealed, weights
        losses = []
        for each in outputs:
            with uncast(each) as full:
                if self.training:
                    note_outputs(self, full)
                self.note_errors(full, y)
                losses.append(self.training_likelihood.loss(full, y, *grows))
        return torch.stack(losses)
