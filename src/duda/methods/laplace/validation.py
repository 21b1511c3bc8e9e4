"""Validation: the prior precision, and the noise, whose predictions fit held-out data best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from duda.likelihoods import Bernoulli, Categorical, Likelihood
from duda.methods.laplace.curvature import Curvature
from duda.methods.laplace.gaussian_outputs import OutputCovariance, exact_moments
from duda.methods.laplace.training_sums import Pass

__all__ = ["least_loss", "noise_and_precision", "validation_precision"]

LogProbs = Callable[[Tensor, OutputCovariance], Tensor]

_NEAR = 1e-4  # nats, to the loss of the plain network
_STEP = 0.5  # of log10 δ
_PATIENCE = 6  # steps without a smaller loss
_MOST = 100  # steps, which is as far as numbers go


def validation_precision(
    held: Sequence[Pass], curvature: Curvature, likelihood: Likelihood, log_probs: LogProbs
) -> float:
    """Return the prior precision δ whose predictions have the least -log p of the targets.

    Args:
        held: the data, at least one example.
        curvature: H, whose eigenvalues δ adds to, so that nothing is fitted anew.
        likelihood: what the outputs mean.
        log_probs: how the model predicts classes.
    """

    def loss(batch: Pass, precision: Tensor) -> Tensor:
        covariance = curvature.output_covariance(batch.features, precision)
        if isinstance(likelihood, Categorical):
            probs = log_probs(batch.outputs, covariance)
            return Categorical().negative_log_likelihood(probs, batch.y) * len(batch.y)
        if isinstance(likelihood, Bernoulli):
            probs = log_probs(batch.outputs, covariance)
            return likelihood.log_loss(probs, batch.y) * likelihood.terms(batch.y)
        prediction = exact_moments(likelihood, batch.outputs, covariance)
        return likelihood.prediction_loss(prediction, batch.y) * likelihood.terms(batch.y)

    def mean_loss(value: float) -> float:
        precision = held[0].outputs.new_tensor(value)
        return float(torch.stack([loss(batch, precision) for batch in held]).sum()) / examples

    examples = sum(len(batch.y) for batch in held)
    return least_loss(mean_loss)


def noise_and_precision(
    held: Sequence[Pass], curvature: Curvature, likelihood: Likelihood
) -> tuple[float, float]:
    """Return the variance of the noise and the prior precision with the greatest likelihood.

    With H for noise 1, noise σ² and precision δ give an output the variance σ² (1 + φᵀ (H + δ σ²)⁻¹
    φ), so that for each δ σ² the best σ² is a mean of squares.

    Args:
        held: the data, at least one example.
        curvature: H for noise 1.
        likelihood: whose outputs are means.
    """
    errors = [(likelihood.beside(y, out) - out).square() for out, _, y in held]  # type: ignore[attr-defined]

    def best(scaled: float) -> tuple[float, float]:
        delta = held[0].outputs.new_tensor(scaled)
        factors = [
            1 + curvature.output_covariance(batch.features, delta).variances() for batch in held
        ]
        pairs = zip(errors, factors, strict=True)
        variance = float(torch.cat([(each / factor).flatten() for each, factor in pairs]).mean())
        if not variance > 0:
            raise ValueError(
                "`noise_std` cannot be learned, because the network fits all targets of the "
                "validation exactly: give `duda.FixedGaussian(noise_std=...)`."
            )
        logs = torch.cat([factor.log().flatten() for factor in factors])
        return variance, 0.5 * (math.log(2 * math.pi * variance) + 1 + float(logs.mean()))

    scaled = least_loss(lambda scaled: best(scaled)[1])
    variance, _ = best(scaled)
    return variance, scaled / variance


def least_loss(loss: Callable[[float], float]) -> float:
    """Return the precision with the least loss, infinity if none is better than that.

    From where δ is so large that nothing is left of the posterior's spread it goes down until the
    loss only rises, and then between the neighbors of the best.

    >>> round(least_loss(lambda precision: 1 - 1 / (1 + (precision - 3) ** 2)), 1)
    3.0
    """
    from scipy.optimize import minimize_scalar

    plain = loss(math.inf)
    high = 1.0
    for _ in range(_MOST):
        if abs(loss(high) - plain) <= _NEAR:
            break
        high *= 100
    best, least, waited = math.inf, plain, 0
    for number in range(_MOST):
        precision = high / 10 ** (_STEP * number)
        found = loss(precision)
        if found < least:
            best, least, waited = precision, found, 0
        elif found > least + _NEAR:
            waited += 1
        if waited >= _PATIENCE:
            break
    if best == math.inf:
        return best
    between = minimize_scalar(
        lambda log: loss(10.0**log),
        bounds=(math.log10(best) - _STEP, math.log10(best) + _STEP),
        method="bounded",
        options={"xatol": 0.02},
    )
    return float(10.0**between.x) if between.fun < least else best
