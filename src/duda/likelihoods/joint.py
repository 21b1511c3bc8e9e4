"""Joint likelihood: a network with several outputs, each with a likelihood of its own (multi-task).

The outputs of a network, and the targets, are side by side in one tensor, so that a model draws all
of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import check_above_0
from duda.likelihoods.base import Likelihood, Reduction
from duda.likelihoods.joint_parts import JointParts, of_part
from duda.likelihoods.outputs import CHANCE
from duda.packing import by_name, in_words, packed
from duda.predictions import Prediction
from duda.predictions.joint import JointPrediction

__all__ = ["Joint"]

Weights = Mapping[str, float] | Literal["learned"] | None


@dataclass(frozen=True)
class Joint(JointParts):
    """Several likelihoods by name, for networks that return a dict, or a tuple in this order.

    Targets come in the same names or the same order. The loss is the weighted sum of the parts'
    losses, and a prediction has one of each name, by the same draws.

    With `weights="learned"` a model learns a log-variance s of the noise of each part whose outputs
    tell none: labels and quantiles cost exp(-s) loss + s / 2, and a `FixedGaussian` has the noise
    exp(s / 2); other densities count 1, as their outputs tell their own noise.
    Source: Kendall, Gal & Cipolla 2018, eq. 7 and 10.

    Args:
        parts: likelihoods by the names of the outputs.
        weights: how much each part's loss counts, by name; 1 by default.

    >>> import duda
    >>> both = Joint({"class": duda.Categorical(), "depth": duda.Laplacian(floor=0.0)})
    >>> outputs = {"class": torch.zeros(1, 2), "depth": torch.tensor([[0.0, 0.5413]])}
    >>> both.loss(outputs, {"class": torch.tensor([1]), "depth": torch.tensor([[0.0]])})  # 2 log 2
    tensor(1.3863)
    """

    weights: Weights = None
    log_variances: Tensor | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "weights", _checked_weights(self.weights, self.parts))
        for name, part in self.parts.items():
            if part.learns_noise and self.weights != "learned":
                raise ValueError(
                    f"`parts` has a {type(part).__name__} as {name!r} whose noise is not known, "
                    "expected it given, as by `noise_std=`, or `weights='learned'`."
                )
        if self.weights == "learned" and not self.learned_weights:
            raise ValueError(
                "`weights` is 'learned', but the outputs of each part tell their own noise, so "
                "that nothing is left to learn: leave it out."
            )

    @property
    def learned_weights(self) -> tuple[str, ...]:  # type: ignore[override] # of the parts
        """The names of the parts whose log-variances a model learns."""
        if self.weights != "learned":
            return ()
        return tuple(name for name, part in self.parts.items() if part.weighable)

    def with_log_variances(self, values: Tensor | None) -> Joint:
        """Return the likelihood with what a model has learned of the parts' noise."""
        return replace(self, log_variances=values)

    def loss_weights(self) -> dict[str, float]:
        """Return how much each part's loss counts now, by name: exp(-s) where it is learned."""
        given = self.weights if isinstance(self.weights, Mapping) else {}
        learned = {name: self._log_variance(name).detach() for name in self.learned_weights}
        return {
            name: float((-learned[name]).exp()) if name in learned else given.get(name, 1.0)
            for name in self.parts
        }

    def part_now(self, name: str) -> Likelihood:
        """Return the likelihood of a name with what is learned of its noise."""
        part = self.parts[name]
        if not part.learns_noise:
            return part
        return part.with_noise((self._log_variance(name) / 2).exp())

    def check_targets(self, outputs: Tensor, y: Any) -> None:
        """Raise a `ValueError` that says what is wrong with which of the targets."""
        targets = self.targets(y)
        for name, (part, values) in self.apart(outputs).items():
            with of_part(name):
                part.check_targets(values, targets[name])

    def check_outputs(self, outputs: Tensor, chance: float = CHANCE) -> None:
        """Raise a `ValueError` if some outputs are something else than their part takes."""
        for name, (part, values) in self.apart(outputs).items():
            with of_part(name):
                part.check_outputs(values, chance)

    def harmless(self, outputs: Tensor, y: Any) -> Tensor:
        """Return targets without those that a GPU stumbles over."""
        told, targets = self.apart(outputs), self.targets(y)
        found = {
            name: part.harmless(values, targets[name]) for name, (part, values) in told.items()
        }
        return packed(found, exact=True)

    def negative_log_likelihood(self, outputs: Tensor, y: Any) -> Float[Tensor, ""]:
        """Return the weighted sum of the parts' losses, unchecked."""
        return self.annealed_loss(outputs, y, 1.0)

    def annealed_loss(self, outputs: Tensor, y: Any, annealed: float) -> Float[Tensor, ""]:
        """Return it while the terms that grow in some parts have less weight."""
        targets, losses = self.targets(y), []
        for name, (part, values) in self.apart(outputs).items():
            loss = part.annealed_loss(values, targets[name], self._grown(part, annealed))
            losses.append(self._weighed(name, loss))
        return reduce(torch.add, losses)

    def losses_by_example(
        self, outputs: Tensor, y: Any, annealed: float = 1.0
    ) -> Float[Tensor, "N"]:
        """Return of each example what its terms add to the loss, which is the mean; unchecked."""
        targets, losses = self.targets(y), []
        for name, (part, values) in self.apart(outputs).items():
            grown = self._grown(part, annealed)
            losses.append(self._weighed(name, part.losses_by_example(values, targets[name], grown)))
        return reduce(torch.add, losses)

    def _grown(self, part: Likelihood, annealed: float) -> float:
        """Return the weight of terms of a part that grow in fewer epochs than others."""
        last = part.annealing_epochs
        return min(1.0, annealed * self.annealing_epochs / last) if annealed < 1 and last else 1.0

    def _weighed(self, name: str, loss: Tensor) -> Tensor:
        if isinstance(self.weights, Mapping):
            return self.weights[name] * loss
        if name not in self.learned_weights or self.parts[name].learns_noise:
            return loss
        log_variance = self._log_variance(name).to(loss)
        return (-log_variance).exp() * loss + log_variance / 2

    def _log_variance(self, name: str) -> Tensor:
        """Return what is learned of a part: the logarithm of its noise's variance."""
        if self.log_variances is None:
            return torch.zeros(())
        return self.log_variances[self.learned_weights.index(name)]

    def prediction_loss(self, prediction: Prediction, y: Any) -> Float[Tensor, ""]:
        """Return the sum of the parts' -log p by a prediction, with the weights that were given."""
        targets, said = self.targets(y), cast(JointPrediction, prediction)
        given = (
            self.weights if isinstance(self.weights, Mapping) else dict.fromkeys(self.parts, 1.0)
        )
        losses = [
            given[name] * part.prediction_loss(said[name], targets[name])
            for name, part in self.parts.items()
        ]
        return reduce(torch.add, losses)

    def loss(
        self, outputs: Any, y: Any, annealed: float = 1.0, weight: Float[Tensor, "N"] | None = None
    ) -> Float[Tensor, ""]:
        """Return the weighted sum of the parts' losses, in nats; see `Likelihood.loss`.

        Args:
            outputs: of the network, by name or in a tuple.
            y: targets, likewise.
            annealed: the weight, from 0 to 1, of terms that grow in the first `annealing_epochs`.
            weight: by which the loss of each example is multiplied.

        Raises:
            ValueError: if an output or a target is missing, or a target does not fit.
        """
        if not isinstance(outputs, Tensor):
            outputs = packed(by_name(outputs, self.heads, "the network's outputs"))
        return super().loss(outputs, self.whole(y), annealed, weight)

    def reduce(self, draws: Any, keep_draws: bool = False) -> Prediction:
        """Return the prediction that M draws of raw outputs make, by name or in a tuple."""
        if not isinstance(draws, Tensor):
            draws = packed(by_name(draws, self.heads, "the network's outputs"), dim=2)
        return super().reduce(draws, keep_draws)

    def reduction(self, keep_draws: bool = False) -> Reduction:
        """Return an empty reduction of draws of all parts."""
        return _JointReduction(self, keep_draws)


class _JointReduction(Reduction):
    """Gives the draws of each output to its part's own reduction."""

    def __init__(self, likelihood: Joint, keep_draws: bool) -> None:
        self.likelihood, self.keep_draws = likelihood, keep_draws
        self.parts: dict[str, Reduction] = {}

    def add(self, draws: Float[Tensor, "M N outputs"]) -> None:
        """Take in M more draws of all outputs."""
        self.check_draws(draws)
        for name, (part, values) in self.likelihood.apart(draws, dim=2).items():
            with of_part(name):
                if name not in self.parts:
                    self.parts[name] = part.reduction(self.keep_draws)
                self.parts[name].add(values)

    def result(self) -> JointPrediction:
        """Return the predictions of all draws so far."""
        if not self.parts:
            raise ValueError("there are no draws to reduce: `add` at least one.")
        return JointPrediction({name: part.result() for name, part in self.parts.items()})


def _checked_weights(weights: Any, parts: Mapping[str, Likelihood]) -> Weights:
    if weights is None or weights == "learned":
        return cast(Weights, weights)
    found = dict(weights) if isinstance(weights, Mapping | list | tuple) else None
    if found is None or set(found) != set(parts):
        given = repr(weights) if found is None else in_words(found) if found else "empty"
        raise ValueError(
            f"`weights` is {given}, expected numbers for {in_words(parts)} by name, or 'learned'."
        )
    return {name: check_above_0(found[name], f"weights[{name!r}]") for name in parts}
