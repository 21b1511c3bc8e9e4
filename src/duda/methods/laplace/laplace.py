"""Laplace approximation: after training, a Gaussian about the weights of the last layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, cast

from jaxtyping import Float
from torch import Tensor, nn

from duda.batches import Batch
from duda.likelihoods import Bernoulli, Categorical, FixedGaussian, Gaussian, Likelihood
from duda.likelihoods.bernoulli import said_of_labels
from duda.likelihoods.class_draws import ClassReduction
from duda.methods.base import one_draw
from duda.methods.laplace.gaussian_outputs import (
    OutputCovariance,
    drawn_log_probs,
    exact_moments,
    gaussian_draws,
    independent_draws,
    label_log_probs,
    probit_labels,
    probit_log_probs,
    probit_prediction,
)
from duda.methods.laplace.posterior import LastLayerPosterior
from duda.methods.sampler import Sampler
from duda.predictions import Prediction
from duda.sampling import new_seed, raw_outputs

__all__ = ["Laplace"]

_DRAWS = 30  # by which a precision is judged


@dataclass(frozen=True)
class _PosteriorSampler(Sampler):
    """Knows its draws' numbers and seed, for those who have run the network already."""

    numbers: range
    seed: int


class Laplace(LastLayerPosterior):
    """A trained network whose last layer's weights and bias are Gaussian: N(θ*, (H + δ I)⁻¹).

    H is the Fisher information of the training data, δ the prior's precision. With validation data
    δ is the one whose predictions of these have the least -log p, ∞ if no other is better than the
    plain network; without, the one with the greatest marginal likelihood, which in networks that
    were trained for long takes much of their confidence, and accuracy, away. `duda.fit` does this
    after training; `fit_posterior` does it for a network that is trained. Each example has draws
    of its own, unless they are to be joint. Sources: Daxberger et al. 2021; Ritter et al. 2018 for
    "kron".

    Args:
        network: ends in an `nn.Linear`, whose outputs are the network's.
        likelihood: what these mean.
        structure: of H, "kron" (Kronecker-factored) or "full".
        samples: number of draws.
        prior_precision: δ, in units of weight⁻².
        approximation: "draws", or "closed-form": Gaussians then get the moments that draws tend
            to; classes get mean-field probit probabilities, good for few classes, and what is
            aleatoric in them still comes from draws.

    >>> import duda, torch
    >>> model = duda.Laplace(nn.Linear(2, 3), duda.Categorical(), structure="full")
    >>> model.fit_posterior((torch.randn(20, 2), torch.arange(20) % 3))
    >>> bool((model.predict(torch.ones(4, 2), seed=0).epistemic > 0).all())
    True
    """

    likelihoods: ClassVar[tuple[type[Likelihood], ...]] = (
        Categorical,
        Bernoulli,
        Gaussian,
        FixedGaussian,
    )

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        structure: Literal["kron", "full"] = "kron",
        samples: int = 100,
        *,
        prior_precision: float | None = None,
        approximation: Literal["draws", "closed-form"] = "draws",
    ) -> None:
        super().__init__(network, likelihood, samples, structure, prior_precision)
        if isinstance(likelihood, Categorical) and likelihood.focal:
            raise ValueError(
                f"`focal` is {likelihood.focal}, but the curvature of a focal loss may be "
                "negative, so that no Gaussian follows from it: leave `focal` out."
            )
        if approximation not in ("draws", "closed-form"):
            raise ValueError(
                f"`approximation` is {approximation!r}, expected 'draws' or 'closed-form'."
            )
        self.approximation = approximation

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments; `prior_precision` became what is in force."""
        return super().arguments() | {"prior_precision": self._given_precision}

    def forward(self, x: Batch) -> Tensor:
        """Return the raw outputs of the trained weights, which are the mean of the draws."""
        return raw_outputs(self.network, x) if self.training else self.with_features(x)[0]

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        """Return what makes draws of the raw outputs; the network runs once for each batch.

        Their law is Gaussian: each example has draws of its own, or, if joint, the last layer's
        weights are drawn, once for all examples.

        Raises:
            ValueError: if there is no posterior.
        """
        self.check_fitted()
        numbers, seed = range(samples), new_seed()

        def draws(x: Batch, chunk: int | None) -> Iterator[Tensor]:
            outputs, features = self.with_features(x)
            if not joint:
                covariance = self.output_covariance(features)
                return independent_draws(outputs, covariance, numbers, seed, chunk)
            weights = (outputs.shape[1] * features.shape[1],)
            steps = partial(self.curvature.steps, features, precision=self.prior_precision)
            return gaussian_draws(outputs, weights, steps, numbers, seed, chunk)

        return _PosteriorSampler(draws, joint, numbers, seed)

    def validation_sampler(self) -> Sampler:
        """Return the outputs of the trained weights, which are the mean of the draws."""
        return one_draw(self, 1)

    def predict_batch(
        self, x: Batch, sampler: Sampler, chunk: int | None, keep_draws: bool
    ) -> Prediction:
        """Return the prediction for one batch, by draws or in closed form."""
        if self.approximation == "draws" or not isinstance(sampler, _PosteriorSampler):
            return super().predict_batch(x, sampler, chunk, keep_draws)
        classes = self.likelihood.of_classes
        asked = "joint" if sampler.joint else "keep_draws" if keep_draws and not classes else None
        if asked is not None:
            raise ValueError(
                f"`{asked}` is True, but the closed form has no draws: make the model with "
                "`approximation='draws'`."
            )
        outputs, features = self.with_features(x)
        covariance = self.output_covariance(features)
        if not classes:
            return exact_moments(self.likelihood, outputs, covariance)
        reduction = ClassReduction(keep_draws, self.logits)
        for draws in independent_draws(outputs, covariance, sampler.numbers, sampler.seed, chunk):
            reduction.add(draws)
        if isinstance(self.likelihood, Bernoulli):
            drawn = reduction.result()
            return said_of_labels(probit_labels(self.likelihood, outputs, covariance, drawn))
        return probit_prediction(self.logits(outputs[None])[0], covariance, reduction.result())

    def logits(self, draws: Float[Tensor, "M N C"]) -> Tensor:
        """Return draws of outputs as logits of classes, or of two of them for each label."""
        if isinstance(self.likelihood, Bernoulli):
            return self.likelihood.two_classes(draws)
        return cast(Categorical, self.likelihood).logits(draws)

    def log_probs(self, outputs: Float[Tensor, "N C"], covariance: OutputCovariance) -> Tensor:
        """Return the logarithms of what is predicted of classes, by a few draws if by any."""
        if self.approximation == "draws":
            return drawn_log_probs(outputs, covariance, min(self.samples, _DRAWS), self.logits)
        if isinstance(self.likelihood, Bernoulli):
            return label_log_probs(self.likelihood, outputs, covariance)
        return probit_log_probs(self.logits(outputs[None])[0], covariance)
