"""Posterior of a last layer: what is fitted to the training data, and what is chosen by others."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from functools import partial
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from duda.batches import Batch, suited
from duda.checks import check_count
from duda.class_names import ClassNames
from duda.doubts import doubts_together
from duda.hooks import FitState
from duda.items import ItemRule
from duda.likelihoods import Likelihood
from duda.likelihoods.missing import takes_nan
from duda.methods.base import UncertainModel, check_network
from duda.methods.laplace.choice import by_evidence, by_validation, with_noise
from duda.methods.laplace.confidence import tell_of_lost_confidence
from duda.methods.laplace.curvature import Curvature, FullCurvature, KroneckerCurvature
from duda.methods.laplace.features import check_linear, outputs_and_inputs, used_weights
from duda.methods.laplace.gaussian_outputs import OutputCovariance
from duda.methods.laplace.training_sums import Pass, TrainingSums, counted, training_sums
from duda.methods.output_checks import first_outputs
from duda.methods.sampled_rows import SampledRows
from duda.methods.sampler import NotReady
from duda.sampling import last_linear, preserved
from duda.sources import Labelled, read_pairs
from duda.transfer import number_in
from duda.uncompiled import uncompiled

__all__ = ["LastLayerPosterior", "check_precision"]

_SHOWN = 1024  # training examples whose confidence is looked at
_STRUCTURES: dict[str, type[Curvature]] = {"kron": KroneckerCurvature, "full": FullCurvature}


class LastLayerPosterior(UncertainModel):
    """A network whose last layer's weights and biases get the Gaussian N(θ*, (H + δ I)⁻¹).

    Args:
        network: ends in an `nn.Linear`, whose outputs are the network's.
        likelihood: what these mean.
        samples: number of draws.
        structure: of H, "kron" or "full".
        prior_precision: δ, if it is not to be chosen.
    """

    prior_precision: Tensor
    log_likelihood: Tensor
    squared_norm: Tensor
    examples: Tensor

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        samples: int,
        structure: str,
        prior_precision: float | None,
    ) -> None:
        super().__init__(likelihood, samples)
        self.network = check_network(network)
        self._layer, linear = last_linear(network)
        if structure not in _STRUCTURES:
            raise ValueError(f"`structure` is {structure!r}, expected 'kron' or 'full'.")
        features = linear.in_features + (linear.bias is not None)
        self.curvature = _STRUCTURES[structure](features, linear.out_features)
        self.structure = structure
        self._given_precision = prior_precision
        if prior_precision is not None:
            check_precision(prior_precision)
        for name in ("prior_precision", "log_likelihood", "squared_norm"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))
        self.register_buffer("examples", torch.zeros((), dtype=torch.int64))

    @property
    def last_layer(self) -> nn.Linear:
        """The layer whose weights are random."""
        return cast(nn.Linear, self.network.get_submodule(self._layer))

    @abstractmethod
    def logits(self, draws: Float[Tensor, "M N C"]) -> Tensor:
        """Return draws of outputs as logits `(M, N, C)`, or of labels `(M, N, 2, L)`."""

    @abstractmethod
    def log_probs(self, outputs: Float[Tensor, "N C"], covariance: OutputCovariance) -> Tensor:
        """Return the logarithms of what is predicted: `(N, C)`, or of labels `(N, 2, L)`."""

    @uncompiled
    def fit_posterior(
        self,
        data: Labelled,
        batch_size: int = 256,
        *,
        validation: Labelled | None = None,
        inputs: ItemRule | None = None,
    ) -> None:
        """Fit the posterior to the data that the network was trained with.

        Args:
            data: `(x, y)`, a Dataset of pairs, or a DataLoader with batches of its own.
            batch_size: examples at a time.
            validation: as `data`, by whose targets the prior's precision is chosen.
            inputs: as in `predict`.

        Raises:
            ValueError: if the data do not fit, or the network does not end in its last layer.
        """
        size, names = check_count(batch_size, "batch_size"), ClassNames(self.classes)
        read = partial(read_pairs, rule=inputs, names=names, nan_targets=takes_nan(self.likelihood))
        held = None if validation is None else read(validation, size, "validation").pairs()
        self._fit_to(read(data, size).pairs(), held)
        self.classes = names.known

    def on_fit_end(self, state: FitState) -> None:
        """Fit the posterior to the training data, by the validation data if there are some."""
        super().on_fit_end(state)
        self._fit_to(state.training_batches(), state.validation and state.validation())

    def _fit_to(
        self,
        batches: Iterator[tuple[Batch, Tensor]],
        validation: Iterator[tuple[Batch, Tensor]] | None,
    ) -> None:
        """Fit the posterior; accumulates in float64."""
        shown = SampledRows(_SHOWN)
        with preserved(self), doubts_together():
            passes = _noted(self._passes(batches), shown)
            sums = training_sums(self.scaled_likelihood, self.curvature, passes)
            squared_norm = used_weights(self.last_layer).square().sum()
            held = None if validation is None else list(self._passes(validation))
        # Not before here, because `preserved` puts buffers back.
        self.examples.zero_()  # until all is known: choosing the precision may fail
        self.curvature.take(sums.curvature, sums.examples)
        self.squared_norm = squared_norm
        self._choose(sums, held)
        if held is None and self._given_precision is None:
            self._look_at(cast(dict[str, Tensor], shown.kept()))
        self.examples = torch.tensor(sums.examples, device=squared_norm.device)

    def _choose(self, sums: TrainingSums, held: list[Pass] | None) -> None:
        """Choose the prior precision, and the noise, for which all was 1 so far."""
        likelihood, given = self.scaled_likelihood, self._given_precision
        if held is not None and given is None:
            found = by_validation(held, self.curvature, likelihood, self.log_probs)
        else:
            learns = likelihood.learns_noise
            found = by_evidence(sums, self.curvature, self.squared_norm, learns, given)
        self.prior_precision, self.log_likelihood = found.precision, sums.log_likelihood
        if likelihood.learns_noise:
            self.target_noise.copy_(found.noise.sqrt())
            self.curvature.scale(1 / found.noise)
            self.log_likelihood = with_noise(sums, found.noise)

    def _look_at(self, shown: dict[str, Tensor]) -> None:
        """Tell if the predictions for some training examples have become much less confident."""
        if self.likelihood.of_classes:
            logits = shown["outputs"]
            log_probs = self.log_probs(logits, self.output_covariance(shown["features"]))
            tell_of_lost_confidence(self.logits(logits[None])[0], log_probs)

    def _passes(self, batches: Iterator[tuple[Batch, Tensor]]) -> Iterator[Pass]:
        """Yield outputs, features and targets of the examples that count, checked."""
        for number, (x, y) in enumerate(batches):
            here = suited(x, self)
            outputs, features = self.with_features(here)
            found = counted(self.likelihood, outputs, features, y)
            if number == 0:
                first_outputs(self, here)
                check_linear(self.last_layer, outputs, features)
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
        self.check_fitted()
        precision, values = self.prior_precision, self.curvature.eigenvalues()
        if prior_precision is not None:
            precision = torch.full_like(precision, check_precision(prior_precision))
        # P log δ goes into the sum: next to a log det of its own size it would cost digits.
        occam = (values / precision).log1p().sum()
        return float(self.log_likelihood - 0.5 * (precision * self.squared_norm + occam))

    def fit_noise(self, batches: Iterable[tuple[Batch, Tensor]]) -> None:
        """Leave the noise to the fit of the posterior, which finds it together with δ."""

    def with_features(self, x: Batch) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N F"]]:
        """Return raw outputs, and what the last layer makes them from."""
        return outputs_and_inputs(self.network, self._layer, x)

    def output_covariance(self, features: Float[Tensor, "N F"]) -> OutputCovariance:
        """Return the covariance of each example's outputs."""
        return self.curvature.output_covariance(features, self.prior_precision)

    def check_fitted(self) -> None:
        """Raise a `ValueError` if there is no posterior."""
        if not number_in(self.examples):
            raise NotReady(
                "the Laplace posterior has seen no data, expected the training data first: call "
                "`duda.fit(model, data, epochs=...)`, or `model.fit_posterior(data)` around a "
                "network that is trained."
            )


def _noted(passes: Iterator[Pass], rows: SampledRows) -> Iterator[Pass]:
    """Yield the same, and keep some examples' outputs and features."""
    for each in passes:
        if len(each.y):
            rows.add({"outputs": each.outputs, "features": each.features})
        yield each


def check_precision(value: float) -> float:
    """Return a prior precision, or raise a `ValueError` if it cannot be one."""
    if not 0 < value < math.inf:
        raise ValueError(f"`prior_precision` is {value}, expected a number above 0.")
    return value
