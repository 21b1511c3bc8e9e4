"""Laplace approximation: after training, a Gaussian about the weights of the last layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from duda.batches import Batch, suited
from duda.checks import check_count
from duda.class_names import ClassNames
from duda.hooks import FitState
from duda.items import ItemRule
from duda.likelihoods import Categorical, FixedGaussian, Gaussian, Likelihood
from duda.likelihoods.class_draws import ClassReduction
from duda.methods.base import UncertainModel, check_network, one_draw
from duda.methods.laplace.curvature import (
    Curvature,
    FullCurvature,
    KroneckerCurvature,
    best_noise,
    best_precision,
)
from duda.methods.laplace.gaussian_outputs import (
    exact_moments,
    gaussian_draws,
    independent_draws,
    probit_prediction,
)
from duda.methods.laplace.last_layer import outputs_and_features
from duda.methods.laplace.training_sums import counted, training_sums
from duda.methods.output_checks import first_outputs
from duda.methods.sampler import Sampler
from duda.predictions import Prediction
from duda.sampling import last_linear, new_seed, preserved, raw_outputs
from duda.sources import Labelled, read_pairs
from duda.uncompiled import uncompiled

__all__ = ["Laplace"]

_STRUCTURES: dict[str, type[Curvature]] = {"kron": KroneckerCurvature, "full": FullCurvature}


@dataclass(frozen=True)
class _PosteriorSampler(Sampler):
    """Knows its draws' numbers and seed, for those who have run the network already."""

    numbers: range
    seed: int


class Laplace(UncertainModel):
    """A trained network whose last layer's weights and bias are Gaussian: N(θ*, (H + δ I)⁻¹).

    H is the Fisher information of the training data, δ the prior's precision, by default the one
    with the greatest marginal likelihood. `duda.fit` does this after training; `fit_posterior` does
    it for a network that is trained. Each example has draws of its own, unless they are to be
    joint. Sources: Daxberger et al. 2021; Ritter et al. 2018 for "kron".

    Args:
        network: ends in an `nn.Linear`, whose outputs are the network's.
        likelihood: what these mean.
        structure: of H, "kron" (Kronecker-factored) or "full".
        samples: number of draws.
        prior_precision: δ, in units of weight⁻².
        approximation: "draws", or "closed-form": Gaussians then get the moments that draws tend
            to; classes get mean-field probit probabilities, good for few classes, and what is
            aleatoric in them still comes from draws.

    >>> import duda
    >>> model = duda.Laplace(nn.Linear(2, 3), duda.Categorical(), structure="full")
    >>> model.fit_posterior((torch.randn(20, 2), torch.arange(20) % 3))
    >>> bool((model.predict(torch.ones(4, 2), seed=0).epistemic > 0).all())
    True
    """

    likelihoods: ClassVar[tuple[type[Likelihood], ...]] = (Categorical, Gaussian, FixedGaussian)

    prior_precision: Tensor
    log_likelihood: Tensor
    squared_norm: Tensor
    examples: Tensor

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
        super().__init__(likelihood, samples)
        self.network = check_network(network)
        self._layer, linear = last_linear(network)
        _check_options(structure, approximation, prior_precision)
        features = linear.in_features + (linear.bias is not None)
        self.curvature = _STRUCTURES[structure](features, linear.out_features)
        self.structure, self.approximation = structure, approximation
        self._given_precision = prior_precision
        for name in ("prior_precision", "log_likelihood", "squared_norm"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))
        self.register_buffer("examples", torch.zeros((), dtype=torch.int64))

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments; `prior_precision` became what is in force."""
        return super().arguments() | {"prior_precision": self._given_precision}

    def forward(self, x: Batch) -> Tensor:
        """Return the raw outputs of the trained weights, which are the mean of the draws."""
        return raw_outputs(self.network, x) if self.training else self._with_features(x)[0]

    @uncompiled
    def fit_posterior(
        self, data: Labelled, batch_size: int = 256, *, inputs: ItemRule | None = None
    ) -> None:
        """Fit the posterior to the data that the network was trained with.

        Args:
            data: `(x, y)`, a Dataset of pairs, or a DataLoader with batches of its own.
            batch_size: examples at a time.
            inputs: as in `predict`.

        Raises:
            ValueError: if the data do not fit, or the network does not end in its last layer.
        """
        size = check_count(batch_size, "batch_size")
        names = ClassNames(self.classes)
        self._fit_to(read_pairs(data, size, rule=inputs, names=names).pairs())
        self.classes = names.known

    def on_fit_end(self, state: FitState) -> None:
        """Fit the posterior to the training data."""
        super().on_fit_end(state)
        self._fit_to(state.training_batches())

    def _fit_to(self, batches: Iterator[tuple[Batch, Tensor]]) -> None:
        """Fit the posterior; accumulates in float64."""
        with preserved(self):
            sums = training_sums(self._given_likelihood, self.curvature, self._passes(batches))
            weights = self.network.get_submodule(self._layer).parameters()
            squared_norm = torch.stack([each.double().square().sum() for each in weights]).sum()
        # Not before here, because `preserved` puts buffers back.
        self.examples.zero_()  # until all is known: choosing the precision may fail
        self.curvature.take(sums.curvature, sums.examples)
        self.log_likelihood = sums.log_likelihood
        self.squared_norm = squared_norm
        if self._given_likelihood.learns_noise:
            self._learn_noise(sums.numbers)
        self.prior_precision = self._precision()
        self.examples = torch.tensor(sums.examples, device=squared_norm.device)

    def _passes(
        self, batches: Iterator[tuple[Batch, Tensor]]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield outputs, features and targets of the examples that count, checked."""
        for number, (x, y) in enumerate(batches):
            here = suited(x, self)
            outputs, features = self._with_features(here)
            found = counted(self.likelihood, outputs, features, y)
            if number == 0:
                first_outputs(self, here)
            yield found

    def log_marginal_likelihood(self, prior_precision: float | None = None) -> float:
        """Return log p(training targets), nats, by Laplace's approximation.

        It is log p(y | θ*) - ½ (δ |θ*|² - P log δ + log det(H + δ I)), for P weights and biases.
        Sources: MacKay 1992, "Bayesian interpolation"; Daxberger et al. 2021, section 2.

        Args:
            prior_precision: δ; the model's own by default.

        Raises:
            ValueError: if the posterior is not fitted, or the precision not above 0.
        """
        self._check_fitted()
        precision = self.prior_precision
        if prior_precision is not None:
            precision = torch.full_like(precision, _check_precision(prior_precision))
        values = self.curvature.eigenvalues()
        # P log δ goes into the sum: next to a log det of its own size it would cost digits.
        occam = (values / precision).log1p().sum()
        return float(self.log_likelihood - 0.5 * (precision * self.squared_norm + occam))

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        """Return what makes draws of the raw outputs; the network runs once for each batch.

        Their law is Gaussian: each example has draws of its own, or, if joint, the last layer's
        weights are drawn, once for all examples.

        Raises:
            ValueError: if there is no posterior.
        """
        self._check_fitted()
        numbers, seed = range(samples), new_seed()

        def draws(x: Batch, chunk: int | None) -> Iterator[Tensor]:
            outputs, features = self._with_features(x)
            if not joint:
                covariance = self._output_covariance(features)
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
        if self.approximation == "draws":
            return super().predict_batch(x, sampler, chunk, keep_draws)
        classes = isinstance(self.likelihood, Categorical)
        asked = "joint" if sampler.joint else "keep_draws" if keep_draws and not classes else None
        if asked is not None:
            raise ValueError(
                f"`{asked}` is True, but the closed form has no draws: make the model with "
                "`approximation='draws'`."
            )
        outputs, features = self._with_features(x)
        covariance = self._output_covariance(features)
        if not classes:
            return exact_moments(self.likelihood, outputs, covariance)
        reduction, of = ClassReduction(keep_draws), cast(_PosteriorSampler, sampler)
        for draws in independent_draws(outputs, covariance, of.numbers, of.seed, chunk):
            reduction.add(draws)
        return probit_prediction(outputs, covariance, reduction.result())

    def _with_features(self, x: Batch) -> tuple[Tensor, Float[Tensor, "N F"]]:
        return outputs_and_features(self.network, self._layer, x)

    def fit_noise(self, batches: Iterable[tuple[Batch, Tensor]]) -> None:
        """Leave the noise to the fit of the posterior, which finds it together with δ."""

    def _learn_noise(self, numbers: int) -> None:
        """Find the noise with the greatest marginal likelihood; until here all is with noise 1.

        Args:
            numbers: of the targets.
        """
        known = 0.5 * numbers * math.log(2 * math.pi)
        squares = -2 * (self.log_likelihood + known)
        variance = best_noise(
            self.curvature.eigenvalues(), self.squared_norm, squares, numbers, self._given_precision
        )
        self.target_noise.copy_(variance.sqrt())
        self.curvature.scale(1 / variance)
        self.log_likelihood = -0.5 * (squares / variance + numbers * variance.log()) - known

    def _precision(self) -> Tensor:
        """Return δ as it was given, or with the greatest marginal likelihood."""
        if self._given_precision is not None:
            return torch.full_like(self.squared_norm, self._given_precision)
        return best_precision(self.curvature.eigenvalues(), self.squared_norm)

    def _output_covariance(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.curvature.output_covariance(features, self.prior_precision)

    def _check_fitted(self) -> None:
        if not self.examples:
            raise ValueError(
                "the Laplace posterior has seen no data, expected the training data first: call "
                "`duda.fit(model, data, epochs=...)`, or `model.fit_posterior(data)` around a "
                "network that is trained."
            )


def _check_options(structure: str, approximation: str, prior_precision: float | None) -> None:
    if structure not in _STRUCTURES:
        raise ValueError(f"`structure` is {structure!r}, expected 'kron' or 'full'.")
    if approximation not in ("draws", "closed-form"):
        raise ValueError(
            f"`approximation` is {approximation!r}, expected 'draws' or 'closed-form'."
        )
    if prior_precision is not None:
        _check_precision(prior_precision)


def _check_precision(value: float) -> float:
    if not 0 < value < math.inf:
        raise ValueError(f"`prior_precision` is {value}, expected a number above 0.")
    return value
