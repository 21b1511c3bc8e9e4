"""Sums over the training data: the last layer's Fisher information, and the log-likelihood."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from duda.checks import counted as said
from duda.likelihoods import Gaussian, Likelihood
from duda.methods.laplace.curvature import Curvature
from duda.methods.laplace.information import output_information

__all__ = ["Pass", "TrainingSums", "counted", "training_sums"]


class Pass(NamedTuple):
    """A batch in float64: raw outputs, what the last layer makes them from, and targets."""

    outputs: Float[Tensor, "N C"]
    features: Float[Tensor, "N F"]
    y: Shaped[Tensor, "N *rest"]


class TrainingSums(NamedTuple):
    """What the training data say of a last layer.

    Args:
        curvature: the sums that a `Curvature` takes.
        log_likelihood: Σ log p(y | x), nats.
        examples: how many have a target.
        numbers: how many numbers their targets are.
        log_units: what of -Σ log p comes from the units of the targets.
    """

    curvature: list[Tensor]
    log_likelihood: Float[Tensor, ""]
    examples: int
    numbers: int
    log_units: float


def training_sums(
    likelihood: Likelihood,
    curvature: Curvature,
    passes: Iterable[Pass],
) -> TrainingSums:
    """Return the sums over batches of outputs, features and targets, in float64.

    Raises:
        ValueError: if no example has a target.
    """
    sums: list[Tensor] = []
    log_likelihood, examples, numbers = torch.zeros(()), 0, 0
    for outputs, features, y in passes:
        if len(outputs) == 0:
            continue
        terms = curvature.terms(features, output_information(likelihood, outputs, y))
        sums = [a + b for a, b in zip(sums, terms, strict=True)] if sums else terms
        log_likelihood = log_likelihood + _log_likelihood(likelihood, outputs, y)
        examples, numbers = examples + len(outputs), numbers + y.numel()
    if not examples:
        raise ValueError("the training data have no example with a target, expected some.")
    log_units = examples * float(likelihood.log_unit())
    return TrainingSums(sums, log_likelihood, examples, numbers, log_units)


def counted(likelihood: Likelihood, outputs: Tensor, features: Tensor, y: Tensor) -> Pass:
    """Return what there is of a batch, without examples that have no target.

    Raises:
        ValueError: if the likelihood takes no such outputs or targets.
    """
    y = y.to(outputs.device)
    likelihood.check_targets(outputs, y)
    likelihood.check_outputs(outputs)
    outputs = outputs.double()
    counts = likelihood.counted(y)
    if counts is None:
        return Pass(outputs, features, y)
    missing = y[counts].numel() - int(likelihood.numbers_in(y))
    if missing > 0 and not likelihood.of_classes:
        raise ValueError(
            f"`y` holds {said(missing, 'missing number')} beside known ones of the same example, "
            "expected all of an example to be known, or none: a Laplace posterior has no place for "
            "a part of them."
        )
    return Pass(outputs[counts], features[counts], y[counts])


def _log_likelihood(likelihood: Likelihood, outputs: Tensor, y: Tensor) -> Tensor:
    """Return Σ log p(y | outputs)."""
    if isinstance(likelihood, Gaussian):
        # A BetaGaussian's loss is no -log p.
        likelihood = Gaussian(likelihood.floor, target_scale=likelihood.target_scale)
    return -likelihood.loss_weight(y) * likelihood.negative_log_likelihood(outputs, y)
