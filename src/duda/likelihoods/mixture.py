"""Mixture likelihood: numbers of any distribution, by a mixture of Gaussians (MDN)."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from duda.checks import at_least_float32, check_at_least_0, check_count
from duda.likelihoods.drawn import DrawnLikelihood
from duda.likelihoods.gaussian import minus_log_density
from duda.likelihoods.outputs import outputs_first
from duda.predictions.gaussian_mixture import MixturePrediction
from duda.predictions.members import MembersPrediction

__all__ = ["Mixture"]


@dataclass(frozen=True)
class Mixture(DrawnLikelihood):
    """3 K D raw outputs on dimension 1: K D logits, then K D raw means, then K D raw scales.

    Of each the first D are of the first Gaussian. Weights are the softmax of the logits over the K
    Gaussians; a mean is raw + the normal quantile at (k + ½) / K, so that they start apart where
    the targets lie, and do not all learn the same; a scale is softplus(raw) + floor. All are in the
    units of the outputs, which `duda.fit` finds. Source: Bishop 1994, "Mixture density networks".

    Args:
        components: K, the Gaussians of each target.
        floor: the least scale; a smaller one is a spike on a target that came often.

    >>> import torch
    >>> Mixture(1, floor=0.0).loss(torch.tensor([[0.0, 0.0, 0.5413]]), torch.tensor([[0.0]]))
    tensor(0.9189)
    """

    components: int = 5
    floor: float = 1e-2

    prediction: ClassVar[type[MembersPrediction]] = MixturePrediction
    names: ClassVar[tuple[str, ...]] = ("logits", "raw means", "raw scales")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.components, "components")
        check_at_least_0(self.floor, "floor", "scale")

    def width(self, targets: int) -> int:
        """Return 3 K D: logit, mean and scale of each Gaussian of each target."""
        return 3 * self.components * targets

    def law(self, *raw: Tensor) -> tuple[Tensor, ...]:
        """Return logarithms of weights, means and scales, with the Gaussians on dimension 0."""
        logits, mean, scale = raw
        spread = [NormalDist().inv_cdf((k + 0.5) / len(mean)) for k in range(len(mean))]
        start = mean.new_tensor(spread).view(-1, *[1] * (mean.ndim - 1))
        return logits.log_softmax(0), mean + start, F.softplus(scale) + self.floor

    def gaussians(self, outputs: Tensor, dim: int = 1) -> tuple[Tensor, ...]:
        """Return what `law` does, from outputs on dimension `dim`.

        Raises:
            ValueError: if the network put out another number of them.
        """
        outputs = outputs_first(at_least_float32(outputs), self.output_dim, dim)
        count = 3 * self.components
        if outputs.ndim <= dim or outputs.shape[dim] % count or not outputs.shape[dim]:
            raise ValueError(
                f"the network's outputs have shape {tuple(outputs.shape)}, expected {count} D "
                f"numbers on dimension {dim}: D logits of each of {self.components} Gaussians, "
                "then their raw means, then their raw scales."
            )
        each = 3, self.components, outputs.shape[dim] // count
        parts = outputs.reshape(*outputs.shape[:dim], *each, *outputs.shape[dim + 1 :]).unbind(dim)
        return self.law(*(part.movedim(dim, 0) for part in parts))

    def parameters(self, outputs: Tensor, dim: int = 1) -> tuple[Tensor, ...]:
        """Return weights, means and scales, each with K D entries along `dim`."""
        logs, *rest = self.gaussians(outputs, dim)
        return tuple(each.movedim(0, dim).flatten(dim, dim + 1) for each in (logs.exp(), *rest))

    def check_targets(
        self, outputs: Float[Tensor, "N outputs *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> None:
        """Raise a `ValueError` unless `y` is finite, and has the predicted shape."""
        self.check_beside(y, self.gaussians(outputs)[1][0], "the predicted mean")

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N outputs *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return -log Σ w N(y), summed over the D outputs, then averaged."""
        logs, mean, scale = self.gaussians(outputs)
        each = logs - minus_log_density(self.beside(y, mean[0]), mean, scale.square())
        return self.averaged(-each.logsumexp(0), y)

    def told(self, draws: Float[Tensor, "M N 3*K*D *positions"]) -> MixturePrediction:
        """Return the prediction of weights, means and scales, in units of the target."""
        return self.in_target_units(MixturePrediction(draws, per_draw=self.components))
