"""Sampled softmax: classes with noisy logits, where the network says itself how much noise."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.quasirandom import SobolEngine
from torch.utils.checkpoint import checkpoint

from duda.checks import at_least_float32, check_count, check_whole
from duda.likelihoods.base import Likelihood, Reduction
from duda.likelihoods.categorical import Categorical
from duda.likelihoods.class_draws import ClassReduction
from duda.likelihoods.moments import split_outputs
from duda.likelihoods.outputs import CHANCE, check_dim, check_raw, outputs_first
from duda.predictions import ClassPrediction, Prediction

__all__ = ["SampledSoftmax"]

_CHUNK_NUMBERS = 2**22  # logits that one pass over the noise may hold
_LOSS_NUMBERS = 2**20  # likewise, with all that their gradients need


@dataclass(frozen=True)
class SampledSoftmax(Likelihood):
    """2 C raw outputs on dimension 1: C means of Gaussian logits, then C raw scales.

    The probabilities are the mean softmax of logits with noise of standard deviation softplus(raw).
    A prediction adds the same noise to all draws and examples, so that draws that agree have no
    epistemic part, and those that are functions stay so. The noise comes from torch's global
    generator. Source: Kendall & Gal 2017, eq. 12.

    Args:
        samples: of the noise, for the loss and for each draw of a prediction.
        ignore_index: as in `Categorical`.
        class_dim: as in `Categorical`.

    >>> SampledSoftmax().loss(torch.tensor([[0.0, 0.0, -50.0, -50.0]]), torch.tensor([1]))
    tensor(0.6931)
    """

    of_classes: ClassVar[bool] = True

    samples: int = 100
    ignore_index: int | None = None
    class_dim: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_dim(self.class_dim, "class_dim")
        if self.ignore_index is not None:
            check_whole(self.ignore_index, "ignore_index")
        object.__setattr__(self, "samples", check_count(self.samples, "samples"))

    @property
    def output_dim(self) -> int | None:  # type: ignore[override]
        """The dimension of the classes, if it was given."""
        return self.class_dim

    @property
    def _categorical(self) -> Categorical:
        return Categorical(self.ignore_index, class_dim=self.class_dim)

    def width(self, targets: int) -> int:
        """Return 2 C: a mean and a raw scale for each class."""
        return 2 * targets

    def logits(self, outputs: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the logits, each with C entries along `dim`."""
        outputs = outputs_first(outputs, self.class_dim, dim)
        mean, raw = split_outputs(outputs, dim, ("means of logits", "raw scales"))
        return mean, F.softplus(raw)

    def check_targets(
        self, outputs: Float[Tensor, "N 2*C *positions"], y: Shaped[Tensor, "N *targets"]
    ) -> None:
        """Raise a `ValueError` unless `y` holds labels below C, or distributions over C classes."""
        mean, _ = self.logits(outputs)
        Categorical(self.ignore_index).check_targets(mean, self._first(y))

    def harmless(
        self, outputs: Float[Tensor, "N 2*C *positions"], y: Shaped[Tensor, "N *targets"]
    ) -> Shaped[Tensor, "N *targets"]:
        """Return labels of which none lies beyond the classes."""
        return Categorical(self.ignore_index).harmless(self.logits(outputs)[0], y)

    def check_outputs(
        self, outputs: Float[Tensor, "N 2*C *positions"], chance: float = CHANCE
    ) -> None:
        """Raise a `ValueError` if the outputs, or the means in them, are those of a softmax."""
        outputs = outputs_first(outputs, self.class_dim)
        for each in (outputs, outputs.chunk(2, dim=1)[0]):
            check_raw(each, "means of logits and raw scales", chance)

    def _first(self, y: Tensor) -> Tensor:
        """Return targets with classes, if they have some, on dimension 1."""
        return outputs_first(y, self.class_dim) if y.is_floating_point() else y

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N 2*C *positions"], y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the cross-entropy of the mean softmax, over the positions that count."""
        mean, std = self.logits(at_least_float32(outputs))
        rows = [each.movedim(1, -1).flatten(0, -2) for each in (mean, std)]
        size = max(1, _LOSS_NUMBERS // (self.samples * mean.shape[1]))
        if len(rows[0]) <= size:
            log_probs = self._over_noise(*rows)
        else:  # the noise is drawn once more for the gradients: no logits are kept until then
            chunks = zip(*(torch.split(each, size) for each in rows), strict=True)
            parts = [checkpoint(self._over_noise, *few, use_reentrant=False) for few in chunks]
            log_probs = torch.cat(parts)
        log_probs = log_probs.view(mean.movedim(1, -1).shape).movedim(-1, 1)
        return Categorical(self.ignore_index).negative_log_likelihood(log_probs, self._first(y))

    def _over_noise(self, mean: Float[Tensor, "R C"], std: Float[Tensor, "R C"]) -> Tensor:
        """Return the log of the mean softmax over samples of the noise."""
        noise = torch.randn((self.samples, *mean.shape), dtype=mean.dtype, device=mean.device)
        each = (mean + std * noise).log_softmax(2)
        return each.logsumexp(0) - math.log(self.samples)

    def counted(self, y: Shaped[Tensor, "N *targets"]) -> Bool[Tensor, "N *positions"] | None:
        """Return which labels, or distributions over the classes, count; None for all."""
        return self._categorical.counted(y)

    def terms(self, y: Shaped[Tensor, "N *targets"]) -> int | Int[Tensor, ""]:
        """Return how many labels, or distributions over the classes, count."""
        return self._categorical.terms(y)

    def prediction_loss(
        self, prediction: Prediction, y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the cross-entropy of the probabilities."""
        return self._categorical.prediction_loss(prediction, y)

    def reduction(self, keep_draws: bool = False) -> Reduction:
        """Return an empty reduction of draws of raw outputs."""
        return _SampledReduction(self, keep_draws)


class _SampledReduction(Reduction):
    """Reduces each draw over the noise, some samples at a time, and then the draws."""

    def __init__(self, likelihood: SampledSoftmax, keep_draws: bool) -> None:
        self.likelihood = likelihood
        self.draws = ClassReduction(keep_draws)
        self.seed = int(torch.randint(2**62, ()).numpy())

    def add(self, draws: Float[Tensor, "M N 2*C *positions"]) -> None:
        self.check_draws(draws)
        means, stds = self.likelihood.logits(at_least_float32(draws), dim=2)
        each = [self._over_noise(mean, std) for mean, std in zip(means, stds, strict=True)]
        self.draws.add(torch.stack(each))

    def _over_noise(self, mean: Tensor, std: Tensor) -> Tensor:
        """Return the log of the mean softmax of one draw, which serves as its logits."""
        noise = _even_noise(self.likelihood.samples, mean.shape[1], self.seed).to(mean)
        noise = noise.view(len(noise), 1, -1, *[1] * (mean.ndim - 2))
        chunk = max(1, _CHUNK_NUMBERS // mean.numel())
        total = torch.full_like(mean, -math.inf)
        for start in range(0, len(noise), chunk):
            log_probs = (mean + std * noise[start : start + chunk]).log_softmax(2)
            total = total.logaddexp(log_probs.logsumexp(0))
        return total - math.log(len(noise))

    def result(self) -> ClassPrediction:
        return self.draws.result()


@lru_cache(maxsize=1)  # for all draws, and batches that start from one seed
def _even_noise(samples: int, classes: int, seed: int) -> Float[Tensor, "S C"]:
    """Return normal noise that is spread evenly, so that a mean over it is near that over all.

    So it is nearer than with noise for each example by itself. Source: Owen 1998, scrambled Sobol
    points; they have no more than 21,201 dimensions.
    """
    if classes > SobolEngine.MAXDIM:
        return torch.randn(samples, classes, generator=torch.Generator().manual_seed(seed))
    engine = SobolEngine(classes, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    points: Tensor = engine.draw(samples, dtype=torch.float64)
    tiny = torch.finfo(points.dtype).eps
    normal: Tensor = torch.special.ndtri(points.clamp(tiny, 1 - tiny))
    return normal
